"""How the process treats memory that it no longer needs, and how often it looks for it."""

from __future__ import annotations

TRIM_THRESHOLD = 1 << 20
MMAP_THRESHOLD = 1 << 20
"""Bytes. A pack is some 16 MiB; what is freed goes back to the system."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


_COLLECT_AFTER = 200_000
"""Objects made until the collector looks for cycles; by default 700, a tenth of the time of a backup of small files."""


def collect_rarely() -> None:
    """Look for unreachable cycles rarely: the data paths make hundreds of thousands of objects and hardly any cycle."""
    import gc

    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def give_back_freed_memory() -> None:
    """Let the C library return large freed blocks at once.

    glibc otherwise learns from the first freed pack to keep blocks of that size, in every thread's arena: about 100 MB for
    a backup of large files. Where there is no glibc nothing happens.
    """
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
