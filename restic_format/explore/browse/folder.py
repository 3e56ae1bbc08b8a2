"""The entries of a directory as a list: a hundred thousand of them in ten megabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from restic_format.work import Cancel
from restic_spec.errors import JsonInvalid
from restic_spec.tree import NODE_TYPES, Node

_TYPES = tuple(NODE_TYPES)
_OTHER = len(_TYPES)
_CHECK_EVERY = 1 << 10
_LARGEST = (1 << 64) - 1


class Row(NamedTuple):
    """One entry of a directory."""

    name: str
    """With surrogate escapes; not made safe for a terminal."""
    type: str
    """Of the node; "other" for one that the format does not know."""
    size: int
    """Bytes of a file."""
    mtime_ns: int | None
    """Nanoseconds since the epoch, None where the node has no usable time."""
    mode: int
    """Go's file mode, with the type's bits."""
    uid: int
    gid: int


class FolderList:
    """The entries of one directory, in the order of its tree; one thread adds to it while others read."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._types = bytearray()
        self._sizes = array("Q")
        self._times: list[int | None] = []
        self._modes = array("Q")
        self._uids = array("Q")
        self._gids = array("Q")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> Row:
        """The entry *number*, from 0 on."""
        code = self._types[number]
        return Row(
            self._names[number],
            _TYPES[code] if code < _OTHER else "other",
            self._sizes[number],
            self._times[number],
            self._modes[number],
            self._uids[number],
            self._gids[number],
        )

    def __iter__(self) -> Iterator[Row]:
        return map(self.__getitem__, range(len(self)))

    def fill(self, nodes: Iterable[Node], cancel: Cancel) -> None:
        """Add what *nodes* gives.

        Raises:
            Interrupted: *cancel* was set.
            ResticFormatError: what *nodes* raises; the entries before that are in the list.
        """
        for number, node in enumerate(nodes):
            if number % _CHECK_EVERY == 0:
                cancel.check()
            self.add(node, node.name)

    def add(self, node: Node, name: str) -> None:
        """Add an entry under a name, or a path."""
        try:
            time = node.mtime_ns if node.mtime else None
        except JsonInvalid:
            time = None
        kind = NODE_TYPES.get(node.type)
        self._types.append(_TYPES.index(node.type) if kind is not None else _OTHER)
        self._sizes.append(min(node.size, _LARGEST))
        self._times.append(time)
        self._modes.append(node.mode | (kind.mode if kind is not None and kind.st_format else 0))
        self._uids.append(node.uid or 0)
        self._gids.append(node.gid or 0)
        self._names.append(name)  # last: with it the entry is there
