"""The servers themselves: restic's own program works with each, and nothing of them is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.servers.base import Place, Server, peer, running
from tests.servers.kit import PASSWORD, make_repository
from tests.servers.rclone import rclone_place
from tests.servers.rest_server import RestServer
from tests.servers.sftp import Sshd, sftp_place
from tests.tools.kit import new_repository

FIXTURES = ["rest_server", "tls_rest_server", "socket_rest_server", "rclone_s3", "rclone_rest", "sshd"]
"""Those that restic has a storage for."""


def restic(place: Place, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run real restic on *place*."""
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "HOME": str(cwd), **place.environment}
    command = [peer("restic-0.19", "restic"), "--no-cache", *place.words(), *words]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def works(place: Place, work: Path) -> None:
    """Restic backs up into a repository there, and checks it; its files are where the place says."""
    (work / "source").mkdir()
    (work / "source" / "file").write_bytes(os.urandom(100_000))
    for words in (["backup", "source"], ["check", "--read-data"]):
        done = restic(place, *words, cwd=work)
        assert done.returncode == 0, done
    assert place.folder is not None
    storage = LocalStorage(place.folder)
    assert [len(list(storage.list(kind))) for kind in (FileKind.SNAPSHOT, FileKind.KEY, FileKind.LOCK)] == [1, 1, 0]


@pytest.mark.parametrize("fixture", FIXTURES)
def test_restic_works_with_it(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = request.getfixturevalue(fixture).place("works")
    make_repository(place)
    works(place, tmp_path)


@pytest.mark.parametrize("make", [sftp_place, rclone_place])
def test_restic_works_with_it_as_a_child(make: Callable[[Path], Place], tmp_path: Path) -> None:
    new_repository(tmp_path / "repo")
    works(make(tmp_path / "repo"), tmp_path)


def test_it_is_gone_with_its_children_and_comes_back() -> None:
    with running(RestServer) as server:
        port = server.port
        assert server.answers()
        server.stop()
        assert not server.answers()
        server.start()
        assert server.port == port and server.answers()
        folder = server.folder
    assert not server.answers() and not folder.exists()


def test_what_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    class Broken(RestServer):
        def arguments(self) -> list[str]:
            return ["--no-such-option"]

    server = Broken(tmp_path)
    with pytest.raises(AssertionError, match=r"rest-server does not start: .*no-such-option"):
        server.start()


def test_an_unknown_host_key_is_refused(sshd: Server, tmp_path: Path) -> None:
    assert isinstance(sshd, Sshd)
    done = restic(sshd.place(hosts="other_hosts"), "init", cwd=tmp_path)
    # What ssh has said does not always reach restic's own message.
    assert done.returncode == 1 and "unable to start the sftp session" in done.stderr
