"""A connection to an SFTP server that breaks: after so many bytes in one direction, which a seed chooses anew for each session.

It is made by hand, since no real server breaks on demand. Nothing is changed on the way: ssh's checksums would see to that.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.servers.base import Place
from tests.servers.sftp import sftp_command

LINE = """
import os, random, subprocess, sys, threading
state, seed, *words = sys.argv[1:]
number = 0
while True:
    try:
        os.mkdir(f"{state}/session-{number}")
        break
    except FileExistsError:
        number += 1
rng = random.Random(f"{seed}/{number}")
limit = int(2 ** rng.uniform(9, 17 if number else 13))
way = rng.choice(["up", "down"] if number % 3 == 0 else ["up", "down", "none"])
if way == "none" or os.path.exists(f"{state}/good"):
    os.execv(words[0], words)
server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

def relay(source, target, most, name):
    while piece := os.read(source, 1 << 16):
        passed = piece[:most]
        while passed:
            passed = passed[os.write(target, passed):]
        most -= len(piece)
        if most <= 0:
            os.mkdir(f"{state}/session-{number}/{name}-{limit}")
            server.kill()
            os._exit(255)

ENDLESS = 1 << 60
up = threading.Thread(target=relay, args=(0, server.stdin.fileno(), limit if way == "up" else ENDLESS, "up"), daemon=True)
up.start()
down = threading.Thread(
    target=relay, args=(server.stdout.fileno(), 1, limit if way == "down" else ENDLESS, "down"), daemon=True
)
down.start()
up.join()
server.stdin.close()
down.join()
"""
"""The program between: it passes bytes on until the session's limit, and kills the server then."""


class Broken(NamedTuple):
    """A session, and how it broke."""

    session: str
    fault: str | None


class FaultySftp:
    """A way to sftp-server that breaks by *seed*; *folder* is its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        folder.mkdir()
        (folder / "line.py").write_text(LINE)

    def place(self, place: Place) -> Place:
        """*place*, reached on this way."""
        words = [sys.executable, "-S", "-E", str(self._folder / "line.py"), str(self._folder), str(self._seed)]
        return place._replace(options={"sftp.command": f"{shlex.join(words)} {sftp_command()}"})

    def be_good(self) -> None:
        """Break no more."""
        (self._folder / "good").touch()

    @property
    def happened(self) -> Sequence[Broken]:
        """The sessions so far."""
        found = sorted(self._folder.glob("session-*"), key=lambda path: int(path.name.partition("-")[2]))
        return [Broken(path.name, next((way.name for way in path.iterdir()), None)) for path in found]

    def story(self) -> str:
        """What happened, line by line."""
        return "\n".join(f"{session} {fault}" for session, fault in self.happened)
