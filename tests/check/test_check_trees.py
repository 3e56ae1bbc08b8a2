"""What a check says about snapshots and trees that are not as they must be, beside what real restic says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from restic_format.check import CheckReport
from restic_format.check.affected import MAX_PATH
from restic_format.check.findings import Code, Severity
from restic_format.check.trees import MAX_TOLD
from restic_format.errors import AccessDenied
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.safety import kit
from tests.safety.forge import Forge, node, tree_json

RunCheck = Callable[..., CheckReport]
MISSING = "ab" * 32
NULL = "00" * 32


def codes(report: CheckReport) -> list[Code]:
    return [finding.code for finding in report.findings]


def real_errors(forge: Forge) -> int:
    """How many errors real restic counts."""
    done = kit.restic(forge.path, "check", "--json", check=False)
    return int(json.loads(done.stdout.splitlines()[-1])["num_errors"])


BAD_NODES: list[tuple[str, list[dict[str, Any]], list[Code], int | None]] = [
    ("content missing", [node("f", content=None)], [Code.NODE_NO_CONTENT], 1),
    ("null blob", [node("f", content=[NULL], size=1)], [Code.NODE_NULL_ID], 1),
    ("blob not indexed", [node("f", content=[MISSING], size=1)], [Code.BLOB_MISSING], 1),
    ("same blob twice", [node("f", content=[MISSING, MISSING], size=1)], [Code.BLOB_MISSING] * 2, 2),
    ("no subtree", [node("d", "dir")], [Code.NODE_NO_SUBTREE], 1),
    ("null subtree", [node("d", "dir", subtree=NULL)], [Code.NODE_NULL_ID], 1),
    ("subtree not indexed", [node("d", "dir", subtree=MISSING)], [Code.TREE_MISSING], 1),
    ("unknown type", [node("x", "portal")], [Code.NODE_TYPE], 1),
    ("empty name", [node("")], [Code.NODE_NAME], 1),
    # Real restic leaves these to restore, which refuses the names, and to repair, which refuses the order.
    ("slash in a name", [node("a/b")], [Code.NODE_NAME], None),
    ("dots for a name", [node("..")], [Code.NODE_NAME], None),
    ("zero byte in a name", [node("a\\x00b")], [Code.NODE_NAME], None),
    ("unsorted", [node("b"), node("a")], [Code.TREE_ORDER], None),
    ("twice the same name", [node("a"), node("a")], [Code.TREE_ORDER], None),
    ("sorted as characters, not as bytes", [node("\ue000"), node("𐀀")], [], 0),
]


@pytest.mark.clause("TREE-4", "TREE-6", "TREE-7", "TREE-8", "TREE-9")
@pytest.mark.parametrize(("nodes", "expected", "real"), [case[1:] for case in BAD_NODES], ids=[c[0] for c in BAD_NODES])
def test_faulty_entries_are_named(
    forge: Forge, run_check: RunCheck, nodes: list[dict[str, Any]], expected: list[Code], real: int | None
) -> None:
    snapshot, _tree = forge.whole(nodes)
    report = run_check(forge.path)
    assert codes(report) == expected
    for finding in report.findings:
        assert finding.consequence.snapshots == (snapshot,)
        assert finding.consequence.paths
        assert finding.repair or finding.advice
    if real is not None:
        assert real_errors(forge) == real


def test_a_wrong_size_is_worth_a_note_and_no_error(forge: Forge, run_check: RunCheck) -> None:
    data = forge.blob("data", b"twelve bytes")
    forge.whole([node("right", content=[data[1]], size=12), node("wrong", content=[data[1]], size=13)], [data])
    report = run_check(forge.path, read_data=True)
    assert codes(report) == [Code.NODE_SIZE]
    assert '"wrong"' in report.findings[0].message
    assert report.ok and real_errors(forge) == 0


def test_damage_deep_down_is_named_with_every_path_and_snapshot(forge: Forge, run_check: RunCheck) -> None:
    broken = forge.blob("tree", tree_json([node("f", content=[MISSING], size=1), node("g")]))
    middle = forge.blob("tree", tree_json([node("one", "dir", subtree=broken[1]), node("two", "dir", subtree=broken[1])]))
    fine = forge.blob("tree", tree_json([node("fine")]))
    roots = [forge.blob("tree", tree_json([node(name, "dir", subtree=middle[1])])) for name in ("x", "y")]
    blobs = [broken, middle, fine, *roots]
    forge.index({forge.pack(blobs): blobs})
    hit = {forge.snapshot(root[1]) for root in roots}
    untouched = forge.snapshot(fine[1])
    (finding,) = run_check(forge.path).findings
    assert finding.code is Code.BLOB_MISSING
    assert finding.object.name == MISSING
    assert set(finding.consequence.snapshots) == hit and untouched not in finding.consequence.snapshots
    # A shared directory is named where it was met first: once for each snapshot that brought something new.
    assert finding.consequence.paths[0].path in ("/x/one/f", "/y/one/f")


def test_the_list_of_what_is_affected_is_bounded(forge: Forge, run_check: RunCheck) -> None:
    trees = [forge.blob("tree", tree_json([node(f"f{n}", content=[MISSING], size=1)])) for n in range(30)]
    data = forge.blob("data", b"here")
    lost = forge.pack([data])
    more = [forge.blob("tree", tree_json([node(f"g{n}", content=[data[1]], size=4)])) for n in range(30)]
    forge.index({forge.pack(trees + more): trees + more, lost: [data]})
    for tree in trees + more:
        forge.snapshot(tree[1])
    (forge.path / "data" / lost[:2] / lost).unlink()
    report = run_check(forge.path)
    (gone,) = (finding for finding in report.findings if finding.code is Code.PACK_MISSING)
    assert len(gone.consequence.snapshots) == len(gone.consequence.paths) == 10
    assert (gone.consequence.snapshots_total, gone.consequence.paths_total) == (30, 30)
    assert report.counts[Code.BLOB_MISSING] == 30


@pytest.mark.clause("TREE-1")
def test_a_tree_that_is_no_tree(forge: Forge, run_check: RunCheck) -> None:
    rubbish = forge.blob("tree", b'{"nodes":[{"name":3}]}\n')
    forge.index({forge.pack([rubbish]): [rubbish]})
    forge.snapshot(rubbish[1])
    (finding,) = run_check(forge.path).findings
    # Real restic 0.19.1 crashes on it.
    assert finding.code is Code.TREE_DAMAGED and finding.rule == "TREE-1"


@pytest.mark.clause("SNAP-4")
def test_snapshots_that_cannot_be_walked(forge: Forge, run_check: RunCheck) -> None:
    forge.whole([node("f")])
    rootless = forge.document("snapshots", {"time": "2024-02-03T04:05:06Z", "tree": None, "paths": []})
    timeless = forge.document("snapshots", {"tree": MISSING})
    report = run_check(forge.path)
    assert {finding.object.name: finding.code for finding in report.findings} == {
        rootless: Code.SNAPSHOT_NO_TREE,
        timeless: Code.SNAPSHOT_DAMAGED,
    }
    assert report.snapshots == 1


@pytest.mark.clause("PACK-16")
def test_a_bad_copy_beside_a_good_one_is_a_warning(forge: Forge, run_check: RunCheck) -> None:
    tree = forge.blob("tree", tree_json([node("f")]))
    packs = [forge.pack([tree]), forge.pack([tree])]
    forge.index({pack: [tree] for pack in packs})
    forge.snapshot(tree[1])
    for number, pack in enumerate(packs):
        kit.flip_bit(forge.path / "data" / pack[:2] / pack, 40)
        report = run_check(forge.path)
        assert report.ok == (number == 0)
        if number == 0:
            assert codes(report) == [Code.TREE_COPY_DAMAGED]
        else:
            assert codes(report) == [Code.TREE_DAMAGED]


def test_filters_narrow_the_check(forge: Forge, run_check: RunCheck) -> None:
    good, bad = (forge.blob("tree", tree_json([node("f", content=content, size=9)])) for content in ([], [MISSING]))
    packs = {forge.pack([blob]): [blob] for blob in (good, bad)}
    forge.index(packs)
    fields = {"time": "2024-02-03T04:05:06Z", "username": "u"}
    first = forge.document("snapshots", {**fields, "tree": good[1], "paths": ["/a"], "hostname": "h1", "tags": ["t"]})
    forge.document("snapshots", {**fields, "tree": bad[1], "paths": ["/b"], "hostname": "h2"})
    assert not run_check(forge.path).ok
    for options in ({"hosts": ["h1"]}, {"paths": ["/a"]}, {"tags": [["t"]]}, {"snapshots": [first[:8]]}):
        report = run_check(forge.path, read_data=True, **options)
        assert report.ok and report.snapshots == 1 and report.packs_read == 1
    assert codes(run_check(forge.path, snapshots=["feed"])) == [Code.SNAPSHOT_NOT_FOUND]


def test_unused_blobs_are_listed_on_request_and_are_no_errors(forge: Forge, run_check: RunCheck) -> None:
    used, unused = forge.blob("data", b"used"), forge.blob("data", b"unused")
    forge.whole([node("f", content=[used[1]], size=4)], [used, unused, used])
    assert run_check(forge.path).findings == []
    report = run_check(forge.path, check_unused=True)
    assert report.ok and report.count(Severity.NOTE) == 2
    assert [f.object.name for f in report.findings if f.code is Code.BLOB_UNUSED] == [unused[1]]
    assert report.counts[Code.BLOB_DUPLICATE] == 1


def test_of_very_many_faulty_entries_a_thousand_are_told(forge: Forge, run_check: RunCheck) -> None:
    forge.whole([node(f"{number:05}", "portal") for number in range(1500)])
    report = run_check(forge.path)
    assert report.counts == {Code.NODE_TYPE: MAX_TOLD, Code.TREE_FAULTY: 1}
    assert report.findings[-1].message.endswith("500 more faults in its entries")


def test_a_path_is_shown_up_to_a_bound(forge: Forge, run_check: RunCheck) -> None:
    """Names of a whole tree's length, one in the other, would add up to far more than the repository."""
    blobs, subtree = [], ""
    for level in range(40):
        below = [node(f"{level:02}" + "x" * 1000, "dir", subtree=subtree)] if subtree else []
        blobs.append(forge.blob("tree", tree_json([node("!", content=[MISSING], size=1), *below])))
        subtree = blobs[-1][1]
    forge.index({forge.pack(blobs): blobs})
    forge.snapshot(subtree)
    findings = run_check(forge.path).findings
    paths = [path.path for finding in findings for path in finding.consequence.paths]
    assert len(findings) == len(paths) == 40 and len(set(paths)) > 3
    assert max(map(len, paths)) == MAX_PATH + 1
    assert all(path.endswith("/!") and path[0] == ("…" if len(path) > MAX_PATH else "/") for path in paths)


