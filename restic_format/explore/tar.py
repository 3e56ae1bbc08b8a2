"""Nodes as members of a tar archive, byte for byte as restic writes them: ustar, with pax records where ustar has no room."""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Callable
from functools import lru_cache

from restic_format.errors import ResticFormatError
from restic_spec import gojson, gomode, gotime
from restic_spec.tree import DIR, SYMLINK, Node

BLOCK = 512
"""Members begin at multiples of so many bytes."""
END = bytes(2 * BLOCK)
"""The end of an archive."""
MOST_RECORDS = 1 << 20
"""Bytes of pax records that readers accept for one member."""

_NAME, _PREFIX, _OWNER = 100, 155, 32
"""Bytes of the fields for names, for what comes before the last part of a path, and for owners."""
_SMALL, _LARGE = 8, 12
"""Bytes of the fields for numbers."""
_HEADER = struct.Struct("100s24s12s12s8sc100s8s32s32s16s155s12x")
_MAGIC = b"ustar\x0000"
_BEGIN, _PAX = b"0", b"x"
_TYPES = {SYMLINK: b"2", DIR: b"5"}
_ACLS = {"system.posix_acl_access": b"SCHILY.acl.access", "system.posix_acl_default": b"SCHILY.acl.default"}
_ACL_TAGS = {1: b"user:", 2: b"user:%d", 4: b"group:", 8: b"group:%d", 16: b"mask:", 32: b"other:"}
_ACL_ENTRY = struct.Struct("<HHI")
_ZERO_NS = gotime.parse_ns(gotime.ZERO)
_ZERO_DATE = gotime.ZERO[:10]

LeftOut = Callable[[str, str], object]
"""Told what an archive cannot hold: the path of a member, and the name of an extended attribute."""


class NotInArchive(ResticFormatError):
    """An archive of this form has no way to say this."""


def padding(size: int) -> bytes:
    """What follows a content of *size* bytes."""
    return bytes(-size % BLOCK)


class Headers:
    """Makes the headers of members; for one thread."""

    def __init__(self) -> None:
        self._tails: dict[tuple[object, ...], tuple[bytes, bytes, int]] = {}
        """For mode, owner and type what is in the header besides name, size and time, and what it adds to the sum."""

    def header(self, path: str, node: Node, left_out: LeftOut) -> bytes:
        """All that comes before a member's content: its header, after one for pax records where these are needed.

        *path* is that of the node, without a slash at the begin.

        Raises:
            NotInArchive: there are too many attributes, or a name with a zero byte.
        """
        name = gojson.to_bytes(path)
        if node.type == DIR:
            name += b"/"
        seconds = _seconds(node)
        size = node.size
        if (
            node.type != SYMLINK
            and len(name) <= _NAME
            and not node.extended_attributes
            and 0 <= seconds < 1 << 33
            and size < 1 << 33
            and name.isascii()
        ):
            key = node.mode, node.uid, node.gid, node.user, node.group, node.type
            tail = self._tails.get(key)
            if tail is None:
                tail = self._tail(node)
                if tail is not None:
                    if len(self._tails) > 1000:
                        self._tails.clear()
                    self._tails[key] = tail
            if tail is not None:
                return _fast(name, size, seconds, tail)
        return self._general(name, node, seconds, lambda attribute: left_out(path, attribute))

    def _tail(self, node: Node) -> tuple[bytes, bytes, int] | None:
        """The parts for `_fast`, None where ustar has no room for one of them."""
        user, group = gojson.to_bytes(node.user), gojson.to_bytes(node.group)
        uid, gid = node.uid or 0, node.gid or 0
        if not (_fits(user, _OWNER) and _fits(group, _OWNER) and uid < 1 << 21 and gid < 1 << 21):
            return None
        header = _header(
            b"", gomode.to_permissions(node.mode), uid, gid, 0, 0, _TYPES.get(node.type, _BEGIN), b"", user, group, b""
        )
        middle, end = header[_NAME : _NAME + 24], header[156:]
        # The sum counts its own eight bytes as spaces; size and time are added later.
        return middle, end, sum(middle) + sum(end) + 8 * 32

    def _general(self, name: bytes, node: Node, seconds: int, left_out: Callable[[str], object]) -> bytes:
        target = gojson.to_bytes(node.target) if node.type == SYMLINK else b""
        user, group = gojson.to_bytes(node.user), gojson.to_bytes(node.group)
        uid, gid = node.uid or 0, node.gid or 0
        prefix, last = b"", name
        records: dict[bytes, bytes] = {}
        if not _fits(name, _NAME):
            split = _split(name)
            if split is None:
                records[b"path"] = name
            else:
                prefix, last = split
        for key, value, room in ((b"linkpath", target, _NAME), (b"uname", user, _OWNER), (b"gname", group, _OWNER)):
            if not _fits(value, room):
                if b"\0" in value:
                    raise NotInArchive(f"{name.decode(errors='replace')!r} has a zero byte in its {key.decode()}")
                records[key] = value
        numbers = ((b"uid", uid, 21), (b"gid", gid, 21), (b"size", node.size, 33), (b"mtime", seconds, 33))
        for key, number, bits in numbers:
            if not 0 <= number < 1 << bits:
                records[key] = b"%d" % number
        attributes = _attributes(node, left_out)
        mode, kind = gomode.to_permissions(node.mode), _TYPES.get(node.type, _BEGIN)
        if not records and not attributes:
            return _header(last, mode, uid, gid, node.size, seconds, kind, target, user, group, prefix)
        if prefix:
            last, records[b"path"] = name, name
        records = {**attributes, **records}
        return self._pax(name, records) + _header(
            _ascii(last),
            mode,
            uid,
            gid,
            node.size,
            seconds,
            kind,
            _ascii(target),
            _ascii(user),
            _ascii(group),
            b"",
        )

    def _pax(self, name: bytes, records: dict[bytes, bytes]) -> bytes:
        """The header and content of the pax records that go before a member."""
        text = b"".join(_record(key, records[key]) for key in sorted(records))
        if len(text) > MOST_RECORDS:
            raise NotInArchive(f"{name.decode(errors='replace')!r} has more than 1 MiB of attributes")
        folder, _, last = name.rpartition(b"/")
        member = posixpath.normpath(b"/".join(part for part in (folder, b"PaxHeaders.0", last) if part))
        member = _ascii(member)[:_NAME].rstrip(b"/")
        return _header(member, 0, 0, 0, len(text), 0, _PAX, b"", b"", b"", b"", devices=False) + text + padding(len(text))


