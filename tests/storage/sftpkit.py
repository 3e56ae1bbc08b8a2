"""What the tests of SFTP storage share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from restic_format.storage.sftp import open_sftp
from restic_format.storage.sftp.storage import SftpStorage
from restic_format.storage.transport import Transport
from restic_spec.ids import id_of
from tests.servers.base import Place

EXTENSIONS = ("posix-rename", "hardlink", "fsync", "statvfs", "limits")
"""Those of OpenSSH that are used; ``sftp-server -P`` switches them off."""

BIG = os.urandom(3 << 20)
BIG_NAME = id_of(BIG).hex()


def opened(place: Place, **transport: object) -> SftpStorage:
    """The storage at *place*, with nothing before it."""
    options = {name.removeprefix("sftp."): value for name, value in place.options.items()}
    environment = {"PATH": os.environ["PATH"], **place.environment}
    storage = open_sftp(place.location.removeprefix("sftp:"), options, Transport(environment=environment, **transport))  # type: ignore[arg-type]
    assert isinstance(storage, SftpStorage)
    return storage


def server_of(storage: SftpStorage) -> int:
    """The process that is at the other end."""
    return storage._connection._session._child._process.pid


def wait_for(what: Callable[[], object]) -> None:
    """Return when *what* is true, which may take long on a busy machine."""
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)
