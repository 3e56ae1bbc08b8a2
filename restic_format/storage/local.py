"""A repository in a folder of a local file system.

Paths are bytes: a name means the same in every locale. What writes files is in `restic_format.storage.localwriter`.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from functools import cached_property

from restic_format.errors import FileUnusable, StorageError
from restic_format.storage import oserrors
from restic_format.storage.base import Content, Storage, check_range, name_of, write_whole
from restic_format.storage.localwriter import LocalWriter, make_folders
from restic_format.storage.side import LocalSideFiles, SideFiles
from restic_spec import gojson
from restic_spec.ids import is_hex_id
from restic_spec.layout import KINDS, LISTED_KINDS, SIDE_FOLDERS, FileKind, Layout, folder_of, folders, path_of

_TEMPORARY_NAME = re.compile(rb"/[0-9a-f]{64}-(tmp|restic-temp)-[0-9a-f]+\Z")

_SIDE_FOLDERS = frozenset(name.encode() for name in SIDE_FOLDERS)

_ONE_VIEW = frozenset({"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "vfat", "xfs", "zfs"})
"""File systems of one machine, on which a name is there for everybody as soon as a rename has returned. Those of a network
and those that programs provide (FUSE, 9p, overlays) may remember a folder's entries from before."""

_OF_THIS_MACHINE = _ONE_VIEW | {"overlay"}
"""File systems of which a cache on this machine would be a second copy, and no faster."""


