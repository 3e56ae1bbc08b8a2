"""Which packs --read-data-subset means."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.check.subset import Bucket, ByteSize, InvalidSubset, Percentage, parse_subset

packs = st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(100, 1 << 24), max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/2", Bucket(1, 2)),
        ("256/256", Bucket(256, 256)),
        ("30%", Percentage(30.0)),
        ("0.5%", Percentage(0.5)),
        ("5M", ByteSize(5 << 20)),
        ("5m", ByteSize(5 << 20)),
        ("7k", ByteSize(7 << 10)),
        ("2T", ByteSize(2 << 40)),
    ],
)
def test_reads_every_form(text: str, expected: object) -> None:
    assert parse_subset(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("300/2", "n <= t"),
        ("0/2", "positive integers"),
        ("1/300", "at most 256"),
        ("1/2/3", "invalid value"),
        ("5", "invalid value"),
        ("xx", "invalid value"),
        ("", "invalid value"),
        ("0%", "above 0.0%"),
        ("101%", "at most 100.0%"),
        ("nan%", "above 0.0%"),
        ("-5M", "invalid value"),
        ("0k", "n must be above 0"),
        (" 50%", "invalid value"),
        ("5 %", "invalid value"),
        ("99999999999999999999/2", "invalid value"),
        ("9" * 5000 + "/2", "invalid value"),
        ("9" * 5000, "invalid value"),
        ("99999999T", "invalid value"),
    ],
)
def test_refuses_what_real_restic_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidSubset, match=message):
        parse_subset(text)


@given(packs, st.integers(1, 256))
def test_buckets_share_the_packs_out(sizes: dict[bytes, int], total: int) -> None:
    parts = [Bucket(number, total).select(sizes, random.Random()) for number in range(1, total + 1)]
    assert sorted(pack for part in parts for pack in part) == sorted(sizes)


@given(packs, st.floats(0.01, 100.0))
def test_percentage_takes_its_share_and_at_least_one(sizes: dict[bytes, int], percent: float) -> None:
    chosen = Percentage(percent).select(sizes, random.Random(1))
    assert set(chosen) <= set(sizes)
    assert len(chosen) == len(set(chosen)) == (max(1, int(len(sizes) * percent / 100)) if sizes else 0)


def test_a_random_subset_is_another_one_each_time() -> None:
    sizes = {bytes([n]) * 32: 100 for n in range(200)}
    assert set(Percentage(50).select(sizes, random.Random(1))) != set(Percentage(50).select(sizes, random.Random(2)))


@given(packs, st.integers(1, 1 << 30))
def test_a_size_becomes_the_share_it_is_of_all_bytes(sizes: dict[bytes, int], size: int) -> None:
    wanted = ByteSize(size)
    bound, percent = wanted.share(sizes)
    assert bound <= size and 0 < percent <= 100
    if size >= sum(sizes.values()):
        assert sorted(wanted.select(sizes, random.Random(3))) == sorted(sizes)
