"""Repositories in Backblaze B2: the contract, and what is its own, on the simulator that comes with Backblaze's own library."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, FileMissing, LocationInvalid, NoSpace, ServerNotTrusted, StorageError, UsageError
from restic_format.storage import Storage, cloudkeys, open_storage
from restic_format.storage.b2 import B2Store, Key, _Session, open_b2, parse_place
from restic_format.storage.b2 import Place as B2Place
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.retrying import RetryingStorage
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.b2 import BUCKET, MASTER, Answer, B2Server
from tests.servers.base import Place
from tests.servers.faultyproxy import FaultyProxy
from tests.servers.kit import make_repository, transport_of
from tests.servers.trouble import Ours, restic, through_faults, tree_of, write_files
from tests.storage.answers import Answers, answer
from tests.storage.contract import CONTENT, NAME, OTHER, StorageContract


def opened(place: Place, **more: str) -> ObjectStorage:
    """The storage at *place*, with more environment variables. Nothing is tried again."""
    storage = open_storage(place.location, place.options, Transport({**place.environment, **more}))
    assert isinstance(storage, RetryingStorage) and isinstance(storage.inner, ObjectStorage)
    return storage.inner


class TestB2(StorageContract):
    @pytest.fixture
    def storage(self, b2: B2Server) -> Storage:
        made = opened(b2.place("contract é %2f", plain=True))
        made.create()
        return made


@pytest.mark.parametrize("writer", ["restic", "ours"])
def test_restic_and_we_use_one_repository(b2: B2Server, writer: str, tmp_path: Path) -> None:
    place, source = b2.place("a b+é%20"), tmp_path / "source"  # at Backblaze's own address, through a proxy
    ours = Ours(place, tmp_path)
    if writer == "ours":
        make_repository(place)
    else:
        assert restic(place, "init", work=tmp_path).returncode == 0
    for number in range(2):
        write_files(source, number)
        if writer == "ours":
            assert ours("backup", "source").code == 0
        else:
            assert restic(place, "backup", "source", work=tmp_path).returncode == 0
    found = {f"source/{path}": data for path, data in tree_of(source).items()}
    if writer == "ours":
        checked = restic(place, "check", "--read-data", work=tmp_path)
        assert checked.returncode == 0 and "no errors were found" in checked.stdout
        assert restic(place, "forget", "--keep-last", "1", "--prune", work=tmp_path).returncode == 0
        assert restic(place, "restore", "latest", "--target", "restored", work=tmp_path).returncode == 0
        assert ours("check", "--read-data").code == 0
    else:
        assert ours("check", "--read-data").code == 0
        assert ours("forget", "--keep-last", "1", "--prune").code == 0
        assert ours("restore", "latest", "--target", "restored").code == 0
        checked = restic(place, "check", "--read-data", work=tmp_path)
        assert checked.returncode == 0 and "no errors were found" in checked.stdout
    assert tree_of(tmp_path / "restored") == found
    assert not [name for name, _ in b2.versions(place.location.rpartition(":")[2]) if "/locks/" in name]


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.long] * (seed > 0)) for seed in range(20)])
def test_nothing_is_lost_on_a_faulty_way(b2: B2Server, seed: int, tmp_path: Path) -> None:
    with FaultyProxy(b2.port, seed) as proxy:
        story = through_faults(b2.place(plain=True), proxy, tmp_path, seed)
    assert story.faults, proxy.story()


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "bucket name not found"),
        (":x", "bucket name not found"),
        ("short", "bucket name is too short"),
        ("a" * 51, "bucket name is too long"),
        ("under_score", "bucket name contains invalid characters, allowed are: a-z, 0-9, dash"),
        ("with/slash", "bucket name contains invalid characters"),
        ("bucket:a\udcff", "the prefix has characters that B2 does not take"),
        ("bucket:a\nb", "the prefix has characters that B2 does not take"),
    ],
)
def test_a_location_has_a_bucket(rest: str, said: str) -> None:
    with pytest.raises(LocationInvalid, match=f"parsing repository location failed: {said}"):
        open_b2(rest, {}, Transport({"B2_ACCOUNT_ID": "i", "B2_ACCOUNT_KEY": "k"}))


@pytest.mark.parametrize(
    ("rest", "prefix"),
    [("bucket", ""), ("bucket:", ""), ("bucket:/", ""), ("bucket:a//b/", "a/b"), ("bucket:/a/../b", "b")],
)
def test_a_path_is_cleaned_as_restic_does(rest: str, prefix: str) -> None:
    assert parse_place(rest) == B2Place("bucket", prefix)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, r"unable to open B2 backend: Account ID \(\$B2_ACCOUNT_ID\) is empty"),
        ({"B2_ACCOUNT_ID": "i"}, r"unable to open B2 backend: Key \(\$B2_ACCOUNT_KEY\) is empty"),
        ({"B2_ACCOUNT_ID": "i", "B2_ACCOUNT_KEY": "k", "B2_ENVIRONMENT": "stage"}, "is neither 'production' nor"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_storage("b2:bucket", {}, Transport(environment))


def test_options_are_read_and_secrets_are_not_shown() -> None:
    environment = {"B2_ACCOUNT_ID": "i", "B2_ACCOUNT_KEY": "secret", "B2_ENVIRONMENT": "production"}
    storage = open_storage("b2:bucket:x", {"b2.connections": "7"}, Transport(environment))
    assert storage.connections == 7 and storage.location == "b2:bucket:x"
    assert "secret" not in repr(storage) + repr(Key("i", "secret"))
    with pytest.raises(UsageError, match=r"option b2\.region is not known"):
        open_storage("b2:bucket:x", {"b2.region": "x"}, Transport(environment))


def test_a_missing_bucket_is_told_or_made(b2: B2Server) -> None:
    storage = opened(b2.place(plain=True))
    assert not storage.exists(FileKind.CONFIG, "")
    with pytest.raises(FileMissing, match=f"{BUCKET}: bucket not found"):
        storage.save(FileKind.CONFIG, "", CONTENT)
    storage.create()
    storage.create()
    storage.save(FileKind.CONFIG, "", CONTENT)
    opened(b2.place(plain=True)).create()
    assert b2.calls.count("b2_create_bucket") == 1
    bucket = b2.simulator.bucket_name_to_bucket[BUCKET]
    assert bucket.bucket_type == "allPrivate"


def test_tokens_that_have_expired_are_renewed(b2: B2Server) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    storage.save(FileKind.CONFIG, "", CONTENT)
    b2.expire()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: storage.load(FileKind.CONFIG, ""), range(8))) == [CONTENT] * 8
    b2.expire()
    assert storage.size(FileKind.CONFIG, "") == len(CONTENT)
    b2.expire()
    storage.save(FileKind.PACK, NAME, CONTENT)
    b2.expire()
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}
    b2.expire()
    storage.remove(FileKind.PACK, NAME)
    assert b2.calls.count("b2_authorize_account") == 6


def test_every_upload_at_a_time_has_an_address_of_its_own(b2: B2Server) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    names = [sha1(bytes([number])).hexdigest() + "0" * 24 for number in range(40)]
    with ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda name: storage.save(FileKind.PACK, name, CONTENT), names))
    assert dict(storage.list(FileKind.PACK)) == dict.fromkeys(names, len(CONTENT))
    assert b2.calls.count("b2_upload_file") == 40 and b2.calls.count("b2_get_upload_url") <= 5


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503, "service_unavailable", "no tomes available"),
        Answer(500, "internal_error", "incident"),
        Answer(408, "request_timeout", "too slow"),
        Answer(401, "expired_auth_token", "expired"),
        Answer(400, "bad_request", "more than one upload using auth token x"),
    ],
)
def test_an_upload_that_is_refused_goes_to_another_address(b2: B2Server, fault: Answer) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    storage.save(FileKind.CONFIG, "", CONTENT)
    b2.faults = [("b2_upload_file", fault)] * 4
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert storage.load(FileKind.PACK, NAME) == CONTENT and not b2.faults
    assert b2.calls.count("b2_get_upload_url") == 5


@pytest.mark.parametrize(
    ("fault", "kind", "permanent", "said"),
    [
        (Answer(503, "service_unavailable", "no\ntomes"), StorageError, False, "503 Service Unavailable: no tomes"),
        (Answer(429, "too_many_requests", "slow down"), StorageError, False, "429 Too Many Requests: slow down"),
        (Answer(403, "storage_cap_exceeded", "Cannot upload, cap exceeded."), NoSpace, True, "403 Cannot upload, cap exceeded"),
        (Answer(403, "cap_exceeded", "Usage cap exceeded."), AccessDenied, True, "403 Forbidden: Usage cap exceeded"),
        (Answer(400, "bad_request", "Sha1 did not match"), StorageError, False, "400 Bad Request: Sha1 did not match"),
    ],
)
def test_what_b2_says_to_an_upload_is_told(
    b2: B2Server, fault: Answer, kind: type[StorageError], permanent: bool, said: str
) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    b2.faults = [("b2_upload_file", fault)] * 5
    with pytest.raises(kind, match=f"save .*{NAME}: {said}") as caught:
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert caught.value.permanent is permanent and caught.value.object == f"data/{NAME}"
    b2.faults = []
    storage.save(FileKind.PACK, NAME, CONTENT)


def test_a_wrong_key_is_told_at_once(b2: B2Server, tmp_path: Path) -> None:
    for words in (["snapshots"], ["init"]):
        ended = Ours(b2.place(key=(MASTER[0], "K00wrong")), tmp_path)(*words)
        assert ended.code == 1 and "signing in: 401 Unauthorized: there is no such application key" in ended.err
        assert "retrying" not in ended.err and "K00wrong" not in ended.err


def test_a_key_for_one_bucket_is_enough(b2: B2Server) -> None:
    opened(b2.place(plain=True)).create()
    rights = ["listFiles", "readFiles", "writeFiles", "deleteFiles"]  # not listBuckets
    place = b2.place(plain=True, key=b2.key(rights, BUCKET))
    storage = opened(place)
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}
    storage.remove(FileKind.PACK, NAME)
    another = place._replace(location="b2:another-bucket:x")
    with pytest.raises(AccessDenied, match="b2:another-bucket:x: the application key is for another bucket"):
        opened(another).exists(FileKind.CONFIG, "")


def test_a_key_that_may_not_write_is_told(b2: B2Server) -> None:
    opened(b2.place(plain=True)).create()
    storage = opened(b2.place(plain=True, key=b2.key(["listBuckets", "listFiles", "readFiles"])))
    with pytest.raises(
        AccessDenied, match="401 Unauthorized: there is no such application key, or it may not do this"
    ) as caught:
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert caught.value.permanent


def test_what_is_removed_loses_all_its_versions(b2: B2Server) -> None:
    storage = opened(b2.place("versions", plain=True))
    storage.create()
    for number in range(4):
        storage.save(FileKind.LOCK, NAME, bytes(number))
    storage.save(FileKind.LOCK, OTHER, CONTENT)
    assert len(b2.versions("versions")) == 5 and dict(storage.list(FileKind.LOCK)) == {NAME: 3, OTHER: len(CONTENT)}
    # Stopped in between, it is still there as it was.
    b2.faults = [("b2_delete_file_version", None), ("b2_delete_file_version", Answer(500, "internal_error"))]
    with pytest.raises(StorageError, match="500"):
        storage.remove(FileKind.LOCK, NAME)
    assert storage.size(FileKind.LOCK, NAME) == 3 and len(b2.versions("versions")) == 4
    storage.remove(FileKind.LOCK, NAME)
    assert [name.rpartition("/")[2] for name, _ in b2.versions("versions")] == [OTHER]
    with pytest.raises(FileMissing):
        storage.remove(FileKind.LOCK, NAME)


def test_who_may_not_remove_hides(b2: B2Server) -> None:
    opened(b2.place(plain=True)).create()
    rights = ["listBuckets", "listFiles", "readFiles", "writeFiles"]
    storage = opened(b2.place("hidden", plain=True, key=b2.key(rights)))
    storage.save(FileKind.LOCK, NAME, CONTENT)
    storage.remove(FileKind.LOCK, NAME)
    assert not storage.exists(FileKind.LOCK, NAME) and list(storage.list(FileKind.LOCK)) == []
    assert "b2_delete_file_version" not in b2.calls
    assert [action for _, action in b2.versions("hidden")] == ["hide", "upload"]
    with pytest.raises(FileMissing):
        storage.remove(FileKind.LOCK, NAME)
    storage.save(FileKind.LOCK, NAME, CONTENT)
    assert storage.load(FileKind.LOCK, NAME) == CONTENT


def test_a_file_that_is_locked_by_the_bucket_is_hidden(b2: B2Server) -> None:
    storage = opened(b2.place("locked", plain=True))
    storage.create()
    storage.save(FileKind.LOCK, NAME, CONTENT)
    b2.faults = [("b2_delete_file_version", Answer(401, "access_denied", "the file is locked"))]
    storage.remove(FileKind.LOCK, NAME)
    assert [action for _, action in b2.versions("locked")] == ["hide", "upload"]


def test_names_that_are_not_ours_are_left_out(b2: B2Server) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    prefix = storage.key(FileKind.PACK, NAME).partition("data/")[0]
    odd = [f"data/{NAME}", "data/zz/readme", f"data/00/{OTHER}", f"data/{NAME[:2]}/{NAME.upper()}", "data/é/ ?#%", "database"]
    for key in odd:
        storage.store.put(prefix + key, b"x", kind=FileKind.PACK, metadata=False, sha256="")
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}


def test_a_server_that_is_not_backblaze_gets_no_key(b2: B2Server) -> None:
    place = b2.place()
    storage = open_storage(place.location, {}, transport_of(place)._replace(ca_certificates=()))
    with pytest.raises(ServerNotTrusted) as caught:
        storage.exists(FileKind.CONFIG, "")
    assert caught.value.permanent and b2.calls == []


# Answers that the simulator does not give: made by hand.


def store(*replies: object) -> tuple[ObjectStorage, Answers]:
    """A storage whose server gives *replies*."""
    made = B2Store("bucket", Key("i", "secret"), Transport(), 5)
    http = Answers(replies)
    made._session = _Session("account", "token", http, http, True, "")
    made._bucket_id = "bucket-id"
    return ObjectStorage(made, ""), http


def page(names: list[str], following: str | None) -> object:
    files = [{"fileName": f"locks/{name}", "action": "upload", "contentLength": 5, "fileId": "x"} for name in names]
    return answer(200, json.dumps({"files": files, "nextFileName": following}).encode())


def test_a_listing_goes_on_over_pages() -> None:
    names = [f"{number:064x}" for number in range(7)]
    storage, http = store(page(names[:3], f"locks/{names[3]}"), page(names[3:6], f"locks/{names[5]} "), page(names[6:], None))
    assert dict(storage.list(FileKind.LOCK)) == dict.fromkeys(names, 5)
    asked = [json.loads(each.body) for each in http.asked]
    assert [each.get("startFileName") for each in asked] == [None, f"locks/{names[3]}", f"locks/{names[5]} "]
    assert {(each["bucketId"], each["prefix"], each["maxFileCount"]) for each in asked} == {("bucket-id", "locks/", 10_000)}


def test_a_listing_that_does_not_end_is_an_error() -> None:
    storage, http = store(*[page([NAME], f"locks/{NAME} ")] * 5)
    with pytest.raises(StorageError, match="list locks/: the server gives the same files again and again"):
        list(storage.list(FileKind.LOCK))
    assert len(http.asked) == 2


def test_a_listing_that_always_goes_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudkeys, "_MOST", 3)
    storage, http = store(*[page([NAME], f"locks/{NAME}{number:08}") for number in range(20)])
    with pytest.raises(StorageError, match="list locks/: the server's list does not come to an end"):
        list(storage.list(FileKind.LOCK))
    assert len(http.asked) == 5


def test_what_has_a_size_below_nothing_is_left_out() -> None:
    file = {"fileName": f"locks/{NAME}", "action": "upload", "contentLength": -5, "fileId": "x"}
    storage, _ = store(answer(200, json.dumps({"files": [file]}).encode()))
    assert list(storage.list(FileKind.LOCK)) == []


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"files": 3}', b"\xff", b'{"files": [{"fileName": 1}]}', b"{}", b'{"x":' + b"[" * 100_000]
)
def test_an_answer_that_is_none_is_an_error(body: bytes) -> None:
    storage, _ = store(answer(200, body))
    with pytest.raises(StorageError, match="list locks/: what the server answers is none of B2's answers") as caught:
        list(storage.list(FileKind.LOCK))
    assert not caught.value.permanent


def test_a_range_that_the_server_does_not_know_is_an_error() -> None:
    storage, _ = store(answer(200, CONTENT[:5]), answer(200, Content_Length="17"))
    with pytest.raises(StorageError, match="the server does not give the part that was asked for"):
        storage.load(FileKind.PACK, NAME, 3, 5)


@pytest.mark.parametrize("changed", ["fileName", "contentLength", "contentSha1"])
def test_an_upload_of_which_something_else_is_told_has_failed(
    b2: B2Server, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    told = {"action": "upload", "contentLength": len(CONTENT), "contentSha1": sha1(CONTENT).hexdigest()}
    told["fileName"] = storage.key(FileKind.PACK, NAME)
    told[changed] = 5 if changed == "contentLength" else "other"
    real = b2.simulator.upload_file
    monkeypatch.setattr(b2.simulator, "upload_file", lambda *words: real(*words) and told)
    with pytest.raises(StorageError, match="what the server has stored is not what was sent"):
        storage.save(FileKind.PACK, NAME, CONTENT)


@pytest.mark.parametrize("address", ["http://elsewhere", "ftp://h", "https://", "h", "https://h:99999"])
def test_nobody_is_sent_to_a_server_without_tls(address: str) -> None:
    made = B2Store("bucket", Key("i", "secret"), Transport(), 5)
    with pytest.raises(StorageError, match="B2 names a server whose address does not begin with https://"):
        made._address(address)


def test_requests_are_few(b2: B2Server) -> None:
    storage = opened(b2.place(plain=True))
    storage.create()
    b2.calls.clear()
    storage = opened(b2.place(plain=True))
    storage.save(FileKind.PACK, NAME, CONTENT)
    storage.save(FileKind.PACK, OTHER, CONTENT)
    storage.load(FileKind.PACK, NAME, 3, 5)
    storage.size(FileKind.PACK, NAME)
    storage.remove(FileKind.PACK, NAME)
    assert Counter(b2.calls) == {
        "b2_authorize_account": 1,
        "b2_list_buckets": 1,
        "b2_get_upload_url": 1,
        "b2_upload_file": 2,
        "b2_download_file_by_name": 2,
        "b2_list_file_versions": 1,
        "b2_delete_file_version": 1,
    }


@pytest.mark.parametrize(
    ("status", "pause", "wanted"),
    [(429, "7", 7.0), (503, "30", 30.0), (503, "Fri, 31 Dec 1999 23:59:59 GMT", 0.0), (503, "9" * 400, 0.0), (403, "7", 0.0)],
)
def test_the_pause_that_b2_wants_is_kept(status: int, pause: str, wanted: float) -> None:
    storage, _ = store(answer(status, Retry_After=pause))
    with pytest.raises(StorageError) as caught:
        storage.size(FileKind.PACK, NAME)
    assert caught.value.wanted_pause == wanted


def test_an_upload_that_was_never_finished_is_no_version() -> None:
    # Large files in parts, of which a program has left the beginning, are removed by other means.
    files = [{"fileName": f"locks/{NAME}", "action": action, "fileId": action} for action in ("start", "upload")]
    storage, http = store(answer(200, json.dumps({"files": files}).encode()), answer(200, b"{}"))
    storage.remove(FileKind.LOCK, NAME)
    assert json.loads(http.asked[1].body) == {"fileName": f"locks/{NAME}", "fileId": "upload"}
