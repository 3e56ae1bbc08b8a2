"""Repositories on FTP servers, with rclone's."""

from __future__ import annotations

from pathlib import Path

import pytest

from restic_format.storage import Storage
from tests.servers.base import Place, Server
from tests.storage.contract import StorageContract
from tests.storage.interchange import interchange, opened_opendal


class TestFtp(StorageContract):
    @pytest.fixture
    def storage(self, rclone_ftp: Server) -> Storage:
        storage = opened_opendal(rclone_ftp.place("contract"))
        storage.create()
        return storage


def test_restic_and_we_work_with_the_same_folder(rclone_ftp: Server, tmp_path: Path) -> None:
    place = rclone_ftp.place("both")
    interchange(place, tmp_path, restics=Place(str(place.folder)))
