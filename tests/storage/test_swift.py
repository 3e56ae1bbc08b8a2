"""Repositories in OpenStack Swift: the contract, and what is its own, on a real one."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, FileMissing, LocationInvalid, NoSpace, StorageError, UsageError
from restic_format.storage import Storage, cloudkeys, open_storage
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.retrying import RetryingStorage
from restic_format.storage.swift import Place as SwiftPlace
from restic_format.storage.swift import SwiftStore, _Account, open_swift, parse_place
from restic_format.storage.swiftauth import Identity
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.base import Place
from tests.servers.identity import running_identity
from tests.servers.kit import make_repository
from tests.servers.swift import READER, Swift
from tests.servers.trouble import Ours, restic, tree_of, write_files
from tests.storage.answers import Answers, Changing, answer
from tests.storage.contract import CONTENT, NAME, OTHER, StorageContract


def opened(place: Place, **more: str) -> ObjectStorage:
    """The storage at *place*, with more environment variables. Nothing is tried again."""
    storage = open_storage(place.location, place.options, Transport({**place.environment, **more}))
    assert isinstance(storage, RetryingStorage) and isinstance(storage.inner, ObjectStorage)
    return storage.inner


def token_of(swift: Swift) -> str:
    """A token for the user of the tests."""
    environment = swift.place().environment
    headers = {"X-Auth-User": environment["ST_USER"], "X-Auth-Key": environment["ST_KEY"]}
    with urllib.request.urlopen(urllib.request.Request(environment["ST_AUTH"], headers=headers)) as reply:
        return str(reply.headers["X-Auth-Token"])


def ask(swift: Swift, method: str, path: str, **headers: str) -> tuple[Mapping[str, str], bytes]:
    """A request of the tests' own; ``_`` in the names of *headers* stands for ``-``."""
    sent = {"X-Auth-Token": token_of(swift)} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{swift.url}/v1/AUTH_test{path}", method=method, headers=sent)
    with urllib.request.urlopen(request) as reply:
        return reply.headers, reply.read()


class TestSwift(StorageContract):
    @pytest.fixture
    def storage(self, swift: Swift) -> Storage:
        made = opened(swift.place("contract é %2f"))
        made.create()
        return made


@pytest.mark.parametrize("writer", ["restic", "ours"])
def test_restic_and_we_use_one_repository(swift: Swift, writer: str, tmp_path: Path) -> None:
    place, source = swift.place("a b+é%20"), tmp_path / "source"
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
    assert list(opened(place).list(FileKind.LOCK)) == []


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "parsing repository location failed: prefix is empty"),
        ("box", "parsing repository location failed: prefix is empty"),
        ("box:", "parsing repository location failed: prefix is empty"),
        ("box:x", r"parsing repository location failed: prefix does not start with slash \(/\)"),
        (":/x", "a container's name is not empty and has no slash in it"),
        ("a/b:/x", "a container's name is not empty and has no slash in it"),
        ("box:/a\udcff", "names in Swift are text in UTF-8"),
        ("bo\udcffx:/a", "names in Swift are text in UTF-8"),
    ],
)
def test_a_location_has_a_container_and_a_path(rest: str, said: str) -> None:
    with pytest.raises(LocationInvalid, match=said):
        open_swift(rest, {}, Transport())


@pytest.mark.parametrize(
    ("rest", "prefix"),
    [
        ("box:/", ""),
        ("box:/a", "a"),
        ("box:/a//b/", "a/b"),
        ("box:/a/../b", "b"),
        ("box:/./", ""),
        ("box:///a", "/a"),
        ("box:////a", "/a"),
    ],
)
def test_a_path_is_cleaned_as_restic_does(rest: str, prefix: str) -> None:
    assert parse_place(rest) == SwiftPlace("box", prefix)


def test_options_and_credentials_are_asked_for(swift: Swift) -> None:
    place = swift.place()
    storage = open_storage(place.location, {"swift.connections": "7"}, Transport(place.environment))
    assert storage.connections == 7 and storage.location == place.location
    with pytest.raises(UsageError, match=r"option swift\.region is not known"):
        open_storage(place.location, {"swift.region": "x"}, Transport(place.environment))
    with pytest.raises(UsageError, match="swift: no credentials"):
        open_storage(place.location)


def test_a_container_is_made_by_create_and_by_an_upload_not_by_looking(swift: Swift) -> None:
    for container, act in (("made by create", "create"), ("made/by upload".replace("/", " "), "save")):
        storage = opened(swift.place(container=container), SWIFT_DEFAULT_CONTAINER_POLICY="Policy-0")
        assert not storage.exists(FileKind.CONFIG, "")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(swift, "HEAD", f"/{container.replace(' ', '%20')}")
        if act == "create":
            storage.create()
            storage.create()
        storage.save(FileKind.CONFIG, "", CONTENT)
        headers, _ = ask(swift, "HEAD", f"/{container.replace(' ', '%20')}")
        assert headers["X-Storage-Policy"] == "Policy-0"
        assert storage.load(FileKind.CONFIG, "") == CONTENT
    with pytest.raises(StorageError, match="400 Bad Request"):
        opened(swift.place(container="unlawful"), SWIFT_DEFAULT_CONTAINER_POLICY="no such").create()


