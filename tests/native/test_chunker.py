"""The chunker, compiled in every way this processor knows and pure, against the specification's plain algorithm."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.native import chunker as facade
from restic_format.native.chunker import _chunker, _pure
from restic_spec import chunker as oracle

POLYNOMIAL = 0x3DA3358B4DC173
METHODS = (*_chunker.methods(POLYNOMIAL), "python")
KIB = 1024


def make(method, polynomial=POLYNOMIAL, min_size=512 * KIB, max_size=8192 * KIB, avg_bits=20):
    kind = _pure if method == "python" else _chunker
    return kind.Chunker(polynomial, min_size, max_size, avg_bits, method=method)


def cuts(chunker, data):
    """Lengths of the chunks of all of *data*."""
    lengths = []
    position = 0
    while position < len(data):
        lengths.append(chunker.next_cut(data, position, len(data), True))
        position += lengths[-1]
    return lengths


def expected(data, polynomial=POLYNOMIAL, min_size=512 * KIB, max_size=8192 * KIB, avg_bits=20):
    lengths = []
    position = 0
    while position < len(data):
        lengths.append(
            oracle.next_cut(
                data,
                polynomial,
                start=position,
                min_size=min_size,
                max_size=max_size,
                average_bits=avg_bits,
            )
        )
        position += lengths[-1]
    return lengths


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def without_cuts(size):
    """Bytes in which no window's fingerprint has 20 zero bits: what is planted there is the only cut."""
    for seed in range(100):
        data = noise(size, seed)
        lanes = make("lanes", min_size=64, max_size=size + 1)
        if lanes.next_cut(data, 0, size, False) == 0:
            return data
    raise AssertionError("no such bytes found")


def test_the_installed_form_is_the_compiled_one():
    assert facade.IMPLEMENTATION == "compiled"
    assert facade.methods(POLYNOMIAL) == METHODS[:-1]
    assert facade.Chunker(POLYNOMIAL).method == METHODS[0]


@pytest.mark.parametrize("method", METHODS)
def test_default_sizes_on_random_bytes(method):
    data = noise(24 << 20, seed=5)
    assert cuts(make(method), data) == cuts(make("plain"), data)


@pytest.mark.clause("CHUNK-6", "CHUNK-11")
def test_default_sizes_against_the_specification():
    data = noise(6 << 20, seed=7)
    assert cuts(make("plain"), data) == expected(data)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("avg_bits", [5, 8, 13, 21, 22])
@pytest.mark.parametrize("sizes", [(64, 64), (64, 20_000), (65, 4_000), (1_000, 70_000), (5_000, 5_001)])
def test_other_sizes_on_random_bytes(method, avg_bits, sizes):
    if method == "avx2" and avg_bits > 21:
        with pytest.raises(ValueError, match="does not work here"):
            make(method, min_size=sizes[0], max_size=sizes[1], avg_bits=avg_bits)
        return
    data = noise(150_000, seed=avg_bits)
    chunker = make(method, min_size=sizes[0], max_size=sizes[1], avg_bits=avg_bits)
    assert cuts(chunker, data) == expected(data, POLYNOMIAL, *sizes, avg_bits)


def test_the_twin_does_without_numpy(monkeypatch):
    data = noise(60_000, seed=9)
    expected_cuts = cuts(make("python", min_size=4096, max_size=30_000, avg_bits=12), data)
    monkeypatch.setattr(_pure, "has_numpy", lambda: False)
    monkeypatch.setattr(_pure, "_scan", None)
    assert cuts(make("python", min_size=4096, max_size=30_000, avg_bits=12), data) == expected_cuts


def test_nobody_imports_numpy_who_cuts_nothing():
    """It is no dependency: whatever else has a twin does without it."""
    code = (
        "import sys; sys.modules['numpy'] = None; from restic_format.native import table, chunker; print(table.IMPLEMENTATION)"
    )
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": "off", "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert said.startswith("pure")


