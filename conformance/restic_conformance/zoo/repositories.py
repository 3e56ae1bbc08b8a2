"""Healthy repositories for the zoo: small, written by the real programs, with keys that open at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from restic_conformance import fixtures, trees
from restic_conformance.programs import HOST, PASSWORD, SECOND, Program
from restic_conformance.vault import QUICK, Vault, file_id, quicken
from restic_spec.keyfile import encode_keyfile, wrap

SOURCE = "source"
"""The folder that is backed up."""

FIRST_TIME, SECOND_TIME = "2024-03-01 10:00:00", "2024-03-02 10:00:00"


def fill(b: trees.Builder) -> None:
    """What the first snapshot holds: a file of several chunks, text, small files, equal files, folders in folders."""
    b.file("video.bin", trees.noise(2 * trees.MIB + 700_000, 101))
    b.folder("letters/2019")
    b.folder("photos/2024/march")
    b.file("letters/all.txt", trees.prose(700_000, 102))
    for number in range(8):
        b.file(f"letters/2019/letter-{number}.txt", trees.prose(400 + 900 * number, 200 + number))
        b.file(f"photos/2024/march/{number}.jpg", trees.noise(3000 + 2500 * number, 300 + number))
    b.file("photos/copy-of-3.jpg", trees.noise(3000 + 2500 * 3, 303))
    b.file("empty")
    b.settle()


def change(b: trees.Builder) -> None:
    """What the second snapshot has that the first has not."""
    b.file("letters/all.txt", trees.prose(700_000, 102) + trees.prose(60_000, 103))
    b.folder("photos/2024/april")
    for number in range(4):
        b.file(f"photos/2024/april/{number}.jpg", trees.noise(5000 + 1500 * number, 400 + number))
    os.unlink(b.path("letters/2019/letter-7.txt"))
    b.settle()


def _note(b: trees.Builder) -> None:
    b.file("note.txt", trees.prose(5000, 900))


def add_key(repository: Path, password: str) -> None:
    """Add a key for another password that takes no time to derive."""
    vault = Vault(repository, PASSWORD)
    key = wrap(vault.master, password.encode(), QUICK, created="2020-01-02T00:00:00Z", username="second", hostname="quick")
    data = encode_keyfile(key)
    (repository / "keys" / file_id(data)).write_bytes(data)


def _sealed_up(repository: Path) -> Path:
    quicken(repository, PASSWORD)
    add_key(repository, SECOND)
    return repository


def _backup(program: Program, repository: Path, work: Path, time: str, tag: str) -> None:
    program.run(repository, "backup", "--host", HOST, "--tag", tag, "--time", time, SOURCE, cwd=work).expect(0)


def write(program: Program, version: int, work: Path) -> Path:
    """A repository by *program* with two snapshots of one folder, one day apart, below the new folder *work*."""
    work.mkdir(parents=True)
    repository = work / "repository"
    program.run(repository, "init", "--repository-version", str(version)).expect(0)
    quicken(repository, PASSWORD)
    source = os.fsencode(work / SOURCE)
    trees.build(fill, source)
    _backup(program, repository, work, FIRST_TIME, "first")
    change(trees.Builder(source, _clock=trees.EPOCH_2020 + trees.DAY))
    _backup(program, repository, work, SECOND_TIME, "second")
    return _sealed_up(repository)


def write_twice(program: Program, version: int, work: Path) -> Path:
    """The same with every blob in two packs: the folder is saved into two copies of one repository, which become one."""
    work.mkdir(parents=True)
    repository, other = work / "repository", work / "other"
    program.run(repository, "init", "--repository-version", str(version)).expect(0)
    quicken(repository, PASSWORD)
    shutil.copytree(repository, other)
    trees.build(fill, os.fsencode(work / SOURCE))
    for place in (repository, other):
        _backup(program, place, work, FIRST_TIME, "first")
    for folder in ("data", "index"):
        shutil.copytree(other / folder, repository / folder, dirs_exist_ok=True)
    return _sealed_up(repository)


def write_small(program: Program, version: int, work: Path) -> Path:
    """An unrelated small repository with the same password: where files come from that do not belong."""
    work.mkdir(parents=True)
    repository = work / "repository"
    program.run(repository, "init", "--repository-version", str(version)).expect(0)
    quicken(repository, PASSWORD)
    trees.build(_note, os.fsencode(work / SOURCE))
    _backup(program, repository, work, FIRST_TIME, "foreign")
    return repository


def from_fixture(name: str, work: Path) -> Path:
    """A stored repository with keys that open at once and no stale lock; of programs that need not be here."""
    repository = fixtures.unpack(name, work)
    for lock in (repository / "locks").glob("*"):
        lock.unlink()
    return _sealed_up(repository)
