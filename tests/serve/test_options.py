"""What each option of the server does, held against rest-server where both can be asked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from restic_format.errors import UsageError
from restic_format.serve import running as running_module
from restic_format.serve import users as users_module
from restic_format.serve.application import Storing
from restic_format.serve.folders import DataFolder, Upload
from restic_format.serve.paths import Named
from restic_format.serve.server import Server as ServeServer
from restic_format.serve.settings import Settings
from restic_format.serve.users import Users
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.serve.inside import Inside
from tests.serve.kit import answer_of, ask, basic, raw, sha, until
from tests.servers.base import running
from tests.servers.certificates import Certificates
from tests.servers.our_server import OurServer, environment, ours
from tests.servers.rest_server import RestServer

SECRET = "s3cret:with colon"
BOB = "bob:{SHA}" + base64.b64encode(hashlib.sha1(SECRET.encode()).digest()).decode()
"""A line of an .htpasswd file."""


def line(user: str, password: str) -> str:
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}"


class Private(RestServer):
    """rest-server with users and private repositories."""

    name = "rest-server-private"

    def prepare(self) -> None:
        (self.data / ".htpasswd").write_text(f"{BOB}\n{line('metrics', 'm')}\n{line('äb.c@d-e_f', 'ü')}\n")

    def arguments(self) -> list[str]:
        return ["--private-repos", "--prometheus"]


class OurPrivate(OurServer):
    """Ours with the same."""

    name = "serve-private"
    prepare = Private.prepare

    def arguments(self) -> list[str]:
        return ["--private-repos", "--prometheus"]


def test_users_and_their_repositories() -> None:
    bob = basic("bob", SECRET)
    with running(Private) as theirs, running(OurPrivate) as ours:

        def both(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
            first, second = (ask(server, method, path, body, headers or {}) for server in (theirs, ours))
            assert first.status == second.status, (method, path, headers, first, second)
            assert first.body == second.body or first.status == 200
            return second.status

        assert both("GET", "/bob/config") == 401
        assert both("GET", "/bob/config", headers=bob) == 404
        assert both("POST", "/bob/?create=true", headers=bob) == 200
        assert both("POST", "/bob/sub/?create=true", headers=bob) == 200
        assert both("POST", f"/bob/keys/{sha(b'x')}", b"x", headers=bob) == 200
        assert both("GET", f"/bob/keys/{sha(b'x')}", headers=bob) == 200
        assert both("DELETE", f"/bob/keys/{sha(b'x')}", headers=bob) == 200
        for path in ("/", "/config", "/alice/config", "/bobby/config", "/BOB/config", "/keys/", "/?create=true", "/metrics"):
            assert both("GET", path, headers=bob) == 401
        odd = basic("äb.c@d-e_f", "ü")
        assert both("POST", "/%C3%A4b.c@d-e_f/?create=true", headers=odd) == 200
        assert both("GET", "/bob/config", headers=odd) == 401
        for user, password in (("bob", "wrong"), ("bob", ""), ("", ""), ("nobody", SECRET), ("bob\0", SECRET), ("metrics", "")):
            assert both("GET", "/bob/config", headers=basic(user, password)) == 401
        for header in ("Basic", "Basic !!!", "Basic Ym9i", "Bearer abc", "", "Basic " + "A" * 5000):
            assert both("GET", "/bob/config", headers={"Authorization": header}) == 401
        assert both("GET", "/metrics", headers=basic("metrics", "m")) == 200
        pages = [ask(server, "GET", "/metrics", headers=basic("metrics", "m")).body.decode() for server in (theirs, ours)]
        found = [set(re.findall(r"^(rest_server_\w+){(.*)} ([0-9.]+)", page, re.MULTILINE)) for page in pages]
        counts = [{(name, tuple(sorted(labels.split(","))), float(value)) for name, labels, value in page} for page in found]
        named = [{item for item in page if not item[0].endswith("_created")} for page in counts]
        assert len(named[0]) == 6 and named[0] == named[1]


def test_a_proxy_says_who_the_user_is(tmp_path: Path) -> None:
    with Inside(tmp_path, no_auth=False, user_header="X-Forwarded-User", private=True) as server:
        assert ask(server, "POST", "/bob/?create=true", headers={"X-Forwarded-User": "bob"}).status == 200
        assert ask(server, "POST", "/alice/?create=true", headers={"X-Forwarded-User": "bob"}).status == 401
        for user in ("", "..", "a/b", "a b"):
            assert ask(server, "GET", "/../config", headers={"X-Forwarded-User": user}).status in (401, 404)
        assert ask(server, "GET", "/bob/config", headers=basic("bob", "x")).status == 401
        twice = b"GET /bob/config HTTP/1.1\r\nX-Forwarded-User: bob\r\nX-Forwarded-User: alice\r\nConnection: close\r\n\r\n"
        assert raw(server, twice).startswith(b"HTTP/1.1 401 ")


def test_users_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "_LOOK", 0)
    file = tmp_path / "users"
    file.write_text(f"# a comment\n\n{BOB}\n")
    with Inside(tmp_path, no_auth=False, users=str(file)) as server:
        assert ask(server, "GET", "/config", headers=basic("bob", SECRET)).status == 404
        file.write_text(line("alice", "new") + "\n")
        assert ask(server, "GET", "/config", headers=basic("bob", SECRET)).status == 401
        assert ask(server, "GET", "/config", headers=basic("alice", "new")).status == 404
        # What cannot be read leaves everything as it was.
        file.unlink()
        file.mkdir()
        assert ask(server, "GET", "/config", headers=basic("alice", "new")).status == 404
        assert any("the users from before stay" in text for text in server.reported)


def test_what_is_wrong_with_users(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"bad name:x\n{BOB}\nmd5:$apr1$x$y\nplain:password\nno colon\nunix:$2b$04$short\n")
    told: list[str] = []
    found = Users(str(file), told.append)
    assert len(told) == 5 and all(text.startswith(f"{file}: line ") and "password" not in text for text in told)
    assert found.check(b"bob", SECRET.encode()) and not found.check(b"plain", b"password")
    assert not found.check(b"md5", b"") and not found.check(b"bob", b"")
    with pytest.raises(UsageError, match="use --no-auth to disable"):
        Users(str(tmp_path / "missing"), told.append)


def test_long_passwords_count_as_bcrypt_counts_them(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(line("bob", "p" * 72) + "\n")
    found = Users(str(file), lambda text: None)
    assert found.check(b"bob", b"p" * 72) and found.check(b"bob", b"p" * 100) and not found.check(b"bob", b"p" * 71)


def test_a_right_password_is_remembered_but_not_for_others(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(line("bob", "right") + "\n")
    found = Users(str(file), lambda text: None)
    assert not found.remembered(b"bob", b"right")
    assert found.check(b"bob", b"right") and found.remembered(b"bob", b"right")
    assert not found.remembered(b"bob", b"wrong") and not found.remembered(b"bo", b"bright")
    assert not found.check(b"bob", b"wrong") and not found.remembered(b"bob", b"wrong")


def test_no_more_than_the_maximum(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "before").write_bytes(bytes(400))
    with Inside(tmp_path, max_size=1000) as server:
        quota = server.server.folder.quota
        assert quota.used == 400
        assert ask(server, "POST", "/?create=true").status == 200
        data = [os.urandom(500), os.urandom(200)]
        assert ask(server, "POST", f"/data/{sha(data[0])}", data[0]).status == 200
        assert ask(server, "POST", f"/data/{sha(data[1])}", data[1]).status == 507
        assert ask(server, "POST", f"/data/{sha(b'y')}", b"x").status == 400
        chunked = {"Transfer-Encoding": "chunked"}
        body = b"c8\r\n" + data[1] + b"\r\n0\r\n\r\n"
        assert ask(server, "POST", f"/data/{sha(data[1])}", body, chunked).status == 507
        assert quota.used == 900
        assert ask(server, "DELETE", f"/data/{sha(data[0])}").status == 200
        assert quota.used == 400
        assert ask(server, "POST", f"/data/{sha(data[1])}", body, chunked).status == 200
        assert quota.used == 600


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The server may write no file above 1 MiB, which it is told as on a full disk."""

    class Limited(OurServer):
        name = "serve-limited"

        def command(self) -> list[str]:
            return ["prlimit", "--fsize=1048576", "--", *super().command()]

    data = os.urandom(2 << 20)
    with running(Limited) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        assert ask(server, "POST", f"/data/{sha(data)}", data).status == 507
        assert [path for path in server.data.rglob("*") if path.is_file()] == []
        assert ask(server, "POST", f"/data/{sha(data[:1000])}", data[:1000]).status == 200
        assert f"POST /data/{sha(data)}: write" in server.told()


