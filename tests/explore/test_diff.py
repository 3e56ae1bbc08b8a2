"""``diff`` gives what real restic gives, byte for byte, on trees of every kind of difference."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from restic_format.errors import Interrupted, ResticFormatError
from restic_format.explore.diff import Difference, DiffStatistics, TreeDiff
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from restic_spec import gomode, gotime
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import ExtendedAttribute, Node, encode_tree
from tests.restore.kit import PASSWORD, T0, Maker, cheap_repo, memory_repo, ours, restic
from tests.tools.kit import Outcome, Runner

NAMES = ["a", "b", "b.txt", "B", "dir", "dirx", "ä", "z <&>", 'q"\\', "new\nline", "tab\t\x01", b"bad\xff", "\U0001f600"]
OPTIONS = [(), ("--metadata",), ("--json",), ("--json", "--metadata"), ("-q",), ("--json", "-q")]


@dataclass
class Item:
    """An entry of a generated tree."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    chunks: tuple[bytes, ...] = ()
    below: dict[str | bytes, Item] = field(default_factory=dict)


def generated(rng: random.Random, depth: int = 0) -> dict[str | bytes, Item]:
    """Some entries, often few different contents, so that blobs and trees occur in several places."""
    return {name: an_item(rng, depth) for name in rng.sample(NAMES, rng.randint(0, 6 - depth))}


def an_item(rng: random.Random, depth: int) -> Item:
    kind = rng.choice(["file", "file", "file", "dir", "dir", "symlink", "fifo"] if depth < 3 else ["file", "symlink"])
    item = Item(kind, {"inode": rng.randint(1, 3)})
    if kind == "file":
        item.chunks = tuple(b"content %02d" % rng.randint(0, 12) for _ in range(rng.randint(0, 3)))
    elif kind == "dir":
        item.below = generated(rng, depth + 1)
    elif kind == "symlink":
        item.values["linktarget"] = rng.choice(["x", "y"])
    return item


def changed(rng: random.Random, entries: dict[str | bytes, Item], depth: int = 0) -> dict[str | bytes, Item]:
    """The same entries with a few changes of every kind."""
    result: dict[str | bytes, Item] = {}
    for name, item in entries.items():
        new = Item(item.kind, dict(item.values), item.chunks, item.below)
        match rng.randint(0, 11):
            case 0:
                continue
            case 1:
                result[rng.choice(NAMES)] = new
                continue
            case 2:
                new = an_item(rng, depth)
            case 3:
                new.values["mtime"] = gotime.format_ns(T0 + rng.randint(0, 1), 0)
            case 4:
                new.values["extended_attributes"] = [ExtendedAttribute("user.a", b"v%d" % rng.randint(0, 1))]
            case 5 if item.kind == "file":
                count = rng.choice([0, len(item.chunks), len(item.chunks)])
                new.chunks = tuple(b"content %02d" % rng.randint(0, 12) for _ in range(count))
            case 6:
                new.values["mtime"] = gotime.format_ns(T0, 3600)  # the same instant, told in another zone
            case 7 if item.kind == "dir":
                new.values["mode"] = gomode.DIR | 0o700
            case _ if item.kind == "dir" and rng.random() < 0.6:
                new.below = changed(rng, item.below, depth + 1)
        result[name] = new
    if rng.random() < 0.4:
        result[rng.choice(NAMES)] = an_item(rng, depth)
    return result


def nodes(maker: Maker, entries: dict[str | bytes, Item]) -> Iterator[Node]:
    made = []
    for name, item in entries.items():
        if item.kind == "file":
            made.append(maker.file(name, *item.chunks, **item.values))
        elif item.kind == "dir":
            made.append(maker.folder(name, list(nodes(maker, item.below)), **item.values))
        elif item.kind == "symlink":
            made.append(maker.symlink(name, target=item.values["linktarget"], **_without(item.values, "linktarget")))
        else:
            made.append(maker.node(name, "fifo", gomode.from_st_mode(0o010644), **item.values))
    yield from sorted(made, key=lambda node: node.name_bytes)


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def take_snapshot(repo: Repository, tree: bytes) -> str:
    return repo.save_snapshot(Snapshot(time=gotime.format_ns(T0, 0), tree=tree.hex(), paths=["/"])).hex()


@dataclass
class Pairs:
    """A repository, and snapshots to compare."""

    folder: Path
    ids: list[tuple[str, str]]


