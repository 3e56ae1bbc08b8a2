"""Which blobs are used: the same that real programs count, whatever is damaged on the way."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_conformance import fixtures
from restic_format.errors import BlobMissing, DamagedFile, Interrupted, ResticFormatError
from restic_format.repository import Repository
from restic_format.snapshots import used as used_module
from restic_format.snapshots.used import UsedBlobs, find_used
from restic_format.storage import LocalStorage, MemoryStorage
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from tests.restore.kit import Maker, memory_repo

PASSWORD = "correct horse"


@pytest.mark.parametrize("name", ["restic-0.14-v1", "restic-0.19-v2", "duplicates-v2", "rustic-v2"])
def test_as_many_as_restic_counts(name: str, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    path = fixtures.unpack(name, tmp_path / "unpacked")
    repo = Repository.open(LocalStorage(path), PASSWORD)
    repo.load_index()
    roots = [bytes.fromhex(repo.load_snapshot(snapshot).tree) for snapshot, _ in repo.list(FileKind.SNAPSHOT)]
    told: list[int] = []
    used = find_used(repo, roots, progress=told.append)
    command = [str(peer("restic-0.19")), "--no-cache", "--no-lock", "-r", str(path), "stats", "--mode", "raw-data", "--json"]
    done = subprocess.run(command, env={**os.environ, "RESTIC_PASSWORD": PASSWORD}, capture_output=True, check=True)
    blobs = [(BlobType.TREE, tree) for tree in used.trees] + [(BlobType.DATA, blob) for blob in used.data]
    assert len(blobs) == len(used)
    copies = sum(len(repo.index.lookup_all(*blob)) for blob in blobs)
    assert copies == json.loads(done.stdout)["total_blob_count"], "restic counts every copy"
    assert told == list(range(1, len(used.trees) + 1)), "every tree is read once"
    for root in roots:
        assert used.has(BlobType.TREE, root) and not used.has(BlobType.DATA, root)


def small_repo() -> tuple[Maker, bytes, dict[str, bytes]]:
    """A root with two directories that are one and the same, and the ids of what is in it."""
    maker = Maker(memory_repo())
    inner = maker.folder("inner", [maker.file("f", b"one", b"two")])
    again = maker.folder("again", [maker.file("f", b"one", b"two")])
    assert inner.subtree == again.subtree and inner.subtree is not None
    root = maker.finish([again, inner, maker.file("g", b"one", b"three"), maker.file("empty")])
    return maker, root, {"inner": bytes.fromhex(inner.subtree)}


def test_only_what_is_needed_is_used_and_nothing_is_visited_twice() -> None:
    maker, root, ids = small_repo()
    maker.blob(b"unused")
    maker.writer.flush()
    used = find_used(maker.repo, [root, root])
    assert set(used.trees) == {root, ids["inner"]}
    assert set(used.data) == {id_of(data) for data in (b"one", b"two", b"three")}
    assert not used.has(BlobType.DATA, id_of(b"unused"))
    told: list[int] = []
    assert find_used(maker.repo, [root, ids["inner"]], used=used, progress=told.append) is used
    assert told == [], "what is known is not read again"
    empty = UsedBlobs()
    assert find_used(maker.repo, [root], used=empty) is empty and len(empty) == len(used)
    assert empty.trees.since(1) == ids["inner"] and empty.trees.since(2) == b""


def test_a_tree_that_cannot_be_read_is_told_or_raised() -> None:
    maker, root, ids = small_repo()
    storage = maker.repo.storage
    assert isinstance(storage, MemoryStorage)
    location = maker.repo.index.lookup(BlobType.TREE, ids["inner"])
    assert location is not None
    raw = bytearray(storage.files[FileKind.PACK, location.pack.hex()])
    raw[location.offset + 20] ^= 1
    storage.files[FileKind.PACK, location.pack.hex()] = bytes(raw)
    with pytest.raises(DamagedFile, match=ids["inner"].hex()[:8]):
        find_used(maker.repo, [root])
    told: dict[bytes, type[ResticFormatError]] = {}
    used = find_used(maker.repo, [root, bytes(32)], damaged=lambda tree, error: told.update({tree: type(error)}))
    assert told == {ids["inner"]: DamagedFile, bytes(32): BlobMissing}
    assert set(used.trees) == {root, ids["inner"], bytes(32)}, "what is damaged must not be taken for unused"
    assert set(used.data) == {id_of(data) for data in (b"one", b"three")}
    # With an intact copy nothing is lost.
    other = Repository.open(storage, "pw")
    again = Maker(other)
    again.folder("inner", [again.file("f", b"one", b"two")])
    again.writer.flush()
    maker.repo.load_index()
    assert set(find_used(maker.repo, [root]).data) == {id_of(data) for data in (b"one", b"two", b"three")}


def test_it_can_be_cancelled() -> None:
    maker, root, _ = small_repo()
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        find_used(maker.repo, [root], cancel=cancel)


trees = st.recursive(
    st.lists(st.binary(max_size=3), max_size=3).map(tuple),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@given(trees, st.integers(1, 5))
def test_the_same_as_walking_everything(shape: tuple[object, ...], at_once: int) -> None:
    maker = Maker(memory_repo())
    expected = UsedBlobs()

    def build(part: object, name: str) -> object:
        assert isinstance(part, tuple)
        if all(isinstance(item, bytes) for item in part):
            for item in part:
                expected.data.add(id_of(item))
            return maker.file(name, *part)
        node = maker.folder(name, [build(item, f"{number:03}") for number, item in enumerate(part)])
        expected.trees.add(bytes.fromhex(node.subtree or ""))
        return node

    root = maker.finish([build(shape, "top")])
    expected.trees.add(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(used_module, "_AT_ONCE", at_once)
        used = find_used(maker.repo, [root])
    assert set(used.trees) == set(expected.trees)
    assert set(used.data) == set(expected.data)
