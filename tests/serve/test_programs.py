"""restic 0.14, 0.18 and 0.19 and our own program back up, restore, forget, prune and check through our server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.serve.kit import sha
from tests.servers.base import Place, Server, peer, running
from tests.servers.certificates import Certificates
from tests.servers.kit import make_repository
from tests.servers.our_server import OurServer, OurSocketServer, OurTlsServer, environment
from tests.tools.kit import PASSWORD, Outcome, make_source

Run = Callable[..., Outcome]

PROGRAMS = ("restic-0.14", "restic-0.18", "restic-0.19", "ours")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is backed up: small files, and one of several MiB."""
    folder = tmp_path_factory.mktemp("source")
    make_source(folder)
    (folder / "large").write_bytes(os.urandom(3 << 20))
    return folder


@pytest.fixture
def call(tmp_path: Path) -> Run:
    """Run a program on the repository in a place."""

    def run(program: str, place: Place, *words: str, env: Mapping[str, str] | None = None) -> Outcome:
        command = [sys.executable, "-m", "restic_tools"] if program == "ours" else [peer(program, "restic")]
        settings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TZ": "UTC", "RESTIC_PASSWORD": PASSWORD}
        settings |= {"RESTIC_CACHE_DIR": str(tmp_path / f"cache-{program}"), **place.environment, **(env or {})}
        done = subprocess.run(
            [*command, *place.words(), *words],
            env=environment(settings) if program == "ours" else settings,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


def good(done: Outcome) -> str:
    assert done.code == 0, done
    return done.out.decode()


def restored(call: Run, program: str, place: Place, source: Path, target: Path) -> None:
    good(call(program, place, "restore", "latest", "--target", str(target)))
    assert (target / source.relative_to("/") / "large").read_bytes() == (source / "large").read_bytes()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_life(program: str, our_server: Server, call: Run, source: Path, tmp_path: Path) -> None:
    place = our_server.place(program)
    make_repository(place)
    good(call(program, place, "backup", str(source)))
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "more").write_bytes(os.urandom(300_000))
    good(call(program, place, "backup", str(extra)))
    good(call(program, place, "backup", str(source)))
    restored(call, program, place, source, tmp_path / "restored")
    good(call(program, place, "forget", "--keep-last", "1", "--group-by", "", "--prune"))
    # Another program, and one that looks at the folder itself.
    good(call("ours" if program != "ours" else "restic-0.19", place, "check", "--read-data"))
    assert place.folder is not None
    good(call("restic-0.19", Place(str(place.folder)), "check", "--read-data"))
    assert not list((place.folder / "locks").iterdir())
    for path in (place.folder / "data").glob("*/*"):
        assert sha(path.read_bytes()) == path.name


def test_init(our_server: Server, call: Run) -> None:
    place = our_server.place("new")
    good(call("restic-0.19", place, "init"))
    assert place.folder is not None and (place.folder / "config").stat().st_mode & 0o777 == 0o400
    again = call("restic-0.19", place, "init")
    assert again.code == 1 and b"config file already exists" in again.err


def test_nothing_is_removed_from_a_server_that_only_adds(
    our_append_only_server: Server, call: Run, source: Path, tmp_path: Path
) -> None:
    place = our_append_only_server.place("adding")
    make_repository(place)
    for program in ("restic-0.19", "ours"):
        good(call(program, place, "backup", str(source)))
        good(call(program, place, "check"))
        before = {path.name for path in (place.folder or tmp_path).rglob("*") if path.is_file()}
        done = call(program, place, "forget", "latest")
        assert done.code != 0 and b"403" in done.err, done
        assert {path.name for path in (place.folder or tmp_path).rglob("*") if path.is_file()} == before
    restored(call, "ours", place, source, tmp_path / "restored")


def test_tls_and_users(certificates: Certificates, call: Run, source: Path, tmp_path: Path) -> None:
    with running(OurTlsServer, certificates) as server:
        place = server.place("secret")
        make_repository(place)
        for program in ("restic-0.18", "restic-0.19", "ours"):
            good(call(program, place, "backup", str(source)))
        restored(call, "restic-0.19", place, source, tmp_path / "restored")
        wrong = call("ours", place, "snapshots", env={"RESTIC_REST_PASSWORD": "wrong"})
        assert wrong.code != 0 and b"401" in wrong.err and b"wrong" not in wrong.err, wrong
        stranger = call("ours", place._replace(flags=("--cacert", str(certificates.other_ca))), "snapshots")
        assert stranger.code != 0 and b"certificate" in stranger.err


def test_a_unix_socket(call: Run, source: Path, tmp_path: Path) -> None:
    with running(OurSocketServer) as server:
        place = server.place("socket")
        make_repository(place)
        for program in ("restic-0.19", "ours"):
            good(call(program, place, "backup", str(source)))
        restored(call, "ours", place, source, tmp_path / "restored")


def test_a_full_server_says_so(call: Run, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(3 << 20))
    with running(OurServer, ("--no-auth", "--max-size", "1000000")) as server:
        place = server.place("full")
        make_repository(place)
        good(call("ours", place, "backup", str(Path(__file__))))
        for program in ("restic-0.19", "ours"):
            done = call(program, place, "backup", str(tmp_path / "large"))
            assert done.code != 0 and b"507" in done.err, done
        good(call("ours", place, "check", "--read-data"))
        assert not list((place.folder or tmp_path).rglob("*-tmp-*"))
