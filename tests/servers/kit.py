"""Repositories on servers for tests, made quickly: by way of their folders, with keys that are cheap to open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.servers.base import Place
from tests.tools.kit import PASSWORD, new_repository

__all__ = ["PASSWORD", "make_repository", "put_repository"]


def make_repository(place: Place, version: int = 2) -> None:
    """An empty repository in a place whose files lie in a folder."""
    assert place.folder is not None, "this server keeps no plain files"
    new_repository(place.folder, version)
    _give(place.folder)


def put_repository(place: Place, repository: Path) -> None:
    """A copy of a repository in a place whose files lie in a folder."""
    assert place.folder is not None, "this server keeps no plain files"
    shutil.copytree(repository, place.folder)
    _give(place.folder)


def _give(folder: Path) -> None:
    """Let everything belong to the user that the server runs as."""
    owner = folder.parent.stat()
    if os.geteuid() == 0 and owner.st_uid:
        for above, _, names in os.walk(folder):
            for name in ("", *names):
                os.chown(os.path.join(above, name), owner.st_uid, owner.st_gid)
