"""What a check says about indexes and packs that are not as they must be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restic_format.check import CheckReport
from restic_format.check.findings import Code, Severity
from restic_format.check.reasons import is_unreadable
from restic_format.check.subset import Bucket
from restic_format.errors import AccessDenied, DamagedFile, FileUnusable
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_format.storage.faulty import Call, Fail, FaultyStorage
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from tests.safety import kit
from tests.safety.forge import Forge, node, tree_json

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


@pytest.mark.parametrize("with_good", [True, False])
@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("harm", ["sealed", "json", "denied"])
def test_no_snapshot_is_promised_of_a_tree_that_cannot_be_read(
    forge: Forge, run_check: RunCheck, harm: str, indexed: bool, with_good: bool
) -> None:
    good = forge.blob("tree", b'{"nodes":[]}\n') if with_good else forge.blob("data", b"content")
    kind, ident, sealed, size = forge.blob("tree", b'{"nodes":7}\n')
    bad = kind, ident, sealed[:-1] + bytes([sealed[-1] ^ 1]) if harm == "sealed" else sealed, size
    pack, other = forge.pack([bad]), forge.pack([good])

    class Denied(LocalStorage):
        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            if harm == "denied" and name == pack and offset == 0:
                raise AccessDenied("open it: permission denied")
            return super().load(kind, name, offset, length)

    if indexed:
        forge.index({pack: [bad], other: [good]})
    report = run_check(Denied(forge.path))
    gone = [finding for finding in report.findings if finding.code in (Code.SNAPSHOTS_GONE, Code.INDEX_NONE)]
    unreadable = harm == "denied"
    assert (Code.TREE_UNREADABLE in codes(report)) is unreadable
    if with_good:
        assert " 1 directory trees" in gone[0].message
    elif indexed or unreadable:
        assert not gone
    else:
        assert "no directory tree is there" in gone[0].effect and gone[0].repair == ("repair index",)
    if unreadable:
        assert not any(finding.repair for finding in report.findings)


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
@pytest.mark.parametrize("fault", ["other content", "no frame"])
def test_blobs_that_are_sealed_well_but_wrong(forge: Forge, run_check: RunCheck, fault: str) -> None:
    content = b"what should be there"
    good = forge.blob("data", content)
    bad = {
        "other content": lambda: ("data", good[1], *forge.blob("data", b"something else here!")[2:]),
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


def two_copies(forge: Forge) -> tuple[list[Path], str]:
    """A file whose only blob is in two packs: the packs and the snapshot."""
    data, others = forge.blob("data", b"content"), [forge.blob("data", content) for content in (b"one", b"two")]
    tree = forge.blob("tree", tree_json([node("file", content=[data[1]], size=7)]))
    packs = {forge.pack([data, other]): [data, other] for other in others}
    forge.index({forge.pack([tree]): [tree], **packs})
    return [pack_path(forge, pack) for pack in packs], forge.snapshot(tree[1])


@pytest.mark.clause("PACK-16")
@pytest.mark.parametrize("hurt", [lambda path: kit.flip_bit(path, 20), lambda path: path.unlink()], ids=["damaged", "missing"])
def test_a_blob_with_an_intact_copy_is_not_lost(forge: Forge, run_check: RunCheck, hurt: Callable[[Path], None]) -> None:
    paths, _snapshot = two_copies(forge)
    hurt(paths[0])
    (finding,) = (f for f in run_check(forge.path, read_data=True).findings if f.code is not Code.PACK_INCOMPLETE)
    if finding.code is Code.PACK_MISSING:  # The other blob of the pack, which no snapshot needs, is gone with it.
        assert "lost" in finding.effect
    else:
        assert "nothing is lost" in finding.effect and finding.repair == (f"repair packs {paths[0].name}",)
    assert finding.consequence.snapshots == () and finding.consequence.paths == ()


@pytest.mark.clause("PACK-16")
@pytest.mark.parametrize("first", ["damaged", "missing"])
def test_a_blob_whose_copies_are_all_bad_is_lost(forge: Forge, run_check: RunCheck, first: str) -> None:
    """One bad copy does not excuse the other."""
    paths, snapshot = two_copies(forge)
    kit.flip_bit(paths[1], 20)
    if first == "damaged":
        kit.flip_bit(paths[0], 20)
    else:
        paths[0].unlink()
    found = [f for f in run_check(forge.path, read_data=True).findings if f.code is not Code.PACK_INCOMPLETE]
    assert len(found) == 2
    for finding in found:
        assert "nothing is lost" not in finding.effect and "repair snapshots --forget" in finding.repair
        assert finding.consequence.snapshots == (snapshot,)
        assert [path.path for path in finding.consequence.paths] == ["/file"]


@pytest.mark.clause("PACK-16")
def test_a_pack_all_of_whose_blobs_are_elsewhere_takes_nothing(forge: Forge, run_check: RunCheck) -> None:
    data = forge.blob("data", b"content")
    tree = forge.blob("tree", tree_json([node("file", content=[data[1]], size=7)]))
    gone, kept = forge.pack([data]), forge.pack([data])
    forge.index({forge.pack([tree]): [tree], gone: [data], kept: [data]})
    forge.snapshot(tree[1])
    pack_path(forge, gone).unlink()
    (finding,) = run_check(forge.path).findings
    assert finding.code is Code.PACK_MISSING and "nothing is lost" in finding.effect
    assert finding.repair == ("repair index",)


def test_what_the_storage_does_not_give_is_told_from_damage(damaged: Path, run_check: RunCheck) -> None:
    """A file that may not be read is not a damaged one; one that is cut short is not a file of a repository."""

    class Denied(LocalStorage):
        def _refuse(self, kind: FileKind, name: str) -> None:
            if kind is FileKind.PACK and name == victim:
                raise AccessDenied(f"open {name}: permission denied")

        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            self._refuse(kind, name)
            return super().load(kind, name, offset, length)

        def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
            self._refuse(kind, name)
            super().load_into(kind, name, offset, target)

    for path in kit.files_of(damaged, "data"):
        victim = path.name
        for options in ({}, {"read_data": True}):
            report = run_check(Denied(damaged), **options)
            if report.findings:
                assert {finding.code for finding in report.findings} <= {Code.TREE_UNREADABLE, Code.PACK_UNREADABLE}
                assert report.unreadable and report.broken_packs == [] and not report.suggest_prune
                assert not any(finding.repair for finding in report.findings)
                assert all("not damage" in finding.effect for finding in report.findings)
    assert report.counts[Code.PACK_UNREADABLE] == 1
    assert report.findings[0].consequence.snapshots_total == 2, "what is not there now is said"


def test_folders_that_cannot_be_listed_are_no_loss(damaged: Path, run_check: RunCheck) -> None:
    class Denied(LocalStorage):
        def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
            for number, found in enumerate(super().list(kind)):
                if kind is denied and number:
                    raise AccessDenied(f"open {kind.value}: permission denied")
                yield found

    for denied in (FileKind.PACK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.KEY):
        report = run_check(Denied(damaged))
        assert report.counts[Code.LIST_FAILED] == (1 if len(kit.files_of(damaged, denied.value)) > 1 else 0)
        assert report.counts[Code.PACK_MISSING] == 0
        assert not any(finding.repair for finding in report.findings)


@pytest.mark.parametrize("denied", [(FileKind.INDEX,), (FileKind.PACK,), (FileKind.INDEX, FileKind.PACK)])
def test_folders_of_which_nothing_can_be_read_are_no_loss(
    damaged: Path, run_check: RunCheck, denied: tuple[FileKind, ...]
) -> None:
    class Denied(LocalStorage):
        def _refuse(self, kind: FileKind) -> None:
            if kind in denied:
                raise AccessDenied(f"open {kind.value}: permission denied")

        def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
            self._refuse(kind)
            return super().list(kind)

        def size(self, kind: FileKind, name: str) -> int:
            self._refuse(kind)
            return super().size(kind, name)

        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            self._refuse(kind)
            return super().load(kind, name, offset, length)

    report = run_check(Denied(damaged))
    codes = {finding.code for finding in report.findings}
    assert Code.LIST_FAILED in codes and not report.ok
    assert codes <= {Code.LIST_FAILED, Code.TREE_UNREADABLE, Code.BLOB_UNREADABLE, Code.PACK_UNREADABLE}
    if denied == (FileKind.INDEX,):
        assert codes == {Code.LIST_FAILED}, "the packs say themselves what they hold"
    assert not any(finding.repair or "lost" in finding.effect.replace("known to be lost", "") for finding in report.findings)


@pytest.mark.parametrize("read_data", [False, True])
@pytest.mark.parametrize("denied", ["all", "one"])
def test_what_only_a_header_that_cannot_be_read_would_list_is_not_called_lost(
    damaged: Path, run_check: RunCheck, denied: str, read_data: bool
) -> None:
    """No index lists the packs, and the storage does not give back what they say themselves."""
    hidden = {path.name for path in kit.files_of(damaged, "data")}
    if denied == "one":
        repo = Repository.open(LocalStorage(damaged), kit.PASSWORD)
        repo.load_index()
        root = repo.load_snapshot(bytes.fromhex(kit.files_of(damaged, "snapshots")[0].name)).tree
        place = repo.index.lookup(BlobType.TREE, bytes.fromhex(str(root)))
        assert place is not None and len(hidden) > 1
        hidden = {place.pack.hex()}
    for index in kit.files_of(damaged, "index"):
        index.unlink()

    def plan(call: Call) -> Fail | None:
        return Fail() if call.operation == "load" and call.kind is FileKind.PACK and call.name in hidden else None

    report = run_check(FaultyStorage(LocalStorage(damaged), plan), read_data=read_data)
    counts = report.counts
    assert counts[Code.PACK_UNREADABLE] == len(hidden) and not report.ok
    assert counts[Code.TREE_UNREADABLE] + counts[Code.BLOB_UNREADABLE] > 0
    lost = [finding for finding in report.findings if finding.code in (Code.TREE_MISSING, Code.BLOB_MISSING)]
    assert all("it is in pack" in finding.effect or "nothing is known to be lost" in finding.effect for finding in lost)
    assert len(lost) == counts[Code.TREE_MISSING] + counts[Code.BLOB_MISSING]
    if denied == "all":
        assert not lost
    assert not any(finding.repair for finding in report.findings)


def test_packs_that_are_all_away_are_not_called_lost(damaged: Path, run_check: RunCheck) -> None:
    (damaged / "data").rename(damaged.parent / "elsewhere")
    report = run_check(damaged)
    assert report.counts[Code.PACKS_GONE] == 1 and report.counts[Code.PACK_MISSING] > 0
    assert report.counts[Code.TREE_MISSING] == 0 and report.counts[Code.TREE_UNREADABLE] > 0
    for finding in report.findings:
        assert not finding.repair
        assert "are lost" not in finding.effect and "cannot be restored" not in finding.effect, finding


def test_a_file_that_is_no_file_is_not_unreadable() -> None:
    assert is_unreadable(AccessDenied("no")) and is_unreadable(OSError(5, "no"))
    assert not is_unreadable(FileUnusable("cut short"))
    assert not is_unreadable(DamagedFile("x", FileUnusable("cut short")))
    assert is_unreadable(DamagedFile("x", AccessDenied("no")))


@pytest.mark.clause("PACK-22")
@pytest.mark.parametrize("claims", [1, 20, 22, 1 << 20])
def test_a_length_that_is_stated_wrongly_costs_nothing(forge: Forge, run_check: RunCheck, tmp_path: Path, claims: int) -> None:
    """The id is the judge, for real restic as well."""
    content = b"what should be there."
    data = forge.blob("data", content, claims=claims)
    forge.whole([node("file", content=[data[1]], size=len(content))], [data])
    report = run_check(forge.path, read_data=True)
    (finding,) = (f for f in report.findings if f.severity is not Severity.NOTE)
    assert finding.code is Code.BLOB_LENGTH and finding.object.name == data[1] and report.ok
    kit.restic(forge.path, "check", "--read-data")
    assert kit.ours(forge.path, "check", "--read-data").returncode == 0


@pytest.mark.clause("ORDER-3")
def test_a_pack_that_is_not_listed_is_asked_for_before_it_is_called_missing(damaged: Path, run_check: RunCheck) -> None:
    victim = kit.files_of(damaged, "data")[-1].name

    class Forgetful(LocalStorage):
        def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
            return (found for found in super().list(kind) if found[0] != victim)

    class Denied(Forgetful):
        def size(self, kind: FileKind, name: str) -> int:
            raise AccessDenied(f"stat {name}: permission denied")

    assert run_check(Forgetful(damaged)).findings == []
    report = run_check(Denied(damaged))
    assert codes(report) == [Code.PACK_UNREADABLE] and report.findings[0].object.name == victim
    assert report.findings[0].consequence.snapshots_total == 2


@pytest.mark.clause("PACK-3", "PACK-13")
def test_a_damaged_header_does_not_hide_a_damaged_blob(forge: Forge, run_check: RunCheck) -> None:
    paths, snapshot = two_copies(forge)
    for path in paths:
        kit.flip_bit(path, -20)
    assert {f.code for f in run_check(forge.path, read_data=True).findings} == {Code.PACK_HEADER_DAMAGED}
    for path in paths:
        kit.flip_bit(path, 20)
    found = run_check(forge.path, read_data=True).findings
    assert [f.code for f in found] == [Code.PACK_DAMAGED] * 2
    assert all(f.consequence.snapshots == (snapshot,) for f in found)


@pytest.mark.clause("LAYOUT-1")
def test_a_pack_under_a_wrong_name_with_intact_blobs_loses_nothing(forge: Forge, run_check: RunCheck, tmp_path: Path) -> None:
    data, other = forge.blob("data", b"content"), "ab" * 32
    tree = forge.blob("tree", tree_json([node("file", content=[data[1]], size=7)]))
    right = forge.pack([data])
    pack_path(forge, other).parent.mkdir(exist_ok=True)
    pack_path(forge, right).rename(pack_path(forge, other))
    forge.index({forge.pack([tree]): [tree], other: [data]})
    forge.snapshot(tree[1])
    (finding,) = run_check(forge.path, read_data=True).findings
    assert finding.code is Code.PACK_DAMAGED and finding.effect == "its blobs are intact: nothing is lost"
    assert finding.repair == (f"repair packs {other}",)
    kit.run([kit.restic_binary(), "--no-cache", "-r", str(forge.path), "repair", "packs", other], cwd=tmp_path)
    kit.restic(forge.path, "check", "--read-data")
    assert run_check(forge.path, read_data=True).ok
