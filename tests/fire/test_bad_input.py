"""Repositories with something wrong in them: a command says so in a line, or does its work; nothing more is lost."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from restic_format.storage import Storage
from tests.fire.cases import CASES, World, filled
from tests.fire.damages import DAMAGES
from tests.fire.kit import Contents, Ended, contents, copy_of, prepare, run, stored
from tests.restore.kit import PASSWORD
from tests.safety import kit as safety

ALL = bool(os.environ.get("RESTIC_FORMAT_KILLS"))
COMMANDS = {name: case.words for name, case in CASES.items() if not {"{id}", "{pack}", "{key}"} & set(case.words)} | {
    "repair snapshots": ("repair", "snapshots"),
    "migrate s3_layout": ("migrate", "s3_layout"),
}
"""Command lines by name, but those that do not look at what is stored."""
for _name in ("config", "key add", "key passwd", "backup --init", "prune --lock-free, removing"):
    del COMMANDS[_name]

PANIC = 2
"""How restic ends where it runs into an error of its own."""

OTHERWISE = {
    "recover": "restic's fails by chance, and where a snapshot cannot be read",
    "rewrite": "restic's refuses the trees of the tests, which have nodes without times",
    "rewrite --forget": "likewise",
    "merge": "restic has no such command",
    "merge --delete": "likewise",
    "prune --lock-free, marking": "restic has no such option",
    "an index with blobs that overlap": "restic's refuses to repack; ours takes such a blob from another pack, or refuses",
}
"""Why exit codes are not compared with restic's."""


def run_on(words: tuple[str, ...], world: World, work: Path) -> Ended:
    """Run a command line on repositories in memory."""
    storages: dict[str, Storage] = {f"/{name}": storage for name, storage in world.items()}
    filled_in = [word.format(other="/other", work=work) for word in words]
    return run(["-r", "/repo", "--no-cache", *filled_in], work, storages)


def looked_at(world: World) -> str:
    """The repository that may be damaged: what is copied from, where there are two."""
    return "other" if "other" in world else "repo"


def repaired(world: World, work: Path) -> Contents:
    """What can be read when the index has been repaired."""
    copy = copy_of(world)[looked_at(world)]
    assert run_on(("repair", "index"), {"repo": copy}, work).code == 0
    return contents(copy)


def restics_code(words: tuple[str, ...], world: World, folder: Path, work: Path) -> int:
    """How real restic ends."""
    places = stored(world, folder)
    filled_in = [word.format(other=places.get("other", ""), work=work) for word in words]
    command = [safety.restic_binary(), "--no-cache", "-r", places["repo"], *filled_in]
    env = safety.environment(RESTIC_PASSWORD=PASSWORD, RESTIC_FROM_PASSWORD=PASSWORD)
    return safety.run(command, check=False, env=env, cwd=work).returncode


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    """Good repositories by what is done with them; tests must not change them."""
    return {"": filled()(), "migrate upgrade_repo_v2": filled(version=1)(), "copy": CASES["copy"].make()}


@pytest.mark.parametrize("what", DAMAGES)
def test_nothing_more_is_lost(what: str, worlds: dict[str, World], tmp_path: Path) -> None:
    work = prepare(tmp_path / "work")
    compared = random.Random(what).choice(["forget --prune", "prune", "tag", "copy", "repair index"])
    for name, words in COMMANDS.items():
        good = copy_of(worlds.get(name, worlds[""]))
        damaged = copy_of(good)
        DAMAGES[what](damaged[looked_at(damaged)])
        assert run_on(words, good, work).code == 0
        before, start = repaired(damaged, work), copy_of(damaged)
        done = run_on(words, damaged, work)
        assert done.code in (0, 1), (name, done)
        assert "Traceback" not in done.err and "Fatal: unexpected" not in done.err, (name, done)
        if done.code:
            assert done.err.strip().splitlines()[-1].startswith("Fatal: "), (name, done)
        if done.code and words[0] in ("prune", "merge", "migrate", "copy"):
            for place, storage in damaged.items():
                assert start[place].files.keys() <= storage.files.keys(), (name, "it refuses before it removes anything")
        # What the command leaves of a good repository is still there, as far as it was.
        assert repaired(damaged, work).lost(before, contents(good[looked_at(good)])) == [], (name, done)
        if ALL or name == compared:
            code = restics_code(words, start, tmp_path / name.replace(" ", "-"), work)
            assert code in (done.code, PANIC) or name in OTHERWISE or what in OTHERWISE, (name, done, code)
