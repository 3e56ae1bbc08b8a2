"""OpenSSH: its sftp-server as a command over a pipe, and a real sshd on loopback with keys of its own.

Nothing of the system or of the user's settings is touched. Who runs the tests as root gets an sshd that runs as ``daemon``
and needs no user of its own, no ``/run/sshd`` and no shell: it serves SFTP itself. (systemd says that ``nobody`` is locked.)
"""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.servers.base import Place, Server, peer


def sftp_command(*words: str) -> str:
    """The value of ``sftp.command`` that serves over a pipe, without ssh; *words* are its options (``-R``: it only reads)."""
    return shlex.join([peer("sftp-server"), *words])


def sftp_place(folder: Path, *words: str) -> Place:
    """A repository in *folder* that is reached through sftp-server as a command."""
    return Place(f"sftp:nobody@nowhere:{folder}", {"sftp.command": sftp_command(*words)}, folder=folder)


def make_key(path: Path) -> None:
    """A new ssh key in *path*, its public half beside it."""
    key = Ed25519PrivateKey.generate()
    encoding, forms = serialization.Encoding, (serialization.PrivateFormat.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.write_bytes(key.private_bytes(encoding.PEM, forms[0], serialization.NoEncryption()))
    path.chmod(0o600)
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(encoding.OpenSSH, forms[1]) + b"\n")


CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""


class Sshd(Server):
    """A real sshd. Its places use the system's ``ssh``, or the peers' where there is none, with keys of their own."""

    name: ClassVar[str] = "sshd"

    def user(self) -> int | None:
        return pwd.getpwnam("daemon").pw_uid if os.geteuid() == 0 else None

    @property
    def login(self) -> str:
        """The name of the user it lets in."""
        user = self.user()
        return pwd.getpwuid(os.geteuid() if user is None else user).pw_name

    def prepare(self) -> None:
        for name in ("host", "user", "stranger"):
            make_key(self.folder / name)
        user = self.user()
        if user is not None:
            for path in (self.data, self.folder / "host"):
                os.chown(path, user, -1)
        self.log.touch()

    def command(self) -> list[str]:
        (self.folder / "config").write_text(CONFIG.format(port=self.port, folder=self.folder))
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        (self.folder / "other_hosts").write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'stranger.pub').read_text()}")
        return [peer("sshd"), "-D", "-e", "-f", str(self.folder / "config")]

    def ssh_arguments(self, *, key: str = "user", hosts: str = "known_hosts") -> str:
        """The value of ``sftp.args``. Of *hosts* ``other_hosts`` knows another key for this host, ``none`` no key."""
        settings = {
            "IdentityFile": self.folder / key,
            "UserKnownHostsFile": self.folder / hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        return shlex.join(["-F", "/dev/null", *(word for item in settings.items() for word in ("-o", f"{item[0]}={item[1]}"))])

    def place(self, name: str = "", **arguments: str) -> Place:
        folder = self.data / self.new_name(name)
        location = f"sftp://{self.login}@127.0.0.1:{self.port}/{folder}"
        return Place(location, {"sftp.args": self.ssh_arguments(**arguments)}, {"PATH": ssh_path()}, folder=folder)


def ssh_path() -> str:
    """A search path on which there is an ``ssh``: the system's, else the peers'."""
    return f"{os.environ['PATH']}:{Path(peer('ssh')).parent}"
