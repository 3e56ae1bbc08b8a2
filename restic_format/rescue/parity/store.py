"""The parity files of a folder: which groups of files they protect, and the parity in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from restic_format.errors import FileMissing, StorageError
from restic_format.storage import SideFiles
from restic_format.work import Cancel
from restic_spec import parity
from restic_spec.layout import FileKind

SUFFIX = ".parity"
MARK = ".gone"
"""What is behind the name of a parity file of whose files some are gone, in the name of a file that says since when."""
MOST_BYTES = 1 << 30
"""Bytes of a parity file that is read whole; ours are far smaller."""

_MARK_SIZE = 20
_FIRST = parity.PACKET_OVERHEAD + parity.DESCRIPTION_PIECE


class Kept(NamedTuple):
    """A group that a parity file protects."""

    name: str
    """Of the parity file."""
    size: int
    """Bytes of the parity file."""
    group: bytes
    description: parity.Description

    @property
    def bytes(self) -> int:
        """Bytes of its files."""
        return sum(member.size for member in self.description.members)

    @property
    def is_cut(self) -> bool:
        """Whether the parity file is shorter than it was made (PARITY-8)."""
        described = self.description
        length = len(parity.encode_description(described))
        pieces = -(-length // parity.DESCRIPTION_PIECE)
        block = parity.PACKET_OVERHEAD + described.block_size
        return self.size < 3 * (length + pieces * parity.PACKET_OVERHEAD) + described.parity_blocks * block


def parity_name(group: bytes) -> str:
    """What the parity file of a group is called (PARITY-9)."""
    return group.hex() + SUFFIX


def kept_groups(side: SideFiles, cancel: Cancel | None = None) -> Iterator[Kept]:
    """Every group in the parity files of a folder. A file in which no description can be read is left out.

    Raises:
        StorageError: the folder cannot be listed.
        Interrupted: it was cancelled.
    """
    for name, size in side.list():
        if cancel is not None:
            cancel.check()
        if name.endswith(SUFFIX):
            for found in _described(side, name, size):
                yield Kept(name, size, found.id, found.description)


def protected_names(side: SideFiles, kind: FileKind, cancel: Cancel | None = None) -> set[str]:
    """The files of a kind that have parity and were there when it was brought up to date last. Raises as `kept_groups`."""
    old = marks(side)
    return {
        member.name
        for kept in kept_groups(side, cancel)
        if kept.name not in old
        for member in kept.description.members
        if member.kind is kind
    }


def marks(side: SideFiles) -> dict[str, float]:
    """Since when files are gone, in seconds since the epoch, by the name of the parity file. Raises `StorageError`."""
    found = {}
    for name, size in side.list():
        if name.endswith(SUFFIX + MARK) and size <= _MARK_SIZE:
            text = side.load(name)
            if text.isdigit():
                found[name.removesuffix(MARK)] = float(text)
    return found


def mark(side: SideFiles, name: str, now: float) -> None:
    """Note that files in the parity file *name* are gone. Raises `StorageError`."""
    side.save(name + MARK, str(int(now)).encode())


def remove_group(side: SideFiles, name: str) -> None:
    """Remove a parity file, and its mark; it may be gone already. Raises `StorageError`."""
    for each in (name, name + MARK):
        with suppress(FileMissing):
            side.remove(each)


def _described(side: SideFiles, name: str, size: int) -> list[parity.Group]:
    """The groups of a parity file: from its begin, or from all of it where the begin is damaged."""
    try:
        head = side.load(name, 0, min(size, _FIRST))
        first = parity.decode_packet(head)
        if first is not None and first.pieces * parity.DESCRIPTION_PIECE <= parity.MAX_DESCRIPTION:
            if first.pieces > 1:
                head = side.load(name, 0, min(size, first.pieces * _FIRST))
            found = parity.read_parity_file(head)
            if found:
                return found
        return parity.read_parity_file(side.load(name)) if size <= MOST_BYTES else []
    except StorageError:
        return []
