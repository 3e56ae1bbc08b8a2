"""S3: what every storage must do, and what is its own, on servers that keep to the protocol more and less strictly."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from restic_format.errors import AccessDenied, FileMissing, StorageError
from restic_format.storage import Storage
from restic_format.storage.base import Content
from restic_format.storage.extended import S3Options
from restic_format.storage.http.pool import Pool
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.s3.answers import page_of
from restic_format.storage.s3.credentials import credentials_of
from restic_format.storage.s3.location import parse
from restic_format.storage.s3.store import S3Store
from restic_format.storage.transport import Transport
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from tests.servers.base import Place, Server, running
from tests.servers.rclone import RcloneS3
from tests.servers.swift import SECRET, Swift
from tests.storage.answers import Changing
from tests.storage.contract import CONTENT, NAME, StorageContract


class Hashing(S3Store):
    """Hashes what it stores: the files of the contract do not have their hashes as names, and a strict server refuses them."""

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        super().put(key, data, kind=kind, metadata=metadata, sha256="")


def opened(place: Place, kind: type[S3Store] = Hashing, **options: object) -> ObjectStorage:
    transport = Transport(environment=place.environment)
    where = parse(place.location.removeprefix("s3:"))
    known = S3Options(**options)  # type: ignore[arg-type]
    store = kind(where, known, credentials_of(transport, known.region), lambda origin: Pool(origin, transport, 5))
    return ObjectStorage(store, where.prefix)


class TestLenient(StorageContract):
    """rclone: it answers 200 to requests for a range, and does not look at hashes."""

    tells_missing_on_remove = False

    @pytest.fixture
    def storage(self, rclone_s3: Server) -> Storage:
        made = opened(rclone_s3.place("contract"))
        made.create()
        return made


def test_a_listing_of_something_else_is_refused() -> None:
    page = "<ListBucketResult><Prefix>{}</Prefix><EncodingType>url</EncodingType></ListBucketResult>"
    for shown in ("repo/a b/", "repo%2Fa+b%2F", "repo/a%20b/", ""):
        assert page_of(page.format(shown).encode(), "repo/a b/").objects == []
    with pytest.raises(ValueError, match="another question"):
        page_of(page.format("repo/locks/").encode(), "repo/a b/")


def test_what_arrives_changed_is_refused_without_tls(rclone_s3: Server) -> None:
    place = rclone_s3.place("changed")
    transport = Transport(environment=place.environment)
    where = parse(place.location.removeprefix("s3:"))
    store = S3Store(where, S3Options(), credentials_of(transport, ""), lambda origin: Changing(origin, transport, 5))
    storage = ObjectStorage(store, where.prefix)
    with pytest.raises(StorageError, match=r"save .*/data/"):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert list(storage.list(FileKind.PACK)) == []


class TestStrict(StorageContract):
    """OpenStack Swift: it checks signatures, hashes, clocks and regions, and knows If-None-Match."""

    tells_missing_on_remove = False

    @pytest.fixture
    def storage(self, swift: Swift) -> Storage:
        made = opened(swift.s3_place("contract é +"))
        made.create()
        return made


class TestOldListing(StorageContract):
    """Listed with version 1, by a region that is not the bucket's."""

    tells_missing_on_remove = False

    @pytest.fixture
    def storage(self, swift: Swift) -> Storage:
        place = swift.s3_place("contract")
        place = place._replace(location=place.location.replace("/bucket/", "/old-listing/"))
        made = opened(place, list_objects_v1=True, region="eu-central-1")
        made.create()
        return made


def test_a_listing_comes_page_by_page_and_foreign_keys_are_left_out() -> None:
    names = sorted(id_of(bytes([high, low])).hex() for high in range(9) for low in range(256))
    strays = ("data/00/short", "data/zz/file", f"data/00/{names[-1].upper()}", f"data/{names[0]}", f"data/ff/{names[0]}")
    with running(RcloneS3) as server:  # its own: one that has looked into a folder does not see what comes by another way
        place = server.place("pages")
        assert place.folder is not None
        for path in (*(f"data/{name[:2]}/{name}" for name in names), *strays):
            (place.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (place.folder / path).write_bytes(b"x")
        for old in (False, True):
            assert sorted(opened(place, list_objects_v1=old).list(FileKind.PACK)) == [(name, 1) for name in names]


def test_a_strict_server_refuses_what_is_not_what_its_name_says(swift: Swift) -> None:
    place = swift.s3_place("wrong")
    opened(place).create()
    storage = opened(place, S3Store)
    name = id_of(b"right").hex()
    with pytest.raises(StorageError, match=f"save .*{name}: 400 .*: XAmzContentSHA256Mismatch") as caught:
        storage.save(FileKind.PACK, name, b"wrong")
    assert caught.value.object == f"data/{name}" and not storage.exists(FileKind.PACK, name)
    storage.save(FileKind.PACK, name, b"right")
    assert storage.load(FileKind.PACK, name) == b"right"


def test_many_threads_share_a_storage(swift: Swift) -> None:
    storage = opened(swift.s3_place("threads"))
    storage.create()
    sealed = {id_of(bytes([number])).hex(): bytes([number]) * 50_000 for number in range(40)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: storage.save(FileKind.PACK, *item), sealed.items()))
        found = list(threads.map(lambda name: storage.load(FileKind.PACK, name), sealed))
        assert found == list(sealed.values())
        assert all(len(list(kinds)) == 40 for kinds in threads.map(lambda _: storage.list(FileKind.PACK), range(8)))


def test_who_may_not_is_told_why(swift: Swift, rclone_s3: Server) -> None:
    place = swift.s3_place("denied")
    opened(place).create()
    name = id_of(b"x").hex()
    wrong = place._replace(environment={**place.environment, "AWS_SECRET_ACCESS_KEY": "another"})
    for act in ("load", "size", "exists"):
        with pytest.raises(
            AccessDenied, match=r"403 Forbidden: SignatureDoesNotMatch: .*; the secret key is another"
        ) as caught:
            getattr(opened(wrong), act)(FileKind.PACK, name)
        assert "another\n" not in str(caught.value) and SECRET not in str(caught.value)
    with pytest.raises(AccessDenied, match="403 Forbidden: SignatureDoesNotMatch"):
        list(opened(wrong).list(FileKind.PACK))
    missing = place._replace(location=place.location.replace("/bucket/", "/no-such-bucket/"))
    with pytest.raises(FileMissing, match=r"404 Not Found: NoSuchBucket: .*; init makes it"):
        opened(missing).load(FileKind.PACK, name)
    with pytest.raises(FileMissing, match="NoSuchBucket"):
        opened(missing).save(FileKind.PACK, name, b"x")


def test_clocks_that_differ_are_told_with_the_difference(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = opened(swift.s3_place("clock"))
    storage.create()
    now = time.time
    for hours, what in ((-2, "behind"), (2, "ahead of")):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda late=3600 * hours: now() + late)
            message = (
                rf"RequestTimeTooSkewed: the clock of this machine is (2h0m\ds|1h59m5\ds) {what} that of the server; set it"
            )
            with pytest.raises(AccessDenied, match=message):
                storage.load(FileKind.PACK, id_of(b"x").hex())
