"""The bytes of what is looked at: of a file at a path, of a stream, of a file in a storage; never more memory than a bound."""

from __future__ import annotations

import mmap
import os
import stat
from typing import IO, TYPE_CHECKING

from restic_format.errors import FileMissing, FileUnusable
from restic_format.storage import oserrors
from restic_format.storage.base import check_size
from restic_format.storage.oldlayout import local_folder
from restic_spec import gojson
from restic_spec.layout import KINDS, FileKind

if TYPE_CHECKING:
    from restic_format.storage import Storage

HELD = 256 << 20
"""Bytes that are read into memory; a larger file is mapped, a longer stream refused."""

LARGEST = KINDS[FileKind.PACK].max_size
"""Bytes of the largest file that a repository can have (LAYOUT-11)."""

_PIECE = 1 << 20

Data = bytes | mmap.mmap


def read_file(path: str | bytes) -> Data:
    """The content of the file at *path*; what is no regular file is read as a stream.

    Raises:
        FileMissing: there is none.
        FileUnusable: a directory, or larger than any file of a repository (LAYOUT-11).
        StorageError: it cannot be read.
    """
    raw = gojson.to_bytes(path) if isinstance(path, str) else path
    shown = gojson.to_text(raw)
    if b"\0" in raw:
        raise FileMissing(f"{shown}: no such file or directory", object=shown)
    try:
        with open(raw, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return read_stream(file, shown)
            if found.st_size > LARGEST:
                what = f"has {found.st_size} bytes, more than any file of a repository"
                raise FileUnusable(f"{shown}: {what}", object=shown, clause="LAYOUT-11")
            if found.st_size > HELD:
                return mmap.mmap(file.fileno(), found.st_size, access=mmap.ACCESS_READ)
            return _read(file, found.st_size)
    except OSError as error:
        raise oserrors.told("open", raw, error) from error


def _read(file: IO[bytes], size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def read_stream(stream: IO[bytes], what: str) -> bytes:
    """All that comes from *stream*, which *what* names.

    Raises:
        FileUnusable: more than `HELD` bytes.
    """
    pieces = []
    left = HELD + 1
    while left > 0 and (piece := stream.read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise FileUnusable(f"{what}: more than {HELD >> 20} MiB come from it; name a file instead", object=what)
    return b"".join(pieces)


def load_file(storage: Storage, kind: FileKind, name: str) -> Data:
    """The content of a file in *storage*.

    Raises:
        FileMissing: there is none.
        StorageError: it cannot be read.
    """
    local = local_folder(storage)
    size = storage.size(kind, name)
    if local is None or size <= HELD:
        return storage.load(kind, name)
    check_size(kind, name, size)
    return read_file(local.path_of(kind, name))
