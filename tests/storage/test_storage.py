"""What every storage must do, and what only the local one can."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import FileMissing, StorageError, UsageError
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, Storage, local, open_storage
from restic_format.storage.faulty import Delay, Fail, Lose, Truncate, nth
from restic_spec.errors import NameInvalid
from restic_spec.ids import id_of
from restic_spec.layout import FileKind, Layout

CONTENT = b"some sealed bytes"
NAME = id_of(CONTENT).hex()


def without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system where a file has a name from the beginning."""
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)


@pytest.fixture(params=["local", "named", "memory", "faulty"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Each kind of storage, created."""
    made: Storage = MemoryStorage()
    if request.param == "named":
        without_nameless_files(monkeypatch)
    if request.param != "memory":
        made = LocalStorage(tmp_path / "repo")
    if request.param == "faulty":
        made = FaultyStorage(made, lambda call: None)
    made.create()
    return made


def test_a_local_storage_knows_what_it_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (local.file_system("/proc"), local.file_system("/sys")) == ("proc", "sysfs")
    told = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", tmp_path], capture_output=True, text=True, check=True).stdout
    assert local.file_system(str(tmp_path)) == told.strip()
    assert local.file_system(str(tmp_path / "missing")) is None
    assert not {"nfs", "nfs4", "cifs", "fuse", "fuseblk", "9p", "overlay"} & local._ONE_VIEW
    for known, expected in (({told.strip()}, True), ({"nfs"}, False)):
        monkeypatch.setattr(local, "_ONE_VIEW", known)
        made = LocalStorage(tmp_path)
        made.create()
        assert made.lists_at_once is FaultyStorage(made, lambda call: None).lists_at_once is expected
    assert MemoryStorage().lists_at_once


@pytest.mark.parametrize("kind", [kind for kind in FileKind if kind is not FileKind.CONFIG])
def test_what_is_saved_can_be_loaded_listed_and_removed(storage: Storage, kind: FileKind) -> None:
    storage.save(kind, NAME, memoryview(CONTENT))
    assert storage.load(kind, NAME) == CONTENT
    assert storage.load(kind, NAME, 5, 6) == CONTENT[5:11]
    assert storage.load(kind, NAME, 5) == CONTENT[5:]
    assert list(storage.list(kind)) == [(NAME, len(CONTENT))]
    assert storage.size(kind, NAME) == len(CONTENT)
    assert storage.exists(kind, NAME)
    assert list(storage.strays()) == []
    storage.remove(kind, NAME)
    assert not storage.exists(kind, NAME)
    assert list(storage.list(kind)) == []


@pytest.mark.parametrize("kind", list(FileKind))
def test_a_file_is_written_in_pieces_and_named_in_the_end(storage: Storage, kind: FileKind) -> None:
    name = "" if kind is FileKind.CONFIG else NAME
    writer = storage.begin(kind)
    reused = bytearray(CONTENT[:4])
    writer.append(reused)
    reused[:] = b"----"
    writer.append([memoryview(CONTENT)[4:6], b"", CONTENT[6:]])
    assert b"".join(writer.contents()) == CONTENT
    assert not storage.exists(kind, name) and list(storage.list(kind)) == []
    writer.finish(name)
    assert storage.load(kind, name) == CONTENT
    writer.abort()
    assert storage.load(kind, name) == CONTENT
    assert list(storage.strays()) == []


@pytest.mark.parametrize("how", ["aborted", "forgotten"])
def test_a_file_that_is_not_finished_leaves_nothing(storage: Storage, how: str) -> None:
    writer = storage.begin(FileKind.PACK)
    writer.append(CONTENT)
    if how == "aborted":
        writer.abort()
    del writer
    assert list(storage.list(FileKind.PACK)) == list(storage.strays()) == []


@pytest.mark.parametrize("why", ["not supported", "no proc", "not of this machine"])
def test_a_file_in_the_making_is_a_stray_where_it_must_have_a_name(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "not supported":
        without_nameless_files(monkeypatch)
    elif why == "no proc":
        monkeypatch.setattr(local, "_own", lambda descriptor: f"/missing/{descriptor}")
    else:
        monkeypatch.setattr(local, "_ONE_VIEW", {"nfs"})
    storage = LocalStorage(tmp_path)
    storage.create()
    writers = [storage.begin(FileKind.PACK) for _ in range(9)]
    strays = list(storage.strays())
    assert len(strays) == 9
    assert all(re.fullmatch(r"data/([0-9a-f]{2})/\1[0-9a-f]{62}-tmp-[0-9a-f]{12}", path) for path in strays)
    assert list(storage.list(FileKind.PACK)) == []
    for writer in writers:
        writer.abort()


def test_a_file_in_the_making_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_ONE_VIEW", {local.file_system(str(tmp_path))})
    storage = LocalStorage(tmp_path)
    storage.create()
    writers = [storage.begin(FileKind.PACK) for _ in range(9)]
    assert list(storage.strays()) == list(storage.list(FileKind.PACK)) == []
    for number, writer in enumerate(writers):
        writer.append(b"%d" % number)
        writer.finish(id_of(b"%d" % (number // 2)).hex())
    # The later one of the same name replaces the earlier, as in every other storage.
    assert [storage.load(FileKind.PACK, id_of(b"%d" % number).hex()) for number in range(5)] == [b"1", b"3", b"5", b"7", b"8"]
    assert list(storage.strays()) == []


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    writer = storage.begin(FileKind.PACK)
    writer.append(CONTENT)
    writer.finish(NAME)
    assert storage.load(FileKind.PACK, NAME) == CONTENT


def test_missing_files_are_told_from_other_failures(storage: Storage) -> None:
    for act in (storage.load, storage.size, storage.remove):
        with pytest.raises(FileMissing, match=NAME):
            act(FileKind.INDEX, NAME)


def test_a_file_that_is_too_short_is_an_error_not_a_short_answer(storage: Storage) -> None:
    storage.save(FileKind.PACK, NAME, CONTENT)
    with pytest.raises(StorageError, match="cut short"):
        storage.load(FileKind.PACK, NAME, 4, len(CONTENT))
    with pytest.raises(StorageError, match="cut short"):
        storage.load(FileKind.PACK, NAME, len(CONTENT) + 1)


@pytest.mark.clause("LAYOUT-2")
def test_a_name_that_is_no_id_never_becomes_a_path(storage: Storage) -> None:
    for name in ("", "../config", NAME.upper(), NAME[:63], NAME + "0"):
        with pytest.raises(NameInvalid):
            storage.save(FileKind.PACK, name, CONTENT)


@pytest.mark.clause("LAYOUT-9")
def test_local_files_are_private_and_read_only(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "repo")
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    path = tmp_path / "repo" / "data" / NAME[:2] / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert {stat.S_IMODE(os.stat(folder).st_mode) for folder, _, _ in os.walk(tmp_path / "repo")} == {0o700}


def test_a_repository_shared_with_a_group_stays_shared(tmp_path: Path) -> None:
    LocalStorage(tmp_path).create()
    config = tmp_path / "config"
    config.write_bytes(b"x")
    config.chmod(0o440)
    storage = LocalStorage(tmp_path)
    old = os.umask(0)
    try:
        storage.save(FileKind.INDEX, NAME, CONTENT)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "index" / NAME).stat().st_mode) == 0o440


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="No space left"):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


@pytest.mark.clause("LAYOUT-8")
def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_ONE_VIEW", {local.file_system(str(tmp_path))})
    storage = LocalStorage(tmp_path)
    storage.create()
    events: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        events.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        real_fsync(descriptor)

    def noted(name: str) -> None:
        real = getattr(os, name)

        def act(*arguments: object, **keywords: object) -> None:
            events.append(name)
            real(*arguments, **keywords)

        monkeypatch.setattr(os, name, act)

    monkeypatch.setattr(os, "fsync", fsync)
    noted("rename")
    noted("link")
    storage.save(FileKind.SNAPSHOT, NAME, CONTENT)
    without_nameless_files(monkeypatch)
    storage.save(FileKind.SNAPSHOT, NAME, CONTENT)
    assert events == ["sync file", "link", "sync folder", "sync file", "rename", "sync folder"]


def test_strays_are_found_and_never_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    wrong_folder = "00" if NAME[:2] != "00" else "01"
    strays = {
        f"index/{NAME[:10]}",
        "snapshots/.DS_Store",
        f"data/{wrong_folder}/{NAME}",
        "notes.txt",
        f"data/{NAME[:2]}/{NAME}-tmp-12",
    }
    for stray in strays:
        (tmp_path / stray).write_bytes(b"?")
    (tmp_path / "config").write_bytes(b"c")
    assert set(storage.strays()) == strays
    assert list(storage.list(FileKind.INDEX)) == list(storage.list(FileKind.SNAPSHOT)) == []


@pytest.mark.clause("LAYOUT-4")
def test_the_old_s3_layout_that_restic_wrote_is_read(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    repo = tmp_path / "repo"
    restic = [str(peer("restic-0.14")), "-r", str(repo), "-o", "local.layout=s3legacy", "--no-cache", "-q"]
    env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(tmp_path)}
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"content")
    subprocess.run([*restic, "init"], env=env, check=True)
    subprocess.run([*restic, "backup", str(source)], env=env, check=True)
    storage = LocalStorage(repo)
    assert storage.layout is Layout.S3LEGACY
    assert all(list(storage.list(kind)) for kind in (FileKind.KEY, FileKind.INDEX, FileKind.SNAPSHOT, FileKind.PACK))
    assert list(storage.strays()) == []


def test_faults_happen_where_they_are_planned() -> None:
    inner = MemoryStorage()
    inner.save(FileKind.INDEX, NAME, CONTENT)
    with pytest.raises(StorageError, match="injected"):
        FaultyStorage(inner, nth("load", 0, Fail())).load(FileKind.INDEX, NAME)
    cut = FaultyStorage(inner, nth("load", 1, Truncate(3), FileKind.INDEX))
    assert cut.load(FileKind.INDEX, NAME) == CONTENT
    assert cut.load(FileKind.INDEX, NAME) == CONTENT[:3]
    FaultyStorage(inner, nth("save", 0, Lose())).save(FileKind.PACK, NAME, CONTENT)
    assert not inner.exists(FileKind.PACK, NAME)
    FaultyStorage(inner, nth("save", 0, Delay(0.01))).save(FileKind.PACK, NAME, CONTENT)
    assert inner.exists(FileKind.PACK, NAME)


def test_locations_name_storages(tmp_path: Path) -> None:
    assert open_storage(f"local:{tmp_path}").location == str(tmp_path)
    assert open_storage(str(tmp_path)).location == str(tmp_path)
    with pytest.raises(UsageError, match="sftp"):
        open_storage("sftp:user@host:/repo")
