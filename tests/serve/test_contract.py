"""The contract of storages by way of our server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from restic_format.errors import NoSpace, StorageError
from restic_format.storage import Storage
from restic_format.storage.rest import open_rest
from restic_format.storage.transport import Transport
from restic_spec.layout import KINDS, FileKind
from tests.serve.inside import Inside
from tests.serve.kit import sha
from tests.servers.base import Server, running
from tests.servers.our_server import OurServer
from tests.storage.contract import NAME, StorageContract


def opened(server: Server, name: str) -> Storage:
    """A new place on *server*, opened and created. Nothing is tried again."""
    made = open_rest(server.place(name).location.removeprefix("rest:"), {}, Transport())
    made.create()
    return made


@pytest.fixture(scope="module")
def unverified() -> Iterator[Server]:
    """The contract stores what is not of its name."""
    with running(OurServer, ("--no-auth", "--no-verify-upload")) as server:
        yield server


class TestOurServer(StorageContract):
    keeps_side_files = False
    tells_missing_on_remove = False

    @pytest.fixture
    def storage(self, unverified: Server) -> Storage:
        return opened(unverified, "contract")

    def test_a_file_larger_than_its_kind_may_be_is_not_loaded_whole(self, storage: Storage) -> None:
        """It is not even stored."""
        for kind in (FileKind.CONFIG, FileKind.KEY, FileKind.LOCK):
            name = "" if kind is FileKind.CONFIG else NAME
            with pytest.raises(StorageError, match="413"):
                storage.save(kind, name, bytes(KINDS[kind].max_size + 1))
            assert not storage.exists(kind, name)


def test_many_at_once(our_server: Server) -> None:
    """Eight threads store, load, list and remove, and each finds what it stored."""
    storage = opened(our_server, "many")

    def work(number: int) -> None:
        rng = os.urandom
        for turn in range(4):
            data = rng(1000 * (number + 1) * (turn + 1))
            name = sha(data)
            storage.save(FileKind.PACK, name, data)
            assert storage.load(FileKind.PACK, name) == data
            assert (name, len(data)) in list(storage.list(FileKind.PACK))
            if turn % 2:
                storage.remove(FileKind.PACK, name)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(list(storage.list(FileKind.PACK))) == 8 * 2


def test_a_full_server_is_told_as_one(tmp_path: Path) -> None:
    with Inside(tmp_path, max_size=1000) as server:
        storage = opened(server, "full")
        data = os.urandom(5000)
        with pytest.raises(NoSpace):
            storage.save(FileKind.PACK, sha(data), data)
        assert list(storage.list(FileKind.PACK)) == []
