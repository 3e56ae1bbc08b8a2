"""Files brought back from parity and from what is left of them and of the others in their groups."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from restic_format.errors import StorageError
from restic_format.rescue.parity.store import MOST_BYTES, Kept, kept_groups, marks
from restic_format.rescue.parity.sums import make_sums
from restic_format.rescue.wanted import DamagedFile, RecoveredFile
from restic_format.storage import SideFiles, Storage
from restic_format.work import Cancel
from restic_spec import galois, parity
from restic_spec.ids import id_of
from restic_spec.layout import KINDS, FileKind
from restic_spec.parity import Member

_AT_ONCE = 64 << 20
"""Bytes of stripes that are read before they are solved."""


def recover(
    storage: Storage, side: SideFiles, wanted: Sequence[DamagedFile], *, cancel: Cancel | None = None
) -> Iterator[RecoveredFile]:
    """Those of the *wanted* files that parity in *side* brings back. No password is needed, and no index.

    Each is verified: its SHA-256 is its name, and that of the config is what it was when it was protected.

    Raises:
        StorageError: parity cannot be listed.
        Interrupted: it was cancelled.
    """
    damaged = {(item.kind, "" if item.kind is FileKind.CONFIG else item.name): item for item in wanted}
    if not damaged:
        return
    old = marks(side)
    # A config is taken from a group that is up to date, where there is one.
    for kept in sorted(kept_groups(side, cancel), key=lambda kept: kept.name in old):
        mine = {
            member: damaged[member.kind, member.name].data
            for member in kept.description.members
            if (member.kind, member.name) in damaged and member.size <= min(KINDS[member.kind].max_size, MOST_BYTES)
        }
        if not mine or kept.size > MOST_BYTES:
            continue
        try:
            data = side.load(kept.name)
        except StorageError:
            continue
        for group in parity.read_parity_file(data):
            if group.id == kept.group:
                for member, content in _Group(storage, kept, group, data, mine, cancel).recovered():
                    item = damaged.get((member.kind, member.name))
                    if item is None or content == item.data:  # a config that was damaged before it was protected
                        continue
                    del damaged[member.kind, member.name]
                    count = len(kept.description.members)
                    yield RecoveredFile(item.kind, item.name, content, f"parity of {count} files in {kept.name}")


class _Group:
    """A group in which files are damaged."""

    def __init__(
        self,
        storage: Storage,
        kept: Kept,
        group: parity.Group,
        data: bytes,
        wanted: Mapping[Member, bytes | None],
        cancel: Cancel | None,
    ) -> None:
        self._storage = storage
        self._description = kept.description
        self._group = group
        self._data = data
        self._wanted = wanted
        self._cancel = cancel
        self._files = list(kept.description.first_blocks())
        self._firsts = [first for _, first, _ in self._files]
        self._sizes: dict[Member, int] = {}

    def recovered(self) -> Iterator[tuple[Member, bytes]]:
        """The wanted files whose content can be computed, one after the other: there may be no memory for all of them."""
        for member, first, count in self._files:
            if member in self._wanted:
                found = self._blocks(first, count)
                bad = {first + at for at, block in enumerate(found) if block is None}
                solved = self._solve(bad)
                if len(solved) == len(bad):
                    content = b"".join(block or solved[first + at] for at, block in enumerate(found))[: member.size]
                    if id_of(content) == member.id:
                        yield member, content

    def _solve(self, wanted: set[int]) -> dict[int, bytes]:
        """The lost blocks with these numbers, as far as they can be computed."""
        described = self._description
        stripes = sorted({described.place_of(block)[0] for block in wanted})
        most = max(1, _AT_ONCE // (described.columns * described.block_size))
        solved: dict[int, bytes] = {}
        for first, count in _runs(stripes, most):
            if self._cancel is not None:
                self._cancel.check()
            columns = [self._column(number, first, count) for number in range(described.columns)]
            for (lost, rows), places in self._patterns(columns, first, count).items():
                known = [
                    None if number in lost else b"".join(column[at] or b"" for at in places)
                    for number, column in enumerate(columns)
                ]
                values = [(row, b"".join(self._parity(row, first + at) for at in places)) for row in rows]
                for number, value in zip(lost, galois.solve(described.columns, known, values, make_sums), strict=True):
                    for place, at in enumerate(places):
                        block = number * described.stripes + first + at
                        if block in wanted:
                            begin = place * described.block_size
                            solved[block] = value[begin : begin + described.block_size]
        return solved

    def _patterns(
        self, columns: Sequence[Sequence[bytes | None]], first: int, count: int
    ) -> dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]]:
        """Stripes that can be solved, by the columns that are lost and the rows that are used."""
        found: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for at in range(count):
            lost = tuple(number for number, column in enumerate(columns) if column[at] is None)
            rows = [row for row in range(self._description.rows) if self._number(row, first + at) in self._group.blocks]
            if lost and len(rows) >= len(lost):
                found.setdefault((lost, tuple(rows[: len(lost)])), []).append(at)
        return found

    def _number(self, row: int, stripe: int) -> int:
        return row * self._description.stripes + stripe

    def _parity(self, row: int, stripe: int) -> bytes:
        offset, length = self._group.blocks[self._number(row, stripe)]
        return self._data[offset : offset + length]

    def _column(self, number: int, stripe: int, count: int) -> list[bytes | None]:
        """Blocks of a column from *stripe* on; behind the last file they are zero (PARITY-2)."""
        described = self._description
        first = number * described.stripes + stripe
        there = max(0, min(count, described.blocks - first))
        zeros: list[bytes | None] = [bytes(described.block_size)]
        return self._blocks(first, there) + zeros * (count - there)

    def _blocks(self, first: int, count: int) -> list[bytes | None]:
        """Blocks by their numbers, None for lost ones (PARITY-6)."""
        size = self._description.block_size
        found: list[bytes | None] = []
        for member, begin, blocks in islice(self._files, max(0, bisect_right(self._firsts, first) - 1), None):
            start, end = max(first, begin), min(first + count, begin + blocks)
            if begin >= first + count:
                break
            if start < end:
                content = self._read(member, (start - begin) * size, (end - start) * size)
                for number in range(start, end):
                    at = (number - start) * size
                    block = content[at : at + min(size, member.size - (number - begin) * size)]
                    whole = block.ljust(size, b"\0")
                    good = parity.check(whole) == self._description.checks[number * 4 : number * 4 + 4]
                    found.append(whole if good else None)
        return found

    def _read(self, member: Member, offset: int, length: int) -> bytes:
        """What there is of a stretch of a file."""
        if member in self._wanted:
            content = self._wanted[member]
            return b"" if content is None else bytes(content[offset : offset + length])
        try:
            if member not in self._sizes:
                self._sizes[member] = self._storage.size(member.kind, member.name)
            length = max(0, min(length, self._sizes[member] - offset))
            return self._storage.load(member.kind, member.name, offset, length) if length else b""
        except StorageError:
            self._sizes[member] = 0
            return b""


def _runs(stripes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Stripes that are neighbours, at most *most* together: the first one and how many."""
    start = 0
    for at in range(1, len(stripes) + 1):
        if at == len(stripes) or stripes[at] != stripes[at - 1] + 1 or at - start == most:
            yield stripes[start], at - start
            start = at
