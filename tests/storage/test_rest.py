"""REST servers: what locations mean, who is asked with which password, and servers that answer otherwise than rest-server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import Message

import pytest

from restic_format.errors import AccessDenied, AnswerCut, FileExists, FileMissing, FileUnusable, LocationInvalid, StorageError
from restic_format.storage import Content, Storage, open_storage
from restic_format.storage.base import pieces_of
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Reply
from restic_format.storage.locations import split_password, with_password, without_password
from restic_format.storage.rest import V2, RestStorage, open_rest
from restic_format.storage.transport import DIRECT, Transport
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from tests.servers.base import Server

CONTENT = b"some sealed bytes"
NAME = id_of(CONTENT).hex()
OTHER = id_of(b"other").hex()


class Answering:
    """A server without a wire: each request is noted, and answered by a function of it."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[Mapping[str, str]] = []

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] = NONE,
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        self.asked.append((method, target, b"".join(map(bytes, pieces_of(body)))))
        self.headers.append(headers)
        return self.replies.pop(0)

    def close(self) -> None: ...


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Reply(status, "", message, body)


def storage_of(*replies: Reply) -> tuple[RestStorage, Answering]:
    http = Answering(*replies)
    return RestStorage(http, "/repo", "rest:http://host/repo/", 5, {}), http


def test_servers_of_the_first_version_are_asked_for_every_size() -> None:
    names = json.dumps([NAME, "not-a-name", OTHER]).encode()
    storage, http = storage_of(
        reply(200, names, Content_Type="application/vnd.x.restic.rest.v1"), reply(200, Content_Length="17"), reply(404)
    )
    storage._connections = 1
    assert list(storage.list(FileKind.PACK)) == [(NAME, 17)], "one was removed in between"
    assert http.asked[0] == ("GET", "/repo/data/", b"")
    assert http.headers[0]["Accept"] == "application/vnd.x.restic.rest.v2"


def test_a_list_that_is_not_there_is_empty_but_not_with_rclone() -> None:
    assert list(storage_of(reply(404))[0].list(FileKind.LOCK)) == []
    with pytest.raises(FileMissing, match="list locks: 404"):
        list(storage_of(reply(404, Server="rclone/v1.75.2"))[0].list(FileKind.LOCK))


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{}", b"[1]", b'[{"name":1,"size":2}]', b'[{"name":"x"}]', b"\xff", b'["a"', b'[{"x":' + b"[" * 100_000],
)
@pytest.mark.parametrize("kind", ["application/vnd.x.restic.rest.v2", "text/html"])
def test_what_is_no_list_is_an_error_that_may_pass(body: bytes, kind: str) -> None:
    told = "list snapshots: what the server answers is no list of files|a web page answers"
    with pytest.raises(StorageError, match=told) as caught:
        list(storage_of(reply(200, body, Content_Type=kind))[0].list(FileKind.SNAPSHOT))
    assert not caught.value.permanent


@pytest.mark.parametrize("kind", [V2, "application/vnd.x.restic.rest.v1"])
def test_a_list_of_countless_short_names_is_none(kind: str) -> None:
    """A gigabyte of them would take many of memory."""
    entry = b'{"name":"","size":0}' if kind == V2 else b'""'
    body = b"[" + b",".join([entry] * 300_000) + b"]"
    with pytest.raises(StorageError, match="list snapshots: what the server answers is no list of files"):
        list(storage_of(reply(200, body, Content_Type=kind))[0].list(FileKind.SNAPSHOT))


def test_a_file_whose_size_is_below_nothing_is_left_out() -> None:
    body = json.dumps([{"name": NAME, "size": -5}]).encode()
    assert list(storage_of(reply(200, body, Content_Type=V2))[0].list(FileKind.SNAPSHOT)) == []


def test_a_file_that_is_there_already_with_this_content_is_stored() -> None:
    storage, http = storage_of(reply(403), reply(200, Content_Length=str(len(CONTENT))), reply(206, CONTENT))
    storage.save(FileKind.PACK, NAME, [CONTENT[:5], memoryview(CONTENT)[5:]])
    assert [method for method, _, _ in http.asked] == ["POST", "HEAD", "GET"]


def test_another_one_is_removed_first() -> None:
    storage, http = storage_of(reply(403), reply(200, Content_Length="3"), reply(206, b"bad"), reply(200), reply(200))
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert [method for method, _, _ in http.asked] == ["POST", "HEAD", "GET", "DELETE", "POST"]
    assert http.asked[-1] == ("POST", f"/repo/data/{NAME}", CONTENT)


def test_who_may_not_write_is_told_so() -> None:
    storage, http = storage_of(reply(403, b"read only\n"), reply(404))
    with pytest.raises(AccessDenied, match=rf"save data/{NAME}: 403: read only"):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert len(http.asked) == 2


def test_a_config_is_never_replaced_by_a_new_one() -> None:
    with pytest.raises(FileExists):
        storage_of(reply(200, Content_Length="5"))[0].save_new(FileKind.CONFIG, "", CONTENT)
    with pytest.raises(FileExists):  # it came in between
        storage_of(reply(404), reply(403), reply(200, Content_Length="5"))[0].save_new(FileKind.CONFIG, "", CONTENT)
    with pytest.raises(AccessDenied):
        storage_of(reply(404), reply(403), reply(404))[0].save_new(FileKind.CONFIG, "", CONTENT)


