"""Locks: restic's rules, held against a live restic in both directions."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from restic_format.errors import AlreadyLocked, Interrupted, InvalidLock, LockLost
from restic_format.repository import Repository, keys
from restic_format.repository import lock as lock_module
from restic_format.storage import Content, FaultyStorage, LocalStorage, MemoryStorage
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.layout import KINDS, FileKind
from restic_spec.lock import Lock, encode_lock
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.repository.conftest import CHEAP

T = TypeVar("T")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that do not take seconds."""
    monkeypatch.setattr(lock_module, "_RETRY_FIRST", 0.01)


def foreign(age: float = 0.0, pid: int | None = None, host: str = "elsewhere", exclusive: bool = False) -> Lock:
    """A lock somebody else made *age* seconds ago."""
    made = gotime.format_ns(time.time_ns() - int(age * gotime.NS))
    return Lock(time=made, exclusive=exclusive, hostname=host, username="u", pid=pid or 1234)


def locks_of(repo: Repository) -> list[bytes]:
    return [lock_id for lock_id, _ in repo.list(FileKind.LOCK)]


@pytest.mark.clause("LOCK-2", "LOCK-4", "LOCK-10")
def test_shared_locks_live_together_and_exclusive_ones_alone(repo: Repository) -> None:
    with repo.lock(), repo.lock():
        assert len(locks_of(repo)) == 2
        with pytest.raises(AlreadyLocked, match="already locked by PID"), repo.lock(exclusive=True):
            pass
    assert locks_of(repo) == []
    with repo.lock(exclusive=True):
        for exclusive in (False, True):
            with (
                pytest.raises(AlreadyLocked, match="already locked exclusively by PID"),
                repo.lock(exclusive=exclusive),
            ):
                pass
    assert locks_of(repo) == []


