"""``stats`` beside real restic: the same numbers in every mode, the same lines, the same end of what cannot be counted."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

import pytest

from restic_conformance import fixtures
from restic_conformance.vault import quicken
from restic_format.explore.stats import Mode, Statistics, count
from restic_format.explore.treesizes import TreeSizes, read_sizes
from restic_format.repository import Repository
from restic_format.snapshots import all_snapshots
from restic_format.storage import LocalStorage
from restic_spec.gojson import go_float
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node
from tests.explore.kit import WatchedStorage
from tests.restore.kit import Maker, memory_repo
from tests.tools.kit import PASSWORD, Runner, new_repository

MODES = [mode.value for mode in Mode]


def page(out: bytes) -> bytes:
    """The lines, without how long it took."""
    return re.sub(rb"^\[[0-9:]+\]", b"[0:00]", out, flags=re.MULTILINE)


@pytest.mark.parametrize("mode", MODES)
def test_every_number_is_that_of_restic(mode: str, history: list[str], run: Runner, restic_here: Runner) -> None:
    shuffled = random.Random(3).sample(history, len(history))
    lines = [[*history, "--json"], [*shuffled, "--json"], history, shuffled, ["latest"], [history[2][:8]], ["-q", history[0]]]
    for words in lines:
        ours, theirs = (call("stats", "--mode", mode, *words) for call in (run, restic_here))
        assert (ours.code, page(ours.out), ours.err) == (theirs.code, page(theirs.out), theirs.err), words


@pytest.mark.parametrize("mode", ["restore-size", "files-by-contents", "raw-data"])
def test_filters_and_all_snapshots(mode: str, history: list[str], run: Runner, restic_here: Runner) -> None:
    """Without names restic takes them in any order, which decides about one mode; there is nothing to compare then."""
    for words in (
        [],
        ["--host", "h0"],
        ["--tag", "t1", "--tag", "t3"],
        ["--path", "/nowhere"],
        ["--host", "none"],
        ["no-such-id"],
        [history[0], "no-such-id"],
        [history[0], "--host", "h1"],
        ["latest", "--host", "h1"],
        ["latest:a"],
        [history[0], history[0]],
    ):
        ours, theirs = (call("stats", "--json", "--mode", mode, *words) for call in (run, restic_here))
        assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), words


@pytest.mark.parametrize("name", ["restic-0.14-v1", "restic-0.19-v2", "duplicates-v2", "rustic-v2"])
def test_what_other_programs_wrote(
    name: str, tmp_path: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fixtures.unpack(name, tmp_path / "unpacked")
    quicken(path, PASSWORD)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(path))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    for mode in MODES:
        ours, theirs = (call("stats", "--no-lock", "--json", "--mode", mode, "latest") for call in (run, restic_here))
        assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), mode


def test_the_sizes_of_files_and_blobs(history: list[str], empty: Path, run: Runner, restic_here: Runner) -> None:
    for repository in (os.environ["RESTIC_REPOSITORY"], str(empty)):
        ours, theirs = (call("stats", "-r", repository, "--no-lock", "--mode", "debug") for call in (run, restic_here))
        assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
    assert history


@pytest.mark.usefixtures("empty")
def test_an_empty_repository_and_a_mode_that_is_none(run: Runner, restic_here: Runner) -> None:
    for words in (["--mode", "raw-data"], ["--json"], ["--mode", "nonsense"], ["latest"], []):
        ours, theirs = run("stats", *words), restic_here("stats", *words)
        assert (ours.code, page(ours.out), ours.err) == (theirs.code, page(theirs.out), theirs.err), words


# Trees as nobody makes them


def forged(maker: Maker) -> list[bytes]:
    """The trees of snapshots with linked items of several sizes, without inodes, and in trees that stand in several places."""

    def linked(name: str, inode: int, size: int, links: int = 2, device: int = 7) -> Node:
        return maker.file(name, b"x" * size, size=size, inode=inode, device_id=device, links=links)

    shared = [linked("a", 1, 10), linked("b", 2, 20), linked("c", 0, 40), linked("d", 5, 80, links=1)]
    inner = maker.folder("m", shared)
    again = maker.folder("n", shared)
    first = maker.finish([linked("a", 2, 3), inner, again, linked("z", 1, 1000), linked("zz", 1, 7, device=8)])
    deep = maker.folder("deep", [again])
    second = maker.finish([deep, linked("e", 1, 11), maker.symlink("l", "x"), linked("z", 2, 13)])
    third = maker.finish([maker.folder("a", [maker.file("f", b"1", b"2", b"1")]), maker.file("f", b"2", b"1")])
    fourth = maker.finish([maker.folder("b", [maker.file("f", b"2", b"1")]), maker.file("f", b"1", b"2", b"3")])
    # A file that comes before a directory: the blobs of both count at its path.
    twice = b"7", b"8"
    fifth = maker.finish([maker.file("a", *twice), maker.folder("b", [maker.file("f", *twice)])])
    sixth = maker.finish([maker.file("a", *twice, b"9")])
    return [first, second, third, fourth, fifth, sixth]


@pytest.mark.parametrize("version", [1, 2])
def test_forged_trees_count_as_with_restic(
    version: int, tmp_path: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    new_repository(folder, version)
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    maker = Maker(repo)
    trees = forged(maker)
    maker.writer.flush()
    ids = [repo.save_snapshot(Snapshot(f"2024-01-0{n + 1}T00:00:00Z", tree=tree.hex())).hex() for n, tree in enumerate(trees)]
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    for mode in MODES:
        for names in (ids, ids[::-1], ids[1:2], [ids[2], ids[3]], [ids[3], ids[2]], ids[4:]):
            ours, theirs = (call("stats", "--mode", mode, *names) for call in (run, restic_here))
            assert (ours.code, page(ours.out), ours.err) == (theirs.code, page(theirs.out), theirs.err), (mode, names)


def test_a_tree_that_names_itself_over_and_over_is_counted_at_once() -> None:
    """2 to the 60th files, which nobody could walk; the sums are restic's, of 64 bits."""
    maker = Maker(memory_repo())
    nodes = [maker.file("f", b"12345", inode=4, device_id=1, links=2), maker.file("g", b"1")]
    for _ in range(60):
        nodes = [maker.folder("a", nodes), maker.folder("b", nodes)]
    root = maker.finish(nodes)
    sizes = TreeSizes()
    read_sizes(maker.repo, root, sizes)
    assert sizes.of(root).entries == (2 * (1 << 60) + 2 * ((1 << 60) - 1)) % (1 << 64)
    assert sizes.of(root).size == (1 << 60) + 5
    assert sizes.of(root).every == 6 << 60


