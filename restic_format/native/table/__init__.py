"""Where every blob is, in columns: the native table, or its twin in Python where there is none.

A `DecodedIndex` is what an index file lists, on its way into a table. `decode_index(raw)` makes one of the JSON in one go, or
gives None where anything is wrong or unusual; then the caller fills one::

    add_pack(pack_id)
    add(type_code, blob_id, offset, length, plain)         # a blob of the pack added last; plain is 0 for an uncompressed one
    records() -> [(pack_id, blobs), ...]                   # the packs in their order, with how many blobs each has
    marked() -> [(start, end), ...]                        # where the records of packs to be deleted are in *raw*

`BlobTable` keeps a row for each copy of each blob: type (0 data, 1 tree), id, number of the pack, offset, sealed length and
the plaintext's length of a compressed blob; and the packs, numbered as they came::

    merge(decoded)                                         # blobs are findable after finish_loading()
    add_pack(pack_id) -> number
    add(type_code, blob_id, pack, offset, length, plain)   # findable at once
    copies(type_code, blob_id) -> [(pack, offset, length, plain or None), ...]
    first(type_code, blob_id) -> (pack, offset, length, plain or None) | None
    has_all(type_code, ids) -> bool                        # 32 bytes of ids a blob
    pack_number(pack_id) -> number | None, pack_id(number), pack_count()
    is_repeated(number) -> bool                            # whether more than one record lists the pack
    in_packs() -> PackOrder                                # the rows so far
    use() -> BlobUse                                       # of the rows so far
    len(table)

A `PackOrder` has the rows by packs, and within a pack by offsets::

    rows(pack) -> [(type_code, blob_id, offset, length, plain or None), ...]
    layout(pack) -> (size of the file, mixed, gaps)        # gaps also means blobs that overlap
    header(pack) -> bytes | None                           # in plaintext, as the pack must have it if it has no gaps

A `BlobUse` says which blobs something needs, and chooses one copy of each to be kept. As long as it is used, nothing may be
added to the table. What it says of packs is a byte, or a record, for each in the order of their numbers::

    mark(type_code, blob_id) -> bool | None                # whether it was not marked before; None where it is not there
    mark_tree(raw) -> (trees, missing) | None              # marks what a tree needs; see below
    beyond(other) -> (data blobs, trees, bytes)            # what is marked here and not there, bytes of plaintext
    choose(trust) -> bytes                                 # trust: STORED, MARKED or MISSING; a `PackUse` record for each
    kept(fate) -> PackOrder                                # fate: STAYS, GOES or REPACKED; the rows kept of packs repacked

`mark_tree` may be called by several threads. It gives the ids of the directories' trees that were not marked before or are not
in the table, and of the data blobs that are not; None where the tree is not exactly of restic's form: the caller marks it
then. `choose` prefers stored packs to marked ones, and these to missing ones; when it is called again, that counts. Rows that
repeat another one count once. A blob is not among those `kept` if a pack that stays has a copy.

Threads may read while one adds, but nothing may be looked up during a merge. After `expect(rows)` there is room for so many
rows in all, and each merge also puts its rows where they are found. Ids are the repository's to choose: whatever they are, and
however many copies there are of a blob, a look-up takes a few steps, and `copies` as many as there are.

It looks trees through: `check_tree(raw)` gives the ids of the directories in a tree, or None where anything at all is wrong
with it, a blob missing from the table for instance, or is only unusual. Nothing may be added meanwhile.

A pack's header becomes its record in an index: `pack_record(pack_id, header, compressed)` gives JSON, how many blobs are in it,
and their sealed bytes; None where anything is wrong with the header's plaintext, such as compressed blobs where *compressed* is
false, or is only unusual.

For a restore it makes columns of a tree: `plan_tree(raw, file, names, largest)` gives them as plans.h says, in native byte
order, or None where the tree is not exactly of restic's form. Only ordinary files are taken apart. They are numbered from
*file* on, the ends of their names counted from *names* on, and none has a blob longer than *largest*; every other entry is
given by where it stands in *raw*, which says nothing about what is in it.

The native table can be dumped and filled again: `parts(rows, packs)` is its memory; `allocate`, then `adopt`, make one of it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from restic_format.native import parts
from restic_spec.constants import ID_SIZE


def _self_test() -> str | None:
    """Write the record of a pack with a plain tree and compressed data."""
    from restic_format.native.table import _table

    header = b"\x01\x28\x00\x00\x00" + bytes(range(ID_SIZE)) + b"\x02\x0a\x01\x00\x00\xd2\x02\x96\x49" + bytes(range(192, 224))
    return None if _table.pack_record(bytes(ID_SIZE), header, True) == KNOWN_RECORD else parts.wrong_answer("writing a record")


KNOWN_RECORD = (
    (
        f'{{"id":"{bytes(32).hex()}","blobs":[{{"id":"{bytes(range(32)).hex()}","type":"tree","offset":0,"length":40}},'
        f'{{"id":"{bytes(range(192, 224)).hex()}","type":"data","offset":40,"length":266,"uncompressed_length":1234567890}}]}}'
    ).encode(),
    2,
    306,
)
UNAVAILABLE = parts.unusable("table", _self_test)
IMPLEMENTATION = "compiled" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.table._table import BlobTable, BlobUse, DecodedIndex, PackOrder, decode_index, pack_record
else:
    from restic_format.native.table._pure import BlobTable, DecodedIndex, PackOrder, decode_index, pack_record
    from restic_format.native.table._pure_use import BlobUse

__all__ = [
    "IMPLEMENTATION",
    "PACK_USE",
    "UNAVAILABLE",
    "BlobTable",
    "BlobUse",
    "DecodedIndex",
    "PackOrder",
    "PackUse",
    "decode_index",
    "pack_record",
]

STORED, MARKED, MISSING = 0, 1, 2
STAYS, GOES, REPACKED = 0, 1, 2
HAS_DATA, HAS_TREES = 1, 2

PACK_USE = Struct("=QQQIIIIII")


class PackUse(NamedTuple):
    """What a pack has: blobs, and sealed bytes of them. Copies are unused blobs that are kept elsewhere; plain are the
    uncompressed ones of all. `PACK_USE` is its form in what `choose` gives.
    """

    used_size: int
    unused_size: int
    copies_size: int
    used: int
    unused: int
    copies: int
    plain: int
    types: int
    """HAS_DATA, HAS_TREES."""
    unset: int
