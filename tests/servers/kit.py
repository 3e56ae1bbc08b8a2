"""Repositories on servers for tests, with keys that are cheap to open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from restic_format.repository import Repository
from restic_format.storage import Storage, open_storage
from restic_format.storage.transport import Transport
from tests.servers.base import Place
from tests.tools.kit import PASSWORD, quick_kdf

__all__ = ["PASSWORD", "make_repository", "open_place", "put_repository", "transport_of"]


def transport_of(place: Place) -> Transport:
    """How a place is reached: its environment, and what its flags say of certificates."""
    flags = dict(zip(place.flags[::2], place.flags[1::2], strict=True))
    return Transport(
        environment={**os.environ, **place.environment},
        ca_certificates=tuple(filter(None, [flags.get("--cacert", "")])),
        client_certificate=flags.get("--tls-client-cert", ""),
    )


def open_place(place: Place) -> Storage:
    """The storage at a place, with all that the command line would put before it."""
    return open_storage(place.location, place.options, transport_of(place))


def make_repository(place: Place, version: int = 2) -> None:
    """An empty repository whose key is cheap to open, made through the server."""
    Repository.init(open_place(place), PASSWORD, version=version, kdf=quick_kdf())


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
