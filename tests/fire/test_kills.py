"""Commands that are killed at any moment: nothing that a snapshot needs is lost, and the next run ends the work.

``make kills`` kills each of them more often.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from restic_format.storage import LocalStorage
from tests.fire.cases import CASES, NEW_PASSWORD, Case, World
from tests.fire.kit import PAUSE, contents, errors, free, prepare, run, run_child, stored, words_of
from tests.restore.kit import PASSWORD
from tests.safety import kit as safety

KILLS = int(os.environ.get("RESTIC_FORMAT_KILLS", "2"))
IN_A_ROW = 3
"""So often at most a run is killed again, on what the one before has left."""


def finished(case: Case, world: World, place: str) -> bool:
    """Whether what can be done only once has been done."""
    if case.goes is None:
        return False
    there = {name for name, _ in LocalStorage(place).list(case.goes)}
    return any(name not in there for name, _ in world["repo"].list(case.goes))


def make_readable(case: Case, place: str, work: Path) -> None:
    """Remove the locks of the killed, and run what has to be run first."""
    free(place)
    if case.first is not None:
        assert run(["-r", place, "--no-cache", *case.first], work).code == 0


def checked(program: Path, place: str) -> None:
    """Real restic finds nothing wrong."""
    for password in (PASSWORD, NEW_PASSWORD):
        words = [str(program), "--no-cache", "-r", place, "check", "--read-data"]
        done = safety.run(words, env=safety.environment(RESTIC_PASSWORD=password), check=False)
        if done.returncode != 12:
            break
    assert done.returncode == 0 and "no errors were found" in done.stdout, done


@pytest.mark.clause("ORDER-1", "ORDER-3", "ORDER-4", "LAYOUT-8", "RUSTIC-9")
@pytest.mark.parametrize("name", CASES)
def test_kill_9_at_any_moment(name: str, tmp_path: Path, project_root: Path) -> None:
    case = CASES[name]
    rng = random.Random(name)
    work = prepare(tmp_path / "work")
    world = case.make()
    program = project_root / ".peers" / "restic-0.19" / "restic"
    places = stored(world, tmp_path / "whole", old_layout=case.old_layout)
    whole = run_child(words_of(case, world, places, work), work)
    assert whole.code == 0
    before, after = contents(world["repo"]), contents(places["repo"])
    allowed = errors(places["repo"])
    good = not case.old_layout and bool(world["repo"].files) and not errors(world["repo"])
    """Whether restic finds nothing wrong at any time: there is a repository, and not in a layout that it does not know."""
    killed = rounds = 0
    while killed < KILLS:
        folder = tmp_path / f"{rounds}"
        places = stored(world, folder, old_layout=case.old_layout)
        words = words_of(case, world, places, work)
        for _ in range(rng.randint(1, IN_A_ROW)):
            done = run_child(words, work, kill_at=rng.randint(1, whole.steps), later=rng.uniform(0.0, 2 * PAUSE))
            killed += done.killed
            assert done.killed or done.code == 0
            make_readable(case, places["repo"], work)
            assert contents(places["repo"]).lost(before, after) == []
            if not done.killed or finished(case, world, places["repo"]):
                break
        if rounds % 10 == 5 and good:
            checked(program, places["repo"])
        if not finished(case, world, places["repo"]):
            assert run(words, work).code == 0
            assert contents(places["repo"]).lost(before, after) == []
        assert errors(places["repo"]) <= allowed
        if rounds % 10 == 0 and not allowed:
            checked(program, places["repo"])
        shutil.rmtree(folder)
        rounds += 1
        assert rounds < 2 * KILLS + 10, "it is hardly ever killed"
    print(f"{name}: killed {killed} times in {rounds} rounds, of {whole.steps} steps")


@pytest.mark.clause("CACHE-1")
def test_kill_9_while_old_caches_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that is in use stays whole; what is left of the others goes with the next run."""
    work = prepare(tmp_path / "work")
    rng = random.Random(9)
    world = CASES["tag"].make()
    place = stored(world, tmp_path / "new")["repo"]
    monkeypatch.setattr(LocalStorage, "at_hand", False)  # so that there is a cache

    def make(base: Path) -> Path:
        flags = ["--cache-dir", str(base)]
        assert run(["-r", place, *flags, "snapshots"], work).code == 0
        [used] = [path for path in base.iterdir() if path.is_dir()]
        for path in [base / f"{number:064x}" for number in range(3)]:
            shutil.copytree(used, path)
            os.utime(path, (1, 1))
        return used

    def files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    make(tmp_path / "whole")
    words = ["--cache-dir", str(tmp_path / "whole"), "cache", "--cleanup"]
    whole = run_child(words, work)
    assert whole.code == 0 and whole.steps > 3
    killed = 0
    while killed < KILLS:
        used = make(tmp_path / "caches")
        before = files(used)
        words[1] = str(used.parent)
        killed += run_child(words, work, kill_at=rng.randint(1, whole.steps)).killed
        assert files(used) == before
        assert run([*words, "--max-age", "0"], work).code == 0
        assert not [path for path in used.parent.iterdir() if path.is_dir()]
        shutil.rmtree(used.parent)
    print(f"cache --cleanup: killed {killed} times, of {whole.steps} steps")
