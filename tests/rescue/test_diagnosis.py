"""Diagnosis: the recipes of damage are told as what they are, with exactly what they cost."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from restic_conformance import fixtures
from restic_format.errors import WrongPassword
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.repository.keys import OpenedKey
from restic_format.rescue.diagnosis import (
    Diagnosis,
    Hope,
    Means,
    Opened,
    Origin,
    Problem,
    damagedpaths,
    diagnose,
    open_for_rescue,
)
from restic_format.storage import LocalStorage, Storage
from restic_format.storage.base import Content, WrappedStorage, Writer
from restic_format.storage.faulty import Call, Fail, FaultyStorage, Garble
from restic_spec.config import decode_config
from restic_spec.layout import FileKind
from tests.safety import kit
from tests.safety.forge import Forge, node, tree_json

WITHOUT_KEYS = {"key-costs-absurd", "key-data-short", "key-flip", "key-truncated", "keys-missing"}
"""Recipes after which no key opens."""

ORIGINS = {
    "config-flip": Origin.STORAGE,
    "config-missing": Origin.MISSING,
    "config-truncated": Origin.STORAGE,
    "corrupt-before-hash": Origin.MEMORY,
    "corrupt-before-sealing": Origin.MEMORY,
    "data-blob-flip": Origin.STORAGE,
    "data-blob-iv-flip": Origin.STORAGE,
    "data-blob-mac-flip": Origin.STORAGE,
    "data-pack-missing": Origin.MISSING,
    "garbage-names": Origin.LEFT_BEHIND,
    "header-flip": Origin.STORAGE,
    "header-length-absurd": Origin.STORAGE,
    "index-flip": Origin.STORAGE,
    "index-missing": Origin.INDEX,
    "index-truncated": Origin.STORAGE,
    "indexes-missing": Origin.INDEX,
    "key-empty-beside-good": Origin.INTERRUPTED,
    "key-flip-beside-good": Origin.STORAGE,
    "key-flip": Origin.STORAGE,
    "key-costs-absurd": Origin.STORAGE,
    "key-data-short": Origin.STORAGE,
    "key-truncated": Origin.STORAGE,
    "keys-missing": Origin.MISSING,
    "pack-empty": Origin.INTERRUPTED,
    "pack-extended": Origin.STORAGE,
    "pack-misplaced": Origin.MIXED_UP,
    "pack-truncated": Origin.INTERRUPTED,
    "pack-unindexed": Origin.LEFT_BEHIND,
    "snapshot-empty": Origin.INTERRUPTED,
    "snapshot-flip": Origin.STORAGE,
    "snapshot-truncated": Origin.STORAGE,
    "tree-blob-flip": Origin.STORAGE,
    "tree-pack-missing": Origin.MISSING,
    "v1-data-blob-flip": Origin.STORAGE,
    "v1-tree-blob-flip": Origin.STORAGE,
}


class Untouchable(WrappedStorage):
    """A storage into which nothing may be written."""

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        raise AssertionError(f"{kind} {name} is stored")

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        raise AssertionError(f"{kind} {name} is stored")

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        raise AssertionError(f"{kind} is begun")

    def remove(self, kind: FileKind, name: str) -> None:
        raise AssertionError(f"{kind} {name} is removed")


def opened(place: Path, password: str = kit.PASSWORD) -> Opened:
    return open_for_rescue(Untouchable(LocalStorage(str(place))), password.encode())


def examined(place: Path) -> Diagnosis:
    return diagnose(opened(place))


_keys: dict[str, OpenedKey] = {}


def opened_fixture(name: str, fixture: str, place: Path) -> Opened:
    """A damaged fixture, opened with a key that was derived once for all of them, unless it is about keys or the config."""
    storage = Untouchable(LocalStorage(str(place)))
    passwords = fixtures.describe(fixture).passwords
    if name in WITHOUT_KEYS or name.startswith(("config", "key")):
        for password in passwords:
            try:
                return open_for_rescue(storage, password.encode())
            except WrongPassword:
                continue
        raise AssertionError("no password opens it")
    if fixture not in _keys:
        repo = Repository.open(storage, passwords[0])
        _keys[fixture] = OpenedKey(repo.key_id, repo.master_key)
    key = _keys[fixture]
    config = decode_config(make_cipher(key.master).open(storage.load(FileKind.CONFIG, "")))
    return Opened(storage, Repository(storage, config, key), None)


def test_every_recipe_has_an_origin() -> None:
    assert set(ORIGINS) == set(fixtures.damage_names())


@pytest.mark.parametrize("name", fixtures.damage_names())
def test_a_recipe_is_one_fault_with_its_origin(name: str, tmp_path: Path) -> None:
    damage = fixtures.describe_damage(name)
    repo = fixtures.unpack(name, tmp_path / name)
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in kit.files_of(repo)}
    found = diagnose(opened_fixture(name, damage.fixture, repo))
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in kit.files_of(repo)} == before
    assert found.opened is (name not in WITHOUT_KEYS)
    real = [fault for fault in found.faults if fault.origin is not Origin.LEFT_BEHIND]
    told = real or found.faults
    assert {fault.origin for fault in told} == {ORIGINS[name]}, [(str(fault.object), fault.why) for fault in told]
    assert found.healthy is (ORIGINS[name] is Origin.LEFT_BEHIND)
    for fault in told:
        assert fault.why and fault.means and "\n" not in fault.message
    hurt = {step["path"].rpartition("/")[2] for step in damage.steps}
    if name in ("index-missing", "indexes-missing", "keys-missing"):
        return  # What is gone has no name any more.
    if name == "config-missing":
        assert [fault.object.kind.value for fault in told] == ["config"]
        return
    assert {fault.object.name or "config" for fault in told} <= hurt, [str(fault.object) for fault in told]


def test_what_only_the_index_hides_is_charged_to_the_index(tmp_path: Path) -> None:
    repo = fixtures.unpack("data-blob-flip", tmp_path / "two")
    fixtures.apply(fixtures.describe_damage("index-truncated").steps, repo)
    found = diagnose(opened_fixture("data-blob-flip", "restic-0.19-v2", repo))
    index, pack = sorted(found.faults, key=lambda fault: fault.object.kind.value)
    assert (index.origin, index.cost.hope) == (Origin.STORAGE, Hope.FOUND) and index.cost.files > 100
    assert (pack.cost.files, pack.cost.dirs, pack.cost.bytes, pack.cost.hope) == (1, 0, 20000, Hope.DAMAGED)
    hurt = [path for path in found.paths if path.hope is Hope.DAMAGED]
    assert [(path.path, path.faults) for path in hurt] == [("/tree/nested/random.bin", (found.faults.index(pack),))]


@pytest.mark.parametrize("name", ["restic-0.19-v2", "restic-0.14-v1", "duplicates-v2", "rustic-v2"])
def test_a_healthy_repository_has_no_fault(name: str, tmp_path: Path) -> None:
    repo = fixtures.unpack(name, tmp_path / name)
    found = diagnose(opened_fixture(name, name, repo))
    assert found.healthy and not found.faults and not found.paths
    assert len(found.snapshots) == len(fixtures.describe(name).snapshots) and all(state.whole for state in found.snapshots)
    marked = 2 if name == "rustic-v2" else 0  # Packs that rustic has marked for deletion: no blob of theirs counts.
    assert found.packs - marked == found.packs_read > 0


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A repository that real restic has made, and what is in it."""
    folder = tmp_path_factory.mktemp("real")
    source = kit.grow_source(folder / "src", files=2, size=200_000)
    return kit.make_repository(folder / "repo", source), source


