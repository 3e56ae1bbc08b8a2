"""``rewrite`` beside real restic: the same trees, snapshots and lines."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.filter import ExcludeFilter, IncludeFilter
from restic_format.maintenance.rewrite import RewriteOptions, plan_rewrite, rewrite
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, all_snapshots
from restic_format.storage import LocalStorage
from tests.tools.kit import PASSWORD, Filled, Outcome, Runner


def opened(folder: Path) -> Repository:
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    repo.load_index()
    return repo


@pytest.fixture
def pair(filled: Filled, tmp_path: Path) -> tuple[Path, Path]:
    """The same repository twice: one for us, one for restic."""
    for name in ("ours", "theirs"):
        shutil.copytree(filled.folder, tmp_path / name)
    return tmp_path / "ours", tmp_path / "theirs"


@pytest.fixture
def one(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that may be changed, named in the environment."""
    monkeypatch.setenv("RESTIC_REPOSITORY", str(pair[0]))
    return pair[0]


def snapshots(folder: Path) -> list[str]:
    """What the snapshots of a repository say, but for the ids of new ones."""
    said = []
    for found in all_snapshots(opened(folder)):
        snapshot = found.snapshot
        said.append(
            str((snapshot.time, snapshot.tree, snapshot.tags, snapshot.hostname, snapshot.excludes, snapshot.statistics()))
        )
    return sorted(said)


def masked(done: Outcome) -> list[bytes]:
    return sorted(re.sub(rb"(saved new|snapshot) [0-9a-f]{8}|old snapshot [0-9a-f]{8}", b"X", done.out).splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ("-e", "*.txt"),
        ("-e", "*.txt", "--forget", "-vv", "--tag", "a"),
        ("-i", "*.txt", "--host", "h1", "-vv"),
        ("-i", "empty", "-vv", "-n"),
        ("--iinclude", "DIR", "-v"),
        ("--iexclude", "DIR", "-q"),
        ("-e", "nothing"),
        ("-e", "/"),
        ("-s", "--forget"),
        ("--new-host", "new", "--new-time", "2021-02-03 04:05:06", "--path", "none"),
        ("--new-host", "new", "--new-time", "2021-02-03 04:05:06", "--host", "h2", "--forget"),
        ("--new-time", "2021-02-03 04:05:06", "-n", "--forget", "-e", "a.txt"),
        ("nosuch", "-e", "x"),
        (),
        ("-e", "x", "-i", "y"),
        ("--include-file", "/dev/null"),
        ("-i", ""),
    ],
)
def test_the_same_as_restic(
    pair: tuple[Path, Path], run: Runner, restic_here: Runner, words: tuple[str, ...], tmp_path: Path
) -> None:
    ours, theirs = pair
    mine, real = run("-r", str(ours), "rewrite", *words), restic_here("-r", str(theirs), "rewrite", *words)
    assert mine.code == real.code
    assert mine.err == real.err
    assert masked(mine) == masked(real)
    assert snapshots(ours) == snapshots(theirs)


