"""The stored repositories are what their notes say, and each recipe damages what it names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from restic_conformance import damage, fixtures
from restic_conformance.vault import Vault

FILES_BY_HASH = ("data/*/*", "index/*", "snapshots/*", "keys/*", "locks/*")


def _misnamed(repository: Path) -> set[str]:
    """Files whose name is not the hash of their bytes, and missing ones that the index names."""
    return {
        str(path.relative_to(repository))
        for pattern in FILES_BY_HASH
        for path in repository.glob(pattern)
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    }


def test_every_peer_has_left_a_repository() -> None:
    assert {
        "restic-0.14-v1", "restic-0.14-v2", "restic-0.18-v1", "restic-0.18-v2", "restic-0.19-v1", "restic-0.19-v2",
        "rustic-v2", "duplicates-v2", "tiny-v1", "tiny-v2",
    } == set(fixtures.names())  # fmt: skip


@pytest.mark.parametrize("name", fixtures.names())
def test_healthy(tmp_path: Path, name: str) -> None:
    note = fixtures.describe(name)
    repository = fixtures.unpack(name, tmp_path / "fixture")
    assert _misnamed(repository) == set()
    vaults = [Vault(repository, password) for password in note.passwords]
    assert {vault.version for vault in vaults} == {note.version}
    assert len({vault.master.encrypt for vault in vaults}) == 1
    assert sorted(one["id"] for one in note.snapshots) == vaults[0].names("snapshots")
    for pack, _ in vaults[0].packs():
        assert (repository / vaults[0].pack_path(pack)).is_file()
    types = {facts.type for facts in fixtures.facts_of(tmp_path / "fixture")["first"].values()}
    others = set() if name.startswith("tiny") else {"symlink", "fifo", "socket", "dev", "chardev"}
    assert types == {"file", "dir"} | others


def test_fixtures_stay_small() -> None:
    sizes = [path.stat().st_size for path in fixtures.FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) < 1 << 20
    assert sum(sizes) < 8 << 20


def test_the_tiny_ones_are_as_small_as_can_be() -> None:
    for version in (1, 2):
        assert (fixtures.FOLDER / f"tiny-v{version}.tar.gz").stat().st_size < 10_000


def test_every_blob_of_the_duplicates_is_there_twice(tmp_path: Path) -> None:
    vault = Vault(fixtures.unpack("duplicates-v2", tmp_path / "fixture"), "correct horse")
    data = [entry.id for _, entries in vault.packs() for entry in entries]
    assert data
    assert all(data.count(one) == 2 for one in data)


def test_old_indexes_say_what_they_replace(tmp_path: Path) -> None:
    vault = Vault(fixtures.unpack("restic-0.14-v1", tmp_path / "fixture"), "correct horse")
    assert any(index.supersedes for index in vault.indexes().values())


def _content(repository: Path) -> dict[Path, bytes]:
    return {path.relative_to(repository): path.read_bytes() for path in repository.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[Path, bytes]]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: _content(fixtures.unpack(name, folder / name)) for name in (damage.NEW, damage.OLD)}


@pytest.mark.parametrize("name", fixtures.damage_names())
def test_damaged(tmp_path: Path, whole: dict[str, dict[Path, bytes]], name: str) -> None:
    recipe = fixtures.describe_damage(name)
    before, after = whole[recipe.fixture], _content(fixtures.unpack(name, tmp_path / "broken"))
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {str(path) for path in changed} == {step[key] for step in recipe.steps for key in ("path", "to") if key in step}
    assert recipe.what
    assert recipe.consequence
    assert set(recipe.observed) == {"restic-0.14", "restic-0.18", "restic-0.19"}
    if any(recipe.observed["restic-0.19"].values()):
        assert recipe.names, "damage that restic finds has to be named"


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown step"):
        fixtures.apply([{"do": "bless", "path": "config"}], tmp_path)
