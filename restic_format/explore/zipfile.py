"""Nodes as members of a zip archive, in the form that restic writes: sizes after the content, times also in UTC.

All is written in one pass. What is kept until the end is the directory of the archive, some 100 bytes for a member.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from restic_format.explore.tar import NotInArchive
from restic_spec import gojson, gomode, gotime
from restic_spec.tree import DIR, FILE, SYMLINK, Node

LEVEL = 5
"""zlib's level; what restic takes."""

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_DESCRIPTOR = struct.Struct("<IIII")
_DESCRIPTOR64 = struct.Struct("<IIQQ")
_ENTRY = struct.Struct("<IHHHHHHIIIHHHHHII")
_TIME_EXTRA = struct.Struct("<HHBI")
_EXTRA64 = struct.Struct("<HHQQQ")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")

_MOST16, _MOST32 = 0xFFFF, 0xFFFF_FFFF
_VERSION, _VERSION64, _UNIX = 20, 45, 3 << 8
_SIZES_LATER, _UTF8 = 0x8, 0x800
_STORED, _DEFLATED = 0, 8
_UNIX_TYPES = (
    (gomode.DIR, 0o040000),
    (gomode.SYMLINK, 0o120000),
    (gomode.NAMED_PIPE, 0o010000),
    (gomode.SOCKET, 0o140000),
)
_MSDOS_FOLDER, _MSDOS_READ_ONLY = 0x10, 0x01


class Member:
    """A member in the making."""

    def __init__(self, path: str, node: Node) -> None:
        """*path* is that of the node, without a slash at the begin.

        Raises:
            NotInArchive: it is longer than 65,535 bytes.
        """
        self.folder = node.type == DIR
        self.deflated = node.type == FILE
        self.name = gojson.to_bytes(path) + (b"/" if self.folder else b"")
        if len(self.name) > _MOST16:
            raise NotInArchive(
                f"the path {path[:80]!r}… has {len(self.name)} bytes, a zip archive holds {_MOST16}: dump it as tar"
            )
        self.target = gojson.to_bytes(node.target) if node.type == SYMLINK else None
        """A symlink's target, which is its content."""
        self.crc = self.size = self.stored = 0
        """Of the content so far, and how many bytes that takes in the archive."""
        self._flags = (0 if self.folder else _SIZES_LATER) | _utf8_flag(self.name)
        self._attributes = _attributes(node.mode)
        self._time, self._date, self._extra = _times(node)
        self._offset = 0

    def begin(self, offset: int) -> bytes:
        """What comes before the content, at *offset* in the archive."""
        self._offset = offset
        method = _DEFLATED if self.deflated else _STORED
        sizes = len(self.name), len(self._extra)
        head = _LOCAL.pack(0x04034B50, _VERSION, self._flags, method, self._time, self._date, 0, 0, 0, *sizes)
        return head + self.name + self._extra

    def count(self, pieces: Sequence[bytes | memoryview], stored: int) -> None:
        """Some content, which takes *stored* bytes."""
        for piece in pieces:
            self.crc = zlib.crc32(piece, self.crc)
            self.size += len(piece)
        self.stored += stored

    def end(self) -> bytes:
        """What comes after the content."""
        if self.folder:
            return b""
        form = _DESCRIPTOR64 if self._large else _DESCRIPTOR
        return form.pack(0x08074B50, self.crc, self.stored, self.size)

    @property
    def _large(self) -> bool:
        return max(self.stored, self.size) >= _MOST32

    def entry(self) -> bytes:
        """The member's entry in the directory."""
        version = _VERSION64 if self._large else _VERSION
        sizes, extra = (self.stored, self.size), self._extra
        if self._large or self._offset >= _MOST32:
            sizes = _MOST32, _MOST32
            extra += _EXTRA64.pack(1, 24, self.size, self.stored, self._offset)
        method = _DEFLATED if self.deflated else _STORED
        head = _ENTRY.pack(
            *(0x02014B50, _UNIX | _VERSION, version, self._flags, method, self._time, self._date, self.crc, *sizes),
            *(len(self.name), len(extra), 0, 0, 0, self._attributes, min(self._offset, _MOST32)),
        )
        return head + self.name + extra


class Directory:
    """The directory of an archive, which comes at its end."""

    def __init__(self) -> None:
        self._entries = bytearray()
        self._count = 0

    def add(self, member: Member) -> None:
        """Add a member that is complete."""
        self._entries += member.entry()
        self._count += 1

    def end(self, offset: int) -> list[bytes | memoryview]:
        """The directory, and the end of the archive; *offset* is where it begins."""
        count, size = self._count, len(self._entries)
        tail = b""
        if count >= _MOST16 or size >= _MOST32 or offset >= _MOST32:
            tail = _END64.pack(0x06064B50, 44, _VERSION64, _VERSION64, 0, 0, count, count, size, offset)
            tail += _LOCATOR64.pack(0x07064B50, 0, offset + size, 1)
            count, size, offset = _MOST16, _MOST32, _MOST32
        return [memoryview(self._entries), tail + _END.pack(0x06054B50, 0, 0, count, count, size, offset, 0)]


def deflate(pieces: Sequence[bytes | memoryview], *, last: bool) -> list[bytes]:
    """A part of a member's content, compressed by itself; without *last* another part can follow."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(piece) for piece in pieces]
    parts.append(packer.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH))
    return [part for part in parts if part]


def _utf8_flag(name: bytes) -> int:
    """The flag that says that a name is UTF-8, where it might be taken for something else."""
    if all(0x20 <= byte <= 0x7D and byte != 0x5C for byte in name):
        return 0
    try:
        name.decode()
    except UnicodeDecodeError:
        return 0
    return _UTF8


def _attributes(mode: int) -> int:
    """The external attributes for a Go mode: those of Unix, and what MS-DOS knows of them."""
    kind = next((bits for flag, bits in _UNIX_TYPES if mode & gomode.TYPE == flag), 0o100000)
    if mode & gomode.DEVICE:
        kind = 0o020000 if mode & gomode.CHAR_DEVICE else 0o060000
    unix = kind | gomode.to_permissions(mode)
    folder = _MSDOS_FOLDER if mode & gomode.DIR else 0
    return unix << 16 | folder | (0 if mode & 0o200 else _MSDOS_READ_ONLY)


def _times(node: Node) -> tuple[int, int, bytes]:
    """The modification time for MS-DOS, in the zone it was written in, and in UTC for Unix."""
    ns, offset = gotime.parse(node.mtime or gotime.ZERO)
    if ns == gotime.parse_ns(gotime.ZERO):
        return 0, 0, b""
    seconds = ns // gotime.NS
    days, second = divmod(seconds + offset, 86400)
    year, month, day = gotime.civil_from_days(days)
    time = second % 60 // 2 | second // 60 % 60 << 5 | second // 3600 << 11
    date = (day + (month << 5) + (year - 1980 << 9)) & _MOST16
    return time, date, _TIME_EXTRA.pack(0x5455, 5, 1, seconds & _MOST32)
