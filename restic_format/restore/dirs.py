"""Directories of the target, reached from its root one component at a time and never through a symlink.

Every operation of a restore is relative to a directory's descriptor, and every descriptor comes from `DirCache`: opened with
``O_DIRECTORY | O_NOFOLLOW`` below its parent's. So whatever stands in the target or in the snapshot, and whatever changes
while the restore runs, nothing outside the target is touched. The target itself is the user's choice and may be a symlink.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from restic_format.restore.errors import Doing, RestoreError, TargetInTheWay
from restic_format.restore.request import Overwrite
from restic_format.restore.table import ROOT, DirState, DirTable

OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
DIR_MODE = 0o700
"""Directories are made so, and get the snapshot's mode when everything in them is done."""


class DirCache:
    """Descriptors of the directories last used, for one thread.

    A descriptor is good until the next one is asked for, or, in `holding`, until that ends.
    """

    def __init__(self, root: int, table: DirTable, capacity: int = 64) -> None:
        self._root = root
        self._table = table
        self._capacity = capacity
        self._open: dict[int, int] = {}
        self._holding = False

    def fd(self, number: int) -> int:
        """A descriptor of the directory.

        Raises:
            OSError: it, or one above it, is not there or is not a directory (nor is a symlink).
        """
        if number == ROOT:
            return self._root
        descriptor = self._open.pop(number, None)
        if descriptor is not None:
            self._open[number] = descriptor  # most recently used last
            return descriptor
        chain = []
        parent = number
        while parent != ROOT and parent not in self._open:
            chain.append(parent)
            parent = self._table.parent[parent]
        descriptor = self._root if parent == ROOT else self._open[parent]
        for step in reversed(chain):
            descriptor = self._remember(step, os.open(self._table.names[step], OPEN_DIR, dir_fd=descriptor))
        return descriptor

    def _remember(self, number: int, descriptor: int) -> int:
        self._open[number] = descriptor
        if not self._holding:
            self._shrink()
        return descriptor

    def _shrink(self) -> None:
        # The one just opened is last, so the oldest is another one.
        while len(self._open) > self._capacity:
            os.close(self._open.pop(next(iter(self._open))))

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Keep every descriptor that is asked for meanwhile."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            self._shrink()

    def close(self) -> None:
        """Close all of them; the root stays open."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> DirCache:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_root(path: bytes, *, create: bool) -> int | None:
    """A descriptor of the target directory; with *create* it and its parents are made as needed, else None if missing.

    Raises:
        OSError: it cannot be made or opened.
    """
    if create:
        _make_dirs(path)
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if create:
            raise
        return None


def _make_dirs(path: bytes) -> None:
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        parent = os.path.dirname(path.rstrip(b"/"))
        if parent == path:
            break
        path = parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, DIR_MODE)


class DirMaker:
    """Makes the directories that items need, the ones above first, each once."""

    def __init__(self, table: DirTable, cache: DirCache, *, overwrite: Overwrite, dry_run: bool) -> None:
        self._table = table
        self._cache = cache
        self._overwrite = overwrite
        self._dry_run = dry_run

    def ensure(self, number: int) -> None:
        """Bring the directory into being, with those above it.

        Raises:
            OSError: it cannot be made; it is marked FAILED, and asking again raises again.
            TargetInTheWay: something else stands there and must be kept; marked likewise.
        """
        state = self._table.state
        chain = []
        while not state[number] & DirState.READY:
            if state[number] & DirState.FAILED:
                raise TargetInTheWay("the directory it belongs into could not be made; see the earlier error")
            chain.append(number)
            number = self._table.parent[number]
        for step in reversed(chain):
            try:
                with Doing("mkdir"):
                    new = self._make(step)
            except (OSError, TargetInTheWay):
                state[step] |= DirState.FAILED
                raise
            state[step] |= DirState.READY | (DirState.NEW if new else 0)

    def _make(self, number: int) -> bool:
        """Whether the directory is new (in a dry run: would be)."""
        parent = self._table.parent[number]
        name = self._table.names[number]
        parent_is_new = bool(self._table.state[parent] & DirState.NEW)
        if self._dry_run:
            if parent_is_new:
                return True
            return not is_dir(name, self._cache.fd(parent))
        parent_fd = self._cache.fd(parent)
        try:
            os.mkdir(name, DIR_MODE, dir_fd=parent_fd)
            return True
        except FileExistsError:
            status = os.lstat(name, dir_fd=parent_fd)
        if stat.S_ISDIR(status.st_mode):
            if os.geteuid() != 0 and status.st_mode & DIR_MODE != DIR_MODE:
                # Its owner can restore into it all the same; the snapshot's mode comes at the end.
                with contextlib.suppress(OSError):
                    chmod_nofollow(name, parent_fd, stat.S_IMODE(status.st_mode) | DIR_MODE)
            return False
        if self._overwrite is Overwrite.NEVER:
            raise TargetInTheWay("exists and is not a directory, and nothing is to be overwritten: move it away")
        os.unlink(name, dir_fd=parent_fd)
        os.mkdir(name, DIR_MODE, dir_fd=parent_fd)
        return True


def is_dir(name: bytes, parent: int) -> bool:
    """Whether *name* in the directory *parent* is a directory (and not a symlink to one)."""
    status = status_of(name, parent)
    return status is not None and stat.S_ISDIR(status.st_mode)


def status_of(name: bytes, parent: int) -> os.stat_result | None:
    """``lstat`` of *name* in the directory *parent*, None if there is nothing."""
    try:
        return os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None


def entry_path(name: bytes, parent: int) -> bytes:
    """A path that means *name* in the open directory *parent*, for calls that take no descriptor of a directory.

    Its last component is the caller's to not follow; the ones before it are fixed by the descriptor.
    """
    return b"/proc/self/fd/%d/%s" % (parent, name)


def chmod_nofollow(name: bytes, parent: int, permissions: int) -> None:
    """``chmod`` of *name* itself: Linux has no call for it, so it goes through a descriptor that pins what is there.

    Raises:
        OSError: it is a symlink (ELOOP), or the system refuses.
    """
    pinned = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_ISLNK(os.fstat(pinned).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        os.chmod(b"/proc/self/fd/%d" % pinned, permissions)
    finally:
        os.close(pinned)


def remove_entry(name: bytes, parent: int, *, recursive: bool) -> None:
    """Remove *name* from the directory *parent*; a directory only if it is empty or *recursive*.

    Raises:
        OSError: it cannot be removed. That there is nothing is not an error.
    """
    with Doing("remove"), contextlib.suppress(FileNotFoundError):
        if not is_dir(name, parent):
            os.unlink(name, dir_fd=parent)
        elif recursive:
            for _ in remove_tree(name, parent):
                pass
        else:
            os.rmdir(name, dir_fd=parent)


def remove_tree(name: bytes, parent: int, *, dry_run: bool = False) -> Iterator[bytes]:
    """Remove *name* and all below it, what is deepest first; yields the path of each from *parent* on when it is gone.

    Raises:
        OSError: something cannot be removed; the rest stays.
    """
    if not is_dir(name, parent):
        if not dry_run:
            os.unlink(name, dir_fd=parent)
        yield name
        return
    # One open directory and a stack of what is left in those above it: depth costs neither descriptors nor Python's stack.
    stack = [_Doomed(name, name)]
    descriptor = os.open(name, OPEN_DIR, dir_fd=parent)
    try:
        stack[-1].read(descriptor)
        while True:
            frame = stack[-1]
            if frame.entries:
                entry = frame.entries.pop()
                path = frame.path + b"/" + entry
                if is_dir(entry, descriptor):
                    stack.append(_Doomed(entry, path))
                    descriptor = _replace(descriptor, os.open(entry, OPEN_DIR, dir_fd=descriptor))
                    stack[-1].read(descriptor)
                else:
                    if not dry_run:
                        os.unlink(entry, dir_fd=descriptor)
                    yield path
                continue
            stack.pop()
            if not stack:
                break
            descriptor = _replace(descriptor, _open_above(descriptor, stack[-1].identity))
            if not dry_run:
                os.rmdir(frame.name, dir_fd=descriptor)
            yield frame.path
    finally:
        os.close(descriptor)
    if not dry_run:
        os.rmdir(name, dir_fd=parent)
    yield name


class _Doomed:
    """A directory that is being emptied."""

    def __init__(self, name: bytes, path: bytes) -> None:
        self.name = name
        self.path = path
        self.identity = (0, 0)
        self.entries: list[bytes] = []

    def read(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.entries = sorted(map(os.fsencode, os.listdir(descriptor)))


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _open_above(descriptor: int, identity: tuple[int, int]) -> int:
    """The parent of an open directory, if it still is the one it was entered from."""
    above = os.open("..", OPEN_DIR, dir_fd=descriptor)
    status = os.fstat(above)
    if (status.st_dev, status.st_ino) != identity:
        os.close(above)
        raise RestoreError("a directory was moved while it was being removed; the rest of it stays")
    return above
