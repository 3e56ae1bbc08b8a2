"""Opened blobs written to where a restore's tables say, many in one call without the interpreter lock.

`PlaceWriter` fills files that are open, and creates new files of one blob with all that belongs to them. The tables are columns
of the kinds that `restic_format.restore.places` gives it, and are kept from growing as long as it lives::

    take(rows, first, start) -> (next, wanted)
    put(opened, directory, descriptor) -> (created, written, left)

`take` goes through some of *rows*, numbers of the table's blobs in the order of their offsets, from number *first* on, and says
which blobs are to be opened for them: (start, sealed length, plaintext length, compressed, id), the start counted from *start*,
an offset in the pack. `put` is given their plaintexts, None for one that could not be opened. ``directory(number)`` gives a
directory's descriptor, ``descriptor(file)`` that of a file to write into, -1 for none. *created* are the files that are
restored with that, *written* the rows whose blobs are in place, *left* the rows with which something is wrong or merely
unusual. The oracle is `restic_format.restore.fetch` blob by blob.

The twin leaves everything. `UNAVAILABLE` says why it is used, None where it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.native import parts

UNAVAILABLE = parts.unusable("places")
IMPLEMENTATION = "compiled" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.places._places import PlaceWriter
else:
    from restic_format.native.places._pure import PlaceWriter

__all__ = ["IMPLEMENTATION", "UNAVAILABLE", "PlaceWriter"]
