"""``du``: what it says costs are, against sets of blobs taken one by one, and against what prune of the real program frees."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from restic_format.errors import BlobMissing, ResticFormatError, SnapshotNotFound, UsageError
from restic_format.explore.cost import TREES, Cost, count_stored, folder_costs, folders, snapshot_costs, type_costs, types
from restic_format.explore.treesizes import TreeSizes, read_sizes
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, Walk, all_snapshots, resolve_subfolder
from restic_format.snapshots.used import find_used
from restic_format.storage import LocalStorage
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import DIR, FILE, Node
from tests.explore.kit import WatchedStorage
from tests.restore.kit import Maker, memory_repo
from tests.tools.kit import PASSWORD, Runner, new_repository

Blobs = set[tuple[BlobType, bytes]]
Histories = dict[int, tuple[Path, list[str]]]


def opened(folder: Path) -> Repository:
    repo = Repository.open(WatchedStorage(str(folder)), PASSWORD)
    repo.load_index()
    return repo


def in_order(repo: Repository) -> list[FoundSnapshot]:
    return sorted(all_snapshots(repo), key=lambda item: item.time_ns)


def root_of(found: FoundSnapshot) -> bytes:
    assert found.snapshot.tree
    return bytes.fromhex(found.snapshot.tree)


def blobs_of(repo: Repository, *trees: bytes) -> Blobs:
    used = find_used(repo, trees)
    return {(BlobType.TREE, blob) for blob in used.trees} | {(BlobType.DATA, blob) for blob in used.data}


def stored(repo: Repository, blobs: Blobs) -> int:
    found = [repo.index.lookup(*blob) for blob in blobs]
    return sum(location.length for location in found if location is not None)


def expected(repo: Repository, own: Blobs, others: Blobs, elsewhere: Blobs) -> tuple[int, int, int]:
    """Stored, unique and freed, given what the other rows need, and the rest of the repository."""
    return stored(repo, own), stored(repo, own - others), stored(repo, own - others - elsewhere)


def union(sets: Sequence[Blobs]) -> Blobs:
    return set().union(*sets)


@pytest.fixture(params=[1, 2])
def repo(request: pytest.FixtureRequest, histories: Histories) -> Repository:
    return opened(histories[request.param][0])


# Against sets


def test_snapshots_cost_what_sets_of_their_blobs_say(repo: Repository) -> None:
    every = in_order(repo)
    sets = {found.id: blobs_of(repo, root_of(found)) for found in every}
    numbers = random.Random(1)
    choices = [every, every[::-1], every[:1], [], [every[2], every[0], every[5]], numbers.sample(every, 3)]
    for shown in choices:
        others = [found for found in every if found not in shown]
        costs = snapshot_costs(repo, shown, others)
        outside = union([sets[found.id] for found in others])
        for found, cost in costs.rows:
            rest = union([sets[other.id] for other in shown if other is not found])
            assert cost[2:] == expected(repo, sets[found.id], rest, outside)
            assert cost.shared == cost.stored - cost.unique
        inside = union([sets[found.id] for found in shown])
        assert costs.total.stored == stored(repo, inside)
        assert costs.total.freed == stored(repo, inside - outside)
        assert costs.total.unique == sum(row.cost.unique for row in costs.rows)
        assert costs.repository.needed == stored(repo, inside | outside)
        assert costs.repository.all == sum(entry.length for _, entry in repo.index.entries())


def test_sizes_are_those_of_stats(repo: Repository) -> None:
    for found, cost in snapshot_costs(repo, in_order(repo)).rows:
        sizes = TreeSizes()
        read_sizes(repo, root_of(found), sizes)
        assert cost[:2] == sizes.of(root_of(found))[:2]


@pytest.mark.parametrize("depth", [0, 1, 2, 9])
@pytest.mark.parametrize("below", ["", "source", "source/a"])
def test_directories_cost_what_sets_of_their_blobs_say(repo: Repository, below: str, depth: int) -> None:
    every = in_order(repo)
    found, others = every[3], [*every[:3], *every[4:]]
    above = str(found.snapshot.path_list()[0]).removesuffix("/source")
    path = f"{above}/{below}".rstrip("/") if below else ""
    costs = folder_costs(repo, found, path, others, depth=depth)
    outside = union([blobs_of(repo, root_of(other)) for other in others])
    assert costs.rows[0].path == (path or "/") and costs.rows[0].above == -1
    assert {row.depth for row in costs.rows} <= set(range(depth + 1))
    for row in costs.rows:
        tree = resolve_subfolder(repo, root_of(found), row.path)
        rest = without(repo, root_of(found), row.path)
        assert row.cost[2:] == expected(repo, blobs_of(repo, tree), rest, outside), row.path
        assert row.above == -1 or costs.rows[row.above].depth == row.depth - 1
    paths = [row.path for row in costs.rows]
    assert len(set(paths)) == len(paths) and (len(paths) == 1 if depth == 0 else len(paths) > 1 or below == "source/a")
    assert costs.repository.needed == stored(repo, outside | blobs_of(repo, root_of(found)))


def without(repo: Repository, root: bytes, path: str) -> Blobs:
    """What a snapshot needs besides the directory at *path*."""
    needed: Blobs = set()
    if path == "/":
        return needed
    needed.add((BlobType.TREE, root))
    walk = Walk(repo, root, None, fault=raising)
    for level, node, name in walk:
        if level.path_of(name) == path:
            continue
        if node.type == DIR and node.subtree is not None:
            needed.add((BlobType.TREE, bytes.fromhex(node.subtree)))
            walk.enter(node, name, None)
        elif node.type == FILE:
            needed |= {(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs}
    return needed


def raising(level: object, node: object, error: ResticFormatError) -> None:
    raise error


def test_types_cost_what_sets_of_their_blobs_say() -> None:
    maker = Maker(memory_repo())
    b = b"b" * 500
    one = [
        maker.file("a.txt", b"1", b),
        maker.file("b.TXT", b"2"),
        maker.file("x.txt"),
        maker.file("c.tar.gz", b, b),
        maker.file(".profile", b"3"),
        maker.file("none", b"1"),
        maker.file("longer.than any ending is", b"4"),
        maker.symlink("l.txt", "x"),
    ]
    one.sort(key=lambda node: node.name_bytes)
    inner = maker.folder("m", one)
    first = maker.finish([inner, maker.folder("n", one), maker.file("z.c", b"5", b"1")])
    second = maker.finish([inner, maker.file("y.c", b"6")])
    snapshots = [made(maker.repo, tree, day) for day, tree in enumerate((first, second), 1)]
    costs = {row.type: row.cost for row in type_costs(maker.repo, snapshots, "", []).rows}
    size = {data: location(maker.repo, data) for data in (b"1", b"2", b"3", b"4", b"5", b"6", b)}
    assert set(costs) == {"txt", "gz", "", "c", TREES}
    assert costs["txt"] == Cost(9, 3 * 502, size[b"1"] + size[b"2"] + size[b], size[b"2"], size[b"2"])
    assert costs["gz"] == Cost(3, 3000, size[b], 0, 0)
    alone = size[b"3"] + size[b"4"]
    assert costs[""] == Cost(9, 9, size[b"1"] + alone, alone, alone)
    assert costs["c"] == Cost(2, 3, size[b"1"] + size[b"5"] + size[b"6"], size[b"5"] + size[b"6"], size[b"5"] + size[b"6"])
    trees = {blob for blob in blobs_of(maker.repo, first, second) if blob[0] is BlobType.TREE}
    assert costs[TREES] == Cost(6, 0, *[stored(maker.repo, trees)] * 3)
    total = type_costs(maker.repo, snapshots, "", []).total
    assert total.stored == total.freed == sum(size.values()) + stored(maker.repo, trees)
    # One of them, with the other as the rest of the repository; and a directory, with the rest of its snapshot.
    alone_costs = {row.type: row.cost for row in type_costs(maker.repo, snapshots[:1], "", snapshots[1:]).rows}
    assert alone_costs["txt"][3:] == (size[b"2"], 0) and alone_costs["c"][3:] == (size[b"5"], size[b"5"])
    below = {row.type: row.cost for row in type_costs(maker.repo, snapshots[1:], "/m", []).rows}
    assert set(below) == {"txt", "gz", "", TREES} and below["txt"] == Cost(3, 502, *costs["txt"][2:4], size[b"2"])
    assert {row.type for row in type_costs(maker.repo, [], "", snapshots).rows} == set()
    third = made(maker.repo, maker.finish([inner, maker.folder("o", [maker.file("q", b"2")])]), 3)
    beside = {row.type: row.cost for row in type_costs(maker.repo, [third], "/m", []).rows}
    assert beside["txt"][3:] == (size[b"2"], 0), "the rest of the snapshot needs it, too"


def location(repo: Repository, data: bytes) -> int:
    from restic_spec.ids import id_of

    found = repo.index.lookup(BlobType.DATA, id_of(data))
    assert found is not None
    return found.length


def made(repo: Repository, tree: bytes | None, day: int) -> FoundSnapshot:
    snapshot = Snapshot(f"2024-01-{day:02}T00:00:00Z", tree=None if tree is None else tree.hex(), hostname="h", paths=["/p"])
    return FoundSnapshot(repo.save_snapshot(snapshot), snapshot)


def test_types_beyond_the_most_count_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types, "MOST_TYPES", 4)
    maker = Maker(memory_repo())
    root = maker.finish([maker.file(f"f.{n}", b"%d" % n) for n in range(9)])
    found = {row.type: row.cost.entries for row in type_costs(maker.repo, [made(maker.repo, root, 1)], "", []).rows}
    assert found == {"0": 1, "1": 1, "": 7, TREES: 0}


# Against the real program


@pytest.mark.parametrize("version", [1, 2])
def test_prune_of_the_real_program_frees_what_was_said(
    version: int, histories: Histories, tmp_path: Path, restic: Runner
) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(histories[version][0], folder)
    env = {"RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD}
    numbers = random.Random(version)
    for count in (1, 2, 1):
        repo = opened(folder)
        every = in_order(repo)
        gone = numbers.sample(every, count)
        costs = snapshot_costs(repo, gone, [found for found in every if found not in gone])
        assert costs.repository.unneeded == 0
        said = costs.total.freed if count > 1 else costs.rows[0].cost.freed
        assert said > 0
        done = restic("forget", *(found.id.hex() for found in gone), "--prune", "--max-unused", "0", env=env)
        assert done.code == 0, done.err
        after = opened(folder)
        assert count_stored(repo) - count_stored(after) == said
    assert restic("check", "--read-data", env=env).code == 0


def test_what_is_not_needed_is_told(histories: Histories, tmp_path: Path, restic: Runner) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(histories[2][0], folder)
    repo = opened(folder)
    every = in_order(repo)
    cost = snapshot_costs(repo, every).rows[0].cost
    env = {"RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD}
    assert restic("forget", every[0].id.hex(), env=env).code == 0
    left = snapshot_costs(repo, in_order(opened(folder))).repository
    assert left.unneeded == cost.freed and left.all == count_stored(repo)


# What is read


def test_no_data_is_read_and_every_tree_once(histories: Histories) -> None:
    repo = opened(histories[2][0])
    storage = repo.storage
    assert isinstance(storage, WatchedStorage)
    data = {pack for pack, entry in repo.index.entries() if entry.type is BlobType.DATA}
    every = in_order(repo)
    calls: list[Callable[[], object]] = [
        lambda: find_used(repo, [root_of(found) for found in every]),
        lambda: snapshot_costs(repo, every[:2], every[2:]),
        lambda: type_costs(repo, every, "", []),
        lambda: folder_costs(repo, every[0], "", every[1:], depth=0),
        lambda: folder_costs(repo, every[0], "", every[1:], depth=3),
    ]
    for call in calls:
        storage.packs.clear()
        call()
        assert storage.packs and not data & set(storage.packs)


def test_a_tree_that_names_itself_over_and_over_costs_what_it_is() -> None:
    maker = Maker(memory_repo())
    nodes = [maker.file("f.x", b"12345")]
    for _ in range(60):
        nodes = [maker.folder("a", nodes), maker.folder("b", nodes)]
    root = maker.finish(nodes)
    found = made(maker.repo, root, 1)
    whole = stored(maker.repo, blobs_of(maker.repo, root))
    assert snapshot_costs(maker.repo, [found, found]).total.stored == whole
    assert {row.type: row.cost.entries for row in type_costs(maker.repo, [found], "", []).rows}["x"] == 1 << 60
    a, b = folder_costs(maker.repo, found, "", []).rows[1:]
    assert a.cost == b.cost and a.cost.unique == 0 and a.cost.stored == whole - location_of(maker.repo, root)


def location_of(repo: Repository, tree: bytes) -> int:
    found = repo.index.lookup(BlobType.TREE, tree)
    assert found is not None
    return found.length


def test_more_directories_than_anybody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_ROWS", 20)
    maker = Maker(memory_repo())
    nodes: list[Node] = []
    for _ in range(6):
        nodes = [maker.folder("a", nodes), maker.folder("b", nodes)]
    found = made(maker.repo, maker.finish(nodes), 1)
    assert len(folder_costs(maker.repo, found, "", [], depth=3).rows) == 15
    with pytest.raises(UsageError, match="smaller depth"):
        folder_costs(maker.repo, found, "", [], depth=6)


# What is damaged


def damaged_repo() -> tuple[Maker, list[FoundSnapshot]]:
    maker = Maker(memory_repo())
    broken = maker.folder("broken", [maker.file("f", b"1")])
    broken.subtree = "ab" * 32
    missing = maker.file("g", b"22")
    missing.content = ["cd" * 32]
    root = maker.finish([broken, missing, maker.folder("good", [maker.file("h", b"333")])])
    return maker, [made(maker.repo, root, 1), made(maker.repo, None, 2)]


def test_what_cannot_be_counted_is_told_and_the_rest_is_counted() -> None:
    maker, snapshots = damaged_repo()
    told: list[str] = []

    def tell(item: str, error: ResticFormatError) -> None:
        assert str(error)
        told.append(item)

    costs = snapshot_costs(maker.repo, snapshots, damaged=tell)
    assert sorted(told) == [f"data blob {'cd' * 32}", f"snapshot {snapshots[1].short_id}", f"tree {'ab' * 32}"]
    assert costs.rows[1].cost == Cost(0, 0, 0, 0, 0)
    assert costs.rows[0].cost.stored > location(maker.repo, b"333")
    rows = {row.path: row.cost for row in folder_costs(maker.repo, snapshots[0], "", [], depth=2, damaged=tell).rows}
    assert rows["/broken"] == Cost(0, 0, 0, 0, 0) and rows["/good"].stored > 0
    assert "directory /broken" in told
    assert type_costs(maker.repo, snapshots, "", [], damaged=tell).total.stored == costs.total.stored
    for call in (snapshot_costs, lambda repo, found: folder_costs(repo, found[0], "", [])):
        with pytest.raises((BlobMissing, ResticFormatError)):
            call(maker.repo, snapshots)  # type: ignore[operator]
    with pytest.raises(SnapshotNotFound, match="has no tree"):
        folder_costs(maker.repo, snapshots[1], "", [])


# The command


@pytest.fixture
def place(histories: Histories, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    repository, ids = histories[2]
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repository))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return ids


def test_the_table_of_snapshots(place: list[str], run: Runner) -> None:
    lines = run("du").out.decode().splitlines()
    assert lines[0].split() == ["Size", "Stored", "Unique", "Shared", "Freed", "ID", "Time", "Host", "Paths"]
    assert [line[lines[0].index("ID") :][:8] for line in lines[2:-4]] == [name[:8] for name in place]
    assert lines[-2].endswith("  6 snapshots") and lines[-1].startswith("in the repository: ")
    found = json.loads(run("du", "--json").out)
    assert [row["id"] for row in found["rows"]] == place and found["by"] == "snapshot"
    for row in [*found["rows"], found["total"]]:
        assert row["shared"] == row["stored"] - row["unique"]
    assert found["repository"]["unneeded"] == 0
    some = json.loads(run("du", "--json", place[3], place[0][:9]).out)
    assert [row["id"] for row in some["rows"]] == [place[3], place[0]]
    assert [row["freed"] for row in some["rows"]] == [found["rows"][3]["freed"], found["rows"][0]["freed"]]
    hosts = json.loads(run("du", "--json", "--host", "h1").out)["rows"]
    assert [row["id"] for row in hosts] == [place[1], place[3]]
    assert json.loads(run("du", "--json", "--tag", "t2").out)["rows"][0]["id"] == place[2]


@pytest.mark.parametrize("key", ["size", "stored", "unique", "shared", "freed"])
@pytest.mark.parametrize("words", [[], ["--by-type"], ["latest", "--depth", "9"]])
def test_rows_are_sorted_and_cut(key: str, words: list[str], place: list[str], run: Runner) -> None:
    assert place

    def rows(*more: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(run("du", "--json", *words, "--sort", key, *more).out)["rows"]
        return [row for row in found if row.get("depth", 1) == 1]

    values = [row[key] for row in rows()]
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    assert [row[key] for row in rows("--reverse")] == values[::-1]
    assert rows("--top", "1") == rows()[:1]


def test_the_table_of_directories_is_a_tree(place: list[str], run: Runner) -> None:
    top = json.loads(run("du", "latest", "--depth", "30", "--json").out)["rows"]
    source = next(row["path"] for row in top if row["path"].endswith("/source"))
    lines = run("du", f"{place[3]}:{source}", "--depth", "2").out.decode().splitlines()
    names = [line[lines[0].index("Directory") :] for line in lines[2:-3]]
    assert f"{source}/a" in names and names[names.index(f"{source}/a") + 1] == "  b"
    assert lines[-2].endswith(source)
    found = json.loads(run("du", f"{place[3]}:{source}", "--depth", "2", "--json").out)
    depths = {row["path"].removeprefix(source): row["depth"] for row in found["rows"]}
    assert depths["/a"] == 1 and depths["/a/b"] == 2


def test_the_table_of_types(place: list[str], run: Runner) -> None:
    lines = run("du", "--by-type", "--sort", "name").out.decode().splitlines()
    assert [line.split()[-1] for line in lines[2:-3]] == ["(directories)", "(none)"] and place
    found = json.loads(run("du", "--by-type", place[0], "--json").out)
    assert {(row["blob_type"], row.get("type")) for row in found["rows"]} == {("tree", None), ("data", "")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-id"], b"no matching ID"),
        (["latest:/nowhere"], b"not found"),
        (["no-such-id", "latest"], b"no matching ID"),
        (["--depth", "-1"], b"must not be negative"),
        (["--top", "-1"], b"must not be negative"),
        (["--sort", "colour"], b"--sort"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], said: bytes, place: list[str], run: Runner) -> None:
    done = run("du", *words)
    assert place and done.code == 1 and said in done.err and b"Traceback" not in done.err


def test_damage_is_told_with_the_numbers(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repository"
    new_repository(folder)
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    maker = Maker(repo)
    broken = maker.folder("b\x1b[2J", [maker.file("f", b"1")])
    broken.subtree = "ab" * 32
    name = made(repo, maker.finish([broken, maker.file("g", b"22")]), 1).id.hex()
    (folder / "snapshots" / ("ef" * 32)).write_bytes(b"garbage")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    for words in ([], [name, "--depth", "2"], ["--by-type"]):
        done = run("du", *words)
        assert done.code == 1 and b"could not be counted" in done.err and b"tree abab" in done.err and b"efef" in done.err
        assert b"in the repository" in done.out and b"\x1b" not in done.out + done.err
        done = run("du", *words, "--json")
        assert done.code == 1 and json.loads(done.out)["total"]["stored"] > 0
        assert {json.loads(line)["message_type"] for line in done.err.splitlines()} == {"error", "exit_error"}


@pytest.mark.usefixtures("empty")
def test_an_empty_repository_costs_nothing(run: Runner) -> None:
    done = run("du")
    assert done.code == 0 and b"0 snapshots" in done.out
    assert json.loads(run("du", "--by-type", "--json").out)["rows"] == []
    assert run("du", "latest").code == 1
