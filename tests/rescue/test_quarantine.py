"""The quarantine: what is replaced or removed is kept first, and comes back byte for byte."""

from __future__ import annotations

import contextlib
import itertools
import json
import random

import pytest

from restic_format.errors import DamagedFile, StorageError, UsageError
from restic_format.rescue import quarantine as module
from restic_format.rescue.quarantine import Quarantine, QuarantiningStorage, read_run, run_names
from restic_format.rescue.undo import forget, undo
from restic_format.storage import FaultyStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Fail, FailLate, nth
from restic_spec.ids import id_of
from restic_spec.layout import FileKind

KINDS = (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT, FileKind.KEY)


def filled() -> MemoryStorage:
    storage = MemoryStorage()
    storage.save(FileKind.CONFIG, "", b"config")
    for kind in (*KINDS, FileKind.LOCK):
        for number in range(3):
            data = b"%s %d" % (kind.value.encode(), number)
            storage.save(kind, id_of(data).hex(), data)
    return storage


def name(text: str) -> str:
    return id_of(text.encode()).hex()


def change(inner: Storage, number: int = 0) -> Quarantine:
    """A run that replaces, removes and adds files of every kind."""
    made = Quarantine(inner.side_files("quarantine"))
    storage = QuarantiningStorage(inner, made)
    for kind in KINDS:
        storage.save(kind, name(f"new {number}"), b"new")
        writer = storage.begin(kind)
        writer.append(b"new, too")
        writer.finish(name(f"another {number}"))
        storage.save(kind, name(f"{kind.value} {number}"), b"replaced")
        storage.remove(kind, name(f"{kind.value} {number + 1}"))
        storage.remove(kind, name(f"new {number}"))
    storage.save(FileKind.CONFIG, "", b"config %d" % number)
    storage.remove_lock(name(f"locks {number}") if storage.exists(FileKind.LOCK, name(f"locks {number}")) else name("none"))
    storage.save(FileKind.LOCK, name("a lock of our own"), b"")
    storage.remove(FileKind.LOCK, name("a lock of our own"))
    return made


@pytest.mark.clause("QUARANTINE-2", "QUARANTINE-5")
def test_everything_comes_back() -> None:
    storage = filled()
    before = dict(storage.files)
    made = change(storage)
    changed = dict(storage.files)
    assert changed != before
    found = read_run(storage.side_files("quarantine"), made.name)
    assert len(found.snapshots) == 3 and (FileKind.CONFIG, "") in found.kept
    done = undo(storage, storage.side_files("quarantine"))
    assert storage.files == before and list(storage.side_files("quarantine").list()) == []
    assert (done.run, done.left, len(done.removed)) == (made.name, [], 4)
    with pytest.raises(UsageError, match="there is nothing to undo"):
        undo(storage, storage.side_files("quarantine"))