@pytest.mark.clause("PACK-16")
def test_damage_below_a_shared_directory_is_counted_for_each_snapshot(forge: Forge, run_check: RunCheck) -> None:
    """What is below a directory is worked out once and holds wherever the directory is met again."""
    shared = forge.blob("tree", tree_json([node("bad", content=[MISSING], size=1)]))
    inner = forge.blob("tree", tree_json([node("in", "dir", subtree=shared[1])]))
    roots = [forge.blob("tree", tree_json([node("d", "dir", subtree=inner[1]), node(name)])) for name in ("x", "y", "z")]
    blobs = [shared, inner, *roots]
    forge.index({forge.pack(blobs): blobs})
    hit = {forge.snapshot(root[1]) for root in roots}
    (finding,) = run_check(forge.path).findings
    assert set(finding.consequence.snapshots) == hit
    assert [path.path for path in finding.consequence.paths] == ["/d/in/bad"]


@pytest.mark.clause("PACK-16")
def test_a_copy_of_a_tree_that_cannot_be_read_is_no_damaged_one(forge: Forge, run_check: RunCheck) -> None:
    tree = forge.blob("tree", tree_json([node("f")]))
    packs = [forge.pack([tree]), forge.pack([tree])]
    forge.index({pack: [tree] for pack in packs})
    forge.snapshot(tree[1])
    seen: set[Code] = set()
    for victim in packs:

        class Denied(LocalStorage):
            def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
                if name == victim:  # noqa: B023 - used before the next turn
                    raise AccessDenied(f"open {name}: permission denied")
                return super().load(kind, name, offset, length)

        report = run_check(Denied(forge.path))
        assert report.trees == 1 and not any(finding.repair for finding in report.findings)
        seen |= set(codes(report))
    assert seen == {Code.PACK_UNREADABLE}


