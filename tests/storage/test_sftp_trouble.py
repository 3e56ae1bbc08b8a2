"""SFTP servers in trouble: away, full, only for reading, refusing a step; programs that are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, FileUnusable, NoSpace, StorageAway, StorageError
from restic_format.storage.base import Buffer
from restic_format.storage.child import Child
from restic_format.storage.limited import Pace
from restic_format.storage.local import LocalStorage
from restic_format.storage.sftp.connection import SessionNotStarted
from restic_format.storage.sftp.storage import SftpStorage
from restic_spec.layout import FileKind
from tests.servers.base import running
from tests.servers.sftp import Sshd, sftp_place
from tests.storage.contract import CONTENT, NAME, OTHER
from tests.storage.sftpkit import BIG, BIG_NAME, opened, server_of, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "repo"


@pytest.fixture
def storage(folder: Path) -> Iterator[SftpStorage]:
    storage = opened(sftp_place(folder))
    storage.create()
    yield storage
    storage.close()


def test_memory_is_not_written_to_after_a_read_has_failed(folder: Path) -> None:
    class Failing(Pace):
        def __init__(self) -> None:
            self.turns = 0

        def wait(self, size: int) -> None:
            self.turns += 1
            if self.turns == 2:
                reached.set()
                raise KeyboardInterrupt
            os.kill(server_of(storage), signal.SIGSTOP)

    reached = threading.Event()
    storage = opened(sftp_place(folder), download=Failing())
    LocalStorage(folder).create()
    LocalStorage(folder).save(FileKind.PACK, BIG_NAME, BIG)
    target = bytearray(len(BIG))
    caught: list[BaseException] = []

    def load() -> None:
        try:
            storage.load_into(FileKind.PACK, BIG_NAME, 0, memoryview(target))
        except KeyboardInterrupt as error:
            caught.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    assert reached.wait(60)
    thread.join(0.2)
    assert thread.is_alive() and not any(target)  # what it has asked for is still to come
    os.kill(server_of(storage), signal.SIGCONT)
    thread.join()
    assert len(caught) == 1 and target[:1000] == BIG[:1000]
    storage.close()


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_connection_that_is_lost_is_made_anew(storage: SftpStorage, folder: Path, signal_number: int) -> None:
    storage.save(FileKind.PACK, NAME, CONTENT)
    writer = storage.begin(FileKind.PACK)
    writer.append(BIG)
    assert len(list(folder.rglob("*-restic-temp-*"))) == 1
    os.kill(server_of(storage), signal_number)
    with pytest.raises(StorageAway, match="sftp: sftp-server has ended with signal") as caught:
        writer.finish(BIG_NAME)
    assert not caught.value.permanent
    writer.abort()
    assert storage.load(FileKind.PACK, NAME) == CONTENT
    assert list(storage.strays()) == []  # the new session has removed what the old one left
    storage.save(FileKind.PACK, BIG_NAME, BIG)
    assert storage.load(FileKind.PACK, BIG_NAME) == BIG


def test_those_who_wait_learn_that_the_connection_is_lost(storage: SftpStorage) -> None:
    storage.save(FileKind.PACK, NAME, CONTENT)
    os.kill(server_of(storage), signal.SIGSTOP)
    errors: list[StorageError] = []

    def load() -> None:
        with pytest.raises(StorageAway) as caught:
            storage.load(FileKind.PACK, NAME)
        errors.append(caught.value)

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: [file.users for file in storage._open_files._open.values()] == [6])
    os.kill(server_of(storage), signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    assert len(errors) == 6 and storage.load(FileKind.PACK, NAME) == CONTENT


@pytest.mark.parametrize("patience", [0.0, 1e9])
def test_a_server_may_take_as_long_as_it_wants(folder: Path, patience: float) -> None:
    storage = opened(sftp_place(folder), stuck_after=patience)
    storage.create()
    server = server_of(storage)
    os.kill(server, signal.SIGSTOP)
    thread = threading.Thread(target=storage.save, args=(FileKind.PACK, BIG_NAME, bytes(4 << 20)))
    thread.start()
    thread.join(1.5)  # a second is how often it is looked whether anything moves
    assert thread.is_alive()
    os.kill(server, signal.SIGCONT)
    thread.join()
    assert storage.size(FileKind.PACK, BIG_NAME) == 4 << 20 and server_of(storage) == server
    storage.close()


def test_a_server_that_takes_nothing_more_is_given_up(folder: Path) -> None:
    storage = opened(sftp_place(folder), stuck_after=5.0)
    storage.create()
    os.kill(server_of(storage), signal.SIGSTOP)
    with pytest.raises(StorageAway, match=r"(took nothing|no answer) for 5 seconds"):
        storage.save(FileKind.PACK, NAME, bytes(40 << 20))
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert list(storage.strays()) == []
    storage.close()


KILLED = """
import os, sys
from restic_format.storage.sftp import open_sftp
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
storage = open_sftp(sys.argv[1], {"command": sys.argv[2]}, Transport(environment=os.environ))
for kind in (FileKind.PACK, FileKind.INDEX, FileKind.LOCK):
    storage.begin(kind).append(bytes(1 << 20))
    writer = storage.begin(kind)
    writer.append(bytes(1 << 20))
    keep = globals().setdefault("keep", []) + [writer]
    keep.append(writer)
    writer._confirm(0)