@pytest.mark.clause("QUARANTINE-1", "QUARANTINE-5")
def test_runs_are_undone_from_the_last_one_on(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, states = filled(), []
    side = storage.side_files("quarantine")
    for number in range(2):
        states.append(dict(storage.files))
        made = Quarantine(side, now=lambda number=number: number * 10**9)
        QuarantiningStorage(storage, made).remove(FileKind.PACK, name(f"data {number}"))
    first, second = run_names(side)
    with pytest.raises(UsageError, match=f"run {first} cannot be undone before the later one, {second}"):
        undo(storage, side, first)
    with pytest.raises(UsageError, match=r"no run 'x' in the quarantine .*: there are "):
        undo(storage, side, "x")
    undo(storage, side)
    assert storage.files == states[1]
    undo(storage, side, first)
    assert storage.files == states[0]


@pytest.mark.clause("QUARANTINE-6")
def test_what_newer_snapshots_may_need_stays() -> None:
    storage = filled()
    change(storage)
    storage.save(FileKind.SNAPSHOT, name("made since"), b"made since")
    done = undo(storage, storage.side_files("quarantine"))
    assert {kind for kind, _ in done.left} == {FileKind.PACK, FileKind.INDEX}
    assert storage.exists(FileKind.PACK, name("another 0")) and storage.exists(FileKind.SNAPSHOT, name("made since"))
    assert not storage.exists(FileKind.SNAPSHOT, name("another 0"))


@pytest.mark.clause("QUARANTINE-6")
def test_what_others_have_pruned_since_is_not_undone() -> None:
    storage = filled()
    change(storage)
    for file, _ in list(storage.list(FileKind.INDEX)):
        storage.remove(FileKind.INDEX, file)
    storage.save(FileKind.INDEX, name("made since"), b"made since")
    before = dict(storage.files)
    with pytest.raises(UsageError, match="the index was written anew since"):
        undo(storage, storage.side_files("quarantine"))
    assert storage.files == before


@pytest.mark.clause("QUARANTINE-6")
@pytest.mark.parametrize("gone", ["of the run", "from before"])
def test_an_index_that_is_gone_keeps_snapshots_that_replaced_others(gone: str) -> None:
    storage = filled()
    made = Quarantine(storage.side_files("quarantine"))
    inner = QuarantiningStorage(storage, made)
    inner.save(FileKind.INDEX, name("of the run"), b"of the run")
    inner.save(FileKind.SNAPSHOT, name("repaired"), b"repaired")
    inner.remove(FileKind.SNAPSHOT, name("snapshots 0"))
    made.end()
    storage.remove(FileKind.INDEX, name("of the run" if gone == "of the run" else "index 0"))
    storage.save(FileKind.INDEX, name("made since"), b"made since")
    before = dict(storage.files)
    with pytest.raises(UsageError, match="the index was written anew since"):
        undo(storage, storage.side_files("quarantine"))
    assert storage.files == before


@pytest.mark.parametrize("ended", [True, False])
def test_one_index_file_that_is_gone_tells_that_others_have_changed_it(ended: bool) -> None:
    storage = filled()
    before = dict(storage.files)
    made = change(storage)
    QuarantiningStorage(storage, made).save(FileKind.INDEX, name("the last one"), b"the last one")
    if ended:
        made.end()
    storage.remove(FileKind.INDEX, name("the last one"))
    side = storage.side_files("quarantine")
    found = read_run(side, made.name)
    assert found.has_ended is ended and (FileKind.INDEX, name("new 0")) in found.dropped
    if ended:
        with pytest.raises(UsageError, match="the index was written anew since"):
            undo(storage, side)
    else:  # The run may have been killed before it stored that file.
        undo(storage, side)
        assert storage.files == before


def test_what_is_forgotten_is_gone() -> None:
    storage = filled()
    made = change(storage)
    after = dict(storage.files)
    side = storage.side_files("quarantine")
    with pytest.raises(UsageError, match="no run 'other'"):
        forget(side, "other")
    assert forget(side) == [made.name] and forget(side) == [] and list(side.list()) == []
    assert storage.files == after


@pytest.mark.clause("QUARANTINE-3")
def test_a_journal_is_json_lines_in_files_of_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINES", 5)
    storage = filled()
    before = dict(storage.files)
    made = change(storage)
    side = storage.side_files("quarantine")
    journals = [file for file, _ in side.list(f"{made.name}/journal-")]
    lines = [json.loads(line) for file in journals for line in side.load(file).splitlines()]
    assert len(journals) == (len(lines) + 4) // 5 and len(lines) > 10
    assert [line["step"] for line in lines[:2]] == ["begin", "add"]
    undo(storage, side)
    assert storage.files == before


@pytest.mark.clause("QUARANTINE-7")
@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"step":"jump","time":""}',
        b'{"step":"add","time":"","kind":"data","name":"../x"}',
        b"[]",
        b'{"step":"add","time":"","kind":"config","name":"aa"}',
    ],
)
def test_a_damaged_journal_is_said_to_be_one(line: bytes) -> None:
    storage = filled()
    made = change(storage)
    side = storage.side_files("quarantine")
    journal = f"{made.name}/journal-000000"
    side.save(journal, side.load(journal) + line + b"\n")
    before = dict(storage.files)
    with pytest.raises(DamagedFile, match="journal"):
        undo(storage, side)
    assert storage.files == before


