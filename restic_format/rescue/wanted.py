"""What is to be brought back, and what was: damaged files and blobs, and their verified content.

A means (`restic_format.rescue.means`) is given the damaged ones and yields those it can bring back.
"""

from __future__ import annotations

from typing import NamedTuple

from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

Key = tuple[BlobType, bytes]
"""A blob: its type and id."""


class DamagedFile(NamedTuple):
    """A file of the repository that is not what its name says, or cannot be read."""

    kind: FileKind
    name: str
    """Its hexadecimal name; ``config`` for the config."""
    data: bytes | None
    """What is there now; None where the file is gone or cannot be read."""


class DamagedCopy(NamedTuple):
    """A sealed blob that does not open, or whose content does not hash to its id."""

    key: Key
    pack: bytes
    offset: int
    """Where it begins in the pack, in bytes."""
    sealed: bytes | memoryview
    """IV, ciphertext and MAC as they are read."""
    uncompressed_length: int | None
    """Bytes of the plaintext where the blob is compressed, else None."""


class RecoveredBlob(NamedTuple):
    """A blob that was brought back; the SHA-256 of its plaintext is its id."""

    key: Key
    plaintext: bytes
    how: str
    """Where it is from, in words for a report."""


class RecoveredFile(NamedTuple):
    """A file that was brought back.

    The SHA-256 of ``data`` is its name; the config has no such name, it opens with the master key and can be decoded.
    """

    kind: FileKind
    name: str
    data: bytes
    how: str
    """Where it is from, in words for a report."""
