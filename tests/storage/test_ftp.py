"""Repositories on FTP servers: rclone's, and one with TLS that knows the old list only."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, LocationInvalid, ServerNotTrusted, StorageAway, StorageError
from restic_format.storage import Storage
from restic_format.storage.folders import Entry, FolderStorage
from restic_format.storage.ftp import _by_facts, _by_line
from restic_format.storage.limited import Pace
from restic_format.storage.opendal import open_opendal
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.base import Place, Server
from tests.servers.certificates import Certificates
from tests.storage.contract import StorageContract
from tests.storage.interchange import interchange, opened_opendal

CONTENT = os.urandom(1 << 20) * 3
NAME = sha256(CONTENT).hexdigest()


class TestFtp(StorageContract):
    @pytest.fixture
    def storage(self, rclone_ftp: Server) -> Storage:
        storage = opened_opendal(rclone_ftp.place("contract"))
        storage.create()
        return storage


class TestTls(StorageContract):
    @pytest.fixture
    def storage(self, tls_ftp: Server, certificates: Certificates) -> Storage:
        storage = secured(tls_ftp.place("contract"), certificates)
        storage.create()
        return storage


def secured(place: Place, certificates: Certificates) -> FolderStorage:
    transport = Transport(environment=place.environment, ca_certificates=(str(certificates.ca),))
    found = opened_opendal(place, transport)
    assert isinstance(found, FolderStorage)
    return found


@pytest.mark.parametrize("fixture", [pytest.param("rclone_ftp", marks=pytest.mark.long), "tls_ftp"])
def test_restic_and_we_work_with_the_same_folder(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = request.getfixturevalue(fixture).place("both")
    interchange(place, tmp_path, restics=Place(str(place.folder)))


def test_parts_of_a_large_file_are_read_by_many_and_connections_are_used_again(
    tls_ftp: Server, certificates: Certificates
) -> None:
    storage = secured(tls_ftp.place("parts"), certificates)
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    from concurrent.futures import ThreadPoolExecutor

    def part(offset: int) -> bool:
        return storage.load(FileKind.PACK, NAME, offset, 50_000) == CONTENT[offset : offset + 50_000]

    with ThreadPoolExecutor(5) as threads:
        assert all(threads.map(part, range(0, len(CONTENT) - 50_000, 100_003)))
    target = bytearray(len(CONTENT))
    storage.load_into(FileKind.PACK, NAME, 0, memoryview(target))
    assert target == CONTENT


def test_an_upload_that_ends_in_the_middle_leaves_nothing(rclone_ftp: Server) -> None:
    class Ending(Pace):
        def wait(self, size: int) -> None:
            if not wanted:
                raise KeyboardInterrupt
            wanted.pop()

    wanted = [1, 2, 3]
    place = rclone_ftp.place("ending")
    storage = opened_opendal(place, Transport(upload=Ending(1 << 30)))
    storage.create()
    with pytest.raises(KeyboardInterrupt):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert list(storage.list(FileKind.PACK)) == []
    wanted += range(100)
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert list(storage.list(FileKind.PACK)) == [(NAME, len(CONTENT))]
    assert place.folder is not None
    assert [path.name for path in place.folder.rglob("*") if path.is_file()] == [NAME]


@pytest.mark.parametrize("fixture", ["rclone_ftp", "rclone_webdav"])
def test_what_a_killed_upload_has_left_is_removed_after_a_while(fixture: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(fixture).place("left")
    storage = opened_opendal(place)
    storage.create()
    assert place.folder is not None
    left = place.folder / "data" / "ab" / f"{'ab' * 32}-restic-temp-{'0' * 32}"
    left.parent.mkdir()
    for file, age in {left: 7200, left.with_name("ab" * 32): 7200, left.with_name(f"x-restic-temp-{'1' * 32}"): 60}.items():
        file.write_bytes(b"half")
        now = file.stat().st_mtime
        os.utime(file, (now - age, now - age))
    asked: list[bool] = []
    assert storage.remove_unfinished(3600, lambda: bool(asked.append(True))) == 0 and asked == [True]
    assert left.exists()
    assert storage.remove_unfinished(3600, lambda: True) == 1
    assert sorted(path.name for path in left.parent.iterdir()) == ["ab" * 32, f"x-restic-temp-{'1' * 32}"]
    assert [path.name for path in place.folder.iterdir() if path.is_file()] == []


def test_who_may_not_in_is_told_so_at_once(rclone_ftp: Server, tls_ftp: Server, certificates: Certificates) -> None:
    with pytest.raises(AccessDenied, match=r"^ftp://127\.0\.0\.1:\d+: log in: 530 ") as caught:
        opened_opendal(rclone_ftp.place("denied"), password="wrong-secret").size(FileKind.CONFIG, "")
    assert "wrong-secret" not in str(caught.value)
    place = tls_ftp.place("denied")
    for ca, endpoint in ((certificates.other_ca, "ftps://localhost"), (certificates.ca, "ftps://127.1")):
        transport = Transport(environment=place.environment, ca_certificates=(str(ca),))
        with pytest.raises(ServerNotTrusted, match="tls: failed to verify certificate"):
            opened_opendal(place, transport, endpoint=f"{endpoint}:{tls_ftp.port}").size(FileKind.CONFIG, "")
    with pytest.raises(AccessDenied, match="log in: 550"):  # it wants TLS
        opened_opendal(place, endpoint=f"ftp://localhost:{tls_ftp.port}").size(FileKind.CONFIG, "")


def test_a_server_that_is_gone_is_away(tls_ftp: Server) -> None:
    with pytest.raises(StorageAway, match=r"ftp://127\.0\.0\.1:1: connection refused"):
        open_opendal("ftp", {"endpoint": "ftp://127.0.0.1:1"}, Transport()).size(FileKind.CONFIG, "")


def test_connections_that_the_server_has_closed_are_made_anew(certificates: Certificates, tls_ftp: Server) -> None:
    place = tls_ftp.place("anew")
    storage = secured(place, certificates)
    storage.create()
    tls_ftp.stop()
    with pytest.raises(StorageAway):
        storage.size(FileKind.CONFIG, "")
    tls_ftp.start()
    storage.save(FileKind.CONFIG, "", b"x")
    assert storage.size(FileKind.CONFIG, "") == 1


FILE, DIR = "type=file;size=5;modify=20240102030405.123; ", "Type=dir;Modify=20240102030405; "


@pytest.mark.parametrize(
    ("line", "entry"),
    {
        f"{FILE}a b": Entry("a b", 5, False, 1704164645.0),
        f"{DIR}ab": Entry("ab", 0, True, 1704164645.0),
        "size=5;type=file;modify=x; c": Entry("c", 5),
        "type=cdir;modify=20240102030405; .": None,
        "type=pdir;modify=20240102030405; ..": None,
        "type=OS.unix=slink:/etc;size=5; a": None,
    }.items(),
)
def test_lists_with_facts_are_read(line: str, entry: Entry | None) -> None:
    assert _by_facts(line) == entry


@pytest.mark.parametrize(
    ("line", "entry"),
    {
        "-rw-r--r--   1 ftp ftp       5 Jan  2 03:04 a b": Entry("a b", 5),
        "-rw-r--r--@  1 1000     1000 123456789012 Jan  2  2024 a": Entry("a", 123456789012),
        "drwxr-xr-x   2 ftp ftp    4096 Jan  2 03:04 ab": Entry("ab", 0, True),
        "drwxr-xr-x   2 ftp ftp    4096 Jan  2 03:04 ..": None,
        "lrwxrwxrwx   1 ftp ftp       4 Jan  2 03:04 a -> /etc": None,
        "total 5": None,
        "crw-------   1 root root   5,   1 Jan  2 03:04 console": None,
        "": None,
    }.items(),
)
def test_lists_for_people_are_read(line: str, entry: Entry | None) -> None:
    assert _by_line(line) == entry


@pytest.mark.parametrize(
    "line",
    [
        "type=file;size=-5; a",
        "type=file; a",
        f"type=file;size={'9' * 30}; a",
        "garbage",
        "-rw-r--r--   1 1000 domain users 5 Jan  2  2024 a",
        "01-02-24  03:04AM       <DIR>          ab",
        "01-02-24  03:04AM                    5 a\x1b[2J",
    ],
)
def test_a_file_that_cannot_be_read_from_a_list_is_not_taken_for_missing(line: str) -> None:
    for read in (_by_facts, _by_line):
        with pytest.raises(StorageError, match="the server lists files in a form that is not known: ") as caught:
            read(line)
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["http://host", "ftp://", "ftp://host:x", "ftp://host/../a", "ftp://user:se%0acret@host", "ftp://[::1"]
)
def test_an_endpoint_that_cannot_be_is_refused(endpoint: str) -> None:
    with pytest.raises(LocationInvalid, match=r"^opendal:ftp: ") as caught:
        open_opendal("ftp", {"endpoint": endpoint}, Transport())
    assert "cret" not in str(caught.value)


class Scripted:
    """A server made by hand, which logs everybody in, and then answers commands as *answers* say."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = {"USER": b"331 name\r\n", "PASS": b"230 in\r\n", "TYPE": b"200 I\r\n", **answers}
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.storage = open_opendal("ftp", {"endpoint": f"127.0.0.1:{self.listening.getsockname()[1]}"}, Transport())
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                with connection, connection.makefile("rb") as commands:
                    connection.sendall(self.answers.get("", b"220 hello\r\n"))
                    for line in commands:
                        connection.sendall(self.answers.get(line[:4].strip().decode(), b"250 ok\r\n"))


ENDLESS = b"220-hello\r\n" * 100_000


@pytest.mark.parametrize(
    "answers",
    [
        {"": ENDLESS},
        {"SIZE": ENDLESS.replace(b"220", b"213")},
        {"SIZE": b"213 many\r\n"},
        {"SIZE": b"213 " + b"9" * 6000 + b"\r\n"},
        {"SIZE": b"213 -5\r\n"},
    ],
    ids=["greeting", "lines", "text", "digits", "negative"],
)
def test_answers_without_end_or_sense_are_errors_that_may_pass(answers: dict[str, bytes]) -> None:
    server = Scripted(answers)
    with server.listening, pytest.raises(StorageError) as caught:
        server.storage.size(FileKind.CONFIG, "")
    assert not caught.value.permanent


@pytest.mark.parametrize("port", [b"999,999", b"256,0", b"9" * 5000 + b",1"], ids=["large", "just", "digits"])
def test_a_port_that_is_none_is_an_error_that_may_pass(port: bytes) -> None:
    server = Scripted({"PASV": b"227 (127,0,0,1," + port + b")\r\n"})
    with server.listening, pytest.raises(StorageAway):
        list(server.storage.list(FileKind.LOCK))