def test_a_token_that_has_expired_is_renewed(swift: Swift) -> None:
    storage = opened(swift.place())
    storage.save(FileKind.CONFIG, "", CONTENT)
    swift.forget()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: storage.load(FileKind.CONFIG, ""), range(8))) == [CONTENT] * 8
    swift.forget()
    storage.save(FileKind.PACK, NAME, CONTENT)
    swift.forget()
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}
    swift.forget()
    storage.remove(FileKind.PACK, NAME)


def test_a_token_of_the_users_own_is_used_until_it_expires(swift: Swift) -> None:
    place = swift.place()
    token = token_of(swift)
    own = place._replace(environment={"OS_STORAGE_URL": f"{swift.url}/v1/AUTH_test/", "OS_AUTH_TOKEN": token})
    storage = opened(own)
    storage.save(FileKind.CONFIG, "", CONTENT)
    assert opened(place).load(FileKind.CONFIG, "") == CONTENT
    swift.forget()
    with pytest.raises(AccessDenied, match="the token in OS_AUTH_TOKEN is not accepted, it may have expired") as caught:
        storage.load(FileKind.CONFIG, "")
    assert caught.value.permanent and token not in str(caught.value) + repr(storage) + storage.location


@pytest.mark.parametrize("version", ["v2.0", "v3"])
def test_restic_and_we_sign_in_with_the_newer_versions(swift: Swift, version: str, tmp_path: Path) -> None:
    with running_identity(f"{swift.url}/v1/AUTH_test", token_of(swift)) as identity:
        environment = {
            "OS_AUTH_URL": f"{identity.url}/{version}",
            "OS_USERNAME": "u",
            "OS_PASSWORD": "p",
            "OS_PROJECT_NAME": "n",
            "OS_USER_DOMAIN_NAME": "d",
        }
        place = swift.place()._replace(environment=environment)
        make_repository(place)
        assert restic(place, "snapshots", work=tmp_path).returncode == 0
        assert Ours(place, tmp_path)("snapshots").code == 0


@pytest.mark.parametrize(
    ("user", "said"),
    [(("test:tester", "wrong"), "signing in: 401 Unauthorized"), (READER, "403 Forbidden")],
)
def test_who_may_not_is_told_so_at_once(swift: Swift, user: tuple[str, str], said: str, tmp_path: Path) -> None:
    place = swift.place(user=user)
    ended = Ours(place, tmp_path)("snapshots")
    assert ended.code == 1 and said in ended.err and user[1] not in ended.err and "retrying" not in ended.err
    ended = Ours(place, tmp_path)("init")
    assert ended.code == 1 and said in ended.err and "retrying" not in ended.err


def test_an_upload_that_arrives_changed_has_failed(swift: Swift) -> None:
    storage = opened(swift.place())
    storage.save(FileKind.CONFIG, "", b"x")
    assert isinstance(storage.store, SwiftStore) and storage.store._account is not None
    storage.store._account = storage.store._account._replace(http=Changing(swift.url, Transport(), 1))
    with pytest.raises(StorageError, match=f"save .*/{NAME}: 422 Unprocessable Entity") as caught:
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert not caught.value.permanent and not storage.exists(FileKind.PACK, NAME)


def test_a_quota_that_is_used_up_is_told(swift: Swift) -> None:
    storage = opened(swift.place(container="small"))
    storage.create()
    ask(swift, "POST", "/small", X_Container_Meta_Quota_Bytes="10")
    with pytest.raises(NoSpace, match=r"413 .*: a quota is used up"):
        storage.save(FileKind.PACK, NAME, CONTENT)


def test_names_that_are_not_ours_are_left_out(swift: Swift) -> None:
    storage = opened(swift.place())
    storage.save(FileKind.PACK, NAME, CONTENT)
    prefix = storage.key(FileKind.PACK, NAME).partition("data/")[0]
    odd = [f"data/{NAME}", "data/zz/readme", f"data/00/{OTHER}", f"data/{NAME[:2]}/{NAME.upper()}", "data/é/ ?#%", "database"]
    for key in odd:
        storage.store.put(prefix + key, b"x", kind=FileKind.PACK, metadata=False, sha256="")
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}


def test_files_are_stored_as_restic_stores_them(swift: Swift) -> None:
    place = swift.place()
    storage = opened(place)
    storage.save(FileKind.PACK, NAME, CONTENT)
    headers, body = ask(swift, "GET", f"/box/{place.location.rpartition('/')[2]}/data/{NAME[:2]}/{NAME}")
    assert body == CONTENT and headers["Content-Type"] == "binary/octet-stream"