SEEDS = range(14)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    folder = cheap_repo(tmp_path_factory.mktemp("diff") / "repo")
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    maker = Maker(repo)
    trees = []
    for seed in SEEDS:
        rng = random.Random(seed)
        before = generated(rng)
        after = changed(rng, before) if seed % 5 else generated(rng)
        trees.append([maker.tree(nodes(maker, entries)) for entries in (before, after)])
    maker.writer.flush()
    return Pairs(folder, [(take_snapshot(repo, one), take_snapshot(repo, two)) for one, two in trees])


@pytest.fixture
def here(run: Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run our program in this process, on the repository in a folder."""
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return lambda folder, *words: run("--no-cache", "-r", str(folder), *words)


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_pairs_differ_as_restic_says(
    pairs: Pairs, peer: Callable[[str], Path], here: Callable[..., Outcome], seed: int
) -> None:
    before, after = pairs.ids[seed]
    for options in OPTIONS[:4] if seed % 4 else OPTIONS:
        words = ("diff", "--no-lock", *options, before, after)
        real, mine = restic(peer("restic-0.19"), pairs.folder, *words), here(pairs.folder, *words)
        assert (mine.code, mine.out, mine.err) == (real.returncode, real.stdout, real.stderr), options
        assert b"error" not in mine.err


def test_the_generated_pairs_have_every_mark(pairs: Pairs) -> None:
    repo = Repository.open(LocalStorage(str(pairs.folder)), PASSWORD)
    repo.load_index()
    marks = set()
    for one, two in pairs.ids:
        found, _ = compare(repo, *(bytes.fromhex(repo.load_snapshot(bytes.fromhex(i)).tree or "") for i in (one, two)))
        marks |= {difference.mark for difference in found}
    assert marks == {"+", "-", "M", "M?", "TU", "U"}


@pytest.mark.parametrize("bound", ["_AT_ONCE", "_PATHS_AT_ONCE"])
def test_equal_directories_may_be_looked_through_one_by_one(pairs: Pairs, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    repo = Repository.open(LocalStorage(str(pairs.folder)), PASSWORD)
    repo.load_index()
    for ids in pairs.ids:
        trees = [bytes.fromhex(repo.load_snapshot(bytes.fromhex(name)).tree or "") for name in ids]
        together = compare(repo, *trees)
        with monkeypatch.context() as patch:
            patch.setattr(f"restic_format.explore.diff.{bound}", 1)
            assert compare(repo, *trees) == together


def compare(
    repo: Repository, before: bytes, after: bytes, *, metadata: bool = True, **options: Any
) -> tuple[list[Difference], DiffStatistics]:
    def damaged(path: str, error: ResticFormatError) -> None:
        raise AssertionError(path) from error

    options.setdefault("damaged", damaged)
    found = TreeDiff(repo, before, after, metadata=metadata, **options)
    return list(found), found.statistics


@pytest.mark.parametrize("words", [("{0}",), ("{0}", "{1}", "{1}"), ("nope", "{0}"), ("{0}", "nope"), ("{0}:/none", "{1}"), ()])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_errors_are_restics(
    pairs: Pairs, peer: Callable[[str], Path], words: tuple[str, ...], options: tuple[str, ...]
) -> None:
    line = ("diff", "--no-lock", *options, *(word.format(*pairs.ids[3]) for word in words))
    real, mine = restic(peer("restic-0.19"), pairs.folder, *line), ours(pairs.folder, *line)
    assert (mine.returncode, mine.stdout, mine.stderr) == (real.returncode, real.stdout, real.stderr)
    assert mine.returncode == 1


def test_subfolders_of_real_trees(
    pairs: Pairs, peer: Callable[[str], Path], here: Callable[..., Outcome], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for folder in ("one/same", "one/moved", "two"):
        (source / folder).mkdir(parents=True)
        for number in range(5):
            (source / folder / f"f{number}").write_text(f"{folder} {number % 3}")
    real, repo = peer("restic-0.19"), tmp_path / "repo"
    shutil.copytree(pairs.folder, repo)
    ids = []
    for step in range(2):
        done = restic(real, repo, "backup", "--json", ".", cwd=source)
        ids.append(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])
        if not step:
            (source / "one" / "moved").rename(source / "two" / "moved")
            shutil.copytree(source / "two", source / "copy")
            (source / "one" / "same" / "f0").unlink()
            (source / "one" / "same" / "f0").symlink_to("f1")
            (source / "two" / "f1").chmod(0o600)
    one, two = ids
    for words in ([one, two], [two, one], [f"{one}:/one", f"{two}:/two"], [f"{one}:one/same", f"{two}:/one/same"], [one, one]):
        for options in OPTIONS:
            line = ("diff", "--no-lock", *options, *words)
            expected, mine = restic(real, repo, *line), here(repo, *line)
            assert (mine.code, mine.out, mine.err) == (expected.returncode, expected.stdout, expected.stderr), line
            assert mine.code == 0 and (mine.out or "-q" in options)


def test_latest_is_a_snapshot_too(pairs: Pairs) -> None:
    done = ours(pairs.folder, "diff", "--no-lock", "--json", "latest~1", "latest")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["source_snapshot"] == "latest~1"


def test_what_is_in_an_equal_directory_is_neither_new_nor_gone_wherever_else_it_was() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    inner = maker.folder("t", [maker.file("f", b"content")])
    same = maker.folder("same", [inner])
    one, two = maker.finish([maker.folder("gone", [inner]), same]), maker.finish([same])
    for before, after in ((one, two), (two, one)):
        _, statistics = compare(repo, before, after)
        for counts in (statistics.added, statistics.removed):
            assert counts.data_blobs == 0 and counts.tree_blobs <= 2


def broken(maker: Maker, name: str) -> Node:
    """A directory whose tree is in no index."""
    return maker.node(name, "dir", gomode.DIR | 0o755, subtree="ab" * 32)


def test_what_cannot_be_read_is_named_and_the_rest_goes_on() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    same = maker.folder("same", [broken(maker, "gone")])
    before = maker.finish(
        [maker.folder("a", [maker.file("f", b"1")]), maker.folder("b", [maker.file("x", b"2")]), maker.file("c", b"3"), same]
    )
    after = maker.finish([broken(maker, "a"), broken(maker, "b2"), maker.file("c", b"4"), same])
    faults: dict[str, str] = {}
    found, statistics = compare(
        repo, before, after, damaged=lambda path, error: faults.update({path: str(error)}), metadata=False
    )
    assert [(path, mark) for path, mark, _, _ in found] == [("/b/", "-"), ("/b/x", "-"), ("/b2/", "+"), ("/c", "M?")]
    assert set(faults) == {"/a", "/b2", "/same/gone"} and all("ab" * 32 in text for text in faults.values())
    assert statistics.removed.files == 1 and statistics.removed.dirs == 1 and statistics.added.dirs == 1
    assert statistics.missing == []  # both sides lack it


def test_of_a_tree_that_is_damaged_further_on_nothing_is_said_to_be_new() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    good = encode_tree([maker.file(name, b"x") for name in "abc"])
    bad = good.replace(b'"name":"b"', b'"name":7')
    for raw in (good, bad):
        maker.writer.save_blob(BlobType.TREE, raw)
    from restic_spec.ids import id_of

    one, two = (maker.finish([maker.node("d", "dir", gomode.DIR, subtree=id_of(raw).hex())]) for raw in (good, bad))
    for before, after in ((one, two), (two, one)):
        faults: list[str] = []
        found, _ = compare(repo, before, after, damaged=lambda path, _, told=faults: told.append(path), metadata=False)
        assert found == [] and faults == ["/d"]


def test_blobs_that_no_index_knows_are_counted_and_named(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    folder = cheap_repo(tmp_path / "repo")
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    maker = Maker(repo)
    lost = maker.node("lost", "file", 0o644, size=3, content=["cd" * 32])
    ids = [take_snapshot(repo, maker.finish(entries)) for entries in ([maker.file("a", b"1")], [maker.file("a", b"1"), lost])]
    for options in ((), ("--json",)):
        real = restic(peer("restic-0.19"), folder, "diff", "--no-lock", *options, *ids)
        mine = ours(folder, "diff", "--no-lock", *options, *ids)
        assert mine.stdout == real.stdout
        text = mine.stderr.replace(rb"\u003c", b"<").replace(rb"\u003e", b">")
        assert b"unable to find blob size for <data/cdcdcdcd>" in text
        assert b"unable to find blob size for <data/cdcdcdcd>" in real.stderr
        assert mine.returncode == 1 and real.returncode == 0  # ours tells programs, too


def test_it_ends_when_it_is_cancelled() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    one, two = maker.finish([maker.file("a", b"1")]), maker.finish([])
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        compare(repo, one, two, cancel=cancel)