class LocalStorage(Storage):
    """Storage in the folder *path*; default and old S3 layout are told apart by what is there.

    *path* is bytes, or text in UTF-8 with surrogate escapes; a path object means what the operating system makes of it. With
    *cached* a local cache is of use wherever the folder is: it may be on a slow disk.
    """

    def __init__(self, path: str | bytes | os.PathLike[str], *, connections: int = 2, cached: bool = False) -> None:
        given = gojson.to_bytes(path) if isinstance(path, str) else os.fsencode(path)
        try:
            self._root = os.path.abspath(given)
        except OSError:  # the current folder was removed
            self._root = given
        self._connections = connections
        self._cached = cached
        self._made: list[bytes] = []
        self.layout = self._detect_layout()
        self.modes = self._detect_modes()

    @property
    def location(self) -> str:
        """The folder."""
        return gojson.to_text(self._root)

    @property
    def connections(self) -> int:
        """How many operations may usefully run at once."""
        return self._connections

    @cached_property
    def lists_at_once(self) -> bool:
        """Whether the locks are on a file system of this machine (see `Storage.lists_at_once`)."""
        return file_system(self._folder(folder_of(FileKind.LOCK, self.layout))) in _ONE_VIEW

    @cached_property
    def at_hand(self) -> bool:
        """Whether the folder is on a file system of this machine (see `Storage.at_hand`)."""
        return not self._cached and file_system(self._root) in _OF_THIS_MACHINE

    def _detect_layout(self) -> Layout:
        if not os.path.isdir(self._folder("keys")) and os.path.isdir(self._folder("key")):
            return Layout.S3LEGACY
        return Layout.DEFAULT

    def _detect_modes(self) -> tuple[int, int]:
        """Modes of new folders and files: private, or shared with the group where the config already is (LAYOUT-9)."""
        try:
            mode = os.stat(self._folder("config")).st_mode
        except OSError:
            return 0o700, 0o600
        return (0o770, 0o660) if mode & stat.S_IRGRP else (0o700, 0o600)

    def _folder(self, name: str) -> bytes:
        return os.path.join(self._root, name.encode()) if name else self._root

    def path_of(self, kind: FileKind, name: str) -> bytes:
        """Where a file is. Raises `NameInvalid`."""
        return os.path.join(self._root, path_of(kind, name, self.layout).encode())

    def has_place(self, kind: FileKind) -> bool:
        """Whether the folder for files of *kind* is there."""
        return os.path.isdir(self._folder(folder_of(kind, self.layout)))

    def create(self) -> None:
        """Make the folder and everything in it that a repository has."""
        for folder in ["", *folders(self.layout)]:
            path = self._folder(folder)
            try:
                make_folders(path, self.modes[0], self._made)
            except OSError as error:
                raise oserrors.told("mkdir", path, error) from error

    def uncreate(self) -> None:
        """Remove the folders that `create` has made and in which nothing is (see `Storage.uncreate`)."""
        while self._made:
            with contextlib.suppress(OSError):
                os.rmdir(self._made.pop())

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file (see `Storage.save`)."""
        self.path_of(kind, name)
        write_whole(self.begin(kind, metadata=metadata), name, data)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file that is not there (see `Storage.save_new`): of several who do so at once, one succeeds."""
        self.path_of(kind, name)
        writer = self.begin(kind)
        try:
            writer.append(data)
            writer.finish(name, replace=False)
        except BaseException:
            writer.abort()
            raise

    def begin(self, kind: FileKind, *, metadata: bool = False) -> LocalWriter:
        """Begin to write a file (see `Storage.begin`)."""
        del metadata
        return LocalWriter(
            lambda name: self.path_of(kind, name),
            self.modes,
            nameless=self.lists_at_once,
            what=lambda name: name_of(kind, name),
        )

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range (see `Storage.load`)."""
        descriptor, size = self.open_file(kind, name)
        try:
            wanted = check_range(kind, name, size, offset, length)
            pieces, have = [], 0
            while have < wanted:
                piece = os.pread(descriptor, wanted - have, offset + have)
                if not piece:
                    check_range(kind, name, offset + have, offset, wanted)
                pieces.append(piece)
                have += len(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except OSError as error:
            raise self._told("read", kind, name, error) from error
        finally:
            os.close(descriptor)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Fill memory from a range (see `Storage.load_into`)."""
        descriptor, _ = self.open_file(kind, name)
        try:
            have = 0
            while have < len(target):
                count = os.preadv(descriptor, [target[have:]], offset + have)
                if not count:
                    check_range(kind, name, offset + have, offset, len(target))
                have += count
        except OSError as error:
            raise self._told("read", kind, name, error) from error
        finally:
            os.close(descriptor)

    def open_file(self, kind: FileKind, name: str) -> tuple[int, int]:
        """A descriptor of a file, which the caller closes, and its size.

        What is not a regular file is refused, and not waited for (LAYOUT-11). Raises as `load`.
        """
        path = self.path_of(kind, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                return descriptor, _regular_size(os.fstat(descriptor), kind, name)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise self._told("open", kind, name, error) from error

    def _told(self, operation: str, kind: FileKind, name: str, error: OSError) -> StorageError:
        return oserrors.told(operation, self.path_of(kind, name), error, name_of(kind, name))

    def path(self, kind: FileKind, name: str) -> str:
        """The absolute path."""
        return gojson.to_text(self.path_of(kind, name))

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in bytes."""
        try:
            return _regular_size(os.stat(self.path_of(kind, name)), kind, name)
        except OSError as error:
            raise self._told("stat", kind, name, error) from error

    def written(self, kind: FileKind, name: str) -> int | None:
        """When the file was changed last."""
        try:
            return os.stat(self.path_of(kind, name)).st_mtime_ns
        except OSError:
            return None

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*."""
        for entry in self._entries(kind):
            name = gojson.to_text(entry.name)
            if not is_hex_id(name):
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise oserrors.told("stat", entry.path, error, name_of(kind, name)) from error
            yield name, status.st_size if stat.S_ISREG(status.st_mode) else max(status.st_size, 1)

    def _entries(self, kind: FileKind) -> Iterator[os.DirEntry[bytes]]:
        """What is in the folder of *kind*; in the default layout packs stand one level deeper."""
        nested = kind is FileKind.PACK and self.layout is Layout.DEFAULT
        for entry in _scan(self._folder(folder_of(kind, self.layout))):
            if not nested:
                yield entry
            elif _is_folder(entry):
                yield from _scan(entry.path)

    def strays(self) -> Iterator[str]:
        """Paths that belong to no repository file; a writer's unfinished files are among them."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise oserrors.told("open", error.filename or self._root, error) from error

        known = {self._folder(folder) for folder in folders(self.layout)}
        for folder, subfolders, files in os.walk(self._root, onerror=fail):
            if folder == self._root:
                subfolders[:] = [name for name in subfolders if name not in _SIDE_FOLDERS]
            subfolders.sort()
            for name in sorted(files):
                path = gojson.to_text(os.path.relpath(os.path.join(folder, name), self._root))
                if not self._belongs(path, folder in known):
                    yield path

    def load_stray(self, path: str) -> bytes:
        """The content of a file that `strays` names (see `Storage.load_stray`); symbolic links are not followed."""
        raw = gojson.to_bytes(path)
        what = os.path.join(self._root, raw)
        if os.path.isabs(raw) or b".." in raw.split(b"/"):
            raise FileUnusable(f"{path}: is not in the repository", object=path)
        try:
            status = os.lstat(what)
            if not stat.S_ISREG(status.st_mode) or status.st_size > KINDS[FileKind.SNAPSHOT].max_size:
                raise FileUnusable(f"{path}: is too large, or not a regular file", object=path)
            descriptor = os.open(what, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                return file.read(status.st_size)
        except OSError as error:
            raise oserrors.told("open", what, error, path) from error

    def _belongs(self, path: str, in_known_folder: bool) -> bool:
        if path == "config":
            return True
        name = os.path.basename(path)
        if not in_known_folder or not is_hex_id(name):
            return False
        return any(path == path_of(kind, name, self.layout) for kind in LISTED_KINDS)

    def side_files(self, folder: str) -> SideFiles:
        """This program's own files in a folder of the repository (see `Storage.side_files`)."""
        assert not folder or folder in SIDE_FOLDERS
        return LocalSideFiles(self._folder(folder), modes=self.modes, nameless=self.lists_at_once)

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove what killed writers have left, restic's as well as ours (see `Storage.remove_unfinished`)."""
        places = {folder_of(kind, self.layout) for kind in (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)}
        found = [os.path.join(self._root, gojson.to_bytes(path)) for path in self.strays() if path.split("/")[0] in places]
        paths = [path for path in found if _TEMPORARY_NAME.search(path) and _untouched_for(path, age)]
        if not paths or not is_safe():
            return 0
        removed = 0
        for path in paths:
            try:
                os.unlink(path)
                removed += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                raise oserrors.told("remove", path, error) from error
        return removed

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        try:
            os.unlink(self.path_of(kind, name))
        except OSError as error:
            raise self._told("remove", kind, name, error) from error


def _regular_size(status: os.stat_result, kind: FileKind, name: str) -> int:
    if not stat.S_ISREG(status.st_mode):
        what = "is not a regular file; see what stands there, and move it away"
        raise FileUnusable(f"{name_of(kind, name)}: {what}", object=name_of(kind, name), clause="LAYOUT-11")
    return status.st_size


def _scan(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    """What is in *folder*, sorted; a missing one is empty (LAYOUT-7)."""
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise oserrors.told("open", folder, error) from error


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise oserrors.told("stat", entry.path, error) from error


def _untouched_for(path: bytes, age: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_mtime < time.time() - age
    return False


def file_system(folder: str | bytes) -> str | None:
    """Type of the file system *folder* is on, such as ``ext4``; None where the system does not tell (proc(5))."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", "rb") as told:
                [mount] = [line.split()[1] for line in told if line.startswith(b"mnt_id:")]
        finally:
            os.close(descriptor)
        with open("/proc/self/mountinfo", "rb") as mounts:
            for words in map(bytes.split, mounts):
                if words[0] == mount:
                    return os.fsdecode(words[words.index(b"-") + 1])
    except (OSError, ValueError):
        pass
    return None
