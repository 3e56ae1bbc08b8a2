"""The folders of local caches, in restic's form, so that it and this program share them (CACHE-1).

One folder per repository, named by its id, in a folder for all of them. In it are copies of files of the repository, as they
are there: sealed, and named by their hashes, but for one more level of folders.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import FileUnusable, StorageError
from restic_format.storage import oserrors
from restic_format.storage.base import Buffer
from restic_format.storage.localwriter import make_folders, write_pieces
from restic_spec import gojson, layout
from restic_spec.crypto import OVERHEAD
from restic_spec.ids import is_hex_id
from restic_spec.layout import FileKind

TAG_NAME = "CACHEDIR.TAG"
TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n"
"""What a folder of caches bears, so that backups can leave it out."""

VERSION = 1
"""The form of the folders."""

KINDS = (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)
"""The kinds of files that are kept: indexes and snapshots, and packs with trees."""

MAX_AGE = 30 * 24 * 3600
"""Seconds after its last use at which a cache is old."""

_LEFT_BEHIND = 24 * 3600
"""Seconds after which an unfinished file belongs to nobody any more."""

_FOLDER_MODE, _FILE_MODE, _SIGN_MODE = 0o700, 0o600, 0o644
_TEMPORARY = b"tmp-"
_NAME = re.compile(r"[0-9a-fA-F]{64}|restic-check-cache-[0-9]+")


def path_in(folder: bytes, kind: FileKind, name: str) -> bytes:
    """Where the copy of a file is or would be in the *folder* of a repository (CACHE-1)."""
    return os.path.join(folder, f"{kind.value}/{name[:2]}/{name}".encode())


class Copy:
    """A copy in the making; it gets its name when it is complete. Every method raises `OSError`."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._temporary = os.path.join(os.path.dirname(path), _TEMPORARY + os.urandom(6).hex().encode())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._temporary, flags, _FILE_MODE)
        except FileNotFoundError:
            make_folders(os.path.dirname(path), _FOLDER_MODE)
            self._descriptor = os.open(self._temporary, flags, _FILE_MODE)

    def append(self, pieces: Sequence[Buffer]) -> None:
        """Add to the end."""
        write_pieces(self._descriptor, pieces)

    def keep(self) -> None:
        """Give it its name, in place of what has it."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        os.rename(self._temporary, self._path)
        self._temporary = b""

    def drop(self) -> None:
        """Remove it unless it was kept. Never fails."""
        with contextlib.suppress(OSError):
            if self._descriptor >= 0:
                descriptor, self._descriptor = self._descriptor, -1
                os.close(descriptor)
        with contextlib.suppress(OSError):
            if self._temporary:
                os.unlink(self._temporary)
                self._temporary = b""


class CacheFolder:
    """The cache of the repository *repository_id* in the folder *base*, which is made when it is missing.

    Raises:
        StorageError: it cannot be made, or has another form. One that is there and cannot be written to is used as it is.
    """

    def __init__(self, base: str | bytes, repository_id: str) -> None:
        self.base = gojson.to_bytes(base) if isinstance(base, str) else base
        self.path = os.path.join(self.base, repository_id.encode())
        self.created = False
        """Whether it was not there before."""
        version = self._version()
        if version > VERSION:
            what = f"the cache has version {version}, which this program does not know"
            raise FileUnusable(f"{gojson.to_text(self.path)}: {what}; remove it, or use another --cache-dir", clause="CACHE-2")
        try:
            self._make(has_version=version == VERSION)
        except OSError as error:
            if version != VERSION:
                raise oserrors.told("mkdir", self.path, error) from error

    def _version(self) -> int:
        """The version written in it, 0 where there is none."""
        path = os.path.join(self.path, b"version")
        try:
            with open(path, "rb") as file:
                text = file.read(16)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise oserrors.told("open", path, error) from error
        if not text:  # restic is writing it
            return 0
        if not text.isdigit():
            what = "is not a version of a cache; remove the folder it is in"
            raise FileUnusable(f"{gojson.to_text(path)}: {what}", clause="CACHE-2")
        return int(text)

    def _make(self, *, has_version: bool) -> None:
        if has_version:
            os.utime(self.path)  # caches that nobody uses are removed by the time of their folders
        else:
            make_folders(self.base, _FOLDER_MODE)
            tag_folder(self.base)
            try:
                os.mkdir(self.path, _FOLDER_MODE)
                self.created = True
            except FileExistsError:
                pass
            _write_whole(os.path.join(self.path, b"version"), b"%d" % VERSION)
        for kind in KINDS:
            make_folders(os.path.join(self.path, kind.value.encode()), _FOLDER_MODE)

    def path_of(self, kind: FileKind, name: str) -> bytes:
        """Where the copy of a file is or would be."""
        return path_in(self.path, kind, name)

    def open(self, kind: FileKind, name: str) -> tuple[int, int] | None:
        """A descriptor of a copy and its size, which is one that a file of its kind may have; None where there is none."""
        try:
            descriptor = os.open(self.path_of(kind, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if _may_be(kind, status):
            return descriptor, status.st_size
        os.close(descriptor)
        return None

    def has(self, kind: FileKind, name: str) -> bool:
        """Whether there is a copy, of a size that a file of its kind may have."""
        try:
            return _may_be(kind, os.stat(self.path_of(kind, name)))
        except OSError:
            return False

    def begin(self, kind: FileKind, name: str) -> Copy:
        """Begin to write a copy; one whose name is not known yet may go by any id until `Copy.keep`. Raises `OSError`."""
        return Copy(self.path_of(kind, name))

    def remove(self, kind: FileKind, name: str) -> bool:
        """Remove a copy; whether there was one and is no more."""
        try:
            os.unlink(self.path_of(kind, name))
        except OSError:
            return False
        return True

    def names(self, kind: FileKind) -> Iterator[str]:
        """The names of all copies of a kind. What a killed program left unfinished is removed on the way."""
        try:
            folders = sorted(os.listdir(os.path.join(self.path, kind.value.encode())))
        except OSError:
            return
        for folder in folders:
            place = os.path.join(self.path, kind.value.encode(), folder)
            try:
                found = os.listdir(place)
            except OSError:
                continue
            for entry in found:
                name = gojson.to_text(entry)
                if is_hex_id(name) and len(folder) == 2:
                    yield name
                elif entry.startswith(_TEMPORARY):
                    _remove_if_old(os.path.join(place, entry))


class Cache(NamedTuple):
    """A cache that is there: the name of its folder, when it was last used (seconds since the epoch)."""

    name: str
    used: float

    def is_old(self, max_age: float = MAX_AGE) -> bool:
        """Whether it was last used more than *max_age* seconds ago."""
        return self.used < time.time() - max_age


def list_caches(base: str) -> list[Cache]:
    """The caches in the folder *base*, longest unused first; none where it is missing. What is no cache is left out.

    Raises:
        StorageError: the folder cannot be read.
    """
    place = gojson.to_bytes(base)
    found = []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                name = gojson.to_text(entry.name)
                with contextlib.suppress(FileNotFoundError):
                    if _NAME.fullmatch(name) and entry.is_dir(follow_symlinks=False):
                        found.append(Cache(name, entry.stat(follow_symlinks=False).st_mtime))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise oserrors.told("open", place, error) from error
    return sorted(found, key=lambda cache: (cache.used, cache.name))


def size_of(base: str, cache: Cache) -> int:
    """Bytes of all files in a cache. Those that vanish meanwhile do not count."""
    total = 0
    for folder, _, files in os.walk(os.path.join(gojson.to_bytes(base), cache.name.encode())):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def remove_caches(base: str, caches: Iterable[Cache], failed: Callable[[str, StorageError], None] | None = None) -> int:
    """Remove *caches* of the folder *base*; how many are gone. *failed* is told the path of one that is not, and why.

    Nothing is ever removed from a folder that does not bear the tag of caches.

    Raises:
        FileUnusable: it does not.
    """
    import shutil  # Hardly ever needed, and slow to import.

    place = gojson.to_bytes(base)
    caches = list(caches)
    if caches and not is_tagged(place):
        what = f"has no {TAG_NAME} that says it is for caches; nothing was removed"
        raise FileUnusable(f"{gojson.to_text(place)}: {what}")
    removed = 0
    for cache in caches:
        path = os.path.join(place, cache.name.encode())
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if failed is not None:
                failed(gojson.to_text(path), oserrors.told("remove", error.filename or path, error))
        removed += not os.path.lexists(path)
    return removed


def is_tagged(base: bytes) -> bool:
    """Whether a folder is marked as one of caches."""
    try:
        with open(os.path.join(base, TAG_NAME.encode()), "rb") as file:
            return file.read(len(TAG) - 1) == TAG[:-1]
    except OSError:
        return False


def tag_folder(base: bytes) -> None:
    """Mark a folder as one of caches. Raises `OSError`."""
    try:
        descriptor = os.open(
            os.path.join(base, TAG_NAME.encode()), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _SIGN_MODE
        )
    except FileExistsError:
        return
    try:
        write_pieces(descriptor, [TAG])
    finally:
        os.close(descriptor)


def _may_be(kind: FileKind, status: os.stat_result) -> bool:
    """Whether a copy is a file with as many bytes as one of its kind may have."""
    return stat.S_ISREG(status.st_mode) and OVERHEAD < status.st_size <= layout.KINDS[kind].max_size


def _write_whole(path: bytes, content: bytes) -> None:
    """Write a small file so that nobody sees a part of it."""
    temporary = b"%s-%s" % (path, os.urandom(6).hex().encode())
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _SIGN_MODE)
        try:
            write_pieces(descriptor, [content])
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _remove_if_old(path: bytes) -> None:
    with contextlib.suppress(OSError):
        if os.lstat(path).st_mtime < time.time() - _LEFT_BEHIND:
            os.unlink(path)
