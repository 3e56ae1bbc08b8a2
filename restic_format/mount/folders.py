"""What the kernel knows by numbers: the folders it has seen, and through them every entry.

A directory has a record here as long as the kernel remembers it. Anything else in it has none: its number is that of its
directory and its own in there, so that memory does not grow with the files that were looked at.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable

from restic_format.mount import protocol
from restic_format.mount.attributes import folder_inode

_BITS = 32


class Refused(Exception):
    """The answer to a request is an error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Folder:
    """A directory that the kernel knows; ``node`` is its number there."""

    __slots__ = ("above", "asked", "inode", "known", "last", "name", "node", "place", "snapshot", "snapshot_inode", "tree")

    def __init__(self, node: int, above: Folder | None, name: bytes, inode: int) -> None:
        self.node = node
        self.above = above
        self.name = name
        self.inode = inode
        self.place: str | None = None
        """Its path in the layout where it is above the snapshots, or a link there."""
        self.snapshot = b""
        """The id of the snapshot that begins here."""
        self.tree: bytes | None = None
        """The tree of a directory in a snapshot."""
        self.snapshot_inode = 0
        """The inode of the directory in which its snapshot begins."""
        self.known = 0
        """How many times the kernel was told the number and has not given it back."""
        self.last = -1
        """The number of the file that was read last."""
        self.asked = 0
        """The number of the first file that was not fetched ahead."""

    @property
    def path(self) -> str:
        """Its path below the mount point, ``/`` at the end."""
        names: list[bytes] = []
        folder: Folder | None = self
        while folder is not None:
            names.append(folder.name)
            folder = folder.above
        return b"/".join([*reversed(names), b""]).decode("utf-8", "surrogateescape")


class Folders:
    """The table of folders."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.root = Folder(protocol.ROOT_ID, None, b"", protocol.ROOT_ID)
        self.root.place = ""
        self._by_node = {protocol.ROOT_ID: self.root}
        self._by_name: dict[tuple[int, bytes], Folder] = {}
        self._next = 2

    def get(self, node: int) -> Folder:
        """The folder with this number.

        Raises:
            Refused: nobody can have got it.
        """
        folder = self._by_node.get(node)
        if folder is None:
            raise Refused(errno.ESTALE)
        return folder

    def entry(self, node: int) -> tuple[Folder, int | None]:
        """The folder of an entry and the entry's number in it; None for the folder itself. Raises as `get`."""
        number = node & (1 << _BITS) - 1
        if node == protocol.ROOT_ID or not number:
            return self.get(node), None
        above = node >> _BITS
        return self.get(protocol.ROOT_ID if above == protocol.ROOT_ID else above << _BITS), number - 1

    @staticmethod
    def number_of(folder: Folder, number: int) -> int:
        """The kernel's number for the entry *number* of a folder."""
        above = protocol.ROOT_ID << _BITS if folder.node == protocol.ROOT_ID else folder.node
        return above | number + 1

    def enter(self, above: Folder, name: bytes, *, snapshot: bytes = b"") -> Folder:
        """The folder *name* in *above*, which the kernel is going to be told once more."""
        with self._lock:
            key = above.node, name
            folder = self._by_name.get(key)
            if folder is not None and folder.snapshot != snapshot:
                folder = None  # another snapshot has the name now
            if folder is None:
                inode = folder_inode(above.inode, name + snapshot)
                folder = Folder(self._next << _BITS, above, name, inode)
                folder.snapshot, folder.snapshot_inode = snapshot, above.snapshot_inode
                self._next += 1
                self._by_node[folder.node] = self._by_name[key] = folder
            folder.known += 1
            return folder

    def forget(self, given_back: Iterable[tuple[int, int]]) -> None:
        """Numbers that the kernel gives back, and how many times."""
        with self._lock:
            for node, times in given_back:
                folder = self._by_node.get(node)
                if folder is None or folder.above is None:
                    continue
                folder.known -= times
                if folder.known <= 0:
                    del self._by_node[node]
                    key = folder.above.node, folder.name
                    if self._by_name.get(key) is folder:
                        del self._by_name[key]

    def __len__(self) -> int:
        return len(self._by_node)
