"""rclone: it serves a folder by S3, WebDAV, FTP, SFTP and restic's REST protocol, and is a storage of restic's own."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import ClassVar

from tests.servers.base import Place, Server, free_port, peer

USER, SECRET = "AKIDEXAMPLE", "SECRETEXAMPLE1"
"""The one user of every server here."""


FRESH = ["--dir-cache-time", "50ms"]
"""What lies in folders is looked up often: restic writes to them behind the server's back. 0 would keep rclone busy."""


class RcloneServer(Server):
    """``rclone serve`` of one protocol."""

    protocol: ClassVar[str]

    def command(self) -> list[str]:
        return [
            *(peer("rclone"), "serve", self.protocol, "--config", str(self.folder / "rclone.conf")),
            *("--addr", f"127.0.0.1:{self.port}", "--cache-dir", str(self.folder / "cache")),
            *(*self.arguments(), str(self.data)),
        ]

    def arguments(self) -> list[str]:
        """What it is told beside the address."""
        return ["--user", USER, "--pass", SECRET]

    def prepare(self) -> None:
        (self.folder / "rclone.conf").touch()


class RcloneS3(RcloneServer):
    """S3, path style, buckets are folders; it answers 200 to ranges, and knows no names of buckets with two letters."""

    name = "rclone-s3"
    protocol = "s3"
    bucket: ClassVar[str] = "bucket"

    def arguments(self) -> list[str]:
        return ["--auth-key", f"{USER},{SECRET}", "--no-cleanup", *FRESH]

    def prepare(self) -> None:
        super().prepare()
        (self.data / self.bucket).mkdir()

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        environment = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        location = f"s3:http://127.0.0.1:{self.port}/{self.bucket}/{new}"
        return Place(location, environment=environment, folder=self.data / self.bucket / new)


class RcloneWebdav(RcloneServer):
    """WebDAV with a user. Its places have the location of OpenDAL's notation and options."""

    name = "rclone-webdav"
    protocol = "webdav"

    def arguments(self) -> list[str]:
        return [*super().arguments(), *FRESH]

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        options = {
            "opendal.endpoint": f"http://127.0.0.1:{self.port}",
            "opendal.username": USER,
            "opendal.password": SECRET,
            "opendal.root": f"/{new}",
        }
        return Place("opendal:webdav", options, folder=self.data / new)


class RcloneFtp(RcloneServer):
    """FTP with a user."""

    name = "rclone-ftp"
    protocol = "ftp"

    def arguments(self) -> list[str]:
        passive = free_port()
        return [*super().arguments(), *FRESH, "--passive-port", f"{passive}-{passive + 100}"]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            return probe.recv(4).startswith(b"220")
        return False

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        options = {
            "opendal.endpoint": f"ftp://127.0.0.1:{self.port}",
            "opendal.user": USER,
            "opendal.password": SECRET,
            "opendal.root": f"/{new}",
        }
        return Place("opendal:ftp", options, folder=self.data / new)


class RcloneRest(RcloneServer):
    """restic's REST protocol as rclone speaks it: the Server header begins with ``rclone/``, the listing of nothing is 404."""

    name = "rclone-restic"
    protocol = "restic"

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        environment = {"RESTIC_REST_USERNAME": USER, "RESTIC_REST_PASSWORD": SECRET}
        return Place(f"rest:http://127.0.0.1:{self.port}/{new}/", environment=environment, folder=self.data / new)


def rclone_place(folder: Path) -> Place:
    """A repository in *folder* that is reached through rclone as a child process: restic's storage ``rclone:``."""
    return Place(
        f"rclone:{folder}",
        {"rclone.program": peer("rclone")},
        {"RCLONE_CONFIG": "/dev/null"},
        folder=folder,
    )
