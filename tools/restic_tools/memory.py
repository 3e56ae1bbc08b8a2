"""How often Python's garbage collector runs."""

from __future__ import annotations

_COLLECT_AFTER = 200_000
"""Objects made until the collector looks for cycles; by default 700, a tenth of the time of a backup of small files."""


def collect_rarely() -> None:
    """Run the garbage collector rarely: a backup makes hundreds of thousands of objects and hardly any cycle."""
    import gc

    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
