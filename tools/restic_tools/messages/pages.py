"""The messages of ``generate`` and ``help``, which restic prints as text only."""

from __future__ import annotations

import msgspec


class Generated(msgspec.Struct, omit_defaults=True):
    """``generate``: a completion script or the manual pages."""

    message_type: str
    """``generated``."""
    kind: str
    """The shell, or ``man``."""
    path: str
    """Where they were written; ``-`` for standard output."""
    text: str = ""
    """The script, where it goes to standard output."""


class HelpPage(msgspec.Struct):
    """``help``: a help page."""

    message_type: str
    """``help``."""
    command: str
    """Its words; empty for the overview."""
    text: str
