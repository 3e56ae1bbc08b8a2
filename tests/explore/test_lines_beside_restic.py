"""`find` and `ls` say what restic 0.19.1 says, byte for byte, on repositories and command lines that are made from a seed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restic_format.words import printable
from restic_spec.gojson import to_bytes
from restic_spec.pack import BlobType
from restic_tools.cli import main
from tests.explore.trees import Forest
from tests.reading import without_lock
from tests.restore.kit import PASSWORD

DATES = [
    "2026-01-01",
    "2026-01-01 00:00",
    "2025-12-31 23:59:59.5",
    "31.12.2025 23:59:59",
    "2026-01-01 01:00:00 +0100",
    "2026-06-15 12:30:00 UTC",
    "15.06.2026 14:30:00 CEST",
    "Mon Jan 1 1:00:00 +0000 UTC 2001",
    "1970-01-01",
    "0001-01-01",
]


def pattern(rng: random.Random, forest: Forest) -> str:
    """A well-formed pattern, often one that fits something."""
    parts = rng.choice(forest.paths).split("/")[1:]
    parts = parts[rng.randrange(len(parts)) :] if rng.random() < 0.7 else parts[: rng.randrange(1, len(parts) + 1)]
    made = []
    for part in parts:
        escaped = "".join(f"\\{char}" if char in "*?[\\" else char for char in part)
        choice = rng.random()
        if choice < 0.15:
            escaped = "*"
        elif choice < 0.25:
            escaped = f"*{escaped[-1]}" if escaped[-1] not in "\\*?[" and len(escaped) > 1 else "*"
        elif choice < 0.35:
            escaped = "?" * rng.randrange(1, 4)
        elif choice < 0.42:
            escaped = rng.choice(("[a-z]*", "[^a]*", "[A-Z]*", "*[.]*", "[ab]"))
        elif choice < 0.5:
            escaped = "**"
        elif choice < 0.55:
            escaped = escaped.upper()
        made.append(escaped)
    text = "/".join(made)
    text = "/" + text if rng.random() < 0.35 else text
    text += "/" if rng.random() < 0.05 else ""
    if rng.random() < 0.04:
        return rng.choice(("", "*", "/", "**", "/**", "."))
    return "!" + text if rng.random() < 0.05 else text


def find_line(rng: random.Random, forest: Forest, packs: list[str], trees: list[str]) -> list[str]:
    """A command line of `find`."""
    words: list[str] = []
    kind = rng.choice(("", "", "", "--blob", "--tree", "--pack"))
    if kind:
        pool = {"--blob": forest.blobs, "--tree": trees, "--pack": packs}[kind]
        ids = [rng.choice([*pool, *pool, rng.choice(trees)]) for _ in range(rng.randrange(1, 3 if kind == "--pack" else 5))]
        words += [kind, *(rng.choice((name, name, name[:8], name[:7], name.upper())) for name in ids)]
        if rng.random() < 0.4:
            words.append("--show-pack-id")
    else:
        words += ["--", *(pattern(rng, forest) for _ in range(rng.choice((1, 1, 1, 2, 3))))]
    flags = [["--json"], ["-l"], ["--human-readable"], ["-i"], ["-R"], ["-q"], ["--host", "one"], ["--tag", "x"]]
    # Not both: restic searches a snapshot twice that is named first and then called "latest".
    flags += [["-s", rng.choice((rng.choice(forest.snapshots)[:8], "latest"))], ["--path", "/home"]]
    flags += [["-O", rng.choice(DATES)], ["-N", rng.choice(DATES)]]
    chosen = [flag for flag in flags if rng.random() < 0.17]
    return ["find", *(word for flag in chosen for word in flag), *words]


def settled(output: bytes) -> bytes:
    """What was said, with the packs in a fixed order: restic has them in the random one of a map."""
    lines = output.splitlines(keepends=True)
    first = next((number for number, said in enumerate(lines) if said.startswith((b"Object ", b"Note: "))), len(lines))
    return b"".join([*lines[:first], *sorted(lines[first:])])


Told = tuple[int, bytes, bytes]
"""Exit code, output, errors."""


@pytest.fixture
def both(
    peer: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Callable[[list[str]], tuple[Told, Told]]]:
    """What our program and restic say to a command line, on the repository ``repo`` in *tmp_path*."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    time.tzset()

    def call(words: list[str]) -> tuple[Told, Told]:
        words = ["--no-cache", "-r", str(tmp_path / "repo"), *words]
        capfdbinary.readouterr()
        code = main(words)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        command = [os.fsencode(peer("restic-0.19")), *map(to_bytes, without_lock(words))]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        return (code, settled(out), err), (done.returncode, settled(done.stdout), done.stderr)

    yield call
    monkeypatch.undo()
    time.tzset()


