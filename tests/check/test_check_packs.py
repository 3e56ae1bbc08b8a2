"""What a check says about indexes and packs that are not as they must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.check import CheckReport
from restic_format.check.findings import Code, Severity
from restic_format.check.subset import Bucket
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.safety import kit
from tests.safety.forge import Forge, node

RunCheck = Callable[..., CheckReport]


def codes(report: CheckReport) -> list[Code]:
    return [finding.code for finding in report.findings]


def pack_path(forge: Forge, pack: str) -> Path:
    return forge.path / "data" / pack[:2] / pack


@pytest.mark.parametrize("version", [1, 2])
def test_a_healthy_repository_has_nothing_to_report(tmp_path: Path, run_check: RunCheck, version: int) -> None:
    source = kit.grow_source(tmp_path / "src")
    repo = kit.make_repository(tmp_path / "repo", source, version=version)
    report = run_check(repo, read_data=True, check_unused=True)
    assert report.findings == [] and report.ok
    assert report.snapshots == 2
    packs = kit.files_of(repo, "data")
    assert (report.packs_read, report.bytes_read) == (len(packs), sum(path.stat().st_size for path in packs))


def test_parts_together_read_every_pack_once(real_repository: Path, run_check: RunCheck) -> None:
    total = len(kit.files_of(real_repository, "data"))
    parts = [run_check(real_repository, subset=Bucket(number, 3)) for number in (1, 2, 3)]
    assert sum(part.packs_read for part in parts) == total
    assert max(part.packs_read for part in parts) < total


@pytest.mark.clause("LAYOUT-1")
def test_every_damaged_index_is_named_and_the_check_goes_on(damaged: Path, run_check: RunCheck) -> None:
    indexes = kit.files_of(damaged, "index")
    for path in indexes:
        kit.flip_bit(path, 100)
    report = run_check(damaged, read_data=True)
    # The packs' headers stand in for the indexes, so nothing else is wrong.
    assert {finding.object.name for finding in report.findings} == {path.name for path in indexes}
    assert set(codes(report)) == {Code.INDEX_DAMAGED}
    assert report.snapshots == 2 and report.packs_read == len(kit.files_of(damaged, "data"))
    assert report.suggest_repair_index
    assert all(finding.repair == ("repair index",) for finding in report.findings)


@pytest.mark.clause("LAYOUT-1")
def test_behind_a_damaged_index_other_damage_is_still_seen(damaged: Path, run_check: RunCheck) -> None:
    for path in kit.files_of(damaged, "index"):
        kit.flip_bit(path, 100)
    biggest = kit.files_of(damaged, "data")[-1]
    kit.flip_bit(biggest, 1000)
    kit.flip_bit(kit.files_of(damaged, "snapshots")[0], 50)
    report = run_check(damaged, read_data=True)
    assert set(codes(report)) == {Code.INDEX_DAMAGED, Code.SNAPSHOT_DAMAGED, Code.PACK_DAMAGED}
    assert report.broken_packs == [biggest.name]


@pytest.mark.clause("ORDER-6")
def test_blobs_of_packs_no_index_lists_are_not_called_lost(damaged: Path, run_check: RunCheck) -> None:
    for path in kit.files_of(damaged, "index"):
        path.unlink()
    report = run_check(damaged)
    assert not report.ok and report.suggest_prune
    assert report.counts[Code.PACK_UNINDEXED] == len(kit.files_of(damaged, "data"))
    missing = [finding for finding in report.findings if finding.code is Code.TREE_MISSING]
    assert len(missing) == 2
    assert all(finding.repair == ("repair index",) and "no index lists" in finding.effect for finding in missing)


@pytest.mark.clause("INDEX-8")
def test_a_pack_in_two_indexes(forge: Forge, run_check: RunCheck) -> None:
    tree = forge.blob("tree", b'{"nodes":[]}\n')
    pack = forge.pack([tree])
    for _ in range(2):
        forge.index({pack: [tree]})
    forge.snapshot(tree[1])
    report = run_check(forge.path, read_data=True)
    assert codes(report) == [Code.INDEX_DUPLICATE_PACK] and report.ok and report.suggest_repair_index


@pytest.mark.clause("INDEX-7")
def test_indexes_that_contradict_each_other(forge: Forge, run_check: RunCheck) -> None:
    tree, data = forge.blob("tree", b'{"nodes":[]}\n'), forge.blob("data", b"content")
    pack = forge.pack([data, tree])
    forge.index({pack: [data, tree]})
    forge.index({pack: [data]})
    report = run_check(forge.path)
    assert codes(report) == [Code.INDEX_ENTRIES_DIFFER, Code.PACK_MIXED, Code.SNAPSHOTS_GONE] and not report.ok


@pytest.mark.clause("INDEX-7", "PACK-10")
def test_an_index_that_says_something_else_than_the_header(forge: Forge, run_check: RunCheck) -> None:
    tree, data = forge.blob("tree", b'{"nodes":[]}\n'), forge.blob("data", b"content")
    other = forge.blob("data", b"content too")
    packs = {forge.pack([tree]): [tree], forge.pack([data, other]): [other, data]}
    forge.index(packs)
    forge.snapshot(tree[1])
    report = run_check(forge.path, read_data=True)
    (finding,) = report.findings
    assert finding.code is Code.INDEX_WRONG
    assert {fault.object.name for fault in finding.faults} >= {data[1], other[1]}


@pytest.mark.clause("PACK-10")
def test_gaps_in_what_the_index_says(forge: Forge, run_check: RunCheck) -> None:
    data, other = forge.blob("data", b"content"), forge.blob("data", b"CONTENT")
    pack = forge.pack([data, other])
    forge.index({pack: [data, other]}, offset=len(data[2]))
    report = run_check(forge.path)
    assert codes(report) == [Code.INDEX_LAYOUT]
    assert codes(run_check(forge.path, read_data=True)) == [Code.INDEX_LAYOUT], "the pack is as its header says"


def test_missing_cut_and_grown_packs(damaged: Path, run_check: RunCheck) -> None:
    longer, *_, shorter, gone = kit.files_of(damaged, "data")
    gone.unlink()
    kit.cut(shorter, -1)
    with longer.open("ab") as file:
        file.write(b"\0")
    report = run_check(damaged)
    assert {finding.object.name: finding.code for finding in report.findings} == {
        gone.name: Code.PACK_MISSING,
        shorter.name: Code.PACK_SIZE,
        longer.name: Code.PACK_SIZE,
    }
    by_name = {finding.object.name: finding for finding in report.findings}
    assert by_name[gone.name].consequence.paths_total > 0
    assert by_name[longer.name].consequence.paths_total == 0, "no blob is lost by a byte too many"
    assert sorted(report.broken_packs) == sorted([shorter.name, longer.name])


@pytest.mark.clause("PACK-13", "PACK-12")
@pytest.mark.parametrize("fault", ["other content", "wrong length", "no frame"])
def test_blobs_that_are_sealed_well_but_wrong(forge: Forge, run_check: RunCheck, fault: str) -> None:
    content = b"what should be there"
    good = forge.blob("data", content)
    bad = {
        "other content": lambda: ("data", good[1], *forge.blob("data", b"something else here!")[2:]),
        "wrong length": lambda: forge.blob("data", content, claims=len(content) + 1),
        "no frame": lambda: forge.blob("data", content, frame=b"not zstd at all"),
    }[fault]()
    snapshot, _ = forge.whole([node("file", content=[bad[1]], size=len(content))], [bad])
    report = run_check(forge.path, read_data=True)
    (finding,) = (f for f in report.findings if f.severity is Severity.ERROR)
    assert finding.code is Code.PACK_DAMAGED
    assert [fault.object.name for fault in finding.faults] == [bad[1]]
    assert finding.consequence.snapshots == (snapshot,)
    assert [path.path for path in finding.consequence.paths] == ["/file"]


@pytest.mark.clause("PACK-3", "PACK-4", "PACK-5", "PACK-6")
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", Code.PACK_SIZE),
        (b"\x02" * 40, Code.PACK_SIZE),
        (b"\x07" * 41, Code.PACK_HEADER_DAMAGED),
        (b"\0" * 41, Code.PACK_HEADER_DAMAGED),
    ],
)
def test_headers_that_are_sealed_well_but_wrong(forge: Forge, run_check: RunCheck, header: bytes, expected: Code) -> None:
    data = forge.blob("data", b"content")
    forge.index({forge.pack([data], header=header): [data]})
    report = run_check(forge.path, read_data=True)
    assert codes(report)[0] is expected


def test_a_fault_that_goes_away_is_told_from_damage(real_repository: Path, run_check: RunCheck) -> None:
    seen: set[str] = set()

    storage = LocalStorage(real_repository)
    original = storage.load_into

    def load_into(kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        original(kind, name, offset, target)
        # One bit of the first large piece is wrong, once, as faulty memory would have it.
        if len(target) > 100_000 and not seen:
            seen.add(name)
            target[0] ^= 1

    storage.load_into = load_into  # type: ignore[method-assign]
    report = run_check(storage, read_data=True)
    assert codes(report) == [Code.PACK_UNSTEADY]
    assert report.broken_packs == []


@pytest.mark.clause("LAYOUT-2")
def test_stray_files_are_noted(damaged: Path, run_check: RunCheck) -> None:
    for path in ("index/stray", "snapshots/x.tmp", "data/00/" + "ab" * 32, "README"):
        (damaged / path).write_text("?")
    report = run_check(damaged)
    assert report.ok
    assert {f.object.name for f in report.findings} >= {"index/stray", "snapshots/x.tmp", "README"}
    assert {f.code for f in report.findings} <= {Code.FILE_STRAY, Code.PACK_UNINDEXED}


@pytest.mark.clause("KEY-10", "LAYOUT-1")
def test_a_spare_key_that_is_damaged(damaged: Path, run_check: RunCheck) -> None:
    (key,) = kit.files_of(damaged, "keys")
    raw = key.read_bytes()
    spare = damaged / "keys" / os.urandom(32).hex()
    spare.write_bytes(raw)
    (finding,) = run_check(damaged).findings
    assert finding.code is Code.KEY_DAMAGED and finding.object.name == spare.name


@pytest.mark.clause("LAYOUT-1")
@pytest.mark.parametrize(
    ("folder", "code"),
    [("snapshots", Code.SNAPSHOT_DAMAGED), ("index", Code.INDEX_DAMAGED), ("data", Code.PACK_UNINDEXED)],
)
def test_an_intact_file_under_the_name_of_another(damaged: Path, run_check: RunCheck, folder: str, code: Code) -> None:
    """What is sealed well proves nothing about the name: an attacker could put an old file in the place of a new one."""
    victim = kit.files_of(damaged, folder)[-1]
    other = "00" * 32
    place = damaged / "data" / "00" if folder == "data" else victim.parent
    place.mkdir(exist_ok=True)
    (place / other).write_bytes(victim.read_bytes())
    report = run_check(damaged)
    assert [(finding.code, finding.object.name) for finding in report.findings] == [(code, other)]


@pytest.mark.clause("LAYOUT-1")
def test_a_pack_that_is_another_pack(damaged: Path, run_check: RunCheck) -> None:
    """Two packs of one size, one in the place of the other: only reading shows it."""
    report = run_check(damaged, read_data=True)
    assert report.ok
    forge = Forge(damaged.parent / "swapped")
    blobs = [forge.blob("data", content, frame=b"f" * 20) for content in (b"one", b"two")]
    right, wrong = (forge.pack([blob]) for blob in blobs)
    forge.index({right: [blobs[0]]})
    pack_path(forge, right).write_bytes(pack_path(forge, wrong).read_bytes())
    pack_path(forge, wrong).unlink()
    assert run_check(forge.path).ok
    (finding,) = run_check(forge.path, read_data=True).findings
    assert finding.object.name == right
    assert f"unexpected pack id {wrong}" in finding.message
