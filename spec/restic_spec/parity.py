"""Parity files: what brings back lost bytes of a repository's files, without its password.

A parity file protects a group of files. It says which ones, and is made of packets that are each told apart by themselves.
`restic_spec.galois` has the arithmetic.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from restic_spec import galois
from restic_spec.constants import ID_SIZE
from restic_spec.errors import HeaderInvalid, LengthInvalid
from restic_spec.ids import id_of
from restic_spec.layout import FileKind, path_of

MAGIC: Final = b"\x89parity\n"
"""How every packet begins (PARITY-7)."""

_VERSION: Final = 1
_PACKET: Final = struct.Struct("<8s16sIIII")
_CHECK: Final = struct.Struct("<I")
_HEAD: Final = struct.Struct("<HHIII")
_MEMBER: Final = struct.Struct("<B32sQ")

PACKET_OVERHEAD: Final = _PACKET.size + _CHECK.size
"""Bytes of a packet besides its payload (PARITY-7)."""

MAX_PAYLOAD: Final = 1 << 20
"""Most bytes in a packet, and in a block (PARITY-2, PARITY-7)."""

_MOST_OVERLAP: Final = 30
"""How many times the length of a parity file is checked of damaged packets (PARITY-9)."""

MIN_BLOCK: Final = 64
MAX_BLOCKS: Final = 1 << 24
"""Most blocks in a group, and most stripes (PARITY-2)."""

DESCRIPTION_PIECE: Final = 4096
"""Bytes of a description in one packet, but for the last one (PARITY-8)."""

MAX_MEMBERS: Final = 1 << 20
"""Most files in a group (PARITY-3)."""

MAX_DESCRIPTION: Final = 1 << 27
"""Most bytes of a description (PARITY-8)."""

_CODES: Final = {FileKind.CONFIG: 0, FileKind.KEY: 1, FileKind.SNAPSHOT: 2, FileKind.INDEX: 3, FileKind.PACK: 4}
_KINDS: Final = {code: kind for kind, code in _CODES.items()}

PROTECTED: Final = tuple(_CODES)
"""The kinds of files that parity is made of (PARITY-1)."""


class Member(NamedTuple):
    """A file in a group (PARITY-3)."""

    kind: FileKind
    id: bytes
    """SHA-256 of its bytes, which is its name; the config has no name."""
    size: int
    """Bytes."""

    @property
    def name(self) -> str:
        """Its name in a storage: hexadecimal, "" for the config."""
        return "" if self.kind is FileKind.CONFIG else self.id.hex()

    @property
    def path(self) -> str:
        """Where it is in a repository."""
        return path_of(self.kind, self.name)


class Description(NamedTuple):
    """What a parity file says of the files it protects (PARITY-3)."""

    block_size: int
    """Bytes of a block."""
    stripes: int
    rows: int
    """Blocks of parity in each stripe."""
    members: tuple[Member, ...]
    checks: bytes
    """CRC-32 of every block, four bytes each."""

    @property
    def blocks(self) -> int:
        """How many blocks the files have."""
        return len(self.checks) // _CHECK.size

    @property
    def columns(self) -> int:
        """How many blocks of files each stripe has; those behind the last block are zero (PARITY-2)."""
        return -(-self.blocks // self.stripes)

    @property
    def parity_blocks(self) -> int:
        """How many blocks of parity there are."""
        return self.stripes * self.rows

    def check_of(self, block: int) -> int:
        """The CRC-32 of a block of the files, by its number."""
        found: int = _CHECK.unpack_from(self.checks, block * _CHECK.size)[0]
        return found

    def place_of(self, block: int) -> tuple[int, int]:
        """The stripe and the column of a block, by its number (PARITY-2)."""
        return block % self.stripes, block // self.stripes

    def first_blocks(self) -> Iterator[tuple[Member, int, int]]:
        """Every file with the number of its first block and how many it has."""
        first = 0
        for member in self.members:
            count = blocks_of(member.size, self.block_size)
            yield member, first, count
            first += count


def blocks_of(size: int, block_size: int) -> int:
    """How many blocks a file of *size* bytes has; the last one is filled up with zeros (PARITY-2)."""
    return -(-size // block_size)


def check(data: bytes | bytearray | memoryview) -> bytes:
    """The CRC-32 of a block, as a description has it (PARITY-3)."""
    return _CHECK.pack(zlib.crc32(data))


def encode_description(description: Description) -> bytes:
    """A description as bytes (PARITY-3)."""
    head = _HEAD.pack(_VERSION, description.rows, description.block_size, description.stripes, len(description.members))
    members = [_MEMBER.pack(_CODES[member.kind], member.id, member.size) for member in description.members]
    return b"".join([head, *members, description.checks])


def decode_description(data: bytes) -> Description:
    """The description in *data* (PARITY-3).

    Raises:
        LengthInvalid: it has not the length it must have, or something is larger than it may be.
        HeaderInvalid: another version, or a kind of file that nobody protects.
    """
    if len(data) < _HEAD.size:
        raise LengthInvalid(f"a description has {len(data)} bytes, too few for its head", clause="PARITY-3")
    version, rows, block_size, stripes, count = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise HeaderInvalid(f"parity of version {version} is not known", clause="PARITY-3")
    if not MIN_BLOCK <= block_size <= MAX_PAYLOAD or not 0 < stripes <= MAX_BLOCKS or not 0 < count <= MAX_MEMBERS:
        raise LengthInvalid(f"{count} files in blocks of {block_size} bytes in {stripes} stripes", clause="PARITY-2")
    end = _HEAD.size + count * _MEMBER.size
    if end > len(data):
        raise LengthInvalid(f"a description of {count} files has only {len(data)} bytes", clause="PARITY-3")
    members, blocks = [], 0
    for code, file_id, size in _MEMBER.iter_unpack(memoryview(data)[_HEAD.size : end]):
        if code not in _KINDS:
            raise HeaderInvalid(f"files of kind {code} are not known", clause="PARITY-3")
        members.append(Member(_KINDS[code], file_id, size))
        blocks += blocks_of(size, block_size)
    if not 0 < blocks <= MAX_BLOCKS or len(data) - end != blocks * _CHECK.size:
        raise LengthInvalid(f"{blocks} blocks with {len(data) - end} bytes of checks", clause="PARITY-3")
    description = Description(block_size, stripes, rows, tuple(members), data[end:])
    galois.check_code(description.columns, rows)
    return description


class Packet(NamedTuple):
    """A piece of a description, or a block of parity (PARITY-7)."""

    group: bytes
    """The first 16 bytes of the description's SHA-256."""
    number: int
    """Which piece; which block of parity, counted on behind the pieces."""
    pieces: int
    """How many pieces the description has."""
    total: int
    """How many pieces and blocks there are together."""
    payload: bytes


