"""What a kind of damage does to the files of a repository."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from restic_conformance.zoo.site import Files


class Hurt(NamedTuple):
    """A range of bytes of a file that is not as it was; ``end`` in the longer of the two."""

    path: str
    start: int
    end: int


@dataclass
class Change:
    """New contents of files (None: gone), modes, and folders that are gone with all that is in them."""

    files: dict[str, bytes | None] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    without_folders: tuple[str, ...] = ()

    def __or__(self, other: Change) -> Change:
        """Both; where they touch the same file, *other*'s."""
        folders = (*self.without_folders, *other.without_folders)
        return Change({**self.files, **other.files}, {**self.modes, **other.modes}, folders)

    def applied(self, files: Files) -> dict[str, bytes]:
        """*files* as they are afterwards."""
        kept = {
            path: data for path, data in files.items() if not path.startswith(tuple(f"{one}/" for one in self.without_folders))
        }
        for path, data in self.files.items():
            if data is None:
                kept.pop(path, None)
            else:
                kept[path] = data
        return kept

    def apply(self, repository: Path) -> None:
        """Do it to a repository on disk."""
        for folder in self.without_folders:
            shutil.rmtree(repository / folder)
        for name, data in self.files.items():
            path = repository / name
            if path.exists():
                path.unlink()  # files are stored read-only
            if data is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                path.chmod(0o600)
        for name, mode in self.modes.items():
            os.chmod(repository / name, mode)

    def hurts(self, files: Files) -> Iterator[Hurt]:
        """The ranges that differ from *files*; runs of equal bytes shorter than a block do not part a range."""
        after = self.applied(files)
        for path in sorted(files.keys() | after.keys()):
            before, now = files.get(path, b""), after.get(path, b"")
            if path not in after or path not in files:
                yield Hurt(path, 0, len(before or now))
            elif before != now:
                yield from (Hurt(path, start, end) for start, end in differing(before, now))


def differing(before: bytes, now: bytes, gap: int = 16) -> list[tuple[int, int]]:
    """Ranges in which two byte strings differ; what only one of them has counts as different."""
    ranges: list[list[int]] = []
    shorter = min(len(before), len(now))
    step = 4096
    for base in range(0, shorter, step):
        left, right = before[base : min(base + step, shorter)], now[base : min(base + step, shorter)]
        if left == right:
            continue
        for number, (one, other) in enumerate(zip(left, right, strict=True), base):
            if one != other:
                if ranges and number - ranges[-1][1] < gap:
                    ranges[-1][1] = number + 1
                else:
                    ranges.append([number, number + 1])
    if len(before) != len(now):
        ranges.append([shorter, max(len(before), len(now))])
    return [(start, end) for start, end in ranges]
