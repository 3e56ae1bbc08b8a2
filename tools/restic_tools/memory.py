"""How often Python's garbage collector runs, and how the C library hands out memory to threads."""

from __future__ import annotations

import contextlib
import gc

_COLLECT_AFTER = 200_000
"""Objects made until the collector looks for cycles; by default 700, a tenth of the time of a backup of small files."""

_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc."""


def collect_rarely() -> None:
    """Run the garbage collector rarely: importing a command makes tens of thousands of objects, a backup of small files
    hundreds of thousands, and hardly any cycle.
    """
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def keep_for_good() -> None:
    """Let the garbage collector look no more at what there is by now: modules and what they hold."""
    gc.freeze()


def few_arenas() -> None:
    """Let all threads take memory from two places: by default each has its own, and what one has freed is kept there. To be
    called by who has many threads that hand large blobs to each other, before they start; a quarter less memory for `mount`.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)
