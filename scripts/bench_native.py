"""Speed of the engine's native parts on this machine, one thread, beside the libraries' own calls.

.venv/bin/python scripts/bench_native.py
"""

import hashlib
import os
import random
import time
from collections.abc import Callable
from functools import partial

import zstandard

from restic_format.native import scrypt, table
from restic_format.native.solving import _pure, _solving
from restic_format.repository.cipher import LibraryCipher, NativeCipher
from restic_format.repository.coder import Coder, make_coder
from restic_format.repository.compression import Compression
from restic_format.repository.index import BlobIndex
from restic_format.rescue.solving import Clock, ContentJudge, Message, solve_message
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.index import encode_packs, index_pack
from restic_spec.pack import BlobType, PackEntry
from restic_spec.solving import PRIME, multiplier

KEY = MasterKey.generate()
SECONDS = 0.5


def rate(name: str, size: int, call: Callable[[], object]) -> None:
    """Megabytes a second of *call*, which handles *size* bytes; the best of many."""
    best = float("inf")
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    print(f"{name:44} {size / best / 1e6:8.0f} MB/s {best * 1e6:10.1f} µs")


def coder(native: bool, verify: bool) -> Coder:
    """A coder that uses native code or the libraries' Python bindings."""
    cipher = NativeCipher(KEY) if native else LibraryCipher(KEY)
    return make_coder(cipher, Compression("auto", 2), extra_verify=verify)


def blob_coding() -> None:
    source = random.Random(1)
    words = [source.randbytes(3).hex() for _ in range(3000)]
    text = " ".join(source.choices(words, k=400_000)).encode()
    for name, data in (("random", source.randbytes(1 << 20)), ("text", text[: 1 << 20]), ("small text", text[:8000])):
        blob_id = hashlib.sha256(data).digest()
        rate(f"{name}: SHA-256, hashlib", len(data), partial(hashlib.sha256, data))
        for native in (True, False):
            way = "native" if native else "libraries"
            for verify in (False, True):
                one = coder(native, verify)
                shown = f"{name}: seal{' and verify' if verify else ''}, {way}"
                rate(shown, len(data), partial(one.seal_many, BlobType.DATA, [(blob_id, data)], one.pack_hash()))
            [sealed], [(length, plain)] = one.seal_many(BlobType.DATA, [(blob_id, data)], one.pack_hash())
            sealed, entry = bytes(sealed), PackEntry(BlobType.DATA, blob_id, 0, length, plain)
            rate(f"{name}: open, {way}", len(data), partial(one.open, entry, sealed))


def index_loading() -> None:
    entries = [PackEntry(BlobType.DATA, os.urandom(32), n * 1000, 1000, 2000) for n in range(50_000)]
    raw = encode_packs([index_pack(os.urandom(32), entries[start : start + 500]) for start in range(0, 50_000, 500)])
    rate(f"index: 50,000 blobs decoded ({table.IMPLEMENTATION})", len(raw), lambda: BlobIndex().add_raw(raw))
    index = BlobIndex()
    index.add_raw(raw)
    index.finish_loading()
    start = time.perf_counter()
    for entry in entries:
        index.lookup(BlobType.DATA, entry.id)
    print(f"{'index: look-up that hits':44} {(time.perf_counter() - start) / len(entries) * 1e6:23.2f} µs")


def key_derivation() -> None:
    ways: dict[str, Callable[[], object]] = {
        "lanes side by side": lambda: scrypt.derive(b"x", b"s" * 64, 1 << 15, 8, 6),
        "hashlib": lambda: hashlib.scrypt(b"x", salt=b"s" * 64, n=1 << 15, r=8, p=6, maxmem=1 << 26, dklen=64),
    }
    for name, derive in ways.items():
        start = time.perf_counter()
        derive()
        print(f"{'scrypt N=32768 r=8 p=6, ' + name:44} {(time.perf_counter() - start) * 1e3:23.0f} ms")


def solving() -> None:
    """The search for damage in 1 MiB, by processor time: other work on the machine tells less then."""
    data, r = random.Random(2).randbytes(1 << 20), multiplier(KEY)
    wanted = [random.Random(n).randrange(PRIME) for n in range(4)]
    for name, form, size in (("native", _solving, 1 << 20), ("twin", _pure, 1 << 17)):
        part, blocks = data[:size], size >> 4
        searches: dict[str, Callable[[], object]] = {
            "the polynomial": partial(form.polynomial, r, part),
            "runs in a block": partial(form.block_candidates, r, part, wanted, spans=(1, 12)),
            "any block, without judging": partial(form.block_candidates, r, part, wanted),
            "runs over a border, one window": partial(form.border_candidates, r, part, wanted, 8),
            "two bits, the table": partial(form.BitPairs, r, part, 0, min(blocks, 4096)),
            "two bits, looked up": partial(form.BitPairs(r, part, 0, min(blocks, 4096)).search, wanted, 0, blocks),
        }
        for shown, search in searches.items():
            start = time.process_time()
            search()
            taken = (time.process_time() - start) * (1 << 20) / (1 << 16 if "table" in shown else size)
            print(f"{f'solving 1 MiB, {shown}, {name}':52} {taken * 1e3:15.1f} ms")


def damaged() -> None:
    """A blob of 1 MiB with some damage, from the first search to the solution, by the processor time of all threads."""
    noise = random.Random(3)
    plain = noise.randbytes(1 << 20)
    whole, framed = seal(KEY, plain), seal(KEY, zstandard.compress(plain, 3))
    shapes: dict[str, tuple[bytes, dict[int, int]]] = {
        "one bit": (whole, {700_000: 1}),
        "12 bytes over a border": (whole, {16 * 40_000 - 6: 12}),
        "the IV": (whole, {0: 16}),
        "a bit, and a bit of the MAC": (whole, {700_000: 1, len(whole) - 3: 1}),
        "two bits": (whole, {300_000: 1, 700_000: 1}),
        "a block in the middle": (whole, {16 << 15: 16}),
        "the last block": (whole, {1 << 20: 16}),
        "a block in the middle of a frame": (framed, {16 << 15: 16}),
    }
    for name, (sealed, places) in shapes.items():
        read = bytearray(sealed)
        for place, size in places.items():
            for byte in range(place, place + size):
                read[byte] ^= noise.randrange(1, 256) if size > 1 else 4
        judge = ContentJudge(KEY, read, None if sealed is whole else len(plain), id_of(plain))
        start = time.process_time()
        found = solve_message(Message(KEY, read, judge), Clock(600))
        if found is None or found.sealed != sealed:
            raise AssertionError(name)
        print(f"{f'1 MiB with damage, {name}':52} {(time.process_time() - start) * 1e3:15.1f} ms")


if __name__ == "__main__":
    blob_coding()
    index_loading()
    key_derivation()
    solving()
    damaged()
