"""OpenStack Swift, which keeps objects in containers; by its filter `s3api` it is an S3 server too."""

from __future__ import annotations

import contextlib
import urllib.request
from pathlib import Path
from typing import ClassVar

from tests.servers.base import Place, Server, peer

USER, SECRET = "test:tester", "testing"
"""Who may do everything: for Swift a user of the account ``test`` with a key, for S3 the id of a key and its secret."""

READER = "test:reader", "reading"
"""Who may do nothing that nobody has allowed."""


class Swift(Server):
    """One copy of everything, in one process. It answers nothing else after its start than later."""

    name: ClassVar[str] = "swift"

    def command(self) -> list[str]:
        script = Path(__file__).with_name("openstack") / "swiftprocess.py"
        return [peer("swift", "python"), str(script), str(self.data), str(self.port)]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthcheck", timeout=5) as reply:
            return bool(reply.status == 200)
        return False

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def place(self, name: str = "", *, container: str = "box", user: tuple[str, str] = (USER, SECRET)) -> Place:
        environment = {"ST_AUTH": f"{self.url}/auth/v1.0", "ST_USER": user[0], "ST_KEY": user[1]}
        return Place(f"swift:{container}:/{self.new_name(name)}", environment=environment)

    def s3_place(self, name: str = "") -> Place:
        """A place that is reached by S3."""
        environment = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        return Place(f"s3:{self.url}/bucket/{self.new_name(name)}", environment=environment)

    def forget(self) -> None:
        """Let all tokens that were given out expire."""
        urllib.request.urlopen(f"{self.url}/forget", timeout=30).close()
