"""Where a stream is cut into chunks: the native scan, or its twin in plain Python where there is none.

`Chunker(polynomial, min_size, max_size, avg_bits)` has one method::

    next_cut(buffer, start, end, final, known=0) -> int

`buffer[start:end]` begins at the beginning of a chunk. The result is that chunk's length in bytes, or 0 if the bytes
do not decide it and *final* is false: then call again with more. *final* says that the stream ends at *end*; then
what is left is a chunk (0 only if nothing is left). *known* is a length below which an earlier call, on the same
chunk, has found no cut. It saves looking at those bytes twice. With `max_size` bytes in hand the answer is never 0.

A Chunker keeps nothing between calls: threads may share one. The native form holds no interpreter lock while it
scans. Sizes are in bytes, ranges are checked (ValueError), *buffer* is anything with contiguous bytes.

`Chunker.method` names the way of scanning; `methods(polynomial)` lists those that work on this processor, fastest
first. All give the same cuts: `avx2`, `lanes` (portable C), `plain` (C), `python`.

`restic_format.native.parts` says when the twin is used although there is a native form.

Sources: CHUNK clauses of the specification; `restic_spec.chunker` is the oracle.
"""

from hashlib import shake_128
from typing import TYPE_CHECKING

from restic_format.native import parts


def _self_test() -> str | None:
    """Cut a stretch of bytes that is long enough for all ways to scan."""
    from restic_format.native.chunker import _chunker

    data, at, cuts = shake_128(b"restic-format chunker").digest(20_000), 0, []
    chunker = _chunker.Chunker(0x3DA3358B4DC173, 4096, 12_000, 12)
    while at < len(data):
        cuts.append(chunker.next_cut(data, at, len(data), True))
        at += cuts[-1]
    return None if cuts == KNOWN_CUTS else parts.wrong_answer("cutting")


KNOWN_CUTS = [7843, 7175, 4982]
UNAVAILABLE = parts.unusable("chunker", _self_test)
IMPLEMENTATION = "compiled" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.chunker._chunker import Chunker, methods
else:
    from restic_format.native.chunker._pure import Chunker, methods

__all__ = ["IMPLEMENTATION", "UNAVAILABLE", "Chunker", "methods"]
