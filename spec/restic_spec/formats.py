"""What the versions of the repository format differ in, so that nobody compares numbers of versions."""

from __future__ import annotations

from typing import Final, NamedTuple

from restic_spec.constants import KIND_COMPRESSED_DATA, KIND_COMPRESSED_TREE, KIND_DATA, KIND_TREE


class Format(NamedTuple):
    """One version (CONFIG-3)."""

    version: int
    kinds: frozenset[int]
    """Kinds of entries in headers of packs (PACK-5, PACK-9)."""
    compresses: bool
    """Whether blobs may be compressed, and trees are (PACK-9, PACK-19)."""
    marks: bool
    """Whether the plaintext of a snapshot, index or lock tells its encoding, and new ones are compressed (FILE-1 to FILE-3)."""
    mixes: bool
    """Whether writers may put data and trees into one pack (PACK-15)."""


FORMATS: Final = {
    1: Format(1, frozenset({KIND_DATA, KIND_TREE}), compresses=False, marks=False, mixes=True),
    2: Format(
        2,
        frozenset({KIND_DATA, KIND_TREE, KIND_COMPRESSED_DATA, KIND_COMPRESSED_TREE}),
        compresses=True,
        marks=True,
        mixes=False,
    ),
}
"""Every version there is, by its number."""