@pytest.mark.parametrize("method", METHODS)
def test_monotonous_and_periodic_bytes(method):
    for pattern in (b"\0", b"\xff", b"ab", bytes(range(64)), bytes(range(65)), b"\0" * 63 + b"\1", noise(4096)):
        data = (pattern * (300_000 // len(pattern) + 1))[:300_000]
        chunker = make(method, min_size=4096, max_size=100_000, avg_bits=12)
        assert cuts(chunker, data) == expected(data, POLYNOMIAL, 4096, 100_000, 12), pattern[:4]


@pytest.mark.parametrize("method", METHODS[:-1])
def test_other_polynomials(method):
    choose = random.Random(3)
    data = noise(200_000, seed=11)
    for _ in range(8):
        polynomial = oracle.random_polynomial(choose)
        chunker = make(method, polynomial, 256, 50_000, 11)
        assert cuts(chunker, data) == expected(data, polynomial, 256, 50_000, 11)


@pytest.mark.parametrize("method", ["lanes", "plain", "python"])
@pytest.mark.parametrize("polynomial", [0x11B, 0x1100B, 0x8003, (1 << 52) | 9])
def test_polynomials_of_a_lower_degree(method, polynomial):
    data = noise(40_000, seed=2)
    chunker = make(method, polynomial, 100, 9_000, 7)
    assert cuts(chunker, data) == expected(data, polynomial, 100, 9_000, 7)


@pytest.mark.clause("CHUNK-5")
@pytest.mark.parametrize("method", METHODS[:-1])
def test_one_cut_at_any_place_of_a_scan(method):
    """64 zero bytes have the fingerprint 0. Every distance from the scan's start must find them, whichever lane it is."""
    size = 300_000
    data = bytearray(without_cuts(size))
    chunker = make(method, min_size=1_000, max_size=size)
    ends = {*range(1_000, 1_200), *range(size - 200, size + 1), *random.Random(1).choices(range(1_000, size), k=500)}
    for tile in (512, 2048, 8 * 2048, 32 * 1024, 64 * 1024):
        for multiple in range(1, size // tile):
            ends.update((1_000 + multiple * tile - 1, 1_000 + multiple * tile, 1_000 + multiple * tile + 1))
    for end in ends:
        if end > size:
            continue
        saved = data[end - 64 : end]
        data[end - 64 : end] = bytes(64)
        found = chunker.next_cut(data, 0, size, True)
        # A window that is nearly all zeros may by chance end a little before; the plain method is the judge of that.
        assert found == make("plain", min_size=1_000, max_size=size).next_cut(data, 0, size, True)
        assert found <= end
        assert found > end - 64
        data[end - 64 : end] = saved
    assert chunker.next_cut(data, 0, size, True) == size


@pytest.mark.parametrize("method", METHODS)
def test_the_first_of_many_cuts_wins(method):
    choose = random.Random(9)
    data = without_cuts(400_000)
    chunker = make(method, min_size=512, max_size=400_000)
    for _ in range(60):
        planted = bytearray(data)
        for end in choose.sample(range(600, 400_000), 12):
            planted[end - 64 : end] = bytes(64)
        expected_length = make("plain", min_size=512, max_size=400_000).next_cut(planted, 0, 400_000, True)
        assert chunker.next_cut(planted, 0, 400_000, True) == expected_length


@given(
    seed=st.integers(0, 1 << 32),
    size=st.integers(0, 12_000),
    min_size=st.integers(64, 3_000),
    extra=st.integers(0, 9_000),
    avg_bits=st.integers(4, 14),
    runs=st.lists(st.tuples(st.integers(0, 12_000), st.integers(1, 300), st.integers(0, 255)), max_size=6),
)
def test_any_sizes_on_any_bytes(seed, size, min_size, extra, avg_bits, runs):
    data = bytearray(noise(size, seed))
    for position, length, byte in runs:
        stretch = data[position : position + length]
        data[position : position + length] = bytes([byte]) * len(stretch)
    wanted = expected(data, POLYNOMIAL, min_size, min_size + extra, avg_bits)
    for method in METHODS:
        assert cuts(make(method, POLYNOMIAL, min_size, min_size + extra, avg_bits), data) == wanted, method


@pytest.mark.parametrize("method", METHODS)
def test_data_that_arrive_in_pieces_are_cut_alike(method):
    data = noise(200_000, seed=21)
    chunker = make(method, min_size=2_000, max_size=30_000, avg_bits=12)
    wanted = cuts(chunker, data)
    pieces = random.Random(4)
    for remember in (False, True):
        lengths = []
        position = end = known = 0
        while position < len(data):
            found = chunker.next_cut(data, position, end, end == len(data), known)
            if found:
                lengths.append(found)
                position += found
                known = 0
            else:
                assert end < len(data)
                known = end - position if remember else 0
                end = min(len(data), end + pieces.randrange(1, 9_000))
            end = max(end, position)
        assert lengths == wanted


@pytest.mark.clause("CHUNK-6", "CHUNK-7", "CHUNK-8")
@pytest.mark.parametrize("method", METHODS)
def test_what_is_undecided_and_what_is_not(method):
    data = without_cuts(4_000)
    chunker = make(method, min_size=1_000, max_size=3_000)
    assert chunker.next_cut(data, 0, 0, False) == 0
    assert chunker.next_cut(data, 0, 0, True) == 0
    assert chunker.next_cut(data, 7, 8, True) == 1
    assert chunker.next_cut(data, 0, 999, False) == 0
    assert chunker.next_cut(data, 0, 999, True) == 999
    assert chunker.next_cut(data, 0, 1_000, False) == 0
    assert chunker.next_cut(data, 0, 2_999, False) == 0
    assert chunker.next_cut(data, 0, 2_999, True) == 2_999
    assert chunker.next_cut(data, 0, 3_000, False) == 3_000
    assert chunker.next_cut(data, 0, 4_000, False) == 3_000
    zeros = bytes(1_000)
    assert chunker.next_cut(zeros, 0, 999, False) == 0
    assert chunker.next_cut(zeros, 0, 1_000, False) == 1_000


@pytest.mark.clause("CHUNK-9")
@pytest.mark.parametrize("method", METHODS)
def test_nothing_outside_the_range_is_looked_at(method):
    """The chunk's bytes alone decide, whatever stands before and after them."""
    data = noise(100_000, seed=31)
    chunker = make(method, min_size=64, max_size=90_000, avg_bits=14)
    alone = chunker.next_cut(data, 0, len(data), True)
    for around in (b"\0", b"\xff"):
        embedded = around * 777 + data + around * 5_000
        assert chunker.next_cut(embedded, 777, 777 + len(data), True) == alone


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_buffer(method, tmp_path: Path):
    data = noise(20_000, seed=41)
    chunker = make(method, min_size=128, max_size=20_000, avg_bits=10)
    wanted = chunker.next_cut(data, 0, len(data), True)
    (tmp_path / "file").write_bytes(data)
    assert chunker.next_cut(bytearray(data), 0, len(data), True) == wanted
    assert chunker.next_cut(memoryview(b"x" + data)[1:], 0, len(data), True) == wanted
    with open(tmp_path / "file", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert chunker.next_cut(mapped, 0, len(data), True) == wanted
    # The buffer is given back: a bytearray that is still lent could not grow.
    lent = bytearray(data)
    chunker.next_cut(lent, 0, len(data), True)
    lent += b"more"


@pytest.mark.parametrize("method", METHODS)
def test_wrong_arguments_are_refused(method):
    chunker = make(method)
    for start, end in ((-1, 3), (3, 2), (0, 11)):
        with pytest.raises(ValueError, match="outside a buffer of 10 bytes"):
            chunker.next_cut(bytes(10), start, end, True)
    for polynomial in (0, 1, 0x7F, 1 << 54, POLYNOMIAL << 8):
        with pytest.raises(ValueError, match="degree outside 8 to 53"):
            make(method, polynomial)
    for sizes in ((63, 100), (200, 100)):
        with pytest.raises(ValueError, match="min_size <= max_size"):
            make(method, POLYNOMIAL, *sizes)
    for avg_bits in (0, 53):
        with pytest.raises(ValueError, match="outside 1 to 52"):
            make(method, avg_bits=avg_bits)
    with pytest.raises(ValueError, match="does not work here"):
        type(chunker)(POLYNOMIAL, method="guess")


def test_threads_share_one_chunker():
    chunker = make(METHODS[0])
    streams = [noise(8 << 20, seed) for seed in range(4)]
    wanted = [cuts(make("plain"), stream) for stream in streams]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda stream: cuts(chunker, stream), streams)) == wanted


def test_other_threads_run_while_the_native_form_scans():
    """With the lock held this thread would not be woken before the scan's end."""
    size = 48 << 20
    data = without_cuts(4096) * (size // 4096)
    chunker = make("plain", min_size=64, max_size=size)
    events = []
    started = threading.Event()

    def scan():
        started.set()
        chunker.next_cut(data, 0, size, True)
        events.append("scanned")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)
    try:
        worker = threading.Thread(target=scan)
        worker.start()
        started.wait()
        events.append("awake")
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert events == ["awake", "scanned"]


@pytest.mark.clause("CHUNK-6")
def test_cut_lengths_spread_as_the_mask_promises():
    """Chunks beyond the minimum are 2^bits long on average: a mask applied to the wrong bits would show here."""
    data = noise(4 << 20, seed=51)
    lengths = cuts(make(METHODS[0], min_size=64, max_size=1 << 20, avg_bits=10), data)
    mean = sum(lengths[:-1]) / (len(lengths) - 1) - 64
    assert 0.94 < mean / 1024 < 1.06
    assert all(before != after for before, after in pairwise(lengths[:50]))
