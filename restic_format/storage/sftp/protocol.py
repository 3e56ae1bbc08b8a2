"""Packets of the SSH file transfer protocol, version 3: what is sent and what is answered, as bytes.

It is the version that every server speaks (draft-ietf-secsh-filexfer-02), with extensions of OpenSSH where a server offers
them. Numbers are big-endian; a string is its length in four bytes and then its bytes. What a server sends is checked here.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from struct import Struct, error
from typing import Final, NamedTuple

from restic_format.errors import AccessDenied, FileMissing, NoSpace, StorageAway, StorageError
from restic_format.storage.base import Buffer
from restic_format.words import visible
from restic_spec import gojson

VERSION: Final = 3

INIT, VERSION_REPLY, OPEN, CLOSE, READ, WRITE = 1, 2, 3, 4, 5, 6
LSTAT = 7
FSETSTAT, SETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, STAT, RENAME = 10, 9, 11, 12, 13, 14, 15, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

READ_FLAG, WRITE_FLAG, CREATE_FLAG, NEW_FLAG = 0x01, 0x02, 0x08, 0x20

POSIX_RENAME, HARD_LINK, SYNC, SPACE, LIMITS = (
    f"{word}@openssh.com".encode() for word in ("posix-rename", "hardlink", "fsync", "statvfs", "limits")
)
"""Extensions: rename and replace; a second name for a file; what was written is on the disk; room that is left; sizes."""

OK, END, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, LOST, UNSUPPORTED = range(9)
"""Codes of a status. Those above 8 are of later versions, and some servers use them all the same."""

_SIZE, _OWNER, _MODE, _TIMES, _MORE = 0x01, 0x02, 0x04, 0x08, 0x80000000
"""Which attributes follow."""

_MOST_IN_MESSAGE = 200
"""Characters of a server's message that are shown."""

_U32, _U64, _HEAD = Struct(">I"), Struct(">Q"), Struct(">IBI")
_USUAL = Struct(">IQIIIII")
_USUAL_FLAGS = _SIZE | _OWNER | _MODE | _TIMES

_WORDS: dict[int, tuple[type[StorageError], str]] = {
    NO_SUCH_FILE: (FileMissing, "file does not exist"),
    PERMISSION_DENIED: (AccessDenied, "permission denied"),
    NO_CONNECTION: (StorageAway, "no connection"),
    LOST: (StorageAway, "connection lost"),
    UNSUPPORTED: (AccessDenied, "the server does not support this operation"),
    10: (FileMissing, "file does not exist"),
    12: (AccessDenied, "read-only file system"),
    14: (NoSpace, "no space left on device"),
    15: (NoSpace, "disk quota exceeded"),
}


class ProtocolError(Exception):
    """The server sent what the protocol does not allow."""


class Attributes(NamedTuple):
    """What a server tells of a file; None for what it leaves out."""

    size: int | None
    mode: int | None
    modified: int | None
    """Seconds since the epoch."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, as far as the server tells."""
        return self.mode is None or stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.mode is not None and stat.S_ISLNK(self.mode)


class Status(NamedTuple):
    """How a request ended."""

    code: int
    message: str
    """The server's, safe for a terminal and cut short."""

    @property
    def error_class(self) -> type[StorageError]:
        """The error that it stands for."""
        return _WORDS.get(self.code, (StorageError, ""))[0]

    @property
    def words(self) -> str:
        """What it says, for a message."""
        return _WORDS.get(self.code, (StorageError, self.message or f"failure (status {self.code})"))[1]


class Reply(NamedTuple):
    """An answer: type of the packet, and what stands behind the number of the request; of one with data only these."""

    kind: int
    body: bytes


class Request(NamedTuple):
    """What is asked: type of the packet, its fields, and data that follow them. An answer with data is read into *target*."""

    kind: int
    fields: bytes
    data: Sequence[Buffer] = ()
    target: memoryview | None = None


def greeting() -> bytes:
    """The first packet of a session."""
    return _U32.pack(5) + bytes((INIT,)) + _U32.pack(VERSION)


def unpack_head(buffer: memoryview, at: int) -> tuple[int, int, int]:
    """Bytes of a packet behind the first four, its type, and the number of the request it answers."""
    size, kind, number = _HEAD.unpack_from(buffer, at)
    return size, kind, number


def head(kind: int, number: int, size: int) -> bytes:
    """What stands before *size* bytes of fields and data."""
    return _HEAD.pack(5 + size, kind, number)


def text(content: bytes) -> bytes:
    """A string."""
    return _U32.pack(len(content)) + content


def mode_attributes(mode: int | None) -> bytes:
    """Attributes that set the mode, or nothing."""
    return _U32.pack(0) if mode is None else _U32.pack(_MODE) + _U32.pack(mode)


def opening(path: bytes, flags: int, mode: int | None = None) -> Request:
    """Open a file."""
    return Request(OPEN, text(path) + _U32.pack(flags) + mode_attributes(mode))


def naming(kind: int, path: bytes) -> Request:
    """A request with a path, or a handle."""
    return Request(kind, text(path))


def making(path: bytes, mode: int) -> Request:
    """Make a folder."""
    return Request(MKDIR, text(path) + mode_attributes(mode))


def reading(handle: bytes, offset: int, size: int, target: memoryview | None = None) -> Request:
    """Read *size* bytes, into *target*, which has as many."""
    return Request(READ, text(handle) + _U64.pack(offset) + _U32.pack(size), (), target)


