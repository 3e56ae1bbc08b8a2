"""One bit turned over, or some bytes cut off, anywhere in a repository: a check names the file."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from restic_format.check import CheckOptions, CheckReport, check, damaged_keys
from restic_format.check.findings import Severity
from restic_format.errors import KeyUnusable, ResticFormatError, WrongPassword
from restic_format.repository import Repository
from restic_format.repository.lock import acquire
from restic_format.storage import LocalStorage, MemoryStorage
from restic_spec.layout import LISTED_KINDS, FileKind
from tests.safety import kit

POSITIONS = 24
"""Places tried in each file, besides its first and last bytes."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[FileKind, str], bytes]:
    """A whole small repository as real restic writes it, with a lock in it."""
    folder = tmp_path_factory.mktemp("whole")
    source = kit.grow_source(folder / "src", files=1, size=20_000)
    repo = kit.make_repository(folder / "repo", source)
    storage = LocalStorage(repo)
    lock = acquire(Repository.open(storage, kit.PASSWORD))
    found = {(FileKind.CONFIG, ""): storage.load(FileKind.CONFIG, "")}
    for kind in LISTED_KINDS:
        for name, _size in storage.list(kind):
            found[kind, name] = storage.load(kind, name)
    lock.release()
    assert {kind for kind, _ in found} == set(FileKind)
    return found


def check_with(files: dict[tuple[FileKind, str], bytes], kind: FileKind, name: str, content: bytes) -> set[str]:
    """Check the repository with one file changed; the names of what is reported."""
    storage = MemoryStorage()
    storage.files = {**files, (kind, name): content}
    try:
        report = check(Repository.open(storage, kit.PASSWORD), CheckOptions(read_data=True))
    except (WrongPassword, KeyUnusable):
        return {finding.object.name for finding in damaged_keys(storage)}
    except ResticFormatError as error:
        assert "config" in str(error)
        return {""}
    return named(report)


def named(report: CheckReport) -> set[str]:
    names = set()
    for finding in report.findings:
        if finding.severity is not Severity.NOTE:
            assert finding.message and finding.rule
            names.add(finding.object.name)
    return names


def test_nothing_is_reported_without_damage(files: dict[tuple[FileKind, str], bytes]) -> None:
    assert check_with(files, FileKind.CONFIG, "", files[FileKind.CONFIG, ""]) == set()


@pytest.mark.clause("LAYOUT-1", "LAYOUT-5", "CRYPTO-4")
@pytest.mark.parametrize("kind", FileKind, ids=lambda kind: kind.name)
def test_a_flipped_bit(files: dict[tuple[FileKind, str], bytes], kind: FileKind) -> None:
    rng = random.Random(kind.value)
    for (found, name), content in files.items():
        if found is not kind:
            continue
        places = {0, 1, 15, 16, 31, 32, len(content) - 17, len(content) - 5, len(content) - 1}
        places |= {rng.randrange(len(content)) for _ in range(POSITIONS)}
        for place in places:
            hurt = bytearray(content)
            hurt[place] ^= 1 << rng.randrange(8)
            assert name in check_with(files, kind, name, bytes(hurt)), f"byte {place} of {kind.name} {name}"


@pytest.mark.clause("PACK-11", "LAYOUT-8")
@pytest.mark.parametrize("kind", FileKind, ids=lambda kind: kind.name)
def test_a_truncated_file(files: dict[tuple[FileKind, str], bytes], kind: FileKind) -> None:
    for (found, name), content in files.items():
        if found is not kind:
            continue
        for size in {0, 1, 31, 32, 33, len(content) // 2, len(content) - 32, len(content) - 1}:
            if kind is FileKind.LOCK and size == 0:
                continue  # Everybody ignores an empty lock: an upload that was interrupted (LOCK-8).
            assert name in check_with(files, kind, name, content[:size]), f"{size} bytes of {kind.name} {name}"


@pytest.mark.parametrize("kind", ["config", "keys", "snapshots", "index", "data"])
@pytest.mark.parametrize("how", ["flip", "cut", "empty", "remove"])
def test_the_command_says_so_and_fails(files: dict[tuple[FileKind, str], bytes], tmp_path: Path, kind: str, how: str) -> None:
    repo = tmp_path / "repo"
    storage = LocalStorage(repo)
    storage.create()
    for (found, name), content in files.items():
        if found is not FileKind.LOCK:
            storage.save(found, name, content)
    victim = kit.files_of(repo, kind)[-1]
    if how == "flip":
        kit.flip_bit(victim, victim.stat().st_size // 2)
    elif how == "remove":
        victim.unlink()
    else:
        kit.cut(victim, -7 if how == "cut" else 0)
    done = kit.ours(repo, "check", "--read-data", "--json", check=False)
    if (kind, how) == ("snapshots", "remove"):
        assert done.returncode == 0, "a snapshot that is not there is one that was forgotten"
        return
    expected = {("config", "remove"): 10, ("keys", "remove"): 12}
    assert done.returncode == expected.get((kind, how), 1), done.stderr
    if how == "remove":
        assert "Traceback" not in done.stderr
        return
    assert victim.name[:8] in done.stderr
    for line in done.stderr.splitlines():
        assert json.loads(line)["message_type"] in ("error", "exit_error")
    assert json.loads(done.stdout.splitlines()[-1])["num_errors"] >= 1
