"""Mounting: what happens while it is mounted, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.mount import Mount, MountFailed, device
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.mount import kit
from tests.restore.kit import PASSWORD, Maker, as_nobody, cheap_repo
from tests.restore.kit import ours as run_ours


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "source"
    kit.make_tree(folder)
    return folder


@pytest.fixture
def repo(tmp_path: Path, source: Path) -> Path:
    path = cheap_repo(tmp_path / "repo")
    assert run_ours(path, "backup", "-q", ".", cwd=source).returncode == 0
    return path


def snapshot_folder(program: kit.Program) -> Path:
    latest = program.folder / "snapshots" / "latest"
    (first,) = latest.rglob("a.txt")
    return first.parent


def open_repository(path: Path) -> Repository:
    repository = Repository.open(LocalStorage(str(path)), PASSWORD)
    repository.load_index()
    return repository


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts(repo: Path, tmp_path: Path, number: signal.Signals) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        assert list((repo / "locks").iterdir())
        assert program.end(number) == 0
        assert not kit.is_mounted(program.folder)
        assert program.said == "signal received, cleaning up\n"
    assert not list((repo / "locks").iterdir())


def test_a_signal_unmounts_also_where_somebody_is_in_it(repo: Path, tmp_path: Path) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        file = os.open(snapshot_folder(program) / "a.txt", os.O_RDONLY)
        try:
            assert program.end(signal.SIGINT) == 0
            assert not kit.is_mounted(program.folder)
            with pytest.raises(OSError) as caught:
                os.listxattr(file)
            assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        finally:
            with contextlib.suppress(OSError):
                os.close(file)
    assert not list((repo / "locks").iterdir())


def test_umount_ends_the_program(repo: Path, tmp_path: Path) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        subprocess.run(["umount", str(program.folder)], check=True)
        assert program.process.wait(20) == 0
        assert program.said == ""
    assert not list((repo / "locks").iterdir())


def test_nothing_stale_remains_of_a_program_that_was_killed(repo: Path, tmp_path: Path) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        assert kit.is_mounted(program.folder)
        program.end(signal.SIGKILL)
        assert kit.until(lambda: not kit.is_mounted(program.folder))
        assert list(program.folder.iterdir()) == []


def test_no_lock_and_json(repo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    program = kit.ours(repo, folder, "--no-lock", "--json")
    try:
        assert kit.until(lambda: program.log.read_bytes().endswith(b"\n"))
        assert json.loads(program.log.read_text()) == {"message_type": "mounted", "mountpoint": str(folder)}
        assert not list((repo / "locks").iterdir())
        assert (snapshot_folder(program) / "a.txt").read_text() == "hi\n"
    finally:
        program.__exit__()


def test_new_snapshots_appear_and_removed_ones_go(repo: Path, tmp_path: Path, source: Path) -> None:
    with kit.ours(repo, tmp_path / "m", "--no-lock") as program:
        (before,) = os.listdir(program.folder / "ids")
        (tmp_path / "new").write_bytes(os.urandom(1000))
        assert run_ours(repo, "backup", "-q", str(tmp_path / "new"), "--tag", "fresh").returncode == 0
        assert kit.until(lambda: len(os.listdir(program.folder / "ids")) == 2)
        latest = program.folder / "tags" / "fresh" / "latest"
        assert (latest / (tmp_path / "new").relative_to("/")).read_bytes() == (tmp_path / "new").read_bytes()
        assert run_ours(repo, "forget", "-q", before).returncode == 0
        assert kit.until(lambda: before not in os.listdir(program.folder / "ids"))
        assert program.said == ""


def test_what_a_prune_has_moved_is_found(tmp_path: Path, source: Path) -> None:
    repo = cheap_repo(tmp_path / "repo")
    assert run_ours(repo, "backup", "-q", ".", cwd=source).returncode == 0
    assert run_ours(repo, "backup", "-q", "dir", "--tag", "kept", cwd=source).returncode == 0
    with kit.ours(repo, tmp_path / "m", "--no-lock") as program:
        folder = program.folder / "tags" / "kept" / "latest" / "dir"
        assert os.listdir(folder / "sub" / "deep") == []
        before = {path.name for path in (repo / "data").glob("*/*")}
        done = run_ours(repo, "forget", "-q", "--group-by", "", "--keep-tag", "kept", "--prune", "--max-unused", "0")
        assert done.returncode == 0, done
        assert before - {path.name for path in (repo / "data").glob("*/*")}
        assert kit.look(folder) == kit.look(source / "dir")
        assert program.said == ""


def test_what_is_lost_is_named_and_the_rest_can_be_read(tmp_path: Path) -> None:
    path = cheap_repo(tmp_path / "repo")
    repository = Repository.open(LocalStorage(str(path)), PASSWORD)
    repository.load_index()
    maker = Maker(repository)
    lost_tree = maker.folder("lost folder", [maker.file("x", b"x")])
    damaged = os.urandom(1 << 16)
    root = maker.finish(
        [
            maker.file("damaged", damaged),
            maker.file("good", b"good"),
            maker.file("half good", b"a" * 5000, damaged),
            lost_tree,
            maker.folder("sound", [maker.file("y", b"y")]),
        ]
    )
    repository.save_snapshot(Snapshot(time="2024-01-01T00:00:00Z", tree=root.hex(), paths=["/x"], hostname="h"))
    repository.load_index()
    for kind, blob in ((BlobType.DATA, id_of(damaged)), (BlobType.TREE, bytes.fromhex(lost_tree.subtree or ""))):
        where = repository.index.lookup(kind, blob)
        assert where is not None
        (file,) = (item for item in (path / "data").rglob(where.pack.hex()))
        file.chmod(0o600)
        with open(file, "r+b") as pack:
            pack.seek(where.offset + where.length // 2)
            byte = pack.read(1)
            pack.seek(-1, os.SEEK_CUR)
            pack.write(bytes([byte[0] ^ 1]))
    with kit.ours(path, tmp_path / "m") as program:
        latest = program.folder / "snapshots" / "latest"
        assert sorted(os.listdir(latest)) == ["damaged", "good", "half good", "lost folder", "sound"]
        assert (latest / "good").read_bytes() == b"good"
        assert (latest / "sound" / "y").read_bytes() == b"y"
        assert os.stat(latest / "damaged").st_size == 1 << 16
        for action in (
            (latest / "damaged").read_bytes,
            (latest / "half good").read_bytes,
            lambda: os.listdir(latest / "lost folder"),
        ):
            with pytest.raises(OSError) as caught:
                action()
            assert caught.value.errno == errno.EIO
        assert (latest / "good").read_bytes() == b"good"
        with open(latest / "damaged", "rb") as file, pytest.raises(OSError):
            file.read(10)
        told = program.said.splitlines()
        for name in ("damaged", "half good", "lost folder"):
            assert [line for line in told if line.startswith("error: /snapshots/2024-01-01T00:00:00Z/" + name + ":")], told
        assert len(told) == 3


def test_a_repository_that_goes_away_and_comes_back(repo: Path, tmp_path: Path) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        folder = snapshot_folder(program)
        (repo / "data").rename(tmp_path / "away")
        with pytest.raises(OSError) as caught:
            (folder / "dir" / "several blobs").read_bytes()
        assert caught.value.errno == errno.EIO
        (tmp_path / "away").rename(repo / "data")
        assert len((folder / "dir" / "several blobs").read_bytes()) == 3 << 20
        assert "/dir/several blobs: " in program.said
        assert len(program.said.splitlines()) == 1


def test_ten_readers_at_once(repo: Path, tmp_path: Path, source: Path) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        folder = snapshot_folder(program)
        wanted = kit.look(source)
        got: list[dict[bytes, object]] = []
        threads = [threading.Thread(target=lambda: got.append(dict(kit.look(folder)))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(got) == 10
        assert all(seen == wanted for seen in got)
        assert program.said == ""


def test_here_and_there_in_a_large_file(repo: Path, tmp_path: Path, source: Path) -> None:
    content = (source / "dir" / "several blobs").read_bytes()
    with (
        kit.ours(repo, tmp_path / "m", "--cache-size", "32M") as program,
        open(snapshot_folder(program) / "dir" / "several blobs", "rb") as file,
    ):
        for offset in (2_900_000, 5, 1_500_000, 3 << 20, (3 << 20) - 1, 1 << 20):
            file.seek(offset)
            assert file.read(70_000) == content[offset : offset + 70_000]


def test_nothing_can_be_changed(repo: Path, tmp_path: Path) -> None:
    with kit.ours(repo, tmp_path / "m") as program:
        folder = snapshot_folder(program)
        for action in (
            lambda: (folder / "a.txt").write_bytes(b""),
            lambda: (folder / "a.txt").unlink(),
            lambda: (folder / "new").mkdir(),
            lambda: (folder / "a.txt").chmod(0o777),
            lambda: os.setxattr(folder / "a.txt", "user.x", b""),
        ):
            with pytest.raises(OSError) as caught:
                action()
            assert caught.value.errno == errno.EROFS
        assert os.statvfs(folder).f_flag & os.ST_RDONLY
        with pytest.raises(FileNotFoundError):
            os.lstat(folder / "not there")
        with pytest.raises(OSError) as caught:
            os.getxattr(folder / "a.txt", "user.not there")
        assert caught.value.errno == errno.ENODATA


@pytest.mark.parametrize("args", [[], ["--allow-other"], ["--allow-other", "--no-default-permissions"]])
def test_other_users(repo: Path, shared_folder: Path, args: list[str]) -> None:
    with kit.ours(repo, shared_folder / "m", *args) as program:
        folder = snapshot_folder(program)
        private, public = folder / "empty", folder / "dir" / "sub" / "small 3"

        def look() -> None:
            can = []
            for action in (public.read_text, lambda: os.listdir(private)):
                try:
                    action()
                    can.append(True)
                except PermissionError:
                    can.append(False)
            assert can == [bool(args), len(args) == 2]

        as_nobody(look)


def test_other_users_are_kept_away_by_access_control_lists(tmp_path: Path, shared_folder: Path) -> None:
    source = shared_folder / "source"
    source.mkdir(mode=0o755)
    (source / "a.txt").write_text("secret")
    (source / "a.txt").chmod(0o640)
    os.chown(source / "a.txt", 0, 65534)
    rules = ((1, 6, 0xFFFFFFFF), (2, 4, 4711), (4, 0, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
    entries = [tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, mode, who in rules]
    os.setxattr(source / "a.txt", "system.posix_acl_access", b"".join([b"\x02\x00\x00\x00", *entries]))
    path = cheap_repo(tmp_path / "repo")
    assert run_ours(path, "backup", "-q", ".", cwd=source).returncode == 0
    with kit.ours(path, shared_folder / "m", "--allow-other") as program:
        file = snapshot_folder(program) / "a.txt"

        def look() -> None:
            # The group's bits are what the list may give at most: the group itself may nothing.
            assert os.stat(file).st_mode & 0o777 == 0o640
            with pytest.raises(PermissionError):
                file.read_text()

        as_nobody(look)


def test_nothing_stays_mounted_where_nobody_could_unmount_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(MountFailed, match="cannot be started"):
        device.open_device(str(tmp_path), device.Flags("x"), by_helper=False)
    assert not kit.is_mounted(tmp_path)


def test_with_the_helper_of_those_who_are_not_root(
    repo: Path, tmp_path: Path, peer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = shutil.which("fusermount3") or str(peer("fusermount3"))
    monkeypatch.setenv("PATH", f"{os.path.dirname(helper)}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "m"
    folder.mkdir()
    told: list[tuple[str, Exception]] = []
    repository = open_repository(repo)
    with Mount(repository, str(folder), told=lambda where, error: told.append((where, error)), by_helper=True) as mounted:
        cancel = Cancel()
        thread = threading.Thread(target=mounted.serve, args=(cancel,))
        thread.start()
        assert next((folder / "snapshots" / "latest").rglob("a.txt")).read_text() == "hi\n"
        cancel.set()
        thread.join(20)
        assert mounted.close()
        assert not kit.is_mounted(folder)
    assert told == []
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MountFailed, match="fusermount3 was not found"):
        Mount(repository, str(folder), told=lambda where, error: None, by_helper=True).__enter__()


def test_nothing_stale_remains_where_the_helper_does_not_watch(
    repo: Path, tmp_path: Path, peer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = shutil.which("fusermount3") or str(peer("fusermount3"))
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "fusermount3"
    # As version 3.14 for those who are not root: it takes auto_unmount, and does nothing.
    script.write_text(f"""#!/bin/sh
[ "$1" = -o ] || exec "{helper}" "$@"
shift
options=$(echo "$1" | sed s/,auto_unmount//)
shift
exec "{helper}" -o "$options" "$@"
""")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "m"
    folder.mkdir()
    repository = open_repository(repo)
    child = os.fork()
    if child == 0:
        Mount(repository, str(folder), told=lambda where, error: None, by_helper=True).__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        assert kit.until(lambda: not kit.is_mounted(folder), 6)
    finally:
        kit.detach(folder)


def test_without_the_device(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "DEVICE", str(tmp_path / "fuse"))
    repository = open_repository(repo)
    with pytest.raises(MountFailed, match="does not exist: the kernel's FUSE module"):
        Mount(repository, str(tmp_path), told=lambda where, error: None).__enter__()
