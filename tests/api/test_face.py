"""The library's face: what a program can do with it, and what it can do wrong."""

from __future__ import annotations

import gc
import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import restic_format
from restic_format import (
    Cancel,
    Entry,
    KeepPolicy,
    OpenRepository,
    PruneOptions,
    SnapshotFilter,
    create_repository,
    open_repository,
)
from restic_format.errors import (
    AlreadyLocked,
    BlobMissing,
    ConfigExists,
    DamagedFile,
    Incomplete,
    Interrupted,
    LocationInvalid,
    LockLost,
    NoPolicy,
    PasswordUnavailable,
    RepositoryNotFound,
    ResticFormatError,
    SnapshotNotFound,
    UsageError,
    WrongPassword,
)
from restic_format.events import BackupEvent, ItemDone, ItemFailed, Removed
from restic_format.repository import Repository, RepositoryLock
from restic_format.storage import LocalStorage
from restic_spec.snapshot import Snapshot
from tests.api.conftest import MTIME
from tests.restore.kit import PASSWORD, Maker, cheap_repo, environment, restic

ROOT = Path(__file__).resolve().parent.parent.parent


def locks(opened: OpenRepository) -> int:
    return len(os.listdir(Path(opened.location, "locks")))


def names(entries: list[Entry]) -> list[str]:
    return [entry.name for entry in entries]


# Opening


def test_everything_that_is_listed_is_there_and_nothing_is_imported_before() -> None:
    for name in restic_format.__all__:
        assert getattr(restic_format, name) is not None
        assert name in dir(restic_format)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        restic_format.nothing  # noqa: B018
    code = "import sys, restic_format; print([name for name in sys.modules if name.startswith('restic')])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['restic_format']"


def test_a_repository_is_created_opened_and_closed(tmp_path: Path, location: Path) -> None:
    with (
        open_repository(str(location), PASSWORD.encode()) as same,
        create_repository(tmp_path / "new:er", "secret", version=1, chunker_params_of=same) as made,
    ):
        assert made.version == 1
        assert made.chunker_polynomial == same.chunker_polynomial
        assert "secret" not in repr(made)
        assert made.id[:8] in repr(made)
        assert made.snapshots() == []
    assert made.closed
    with open_repository(tmp_path / "new:er", "secret") as again:
        assert again.id == made.id
    with pytest.raises(ConfigExists):
        create_repository(tmp_path / "new:er", "secret")


