"""Command-line words and environment variables as text: UTF-8 with ``surrogateescape``, in any locale."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def words_from_system(words: Iterable[str]) -> list[str]:
    """Command-line words as Python decoded them by the locale, decoded again as UTF-8."""
    return [os.fsencode(word).decode("utf-8", "surrogateescape") for word in words]


def encode(text: str) -> bytes:
    """The bytes of a text that may hold undecodable names."""
    return text.encode("utf-8", "surrogateescape")


def variable(name: str, default: str = "") -> str:
    """An environment variable's value, ``default`` where it is not set."""
    raw = os.environ.get(name)
    return default if raw is None else os.fsencode(raw).decode("utf-8", "surrogateescape")
