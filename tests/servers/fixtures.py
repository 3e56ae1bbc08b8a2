"""The servers as fixtures: each is started by the first test that asks for it, once for each process that runs tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.servers.azurite import Azurite
from tests.servers.base import Server, running
from tests.servers.certificates import Certificates
from tests.servers.ftp import TlsFtp
from tests.servers.gcs import GcsServer
from tests.servers.our_server import OurAppendOnlyServer, OurServer
from tests.servers.rclone import RcloneFtp, RcloneRest, RcloneS3, RcloneWebdav
from tests.servers.rest_server import AppendOnlyRestServer, RestServer, SmallRestServer, SocketRestServer, TlsRestServer
from tests.servers.sftp import Sshd
from tests.servers.swift import Swift

if TYPE_CHECKING:
    from tests.servers.b2 import B2Server  # imports Backblaze's library
    from tests.servers.places import Places


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates that servers show and clients trust or refuse."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def azurite(certificates: Certificates) -> Iterator[Server]:
    """Azurite: Azure Blob Storage."""
    with running(Azurite, certificates) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[Server]:
    """fake-gcs-server: Google Cloud Storage."""
    with running(GcsServer) as server:
        yield server


@pytest.fixture(scope="session")
def rest_server() -> Iterator[Server]:
    """rest-server, to which anybody may do anything."""
    with running(RestServer) as server:
        yield server


@pytest.fixture(scope="session")
def append_only_rest_server() -> Iterator[Server]:
    """rest-server that lets nothing be removed but locks."""
    with running(AppendOnlyRestServer) as server:
        yield server


@pytest.fixture
def small_rest_server() -> Iterator[Server]:
    """rest-server that is full soon: each test has its own."""
    with running(SmallRestServer) as server:
        yield server


@pytest.fixture(scope="session")
def tls_rest_server(certificates: Certificates) -> Iterator[Server]:
    """rest-server with TLS and a user."""
    with running(TlsRestServer, certificates) as server:
        yield server


@pytest.fixture(scope="session")
def socket_rest_server() -> Iterator[Server]:
    """rest-server on a unix socket."""
    with running(SocketRestServer) as server:
        yield server


@pytest.fixture(scope="session")
def sshd() -> Iterator[Server]:
    """OpenSSH's sshd."""
    with running(Sshd) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator[Server]:
    """rclone as an S3 server."""
    with running(RcloneS3) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_webdav() -> Iterator[Server]:
    """rclone as a WebDAV server."""
    with running(RcloneWebdav) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_ftp() -> Iterator[Server]:
    """rclone as an FTP server."""
    with running(RcloneFtp) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_rest() -> Iterator[Server]:
    """rclone as a server of restic's REST protocol."""
    with running(RcloneRest) as server:
        yield server


@pytest.fixture(scope="session")
def our_server() -> Iterator[Server]:
    """`restic-format serve`, to which anybody may do anything."""
    with running(OurServer) as server:
        yield server


@pytest.fixture(scope="session")
def our_append_only_server() -> Iterator[Server]:
    """`restic-format serve` that lets nothing be removed but locks."""
    with running(OurAppendOnlyServer) as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    """OpenStack Swift, which is an S3 server too."""
    with running(Swift) as server:
        assert isinstance(server, Swift)
        yield server


@pytest.fixture
def b2(certificates: Certificates) -> Iterator[B2Server]:
    """Backblaze B2, simulated; each test has its own, which begins empty."""
    from tests.servers.b2 import running_b2

    with running_b2(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def tls_ftp(certificates: Certificates) -> Iterator[Server]:
    """An FTP server with TLS that lists only for people."""
    with running(TlsFtp, certificates) as server:
        yield server


@pytest.fixture(scope="session")
def places(certificates: Certificates) -> Iterator[Places]:
    """Places of every kind of location (places.py), each with a server that is started when it is asked for."""
    from tests.servers.places import serving

    with serving(certificates) as found:
        yield found