@pytest.mark.parametrize("length", ["", "-1", "x", "٣", "9" * 30])
def test_a_size_that_is_none_is_an_error(length: str) -> None:
    with pytest.raises(StorageError, match="does not say how large"):
        storage_of(reply(200, Content_Length=length))[0].size(FileKind.CONFIG, "")


def test_a_range_that_is_cut_is_told_from_a_file_that_is_short() -> None:
    with pytest.raises(AnswerCut, match="3 of 4 bytes from 1 arrived"):
        storage_of(reply(206, b"abc"), reply(200, Content_Length="100"))[0].load(FileKind.PACK, NAME, 1, 4)
    with pytest.raises(FileUnusable, match="has 4 bytes, wanted 4 from 1; it was cut short"):
        storage_of(reply(206, b"abc"), reply(200, Content_Length="4"))[0].load(FileKind.PACK, NAME, 1, 4)
    with pytest.raises(FileUnusable, match="has 4 bytes, wanted 4 from 9"):
        storage_of(reply(416), reply(200, Content_Length="4"))[0].load(FileKind.PACK, NAME, 9, 4)


@pytest.mark.parametrize(
    ("url", "origin", "path", "shown"),
    [
        ("http://host:8000/a/b", "http://host:8000", "/a/b/", "rest:http://host:8000/a/b/"),
        ("https://bob:geheim@host", "https://host", "/", "rest:https://bob:***@host/"),
        ("http://[::1]:80/ä b/", "http://[::1]", "/%C3%A4%20b/", "rest:http://[::1]:80/ä b/"),
        ("http+unix:///run/x.sock:/repo/", "http+unix:///run/x.sock", "/repo/", "rest:http+unix:///run/x.sock:/repo/"),
    ],
)
def test_what_a_url_means(url: str, origin: str, path: str, shown: str) -> None:
    storage = open_rest(url, {"connections": "0x10"}, DIRECT)
    assert isinstance(storage, RestStorage)
    assert storage._http.origin.name == origin and storage._path == path  # type: ignore[attr-defined]
    assert storage.location == shown and storage.connections == 16


@pytest.mark.parametrize(
    "url",
    [
        *("", "host/path", "ftp://a:geheim@b/", "http://", "http://a:geheim@/x", "http://h:x/", "http+unix://x"),
        *("http://a:geheim#x@b/", "http://a:geheim/x@b:80/", "http://a:x/geheim@b/", "http://a:geheim?x@b/y"),
        *("a:geheim@b", "http:/a:geheim@b/", "http+unix://a:geheim@/x:/r", "http://a:geheim@b/x?y", "http://a:geheim@b/x#y"),
        *("http://a:x@geheim@b:y/", "http://a:geheim[@b/", "http://a:geheim\r\n@b:y/"),
    ],
)
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(LocationInvalid) as caught:
        open_rest(url, {}, DIRECT)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "environment", "authorization"),
    [
        ("http://host/", {}, None),
        ("http://bob:p%40ss@host/", {"RESTIC_REST_USERNAME": "eve"}, "Basic Ym9iOnBAc3M="),
        ("http://host/", {"RESTIC_REST_USERNAME": "bob", "RESTIC_REST_PASSWORD": "p@ss"}, "Basic Ym9iOnBAc3M="),
    ],
)
def test_who_asks(url: str, environment: dict[str, str], authorization: str | None) -> None:
    storage = open_rest(url, {}, Transport(environment=environment))
    assert isinstance(storage, RestStorage)
    assert storage._headers.get("Authorization") == authorization


@pytest.mark.parametrize(
    "location",
    [
        *("rest:http://bob:a:b@host/x", "rest:https://bob:%40@h", "rest:http://:x@h/", "rest:http://bob@b.org:cc@h/"),
        *("s3:http://a:bb@c/d", "rest:http://bob:a/b@h/", "sftp://bob@b.org:cc@h:22//x@y"),
    ],
)
def test_a_password_is_taken_out_of_a_location_and_put_back(location: str) -> None:
    rest, password = split_password(location)
    assert password and password not in rest.replace("http", "")
    assert with_password(rest, password) == location
    assert "***" in without_password(location)


@pytest.mark.parametrize(
    "location",
    [
        *("rest:http://bob@host/x", "rest:http://host/a:b@c/x", "/srv/rest:http://a:b@c/", "rest:http://[::1]:80/a@b"),
        *("s3:h:9000/a:b@c/", "rest:http://h:80/a@b/", "rest:http://bob:@h/"),
    ],
)
def test_a_location_without_a_password_is_shown_as_it_is(location: str) -> None:
    assert without_password(location) == location and split_password(location) == (location, "")


def test_a_path_that_is_no_text_is_sent_as_its_bytes() -> None:
    storage = open_rest("http://host/\udcff ü/", {}, DIRECT)
    assert isinstance(storage, RestStorage) and storage._path == "/%FF%20%C3%BC/"


def test_both_programs_meet_on_a_real_server(rest_server: Server) -> None:
    place = rest_server.place("rest")
    storage: Storage = open_storage(place.location, place.options)
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert place.folder is not None
    stored = place.folder / "data" / NAME[:2] / NAME
    assert stored.read_bytes() == CONTENT
    stored.write_bytes(b"damaged")
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert stored.read_bytes() == CONTENT, "a damaged file is replaced"
