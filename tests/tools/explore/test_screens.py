"""Every screen of the explorer in 80 columns and 24 lines, as a text that was looked at; made of fixtures, whose ids are fixed.

They are texts and no pictures: a change is read in the difference, and another version of Textual draws the same characters.
``RESTIC_FORMAT_SCREENS=write`` writes them again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from restic_format.words import visible
from tests.tools.explore.kit import open_repository, shown

FOLDER = Path(__file__).parent / "screens"
WRITE = os.environ.get("RESTIC_FORMAT_SCREENS") == "write"
V2 = "restic-0.19-v2"

SCREENS: dict[str, tuple[str, str]] = {
    "snapshots": (V2, ""),
    "snapshots-marked": (V2, "space space"),
    "snapshots-of-rustic": ("rustic-v2", ""),
    "folder": (V2, "down enter enter"),
    "folder-odd-names-end": (V2, "down enter enter down enter end"),
    "file": (V2, "down enter enter end enter"),
    "file-of-stdin": (V2, "enter enter"),
    "symlink": (V2, "down enter slash =symlink-1 enter"),
    "view-text": (V2, "enter v"),
    "view-hex": (V2, "enter v t"),
    "view-zeros": (V2, "down enter enter end v pagedown"),
    "pack-of-blob": (V2, "down enter enter end enter down enter"),
    "bytes-of-blob": (V2, "down enter enter end enter down enter enter"),
    "bytes-inside-blob": (V2, "down enter enter end enter down enter enter end enter"),
    "bytes-of-snapshot": (V2, "b"),
    "bytes-of-tree": (V2, "down enter b end enter end enter"),
    "bytes-hex": (V2, "b down b"),
    "users": (V2, "down enter enter end enter u"),
    "users-of-tree": (V2, "down enter enter u"),
    "folder-of-user": (V2, "down enter enter end enter u f"),
    "find": (V2, "down enter slash =zero"),
    "find-pattern": (V2, "down enter slash =*.txt"),
    "find-nothing": (V2, "down enter slash =nothing_like_this"),
    "find-asks": (V2, "down enter slash"),
    "ids": (V2, "i =ffd0"),
    "ids-wrong": (V2, "i =xyz"),
    "id-opened": (V2, "i =ffd0 enter"),
    "diff": (V2, "down space space d"),
    "diff-opened": (V2, "down space space d enter"),
    "diff-unmarked": (V2, "d"),
    "marks": (V2, "down space enter enter space space m"),
    "packs": (V2, "2"),
    "pack": (V2, "2 enter"),
    "bytes-of-pack": (V2, "2 b"),
    "header-of-pack": (V2, "2 b down enter"),
    "indexes": (V2, "3"),
    "bytes-of-index": (V2, "3 enter end enter end enter"),
    "keys": (V2, "4"),
    "bytes-of-key": (V2, "4 b"),
    "locks": (V2, "5"),
    "help": (V2, "question_mark"),
    "help-end": (V2, "question_mark end"),
    "restore-asks": (V2, "down space r"),
    "restore-confirms": (V2, "down space enter enter space r =/nowhere/at/all"),
    "restore-confirms-another-choice": (V2, "down space r =/nowhere/at/all o"),
    "restore-not-done": (V2, "down space r escape"),
    "v1": ("restic-0.14-v1", "enter"),
    "v1-bytes-of-pack": ("restic-0.14-v1", "2 b"),
    "duplicates": ("duplicates-v2", "enter enter end enter"),
    "damaged-snapshot": ("snapshot-flip", ""),
    "damaged-snapshot-errors": ("snapshot-flip", "e"),
    "damaged-tree-users": ("tree-blob-flip", "i =5679a080 u"),
    "damaged-tree-bytes": ("tree-blob-flip", "i =5679a080 b"),
    "damaged-blob-in-pack": ("data-blob-flip", "i =7b53756a b"),
    "damaged-blob": ("data-blob-flip", "i =6746bb57 b"),
    "damaged-header": ("header-flip", "i =7b53756a enter"),
    "damaged-header-bytes": ("header-flip", "i =7b53756a b"),
    "damaged-key": ("key-flip-beside-good", "4"),
    "damaged-key-bytes": ("key-flip-beside-good", "4 down b"),
    "damaged-index": ("index-missing", "down enter enter end enter"),
}
"""By name: the fixture, and the keys that lead there; what follows ``=`` is typed, and Enter pressed."""


async def follow(folder: Path, keys: str, size: tuple[int, int] = (80, 24)) -> list[str]:
    """The lines of the screen after these keys."""
    async with shown(open_repository(folder), size) as screen:
        for key in keys.split():
            if key.startswith("="):
                await screen.write(key[1:])
            else:
                await screen.press(key)
        return screen.lines()


def always_holds(lines: list[str], size: tuple[int, int]) -> None:
    """What every screen keeps to."""
    assert len(lines) == size[1]
    for line in lines:
        assert cell_len(line) <= size[0], line
        assert visible(line) == line


@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str, fixture: Callable[[str], Path]) -> None:
    repository, keys = SCREENS[name]
    lines = asyncio.run(follow(fixture(repository), keys))
    always_holds(lines, (80, 24))
    committed = FOLDER / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if WRITE:
        committed.parent.mkdir(exist_ok=True)
        committed.write_text(text)
    assert text == committed.read_text()


def test_every_screen_is_one_of_those() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(SCREENS)


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 8), (200, 60)])
@pytest.mark.parametrize("keys", ["", "down enter enter down enter end", "4", "2 b", "question_mark", "down space r"])
def test_other_sizes(size: tuple[int, int], keys: str, fixture: Callable[[str], Path]) -> None:
    """On a small screen less is seen, but nothing fails; the keys for help and for the end are seen in any list."""
    lines = asyncio.run(follow(fixture(V2), keys, size))
    always_holds(lines, size)
    if keys not in ("question_mark", "down space r"):
        assert lines[-1].strip().endswith("? help  q quit")