@pytest.fixture
def late(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository whose storage may list late what others stored."""
    monkeypatch.setattr(repo.storage, "lists_at_once", False)
    return repo


@pytest.fixture
def rival(late: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes an exclusive lock appear a moment later, in time on a busy machine, too."""
    monkeypatch.setattr(lock_module, "RECHECK_AFTER", 0.6)
    threads: list[threading.Timer] = []

    def later() -> None:
        lock = encode_lock(foreign(exclusive=True))
        threads.append(threading.Timer(0.05, lambda: late.save_unpacked(FileKind.LOCK, lock)))
        threads[-1].start()

    yield later
    for thread in threads:
        thread.join()


Listed = Sequence[tuple[bytes, int]] | None


class Looks:
    """The looks at others' locks: how many there were, and a gate before the one that settles a lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.gate = threading.Event()
        look = lock_module._check_others

        def watched(repo: Repository, exclusive: bool, own: frozenset[bytes], listed: Listed = None) -> None:
            if own:
                assert self.gate.wait(20)
            self.steps.append("settle" if own else "look")
            look(repo, exclusive, own, listed)

        monkeypatch.setattr(lock_module, "_check_others", watched)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    """See `Looks`."""
    made = Looks(monkeypatch)
    yield made
    made.gate.set()


@pytest.mark.clause("LOCK-3")
def test_a_lock_that_appears_while_ours_is_made_is_seen(repo: Repository, rival: Callable[[], None]) -> None:
    rival()
    with pytest.raises(AlreadyLocked):
        lock_module.acquire(repo)
    assert len(locks_of(repo)) == 1, "our own lock is taken back"


class Turns:
    """Whose turn it is: lets two lockers go through their steps in a given order."""

    def __init__(self, order: str) -> None:
        self._order = deque(order)
        self._turn = threading.Condition()

    def take(self, who: str, step: Callable[[], T]) -> T:
        """Do *step* when it is the turn of *who*."""
        with self._turn:
            assert self._turn.wait_for(lambda: self._order and self._order[0] == who, 10)
            self._order.popleft()
            done = step()
            self._turn.notify_all()
        return done

    def leave(self, who: str) -> None:
        """The rest goes on without *who*."""
        with self._turn:
            self._order = deque(one for one in self._order if one != who)
            self._turn.notify_all()


class InTurns(MemoryStorage):
    """The same files for two lockers; storing a lock and listing them are steps."""

    def __init__(self, files: dict[tuple[FileKind, str], bytes], who: str, turns: Turns) -> None:
        super().__init__()
        self.files = files
        self._take = partial(turns.take, who)

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        self._take(lambda: super(InTurns, self).save(kind, name, data, metadata=metadata))

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        return self._take(lambda: iter([*super(InTurns, self).list(kind)]))


ORDERS = ["".join("A" if step in chosen else "B" for step in range(6)) for chosen in itertools.combinations(range(6), 3)]


@pytest.mark.clause("LOCK-3")
@pytest.mark.parametrize("exclusive", [(True, True), (True, False), (False, True), (False, False)])
def test_without_a_wait_no_order_of_steps_lets_two_in(
    exclusive: tuple[bool, bool], repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looking, storing, looking again: the steps of whoever waits in between are among these orders, too.
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    monkeypatch.setattr(lock_module, "RECHECK_AFTER", 3600.0)
    for order in ORDERS:
        turns = Turns(order)
        held: dict[str, lock_module.RepositoryLock] = {}

        def come(who: str, alone: bool, turns: Turns = turns, held: dict[str, lock_module.RepositoryLock] = held) -> None:
            mine = copy(repo)
            mine.storage = InTurns(storage.files, who, turns)
            with contextlib.suppress(AlreadyLocked):
                held[who] = lock_module.acquire(mine, exclusive=alone)
            turns.leave(who)

        comers = [threading.Thread(target=come, args=(who, alone)) for who, alone in zip("AB", exclusive, strict=True)]
        for comer in comers:
            comer.start()
        for comer in comers:
            comer.join(60)
            assert not comer.is_alive(), "a lock waits"
        assert len(held) < 2 if any(exclusive) else len(held) == 2, order
        assert len(locks_of(repo)) == len(held), "who was refused leaves nothing behind"
        for lock in held.values():
            lock.release()
        assert locks_of(repo) == []


@pytest.mark.clause("LOCK-2", "LOCK-3")
def test_many_at_once_on_a_file_system_are_alone_one_after_the_other(tmp_path: Path) -> None:
    Repository.init(LocalStorage(tmp_path), "pw", kdf=CHEAP)
    inside: list[int] = []
    most: list[int] = []

    def come(number: int) -> None:
        mine = Repository.open(LocalStorage(tmp_path), "pw")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            with contextlib.suppress(AlreadyLocked), mine.lock(exclusive=True):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.001)
                inside.remove(number)

    comers = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for comer in comers:
        comer.start()
    for comer in comers:
        comer.join()
    assert set(most) == {1}
    assert len(most) > 3


@pytest.mark.clause("LOCK-5", "LOCK-11")
def test_staleness(repo: Repository) -> None:
    here = os.uname().nodename
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert lock_module.is_stale(foreign(age=31 * 60))
    assert not lock_module.is_stale(foreign(age=29 * 60))
    assert lock_module.is_stale(foreign(pid=dead.pid, host=here))
    assert not lock_module.is_stale(foreign(pid=os.getpid(), host=here))
    assert not lock_module.is_stale(foreign(pid=dead.pid, host="elsewhere"))
    for lock in (foreign(age=31 * 60), foreign(), foreign(pid=dead.pid, host=here)):
        repo.save_unpacked(FileKind.LOCK, encode_lock(lock))
    assert lock_module.remove_locks(repo) == 2
    assert lock_module.remove_locks(repo, everything=True) == 1


@pytest.mark.clause("LOCK-6")
def test_a_lock_is_renewed_under_a_new_name_before_the_old_one_goes(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "REFRESH_EVERY", 0.05)
    with repo.lock() as held:
        first = held.id
        deadline = time.monotonic() + 5
        while held.id == first and time.monotonic() < deadline:
            assert locks_of(repo), "there is no moment without a lock"
            time.sleep(0.01)
        assert held.id != first
        held.check()
    assert locks_of(repo) == []


@pytest.mark.clause("LOCK-7")
def test_a_lock_that_was_removed_while_we_slept_is_lost(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "REFRESH_EVERY", 0.05)
    monkeypatch.setattr(lock_module, "_GIVE_UP_AFTER", 0.01)
    with repo.lock() as held:
        for lock_id in locks_of(repo):
            repo.remove(FileKind.LOCK, lock_id)
        deadline = time.monotonic() + 5
        with pytest.raises(LockLost):
            while time.monotonic() < deadline:
                held.check()
                time.sleep(0.01)


def lose(held: lock_module.RepositoryLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lock be lost, as when the machine slept and somebody ran unlock."""
    monkeypatch.setattr(held, "_lost", "failed to refresh lock in time")


@pytest.mark.clause("LOCK-7")
@pytest.mark.parametrize("step", ["pack", "index", "snapshot", "remove"])
def test_nothing_is_changed_under_a_lock_that_is_lost(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FaultyStorage(MemoryStorage(), lambda call: None)
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    writer = repo.writer()
    kept = repo.save_unpacked(FileKind.SNAPSHOT, b"{}")
    with repo.lock() as held:
        writer.save_blob(BlobType.DATA, b"data")
        if step == "index":
            # The pack is stored, its index not yet: whoever removed the lock may have pruned since.
            storage.plan = lambda call: lose(held, monkeypatch) if call[:2] == ("save", FileKind.PACK) else None
        else:
            lose(held, monkeypatch)
        storage.calls.clear()
        with pytest.raises(LockLost):
            if step in ("pack", "index"):
                writer.flush()
            elif step == "snapshot":
                repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree="00" * 32, paths=["/x"]))
            else:
                repo.remove(FileKind.SNAPSHOT, kept)
        changed = {(call.operation, call.kind) for call in storage.calls if call.operation in ("save", "remove")}
        assert changed - {("remove", FileKind.LOCK)} == ({("save", FileKind.PACK)} if step == "index" else set())
    repo.save_unpacked(FileKind.SNAPSHOT, b"{}")


