"""scrypt with its lanes side by side, where the kernel is compiled; otherwise hashlib's, one lane after the other.

The lanes of scrypt (its parameter p) are independent until the end: RFC 7914, section 6. Only their mixing is ours: on all
processors, several in one vector, and with every few rows of RFC 7914's table, the others being worked out again when they are
asked for. PBKDF2 is hashlib's, and so is the oracle.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    SLOTS: dict[str, int]
    mix_lanes: Callable[[memoryview, int, int, int, int, str], None] | None
elif os.environ.get("RESTIC_FORMAT_KERNEL") in ("off", "wheels"):
    mix_lanes, SLOTS = None, {}
else:
    try:
        from restic_format.native._scrypt import SLOTS, mix_lanes
    except ImportError:
        if os.environ.get("RESTIC_FORMAT_KERNEL") == "require":
            raise
        mix_lanes, SLOTS = None, {}

_MEMORY: Final = 46 << 20
"""Bytes the tables may take together.

A key of restic's usual costs, N=32768 r=8 p=7, then is done in one go by two processors with every fifth row of its seven
tables of 32 MiB. While the key is derived little else is loaded, so that this is about what restic's own process takes."""
_SPARSEST: Final = 8
"""At most so many rows for one that is kept: more would take longer than the memory is worth."""


class Plan(NamedTuple):
    """How the lanes are mixed: in so many threads, so many at once in each, keeping every so manieth row of the tables."""

    threads: int
    slots: int
    every: int


def best_plan(n: int, r: int, p: int, cores: int, slots: int) -> Plan:
    """The fastest way to mix *p* lanes on *cores* processors with up to *slots* at once on each, within the memory."""
    plans = []
    for threads in range(1, min(p, cores) + 1):
        share = -(-p // threads)
        for at_once in range(1, min(share, slots) + 1):
            every = -(-128 * r * n * min(threads * at_once, p) // _MEMORY)
            rounds = -(-share // at_once)
            if every <= _SPARSEST:
                plans.append((rounds * (3 + every), at_once, Plan(threads, at_once, every)))
    return min(plans)[-1] if plans else Plan(1, 1, _SPARSEST)


def derive(
    password: bytes, salt: bytes, n: int, r: int, p: int, *, plan: Plan | None = None, method: str | None = None
) -> bytes:
    """64 bytes derived from *password*; the parameters have been checked.

    The fastest *plan* and *method* are taken unless they are given.

    Raises:
        MemoryError: the tables do not fit into the memory.
    """
    if mix_lanes is None:
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + (1 << 20), dklen=64)
    method = method or next(iter(SLOTS))
    plan = plan or best_plan(n, r, p, len(os.sched_getaffinity(0)), SLOTS[method])
    mixed = bytearray(hashlib.pbkdf2_hmac("sha256", password, salt, 1, p * 128 * r))
    _mix(mixed, n, r, plan, method)
    return hashlib.pbkdf2_hmac("sha256", password, mixed, 1, 64)


def _mix(mixed: bytearray, n: int, r: int, plan: Plan, method: str) -> None:
    assert mix_lanes is not None
    mix = mix_lanes
    count = len(mixed) // (128 * r)
    bounds = [count * part // plan.threads * 128 * r for part in range(plan.threads + 1)]
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            mix(memoryview(mixed)[bounds[part] : bounds[part + 1]], n, r, plan.slots, plan.every, method)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(1, plan.threads)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
