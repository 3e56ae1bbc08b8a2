"""Reading packs with the workers of a Dask cluster, each of which opens the storage itself. Needs the extra ``dask``.

What to read goes to the workers in small batches, with what the index says of these packs; what they found comes back, and is
put together here as if it had been read here. The key goes with the batches through the cluster's connections and its
scheduler: whoever rules the cluster, or listens where it is not encrypted, can read the repository. It is in no argument,
variable or log of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from restic_format import __version__
from restic_format.check.packreader import PackChecker, PackResult, UnlistedPack
from restic_format.check.packs import Job, PackCheck
from restic_format.check.state import CheckOptions, Run
from restic_format.errors import UsageError
from restic_format.repository import Repository
from restic_format.repository.index import ListedPack
from restic_format.repository.keys import OpenedKey
from restic_format.rescue.diagnosis.packresults import decode_result, encode_result
from restic_format.storage.locations import Place
from restic_format.work import Cancel, silent
from restic_spec.config import Config
from restic_spec.crypto import MasterKey
from restic_spec.pack import PackEntry

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis.opening import Opened

BATCH_BYTES = 64 << 20
BATCH_PACKS = 200
"""What one worker is given at once, at most; a single pack may be larger."""
WAIT = 30.0
"""Seconds until a cluster must have answered, and have a worker."""
MISSING = "this needs Dask: pip install 'restic-format[dask]'"
_POLL = 0.003
_REPEATED = (CancelledError, asyncio.CancelledError, OSError)
"""What says that a worker or the way to it was lost, beside ``KilledWorker``."""


class Task(NamedTuple):
    """A pack to be read."""

    pack: bytes
    size: int
    """By the index."""
    file_size: int | None
    entries: list[PackEntry] | None
    """What the index says is in it; None where the pack itself is asked."""


class Access:
    """What a worker needs to read packs: where they are, and the key. As text it shows neither."""

    def __init__(self, place: Place, config: Config, key: MasterKey) -> None:
        self._place = place
        self._config = config
        self._key = key
        self.version = __version__

    def __repr__(self) -> str:
        return "Access()"

    def open(self) -> Repository:
        """The repository, opened where this is called."""
        return Repository(self._place.open(), self._config, OpenedKey(b"", self._key))


Found: TypeAlias = "list[bytes] | str"
"""What each pack of a batch showed, in their order, or why nothing was read."""


def read_batch(access: Access, tasks: list[Task]) -> Found:
    """Read some packs, on a worker. Never raises for what the storage does, and so leaves nothing in the worker's log."""
    if access.version != __version__:
        return f"it has restic-format {__version__}, and {access.version} is needed"
    try:
        run = Run(access.open(), CheckOptions(read_data=True, workers=1), silent, Cancel())
        for task in tasks:
            run.sizes[task.pack] = task.size
            if task.file_size is not None:
                run.file_sizes[task.pack] = task.file_size
            if task.entries is not None:
                run.repo.index.add_pack(task.pack, task.entries)
        jobs: dict[bytes, Job] = {task.pack: UnlistedPack(task.pack) for task in tasks}
        jobs.update((pack.id, pack) for pack in run.repo.index.packs())
        check = PackChecker(run).check
        return [encode_result(check(jobs[task.pack])) for task in tasks]
    except Exception as error:  # noqa: BLE001 - it is told where the batch came from
        return f"{type(error).__name__}: {error}"


def ready() -> bool:
    """Whether Dask is installed."""
    return importlib.util.find_spec("distributed") is not None


