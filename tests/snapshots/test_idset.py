"""The compact set of ids behaves like a set."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from restic_format.snapshots.idset import IdSet

# Few distinct first bytes, so that ids fall on the same slots and must be told apart by the rest.
ids = st.builds(lambda head, rest: bytes([head]) * 8 + rest, st.integers(0, 3), st.binary(min_size=24, max_size=24))


@given(st.lists(ids, max_size=200), st.lists(ids, max_size=50))
def test_behaves_like_a_set(added: list[bytes], asked: list[bytes]) -> None:
    compact, plain = IdSet(), set[bytes]()
    for ident in added:
        assert compact.add(ident) == (ident not in plain)
        plain.add(ident)
    assert len(compact) == len(plain)
    assert all((ident in compact) == (ident in plain) for ident in added + asked)


def test_keeps_everything_while_it_grows_and_stays_small() -> None:
    rng = random.Random(7)
    many = [rng.randbytes(32) for _ in range(20_000)]
    compact = IdSet()
    for ident in many:
        assert compact.add(ident)
    assert all(ident in compact for ident in many)
    assert [compact.number(ident) for ident in many] == list(range(len(many))) and compact.number(bytes(32)) is None
    assert rng.randbytes(32) not in compact
    held = len(compact._ids) + compact._table.itemsize * len(compact._table)
    assert held / len(many) < 50
