"""Where a command keeps copies of files that must not be lost while it replaces them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from restic_tools.context import Context


@contextmanager
def safekeeping(ctx: Context, purpose: str) -> Iterator[str]:
    """A folder for the length of a ``with`` block, in which signals only ask to stop; it stays if anything is left in it."""
    folder = tempfile.mkdtemp(prefix=f"restic-format-{purpose}-")
    with ctx.interrupt.deferred():
        try:
            yield folder
        finally:
            with suppress(OSError):
                os.rmdir(folder)  # Not where it holds what is still needed.
