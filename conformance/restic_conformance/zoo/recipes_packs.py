"""Packs damaged where it matters: blobs, IVs, tags, header, length field; damaged before hashing; unindexed; misplaced."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from restic_conformance.vault import file_id
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.recipes_files import another, flip_bits, overwrite
from restic_conformance.zoo.recipes_index import of_pack, replaced, without_packs
from restic_conformance.zoo.site import Site, open_unpacked, pack_path
from restic_spec.blob import seal_blob
from restic_spec.constants import IV_SIZE, LENGTH_SIZE, MAC_SIZE
from restic_spec.crypto import OVERHEAD, open_sealed
from restic_spec.index import IndexBlob, IndexFile, IndexPack, decode_index, encode_index
from restic_spec.pack import BlobType, PackEntry, decode_length, encode_header, encode_length

Make = Callable[[Site, random.Random], Change | None]
Edit = Callable[[bytes, random.Random], bytes]

SMALL = 64 << 10
"""Blobs up to so many bytes count as small."""
LEAST = 8 << 10
"""Bytes above which a blob has places far from each other."""


def in_box(kind: BlobType, edit: Edit, site: Site, chance: random.Random, *, small: bool = False) -> Change | None:
    """A blob of a type in its largest pack, its sealed bytes edited."""
    name = site.packs_of(kind)[0]
    fitting = [one for one in site.packs[name] if one.type is kind and one.length > OVERHEAD + 64]
    fitting = [one for one in fitting if not small or one.length <= SMALL]
    if not fitting:
        return None
    entry = chance.choice(fitting)
    raw = site.files[pack_path(name)]
    box = raw[entry.offset : entry.offset + entry.length]
    return Change({pack_path(name): overwrite(raw, entry.offset, edit(box, chance))})


def _range(box: bytes, part: str) -> tuple[int, int]:
    return {
        "iv": (0, IV_SIZE),
        "ciphertext": (IV_SIZE, len(box) - MAC_SIZE),
        "tag": (len(box) - MAC_SIZE, len(box)),
        "first block": (IV_SIZE, IV_SIZE + 16),
        "last block": (len(box) - MAC_SIZE - ((len(box) - OVERHEAD) % 16 or 16), len(box) - MAC_SIZE),
    }[part]


def bit(part: str, box: bytes, chance: random.Random) -> bytes:
    """One flipped bit in a part of a sealed box."""
    return flip_bits(box, (chance.randrange(*_range(box, part)), 1 << chance.randrange(8)))


def whole(part: str, box: bytes, chance: random.Random) -> bytes:
    """All bytes of a part replaced."""
    start, end = _range(box, part)
    return overwrite(box, start, another(box[start:end], chance))


def _block(box: bytes, chance: random.Random) -> bytes:
    offset = IV_SIZE + 16 * chance.randrange((len(box) - OVERHEAD) // 16)
    return overwrite(box, offset, another(box[offset : offset + 16], chance))


def _run(length: int, box: bytes, chance: random.Random) -> bytes:
    """Bytes replaced inside one block of the ciphertext."""
    offset = IV_SIZE + 16 * chance.randrange((len(box) - OVERHEAD) // 16) + chance.randrange(17 - length)
    return overwrite(box, offset, another(box[offset : offset + length], chance))


def _across(box: bytes, chance: random.Random) -> bytes:
    offset = IV_SIZE + 16 * chance.randrange(1, (len(box) - OVERHEAD) // 16) - 2
    return overwrite(box, offset, another(box[offset : offset + 4], chance))


def _two_bits(box: bytes, chance: random.Random) -> bytes:
    one, other = chance.sample(range(IV_SIZE, len(box) - MAC_SIZE), 2)
    return flip_bits(box, (one, 1 << chance.randrange(8)), (other, 1 << chance.randrange(8)))


def _bit_and_tag(box: bytes, chance: random.Random) -> bytes:
    return bit("tag", bit("ciphertext", box, chance), chance)


def _bit_and_iv(box: bytes, chance: random.Random) -> bytes:
    return bit("iv", bit("ciphertext", box, chance), chance)


def _two_blocks(box: bytes, chance: random.Random) -> bytes:
    one, other = chance.sample(range((len(box) - OVERHEAD) // 16), 2)
    for number in (one, other):
        offset = IV_SIZE + 16 * number
        box = overwrite(box, offset, another(box[offset : offset + 16], chance))
    return box


BOXES: dict[str, tuple[str, Edit, bool]] = {
    "bit": ("one bit of {} is flipped", partial(bit, "ciphertext"), False),
    "byte": ("one byte of {} is replaced", partial(_run, 1), False),
    "four-bytes": ("four bytes in a block of {} are replaced", partial(_run, 4), False),
    "block": ("a block of 16 bytes of {} is replaced", _block, False),
    "first-block": ("the first block of {} is replaced", partial(whole, "first block"), True),
    "last-block": ("the last block of {} is replaced", partial(whole, "last block"), True),
    "iv-bit": ("one bit of the IV of {} is flipped", partial(bit, "iv"), False),
    "iv": ("the IV of {} is replaced", partial(whole, "iv"), False),
    "tag-bit": ("one bit of the tag of {} is flipped", partial(bit, "tag"), False),
    "tag": ("the tag of {} is replaced", partial(whole, "tag"), False),
    "two-bits": ("two bits of {} are flipped", _two_bits, True),
    "bit-and-tag": ("one bit of {} and one of its tag are flipped", _bit_and_tag, True),
    "bit-and-iv": ("one bit of {} and one of its IV are flipped", _bit_and_iv, True),
    "across": ("four bytes of {} over the border of two blocks are replaced", _across, True),
    "two-blocks": ("two blocks of {} are replaced", _two_blocks, True),
}


def header_of(site: Site, name: str) -> tuple[int, int]:
    """Where the sealed header of a pack starts and ends."""
    raw = site.files[pack_path(name)]
    end = len(raw) - LENGTH_SIZE
    return end - decode_length(raw[-LENGTH_SIZE:]), end


def in_header(edit: Edit, site: Site, chance: random.Random) -> Change:
    """The sealed header of the largest pack of data, edited."""
    name = site.packs_of(BlobType.DATA)[0]
    start, end = header_of(site, name)
    raw = site.files[pack_path(name)]
    return Change({pack_path(name): raw[:start] + edit(raw[start:end], chance) + raw[end:]})


def _lost(box: bytes, chance: random.Random) -> bytes:
    return another(box, chance)


HEADERS: dict[str, tuple[str, Edit]] = {
    "bit": ("one bit of a pack's header is flipped", partial(bit, "ciphertext")),
    "block": ("a block of 16 bytes of a pack's header is replaced", _block),
    "iv": ("the IV of a pack's header is replaced", partial(whole, "iv")),
    "tag-bit": ("one bit of the tag of a pack's header is flipped", partial(bit, "tag")),
    "lost": ("a pack's header is overwritten", _lost),
}


def _with_tail(tail: Callable[[bytes, random.Random], bytes], site: Site, chance: random.Random) -> Change:
    path = pack_path(site.packs_of(BlobType.DATA)[0])
    return Change({path: tail(site.files[path], chance)})


TAILS: dict[str, tuple[str, Edit]] = {
    "length-huge": (
        "a pack's length field is far too large", lambda raw, chance: raw[:-LENGTH_SIZE] + b"\xff\xff\xff\x7f",
    ),
    "length-zero": ("a pack's length field is zero", lambda raw, chance: raw[:-LENGTH_SIZE] + bytes(LENGTH_SIZE)),
    "length-off": (
        "a pack's length field is wrong by a few bytes",
        lambda raw, chance: raw[:-LENGTH_SIZE] + encode_length(decode_length(raw[-LENGTH_SIZE:]) + chance.randrange(1, 9)),
    ),
    "trailer-gone": ("a pack has no length field", lambda raw, chance: raw[:-LENGTH_SIZE]),
    "start-zeroed": ("a pack's first 4 KiB are zeros", lambda raw, chance: overwrite(raw, 0, bytes(4096))),
    "end-zeroed": ("a pack's last 4 KiB are zeros", lambda raw, chance: raw[:-4096] + bytes(min(4096, len(raw)))),
    "byte-inserted": (
        "a byte has come into the middle of a pack",
        lambda raw, chance: raw[: len(raw) // 2] + chance.randbytes(1) + raw[len(raw) // 2 :],
    ),
    "byte-removed": (
        "a byte has gone from the middle of a pack",
        lambda raw, chance: raw[: len(raw) // 2] + raw[len(raw) // 2 + 1 :],
    ),
    "quarter": ("only the first quarter of a pack is there", lambda raw, chance: raw[: len(raw) // 4]),
}  # fmt: skip


def _indexed(entry: PackEntry) -> IndexBlob:
    """What an index says of a blob."""
    return IndexBlob(entry.id.hex(), entry.type.value, entry.offset, entry.length, entry.uncompressed_length or 0)


def repacked(site: Site, name: str, raw: bytes, chance: random.Random, entries: Sequence[PackEntry] | None = None) -> Change:
    """A pack replaced by other bytes under their true hash, and the indexes corrected to it, with other *entries* if given."""
    change = Change({pack_path(name): None, pack_path(file_id(raw)): raw})
    for path in of_pack(site, name):
        index = decode_index(open_unpacked(site.master, site.files[path]))
        for pack in index.all_packs():
            if pack.id == name:
                pack.id = file_id(raw)
                pack.blobs = pack.blobs if entries is None else [_indexed(entry) for entry in entries]
        change |= replaced(site, path, index, chance)
    return change


def _before_hashing(kind: BlobType, site: Site, chance: random.Random) -> Change | None:
    damaged = in_box(kind, partial(bit, "ciphertext"), site, chance)
    if damaged is None:
        return None
    (path, raw), *_ = damaged.files.items()
    return repacked(site, path.rpartition("/")[2], raw or b"", chance)


def _before_sealing(kind: BlobType, site: Site, chance: random.Random) -> Change | None:
    def other(box: bytes, chance: random.Random) -> bytes:
        plain = open_sealed(site.master, box)
        return site.seal(flip_bits(plain, (chance.randrange(len(plain)), 1 << chance.randrange(8))), chance.randbytes(16))

    damaged = in_box(kind, other, site, chance)
    if damaged is None:
        return None
    (path, raw), *_ = damaged.files.items()
    return repacked(site, path.rpartition("/")[2], raw or b"", chance)


def _entry_garbled(site: Site, chance: random.Random) -> Change | None:
    """A tree of which one entry was overwritten in memory, before it was compressed and sealed; the pack is built around it."""
    name = site.packs_of(BlobType.TREE)[0]
    fitting = [
        one for one in site.packs[name] if one.type is BlobType.TREE and site.plain[one.type, one.id].count(b'"name"') > 2
    ]
    if not fitting:
        return None
    chosen = chance.choice(fitting)
    plain = site.plain[chosen.type, chosen.id]
    starts = [found.start() for found in re.finditer(rb'{"name":"', plain)]
    garbled = overwrite(plain, chance.choice(starts) + 30, another(bytes(12), chance))
    raw, body, entries = site.files[pack_path(name)], b"", []
    for entry in site.packs[name]:
        box = raw[entry.offset : entry.offset + entry.length]
        if entry == chosen:
            made, box = seal_blob(site.master, entry.type, garbled, offset=len(body), version=site.version)
            box = site.seal(open_sealed(site.master, box), chance.randbytes(16))
            entry = made._replace(id=entry.id)
        entries.append(entry._replace(offset=len(body)))
        body += box
    header = site.seal(encode_header(entries), chance.randbytes(16))
    return repacked(site, name, body + header + encode_length(len(header)), chance, entries)


def _lying_header(lie: Callable[[list[PackEntry], random.Random], None], site: Site, chance: random.Random) -> Change | None:
    """A header that lies under a valid seal, the pack under its true hash."""
    name = next((name for name in site.packs_of(BlobType.DATA) if len(site.packs[name]) > 1), None)
    if name is None:
        return None
    start, _ = header_of(site, name)
    entries = list(site.packs[name])
    lie(entries, chance)
    header = site.seal(encode_header(entries), chance.randbytes(16))
    raw = site.files[pack_path(name)]
    return repacked(site, name, raw[:start] + header + encode_length(len(header)), chance)


def _other_id(entries: list[PackEntry], chance: random.Random) -> None:
    number = chance.randrange(len(entries))
    entries[number] = entries[number]._replace(id=chance.randbytes(32))


def _entries_exchanged(entries: list[PackEntry], chance: random.Random) -> None:
    one, other = chance.sample(range(len(entries)), 2)
    entries[one], entries[other] = entries[other], entries[one]


def _entry_left_out(entries: list[PackEntry], chance: random.Random) -> None:
    del entries[chance.randrange(len(entries))]


def _unindexed(kind: BlobType, site: Site, chance: random.Random) -> Change:
    return without_packs(site, {site.packs_of(kind)[0]}, chance)


def _misplaced(site: Site, chance: random.Random) -> Change:
    name = site.packs_of(BlobType.DATA)[0]
    folder = "00" if name[:2] != "00" else "01"
    return Change({pack_path(name): None, f"data/{folder}/{name}": site.files[pack_path(name)]})


def _folder_gone(site: Site, chance: random.Random) -> Change:
    return Change(without_folders=(f"data/{site.packs_of(BlobType.DATA)[0][:2]}",))


def _stray_pack(site: Site, chance: random.Random) -> Change:
    box = site.seal(b"nobody asks for this", chance.randbytes(16))
    entry = PackEntry(BlobType.DATA, bytes.fromhex(file_id(b"nobody asks for this")), 0, len(box), None)
    header = site.seal(encode_header([entry]), chance.randbytes(16))
    raw = box + header + encode_length(len(header))
    return Change({pack_path(file_id(raw)): raw})


def _garbage_pack(site: Site, chance: random.Random) -> Change:
    raw = chance.randbytes(9000)
    return Change({pack_path(file_id(raw)): raw})


def _copies_damaged(site: Site, chance: random.Random) -> Change | None:
    """Two copies of a blob, each with two damaged blocks, a quarter of the blob apart; the second copy in a pack of its own."""
    name = site.packs_of(BlobType.DATA)[0]
    fitting = [one for one in site.packs[name] if one.type is BlobType.DATA and LEAST < one.length <= SMALL]
    if not fitting:
        return None
    entry = chance.choice(fitting)
    raw = site.files[pack_path(name)]
    box = raw[entry.offset : entry.offset + entry.length]
    other = site.seal(open_sealed(site.master, box), chance.randbytes(16))

    def damaged(copy: bytes, *eighths: int) -> bytes:
        for eighth in eighths:
            offset = IV_SIZE + 16 * ((len(copy) - OVERHEAD) // 16 * eighth // 8)
            copy = overwrite(copy, offset, another(copy[offset : offset + 16], chance))
        return copy

    header = site.seal(encode_header([entry._replace(offset=0)]), chance.randbytes(16))
    end = header + encode_length(len(header))
    second = file_id(other + end)
    packs = [IndexPack(second, [_indexed(entry._replace(offset=0))])]
    path, index = site.seal_file("index", encode_index(IndexFile(packs=packs)), chance.randbytes(16))
    files = {
        pack_path(name): overwrite(raw, entry.offset, damaged(box, 1, 3)),
        pack_path(second): damaged(other, 5, 7) + end,
        path: index,
    }
    return Change({**files})


def _unfinished(site: Site, chance: random.Random) -> Change:
    """The beginning of a pack under the name of the whole, in no index: an upload that was broken off."""
    raw = site.files[pack_path(site.packs_of(BlobType.DATA)[0])]
    return Change({pack_path(chance.randbytes(32).hex()): raw[: len(raw) // 3]})


def _twice(site: Site, chance: random.Random) -> Change:
    raw = site.files[pack_path(site.packs_of(BlobType.DATA)[0])]
    return Change({pack_path(chance.randbytes(32).hex()): raw})


def _foreign(site: Site, chance: random.Random) -> Change | None:
    packs = {path: data for path, data in site.foreign.items() if path.startswith("data/")}
    return Change(dict(packs)) if packs else None


def _in_place_of(site: Site, chance: random.Random) -> Change | None:
    packs = sorted(path for path in site.foreign if path.startswith("data/"))
    path = pack_path(site.packs_of(BlobType.DATA)[0])
    return Change({path: site.foreign[packs[0]]}) if packs else None


def made() -> Iterator[tuple[str, str, Make]]:
    """The kinds: name, words, maker."""
    for kind, whose in ((BlobType.DATA, "a data blob"), (BlobType.TREE, "a tree blob")):
        for name, (what, edit, small) in BOXES.items():
            if kind is BlobType.DATA or name in ("bit", "block", "iv", "tag", "two-blocks"):
                yield f"{kind.value}-blob-{name}", what.format(whose), partial(in_box, kind, edit, small=small)
        yield (
            f"{kind.value}-blob-before-hashing",
            f"{whose} was damaged before its pack was hashed: the pack's name is right, the MAC is not",
            partial(_before_hashing, kind),
        )
        yield (
            f"{kind.value}-blob-before-sealing",
            f"{whose} was damaged before it was sealed: name and MAC are right, the content is not",
            partial(_before_sealing, kind),
        )
        yield f"{kind.value}-pack-unindexed", f"a pack of {kind.value} is in no index", partial(_unindexed, kind)
    yield "tree-entry-garbled", "an entry of a tree was overwritten before the tree was sealed", _entry_garbled
    for name, (what, edit) in HEADERS.items():
        yield f"header-{name}", what, partial(in_header, edit)
    for name, (what, edit) in TAILS.items():
        yield f"pack-{name}", what, partial(_with_tail, edit)
    for name, what, lie in (
        ("other-id", "a pack's header has another id for a blob, under a valid seal", _other_id),
        ("entries-exchanged", "a pack's header has two blobs the wrong way round, under a valid seal", _entries_exchanged),
        ("entry-left-out", "a pack's header leaves out a blob, under a valid seal", _entry_left_out),
    ):
        yield f"header-lies-{name}", what, partial(_lying_header, lie)
    yield "copies-damaged", "a blob is there twice, and each copy has two damaged blocks", _copies_damaged
    yield "pack-misplaced", "a pack lies in the folder of other names", _misplaced
    yield "pack-folder-gone", "a folder of packs is gone", _folder_gone
    yield "pack-stray", "there is a pack that nobody needs", _stray_pack
    yield "pack-garbage", "there is a file of random bytes among the packs", _garbage_pack
    yield "pack-unfinished", "there is the beginning of a pack, in no index", _unfinished
    yield "pack-twice", "a pack is there a second time under a wrong name", _twice
    yield "pack-foreign", "there are packs of another repository", _foreign
    yield "pack-replaced", "a pack has the content of one of another repository", _in_place_of