def ls_line(rng: random.Random, forest: Forest) -> list[str]:
    """A command line of `ls`."""
    snapshot = rng.choice((rng.choice(forest.snapshots), rng.choice(forest.snapshots)[:8], "latest"))
    paths = [path for path in forest.paths if printable(path) == path]  # others are in quotes in our headings and errors
    if rng.random() < 0.25:
        snapshot += ":" + rng.choice(paths)
    words = [snapshot]
    if rng.random() < 0.5:
        words += [rng.choice((path, path, path.rpartition("/")[0] or "/", path + "/")) for path in rng.choices(paths, k=2)]
    modes = ("name", "size", "time", "mtime", "atime", "ctime", "extension")
    flags = [["--json"], ["-l"], ["--human-readable"], ["--reverse"], ["-q"], ["--recursive"], ["--ncdu"], ["--host", "one"]]
    flags += [["--tag", "x"], *[["--sort", rng.choice(modes)]] * 3]
    chosen = [flag for flag in flags if rng.random() < 0.2]
    return ["ls", *(word for flag in chosen for word in flag), *words]


Both = Callable[[list[str]], tuple[Told, Told]]


def compare_find(both: Both, folder: Path, seed: int, lines: int) -> int:
    """Compare *lines* command lines of `find` on one repository; how many found something."""
    forest = Forest(folder / "repo", seed, version=1 + seed % 2)
    forest.fill()
    rng = random.Random(seed)
    packs = [path.name for path in sorted((folder / "repo" / "data").glob("*/*"))]
    trees = sorted(entry.id.hex() for _, entry in forest.repo.index.entries() if entry.type is BlobType.TREE)
    found = 0
    for _ in range(lines):
        words = find_line(rng, forest, packs, trees)
        ours, theirs = both(words)
        assert ours == theirs, words
        found += len(ours[1]) > 3
    return found


def compare_ls(both: Both, folder: Path, seed: int, lines: int) -> int:
    """Compare *lines* command lines of `ls` on one repository; how many listed something."""
    forest = Forest(folder / "repo", seed)
    forest.fill()
    rng = random.Random(seed)
    listed = 0
    for _ in range(lines):
        words = ls_line(rng, forest)
        ours, theirs = both(words)
        assert ours == theirs, words
        listed += ours[1].count(b"\n") > 1
    return listed


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "latest", "//"],
        ["ls", "--json", "latest", "//", "/nothing"],
        ["ls", "latest", "//./"],
        ["find", "-s", 'no"such\\one', "x"],
        ["find", "-s", "\x1b[31mred", "x"],
        ["snapshots", 'no"such'],
        ["stats", "latest", "no\tsuch"],
        ["tag", "--add", "x", 'no"such'],
        ["forget", 'no"such'],
    ],
    ids=" ".join,
)
def test_odd_words_are_read_and_told_as_by_restic(both: Both, tmp_path: Path, words: list[str]) -> None:
    Forest(tmp_path / "repo", 3).fill(1)
    ours, theirs = both(words)
    assert ours == theirs


@pytest.mark.parametrize("seed", [1, 2])  # of either version of the format
def test_find_says_what_restic_says(seed: int, both: Both, tmp_path: Path) -> None:
    assert compare_find(both, tmp_path, seed, 30) > 10


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 18))
def test_find_says_what_restic_says_to_many_lines(seed: int, both: Both, tmp_path: Path) -> None:
    assert compare_find(both, tmp_path, seed, 40) > 10


def test_ls_says_what_restic_says(both: Both, tmp_path: Path) -> None:
    assert compare_ls(both, tmp_path, 31, 40) > 10


@pytest.mark.long
@pytest.mark.parametrize("seed", range(32, 40))
def test_ls_says_what_restic_says_to_many_lines(seed: int, both: Both, tmp_path: Path) -> None:
    assert compare_ls(both, tmp_path, seed, 40) > 10
