"""What every test starts from: no settings of the person who runs it, and the real programs at hand."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.browser import Browser
from tests.remembered import remember_keys
from tests.servers.base import Server
from tests.servers.fixtures import *  # noqa: F403 - fixtures for every test

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

# The tests start thousands of processes: none of them may compile every module anew, whatever the caller's shell asks for.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Before anything is imported: a repository or a password of the caller must never be within reach of a test.
for _name in list(os.environ):
    if _name.startswith(("RESTIC_", "RUSTIC_")) and not _name.startswith("RESTIC_FORMAT_"):
        del os.environ[_name]

remember_keys()

_LOGS = pytest.StashKey[dict[Server, int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note where the logs of the servers end before each test."""
    before = {server: server.log_size() for server in Server.alive}
    item.stash[_LOGS] = before
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show with a failed test what the servers have logged since it began."""
    report = yield
    if report.failed:
        for server in Server.alive:
            told = server.told(since=item.stash[_LOGS].get(server, 0))
            if told:
                report.sections.append((f"log of {server.name}", told))
    return report


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The top folder of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def peer() -> Callable[[str], Path]:
    """`peer("restic-0.19")` is the path of that real program; a missing one fails the test."""

    def find(folder: str) -> Path:
        program = ROOT / ".peers" / folder / folder.split("-0")[0]
        if not program.exists():
            pytest.fail(f"{program.relative_to(ROOT)} is missing: run `make peers`")
        return program

    return find


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real browser; a missing one fails the test."""
    with Browser() as started:
        yield started


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user can reach and write to, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="restic-format-"))
    folder.chmod(0o777)
    yield folder
    for above, names, _ in os.walk(folder):
        for name in names:
            if not os.path.islink(os.path.join(above, name)):
                os.chmod(os.path.join(above, name), 0o700)
    shutil.rmtree(folder)
