"""How often the process looks for memory that it no longer needs."""

from __future__ import annotations

_COLLECT_AFTER = 200_000
"""Objects made until the collector looks for cycles; by default 700, a tenth of the time of a backup of small files."""


def collect_rarely() -> None:
    """Look for unreachable cycles rarely: the data paths make hundreds of thousands of objects and hardly any cycle."""
    import gc

    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
