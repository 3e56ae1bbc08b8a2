"""The polynomial is found again in repositories of real restic, from the places at which it has cut their files."""

from __future__ import annotations

import json
import random
import shutil
from itertools import islice
from pathlib import Path

import pytest

from restic_format.errors import Interrupted
from restic_format.repository import Repository
from restic_format.rescue.polynomial import STAGE, NotEnough, Recovered, recover_polynomial
from restic_format.storage import LocalStorage
from restic_format.work import Advance, Cancel
from restic_spec.boundaries import LEAST
from restic_spec.chunker import MIN_SIZE, WINDOW
from tests.safety import kit
from tests.spec.test_boundaries import chosen


def opened(path: Path) -> Repository:
    repository = Repository.open(LocalStorage(str(path)), kit.PASSWORD)
    repository.load_index()
    return repository


def made(path: Path, version: int = 2) -> Path:
    kit.restic(path, "init", "-q", "--repository-version", str(version))
    kit.cheap_key(path)
    return path


def add(path: Path, *files: int, seed: int = 1) -> None:
    """Have restic store files that its polynomial cuts in so many places, as soon as it may: they are nearly all zeros."""
    source, noise = path.with_name(f"{path.name}-source"), random.Random(seed)
    source.mkdir()
    polynomial = opened(path).chunker_polynomial
    for number, count in enumerate(files):
        chunks = (bytes([1]) * (MIN_SIZE - WINDOW) + window for window in chosen(polynomial, count, noise))
        (source / str(number)).write_bytes(b"".join(chunks) + b"the end")
    kit.restic(path, "backup", "-q", str(source))
    shutil.rmtree(source)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which files are cut in 29 places."""
    path = made(tmp_path_factory.mktemp("polynomial") / "repo")
    add(path, 20, 9)
    return path


def is_found(found: Recovered | NotEnough, repository: Repository) -> bool:
    """Whether it is the polynomial of *repository*, by which all places were cut; where that is depends on it."""
    return isinstance(found, Recovered) and found[:1] + found[2:] == (repository.chunker_polynomial, 0) and found[1] >= LEAST


@pytest.mark.clause("CHUNK-13", "CHUNK-14")
def test_it_is_found(large: Path, tmp_path: Path) -> None:
    repository = opened(large)
    told: list[Advance] = []
    assert is_found(recover_polynomial(repository, progress=told.append), repository)
    assert told[-1].stage == STAGE and told[-1].done == told[-1].total >= LEAST
    # Trees that no snapshot names do as well.
    copy = kit.copy_repository(large, tmp_path / "copy")
    for snapshot in (copy / "snapshots").iterdir():
        snapshot.unlink()
    assert is_found(recover_polynomial(opened(copy)), repository)


@pytest.mark.clause("CHUNK-13")
def test_too_few_are_not_enough(tmp_path: Path) -> None:
    path = made(tmp_path / "repo", 1)
    assert recover_polynomial(opened(path)) == NotEnough(
        "too few files are so large that they were cut into several blobs", 0, LEAST
    )
    add(path, 3, 4, 0)
    found = recover_polynomial(opened(path))
    assert isinstance(found, NotEnough) and (found.boundaries, found.needed) == (7, LEAST)


@pytest.mark.clause("CHUNK-13")
def test_places_that_look_alike_are_not_enough(tmp_path: Path) -> None:
    path = made(tmp_path / "repo")
    polynomial, noise = opened(path).chunker_polynomial, random.Random(4)
    (window,) = chosen(polynomial, 1, noise)
    source = tmp_path / "source"
    source.mkdir()
    chunks = (bytes([number]) * (MIN_SIZE - WINDOW) + window for number in range(1, 31))
    (source / "file").write_bytes(b"".join(chunks) + b"the end")
    kit.restic(path, "backup", "-q", str(source))
    assert recover_polynomial(opened(path)) == NotEnough("too many of the places at which files were cut look alike", 30, LEAST)


@pytest.mark.clause("CHUNK-14")
def test_what_was_cut_elsewhere_is_told_apart(large: Path, tmp_path: Path) -> None:
    path, other = kit.copy_repository(large, tmp_path / "repo"), made(tmp_path / "other")
    add(other, 3, 3)
    environment = kit.environment(RESTIC_FROM_PASSWORD=kit.PASSWORD)
    kit.run([kit.restic_binary(), "--no-cache", "-r", str(path), "copy", "-q", "--from-repo", str(other)], env=environment)
    repository = opened(path)
    assert recover_polynomial(repository) == Recovered(repository.chunker_polynomial, 29, 6)


@pytest.mark.clause("CHUNK-14")
def test_what_does_not_cut_a_blob_where_it_ends_is_not_taken(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restic_format.rescue.polynomial.MOST_TRIES", 3)
    monkeypatch.setattr("restic_format.rescue.polynomial.Chunker", lambda polynomial: Elsewhere())
    assert isinstance(recover_polynomial(opened(large)), NotEnough)


class Elsewhere:
    """Cuts a byte too early."""

    def next_cut(self, data: bytes, start: int, end: int, final: bool) -> int:
        return end - start - 1


def test_it_ends_when_it_has_to(large: Path) -> None:
    repository = opened(large)
    assert recover_polynomial(repository, budget=0.0) == NotEnough("the time was used up", 0, LEAST)
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        recover_polynomial(repository, cancel=cancel)


def test_what_cannot_be_read_is_gone_past(large: Path, tmp_path: Path) -> None:
    copy = kit.copy_repository(large, tmp_path / "copy")
    repository = opened(copy)
    large_ones = ((pack, entry) for pack, entry in repository.index.entries() if (entry.uncompressed_length or 0) == MIN_SIZE)
    for pack, entry in islice(large_ones, 3):
        path = copy / "data" / pack.hex()[:2] / pack.hex()
        data = bytearray(path.read_bytes())
        data[entry.offset + entry.length // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
    assert is_found(recover_polynomial(repository), repository)
    broken = copy / "snapshots" / ("ab" * 32)
    broken.write_bytes(b"no snapshot")
    for pack in (copy / "data").rglob("*/*"):
        pack.unlink()
    assert isinstance(recover_polynomial(repository), NotEnough)


@pytest.mark.clause("CHUNK-14")
def test_heal_makes_a_config_anew_with_it(large: Path, tmp_path: Path) -> None:
    copy = kit.copy_repository(large, tmp_path / "copy")
    (copy / "config").unlink()
    for index in (copy / "index").iterdir():
        index.unlink()
    entrance, *_ = kit.ours(copy, "heal", "--yes", "--budget", "9", "--json").stdout.splitlines()
    told = json.loads(entrance)
    assert told["is_new"] and told["same_cuts"] and told["boundaries"] >= LEAST
    assert opened(copy).chunker_polynomial == opened(large).chunker_polynomial
    kit.restic(copy, "check", "--read-data")


def test_heal_says_why_it_cannot(tmp_path: Path) -> None:
    path = made(tmp_path / "repo")
    add(path, 2)
    (path / "config").unlink()
    done = kit.ours(path, "heal", "--dry-run", "--budget", "9")
    assert done.stdout.splitlines()[1] == "config: made anew from a key"
    assert "files will be cut in other places" in done.stdout
    assert "(2 places were found, at least 23 are needed)" in done.stdout
