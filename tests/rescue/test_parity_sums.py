"""What calculates parity: ISA-L and the specification give the same bytes, and one that does not is left alone."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys

import pytest

from restic_format.rescue.parity import sums
from restic_spec import galois

SHOW = "from restic_format.rescue.parity import sums; print(sums.IMPLEMENTATION, sums.make_sums.__name__, sep='|')"


@pytest.fixture(scope="module", autouse=True)
def isa_l() -> None:
    assert sums.load() is None


@pytest.mark.clause("PARITY-4", "PARITY-5")
@pytest.mark.parametrize(("columns", "rows", "length"), [(1, 1, 64), (5, 3, 65), (80, 4, 96), (248, 8, 130), (200, 56, 1001)])
def test_isa_l_gives_the_bytes_of_the_specification(columns: int, rows: int, length: int) -> None:
    rng = random.Random(columns)
    ours, theirs = galois.Sums(rows, length), sums.IsaLSums(rows, length)
    data = [rng.randbytes(length) for _ in range(columns)]
    for number, column in enumerate(data):
        factors = [galois.coefficient(columns, row, number) for row in range(rows)]
        ours.add(factors, column)
        theirs.add(factors, bytearray(column) if number % 2 else column)
    parity = theirs.values()
    assert parity == ours.values()
    lost = rng.sample(range(columns), min(columns, rows))
    known = [None if number in lost else column for number, column in enumerate(data)]
    order = rng.sample(list(enumerate(parity)), rows)
    found = galois.solve(columns, known, order, sums.IsaLSums)
    assert found == [data[number] for number in sorted(lost)] == galois.solve(columns, known, order)


@pytest.mark.clause("PARITY-5")
def test_the_matrix_is_isa_ls_own() -> None:
    columns, rows = 37, 6
    matrix = ctypes.create_string_buffer((columns + rows) * columns)
    sums.IsaLSums.library.gf_gen_cauchy1_matrix(matrix, columns + rows, columns)
    ours = bytes(galois.coefficient(columns, row, column) for row in range(rows) for column in range(columns))
    assert matrix.raw[columns * columns :] == ours


def test_what_does_not_fit_never_reaches_the_library() -> None:
    made = sums.IsaLSums(3, 64)
    for factors, data in (([1, 2, 3], bytes(63)), ([1, 2, 3], bytearray(65)), ([1, 2], bytes(64)), ([1, 2, 3, 4], bytes(64))):
        with pytest.raises(ValueError, match="do not fit"):
            made.add(factors, data)


@pytest.mark.parametrize("policy", ["auto", "off", "wheels", "without:isal", "without:chunker"])
def test_it_is_chosen_as_native_parts_are(policy: str) -> None:
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": policy, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", SHOW], env=env, capture_output=True, text=True, timeout=60, check=True)
    used = policy in ("auto", "without:chunker")
    assert done.stdout == ("ISA-L|IsaLSums\n" if used else f"pure, RESTIC_FORMAT_KERNEL={policy}|Sums\n")


def test_one_that_is_wrong_or_missing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sums.IsaLSums.add
    monkeypatch.setattr(sums.IsaLSums, "add", lambda self, factors, data: real(self, [factors[0] ^ 1, *factors[1:]], data))
    assert sums.load() == "its self-test failed: sums of 64 bytes"
    monkeypatch.setattr(sums, "_of_pyeclib", lambda: "/nonexistent/libisal.so.2")
    assert sums.load() == "libisal.so.2 is not on this machine, nor the package pyeclib"
