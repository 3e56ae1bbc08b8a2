"""A server of tokens for tests, made by hand: what gives tokens for Azure and Google cannot be had here.

It speaks just as much of Microsoft's and Google's protocols as their libraries ask for: an App Service's managed identity, and
the exchange of a service account's signed claim.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class TokenServer:
    """Gives a new token at each request; `given` has them all. What it is told with `refuse` it answers instead."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.seconds = 3600.0
        self.refuse: tuple[int, dict[str, str]] | None = None
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                tokens.asked.append((self.path, dict(self.headers), body))
                status, answer = tokens.refuse or (200, tokens.token("storage.azure.com" in self.path))
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def token(self, azure: bool) -> dict[str, str]:
        """A new token, as the answer to a request for one."""
        ends = time.time() + self.seconds
        text = unsigned(ends, len(self.given)) if azure else f"ya29.token-{len(self.given)}"
        self.given.append(text)
        ending = {"expires_on": str(int(ends))} if azure else {"expires_in": str(int(self.seconds))}
        return {"access_token": text, "token_type": "Bearer", "resource": "https://storage.azure.com/", **ending}

    @contextmanager
    def running(self) -> Iterator[TokenServer]:
        """While it runs."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def unsigned(ends: float, number: int) -> str:
    """A token as Azure's: Azurite looks at what it says, and not at who has signed it."""

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    says: dict[str, object] = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "nbf": int(time.time()) - 60,
        "iat": int(time.time()) - 60,
        "exp": int(ends),
        "jti": str(number),
    }
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(says)}.{base64.urlsafe_b64encode(b'nobody').decode()}"


def service_account(folder: Path, url: str) -> Path:
    """The file of a service account whose tokens are at *url*."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    says = {
        "type": "service_account",
        "project_id": "restic-format-tests",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "backup@restic-format-tests.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }
    path = folder / "account.json"
    path.write_text(json.dumps(says))
    return path
