"""Second backups of everything Linux has: with native parts and file by file they are the same, and restic's."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restic_format.backup import BackupOptions, ItemStats, Result, backup
from restic_format.backup.files import Workers
from restic_format.backup.source import Place
from restic_format.backup.survey import Ahead, Survey
from restic_format.filter import ExcludeFilter
from restic_format.repository import Repository
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.backup.conftest import leave_out_native_parts
from tests.backup.sources import Listener, Restic, make_strange_tree

OpenRepository = Callable[[], Repository]


class Recorder(Listener):
    """Remembers what came of every item, and what else is told."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str, str, int]] = []
        self.errors: list[tuple[str, str]] = []
        self.bytes = 0

    def error(self, item: str, error: Exception) -> None:
        self.errors.append((item, str(error)))

    def bytes_done(self, count: int) -> None:
        self.bytes += count

    def item_done(self, item: str, kind: str, change: str, stats: ItemStats, seconds: float) -> None:
        self.items.append((item, kind, change, stats.data_size))


class Counter(Listener):
    """Only counts files."""

    def __init__(self) -> None:
        self.files = 0

    def files_done(self, count: int) -> None:
        self.files += count

    def item_done(self, item: str, kind: str, change: str, stats: ItemStats, seconds: float) -> None:
        self.files += kind == "file"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    make_strange_tree(root)
    (root / "many").mkdir()
    for number in range(700):
        (root / "many" / f"file-{number}").write_bytes(b"%d" % (number // 2))
    monkeypatch.chdir(root)
    return root


def change_some(root: Path) -> None:
    """Change, remove, add and swap some of the files."""
    rng = random.Random(5)
    for number in rng.sample(range(700), 60):
        path = root / "many" / f"file-{number}"
        if number % 4 == 0:
            path.write_bytes(b"changed %d" % number)
        elif number % 4 == 1:
            path.unlink()
        elif number % 4 == 2:
            path.chmod(0o600)
        else:
            path.unlink()
            path.mkdir()
            (path / "below").touch()
    for number in range(20):
        (root / "many" / f"added-{number}-<").write_bytes(b"added")
    (root / "many" / "link").symlink_to("file-0")
    os.utime(root / "modes" / "file-0000", ns=(0, 0))


@pytest.fixture(params=["native", "file by file"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both ways of walking."""
    if request.param == "file by file":
        leave_out_native_parts(monkeypatch)
    yield


def second(repository: Repository, first: Result, progress: Listener, **options: object) -> Result:
    parent: Snapshot = repository.load_snapshot(bytes.fromhex(first.snapshot_id or ""))
    options.setdefault("tells_files", not isinstance(progress, Counter))
    chosen = BackupOptions(parent=parent, parent_id=first.snapshot_id, scan=False, **options)  # type: ignore[arg-type]
    return backup(repository, ["."], chosen, progress)


@pytest.mark.usefixtures("each_way")
def test_nothing_changed(source: Path, restic: Restic, ours: OpenRepository) -> None:
    theirs = restic.backup(".", cwd=source)
    repository = ours()
    seen = Recorder()
    options = BackupOptions(parent=repository.load_snapshot(next(repository.list(FileKind.SNAPSHOT))[0]), scan=False)
    result = backup(repository, ["."], options, seen)
    assert result.tree == theirs["tree"]
    assert result.summary.stats == ItemStats() and not seen.errors
    # The name of its attribute is not UTF-8: what was stored of it differs, to restic as well.
    assert [item for item, _, change, _ in seen.items if change != "unchanged"] == ["/acl-dir/"]
    assert result.summary.dirs.modified == 1
    assert result.summary.files.unchanged == theirs["summary"]["files_new"]
    assert result.summary.processed_bytes == seen.bytes == theirs["summary"]["total_bytes_processed"]


def test_some_changed(source: Path, restic: Restic, ours: OpenRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    first = backup(ours(), ["."])
    change_some(source)
    theirs = restic.backup(".", "--parent", first.snapshot_id or "", cwd=source)
    outcomes = []
    for works in (True, False):
        with monkeypatch.context() as patch:
            if not works:
                leave_out_native_parts(patch)
            seen, counted = Recorder(), Counter()
            result = second(ours(), first, seen)
            assert result.tree == theirs["tree"] and not seen.errors
            assert second(ours(), first, counted).tree == result.tree
            assert counted.files == result.summary.files.total
            outcomes.append((sorted(seen.items), seen.bytes, result.summary.files, result.summary.dirs))
    assert outcomes[0] == outcomes[1]
    assert {change for item, _, change, _ in outcomes[0][0]} == {"new", "modified", "unchanged"}
    for key, count in (("files_new", "new"), ("files_changed", "modified"), ("files_unmodified", "unchanged")):
        assert theirs["summary"][key] == getattr(outcomes[0][2], count)
    assert theirs["summary"]["dirs_changed"] == outcomes[0][3].modified


@pytest.mark.usefixtures("each_way")
def test_exclusions(source: Path, restic: Restic, ours: OpenRepository) -> None:
    first = backup(ours(), ["."])
    (source / "dirs" / "A" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    chosen = ["--exclude", "file-*5", "--exclude-caches", "--exclude-larger-than", "1M", "--one-file-system"]
    theirs = restic.backup(".", *chosen, cwd=source)
    seen = Recorder()
    result = second(
        ours(),
        first,
        seen,
        excludes=ExcludeFilter(["file-*5"]),
        exclude_if_present=["CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"],
        exclude_larger_than=1 << 20,
        one_file_system=True,
    )
    assert result.tree == theirs["tree"]
    assert result.summary.files.total == theirs["summary"]["total_files_processed"]


def deep_and_wide(root: Path) -> None:
    """Levels of many directories, some large, so that looking ahead has to choose."""
    for outer in range(30):
        for inner in range(20):
            place = root / f"outer-{outer:02d}" / f"inner-{inner:02d}"
            place.mkdir(parents=True)
            (place / "file").write_bytes(b"%d" % outer)
    (root / "outer-07" / "inner-07" / "below" / "further").mkdir(parents=True)
    for number in range(400):
        (root / "outer-11" / f"file-{number}").touch()
        (root / "outer-12" / f"dir-{number}").mkdir()


def test_looking_ahead(
    tmp_path: Path, repository: Repository, reopened: Callable[[Repository], Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").mkdir()
    deep_and_wide(tmp_path / "s")
    monkeypatch.chdir(tmp_path / "s")
    first = backup(repository, ["."])
    taken: list[bool] = []
    real = Ahead.take

    def take(self: Ahead, place: Place) -> Survey | None:
        found = real(self, place)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(Ahead, "take", take)
    before = threading.active_count()
    result = second(reopened(repository), first, Listener())
    assert result.tree == first.tree
    assert (result.summary.dirs.unchanged, result.summary.files.unchanged) == (30 + 600 + 2 + 400, 600 + 400)
    assert result.summary.stats == ItemStats()
    assert any(taken)
    assert threading.active_count() == before
    # What changes between looking ahead and arriving is found out then, or the next time.
    (tmp_path / "s" / "outer-03" / "inner-03" / "file").write_bytes(b"changed")
    (tmp_path / "s" / "outer-05" / "inner-05" / "file").unlink()
    changed = second(reopened(repository), first, Listener())
    assert (changed.summary.files.modified, changed.summary.files.unchanged) == (1, 998)
    assert changed.tree != first.tree and changed.summary.dirs.modified == 4


def test_a_damaged_tree_is_reported_by_the_walk(
    tmp_path: Path, repository: Repository, reopened: Callable[[Repository], Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").mkdir()
    deep_and_wide(tmp_path / "s")
    monkeypatch.chdir(tmp_path / "s")
    first = backup(repository, ["."])
    tree = {node.name: node for node in repository.load_tree(bytes.fromhex(first.tree))}
    lost = bytes.fromhex(tree["outer-08"].subtree or "")
    fresh = reopened(repository)
    entry = fresh.index.lookup(BlobType.TREE, lost)
    assert entry is not None
    name = entry.pack.hex()
    storage = fresh.storage
    pack = bytearray(storage.load(FileKind.PACK, name))
    pack[entry.offset + 20] ^= 1
    storage.remove(FileKind.PACK, name)
    storage.save(FileKind.PACK, name, bytes(pack))
    seen = Recorder()
    result = second(fresh, first, seen)
    assert result.tree == first.tree
    assert [item for item, _ in seen.errors] == ["/outer-08"]
    assert "could not be loaded; the repository could be damaged" in seen.errors[0][1]
    assert result.summary.files.new == 20 and result.summary.files.unchanged == 980


@pytest.mark.usefixtures("each_way")
def test_small_files_that_cannot_be_read(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many that are saved together, those that vanish or turn into something else are reported by themselves."""
    source = tmp_path / "s"
    source.mkdir()
    for number in range(100):
        (source / f"file-{number:02d}").write_bytes(b"%d" % number)
    (source / "file-50").write_bytes(bytes(600_000))
    monkeypatch.chdir(source)
    start, finish = Workers.start, Workers.finish

    def harm_and_finish(self: Workers) -> None:
        """Let the workers begin only when the walk is done, and something has happened since."""
        (source / "file-10").unlink()
        (source / "file-20").unlink()
        (source / "file-20").mkdir()
        (source / "file-30").write_bytes(b"longer than it was")
        start(self)
        finish(self)

    monkeypatch.setattr(Workers, "start", lambda _: None)
    monkeypatch.setattr(Workers, "finish", harm_and_finish)
    seen = Recorder()
    result = backup(repository, ["."], BackupOptions(scan=False), seen)
    assert sorted(os.path.basename(item) for item, _ in seen.errors) == ["file-10", "file-20"]
    tree = {node.name: node for node in repository.load_tree(bytes.fromhex(result.tree))}
    assert len(tree) == 98 and "file-10" not in tree and "file-20" not in tree
    assert (tree["file-30"].size, tree["file-50"].size) == (18, 600_000)
    assert result.summary.files.new == 98 and result.summary.errors == 2
    assert len(seen.items) == 98
