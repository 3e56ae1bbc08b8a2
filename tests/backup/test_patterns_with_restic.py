"""Generated lists of patterns choose what they choose in restic 0.19.1.

One run of restic answers for many lists: each has a folder of its own, to which its patterns are bound by their first part.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from restic_format.filter import ExcludeFilter, IncludeFilter
from tests.backup.sources import Restic

NAMES = ["a", "b", "ab", "abc", "A", "*", "[x]", "b.c", "a b"]
TOKENS = ["a", "b", "c", "*", "?", "[ab]", "[^a]", "[a-b]", "\\*", "\\a", ".", "A", "**"]
FOLDERS = 50


def grow(folder: Path, source: random.Random, depth: int) -> None:
    folder.mkdir(parents=True)
    for name in source.sample(NAMES, 5 if depth else 3):
        if depth and source.random() < 0.5:
            grow(folder / name, source, depth - 1)
        else:
            (folder / name).write_bytes(b"")


def part(source: random.Random) -> str:
    if source.random() < 0.25:
        return "**"
    return "".join(source.choices(TOKENS, k=source.randrange(1, 4)))


def patterns(folder: str, source: random.Random, *, anchored: bool) -> list[str]:
    """A list of patterns that match in *folder* only."""
    made = []
    for _ in range(source.randrange(1, 5)):
        text = "/".join([folder, *(part(source) for _ in range(source.randrange(1, 5)))])
        text = text.replace("/", "//", 1) if source.random() < 0.05 else text
        # With three `**` in one that is not anchored, restic also asks for components below what matches, ours does not.
        many = text.split("/").count("**") > 2
        text = f"/{text}" if anchored or many or source.random() < 0.6 else text
        text += "/" if source.random() < 0.1 else ""
        made.append(f"!{text}" if source.random() < 0.2 else text)
    return made


def included(wanted: IncludeFilter, paths: dict[str, str]) -> set[str]:
    """The files that a restore with *wanted* gives; *paths* are those of a snapshot in order, with their types."""
    found = set()
    left_out = "\n"
    for path, kind in paths.items():
        if path.startswith(left_out):
            continue
        if kind == "dir":
            left_out = "\n" if wanted.selects(path)[1] else f"{path}/"
        elif wanted.selects_file(path):
            found.add(path)
    return found


def not_excluded(unwanted: ExcludeFilter, paths: dict[str, str]) -> set[str]:
    """The same for what is to be left out."""
    found = set()
    left_out = "\n"
    for path, kind in paths.items():
        if path.startswith(left_out):
            continue
        if unwanted.rejects(path):
            left_out = f"{path}/"
        elif kind != "dir":
            found.add(path)
    return found


@pytest.mark.parametrize("runs", [2, pytest.param(20, marks=pytest.mark.long)])
def test_generated_patterns_choose_what_they_choose_in_restic(runs: int, restic: Restic, tmp_path: Path) -> None:
    for number in range(FOLDERS):
        grow(tmp_path / "src" / f"t{number:02}", random.Random(number % 7), 2)
    restic("backup", "-q", ".", cwd=tmp_path / "src")
    nodes = [json.loads(line) for line in restic("ls", "latest", "--json").splitlines()[1:]]
    paths = {node["path"]: node["type"] for node in nodes}
    for run in range(runs):
        for option in ("exclude", "include"):
            source = random.Random(f"{run} {option}")
            lists = [patterns(f"t{number:02}", source, anchored=option == "include") for number in range(FOLDERS)]
            lines = [pattern for given in lists[::2] for pattern in given]
            other = [pattern for given in lists[1::2] for pattern in given]
            (tmp_path / "patterns").write_text("\n".join(lines))
            (tmp_path / "other").write_text("\n".join(other))
            flags = [f"--{option}-file={tmp_path / 'patterns'}", f"--i{option}-file={tmp_path / 'other'}"]
            out = restic(
                "restore", "latest", "--no-lock", "--target", str(tmp_path / "out"), "--dry-run", "-vv", "--json", *flags
            )
            said = [json.loads(line) for line in out.splitlines()]
            chosen = {message["item"] for message in said if message.get("action") == "restored"}
            theirs = {path for path in chosen if paths.get(path) == "file"}
            mine = (
                not_excluded(ExcludeFilter(lines, other), paths)
                if option == "exclude"
                else included(IncludeFilter(lines, other), paths)
            )
            wrong = mine ^ theirs
            assert not wrong, [(sorted(wrong)[:3], given) for given in lists if given[0].lstrip("!/")[:3] in str(wrong)][:3]
            assert 0 < len(theirs) < len(paths)
