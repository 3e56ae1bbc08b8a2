"""scrypt with its lanes side by side, where the kernel is compiled; otherwise hashlib's, one lane after the other.

The lanes of scrypt (its parameter p) are independent until the end: RFC 7914, section 6. Only the mixing of a lane is ours,
which keeps half of the table RFC 7914 describes and works out the other half again where it is asked for. PBKDF2 is
hashlib's, and so is the oracle.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    mix_lane: Callable[[memoryview, int, int], None] | None
elif os.environ.get("RESTIC_FORMAT_KERNEL") in ("off", "wheels"):
    mix_lane = None
else:
    try:
        from restic_format.native._scrypt import mix_lane
    except ImportError:
        if os.environ.get("RESTIC_FORMAT_KERNEL") == "require":
            raise
        mix_lane = None

_MEMORY: Final = 32 << 20
"""Bytes the lanes that are mixed at once may take; a single lane may take more."""


def derive(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    """64 bytes derived from *password*; the parameters have been checked.

    Raises:
        MemoryError: 128 * r * n bytes are not to be had.
    """
    if mix_lane is None:
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + (1 << 20), dklen=64)
    mixed = bytearray(hashlib.pbkdf2_hmac("sha256", password, salt, 1, p * 128 * r))
    lanes = [memoryview(mixed)[start : start + 128 * r] for start in range(0, len(mixed), 128 * r)]
    at_once = min(p, len(os.sched_getaffinity(0)), max(1, _MEMORY // (64 * r * n)))
    _mix_all(mix_lane, lanes, n, r, at_once)
    return hashlib.pbkdf2_hmac("sha256", password, mixed, 1, 64)


def _mix_all(mix: Callable[[memoryview, int, int], None], lanes: list[memoryview], n: int, r: int, at_once: int) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while lanes:
                mix(lanes.pop(), n, r)
        except IndexError:
            return  # another thread took the last one
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(at_once - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
