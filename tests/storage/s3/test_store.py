"""S3: what every storage must do, and what is its own, on servers that keep to the protocol more and less strictly."""

from __future__ import annotations

import pytest

from restic_format.errors import StorageError
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
from restic_spec.layout import FileKind
from tests.servers.base import Place, Server
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
