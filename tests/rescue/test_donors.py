"""Donors: other repositories, copies, caches and the original files give back what is lost here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from restic_format.errors import Interrupted
from restic_format.repository import Repository
from restic_format.rescue.means.donors import OtherRepository, SameFiles, StoragePlace
from restic_format.rescue.means.source import SourceFiles
from restic_format.rescue.wanted import DamagedFile, Key
from restic_format.snapshots.find import all_snapshots
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.layout import LISTED_KINDS, FileKind
from restic_spec.pack import BlobType
from tests.repairing.kit import packs_of_type
from tests.rescue.conftest import Fresh
from tests.rescue.kit import opened, readable
from tests.safety import kit
from tests.tools.kit import Runner


def test_a_copy_gives_whole_files_without_a_password(fresh: Fresh) -> None:
    repo = fresh()
    wanted = [
        DamagedFile(kind, path.name, None)
        for kind in LISTED_KINDS
        if kind is not FileKind.LOCK
        for path in kit.files_of(repo, kind.value)
    ]
    odd = [
        DamagedFile(FileKind.PACK, "00" * 32, None),
        DamagedFile(FileKind.PACK, "no id", None),
    ]
    hurt = kit.files_of(repo, "index")[0]
    kit.flip_bit(hurt, 50)
    found = list(SameFiles(StoragePlace(LocalStorage(repo)), "a copy").files([*odd, *wanted], cancel=None))
    assert {item.name for item in found} == {item.name for item in wanted} - {hurt.name}
    assert all(id_of(item.data).hex() == item.name and item.how == "a copy" for item in found)


def test_another_repository_gives_blobs_whatever_its_password(fresh: Fresh, tmp_path: Path, rescue_source: Path) -> None:
    repo = fresh()
    other = tmp_path / "other"
    words = ["init", "-q", "--from-repo", str(repo), "--copy-chunker-params"]
    env = kit.environment(RESTIC_FROM_PASSWORD=kit.PASSWORD, RESTIC_PASSWORD="another")
    kit.run([kit.restic_binary(), "--no-cache", "-r", str(other), *words], env=env)
    kit.run([kit.restic_binary(), "--no-cache", "-r", str(other), "backup", "-q", str(rescue_source)], env=env)
    donor = Repository.open(LocalStorage(other), b"another")
    assert not OtherRepository(donor).is_copy_of(LocalStorage(repo))
    assert OtherRepository(opened(fresh())).is_copy_of(LocalStorage(repo))
    donor.load_index()
    keys: dict[Key, list] = {key: [] for key in readable(repo)}
    keys[BlobType.DATA, bytes(32)] = []
    found = {item.key: item.plaintext for item in OtherRepository(donor).blobs(keys, cancel=None)}
    assert all(id_of(plaintext) == key[1] for key, plaintext in found.items())
    assert {key for key in keys if key[0] is BlobType.DATA and any(key[1])} <= found.keys()
    assert (BlobType.DATA, bytes(32)) not in found
    # The command: with its own password only.
    packs_of_type(repo, "data")[-1].unlink()
    told = kit.ours(repo, "heal", "--yes", "--donor", str(other), check=False)
    assert told.returncode == 12 and "wrong password" in told.stderr
    env = kit.environment(RESTIC_DONOR_PASSWORD="another")
    kit.run([*kit.ours_command(repo, "heal", "--yes", "--donor", str(other))], env=env)
    assert "no errors were found" in kit.restic(repo, "check", "--read-data").stdout
    assert len(kit.files_of(repo, "snapshots")) == 2


def test_the_source_gives_chunks_of_files(fresh: Fresh, tmp_path: Path, rescue_source: Path) -> None:
    repo = opened(fresh())
    repo.load_index()
    keys: dict[Key, list] = {key: [] for pack, entries in repo.index.by_pack(None) for key in ((e.type, e.id) for e in entries)}
    source = shutil.copytree(rescue_source, tmp_path / "source", symlinks=True)
    (source / "loop").symlink_to(source)
    means = SourceFiles(repo.config, [str(source), str(tmp_path / "nothing")])
    keys = {key: copies for key, copies in keys.items() if key[0] is BlobType.DATA}
    found = {item.key: item for item in means.blobs(keys, cancel=None)}
    assert found.keys() == keys.keys()
    assert all(id_of(item.plaintext) == key[1] and item.how.startswith("the file ") for key, item in found.items())
    assert list(means.files([], cancel=None)) == []
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        list(SourceFiles(repo.config, [str(source)]).blobs(keys, cancel=cancel))
    changed = next(path for path in source.rglob("*.bin"))
    changed.write_bytes(bytes(changed.stat().st_size))  # since it was read
    assert 0 < len(list(means.blobs(keys, cancel=None))) < len(keys)


def test_the_source_gives_trees_of_directories(fresh: Fresh, tmp_path: Path) -> None:
    folder, source = fresh(), kit.grow_source(tmp_path / "here", files=1, size=1000)
    kit.restic(folder, "backup", "-q", str(source))
    repo = opened(folder)
    repo.load_index()
    newest = max((found.snapshot for found in all_snapshots(repo)), key=lambda snapshot: snapshot.time)
    tree = newest.tree
    for name in source.parts[1:]:
        [tree] = [node.subtree for node in repo.load_tree(bytes.fromhex(tree)).nodes if node.name == name]
    wanted, left = set(), [tree]
    while left:
        tree = left.pop()
        wanted.add(bytes.fromhex(tree))
        left += [node.subtree for node in repo.load_tree(bytes.fromhex(tree)).nodes if node.subtree]
    assert len(wanted) == 5
    means = SourceFiles(repo.config, [str(source)])
    found = {item.key[1]: item for item in means.blobs({(BlobType.TREE, tree): [] for tree in wanted}, cancel=None)}
    assert found.keys() == wanted and all(id_of(item.plaintext) == tree for tree, item in found.items())
    assert list(means.blobs({(BlobType.TREE, bytes(32)): []}, cancel=None)) == []


@pytest.mark.parametrize("donor", ["source", "copy", "cache"])
def test_heal_takes_from_donors(fresh: Fresh, rescue_source: Path, tmp_path: Path, donor: str) -> None:
    repo = fresh()
    words = []
    pack = packs_of_type(repo, "tree" if donor == "cache" else "data")[-1]
    if donor == "cache":
        kit.run([kit.restic_binary(), "--cache-dir", str(tmp_path / "cache"), "-r", str(repo), "check", "--with-cache"])
        words = ["--cache-dir", str(tmp_path / "cache")]
    elif donor == "copy":
        words = ["--donor", str(shutil.copytree(repo, tmp_path / "copied"))]
    else:
        words = ["--source", str(rescue_source)]
    if donor == "source":
        kit.flip_bit(pack, 500)
    else:
        pack.unlink()
    before = opened(repo)
    kit.run(
        [
            *[word for word in kit.ours_command(repo) if word != "--no-cache"],
            "heal",
            "--yes",
            *words,
        ]
    )
    assert before.id == opened(repo).id
    assert "no errors were found" in kit.restic(repo, "check", "--read-data").stdout
    assert len(kit.files_of(repo, "snapshots")) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--source {repo}/nowhere", "/nowhere: there is no such file or directory"),
        ("--donor {repo}", "--donor names the repository that is to be healed"),
        ("--donor local:{repo}/.", "--donor names the repository that is to be healed"),
        ("--donor {repo}/nowhere", "repository does not exist"),
        ("--donor {repo}-x --donor-password-file a --donor-password-command b", "repository does not exist"),
        ("--parity {repo}/nowhere", "there is no parity in"),
    ],
)
def test_places_that_are_none_are_told(
    fresh: Fresh, run: Runner, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    repo = fresh()
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repo))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    done = run("heal", "-n", *words.format(repo=repo).split())
    assert done.code in (1, 10) and told.encode() in done.err


def test_parity_that_cannot_be_listed_harms_nothing(fresh: Fresh, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = fresh()
    (repo / "parity").write_bytes(b"no folder")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repo))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    done = run("heal", "-n")
    assert done.code == 0 and b"parity cannot be used" in done.err
