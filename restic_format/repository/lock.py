"""Locks: who uses the repository, and whether alone; restic's rules, so that each honours the other's (LOCK-2 to LOCK-12).

A lock is written, then the folder is looked at once more, where listings may be late after a moment: of two that came at the
same time at least one sees the other. It is renewed every five minutes under a new name; one that was not for half an hour is
stale.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from restic_format.errors import (
    AlreadyLocked,
    DamagedFile,
    FileMissing,
    FileUnusable,
    InvalidLock,
    LockLost,
    ResticFormatError,
)
from restic_format.repository.keys import current_host, current_user
from restic_format.words import printable
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.layout import FileKind
from restic_spec.lock import RECHECK_AFTER, REFRESH_EVERY, STALE_AFTER, Lock, decode_lock, encode_lock

if TYPE_CHECKING:
    from restic_format.repository.firstreads import FirstReads
    from restic_format.repository.repository import Repository

_Handler = Callable[[int, FrameType | None], object] | int | None

_RETRY_FIRST = 5.0
_RETRY_MOST = 60.0
_POLL = 0.2
"""Seconds between two looks at whether to stop waiting."""
_READ_ATTEMPTS = 4
_GIVE_UP_AFTER = STALE_AFTER - REFRESH_EVERY * 1.5
"""Seconds without a refresh after which the holder must assume that others see its lock as stale (LOCK-7)."""


class _Hangup:
    """Ignores SIGHUP while any lock is held: with it restic's ``unlock`` probes whether the process is alive (LOCK-14).

    Only the main thread can change what a signal does, and a handler of the caller's own stays.
    """

    def __init__(self) -> None:
        self._held = 0
        self._before: _Handler = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Note that one more lock is held."""
        with self._lock:
            self._held += 1
            if _in_main_thread() and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
                self._before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def end(self) -> None:
        """Note that one lock less is held."""
        with self._lock:
            self._held -= 1
            if not self._held and self._before is not None and _in_main_thread():
                signal.signal(signal.SIGHUP, self._before)
                self._before = None


_hangup = _Hangup()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class RepositoryLock:
    """A lock that is held: it renews itself until `release`."""

    def __init__(self, repo: Repository, lock: Lock, lock_id: bytes) -> None:
        self._repo = repo
        self._lock = lock
        self.id = lock_id
        self._stop = threading.Event()
        self._renewed = time.time()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lock-refresh")
        self._thread.start()

    def _keep(self) -> None:
        # Short waits and wall-clock time: a suspended machine must notice at once how long it slept.
        while not self._stop.wait(min(1.0, REFRESH_EVERY)):
            age = time.time() - self._renewed
            if age < REFRESH_EVERY:
                continue
            try:
                self._renew(was_late=age > _GIVE_UP_AFTER)
            except ResticFormatError as error:
                if age > _GIVE_UP_AFTER:
                    self._lost = f"failed to refresh lock in time: {error}"
                    return
                self._stop.wait(5.0)

    def _renew(self, *, was_late: bool) -> None:
        if was_late and not self._repo.storage.exists(FileKind.LOCK, self.id.hex()):
            raise LockLost(f"lock {self.id.hex()[:8]} was removed in the meantime")
        self._lock.time = gotime.format_ns(time.time_ns())
        new_id = self._repo.save_unpacked(FileKind.LOCK, encode_lock(self._lock))
        if was_late:
            time.sleep(RECHECK_AFTER)
            if not self._repo.storage.exists(FileKind.LOCK, self.id.hex()):
                self._repo.remove(FileKind.LOCK, new_id)
                raise LockLost(f"lock {self.id.hex()[:8]} was removed in the meantime")
        old_id, self.id, self._renewed = self.id, new_id, time.time()
        with contextlib.suppress(FileMissing):
            self._repo.remove(FileKind.LOCK, old_id)

    def check(self) -> None:
        """Do nothing while the lock is kept; to be called before what relies on it (LOCK-7).

        After a machine has slept this waits until it is known whether the lock is still there.

        Raises:
            LockLost: it could not be kept; others may remove what we rely on.
        """
        while self._lost is None and time.time() - self._renewed > _GIVE_UP_AFTER and not self._stop.wait(_POLL / 10):
            continue
        if self._lost is not None:
            raise LockLost(self._lost)

    def release(self) -> None:
        """Stop renewing and remove the lock file (LOCK-10)."""
        self._stop.set()
        self._thread.join()
        try:
            with contextlib.suppress(FileMissing):
                self._repo.remove(FileKind.LOCK, self.id)
        finally:
            _hangup.end()