@pytest.mark.clause("LOCK-7")
@pytest.mark.parametrize("removed", [False, True])
def test_after_a_sleep_nothing_is_changed_before_the_lock_is_seen_to_be_there(repo: Repository, removed: bool) -> None:
    with repo.lock() as held:
        if removed:
            for lock_id in locks_of(repo):
                repo.remove(FileKind.LOCK, lock_id)
        held._renewed -= 31 * 60  # as if the machine had slept
        if removed:
            with pytest.raises(LockLost):
                repo.save_unpacked(FileKind.SNAPSHOT, b"{}")
        else:
            repo.save_unpacked(FileKind.SNAPSHOT, b"{}")
        assert len(list(repo.list(FileKind.SNAPSHOT))) == (not removed)


@pytest.mark.clause("LOCK-10", "LOCK-14")
def test_a_lock_that_is_given_up_before_it_is_certain_leaves_nothing_behind(
    late: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(lock_module, "RECHECK_AFTER", 3600.0)
    cancel = Cancel()
    save = late.storage.save
    during: list[object] = []

    def noting(kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        save(kind, name, data, metadata=metadata)
        during.append(signal.getsignal(signal.SIGHUP))
        cancel.set()

    monkeypatch.setattr(late.storage, "save", noting)
    with pytest.raises(Interrupted), late.lock(cancel=cancel):
        pytest.fail("the block began")
    assert during == [signal.SIG_IGN], "restic's unlock must not end us by asking whether we are there"
    assert locks_of(late) == []
    assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.clause("LOCK-14")
def test_a_hangup_is_survived_as_long_as_any_lock_is_held(repo: Repository) -> None:
    before = signal.getsignal(signal.SIGHUP)
    first, second = lock_module.acquire(repo), lock_module.acquire(repo)
    first.release()
    os.kill(os.getpid(), signal.SIGHUP)
    releaser = threading.Thread(target=second.release)
    releaser.start()
    releaser.join()
    assert locks_of(repo) == [], "any thread may release a lock"
    with repo.lock():
        pass
    assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.clause("LOCK-8", "LOCK-9")
def test_an_unreadable_lock_is_an_error_of_its_own_and_an_empty_one_is_ignored(repo: Repository) -> None:
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    storage.files[FileKind.LOCK, "0" * 64] = b""
    with repo.lock():
        pass
    storage.files[FileKind.LOCK, "1" * 64] = b"garbage"
    with pytest.raises(InvalidLock, match="unlock --remove-all"), repo.lock():
        pass
    storage.files[FileKind.LOCK, "1" * 64] = bytes(KINDS[FileKind.LOCK].max_size + 1)
    with pytest.raises(InvalidLock, match=f"locks/{'1' * 64}: has .* bytes, more than"), repo.lock():
        pass
    assert lock_module.remove_locks(repo) == 0
    assert lock_module.remove_locks(repo, everything=True) == 2


def test_only_what_may_still_become_a_lock_is_read_again(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    naps: list[float] = []
    monkeypatch.setattr(lock_module.time, "sleep", naps.append)
    storage.files[FileKind.LOCK, "2" * 64] = b"half of a lock"
    with pytest.raises(InvalidLock), repo.lock():
        pass
    assert len(naps) == 3
    naps.clear()
    storage.files[FileKind.LOCK, "1" * 64] = bytes(KINDS[FileKind.LOCK].max_size + 1)
    with pytest.raises(InvalidLock, match="more than"), repo.lock():
        pass
    assert naps == [], "it is larger than any lock, and will be"


@pytest.fixture
def real(
    tmp_path: Path, peer: Callable[[str], Path]
) -> Iterator[tuple[Repository, Callable[..., subprocess.CompletedProcess[str]]]]:
    """A repository made by restic 0.19, opened by us, and a way to run restic on it."""
    env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(tmp_path), "RESTIC_REPOSITORY": str(tmp_path / "repo")}

    def restic(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [peer("restic-0.19"), "--no-cache", *arguments], env=env, capture_output=True, text=True, check=False
        )

    assert restic("init").returncode == 0
    yield Repository.open(LocalStorage(tmp_path / "repo"), "x"), restic


@pytest.mark.clause("LOCK-14")
def test_restic_honours_our_locks(
    real: tuple[Repository, Callable[..., subprocess.CompletedProcess[str]]], tmp_path: Path
) -> None:
    repo, restic = real
    (tmp_path / "file").write_text("x")
    with repo.lock(exclusive=True):
        refused = restic("backup", str(tmp_path / "file"))
        assert refused.returncode == 11
        assert f"PID {os.getpid()}" in refused.stderr
    with repo.lock():
        assert restic("backup", str(tmp_path / "file")).returncode == 0
        assert restic("prune").returncode == 11
        assert restic("unlock").returncode == 0
        assert len(locks_of(repo)) == 1, "restic must not take a live lock of ours for stale"


def test_we_honour_restics_locks(
    real: tuple[Repository, Callable[..., subprocess.CompletedProcess[str]]], peer: Callable[[str], Path]
) -> None:
    repo, _ = real
    env = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": repo.storage.location}
    command = [str(peer("restic-0.19")), "--no-cache", "backup", "--stdin", "-q"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE) as running:
        deadline = time.monotonic() + 20
        while not locks_of(repo) and time.monotonic() < deadline:
            time.sleep(0.05)
        with repo.lock():
            pass
        with pytest.raises(AlreadyLocked, match=f"PID {running.pid} "), repo.lock(exclusive=True):
            pass
        assert lock_module.remove_locks(repo) == 0
        running.communicate(b"data")
    with repo.lock(exclusive=True):
        pass


def test_the_user_database_decides_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert keys.current_user() == (pwd.getpwuid(os.getuid()).pw_name, os.getuid(), pwd.getpwuid(os.getuid()).pw_gid)


def test_without_an_entry_there_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert keys.current_user() == ("somebody", 4_000_000_000, os.getgid())


@pytest.mark.clause("LOCK-2", "LOCK-7", "LOCK-13")
def test_a_repository_is_locked_for_a_block(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    with repo.lock(), repo.lock() as held:
        assert len(locks_of(repo)) == 2
        with pytest.raises(AlreadyLocked, match="already locked by PID"), repo.lock(exclusive=True):
            pass
        lose(held, monkeypatch)
        with pytest.raises(LockLost):
            repo.save_unpacked(FileKind.SNAPSHOT, b"{}")
    assert locks_of(repo) == []
    assert repo.before_changes is None
    with repo.lock(exclusive=True), pytest.raises(AlreadyLocked, match="already locked exclusively by PID"), repo.lock():
        pass
    assert locks_of(repo) == []


@pytest.mark.clause("LOCK-3")
def test_a_block_begins_when_its_lock_is_certain(late: Repository, looks: Looks, rival: Callable[[], None]) -> None:
    looks.gate.set()
    with late.lock():
        assert looks.steps == ["look", "settle"]
    rival()
    with pytest.raises(AlreadyLocked), late.lock():
        pytest.fail("the block began")
    assert len(locks_of(late)) == 1, "our own lock is taken back"


@pytest.mark.clause("LOCK-12")
def test_others_are_waited_for_until_somebody_cancels(repo: Repository) -> None:
    rival = repo.save_unpacked(FileKind.LOCK, encode_lock(foreign(exclusive=True)))
    told: list[float] = []
    cancel = Cancel()

    def give_up(seconds: float) -> None:
        told.append(seconds)
        cancel.set()

    with pytest.raises(Interrupted), repo.lock(retry=3600, waiting=give_up, cancel=cancel):
        pass
    assert told == [3600]
    assert locks_of(repo) == [rival]
    with repo.lock(retry=5, waiting=lambda _: repo.remove(FileKind.LOCK, rival)):
        pass
    assert locks_of(repo) == []
