"""Storage on a real SFTP server, held to the contract: with OpenSSH's extensions, without them, and through a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format.storage.sftp.storage import SftpStorage
from tests.servers.base import Place
from tests.servers.sftp import Sshd, sftp_place
from tests.storage.contract import StorageContract
from tests.storage.sftpkit import EXTENSIONS, opened


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
