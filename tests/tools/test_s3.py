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
from tests.servers.swift import Swift
from tests.tools.kit import PASSWORD, Runner, make_source, new_repository

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


def test_both_programs_use_the_same_bucket(
    swift: Swift, tmp_path: Path, peer: Callable[[str], Path], run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A strict server: signatures, hashes and the clock are checked. The bucket is made by init.
    place = swift.s3_place("shared")
    place = place._replace(location=place.location.replace("/bucket/", "/made-by-init/"))
    words = [*place.words(), "--no-cache"]
    for name, text in {**place.environment, "RESTIC_PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(name, text)
    source = tmp_path / "source"
    make_source(source)

    def restic(*command: str) -> str:
        done = subprocess.run([peer("restic-0.19"), *words, *command], capture_output=True, text=True, check=True)
        return done.stdout

    assert b"created restic repository" in run(*words, "init").out
    restic("backup", "-q", str(source))
    (source / "more").write_bytes(os.urandom(200_000))
    outcome = run(*words, "backup", str(source))
    assert outcome.code == 0 and b"using parent snapshot" in outcome.out, outcome.err
    assert "no errors were found" in restic("check", "--read-data")
    assert b"no errors were found" in run(*words, "check", "--read-data").out
    restic("restore", "latest", "--target", str(tmp_path / "theirs"))
    assert run(*words, "restore", "latest~1", "--target", str(tmp_path / "ours")).code == 0
    assert (tmp_path / "theirs" / str(source)[1:] / "more").read_bytes() == (source / "more").read_bytes()
    assert (tmp_path / "ours" / str(source)[1:] / "dir" / "b.bin").read_bytes() == (source / "dir" / "b.bin").read_bytes()
    assert run(*words, "forget", "--keep-last", "1", "--prune", "--max-unused", "0").code == 0
    assert restic("snapshots", "-q").count(str(source)) == 1 and "no errors were found" in restic("check", "--read-data")
    assert restic("list", "locks") == ""


def test_what_is_wrong_is_said_at_once_and_in_one_line(swift: Swift, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    place = swift.s3_place("nothing")
    words = ["-r", place.location]
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    for environment, code, what in (
        ({"AWS_ACCESS_KEY_ID": "id"}, 1, b"$AWS_ACCESS_KEY_ID is set but $AWS_SECRET_ACCESS_KEY is empty"),
        ({}, 1, b"no credentials found. Use `-o s3.unsafe-anonymous-auth=true` for anonymous authentication"),
        ({**place.environment, "AWS_SECRET_ACCESS_KEY": "hidden"}, 1, b"403 Forbidden: SignatureDoesNotMatch: "),
        (place.environment, 10, b"repository does not exist: unable to open config file: <config/> does not exist"),
    ):
        with monkeypatch.context() as patched:
            for name, text in environment.items():
                patched.setenv(name, text)
            outcome = run(*words, "snapshots")
        assert outcome.code == code and what in outcome.err, outcome
        assert b"hidden" not in outcome.err and outcome.err.count(b"\n") == (3 if code == 10 else 1), outcome
