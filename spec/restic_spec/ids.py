"""Ids: SHA-256 hashes that name blobs, packs and files.

Inside the program an id is 32 raw bytes; on the outside (file names, JSON) it is 64 lower-case hexadecimal digits.
One distinct type per kind of id keeps them from being mixed up at no cost.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

from restic_spec.constants import (
    HEX_SIZE as HEX_SIZE,
)
from restic_spec.constants import (
    ID_SIZE as ID_SIZE,
)
from restic_spec.errors import IdMismatch, NameInvalid

BlobId = NewType("BlobId", bytes)
"""SHA-256 of a blob's plaintext before compression (LAYOUT-6)."""

FileId = NewType("FileId", bytes)
"""SHA-256 of a file's stored bytes (LAYOUT-1; everything but ``config``, LAYOUT-5): keys, locks, snapshots, indexes."""

PackId = NewType("PackId", bytes)
"""SHA-256 of a whole pack file."""

_HEX_ID = re.compile(r"[0-9a-f]{64}")


def id_of(data: bytes | bytearray | memoryview) -> bytes:
    """SHA-256 of *data*, 32 bytes."""
    return hashlib.sha256(data).digest()


def parse_id(text: str) -> bytes:
    """The 32 bytes that *text* (64 lower-case hexadecimal digits) stands for.

    Raises:
        NameInvalid: *text* is anything else.
    """
    if not is_hex_id(text):
        raise NameInvalid(f"{text[:80]!r} is not an id (64 lower-case hexadecimal digits)", clause="LAYOUT-2")
    return bytes.fromhex(text)


def is_hex_id(text: str) -> bool:
    """Whether *text* is the textual form of an id (LAYOUT-2)."""
    return _HEX_ID.fullmatch(text) is not None


def verify_id(data: bytes | bytearray | memoryview, expected: bytes, what: str) -> None:
    """Check that *data* hash to *expected*; *what* names the object in the error.

    Raises:
        IdMismatch: they do not.
    """
    actual = id_of(data)
    if actual != expected:
        raise IdMismatch(f"content hashes to {actual.hex()}, not {expected.hex()}", object=what, clause="LAYOUT-1")
