"""Packs read by the workers of a real Dask cluster: the same result as of one process, and no secret where others see it."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import distributed
import pytest
from distributed.scheduler import KilledWorker

from restic_format.errors import UsageError
from restic_format.rescue.diagnosis import Diagnosis, diagnose, open_for_rescue, spread
from restic_format.rescue.diagnosis.spread import Access, Cluster, connect, read_batch
from restic_format.storage import LocalStorage
from restic_format.storage.locations import Place
from tests.rescue.conftest import Fresh
from tests.rescue.test_diagnosis_remembered import opened, told
from tests.safety import kit
from tests.tools.kit import Runner


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The cluster of this machine that ``--dask`` without an address makes."""
    with connect() as made:
        yield made


@pytest.fixture
def hurt(fresh: Fresh) -> Path:
    """A repository with a damaged pack, one that no index lists, and a missing one."""
    repo = fresh()
    kit.flip_bit(kit.files_of(repo, "data")[-1], 5000)
    kit.files_of(repo, "index")[0].unlink()
    kit.files_of(repo, "data")[0].unlink()
    return repo


def test_it_is_the_result_of_a_single_process(cluster: Cluster, hurt: Path, tmp_path: Path) -> None:
    plain = diagnose(opened(hurt)[0])
    mine, storage = opened(hurt)
    assert (
        told(diagnose(mine, reading=cluster.reading(mine, Place(mine.storage.location)))) == told(plain) and not plain.healthy
    )
    assert storage.read < plain.bytes_read / 4, "the workers have read the packs"
    kept = str(tmp_path / "kept")
    mine, _ = opened(hurt)
    assert told(diagnose(mine, resume=kept, reading=cluster.reading(mine, Place(mine.storage.location)))) == told(plain)
    again, storage = opened(hurt)
    assert told(diagnose(again, resume=kept)) == told(plain) and storage.read < plain.bytes_read / 4


def test_no_process_of_it_shows_a_secret(cluster: Cluster, hurt: Path) -> None:
    mine, _ = opened(hurt)
    repo = mine.repository
    assert repo is not None and cluster.is_encrypted and cluster.address.startswith("tls://")
    access = Access(Place(str(hurt)), repo.config, repo.master_key)
    assert repr(access) == str(access) == "Access()"
    diagnose(mine, reading=cluster.reading(mine, Place(mine.storage.location)))
    secrets = (kit.PASSWORD.encode(), repo.master_key.encrypt, repo.master_key.encrypt.hex().encode())
    workers: dict[str, int] = cluster._client.run(os.getpid)
    assert workers
    for process in workers.values():
        seen = b"".join(Path(f"/proc/{process}/{what}").read_bytes() for what in ("cmdline", "environ"))
        assert not [secret for secret in secrets if secret in seen]


class _Client:
    """A cluster that answers with the same future each time."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self._answer = answer
        self.taken = 0

    def nthreads(self) -> dict[str, int]:
        return {"worker": 1}

    def submit(self, *given: object, **options: object) -> Any:
        self.taken += 1
        return self

    def done(self) -> bool:
        return True

    def cancel(self) -> None: ...

    def result(self) -> object:
        return self._answer()


def _killed() -> NoReturn:
    raise KilledWorker("read_batch", distributed.scheduler.WorkerState.__new__(distributed.scheduler.WorkerState), 3)


def _through(client: _Client, repo: Path) -> Diagnosis:
    mine, _ = opened(repo)
    return diagnose(mine, reading=Cluster(client, "tls://nowhere").reading(mine, Place(mine.storage.location)))


def test_what_a_lost_worker_had_is_read_here(hurt: Path) -> None:
    def lost() -> NoReturn:
        raise asyncio.CancelledError

    for answer in (_killed, lost):
        client = _Client(answer)
        assert told(_through(client, hurt)) == told(diagnose(opened(hurt)[0])) and client.taken


def test_workers_that_cannot_take_part_are_named(hurt: Path) -> None:
    def missing() -> NoReturn:
        raise ModuleNotFoundError("No module named 'restic_format'")

    with pytest.raises(UsageError, match="cannot take part: ModuleNotFoundError"):
        _through(_Client(missing), hurt)
    repo = open_for_rescue(LocalStorage(str(hurt)), kit.PASSWORD.encode()).repository
    assert repo is not None
    older = Access(Place(str(hurt)), repo.config, repo.master_key)
    older.version = "0.0"
    told_back = read_batch(pickle.loads(pickle.dumps(older)), [])
    assert isinstance(told_back, str) and "0.0 is needed" in told_back
    with pytest.raises(UsageError, match=r"0\.0 is needed"):
        _through(_Client(lambda: told_back), hurt)


def test_the_command_says_what_is_wrong_with_a_cluster(hurt: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(hurt))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    monkeypatch.setattr(spread, "WAIT", 1.0)
    for line, words in (
        (("--dask=tcp://127.0.0.1:1",), "cannot work with a Dask cluster at tcp://127.0.0.1:1"),
        (("--dask", "--sealed"), "leave out --dask"),
        (("--dask", "--shard", "1/2", "--resume", "file"), "mutually exclusive"),
    ):
        done = run("diagnose", *line)
        assert done.code == 1 and words.encode() in done.err, done
    monkeypatch.setattr(spread, "ready", lambda: False)
    done = run("diagnose", "--dask")
    assert done.code == 1 and b"pip install 'restic-format[dask]'" in done.err


def test_a_cluster_without_encryption_is_warned_of(hurt: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(hurt))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    plain = run("diagnose", "--json")
    with distributed.LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", dashboard_address=None, silence_logs=50
    ) as open_to_all:
        done = run("diagnose", "--json", "--dask", open_to_all.scheduler_address)
    assert done.out == plain.out and done.code == 1
    assert b"not encrypted" in done.err and kit.PASSWORD.encode() not in done.err
