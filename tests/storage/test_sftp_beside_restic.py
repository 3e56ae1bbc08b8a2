"""restic and our program use one repository through the same SFTP server, also where the connection breaks in the middle."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format import open_repository
from restic_format.storage import LocalStorage
from restic_format.storage.transport import Transport
from tests.servers.base import Place
from tests.servers.kit import make_repository
from tests.servers.sftp import Sshd, sftp_command, sftp_place
from tests.tools.kit import PASSWORD

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "big").write_bytes(os.urandom(6 << 20))
    for number in range(20):
        (folder / "sub" / f"file{number}").write_bytes(os.urandom(1 + 3000 * number))
    return folder


@pytest.fixture
def run(peer: Callable[[str], Path], project_root: Path, tmp_path: Path) -> Run:
    programs = {"restic": [str(peer("restic-0.19"))], "ours": [sys.executable, "-m", "restic_tools"]}
    path = ":".join(str(project_root / part) for part in ("", "spec", "tools"))

    def call(program: str, place: Place, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*programs[program], "--no-cache", *place.words(), *words],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RESTIC_PASSWORD": PASSWORD, "PYTHONPATH": path}
            | dict(place.environment),
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return call


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["diff", "-r", str(one), str(other)], capture_output=True).returncode == 0


@pytest.mark.parametrize("way", ["sftp-server", "sshd"])
def test_each_reads_what_the_other_has_written(way: str, run: Run, source: Path, tmp_path: Path, sshd: Sshd) -> None:
    place = sshd.place("both") if way == "sshd" else sftp_place(tmp_path / "repo")
    make_repository(place)
    run("ours", place, "backup", "--quiet", str(source))
    (source / "more").write_bytes(os.urandom(100_000))
    run("restic", place, "backup", "--quiet", str(source))
    assert "no errors were found" in run("restic", place, "check", "--read-data").stdout
    for program in ("ours", "restic"):
        target = tmp_path / program
        run(program, place, "restore", "--quiet", "latest", "--target", str(target))
        assert same(source, target / str(source)[1:])
    run("ours", place, "forget", "--quiet", "--prune", "--keep-last", "1")
    assert "no errors were found" in run("restic", place, "check", "--read-data").stdout
    assert "no errors were found" in run("ours", place, "check", "--read-data").stdout
    environment = {**os.environ, **place.environment}
    with open_repository(
        place.location, PASSWORD, options=place.options, transport=Transport(environment=environment)
    ) as repository:
        assert len(list(repository.snapshots())) == 1
    assert place.folder is not None and list(LocalStorage(place.folder).strays()) == []
    assert not list((place.folder / "locks").iterdir())


BREAKING = """
import os, subprocess, sys
flag, most, *words = sys.argv[1:]
try:
    os.mkdir(flag)
except FileExistsError:
    os.execv(words[0], words)
server = subprocess.Popen(words, stdin=subprocess.PIPE, bufsize=0)
left = int(most)
while left and (piece := os.read(0, min(left, 65536))):
    server.stdin.write(piece)
    left -= len(piece)
server.kill()
"""
"""A program that passes so many bytes on to a server and then kills it; started once more it is the server itself."""


def test_a_backup_goes_on_when_the_connection_breaks(run: Run, source: Path, tmp_path: Path) -> None:
    # The first connection takes two and a half million bytes; each later one is whole.
    place = sftp_place(tmp_path / "repo")
    make_repository(place)
    (tmp_path / "breaking.py").write_text(BREAKING)
    words = [sys.executable, "-S", str(tmp_path / "breaking.py"), str(tmp_path / "broken"), "2500000"]
    broken = place._replace(options={"sftp.command": f"{shlex.join(words)} {sftp_command()}"})
    done = run("ours", broken, "backup", "--quiet", str(source))
    assert "returned error, retrying after" in done.stderr and "operation successful after 1 retries" in done.stderr
    assert (tmp_path / "broken").exists()
    assert "no errors were found" in run("restic", place, "check", "--read-data").stdout
    run("restic", place, "restore", "--quiet", "latest", "--target", str(tmp_path / "out"))
    assert same(source, tmp_path / "out" / str(source)[1:])
    assert list(LocalStorage(tmp_path / "repo").strays()) == [] and not list((tmp_path / "repo" / "locks").iterdir())
