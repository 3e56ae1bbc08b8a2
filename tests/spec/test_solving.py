"""Candidates for damaged messages: every shape of damage is among them, every candidate fits the MAC, and nothing else does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.native.solving import _pure, _solving
from restic_spec import solving
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.solving import BLOCK, PRIME, Candidate

KEY = MasterKey(bytes(range(1, 33)), bytes(range(33, 49)), random.Random(1).randbytes(16))
ZERO = MasterKey(KEY.encrypt, KEY.mac_k, b"\0\0\0\xf0" + bytes(12))
SMALL = [MasterKey(KEY.encrypt, KEY.mac_k, value.to_bytes(16, "little")) for value in (1, 2, 3, 0xFFFFFFC, 1 << 64)]
FORMS = (_solving, _pure)


class Damaged:
    """A sealed message with masks applied to it, and what is worked out first of all."""

    def __init__(self, key: MasterKey, size: int, masks: dict[int, bytes], seed: int = 0) -> None:
        noise = random.Random(seed)
        self.key, self.whole = key, seal(key, noise.randbytes(size), noise.randbytes(16))
        damaged = bytearray(self.whole)
        for place, mask in masks.items():
            for number, byte in enumerate(mask):
                damaged[place + number] ^= byte
        self.sealed = bytes(damaged)
        self.iv, self.ciphertext, self.tag = self.sealed[:16], self.sealed[16:-16], self.sealed[-16:]
        self.r, self.pad = solving.multiplier(key), solving.pad(key, self.iv)
        self.value = solving.polynomial(self.r, self.ciphertext)
        self.wanted = solving.differences(self.value, self.tag, self.pad)

    def with_(self, candidate: Candidate, *, iv: bytes | None = None, tag: bytes | None = None) -> bytes:
        """The message with a candidate in it."""
        end = candidate.start + len(candidate.content)
        content = self.ciphertext[: candidate.start] + candidate.content + self.ciphertext[end:]
        return (iv or self.iv) + content + (tag or self.tag)


def fits(key: MasterKey, sealed: bytes) -> bool:
    open_sealed(key, sealed)  # raises where the MAC does not fit
    return True


@pytest.mark.clause("SOLVE-1", "SOLVE-7")
@pytest.mark.parametrize("size", range(50))
def test_the_tag_is_that_of_the_library(size: int) -> None:
    made = Damaged(KEY, size, {})
    assert solving.tag(made.value, made.pad) == made.tag
    assert 0 in made.wanted
    for form in FORMS:
        assert form.polynomial(made.r, made.ciphertext) == made.value < PRIME


@pytest.mark.clause("SOLVE-2")
@pytest.mark.parametrize(("low", "count"), [(0, 4), (2**128 - 6, 4), (2**128 - 5, 3), (2**128 - 1, 3)])
def test_differences_are_those_of_all_values_with_that_tag(low: int, count: int) -> None:
    tag = ((low + 99) % 2**128).to_bytes(16, "little")
    found = solving.differences(7, tag, 99)
    assert len(found) == count
    assert all(solving.tag((7 + difference) % PRIME, 99) == tag for difference in found)


@pytest.mark.clause("SOLVE-4", "SOLVE-5")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 33])
def test_every_bit_of_a_short_message(form, size: int) -> None:
    for bit in range(8 * size):
        made = Damaged(KEY, size, {16 + bit // 8: bytes((1 << bit % 8,))})
        found = form.block_candidates(made.r, made.ciphertext, made.wanted, spans=(1, 12))
        assert [made.with_(candidate) for candidate in found] == [made.whole]


@pytest.mark.clause("SOLVE-4")
@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.data())
def test_anything_in_one_block(size: int, data: st.DataObject) -> None:
    block = data.draw(st.integers(0, solving.block_count(size) - 1))
    length = min(16, size - 16 * block)
    mask = data.draw(st.binary(min_size=length, max_size=length).filter(any))
    made = Damaged(KEY, size, {16 + 16 * block: mask}, data.draw(st.integers(0, 99)))
    found = _pure.block_candidates(made.r, made.ciphertext, made.wanted)
    assert made.whole in [made.with_(candidate) for candidate in found]
    assert all(fits(KEY, made.with_(candidate)) for candidate in found)
    assert found == _solving.block_candidates(made.r, made.ciphertext, made.wanted)


@pytest.mark.clause("SOLVE-6")
@settings(max_examples=150, deadline=None)
@given(st.integers(17, 200), st.data())
def test_a_run_over_a_border(size: int, data: st.DataObject) -> None:
    border = 16 * data.draw(st.integers(1, solving.block_count(size) - 1))
    before = data.draw(st.integers(1, 11))
    after = data.draw(st.integers(1, min(12 - before, size - border)))
    mask = data.draw(st.binary(min_size=before + after, max_size=before + after).filter(lambda m: m[0] and m[-1]))
    made = Damaged(KEY, size, {16 + border - before: mask}, data.draw(st.integers(0, 99)))
    for form in FORMS:
        found = [found for width in (4, 8, 12) for found in form.border_candidates(made.r, made.ciphertext, made.wanted, width)]
        assert {made.with_(candidate) for candidate in found} == {made.whole}


@pytest.mark.clause("SOLVE-6")
@settings(max_examples=150, deadline=None)
@given(st.integers(17, 200), st.integers(1, 15), st.data())
def test_anything_in_a_window_over_a_border(size: int, before: int, data: st.DataObject) -> None:
    border = 16 * data.draw(st.integers(1, solving.block_count(size) - 1))
    after = min(16 - before, size - border)
    mask = data.draw(st.binary(min_size=before + after, max_size=before + after))
    if not any(mask[:before]) or not any(mask[before:]):
        return
    made = Damaged(KEY, size, {16 + border - before: mask}, data.draw(st.integers(0, 99)))
    found = _pure.border_candidates(made.r, made.ciphertext, made.wanted, before, spans=(2, 16))
    assert made.whole in [made.with_(candidate) for candidate in found]
    assert all(fits(KEY, made.with_(candidate)) for candidate in found)
    assert found == _solving.border_candidates(made.r, made.ciphertext, made.wanted, before, spans=(2, 16))


@pytest.mark.clause("SOLVE-6")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 100), st.data())
def test_a_run_over_the_border_of_the_tag(size: int, data: st.DataObject) -> None:
    before = data.draw(st.integers(1, min((size - 1) % 16 + 1, 11)))
    after = data.draw(st.integers(1, 12 - before))
    mask = data.draw(st.binary(min_size=before + after, max_size=before + after).filter(lambda m: m[0] and m[-1]))
    made = Damaged(KEY, size, {16 + size - before: mask}, data.draw(st.integers(0, 99)))
    found = {
        made.with_(candidate, tag=tag)
        for width in range(1, 12)
        for candidate, tag in solving.tag_border_candidates(made.r, made.ciphertext, made.value, made.tag, made.pad, width)
    }
    assert made.whole in found
    assert all(fits(KEY, sealed) for sealed in found)


@pytest.mark.clause("SOLVE-8")
@pytest.mark.parametrize("size", [0, 1, 16, 40])
@pytest.mark.parametrize("key", [KEY, ZERO], ids=["r", "no r"])
def test_a_lost_iv(size: int, key: MasterKey) -> None:
    made = Damaged(key, size, {0: bytes(range(200, 216))})
    assert solving.lost_iv(key, made.value, made.tag) == made.whole[:16] != made.iv


@pytest.mark.clause("SOLVE-8")
@pytest.mark.parametrize(("place", "size"), [(15, 2), (14, 4), (13, 5), (15, 12), (14, 12), (6, 12), (5, 12), (15, 9)])
@pytest.mark.parametrize("length", [40, 10])
def test_a_run_over_the_border_of_the_iv(place: int, size: int, length: int) -> None:
    made = Damaged(KEY, length, {place: bytes(range(1, size + 1))[: 16 + length - place]})
    found = {
        made.with_(candidate, iv=iv)
        for iv, candidate in solving.iv_border_candidates(KEY, made.iv, made.ciphertext, made.tag, made.value)
    }
    short_side = min(16 - place, place + size - 16)
    assert short_side > 2 or made.whole in found
    assert all(fits(KEY, sealed) for sealed in found)


@pytest.mark.clause("SOLVE-9")
@pytest.mark.parametrize("form", FORMS)
def test_every_pair_of_bits_of_a_short_message(form) -> None:
    for one in range(0, 19 * 8, 3):
        for other in range(one + 1, 19 * 8, 7):
            masks = [0] * 19
            masks[one // 8] ^= 1 << one % 8
            masks[other // 8] ^= 1 << other % 8
            made = Damaged(KEY, 19, {16: bytes(masks)})
            assert form.BitPairs(made.r, made.ciphertext, 0, 2).search(made.wanted, 0, 2) == [(one, other)]


@pytest.mark.clause("SOLVE-9")
@settings(max_examples=100, deadline=None)
@given(st.integers(2, 150), st.data())
def test_pairs_of_bits_in_parts(size: int, data: st.DataObject) -> None:
    one, other = sorted(data.draw(st.lists(st.integers(0, 8 * size - 1), min_size=2, max_size=2, unique=True)))
    masks = bytearray(size)
    for bit in (one, other):
        masks[bit // 8] ^= 1 << bit % 8
    made = Damaged(KEY, size, {16: bytes(masks)}, data.draw(st.integers(0, 99)))
    count = solving.block_count(size)
    step = data.draw(st.integers(1, count))
    for form in FORMS:
        found = []
        for first in range(0, count, step):
            table = form.BitPairs(made.r, made.ciphertext, first, first + step)
            for start in range(first, count, step):
                found += table.search(made.wanted, start, start + step)
        assert set(found) == {(one, other)}
    assert set(solving.bit_pairs(made.r, made.ciphertext, made.wanted)) == {(one, other)}


@pytest.mark.clause("SOLVE-11")
def test_without_r_there_is_no_candidate() -> None:
    made = Damaged(ZERO, 50, {20: b"\1"})
    assert made.r == made.value == 0
    assert fits(ZERO, made.sealed)
    for form in FORMS:
        assert form.block_candidates(0, made.ciphertext, [5]) == []
        assert form.border_candidates(0, made.ciphertext, [5], 8) == []
        assert form.BitPairs(0, made.ciphertext, 0, 4).search([5], 0, 4) == []
    assert list(solving.bit_pairs(0, made.ciphertext, [5])) == []
    assert list(solving.tag_border_candidates(0, made.ciphertext, 0, made.tag, 1, 4)) == []


@pytest.mark.parametrize("key", SMALL, ids=lambda key: key.mac_r.hex())
def test_senseless_multipliers_are_searched_alike(key: MasterKey) -> None:
    made = Damaged(key, 75, {20: b"\1", 60: b"\x80"})
    for wanted in (made.wanted, [1], [PRIME - 1, 5, 0]):
        assert _solving.block_candidates(made.r, made.ciphertext, wanted) == _pure.block_candidates(
            made.r, made.ciphertext, wanted
        )
        for before in range(1, 16):
            ours, twins = (form.border_candidates(made.r, made.ciphertext, wanted, before) for form in FORMS)
            assert ours == twins
        for form in FORMS:
            for pair in form.BitPairs(made.r, made.ciphertext, 0, 5).search(wanted, 0, 5):
                assert solving.makes_difference(made.r, made.ciphertext, pair, wanted)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100), st.lists(st.integers(0, PRIME - 1), max_size=6), st.integers(0, 9), st.integers(0, 9))
def test_the_twins_are_equal_on_parts(ciphertext: bytes, wanted: list[int], first: int, last: int) -> None:
    r = solving.multiplier(KEY)
    for spans in ((1, 16), (3, 15)):
        ours, twins = (form.block_candidates(r, ciphertext, wanted, first, last, spans) for form in FORMS)
        assert ours == twins
    for before in (1, 7, 15):
        ours, twins = (form.border_candidates(r, ciphertext, wanted, before, first, last, (2, 16)) for form in FORMS)
        assert ours == twins


@pytest.mark.parametrize("form", FORMS)
def test_windows_lie_over_the_border(form) -> None:
    for before in (0, 16):
        with pytest.raises(ValueError, match="both sides"):
            form.border_candidates(5, bytes(64), [1], before)


def test_a_table_is_bounded() -> None:
    with pytest.raises(ValueError, match="more than fit a table"):
        _solving.BitPairs(5, bytes(BLOCK << 18), 0, 1 << 18)
