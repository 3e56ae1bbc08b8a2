"""A repository in a folder: what only local storage does."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, FileMissing, FileUnusable, NoSpace, StorageAway, StorageError
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, local, localwriter
from restic_format.storage.faulty import Delay, Fail, Lose, Truncate, nth
from restic_spec.ids import id_of
from restic_spec.layout import KINDS, LISTED_KINDS, FileKind, Layout
from tests.storage.contract import CONTENT, NAME
from tests.storage.nameless import without_nameless_files


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


@pytest.mark.parametrize("why", ["not supported", "no proc", "not of this machine"])
def test_a_file_in_the_making_is_a_stray_where_it_must_have_a_name(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "not supported":
        without_nameless_files(monkeypatch)
    elif why == "no proc":
        monkeypatch.setattr(localwriter, "_own", lambda descriptor: f"/missing/{descriptor}")
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
    with pytest.raises(NoSpace, match=f"^write {tmp_path}/data/{NAME[:2]}/{NAME}: no space left on device$"):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_keeps_files_all_the_same(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", cannot)
    storage = LocalStorage(tmp_path)
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert storage.load(FileKind.PACK, NAME) == CONTENT


@pytest.mark.parametrize(
    ("code", "expected"), [(errno.EOPNOTSUPP, None), (errno.EACCES, AccessDenied), (errno.EIO, StorageAway)]
)
def test_only_where_nameless_files_are_not_offered_others_are_made(
    code: int, expected: type[StorageError] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    really_open = os.open

    def refuse(path: bytes, flags: int, *rest: int, **options: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return really_open(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    if expected is None:
        storage.save(FileKind.PACK, NAME, CONTENT)
        assert storage.load(FileKind.PACK, NAME) == CONTENT
    else:
        with pytest.raises(expected):
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


def place_of(folder: Path, kind: FileKind) -> Path:
    """Where the file `NAME` of *kind* belongs."""
    return folder / {FileKind.CONFIG: "config", FileKind.PACK: f"data/{NAME[:2]}/{NAME}"}.get(kind, f"{kind.value}/{NAME}")


def stand_in(path: Path, what: str) -> None:
    """Put something at *path* that is not a regular file."""
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path must be short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.clause("LAYOUT-11")
@pytest.mark.parametrize("what", ["fifo", "folder", "device", "socket"])
@pytest.mark.parametrize("kind", list(FileKind))
def test_what_is_no_regular_file_is_listed_and_refused_at_once(kind: FileKind, what: str, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    stand_in(place_of(tmp_path, kind), what)
    name = "" if kind is FileKind.CONFIG else NAME
    if kind in LISTED_KINDS:
        [(listed, size)] = storage.list(kind)
        assert listed == NAME
        assert size > 0, "an empty file may be an upload that was cut off"
    reading = [
        lambda: storage.load(kind, name),
        lambda: storage.load(kind, name, 0, 1),
        lambda: storage.load_into(kind, name, 0, memoryview(bytearray(1))),
        lambda: storage.size(kind, name),
        lambda: storage.exists(kind, name),
    ]
    for read in reading:
        with pytest.raises(FileUnusable) as caught:
            read()
        assert caught.value.object == (f"{kind.value}/{NAME}" if name else "config")
        assert kind.value in str(caught.value)


@pytest.mark.clause("LAYOUT-11")
@pytest.mark.parametrize("kind", list(FileKind))
def test_a_huge_sparse_file_is_refused_by_its_size(kind: FileKind, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    name = "" if kind is FileKind.CONFIG else NAME
    with open(place_of(tmp_path, kind), "wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(FileUnusable, match=f"^{kind.value}(/{NAME})?: has {20 << 30} bytes, more than any file of its kind"):
        storage.load(kind, name)
    assert storage.load(kind, name, 5 << 30, 3) == bytes(3)
    assert storage.size(kind, name) == 20 << 30
    assert KINDS[kind].max_size < 5 << 30


FAILURES = [
    (errno.EACCES, AccessDenied, "permission denied"),
    (errno.EPERM, AccessDenied, "operation not permitted"),
    (errno.EROFS, AccessDenied, "read-only file system"),
    (errno.ENOSPC, NoSpace, "no space left on device"),
    (errno.EDQUOT, NoSpace, "disk quota exceeded"),
    (errno.EIO, StorageAway, "input/output error"),
    (errno.ENODEV, StorageAway, "no such device"),
    (errno.ESTALE, StorageAway, "stale file handle"),
    (errno.ENOTCONN, StorageAway, "transport endpoint is not connected"),
    (errno.ELOOP, StorageError, "too many levels of symbolic links"),
    (errno.ENOENT, FileMissing, "no such file or directory"),
]


@pytest.mark.parametrize(("number", "kind", "text"), FAILURES)
def test_the_systems_errors_are_told_apart_and_worded_as_restic_does(
    number: int, kind: type[StorageError], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    storage.save(FileKind.INDEX, NAME, CONTENT)
    writer = storage.begin(FileKind.INDEX)
    path = f"{tmp_path}/index/{NAME}"

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, "the text of another language")

    acts = {
        "open": (["open"], path, lambda: storage.load(FileKind.INDEX, NAME)),
        "read": (["pread", "preadv"], path, lambda: storage.load(FileKind.INDEX, NAME)),
        "read ": (["pread", "preadv"], path, lambda: storage.load_into(FileKind.INDEX, NAME, 0, memoryview(bytearray(1)))),
        "stat": (["stat"], path, lambda: storage.size(FileKind.INDEX, NAME)),
        "remove": (["unlink"], path, lambda: storage.remove(FileKind.INDEX, NAME)),
        "write": (["writev"], f"{tmp_path}/index", lambda: writer.append(b"more")),
    }
    for operation, (calls, named, act) in acts.items():
        with monkeypatch.context() as patched:
            for call in calls:
                patched.setattr(os, call, fail)
            with pytest.raises(StorageError) as caught:
                act()
        assert type(caught.value) is kind
        assert str(caught.value) == f"{operation.strip()} {named}: {text}"
        assert isinstance(caught.value.cause, OSError)
        assert operation == "write" or caught.value.object == f"index/{NAME}"
    if kind is not FileMissing:
        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", fail)
            with pytest.raises(kind, match=f"^open {tmp_path}/index: {text}$"):
                list(storage.list(FileKind.INDEX))
            with pytest.raises(kind, match=f"^open {tmp_path}: {text}$"):
                list(storage.strays())
    assert kind.permanent is (kind not in (StorageAway, StorageError))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileMissing, match=f"^mkdir {tmp_path}/file/repo: not a directory$"):
        LocalStorage(tmp_path / "file" / "repo").create()
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "locks").write_bytes(b"")
    with pytest.raises(StorageError, match=f"^mkdir {tmp_path}/repo/locks: file exists$"):
        LocalStorage(tmp_path / "repo").create()


@pytest.mark.clause("LAYOUT-9")
def test_folders_above_the_repository_are_private_as_by_restic(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    old = os.umask(0o022)
    try:
        LocalStorage(tmp_path / "ours" / "deep" / "repo").create()
        env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(tmp_path)}
        repo = tmp_path / "theirs" / "deep" / "repo"
        subprocess.run([peer("restic-0.19"), "--no-cache", "-q", "-r", repo, "init"], env=env, check=True)
    finally:
        os.umask(old)
    modes = {
        who: [stat.S_IMODE((tmp_path / who / part).stat().st_mode) for part in ("", "deep", "deep/repo", "deep/repo/data/00")]
        for who in ("ours", "theirs")
    }
    assert modes["ours"] == modes["theirs"] == [0o700] * 4


def test_folders_and_files_may_stand_elsewhere(tmp_path: Path) -> None:
    repo, elsewhere = tmp_path / "repo", tmp_path / "elsewhere"
    LocalStorage(repo).create()
    LocalStorage(elsewhere).create()
    for folder in (f"data/{NAME[:2]}", "index"):
        (repo / folder).rmdir()
        (repo / folder).symlink_to(elsewhere / folder)
    storage = LocalStorage(repo)
    for kind in (FileKind.PACK, FileKind.INDEX):
        storage.save(kind, NAME, CONTENT)
        assert list(storage.list(kind)) == [(NAME, len(CONTENT))]
        assert storage.load(kind, NAME) == CONTENT
    assert (elsewhere / "index" / NAME).is_file()
    assert list(storage.strays()) == []


def test_the_current_folder_may_be_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    here = os.getcwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        storage = LocalStorage("repo")
        assert not storage.exists(FileKind.CONFIG, "")
        with pytest.raises(FileMissing, match=r"^mkdir repo: no such file or directory$"):
            storage.create()
        storage = LocalStorage(tmp_path / "repo")
        storage.create()
        assert list(storage.list(FileKind.KEY)) == []
    finally:
        os.chdir(here)


LOCALE_TEST = """
import os, sys
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
text = os.fsencode(sys.argv[1]).decode("utf-8", "surrogateescape")
storage = LocalStorage(text)
storage.create()
storage.save(FileKind.INDEX, "0" * 64, b"x")
assert list(storage.list(FileKind.INDEX)) == [("0" * 64, 1)] and list(storage.strays()) == []
"""


@pytest.mark.parametrize("name", ["r€ü".encode(), "nü".encode("latin-1"), b"plain"])
@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}])
def test_a_path_means_the_same_in_every_locale(name: bytes, locale: dict[str, str], tmp_path: Path, project_root: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{project_root}:{project_root}/spec", **locale}
    path = os.path.join(os.fsencode(tmp_path), name)
    subprocess.run([sys.executable, "-c", LOCALE_TEST, path], env=env, check=True)
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    assert os.path.exists(os.path.join(path, b"index", b"0" * 64))
    assert list(LocalStorage(path).list(FileKind.INDEX)) == [("0" * 64, 1)]


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


def test_what_vanishes_while_it_is_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    for kind in (FileKind.INDEX, FileKind.PACK):
        storage.save(kind, NAME, CONTENT)
        (place_of(tmp_path, kind).parent / ("0" * 64)).symlink_to("missing")
        assert list(storage.list(kind)) == [(NAME, len(CONTENT))]
    real = os.scandir

    def gone(folder: bytes | str) -> object:
        if os.fsencode(folder).endswith(b"/locks"):
            raise FileNotFoundError(errno.ENOENT, "gone", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", gone)
    assert list(storage.list(FileKind.LOCK)) == []
    assert list(storage.strays()) == [f"data/{NAME[:2]}/{'0' * 64}"]


@pytest.mark.clause("LAYOUT-2")
@pytest.mark.parametrize("name", [NAME.upper(), "g" * 64, NAME[:63] + "é", NAME[:63], NAME + "0", f".{NAME[1:]}"])
def test_what_has_no_id_for_a_name_is_a_stray(name: str, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    (tmp_path / "index" / name).write_bytes(b"?")
    assert list(storage.list(FileKind.INDEX)) == []
    assert list(storage.strays()) == [f"index/{name}"]


def test_it_is_known_when_a_file_was_written(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    storage.save(FileKind.INDEX, NAME, b"content")
    os.utime(os.fsdecode(storage.path_of(FileKind.INDEX, NAME)), ns=(1, 1_600_000_000_000_000_000))
    assert storage.written(FileKind.INDEX, NAME) == 1_600_000_000_000_000_000
    assert storage.written(FileKind.INDEX, "0" * 64) is None
