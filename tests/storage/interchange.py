"""restic and our program on the same repository: through the same location, or restic on the folder behind the server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from restic_format.storage import Storage
from restic_format.storage.extended import own_options
from restic_format.storage.opendal import open_opendal
from restic_format.storage.transport import Transport
from tests.servers.base import ROOT, Place, peer
from tests.servers.kit import PASSWORD, make_repository

ROOTS = os.pathsep.join(str(ROOT / part) for part in (".", "spec", "tools", "conformance"))


def run_ours(place: Place, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run our program on *place* as a process of its own."""
    return _run([sys.executable, "-m", "restic_tools", *place.words()], place, words, cwd)


def run_restic(place: Place, *words: str, cwd: Path, folder: str = "restic-0.19") -> subprocess.CompletedProcess[str]:
    """Run real restic on *place*: the one that is in *folder* of those that are fetched."""
    return _run([peer(folder, "restic"), "--no-cache", *place.words()], place, words, cwd)


def _run(program: list[str], place: Place, words: tuple[str, ...], cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}
    own = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(cwd / "cache"), "HOME": str(cwd), "PYTHONPATH": ROOTS}
    environment = {**kept, **own, **place.environment}
    return subprocess.run(
        [*program, *words], env=environment, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def _nothing() -> None:
    return


def interchange(
    place: Place,
    work: Path,
    *,
    restics: Place | None = None,
    folder: str = "restic-0.19",
    before: Callable[[], object] = _nothing,
    after: Callable[[], object] = _nothing,
) -> None:
    """Both programs back up, check, restore and prune in turn; restic by the place *restics* where it has no such storage.

    *before* and *after* are called around all that restic does; for *folder* see `run_restic`.
    """
    restics = restics or place
    make_repository(place)
    source = work / "source"
    source.mkdir()
    (source / "first").write_bytes(os.urandom(900_000))

    def ours(*words: str) -> str:
        done = run_ours(place, *words, cwd=work)
        assert done.returncode == 0, done
        return done.stdout

    def restic(*words: str) -> str:
        before()
        done = run_restic(restics, *words, cwd=work, folder=folder)
        assert done.returncode == 0, done
        after()
        return done.stdout

    ours("backup", "source")
    restic("check", "--read-data")
    (source / "second").write_bytes(os.urandom(900_000))
    restic("backup", "source")
    assert "no errors were found" in ours("check", "--read-data")
    ours("restore", "latest:source", "--target", "out")
    assert [(work / "out" / name).read_bytes() for name in ("first", "second")] == [
        (source / name).read_bytes() for name in ("first", "second")
    ]
    (source / "first").unlink()
    ours("backup", "source")
    ours("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    assert restic("ls", "latest", "-q").split() == ["/source", "/source/second"]


def opened_opendal(place: Place, transport: Transport | None = None, **more: str) -> Storage:
    """The storage at a place that ``opendal:`` names, without retries; *more* are options."""
    options = {**own_options("opendal", place.options), **more}
    return open_opendal(place.location.removeprefix("opendal:"), options, transport or Transport(environment=place.environment))
