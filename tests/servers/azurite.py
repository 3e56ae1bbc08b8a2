"""Azurite, Microsoft's own server of Azure Blob Storage for tests: it verifies signatures, in memory.

Programs make the name of the server out of the account's name, and know no other form. They reach it through a proxy that is
part of the tests: whatever host a program asks it for, it gets Azurite.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from tests.servers.base import Place, Server, peer
from tests.servers.certificates import Certificates

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The one account and its key, which Microsoft has published for this purpose."""

CONTAINER = "restic-format"

_PIECE = 64 << 10


class Azurite(Server):
    """Blobs behind TLS, for the account's key, signatures and unsigned tokens. A new container for each server."""

    name = "azurite"

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        super().__init__(folder)
        self.certificates = certificates
        self.certificate = certificates.make("azurite", [f"{ACCOUNT}.blob.localhost", "127.0.0.1"])
        self.proxy = ""
        self._listener: socket.socket | None = None

    def command(self) -> list[str]:
        return [
            *(peer("azurite", "azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--silent"),
            *("--inMemoryPersistence", "--disableTelemetry", "--oauth", "basic"),
            "--skipApiVersionCheck",  # rclone's is newer
            *("--cert", str(self.certificate), "--key", str(self.certificates.key_of(self.certificate))),
        ]

    def start(self) -> None:
        super().start()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.proxy = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        super().stop()

    @property
    def endpoint(self) -> str:
        """The address for programs that take one."""
        return f"https://127.0.0.1:{self.port}/{ACCOUNT}"

    def variables(self) -> dict[str, str]:
        """The environment for whoever uses it, but for the account's key."""
        return {
            "AZURE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_ENDPOINT_SUFFIX": f"localhost:{self.port}",
            "HTTPS_PROXY": self.proxy,
        }

    def rclones(self) -> dict[str, str]:
        """The whole environment for rclone, whose remote ``:azureblob:`` is this server then."""
        return {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CA_CERT": str(self.certificates.ca),
            "RCLONE_AZUREBLOB_ACCOUNT": ACCOUNT,
            "RCLONE_AZUREBLOB_KEY": KEY,
            "RCLONE_AZUREBLOB_ENDPOINT": self.endpoint,
        }

    def place(self, name: str = "") -> Place:
        return Place(
            f"azure:{CONTAINER}:/{self.new_name(name)}",
            {"azure.access-tier": "Hot"},  # without a tier restic sends an empty one, which Azurite refuses
            {**self.variables(), "AZURE_ACCOUNT_KEY": KEY},
            ("--cacert", str(self.certificates.ca)),
        )

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        """Connect *client* with the server, whatever host it asks for."""
        with contextlib.suppress(OSError), client:
            asked = b""
            while b"\r\n\r\n" not in asked and (piece := client.recv(_PIECE)):
                asked += piece
            assert asked.startswith(b"CONNECT "), asked
            with socket.create_connection(("127.0.0.1", self.port)) as server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                there = threading.Thread(target=_pass_on, args=(client, server), daemon=True)
                there.start()
                _pass_on(server, client)
                there.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Everything from one socket to the other, until either ends."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
