"""Output that is collected: much of it, a little at a time."""

from __future__ import annotations

from restic_tools.output import Output

FLUSH_EVERY = 1 << 16
"""Bytes of output collected before they are written."""


class Buffered:
    """Output in big pieces: a line at a time would cost more than the walk."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self._pending = bytearray()

    def put(self, data: bytes) -> None:
        """Add bytes to the output."""
        self._pending += data
        if len(self._pending) >= FLUSH_EVERY:
            self.push()

    def push(self) -> None:
        """Write what is pending."""
        self.out.write(bytes(self._pending))
        self._pending.clear()
