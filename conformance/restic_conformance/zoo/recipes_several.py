"""Locks, stray files, permissions; several faults at once; whole folders gone; files of another repository."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from restic_conformance.vault import file_id
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.recipes_files import another, flip_bits, overwrite
from restic_conformance.zoo.recipes_index import without_packs
from restic_conformance.zoo.recipes_packs import bit, header_of, in_box, in_header
from restic_conformance.zoo.site import Site, in_folder, pack_path
from restic_spec.constants import HEX_SIZE, LENGTH_SIZE, MAC_SIZE
from restic_spec.crypto import OVERHEAD
from restic_spec.lock import Lock, encode_lock
from restic_spec.pack import BlobType

Make = Callable[[Site, random.Random], Change | None]

SECTOR = 512
"""Bytes that a disk loses at once."""

NOBODY = 4_194_303
"""A process id that no process has: the largest."""


def _lock(site: Site, chance: random.Random, *, exclusive: bool, host: str, time: str) -> Change:
    lock = Lock(time, exclusive, host, "somebody", NOBODY)
    path, sealed = site.seal_file("locks", encode_lock(lock), chance.randbytes(16))
    return Change({path: sealed})


def _lock_bytes(make: Callable[[bytes, random.Random], bytes], site: Site, chance: random.Random) -> Change:
    (path, sealed), *_ = _lock(site, chance, exclusive=True, host="elsewhere", time="2021-01-01T00:00:00Z").files.items()
    return Change({path: make(sealed or b"", chance)})


def _lock_garbage(site: Site, chance: random.Random) -> Change:
    data = chance.randbytes(200)
    return Change({f"locks/{file_id(data)}": data})


def _strays(site: Site, chance: random.Random) -> Change:
    paths = (
        "data/README", "data/ab/not-a-pack", "index/tmp-123", "snapshots/.DS_Store", "keys/notes.txt", "locks/garbage",
        "lost+found/file", "config.bak", "data/zz/" + "0" * HEX_SIZE,
    )  # fmt: skip
    return Change({path: chance.randbytes(20) for path in paths})


def _all(folder: str, site: Site, chance: random.Random) -> Change:
    return Change(dict.fromkeys(in_folder(site.files, folder)))


def _folder(folder: str, site: Site, chance: random.Random) -> Change:
    return Change(without_folders=(folder,))


def _folder_of_locks(site: Site, chance: random.Random) -> Change:
    return Change(without_folders=("locks",))


def _keys(edit: Callable[[bytes, random.Random], bytes], site: Site, chance: random.Random) -> Change:
    return Change({path: edit(site.files[path], chance) for path in in_folder(site.files, "keys")})


def _key_bit(data: bytes, chance: random.Random) -> bytes:
    return flip_bits(data, (len(data) - chance.randrange(10, 120), 1))


def _foreign_file(folder: str, site: Site, chance: random.Random) -> Change | None:
    paths = in_folder(site.foreign, folder)
    return Change({paths[0]: site.foreign[paths[0]]}) if paths else None


def _mode(site: Site, chance: random.Random) -> Change:
    path = pack_path(site.packs_of(BlobType.DATA)[0])
    return Change(modes={path: 0, "config": 0})


def _mode_of_folder(site: Site, chance: random.Random) -> Change:
    return Change(modes={"index": 0})


def _bit_in(kind: BlobType, site: Site, chance: random.Random) -> Change:
    return in_box(kind, partial(bit, "ciphertext"), site, chance) or Change()


def _no_index(site: Site, chance: random.Random) -> Change:
    return _all("index", site, chance)


def _no_index_bit(site: Site, chance: random.Random) -> Change:
    return _no_index(site, chance) | _bit_in(BlobType.DATA, site, chance)


def _no_index_tree_bit(site: Site, chance: random.Random) -> Change:
    return _no_index(site, chance) | _bit_in(BlobType.TREE, site, chance)


def _no_index_no_header(site: Site, chance: random.Random) -> Change:
    """The header of the pack is as good as gone, and nothing else says what is in it."""
    return _no_index(site, chance) | in_header(another, site, chance)


def _no_index_cut(site: Site, chance: random.Random) -> Change:
    path = pack_path(site.packs_of(BlobType.DATA)[0])
    raw = site.files[path]
    return _no_index(site, chance) | Change({path: raw[: len(raw) * 3 // 4]})


def _unindexed_header_bit(site: Site, chance: random.Random) -> Change:
    name = site.packs_of(BlobType.DATA)[0]
    return without_packs(site, {name}, chance) | in_header(partial(bit, "ciphertext"), site, chance)


def _config_and_index(site: Site, chance: random.Random) -> Change:
    return Change({"config": None}) | _no_index(site, chance)


def _config_bit_and_pack_bit(site: Site, chance: random.Random) -> Change:
    config = site.files["config"]
    flipped = flip_bits(config, (chance.randrange(16, len(config) - MAC_SIZE), 4))
    return Change({"config": flipped}) | _bit_in(BlobType.DATA, site, chance)


def _snapshot_and_tree_bit(site: Site, chance: random.Random) -> Change:
    gone = in_folder(site.files, "snapshots")[0]
    return Change({gone: None}) | _bit_in(BlobType.TREE, site, chance)


def _snapshot_bit_and_index_bit(site: Site, chance: random.Random) -> Change:
    change = Change()
    for folder in ("snapshots", "index"):
        path = chance.choice(in_folder(site.files, folder))
        change |= Change({path: flip_bits(site.files[path], (chance.randrange(len(site.files[path])), 2))})
    return change


def _two_packs_bits(site: Site, chance: random.Random) -> Change:
    return _bit_in(BlobType.DATA, site, chance) | _bit_in(BlobType.TREE, site, chance)


def _every_blob_bit(site: Site, chance: random.Random) -> Change:
    """One bit in each blob of the largest pack of data."""
    name = site.packs_of(BlobType.DATA)[0]
    raw = site.files[pack_path(name)]
    for entry in site.packs[name]:
        place = entry.offset + chance.randrange(OVERHEAD // 2, entry.length - MAC_SIZE)
        raw = flip_bits(raw, (place, 1 << chance.randrange(8)))
    return Change({pack_path(name): raw})


def _header_and_blob(site: Site, chance: random.Random) -> Change:
    name = site.packs_of(BlobType.DATA)[0]
    raw = site.files[pack_path(name)]
    start, end = header_of(site, name)
    entry = chance.choice(site.packs[name])
    places = (entry.offset + chance.randrange(16, entry.length - MAC_SIZE), 8), (chance.randrange(start, end), 8)
    return Change({pack_path(name): flip_bits(raw, *places)})


def _two_packs_gone(site: Site, chance: random.Random) -> Change:
    return Change({pack_path(site.packs_of(kind)[-1]): None for kind in BlobType})


def _scattered_zeros(site: Site, chance: random.Random) -> Change:
    """A sector of zeros in each of three packs, as a disk loses them."""
    change = Change()
    for name in list(site.packs)[:3]:
        raw = site.files[pack_path(name)]
        offset = SECTOR * chance.randrange(max(1, len(raw) // SECTOR))
        change.files[pack_path(name)] = overwrite(raw, offset, bytes(min(SECTOR, len(raw) - offset)))
    return change


def _length_and_bit(site: Site, chance: random.Random) -> Change:
    damaged = _bit_in(BlobType.DATA, site, chance)
    (path, raw), *_ = damaged.files.items()
    return Change({path: (raw or b"")[:-LENGTH_SIZE] + bytes(LENGTH_SIZE)})


FAULTS: tuple[tuple[str, str, Make], ...] = (
    (
        "lock-dead", "there is a lock of a process that is gone",
        partial(_lock, exclusive=False, host="elsewhere", time="2021-01-01T00:00:00Z"),
    ),
    (
        "lock-dead-exclusive", "there is an exclusive lock of a process that is gone",
        partial(_lock, exclusive=True, host="elsewhere", time="2021-01-01T00:00:00Z"),
    ),
    ("lock-empty", "there is an empty lock", partial(_lock_bytes, lambda data, chance: b"")),
    ("lock-half", "there is half a lock", partial(_lock_bytes, lambda data, chance: data[: len(data) // 2])),
    (
        "lock-bit", "there is a lock with one bit flipped",
        partial(_lock_bytes, lambda data, chance: flip_bits(data, (chance.randrange(len(data)), 1))),
    ),
    ("lock-garbage", "there is a lock of random bytes", _lock_garbage),
    ("lock-foreign", "there is a lock that another key has sealed", lambda site, chance: _foreign_lock(site, chance)),
    ("locks-folder-gone", "the folder of the locks is gone", _folder_of_locks),
    ("strays", "files lie about that are none of a repository's", _strays),
    ("modes", "a pack and the config may be read by nobody", _mode),
    ("index-folder-mode", "the folder of the indexes may be read by nobody", _mode_of_folder),
    ("snapshots-gone", "no snapshot is left", partial(_all, "snapshots")),
    ("snapshots-folder-gone", "the folder of the snapshots is gone", partial(_folder, "snapshots")),
    ("keys-gone", "no key is left", partial(_all, "keys")),
    ("keys-bit", "every key has one bit flipped", partial(_keys, _key_bit)),
    ("keys-half", "every key has lost its second half", partial(_keys, lambda data, chance: data[: len(data) // 2])),
    ("key-foreign", "there is a key of another repository", partial(_foreign_file, "keys")),
    ("snapshot-foreign", "there is a snapshot of another repository", partial(_foreign_file, "snapshots")),
    ("no-index-and-bit", "no index is left, and a bit of a data blob is flipped", _no_index_bit),
    ("no-index-and-tree-bit", "no index is left, and a bit of a tree blob is flipped", _no_index_tree_bit),
    ("no-index-and-no-header", "no index is left, and a pack's header is overwritten", _no_index_no_header),
    ("no-index-and-cut", "no index is left, and a pack has lost its last quarter", _no_index_cut),
    ("unindexed-and-header-bit", "a pack is in no index, and a bit of its header is flipped", _unindexed_header_bit),
    ("config-and-indexes-gone", "the config is gone, and no index is left", _config_and_index),
    ("config-bit-and-pack-bit", "a bit of the config is flipped, and one of a data blob", _config_bit_and_pack_bit),
    ("snapshot-gone-and-tree-bit", "a snapshot is gone, and a bit of a tree blob is flipped", _snapshot_and_tree_bit),
    ("snapshot-bit-and-index-bit", "a bit of a snapshot is flipped, and one of an index", _snapshot_bit_and_index_bit),
    ("two-packs-bits", "a bit of a data blob is flipped, and one of a tree blob", _two_packs_bits),
    ("every-blob-bit", "every blob of a pack has one bit flipped", _every_blob_bit),
    ("header-and-blob-bit", "a bit of a pack's header is flipped, and one of a blob in it", _header_and_blob),
    ("length-and-blob-bit", "a pack's length field is zero, and a bit of a blob in it is flipped", _length_and_bit),
    ("two-packs-gone", "a pack of data is gone, and one of trees", _two_packs_gone),
    ("scattered-zeros", "a sector of 512 bytes is zeros in each of three packs", _scattered_zeros),
)  # fmt: skip


def _foreign_lock(site: Site, chance: random.Random) -> Change | None:
    """A sealed file of another repository in the folder of the locks."""
    paths = in_folder(site.foreign, "snapshots")
    if not paths:
        return None
    data = site.foreign[paths[0]]
    return Change({f"locks/{file_id(data)}": data})


def made() -> Iterator[tuple[str, str, Make]]:
    """The kinds: name, words, maker."""
    yield from FAULTS