def test_the_same_file_by_many_at_once(tmp_path: Path) -> None:
    data = os.urandom(2 << 20)
    with Inside(tmp_path) as server, ThreadPoolExecutor(8) as threads:
        assert ask(server, "POST", "/?create=true").status == 200
        found = list(threads.map(lambda _: ask(server, "POST", f"/data/{sha(data)}", data).status, range(8)))
        assert sorted(found) == [200] + [403] * 7
        assert ask(server, "GET", f"/data/{sha(data)}").body == data
        found = list(threads.map(lambda n: ask(server, "POST", "/config", b"config %d" % n).status, range(8)))
        assert sorted(found) == [200] + [403] * 7
        assert len([path for path in server.data.rglob("*") if path.is_file()]) == 2


def test_symbolic_links_do_not_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for kind in ("data", "keys", "locks"):
        (outside / kind).mkdir(parents=True)
    (outside / "config").write_text("secret")
    (outside / "keys" / sha(b"x")).write_bytes(b"x")
    with Inside(tmp_path) as server:
        (server.data / "link").symlink_to(outside)
        (server.data / "half").mkdir()
        (server.data / "half" / "keys").symlink_to(outside / "keys")
        (server.data / "half" / "config").symlink_to(outside / "config")
        (server.data / "inner").symlink_to(server.data / "real")
        for method, path in (
            ("GET", "/link/config"),
            ("GET", "/half/config"),
            ("GET", "/link/keys/"),
            ("GET", "/half/keys/"),
            ("GET", f"/half/keys/{sha(b'x')}"),
            ("DELETE", f"/half/keys/{sha(b'x')}"),
            ("POST", f"/half/keys/{sha(b'y')}"),
            ("POST", "/link/?create=true"),
        ):
            assert ask(server, method, path, b"y" if method == "POST" else None).status in (403, 404), (method, path)
        assert any("a symbolic link leads out of the data folder" in text for text in server.reported)
        assert sorted(path.name for path in outside.rglob("*") if path.is_file()) == sorted(["config", sha(b"x")])
        assert ask(server, "POST", "/real/?create=true").status == 200
        assert ask(server, "POST", "/inner/config", b"inside").status == 200


