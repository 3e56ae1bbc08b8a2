"""Speed of every way of chunking on this machine, on random bytes that are already in memory.

.venv/bin/python scripts/bench_chunker.py [MiB]
"""

import random
import sys
import time

from restic_format.native.chunker import IMPLEMENTATION, Chunker, methods

POLYNOMIAL = 0x3DA3358B4DC173
ROUNDS = 3


def main() -> None:
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    source = random.Random(1)
    data = b"".join(source.randbytes(1 << 20) for _ in range(mebibytes))
    print(f"{IMPLEMENTATION} chunker, {mebibytes} MiB of random bytes, best of {ROUNDS}")
    for method in methods(POLYNOMIAL):
        chunker = Chunker(POLYNOMIAL, method=method)
        best = float("inf")
        for _ in range(ROUNDS):
            position = chunks = 0
            begin = time.perf_counter()
            while position < len(data):
                position += chunker.next_cut(data, position, len(data), True)
                chunks += 1
            best = min(best, time.perf_counter() - begin)
        # Nobody looks at a chunk's first 512 KiB but for the last 64 bytes of them.
        looked_at = max(0, len(data) - chunks * chunker.min_size)
        print(f"{method:8} {len(data) / best / 1e6:7.0f} MB/s of data, {looked_at / best / 1e6:7.0f} MB/s looked at")


if __name__ == "__main__":
    main()
