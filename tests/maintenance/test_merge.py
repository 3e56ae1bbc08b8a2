"""Merging snapshots: what is in any of them is in the new one, the newest where names meet."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from restic_format.check import CheckOptions, check
from restic_format.errors import DamagedFile, Interrupted, UsageError
from restic_format.maintenance import merge as merge_module
from restic_format.maintenance.merge import MergeOptions, MergeResult, merge, merged_paths, plan_merge
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, TooDeep, all_snapshots
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.layout import FileKind
from restic_spec.rustic import DeleteMark
from restic_spec.snapshot import Snapshot, encode_snapshot, is_partial
from restic_spec.tree import Node
from tests.maintenance.test_configure import made as append_only
from tests.restore.kit import T0, Maker, memory_repo


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


def at(node: Node, second: int) -> Node:
    return msgspec.structs.replace(node, mtime=gotime.format_ns(T0 + second * 10**9, 0))


def snapshot(maker: Maker, tree: bytes, day: int, paths: Sequence[str] = ("/d",), extra: bytes = b"") -> bytes:
    made = Snapshot(time=f"2020-01-{day:02}T00:00:00Z", tree=tree.hex(), paths=list(paths), hostname="h")
    return maker.repo.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(made)[:-1] + extra + b"}")


def run(repo: Repository, options: MergeOptions | None = None, **more: object) -> MergeResult:
    repo.load_index()
    return merge(plan_merge(repo, list(all_snapshots(repo)), options or MergeOptions()), **more)  # type: ignore[arg-type]


def content(repo: Repository, tree: str, above: str = "") -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for node in repo.load_tree(bytes.fromhex(tree)):
        found[f"{above}/{node.name}"] = node.type, node.size
        if node.subtree:
            found |= content(repo, node.subtree, f"{above}/{node.name}")
    return found


def test_an_append_only_repository_gets_nothing_new_when_the_old_is_to_go() -> None:
    storage = append_only(append_only=True)
    maker = Maker(Repository.open(storage, "pw"))
    snapshot(maker, maker.finish([maker.file("a", b"a")]), 1)
    before = dict(storage.files)
    with pytest.raises(UsageError, match="append-only"):
        run(maker.repo, MergeOptions(remove_merged=True))
    assert storage.files == before
    assert run(maker.repo, MergeOptions(remove_merged=True, dry_run=True)).id is None
    assert run(maker.repo, MergeOptions()).id is not None


def test_everything_is_there_and_the_newest_stays(maker: Maker) -> None:
    same = maker.folder("same", [maker.file("s", b"same")])
    first = maker.finish(
        [maker.folder("d", [at(maker.file("both", b"old"), 1), maker.file("one", b"1")]), same, at(maker.file("x", b"long"), 9)]
    )
    second = maker.finish(
        [maker.folder("d", [at(maker.file("both", b"newer"), 2), maker.file("two", b"22")]), same, maker.folder("x", [])]
    )
    snapshot(maker, first, 1, ["/a", "/d/e"])
    snapshot(maker, second, 2, ["/d"])
    result = run(maker.repo, MergeOptions(tags=["m", "m"], hostname="new"))
    assert content(maker.repo, str(result.snapshot.tree)) == {
        "/d": ("dir", 0),
        "/d/both": ("file", 5),
        "/d/one": ("file", 1),
        "/d/two": ("file", 2),
        "/same": ("dir", 0),
        "/same/s": ("file", 4),
        "/x": ("file", 4),
    }
    made = result.snapshot
    assert (made.time, made.paths, made.hostname, made.tags) == ("2020-01-02T00:00:00Z", ["/a", "/d"], "new", ["m"])
    statistics = made.statistics()
    assert statistics is not None
    assert (statistics.total_files_processed, statistics.total_bytes_processed) == (5, 16)
    assert result.id is not None and maker.repo.load_snapshot(result.id).tree == made.tree
    assert len(list(all_snapshots(maker.repo))) == 3 and check(maker.repo, CheckOptions(read_data=True)).ok


@pytest.mark.parametrize("later_first", [False, True])
def test_of_two_equally_new_the_one_of_the_later_snapshot_stays(maker: Maker, later_first: bool) -> None:
    for day, data in ((2, b"later"), (1, b"old")) if later_first else ((1, b"old"), (2, b"later")):
        snapshot(maker, maker.finish([maker.file("f", data)]), day)
    assert content(maker.repo, str(run(maker.repo).snapshot.tree)) == {"/f": ("file", 5)}


def test_one_tree_is_not_written_again(maker: Maker) -> None:
    tree = maker.finish([maker.folder("d", [maker.file("f", b"12")])])
    for day in (1, 2, 3):
        snapshot(maker, tree, day)
    packs = {key for key in maker.repo.storage.files if key[0] is FileKind.PACK}  # type: ignore[attr-defined]
    result = run(maker.repo)
    assert result.snapshot.tree == tree.hex()
    assert {key for key in maker.repo.storage.files if key[0] is FileKind.PACK} == packs  # type: ignore[attr-defined]


@pytest.mark.clause("TREE-23", "TREE-25")
def test_what_is_not_known_stays(maker: Maker) -> None:
    from restic_spec.pack import BlobType

    def store(raw: bytes) -> bytes:
        return maker.writer.save_blob(BlobType.TREE, raw).id

    below = [store(b'{"nodes":[{"name":"%s","type":"fifo","new":[1, 2]}]}\n' % name) for name in (b"a", b"b")]
    for day, tree in enumerate(below, 1):
        raw = b'{"nodes":[{"name":"d","type":"dir","subtree":"%s","mine":%d}],"more":%d}\n'
        snapshot(maker, store(raw % (tree.hex().encode(), day, day)), day)
    maker.writer.flush()
    result = run(maker.repo)
    root = maker.repo.load_blob(BlobType.TREE, bytes.fromhex(str(result.snapshot.tree)))
    assert root.endswith(b'"mine":2}],"more":2}\n')
    [folder] = maker.repo.load_tree(bytes.fromhex(str(result.snapshot.tree)))
    merged = maker.repo.load_blob(BlobType.TREE, bytes.fromhex(folder.subtree))
    assert merged == b'{"nodes":[{"name":"a","type":"fifo","new":[1, 2]},{"name":"b","type":"fifo","new":[1, 2]}]}\n'


@pytest.mark.clause("RUSTIC-3", "ORDER-1")
def test_the_merged_ones_go_unless_they_are_marked(maker: Maker) -> None:
    kept = snapshot(maker, maker.finish([maker.file("a", b"1")]), 1, extra=b',"delete":"Never"')
    gone = snapshot(maker, maker.finish([maker.file("b", b"2")]), 2)
    result = run(maker.repo, MergeOptions(remove_merged=True, label="l", description="d", delete=DeleteMark(None)))
    assert [found.id for found in result.removed] == [gone] and [found.id for found in result.kept] == [kept]
    assert result.id is not None
    assert {found.id for found in all_snapshots(maker.repo)} == {kept, result.id}
    raw = maker.repo.load_unpacked(FileKind.SNAPSHOT, result.id)
    assert raw.endswith(b',"label":"l","delete":"Never","description":"d"}')


def test_a_dry_run_changes_nothing(maker: Maker) -> None:
    for day in (1, 2):
        snapshot(maker, maker.finish([maker.file(f"f{day}", b"1")]), day)
    before = dict(maker.repo.storage.files)  # type: ignore[attr-defined]
    result = run(maker.repo, MergeOptions(dry_run=True, remove_merged=True))
    assert result.id is None and result.removed == [] and maker.repo.storage.files == before  # type: ignore[attr-defined]


def test_damage_ends_it_and_everything_stays(maker: Maker) -> None:
    from restic_spec.pack import BlobType

    bad = maker.writer.save_blob(BlobType.TREE, b'{"nodes":[{"name":"b","type":"fifo"},{"name":"a","type":"fifo"}]}\n').id
    snapshot(maker, maker.finish([maker.node("d", "dir", 0, subtree=bad.hex())]), 1)
    snapshot(maker, maker.finish([maker.folder("d", [])]), 2)
    with pytest.raises(DamagedFile, match="out of order"):
        run(maker.repo, MergeOptions(remove_merged=True))
    assert len(list(all_snapshots(maker.repo))) == 2
    with pytest.raises(UsageError):
        plan_merge(maker.repo, [], MergeOptions())
    with pytest.raises(DamagedFile):
        plan_merge(maker.repo, [FoundSnapshot(bytes(32), Snapshot(time="2020-01-01T00:00:00Z"))], MergeOptions())


def test_it_can_be_interrupted_and_has_an_end(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (1, 2):
        snapshot(maker, maker.finish([maker.folder("d", [maker.folder("d", [maker.file(f"f{day}", b"1")])])]), day)
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        run(maker.repo, cancel=cancel)
    monkeypatch.setattr(merge_module, "MAX_DEPTH", 2)
    with pytest.raises(TooDeep):
        run(maker.repo)
    assert len(list(all_snapshots(maker.repo))) == 2


def test_paths_inside_others_are_left_out() -> None:
    assert merged_paths(["/b", "/a/c", "/a", "/a-b", "/a/c/d", "/b"]) == ["/a", "/a-b", "/b"]
    assert merged_paths(["/x", "/"]) == ["/"] and merged_paths([]) == []


@pytest.mark.clause("SNAP-21")
@pytest.mark.parametrize(
    ("whole_paths", "partial"), [((), True), (("/other",), True), (("/d",), False), (("/d", "/other"), False)]
)
def test_what_is_only_in_partial_ones_may_lack_something(maker: Maker, whole_paths: tuple[str, ...], partial: bool) -> None:
    for day in (2, 3):
        snapshot(maker, maker.finish([maker.file("a", b"%d" % day)]), day, extra=b',"tags":["partial"],"partial":true')
    if whole_paths:
        snapshot(maker, maker.finish([maker.file("b", b"b")]), 1, paths=whole_paths)
    merged = run(maker.repo, MergeOptions(tags=["mine", "partial"] if partial else ["mine"])).id
    assert merged is not None
    found = maker.repo.load_snapshot(merged)
    assert is_partial(found) is partial and found.tags == (["mine", "partial"] if partial else ["mine"])
