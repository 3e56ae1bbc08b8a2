"""What every long operation shares: worker pools, the token that cancels it, and the callback that is told how far it is.

A pool is bounded: so many threads, so many jobs or results that wait. The first failure wins: it stops the others, and is
raised to whoever waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from queue import Queue
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from restic_format.errors import Interrupted

Event = TypeVar("Event")
Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL = 0.2
"""Seconds between two looks at whether to stop."""


class Advance(NamedTuple):
    """How far a stage of an operation is."""

    stage: str
    done: int
    total: int
    """0 while nobody knows."""


Progress: TypeAlias = Callable[[Event], None]
"""Told what happens, as it happens: `Advance`, and what else the operation says it tells.

It is called from any thread and should not keep it. What it raises ends the operation.
"""


def silent(event: object) -> None:
    """A `Progress` that tells nobody."""
    del event


class Cancel:
    """Asks an operation to stop: its user wants that, or the lock on the repository is lost.

    It is also cancelled when *parent* is. *health* is called by `check`, and raises when there is another reason to stop
    (`RepositoryLock.check`).
    """

    def __init__(self, parent: Cancel | None = None, *, health: Callable[[], object] | None = None) -> None:
        self._parent = parent
        self._health = health
        self._set = False

    def set(self) -> None:
        """Cancel. May be called from a signal handler."""
        self._set = True  # an Event would wait for its lock, which the interrupted thread may hold

    def is_set(self) -> bool:
        """Whether somebody cancelled; *health* is not asked."""
        return self._set or (self._parent is not None and self._parent.is_set())

    def check(self) -> None:
        """Do nothing while the operation may go on.

        Raises:
            Interrupted: it was cancelled.
            ResticFormatError: what *health* raises, such as `LockLost`.
        """
        if self._set:
            raise Interrupted("interrupted")
        if self._parent is not None:
            self._parent.check()
        if self._health is not None:
            self._health()

    def check_health(self) -> None:
        """Do nothing while nothing but being cancelled keeps the operation from going on.

        Raises:
            ResticFormatError: what *health* raises, such as `LockLost`.
        """
        if self._parent is not None:
            self._parent.check_health()
        if self._health is not None:
            self._health()


MOST_THREADS = 64
"""Threads of one pool, however many are asked for: each of a backup's holds some MiB, and more read hardly any faster."""


class WorkerPool:
    """A few threads that do one piece of work together: each calls *work* once. There are never more than `MOST_THREADS`.

    *work* looks at `stopped` between its steps, and returns when it is true. *on_stop* wakes those that wait; it is called
    once, by the thread that stops the pool. In a ``with`` block the threads begin at its begin and have ended at its end.
    """

    def __init__(
        self,
        name: str,
        count: int,
        work: Callable[[], None],
        *,
        cancel: Cancel | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        """The first failure."""
        self._work = work
        self._cancel = cancel
        self._on_stop = on_stop
        self._stopped = False
        self._lock = threading.Lock()
        self.count = min(max(1, count), MOST_THREADS)
        """How many threads there are."""
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{n}", daemon=True) for n in range(self.count)]

    def __enter__(self) -> WorkerPool:
        """Start the threads."""
        self.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Wait for the threads; stop them first where the block has failed."""
        if error is None:
            self.wait()
        else:
            self.fail(error)
            self.join()

    @property
    def stopped(self) -> bool:
        """Whether to leave everything as it is: the pool was stopped, it has failed, or the operation is cancelled."""
        return self._stopped or (self._cancel is not None and self._cancel.is_set())

    def start(self) -> None:
        """Start the threads."""
        try:
            for thread in self._threads:
                thread.start()
        except BaseException as error:
            self.fail(error)
            self.join()
            raise

    def stop(self) -> None:
        """Ask the threads to end."""
        with self._lock:
            first, self._stopped = not self._stopped, True
        if first and self._on_stop is not None:
            self._on_stop()

    def fail(self, error: BaseException) -> None:
        """Stop, because of *error*; the first one counts."""
        with self._lock:
            self.failure = self.failure or error
        self.stop()

    def share(self, items: Iterable[Item]) -> Iterable[Item]:
        """*items* for the threads to loop over together: each item goes to one of them, none after the pool has stopped."""
        return _Shared(self, items)

    def wait(self) -> None:
        """Wait until the threads have ended.

        Raises:
            Interrupted, ResticFormatError: see `Cancel.check`; the threads have been stopped.
            BaseException: the first failure in one of them.
        """
        try:
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(None if self._cancel is None else _POLL)
                    if self._cancel is not None and self.failure is None:
                        self._cancel.check()
        except BaseException as error:
            self.fail(error)
            self.join()
            raise
        if self.failure is not None:
            raise self.failure

    def join(self) -> None:
        """Wait until the threads have ended, whatever became of them."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised by `wait`
            self.fail(error)


class _Shared(Generic[Item]):
    def __init__(self, pool: WorkerPool, items: Iterable[Item]) -> None:
        self._pool = pool
        self._items = iter(items)
        self._turn = threading.Lock()

    def __iter__(self) -> Iterator[Item]:
        while not self._pool.stopped:
            with self._turn:
                try:
                    item = next(self._items)
                except StopIteration:
                    return
            yield item


class Later(Generic[Result]):
    """What is asked for in time and wanted later: a thread of its own works it out meanwhile.

    Whoever does not want it any more leaves it to itself. With *now* false nobody works ahead: `get` does.
    """

    def __init__(self, work: Callable[[], Result], *, now: bool = True, name: str = "later") -> None:
        self._work = work
        self._done: list[Result] = []
        self._failure: BaseException | None = None
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True) if now else None
        try:
            if self._thread is not None:
                self._thread.start()
        except RuntimeError:  # the system gives no more threads
            self._thread = None

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised by `get`
            self._failure = error

    def get(self) -> Result:
        """What came of it; waits for it. Raises what *work* raised."""
        if self._thread is not None:
            self._thread.join()
        else:
            with self._turn:
                if not self._done and self._failure is None:
                    self._run()
        if self._failure is not None:
            raise self._failure
        return self._done[0]


