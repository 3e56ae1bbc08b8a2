"""OpenStack Swift with OpenStack's identity service, Keystone, as clouds have it: 200 MB, 15 s to start, for the long tests."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tests.servers.base import Place, Server, peer, running
from tests.servers.swift import Swift

USER, PASSWORD = "laptop", "p\u00e4ss word"


class Keystone(Server):
    """The identity service."""

    name: ClassVar[str] = "keystone"

    def command(self) -> list[str]:
        script = Path(__file__).with_name("openstack") / "keystoneprocess.py"
        return [peer("keystone", "python"), str(script), str(self.data), str(self.port)]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/v3"

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as reply:
            return bool(reply.status == 200)
        return False

    def place(self, name: str = "") -> Place:
        raise NotImplementedError

    def ask(self, method: str, path: str, value: object = None, token: str = "") -> tuple[Any, Mapping[str, str]]:
        """A call of its interface."""
        headers = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
        body = None if value is None else json.dumps(value).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers, method=method)) as reply:
            return json.loads(reply.read() or b"null"), reply.headers

    def token(self, user: object, project: object) -> str:
        """A token for the user and the project of these descriptions."""
        identity = {"methods": ["password"], "password": {"user": user}}
        asked = {"auth": {"identity": identity, "scope": {"project": project}}}
        return self.ask("POST", "/auth/tokens", asked)[1]["X-Subject-Token"]


class KeystoneSwift(Swift):
    """Swift that asks *keystone* who somebody is."""

    name = "swift-with-keystone"

    def __init__(self, folder: Path, keystone: Keystone) -> None:
        super().__init__(folder)
        self.keystone = keystone

    def command(self) -> list[str]:
        _, *words = super().command()
        return [peer("keystone", "python"), *words, self.keystone.url]


class Cloud(NamedTuple):
    """Both of them, with a user, a project, and what the user has made for programs."""

    keystone: Keystone
    swift: KeystoneSwift
    user: str
    """Id of the user."""
    project: str
    """Id of the project."""
    credential: str
    """Id of the application credential ``backups``, whose secret is ``secret``."""
    trust: str
    """Id of what lets the user ``swift``, whose password is ``service``, act for the user."""
    token: str


@contextlib.contextmanager
def running_cloud() -> Iterator[Cloud]:
    """A cloud with one user."""
    with running(Keystone) as keystone:
        assert isinstance(keystone, Keystone)
        with running(KeystoneSwift, keystone) as swift:
            assert isinstance(swift, KeystoneSwift)
            yield _furnished(keystone, swift)


def _furnished(keystone: Keystone, swift: KeystoneSwift) -> Cloud:
    domain = {"id": "default"}
    admin = {"name": "admin", "domain": domain}
    token = keystone.token(admin | {"password": "admin"}, admin)

    def make(path: str, kind: str, value: dict[str, Any], by: str = token) -> str:
        return str(keystone.ask("POST", path, {kind: value}, by)[0][kind]["id"])

    service = make("/services", "service", {"type": "object-store", "name": "swift"})
    for interface, region in (("internal", "here"), ("public", "here")):
        url = f"{swift.url}/v1/AUTH_%(project_id)s"
        make("/endpoints", "endpoint", {"service_id": service, "interface": interface, "region": region, "url": url})
    project = make("/projects", "project", {"name": "backup", "domain_id": "default"})
    user = make("/users", "user", {"name": USER, "domain_id": "default", "password": PASSWORD})
    servant = make("/users", "user", {"name": "swift", "domain_id": "default", "password": "service"})
    roles = {role["name"]: role["id"] for role in keystone.ask("GET", "/roles", token=token)[0]["roles"]}
    projects = {each["name"]: each["id"] for each in keystone.ask("GET", "/projects", token=token)[0]["projects"]}
    keystone.ask("PUT", f"/projects/{project}/users/{user}/roles/{roles['member']}", token=token)
    keystone.ask("PUT", f"/projects/{projects['admin']}/users/{servant}/roles/{roles['admin']}", token=token)
    own = keystone.token({"id": user, "password": PASSWORD}, {"id": project})
    path = f"/users/{user}/application_credentials"
    credential = make(path, "application_credential", {"name": "backups", "secret": "secret"}, own)
    trust = {"trustor_user_id": user, "trustee_user_id": servant, "project_id": project, "impersonation": True}
    given = make("/OS-TRUST/trusts", "trust", trust | {"roles": [{"name": "member"}]}, own)
    return Cloud(keystone, swift, user, project, credential, given, own)
