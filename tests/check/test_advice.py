"""Each piece of advice that a check gives is followed with our commands: it helps and loses nothing, and restic agrees."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from restic_conformance.vault import Vault
from restic_format.check import CheckReport, Code
from restic_format.check.advice import Step, steps
from restic_spec.index import IndexPack, encode_index
from restic_spec.pack import BlobType
from tests.check.test_check_trees import BAD_NODES
from tests.safety import kit
from tests.safety.forge import TIME, Forge, node

RunCheck = Callable[..., CheckReport]
Hurt = Callable[[Path], object]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was backed up."""
    return kit.grow_source(tmp_path_factory.mktemp("source") / "src", files=2, size=120_000)


@pytest.fixture(scope="module")
def original(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository real restic has made of it: two snapshots of the same tree."""
    repo = tmp_path_factory.mktemp("original") / "repo"
    kit.initialised(repo)
    for host in ("first", "second"):
        kit.restic(repo, "backup", "-q", "--host", host, str(source))
        (source / "later").write_text("there the second time only")
    return repo


@pytest.fixture
def repo(original: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return kit.copy_repository(original, tmp_path / "repo")


def pack_of(repo: Path, kind: BlobType, least: int = 2) -> tuple[Path, Vault]:
    """The largest pack with blobs of one kind."""
    vault = Vault(repo, kit.PASSWORD)
    names = [name for name, entries in vault.packs() if entries[0].type is kind and len(entries) >= least]
    return max((repo / vault.pack_path(name) for name in names), key=lambda path: path.stat().st_size), vault


def data(repo: Path) -> Path:
    return pack_of(repo, BlobType.DATA)[0]


def tree(repo: Path) -> Path:
    return pack_of(repo, BlobType.TREE)[0]


def lie(kind: BlobType, change: Callable[[IndexPack], object]) -> Hurt:
    """Change what the index says of one pack."""

    def hurt(repo: Path) -> None:
        pack, vault = pack_of(repo, kind)
        for name, index in vault.indexes().items():
            for record in index.packs:
                if record.id == pack.name:
                    change(record)
                    path, sealed = vault.seal_file("index", encode_index(index))
                    (repo / "index" / name).unlink()
                    (repo / path).write_bytes(sealed)

    return hurt


def swap(record: IndexPack) -> None:
    first = record.blobs[0]
    second = next(blob for blob in record.blobs if blob.length != first.length)
    first.offset, second.offset = second.offset, first.offset


def longer(record: IndexPack) -> None:
    record.blobs[0].length += 1


def other_type(record: IndexPack) -> None:
    record.blobs[0].type = "tree" if record.blobs[0].type == "data" else "data"


def other_id(record: IndexPack) -> None:
    record.blobs[0].id = "ab" * 32


def dropped(record: IndexPack) -> None:
    del record.blobs[0]


def other_size(record: IndexPack) -> None:
    record.blobs[0].uncompressed_length = (record.blobs[0].uncompressed_length or 0) + 7


def other_pack(record: IndexPack) -> None:
    record.id = "cd" * 32


def remove_all(*folders: str) -> Hurt:
    return lambda repo: [path.unlink() for folder in folders for path in kit.files_of(repo, folder)]


def newest_snapshot(repo: Path) -> Path:
    return repo / "snapshots" / max(kit.restic(repo, "list", "snapshots").stdout.split(), key=lambda name: time_of(repo, name))


def time_of(repo: Path, name: str) -> bytes:
    return re.findall(rb'"time":"([^"]+)"', Vault(repo, kit.PASSWORD).open(f"snapshots/{name}"))[0]  # type: ignore[no-any-return]


def spare_key(repo: Path) -> None:
    """A second key, damaged, that restic tries first."""
    (key,) = kit.files_of(repo, "keys")
    (repo / "keys" / ("00" * 32)).write_bytes(key.read_bytes())
    kit.flip_bit(repo / "keys" / ("00" * 32), 20)


def all_of(*hurts: Hurt) -> Hurt:
    return lambda repo: [hurt(repo) for hurt in hurts]


@dataclass(frozen=True)
class Case:
    """A way of damage, whether all is read to see it, what must be found, and whether it takes data away."""

    hurt: Hurt
    codes: set[Code]
    read_data: bool = False
    loses: bool = False
    forbidden: tuple[str, ...] = ("prune", "repair snapshots")


FLIP_INDEX: Hurt = lambda repo: kit.flip_bit(kit.files_of(repo, "index")[0], 60)  # noqa: E731
FLIP_HEADER: Hurt = lambda repo: kit.flip_bit(data(repo), -60)  # noqa: E731
CUT: Hurt = lambda repo: kit.cut(data(repo), 200_000)  # noqa: E731

CASES = {
    "index damaged": Case(FLIP_INDEX, {Code.INDEX_DAMAGED}),
    "indexes gone": Case(remove_all("index"), {Code.TREE_MISSING, Code.PACK_UNINDEXED}),
    "header damaged": Case(FLIP_HEADER, {Code.PACK_HEADER_DAMAGED}, read_data=True),
    "tree header damaged": Case(lambda repo: kit.flip_bit(tree(repo), -60), {Code.PACK_HEADER_DAMAGED}, read_data=True),
    "snapshot damaged": Case(
        lambda repo: kit.flip_bit(newest_snapshot(repo), 60), {Code.SNAPSHOT_DAMAGED}, forbidden=("prune", "repair", "forget")
    ),
    "snapshot empty": Case(lambda repo: kit.cut(newest_snapshot(repo), 0), {Code.SNAPSHOT_DAMAGED}),
    "snapshots gone": Case(remove_all("snapshots"), {Code.SNAPSHOTS_GONE}),
    "snapshots and indexes gone": Case(remove_all("snapshots", "index"), {Code.INDEX_NONE, Code.PACK_UNINDEXED}),
    "data: blob damaged": Case(
        lambda repo: kit.flip_bit(data(repo), 50_000), {Code.PACK_DAMAGED}, read_data=True, loses=True, forbidden=("prune",)
    ),
    "tree: blob damaged": Case(
        lambda repo: kit.flip_bit(tree(repo), 40), {Code.TREE_DAMAGED}, loses=True, forbidden=("prune",)
    ),
    "data: blob damaged, tree too": Case(
        all_of(lambda repo: kit.flip_bit(data(repo), 50_000), lambda repo: kit.flip_bit(tree(repo), 40)),
        {Code.PACK_DAMAGED, Code.TREE_DAMAGED},
        read_data=True,
        loses=True,
        forbidden=("prune",),
    ),
    "key damaged": Case(spare_key, {Code.KEY_DAMAGED}, forbidden=("prune", "repair", "key")),
    "key under another name": Case(
        lambda repo: kit.files_of(repo, "keys")[0].rename(repo / "keys" / ("ef" * 32)),
        {Code.KEY_DAMAGED},
        forbidden=("prune", "repair", "key"),
    ),
    "lock damaged": Case(
        lambda repo: (repo / "locks" / hashlib.sha256(b"garbage").hexdigest()).write_bytes(b"garbage"), {Code.LOCK_DAMAGED}
    ),
    "pack cut": Case(CUT, {Code.PACK_SIZE}, loses=True, forbidden=("prune",)),
    "pack cut, index damaged": Case(
        all_of(CUT, FLIP_INDEX, lambda repo: kit.flip_bit(kit.files_of(repo, "index")[-1], 60)),
        {Code.INDEX_DAMAGED, Code.PACK_HEADER, Code.BLOB_MISSING},
        loses=True,
        forbidden=("prune",),
    ),
    "pack cut, another index damaged": Case(
        all_of(CUT, FLIP_INDEX), {Code.INDEX_DAMAGED, Code.PACK_SIZE}, loses=True, forbidden=("prune",)
    ),
    "pack gone": Case(lambda repo: data(repo).unlink(), {Code.PACK_MISSING}, loses=True, forbidden=("prune",)),
    "header damaged and index lies": Case(
        all_of(FLIP_HEADER, lie(BlobType.TREE, swap)),
        {Code.PACK_HEADER_DAMAGED, Code.INDEX_LAYOUT},
    ),
    "header damaged and an index of no use": Case(
        all_of(lambda repo: kit.flip_bit(tree(repo), -60), lie(BlobType.DATA, other_type)),
        {Code.PACK_HEADER_DAMAGED, Code.INDEX_WRONG, Code.BLOB_MISSING, Code.PACK_MIXED},
    ),
    **{
        f"index lies: {kind.value}, {name}": Case(lie(kind, change), codes, read_data=read_data)
        for kind in BlobType
        for name, change, codes, read_data in (
            ("offset", swap, {Code.INDEX_LAYOUT}, False),
            ("length", longer, {Code.INDEX_WRONG}, False),
            ("blob not listed", dropped, {Code.INDEX_WRONG}, False),
            ("uncompressed length", other_size, {Code.INDEX_WRONG}, True),
            ("pack", other_pack, {Code.PACK_MISSING}, False),
        )
    },
    "index lies: data, type": Case(lie(BlobType.DATA, other_type), {Code.INDEX_WRONG, Code.BLOB_MISSING, Code.PACK_MIXED}),
    "index lies: data, id": Case(lie(BlobType.DATA, other_id), {Code.INDEX_WRONG, Code.BLOB_MISSING}),
    "index lies: tree, type": Case(lie(BlobType.TREE, other_type), {Code.INDEX_WRONG, Code.TREE_MISSING, Code.PACK_MIXED}),
    "index lies: tree, id": Case(lie(BlobType.TREE, other_id), {Code.INDEX_WRONG, Code.TREE_MISSING}),
}


def follow(repo: Path, todo: list[Step], aside: Path, source: Path | None) -> None:
    """Do what a person would do who believes each word."""
    aside.mkdir()
    for step in todo:
        if step.is_command:
            done = kit.run(kit.ours_command(repo, *step.text.split()), cwd=aside, check=False)
            assert done.returncode == 0, (step, done.stdout, done.stderr)
        elif "move the file" in step.text or step.text.startswith("move "):
            if "restic-format key add" in step.text:
                (aside / "new").write_text(kit.PASSWORD)
                kit.ours(repo, "key", "add", "--new-password-file", str(aside / "new"))
            for path in re.findall(r"(?:keys|snapshots|index)/[0-9a-f]{64}", step.text):
                (repo / path).rename(aside / path.replace("/", "-"))
        elif step.text.startswith("back up") and source is not None:
            kit.restic(repo, "backup", "-q", "--force", str(source))


def restored(repo: Path, source: Path, target: Path) -> tuple[int, int]:
    """How many files of the source the newest snapshot with them gives back as they were, out of how many."""
    kit.restic(repo, "restore", "-q", "latest", "--target", str(target), check=False)
    files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink() and path.name != "later"]
    found = [path for path in target.rglob("*") if path.is_file() and not path.is_symlink()]
    content = {path.read_bytes() for path in found}
    return sum(path.read_bytes() in content for path in files), len(files)


@pytest.mark.clause("INDEX-7", "PACK-3", "ORDER-1")
@pytest.mark.parametrize("again", [False, True], ids=["source gone", "source there"])
@pytest.mark.parametrize("name", CASES)
def test_advice_helps(name: str, repo: Path, source: Path, run_check: RunCheck, tmp_path: Path, *, again: bool) -> None:
    case = CASES[name]
    if again and not case.loses:
        again = False  # There is nothing to be stored anew.
    case.hurt(repo)
    report = run_check(repo, read_data=case.read_data)
    # What follows from a fault may be told or not; nothing else is.
    follows = {Code.PACK_UNINDEXED, Code.TREE_DAMAGED, Code.TREE_MISSING, Code.NODE_SIZE}
    found = {finding.code for finding in report.findings}
    assert case.codes <= found and found - case.codes <= follows, report.findings
    todo = steps(report.findings)
    for word in case.forbidden:
        assert not any(step.is_command and step.text.startswith(word) for step in todo), todo
    follow(repo, todo, tmp_path / "aside", source if again else None)
    kit.restic(repo, "check", "-q", "--read-data")
    after = run_check(repo, read_data=True)
    assert after.ok, after.findings
    intact, total = restored(repo, source, tmp_path / "target")
    if case.loses and not again:
        assert 0 < intact <= total, "what was not damaged is still there"
    else:
        assert intact == total


@pytest.mark.clause("ORDER-1")
@pytest.mark.parametrize("kind", BlobType, ids=lambda kind: kind.value)
def test_advice_helps_where_the_pack_of_a_lost_index_is_damaged(
    repo: Path, source: Path, run_check: RunCheck, tmp_path: Path, kind: BlobType
) -> None:
    """What is intact in the pack is not given up: first the index is made again, then the pack is repaired."""
    pack, vault = pack_of(repo, kind)
    entries = dict(vault.packs())[pack.name]
    kit.flip_bit(pack, entries[0].offset + 40)
    remove_all("index")(repo)
    for turn in range(3):
        report = run_check(repo, read_data=True)
        todo = steps(report.findings)
        if report.ok:
            break
        commands = [step.text for step in todo if step.is_command]
        assert turn or commands == ["repair index"]
        assert turn or any("check again with --read-data" in step.text for step in todo) == (kind is BlobType.TREE)
        follow(repo, todo, tmp_path / f"aside-{turn}", None)
    kit.restic(repo, "check", "-q", "--read-data")
    intact, total = restored(repo, source, tmp_path / "target")
    assert 0 < intact <= total and (kind is BlobType.TREE or intact >= total - 1)


@pytest.mark.clause("TREE-4", "TREE-6", "TREE-7", "TREE-8", "TREE-9")
@pytest.mark.parametrize("nodes", [case[1] for case in BAD_NODES if case[2]], ids=[case[0] for case in BAD_NODES if case[2]])
def test_advice_about_entries_helps(forge: Forge, run_check: RunCheck, tmp_path: Path, nodes: list[dict[str, Any]]) -> None:
    good = forge.blob("data", b"what is intact")
    forge.whole([*nodes, node("zz", content=[good[1]], size=14)], [good])
    report = run_check(forge.path)
    todo = steps(report.findings)
    if any("forgotten" in step.text for step in todo):
        kit.ours(forge.path, "restore", "-q", "latest", "--target", str(tmp_path / "out"), check=False)
        assert [path.name for path in (tmp_path / "out").iterdir() if path.name not in "ab"] == ["zz"]
        assert (tmp_path / "out" / "zz").read_bytes() == b"what is intact"
        kit.restic(forge.path, "backup", "-q", str(tmp_path / "out"))
        kit.restic(forge.path, "forget", *dict.fromkeys(name for f in report.findings for name in f.consequence.snapshots))
    follow(forge.path, todo, tmp_path / "aside", None)
    kit.restic(forge.path, "check", "-q", "--read-data")
    after = run_check(forge.path, read_data=True)
    assert after.ok, after.findings
    (tmp_path / "last").mkdir()
    kit.restic(forge.path, "restore", "-q", "latest", "--target", str(tmp_path / "last"))
    assert [path.read_bytes() for path in (tmp_path / "last").rglob("zz")] == [b"what is intact"]


@pytest.mark.clause("SNAP-4")
def test_advice_about_a_snapshot_without_tree_helps(forge: Forge, run_check: RunCheck, tmp_path: Path) -> None:
    kept, _tree = forge.whole([node("f")])
    forge.document("snapshots", {"time": TIME, "tree": None, "paths": ["/x"], "hostname": "h", "username": "u"})
    follow(forge.path, steps(run_check(forge.path).findings), tmp_path / "aside", None)
    kit.restic(forge.path, "check", "-q")
    assert run_check(forge.path).ok
    assert kit.restic(forge.path, "list", "snapshots").stdout.split() == [kept]
