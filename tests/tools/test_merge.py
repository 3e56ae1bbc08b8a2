"""``merge``: its lines and messages, what restic reads of it, and what rustic makes of the same snapshots."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from restic_conformance import fixtures
from restic_format.repository import Repository
from restic_format.snapshots import all_snapshots
from restic_format.storage import LocalStorage
from restic_spec import gotime
from tests.tools.kit import PASSWORD, Filled, Runner


@pytest.fixture
def repo(filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(filled.folder, tmp_path / "merged")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    return folder


def trees(folder: Path) -> dict[str, str]:
    opened = Repository.open(LocalStorage(str(folder)), PASSWORD)
    return {found.id.hex(): str(found.snapshot.tree) for found in all_snapshots(opened)}


def test_restic_reads_the_merged_snapshot(repo: Path, run: Runner, restic_here: Runner, filled: Filled, tmp_path: Path) -> None:
    before = trees(repo)
    done = run("merge", "--tag", "m,n", "--host", "new")
    assert done.code == 0 and done.out.startswith(b"merged 3 snapshots\nsaved new snapshot ")
    [new] = set(trees(repo)) - set(before)
    assert done.out.split()[-1].decode() == new[:8]
    assert restic_here("check", "--read-data").code == 0
    assert restic_here("restore", new, "--target", str(tmp_path / "out")).code == 0
    there = subprocess.run(
        ["diff", "-r", "--no-dereference", "-x", "pipe", filled.source, f"{tmp_path}/out{filled.source}"], check=False
    )
    assert there.returncode == 0
    [said] = json.loads(restic_here("snapshots", "--json", "--tag", "m,n", "--host", "new").out)
    assert said["id"] == new and said["summary"]["total_files_processed"] > 4


def test_json_and_what_goes(repo: Path, run: Runner, filled: Filled) -> None:
    first, second, third = filled.ids
    done = run("merge", "--json", "-n", "--delete", first, second)
    said = json.loads(done.out)
    assert said["dry_run"] and sorted(said["merged_snapshots"]) == sorted([first, second]) and "snapshot_id" not in said
    assert set(trees(repo)) == set(filled.ids)
    done = run("merge", "--json", "--delete", first, second)
    said = json.loads(done.out)
    assert done.out.startswith(b'{"message_type":"summary","merged_snapshots":["')
    assert sorted(said["removed_snapshots"]) == sorted([first, second])
    assert set(trees(repo)) == {third, said["snapshot_id"]}
    assert trees(repo)[said["snapshot_id"]] == said["tree"]


def test_filters_and_errors(repo: Path, run: Runner) -> None:
    done = run("merge", "-n", "--filter-host", "h1", "--filter-tags", "a")
    assert done.code == 0 and done.out.startswith(b"would merge 1 snapshots: ")
    before = trees(repo)
    for words in (("nosuch",), (next(iter(before)), "nosuch", "--delete"), ("latest~3", "latest")):
        done = run("merge", *words)
        assert done.code == 1 and (b"no matching ID" in done.err or b"no snapshot found for latest~3" in done.err)
        assert trees(repo) == before
    assert run("merge", "--filter-host", "nosuch").err.endswith(b"there are no snapshots to merge\n")
    assert run("merge", "--description", "a", "--description-from", "b").code == 1
    with Repository.open(LocalStorage(str(repo)), PASSWORD).lock():
        assert run("merge", "--delete").code == 11
        assert run("merge").code == 0


def test_snapshots_of_rustic(run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # rustic 0.11.4 itself makes a tree of these in which names stand twice: it sorts them otherwise than it reads them.
    folder = fixtures.unpack("rustic-v2", tmp_path / "unpacked")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)

    def listing(snapshot: str) -> dict[str, tuple[int, str]]:
        done = run("ls", "--json", snapshot)
        assert done.code == 0, done.err
        nodes = [json.loads(line) for line in done.out.splitlines()[1:]]
        assert len({node["path"] for node in nodes}) == len(nodes)
        return {node["path"]: (gotime.parse_ns(node["mtime"]), node["type"]) for node in nodes}

    before = trees(folder)
    newest: dict[str, tuple[int, str]] = {}
    for snapshot in before:
        for path, said in listing(snapshot).items():
            newest[path] = max(said, newest.get(path, said))
    assert run("merge").code == 0
    [new] = set(trees(folder)) - set(before)
    assert listing(new) == newest and len(newest) > 200
    assert restic_here("check", "--read-data").code == 0


@pytest.mark.clause("RUSTIC-3", "RUSTIC-8")
def test_what_the_new_snapshot_says_is_what_rustics_options_ask_for(repo: Path, run: Runner) -> None:
    words = ["--time", "2026-01-02 03:04:05", "--delete-after", "1m", "--command", "a <b>", "--label", "l", "--host", "h"]
    assert run("merge", "--delete-never", "--delete-after", "1m").code == 1
    assert b"--time" in run("merge", "--time", "yesterday").err
    assert b"--delete-after" in run("merge", "--delete-after", "soon").err
    done = run("merge", "--json", *words)
    made = json.loads(run("cat", "snapshot", json.loads(done.out)["snapshot_id"]).out)
    assert (made["time"], made["hostname"], made["label"]) == ("2026-01-02T03:04:05Z", "h", "l")
    assert made["delete"] == {"After": "2026-02-02T03:04:05+00:00[UTC]"} and made["summary"]["command"] == "a <b>"
