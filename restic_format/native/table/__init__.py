"""Where every blob is, in columns: the compiled table, or its twin on numpy where there is none.

`BlobTable` keeps a row for each copy of each blob: type (0 data, 1 tree), id, number of the pack, offset, sealed length and
the plaintext's length of a compressed blob::

    load(type_code, blob_id, pack, offset, length, plain)  # findable after finish_loading()
    add(type_code, blob_id, pack, offset, length, plain)   # findable at once; plain is 0 for an uncompressed blob
    copies(type_code, blob_id) -> [(pack, offset, length, plain or None), ...]
    first(type_code, blob_id) -> (pack, offset, length, plain or None) | None
    has_all(type_code, ids) -> bool                        # 32 bytes of ids a blob
    in_packs(packs) -> PackOrder                           # the rows so far; *packs* is one more than the highest pack
    len(table)

A `PackOrder` has the rows by packs, and within a pack by offsets::

    rows(pack) -> [(type_code, blob_id, offset, length, plain or None), ...]

Threads may read while one adds.

What follows has only the compiled table. It takes whole index files: `decode_index(raw)` gives a decoded index (`packs()` are
its pack ids), or None where *raw* is not exactly what restic writes; `merge(decoded, numbers)` loads its rows, *numbers* being
the packs' numbers here, 4 bytes each. Where `decode_index` itself is None there is no such way. After `expect(rows)` there is
room for so many rows in all, and each merge also puts its rows where they are found. Nothing may be looked up during a merge.

It looks trees through: `check_tree(raw)` gives the ids of the directories in a tree, or None where anything at all is wrong
with it, a blob missing from the table for instance, or is only unusual. Nothing may be added meanwhile.

For a restore it makes columns of a tree: `plan_tree(raw, file, names, largest)` gives them as plans.h says, in native byte
order, or None where the tree is not exactly of restic's form. Only ordinary files are taken apart. They are numbered from
*file* on, the ends of their names counted from *names* on, and none has a blob longer than *largest*; every other entry is
given by where it stands in *raw*, which says nothing about what is in it.

Of a pack its `PackOrder` says `layout(pack) -> (size of the file, mixed, gaps)`, where gaps also means blobs that overlap, and
`header(pack) -> bytes`, the plaintext of the header the pack must have if it has no gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from restic_format.native import policy

if TYPE_CHECKING:
    from restic_format.native.table._table import BlobTable, DecodedIndex

    decode_index: Callable[[bytes], DecodedIndex | None] | None
    IMPLEMENTATION: str
else:
    try:
        policy.permit()
        from restic_format.native.table._table import BlobTable, decode_index

        IMPLEMENTATION = "compiled"
    except ImportError as error:
        IMPLEMENTATION = f"pure, {policy.reason(error)}"
        from restic_format.native.table._pure import BlobTable

        decode_index = None

__all__ = ["IMPLEMENTATION", "BlobTable", "decode_index"]
