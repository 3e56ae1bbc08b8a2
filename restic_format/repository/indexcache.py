"""A local copy of the index's columns, so that opening a large repository need not decode its index files again.

The file is sealed with the repository's master key in pieces, each of which says its place, so that nobody without the key
can read, change, shorten or rearrange it. It names the index files it was made from: what is new in the repository is added
to it, and where one of them is gone it is not used at all. Whatever is wrong with it, the index files are read instead.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from restic_format.repository.cipher import BlobCipher
from restic_format.repository.index import BlobIndex, IndexState
from restic_format.repository.inorder import in_order
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import SpecError

_MAGIC = b"restic-format index 1\n"
_PIECE = 4 << 20
_PLACE = struct.Struct("<16sQ")
_LENGTH = struct.Struct("<I")
TAG_NAME = "CACHEDIR.TAG"
TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Caches of restic-format; the folder can be removed at any time.\n"

WORTH_ROWS = 50_000
"""Rows that must have come from index files before the cache is written again."""


class _Head(msgspec.Struct):
    """The first piece."""

    generation: bytes
    rows: int
    slots: int
    packs: int
    indexes: list[str]
    repeated: list[int]
    marked: list[str]


class IndexCache:
    """The cache of one repository in *folder* (made when needed)."""

    def __init__(self, folder: str, repository_id: str, cipher: BlobCipher) -> None:
        self._folder = os.path.join(folder, repository_id)
        self._top = folder
        self._path = os.path.join(self._folder, "index")
        self._cipher = cipher

    def load(self, listed: set[bytes]) -> tuple[BlobIndex, set[bytes]] | None:
        """The cached index and the index files it covers, all among *listed*; None where there is nothing to be used."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                # Caches that nobody uses are removed by the time of their folders.
                with contextlib.suppress(OSError):
                    os.utime(self._folder)
                return self._read(file, listed)
        except (OSError, SpecError, msgspec.MsgspecError, ValueError, MemoryError, struct.error):
            return None

    def _read(self, file: BinaryIO, listed: set[bytes]) -> tuple[BlobIndex, set[bytes]] | None:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        head = msgspec.json.decode(self._cipher.open(_next_extent(file).read(file)), type=_Head)
        covered = {bytes.fromhex(name) for name in head.indexes}
        # What the head asks memory for must be there to be read.
        if not covered <= listed or head.rows * 49 + head.slots * 4 + head.packs * 32 > size:
            return None
        pieces = self._pieces(file, head.generation)
        index = BlobIndex.restore(
            IndexState(head.rows, head.slots, head.packs, set(head.repeated), {bytes.fromhex(name) for name in head.marked}),
            pieces,
        )
        return (index, covered) if next(pieces, None) is None else None

    def _pieces(self, file: BinaryIO, generation: bytes) -> Iterator[memoryview]:
        def open_piece(numbered: tuple[int, _Extent]) -> memoryview:
            number, extent = numbered
            plaintext = memoryview(self._cipher.open(extent.read(file)))
            if _PLACE.unpack_from(plaintext) != (generation, number):
                raise ValueError("pieces of different caches, or in another order")
            return plaintext[_PLACE.size :]

        for _, piece in in_order(open_piece, list(enumerate(_extents(file)))):
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def store(self, index: BlobIndex, covered: set[bytes]) -> None:
        """Write the cache anew. A folder that cannot be written to is left alone."""
        temporary = f"{self._path}-{secrets.token_hex(6)}"
        try:
            self._make_folder()
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                self._write(file, index, covered)
            os.rename(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _make_folder(self) -> None:
        os.makedirs(self._folder, 0o700, exist_ok=True)
        tag = os.path.join(self._top, TAG_NAME)
        if not os.path.exists(tag):
            with open(tag, "wb") as file:
                file.write(TAG)

    def _write(self, file: BinaryIO, index: BlobIndex, covered: set[bytes]) -> None:
        state, parts = index.dump()
        generation = os.urandom(16)
        head = _Head(
            generation,
            state.rows,
            state.slots,
            state.packs,
            sorted(index_id.hex() for index_id in covered),
            sorted(state.repeated),
            sorted(pack.hex() for pack in state.marked),
        )
        file.write(_MAGIC)
        self._write_piece(file, msgspec.json.encode(head))
        number = 0
        for part in parts:
            for start in range(0, len(part), _PIECE):
                self._write_piece(file, _PLACE.pack(generation, number) + part[start : start + _PIECE])
                number += 1

    def _write_piece(self, file: BinaryIO, plaintext: bytes) -> None:
        sealed = self._cipher.seal(plaintext)
        file.write(_LENGTH.pack(len(sealed)))
        file.write(sealed)


class _Extent(NamedTuple):
    """Where a sealed piece is in the file."""

    start: int
    length: int

    def read(self, file: BinaryIO) -> bytes:
        """The piece; any thread may do that."""
        sealed = os.pread(file.fileno(), self.length, self.start)
        if len(sealed) != self.length:
            raise ValueError("cut short")
        return sealed


def _next_extent(file: BinaryIO) -> _Extent:
    """The piece whose length comes next; the file then stands behind it."""
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if not OVERHEAD <= length <= 64 << 20:
        raise ValueError("no piece is that long")
    start = file.tell()
    file.seek(length, os.SEEK_CUR)
    return _Extent(start, length)


def _extents(file: BinaryIO) -> Iterator[_Extent]:
    """All pieces from where the file stands."""
    end = os.fstat(file.fileno()).st_size
    while file.tell() < end:
        yield _next_extent(file)