def test_the_paths_are_those_that_real_restic_cannot_restore(real: tuple[Path, Path], tmp_path: Path) -> None:
    """Two flipped bits in a pack with data: what restic restores otherwise than it was is what is named."""
    original, source = real
    repo = kit.copy_repository(original, tmp_path / "repo")
    packs = kit.files_of(repo, "data")
    kit.flip_bit(packs[-1], 50_000)
    kit.flip_bit(packs[-1], 1_500_000)
    found = examined(repo)
    state = next(state for state in found.snapshots if state.hostname == "second")
    named = {found.paths[number].path for number in state.damaged}
    assert named and found.needed
    kit.restic(repo, "restore", state.id.hex(), "--target", str(tmp_path / "out"), check=False)
    lost = set()
    for path in source.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        back = tmp_path / "out" / str(path)[1:]
        if not back.exists() or back.read_bytes() != path.read_bytes():
            lost.add(str(path))
    assert named == lost
    assert state.counts is not None and state.counts.hurt == len(lost)
    assert all(copy.problem is Problem.SEAL for copy in found.copies)
    assert {path.hope for path in found.paths} == {Hope.DAMAGED}


def test_ranges_are_the_bytes_of_the_blob(real: tuple[Path, Path], tmp_path: Path) -> None:
    """Of a file of many blobs only the damaged one is lost, to the byte: holes of zeros elsewhere would differ."""
    original, source = real
    big = source / "big"
    repo = kit.copy_repository(original, tmp_path / "repo")
    healthy = Repository.open(LocalStorage(str(repo)), kit.PASSWORD)
    healthy.load_index()
    content = big.read_bytes()
    named = next(p for p in kit.files_of(repo, "data")[::-1])
    kit.flip_bit(named, 100)
    found = examined(repo)
    (fault,) = found.faults
    assert fault.object.name == named.name and fault.means[0] is Means.SOLVING
    for path in found.paths:
        data = Path(path.path).read_bytes()
        blobs = {copy.key[1] for copy in found.copies}
        for part in path.ranges:
            assert part.exact and hashlib.sha256(data[part.start : part.end]).digest() in blobs
    assert fault.cost.files == len(found.paths) and fault.cost.bytes == sum(path.lost_bytes for path in found.paths)
    assert len(content) > 1 << 20


