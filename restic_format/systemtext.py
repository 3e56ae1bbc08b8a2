"""What the operating system says of errors and ended processes, in Go's words, which scripts search in restic's output."""

from __future__ import annotations

import os
import signal

_NAMED_SIGNALS = 15
"""Signals up to this number have names in Go on Linux."""


def errno_text(error: OSError) -> str:
    """The error in the system's words, beginning in lower case: ``permission denied``."""
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]


def exit_text(status: int) -> str:
    """How a process ended, from its return code, which is negative for a signal: ``exit status 3``, ``signal: killed``."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.strsignal(-status) if -status <= _NAMED_SIGNALS else None
    return f"signal: {name.lower() if name else f'signal {-status}'}"
