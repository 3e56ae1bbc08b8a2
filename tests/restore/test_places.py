"""Content that is written natively in one go: everything as asked for, and whatever is out of the ordinary left to others."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from restic_format.errors import ResticFormatError
from restic_format.native.places import _pure
from restic_format.restore import fetch
from restic_format.restore.fetch import place_writer
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.session import Session
from restic_spec import gotime
from restic_spec.gojson import quote
from restic_spec.ids import id_of
from restic_spec.pack import BlobType, PackEntry
from tests.restore.kit import T0, Maker, memory_repo, restore


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


@pytest.fixture
def only_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the native form leaves fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("the native form did not do it")

    monkeypatch.setattr(fetch.Fetcher, "_one_by_one", refuse)


def block(number: int, size: int = 5000) -> bytes:
    return bytes([number]) * size


@pytest.mark.usefixtures("only_native")
def test_content_owner_mode_and_times_are_what_was_asked_for(maker: Maker, tmp_path: Path) -> None:
    early = -1_500_000_001
    files = [
        maker.file("a", b"content", mode=0o4750, uid=1234, gid=1235, mtime=gotime.format_ns(early, 0)),
        maker.file("b", b"other", mode=0o400, uid=0, gid=0),
        maker.file(b"\xff\xfe", b"content", mode=0o644, uid=1234, gid=0),
    ]
    large = [*(os.urandom(3_000_000) for _ in range(5)), b"content"]
    files[0].mode = 1 << 23 | 0o750
    files.append(maker.file("large", *large))
    stats, heard = restore(maker.repo, maker.finish([maker.folder("d", files)]), tmp_path)
    assert heard.errors == [] and stats.files_restored == stats.files_total == 5 and stats.bytes_restored == stats.bytes_total
    infos = [os.stat(os.fsencode(tmp_path) + b"/d/" + file.name_bytes) for file in files]
    assert [(info.st_uid, info.st_gid) for info in infos[:3]] == [(1234, 1235), (0, 0), (1234, 0)]
    assert [stat.S_IMODE(info.st_mode) for info in infos] == [0o4750, 0o400, 0o644, 0o644]
    assert [info.st_mtime_ns for info in infos] == [early, T0, T0, T0]
    assert (tmp_path / "d" / "a").read_bytes() == b"content" and (tmp_path / "d" / "b").read_bytes() == b"other"
    assert (tmp_path / "d" / "large").read_bytes() == b"".join(large)


@pytest.mark.usefixtures("only_native")
def test_the_group_of_a_folder_is_not_passed_on(maker: Maker, tmp_path: Path) -> None:
    """Files in a folder with the set-group-ID bit belong to its group at first, and folders in it have the bit as well."""
    os.chown(tmp_path, 0, 4321)
    tmp_path.chmod(0o2755)
    files = [maker.file(f"f{number}", block(number), uid=0, gid=0) for number in range(3)]
    restore(maker.repo, maker.finish([maker.folder("d", files)]), tmp_path)
    assert {path.stat().st_gid for path in (tmp_path / "d").iterdir()} == {0}


def test_inherited_attributes_are_taken_away(maker: Maker, tmp_path: Path) -> None:
    # A default ACL gives every new file an ACL of its own, which the snapshot knows nothing of.
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + (7).to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, who in ((1, 0xFFFFFFFF), (2, 1000), (4, 0xFFFFFFFF), (0x10, 0xFFFFFFFF), (0x20, 0xFFFFFFFF))
    )
    os.setxattr(tmp_path, "system.posix_acl_default", acl)
    files = [maker.file(f"f{number}", block(number)) for number in range(3)]
    _, heard = restore(maker.repo, maker.finish([maker.folder("d", files)]), tmp_path)
    assert heard.errors == []
    for number in range(3):
        path = tmp_path / "d" / f"f{number}"
        assert os.listxattr(path) == [] and path.read_bytes() == block(number) and stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_appears_meanwhile_is_replaced_and_symlinks_are_not_followed(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").write_bytes(b"mine")

    class Meddling:
        def __init__(self, session: Session) -> None:
            self._writer: Any = place_writer(session)
            self.take = self._writer.take

        def put(self, *arguments: Any) -> Any:
            for name in ("a", "b"):
                if not os.path.lexists(tmp_path / "t" / "d" / name):
                    (tmp_path / "t" / "d" / name).symlink_to("../../outside")
            return self._writer.put(*arguments)

    monkeypatch.setattr(fetch, "place_writer", Meddling)
    files = [maker.file(name, block(number)) for number, name in enumerate("abc")]
    stats, heard = restore(maker.repo, maker.finish([maker.folder("d", files)]), tmp_path / "t", workers=1)
    assert heard.errors == [] and stats.files_restored == 4
    assert (tmp_path / "outside").read_bytes() == b"mine"
    assert [(tmp_path / "t" / "d" / name).read_bytes() for name in "abc"] == [block(0), block(1), block(2)]
    assert not (tmp_path / "t" / "d" / "a").is_symlink()


def test_a_full_disk_costs_what_does_not_fit(maker: Maker, tmp_path: Path) -> None:
    small = maker.file("a", b"small")
    maker.writer.flush()  # into a pack of its own, which is read first
    files = [small, maker.file("b", bytes(1 << 20)), maker.file("c", block(1), bytes(1 << 20))]
    tree = maker.finish([maker.folder("d", files)])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=True)
    try:
        stats, heard = restore(maker.repo, tree, tmp_path, workers=1)
        assert heard.failed == ["/d/b", "/d/c"] and (stats.files_restored, stats.files_total) == (2, 4)
        assert "No space left" in str(heard.errors[0][1])
        assert (tmp_path / "d" / "a").read_bytes() == b"small"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_files_far_down_different_paths_get_where_they_belong(maker: Maker, tmp_path: Path) -> None:
    """More folders on the way to the files of one batch than are kept open."""
    expected = {}
    tops = []
    for number in range(20):
        below = maker.folder("leaf", [maker.file("f", block(number))])
        for level in range(30):
            below = maker.folder(f"level{level}", [below])
        below.quoted = quote(f"top{number:02}")
        tops.append(below)
        expected[tmp_path / f"top{number:02}" / "/".join(f"level{level}" for level in range(28, -1, -1)) / "leaf" / "f"] = (
            number
        )
    _, heard = restore(maker.repo, maker.finish(tops), tmp_path)
    assert heard.errors == []
    found = {path: path.read_bytes() for path in tmp_path.rglob("f")}
    assert found == {path: block(number) for path, number in expected.items()}


@pytest.mark.parametrize("native", [True, False])
def test_an_index_that_puts_two_blobs_in_one_place_gives_no_wrong_content(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    if not native:
        monkeypatch.setattr(fetch, "PlaceWriter", _pure.PlaceWriter)
    first = maker.file("first", block(1))
    second = maker.node("second", "file", 0o644, size=5000, content=[id_of(block(2)).hex()])
    tree = maker.finish([maker.folder("d", [first, second])])
    where = maker.repo.index.lookup(BlobType.DATA, id_of(block(1)))
    assert where is not None
    forged = PackEntry(BlobType.DATA, id_of(block(2)), where.offset, where.length, where.uncompressed_length)
    maker.repo.index.add_pack(where.pack, [forged])
    stats, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/d/second"] and isinstance(heard.errors[0][1], ResticFormatError)
    assert (tmp_path / "d" / "first").read_bytes() == block(1) and stats.files_restored == 2
    assert block(1) not in (tmp_path / "d" / "second").read_bytes() if (tmp_path / "d" / "second").exists() else True


def test_every_file_is_reported_once(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the native form, and those it leaves: here every second one, whose name is too long for it."""
    left: list[int] = []
    real = FileWriter.write_whole

    def count(self: FileWriter, number: int, *arguments: Any) -> None:
        left.append(number)
        real(self, number, *arguments)

    monkeypatch.setattr(FileWriter, "write_whole", count)
    names = [f"{number:03}" + ("x" * 300 if number % 2 else "") for number in range(300)]
    stats, heard = restore(maker.repo, maker.finish([maker.folder("d", [maker.file(name, b"x") for name in names])]), tmp_path)
    assert len(left) == 150 and heard.failed == sorted(f"/d/{name}" for name in names[1::2])
    assert (stats.files_total, stats.files_restored, stats.errors) == (301, 151, 150)
    assert sorted(os.listdir(tmp_path / "d")) == names[::2]


@pytest.mark.usefixtures("only_native")
def test_a_blob_that_comes_thousands_of_times_is_opened_a_few_times(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files that repeat one blob: it is opened once for hundreds of places, and every place gets it."""
    opened: list[int] = []
    coder = maker.repo.coder
    open_ranges = coder.open_ranges

    def count(data: Any, wanted: Any) -> Any:
        opened.append(len(wanted))
        return open_ranges(data, wanted)

    files = [maker.file("a", *[b"xyz"] * 5000), maker.file("b", *[b"xyz"] * 4999, b"end")]
    root = maker.finish(files)
    monkeypatch.setattr(coder, "open_ranges", count)
    stats, heard = restore(maker.repo, root, tmp_path)
    assert heard.errors == [] and stats.bytes_restored == stats.bytes_total == 30_000
    assert (tmp_path / "a").read_bytes() == b"xyz" * 5000
    assert (tmp_path / "b").read_bytes() == b"xyz" * 4999 + b"end"
    assert sum(opened) < 100