def test_the_password_comes_from_a_file_or_a_command(tmp_path: Path, location: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbf" + PASSWORD.encode() + b" \n")
    for given in (
        {"password_file": file},
        {"password_command": f"echo '{PASSWORD}'"},
        {"password_command": ["echo", PASSWORD]},
    ):
        with open_repository(location, **given) as opened:
            assert opened.id


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, UsageError, "exactly one way"),
        ({"password": "x", "password_file": "y"}, UsageError, "exactly one way"),
        ({"password": ""}, UsageError, "empty"),
        ({"password": "wrong"}, WrongPassword, "wrong password"),
        ({"password": 5}, TypeError, "not int"),
        ({"password_file": "/nonexistent/file"}, PasswordUnavailable, "no such file"),
        ({"password_command": "false"}, PasswordUnavailable, "exit status 1"),
        ({"password_command": "/nonexistent/program"}, PasswordUnavailable, "no such file"),
        ({"password_command": "'"}, PasswordUnavailable, "quoted"),
        ({"password_command": []}, PasswordUnavailable, "no command"),
        ({"password": PASSWORD, "pack_size": 1}, UsageError, "pack size"),
    ],
)
def test_what_can_be_wrong_with_opening(location: Path, given: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as raised:
        open_repository(location, **given)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_what_can_be_wrong_with_a_location(tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFound):
        open_repository(tmp_path / "nothing", "x")
    with pytest.raises(LocationInvalid):
        open_repository("gopher:there", "x")
    with pytest.raises(TypeError, match="a location is str"):
        open_repository(b"/bytes", "x")  # type: ignore[arg-type]


def test_a_file_that_is_too_large_holds_no_password(tmp_path: Path, location: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(PasswordUnavailable, match="too large"):
        open_repository(location, password_file=file)


# Snapshots and their files


def test_snapshots_are_found(filled: OpenRepository, source: Path) -> None:
    filled.backup(source / "folder", tags=["second"], hostname="elsewhere")
    first, second = filled.snapshots()
    assert (first.tags, second.tags) == (("first",), ("second",))
    assert first.paths == (str(source),)
    assert second.hostname == "elsewhere"
    assert second.summary is not None and second.summary.files_new == 2
    assert second.time.timestamp() == pytest.approx(second.time_ns / 1e9)
    assert filled.snapshots(SnapshotFilter(hosts=["elsewhere"])) == [second]
    assert filled.snapshot() == filled.snapshot("latest") == filled.snapshot(second.short_id) == second
    assert filled.snapshot("latest", SnapshotFilter(tags=[["first"]])) == filled.snapshot("latest~1") == first
    with pytest.raises(SnapshotNotFound):
        filled.snapshot("0123")
    with pytest.raises(UsageError, match=r"files\(\)"):
        filled.snapshot("latest:/folder")


def test_a_damaged_snapshot_is_told_or_raised(filled: OpenRepository) -> None:
    name = "ab" * 32
    Path(filled.location, "snapshots", name).write_bytes(b"x" * 100)
    with pytest.raises(DamagedFile, match=name):
        filled.snapshots()
    told: list[str] = []
    assert len(filled.snapshots(damaged=lambda snapshot_id, _: told.append(snapshot_id))) == 1
    assert told == [name]


def test_files_are_looked_at_and_read(filled: OpenRepository, source: Path) -> None:
    expected = (source / "folder/below/two").read_bytes()
    with filled.files(f"latest:{source}") as files:
        assert locks(filled) == 1
        assert names(files.list()) == ["absolute", "away", "folder", "loop", "relative", "through"]
        assert [entry.path for entry in files.walk("folder")] == ["/folder/below", "/folder/below/two", "/folder/one"]
        one = files.stat("folder/one")
        assert (one.name, one.size, one.mtime_ns, one.is_file, one.mode) == ("one", 4000, MTIME, True, 0o100644)
        assert files.stat().is_dir
        assert files.stat("/") == files.stat("")
        with files.open("/folder/below/two") as stream:
            assert stream.seek(255) == 255
            assert stream.read(3) == expected[255:258]
            assert stream.seek(-1, os.SEEK_END) == 256 * 8000 - 1
            assert stream.read() == expected[-1:]
        with io.TextIOWrapper(files.open("folder/one")) as text:
            assert sum(1 for _ in text) == 1000
        assert files.read("folder/below/two") == (source / "folder/below/two").read_bytes()
        with files.open_raw("folder/one") as raw:
            assert raw.pread(1, 4) == b"ne\no"
    assert locks(filled) == 0


def test_symbolic_links_are_followed_inside_the_snapshot(filled: OpenRepository, source: Path) -> None:
    with filled.files(f"latest:{source}") as files, filled.files() as whole:
        assert locks(filled) == 1
        assert files.stat("relative").target == "folder/below/two"
        assert files.stat("relative", follow_symlinks=True).size == 256 * 8000
        assert files.resolve("absolute/one") == "/folder/one"
        assert files.read("through") == b"one\n" * 1000
        assert names(files.list("absolute")) == ["below", "one"]
        assert whole.read(f"{source}/through") == b"one\n" * 1000
        with filled.files(f"latest:{source.parent}/./x/..//{source.name}/") as again:
            assert again.folder == files.folder == str(source)
            assert again.resolve("absolute/one") == "/folder/one"
        assert whole.folder == ""
        for broken in ("loop", "away"):
            with pytest.raises(SnapshotNotFound):
                files.open(broken)
            assert files.exists(broken)
        with pytest.raises(SnapshotNotFound, match="outside"):
            files.stat("away", follow_symlinks=True)


def test_a_link_cannot_make_reading_take_for_ever(location: Path) -> None:
    maker = Maker(Repository.open(LocalStorage(str(location)), PASSWORD))
    links = [maker.symlink("long", "x/../" * 1000), maker.symlink("self", "./self/below"), maker.symlink("up", "../../../file")]
    tree = maker.finish([maker.file("file", b"content"), *links])
    maker.repo.save_snapshot(Snapshot(time="2024-01-02T03:04:05Z", tree=tree.hex(), paths=["/"]))
    with open_repository(location, PASSWORD) as opened, opened.files() as files:
        with pytest.raises(SnapshotNotFound, match="too long"):
            files.open("long")
        with pytest.raises(SnapshotNotFound, match="too many"):
            files.open("self")
        assert files.read("up") == b"content"


def test_a_lost_lock_is_told_and_another_one_taken(filled: OpenRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[RepositoryLock] = []
    take = RepositoryLock.__init__

    def taken(self: RepositoryLock, *arguments: Any) -> None:
        take(self, *arguments)
        held.append(self)

    monkeypatch.setattr(RepositoryLock, "__init__", taken)
    files = filled.files()
    held[0]._lost = "the machine has slept for too long"
    assert not files.locked
    for use in (files.list, lambda: files.open("x"), lambda: list(files.walk())):
        with pytest.raises(LockLost):
            use()
    with filled.files() as again:
        assert again.list()
    assert len(held) == 2


def test_a_cache_is_used_but_not_by_check(filled: OpenRepository, location: Path, source: Path, tmp_path: Path) -> None:
    settings = {"cache_dir": tmp_path / "cache", "options": {"local.cache": "true"}}
    with open_repository(location, PASSWORD, **settings) as opened:  # type: ignore[arg-type]
        with opened.files(f"latest:{source}") as files:
            assert files.read("folder/one")
        snapshot = opened.snapshot()
        assert list((tmp_path / "cache").rglob(snapshot.id))
        path = location / "snapshots" / snapshot.id
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert opened.snapshots() == [snapshot]
        assert not opened.check().ok


def test_what_can_be_wrong_with_a_path(filled: OpenRepository, source: Path) -> None:
    with filled.files(f"latest:{source}") as files:
        for path in ("nothing", "folder/nothing", "folder/one/below"):
            assert not files.exists(path)
            with pytest.raises(SnapshotNotFound):
                files.open(path)
        with pytest.raises(ResticFormatError, match="not a regular file"):
            files.open("folder")
        with pytest.raises(TypeError):
            files.stat(b"folder")  # type: ignore[arg-type]
    for name in ("latest:/nothing", f"latest:{source}/folder/one", "feed"):
        with pytest.raises(SnapshotNotFound):
            filled.files(name)
    assert locks(filled) == 0


def test_a_lost_blob_is_one_files_error(filled: OpenRepository, source: Path) -> None:
    filled.backup_stream(b"small", "other")
    packs = sorted(Path(filled.location, "data").rglob("*/*"), key=lambda path: path.stat().st_size)
    packs[-1].unlink()  # the one with the file `two`
    with filled.files("latest~1") as files:
        with pytest.raises(ResticFormatError):
            files.read(f"{source}/folder/below/two")
        assert len(list(files.walk())) > 5
    with filled.files() as files:
        assert files.read("other") == b"small"


def test_a_damaged_tree_is_told_or_raised(filled: OpenRepository) -> None:
    tree = filled.snapshot().tree
    Path(filled.location, "index", os.listdir(Path(filled.location, "index"))[0]).unlink()
    with filled.files() as files:
        told: list[str] = []
        with pytest.raises(BlobMissing, match=tree):
            list(files.walk())
        assert list(files.walk(damaged=lambda path, _: told.append(path))) == []
        assert told == ["/"]


def test_a_walk_may_be_left(filled: OpenRepository) -> None:
    with filled.files() as files:
        walk = iter(files.walk())
        next(walk)
        walk.close()  # type: ignore[attr-defined]
        other = files.walk()
        next(other)
    with pytest.raises(UsageError, match="is closed"):
        list(other)


def test_what_is_closed_is_not_used(filled: OpenRepository, source: Path) -> None:
    files = filled.files()
    stream = files.open(f"{source}/folder/one")
    filled.close()
    filled.close()
    assert files.closed
    assert locks(filled) == 0
    with pytest.raises(ValueError, match="closed"):
        stream.read()
    for use in (files.list, filled.snapshots, filled.files, filled.check, lambda: filled.backup(source)):
        with pytest.raises(UsageError, match="is closed"):
            use()


def test_a_forgotten_object_holds_no_lock_for_ever(filled: OpenRepository, source: Path) -> None:
    stream = filled.files().open(f"{source}/folder/one")
    gc.collect()
    assert locks(filled) == 1
    assert stream.read(3) == b"one"
    del stream
    gc.collect()
    assert locks(filled) == 0


def test_the_end_of_the_program_releases_the_lock(location: Path, source: Path) -> None:
    code = f"""
import restic_format
repository = restic_format.open_repository({str(location)!r}, {PASSWORD!r})
repository.backup({str(source)!r})
files = repository.files()
print(len(files.list()))
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert not list((location / "locks").iterdir())


def test_new_snapshots_are_seen_while_others_are_open(filled: OpenRepository, location: Path) -> None:
    with filled.files() as old:
        with open_repository(location, PASSWORD) as other:
            other.backup_stream(b"new", "new")
        with filled.files() as new:
            assert new.read("new") == b"new"
            assert names(old.list())
        assert names(old.list())
        assert locks(filled) == 1


def test_several_threads_read(filled: OpenRepository, source: Path) -> None:
    expected = (source / "folder/below/two").read_bytes()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                with filled.files() as files:
                    assert files.read(f"{source}/relative") == expected
                assert len(filled.snapshots()) == 1
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert locks(filled) == 0


def test_a_forked_process_opens_it_again(filled: OpenRepository, location: Path) -> None:
    with filled.files() as files:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for use in (filled.snapshots, files.list):
                    with pytest.raises(UsageError, match="another process"):
                        use()
                files.close()
                filled.close()
                with open_repository(location, PASSWORD) as again:
                    code = 0 if len(again.snapshots()) == 1 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert locks(filled) == 1
        assert files.list()


def test_nothing_that_is_open_is_pickled(filled: OpenRepository) -> None:
    with filled.files() as files, pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(files)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(filled)
    assert pickle.loads(pickle.dumps(filled.snapshot().id)) == filled.snapshot().id


# Backing up and restoring


def test_what_is_backed_up_is_restored(
    filled: OpenRepository, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[BackupEvent] = []
    again = filled.backup([source], progress=heard.append)
    assert again.ok
    assert again.summary.files.unchanged == 2
    assert {event.change for event in heard if isinstance(event, ItemDone) and event.kind == "file"} == {"unchanged"}
    assert filled.snapshot().parent == filled.snapshots()[0].id
    assert filled.backup(source, force=True).summary.files.new == 2
    monkeypatch.chdir(source)  # so that no directory above it, which others change, is in the snapshot
    assert filled.backup("folder").snapshot_id
    assert filled.backup("folder", skip_if_unchanged=True).snapshot_id is None
    filled.backup(source)
    count = len(filled.snapshots())
    assert filled.backup(source, dry_run=True, excludes=["one"]).summary.files.total == 1
    assert len(filled.snapshots()) == count
    done = filled.restore(f"latest:{source}", tmp_path / "out", verify=True)
    assert done.ok
    assert done.verified == 2
    assert (tmp_path / "out/folder/one").read_bytes() == b"one\n" * 1000
    assert (tmp_path / "out/folder/one").stat().st_mtime_ns == MTIME
    some = filled.restore("latest", tmp_path / "some", include=["two"])
    assert some.stats.bytes_restored == 256 * 8000


def test_real_restic_finds_it_whole(filled: OpenRepository, peer: Callable[[str], Path]) -> None:
    filled.backup_stream(io.BytesIO(b"streamed" * 100_000), "/a/stream", tags=["s"])
    filled.forget(names=["latest~1"])
    filled.prune()
    program = peer("restic-0.19")
    checked = restic(program, Path(filled.location), "check", "--read-data")
    assert checked.returncode == 0, checked.stderr
    assert restic(program, Path(filled.location), "dump", "latest", "/a/stream").stdout == b"streamed" * 100_000


def test_what_could_not_be_read_is_raised_with_the_result(opened: OpenRepository, source: Path) -> None:
    heard: list[BackupEvent] = []
    gone = source / "no such file"
    with pytest.raises(Incomplete, match="1 items") as raised:
        opened.backup([source, gone], progress=heard.append)
    (failed,) = raised.value.result.failed  # type: ignore[attr-defined]
    assert failed.item == str(gone)
    assert [event for event in heard if isinstance(event, ItemFailed)] == [failed]
    assert opened.snapshot().id == raised.value.result.snapshot_id  # type: ignore[attr-defined]
    done = opened.backup([source, gone], strict=False)
    assert not done.ok
    assert done.snapshot_id


def test_what_could_not_be_restored_is_raised_with_the_result(filled: OpenRepository, tmp_path: Path) -> None:
    sizes = sorted(Path(filled.location, "data").rglob("*/*"), key=lambda path: path.stat().st_size)
    sizes[-1].unlink()
    with pytest.raises(Incomplete) as raised:
        filled.restore("latest", tmp_path / "out")
    assert raised.value.result.failed  # type: ignore[attr-defined]
    assert not filled.restore("latest", tmp_path / "out", strict=False).ok


@pytest.mark.parametrize("stream", ["text", io.StringIO("text"), object()])
def test_a_stream_is_binary(opened: OpenRepository, stream: object) -> None:
    with pytest.raises((TypeError, ResticFormatError)):
        opened.backup_stream(stream, "x")  # type: ignore[arg-type]
    assert opened.snapshots() == []


def test_a_stream_that_fails_makes_no_snapshot(opened: OpenRepository) -> None:
    class Failing(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise RuntimeError("no more")

    with pytest.raises(ResticFormatError, match="no more"):
        opened.backup_stream(Failing(), "x")  # type: ignore[arg-type]
    assert opened.snapshots() == []


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda opened, source: opened.backup([]), ResticFormatError),
        (lambda opened, source: opened.backup(source / "nothing"), ResticFormatError),
        (lambda opened, source: opened.backup(5), TypeError),
        (lambda opened, source: opened.backup(source, tags="x"), TypeError),
        (lambda opened, source: opened.backup(source, excludes="x"), TypeError),
        (lambda opened, source: opened.backup(source, excludes=["["]), ResticFormatError),
        (lambda opened, source: opened.backup(source, parent="feed"), SnapshotNotFound),
        (lambda opened, source: opened.restore("latest", source, include=["x"], exclude=["y"]), UsageError),
        (lambda opened, source: opened.restore("latest", source, include="x"), TypeError),
        (lambda opened, source: opened.restore("latest", source, overwrite="maybe"), UsageError),
        (lambda opened, source: opened.restore("feed", source), SnapshotNotFound),
        (lambda opened, source: opened.check(read_data=True, read_data_subset="1/2"), UsageError),
        (lambda opened, source: opened.check(read_data_subset="half"), ResticFormatError),
        (lambda opened, source: opened.forget(), NoPolicy),
        (lambda opened, source: opened.forget(KeepPolicy(last=1), group_by=["colour"]), UsageError),
        (lambda opened, source: opened.copy_to("/elsewhere"), TypeError),
        (lambda opened, source: opened.copy_to(opened, names="latest"), TypeError),
        (lambda opened, source: opened.forget(names="0123456789abcdef"), TypeError),
        (lambda opened, source: opened.forget(names=[5]), TypeError),
        (lambda opened, source: opened.forget(KeepPolicy(last=1), wanted=SnapshotFilter(hosts="here")), TypeError),
        (lambda opened, source: opened.snapshots(SnapshotFilter(tags=["x"])), TypeError),
        (lambda opened, source: opened.snapshots("latest"), TypeError),
        (lambda opened, source: opened.snapshot(5), TypeError),
        (lambda opened, source: opened.files(b"latest"), TypeError),
        (lambda opened, source: opened.restore(None, source), TypeError),
        (lambda opened, source: opened.snapshot("0" * 64), SnapshotNotFound),
    ],
)
def test_what_can_be_asked_wrongly(
    opened: OpenRepository, source: Path, use: Callable[[OpenRepository, Path], object], error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        use(opened, source)
    assert str(raised.value)


# Keeping


def test_a_repository_is_checked(filled: OpenRepository) -> None:
    assert filled.check(read_data=True).ok
    next(Path(filled.location, "data").rglob("*/*")).unlink()
    report = filled.check()
    assert not report.ok
    assert report.findings


def test_snapshots_are_forgotten_and_data_pruned(opened: OpenRepository, source: Path) -> None:
    for number in range(3):
        (source / "changing").write_bytes(os.urandom(100_000))
        opened.backup(source, tags=[str(number)])
    asked = opened.forget(KeepPolicy(last=1), approve=lambda decision: False)
    assert (len(asked.decision.keep), len(asked.decision.remove), asked.removed) == (1, 2, ())
    assert asked.decision.keep[0].reasons == ("last snapshot",)
    heard: list[Removed] = []
    done = opened.forget(KeepPolicy(last=1), progress=heard.append)
    assert {info.id for info in done.removed} == {event.found.id.hex() for event in heard}
    assert [info.tags for info in opened.snapshots()] == [("2",)]
    would = opened.prune(approve=lambda statistics: statistics.blobs.total_remove > 1000)
    assert would.result is None
    assert would.statistics.size.total_remove > 100_000
    pruned = opened.prune(PruneOptions(lock_free=False))
    assert pruned.result is not None and pruned.result.removed
    assert opened.check(read_data=True).ok


def test_readers_keep_away_who_needs_the_repository_alone(filled: OpenRepository) -> None:
    with filled.files():
        for use in (filled.check, filled.prune, lambda: filled.forget(names=["latest"])):
            with pytest.raises(AlreadyLocked, match=f"PID {os.getpid()}"):
                use()
        assert filled.prune(PruneOptions(lock_free=True)).result is not None
    assert filled.check().ok


def test_without_locks_reading_writes_nothing(filled: OpenRepository, location: Path) -> None:
    with open_repository(location, PASSWORD, lock=False) as opened, opened.files() as files:
        assert files.list()
        assert locks(filled) == 0
        assert opened.check().ok
        with pytest.raises(ResticFormatError):
            opened.forget(KeepPolicy(last=-5))


def test_snapshots_are_copied(filled: OpenRepository, source: Path, tmp_path: Path) -> None:
    with open_repository(cheap_repo(tmp_path / "second"), PASSWORD) as second:
        done = filled.copy_to(second)
        assert done.ok
        (copied,) = done.copied
        assert second.snapshot().original == copied.source.id == filled.snapshot().id
        again = filled.copy_to(second, ["latest"])
        assert not again.copied
        assert [item.id for item in again.skipped] == [copied.id]
        assert second.check(read_data=True).ok
        packs = sorted(Path(filled.location, "data").rglob("*/*"), key=lambda path: path.stat().st_size)
        filled.backup_stream(b"whole", "whole")
        packs[-1].unlink()
        (source / "folder/below/two").write_bytes(os.urandom(1000))
        with open_repository(cheap_repo(tmp_path / "third"), PASSWORD) as third, pytest.raises(Incomplete) as raised:
            filled.copy_to(third)
        result = raised.value.result
        assert isinstance(result, restic_format.CopyResult)
        assert [item.source.paths for item in result.copied] == [("/whole",)]
        assert result.failed[0].errors


@pytest.mark.parametrize("operation", ["backup", "stream", "restore", "check", "forget", "prune", "copy", "lock"])
def test_everything_can_be_cancelled(filled: OpenRepository, source: Path, tmp_path: Path, operation: str) -> None:
    cancel = Cancel()
    cancel.set()
    before = filled.snapshots()
    with open_repository(cheap_repo(tmp_path / "second"), PASSWORD, retry_lock=60) as second:
        operations: dict[str, Callable[[], object]] = {
            "backup": lambda: filled.backup(source, cancel=cancel),
            "stream": lambda: filled.backup_stream(b"x", cancel=cancel),
            "restore": lambda: filled.restore("latest", tmp_path / "out", cancel=cancel),
            "check": lambda: filled.check(cancel=cancel),
            "forget": lambda: filled.forget(names=["latest"], cancel=cancel),
            "prune": lambda: filled.prune(cancel=cancel),
            "copy": lambda: filled.copy_to(second, cancel=cancel),
        }
        if operation == "lock":
            second.backup(source)
            with second.files(), pytest.raises(Interrupted):
                second.check(cancel=cancel)
        else:
            with pytest.raises(Interrupted):
                operations[operation]()
    assert filled.snapshots() == before
    assert locks(filled) == 0


def test_what_progress_raises_ends_the_operation(filled: OpenRepository, source: Path) -> None:
    def fail(event: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        filled.backup(source, force=True, progress=fail)
    assert len(filled.snapshots()) == 1
    assert locks(filled) == 0
