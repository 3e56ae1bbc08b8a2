"""How content travels: each pack once, in few reads, holes for zeros, bounded memory."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.filter import ExcludeFilter, IncludeFilter
from restic_format.repository import Repository
from restic_format.repository.packs import GAP, SPAN
from restic_format.restore import exclude_selector, include_selector
from restic_format.restore import fetch as fetch_module
from restic_format.restore.filewriter import _write_sparse
from restic_format.restore.plan import Plan
from restic_format.restore.table import Meta, MetaColumns, Names
from restic_format.snapshots import walk as walk_module
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Call
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry
from tests.restore.kit import PASSWORD, Maker, memory_repo, restore


def entry(number: int, offset: int, length: int = 100) -> PackEntry:
    return PackEntry(BlobType.DATA, number.to_bytes(32, "big"), offset, length, None)


def test_runs_are_neighbours_of_one_pack_in_order_of_first_use() -> None:
    plan = Plan()
    plan.add(0, 0, entry(1, 500), b"B" * 32, needed=True)
    plan.add(0, 68, entry(2, 0), b"A" * 32, needed=True)
    plan.add(1, 0, entry(3, 400), b"B" * 32, needed=True)
    plan.add(1, 68, entry(4, 600 + GAP), b"B" * 32, needed=True)
    plan.add(2, 0, entry(5, 701 + 2 * GAP), b"B" * 32, needed=True)
    plan.add(2, 68, entry(6, 900 + 2 * GAP), b"B" * 32, needed=False)
    runs = [(run.pack[:1], run.offset, run.length, [blob.entry.id[-1] for blob in plan.blobs(run.rows)]) for run in plan.runs()]
    assert runs == [(b"B", 400, GAP + 300, [3, 1, 4]), (b"B", 701 + 2 * GAP, 100, [5]), (b"A", 0, 100, [2])]
    assert [(blob[-1], offset, size) for blob, offset, size in plan.by_file(4, 2)] == [(5, 0, 68), (6, 68, 68)]


def test_a_blob_used_many_times_is_fetched_once() -> None:
    plan = Plan()
    for number in range(1000):
        plan.add(number % 7, number * 68, entry(1, 0), b"A" * 32, needed=True)
    (run,) = plan.runs()
    (blob,) = plan.blobs(run.rows)
    assert len(blob.rows) == 1000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 5)), max_size=120))
def test_any_plan_writes_everything_once_in_bounded_runs(wanted: list[tuple[int, int, int]]) -> None:
    size = SPAN // 8
    plan = Plan()
    for number, (pack, slot, file) in enumerate(wanted):
        blob = PackEntry(BlobType.DATA, bytes([pack, slot]) * 16, slot * size, size, None)
        plan.add(file, number, blob, bytes([pack]) * 32, needed=True)
    writes: list[tuple[int, int, int, int]] = []
    fetched: Counter[tuple[bytes, int]] = Counter()
    for run in plan.runs():
        assert 0 < run.length <= SPAN
        for blob in plan.blobs(run.rows):
            assert run.offset <= blob.entry.offset and blob.entry.offset + blob.entry.length <= run.offset + run.length
            fetched[run.pack, blob.entry.offset] += 1
            assert blob.entry.id == bytes([run.pack[0], blob.entry.offset // size]) * 16
            writes += [(run.pack[0], blob.entry.offset // size, *plan.write(row)) for row in blob.rows]
    assert all(count == 1 for count in fetched.values())
    assert sorted(writes) == sorted((pack, slot, file, number) for number, (pack, slot, file) in enumerate(wanted))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_each_pack_is_read_once_and_every_file_is_right(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files whose blobs are strewn over packs, shared and repeated, with fewer open files allowed than there are."""
    monkeypatch.setattr(fetch_module, "_OPEN_FILES", 2)
    inner = MemoryStorage()
    maker = Maker(memory_repo(inner))
    blobs = [os.urandom(5000 + number) for number in range(60)]
    for number, blob in enumerate(blobs):
        maker.blob(blob)
        if number % 10 == 9:
            maker.writer.flush()
    contents = [[blobs[(n * 7 + k * 13) % 60] for k in range(n % 9)] + [blobs[0]] * (n % 3) for n in range(40)]
    folders = [maker.folder(f"d{n}", [maker.file("f", *content)]) for n, content in enumerate(contents)]
    tree = maker.finish(sorted(folders, key=lambda node: node.name_bytes))
    loads: list[Call] = []
    guard = threading.Lock()

    def plan(call: Call) -> None:
        if call.operation == "load" and call.kind is FileKind.PACK:
            with guard:
                loads.append(call)

    repo = Repository.open(FaultyStorage(inner, plan), PASSWORD)
    repo.load_index()
    data_packs = {location.pack.hex() for blob in blobs for location in [_where(repo, blob)]}
    loads.clear()
    stats, heard = restore(repo, tree, tmp_path, workers=workers)
    assert heard.errors == [] and stats.files_restored == stats.files_total == 80
    for n, content in enumerate(contents):
        assert (tmp_path / f"d{n}" / "f").read_bytes() == b"".join(content)
    read = Counter(call.name for call in loads if call.name in data_packs)
    assert set(read.values()) == {1} and len(read) == len(data_packs) >= 6


