"""pyftpdlib as an FTP server that wants TLS, and lists only for people (``LIST``), as many servers do."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

from tests.servers.base import Place, Server
from tests.servers.certificates import Certificates

USER, SECRET = "ann\u00e9", "p\u00e4ss w/:rd"
"""The one user."""

_SCRIPT = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

port, folder, certificate, key, user, password = sys.argv[1:]
TLS_FTPHandler.authorizer = DummyAuthorizer()
TLS_FTPHandler.authorizer.add_user(user, password, folder, perm="elradfmwMT")
TLS_FTPHandler.certfile, TLS_FTPHandler.keyfile = certificate, key
TLS_FTPHandler.tls_control_required = TLS_FTPHandler.tls_data_required = True
for name in ("MLSD", "MLST"):
    del TLS_FTPHandler.proto_cmds[name]
FTPServer(("127.0.0.1", int(port)), TLS_FTPHandler).serve_forever()
"""


class TlsFtp(Server):
    """FTP with TLS and a user."""

    name = "ftp-tls"

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        super().__init__(folder)
        self._certificates = certificates

    def command(self) -> list[str]:
        certificate = self._certificates.server
        files = [str(certificate), str(self._certificates.key_of(certificate))]
        return [sys.executable, "-c", _SCRIPT, str(self.port), str(self.data), *files, USER, SECRET]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            return probe.recv(4).startswith(b"220")
        return False

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        options = {"opendal.endpoint": f"ftps://localhost:{self.port}", "opendal.root": f"/a b/\u00e4/{new}"}
        environment = {"OPENDAL_USER": USER, "OPENDAL_PASSWORD": SECRET}
        flags = ("--cacert", str(self._certificates.ca))
        return Place("opendal:ftp", options, environment, flags, self.data / "a b" / "\u00e4" / new)
