"""The messages of ``features`` and ``options``, which restic prints as text only."""

from __future__ import annotations

import msgspec


class FeatureFlag(msgspec.Struct):
    """``features``: one flag; the command prints an array of them."""

    name: str
    type: str
    """``alpha``, ``beta`` or ``stable``."""
    default: bool
    enabled: bool
    """What holds now, with ``RESTIC_FEATURES``."""
    description: str


class ExtendedOption(msgspec.Struct):
    """``options``: one extended option; the command prints an array of them."""

    name: str
    """As ``-o`` takes it, ``local.connections``."""
    description: str
