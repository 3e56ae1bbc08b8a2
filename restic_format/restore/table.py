"""Compact tables of the directories and files of one restore: columns, not an object for each."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from restic_format.restore.report import Action
from restic_spec.constants import ID_SIZE

if TYPE_CHECKING:
    from restic_format.repository.index import TreeColumns

ROOT = 0
"""Number of the target directory itself."""

Xattrs = tuple[tuple[bytes, bytes], ...]

_NO_TIME = -(1 << 63)
_TIME_BOUND = (1 << 63) - 1


class Meta(NamedTuple):
    """Metadata of one item, as the operating system takes them."""

    permissions: int
    """Bits for ``chmod``."""
    uid: int
    gid: int
    atime: int | None
    """Nanoseconds since the epoch, None if the snapshot does not say."""
    mtime: int | None
    xattrs: Xattrs


class Names:
    """File names (bytes), appended once and read by number: one buffer and 8 bytes of offset each."""

    def __init__(self) -> None:
        self._heap = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, name: bytes) -> int:
        """Store *name*; its number is returned."""
        self._heap += name
        self._ends.append(len(self._heap))
        return len(self._ends) - 2

    def extend(self, names: bytes, ends: bytes) -> None:
        """Store many names: *names* without anything between them, and where each ends in `columns` (64 bits)."""
        self._heap += names
        self._ends.frombytes(ends)

    @property
    def size(self) -> int:
        """Bytes of all names."""
        return len(self._heap)

    def columns(self) -> tuple[bytearray, array[int]]:
        """All names without anything between them, and where each ends after a 0 at the beginning (64 bits)."""
        return self._heap, self._ends

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._heap[self._ends[number] : self._ends[number + 1]])


class MetaColumns:
    """Metadata of many items: 28 bytes each, and only what is rare beside it."""

    def __init__(self) -> None:
        self._permissions = array("H")
        self._uid = array("I")
        self._gid = array("I")
        self._atime = array("q")
        self._mtime = array("q")
        self._far_times: dict[int, tuple[int | None, int | None]] = {}
        self._xattrs: dict[int, Xattrs] = {}
        self._interned: dict[Xattrs, Xattrs] = {}

    def append(self, meta: Meta) -> None:
        """Store the metadata of the next item."""
        number = len(self._uid)
        self._permissions.append(meta.permissions)
        self._uid.append(meta.uid)
        self._gid.append(meta.gid)
        atime = _NO_TIME if meta.atime is None else meta.atime
        mtime = _NO_TIME if meta.mtime is None else meta.mtime
        if not (_NO_TIME <= atime <= _TIME_BOUND and _NO_TIME <= mtime <= _TIME_BOUND):
            # Years before 1678 and after 2262 do not fit into 64 bits of nanoseconds.
            self._far_times[number] = (meta.atime, meta.mtime)
            atime = mtime = _NO_TIME
        self._atime.append(atime)
        self._mtime.append(mtime)
        if meta.xattrs:
            self._xattrs[number] = self._interned.setdefault(meta.xattrs, meta.xattrs)

    def extend(self, columns: TreeColumns) -> None:
        """Store the metadata of a tree's ordinary files."""
        self._permissions.frombytes(columns.permissions)
        self._uid.frombytes(columns.uid)
        self._gid.frombytes(columns.gid)
        self._atime.frombytes(columns.atime)
        self._mtime.frombytes(columns.mtime)

    def columns(self) -> tuple[array[int], array[int], array[int], array[int], array[int]]:
        """Permissions (16 bits), uid, gid (32 bits), atime, mtime (64 bits); times below all others are to be looked up."""
        return self._permissions, self._uid, self._gid, self._atime, self._mtime

    def __getitem__(self, number: int) -> Meta:
        atime: int | None = self._atime[number]
        mtime: int | None = self._mtime[number]
        if self._far_times and number in self._far_times:
            atime, mtime = self._far_times[number]
        return Meta(
            self._permissions[number],
            self._uid[number],
            self._gid[number],
            None if atime == _NO_TIME else atime,
            None if mtime == _NO_TIME else mtime,
            self._xattrs.get(number, ()) if self._xattrs else (),
        )


class DirState:
    """What is known about a directory of the target: bits of a plain number (an enum's would cost 1.5 µs each)."""

    READY: Final = 1
    """It exists, or would exist in a run that is not dry."""
    NEW: Final = 2
    """This restore made it, so nothing foreign is in it."""
    FAILED: Final = 4
    """It cannot be used; the error is reported."""
    USED: Final = 8
    """It or something below it is restored, so its metadata are too."""
    INCOMPLETE: Final = 16
    """Not everything the snapshot has here is known: nothing may be deleted from it."""


