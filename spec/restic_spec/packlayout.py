"""The binary layout of a pack's end, declared with construct. `restic_spec.pack` gives it its meaning.

A module of its own because importing construct takes longer than many commands do, which meet no pack header.
"""

from __future__ import annotations

import construct as cs
from construct import ConstructError

from restic_spec.ids import ID_SIZE

__all__ = ["ENTRY", "HEADER", "LENGTH_FIELD", "ConstructError"]

LENGTH_FIELD = cs.Int32ul
"""The last four bytes of a pack: length of the sealed header, little endian (PACK-2)."""

ENTRY = cs.Struct(
    "kind" / cs.Enum(cs.Int8ul, data=0, tree=1, compressed_data=2, compressed_tree=3),
    "length" / cs.Int32ul,
    "uncompressed_length" / cs.If(lambda this: int(this.kind) >= 2, cs.Int32ul),
    "id" / cs.Bytes(ID_SIZE),
)
"""A header entry: kind (PACK-5), sealed length, plaintext length (kinds 2 and 3 only), id (PACK-6)."""

HEADER = cs.GreedyRange(ENTRY)
"""The opened header: entries until it ends."""
