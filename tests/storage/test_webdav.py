"""Repositories on WebDAV servers: rclone's, and answers by hand of what it never says."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from restic_format.errors import (
    AccessDenied,
    AnswerCut,
    FileExists,
    FileMissing,
    LocationInvalid,
    NoSpace,
    StorageError,
)
from restic_format.storage import Storage
from restic_format.storage.folders import FolderStorage
from restic_format.storage.limited import Pace
from restic_format.storage.opendal import open_opendal
from restic_format.storage.retrying import RetryingStorage
from restic_format.storage.transport import Transport
from restic_format.storage.webdav import WebdavStore
from restic_spec.layout import FileKind
from tests.servers.base import Place, Server
from tests.servers.faultyproxy import Fault, FaultyProxy
from tests.storage.answers import Answers, answer
from tests.storage.contract import CONTENT, NAME, StorageContract
from tests.storage.interchange import interchange, opened_opendal


def patient(place: Place) -> Storage:
    """The storage at *place* with retries, which lose no time."""
    return RetryingStorage(opened_opendal(place), Transport(), sleep=lambda seconds: None)


class TestWebdav(StorageContract):
    @pytest.fixture
    def storage(self, rclone_webdav: Server) -> Storage:
        # rclone ends a list with an error when a file goes that it was about to name: it is asked again.
        storage = patient(rclone_webdav.place("contract"))
        storage.create()
        return storage


def test_restic_and_we_work_with_the_same_folder(rclone_webdav: Server, tmp_path: Path) -> None:
    place = rclone_webdav.place("both")
    interchange(place, tmp_path, restics=Place(str(place.folder)))


def test_of_several_who_make_a_repository_one_does(rclone_webdav: Server) -> None:
    place = rclone_webdav.place("race")  # while two rename, rclone answers 423 Locked to one
    opened_opendal(place).create()

    def once(number: int) -> bool:
        try:
            patient(place).save_new(FileKind.CONFIG, "", bytes([number]) * 100)
        except FileExists:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(once, range(8))) == 1
    assert place.folder is not None
    assert [path.name for path in place.folder.iterdir() if path.is_file()] == ["config"]


def test_a_pack_finds_its_folder_made_by_somebody_or_by_nobody(rclone_webdav: Server) -> None:
    place = rclone_webdav.place("folders")
    storage, other = opened_opendal(place), opened_opendal(place)
    storage.create()
    contents = {sha256(bytes([number])).hexdigest(): bytes([number]) for number in range(20)}
    for name, content in contents.items():
        storage.save(FileKind.PACK, name, content)
        other.save(FileKind.PACK, sha256(content * 2).hexdigest(), content * 2)
    assert place.folder is not None
    for name in contents:
        storage.remove(FileKind.PACK, name)
        (place.folder / "data" / name[:2]).rmdir() if not any((place.folder / "data" / name[:2]).iterdir()) else None
    for name, content in contents.items():
        storage.save(FileKind.PACK, name, content)
    assert {name for name, _ in storage.list(FileKind.PACK)} > set(contents)


def test_an_upload_that_ends_in_the_middle_is_no_file(rclone_webdav: Server) -> None:
    class Ending(Pace):
        def wait(self, size: int) -> None:
            if size and not wanted:
                raise KeyboardInterrupt
            if size:
                wanted.pop()

    wanted = [1, 2, 3]
    content = os.urandom(2 << 20)
    storage = opened_opendal(rclone_webdav.place("ending"), Transport(upload=Ending(1 << 30)))
    with pytest.raises(KeyboardInterrupt):
        storage.save(FileKind.PACK, sha256(content).hexdigest(), content)
    wanted += range(100)
    assert list(storage.list(FileKind.PACK)) == []


def test_who_may_not_in_is_told_so_and_no_secret_is(rclone_webdav: Server) -> None:
    place = rclone_webdav.place("denied")
    port = rclone_webdav.port
    for options in ({"password": "wrong-secret"}, {"username": "", "endpoint": f"http://ann:wrong-secret@127.0.0.1:{port}"}):
        storage = opened_opendal(place, **options)
        with pytest.raises(AccessDenied, match="401 Unauthorized") as caught:
            storage.size(FileKind.CONFIG, "")
        assert "wrong-secret" not in str(caught.value) + storage.location + repr(storage)
        with pytest.raises(AccessDenied, match=r"make folder .*: 401"):
            storage.create()


@pytest.mark.parametrize("endpoint", ["ftp://host", "host", "http://", "http://[::1", "https://host/../a"])
def test_an_endpoint_that_cannot_be_is_refused(endpoint: str) -> None:
    with pytest.raises(LocationInvalid, match=r"^opendal:webdav: "):
        open_opendal("webdav", {"endpoint": endpoint}, Transport())


# What follows is answered by hand.


def scripted(*replies: object, root: str = "a b/r\u00e9po") -> tuple[FolderStorage, Answers]:
    http = Answers(replies)
    return FolderStorage(WebdavStore(http, "https://host", root, {"Authorization": "Bearer t0ken"}, 2)), http


def listing(*entries: tuple[str, str]) -> bytes:
    found = "".join(
        f"<D:response><D:href>{href}</D:href><D:propstat><D:prop>{about}</D:prop><D:status>HTTP/1.1 200 OK</D:status>"
        "</D:propstat></D:response>"
        for href, about in entries
    )
    return f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{found}</D:multistatus>'.encode()


FOLDER = "<D:resourcetype><D:collection/></D:resourcetype>"


def size(number: object) -> str:
    return f"<D:getcontentlength>{number}</D:getcontentlength><D:resourcetype/>"


@pytest.mark.parametrize(
    "base", ["/a%20b/r%C3%A9po", "https://host/a%20b/r%C3%A9po", "/behind/a%20b/r%C3%A9po", "/a b/r\u00e9po"]
)
def test_lists_are_read_however_the_server_writes_paths(base: str) -> None:
    body = listing(
        (f"{base}/snapshots/", FOLDER),
        (f"{base}/snapshots/{NAME}", size(17)),
        (f"{base}/snapshots/{NAME}-restic-temp-{'0' * 32}", size(5)),
        (f"{base}/snapshots/.htaccess", size(5)),
        (f"{base}/snapshots/{'3' * 64}/", FOLDER),
    )
    storage, http = scripted(answer(207, body), answer(404))
    assert list(storage.list(FileKind.SNAPSHOT)) == [(NAME, 17)]
    assert [asked.target for asked in http.asked] == [
        "/a%20b/r%C3%A9po/snapshots/",
        f"/a%20b/r%C3%A9po/snapshots/{'3' * 64}/",
    ]
    assert all(asked.headers["Authorization"] == "Bearer t0ken" and asked.headers["Depth"] == "1" for asked in http.asked)


def test_names_that_cannot_be_lead_nowhere() -> None:
    odd = ("%2e%2e", "%2E", "a%2f..%2fb", "%1b%5b2J", "%0d%0aDELE%20x", "%00")
    body = listing(*((f"/x/snapshots/{name}/", FOLDER) for name in odd), *((f"/x/snapshots/{name}", size(1)) for name in odd))
    storage, http = scripted(answer(207, body), *(answer(404) for _ in range(10)))
    assert list(storage.list(FileKind.SNAPSHOT)) == []
    assert [asked.target for asked in http.asked[1:]] == ["/a%20b/r%C3%A9po/snapshots/b/"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"not xml",
        b"\xff\xfe",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><D:multistatus xmlns:D="DAV:">&a;</D:multistatus>',
        listing(("/x", size(1)))[:-5],
        b'<D:prop xmlns:D="DAV:"/>',
        listing(("http://[/x", size(1))),
        listing(("/x" * 1_000_000, size(1))),
    ],
    ids=range(9),
)
def test_what_is_no_list_is_an_error_and_not_empty(body: bytes) -> None:
    storage, _ = scripted(answer(207, body))
    with pytest.raises(StorageError, match="list snapshots: what the server answers is no list of files"):
        list(storage.list(FileKind.SNAPSHOT))


def test_a_file_that_is_listed_without_its_size_is_not_left_out() -> None:
    names = [str(number) * 64 for number in range(4)]
    about = [size(-1), size("9" * 30), "<D:resourcetype/>", "<D:resourcetype/>"]
    body = listing(*((f"/a b/snapshots/{name}", told) for name, told in zip(names, about, strict=True)))
    heads = [answer(200, Content_Length=str(number)) for number in (5, 6, 7)]
    storage, _ = scripted(answer(207, body), *heads, answer(404))
    assert list(storage.list(FileKind.SNAPSHOT)) == [(names[0], 5), (names[1], 6), (names[2], 7)]
    storage, _ = scripted(answer(207, body), answer(500))
    with pytest.raises(StorageError, match="500"):
        list(storage.list(FileKind.SNAPSHOT))


def test_a_list_that_is_refused_is_an_error_and_not_empty() -> None:
    for status, kind in {401: AccessDenied, 403: AccessDenied, 500: StorageError, 200: StorageError, 423: StorageError}.items():
        storage, _ = scripted(answer(status, b"<html>"))
        with pytest.raises(kind, match=f"list snapshots: {status} "):
            list(storage.list(FileKind.SNAPSHOT))


def test_folders_below_folders_come_to_an_end() -> None:
    deeper = (answer(207, listing(("/q/y/", FOLDER))) for _ in range(30))
    storage, http = scripted(*deeper)
    with pytest.raises(StorageError, match="folders are deeper than 8"):
        list(storage.list(FileKind.SNAPSHOT))
    assert len(http.asked) == 8
    wide = answer(207, listing(*((f"/q/{number}/", FOLDER) for number in range(10_000))))
    storage, http = scripted(wide)
    with pytest.raises(StorageError, match="there are more than 10000 folders"):
        list(storage.list(FileKind.SNAPSHOT))
    assert len(http.asked) == 1


def test_another_part_than_was_asked_for_is_noticed() -> None:
    for reply in (
        answer(200, b"12345", Content_Length="5"),
        answer(206, b"12345", Content_Range="bytes 0-4/17"),
        answer(206, b"1234", Content_Range="bytes 3-6/17"),
    ):
        storage, _ = scripted(reply, answer(200, Content_Length="17"))
        with pytest.raises(AnswerCut):
            storage.load(FileKind.SNAPSHOT, NAME, 3, 5)


def test_a_size_that_head_does_not_tell_is_asked_for_otherwise() -> None:
    storage, http = scripted(answer(200), answer(207, listing((f"/a%20b/r%C3%A9po/snapshots/{NAME}", size(17)))))
    assert storage.size(FileKind.SNAPSHOT, NAME) == 17
    assert [(asked.method, asked.headers.get("Depth")) for asked in http.asked] == [("HEAD", None), ("PROPFIND", "0")]


def test_a_file_gets_its_name_when_it_is_there() -> None:
    storage, http = scripted(answer(201), answer(201))
    storage.save(FileKind.SNAPSHOT, NAME, b"content")
    put, move = http.asked
    assert put.method == "PUT" and put.body == b"content" and f"{NAME}-restic-temp-" in put.target
    assert (move.method, move.target) == ("MOVE", put.target)
    assert move.headers["Destination"] == f"https://host/a%20b/r%C3%A9po/snapshots/{NAME}"
    assert move.headers["Overwrite"] == "T"


def test_what_cannot_be_renamed_is_removed_and_not_tried_again_where_the_server_never_can() -> None:
    for status, permanent in {405: True, 501: True, 403: True, 502: False}.items():
        storage, http = scripted(answer(201), answer(status), answer(204))
        with pytest.raises(StorageError, match=f"rename snapshots/.*{status}") as caught:
            storage.save(FileKind.SNAPSHOT, NAME, b"content")
        assert caught.value.permanent is permanent
        assert (http.asked[2].method, http.asked[2].target) == ("DELETE", http.asked[0].target)


def test_a_folder_that_is_gone_is_made_once_and_a_full_server_is_full() -> None:
    storage, http = scripted(answer(409), answer(405), answer(201), answer(201), answer(201))
    storage.save(FileKind.SNAPSHOT, NAME, b"content")
    assert [asked.method for asked in http.asked] == ["PUT", "MKCOL", "MKCOL", "PUT", "MOVE"]
    storage, _ = scripted(answer(409), answer(405), answer(201), answer(409), answer(404))
    with pytest.raises(FileMissing, match="409 Conflict"):
        storage.save(FileKind.SNAPSHOT, NAME, b"content")
    storage, _ = scripted(answer(507), answer(404))
    with pytest.raises(NoSpace, match="507"):
        storage.save(FileKind.SNAPSHOT, NAME, b"content")


def test_a_name_is_uploaded_to_once_as_the_server_may_be_busy_with_another_try(rclone_webdav: Server) -> None:
    class Cutting(FaultyProxy):
        """Cuts the first upload."""

        def _choose(self, method: str, target: str, size: int) -> Fault | None:
            super()._choose(method, target, size)
            uploads = [what for what in self.happened if what.request.startswith("PUT")]
            return Fault.CUT_REQUEST if method == "PUT" and len(uploads) == 1 else None

    with Cutting(rclone_webdav.port, 0, rate=0) as proxy:
        storage = opened_opendal(proxy.place(rclone_webdav.place("again")))
        storage.create()
        storage.save(FileKind.SNAPSHOT, NAME, CONTENT)
        targets = [what.request for what in proxy.happened if what.request.startswith("PUT")]
        assert len(targets) == 2 and targets[0] != targets[1]
        assert storage.load(FileKind.SNAPSHOT, NAME) == CONTENT


def test_what_the_server_says_in_xml_is_told() -> None:
    said = b'<?xml version="1.0"?><d:error xmlns:d="DAV:" xmlns:s="x"><s:message>Quota\x1b[2J used</s:message></d:error>'
    storage, _ = scripted(answer(503, said), answer(404))
    with pytest.raises(StorageError, match=r"503 Service Unavailable: Quota\\x1b\[2J used"):
        storage.save(FileKind.SNAPSHOT, NAME, b"content")