@pytest.mark.clause("QUARANTINE-4")
@pytest.mark.parametrize("fault", [Fail(), FailLate()], ids=["before", "after"])
def test_whatever_fails_is_undone(fault: Fail | FailLate) -> None:
    """Every call of a run fails once, then every call of the undoing, which is begun again."""
    calls = FaultyStorage(filled(), lambda call: None)
    change(calls)
    chance = random.Random(1)
    kinds = sorted({(call.operation, call.kind) for call in calls.calls}, key=str)
    for operation, kind in kinds:
        count = sum((call.operation, call.kind) == (operation, kind) for call in calls.calls)
        for number in {0, count - 1, chance.randrange(count)}:
            storage = filled()
            before = dict(storage.files)
            faulty = FaultyStorage(storage, nth(operation, number, fault, kind))
            with contextlib.suppress(StorageError):
                change(faulty)
            if run_names(storage.side_files("quarantine")):
                undo(storage, storage.side_files("quarantine"))
            storage.files.pop((FileKind.LOCK, name("a lock of our own")), None)
            assert storage.files == before, (operation, kind, number)


@pytest.mark.parametrize("fault", [Fail(), FailLate()], ids=["before", "after"])
def test_undoing_that_fails_is_begun_again(fault: Fail | FailLate) -> None:
    start = filled()
    change(start)
    calls = FaultyStorage(start, lambda call: None)
    undo(calls, calls.side_files("quarantine"))
    for operation, kind in sorted({(call.operation, call.kind) for call in calls.calls}, key=str):
        storage = filled()
        before = dict(storage.files)
        change(storage)
        faulty = FaultyStorage(storage, nth(operation, 0, fault, kind))
        try:
            undo(faulty, faulty.side_files("quarantine"))
        except StorageError:
            if run_names(storage.side_files("quarantine")):
                undo(storage, storage.side_files("quarantine"))
        assert storage.files == before, (operation, kind)


def test_a_copy_that_is_not_what_was_read_keeps_the_file() -> None:
    storage = filled()

    class Forgetful(type(storage.side_files("quarantine"))):  # type: ignore[misc]
        def _keep(self, name: str, data: object) -> None:
            super()._keep(name, b"" if "/data/" in name else data)

    storage.sides["quarantine"] = Forgetful()
    before = dict(storage.files)
    made = Quarantine(storage.side_files("quarantine"))
    with pytest.raises(DamagedFile, match="was stored just now and is not what was written"):
        QuarantiningStorage(storage, made).remove(FileKind.PACK, name("data 0"))
    assert storage.files == before


@pytest.mark.clause("QUARANTINE-8")
def test_a_run_that_is_half_forgotten_is_not_undone() -> None:
    """Wherever forgetting stops: nothing is removed for which nothing could come back."""
    for number in itertools.count():
        storage = filled()
        made = change(storage)
        changed = dict(storage.files)
        faulty = FaultyStorage(storage, nth("side remove", number, FailLate()))
        try:
            forget(faulty.side_files("quarantine"))
        except StorageError:
            side = storage.side_files("quarantine")
            if run_names(side):
                with pytest.raises(UsageError, match="was about to be forgotten"):
                    undo(storage, side)
            assert forget(side) in ([made.name], []) and not list(side.list())
        else:
            break
        assert storage.files == changed
    assert number > 5


@pytest.mark.clause("QUARANTINE-8")
def test_a_run_without_one_of_its_copies_is_not_undone() -> None:
    storage = filled()
    made = change(storage)
    changed = dict(storage.files)
    side = storage.side_files("quarantine")
    side.remove(f"{made.name}/data/{name('data 0')}")
    with pytest.raises(DamagedFile, match=f"data/../{name('data 0')}, which it has set aside, is not in the quarantine"):
        undo(storage, side)
    assert storage.files == changed


@pytest.mark.clause("QUARANTINE-1")
@pytest.mark.clause("QUARANTINE-8")
def test_a_run_with_a_damaged_copy_is_not_undone() -> None:
    storage = filled()
    made = change(storage)
    side = storage.side_files("quarantine")
    copy = next(file for file, _ in side.list(f"{made.name}/data/"))
    side.save(copy, side.load(copy)[:-1] + b"?")
    before = dict(storage.files)
    with pytest.raises(DamagedFile, match="is damaged: it is not what was set aside; nothing was changed"):
        undo(storage, side)
    assert storage.files == before


def test_other_folders_are_no_runs() -> None:
    """Where the quarantine is in a folder of the user, nothing else in it is touched."""
    storage = filled()
    side = storage.side_files("quarantine")
    side.save("photos/journal-000000", b"dear diary")
    side.save("notes", b"of mine")
    made = change(storage)
    assert run_names(side) == [made.name] and forget(side) == [made.name]
    assert [found for found, _ in side.list()] == ["notes", "photos/journal-000000"]
