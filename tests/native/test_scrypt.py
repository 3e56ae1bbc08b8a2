"""scrypt's lanes against hashlib and the vectors of RFC 7914."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.native import scrypt
from restic_format.native.scrypt._scrypt import SLOTS, mix_lanes


@pytest.mark.parametrize(
    ("password", "salt", "n", "r", "p", "expected"),
    [
        (b"", b"", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"),
        (b"password", b"NaCl", 1024, 8, 16, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"),
        (b"pleaseletmein", b"SodiumChloride", 16384, 8, 1, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_the_vectors_of_the_rfc(
    password: bytes, salt: bytes, n: int, r: int, p: int, expected: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(scrypt, "UNAVAILABLE", "not wanted")
    assert scrypt.derive(password, salt, n, r, p).hex()[:64] == expected


def test_a_method_without_special_instructions_is_always_there() -> None:
    assert "plain" in SLOTS


@pytest.mark.parametrize("method", SLOTS)
@given(
    password=st.binary(max_size=80),
    salt=st.binary(max_size=80),
    log=st.integers(1, 8),
    r=st.integers(1, 9),
    p=st.integers(1, 17),
    threads=st.integers(1, 3),
    slots=st.integers(1, 4),
    every=st.integers(1, 9),
)
def test_lanes_side_by_side_give_what_hashlib_gives(
    method: str, password: bytes, salt: bytes, log: int, r: int, p: int, threads: int, slots: int, every: int
) -> None:
    plan = (min(threads, p), min(slots, SLOTS[method]), every)
    expected = hashlib.scrypt(password, salt=salt, n=1 << log, r=r, p=p, dklen=64)
    assert scrypt.derive_by(plan, method, password, salt, 1 << log, r, p) == expected


@pytest.mark.parametrize("method", SLOTS)
@pytest.mark.parametrize("every", range(1, 9))
def test_sparse_tables_of_the_usual_size(method: str, every: int) -> None:
    expected = hashlib.scrypt(b"password", salt=b"salt", n=2048, r=8, p=7, dklen=64)
    assert scrypt.derive_by((2, SLOTS[method], every), method, b"password", b"salt", 2048, 8, 7) == expected


@given(
    log=st.integers(1, 20), r=st.integers(1, 32), p=st.integers(1, 17), cores=st.integers(1, 16), slots=st.sampled_from((2, 4))
)
def test_a_plan_stays_within_the_memory_and_leaves_no_thread_idle(log: int, r: int, p: int, cores: int, slots: int) -> None:
    threads, at_once, every = scrypt.best_plan(1 << log, r, p, cores, slots)
    assert 1 <= threads <= min(cores, p)
    assert 1 <= at_once <= slots
    tables = min(threads * at_once, p) * 128 * r * (1 << log) // every
    assert tables <= 40 << 20 or (threads, at_once, every) == (1, 1, 8)


@pytest.mark.parametrize(
    ("p", "cores", "expected"),
    [
        (1, 2, (1, 1, 1)),
        (2, 2, (2, 1, 2)),
        (5, 2, (2, 3, 4)),
        (7, 2, (2, 4, 6)),
        (7, 1, (1, 4, 4)),
        (16, 2, (2, 4, 7)),
        (7, 8, (7, 1, 6)),
    ],
)
def test_plans_for_the_usual_costs(p: int, cores: int, expected: tuple[int, int, int]) -> None:
    assert scrypt.best_plan(1 << 15, 8, p, cores, 4) == expected


@pytest.mark.parametrize(("size", "n", "r"), [(127, 16, 1), (128, 15, 1), (128, 0, 1), (0, 16, 0), (128, 16, 2)])
def test_lanes_of_the_wrong_size_are_refused(size: int, n: int, r: int) -> None:
    with pytest.raises(ValueError, match="lane"):
        mix_lanes(bytearray(size), n, r, 1, 1, "plain")


@pytest.mark.parametrize(("slots", "every"), [(0, 1), (3, 1), (1, 0)])
def test_what_a_method_cannot_do_is_refused(slots: int, every: int) -> None:
    with pytest.raises(ValueError, match="plain"):
        mix_lanes(bytearray(128), 16, 1, slots, every, "plain")


def test_tables_that_are_not_to_be_had_are_an_error() -> None:
    with pytest.raises(MemoryError):
        mix_lanes(bytearray(128 * 1024), 1 << 40, 1024, 1, 1, "plain")


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scrypt, "mix_lanes", refuse)
    with pytest.raises(MemoryError):
        scrypt.derive_by((2, 1, 1), "plain", b"", b"", 16, 1, 5)
