"""Google Cloud Storage: the contract, and what is its own, on fake-gcs-server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from restic_format.errors import AccessDenied, AnswerCut, FileExists, FileMissing, LocationInvalid, StorageError, UsageError
from restic_format.storage import Storage, open_storage
from restic_format.storage.gcs import GcsStore, NewBucket, open_gs
from restic_format.storage.http.reply import Reply
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.base import Server
from tests.servers.gcs import GcsServer
from tests.storage.answers import Answers, Changing, answer
from tests.storage.contract import CONTENT, NAME, OTHER, StorageContract


def opened(server: Server, name: str = "", **more: str) -> Storage:
    """A new place on *server*, opened; *more* are variables."""
    place = server.place(name)
    return open_storage(place.location, place.options, Transport(environment={**place.environment, **more}))


class TestGcs(StorageContract):
    @pytest.fixture
    def storage(self, gcs_server: Server) -> Storage:
        made = opened(gcs_server, "contract é")
        made.create()
        return made


@pytest.mark.parametrize("rest", ["", "bucket", ":/path", "/path"])
def test_a_location_has_a_bucket_and_a_path(rest: str) -> None:
    with pytest.raises(LocationInvalid, match="gs: invalid format: bucket name or path not found"):
        open_gs(rest, {}, Transport(environment={"GOOGLE_ACCESS_TOKEN": "t"}))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", "config"),
        ("/", "config"),
        ("/a/b/", "a/b/config"),
        ("a//b", "a/b/config"),
        ("//a/../b", "b/config"),
        (".", "config"),
    ],
)
def test_a_path_is_cleaned_as_restic_does(path: str, key: str) -> None:
    storage = open_gs(f"bucket:{path}", {}, Transport(environment={"GOOGLE_ACCESS_TOKEN": "t"}))
    assert isinstance(storage, ObjectStorage) and storage.key(FileKind.CONFIG, "") == key
    assert storage.location == f"gs:bucket:/{key.removesuffix('config').removesuffix('/')}"


def test_a_missing_bucket_is_made_in_the_project(gcs_server: Server) -> None:
    assert isinstance(gcs_server, GcsServer)
    location = "gs:restic-format-new:/x"
    with pytest.raises(UsageError, match="bucket restic-format-new does not exist; to make it set GOOGLE_PROJECT_ID"):
        open_storage(location, {}, Transport(environment={**gcs_server.variables(), "GOOGLE_PROJECT_ID": ""})).create()
    storage = open_storage(location, {}, Transport(environment=gcs_server.variables()))
    assert not storage.exists(FileKind.CONFIG, "")
    with pytest.raises(FileMissing, match="list x/keys/: there is no bucket restic-format-new; init makes it"):
        list(storage.list(FileKind.KEY))
    storage.create()
    storage.save(FileKind.CONFIG, "", CONTENT)
    storage.create()
    assert storage.load(FileKind.CONFIG, "") == CONTENT


def test_an_upload_that_arrives_changed_has_failed(gcs_server: Server) -> None:
    # This server stores it all the same, which Google does not.
    place = gcs_server.place()
    http = Changing(place.environment["STORAGE_EMULATOR_HOST"], Transport(), 1)
    storage = ObjectStorage(GcsStore(http, None, place.location.split(":")[1], location="gs:x"), "changed")
    with pytest.raises(StorageError, match=f"data/{NAME}: Google has not stored these {len(CONTENT)} bytes") as caught:
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert not caught.value.permanent


def test_of_two_who_save_a_new_file_one_succeeds(gcs_server: Server) -> None:
    # Both have seen that there is none: it is Google who decides.
    storage = opened(gcs_server)
    storage.save_new(FileKind.CONFIG, "", CONTENT)
    storage.exists = lambda *_: False  # type: ignore[method-assign]
    with pytest.raises(FileExists):
        storage.save_new(FileKind.CONFIG, "", b"another")
    assert storage.load(FileKind.CONFIG, "") == CONTENT


def test_a_listing_goes_on_over_pages(gcs_server: Server) -> None:
    place = gcs_server.place()
    storage = open_gs(place.location.partition(":")[2], {}, Transport(environment=place.environment))
    assert isinstance(storage, ObjectStorage) and isinstance(storage.store, GcsStore)
    storage.store._page = 3
    names = {f"{number:064x}" for number in range(11)}
    for name in names:
        storage.save(FileKind.LOCK, name, name.encode()[:5])
    storage.save(FileKind.KEY, NAME, CONTENT)
    assert dict(storage.list(FileKind.LOCK)) == dict.fromkeys(names, 5)


def test_names_that_are_not_ours_are_left_out(gcs_server: Server) -> None:
    storage = opened(gcs_server)
    inner = storage.inner  # type: ignore[attr-defined]
    storage.save(FileKind.PACK, NAME, CONTENT)
    prefix = inner.key(FileKind.PACK, NAME).partition("data/")[0]
    for odd in (
        f"data/{NAME}",
        "data/zz/readme",
        f"data/00/{OTHER}",
        f"data/{NAME[:2]}/{NAME.upper()}",
        "data/é/ ?#%",
        "database",
    ):
        inner.store.put(prefix + odd, b"x", kind=FileKind.PACK, metadata=False, sha256="")
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}


# Answers that no server here gives: made by hand.


def store(replies: list[object]) -> tuple[ObjectStorage, Answers]:
    http = Answers(replies)
    return ObjectStorage(GcsStore(http, None, "bucket", location="gs:bucket:/"), ""), http


def refusal(status: int, message: str) -> object:
    return answer(status, json.dumps({"error": {"code": status, "message": message}}).encode())


@pytest.mark.parametrize(
    ("status", "kind", "permanent"),
    [(401, AccessDenied, True), (403, AccessDenied, True), (429, StorageError, False), (503, StorageError, False)],
)
def test_what_google_says_is_told_in_one_line(status: int, kind: type[StorageError], permanent: bool) -> None:
    storage, _ = store([refusal(status, "backup@x.iam does not have storage.objects.get\naccess \x1b[31m")])
    with pytest.raises(
        kind, match=f"GET snapshots/{NAME}: {status} .*: backup@x.iam does not have storage.objects.get"
    ) as caught:
        storage.load(FileKind.SNAPSHOT, NAME)
    assert caught.value.permanent is permanent and caught.value.object == f"snapshots/{NAME}"
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_token_that_has_ended_is_named_but_not_shown() -> None:
    storage = open_gs("bucket:/x", {}, Transport(environment={"GOOGLE_ACCESS_TOKEN": "ya29.secret"}))
    assert isinstance(storage, ObjectStorage) and isinstance(storage.store, GcsStore)
    storage.store._http = http = Answers([refusal(401, "Invalid Credentials")])
    with pytest.raises(
        AccessDenied, match="Invalid Credentials; the token in GOOGLE_ACCESS_TOKEN has ended or is not valid"
    ) as caught:
        storage.size(FileKind.CONFIG, "")
    assert http.asked[0].headers["Authorization"] == "Bearer ya29.secret"
    assert "secret" not in str(caught.value) + repr(storage) + storage.location


def test_a_new_bucket_is_in_the_region_that_is_wished_for() -> None:
    http = Answers([refusal(404, "not found"), answer(200, b"{}")])
    GcsStore(http, None, "bucket", location="gs:bucket:/", new=NewBucket("project", "eu")).create()
    assert json.loads(http.asked[1].body) == {"name": "bucket", "location": "eu"}
    assert http.asked[1].target.startswith("/storage/v1/b?project=project&")


def test_whoever_may_not_look_at_buckets_may_still_have_one() -> None:
    storage, http = store([refusal(403, "no storage.buckets.get")])
    storage.create()
    assert len(http.asked) == 1


@pytest.mark.parametrize("size", ["3", "", "-1", "1e3", "9" * 30])
def test_an_upload_of_which_another_size_is_told_has_failed(size: str) -> None:
    storage, _ = store([answer(200, json.dumps({"size": size}).encode())])
    with pytest.raises(StorageError, match=f"upload data/{NAME}: Google has not stored these {len(CONTENT)} bytes"):
        storage.save(FileKind.PACK, NAME, CONTENT)


def test_a_page_of_a_portal_is_not_taken_for_an_object() -> None:
    page = answer(200, b"<html>Welcome</html>", Content_Type="text/html")
    storage, _ = store([page] * 3)
    with pytest.raises(AnswerCut, match="GET config: 200, but what answers is not the cloud"):
        storage.load(FileKind.CONFIG, "")
    with pytest.raises(StorageError, match="config: Google does not say how large it is"):
        storage.exists(FileKind.CONFIG, "")


def test_what_arrives_changed_is_asked_for_once_more() -> None:
    storage, _ = store([answer(200, CONTENT, x_goog_hash="crc32c=AA==,md5=aaaa"), answer(200, CONTENT, x_goog_generation="1")])
    with pytest.raises(AnswerCut, match="config: the 17 bytes that arrived are not those that were sent") as caught:
        storage.load(FileKind.CONFIG, "")
    assert not caught.value.permanent
    assert storage.load(FileKind.CONFIG, "") == CONTENT


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>hello</html>", b"[]", b"{}", b'{"size": "7"}', b"\xff", b'{"kind": "storage#objects", "items": 3}'),
        b'{"kind": "storage#objects", "x":' + b"[" * 100_000,
        b'{"kind": "storage#objects", "items": [{"name": 1}]}',
        b'{"kind": "storage#objects", "items": [{"name": "locks/a", "size": "1"}]}',
    ],
)
def test_a_listing_that_is_none_is_an_error(body: bytes) -> None:
    storage, _ = store([answer(200, body)])
    with pytest.raises(StorageError, match="list keys/: what Google answers is not a list of these objects"):
        list(storage.list(FileKind.KEY))


@pytest.mark.parametrize("tokens", [["a"], ["a", "b"]])
def test_a_listing_that_does_not_end_is_an_error(tokens: list[str]) -> None:
    pages = [answer(200, json.dumps({"kind": "storage#objects", "nextPageToken": token}).encode()) for token in tokens]
    storage, http = store(pages * 3)
    with pytest.raises(StorageError, match="list keys/: the server's list does not come to an end"):
        list(storage.list(FileKind.KEY))
    assert len(http.asked) == len(tokens) + 1


def test_an_emulator_gets_no_credentials_but_the_token_that_is_meant_for_it() -> None:
    storage = open_gs("bucket:/", {}, Transport(environment={"STORAGE_EMULATOR_HOST": "127.0.0.1:1"}))
    assert isinstance(storage, ObjectStorage) and isinstance(storage.store, GcsStore)
    assert storage.store._tokens is None
    for host in ("http://h/path", "http://user:word@h", "http://[::1", "ftp://h"):
        with pytest.raises(UsageError, match="STORAGE_EMULATOR_HOST is not the address of a server"):
            open_gs("bucket:/", {}, Transport(environment={"STORAGE_EMULATOR_HOST": host}))


def test_the_server_tells_the_hash_of_what_it_sends(gcs_server: Server) -> None:
    storage = opened(gcs_server)
    storage.save(FileKind.CONFIG, "", CONTENT)
    asked: list[str] = []
    inner = storage.inner.store._http  # type: ignore[attr-defined]
    request = inner.request

    def noted(*words: Any, **more: Any) -> Reply:
        reply: Reply = request(*words, **more)
        asked.append(reply.headers["x-goog-hash"])
        return reply

    inner.request = noted
    assert storage.load(FileKind.CONFIG, "") == CONTENT
    assert "md5=" in asked[0]