print(storage._connection._session._child._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_program_leaves_is_ignored_and_removed_in_time(
    storage: SftpStorage, folder: Path, project_root: Path
) -> None:
    place = sftp_place(folder)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, place.location.removeprefix("sftp:"), place.options["sftp.command"]],
        env={**os.environ, "PYTHONPATH": f"{project_root}:{project_root / 'spec'}"},
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = Path(f"/proc/{int(done.stdout)}")
    wait_for(lambda: not child.exists())  # it has seen that nobody is there any more
    left = sorted(storage.strays())
    assert len(left) >= 3 and all("-restic-temp-" in path for path in left)
    for kind in (FileKind.PACK, FileKind.INDEX, FileKind.LOCK):
        assert list(storage.list(kind)) == []
    asked: list[bool] = []
    assert storage.remove_unfinished(3600, lambda: not asked.append(True)) == 0 and not asked
    assert storage.remove_unfinished(-5, lambda: False) == 0
    locks = [path for path in left if path.startswith("locks/")]
    assert storage.remove_unfinished(-5, lambda: True) == len(left) - len(locks)
    assert sorted(storage.strays()) == locks


def test_what_is_left_of_either_storage_is_removed_by_both(storage: SftpStorage, folder: Path) -> None:
    for keeper in (storage, LocalStorage(folder)):
        for ending in ("-tmp-0123abcd", "-restic-temp-" + "0a" * 16, "-restic-temp-", "-tmp-x"):
            (folder / "data" / NAME[:2] / (NAME + ending)).write_bytes(b"")
        assert keeper.remove_unfinished(-5, lambda: True) == 2
        assert sorted(keeper.strays()) == sorted(f"data/{NAME[:2]}/{NAME}{ending}" for ending in ("-restic-temp-", "-tmp-x"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    assert os.geteuid() == 0, "mounting a small file system needs root"
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_server_whose_disk_is_full_or_read_only_says_so(small_disk: Path) -> None:
    storage = opened(sftp_place(small_disk / "repo"))
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    with pytest.raises(NoSpace, match=rf"write {small_disk}/repo/data/..: no space left on device") as caught:
        storage.save(FileKind.PACK, BIG_NAME, bytes(20 << 20))
    assert caught.value.permanent
    assert list(storage.strays()) == [] and list(storage.list(FileKind.PACK)) == [(NAME, len(CONTENT))]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(AccessDenied, match=r"open .*: read-only file system"):
        storage.save(FileKind.PACK, OTHER, CONTENT)
    with pytest.raises(AccessDenied, match=r"remove .*: read-only file system"):
        storage.remove(FileKind.PACK, NAME)
    storage.close()


def test_a_server_that_only_reads_says_so(folder: Path) -> None:
    LocalStorage(folder).create()
    LocalStorage(folder).save(FileKind.PACK, NAME, CONTENT)
    storage = opened(sftp_place(folder, "-R"))
    assert storage.load(FileKind.PACK, NAME) == CONTENT and storage.exists(FileKind.PACK, NAME)
    for act in (
        lambda: storage.save(FileKind.PACK, OTHER, CONTENT),
        lambda: storage.remove(FileKind.PACK, NAME),
        lambda: storage.save_new(FileKind.CONFIG, "", CONTENT),
    ):
        with pytest.raises(AccessDenied, match="permission denied") as caught:
            act()
        assert caught.value.permanent and "-restic-temp-" not in str(caught.value)
    storage.close()


@pytest.mark.parametrize("operation", ["fsync", "close", "fsetstat", "write", "posix-rename", "hardlink", "statvfs"])
def test_no_file_has_its_name_when_a_step_was_refused(folder: Path, operation: str) -> None:
    LocalStorage(folder).create()
    # OpenSSH does not offer an extension that it refuses.
    storage = opened(sftp_place(folder, "-P", operation))
    if operation in ("close", "write"):
        with pytest.raises(AccessDenied, match=f"{operation} .*: permission denied"):
            storage.save(FileKind.PACK, BIG_NAME, BIG)
        assert not storage.exists(FileKind.PACK, BIG_NAME)
    else:
        storage.save(FileKind.PACK, BIG_NAME, BIG)
        storage.save(FileKind.PACK, BIG_NAME, BIG)
        assert storage.load(FileKind.PACK, BIG_NAME) == BIG
    assert list(storage.strays()) == []
    storage.close()


def test_what_stands_in_the_way_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = opened(sftp_place(tmp_path / "file"))
    assert not storage.exists(FileKind.CONFIG, "")
    with pytest.raises(FileUnusable, match=f"mkdir {tmp_path}/file: is there and not a folder"):
        storage.create()
    storage.close()
    storage = opened(sftp_place(tmp_path / "file" / "below"))
    with pytest.raises(StorageError, match="mkdir"):
        storage.create()
    storage.close()
    storage = opened(sftp_place(folder))
    storage.create()
    (folder / "index" / NAME).mkdir()
    os.mkfifo(folder / "index" / OTHER)
    assert sorted(storage.list(FileKind.INDEX)) == sorted(
        [(NAME, max(1, (folder / "index" / NAME).stat().st_size)), (OTHER, 1)]
    )
    for name in (NAME, OTHER):
        with pytest.raises(FileUnusable, match=f"index/{name}: is not a regular file"):
            storage.load(FileKind.INDEX, name)
    storage.close()


def test_a_signal_in_the_middle_of_a_request_costs_the_session_and_nothing_else(
    storage: SftpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Struck(BaseException):
        pass

    write = Child.write

    def strike(child: Child, pieces: list[Buffer], patience: float) -> None:
        content = b"".join(pieces)
        write(child, [content[: len(content) // 2]], patience)
        raise Struck

    storage.save(FileKind.PACK, NAME, CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr(Child, "write", strike)
        with pytest.raises(Struck):
            storage.save(FileKind.PACK, BIG_NAME, BIG)
    assert storage.load(FileKind.PACK, NAME) == CONTENT
    storage.save(FileKind.PACK, BIG_NAME, BIG)
    assert list(storage.strays()) == [] and storage.load(FileKind.PACK, BIG_NAME) == BIG


def test_who_is_not_let_in_learns_it_at_once(sshd: Sshd) -> None:
    for arguments, message in (
        ({"key": "stranger"}, "Permission denied"),
        ({"hosts": "none"}, "Host key verification failed"),
        ({"hosts": "other_hosts"}, "Host key verification failed"),
    ):
        storage = opened(sshd.place(**arguments))
        with pytest.raises(SessionNotStarted, match=rf"ssh has ended with exit status 255: .*{message}") as caught:
            storage.exists(FileKind.CONFIG, "")
        assert caught.value.permanent
        storage.close()
    place = sshd.place()
    nobody = place._replace(location=place.location.replace(f":{sshd.port}/", ":1/"))
    storage = opened(nobody)
    with pytest.raises(SessionNotStarted, match="Connection refused"):
        storage.exists(FileKind.CONFIG, "")
    storage.close()


def test_what_a_user_may_not_read_is_denied(sshd: Sshd) -> None:
    place = sshd.place("denied")
    assert place.folder is not None
    storage = opened(place)
    storage.create()
    storage.save(FileKind.PACK, NAME, CONTENT)
    (place.folder / "data" / NAME[:2] / NAME).chmod(0)
    with pytest.raises(AccessDenied, match=f"open {place.folder}/data/{NAME[:2]}/{NAME}: permission denied") as caught:
        storage.load(FileKind.PACK, NAME)
    assert caught.value.permanent and caught.value.object == f"data/{NAME}"
    (place.folder / "index").chmod(0)
    for act in (lambda: list(storage.list(FileKind.INDEX)), lambda: storage.exists(FileKind.INDEX, NAME)):
        with pytest.raises(AccessDenied, match="permission denied"):
            act()
    storage.close()


def test_a_server_that_is_away_for_a_while_is_reached_again() -> None:
    with running(Sshd) as sshd:
        storage = opened(sshd.place())
        storage.create()
        storage.save(FileKind.PACK, NAME, CONTENT)
        sshd.stop()
        os.kill(server_of(storage), signal.SIGKILL)  # of ssh: sessions that were there go on without the sshd that began them
        with contextlib.suppress(StorageAway):
            storage.load(FileKind.PACK, NAME)
        for _ in range(2):
            with pytest.raises(StorageAway, match=r"ssh has ended with exit status 255: .*Connection refused") as caught:
                storage.load(FileKind.PACK, NAME)
            assert not caught.value.permanent
        sshd.start()
        assert storage.load(FileKind.PACK, NAME) == CONTENT
        storage.close()


def test_a_storage_that_nobody_has_any_more_ends_its_program(folder: Path) -> None:
    storage = opened(sftp_place(folder))
    storage.create()
    child = Path(f"/proc/{server_of(storage)}")
    threads = {thread.name for thread in threading.enumerate()}
    assert "sftp-reader" in threads
    del storage
    wait_for(lambda: not child.exists())
