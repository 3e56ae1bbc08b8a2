"""Work done ahead of its use by a few threads, and handed out in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WORKERS = 2
_AHEAD = 4
"""Results that are in the making or wait for their turn."""


def in_order(work: Callable[[Item], Result], items: Sequence[Item]) -> Generator[tuple[Item, Result | Exception], None, None]:
    """Each of *items* with what *work* makes of it, or what it raises.

    Worth it where the work mostly goes on without the interpreter lock. Nothing is worked on any more once this is closed.
    """
    if len(items) < 2:
        for item in items:
            yield item, _ordinary(_attempt(work, item))
        return
    done: dict[int, Result | BaseException] = {}
    changed = threading.Condition()
    taken = given = 0

    def run() -> None:
        nonlocal taken
        while True:
            with changed:
                while taken - given >= _AHEAD:
                    changed.wait()
                if taken >= len(items):
                    return
                number, taken = taken, taken + 1
            result = _attempt(work, items[number])
            with changed:
                done[number] = result
                changed.notify_all()

    threads = [threading.Thread(target=run, name=f"ahead-{number}", daemon=True) for number in range(_WORKERS)]
    for thread in threads:
        thread.start()
    try:
        for number, item in enumerate(items):
            with changed:
                while number not in done:
                    changed.wait()
                result = done.pop(number)
                given += 1
                changed.notify_all()
            yield item, _ordinary(result)
    finally:
        with changed:
            taken = given = len(items)
            changed.notify_all()
        for thread in threads:
            thread.join()


def _attempt(work: Callable[[Item], Result], item: Item) -> Result | BaseException:
    try:
        return work(item)
    except BaseException as error:  # noqa: BLE001 - handed out in its turn
        return error


def _ordinary(result: Result | BaseException) -> Result | Exception:
    """*result*, unless it is what ends a program."""
    if isinstance(result, BaseException) and not isinstance(result, Exception):
        raise result
    return result
