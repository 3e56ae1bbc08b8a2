"""Vectors for parity: the field, the code, descriptions and whole parity files."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from vectors.generators.base import Chapter

from restic_spec.ids import id_of
from restic_spec.layout import FileKind

_KINDS = {
    "config": FileKind.CONFIG,
    "key": FileKind.KEY,
    "snapshot": FileKind.SNAPSHOT,
    "index": FileKind.INDEX,
    "pack": FileKind.PACK,
}
_CODES = {name: code for code, name in enumerate(_KINDS)}


def _multiply(left: int, right: int) -> int:
    """A product in the field by long multiplication: what the tables are compared with."""
    result = 0
    for bit in range(8):
        if right >> bit & 1:
            result ^= left << bit
    for bit in range(14, 7, -1):
        if result >> bit & 1:
            result ^= 0x11D << (bit - 8)
    return result


def _inverse(element: int) -> int:
    return next(other for other in range(256) if _multiply(element, other) == 1)


def _describe(block_size: int, stripes: int, rows: int, members: list[tuple[str, bytes]]) -> bytes:
    """A description, written out by hand."""
    pieces = [struct.pack("<HHIII", 1, rows, block_size, stripes, len(members))]
    pieces += [struct.pack("<B32sQ", _CODES[kind], id_of(content), len(content)) for kind, content in members]
    for _, content in members:
        for at in range(0, len(content), block_size):
            pieces.append(struct.pack("<I", zlib.crc32(content[at : at + block_size].ljust(block_size, b"\0"))))
    return b"".join(pieces)


def parity() -> Chapter:
    """PARITY: products, lost columns, descriptions, parity files whole and damaged."""
    out = Chapter("parity")
    source = out.source
    for left, right in ((0, 7), (1, 255), (2, 128), (3, 7), (255, 255), (142, 2)):
        given = {"left": left, "right": right}
        out.add(f"multiply-{left}-{right}", "multiply", "PARITY-4", given, output={"product": _multiply(left, right)})

    def recover(
        label: str, columns: list[bytes], lost: list[int], rows: list[int], *, total: int = 0, expect: str = "valid"
    ) -> None:
        count = total or len(columns)
        values = []
        for row in rows:
            value = bytearray(len(columns[0]))
            for number, column in enumerate(columns):
                factor = _inverse((count + row) ^ number)
                value = bytearray(old ^ _multiply(factor, byte) for old, byte in zip(value, column, strict=True))
            values.append({"row": row, "data": value.hex()})
        known = [None if number in lost else column.hex() for number, column in enumerate(columns)]
        output = {"lost": [columns[number].hex() for number in lost]} if expect == "valid" else None
        out.add(
            label,
            "recover-columns",
            ["PARITY-5", "PARITY-6"],
            {"columns": count, "known": known, "parity": values},
            expect,
            output,
        )

    four = [source.draw(8) for _ in range(4)]
    recover("one-lost", four, [2], [0])
    recover("one-lost-by-a-later-row", four, [0], [3])
    recover("two-lost", four, [1, 3], [0, 2])
    recover("all-lost", four, [0, 1, 2, 3], [0, 1, 2, 3])
    recover("few-columns-of-many", four, [1], [1], total=200)
    recover("most-rows", four[:1], [0], [254])
    recover("too-few-rows", four, [1, 3], [0], expect="length-invalid")

    contents = [("config", source.draw(155)), ("key", source.draw(64)), ("snapshot", b""), ("pack", source.draw(300))]
    small = _describe(64, 3, 2, contents)

    def decode(label: str, clause: str, data: bytes, expect: str) -> None:
        out.add(label, "decode-description", clause, {"description": data.hex()}, expect)

    listed: list[dict[str, Any]] = [
        {"kind": kind, "id": id_of(content).hex(), "size": len(content)} for kind, content in contents
    ]
    output = {"block_size": 64, "stripes": 3, "columns": 3, "rows": 2, "members": listed, "blocks": 9}
    out.add(
        "description", "decode-description", ["PARITY-1", "PARITY-2", "PARITY-3"], {"description": small.hex()}, output=output
    )
    decode("description-cut", "PARITY-3", small[:-1], "length-invalid")
    decode("description-with-more", "PARITY-3", small + bytes(4), "length-invalid")
    decode("description-of-nothing", "PARITY-3", b"", "length-invalid")
    decode("description-of-a-later-version", "PARITY-3", b"\2" + small[1:], "header-invalid")
    decode("description-of-a-lock", "PARITY-1", small[:16] + b"\5" + small[17:], "header-invalid")
    decode("block-of-63-bytes", "PARITY-2", small[:4] + struct.pack("<I", 63) + small[8:], "length-invalid")
    decode("block-over-bound", "PARITY-2", small[:4] + struct.pack("<I", (1 << 20) + 1) + small[8:], "length-invalid")
    decode("no-stripes", "PARITY-2", small[:8] + bytes(4) + small[12:], "length-invalid")
    decode("more-files-than-bytes", "PARITY-3", small[:12] + b"\xff" * 4 + small[16:], "length-invalid")
    decode("no-rows", "PARITY-5", small[:2] + bytes(2) + small[4:], "length-invalid")
    decode("too-many-rows", "PARITY-5", small[:2] + struct.pack("<H", 254) + small[4:], "length-invalid")
    huge = struct.pack("<HHIII", 1, 1, 64, 1, 1) + struct.pack("<B32sQ", 4, bytes(32), (1 << 64) - 1)
    decode("file-of-16-eib", "PARITY-3", huge, "length-invalid")

    def made(block_size: int, stripes: int, rows: int, members: list[tuple[str, bytes]]) -> tuple[bytes, list[bytes], bytes]:
        """The description, the parity blocks and the file, by hand."""
        description = _describe(block_size, stripes, rows, members)
        data = b"".join(content.ljust(-(-len(content) // block_size) * block_size, b"\0") for _, content in members)
        blocks = [data[at : at + block_size] for at in range(0, len(data), block_size)]
        columns = -(-len(blocks) // stripes)
        parity = []
        for row in range(rows):
            for stripe in range(stripes):
                value = bytearray(block_size)
                for number, block in enumerate(blocks):
                    if number % stripes == stripe:
                        factor = _inverse((columns + row) ^ (number // stripes))
                        value = bytearray(old ^ _multiply(factor, byte) for old, byte in zip(value, block, strict=True))
                parity.append(bytes(value))
        pieces = [description[at : at + 4096] for at in range(0, len(description), 4096)]

        def packet(number: int, payload: bytes) -> bytes:
            head = b"\x89parity\n" + id_of(description)[:16]
            head += struct.pack("<IIII", number, len(pieces), len(pieces) + len(parity), len(payload))
            return head + struct.pack("<I", zlib.crc32(head + payload)) + payload

        told = b"".join(packet(number, piece) for number, piece in enumerate(pieces))
        packets = [packet(len(pieces) + number, block) for number, block in enumerate(parity)]
        half = len(parity) // 2
        return description, parity, told + b"".join(packets[:half]) + told + b"".join(packets[half:]) + told

    def write(label: str, block_size: int, stripes: int, rows: int, members: list[tuple[str, bytes]]) -> None:
        description, blocks, file = made(block_size, stripes, rows, members)
        listed = [{"kind": kind, "content": content.hex()} for kind, content in members]
        given = {"block_size": block_size, "stripes": stripes, "rows": rows, "members": listed}
        output = {"description": description.hex(), "blocks": [block.hex() for block in blocks], "file": id_of(file).hex()}
        clauses = ["PARITY-2", "PARITY-3", "PARITY-5", "PARITY-6", "PARITY-7", "PARITY-8"]
        out.add(label, "parity-file", clauses, given, output=output)

    write("file", 64, 3, 2, contents)
    write("file-of-one-block", 64, 1, 1, [("key", source.draw(10))])
    write("file-of-more-stripes-than-blocks", 64, 5, 1, [("index", source.draw(100))])

    description, _, whole = made(64, 3, 2, contents)
    group = {"group": id_of(description)[:16].hex(), "members": listed}

    def read(label: str, data: bytes, blocks: list[int] | None) -> None:
        output = {"groups": [] if blocks is None else [{**group, "blocks": blocks}]}
        out.add(label, "read-parity-file", ["PARITY-7", "PARITY-9"], {"file": data.hex()}, output=output)

    told = len(description) + 44
    every = list(range(6))
    read("read-whole", whole, every)
    read("read-without-its-begin", whole[told:], every)
    read("read-cut-in-the-middle", whole[: told + 3 * 108 + 50], [0, 1, 2])
    read("read-with-bytes-between", whole[:told] + b"\x89parity\n" + whole[told:], every)
    flipped = bytearray(whole)
    for at in (told - 1, told + 107, 2 * told + 3 * 108 - 1):  # two copies of the description, and a block
        flipped[at] ^= 1
    read("read-with-flipped-bits", bytes(flipped), every[1:])
    flipped[-1] ^= 1
    read("read-without-a-description", bytes(flipped), None)
    read("read-nothing", b"", None)
    return out
