"""The twin of the compiled walk: the same interface, and everything is left to the caller, who looks closely at each file.

See `restic_format.native.nodes`. What is out of the ordinary is left to the caller there, too; here, all is.
"""

# ruff: noqa: ARG001, ARG002 - the interface is that of the compiled walk

from __future__ import annotations

from collections.abc import Sequence


class Stat:
    """Nothing is found out here, so there is none."""

    def __init__(self) -> None:
        raise TypeError("files are looked at one by one")


class ParsedTree:
    """No tree is taken apart here, so there is none."""

    def __init__(self) -> None:
        raise TypeError("trees are decoded whole")


class TakenOver:
    """None of the entries."""

    def __getitem__(self, number: int) -> bool:
        return False

    def ids(self, first: int = 0, last: int | None = None) -> bytes:
        """No ids."""
        return b""

    def drop(self, number: int) -> None:
        """There is nothing to drop."""

    def runs(self) -> list[tuple[int, int, bytes, int, int]]:
        """No stretches."""
        return []


class NodeWriter:
    """Writes no nodes."""

    def __init__(self, *settings: object) -> None:
        del settings

    def take_over(
        self,
        names: list[bytes],
        infos: Sequence[object],
        parent: ParsedTree | None,
        ignore_ctime: bool = False,
        ignore_inode: bool = False,
    ) -> TakenOver:
        """None of the entries."""
        return TakenOver()

    def write(self, names: list[bytes], infos: Sequence[object], sizes: list[int], ids: list[bytes]) -> list[bytes | None]:
        """No nodes."""
        return [None] * len(names)


def look_at(directory: tuple[bytes, int], names: list[bytes], ask: int) -> list[Stat | None]:
    """What none of the entries is."""
    return [None] * len(names)


def survey(
    parent: tuple[bytes, int], names: list[bytes], ask: int, most: int
) -> list[tuple[Stat, list[bytes], list[Stat | None] | None] | None]:
    """Nothing of each directory."""
    return [None] * len(names)


def directories(infos: Sequence[object]) -> list[int]:
    """None: nobody has looked at them."""
    return []


def small_files(infos: Sequence[object], limit: int, most: int, most_bytes: int) -> list[tuple[int, int, int]]:
    """None: nobody has looked at them."""
    return []


def read_files(
    groups: Sequence[tuple[tuple[bytes, int], list[bytes]]], buffer: memoryview, limit: int
) -> tuple[list[Stat | None], list[memoryview], list[int]]:
    """Nothing of each file."""
    count = sum(len(names) for _, names in groups)
    return [None] * count, [buffer[:0]] * count, []


def may_use_openat2(may: bool) -> None:
    """Nothing is opened here."""


def parse_tree(raw: bytes) -> ParsedTree | None:
    """None: the caller decodes it."""
    return None