GROUP_SIZE: Final = ID_SIZE // 2


def group_of(description: bytes) -> bytes:
    """What all packets of a group bear (PARITY-7); *description* is encoded."""
    return id_of(description)[:GROUP_SIZE]


def encode_packet(packet: Packet) -> bytes:
    """A packet as bytes (PARITY-7)."""
    head = _PACKET.pack(MAGIC, packet.group, packet.number, packet.pieces, packet.total, len(packet.payload))
    return head + _CHECK.pack(zlib.crc32(packet.payload, zlib.crc32(head))) + packet.payload


def decode_packet(data: bytes | memoryview, offset: int = 0) -> Packet | None:
    """The packet that begins at *offset*; None where there is none, or a damaged one (PARITY-7)."""
    start = offset + PACKET_OVERHEAD
    if start > len(data):
        return None
    magic, group, number, pieces, total, length = _PACKET.unpack_from(data, offset)
    if magic != MAGIC or length > MAX_PAYLOAD or start + length > len(data) or not number < total or not pieces <= total:
        return None
    payload = bytes(data[start : start + length])
    expected = _CHECK.unpack_from(data, offset + _PACKET.size)[0]
    if zlib.crc32(payload, zlib.crc32(data[offset : offset + _PACKET.size])) != expected:
        return None
    return Packet(group, number, pieces, total, payload)


def _claimed(data: bytes, offset: int) -> int:
    """Bytes that were checked of a damaged packet."""
    start = offset + PACKET_OVERHEAD
    length: int = _PACKET.unpack_from(data, offset)[-1] if start <= len(data) else 0
    return length if length <= min(MAX_PAYLOAD, len(data) - start) else 0


