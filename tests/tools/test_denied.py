"""A repository of which this user may not read a part: said as it is, and nothing is advised that could cost good data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.tools.kit import PASSWORD, Filled, Outcome

LESS_PRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
"""Even root minds permissions then."""

DENIED = ["config", "keys", "keys/*", "index", "index/*", "data", "data/*", "data/*/*", "snapshots", "snapshots/*"]
HARMFUL = (
    "repair",
    "prune",
    "forget",
    "recover",
    "in its place",
    "damaged",
    "are lost",
    "does not exist",
    "cannot be restored",
)
HARMLESS = "until then run no repair, forget or prune", "nothing is known to be lost"


@pytest.fixture
def denied(filled: Filled, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A repository that has a place at which only errors answer."""
    folder = tmp_path / "repository"
    shutil.copytree(filled.folder, folder)
    places = list(folder.glob(request.param))
    assert places
    for place in places:
        place.chmod(0)
    yield folder
    for place in places:
        place.chmod(0o700)


def run(folder: Path, environment: Mapping[str, str], *words: str) -> Outcome:
    before = LESS_PRIVILEGED if os.geteuid() == 0 else []
    settings = {**environment, "RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD}
    line = [*before, sys.executable, "-m", "restic_tools", "--no-cache", "--no-lock", *words]
    done = subprocess.run(line, env=settings, capture_output=True, check=False, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("denied", DENIED, indirect=True)
def test_what_may_not_be_read_is_said_and_no_harm_is_advised(
    denied: Path, environment: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    part = request.node.callspec.params["denied"]
    lines = [("check", "--read-data"), ("restore", "latest", "--target", str(tmp_path / "out")), ("ls", "latest")]
    for words in (*lines, ("cat", "tree", "latest")):
        done = run(denied, environment, *words)
        text = (done.out + done.err).decode()
        assert done.code == 1, (words, text)
        assert "permission denied" in text and "Traceback" not in text, (words, text)
        said = text
        for harmless in HARMLESS:
            said = said.replace(harmless, "")
        assert not [word for word in HARMFUL if word in said], (words, text)
        if words[0] == "check" and not part.startswith("config") and part != "keys":
            assert "make the storage readable" in text, text


@pytest.mark.usefixtures("denied")
@pytest.mark.parametrize("denied", ["data"], indirect=True)
def test_nothing_is_written_over_a_file_whose_content_cannot_be_read(
    denied: Path, environment: dict[str, str], filled: Filled, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    shutil.copytree(filled.source, target, symlinks=True, ignore=shutil.ignore_patterns("pipe", "*\udcff*"))
    before = {path: path.read_bytes() for path in target.rglob("*.txt")}
    done = run(denied, environment, "restore", f"latest:{filled.source}", "--target", str(target), "--delete")
    assert done.code == 1 and before
    assert {path: path.read_bytes() for path in target.rglob("*.txt")} == before