def test_what_stands_where_a_file_should(tmp_path: Path) -> None:
    with Inside(tmp_path) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        (server.data / "keys" / sha(b"x")).mkdir()
        os.mkfifo(server.data / "keys" / sha(b"y"))
        for name in (sha(b"x"), sha(b"y")):
            assert ask(server, "GET", f"/keys/{name}").status == 404
            assert ask(server, "HEAD", f"/keys/{name}").status == 404
        assert ask(server, "POST", f"/keys/{sha(b'x')}", b"x").status == 500
        assert any("is not a regular file" in text for text in server.reported)


def test_modes(tmp_path: Path) -> None:
    old = os.umask(0o007)
    try:
        for group, folder, file in ((False, 0o700, 0o400), (True, 0o770, 0o440)):
            with Inside(tmp_path / str(group), group=group) as server:
                assert ask(server, "POST", "/a/?create=true").status == 200
                assert ask(server, "POST", f"/a/keys/{sha(b'x')}", b"x").status == 200
                assert (server.data / "a" / "data" / "00").stat().st_mode & 0o777 == folder
                assert (server.data / "a" / "keys" / sha(b"x")).stat().st_mode & 0o777 == file
    finally:
        os.umask(old)


def test_uploads_that_nobody_verifies(tmp_path: Path) -> None:
    with Inside(tmp_path, verify=False) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        assert ask(server, "POST", f"/keys/{sha(b'x')}", b"y").status == 200
        assert ask(server, "GET", f"/keys/{sha(b'x')}").body == b"y"


