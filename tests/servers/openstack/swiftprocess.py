"""OpenStack Swift in one process: ``python swiftprocess.py FOLDER PORT [KEYSTONE]``, by the Python that `make peers` brings.

Its proxy, account, container and object servers run beside each other, one copy of everything, with the users of `tempauth` and
with `s3api`, or with those that the identity service at the address *KEYSTONE* knows. What a cluster keeps in memcached is in
this process's memory.
"""

from __future__ import annotations

import warnings

warnings.simplefilter("ignore")  # eventlet warns of itself

import eventlet  # type: ignore[import-not-found]  # noqa: E402

eventlet.monkey_patch()

import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from eventlet import wsgi  # noqa: E402

PARTS = ("account", "container", "object")

COMMON = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/disks
mount_check = false
disable_fallocate = true
log_level = ERROR
"""

PART = """\
[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{name}
recon_cache_path = {folder}
"""

PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck memory {users} bulk container-quotas proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
[filter:memory]
paste.filter_factory = swiftprocess:memory
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:bulk]
use = egg:swift#bulk
"""

TEMPAUTH = """\
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
"""

KEYSTONE = """\
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
auth_url = {url}
www_authenticate_uri = {url}
auth_type = password
username = swift
password = service
user_domain_id = default
project_name = admin
project_domain_id = default
delay_auth_decision = true
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
"""


def main(folder: Path, port: int, keystone: str = "") -> None:
    """Serve from *folder*, which is made ready where it is empty."""
    (folder / "disks" / "disk").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    from swift.common.http_protocol import SwiftHttpProtocol  # type: ignore[import-not-found]
    from swift.common.utils import set_swift_dir  # type: ignore[import-not-found]
    from swift.common.wsgi import loadapp  # type: ignore[import-not-found]

    set_swift_dir(str(folder))
    sockets = {}
    common = COMMON.format(folder=folder)
    for name in PARTS:
        sockets[name] = eventlet.listen(("127.0.0.1", 0))
        (folder / f"{name}.conf").write_text(common + PART.format(name=name, folder=folder))
        make_ring(folder / f"{name}.ring.gz", sockets[name].getsockname()[1])
    users = "authtoken keystoneauth" if keystone else "s3api tempauth"
    filters = KEYSTONE.format(url=keystone) if keystone else TEMPAUTH
    (folder / "proxy.conf").write_text(common + PROXY.format(users=users) + filters)
    sockets["proxy"] = eventlet.listen(("127.0.0.1", port))
    servers = []
    for name, socket in sockets.items():
        app = loadapp(str(folder / f"{name}.conf"))
        servers.append(
            eventlet.spawn(wsgi.server, socket, app, log=logging.getLogger(name), protocol=SwiftHttpProtocol, log_output=False)
        )
    for server in servers:
        server.wait()


def make_ring(path: Path, port: int) -> None:
    """Write down where one of the servers is: on the one disk."""
    from swift.common.ring import RingBuilder  # type: ignore[import-not-found]

    ring = RingBuilder(1, 1, 0)
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0})
    ring.rebalance(seed=1)
    ring.get_ring().save(str(path))


class Memory:
    """What Swift asks of memcached."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Any, float]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        value, until = self.kept.get(key, (None, 0.0))
        return None if until and until < time.time() else value

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **options: object) -> None:
        self.kept[key] = value, now() + time if time else 0.0

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self.kept.pop(key, None)


now = time.time


def memory(settings: dict[str, str], **more: str) -> Callable[[Any], Any]:
    """The filter that gives every request the memory. A request for ``/forget`` empties it: every token has expired then."""
    kept = Memory()

    def wrap(app: Any) -> Any:
        def call(environment: dict[str, Any], start: Callable[..., Any]) -> Any:
            if environment["PATH_INFO"] == "/forget":
                kept.kept.clear()
                start("204 No Content", [("Content-Length", "0")])
                return [b""]
            environment.setdefault("swift.cache", kept)
            return app(environment, start)

        return call

    return wrap


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
