"""The command line on S3, beside real restic on the same server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.base import Server
from tests.servers.kit import make_repository
from tests.servers.s3_archive import archived
from tests.tools.kit import PASSWORD, Runner, new_repository

ENABLED = ["-o", "s3.enable-restore=true"]


def test_a_repository_in_an_archive_is_restored_checked_copied_and_pruned(
    rclone_s3: Server, tmp_path: Path, peer: Callable[[str], Path], run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "kept").write_bytes(os.urandom(30_000))
    (source / "gone").write_bytes(os.urandom(30_000))
    real = rclone_s3.place("repository")
    make_repository(real)
    with archived(real) as (place, archive):
        for name, text in {**place.environment, "RESTIC_PASSWORD": PASSWORD}.items():
            monkeypatch.setenv(name, text)
        words = [*place.words(), "--no-cache"]
        archive.accepted = 200  # what restic 0.19.1 takes for success
        restic = str(peer("restic-0.19"))
        subprocess.run([restic, *words, "-q", "backup", "-o", "s3.storage-class=GLACIER", str(source)], check=True)
        archive.accepted = 202
        (source / "gone").unlink()
        assert run("-q", *words, "-o", "s3.storage-class=GLACIER", "backup", str(source)).code == 0
        assert "GLACIER" in archive.classes.values()

        # What needs no content asks for nothing, and reads nothing cold.
        for command in ("snapshots", "ls latest", "find kept", "check", "stats"):
            assert run(*words, *command.split()).code == 0, command
        outcome = run(*words, *ENABLED, "restore", "latest", "--target", str(tmp_path / "out"), "--dry-run")
        assert b"Info: 1 packs (" in outcome.out and b"would have to be warmed up" in outcome.out and not archive.asked
        assert not archive.refused

        outcome = run(*words, "restore", "latest", "--target", str(tmp_path / "out"))
        assert outcome.code == 1 and outcome.err.count(b"-o s3.enable-restore=true brings it back") == 1
        refused = len(archive.refused)
        outcome = run(*words, *ENABLED, "restore", "latest", "--target", str(tmp_path / "out"), "--json")
        [told] = [line for line in map(json.loads, outcome.out.splitlines()) if line["message_type"] == "warm_up"]
        assert told["packs"] == 1 and told["bytes"] > 30_000
        assert (tmp_path / "out" / str(source)[1:] / "kept").read_bytes() == (source / "kept").read_bytes()

        archive.asked.clear()
        outcome = run(*words, *ENABLED, "check", "--read-data")
        assert outcome.code == 0 and b"from cold storage" in outcome.out
        archive.asked.clear()
        target = tmp_path / "copy"
        monkeypatch.setenv("RESTIC_FROM_PASSWORD", PASSWORD)
        new_repository(target)
        outcome = run("-r", str(target), *ENABLED, "copy", "--from-repo", place.location)
        assert outcome.code == 0 and b"warming up" in outcome.out, outcome.err
        archive.asked.clear()
        outcome = run(
            *words, *ENABLED, "-o", "s3.storage-class=GLACIER", "forget", "--keep-last", "1", "--prune", "--max-unused", "0"
        )
        assert outcome.code == 0 and b"warming up 1 packs" in outcome.out, outcome.err
        assert len(archive.refused) == refused
        archive.asked.clear()
        outcome = run(*words, *ENABLED, "check", "--read-data")
        assert outcome.code == 0 and b"no errors were found" in outcome.out
