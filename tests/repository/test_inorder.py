"""Work done ahead keeps its order, its bounds and its failures."""

from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.repository import inorder
from restic_format.repository.inorder import in_order


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead-")]


@given(st.lists(st.integers(0, 20), max_size=30))
def test_results_and_failures_come_in_the_order_of_the_items(items: list[int]) -> None:
    def work(item: int) -> int:
        time.sleep(random.random() / 5000)
        if item % 5 == 0:
            raise ValueError(item)
        return item * 2

    found = [(item, str(result) if isinstance(result, ValueError) else result) for item, result in in_order(work, items)]
    assert found == [(item, str(item) if item % 5 == 0 else item * 2) for item in items]
    assert not threads()


def test_who_stops_listening_stops_the_work() -> None:
    begun: list[int] = []
    results = in_order(begun.append, range(1000))
    assert next(results) == (0, None)
    time.sleep(0.05)
    assert len(begun) <= inorder._AHEAD + 1
    results.close()  # type: ignore[attr-defined]
    assert not threads()


@pytest.mark.parametrize("items", [[1], [1, 2, 3]])
def test_what_ends_a_program_is_not_kept_as_a_result(items: list[int]) -> None:
    def leave(item: int) -> None:
        raise SystemExit(item)

    with pytest.raises(SystemExit):
        list(in_order(leave, items))
    assert not threads()