def test_another_copy_costs_nothing(tmp_path: Path) -> None:
    repo = fixtures.unpack("duplicates-v2", tmp_path / "d")
    first = opened_fixture("duplicates-v2", "duplicates-v2", repo)
    assert first.repository is not None
    first.repository.load_index()
    index = first.repository.index
    pack, entry = next((pack, entry) for pack, entry in index.entries() if len(index.lookup_all(entry.type, entry.id)) > 1)
    place = repo / "data" / pack.hex()[:2] / pack.hex()
    kit.flip_bit(place, entry.offset + 20)
    found = diagnose(opened_fixture("duplicates-v2", "duplicates-v2", repo))
    (fault,) = found.faults
    assert fault.object.name == pack.hex() and Means.OTHER_COPY in fault.means and Means.COPIES not in fault.means
    assert fault.cost.files == 0 and not found.paths and not found.needed


def test_swapped_packs_are_told_as_mixed_up(real: tuple[Path, Path], tmp_path: Path) -> None:
    repo = kit.copy_repository(real[0], tmp_path / "repo")
    one, two = kit.files_of(repo, "data")[-2:]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    found = examined(repo)
    assert {fault.object.name for fault in found.faults} == {one.name, two.name}
    for fault in found.faults:
        assert fault.origin is Origin.MIXED_UP and fault.means[0] is Means.PUT_BACK, fault.why
    assert {path.hope for path in found.paths} <= {Hope.FOUND}


def test_a_renamed_pack_is_recognised(real: tuple[Path, Path], tmp_path: Path) -> None:
    repo = kit.copy_repository(real[0], tmp_path / "repo")
    pack = kit.files_of(repo, "data")[-1]
    other = "ab" + pack.name[2:-1] + ("0" if pack.name[-1] != "0" else "1")
    (repo / "data" / "ab").mkdir(exist_ok=True)
    pack.rename(repo / "data" / "ab" / other)
    found = examined(repo)
    faults = {fault.object.name: fault for fault in found.faults}
    assert set(faults) == {pack.name, other}
    assert all(fault.origin is Origin.MIXED_UP and fault.means[0] is Means.PUT_BACK for fault in faults.values())
    assert faults[pack.name].why.endswith(f"data/{other}")
    assert {path.hope for path in found.paths} == {Hope.FOUND}


def test_a_transfer_that_errs_once_is_no_damage(real: tuple[Path, Path]) -> None:
    """The second read tells a flaky medium or network from a damaged file."""
    bad = kit.files_of(real[0], "data")[-1].name
    seen: list[str] = []

    def plan(call: Call) -> Garble | None:
        if call.operation.startswith("load") and call.kind is FileKind.PACK and call.name == bad and not seen:
            seen.append(call.name)
            return Garble()
        return None

    storage: Storage = FaultyStorage(LocalStorage(str(real[0])), plan)
    found = diagnose(open_for_rescue(storage, kit.PASSWORD.encode()))
    assert seen
    (fault,) = found.faults
    assert fault.origin is Origin.UNREADABLE and fault.means == (Means.READ_AGAIN,)
    assert not found.paths and not found.copies


