"""Displaced blobs: a pack into which bytes have come, or from which some have gone, gives back all but the blob around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.rescue.diagnosis import Opened, diagnose
from restic_format.rescue.diagnosis.records import Hope, Means, Origin, Problem
from restic_format.rescue.displaced import displaced
from restic_format.storage import LocalStorage
from restic_spec.pack import BlobType, PackEntry
from tests.repairing.kit import packs_of_type
from tests.rescue.conftest import Fresh
from tests.rescue.kit import healed, opened, readable


def _tree_pack(repo: Path) -> tuple[Path, list[PackEntry]]:
    """The pack with most trees, and its entries by offset."""
    repository = opened(repo)
    repository.load_index()
    listed = dict(repository.index.by_pack(None))
    path = max(packs_of_type(repo, "tree"), key=lambda path: len(listed[bytes.fromhex(path.name)]))
    return path, sorted(listed[bytes.fromhex(path.name)], key=lambda entry: entry.offset)


def _write(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


EDITS: dict[str, Callable[[bytes, int], bytes]] = {
    "a byte has gone": lambda data, at: data[:at] + data[at + 1 :],
    "a byte has come": lambda data, at: data[:at] + b"x" + data[at:],
    "many have come": lambda data, at: data[:at] + bytes(5000) + data[at:],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_stands_behind_the_place_is_found(fresh: Fresh, edit: Callable[[bytes, int], bytes]) -> None:
    repo = fresh()
    path, entries = _tree_pack(repo)
    assert len(entries) > 2
    data = path.read_bytes()
    _write(path, edit(data, entries[1].offset + 20))
    by = len(path.read_bytes()) - len(data)
    repository = opened(repo)
    found = displaced(repository, bytes.fromhex(path.name), len(data) + by, entries)
    assert found == {entry: entry._replace(offset=entry.offset + by) for entry in entries[2:]}


def test_a_pack_of_its_right_length_is_not_read(fresh: Fresh) -> None:
    repo = fresh()
    path, entries = _tree_pack(repo)
    size = path.stat().st_size
    path.unlink()
    assert displaced(opened(repo), bytes.fromhex(path.name), size, entries) == {}


def test_heal_saves_it(fresh: Fresh) -> None:
    repo = fresh()
    before = readable(repo)
    path, entries = _tree_pack(repo)
    data = path.read_bytes()
    _write(path, EDITS["a byte has gone"](data, entries[1].offset + 20))
    _, done = healed(repo)
    assert done.lost == [(BlobType.TREE, entries[1].id)]
    assert before - readable(repo) == {(BlobType.TREE, entries[1].id)}


@pytest.mark.parametrize("removed", [1, 30])
def test_diagnose_does_not_call_lost_what_only_stands_elsewhere(fresh: Fresh, removed: int) -> None:
    """Bytes are gone from the front: all but the first blob is there, and heal saves it."""
    repo = fresh()
    path, entries = _tree_pack(repo)
    name = bytes.fromhex(path.name)
    _write(path, path.read_bytes()[removed:])
    found = diagnose(Opened(LocalStorage(str(repo)), opened(repo), None))
    problems = {copy.offset: copy.problem for copy in found.copies if copy.pack == name}
    assert {problems[entry.offset] for entry in entries[1:]} == {Problem.SEAL}
    (fault,) = (fault for fault in found.faults if fault.object.name == path.name)
    assert fault.origin is Origin.STORAGE and fault.means[0] is Means.SCANNING
    assert fault.cost.hope is Hope.DAMAGED
