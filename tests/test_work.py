"""Worker pools keep their order, their bounds and their first failure; what is cancelled stops."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import Interrupted, LockLost
from restic_format.work import MOST_THREADS, Cancel, JobQueue, Later, WorkerPool, do_all, in_order

WORKERS = 3


class Odd(Exception):
    """Something that nobody expects."""


def running(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds; a test that hangs here has failed."""
    while not condition():
        time.sleep(0.001)


# Results in order


@given(st.lists(st.integers(0, 20), max_size=30), st.booleans())
def test_results_and_failures_come_in_the_order_of_the_items(items: list[int], as_list: bool) -> None:
    def work(item: int) -> int:
        time.sleep(random.random() / 5000)
        if item % 5 == 0:
            raise ValueError(item)
        return item * 2

    given_items = items if as_list else iter(items)
    found = [(item, str(result) if isinstance(result, ValueError) else result) for item, result in in_order(work, given_items)]
    assert found == [(item, str(item) if item % 5 == 0 else item * 2) for item in items]
    assert not running("ahead")


def test_who_stops_listening_stops_the_work() -> None:
    begun: list[int] = []
    results = in_order(begun.append, iter(range(1000)), ahead=3)
    assert next(results) == (0, None)
    until(lambda: len(begun) >= 4)
    time.sleep(0.05)
    assert len(begun) == 4, "one that was given out, and three ahead"
    results.close()
    assert not running("ahead")


def test_as_many_threads_work_as_there_should_be() -> None:
    together = threading.Barrier(WORKERS)
    found = list(in_order(lambda item: together.wait() >= 0, range(WORKERS * 2), name="meet", workers=WORKERS, ahead=WORKERS))
    assert found == [(item, True) for item in range(WORKERS * 2)]


def test_items_that_cannot_be_had_end_the_loop() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise Odd("no more")

    results = in_order(lambda item: item, items())
    with pytest.raises(Odd):
        for _ in results:
            pass
    assert not running("ahead")


@pytest.mark.parametrize("items", [[1], [1, 2, 3]])
def test_what_ends_a_program_is_not_kept_as_a_result(items: list[int]) -> None:
    def leave(item: int) -> None:
        raise SystemExit(item)

    with pytest.raises(SystemExit):
        list(in_order(leave, items))
    assert not running("ahead")


# Pools


def test_the_threads_of_a_pool_share_items_and_have_ended_with_the_block() -> None:
    done: list[tuple[int, str]] = []

    def work() -> None:
        for item in items:
            done.append((item, threading.current_thread().name))
            time.sleep(0.001)

    pool = WorkerPool("team", WORKERS, work)
    items = pool.share(range(50))
    with pool:
        pass
    assert sorted(item for item, _ in done) == list(range(50))
    assert {name for _, name in done} <= {"team-0", "team-1", "team-2"}
    assert not running("team")
    assert not pool.stopped


def test_the_first_failure_stops_the_others_and_is_raised() -> None:
    stopped: list[str] = []
    together = threading.Barrier(WORKERS)

    def work() -> None:
        for item in items:
            together.wait()
            if item == 0:
                raise Odd(item)
            until(lambda: pool.stopped)
            raise Odd("late")

    pool = WorkerPool("team", WORKERS, work, on_stop=lambda: stopped.append("once"))
    items = pool.share(iter(range(10**9)))
    with pytest.raises(Odd, match=r"^0$"), pool:
        pass
    assert stopped == ["once"]
    assert not running("team")


def test_a_failure_in_the_block_stops_the_threads() -> None:
    def work() -> None:
        for _ in items:
            pass

    pool = WorkerPool("team", WORKERS, work)
    items = pool.share(iter(int, 1))
    with pytest.raises(Odd), pool:
        raise Odd
    assert not running("team")
    assert isinstance(pool.failure, Odd)


def test_a_pool_that_cannot_start_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "team-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    pool = WorkerPool("team", WORKERS, lambda: until(lambda: pool.stopped))
    with pytest.raises(RuntimeError, match="new thread"), pool:
        raise AssertionError("not begun")
    assert not running("team")


def test_a_pool_has_no_more_threads_than_are_sensible() -> None:
    pool = WorkerPool("team", MOST_THREADS + 20, lambda: until(lambda: pool.stopped))
    with pool:
        assert len(running("team")) == pool.count == MOST_THREADS
        pool.stop()
    dropped: list[int] = []
    queue = JobQueue[int]("jobs", MOST_THREADS + 20, lambda job: None, dropped.append)
    assert len(running("jobs")) == MOST_THREADS
    queue.submit(1)
    queue.wait()
    queue.close()
    assert not running("jobs") and not dropped


def test_who_waits_for_a_pool_learns_that_it_is_cancelled() -> None:
    cancel = Cancel()
    pool = WorkerPool("team", WORKERS, lambda: until(lambda: pool.stopped), cancel=Cancel(cancel))
    with pytest.raises(Interrupted), pool:
        cancel.set()
    assert not running("team")


