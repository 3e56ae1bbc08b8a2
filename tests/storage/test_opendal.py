"""Repositories in services of OpenDAL: those that can be had here, and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from restic_format.storage import Storage
from tests.servers.base import Place
from tests.storage.contract import StorageContract
from tests.storage.interchange import interchange, opened_opendal


def folder(path: Path) -> Place:
    return Place("opendal:fs", {"opendal.root": str(path)}, folder=path)


class TestFolder(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        storage = opened_opendal(folder(tmp_path / "repo"))
        storage.create()
        return storage


def test_restic_and_we_work_with_the_same_folder(tmp_path: Path) -> None:
    place = folder(tmp_path / "repo")
    interchange(place, tmp_path, restics=Place(str(place.folder)))