class DirTable:
    """The directories of a restore, numbered so that a parent comes before its children. Number 0 is the target."""

    def __init__(self) -> None:
        self.parent = array("I", [ROOT])
        self.state = bytearray([0])
        self.traits = bytearray([0])
        """What native code has learned about files that are created in a directory."""
        self.names = Names()
        self.names.append(b"")
        self.meta = MetaColumns()
        self.meta.append(Meta(0o700, 0, 0, None, None, ()))
        self._trees: bytearray | None = None

    def __len__(self) -> int:
        return len(self.parent)

    def keep_trees(self, root: bytes, *, keep: bool) -> None:
        """Say the tree of the target directory, and whether those of the others will be asked for."""
        self._trees = bytearray(root) if keep else None

    def tree(self, number: int) -> bytes:
        """Id of a directory's tree, if `keep_trees` was told to keep them."""
        assert self._trees is not None
        return bytes(self._trees[ID_SIZE * number : ID_SIZE * (number + 1)])

    def append(self, parent: int, name: bytes, meta: Meta, tree: bytes) -> int:
        """A new directory below *parent*; its number is returned."""
        if self._trees is not None:
            self._trees += tree
        self.parent.append(parent)
        self.state.append(0)
        self.traits.append(0)
        self.meta.append(meta)
        return self.names.append(name)

    def mark_used(self, number: int) -> None:
        """Note that something in the directory is to be restored, for it and all above it."""
        while not self.state[number] & DirState.USED:
            self.state[number] |= DirState.USED
            number = self.parent[number]

    def location(self, number: int, name: bytes = b"") -> str:
        """Path in the snapshot of a directory, or of *name* in it."""
        parts = [name] if name else []
        while number != ROOT:
            parts.append(self.names[number])
            number = self.parent[number]
        return "/" + b"/".join(reversed(parts)).decode("utf-8", "surrogateescape")


class FileState:
    """What is to be done with a regular file, and how far it is: bits of a plain number."""

    CONTENT: Final = 1
    """Its content is to be written."""
    EXISTED: Final = 2
    """A file of that name was there before; it is changed in place."""
    KEPT: Final = 4
    """The file in the target stays as it is: unchanged, or not to be overwritten."""
    BEGUN: Final = 8
    """Writing has begun."""
    DONE: Final = 16
    """Content and metadata are in place."""
    FAILED: Final = 32
    """Some content is missing; the error is reported."""
    UNWRITABLE: Final = 64
    """Writing failed, so no more is tried."""
    ATTRIBUTES: Final = 128
    """It has extended attributes."""


class FileTable:
    """The regular files of a restore."""

    def __init__(self) -> None:
        self.directory = array("I")
        self.state = bytearray()
        self.size = array("Q")
        self.blobs = array("I")
        """Blobs the content has."""
        self.remaining = array("I")
        """Blobs that are still to be written."""
        self.names = Names()
        self.meta = MetaColumns()
        self.replacing: set[int] = set()
        """Files in whose place there was another one that is not changed but replaced."""

        self.claimed: dict[int, int] = {}
        """The size a node says, where the index says another one of the content."""

    def __len__(self) -> int:
        return len(self.directory)

    def action(self, number: int) -> Action:
        """How a file is reported once it is restored."""
        existed = self.state[number] & FileState.EXISTED or number in self.replacing
        return Action.FILE_UPDATED if existed else Action.FILE_RESTORED

    def extend(self, directory: int, columns: TreeColumns) -> int:
        """A tree's ordinary files, in a directory that is new; how many there are."""
        before = len(self.size)
        self.size.frombytes(columns.size)
        count = len(self.size) - before
        self.directory.extend([directory] * count)
        self.state += bytes([FileState.CONTENT]) * count
        self.blobs.frombytes(columns.blobs)
        self.remaining.frombytes(columns.blobs)
        self.names.extend(columns.names, columns.name_ends)
        self.meta.extend(columns)
        return count

    def append(self, directory: int, name: bytes, meta: Meta, size: int, state: int) -> int:
        """A new file; its number is returned."""
        self.directory.append(directory)
        self.state.append(state | FileState.ATTRIBUTES if meta.xattrs else state)
        self.size.append(size)
        self.blobs.append(0)
        self.remaining.append(0)
        self.meta.append(meta)
        return self.names.append(name)