def test_the_log(tmp_path: Path) -> None:
    users, log = tmp_path / "users", tmp_path / "log"
    users.write_text(BOB + "\n")
    with Inside(tmp_path, no_auth=False, users=str(users), log=str(log)) as server:
        headers = {**basic("bob", SECRET), "User-Agent": 'a "quoted"\\\xe4', "Referer": "r"}
        ask(server, "GET", "/co%0anfig?x=%22", headers=headers)
        ask(server, "POST", "/?create=true", headers=headers)
        ask(server, "GET", "/keys/")
        assert until(lambda: log.read_text().count("\n") == 3)
        first, second, third = log.read_text().splitlines()
        when = r"\[\d\d/\w\w\w/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
        assert re.fullmatch(
            rf'127\.0\.0\.1 - bob {when} "GET /co%0anfig\?x=%22 HTTP/1\.1" 404 10 "r" "a \\"quoted\\"\\\\\\xe4"', first
        ), first
        assert re.fullmatch(rf'127\.0\.0\.1 - bob {when} "POST /\?create=true HTTP/1\.1" 200 0 "r" ".*"', second)
        assert re.fullmatch(rf'127\.0\.0\.1 - - {when} "GET /keys/ HTTP/1\.1" 401 13 "" ""', third)


def test_a_listing_of_any_length(tmp_path: Path) -> None:
    with Inside(tmp_path) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        names = [f"{number:064x}" for number in range(20_000)]
        for name in names:
            os.close(os.open(server.data / "snapshots" / name, os.O_CREAT | os.O_WRONLY, 0o600))
        for version in (1, 2):
            accept = {"Accept": f"application/vnd.x.restic.rest.v{version}"}
            found = ask(server, "GET", "/snapshots/", headers=accept).listed()
            assert list(found) == names and set(found.values()) == ({None} if version == 1 else {0})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"listen": "nonsense"}, "is no address to listen on"),
        ({"listen": "127.0.0.1:99999"}, "is no address to listen on"),
        ({"listen": "unix:/no/such/folder/socket"}, "listen on unix:/no/such/folder/socket failed: no such file"),
        ({"tls_certificate": "x"}, "require --tls"),
        ({"tls": True}, "cannot be read: no such file"),
        ({"log": "/no/such/folder/log"}, "cannot be written"),
        ({"max_size": -1}, "must not be negative"),
        ({"no_auth": False}, "use --no-auth to disable"),
        ({"path": "/dev/null/x"}, "cannot be the data folder"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], text: str, tmp_path: Path) -> None:
    base: dict[str, object] = {"path": str(tmp_path / "data"), "listen": "127.0.0.1:0", "no_auth": True}
    with pytest.raises(UsageError, match=text):
        ServeServer(Settings(**{**base, **settings}), print)  # type: ignore[arg-type]


def test_tls_bounds_its_version_and_survives_others(tmp_path: Path, certificates: Certificates) -> None:
    pem, key = str(certificates.server), str(certificates.key_of(certificates.server))
    with Inside(tmp_path, tls=True, tls_certificate=pem, tls_key=key, tls_minimum="1.3") as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=str(certificates.ca))
            context.maximum_version = version
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
            if version is ssl.TLSVersion.TLSv1_2:
                with pytest.raises(ssl.SSLError):
                    connection.connect()
                continue
            for nonsense in (b"GET /config HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", os.urandom(3000)):
                raw(server, nonsense, end=True)
            connection.request("GET", "/config")
            assert answer_of(connection).status == 404
            connection.close()
    assert server.reported == []