def describe(lock: Lock, lock_id: bytes) -> str:
    """Who holds a lock, in the words scripts look for."""
    created, offset = gotime.parse(lock.time)
    age = _go_duration(max(time.time_ns() - created, 0))
    return (
        f"PID {lock.pid} on {printable(lock.hostname)} by {printable(lock.username)} (UID {lock.uid}, GID {lock.gid})\n"
        f"lock was created at {gotime.format_ns(created, offset)[:19].replace('T', ' ')} ({age} ago)\n"
        f"storage ID {lock_id.hex()[:8]}"
    )


def _go_duration(ns: int) -> str:
    seconds, fraction = divmod(ns, gotime.NS)
    hours, rest = divmod(seconds, 3600)
    text = f"{hours}h" if hours else ""
    if hours or rest >= 60:
        text += f"{rest // 60}m"
    tail = f"{rest % 60}.{fraction:09d}".rstrip("0").rstrip(".")
    return f"{text}{tail}s"


def read_locks(
    repo: Repository, skip: frozenset[bytes] = frozenset(), listed: Iterable[tuple[bytes, int]] | None = None
) -> Iterator[tuple[bytes, Lock | ResticFormatError]]:
    """Every lock file but *skip*, parsed or with what is wrong with it; vanished and empty ones are left out. *listed* are the
    files with their sizes, where they are known already.
    """
    for lock_id, size in repo.list(FileKind.LOCK) if listed is None else listed:
        if lock_id in skip or size == 0:
            continue
        try:
            yield lock_id, decode_lock(repo.load_unpacked(FileKind.LOCK, lock_id), f"lock {lock_id.hex()[:8]}")
        except FileMissing:
            continue
        except ResticFormatError as error:
            yield lock_id, error


def is_stale(lock: Lock) -> bool:
    """Whether nobody can be holding *lock* any more: not renewed for half an hour, or its process on this host is gone."""
    if time.time_ns() - gotime.parse_ns(lock.time) > STALE_AFTER * gotime.NS:
        return True
    return lock.hostname == current_host() and not _process_exists(lock.pid)


