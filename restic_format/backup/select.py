"""What to leave out by metadata and neighbours: other file systems, large files, directories with a tag file, ignore files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from restic_format.backup.errors import SourceError
from restic_format.backup.ignorefiles import IgnoreFiles
from restic_format.backup.job import BackupOptions
from restic_format.backup.source import FileInfo
from restic_format.errors import ResticFormatError
from restic_spec import gojson

Reject = Callable[[bytes, FileInfo], bool]
"""Whether to leave out the item at an absolute path with these metadata."""

CACHE_TAG = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"
"""The value of ``exclude_if_present`` for directories marked as caches."""

LONGEST_NAME = 255
"""Bytes that the name of a file may have."""

_REMEMBERED_DIRECTORIES = 1024


class InvalidTagSpec(ResticFormatError):
    """An ``exclude_if_present`` without a file name."""


class InvalidIgnoreName(ResticFormatError):
    """A name of ignore files that no file can have."""


def build_rejects(options: BackupOptions, targets: Iterable[bytes], warn: Callable[[str], None]) -> list[Reject]:
    """The checks that *options* ask for. *warn* is told of tag files that cannot be used.

    Raises:
        SourceError: a target's file system cannot be determined.
        InvalidTagSpec: ``exclude_if_present`` names no file.
        InvalidIgnoreName: one of ``ignore_files`` is no name.
    """
    rejects: list[Reject] = []
    if options.one_file_system:
        rejects.append(OtherFileSystems(targets).rejects)
    if options.exclude_larger_than is not None:
        limit = options.exclude_larger_than
        rejects.append(lambda _path, info: info.st_size > limit and not stat.S_ISDIR(info.st_mode))
    rejects.extend(TagFile(spec, warn).rejects for spec in options.exclude_if_present)
    if options.git_ignore or options.ignore_files:
        names = [gojson.to_bytes(name) for name in options.ignore_files]
        for name in names:
            if name in (b"", b".", b"..") or b"/" in name or len(name) > LONGEST_NAME:
                raise InvalidIgnoreName(
                    f"{gojson.to_text(name)!r} is not the name of an ignore file; write it without its path"
                )
        user_file = gojson.to_bytes(options.git_user_file)
        ignored = IgnoreFiles(
            names, warn, git=options.git_ignore, require_repository=options.require_git_repository, user_file=user_file
        )
        rejects.append(ignored.rejects)
    return rejects


class OtherFileSystems:
    """Rejects what lies on another file system than the target it was found in; mount points themselves stay, empty."""

    def __init__(self, targets: Iterable[bytes]) -> None:
        self._devices: dict[bytes, int] = {}
        for target in targets:
            path = os.path.abspath(target)
            try:
                self._devices[path] = os.lstat(path).st_dev
            except OSError as error:
                raise SourceError.from_os("lstat", path, error) from error

    def rejects(self, path: bytes, info: FileInfo) -> bool:
        """See `Reject`."""
        if self._allowed(path, info.st_dev):
            return False
        if not stat.S_ISDIR(info.st_mode):
            return True
        parent = os.path.dirname(path)
        try:
            return not self._allowed(parent, os.lstat(parent).st_dev)
        except OSError:
            return True

    def _allowed(self, path: bytes, device: int) -> bool:
        while True:
            allowed = self._devices.get(path)
            if allowed is not None:
                return allowed == device
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent


class TagFile:
    """Rejects what lies in a directory with a certain file (which must begin with a header where one is given)."""

    def __init__(self, spec: str, warn: Callable[[str], None]) -> None:
        name, _, header = spec.partition(":")
        if not name:
            raise InvalidTagSpec(f"{spec!r} names no file to look for; write filename or filename:header")
        self._name = gojson.to_bytes(name)
        self._header = gojson.to_bytes(header)
        self._warn = warn
        self._known: dict[bytes, bool] = {}

    def rejects(self, path: bytes, _info: FileInfo) -> bool:
        """See `Reject`; the tag file itself stays."""
        directory, name = os.path.split(path)
        if name == self._name:
            return False
        rejected = self._known.get(directory)
        if rejected is None:
            if len(self._known) >= _REMEMBERED_DIRECTORIES:
                self._known.clear()
            rejected = self._known[directory] = self._is_tagged(directory)
        return rejected

    def _is_tagged(self, directory: bytes) -> bool:
        path = os.path.join(directory, self._name)
        try:
            os.lstat(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._warn(f"could not access exclusion tagfile: {SourceError.from_os('lstat', path, error)}")
            return False
        if not self._header:
            return True
        shown = gojson.quote(gojson.to_text(path))
        try:
            # A tag file that is a FIFO must not block the backup.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                start = os.read(fd, len(self._header))
            finally:
                os.close(fd)
        except OSError as error:
            self._warn(f'could not read signature from exclusion tagfile "{shown}": {SourceError.from_os("open", path, error)}')
            return False
        if not start:
            self._warn(f'invalid (too short) signature in exclusion tagfile "{shown}"')
        elif start != self._header:
            self._warn(f'invalid signature in exclusion tagfile "{shown}"')
        return start == self._header
