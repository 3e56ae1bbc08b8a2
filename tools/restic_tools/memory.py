"""How often Python's garbage collector runs."""

from __future__ import annotations

import gc

_COLLECT_AFTER = 200_000
"""Objects made until the collector looks for cycles; by default 700, a tenth of the time of a backup of small files."""


def collect_rarely() -> None:
    """Run the garbage collector rarely: importing a command makes tens of thousands of objects, a backup of small files
    hundreds of thousands, and hardly any cycle.
    """
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def keep_for_good() -> None:
    """Let the garbage collector look no more at what there is by now: modules and what they hold."""
    gc.freeze()
