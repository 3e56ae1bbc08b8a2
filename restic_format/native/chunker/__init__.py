"""Where a stream is cut into chunks: the compiled kernel, or its twin in plain Python where there is none.

`Chunker(polynomial, min_size, max_size, avg_bits)` has one method::

    next_cut(buffer, start, end, final, known=0) -> int

`buffer[start:end]` begins at the beginning of a chunk. The result is that chunk's length in bytes, or 0 if the bytes
do not decide it and *final* is false: then call again with more. *final* says that the stream ends at *end*; then
what is left is a chunk (0 only if nothing is left). *known* is a length below which an earlier call, on the same
chunk, has found no cut. It saves looking at those bytes twice. With `max_size` bytes in hand the answer is never 0.

A Chunker keeps nothing between calls: threads may share one. The compiled kernel holds no interpreter lock while it
scans. Sizes are in bytes, ranges are checked (ValueError), *buffer* is anything with contiguous bytes.

`Chunker.method` names the way of scanning; `methods(polynomial)` lists those that work on this processor, fastest
first. All give the same cuts: `gfni` (AVX-512 and GFNI), `avx2`, `lanes` (portable C), `plain` (C), `python`.

`restic_format.native.policy` says when the twin is used although there is a kernel.

Sources: CHUNK clauses of the specification; `restic_spec.chunker` is the oracle.
"""

from restic_format.native import policy

try:
    policy.permit()
    from restic_format.native.chunker._chunker import Chunker, methods

    IMPLEMENTATION = "compiled"
except ImportError as error:
    IMPLEMENTATION = f"pure, {policy.reason(error)}"
    from restic_format.native.chunker._pure import Chunker, methods  # type: ignore[assignment]

__all__ = ["IMPLEMENTATION", "Chunker", "methods"]