def test_a_port_or_socket_in_use(tmp_path: Path) -> None:
    with Inside(tmp_path) as server, pytest.raises(UsageError, match="address already in use"):
        ServeServer(Settings(str(tmp_path), f"127.0.0.1:{server.port}", no_auth=True), print)
    path = f"/proc/self/cwd/{os.path.relpath(tmp_path)}/s"
    first = ServeServer(Settings(str(tmp_path), f"unix:{path}", no_auth=True), print)
    with pytest.raises(UsageError, match="address already in use"):
        ServeServer(Settings(str(tmp_path), f"unix:{path}", no_auth=True), print)
    first._listener.close()  # as a server that was killed leaves it
    with ServeServer(Settings(str(tmp_path), f"unix:{path}", no_auth=True), print):
        assert (tmp_path / "s").is_socket()
    assert not (tmp_path / "s").exists()


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    for words, text in (((), b"no data directory: name it with --path"), (("--path", str(tmp_path)), b"cannot load ")):
        command = [*ours(), "serve", *words]
        done = subprocess.run(command, env=environment({"PATH": os.environ["PATH"]}), capture_output=True, check=False)
        assert done.returncode == 1 and done.stderr.startswith(b"Fatal: " + text) and done.stderr.count(b"\n") == 1, done


def test_what_runs_is_completed_before_the_end(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    with running(OurServer) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        idle = socket.create_connection(("127.0.0.1", server.port), 10)
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            head = f"POST /data/{sha(data)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            connection.sendall(head + data[:500_000])
            time.sleep(0.2)
            server.signal(signal.SIGTERM)
            assert idle.recv(1) == b""
            time.sleep(0.5)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", server.port), 1)
            connection.sendall(data[500_000:])
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert server._child is not None and server._child.wait(30) == 0
        assert (server.data / "data" / sha(data)[:2] / sha(data)).read_bytes() == data


def test_who_stalls_does_not_keep_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_module, "STOP_PATIENCE", 0.3)
    with Inside(tmp_path) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(b"POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
            time.sleep(0.1)
            server.ask_to_stop()
            assert b" 200 " not in connection.recv(1 << 16)
    assert [path for path in server.data.rglob("*") if path.is_file()] == []


def test_what_is_being_stored_is_not_dropped_beneath_it(tmp_path: Path) -> None:
    """A thread that stores a file goes on when its request is given up: only then its file may be closed."""
    happened: list[str] = []
    started = threading.Event()

    class Slow(Upload):
        def finish(self) -> None:
            started.set()
            time.sleep(0.5)
            super().finish()
            happened.append("stored")

        def abort(self) -> None:
            happened.append("dropped")
            super().abort()

    folder = DataFolder(str(tmp_path))
    folder.create(Named(()))
    writer = LocalStorage(tmp_path).begin(FileKind.CONFIG)
    upload = Slow(writer, Named((), FileKind.CONFIG), folder.quota, 0, verify=True)

    async def give_up() -> None:
        storing = Storing(upload, asyncio.to_thread)
        await storing.append([b"config"])
        task = asyncio.ensure_future(storing.finish())
        await asyncio.to_thread(started.wait)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await storing.close()

    asyncio.run(give_up())
    assert happened == ["stored", "dropped"]
    assert (tmp_path / "config").read_bytes() == b"config"


def test_systemd_passes_a_socket_on(tmp_path: Path) -> None:
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(number), *ours(), "serve", "--no-auth", "--path", str(tmp_path)],
            pass_fds=[number],
            stdout=subprocess.DEVNULL,
            env=environment({"PATH": os.environ["PATH"]}),
        )
        try:
            connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=30)
            connection.request("GET", "/config")
            assert answer_of(connection).status == 404
        finally:
            child.terminate()
            child.wait(30)
        assert child.returncode == 0


def test_hangup_reads_the_users_again(tmp_path: Path) -> None:
    class WithUsers(OurServer):
        name = "serve-users"

        def prepare(self) -> None:
            (self.data / ".htpasswd").write_text(BOB + "\n")

        def arguments(self) -> list[str]:
            return []

    with running(WithUsers) as server:
        assert ask(server, "GET", "/config", headers=basic("bob", SECRET)).status == 404
        server.signal(signal.SIGHUP)
        for _ in range(200):
            assert ask(server, "GET", "/config", headers=basic("bob", SECRET)).status == 404
            if "reloaded" in server.told():
                break
            time.sleep(0.02)
        assert "reloaded" in server.told()


def test_threads_end_with_the_server(tmp_path: Path) -> None:
    before = threading.active_count()
    with Inside(tmp_path) as server:
        ask(server, "GET", "/config")
    assert threading.active_count() <= before
