"""What an explorer asks of a repository: long lists in little memory, what an id names, images, marks and their restore."""

from __future__ import annotations

import os
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_conformance import fixtures
from restic_conformance.compare import differences, restorable, scan
from restic_format.errors import Interrupted, SnapshotNotFound, UsageError
from restic_format.explore.browse import (
    FolderList,
    Mark,
    PieceList,
    Selection,
    SelectionRestore,
    image_facts,
    named_by,
)
from restic_format.explore.browse.selection import TOP, selector_of
from restic_format.repository import Repository
from restic_format.restore import Overwrite, RestoreEvent
from restic_format.snapshots import FoundSnapshot, SnapshotFileSystem, all_snapshots
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.ids import parse_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node
from tests.restore.kit import T0, Maker, memory_repo


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture of restic 0.19, format version 2: its folder."""
    folder = tmp_path_factory.mktemp("browse") / "v2"
    fixtures.unpack("restic-0.19-v2", folder)
    return folder


@pytest.fixture(scope="module")
def repository(unpacked: Path) -> Repository:
    repository = Repository.open(LocalStorage(str(unpacked / "repo")), "correct horse")
    repository.load_index()
    return repository


def snapshots_of(repository: Repository) -> list[FoundSnapshot]:
    return sorted(all_snapshots(repository), key=lambda found: found.time_ns)


# Directories and files as lists


def test_a_directory_as_a_list() -> None:
    maker = Maker(memory_repo())
    nodes = [
        maker.folder("d", [], uid=7, gid=8),
        maker.file("f", b"12345", mode=0o640),
        maker.node(b"odd\xff", "future", 0, mtime=None),
        maker.symlink("s", "x"),
    ]
    rows = FolderList()
    rows.fill(nodes, Cancel())
    assert [(row.name, row.type, row.size) for row in rows] == [
        ("d", "dir", 0),
        ("f", "file", 5),
        ("odd\udcff", "other", 0),
        ("s", "symlink", 0),
    ]
    assert (rows[0].uid, rows[0].gid, rows[1].mtime_ns, rows[2].mtime_ns) == (7, 8, T0, None)
    assert rows[1].mode & 0o777 == 0o640


def test_an_entry_of_a_list_takes_little_memory() -> None:
    """A hundred thousand entries are to fit into some twenty megabytes."""
    count = 20_000
    time = gotime.format_ns(T0, 0)

    def nodes() -> object:
        for number in range(count):
            yield Node(quoted=f"a name of usual length {number}", type="file", mode=0o644, mtime=time, size=number)

    tracemalloc.start()
    try:
        rows = FolderList()
        rows.fill(nodes(), Cancel())  # type: ignore[arg-type]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(rows) == count
    assert size / count < 230


def test_a_list_is_filled_until_it_is_cancelled() -> None:
    cancel = Cancel()
    rows = FolderList()

    def nodes() -> object:
        for number in range(1 << 20):
            if number == 3000:
                cancel.set()
            yield Node(quoted=str(number), type="file")

    with pytest.raises(Interrupted):
        rows.fill(nodes(), cancel)  # type: ignore[arg-type]
    assert 3000 <= len(rows) < 10_000


def test_blobs_of_a_file_with_one_missing() -> None:
    maker = Maker(memory_repo())
    known = [maker.blob(b"first"), maker.blob(b"second one")]
    maker.writer.flush()
    repository = maker.repo
    blobs = [known[0], known[1], "00" * 32, known[0]]
    pieces = PieceList(repository, blobs)
    pieces.fill(Cancel())
    assert [(piece.offset, piece.length) for piece in map(pieces.__getitem__, range(4))] == [
        (0, 5),
        (5, 10),
        (15, None),
        (None, 5),
    ]
    assert pieces.missing == 1
    where = repository.index.lookup_all(BlobType.DATA, parse_id(known[0]))
    assert pieces[0].copies == where and pieces[2].copies == []


def test_blobs_of_files_are_where_a_restore_finds_them(repository: Repository, unpacked: Path) -> None:
    """Every blob lies in its file where the offsets say."""
    found = snapshots_of(repository)[0]
    with SnapshotFileSystem(repository, parse_id(str(found.snapshot.tree))) as files:
        checked = 0
        for _, node in files.walk():
            if node.type != "file" or len(node.blobs) < 2:
                continue
            pieces = PieceList(repository, node.blobs)
            pieces.fill(Cancel())
            content = files.open_node(node)
            for number in range(len(pieces)):
                piece = pieces[number]
                assert piece.offset is not None and piece.length is not None
                assert content.pread(piece.offset, piece.length) == repository.load_blob(BlobType.DATA, piece.id)
                checked += 1
    assert checked > 1


# Ids


def test_what_an_id_names(repository: Repository) -> None:
    """Whatever kind of object it is of, and only what begins with it."""
    for kind in (FileKind.SNAPSHOT, FileKind.KEY, FileKind.INDEX, FileKind.PACK, FileKind.LOCK):
        for file_id, size in repository.list(kind):
            for digits in (64, 10):
                found = list(named_by(repository, file_id.hex()[:digits].upper(), Cancel()))
                assert (kind, file_id, size) in found
                assert all(item.id.hex().startswith(file_id.hex()[:digits]) for item in found)
    for _, entry in repository.index.entries():
        found = list(named_by(repository, entry.id.hex()[:9], Cancel()))
        assert (entry.type, entry.id, entry.plain_length) in found


@pytest.mark.parametrize("text", ["", "abc", "xyzw", "0" * 65, "abcg"])
def test_what_is_no_beginning_of_an_id(repository: Repository, text: str) -> None:
    with pytest.raises(UsageError, match="64 digits"):
        list(named_by(repository, text, Cancel()))


def test_a_search_for_an_id_is_cancelled(repository: Repository) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        list(named_by(repository, "0000", cancel))


# Images


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0" + b"\xff\xff\xc2\x00\x11\x08\x02\x58\x03\x20\x03" + b"\1\2\3" * 3
WEBP = b"RIFF\x00\x01\x00\x00WEBP"


@pytest.mark.parametrize(
    ("head", "facts"),
    [
        (png(640, 480), ("PNG", 640, 480)),
        (JPEG, ("JPEG", 800, 600)),
        (b"GIF89a\x40\x01\xc8\x00\xf7\0\0", ("GIF", 320, 200)),
        (WEBP + b"VP8X\x0a\0\0\0\x10\0\0\0\x3f\1\0\xef\0\0", ("WebP", 320, 240)),
        (WEBP + b"VP8L\x0a\0\0\0\x2f" + struct.pack("<I", 319 | 239 << 14), ("WebP", 320, 240)),
        (WEBP + b"VP8 \x0a\0\0\0abc\x9d\x01\x2a\x40\x01\xf0\x00", ("WebP", 320, 240)),
        (b"BM" + b"\0" * 12 + struct.pack("<IiiHH", 40, 320, -240, 1, 24), ("BMP", 320, 240)),
        (b"BM" + b"\0" * 12 + struct.pack("<IHHHH", 12, 320, 240, 1, 24), ("BMP", 320, 240)),
    ],
)
def test_facts_of_images(head: bytes, facts: tuple[str, int, int]) -> None:
    found = image_facts(head)
    assert found is not None and found[:3] == facts
    for end in range(len(head) - 2):
        cut = image_facts(head[:end])
        assert cut is None or cut[:3] == facts


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBPVP8", b"BM"]), st.binary(max_size=300)
)
def test_no_image_does_harm(magic: bytes, rest: bytes) -> None:
    image_facts(magic + rest)


# Marks


def found(number: int, tree: str | None = None, *, beginning: bytes = b"") -> FoundSnapshot:
    return FoundSnapshot((beginning + bytes([number]) * 32)[:32], Snapshot(time="2020-01-01T00:00:00Z", tree=tree))


def test_marks() -> None:
    selection = Selection()
    one, two = found(1), found(2)
    assert selection.toggle(Mark(one, "/a")) and selection.toggle(Mark(one, TOP)) and selection.toggle(Mark(two, TOP))
    assert selection.has(Mark(one, "/a")) and not selection.has(Mark(two, "/a")) and len(selection) == 3
    assert selection.snapshots() == [one, two]
    assert not selection.toggle(Mark(one, "/a")) and not selection.has(Mark(one, "/a"))
    selection.clear()
    assert not len(selection) and not list(selection)


def test_where_each_part_is_restored_to() -> None:
    selection = Selection()
    one, two = found(1), found(2)
    selection.toggle(Mark(one, "/a"))
    selection.toggle(Mark(one, "/b"))
    assert selection.plan("/t") == [(one, ("/a", "/b"), "/t")]
    selection.toggle(Mark(two, TOP))
    assert selection.plan("/t") == [(one, ("/a", "/b"), "/t/01010101"), (two, (TOP,), "/t/02020202")]
    alike = found(3, beginning=b"\1" * 4)
    selection.toggle(Mark(alike, TOP))
    assert [part.target for part in selection.plan("/t")] == [f"/t/{item.id.hex()}" for item in (one, two, alike)]


def test_what_a_restore_selects() -> None:
    assert selector_of(("/a", TOP)) is None
    select = selector_of(("/a/b", "/x\udcff"))
    assert select is not None
    for location, wanted, below in (
        ("/a", False, True),
        ("/a/b", True, True),
        ("/a/b/c/d", True, True),
        ("/a/bc", False, False),
        ("/ab", False, False),
        ("/x\udcff", True, True),
        ("/x", False, False),
    ):
        assert select(location, True) == (wanted, below), location
        assert select(location, False) == (wanted, False), location


def test_marked_items_are_restored_as_restic_restores_them(
    unpacked: Path, repository: Repository, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    """The same files with the same bytes and metadata as by ``restic restore --include`` with the same paths."""
    second = snapshots_of(repository)[1]
    paths = ("/tree/names", "/tree/metadata/modes", "/tree/two-equal-chunks-of-zeros")
    selection = Selection()
    for path in paths:
        selection.toggle(Mark(second, path))
    restore = SelectionRestore(repository, selection.plan(str(tmp_path / "ours")))
    stats = restore.run()
    assert stats.errors == 0 and restore.stats == stats and stats.files_restored > 20

    words = [word for path in paths for word in ("--include", path)]
    environment = {**os.environ, "RESTIC_PASSWORD": "correct horse"}
    subprocess.run(
        [
            *(peer("restic-0.19"), "--no-cache", "--no-lock", "-r", unpacked / "repo"),
            *("restore", second.id.hex(), "--target", tmp_path / "theirs", *words),
        ],
        check=True,
        env=environment,
        capture_output=True,
    )
    theirs, ours = scan(tmp_path / "theirs"), scan(tmp_path / "ours")
    assert len(ours) > 20 and differences(theirs, ours, frozenset({"mtime_ns"})) == []
    assert {path: facts.mtime_ns for path, facts in ours.items() if path.startswith(b"tree/names/")} == {
        path: facts.mtime_ns for path, facts in theirs.items() if path.startswith(b"tree/names/")
    }


def test_snapshots_are_restored_whole_each_into_its_own_directory(
    unpacked: Path, repository: Repository, tmp_path: Path
) -> None:
    facts = fixtures.facts_of(unpacked)
    note = {item["id"]: item["source"] for item in fixtures.describe("restic-0.19-v2").snapshots}
    selection = Selection()
    for item in snapshots_of(repository):
        selection.toggle(Mark(item, TOP))
    restore = SelectionRestore(repository, selection.plan(str(tmp_path)))
    assert restore.run().errors == 0
    for item in snapshots_of(repository):
        if note[item.id.hex()] in facts:
            expected = restorable(facts[note[item.id.hex()]])
            assert differences(expected, scan(tmp_path / item.short_id / "tree"), frozenset({"hardlinks"})) == []
        else:
            assert len(list((tmp_path / item.short_id).iterdir())) == 1
    assert len(selection.plan(str(tmp_path))) == 3


def test_existing_files_are_kept_where_that_is_asked_for(repository: Repository, tmp_path: Path) -> None:
    second = snapshots_of(repository)[1]
    path = "/tree/two-equal-chunks-of-zeros"
    (tmp_path / "tree").mkdir()
    (tmp_path / path[1:]).write_bytes(b"mine")
    selection = Selection()
    selection.toggle(Mark(second, path))
    for overwrite, content in ((Overwrite.NEVER, b"mine"), (Overwrite.ALWAYS, bytes(1 << 20))):
        SelectionRestore(repository, selection.plan(str(tmp_path)), overwrite=overwrite).run()
        assert (tmp_path / path[1:]).read_bytes() == content


def test_a_restore_is_cancelled(repository: Repository, tmp_path: Path) -> None:
    selection = Selection()
    for item in snapshots_of(repository):
        selection.toggle(Mark(item, TOP))
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        SelectionRestore(repository, selection.plan(str(tmp_path / "t")), cancel=cancel).run()
    assert not (tmp_path / "t").exists()


def test_what_cannot_be_restored_is_told(tmp_path: Path) -> None:
    maker = Maker(memory_repo())
    root = maker.finish([maker.file("good", b"1"), maker.node("bad", "file", 0o644, size=1, content=["00" * 32])])
    told: list[RestoreEvent] = []
    selection = Selection()
    selection.toggle(Mark(found(1, root.hex()), TOP))
    stats = SelectionRestore(maker.repo, selection.plan(str(tmp_path / "t")), progress=told.append).run()
    assert stats.errors == 1 and [event.location for event in told] == ["/bad"]
    assert (tmp_path / "t/good").read_bytes() == b"1"
    selection.clear()
    selection.toggle(Mark(found(2), TOP))
    with pytest.raises(SnapshotNotFound, match="no tree"):
        SelectionRestore(maker.repo, selection.plan(str(tmp_path / "u"))).run()


def test_restored_repository_is_as_before(unpacked: Path) -> None:
    """Nothing of all this has changed the repository."""
    fresh = unpacked.parent / "fresh"
    fixtures.unpack("restic-0.19-v2", fresh)
    for folder, _, names in os.walk(fresh / "repo"):
        for name in names:
            path = Path(folder) / name
            assert (unpacked / path.relative_to(fresh)).read_bytes() == path.read_bytes()
