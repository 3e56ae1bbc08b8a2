"""A local copy of the index's columns, so that opening a large repository need not decode its index files again.

The file is sealed with the repository's master key in pieces. A head after them has the IV of each, under which there is one
message only: nobody without the key can read, change, shorten or rearrange the file, or put one together of two. It names the
index files it was made from: what is new in the repository is added to it, and where one of them is gone it is not used at all.
Whatever is wrong with it, the index files are read instead.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from typing import BinaryIO, NamedTuple

import msgspec

from restic_format.repository.cipher import Cipher
from restic_format.repository.index import BlobIndex, IndexState, MarkedPack
from restic_format.storage.cachefolder import tag_folder
from restic_format.storage.localwriter import make_folders
from restic_format.work import in_order
from restic_spec import gojson
from restic_spec.crypto import IV_SIZE, OVERHEAD
from restic_spec.errors import SpecError

_MAGIC = b"restic-format index 4\n"
_PIECE = 4 << 20
_HEAD_START = struct.Struct("<Q")
"""The last bytes of the file: where the head begins."""
FILE_NAME = "restic-format-index"
"""What it is called in the folder of the repository's cache, which restic's part of it leaves alone (CACHE-4)."""

WORTH_ROWS = 50_000
"""Rows that must have come from index files before the cache is written again."""


class _Piece(NamedTuple):
    """A stretch of the columns: its number, where its sealed form begins in the file, the memory it is in."""

    number: int
    start: int
    content: memoryview

    @property
    def end(self) -> int:
        """Where its sealed form ends."""
        return self.start + len(self.content) + OVERHEAD


class _Head(msgspec.Struct):
    """The last piece."""

    ivs: bytes
    """The IVs of the others, in order."""
    rows: int
    slots: int
    packs: int
    copies: bool
    seed: bytes
    indexes: list[str]
    marked: dict[str, MarkedPack]


class IndexCache:
    """The cached index of one repository, among the caches in *base* (made when needed)."""

    def __init__(self, base: str, repository_id: str, cipher: Cipher) -> None:
        self._base = gojson.to_bytes(base)
        self._folder = os.path.join(self._base, repository_id.encode())
        self._path = os.path.join(self._folder, FILE_NAME.encode())
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
        (start,) = _HEAD_START.unpack(os.pread(file.fileno(), _HEAD_START.size, size - _HEAD_START.size))
        if start > size - _HEAD_START.size:
            return None
        sealed = os.pread(file.fileno(), size - _HEAD_START.size - start, start)
        head = msgspec.json.decode(self._cipher.open(sealed), type=_Head)
        covered = {bytes.fromhex(name) for name in head.indexes}
        # What the head asks memory for must be there to be read.
        if not covered <= listed or head.rows * 49 + head.slots * 5 + head.packs * 33 > size:
            return None
        marked = {bytes.fromhex(name): pack for name, pack in head.marked.items()}
        state = IndexState(head.rows, head.slots, head.packs, head.copies, head.seed, marked)
        return BlobIndex.restore(state, lambda parts: self._fill(parts, file, head.ivs)), covered

    def _fill(self, parts: list[memoryview], file: BinaryIO, ivs: bytes) -> None:
        """Open the pieces into the memory they are the content of."""
        pieces = _pieces_of(parts)
        if len(ivs) != len(pieces) * IV_SIZE:
            raise ValueError("the pieces do not fit the columns")
        buffers = threading.local()

        def open_piece(piece: _Piece) -> None:
            number, start, target = piece
            iv = ivs[number * IV_SIZE : (number + 1) * IV_SIZE]
            if not hasattr(buffers, "memory"):
                buffers.memory = memoryview(bytearray(_PIECE + OVERHEAD))
            sealed = buffers.memory[: len(target) + OVERHEAD]
            if os.preadv(file.fileno(), [sealed], start) != len(sealed) or sealed[:IV_SIZE] != iv:
                raise ValueError("cut short, or another piece")
            self._cipher.open_into(sealed, target)

        with contextlib.closing(in_order(open_piece, pieces)) as opening:
            for _, failure in opening:
                if failure is not None:
                    raise failure

    def store(self, index: BlobIndex, covered: set[bytes]) -> None:
        """Write the cache anew. A folder that cannot be written to is left alone."""
        temporary = b"%s-%s" % (self._path, os.urandom(6).hex().encode())
        try:
            make_folders(self._folder, 0o700)
            tag_folder(self._base)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self._write(descriptor, index, covered)
            finally:
                os.close(descriptor)
            os.rename(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _write(self, descriptor: int, index: BlobIndex, covered: set[bytes]) -> None:
        state, parts = index.dump()
        ivs = bytearray()
        _write_at(descriptor, _MAGIC, 0)

        def seal_piece(piece: _Piece) -> bytes:
            sealed = self._cipher.seal(piece.content)
            _write_at(descriptor, sealed, piece.start)
            return sealed[:IV_SIZE]

        pieces = _pieces_of(parts)
        # Whatever happens, nobody may go on writing when the file is closed.
        with contextlib.closing(in_order(seal_piece, pieces)) as sealing:
            for _, iv in sealing:
                if isinstance(iv, Exception):
                    raise iv
                ivs += iv
        head = _Head(
            bytes(ivs),
            state.rows,
            state.slots,
            state.packs,
            state.copies,
            state.seed,
            sorted(index_id.hex() for index_id in covered),
            {pack_id.hex(): pack for pack_id, pack in state.marked.items()},
        )
        start = pieces[-1].end if pieces else len(_MAGIC)
        _write_at(descriptor, self._cipher.seal(msgspec.json.encode(head)) + _HEAD_START.pack(start), start)


def _write_at(descriptor: int, data: bytes, place: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, place)
        left = left[written:]
        place += written


def _pieces_of(parts: list[memoryview]) -> list[_Piece]:
    pieces: list[_Piece] = []
    place = len(_MAGIC)
    for part in parts:
        for start in range(0, len(part), _PIECE):
            pieces.append(_Piece(len(pieces), place, part[start : start + _PIECE]))
            place = pieces[-1].end
    return pieces
