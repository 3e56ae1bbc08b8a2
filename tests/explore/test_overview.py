"""Overviews: against sets of blobs taken one by one, what `du` and `prune` say, and the real program."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from restic_conformance import fixtures
from restic_format.errors import ResticFormatError
from restic_format.explore.cost import TREES, snapshot_costs, type_costs
from restic_format.explore.overview import Category, Overview, make_overview, paths
from restic_format.maintenance import prune
from restic_format.maintenance.prune import PruneOptions
from restic_format.repository import Repository
from restic_format.repository.index import BlobIndex, IndexUse
from restic_format.snapshots import FoundSnapshot, Walk
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.faulty import Call, Fail, Fault
from restic_spec.index import IndexFile, encode_index, index_pack
from restic_spec.layout import FileKind
from restic_spec.lock import Lock, encode_lock
from restic_spec.pack import BlobType
from restic_spec.rustic import ConfigMembers, with_members
from restic_spec.snapshot import encode_snapshot
from restic_spec.tree import DIR, FILE, Node
from tests.explore.kit import WatchedStorage
from tests.explore.test_du import Blobs, Histories, blobs_of, in_order, made, opened, root_of, stored, union
from tests.explore.trees import Forest
from tests.restore.kit import CHEAP, Maker, memory_repo
from tests.tools.kit import PASSWORD, Runner


@pytest.fixture(params=[1, 2])
def repo(request: pytest.FixtureRequest, histories: Histories) -> Repository:
    return opened(histories[request.param][0])


def selections(repo: Repository) -> list[list[FoundSnapshot]]:
    every = in_order(repo)
    return [every, every[:1], [], every[1::2], random.Random(1).sample(every, max(len(every) - 2, 1))]


def overview_of(repo: Repository, shown: Sequence[FoundSnapshot], **more: int) -> Overview:
    ids = {found.id for found in shown}
    return make_overview(repo, lambda found: found.id in ids, **more)


# Against sets


def test_snapshots_add_what_sets_of_their_blobs_say(repo: Repository) -> None:
    every = in_order(repo)
    sets = {found.id: blobs_of(repo, root_of(found)) for found in every}
    costs = {row.found.id: row.cost for row in snapshot_costs(repo, every).rows}
    for chosen in selections(repo):
        shown = sorted(chosen, key=lambda found: found.time_ns)
        found = overview_of(repo, shown)
        assert found.complete and found.other_snapshots == len(every) - len(shown)
        assert [one.id for one in found.snapshots] == [one.id.hex() for one in shown]
        before: Blobs = set()
        for one, snapshot in zip(found.snapshots, shown, strict=True):
            own = sets[snapshot.id]
            rest = union([sets[other.id] for other in every if other.id != snapshot.id])
            assert one.added == stored(repo, own - before)
            assert (one.stored, one.unique) == (stored(repo, own), stored(repo, own - rest))
            assert (one.entries, one.size) == costs[snapshot.id][:2]
            before |= own
        for authors in (found.programs, found.hosts, found.users):
            assert sum(author.added for author in authors) == stored(repo, before)
            assert sum(author.snapshots for author in authors) == len(shown)
        hosts = Counter(snapshot.snapshot.hostname for snapshot in shown)
        assert {author.name: author.snapshots for author in found.hosts} == hosts
        ages = found.snapshot_ages
        assert (ages is None) == (not shown) and (ages is None or ages.oldest == shown[0].time_ns)
        needed = union(list(sets.values()))
        assert found.space.needed == stored(repo, needed)
        assert found.space.restored == sum(cost.size for cost in costs.values())
        plain = {blob: place for blob in needed if (place := repo.index.lookup(*blob)) is not None}
        lengths = {blob: place.entry(*blob).plain_length for blob, place in plain.items()}
        assert found.space.referenced == sum(lengths.values())
        assert found.space.referenced_data == sum(size for (kind, _), size in lengths.items() if kind is BlobType.DATA)


def test_types_are_those_of_du(repo: Repository) -> None:
    check_types(repo)


def test_types_that_share_blobs_are_those_of_du(tmp_path: Path) -> None:
    for seed in range(3):
        forest = Forest(tmp_path / str(seed), seed)
        forest.fill()
        forest.repo.load_index()
        check_types(forest.repo)
    maker = Maker(memory_repo())
    first, second, third = (bytes([number]) * 50 * number for number in (1, 2, 3))
    nodes = [
        maker.file("a.c", first, second, first),
        maker.file("a.txt", first),
        maker.file("b.c", third),
        maker.file("n", first),
    ]
    made(maker.repo, maker.finish([*nodes, maker.folder("x", [maker.file("m.TXT", third, second)])]), 1)
    check_types(maker.repo)


def check_types(repo: Repository) -> None:
    for shown in selections(repo):
        others = [found for found in in_order(repo) if found.id not in {one.id for one in shown}]
        expected = {row.type: row.cost for row in type_costs(repo, shown, "", others).rows}
        found = overview_of(repo, shown)
        told = {one.type: one for one in found.types}
        trees = expected.pop(TREES, None)
        assert told.keys() == expected.keys()
        for name, one in told.items():
            assert (one.entries, one.size, one.stored, one.unique) == expected[name][:4], name
        assert [one.stored for one in found.types] == sorted((one.stored for one in found.types), reverse=True)
        nodes = Counter(node.type for one in shown for _, node, _ in everything(repo, root_of(one)))
        assert {one.type: one.entries for one in found.node_types} == nodes
        assert trees is None or trees.entries == sum(count for kind, count in nodes.items() if kind != FILE)


def everything(repo: Repository, tree: bytes) -> list[tuple[str, Node, bytes]]:
    """Every entry below a tree: its path, the node, and the tree it is in."""
    walk = Walk(repo, tree, None, fault=lambda level, node, error: pytest.fail(str(error)))
    found = []
    for level, node, name in walk:
        found.append((level.path_of(name), node, level.tree))
        if node.type == DIR:
            walk.enter(node, name, None)
    return found


def largest(repo: Repository, shown: Sequence[FoundSnapshot]) -> tuple[dict[str, int], dict[str, int]]:
    """Unique bytes by path of files and directories, from sets of the places of each blob."""
    files: dict[tuple[BlobType, bytes], set[str]] = defaultdict(set)
    for one in shown:
        files[BlobType.TREE, root_of(one)].add("/")
        for path, node, _ in everything(repo, root_of(one)):
            if node.type == DIR:
                files[BlobType.TREE, bytes.fromhex(str(node.subtree))].add(f"{path}/")
            elif node.type == FILE:
                for blob in node.blobs:
                    files[BlobType.DATA, bytes.fromhex(blob)].add(path)
    elsewhere = union([blobs_of(repo, root_of(one)) for one in in_order(repo) if one.id not in {item.id for item in shown}])
    by_file: Counter[str] = Counter()
    by_folder: Counter[str] = Counter()
    for blob, places in files.items():
        if blob in elsewhere:
            continue
        size = stored(repo, {blob})
        if len(places) == 1 and blob[0] is BlobType.DATA:
            by_file[next(iter(places))] += size
        split = [place.split("/")[1:-1] for place in places]
        common = split[0]
        for parts in split[1:]:
            count = 0
            while count < min(len(common), len(parts)) and common[count] == parts[count]:
                count += 1
            common = common[:count]
        for depth in range(1, len(common) + 1):
            by_folder["/" + "/".join(common[:depth])] += size
    return dict(by_file), dict(by_folder)


def check_largest(repo: Repository) -> None:
    for shown in selections(repo):
        by_file, by_folder = largest(repo, shown)
        found = overview_of(repo, shown, top=1000)
        assert found.paths_complete
        assert {item.path: item.unique for item in found.largest_files} == {
            path: size for path, size in by_file.items() if size
        }
        for item in found.largest_files:
            sizes = {node.size for one in shown for path, node, _ in everything(repo, root_of(one)) if path == item.path}
            assert item.size in sizes
        whole = {
            path: size
            for path, size in by_folder.items()
            if size
            and not any(below.rpartition("/")[0] == path and other >= paths.MOSTLY * size for below, other in by_folder.items())
        }
        assert {item.path: item.unique for item in found.largest_folders} == whole
        few = overview_of(repo, shown, top=2)
        assert [item.unique for item in few.largest_files] == sorted(by_file.values(), reverse=True)[:2]
        assert few.largest_folders == found.largest_folders[:2] or len({i.unique for i in found.largest_folders}) < 3


def test_the_largest_are_what_sets_of_places_say(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_AT_ONCE", 7)  # sums in several passes
    check_largest(repo)


def test_trees_at_several_places_count_there(tmp_path: Path) -> None:
    for seed in range(4):
        forest = Forest(tmp_path / str(seed), seed)
        forest.fill(3)
        forest.repo.load_index()
        check_largest(forest.repo)
    # A tree below itself, in the next snapshot; and twice beside.
    maker = Maker(memory_repo())
    inner = [maker.folder("x", [maker.file("h", b"1")]), maker.folder("y", [maker.file("g", b"22")]), maker.file("z", b"333")]
    roots = [
        maker.finish([maker.folder("a", inner)]),
        maker.finish([maker.folder("a", [maker.folder("x", inner)])]),
        maker.finish([maker.folder("a", inner), maker.folder("b", [maker.folder("a", inner)]), maker.file("c", b"4444")]),
    ]
    for day, root in enumerate(roots, 1):
        made(maker.repo, root, day)
    check_largest(maker.repo)


# Against what other commands say


def test_packs_and_blobs_are_those_of_the_index(repo: Repository) -> None:
    found = make_overview(repo)
    entries = [entry for _, entry in repo.index.entries()]
    for blobs in found.blobs:
        kind = BlobType(blobs.type)
        of_kind = [entry for entry in entries if entry.type is kind]
        assert (blobs.count, blobs.stored) == (len(of_kind), sum(entry.length for entry in of_kind))
        assert blobs.plain == sum(entry.plain_length for entry in of_kind)
        assert blobs.uncompressed == sum(entry.uncompressed_length is None for entry in of_kind)
        assert sum(one.count for one in blobs.by_size) == blobs.count
        assert sum(one.size for one in blobs.by_size) == blobs.plain
        for one in blobs.by_size:
            sizes = [entry.plain_length for entry in of_kind if one.lowest <= entry.plain_length <= one.highest]
            assert (one.count, one.size) == (len(sizes), sum(sizes))
    listed = dict(repo.list(FileKind.PACK))
    assert sum(packs.size for packs in found.packs) == sum(listed.values())
    for packs in found.packs:
        assert sum(one.count for one in packs.by_fill) == sum(one.count for one in packs.by_size) == packs.count
        assert packs.by_fill[-1] == msgspec.structs.replace(packs.by_fill[-1], count=packs.count, size=packs.size)
        assert packs.smallest in listed.values() and packs.largest in listed.values()
    files = {one.kind: (one.count, one.size) for one in found.files}
    for kind in (FileKind.KEY, FileKind.INDEX, FileKind.SNAPSHOT, FileKind.PACK):
        sizes = [size for _, size in repo.list(kind)]
        assert files[kind.value] == (len(sizes), sum(sizes))
    assert found.index.blobs == len(entries) and found.index.packs == len(listed)
    assert found.index.count == len(found.index.files) == files["index"][0]


def test_prune_says_the_same(histories: Histories, tmp_path: Path, restic: Runner) -> None:
    for version in (1, 2):
        folder = tmp_path / str(version)
        shutil.copytree(histories[version][0], folder)
        env = {"RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD}
        every = in_order(opened(folder))
        for count in (0, 2, 2):
            for found in random.Random(count).sample(every, count):
                every.remove(found)
                assert restic("forget", found.id.hex(), env=env).code == 0
            told = make_overview(opened(folder))
            plan = prune.plan(opened(folder), PruneOptions())
            assert told.prune is not None
            size, blobs = plan.statistics.size, plan.statistics.blobs
            assert told.prune.freed == size.total_remove and told.prune.blobs_freed == blobs.total_remove
            assert (told.prune.repacked, told.prune.unused_after) == (size.repack, size.unused_after)
            assert told.prune.packs_repacked == len(plan.repack)
            assert told.prune.packs_removed == len(plan.remove) + len(plan.unreferenced)
            assert (told.space.unused, told.space.duplicate) == (size.unused, size.duplicate)
            said = restic("prune", "--dry-run", env=env).out.decode()
            total = re.search(r"total prune:\s+(\d+) blobs", said)
            repack = re.search(r"to repack:\s+(\d+) blobs", said)
            assert total is not None and int(total[1]) == told.prune.blobs_freed, said
            assert repack is not None and (int(repack[1]) > 0) == (told.prune.packs_repacked > 0)
            if version == 2:
                stats = json.loads(restic("stats", "--mode", "raw-data", "--json", env=env).out)
                assert told.space.needed == stats["total_size"] and len(told.snapshots) == stats["snapshots_count"]
        assert told.space.unused > 0
        fills = {one.lowest: one.count for packs in told.packs for one in packs.by_fill}
        assert sum(count for lowest, count in fills.items() if lowest < 100)


def test_duplicates_are_told(tmp_path: Path) -> None:
    repo = Repository.open(LocalStorage(fixtures.unpack("duplicates-v2", tmp_path / "d")), _password("duplicates-v2"))
    found = make_overview(repo)
    plan = prune.plan(repo)
    assert found.space.duplicate == plan.statistics.size.duplicate > 0
    assert found.prune is not None and found.prune.freed == plan.statistics.size.total_remove


def _password(name: str) -> str:
    return fixtures.describe(name).passwords[0]


# Columns and nodes


@pytest.mark.parametrize("seed", range(3))
def test_trees_that_are_decoded_say_the_same_as_columns(
    seed: int, tmp_path: Path, histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed:
        forest = Forest(tmp_path / "r", seed)
        forest.fill()
        repos = [forest.repo]
    else:
        repos = [opened(histories[version][0]) for version in (1, 2)]
    for repo in repos:
        shown = in_order(repo)[1:]
        first = overview_of(repo, shown, top=50)
        with monkeypatch.context() as patch:
            patch.setattr(BlobIndex, "plan_tree", lambda *args: None)
            patch.setattr(IndexUse, "mark_tree", lambda *args: None)
            second = overview_of(repo, shown, top=50)
        # The size of a file that is told of is that of some snapshot.
        assert msgspec.structs.replace(second, made=first.made) == first
        assert first.types and first.largest_files


def test_no_data_is_read_and_every_tree_once(histories: Histories) -> None:
    repo = opened(histories[2][0])
    storage = repo.storage
    assert isinstance(storage, WatchedStorage)
    data = {pack for pack, entry in repo.index.entries() if entry.type is BlobType.DATA}
    storage.packs.clear()
    make_overview(repo, top=0)
    assert storage.packs and not data & set(storage.packs)
    trees = sum(1 for _, entry in repo.index.entries() if entry.type is BlobType.TREE)
    assert len(storage.packs) <= trees


# What repositories have


def test_an_empty_repository() -> None:
    repo = memory_repo()
    found = make_overview(repo)
    assert found.complete and not found.snapshots and found.snapshot_ages is None
    assert found.index.count == 0 and found.types == () and found.largest_folders == ()
    assert found.prune is not None and found.prune.freed == 0
    assert found.space.total_ratio == 0 and found.space.files > 0
    (key,) = found.keys
    assert key.current and key.weak and (key.n, key.r, key.p) == (CHEAP.N, CHEAP.r, CHEAP.p)
    assert key.work == 16 * 8 and key.memory == 128 * 16 * 8


def test_snapshots_without_an_index_are_shown(histories: Histories, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(histories[2][0], folder)
    for path in (folder / "index").iterdir():
        path.unlink()
    found = make_overview(opened(folder))
    assert len(found.snapshots) == 6 and found.prune is None
    assert {problem.category for problem in found.problems} >= {Category.TREE, Category.PACK}
    assert found.space.unindexed == next(one.size for one in found.files if one.kind == "data") > 0
    assert found.snapshots[1].summary_added is not None


def test_what_rustic_adds_is_told(tmp_path: Path) -> None:
    repo = Repository.open(LocalStorage(fixtures.unpack("rustic-v2", tmp_path / "r")), _password("rustic-v2"))
    found = make_overview(repo)
    assert found.complete
    told = {(one.where, one.program) for one in found.repository.extensions}
    assert ("snapshot", "rustic") in told or ("config", "rustic") in told
    assert all(author.name.startswith("rustic") for author in found.programs if author.name)


def test_unknown_members_are_counted() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    node = maker.file("f", b"1")
    node.keep_extra({"unheard": msgspec.Raw(b"1")})
    snapshot = made(repo, maker.finish([node, maker.file("g", b"2")]), 1).snapshot
    snapshot.keep_extra({"label": msgspec.Raw(b'"x"'), "odd": msgspec.Raw(b"[1]")})
    repo.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    repo.config = with_members(repo.config, ConfigMembers(append_only=True, is_hot=True))
    found = make_overview(repo)
    told = {(one.where, one.name): (one.program, one.count, one.value) for one in found.repository.extensions}
    assert told == {
        ("config", "append_only"): ("rustic", 1, "true"),
        ("config", "is_hot"): ("rustic", 1, "true"),
        ("node", "unheard"): ("", 1, ""),
        ("repository", "hot"): ("rustic", 1, ""),
        ("snapshot", "label"): ("rustic", 1, ""),
        ("snapshot", "odd"): ("", 1, ""),
    }
    assert found.repository.hot and found.prune is None and found.complete


def test_marked_packs_and_superseded_indexes_are_told() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    root = maker.finish([maker.file("f", b"1")])
    made(repo, root, 1)
    (_, entries), *_ = [
        (pack, entries) for pack, entries in repo.index.by_pack() if all(entry.type is BlobType.DATA for entry in entries)
    ]
    marked = index_pack(b"m" * 32, [entries[0]._replace(id=b"x" * 32)])
    marked.time, marked.size = "2026-01-01T00:00:00Z", 1000
    index = IndexFile(supersedes=["ab" * 32, "cd" * 32], packs=[], packs_to_delete=[marked])
    name = repo.save_unpacked(FileKind.INDEX, encode_index(index)).hex()
    repo.storage.save(FileKind.PACK, (b"m" * 32).hex(), bytes(1000))
    found = make_overview(repo)
    (one,) = [one for one in found.index.files if one.id == name]
    assert (one.supersedes, one.marked, one.packs) == (2, 1, 0)
    assert (found.index.superseding, found.index.marked) == (1, 1)
    assert found.space.marked == 1000 and found.space.unindexed == 0
    assert [blobs.count for blobs in found.blobs] == [1, 1] and found.index.blobs == 2, "what is marked does not count"
    assert {(ext.where, ext.name) for ext in found.repository.extensions} >= {("index", "packs_to_delete")}
    plan = prune.plan(repo)
    assert found.prune is not None and found.prune.freed == plan.statistics.size.total_remove


@pytest.mark.clause("LOCK-5")
def test_locks_are_told_but_the_own_one() -> None:
    repo = memory_repo()
    with repo.lock() as own:
        old_id = repo.save_unpacked(FileKind.LOCK, encode_lock(Lock("2020-01-01T00:00:00Z", True, "h", "u", 7)))
        found = make_overview(repo, is_own=lambda lock: lock == own.id)
        assert len(make_overview(repo).locks) == 2
    (lock,) = found.locks
    assert (lock.id, lock.stale, lock.exclusive, lock.pid) == (old_id.hex(), True, True, 7)
    assert lock.age > 0


def test_a_tree_that_names_itself_over_and_over_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MOST_FURTHER", 500)
    maker = Maker(memory_repo())
    nodes = [maker.file("f.x", b"12345")]
    for _ in range(60):
        nodes = [maker.folder("a", nodes), maker.folder("b", nodes)]
    made(maker.repo, maker.finish(nodes), 1)
    found = make_overview(maker.repo)
    assert not found.paths_complete and found.complete
    assert {one.type: one.entries for one in found.types} == {"x": 1 << 60}
    monkeypatch.setattr(paths, "MOST_FURTHER", 1 << 20)
    monkeypatch.setattr(paths, "MOST_ROWS", 100)
    assert not make_overview(maker.repo).paths_complete


# What is damaged


@pytest.mark.parametrize("name", fixtures.damage_names())
def test_of_a_damaged_repository_everything_else_is_told(name: str, tmp_path: Path) -> None:
    damage = fixtures.describe_damage(name)
    folder = fixtures.unpack(name, tmp_path / "r")
    try:
        repo = Repository.open(LocalStorage(folder), _password(damage.fixture))
    except ResticFormatError:
        assert name.startswith(("config", "key"))
        return
    found = make_overview(repo)
    told = {problem.category for problem in found.problems}
    if name.startswith("snapshot"):
        assert Category.SNAPSHOT in told and found.prune is None
    elif name.startswith(("tree", "v1-tree")):
        assert Category.TREE in told and found.prune is None
    elif name.startswith("index"):
        assert told & {Category.INDEX, Category.TREE, Category.BLOB} and found.prune is None
    elif name.startswith("key"):
        assert Category.KEY in told or name == "key-costs-absurd"
    elif name in ("data-pack-missing", "pack-truncated", "pack-extended", "pack-empty"):
        assert Category.PACK in told and found.prune is None
    assert found.problem_count == len(found.problems)
    for problem in found.problems:
        assert problem.what and "\n" not in problem.what
    assert found.keys


@pytest.mark.parametrize("name", fixtures.names())
def test_of_every_fixture_everything_is_told(name: str, tmp_path: Path) -> None:
    fixture = fixtures.describe(name)
    found = make_overview(Repository.open(LocalStorage(fixtures.unpack(name, tmp_path / "r")), fixture.passwords[0]))
    assert found.complete and found.repository.version == fixture.version
    assert {one.id for one in found.snapshots} == {one["id"] for one in fixture.snapshots}
    assert found.prune is not None and found.types and found.largest_files
    assert len(found.keys) >= len(fixture.passwords)


def test_what_is_missing_is_named() -> None:
    maker = Maker(memory_repo())
    broken = maker.folder("broken", [maker.file("f", b"1")])
    broken.subtree = "ab" * 32
    missing = maker.file("g", b"22")
    missing.content = ["cd" * 32]
    made(maker.repo, maker.finish([broken, missing, maker.folder("good", [maker.file("h", b"333")])]), 1)
    made(maker.repo, None, 2)
    found = make_overview(maker.repo)
    told = {problem.item for problem in found.problems}
    assert told >= {f"data blob {'cd' * 32}", f"tree {'ab' * 32}", "prune"} and len(told) == 4
    assert found.prune is None and len(found.snapshots) == 2
    assert {item.path for item in found.largest_files} == {"/good/h"}


def test_a_storage_that_fails_once_is_a_problem_or_an_error() -> None:
    calls: list[str] = []
    failing = [-1]

    def plan(call: Call) -> Fault | None:
        calls.append(call.operation)
        return Fail() if len(calls) - 1 == failing[0] else None

    repo = memory_repo(FaultyStorage(MemoryStorage(), plan))
    maker = Maker(repo)
    for day in (1, 2):
        nodes = [maker.file(f"f{day}.txt", b"%d" % day * 100), maker.folder("x", [maker.file("g", b"1")])]
        made(repo, maker.finish(nodes), day)
    repo.save_unpacked(FileKind.LOCK, encode_lock(Lock("2020-01-01T00:00:00Z", False, "h", "u", 7)))
    calls.clear()
    sound = make_overview(repo)
    assert sound.complete
    count, told, raised = len(calls), 0, 0
    for number in range(count):
        failing[0] = number
        calls.clear()
        try:
            found = make_overview(repo)
        except ResticFormatError:
            raised += 1
            continue
        told += not found.complete
        if found.complete:
            where = calls[number]
            assert msgspec.structs.replace(found, made=0, locks=()) == msgspec.structs.replace(sound, made=0, locks=()), where
    assert told and raised and count > 20
