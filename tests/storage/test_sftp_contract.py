"""Storage on a real SFTP server, held to the contract: with OpenSSH's extensions, without them, and through a real sshd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format.storage.sftp import open_sftp
from restic_format.storage.sftp.storage import SftpStorage
from restic_format.storage.transport import Transport
from tests.servers.base import Place
from tests.servers.sftp import Sshd, sftp_place
from tests.storage.contract import StorageContract

EXTENSIONS = ("posix-rename", "hardlink", "fsync", "statvfs", "limits")


def opened(place: Place, **transport: object) -> SftpStorage:
    options = {name.removeprefix("sftp."): value for name, value in place.options.items()}
    environment = {"PATH": os.environ["PATH"], **place.environment}
    storage = open_sftp(place.location.removeprefix("sftp:"), options, Transport(environment=environment, **transport))  # type: ignore[arg-type]
    assert isinstance(storage, SftpStorage)
    return storage


class TestSftp(StorageContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return sftp_place(tmp_path / "repo")

    @pytest.fixture
    def storage(self, place: Place) -> Iterator[SftpStorage]:
        storage = opened(place)
        storage.create()
        yield storage
        storage.close()


class TestSftpWithoutExtensions(TestSftp):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return sftp_place(tmp_path / "repo", "-P", ",".join(EXTENSIONS))


class TestSftpThroughSshd(TestSftp):
    @pytest.fixture
    def place(self, sshd: Sshd) -> Place:
        return sshd.place("contract")