def writing(handle: bytes, offset: int, data: Sequence[Buffer]) -> Request:
    """Write *data*."""
    size = sum(map(len, data))
    return Request(WRITE, text(handle) + _U64.pack(offset) + _U32.pack(size), data)


def changing_mode(kind: int, place: bytes, mode: int) -> Request:
    """Change the mode of a path (`SETSTAT`) or of an open file (`FSETSTAT`)."""
    return Request(kind, text(place) + mode_attributes(mode))


def renaming(old: bytes, new: bytes, extension: bytes = b"") -> Request:
    """Rename, or do with two paths what *extension* says."""
    both = text(old) + text(new)
    return Request(EXTENDED, text(extension) + both) if extension else Request(RENAME, both)


def extended(extension: bytes, place: bytes | None = None) -> Request:
    """Do what *extension* says, with a path or a handle where there is one."""
    return Request(EXTENDED, text(extension) + (b"" if place is None else text(place)))


class Fields:
    """Reads the fields of a packet, one after the other. Raises `ProtocolError` where one is cut short."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self._body) - self._at

    def _number(self, form: Struct) -> int:
        try:
            [number] = form.unpack_from(self._body, self._at)
        except error:
            raise ProtocolError("a packet is cut short") from None
        self._at += form.size
        return int(number)

    def u32(self) -> int:
        """A number of four bytes."""
        return self._number(_U32)

    def u64(self) -> int:
        """A number of eight bytes."""
        return self._number(_U64)

    def text(self) -> bytes:
        """A string."""
        size = self.u32()
        if size > self.left:
            raise ProtocolError("a packet is cut short")
        self._at += size
        return self._body[self._at - size : self._at]

    def attributes(self) -> Attributes:
        """The attributes of a file."""
        flags = self.u32()
        if flags == _USUAL_FLAGS and self.left >= _USUAL.size - _U32.size:
            _, size, _, _, mode, _, modified = _USUAL.unpack_from(self._body, self._at - _U32.size)
            self._at += _USUAL.size - _U32.size
            return Attributes(size, mode, modified)
        found_size = self.u64() if flags & _SIZE else None
        if flags & _OWNER:
            self.u64()
        found_mode = self.u32() if flags & _MODE else None
        found_modified = self.u64() & 0xFFFFFFFF if flags & _TIMES else None
        if flags & _MORE:
            for _ in range(self.u32()):
                self.text()
                self.text()
        return Attributes(found_size, found_mode, found_modified)


def status_of(reply: Reply) -> Status | None:
    """The status that *reply* is; None where it is something else."""
    if reply.kind != STATUS:
        return None
    fields = Fields(reply.body)
    code = fields.u32()
    message = fields.text() if fields.left else b""
    said = visible(gojson.to_text(message[: 4 * _MOST_IN_MESSAGE]))[:_MOST_IN_MESSAGE]
    return Status(code, said)


def _only(reply: Reply, kind: int) -> Fields:
    if reply.kind != kind:
        raise ProtocolError(f"an answer of type {reply.kind} came where one of type {kind} was due")
    return Fields(reply.body)


def handle_of(reply: Reply) -> bytes:
    """The handle of an open file or folder."""
    handle = _only(reply, HANDLE).text()
    if not 0 < len(handle) <= 256:
        raise ProtocolError(f"a handle of {len(handle)} bytes")
    return handle


def attributes_of(reply: Reply) -> Attributes:
    """The attributes of a file."""
    return _only(reply, ATTRS).attributes()


def names_of(reply: Reply) -> list[tuple[bytes, Attributes]]:
    """Entries of a folder."""
    fields = _only(reply, NAME)
    found = []
    for _ in range(fields.u32()):
        name = fields.text()
        fields.text()  # a line as by ls
        found.append((name, fields.attributes()))
    if not found:
        raise ProtocolError("an answer with names has none")
    return found


class Sizes(NamedTuple):
    """What a server takes in one request, and how many files it lets be open."""

    read: int
    write: int
    open: int
    """0 where that is not known."""


SMALLEST: Final = Sizes(32 << 10, 32 << 10, 0)
"""What every server takes."""

_MOST_AT_ONCE = (256 << 10) - 1024
"""Bytes of data in a packet that OpenSSH takes at most."""


def sizes_of(reply: Reply) -> Sizes:
    """What the answer to `LIMITS` says."""
    fields = _only(reply, EXTENDED_REPLY)
    _, read, write, count = (fields.u64() for _ in range(4))

    def bounded(size: int, otherwise: int) -> int:
        return min(max(size, 1 << 10), _MOST_AT_ONCE) if size else otherwise

    return Sizes(bounded(read, SMALLEST.read), bounded(write, SMALLEST.write), count)


class Room(NamedTuple):
    """What a file system has left."""

    bytes: int
    files: int
    read_only: bool


def room_of(reply: Reply) -> Room:
    """What the answer to `SPACE` says."""
    fields = _only(reply, EXTENDED_REPLY)
    _, fragment, _, _, free, _, _, files, _, flags, _ = (fields.u64() for _ in range(11))
    return Room(fragment * free, files, bool(flags & 1))


def extensions_of(body: bytes) -> dict[bytes, bytes]:
    """The extensions that a server offers, from what stands behind the type of its first packet."""
    fields = Fields(body)
    version = fields.u32()
    if version != VERSION:
        raise ProtocolError(f"the server speaks version {version} of the protocol, and version {VERSION} is needed")
    found = {}
    while fields.left:
        name = fields.text()
        found[name] = fields.text()
    return found
