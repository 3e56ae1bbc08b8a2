"""Parity of one group of files: how it is divided, and how it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import ResticFormatError, StorageError
from restic_format.rescue.parity.store import Kept, parity_name
from restic_format.storage import SideFiles, Storage
from restic_format.work import Cancel
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

    def __init__(self, member: parity.Member, why: str) -> None:
        super().__init__(why, object=member.path)
        self.member = member


class Shape(NamedTuple):
    """How a group is divided (PARITY-2)."""

    block_size: int
    stripes: int
    rows: int


def group_limit(largest: int, overhead: float) -> int:
    """Most bytes of packs in a group, where the largest pack has *largest*: if memory allows, that one may be lost."""
    return max(_SMALLEST_BLOCK, int(min(max(_GROUP, largest / overhead * 1.05), _MOST_PARITY / overhead)))


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
    sums = [galois.Sum(width) for _ in range(shape.rows)]
    checks = bytearray()
    column, number = bytearray(), 0
    for part in _padded(storage, members, shape.block_size, cancel):
        for at in range(0, len(part), shape.block_size):
            checks += parity.check(part[at : at + shape.block_size])
        column += part
        while len(column) >= width:
            _add(sums, columns, number, bytes(column[:width]))
            del column[:width]
            number += 1
    if column:
        _add(sums, columns, number, bytes(column.ljust(width, b"\0")))
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


def _add(sums: Sequence[galois.Sum], columns: int, number: int, column: bytes) -> None:
    for row, value in enumerate(sums):
        value.add(galois.coefficient(columns, row, number), column)


def _blocks(sums: Sequence[galois.Sum], shape: Shape) -> Iterator[bytes]:
    for value in sums:
        row = value.value()
        for at in range(0, len(row), shape.block_size):
            yield row[at : at + shape.block_size]


def _padded(storage: Storage, members: Sequence[parity.Member], block_size: int, cancel: Cancel | None) -> Iterator[bytes]:
    """The files of a group in parts of whole blocks; each is verified behind its last part (PARITY-1)."""
    step = max(block_size, _AT_ONCE // block_size * block_size)
    for member in members:
        digest = hashlib.sha256()
        try:
            if member.size > KINDS[member.kind].max_size:
                raise Unusable(member, "is larger than a file of its kind may be")
            for at in range(0, member.size, step):
                if cancel is not None:
                    cancel.check()
                part = storage.load(member.kind, member.name, at, min(step, member.size - at))
                digest.update(part)
                yield part.ljust(parity.blocks_of(len(part), block_size) * block_size, b"\0")
        except StorageError as error:
            raise Unusable(member, str(error)) from error
        if digest.digest() != member.id:
            raise Unusable(member, "is damaged: its content is not what its name says")


def config_member(storage: Storage) -> parity.Member:
    """The config as a file to be protected. Raises `StorageError`."""
    content = storage.load(FileKind.CONFIG, "")
    return parity.Member(FileKind.CONFIG, id_of(content), len(content))
