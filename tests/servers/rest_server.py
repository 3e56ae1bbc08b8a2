"""restic's own rest-server: plain, append-only, with TLS and users, on a unix socket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
from pathlib import Path
from typing import ClassVar

from tests.servers.base import Place, Server, peer
from tests.servers.certificates import Certificates

USER, SECRET = "bob", "p@ss/w:rd"
"""The user of the server with TLS."""


class RestServer(Server):
    """Anybody may do anything."""

    name: ClassVar[str] = "rest-server"

    def command(self) -> list[str]:
        return [peer("rest-server"), "--path", str(self.data), "--listen", self.listen(), *self.arguments()]

    def listen(self) -> str:
        """The address it listens on."""
        return f"127.0.0.1:{self.port}"

    def arguments(self) -> list[str]:
        """What it is told beside that."""
        return ["--no-auth"]

    @property
    def url(self) -> str:
        """Its address for clients, without user and password."""
        return f"http://127.0.0.1:{self.port}/"

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        return Place(f"rest:{self.url}{new}/", folder=self.data / new)


class AppendOnlyRestServer(RestServer):
    """Nothing but locks can be removed."""

    name = "rest-server-append-only"

    def arguments(self) -> list[str]:
        return ["--no-auth", "--append-only"]


class SmallRestServer(RestServer):
    """Full after 300,000 bytes: then it answers 507."""

    name = "rest-server-small"
    size: ClassVar[int] = 300_000

    def arguments(self) -> list[str]:
        return ["--no-auth", "--max-size", str(self.size)]


class TlsRestServer(RestServer):
    """With TLS, and a user and password that every request needs. *certificate* is the one it shows."""

    name = "rest-server-tls"

    def __init__(self, folder: Path, certificates: Certificates, certificate: Path | None = None) -> None:
        super().__init__(folder)
        self.certificates = certificates
        self.certificate = certificate or certificates.server

    def prepare(self) -> None:
        digest = base64.b64encode(hashlib.sha1(SECRET.encode()).digest()).decode()
        (self.folder / "htpasswd").write_text(f"{USER}:{{SHA}}{digest}\n")

    def arguments(self) -> list[str]:
        key = self.certificates.key_of(self.certificate)
        tls = ["--tls", "--tls-cert", str(self.certificate), "--tls-key", str(key)]
        return [*tls, "--htpasswd-file", str(self.folder / "htpasswd")]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"

    def place(self, name: str = "") -> Place:
        environment = {"RESTIC_REST_USERNAME": USER, "RESTIC_REST_PASSWORD": SECRET}
        flags = ("--cacert", str(self.certificates.ca))
        return super().place(name)._replace(environment=environment, flags=flags)


class SocketRestServer(RestServer):
    """On a unix socket."""

    name = "rest-server-socket"

    @property
    def socket(self) -> Path:
        """The socket."""
        return self.folder / "socket"

    def listen(self) -> str:
        return f"unix:{self.socket}"

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))
            return True
        return False

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        return Place(f"rest:http+unix://{self.socket}:/{new}/", folder=self.data / new)