def _where(repo: Repository, blob: bytes) -> object:
    from restic_spec.ids import id_of

    location = repo.index.lookup(BlobType.DATA, id_of(blob))
    assert location is not None
    return location


def test_sparse_leaves_holes_and_without_it_there_are_none(tmp_path: Path) -> None:
    maker = Maker(memory_repo())
    zeros = bytes(1 << 20)
    mixed = b"begin" + bytes(300_000) + b"end"
    tree = maker.finish([maker.file("f", zeros, mixed, zeros, b"tail" + zeros), maker.file("small", bytes(100_000))])
    expected = zeros + mixed + zeros + b"tail" + zeros
    for sparse in (True, False):
        target = tmp_path / str(sparse)
        stats, heard = restore(maker.repo, tree, target, sparse=sparse)
        assert heard.errors == [] and stats.bytes_restored == len(expected) + 100_000
        status = (target / "f").stat()
        assert (target / "f").read_bytes() == expected and (target / "small").read_bytes() == bytes(100_000)
        assert (status.st_blocks * 512 < 60_000) is sparse
        assert ((target / "small").stat().st_blocks == 0) is sparse


def test_sparse_writes_zeros_over_what_was_there(tmp_path: Path) -> None:
    maker = Maker(memory_repo())
    tree = maker.finish([maker.file("f", bytes(100_000), b"x" * 1000)])
    (tmp_path / "f").write_bytes(b"old" * 60_000)
    restore(maker.repo, tree, tmp_path, sparse=True)
    assert (tmp_path / "f").read_bytes() == bytes(100_000) + b"x" * 1000


@given(
    st.lists(st.tuples(st.sampled_from([b"\0", b"x"]), st.integers(1, 9000)), max_size=8),
    st.integers(0, 9000),
)
def test_sparse_writing_equals_writing(pieces: list[tuple[bytes, int]], offset: int) -> None:
    data = b"".join(piece * count for piece, count in pieces)
    descriptor = os.memfd_create("sparse")
    try:
        os.ftruncate(descriptor, offset + len(data))
        _write_sparse(descriptor, data, offset)
        assert os.pread(descriptor, offset + len(data) + 1, 0) == bytes(offset) + data
    finally:
        os.close(descriptor)


def test_a_plan_takes_few_bytes_a_blob() -> None:
    import tracemalloc

    plan = Plan()
    blob = entry(1, 0)
    tracemalloc.start()
    for number in range(100_000):
        plan.add(number, number, blob, b"A" * 32, needed=True)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size < 100 * 100_000


@given(st.lists(st.binary(max_size=300)))
def test_names_come_back(names: list[bytes]) -> None:
    stored = Names()
    numbers = [stored.append(name) for name in names]
    assert numbers == list(range(len(names))) and [stored[number] for number in numbers] == names


_TIMES = st.none() | st.integers(-(10**20), 10**21)


@given(
    st.lists(
        st.builds(
            Meta,
            permissions=st.integers(0, 0o7777),
            uid=st.integers(0, 2**32 - 1),
            gid=st.integers(0, 2**32 - 1),
            atime=_TIMES,
            mtime=_TIMES,
            xattrs=st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5)), max_size=2).map(tuple),
        )
    )
)
def test_metadata_come_back(metas: list[Meta]) -> None:
    columns = MetaColumns()
    for meta in metas:
        columns.append(meta)
    assert [columns[number] for number in range(len(metas))] == metas


def test_selectors() -> None:
    excluding = exclude_selector(ExcludeFilter(["/a/b", "*.tmp"], ["*.LOG"]))
    assert excluding("/a/b", True) == (False, False) and excluding("/x/y.log", False) == (False, False)
    assert excluding("/a", True) == (True, True) and excluding("/a/c", False) == (True, False)
    including = include_selector(IncludeFilter(["/a/b"], ["*.LOG"]))
    assert including("/a", True) == (False, True) and including("/a/b", True) == (True, True)
    assert including("/a/b/c", False) == (True, False) and including("/z/x.log", False) == (True, False)
    only = include_selector(IncludeFilter(["/a/b"]))
    assert only("/z", True) == (False, False)


def test_trees_that_are_read_again_on_the_way_back_are_planned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of the directories above: their ordinary files, planned in one go, do not come a second time."""
    monkeypatch.setattr(walk_module, "HELD", 0)
    maker = Maker(memory_repo())
    inner = [maker.file("f", b"deepest")]
    for depth in range(5):
        folders = [maker.folder(name, inner) for name in ("d1", "d2")]
        inner = [maker.file("a", b"%d" % depth), *folders, maker.symlink("s", "x"), maker.file("z", b"z")]
    stats, heard = restore(maker.repo, maker.finish(inner), tmp_path)
    assert heard.errors == [] and len(heard.items) == len({location for _, location, _ in heard.items})
    assert stats.files_restored == stats.files_total == len(list(tmp_path.rglob("*"))) == 31 * 3 + 62 + 32