def _process_exists(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def remove_locks(repo: Repository, *, everything: bool = False) -> int:
    """Remove stale locks, or all; returns how many (LOCK-11). What cannot be read is removed only with *everything*."""
    removed = 0
    if everything:
        for lock_id, _ in list(repo.list(FileKind.LOCK)):
            with contextlib.suppress(FileMissing):
                repo.remove(FileKind.LOCK, lock_id)
                removed += 1
        return removed
    for lock_id, lock in list(read_locks(repo)):
        if isinstance(lock, Lock) and is_stale(lock):
            with contextlib.suppress(FileMissing):
                repo.remove(FileKind.LOCK, lock_id)
                removed += 1
    return removed


def remove_unfinished(repo: Repository) -> int:
    """Remove the unfinished files of writers that were killed, unless anybody has a lock; returns how many (LOCK-15).

    Raises:
        StorageError: the locks cannot be listed, or a file cannot be removed.
    """

    def nobody_writes() -> bool:
        if any(True for _ in repo.list(FileKind.LOCK)):
            return False
        time.sleep(RECHECK_AFTER)
        return not any(True for _ in repo.list(FileKind.LOCK))

    return repo.storage.remove_unfinished(STALE_AFTER, nobody_writes)


def acquire(
    repo: Repository, *, exclusive: bool = False, cancel: Cancel | None = None, reads: FirstReads | None = None
) -> RepositoryLock:
    """Take a lock: `Repository.lock` without waiting for others. *reads* begin while it is not certain yet."""
    user = current_user()
    lock = Lock(
        time=gotime.format_ns(time.time_ns()),
        exclusive=exclusive,
        hostname=current_host(),
        username=user.name,
        pid=os.getpid(),
        uid=user.uid,
        gid=user.gid,
    )
    # What was there a moment ago is as good here: it saves others a lock that comes and goes. The second look decides.
    ahead, repo.locks_ahead = repo.locks_ahead, None
    _check_others(repo, exclusive, frozenset(), None if ahead is None else ahead.get())
    _hangup.begin()
    lock_id: bytes | None = None
    try:
        lock_id = repo.save_unpacked(FileKind.LOCK, encode_lock(lock))
        if not repo.storage.lists_at_once:
            if reads is not None:
                reads.begin()
            _sleep(RECHECK_AFTER, cancel)
        _check_others(repo, exclusive, frozenset((lock_id,)))
        return RepositoryLock(repo, lock, lock_id)
    except BaseException:
        if reads is not None:
            reads.stop()
        try:
            _take_back(repo, lock, lock_id)
        finally:
            _hangup.end()
        raise


def _take_back(repo: Repository, lock: Lock, lock_id: bytes | None) -> None:
    """Remove a lock that cannot be held."""
    if lock_id is not None:
        with contextlib.suppress(FileMissing):
            repo.remove(FileKind.LOCK, lock_id)
        return
    # A signal may strike when the file is there already and its name not yet known here (LOCK-10).
    with contextlib.suppress(ResticFormatError):
        for found_id, found in read_locks(repo):
            if found == lock:
                repo.remove(FileKind.LOCK, found_id)


def _check_others(
    repo: Repository, exclusive: bool, own: frozenset[bytes], listed: Sequence[tuple[bytes, int]] | None = None
) -> None:
    """Look for locks of others. *listed* are the files of the first attempt, where they have been listed already."""
    delay = _RETRY_FIRST
    for attempt in range(_READ_ATTEMPTS):
        if attempt:
            time.sleep(delay)
            delay *= 2
            listed = None
        unreadable: ResticFormatError | None = None
        for lock_id, lock in read_locks(repo, own, listed):
            if isinstance(lock, ResticFormatError):
                unreadable = unreadable if isinstance(unreadable, FileUnusable) else lock
            elif exclusive or lock.exclusive:
                how = "exclusively " if lock.exclusive else ""
                raise AlreadyLocked(
                    "unable to create lock in backend: repository is already locked "
                    f"{how}by {describe(lock, lock_id)}\n"
                    "the `unlock` command can be used to remove stale locks"
                )
        if unreadable is None:
            return
        if isinstance(unreadable, FileUnusable):
            break  # It does not become a lock by being written to the end, as a damaged one may.
    if isinstance(unreadable, DamagedFile | FileUnusable):
        raise InvalidLock(
            f"invalid lock file: {unreadable}\n\nthe `unlock --remove-all` command can be used to remove invalid locks. "
            "Make sure that no other process is accessing the repository when running the command"
        )
    assert unreadable is not None
    raise unreadable


@contextlib.contextmanager
def hold_lock(
    repo: Repository,
    *,
    exclusive: bool = False,
    retry: float = 0.0,
    waiting: Callable[[float], None] | None = None,
    cancel: Cancel | None = None,
    first: Sequence[FileKind] = (),
    load_index: bool = False,
) -> Iterator[RepositoryLock]:
    """`Repository.lock`."""
    reads = None
    if first and not repo.storage.at_hand:
        from restic_format.repository.firstreads import FirstReads

        reads = FirstReads(repo, first, load_index=load_index)
    held = _wait_for_lock(repo, exclusive, retry, waiting, cancel, reads)
    before = repo.before_changes
    try:
        if reads is not None:
            repo.listed_ahead(reads.settle())
        repo.before_changes = held.check
        yield held
    finally:
        repo.before_changes = before
        held.release()


def _wait_for_lock(
    repo: Repository,
    exclusive: bool,
    retry: float,
    waiting: Callable[[float], None] | None,
    cancel: Cancel | None,
    reads: FirstReads | None,
) -> RepositoryLock:
    deadline = time.monotonic() + retry
    pause = min(_RETRY_FIRST, retry)
    while True:
        try:
            return acquire(repo, exclusive=exclusive, cancel=cancel, reads=reads)
        except AlreadyLocked:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        if waiting is not None:
            waiting(retry)
            waiting = None
        _sleep(min(pause, left), cancel)
        pause = min(pause * 2, _RETRY_MOST)


def _sleep(seconds: float, cancel: Cancel | None) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancel is not None:
            cancel.check()
        time.sleep(min(left, _POLL))