def test_a_tree_or_config_that_is_read_wrongly_once_is_no_damage(forge: Forge) -> None:
    """What is below the tree is looked at all the same."""
    lost = forge.blob("data", b"lost")
    inner = forge.blob("tree", tree_of(node("f", content=[lost[1]], size=4)))
    root = forge.blob("tree", tree_of(node("dir", "dir", subtree=inner[1])))
    pack = forge.pack([root, inner])
    forge.index({pack: [root, inner]})
    forge.snapshot(root[1])
    seen: list[FileKind] = []

    def plan(call: Call) -> Garble | None:
        if call.operation.startswith("load") and call.kind in (FileKind.PACK, FileKind.CONFIG) and call.kind not in seen:
            seen.append(call.kind)
            return Garble()
        return None

    found = diagnose(open_for_rescue(FaultyStorage(LocalStorage(str(forge.path)), plan), kit.PASSWORD.encode()))
    assert seen == [FileKind.CONFIG, FileKind.PACK] and found.trouble is None
    faults = {fault.object.name: fault.origin for fault in found.faults}
    assert faults == {pack: Origin.UNREADABLE, lost[1]: Origin.MISSING}
    assert [path.path for path in found.paths] == ["/dir/f"]


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
def test_whatever_the_storage_does_not_give_is_not_called_damaged(forge: Forge, *, always: bool) -> None:
    forge.whole([node("f", content=[(blob := forge.blob("data", b"content"))[1]], size=7)], [blob])
    calls: list[Call] = []

    def note(call: Call) -> None:
        calls.append(call)

    diagnose(open_for_rescue(FaultyStorage(LocalStorage(str(forge.path)), note), kit.PASSWORD.encode()))
    for failing in list(calls):
        left = [1]

        def plan(call: Call, failing: Call = failing, left: list[int] = left) -> Fail | None:
            hit = call[:3] == failing[:3] and (always or call.number == failing.number) and left[0] > 0
            left[0] -= hit and not always
            return Fail() if hit else None

        found = diagnose(open_for_rescue(FaultyStorage(LocalStorage(str(forge.path)), plan), kit.PASSWORD.encode()))
        told = {fault.origin for fault in found.faults}
        gone = {Origin.MISSING} if not found.opened and failing.operation == "list" else set()
        assert told <= {Origin.UNREADABLE} | gone, failing
        assert {path.hope for path in found.paths} <= {Hope.HIDDEN, Hope.FOUND}, failing
        assert not (found.healthy and always), failing


