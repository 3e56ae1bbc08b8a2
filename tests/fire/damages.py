"""Repositories with something wrong in them, by what it is: damage, and what faulty or hostile programs may have written."""

from __future__ import annotations

import json
from collections.abc import Callable

from restic_format.repository.cipher import make_cipher
from restic_format.storage import MemoryStorage
from restic_spec.crypto import MasterKey
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.fire.cases import opened, packs_of
from tests.restore.kit import Maker

Damage = Callable[[MemoryStorage], None]


def _some(storage: MemoryStorage, kind: FileKind) -> str:
    """One of the files of a kind, in the middle of them."""
    names = sorted(name for name, _ in storage.list(kind))
    return names[len(names) // 2]


def truncated(kind: FileKind) -> Damage:
    def damage(storage: MemoryStorage) -> None:
        name = _some(storage, kind)
        storage.files[kind, name] = storage.files[kind, name][:40]

    return damage


def garbled(kind: FileKind) -> Damage:
    def damage(storage: MemoryStorage) -> None:
        name = _some(storage, kind)
        data = storage.files[kind, name]
        storage.files[kind, name] = data[:50] + bytes((data[50] ^ 1,)) + data[51:]

    return damage


def foreign(kind: FileKind) -> Damage:
    """One more file, with the right name, and sealed with another key."""

    def damage(storage: MemoryStorage) -> None:
        sealed = make_cipher(MasterKey.generate()).seal(b'{"time":"2020-01-01T00:00:00Z","tree":null,"packs":[]}')
        storage.save(kind, id_of(sealed).hex(), sealed)

    return damage


def sealed(kind: FileKind, text: bytes) -> Damage:
    """One more file with *text* in it."""

    def damage(storage: MemoryStorage) -> None:
        opened(storage).save_unpacked(kind, text)

    return damage


def missing(blob_type: BlobType) -> Damage:
    def damage(storage: MemoryStorage) -> None:
        storage.remove(FileKind.PACK, packs_of(storage, blob_type)[-1])

    return damage


def edited_index(change: Callable[[dict[str, object]], None]) -> Damage:
    """The record of a pack that snapshots need is changed."""

    def damage(storage: MemoryStorage) -> None:
        repository = opened(storage)
        pack = packs_of(storage, BlobType.DATA)[-1]
        for name, _ in list(storage.list(FileKind.INDEX)):
            document = json.loads(repository.load_unpacked(FileKind.INDEX, bytes.fromhex(name)))
            records = [record for record in document["packs"] if record["id"] == pack]
            if records:
                change(records[0])
                if records[0].pop("twice", False):
                    document["packs"].append(records[0])
                repository.save_unpacked(FileKind.INDEX, json.dumps(document).encode())
                storage.remove(FileKind.INDEX, name)

    return damage


def _blobs(record: dict[str, object]) -> list[dict[str, int]]:
    blobs = record["blobs"]
    assert isinstance(blobs, list)
    return blobs


def _twice(record: dict[str, object]) -> None:
    record["twice"] = True


def _far(record: dict[str, object]) -> None:
    _blobs(record)[0]["offset"] = 1 << 40


def _overlapping(record: dict[str, object]) -> None:
    _blobs(record)[1]["offset"] = _blobs(record)[0]["offset"]


def _negative(record: dict[str, object]) -> None:
    _blobs(record)[0]["offset"] = -1


def _huge(record: dict[str, object]) -> None:
    _blobs(record)[0]["length"] = (1 << 32) + 5


def with_snapshot(tree: str | None) -> Damage:
    def damage(storage: MemoryStorage) -> None:
        opened(storage).save_snapshot(Snapshot(time="2020-01-03T00:00:00Z", tree=tree, paths=["/x"], hostname="h"))

    return damage


def without_subtree(storage: MemoryStorage) -> None:
    """One more snapshot, in which a directory's tree is missing."""
    maker = Maker(opened(storage))
    node = maker.node("gone", "dir", 0o755, subtree="ab" * 32)
    tree = maker.finish([maker.file("here.txt", b"here"), node][::-1])
    with_snapshot(tree.hex())(storage)


DAMAGES: dict[str, Damage] = {
    "a truncated snapshot": truncated(FileKind.SNAPSHOT),
    "a garbled snapshot": garbled(FileKind.SNAPSHOT),
    "a snapshot of another key": foreign(FileKind.SNAPSHOT),
    "a snapshot that is no JSON": sealed(FileKind.SNAPSHOT, b"{"),
    "a snapshot without a tree": with_snapshot(None),
    "a snapshot whose tree is missing": with_snapshot("cd" * 32),
    "a tree whose subtree is missing": without_subtree,
    "a truncated index": truncated(FileKind.INDEX),
    "a garbled index": garbled(FileKind.INDEX),
    "an index of another key": foreign(FileKind.INDEX),
    "an index that is no JSON": sealed(FileKind.INDEX, b"[1"),
    "an index that names a pack twice": edited_index(_twice),
    "an index with an offset behind the end": edited_index(_far),
    "an index with blobs that overlap": edited_index(_overlapping),
    "an index with a negative offset": edited_index(_negative),
    "an index with a length beyond 32 bits": edited_index(_huge),
    "a missing pack of data": missing(BlobType.DATA),
    "a missing pack of trees": missing(BlobType.TREE),
    "a truncated pack": truncated(FileKind.PACK),
}