class JobQueue(Generic[Item]):
    """Jobs that *count* threads do while those who submit them go on; as many may wait as *waiting* says.

    After a failure the jobs go to *drop* instead, and `submit` and `wait` raise what failed.
    """

    def __init__(
        self, name: str, count: int, work: Callable[[Item], None], drop: Callable[[Item], None], *, waiting: int = 1
    ) -> None:
        self._do = work
        self._drop = drop
        self._jobs: Queue[Item | None] = Queue(maxsize=waiting)
        self._pool = WorkerPool(name, count, self._work)
        self._pool.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                (self._do if self._pool.failure is None else self._drop)(job)
            except BaseException as error:  # noqa: BLE001 - raised by `submit` or `wait`
                self._pool.fail(error)
            finally:
                self._jobs.task_done()

    def submit(self, job: Item) -> None:
        """Add a job, waiting while too many wait already."""
        if self._pool.failure is not None:
            self._drop(job)
            raise self._pool.failure
        self._jobs.put(job)

    def wait(self) -> None:
        """Return when everything submitted is done."""
        self._jobs.join()
        if self._pool.failure is not None:
            raise self._pool.failure

    def close(self) -> None:
        """End the threads when what is submitted is done."""
        for _ in range(self._pool.count):
            self._jobs.put(None)
        self._pool.join()


def do_all(
    work: Callable[[Item], object], items: Sequence[Item], *, workers: int, name: str = "do", cancel: Cancel | None = None
) -> None:
    """Do *work* with each of *items*, by a few threads at the same time. Raises the first failure; the rest is left then."""
    if len(items) < 2:
        for item in items:
            if cancel is not None:
                cancel.check()
            work(item)
        return

    def run() -> None:
        for item in shared:
            work(item)

    pool = WorkerPool(name, min(workers, len(items)), run, cancel=cancel)
    shared = pool.share(items)
    with pool:
        pass
    if cancel is not None:
        cancel.check()  # The threads may have ended before anybody looked.


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, name: str = "ahead", workers: int = 2, ahead: int = 4
) -> Generator[tuple[Item, Result | Exception], None, None]:
    """Each of *items* with what *work* makes of it, or what it raises; done by *workers* threads ahead of its use.

    At most *ahead* results are in the making or wait for their turn. Worth it where the work mostly goes on without the
    interpreter lock. Nothing is worked on any more once this is closed.
    """
    if isinstance(items, Sized) and len(items) < 2:
        for item in items:
            yield item, _ordinary(_attempt(work, item))
        return
    source = iter(items)
    done: dict[int, tuple[Item, Result | BaseException]] = {}
    changed = threading.Condition()
    taken = given = 0
    ended = False

    def run() -> None:
        nonlocal taken, ended
        while True:
            with changed:
                while taken - given >= ahead and not pool.stopped:
                    changed.wait()
                if ended or pool.stopped:
                    return
                try:
                    item = next(source)
                except StopIteration:
                    ended = True
                    changed.notify_all()
                    return
                number, taken = taken, taken + 1
            result = _attempt(work, item)
            with changed:
                done[number] = item, result
                changed.notify_all()

    def wake() -> None:
        with changed:
            changed.notify_all()

    pool = WorkerPool(name, workers, run, on_stop=wake)
    with pool:
        try:
            while True:
                with changed:
                    while given not in done and pool.failure is None and not (ended and given == taken):
                        changed.wait()
                    if given not in done:
                        return
                    item, result = done.pop(given)
                    given += 1
                    changed.notify_all()
                yield item, _ordinary(result)
        finally:
            pool.stop()


def _attempt(work: Callable[[Item], Result], item: Item) -> Result | BaseException:
    try:
        return work(item)
    except BaseException as error:  # noqa: BLE001 - handed out in its turn
        return error


def _ordinary(result: Result | BaseException) -> Result | Exception:
    """*result*, unless it is what ends a program."""
    if isinstance(result, BaseException) and not isinstance(result, Exception):
        raise result
    return result
