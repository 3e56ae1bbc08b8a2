"""``migrate``: a repository of version 1 becomes one of version 2, and its config is never gone."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import ResticFormatError, UsageError
from restic_format.maintenance.migrate import MIGRATIONS, UpgradeToVersion2
from restic_format.repository.cipher import make_cipher
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, Storage, oldlayout
from restic_format.storage.faulty import Call, Fail, Fault, Lose, Truncate
from restic_spec.config import decode_config, encode_config
from restic_spec.layout import FileKind
from tests.repairing.kit import at, calls, copy_of, in_memory, inspect, opened
from tests.safety import kit


@pytest.fixture(scope="module")
def version1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("version1")
    return kit.make_repository(base / "repo", kit.grow_source(base / "src", files=1, size=20_000), version=1)


@pytest.fixture
def repo(version1: Path, tmp_path: Path) -> Path:
    return kit.copy_repository(version1, tmp_path / "repo")


def migrate(where: Path | Storage, folder: Path) -> None:
    repository = opened(where)
    with repository.lock(exclusive=True):
        UpgradeToVersion2().apply(repository, str(folder))


@pytest.mark.clause("CONFIG-3")
def test_upgrade(repo: Path, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    before = opened(repo).config
    done = kit.ours(repo, "migrate", "upgrade_repo_v2")
    assert done.stdout.splitlines()[-2:] == ["applying migration upgrade_repo_v2...", "migration upgrade_repo_v2: success"]
    after = opened(repo).config
    assert (after.version, after.id, after.chunker_polynomial) == (2, before.id, before.chunker_polynomial)
    for program in ("restic-0.14", "restic-0.18", "restic-0.19"):
        kit.run([str(peer(program)), "--no-cache", "-r", str(repo), "check", "--read-data"])
    source = tmp_path / "more"
    source.mkdir()
    (source / "text").write_text("compress me\n" * 10_000)
    kit.ours(repo, "backup", "-q", str(source))
    kit.restic(repo, "check", "--read-data")


def test_it_says_what_restic_says(repo: Path, version1: Path, tmp_path: Path) -> None:
    theirs = kit.copy_repository(version1, tmp_path / "theirs")
    for words in (
        ["migrate"],
        ["migrate", "nothing"],
        ["migrate", "upgrade_repo_v2"],
        ["migrate", "upgrade_repo_v2"],
        ["migrate"],
        ["migrate", "-f", "upgrade_repo_v2"],
    ):
        ours, real = kit.ours(repo, *words, check=False), kit.restic(theirs, *words, check=False)
        assert ours.returncode == real.returncode, words

        def lines(text: str) -> list[str]:
            kept = (line for line in text.splitlines() if not line.startswith("using temporary cache"))
            return [re.sub(r"^\[\d:\d\d\]", "[]", line.removeprefix("Fatal: ")) for line in kept]

        assert lines(ours.stdout) == lines(real.stdout), words
        assert lines(ours.stderr) == lines(real.stderr), words


def test_a_damaged_repository_stays_as_it_is(repo: Path) -> None:
    kit.files_of(repo, "data")[-1].unlink()
    config = (repo / "config").read_bytes()
    done = kit.ours(repo, "migrate", "upgrade_repo_v2", check=False)
    assert done.returncode == 1 and done.stderr.endswith("Fatal: repository contains errors\n")
    assert (repo / "config").read_bytes() == config


@pytest.mark.clause("CONFIG-6", "RUSTIC-1")
def test_members_that_others_have_written_survive(repo: Path, tmp_path: Path) -> None:
    storage = in_memory(repo)
    repository = opened(storage)
    extra = b',"compression":7,"datapack_size":12345,"unheard_of":{"a":[1,null]}}'
    plaintext = encode_config(repository.config)[:-1] + extra
    cipher = make_cipher(repository.master_key)
    storage.files[FileKind.CONFIG, ""] = cipher.seal(plaintext)
    migrate(storage, tmp_path)
    stored = cipher.open(storage.files[FileKind.CONFIG, ""])
    assert stored == plaintext.replace(b'"version":1', b'"version":2')


@pytest.mark.clause("LAYOUT-8")
@pytest.mark.parametrize("fault", [Fail(), Lose(), Truncate(30)], ids=["fails", "lost", "cut"])
def test_when_any_call_goes_wrong(repo: Path, tmp_path: Path, fault: Fault) -> None:
    """After it a config is there, the old or the new one, or the message says where its copy is."""
    start = in_memory(repo)
    failed = 0
    folder = tmp_path / "kept"
    for number, (key, call) in enumerate(calls(lambda storage: migrate(storage, fresh(folder)), start)):
        if not isinstance(fault, Fail) and key != ("save", FileKind.CONFIG):
            continue
        inner = copy_of(start)
        try:
            migrate(FaultyStorage(inner, at(key, call, fault)), fresh(folder))
        except ResticFormatError:
            failed += key[1] is FileKind.CONFIG
        config = opened(inner).config
        assert config.version in (1, 2), (number, key)
        assert inspect(inner, read_data=False).ok
    assert failed


def fresh(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def test_the_copy_is_kept_where_the_old_config_cannot_be_put_back(repo: Path, tmp_path: Path) -> None:
    storage = in_memory(repo)
    sealed = storage.files[FileKind.CONFIG, ""]
    saves = 0

    def plan(call: Call) -> Fault | None:
        nonlocal saves
        if (call.operation, call.kind) != ("save", FileKind.CONFIG):
            return None
        saves += 1
        return Truncate(10) if saves == 1 else Fail()

    with pytest.raises(ResticFormatError, match=re.escape(str(tmp_path / "config"))):
        migrate(FaultyStorage(storage, plan), tmp_path)
    assert (tmp_path / "config").read_bytes() == sealed


def test_only_version_1_can_be_upgraded(tmp_path: Path) -> None:
    storage = MemoryStorage()
    from restic_format.repository import Repository
    from restic_spec.keyfile import SALT_SIZE, Kdf

    repository = Repository.init(storage, kit.PASSWORD, kdf=Kdf(2, 1, 1, bytes(SALT_SIZE)))
    migration = UpgradeToVersion2()
    assert all(one.refused(repository) is not None for one in MIGRATIONS)
    with pytest.raises(UsageError, match="version 2"):
        migration.apply(repository, str(tmp_path))
    assert decode_config(make_cipher(repository.master_key).open(storage.files[FileKind.CONFIG, ""])).version == 2


def test_json(repo: Path) -> None:
    (listed,) = map(json.loads, kit.ours(repo, "migrate", "--json").stdout.splitlines())
    assert (listed["message_type"], listed["name"]) == ("migration", "upgrade_repo_v2")
    (done,) = map(json.loads, kit.ours(repo, "migrate", "--json", "upgrade_repo_v2").stdout.splitlines())
    assert done == {"message_type": "migration_result", "name": "upgrade_repo_v2", "result": "success", "reason": ""}
    (again,) = map(json.loads, kit.ours(repo, "migrate", "--json", "upgrade_repo_v2").stdout.splitlines())
    assert again["result"] == "refused" and "version 2" in again["reason"]


# The layout of early versions


def names(repo: Path) -> set[str]:
    return {str(path.relative_to(repo)) for path in kit.files_of(repo)}


@pytest.mark.clause("LAYOUT-3", "LAYOUT-4")
def test_old_layout(repo: Path) -> None:
    before = names(repo)
    kit.to_old_layout(repo)
    assert "s3_layout" in kit.ours(repo, "migrate").stdout
    assert kit.ours(repo, "migrate", "s3_layout").stdout.endswith("migration s3_layout: success\n")
    assert names(repo) == before
    assert not {path.name for path in repo.iterdir()} & {"key", "lock", "snapshot", "keys-new"}
    kit.restic(repo, "check", "--read-data")
    assert "not using the legacy s3 layout" in kit.ours(repo, "migrate", "s3_layout").stderr


@pytest.mark.clause("LAYOUT-4")
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_old_layout_when_any_step_fails(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """With links the repository is whole after every step; without, once the migration was run again."""
    before = names(repo)
    start = kit.to_old_layout(repo)
    real = os.link, os.rename, os.unlink, os.rmdir
    for failing in range(200):
        steps = 0
        copy = kit.copy_repository(start, tmp_path / f"copy{failing}")

        def step(act: Callable[..., None], failing: int = failing) -> Callable[..., None]:
            def taken(*args: object, **named: object) -> None:
                nonlocal steps
                steps += 1
                if steps > failing:
                    raise OSError(errno.EIO, "interrupted")
                if act is real[0] and not links:
                    raise OSError(errno.EOPNOTSUPP, "no links here")
                act(*args, **named)

            return taken

        storage = LocalStorage(copy)
        for name, act in zip(("link", "rename", "unlink", "rmdir"), real, strict=True):
            monkeypatch.setattr(oldlayout.os, name, step(act))
        try:
            oldlayout.move_to_default(storage)
            ended = True
        except ResticFormatError:
            ended = False
        monkeypatch.undo()
        if links or ended:
            assert inspect(copy, read_data=False).ok, failing
        again = LocalStorage(copy)
        if oldlayout.has_old_names(again):
            oldlayout.move_to_default(again)
        assert names(copy) == before, failing
        kit.run(["rm", "-rf", str(copy)])
        if ended and steps <= failing:
            return
    pytest.fail("it takes too many steps")
