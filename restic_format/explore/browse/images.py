"""Facts of an image from the first bytes of its file: format, width, height. Nothing is decoded, so that none can do harm."""

from __future__ import annotations

import struct
from typing import NamedTuple

HEAD = 256 << 10
"""Bytes of a file that are enough for nearly every image."""
_MOST_SEGMENTS = 1000
"""Segments of a JPEG file that are looked at."""


class ImageFacts(NamedTuple):
    """What the header of an image says; it may lie."""

    format: str
    width: int
    height: int
    """Both in pixels."""
    colours: str
    """Bits and channels, as far as the header says."""


def image_facts(head: bytes) -> ImageFacts | None:
    """The facts of the image that begins with *head*, None where it is none of those known (PNG, JPEG, GIF, WebP, BMP)."""
    try:
        for magic, read in _READERS:
            if head.startswith(magic):
                return read(head)
    except (struct.error, IndexError):
        return None
    return None


def _png(head: bytes) -> ImageFacts | None:
    if head[12:16] != b"IHDR":
        return None
    width, height, depth, kind = struct.unpack_from(">IIBB", head, 16)
    kinds = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
    return ImageFacts("PNG", width, height, f"{depth} bits, {kinds.get(kind, 'unknown colours')}")


def _gif(head: bytes) -> ImageFacts:
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    return ImageFacts("GIF", width, height, f"{2 << (flags & 7)} colours" if flags & 0x80 else "no global colours")


def _bmp(head: bytes) -> ImageFacts | None:
    (size,) = struct.unpack_from("<I", head, 14)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
    elif 40 <= size <= 256:
        width, height, _, bits = struct.unpack_from("<iiHH", head, 18)
    else:
        return None
    return ImageFacts("BMP", abs(width), abs(height), f"{bits} bits a pixel")


def _webp(head: bytes) -> ImageFacts | None:
    if head[8:12] != b"WEBP":
        return None
    chunk = head[12:16]
    if chunk == b"VP8X":
        flags, sizes = struct.unpack_from("<B3x6s", head, 20)
        width = int.from_bytes(sizes[:3], "little") + 1
        height = int.from_bytes(sizes[3:], "little") + 1
        told = [name for bit, name in ((0x10, "alpha"), (0x02, "animated")) if flags & bit]
        return ImageFacts("WebP", width, height, ", ".join(told))
    if chunk == b"VP8L" and head[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", head, 21)
        return ImageFacts("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, "lossless")
    if chunk == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return ImageFacts("WebP", width & 0x3FFF, height & 0x3FFF, "lossy")
    return None


def _jpeg(head: bytes) -> ImageFacts | None:
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if head[position] != 0xFF:
            return None
        marker = head[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, channels = struct.unpack_from(">BHHB", head, position + 4)
            return ImageFacts("JPEG", width, height, f"{bits} bits, {channels} channels")
        (length,) = struct.unpack_from(">H", head, position + 2)
        if length < 2 or marker == 0xDA:
            return None
        position += 2 + length
    return None


_READERS = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"RIFF", _webp),
    (b"BM", _bmp),
)
