"""fake-gcs-server: Google Cloud Storage by its JSON and XML interfaces, in memory. It takes any token."""

from __future__ import annotations

import http.client
import json

from tests.servers.base import Place, Server, peer

BUCKET = "restic-format-bucket"


class GcsServer(Server):
    """Buckets in memory, of which one is there from the beginning: restic cannot make one here."""

    name = "fake-gcs-server"

    def command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        where = ("-host", "127.0.0.1", "-port", str(self.port), "-public-host", address)
        return [peer("fake-gcs-server"), "-scheme", "http", *where, "-backend", "memory", "-log-level", "warn"]

    def start(self) -> None:
        super().start()
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(
            "POST", "/storage/v1/b?project=p", json.dumps({"name": BUCKET}), {"Content-Type": "application/json"}
        )
        assert connection.getresponse().status == 200
        connection.close()

    def variables(self) -> dict[str, str]:
        """The environment for whoever uses it."""
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.port}",
            "GOOGLE_ACCESS_TOKEN": "ya29.token",
            "GOOGLE_PROJECT_ID": "restic-format-tests",
        }

    def place(self, name: str = "") -> Place:
        return Place(f"gs:{BUCKET}:/{self.new_name(name)}", environment=self.variables())