def test_a_pool_stops_when_the_lock_is_lost() -> None:
    def health() -> None:
        raise LockLost("gone")

    pool = WorkerPool("team", WORKERS, lambda: until(lambda: pool.stopped), cancel=Cancel(health=health))
    with pytest.raises(LockLost), pool:
        pass
    assert not running("team")


def test_a_failure_in_a_thread_comes_before_the_cancel_it_caused() -> None:
    cancel = Cancel()

    def work() -> None:
        if threading.current_thread().name == "team-1":
            cancel.set()
            raise Odd
        until(lambda: pool.failure)
        time.sleep(0.5)  # so that who waits looks at the token meanwhile

    pool = WorkerPool("team", 2, work, cancel=cancel)
    with pytest.raises(Odd), pool:
        until(lambda: pool.failure)


# Cancelling


def test_cancelling_reaches_what_is_below_and_not_what_is_above() -> None:
    above = Cancel()
    below = Cancel(above)
    below.check()
    below.set()
    assert (above.is_set(), below.is_set()) == (False, True)
    above.check()
    with pytest.raises(Interrupted):
        below.check()
    other = Cancel(above)
    above.set()
    assert other.is_set()
    with pytest.raises(Interrupted):
        other.check()


def test_health_is_asked_at_every_check_of_it_or_of_what_is_below() -> None:
    asked: list[int] = []
    cancel = Cancel(Cancel(health=lambda: asked.append(1)), health=lambda: asked.append(2))
    cancel.check()
    assert not cancel.is_set()
    assert asked == [1, 2]


def test_a_signal_handler_may_cancel() -> None:
    cancel = Cancel()
    before = signal.signal(signal.SIGUSR2, lambda number, frame: cancel.set())
    try:
        signal.raise_signal(signal.SIGUSR2)
        assert cancel.is_set()
    finally:
        signal.signal(signal.SIGUSR2, before)


# Jobs


def test_submitted_jobs_are_done_when_wait_returns() -> None:
    done: list[int] = []

    def work(job: int) -> None:
        time.sleep(0.001)
        done.append(job)

    queue = JobQueue("jobs", WORKERS, work, done.append)
    for job in range(20):
        queue.submit(job)
    queue.wait()
    assert sorted(done) == list(range(20))
    queue.close()
    assert not running("jobs")


def test_no_more_jobs_wait_than_may() -> None:
    go = threading.Event()
    begun: list[int] = []
    submitted: list[int] = []

    def work(job: int) -> None:
        begun.append(job)
        go.wait()

    queue = JobQueue("jobs", 1, work, begun.append, waiting=2)

    def submit() -> None:
        for job in range(10):
            queue.submit(job)
            submitted.append(job)

    thread = threading.Thread(target=submit)
    thread.start()
    until(lambda: len(submitted) >= 3)
    time.sleep(0.05)
    assert (begun, submitted) == ([0], [0, 1, 2])
    go.set()
    thread.join()
    queue.wait()
    queue.close()
    assert begun == list(range(10))


def test_after_a_failure_jobs_are_dropped_and_everybody_is_told() -> None:
    done: list[int] = []
    dropped: list[int] = []
    go = threading.Event()

    def work(job: int) -> None:
        go.wait()
        if job == 0:
            raise Odd(job)
        done.append(job)

    queue = JobQueue("jobs", 1, work, dropped.append, waiting=2)
    for job in range(3):
        queue.submit(job)
    go.set()
    for _ in range(2):
        with pytest.raises(Odd):
            queue.wait()
    with pytest.raises(Odd):
        queue.submit(3)
    queue.close()
    assert (done, dropped) == ([], [1, 2, 3])
    assert not running("jobs")


# What is asked for in time


def test_what_is_asked_for_in_time_is_worked_out_meanwhile() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        assert go_on.wait(20)
        return "done"

    later = Later(work)
    assert begun.wait(20)
    go_on.set()
    assert [later.get(), later.get()] == ["done", "done"]


def test_what_need_not_be_worked_out_ahead_is_when_it_is_wanted_and_once() -> None:
    calls: list[int] = []
    later = Later(lambda: calls.append(1), now=False)
    assert not calls
    later.get()
    later.get()
    assert calls == [1]


def test_whoever_asks_later_meets_what_went_wrong() -> None:
    def fail() -> None:
        raise Odd

    for now in (True, False):
        with pytest.raises(Odd):
            Later(fail, now=now).get()


@given(st.integers(0, 30), st.integers(1, 5))
def test_each_item_is_done_by_one_thread(count: int, workers: int) -> None:
    done: list[int] = []
    do_all(done.append, list(range(count)), workers=workers)
    assert sorted(done) == list(range(count))


def test_the_first_failure_of_all_is_raised_and_the_rest_is_left() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise Odd
        done.append(item)
        time.sleep(0.001)

    with pytest.raises(Odd):
        do_all(work, list(range(5000)), workers=2)
    assert len(done) < 5000


def test_all_are_not_done_when_cancelled() -> None:
    cancel = Cancel()
    cancel.set()
    for items in ([1], [1, 2, 3]):
        with pytest.raises(Interrupted):
            do_all(lambda item: pytest.fail("not to be done"), items, workers=2, cancel=cancel)
