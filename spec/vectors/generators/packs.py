"""Vectors for packs and for single blobs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from vectors.generators.base import Chapter, bomb, frame, join, key_json

from restic_spec.crypto import MasterKey
from restic_spec.ids import id_of

Entry = tuple[int, int, int | None, bytes]
"""Kind, sealed length, plaintext length or None, id."""

NAMES = ("data", "tree", "data", "tree")


def encode(entries: Sequence[Entry]) -> bytes:
    """A header's plaintext, written out by hand: this is what the declaration is compared with."""
    pieces = []
    for kind, length, plain, blob_id in entries:
        middle = b"" if plain is None else struct.pack("<I", plain)
        pieces.append(struct.pack("<BI", kind, length) + middle + blob_id)
    return b"".join(pieces)


def packs() -> Chapter:
    """PACK: whole packs, from the length at the end to the list of blobs."""
    out = Chapter("packs")
    source = out.source
    key = source.key()
    contents = [b"first blob", b'{"nodes":[]}\n', b"", source.draw(100)]
    blobs = [source.seal(key, content) for content in contents]
    compressed = source.seal(key, frame(contents[3]))

    def header_of(entries: Sequence[Entry]) -> bytes:
        return source.seal(key, encode(entries))

    def finish(body: bytes, header: bytes, length: int | None = None) -> bytes:
        return body + header + struct.pack("<I", len(header) if length is None else length)

    def read(
        label: str,
        clauses: str | list[str],
        raw: bytes,
        entries: Sequence[Entry] | None = None,
        expect: str = "valid",
        version: int = 2,
        with_key: MasterKey = key,
        comment: str = "",
    ) -> None:
        output = None
        if entries is not None:
            output = {"entries": _listed(entries)}
        given = {"version": version, "key": key_json(with_key), "pack": raw.hex()}
        out.add(label, "read-pack", clauses, given, expect, output, comment)

    one: list[Entry] = [(0, len(blobs[0]), None, id_of(contents[0]))]
    two = [*one, (0, len(blobs[3]), None, id_of(contents[3]))]
    good = finish(blobs[0], header_of(one))
    read("one-data-blob", ["PACK-1", "PACK-2", "PACK-5", "PACK-6"], good, one)
    read("one-tree-blob", "PACK-5", finish(blobs[1], header_of(tree := [(1, len(blobs[1]), None, id_of(contents[1]))])), tree)
    read("two-blobs", "PACK-10", finish(blobs[0] + blobs[3], header_of(two)), two)
    read("empty-blob", "PACK-8", finish(blobs[2], header_of(empty := [(0, 32, None, id_of(b""))])), empty)
    small: list[Entry] = [(2, len(compressed), len(contents[3]), id_of(contents[3]))]
    mixed = [*one, *small]
    read("compressed-and-not", ["PACK-5", "PACK-6"], finish(blobs[0] + compressed, header_of(mixed)), mixed)
    trees: list[Entry] = [(3, len(compressed), len(contents[3]), id_of(contents[3]))]
    read("compressed-tree", "PACK-5", finish(compressed, header_of(trees)), trees)
    both = [*one, *tree]
    read("data-and-trees", "PACK-15", finish(blobs[0] + blobs[1], header_of(both)), both)
    read("data-and-trees-version-1", "PACK-15", finish(blobs[0] + blobs[1], header_of(both)), both, version=1)
    again = one * 2
    read("same-blob-twice", "PACK-16", finish(blobs[0] * 2, header_of(again)), again)

    read("compressed-in-version-1", "PACK-9", finish(compressed, header_of(small)), expect="header-invalid", version=1)
    for kind in (4, 5, 0x80, 0xFF):
        odd = header_of([(kind, len(blobs[0]), None, one[0][3])])
        read(f"kind-{kind}", "PACK-5", finish(blobs[0], odd), expect="header-invalid")
    read("entry-cut", "PACK-6", finish(blobs[0], source.seal(key, encode(two)[:-1])), expect="header-invalid")
    read("entry-one-byte", "PACK-6", finish(blobs[0], source.seal(key, encode(one) + b"\0")), expect="header-invalid")
    cut = source.seal(key, encode(small)[:37])
    read("compressed-entry-cut", "PACK-6", finish(compressed, cut), expect="header-invalid")
    short = header_of([(0, 31, None, id_of(b""))])
    read("length-31", "PACK-8", finish(bytes(31), short), expect="header-invalid")
    nothing = header_of([(2, len(compressed), 0, id_of(b""))])
    read("compressed-empty", "PACK-20", finish(compressed, nothing), expect="header-invalid")
    read("byte-too-many", "PACK-11", b"\0" + good, expect="header-invalid")
    read("byte-missing", "PACK-11", good[1:], expect="header-invalid")
    read("body-missing", "PACK-11", good[len(blobs[0]) :], expect="header-invalid")
    absurd = header_of([(0, 0xFFFFFFFF, None, one[0][3])])
    read("length-4-gib", "PACK-11", finish(blobs[0], absurd), expect="header-invalid")

    header = header_of(one)
    read("no-entries", "PACK-7", finish(blobs[0], header_of([])), expect="length-invalid")
    for size in (0, 3, 4, 36, 72):
        read(f"file-of-{size}", "PACK-2", good[:size], expect="length-invalid")
    for length in (0, 31, 32, 68):
        read(f"header-length-{length}", "PACK-3", finish(blobs[0], header, length), expect="length-invalid")
    read("header-length-file", "PACK-3", finish(blobs[0], header, len(good) - 3), expect="length-invalid")
    read("header-length-max", "PACK-4", finish(blobs[0], header, 0xFFFFFFFF), expect="length-invalid")
    read("header-length-over-bound", "PACK-4", finish(blobs[0], header, (16 << 20) + 1), expect="length-invalid")
    read("header-length-short", "PACK-2", finish(blobs[0], header, len(header) - 1), expect="length-invalid")
    read("header-length-long", "PACK-2", finish(blobs[0], header, len(header) + 1), expect="mac-invalid")
    big = struct.pack(">I", len(header))
    read("header-length-big-endian", "PACK-2", blobs[0] + header + big, expect="length-invalid")
    damaged = bytearray(good)
    damaged[-6] ^= 1
    read("header-flipped", "CRYPTO-4", bytes(damaged), expect="mac-invalid")
    read("header-plain", "PACK-1", finish(blobs[0], encode(one) + bytes(32)), expect="mac-invalid")
    read("other-key", "CRYPTO-4", good, expect="mac-invalid", with_key=source.key())
    return out


