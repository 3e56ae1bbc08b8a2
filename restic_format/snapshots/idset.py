"""A set of ids that takes about 45 bytes an id, where a built-in set of ``bytes`` takes about 130.

A check remembers every tree it has visited; in a repository of many million directories that is what its
memory goes to.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from restic_spec.constants import ID_SIZE

_FIRST_SLOTS = 1 << 10


class IdSet:
    """Ids (32 bytes) in one buffer, found through an open-addressing table of 4-byte positions."""

    __slots__ = ("_count", "_ids", "_mask", "_table")

    def __init__(self, expected: int = 0) -> None:
        """*expected* is how many ids there will be, about: it saves time to have room for them at once."""
        self._ids = bytearray()
        self._count = 0
        slots = max(_FIRST_SLOTS, 1 << (expected * 3 // 2).bit_length())
        self._table = array("I", bytes(4 * slots))
        self._mask = slots - 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, self._count * ID_SIZE, ID_SIZE):
            yield bytes(self._ids[start : start + ID_SIZE])

    def since(self, count: int) -> bytes:
        """The ids that came after the first *count*, joined, in the order they came."""
        return bytes(memoryview(self._ids)[count * ID_SIZE :])

    def __contains__(self, ident: bytes) -> bool:
        return self._table[self._slot(ident)] != 0

    def number(self, ident: bytes) -> int | None:
        """How many ids came before *ident*, None where it is not there."""
        number = self._table[self._slot(ident)]
        return number - 1 if number else None

    def at(self, number: int) -> bytes:
        """The id before which *number* others came."""
        return bytes(self._ids[number * ID_SIZE : (number + 1) * ID_SIZE])

    def add(self, ident: bytes) -> bool:
        """Put *ident* in; true if it was not there before."""
        slot = self._slot(ident)
        if self._table[slot]:
            return False
        self._put(slot, ident)
        return True

    def number_of(self, ident: bytes) -> int:
        """How many ids came before *ident*, which is put in where it was not there: then that is how many there were."""
        mask, table, ids = self._mask, self._table, self._ids  # as `_slot`: most of the time of du and overview goes here
        slot = hash(ident) & mask
        while number := table[slot]:
            if ids[number * ID_SIZE - ID_SIZE : number * ID_SIZE] == ident:
                return number - 1
            slot = (slot + 1) & mask
        self._put(slot, ident)
        return self._count - 1

    def _put(self, slot: int, ident: bytes) -> None:
        self._ids += ident
        self._count += 1
        self._table[slot] = self._count
        if self._count * 3 > self._mask * 2:
            self._grow()

    def _slot(self, ident: bytes) -> int:
        # Ids come from the repository: Python's own hash is keyed, so that nobody can choose ids that collide.
        slot = hash(ident) & self._mask
        table, ids = self._table, self._ids
        while number := table[slot]:
            if ids[number * ID_SIZE - ID_SIZE : number * ID_SIZE] == ident:
                break
            slot = (slot + 1) & self._mask
        return slot

    def _grow(self) -> None:
        size = (self._mask + 1) * 2
        self._mask = mask = size - 1
        self._table = table = array("I", bytes(4 * size))
        ids = self._ids
        for number in range(1, self._count + 1):
            start = (number - 1) * ID_SIZE
            slot = hash(bytes(ids[start : start + ID_SIZE])) & mask
            while table[slot]:
                slot = (slot + 1) & mask
            table[slot] = number
