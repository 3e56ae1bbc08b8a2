"""Parity of one group of files: how it is divided, and how it is made."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import FileMissing, ResticFormatError, StorageError
from restic_format.rescue.parity.store import Kept, parity_name
from restic_format.rescue.parity.sums import make_sums
from restic_format.storage import SideFiles, Storage
from restic_format.work import Cancel, in_order
from restic_spec import galois, parity
from restic_spec.ids import id_of
from restic_spec.layout import KINDS, FileKind

DEFAULT_OVERHEAD = 0.05
"""Bytes of parity for each byte that is protected."""

_SMALLEST_BLOCK = 512
_LARGEST_BLOCK = 1 << 16
_BLOCKS = 2048
"""A group has about as many blocks at least, so that little damage takes few of them."""
_PACK_ROWS = 4
"""Parity blocks a stripe; the work for each byte grows with them."""
_OTHER_ROWS = 8
_ALL_OF = 64
"""Blocks of files other than packs for which there is as much parity."""
_AT_ONCE = 4 << 20

_GROUP = 512 << 20
"""Bytes of files in a group of packs, if they are not so large that one of them would not fit into its parity."""
_MOST_PARITY = 128 << 20
"""Bytes of parity in a group; they are in memory while it is made."""


class Unusable(ResticFormatError):
    """A file cannot be protected: it is damaged or gone, or cannot be read."""

    def __init__(self, member: parity.Member, why: str, *, is_gone: bool = False) -> None:
        super().__init__(why, object=member.path)
        self.member = member
        self.is_gone = is_gone


class Shape(NamedTuple):
    """How a group is divided (PARITY-2)."""

    block_size: int
    stripes: int
    rows: int


def group_limit(largest: int, overhead: float) -> int:
    """Bytes of packs that a group should have, where the largest pack has *largest*: if memory allows, that one may be lost."""
    return min(int(max(_GROUP, largest / overhead * 1.05)), most_in_group(overhead))


def most_in_group(overhead: float) -> int:
    """Most bytes of packs in a group."""
    return int(_MOST_PARITY / overhead)


def shape_of(members: Sequence[parity.Member], overhead: float) -> Shape:
    """How a group of *members* is divided for *overhead*, which is above 0.

    Files other than packs, which are few and small, get so much parity that the two largest of them may be lost, and all of
    them where they are no more than some KiB.
    """
    total = sum(member.size for member in members)
    block_size = _SMALLEST_BLOCK
    while block_size < _LARGEST_BLOCK and block_size * _BLOCKS < total:
        block_size *= 2
    counts = [parity.blocks_of(member.size, block_size) for member in members]
    blocks = max(1, sum(counts))
    wanted = max(1, -int(-blocks * overhead // 1))
    packs = all(member.kind is FileKind.PACK for member in members)
    if not packs:
        wanted = max(wanted, 2 * max(counts), min(blocks, _ALL_OF))
    rows = min(_PACK_ROWS if packs else _OTHER_ROWS, wanted)
    while True:
        stripes = -(-wanted // rows)
        columns = -(-blocks // stripes)
        if columns + rows <= galois.ELEMENTS:
            return Shape(block_size, stripes, rows)
        if rows > 1:
            rows -= 1
        else:
            wanted += 1 + wanted // 16


def make_group(
    storage: Storage, side: SideFiles, members: Sequence[parity.Member], overhead: float, cancel: Cancel | None
) -> Kept:
    """Store a parity file for *members*, each of which is read once, and verified.

    Raises:
        Unusable: one of them; nothing was stored.
        StorageError: the parity file cannot be stored.
        Interrupted: it was cancelled.
    """
    shape = shape_of(members, overhead)
    width = shape.block_size * shape.stripes
    columns = -(-sum(parity.blocks_of(member.size, shape.block_size) for member in members) // shape.stripes)
    sums = make_sums(shape.rows, width)
    checks = bytearray()
    column, filled, number = bytearray(width), 0, 0
    for blocks, checks_of_blocks in _verified(storage, members, shape.block_size, cancel):
        checks += checks_of_blocks
        rest = memoryview(blocks)
        while rest:
            taken = min(len(rest), width - filled)
            column[filled : filled + taken] = rest[:taken]
            filled, rest = filled + taken, rest[taken:]
            if filled == width:
                sums.add(_factors(shape, columns, number), column)
                filled, number = 0, number + 1
    if filled:
        column[filled:] = bytes(width - filled)
        sums.add(_factors(shape, columns, number), column)
    description = parity.Description(*shape, tuple(members), bytes(checks))
    group = parity.group_of(parity.encode_description(description))
    writer = side.begin()
    try:
        size = 0
        for piece in parity.parity_file(description, _blocks(sums, shape)):
            if cancel is not None:
                cancel.check()
            writer.append(piece)
            size += len(piece)
        writer.finish(parity_name(group))
    except BaseException:
        writer.abort()
        raise
    return Kept(parity_name(group), size, group, description)


def _factors(shape: Shape, columns: int, number: int) -> list[int]:
    """What a column counts in each row."""
    return [galois.coefficient(columns, row, number) for row in range(shape.rows)]


def _blocks(sums: galois.Sums, shape: Shape) -> Iterator[bytes]:
    for row in sums.values():
        for at in range(0, len(row), shape.block_size):
            yield row[at : at + shape.block_size]


class _Part(NamedTuple):
    """A stretch of a file that is read at once."""

    member: parity.Member
    offset: int
    length: int


def _parts(members: Sequence[parity.Member], block_size: int) -> Iterator[_Part]:
    step = max(block_size, _AT_ONCE // block_size * block_size)
    for member in members:
        for at in range(0, member.size, step):
            yield _Part(member, at, min(step, member.size - at))


def _verified(
    storage: Storage, members: Sequence[parity.Member], block_size: int, cancel: Cancel | None
) -> Iterator[tuple[bytes, bytes]]:
    """The files of a group, read ahead in parts of whole blocks, with the checks of these.

    Each file is verified behind its last part (PARITY-1).
    """

    def read(part: _Part) -> tuple[bytes, bytes]:
        data = storage.load(part.member.kind, part.member.name, part.offset, part.length)
        blocks = data.ljust(parity.blocks_of(len(data), block_size) * block_size, b"\0")
        view = memoryview(blocks)
        return blocks, b"".join(parity.check(view[at : at + block_size]) for at in range(0, len(view), block_size))

    for member in members:
        if member.size > KINDS[member.kind].max_size:
            raise Unusable(member, "is larger than a file of its kind may be")
        if not member.size:
            raise Unusable(member, "is damaged: it is empty")
    digest = hashlib.sha256()
    with contextlib.closing(in_order(read, _parts(members, block_size), name="parity")) as reading:
        for part, found in reading:
            if cancel is not None:
                cancel.check()
            if isinstance(found, StorageError):
                raise Unusable(part.member, str(found), is_gone=isinstance(found, FileMissing)) from found
            if isinstance(found, Exception):
                raise found
            if part.offset == 0:
                digest = hashlib.sha256()
            digest.update(memoryview(found[0])[: part.length])
            yield found
            if part.offset + part.length == part.member.size and digest.digest() != part.member.id:
                raise Unusable(part.member, "is damaged: its content is not what its name says")


def config_member(storage: Storage) -> parity.Member:
    """The config as a file to be protected. Raises `StorageError`."""
    content = storage.load(FileKind.CONFIG, "")
    return parity.Member(FileKind.CONFIG, id_of(content), len(content))