def _listed(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    offset = 0
    for kind, length, plain, blob_id in entries:
        listed.append(
            {"type": NAMES[kind], "id": blob_id.hex(), "offset": offset, "length": length, "uncompressed_length": plain}
        )
        offset += length
    return listed


def blobs() -> Chapter:
    """PACK: one blob, from its sealed bytes to its plaintext."""
    out = Chapter("blobs")
    source = out.source
    key = source.key()
    content = source.draw(200)

    def read(
        label: str,
        clauses: str | list[str],
        sealed: bytes,
        expect: str = "valid",
        *,
        plain: int | None = None,
        blob_id: bytes | None = None,
        length: int | None = None,
        result: bytes = content,
        kind: str = "data",
        with_key: MasterKey = key,
        comment: str = "",
    ) -> None:
        entry = {
            "type": kind,
            "id": (id_of(result) if blob_id is None else blob_id).hex(),
            "offset": 0,
            "length": len(sealed) if length is None else length,
            "uncompressed_length": plain,
        }
        given = {"key": key_json(with_key), "entry": entry, "sealed": sealed.hex()}
        out.add(label, "open-blob", clauses, given, expect, {"plaintext": result.hex()} if expect == "valid" else None, comment)

    stored = source.seal(key, content)
    packed = source.seal(key, frame(content))
    unsized = source.seal(key, frame(content, announce=False))
    read("stored", ["PACK-12", "PACK-13", "LAYOUT-6"], stored)
    read("stored-tree", "PACK-13", source.seal(key, b'{"nodes":[]}\n'), result=b'{"nodes":[]}\n', kind="tree")
    read("stored-empty", "PACK-8", source.seal(key, b""), result=b"")
    read("compressed", ["PACK-12", "LAYOUT-6"], packed, plain=200)
    read("compressed-size-unknown", ["PACK-12", "FILE-7"], unsized, plain=200)
    larger = "The frame is longer than what is in it."
    read("compressed-larger", "PACK-19", packed, plain=200, comment=larger)

    read("other-blob", "PACK-13", stored, "id-mismatch", blob_id=source.draw(32))
    read("other-blob-compressed", "PACK-13", packed, "id-mismatch", plain=200, blob_id=source.draw(32))
    read("id-of-frame", "LAYOUT-6", packed, "id-mismatch", plain=200, blob_id=id_of(frame(content)))
    read("id-of-sealed", "LAYOUT-6", stored, "id-mismatch", blob_id=id_of(stored))
    read("compressed-read-as-stored", "PACK-12", packed, "id-mismatch")
    read("stored-read-as-compressed", "PACK-12", stored, "compression-invalid", plain=200)
    damaged = bytearray(stored)
    damaged[100] ^= 0x10
    read("flipped", "PACK-13", bytes(damaged), "mac-invalid")
    both = "The MAC is checked before the id."
    read("flipped-and-other", "PACK-13", bytes(damaged), "mac-invalid", blob_id=source.draw(32), comment=both)
    read("other-key", "CRYPTO-4", stored, "mac-invalid", with_key=source.key())
    read("cut", "PACK-1", stored[:-1], "length-invalid", length=len(stored))
    read("states-less", "PACK-12", packed, "length-invalid", plain=199)
    read("states-less-size-unknown", "PACK-12", unsized, "length-invalid", plain=199)
    read("states-more", "PACK-12", packed, "length-invalid", plain=201)
    read("states-more-size-unknown", "PACK-12", unsized, "length-invalid", plain=201)
    read("frame-cut", "PACK-12", source.seal(key, frame(content)[:-1]), "compression-invalid", plain=200)
    read("frame-and-more", "PACK-12", source.seal(key, frame(content) + b"x"), "compression-invalid", plain=200)
    read("states-4-gib", "PACK-14", packed, "length-invalid", plain=0xFFFFFFFF)
    read(
        "bomb",
        "PACK-14",
        source.seal(key, join(bomb(1024))),
        "length-invalid",
        plain=200,
        comment="Expands to 128 MiB of zeros, states 200 bytes.",
    )
    return out