def packets(data: bytes) -> Iterator[tuple[int, Packet]]:
    """Every packet that is whole in *data*, with its offset; what is between them is skipped (PARITY-9).

    It ends where damaged packets say that they overlap more than any damage makes them.
    """
    left = _MOST_OVERLAP * len(data)
    offset = data.find(MAGIC)
    while offset >= 0:
        packet = decode_packet(data, offset)
        if packet is not None:
            yield offset, packet
            offset += PACKET_OVERHEAD + len(packet.payload)
        else:
            left -= _claimed(data, offset)
            if left < 0:
                return
            offset += 1
        offset = data.find(MAGIC, offset)


def pieces_of(description: bytes) -> list[bytes]:
    """An encoded description in the pieces that packets hold (PARITY-8)."""
    return [description[at : at + DESCRIPTION_PIECE] for at in range(0, len(description), DESCRIPTION_PIECE)]


def parity_file(description: Description, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The packets of a parity file in their order: the description three times, *blocks* of parity between (PARITY-8)."""
    encoded = encode_description(description)
    pieces, group = pieces_of(encoded), group_of(encoded)
    total = len(pieces) + description.parity_blocks
    told = [encode_packet(Packet(group, number, len(pieces), total, piece)) for number, piece in enumerate(pieces)]
    yield from told
    for number, block in enumerate(blocks):
        if number == description.parity_blocks // 2:
            yield from told
        yield encode_packet(Packet(group, len(pieces) + number, len(pieces), total, block))
    yield from told


def assemble(found: dict[int, bytes], group: bytes, pieces: int) -> Description | None:
    """The description made of the payloads in *found*, by their numbers; None where one is missing or wrong (PARITY-9)."""
    if pieces * DESCRIPTION_PIECE > MAX_DESCRIPTION or any(number not in found for number in range(pieces)):
        return None
    encoded = b"".join(found[number] for number in range(pieces))
    if group_of(encoded) != group:
        return None
    try:
        return decode_description(encoded)
    except (HeaderInvalid, LengthInvalid):
        return None


def describe(block_size: int, stripes: int, rows: int, contents: Sequence[tuple[FileKind, bytes]]) -> tuple[Description, bytes]:
    """The description of a group of files with these *contents*, and its blocks (PARITY-2, PARITY-3)."""
    data = b"".join(content.ljust(blocks_of(len(content), block_size) * block_size, b"\0") for _, content in contents)
    members = tuple(Member(kind, id_of(content), len(content)) for kind, content in contents)
    checks = b"".join(check(data[at : at + block_size]) for at in range(0, len(data), block_size))
    return Description(block_size, stripes, rows, members, checks), data


class Group(NamedTuple):
    """What can be read of a group in a parity file (PARITY-9)."""

    id: bytes
    description: Description
    blocks: dict[int, tuple[int, int]]
    """The intact blocks of parity by number: offset and length in the file."""


def read_parity_file(data: bytes) -> list[Group]:
    """Every group in a parity file whose description can be read, however damaged the file is (PARITY-9)."""
    pieces: dict[tuple[bytes, int], dict[int, bytes]] = {}
    blocks: dict[tuple[bytes, int], dict[int, tuple[int, int]]] = {}
    for offset, packet in packets(data):
        key = packet.group, packet.pieces
        if packet.number < packet.pieces:
            pieces.setdefault(key, {})[packet.number] = packet.payload
        else:
            place = offset + PACKET_OVERHEAD, len(packet.payload)
            blocks.setdefault(key, {})[packet.number - packet.pieces] = place
    groups = []
    for (group, count), found in pieces.items():
        description = assemble(found, group, count)
        if description is not None:
            usable = {
                number: place
                for number, place in blocks.get((group, count), {}).items()
                if number < description.parity_blocks and place[1] == description.block_size
            }
            groups.append(Group(group, description, usable))
    return groups


def parity_of(description: Description, data: bytes) -> list[bytes]:
    """The blocks of parity of a group (PARITY-5, PARITY-6).

    *data* is its files one behind the other, each filled up with zeros to whole blocks; for tests and small groups.
    """
    width = description.block_size * description.stripes
    sums = galois.Sums(description.rows, width)
    for column in range(description.columns):
        part = data[column * width : (column + 1) * width].ljust(width, b"\0")
        sums.add([galois.coefficient(description.columns, row, column) for row in range(description.rows)], part)
    size = description.block_size
    return [row[at : at + size] for row in sums.values() for at in range(0, width, size)]
