"""What a backup does with files that change, vanish or cannot be read while it is under way, and what it leaves of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from restic_format.backup import (
    BackupOptions,
    NothingToBackUp,
    backup,
    walk,
)
from restic_format.backup.source import Folder, Place, attributes_path
from restic_format.filter import ExcludeFilter
from restic_format.repository import Repository
from restic_spec.pack import BlobType
from tests.backup.conftest import leave_out_native_parts
from tests.backup.sources import Recorder, files


@pytest.mark.usefixtures("file_by_file")
def test_what_vanishes_or_turns_into_something_else(
    source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = walk.look_closely

    def look_closely(place: Place) -> os.stat_result:
        path = place.path
        info = real(place)
        if path.endswith(b"/one"):
            os.unlink(path)
        elif path.endswith(b"/two"):
            os.unlink(path)
            os.mkfifo(path)
        elif path.endswith(b"/three"):
            os.unlink(path)
            raise FileNotFoundError(2, "gone between listing and looking")
        return info

    monkeypatch.setattr(walk, "look_closely", look_closely)
    seen = Recorder()
    result = backup(repository, ["s"], BackupOptions(scan=False), seen)
    assert sorted(files(repository, result.tree)) == ["/s", "/s/d", "/s/d/e", "/s/d/e/four"]
    assert result.summary.errors == 2
    errors = dict(seen.errors)
    assert errors[str(source / "one")].endswith("open s/one: no such file or directory")
    assert "changed type, refusing to archive" in errors[str(source / "two")]


class Swapper:
    """Puts symlinks in the place of directories, or other things in that of files, at one moment of a backup."""

    def __init__(self, root: Path, what: str) -> None:
        self.root = root
        self.what = what
        self.done = False
        self.guard = threading.Lock()

    def __call__(self) -> None:
        with self.guard:
            if self.done:
                return
            self.done = True
        victim = self.root / "s" / "victim"
        if self.what == "directory":
            victim.rename(self.root / "moved")
            victim.symlink_to(self.root / "secret")
        elif self.what == "directory above":
            (self.root / "s").rename(self.root / "moved")
            (self.root / "s").symlink_to(self.root / "elsewhere")
        for number, path in enumerate(sorted(victim.rglob("*"))):
            if self.what == "files" and path.is_file():
                path.unlink()
                if number % 2:
                    path.symlink_to(self.root / "secret" / path.name)
                else:
                    os.mkfifo(path)


@pytest.mark.parametrize("native", [True, False], ids=["native", "file by file"])
@pytest.mark.parametrize("moment", ["looked at", "read"])
@pytest.mark.parametrize("what", ["directory", "directory above", "files"])
def test_nothing_that_is_swapped_leads_out_of_the_target(
    what: str, moment: str, native: bool, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other user's files have the names that the backup expects, and different sizes on both sides of every limit."""
    if not native:
        leave_out_native_parts(monkeypatch)
    names = (
        {f"small-{number}": 100 for number in range(10)} | {f"deep/{name}": 600_000 for name in ("a", "b")} | {"big": 5_000_000}
    )
    for folder in ("s/victim", "secret", "elsewhere/victim"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        for name, size in names.items():
            (tmp_path / folder / name).write_bytes((b"mine" if folder == "s/victim" else b"THEIRS") * (size // 4))
            os.setxattr(tmp_path / folder / name, "user.who", b"mine" if folder == "s/victim" else b"THEIRS")
        os.symlink("MINE" if folder == "s/victim" else "THEIRS", tmp_path / folder / "link")
    swap = Swapper(tmp_path, what)

    class Seen(Recorder):
        def start_file(self, item: str) -> None:
            if moment == "read":
                swap()

    class Excludes(ExcludeFilter):
        def rejects(self, path: str) -> bool:
            if moment == "looked at" and path.endswith("/victim/big"):
                swap()
            return False

    monkeypatch.chdir(tmp_path)
    seen = Seen()
    options = BackupOptions(scan=False, read_concurrency=1)
    if moment == "looked at":
        options.excludes = Excludes(["x"])
    try:
        result = backup(repository, ["s"], options, seen)
    except NothingToBackUp:
        return
    assert swap.done
    for path, node in files(repository, result.tree).items():
        content = b"".join(repository.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs)
        assert b"THEIRS" not in content and node.linktarget != "THEIRS", path
        assert all(attribute.value != b"THEIRS" for attribute in node.extended_attributes or ()), path
    if moment == "looked at" or what == "files":
        assert result.summary.errors == len(seen.errors)


def test_files_that_change_while_they_are_read(source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "growing").write_bytes(bytes(600_000))
    real = os.readv

    def readv(fd: int, buffers: list[memoryview]) -> int:
        count = real(fd, buffers)
        if count == 512 * 1024:
            with open(source / "growing", "ab") as file:
                file.write(b"more")
        return count

    monkeypatch.setattr(os, "readv", readv)
    seen = Recorder()
    result = backup(repository, ["s"], BackupOptions(), seen)
    node = files(repository, result.tree)["/s/growing"]
    content = b"".join(repository.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs)
    assert node.size == len(content) and result.summary.errors == 1
    assert "changed while it was read" in seen.errors[0][1]


@pytest.mark.parametrize("change", ["times", "size"])
def test_small_files_that_change_while_they_are_read_together(change: str, source: Path, repository: Repository) -> None:
    """Somebody changes files all the time, until a backup meets one in the middle of it."""
    paths = [source / f"changing-{number:02d}" for number in range(40)]
    for path in paths:
        path.write_bytes(os.urandom(400_000))
    enough = threading.Event()

    def keep_changing() -> None:
        step = 0
        while not enough.is_set():
            step += 1
            for path in paths:
                if change == "times":
                    os.utime(path, ns=(step, step))
                else:
                    os.truncate(path, 400_000 - step % 1000)
                    os.utime(path, ns=(0, 0))

    changer = threading.Thread(target=keep_changing)
    changer.start()
    try:
        for _ in range(200):
            seen = Recorder()
            result = backup(repository, ["s"], BackupOptions(), seen)
            if seen.errors:
                break
    finally:
        enough.set()
        changer.join()
    assert result.summary.errors == len(seen.errors) > 0
    assert all("/s/changing-" in item and "changed while it was read" in text for item, text in seen.errors)
    for item, node in files(repository, result.tree).items():
        content = b"".join(repository.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs)
        assert node.size == len(content), item


@pytest.mark.usefixtures("file_by_file")
def test_read_errors_leave_out_the_file(source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = (source / "two").stat().st_ino
    real = os.readv

    def readv(fd: int, buffers: list[memoryview]) -> int:
        if os.fstat(fd).st_ino == bad:
            raise OSError(5, "broken disk")
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", readv)
    seen = Recorder()
    result = backup(repository, ["s"], BackupOptions(), seen)
    assert seen.errors == [("s/two", "failed to save s/two: read s/two: input/output error")]
    assert "/s/two" not in files(repository, result.tree) and "/s/one" in files(repository, result.tree)


@pytest.mark.parametrize("native", [True, False], ids=["native", "file by file"])
def test_access_times_are_left_alone(
    native: bool, source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        leave_out_native_parts(monkeypatch)
    (source / "big").write_bytes(bytes(5_000_000))
    paths = [source, *source.rglob("*")]
    for path in paths:
        os.utime(path, ns=(10**18, 2 * 10**18))  # read before it was changed: reading it would be noted
    backup(repository, ["s"])
    assert {os.stat(path).st_atime_ns for path in paths} == {10**18}


def test_attributes_are_those_of_what_was_found(tmp_path: Path) -> None:
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").touch()
        os.setxattr(tmp_path / folder / "file", "user.who", folder.encode())
    root = os.fsencode(tmp_path) + b"/"
    with attributes_path(Place(Folder(root + b"mine/", len(root)), b"file")) as path:
        (tmp_path / "mine").rename(tmp_path / "moved")
        (tmp_path / "mine").symlink_to("theirs")
        assert os.getxattr(path, "user.who", follow_symlinks=False) == b"mine"
    with pytest.raises(OSError), attributes_path(Place(Folder(root + b"mine/", len(root)), b"file")):
        pass


@pytest.mark.usefixtures("file_by_file")
def test_duplicate_directory_entries(source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*real(path), "one"] if "one" in real(path) else real(path))
    seen = Recorder()
    result = backup(repository, ["s"], BackupOptions(scan=False), seen)
    assert [message for _, message in seen.errors] == ['s/one: node "one": nodes are not ordered or duplicate']
    assert result.summary.files.new == 4