class Cluster:
    """Workers to which packs can be given to read; made by `connect`."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self.address = address
        """Of the scheduler."""

    @property
    def is_encrypted(self) -> bool:
        """Whether what goes to the workers cannot be listened to."""
        return self.address.startswith(("tls://", "wss://", "inproc://"))

    @property
    def threads(self) -> int:
        """How many batches are read at once."""
        return int(sum(self._client.nthreads().values()))

    def reading(self, opened: Opened, place: Place) -> _Reading:
        """How the packs of a repository, which the workers open at *place*, are read here, for
        `restic_format.rescue.diagnosis.diagnose`.
        """
        repo = opened.repository
        assert repo is not None
        access = Access(place, repo.config, repo.master_key)
        return _Reading(self._client, self.threads, access)


@contextmanager
def connect(address: str = "") -> Iterator[Cluster]:
    """The cluster whose scheduler is at *address*; without one, a cluster of this machine's processors for the length of the
    block, whose connections are encrypted with a key that is made for it.

    Raises:
        UsageError: Dask is not installed, or the cluster does not answer or has no worker.
    """
    if not ready():
        raise UsageError(MISSING)
    distributed: Any = importlib.import_module("distributed")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        try:
            if address:
                client = stack.enter_context(distributed.Client(address, timeout=WAIT, set_as_default=False))
            else:
                cluster = stack.enter_context(_local_cluster(distributed))
                client = stack.enter_context(distributed.Client(cluster, timeout=WAIT, set_as_default=False))
            client.wait_for_workers(1, timeout=WAIT)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"cannot work with a Dask cluster{f' at {address}' if address else ''}: {error}") from error
        yield Cluster(client, str(client.scheduler.address))


def _local_cluster(distributed: Any) -> Any:
    """Worker processes of this machine that nobody else can talk to, and that show nothing to browsers."""
    config: Any = importlib.import_module("dask.config")
    with config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}):
        return distributed.LocalCluster(
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
            security=distributed.Security.temporary(),
        )


class _Reading:
    """Reads packs with the workers of a cluster, in the order they are wanted."""

    def __init__(self, client: Any, threads: int, access: Access) -> None:
        self._client = client
        self._access = access
        self._ahead = 2 * threads + 1

    def __call__(
        self, run: Run, check: PackCheck, jobs: Iterator[Job]
    ) -> Generator[tuple[Job, PackResult | Exception], None, None]:
        """What `restic_format.check.packs.with_threads` gives. A batch whose worker is lost is read with *check*, here."""
        given: deque[tuple[list[Job], Any]] = deque()
        try:
            for batch in _batches(run, jobs):
                tasks = [_task(run, job) for job in batch]
                given.append((batch, self._client.submit(read_batch, self._access, tasks, pure=False)))
                if len(given) >= self._ahead:
                    yield from self._finish(run, check, *given.popleft())
            while given:
                yield from self._finish(run, check, *given.popleft())
        finally:
            for _, future in given:
                future.cancel()

    def _finish(self, run: Run, check: PackCheck, batch: list[Job], future: Any) -> Iterator[tuple[Job, PackResult]]:
        found = self._wait(run, future)
        if isinstance(found, str):
            raise UsageError(f"a worker of the cluster cannot take part: {found}")
        if found is None:
            yield from ((job, check(job)) for job in batch)
        else:
            for job, raw in zip(batch, found, strict=True):
                yield job, decode_result(job.id, raw)

    @staticmethod
    def _wait(run: Run, future: Any) -> Found | None:
        """What came of a batch; None where its worker was lost."""
        lost = importlib.import_module("distributed.scheduler").KilledWorker
        while not future.done():
            run.cancel.check()
            time.sleep(_POLL)
        try:
            found: Found = future.result()
        except (lost, *_REPEATED):
            return None
        except Exception as error:
            raise UsageError(f"a worker of the cluster cannot take part: {type(error).__name__}: {error}") from error
        return found


def _task(run: Run, job: Job) -> Task:
    alone = isinstance(job, UnlistedPack) or job.id in run.wrong
    entries = None if alone or not isinstance(job, ListedPack) else job.entries()
    return Task(job.id, run.sizes.get(job.id, 0), run.file_sizes.get(job.id), entries)


def _batches(run: Run, jobs: Iterator[Job]) -> Iterator[list[Job]]:
    batch: list[Job] = []
    size = 0
    for job in jobs:
        length = run.file_sizes.get(job.id, 0)
        if batch and (size + length > BATCH_BYTES or len(batch) >= BATCH_PACKS):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += length
    if batch:
        yield batch