def test_directories_within_each_other_take_no_time_without_end(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that is twice in the one above, sixty times: what is in it is at 2^60 paths, which nobody goes through."""
    for limit, most in (("MAX_PATHS", 100), ("MAX_AGAIN", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(damagedpaths, limit, most)
            made = Forge(forge.path.parent / limit)
            lost = made.blob("data", b"lost")
            trees = [made.blob("tree", tree_of(node("f", content=[lost[1]], size=4)))]
            for _ in range(60):
                trees.append(made.blob("tree", tree_of(*(node(name, "dir", subtree=trees[-1][1]) for name in "ab"))))
            made.index({made.pack(trees): trees})
            made.snapshot(trees[-1][1])
            found = examined(made.path)
            (state,) = found.snapshots
            assert found.incomplete and not state.whole and state.counts is not None
            assert state.counts.lost == state.counts.files == 1 << 60


def test_each_pack_is_read_once(real: tuple[Path, Path]) -> None:
    size = sum(path.stat().st_size for path in kit.files_of(real[0], "data"))

    class Counting(WrappedStorage):
        read = 0

        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            data = self.inner.load(kind, name, offset, length)
            if kind is FileKind.PACK:
                self.read += len(data)
            return data

        def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
            self.inner.load_into(kind, name, offset, target)
            self.read += len(target)

    storage = Counting(LocalStorage(str(real[0])))
    found = diagnose(open_for_rescue(storage, kit.PASSWORD.encode()))
    trees = size // 10
    assert found.healthy and found.bytes_read == size and size <= storage.read <= size + trees


def test_a_lying_index_loses_nothing(forge: Forge) -> None:
    """Wrong offsets under a valid seal: the pack's own header is right."""
    data = forge.blob("data", b"some content")
    more = forge.blob("data", b"other content, longer")
    tree = forge.blob("tree", tree_of(node("f", content=[data[1]], size=12), node("g", content=[more[1]], size=21)))
    tree_pack, data_pack = forge.pack([tree]), forge.pack([data, more])
    forge.index({tree_pack: [tree]})
    forge.index({data_pack: [data, more]}, offset=7)
    forge.snapshot(tree[1])
    found = examined(forge.path)
    (fault,) = found.faults
    assert fault.origin is Origin.INDEX and fault.object.name == data_pack and fault.means == (Means.HEADERS,)
    assert {(path.path, path.hope) for path in found.paths} >= {("/f", Hope.FOUND)}
    assert found.wrong_packs == [bytes.fromhex(data_pack)] and Hope.LOST not in found.missing.values()


def test_a_blob_of_unknown_length_is_placed_by_its_neighbours(forge: Forge) -> None:
    one, two, three = (forge.blob("data", content) for content in (b"1" * 10, b"2" * 20, b"3" * 30))
    forge.whole([node("f", content=[one[1], two[1], three[1]], size=60)], [one, three])
    found = examined(forge.path)
    (path,) = found.paths
    assert [(part.start, part.end, part.hope, part.exact) for part in path.ranges] == [(10, 30, Hope.LOST, True)]
    assert found.faults[0].object.name == two[1] and found.faults[0].origin is Origin.MISSING
    assert found.faults[0].cost.files == 1 and found.faults[0].cost.bytes == 20


def test_two_unknown_lengths_make_a_part_that_is_not_exact(forge: Forge) -> None:
    blobs = [forge.blob("data", str(number).encode() * 10 * number) for number in (1, 2, 3, 4, 5)]
    forge.whole([node("f", content=[blob[1] for blob in blobs], size=150)], [blobs[0], blobs[2], blobs[4]])
    found = examined(forge.path)
    (path,) = found.paths
    assert [(part.start, part.end, part.exact) for part in path.ranges] == [(10, 100, False)]


def test_a_directory_and_the_snapshots_that_share_it(forge: Forge) -> None:
    lost = forge.blob("tree", tree_of(node("inside", content=[], size=0)))
    root = forge.blob("tree", tree_of(node("dir", "dir", subtree=lost[1]), node("file")))
    forge.index({forge.pack([root]): [root]})
    first, second = forge.snapshot(root[1]), forge.snapshot(root[1])
    assert first != second
    found = examined(forge.path)
    (path,) = found.paths
    assert path.path == "/dir" and path.is_dir and path.hope is Hope.LOST and path.faults == (0,)
    assert found.faults[0].cost.snapshots == 2 and found.faults[0].cost.dirs == 1
    assert [list(state.damaged) for state in found.snapshots] == [[0], [0]]
    assert [state.counts.files for state in found.snapshots if state.counts] == [1, 1]


def test_a_key_of_another_repository_is_passed_over(forge: Forge, tmp_path: Path) -> None:
    other = Forge(tmp_path / "other")
    (other_key,) = (other.path / "keys").iterdir()
    (forge.path / "keys" / other_key.name).write_bytes(other_key.read_bytes())
    forge.whole([node("f")])
    found = examined(forge.path)
    (fault,) = found.faults
    assert (fault.object.name, fault.origin, fault.means) == (other_key.name, Origin.MIXED_UP, (Means.SETTING_ASIDE,))
    assert not found.healthy and all(state.whole for state in found.snapshots)
    (forge.path / "config").unlink()
    with pytest.raises(WrongPassword):
        opened(forge.path, "wrong")


def test_what_only_a_program_could_write_is_told(forge: Forge) -> None:
    forge.whole([node("b"), node("a")])
    found = examined(forge.path)
    assert [fault.origin for fault in found.faults] == [Origin.PROGRAM]


def test_nothing_is_opened_without_a_password(real: tuple[Path, Path], tmp_path: Path) -> None:
    repo = kit.copy_repository(real[0], tmp_path / "repo")
    pack = kit.files_of(repo, "data")[-1]
    kit.flip_bit(pack, 10)
    found = diagnose(open_for_rescue(Untouchable(LocalStorage(str(repo))), None))
    assert not found.opened and [fault.object.name for fault in found.faults] == [pack.name]
    assert not found.healthy and found.packs_read == found.packs and [file.name for file in found.files] == [pack.name]
    kit.flip_bit(pack, 10)
    assert diagnose(open_for_rescue(LocalStorage(str(repo)), None)).healthy


def tree_of(*nodes: dict[str, object]) -> bytes:
    return tree_json(list(nodes))


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """An empty repository made by hand."""
    return Forge(tmp_path / "forged")
