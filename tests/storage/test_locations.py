"""What people write for a repository: the same means the same as for restic."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import UsageError
from restic_format.storage import LocalStorage, open_storage

LOCATIONS = [
    *("repo", "./repo", "../repo", "..\\repo", "a:b", "C:repo", "C:/repo", "C:\\repo", "c:/x", "1:/x", "C:", "C:x", "é:/x"),
    *("stfp:user@host:/srv/x", "file:///tmp/x", "http://x/y", "https://x/y", "S3:bucket/x", "rest-http://x", "s3legacy:x"),
    *("local", "local:", "local:repo", "local:a:b", "LOCAL:x", "Local:x", "local:local:x", "local:~/x", "sftp", "s3", "b2"),
    *("gs", "swift", "rclone", ":", "a:", "./a:b", "x/a:b", "\\a:b", "..:x", "../a:b", "..\\a:b", "~", "~/x", "é:x", "é"),
    *(" repo", " :x", "webdav:https://x", "ftp://x", "smb://x/y", "ä/ö"),
]
"""Locations that must name the same folder for both programs, or none."""

OURS_ONLY = {"rest": "restic ends in a panic", "azure": "restic as Debian builds it has no such storage"}


def asked(command: list[str | Path], location: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a program says of a location in *folder* where there is nothing."""
    env = {**os.environ, "HOME": str(folder), "RESTIC_PASSWORD": "x", "LC_ALL": "C.UTF-8"}
    words = [*command, "--no-cache", "-r", location, "snapshots"]
    return subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_location_means_what_it_means_for_restic(
    location: str, tmp_path: Path, peer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = asked([peer("restic-0.19")], location, tmp_path)
    path = re.search(r"unable to open config file: stat (.*): no such file or directory", theirs.stderr)
    if path is not None:
        assert open_storage(location).location == os.path.abspath(os.path.dirname(path[1]))
        return
    assert theirs.returncode == 1
    with pytest.raises(UsageError) as caught:
        open_storage(location)
    if "invalid backend" in theirs.stderr or location == "local":
        assert f"Fatal: {caught.value}\n" == theirs.stderr


@pytest.mark.parametrize("location", ["local:", "local:nope", "./nope", "/missing/nope", "stfp:x:/y", "local"])
def test_what_is_said_where_nothing_is_comes_in_restics_words(
    location: str, tmp_path: Path, peer: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, project_root: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(project_root / part) for part in ("", "spec", "tools")))
    theirs = asked([peer("restic-0.19")], location, tmp_path)
    ours = asked([sys.executable, "-m", "restic_tools"], location, tmp_path)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


def test_a_mistyped_scheme_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    python_path = os.pathsep.join(str(project_root / part) for part in ("", "spec", "tools"))
    env = {**os.environ, "RESTIC_PASSWORD": "x", "PYTHONPATH": python_path}
    command = [sys.executable, "-m", "restic_tools", "-r", "stfp:user@host:/srv/x", "init"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "add a `local:` prefix" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("location", OURS_ONLY)
def test_a_scheme_alone_is_no_folder(location: str) -> None:
    with pytest.raises(UsageError, match=f'invalid format, prefix "{location}" not found'):
        open_storage(location)


def test_the_options_of_a_storage_are_checked_and_those_of_others_left_alone(tmp_path: Path) -> None:
    def connections(**options: str) -> int:
        return open_storage(str(tmp_path), {key.replace("_", "."): text for key, text in options.items()}).connections

    assert connections() == LocalStorage(tmp_path).connections == 2
    assert connections(local_connections="7", sftp_anything="?", localx_y="z") == 7
    for text in ("0", "-1", "x", "", "1.5", "99999999", "9" * 5000, "٣"):
        with pytest.raises(UsageError, match=r"option local\.connections: "):
            connections(local_connections=text)
    with pytest.raises(UsageError, match=r"option local\.layout is not known"):
        connections(local_layout="default")
