"""Every kind of location with a server behind it, by name: for tests that hold all to the same, and for conformance."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.servers.azurite import Azurite
from tests.servers.base import Place, running
from tests.servers.certificates import Certificates
from tests.servers.ftp import TlsFtp
from tests.servers.gcs import GcsServer
from tests.servers.our_server import OurServer
from tests.servers.rclone import RcloneFtp, RcloneRest, RcloneS3, RcloneWebdav, rclone_place
from tests.servers.rest_server import RestServer, SocketRestServer, TlsRestServer
from tests.servers.sftp import Sshd, sftp_place
from tests.servers.swift import Swift


class GivesPlaces(Protocol):
    """What has places for repositories."""

    def place(self, name: str = "") -> Place:
        """A new one."""


class Folders:
    """Places that are folders, reached by a program that is started with each."""

    def __init__(self, folder: Path, make: Callable[[Path], Place]) -> None:
        self._folder, self._make = folder, make
        self._made = 0

    def place(self, name: str = "") -> Place:
        """See `GivesPlaces`."""
        self._made += 1
        return self._make(self._folder / f"{name or 'repo'}-{self._made}")


@contextmanager
def folders(make: Callable[[Path], Place]) -> Iterator[Folders]:
    """`Folders` in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="restic-format-places-") as folder:
        yield Folders(Path(folder), make)


class Kind(NamedTuple):
    """A kind of location."""

    serving: Callable[[Certificates], AbstractContextManager[GivesPlaces]]
    without: tuple[str, ...] = ()
    """Programs that have no storage for it."""


@contextmanager
def _b2(certificates: Certificates) -> Iterator[GivesPlaces]:
    from tests.servers.b2 import running_b2

    with running_b2(certificates) as server:
        yield server


KINDS: Mapping[str, Kind] = {
    "rest": Kind(lambda _: running(RestServer)),
    "rest-tls": Kind(lambda certificates: running(TlsRestServer, certificates)),
    "rest-socket": Kind(lambda _: running(SocketRestServer), without=("restic-0.14",)),
    "rest-ours": Kind(lambda _: running(OurServer)),
    "rest-rclone": Kind(lambda _: running(RcloneRest)),
    "sftp": Kind(lambda _: folders(sftp_place)),
    "sshd": Kind(lambda _: running(Sshd)),
    "s3": Kind(lambda _: running(RcloneS3)),
    "rclone": Kind(lambda _: folders(rclone_place)),
    # restic has no such storages, and works in the folder.
    "webdav": Kind(lambda _: running(RcloneWebdav), without=("restic-",)),
    "ftp": Kind(lambda _: running(RcloneFtp), without=("restic-",)),
    "ftp-tls": Kind(lambda certificates: running(TlsFtp, certificates), without=("restic-",)),
    "gs": Kind(lambda _: running(GcsServer)),
    # Debian builds restic without it.
    "azure": Kind(lambda certificates: running(Azurite, certificates), without=("restic-",)),
    "swift": Kind(lambda _: running(Swift)),
    "b2": Kind(_b2, without=("restic-0.14",)),
}


class Places:
    """Places of every kind; a kind's server is started for the first one."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._serving: dict[str, GivesPlaces] = {}
        self._stack = ExitStack()

    def server(self, kind: str) -> GivesPlaces:
        """What serves *kind*."""
        if kind not in self._serving:
            self._serving[kind] = self._stack.enter_context(KINDS[kind].serving(self._certificates))
        return self._serving[kind]

    def close(self) -> None:
        """Stop all servers."""
        self._stack.close()


@contextmanager
def serving(certificates: Certificates) -> Iterator[Places]:
    """Places of every kind, as long as the block lasts."""
    places = Places(certificates)
    try:
        yield places
    finally:
        places.close()
