"""scrypt with its lanes side by side, where that is compiled; otherwise hashlib's, one lane after the other.

The lanes of scrypt (its parameter p) are independent until the end: RFC 7914, section 6. Only their mixing is ours: on all
processors, several in one vector, and with every few rows of RFC 7914's table, the others being worked out again when they are
asked for. PBKDF2 is hashlib's, and so is the oracle.
"""

from __future__ import annotations

import hashlib
import os
import threading

from restic_format.native import parts
from restic_spec import keyfile
from restic_spec.constants import DERIVED_KEY_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


def _self_test() -> str | None:
    """Derive with several lanes at once and sparse tables, by the way that is used here."""
    from restic_format.native.scrypt._scrypt import SLOTS, mix_lanes

    method = next(iter(SLOTS))
    mixed = bytearray(hashlib.pbkdf2_hmac("sha256", b"pw", b"salt", 1, 3 * 128 * 2))
    mix_lanes(memoryview(mixed), 16, 2, min(2, SLOTS[method]), 3, method)
    derived = hashlib.pbkdf2_hmac("sha256", b"pw", mixed, 1, 16).hex()
    return None if derived == KNOWN_DERIVED else parts.wrong_answer("mixing")


KNOWN_DERIVED = "1d7de095e073b06f2939e344605a92fd"
UNAVAILABLE = parts.unusable("scrypt", _self_test)
IMPLEMENTATION = "compiled" if UNAVAILABLE is None else f"pure, hashlib, {UNAVAILABLE}"
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.scrypt._scrypt import SLOTS, mix_lanes

_MEMORY: Final = 40 << 20
"""Bytes the tables may take together.

A key of restic's usual costs, N=32768 r=8 p=7, then is done in one go by two processors with every sixth row of its seven
tables of 32 MiB. What opens a repository besides this takes some 20 MB, so that it is less than what restic's own process
takes for one lane after the other."""
_MOST: Final = (1 << 31) - 1
"""No parameter is larger: libraries count in 32 bits."""
_SPARSEST: Final = 8
"""At most so many rows for one that is kept: more would take longer than the memory is worth."""


Plan = tuple[int, int, int]
"""How the lanes are mixed: in so many threads, so many at once in each, keeping every so manieth row of their tables."""


def best_plan(n: int, r: int, p: int, cores: int, slots: int) -> Plan:
    """The fastest way to mix *p* lanes on *cores* processors with up to *slots* at once on each, within the memory."""
    plans = []
    for threads in range(1, min(p, cores) + 1):
        share = -(-p // threads)
        for at_once in range(1, min(share, slots) + 1):
            every = -(-128 * r * n * min(threads * at_once, p) // _MEMORY)
            rounds = -(-share // at_once)
            if every <= _SPARSEST:
                plans.append((rounds * (3 + every), at_once, (threads, at_once, every)))
    return min(plans)[-1] if plans else (1, 1, _SPARSEST)


def derive(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    """64 bytes derived from *password*, to open a key with.

    Raises:
        MemoryError: the tables do not fit into the memory.
    """
    if UNAVAILABLE is not None or max(n, r, p) > _MOST:
        return derive_by_library(password, salt, n, r, p)
    method = next(iter(SLOTS))
    return derive_by(best_plan(n, r, p, len(os.sched_getaffinity(0)), SLOTS[method]), method, password, salt, n, r, p)


def derive_by_library(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    """The same by hashlib alone, lane after lane.

    Raises:
        MemoryError: the tables do not fit into the memory.
        KdfUnavailable: see `restic_spec.keyfile.scrypt`.
    """
    if max(n, r, p) > _MOST:
        raise MemoryError(f"scrypt with N={n} r={r} p={p}")
    return keyfile.scrypt(password, salt, n, r, p)


def derive_by(plan: Plan, method: str, password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    """`derive` in the native form, by a given *plan* and method."""
    mixed = bytearray(hashlib.pbkdf2_hmac("sha256", password, salt, 1, p * 128 * r))
    _mix(mixed, n, r, plan, method)
    return hashlib.pbkdf2_hmac("sha256", password, mixed, 1, DERIVED_KEY_SIZE)


def _mix(mixed: bytearray, n: int, r: int, plan: Plan, method: str) -> None:
    at_once, slots, every = plan
    count = len(mixed) // (128 * r)
    bounds = [count * part // at_once * 128 * r for part in range(at_once + 1)]
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            mix_lanes(memoryview(mixed)[bounds[part] : bounds[part + 1]], n, r, slots, every, method)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(1, at_once)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
