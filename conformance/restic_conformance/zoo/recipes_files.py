"""Every kind of file, damaged in every plain way: gone, cut, flipped, overwritten, grown, swapped, renamed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from restic_conformance.programs import PASSWORD
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.site import Site, in_folder, open_master, pack_path
from restic_spec.pack import BlobType

Choose = Callable[[Site, random.Random], list[str]]
"""The files of a kind; the first is damaged, the second is for swapping."""
Edit = Callable[[bytes, random.Random], bytes | None]


def config(site: Site, _: random.Random) -> list[str]:
    """The config."""
    return ["config"]


def key(site: Site, chance: random.Random) -> list[str]:
    """The keys, that of the usual password first."""
    paths = in_folder(site.files, "keys")
    first = [path for path in paths if open_master({path: site.files[path]}, (PASSWORD,))]
    return first + [path for path in paths if path not in first]


def folder(name: str, site: Site, chance: random.Random) -> list[str]:
    """The files of a folder, in any order."""
    paths = in_folder(site.files, name)
    chance.shuffle(paths)
    return paths


def packs(kind: BlobType, site: Site, _: random.Random) -> list[str]:
    """The packs with blobs of a type, the largest first."""
    return [pack_path(name) for name in site.packs_of(kind)]


KINDS: dict[str, tuple[str, Choose]] = {
    "config": ("the config", config),
    "key": ("the key of the usual password", key),
    "snapshot": ("a snapshot", partial(folder, "snapshots")),
    "index": ("an index", partial(folder, "index")),
    "data-pack": ("a pack of data", partial(packs, BlobType.DATA)),
    "tree-pack": ("a pack of trees", partial(packs, BlobType.TREE)),
}


def flip_bits(data: bytes, *places: tuple[int, int]) -> bytes:
    """*data* with the bits of a mask inverted at each offset."""
    changed = bytearray(data)
    for offset, mask in places:
        changed[offset] ^= mask
    return bytes(changed)


def overwrite(data: bytes, offset: int, new: bytes) -> bytes:
    """*data* with *new* at *offset*, at most to its end."""
    return (data[:offset] + new + data[offset + len(new) :])[: len(data)]


def another(data: bytes, chance: random.Random) -> bytes:
    """Bytes of the same length, every one different."""
    return bytes(one ^ chance.randrange(1, 256) for one in data)


def _bit(data: bytes, chance: random.Random) -> bytes:
    return flip_bits(data, (chance.randrange(len(data)), 1 << chance.randrange(8)))


def _byte(data: bytes, chance: random.Random) -> bytes:
    offset = chance.randrange(len(data))
    return overwrite(data, offset, another(data[offset : offset + 1], chance))


def _block(data: bytes, chance: random.Random) -> bytes:
    offset = 16 * chance.randrange(1, max(2, len(data) // 16 - 1))
    return overwrite(data, offset, another(data[offset : offset + 16], chance))


def _zeros(data: bytes, chance: random.Random) -> bytes:
    offset = 4096 * chance.randrange(max(1, len(data) // 4096))
    return overwrite(data, offset, bytes(min(4096, len(data) - offset)))


EDITS: dict[str, tuple[str, Edit]] = {
    "missing": ("is gone", lambda data, chance: None),
    "short-by-one": ("has lost its last byte", lambda data, chance: data[:-1]),
    "half": ("has lost its second half", lambda data, chance: data[: len(data) // 2]),
    "empty": ("is empty", lambda data, chance: b""),
    "bit": ("has one bit flipped", _bit),
    "byte": ("has one byte replaced", _byte),
    "block": ("has a block of 16 bytes replaced", _block),
    "zeros": ("has 4 KiB (or all it has) zeroed", _zeros),
    "grown": ("has bytes appended", lambda data, chance: data + chance.randbytes(100)),
}


def _edited(choose: Choose, edit: Edit, site: Site, chance: random.Random) -> Change | None:
    path = choose(site, chance)[0]
    return Change({path: edit(site.files[path], chance)})


def _swapped(choose: Choose, site: Site, chance: random.Random) -> Change | None:
    paths = choose(site, chance)
    if paths == ["config"]:
        return Change({"config": site.foreign["config"]}) if site.foreign else None
    if len(paths) < 2:
        return None
    one, other = paths[:2]
    return Change({one: site.files[other], other: site.files[one]})


def _renamed(choose: Choose, site: Site, chance: random.Random) -> Change | None:
    path = choose(site, chance)[0]
    above, _, _ = path.rpartition("/")
    name = chance.randbytes(32).hex()
    new = "config.old" if path == "config" else pack_path(name) if path.startswith("data/") else f"{above}/{name}"
    return Change({path: None, new: site.files[path]})


def made() -> Iterator[tuple[str, str, Callable[[Site, random.Random], Change | None]]]:
    """The kinds: name, words, maker."""
    for kind, (whose, choose) in KINDS.items():
        for how, (what, edit) in EDITS.items():
            yield f"{kind}-{how}", f"{whose} {what}", partial(_edited, choose, edit)
        what = "is that of another repository" if kind == "config" else "has changed places with another"
        yield f"{kind}-swapped", f"{whose} {what}", partial(_swapped, choose)
        yield f"{kind}-renamed", f"{whose} has another name", partial(_renamed, choose)
