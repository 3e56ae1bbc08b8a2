"""Indexes that lie under a valid seal, that name too little, or that are all gone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from restic_conformance.vault import file_id
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.site import Site, in_folder, open_unpacked
from restic_spec.crypto import OVERHEAD
from restic_spec.index import IndexBlob, IndexFile, IndexPack, decode_index, encode_index

Lie = Callable[[Site, random.Random, IndexFile], bool | None]
"""Changes a decoded index; False where it has nothing to lie about."""


def replaced(site: Site, path: str, index: IndexFile, chance: random.Random) -> Change:
    """*index* in the place of that at *path*, sealed and named as it must be."""
    new, sealed = site.seal_file("index", encode_index(index), chance.randbytes(16))
    return Change({path: None, new: sealed})


def _decoded(site: Site, path: str) -> IndexFile:
    return decode_index(open_unpacked(site.master, site.files[path]))


def largest(site: Site) -> str:
    """Path of the index that names most."""
    return max(in_folder(site.files, "index"), key=lambda path: (len(site.files[path]), path))


def of_pack(site: Site, pack: str) -> list[str]:
    """Paths of the indexes that name *pack*."""
    return [path for path, index in site.indexes.items() if any(one.id == pack for one in index.all_packs())]


def without_packs(site: Site, names: set[str], chance: random.Random) -> Change:
    """The indexes without some packs."""
    change = Change()
    for path in {path for name in names for path in of_pack(site, name)}:
        index = _decoded(site, path)
        index.packs = [one for one in index.all_packs() if one.id not in names]
        change |= replaced(site, path, index, chance) if index.packs else Change({path: None})
    return change


def _data(index: IndexFile) -> IndexPack:
    """The pack of data with most blobs."""
    return max(index.all_packs(), key=lambda pack: (pack.blobs[0].type == "data", len(pack.blobs)))


def _blob(index: IndexFile, chance: random.Random) -> IndexBlob:
    return chance.choice(_data(index).blobs)


def _offset(site: Site, chance: random.Random, index: IndexFile) -> None:
    _blob(index, chance).offset += chance.choice((-1, 1)) * chance.randrange(1, 64) + 64


def _length(site: Site, chance: random.Random, index: IndexFile) -> None:
    blob = _blob(index, chance)
    blob.length = max(OVERHEAD, blob.length - chance.randrange(1, 40))


def _type(site: Site, chance: random.Random, index: IndexFile) -> None:
    blob = _blob(index, chance)
    blob.type = "tree" if blob.type == "data" else "data"


def _pack(site: Site, chance: random.Random, index: IndexFile) -> bool:
    packs = index.all_packs()
    if len(packs) < 2:
        return False
    packs[0].blobs, packs[1].blobs = packs[1].blobs, packs[0].blobs
    return True


def _uncompressed(site: Site, chance: random.Random, index: IndexFile) -> bool:
    fitting = [blob for pack in index.all_packs() for blob in pack.blobs if blob.uncompressed_length]
    if fitting:
        blob = chance.choice(fitting)
        blob.uncompressed_length = (blob.uncompressed_length or 0) + chance.randrange(1, 1000)
    return bool(fitting)


def _as_compressed(site: Site, chance: random.Random, index: IndexFile) -> None:
    blob = _blob(index, chance)
    blob.uncompressed_length = 0 if blob.uncompressed_length else blob.length


def _id(site: Site, chance: random.Random, index: IndexFile) -> None:
    _blob(index, chance).id = chance.randbytes(32).hex()


def _swapped_ids(site: Site, chance: random.Random, index: IndexFile) -> bool:
    blobs = _data(index).blobs
    if len(blobs) < 2:
        return False
    one, other = chance.sample(blobs, 2)
    one.id, other.id = other.id, one.id
    return True


def _blob_left_out(site: Site, chance: random.Random, index: IndexFile) -> bool:
    blobs = _data(index).blobs
    if len(blobs) < 2:
        return False
    blobs.remove(chance.choice(blobs))
    return True


def _pack_left_out(site: Site, chance: random.Random, index: IndexFile) -> bool:
    packs = index.all_packs()
    if len(packs) < 2:
        return False
    packs.remove(chance.choice(packs))
    return True


def _blob_added(site: Site, chance: random.Random, index: IndexFile) -> None:
    _data(index).blobs.append(IndexBlob(chance.randbytes(32).hex(), "data", 0, 500))


def _pack_added(site: Site, chance: random.Random, index: IndexFile) -> None:
    blobs = [IndexBlob(chance.randbytes(32).hex(), "data", 0, 500), IndexBlob(chance.randbytes(32).hex(), "tree", 500, 300)]
    index.packs = [*index.all_packs(), IndexPack(chance.randbytes(32).hex(), blobs)]


def _blobs_twice(site: Site, chance: random.Random, index: IndexFile) -> None:
    pack = _data(index)
    index.packs = [*index.all_packs(), IndexPack(chance.randbytes(32).hex(), pack.blobs)]


def _every_offset(site: Site, chance: random.Random, index: IndexFile) -> None:
    for pack in index.all_packs():
        for blob in pack.blobs:
            blob.offset += 7


LIES: dict[str, tuple[str, Lie]] = {
    "offset": ("the index has a wrong offset for a blob", _offset),
    "every-offset": ("the index has a wrong offset for every blob", _every_offset),
    "length": ("the index has a wrong length for a blob", _length),
    "type": ("the index has the wrong type for a blob", _type),
    "pack": ("the index has the blobs of two packs the wrong way round", _pack),
    "uncompressed-length": ("the index has a wrong uncompressed length for a blob", _uncompressed),
    "compression": ("the index has the wrong word on whether a blob is compressed", _as_compressed),
    "id": ("the index has another id for a blob", _id),
    "swapped-ids": ("the index has two blobs of a pack the wrong way round", _swapped_ids),
    "blob-left-out": ("the index leaves out a blob of a pack", _blob_left_out),
    "pack-left-out": ("the index leaves out a pack", _pack_left_out),
    "blob-added": ("the index names a blob that a pack does not have", _blob_added),
    "pack-added": ("the index names a pack that is not there", _pack_added),
    "blobs-twice": ("the index names the blobs of a pack a second time, in a pack that is not there", _blobs_twice),
}


def _lying(lie: Lie, site: Site, chance: random.Random) -> Change | None:
    path = largest(site)
    index = _decoded(site, path)
    return None if lie(site, chance, index) is False else replaced(site, path, index, chance)


def _all_gone(site: Site, chance: random.Random) -> Change:
    return Change(dict.fromkeys(in_folder(site.files, "index")))


def _folder_gone(site: Site, chance: random.Random) -> Change:
    return Change(without_folders=("index",))


def _no_json(site: Site, chance: random.Random) -> Change:
    path, sealed = site.seal_file("index", b'{"packs":[{"id":"', chance.randbytes(16))
    return Change({largest(site): None, path: sealed})


def _of_another_key(site: Site, chance: random.Random) -> Change | None:
    path = next(iter(in_folder(site.foreign, "index")), None)
    return None if path is None else Change({path: site.foreign[path]})


def _all_damaged(site: Site, chance: random.Random) -> Change:
    change = Change()
    for path in in_folder(site.files, "index"):
        data = bytearray(site.files[path])
        data[len(data) // 2 : len(data) // 2 + 40] = chance.randbytes(40)
        change.files[path] = bytes(data)
    return change


def _garbage(site: Site, chance: random.Random) -> Change:
    data = chance.randbytes(300)
    return Change({f"index/{file_id(data)}": data})


def made() -> Iterator[tuple[str, str, Callable[[Site, random.Random], Change | None]]]:
    """The kinds: name, words, maker."""
    for name, (what, lie) in LIES.items():
        yield f"index-lies-{name}", what, partial(_lying, lie)
    yield "indexes-gone", "no index is left", _all_gone
    yield "index-folder-gone", "the folder of the indexes is gone", _folder_gone
    yield "indexes-damaged", "every index is damaged", _all_damaged
    yield "index-no-json", "an index ends in the middle under a valid seal", _no_json
    yield "index-foreign", "there is an index of another repository", _of_another_key
    yield "index-garbage", "there is a file of random bytes among the indexes", _garbage