# Answers that no server here gives: made by hand.


def store(*replies: object) -> tuple[ObjectStorage, Answers]:
    """A storage whose server gives *replies*."""
    made = SwiftStore("box", Identity(auth_url="http://h/v1"), Transport(), 5)
    http = Answers(replies)
    made._account = _Account(http, "/v1/AUTH_test", "token")
    return ObjectStorage(made, ""), http


def page(names: list[str]) -> object:
    return answer(200, json.dumps([{"name": f"locks/{name}", "bytes": 5, "hash": "x"} for name in names]).encode())


def test_a_listing_goes_on_over_pages_however_large_the_server_makes_them() -> None:
    names = [f"{number:064x}" for number in range(350)]
    storage, http = store(page(names[:150]), page(names[150:340]), page(names[340:]))
    assert dict(storage.list(FileKind.LOCK)) == dict.fromkeys(names, 5)
    assert [asked.target for asked in http.asked] == [
        "/v1/AUTH_test/box?format=json&prefix=locks%2F",
        f"/v1/AUTH_test/box?format=json&prefix=locks%2F&marker=locks%2F{names[149]}",
        f"/v1/AUTH_test/box?format=json&prefix=locks%2F&marker=locks%2F{names[339]}",
    ]


def test_a_listing_that_does_not_end_is_an_error() -> None:
    names = [f"{number:064x}" for number in range(100)]
    storage, http = store(*[page(names)] * 5)
    with pytest.raises(StorageError, match="list locks/: the server gives the same objects again and again"):
        list(storage.list(FileKind.LOCK))
    assert len(http.asked) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"{}",
        b'[{"name": 1}]',
        b"\xff",
        b'[{"name": "locks/x", "bytes": "5"}]',
        b'[{"x":' + b"[" * 100_000,
    ],
)
def test_a_listing_that_is_none_is_an_error(body: bytes) -> None:
    storage, _ = store(answer(200, body))
    with pytest.raises(StorageError, match="list locks/: what the server answers is no list of objects"):
        list(storage.list(FileKind.LOCK))


def test_a_listing_that_always_goes_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudkeys, "_MOST", 3)
    storage, http = store(*[page([f"{number:064x}" for number in range(start, start + 100)]) for start in range(0, 2000, 100)])
    with pytest.raises(StorageError, match="list locks/: the server's list does not come to an end"):
        list(storage.list(FileKind.LOCK))
    assert len(http.asked) == 5


def test_what_has_no_size_or_another_prefix_is_left_out() -> None:
    listed = [{"subdir": "locks/x/"}, {"name": f"locks/{NAME}", "bytes": -1}, {"name": f"keys/{NAME}", "bytes": 5}]
    storage, _ = store(answer(200, json.dumps(listed).encode()))
    assert list(storage.list(FileKind.LOCK)) == []


@pytest.mark.parametrize(
    ("status", "kind", "permanent"),
    [
        (403, AccessDenied, True),
        (404, FileMissing, True),
        (429, StorageError, False),
        (503, StorageError, False),
        (507, NoSpace, True),
    ],
)
def test_what_swift_says_is_told_in_one_line(status: int, kind: type[StorageError], permanent: bool) -> None:
    storage, _ = store(answer(status, b"<html><h1>Oh</h1><p>no \x1b[31m</html>", Content_Type="text/html"))
    with pytest.raises(kind, match=f"load snapshots/{NAME}: {status} [A-Z][A-Za-z ]+$") as caught:
        storage.load(FileKind.SNAPSHOT, NAME)
    assert caught.value.permanent is permanent and caught.value.object == f"snapshots/{NAME}"


def test_a_range_that_the_server_does_not_know_is_an_error() -> None:
    # The whole file instead of a part of the same length would be taken for that part.
    storage, _ = store(answer(200, CONTENT[:5]), answer(200, Content_Length="17"))
    with pytest.raises(StorageError, match="the server does not give the part that was asked for"):
        storage.load(FileKind.PACK, NAME, 3, 5)


def test_an_upload_of_which_another_hash_is_told_has_failed() -> None:
    storage, http = store(answer(201, ETag=md5(b"other").hexdigest()))
    with pytest.raises(StorageError, match="what the server has stored has another MD5"):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert http.asked[0].headers["ETag"] == md5(CONTENT).hexdigest()


@pytest.mark.parametrize("size", ["", "-1", "1e3", "9" * 30])
def test_a_size_that_is_none_is_an_error(size: str) -> None:
    storage, _ = store(answer(200, Content_Length=size))
    with pytest.raises(StorageError, match="the server does not say how large it is"):
        storage.size(FileKind.PACK, NAME)
