"""``copy`` beside real restic: the same lines, snapshots that either takes for copied, repositories that each finds whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_tools import access
from tests.tools.kit import PASSWORD, Filled, Outcome, Runner, make_source, new_repository, quick_kdf

OTHER = "another password"
_ID = re.compile(rb"\b[0-9a-f]{8}\b")


def second_repository(folder: Path, version: int = 2) -> Path:
    Repository.init(LocalStorage(str(folder)), OTHER, version=version, kdf=quick_kdf())
    return folder


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, filled: Filled) -> dict[str, str]:
    """A source in the environment; the target is named by -r."""
    values = {
        "RESTIC_PASSWORD": OTHER,
        "RESTIC_FROM_REPOSITORY": str(filled.folder),
        "RESTIC_FROM_PASSWORD": PASSWORD,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RESTIC_REPOSITORY", raising=False)
    return values


def masked(done: Outcome) -> list[bytes]:
    """What was printed, with the ids of new snapshots masked and the blocks of the snapshots in order."""
    text = re.sub(rb"snapshot [0-9a-f]{8} saved", b"snapshot X saved", done.out)
    text = re.sub(rb"copied to snapshot [0-9a-f]{8}", b"copied to snapshot Y", text)
    text = re.sub(rb"the repositories have different chunker parameters.*\n", b"", text)
    return sorted(text.split(b"\n\n"))


def test_the_same_lines_as_restic(
    tmp_path: Path, settings: dict[str, str], run: Runner, restic: Runner, filled: Filled
) -> None:
    ours, theirs = second_repository(tmp_path / "ours"), second_repository(tmp_path / "theirs")
    for words in ((filled.ids[0], "-v"), (), ("-v",), ("nosuch",), ("latest", "--host", "h2", "-v"), ("-q",)):
        mine, real = run("-r", str(ours), "copy", *words), restic("-r", str(theirs), "copy", *words, env=settings)
        assert (mine.code, mine.err) == (real.code, real.err)
        if words == () or words == ("-v",):
            # Which snapshot comes first is chance, and with that what is left to be copied of the others.
            assert len(masked(mine)) == len(masked(real))
            assert sorted(_ID.findall(b"".join(masked(mine)))) == sorted(_ID.findall(b"".join(masked(real))))
        else:
            assert masked(mine) == masked(real)
    for first, second in ((ours, theirs), (theirs, ours)):
        everything = {**settings, "RESTIC_FROM_REPOSITORY": str(first), "RESTIC_FROM_PASSWORD": OTHER}
        done = restic("-r", str(second), "copy", "-v", env=everything)
        assert done.code == 0 and done.out.count(b"was already copied") == 3 and b"saved" not in done.out


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("source_version", [1, 2])
def test_every_real_program_finds_the_copy_whole(
    tmp_path: Path,
    peer: Callable[[str], Path],
    run: Runner,
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    source_version: int,
) -> None:
    source = tmp_path / "src"
    make_source(source)
    (source / "pipe").unlink()  # diff takes two of them for different
    new_repository(tmp_path / "from", source_version)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TZ": "UTC", "RESTIC_FROM_PASSWORD": PASSWORD}

    def real(program: str, password: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [peer(program), "--no-cache", *words],
            env={**env, "RESTIC_PASSWORD": password},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done

    for host, program in (("a", "restic-0.14"), ("b", "restic-0.19")):
        real(program, PASSWORD, "-r", str(tmp_path / "from"), "backup", "-q", "--host", host, str(source))
        (source / f"more-{host}").write_bytes(os.urandom(2000))
    to = second_repository(tmp_path / "to", version)
    monkeypatch.setenv("RESTIC_PASSWORD", OTHER)
    monkeypatch.setenv("RESTIC_FROM_PASSWORD", PASSWORD)
    assert run("-r", str(to), "copy", "--from-repo", str(tmp_path / "from")).code == 0
    for program in ("restic-0.14", "restic-0.18", "restic-0.19"):
        real(program, OTHER, "-r", str(to), "check", "--read-data")
    program = "restic-0.14" if version == source_version else "restic-0.18"
    out = real(program, OTHER, "-r", str(to), "copy", "-v", "--from-repo", str(tmp_path / "from")).stdout
    assert out.count(b"was already copied") == 2
    target = tmp_path / "restored"
    real(program, OTHER, "-r", str(to), "restore", "latest", "--host", "b", "--target", str(target))
    (source / "more-b").unlink()
    assert subprocess.run(["diff", "-r", "--no-dereference", source, f"{target}{source}"], check=False).returncode == 0


def test_json(tmp_path: Path, settings: dict[str, str], run: Runner, filled: Filled) -> None:
    to = str(second_repository(tmp_path / "to"))
    done = run("-r", to, "copy", "--json", filled.ids[0])
    copied, summary = map(json.loads, done.out.splitlines())
    assert copied == {"message_type": "copied", "source_snapshot_id": filled.ids[0], "snapshot_id": copied["snapshot_id"]}
    assert (tmp_path / "to" / "snapshots" / copied["snapshot_id"]).exists()
    assert done.out.startswith(b'{"message_type":"copied","source_snapshot_id":"')
    assert summary.pop("blobs_copied") > 3 and summary.pop("data_added_packed") > 3000 and summary.pop("total_duration") > 0
    assert summary == {
        "message_type": "summary",
        "snapshots_copied": 1,
        "snapshots_skipped": 0,
        "snapshots_failed": 0,
        "same_chunker_parameters": False,
    }
    messages = [json.loads(line) for line in run("-r", to, "copy", "--json").out.splitlines()]
    assert {**copied, "message_type": "skipped"} in messages and messages[-1]["snapshots_copied"] == 2


def test_damage_in_the_source(tmp_path: Path, settings: dict[str, str], run: Runner, filled: Filled) -> None:
    to = str(second_repository(tmp_path / "to"))
    packs = sorted((filled.folder / "data").rglob("?" * 64), key=lambda path: path.stat().st_size)
    damaged = shutil.copytree(filled.folder, tmp_path / "damaged")
    (damaged / packs[-1].relative_to(filled.folder)).unlink()
    done = run("-r", to, "copy", "--from-repo", str(damaged))
    assert done.code == 1 and b"snapshots could not be copied" in done.err.splitlines()[-1]
    assert re.search(
        rb"error: snapshot [0-9a-f]{8}: (data|tree) blob [0-9a-f]{8} in pack " + packs[-1].name[:8].encode(), done.err
    )
    told = run("-r", to, "copy", "--from-repo", str(damaged), "--json")
    assert json.loads(told.err.splitlines()[0])["during"] == "copy"
    assert json.loads(told.err.splitlines()[-1])["code"] == 1
    run("-r", to, "copy")
    assert run("-r", to, "check", "--read-data").code == 0


def test_both_repositories_are_locked(tmp_path: Path, settings: dict[str, str], run: Runner, filled: Filled) -> None:
    to = second_repository(tmp_path / "to")
    with Repository.open(LocalStorage(str(filled.folder)), PASSWORD).lock(exclusive=True):
        assert run("-r", str(to), "copy").code == 11
        assert run("-r", str(to), "copy", "--no-lock", filled.ids[0]).code == 0
    with Repository.open(LocalStorage(str(to)), OTHER).lock(exclusive=True):
        assert run("-r", str(to), "copy", "--no-lock").code == 11
    with Repository.open(LocalStorage(str(to)), OTHER).lock():
        assert run("-r", str(to), "copy").code == 0
    assert not list((to / "locks").iterdir()) and not list((filled.folder / "locks").iterdir())


def test_what_is_wrong_with_the_line(
    tmp_path: Path, settings: dict[str, str], run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = str(second_repository(tmp_path / "to"))
    monkeypatch.setenv("RESTIC_FROM_PASSWORD", "wrong")
    assert run("-r", to, "copy").code == 12
    assert run("-r", to, "copy", "--from-repo", str(tmp_path / "none")).code == 10
    monkeypatch.delenv("RESTIC_FROM_REPOSITORY")
    monkeypatch.delenv("RESTIC_FROM_PASSWORD")
    done = run("-r", to, "copy")
    assert done.code == 1 and b"Please specify a source repository location" in done.err


def test_which_password_is_asked_for(
    tmp_path: Path, settings: dict[str, str], run: Runner, monkeypatch: pytest.MonkeyPatch, filled: Filled
) -> None:
    to = str(second_repository(tmp_path / "to"))
    asked: list[str] = []
    passwords = {"enter password for source repository: ": PASSWORD, "enter password for repository: ": OTHER}
    monkeypatch.setattr(access, "ask_password", lambda _, prompt: asked.append(prompt) or passwords[prompt])
    assert run("-r", to, "copy", filled.ids[0]).code == 0
    assert asked == list(passwords)


def test_the_older_options_name_the_target(
    tmp_path: Path, run: Runner, restic: Runner, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"RESTIC_REPOSITORY": str(filled.folder), "RESTIC_PASSWORD": PASSWORD, "RESTIC_PASSWORD2": OTHER}
    ours, theirs = second_repository(tmp_path / "ours"), second_repository(tmp_path / "theirs")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    mine, real = run("copy", "--repo2", str(ours), "-q"), restic("copy", "--repo2", str(theirs), "-q", env=env)
    assert mine == real == Outcome(0, b"", real.err)
    assert len(list((ours / "snapshots").iterdir())) == len(list((theirs / "snapshots").iterdir())) == 3