def test_a_snapshot_with_the_trees_of_another_reads_nothing(histories: dict[int, tuple[Path, list[str]]]) -> None:
    """Every tree is read once, and no data at all."""
    repository, _ = histories[2]
    storage = WatchedStorage(str(repository))
    repo = Repository.open(storage, PASSWORD)
    repo.load_index()
    found = sorted(all_snapshots(repo), key=lambda item: item.time_ns)
    data = {pack for pack, entry in repo.index.entries() if entry.type is BlobType.DATA}
    for mode in Mode:
        storage.packs.clear()
        once = count(repo, found, mode)
        reads = len(storage.packs)
        assert reads and not set(storage.packs) & data
        twice = count(repo, [item for item in found for _ in range(2)], mode)
        assert len(storage.packs) == 2 * reads, "not more than the first time"
        if mode is not Mode.RESTORE_SIZE:
            assert (twice.size, twice.files, twice.blobs) == (once.size, once.files, once.blobs)


# What is damaged


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("damage", ["tree", "data", "no tree"])
def test_what_cannot_be_counted_ends_like_restic(
    mode: str, damage: str, tmp_path: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    new_repository(folder)
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    maker = Maker(repo)
    missing = "ab" * 32
    nodes = [maker.file("f", b"123"), maker.folder("g", [maker.file("h", b"4")])]
    if damage == "tree":
        nodes[1].subtree = missing
    elif damage == "data":
        nodes[0].content = [missing]
    root = maker.finish(nodes)
    repo.save_snapshot(Snapshot("2024-01-01T00:00:00Z", **({} if damage == "no tree" else {"tree": root.hex()})))
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ours, theirs = (call("stats", "--mode", mode, "--json") for call in (run, restic_here))
    assert (ours.code, bool(ours.out)) == (theirs.code, bool(theirs.out))
    if theirs.code:
        # What is wrong with the tree is said in words of our own.
        said = [json.loads(done.err.splitlines()[-1])["message"] for done in (ours, theirs)]
        assert said[0].partition(": ")[0] == said[1].partition(": ")[0]
        if damage == "data" and mode == "raw-data":
            assert said[0] == said[1]
    text, real = (call("stats", "--mode", mode) for call in (run, restic_here))
    assert page(text.out).splitlines()[0] == page(real.out).splitlines()[0] == b"scanning..."
    assert (b"Stats in" in text.out) is (b"Stats in" in real.out)


def test_a_damaged_snapshot_is_left_out(
    histories: dict[int, tuple[Path, list[str]]], tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    new_repository(folder)
    (folder / "snapshots" / ("ab" * 32)).write_bytes(b"garbage")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    done = run("stats", "--json")
    assert done.code == 0 and json.loads(done.out)["snapshots_count"] == 0
    assert done.err.startswith(b'Ignoring "abab')
    assert histories


def test_ratios_without_anything() -> None:
    nothing = Statistics()
    assert (nothing.compression_ratio, nothing.compression_progress, nothing.space_saving) == (0, 0, 0)
    assert bytes(go_float(Statistics(size=3, uncompressed=4).space_saving)) == b"25"