def generated(rng: random.Random, names: list[str]) -> list[str]:
    """A list of patterns that mostly have to do with *names*."""

    def part() -> str:
        name = rng.choice(names)
        forms = [
            name,
            "*" + name[-3:],
            name[:2] + "*",
            name[:1] + "?" * (len(name) - 1),
            f"[{name[:1]}-z]*",
            "*",
            "**",
            name.upper(),
        ]
        return rng.choice(forms)

    def pattern() -> str:
        text = "/".join(part() for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
        return rng.choice(("", "", "", "/", "!", "/**/")) + text + rng.choice(("", "", "", "/"))

    return [pattern() for _ in range(rng.choice((1, 2, 3)))]


def compare(restic: Runner, folder: Path, source: Path, count: int, seed: int) -> int:
    """Rewrite a snapshot by *count* generated lists with both programs; how often something was left out."""
    rng = random.Random(seed)
    repo = opened(folder)
    [first] = [found for found in all_snapshots(repo) if "a" in found.snapshot.tags]
    names = sorted(
        {path.name for path in source.rglob("*") if path.name.isascii() and path.name.isprintable() and "<" not in path.name}
        | set(source.parts[1:])
    )
    changed = 0
    for number in range(count):
        option = rng.choice(("exclude", "include", "iexclude", "iinclude"))
        patterns = generated(rng, names)
        lists = ([], patterns) if option.startswith("i") and option != "include" else (patterns, [])
        kind = {"excludes": ExcludeFilter(*lists)} if "exclude" in option else {"includes": IncludeFilter(*lists)}
        plan = plan_rewrite(repo, RewriteOptions(dry_run=True, **kind), [first.id.hex()])
        mine = rewrite(plan).changed
        before = {path.name for path in (folder / "snapshots").iterdir()}
        done = restic("rewrite", first.id.hex(), *(f"--{option}={pattern}" for pattern in patterns))
        assert done.code == 0, (patterns, done.err)
        new = {path.name for path in (folder / "snapshots").iterdir()} - before
        theirs = [FoundSnapshot(bytes.fromhex(name), repo.load_snapshot(bytes.fromhex(name))) for name in new]
        said = (option, patterns, number)
        assert [change.new.tree for change in mine] == [found.snapshot.tree for found in theirs], said
        assert [change.new.statistics() for change in mine] == [found.snapshot.statistics() for found in theirs], said
        changed += len(theirs)
    return changed


@pytest.mark.clause("TREE-25")
def test_patterns_choose_what_they_choose_in_restic(
    pair: tuple[Path, Path], restic_here: Runner, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(pair[0]))
    assert compare(restic_here, pair[0], filled.source, 12, 7) >= 4


@pytest.mark.long
def test_many_patterns_choose_what_they_choose_in_restic(
    pair: tuple[Path, Path], restic_here: Runner, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(pair[0]))
    assert compare(restic_here, pair[0], filled.source, 200, 11) >= 60


@pytest.mark.parametrize("program", ["restic-0.14", "restic-0.19"])
def test_real_programs_find_the_repository_whole(
    pair: tuple[Path, Path], run: Runner, peer: Callable[[str], Path], program: str, tmp_path: Path
) -> None:
    assert run("-r", str(pair[0]), "rewrite", "-e", "*.txt", "--forget").code == 0
    words = [peer(program), "--no-cache", "-r", pair[0], "check", "--read-data"]
    done = subprocess.run(words, env={"RESTIC_PASSWORD": PASSWORD, "HOME": str(tmp_path)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_json(pair: tuple[Path, Path], run: Runner, filled: Filled) -> None:
    done = run("-r", str(pair[0]), "rewrite", "--json", "-e", "*.txt", filled.ids[0])
    changed, summary = map(json.loads, done.out.splitlines())
    assert changed == {
        "message_type": "changed",
        "old_snapshot_id": filled.ids[0],
        "new_snapshot_id": changed["new_snapshot_id"],
    }
    assert (pair[0] / "snapshots" / changed["new_snapshot_id"]).exists()
    assert summary == {"message_type": "summary", "changed_snapshots": 1, "unchanged_snapshots": 0, "dry_run": False}
    done = run("-r", str(pair[0]), "rewrite", "--json", "-n", "-vv", "-e", "a.txt", "--forget", filled.ids[0])
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"message_type": "changed", "old_snapshot_id": filled.ids[0]},
        {"message_type": "summary", "changed_snapshots": 1, "unchanged_snapshots": 0, "dry_run": True},
    ]
    done = run("-r", str(pair[0]), "rewrite", "--json", "--forget", "-e", "a.txt", filled.ids[0])
    assert json.loads(done.out.splitlines()[0])["old_removed"] is True


def test_only_forget_needs_the_repository_alone(pair: tuple[Path, Path], run: Runner) -> None:
    repo = opened(pair[0])
    words = ("-r", str(pair[0]), "rewrite", "-e", "*.txt")
    with repo.lock():
        assert run(*words, "--forget").code == 11
        assert run(*words).code == 0
    with repo.lock(exclusive=True):
        assert run(*words).code == 11 and run(*words, "--no-lock").code == 11
        assert run(*words, "--forget", "-n").code == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--new-time", "yesterday"), b'Fatal: error in time option: "yesterday"'),
        (("-e", "["), b"Fatal: --exclude: invalid pattern(s) provided:\n["),
        (("--include-file", "/nowhere"), b'Fatal: failed to read patterns from file "/nowhere"'),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    pair: tuple[Path, Path], run: Runner, words: tuple[str, ...], text: bytes
) -> None:
    done = run("-r", str(pair[0]), "rewrite", *words)
    assert done.code == 1 and done.err.startswith(text) and done.out == b""


def test_a_snapshot_that_cannot_be_rewritten_is_named(pair: tuple[Path, Path], run: Runner, filled: Filled) -> None:
    for pack in (pair[0] / "data").rglob("?" * 64):
        pack.unlink()
    done = run("-r", str(pair[0]), "rewrite", "-e", "x", filled.ids[1], "--forget")
    assert done.code == 1 and done.err.startswith(b'Fatal: unable to rewrite snapshot ID "' + filled.ids[1][:8].encode())
    assert len(list((pair[0] / "snapshots").iterdir())) == 3