def test_the_same_path_in_two_snapshots_is_named_once(forge: Forge, run_check: RunCheck) -> None:
    data = forge.blob("data", b"content")
    file = node("file", content=[data[1]], size=7)
    roots = [forge.blob("tree", tree_json([file, node(name)])) for name in ("x", "y")]
    lost = forge.pack([data])
    forge.index({forge.pack(roots): roots, lost: [data]})
    for root in roots:
        forge.snapshot(root[1])
    (forge.path / "data" / lost[:2] / lost).unlink()
    (finding,) = run_check(forge.path).findings
    assert (finding.consequence.snapshots_total, finding.consequence.paths_total) == (2, 1)


@pytest.mark.clause("INDEX-7")
def test_an_index_that_mixes_up_two_trees_of_one_length(forge: Forge, run_check: RunCheck) -> None:
    """Nothing but opening one shows it; the pack itself says where it is, so that it is not called damaged."""
    blobs = [forge.blob("tree", tree_json([node(name)])) for name in "abcdefgh"]
    trees = next([one, two] for one, two in itertools.combinations(blobs, 2) if len(one[2]) == len(two[2]))
    pack = forge.pack(trees)
    forge.index({pack: [trees[1], trees[0]]})
    forge.snapshot(trees[0][1])
    report = run_check(forge.path)
    assert codes(report) == [Code.INDEX_WRONG] and report.findings[0].object.name == pack
    assert report.trees == 1 and report.findings[0].repair == ("repair index --read-all-packs",)
