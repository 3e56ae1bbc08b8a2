"""Settings in the config: members that nobody knows survive, and at no moment there is no config."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from restic_format.errors import ResticFormatError, UsageError
from restic_format.maintenance.configure import apply, plan
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Fail, Lose, Truncate, nth
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.rustic import ConfigMembers

CHEAP = Kdf(16, 8, 1, b"s" * 64)


def made(**members: object) -> MemoryStorage:
    """A repository with *members* in its config beside those of restic."""
    storage = MemoryStorage()
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    document = {**json.loads(repo.load_unpacked(FileKind.CONFIG, b"")), **members}
    storage.save(FileKind.CONFIG, "", make_cipher(repo.master_key).seal(json.dumps(document).encode()))
    return storage


def stored(storage: MemoryStorage) -> dict[str, object]:
    repo = Repository.open(storage, "pw")
    found: dict[str, object] = json.loads(repo.load_unpacked(FileKind.CONFIG, b""))
    return found


@pytest.mark.clause("RUSTIC-1", "CONFIG-6")
def test_everything_else_stays(tmp_path: Path) -> None:
    storage = made(chunker="Rabin", is_hot=True, compression=3, new_thing={"a": [1, 2.50]})
    before = stored(storage)
    planned = plan(Repository.open(storage, "pw"), ConfigMembers(compression=4, extra_verify=False))
    assert [tuple(change) for change in planned.changes] == [("compression", 3, 4), ("extra_verify", None, False)]
    assert stored(storage) == before, "nothing before it is carried out"
    apply(planned, str(tmp_path))
    assert stored(storage) == {**before, "compression": 4, "extra_verify": False}
    assert list(tmp_path.iterdir()) == []
    repo = Repository.open(storage, "pw")
    assert (repo.settings.level, repo.extra_verify) == (4, False)


def test_what_is_so_already_is_no_change(tmp_path: Path) -> None:
    storage = made(compression=3)
    before = storage.load(FileKind.CONFIG, "")
    planned = plan(Repository.open(storage, "pw"), ConfigMembers(compression=3))
    assert planned.changes == []
    apply(planned, str(tmp_path))
    assert storage.load(FileKind.CONFIG, "") == before


def test_an_append_only_repository_stays_so_until_that_is_taken_back() -> None:
    repo = Repository.open(made(append_only=True), "pw")
    with pytest.raises(UsageError, match="append-only"):
        plan(repo, ConfigMembers(compression=3))
    assert plan(repo, ConfigMembers(append_only=True)).changes == []
    assert len(plan(repo, ConfigMembers(append_only=False, compression=3)).changes) == 2
    with pytest.raises(UsageError, match="append-only"):
        repo.remove(FileKind.SNAPSHOT, bytes(32))


@pytest.mark.parametrize("member", ["chunker", "is_hot", "chunk_size"])
def test_how_files_are_cut_cannot_be_changed(member: str) -> None:
    value: object = {"chunker": "FixedSize", "is_hot": True, "chunk_size": 1}[member]
    with pytest.raises(UsageError, match=f"{member} cannot be changed"):
        plan(Repository.open(made(), "pw"), msgspec.structs.replace(ConfigMembers(), **{member: value}))


@pytest.mark.parametrize("operation", ["save", "load"])
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("fault", [Fail(), Truncate(20), Lose()], ids=["fail", "truncate", "lose"])
def test_there_is_always_a_config(operation: str, number: int, fault: Fail | Truncate | Lose, tmp_path: Path) -> None:
    storage = made(compression=3)
    repo = Repository.open(storage, "pw")
    repo.storage = FaultyStorage(storage, nth(operation, number, fault, FileKind.CONFIG))
    try:
        apply(plan(repo, ConfigMembers(compression=4)), str(tmp_path))
        expected = {4}
    except ResticFormatError:
        expected = {3, 4}
    assert stored(storage)["compression"] in expected


@pytest.mark.clause("RUSTIC-10")
@pytest.mark.parametrize("members", [{"compression": "much"}, {"datapack_size": -5}, {"append_only": 3}])
def test_settings_that_are_none_do_not_keep_anybody_from_reading(members: dict[str, object]) -> None:
    repo = Repository.open(made(**members), "pw")
    repo.load_index()
    assert (repo.settings.level, repo.pack_size, repo.extra_verify) == (None, 16 << 20, True)