def _fast(name: bytes, size: int, seconds: int, tail: tuple[bytes, bytes, int]) -> bytes:
    middle, end, base = tail
    numbers = b"%011o\0%011o\0" % (size, seconds)
    total = base + sum(name) + sum(numbers)
    return b"%b%b%b%06o\0 %b" % (name.ljust(_NAME, b"\0"), middle, numbers, total, end)


def _header(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    kind: bytes,
    target: bytes,
    user: bytes,
    group: bytes,
    prefix: bytes,
    *,
    devices: bool = True,
) -> bytes:
    """A header of 512 bytes."""
    numbers = b"".join(_octal(number, _SMALL) for number in (mode, uid, gid))
    sizes = _octal(size, _LARGE), _octal(seconds, _LARGE)
    device = 2 * _octal(0, _SMALL) if devices else b""
    owner = _field(user, _OWNER), _field(group, _OWNER)
    fields = (_field(name, _NAME), numbers, *sizes, b" " * 8, kind, _field(target, _NAME), _MAGIC, *owner, device, prefix)
    header = _HEADER.pack(*fields)
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])


def _field(text: bytes, size: int) -> bytes:
    """A text in its field: one that was cut is not to end with a slash, which would make a folder of it."""
    if len(text) > size and text[size - 1 : size] == b"/":
        end = len(text[: size - 1].rstrip(b"/"))
        return text[:end] + b"\0" + text[end + 1 : size]
    return text[:size]


def _octal(number: int, size: int) -> bytes:
    """A number in a field of *size* bytes; 0 where it does not fit."""
    text = b"%o" % number if number >= 0 else b""
    return b"0" * (size - 1) + b"\0" if not text or len(text) >= size else text.rjust(size - 1, b"0") + b"\0"


def _fits(text: bytes, size: int) -> bool:
    """Whether ustar has room for a text."""
    return len(text) <= size and text.isascii() and b"\0" not in text


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """A long path in the two fields of ustar, None where it does not go there."""
    if len(name) <= _NAME or not name.isascii():
        return None
    end = len(name)
    if end > _PREFIX + 1:
        end = _PREFIX + 1
    elif name.endswith(b"/"):
        end -= 1
    slash = name.rfind(b"/", 0, end)
    rest = len(name) - slash - 1
    if slash <= 0 or not 0 < rest <= _NAME or slash > _PREFIX:
        return None
    return name[:slash], name[slash + 1 :]


def _ascii(text: bytes) -> bytes:
    """What is left of a text in a field, where a pax record has all of it."""
    return text if text.isascii() else bytes(byte for byte in text if byte < 0x80)


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record, which begins with its own length."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%b" % (length, rest)


def _seconds(node: Node) -> int:
    """The modification time, rounded to seconds, as restic does."""
    text = node.mtime or gotime.ZERO
    date = text[:10]
    if date == _ZERO_DATE:
        ns = gotime.parse_ns(text)
        return 0 if ns == _ZERO_NS else (ns + gotime.NS // 2) // gotime.NS
    # That a node's time is one is checked when its tree is read. Most of a tree's are of a few days.
    seconds = _midnight(date, "Z" if text[-1] == "Z" else text[-6:])
    seconds += 3600 * int(text[11:13]) + 60 * int(text[14:16]) + int(text[17:19])
    return seconds + (text[19] in ".," and text[20] >= "5")


@lru_cache(maxsize=1024)
def _midnight(date: str, zone: str) -> int:
    """Seconds since the epoch of the begin of a day."""
    return gotime.parse_ns(f"{date}T00:00:00{zone}") // gotime.NS


def _attributes(node: Node, left_out: Callable[[str], object]) -> dict[bytes, bytes]:
    """Extended attributes as pax records; ACLs as the text that tar programs write."""
    records: dict[bytes, bytes] = {}
    for attribute in node.extended_attributes or ():
        acl = _ACLS.get(attribute.name)
        if acl is not None:
            text = acl_text(attribute.value or b"")
            if text is not None:
                records[acl] = text
            continue
        name = gojson.to_bytes(attribute.name)
        if b"=" in name or b"\0" in name:
            left_out(attribute.name)
            continue
        records[b"SCHILY.xattr." + name] = attribute.value or b""
    return records


def acl_text(raw: bytes) -> bytes | None:
    """A POSIX ACL of Linux as text with numeric ids, one entry on a line; None where it is not one."""
    if len(raw) < 4 or (len(raw) - 4) % _ACL_ENTRY.size or raw[:4] != b"\2\0\0\0":
        return None
    lines = []
    for tag, permissions, number in _ACL_ENTRY.iter_unpack(raw[4:]):
        form = _ACL_TAGS.get(tag)
        if form is None:
            return None
        who = form % number if b"%" in form else form
        letters = bytes(letter if permissions & bit else b"-"[0] for letter, bit in zip(b"rwx", (4, 2, 1), strict=True))
        lines.append(b"%b:%b\n" % (who, letters))
    return b"".join(lines)
