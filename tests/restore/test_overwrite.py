"""Files that are in the target already: what is rewritten, what is kept, what is deleted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from restic_format.restore import Action, Overwrite
from tests.restore.kit import T0, Maker, as_nobody, memory_repo, restore

NS = 1_000_000_000


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


def put(path: Path, data: bytes, mtime_ns: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_only_blobs_that_differ_are_written_and_the_file_stays_the_same_inode(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("f", b"a" * 1000, b"b" * 1000, b"c" * 1000)])
    target = tmp_path / "t"
    put(target / "f", b"a" * 1000 + b"X" * 1000 + b"c" * 1000 + b"tail", 5)
    inode = (target / "f").stat().st_ino
    stats, heard = restore(maker.repo, tree, target)
    assert (target / "f").read_bytes() == b"a" * 1000 + b"b" * 1000 + b"c" * 1000
    assert (target / "f").stat().st_ino == inode and (target / "f").stat().st_mtime_ns == T0
    assert heard.actions()["/f"] is Action.FILE_UPDATED
    assert (stats.bytes_total, stats.bytes_restored, stats.files_skipped) == (3000, 3000, 0)


def test_a_file_that_is_only_longer_is_cut(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("f", b"a" * 1000), maker.file("empty")])
    target = tmp_path / "t"
    put(target / "f", b"a" * 1000 + b"tail", 5)
    put(target / "empty", b"tail", 5)
    _, heard = restore(maker.repo, tree, target)
    assert (target / "f").read_bytes() == b"a" * 1000 and (target / "empty").read_bytes() == b""
    assert heard.actions()["/f"] is heard.actions()["/empty"] is Action.FILE_UPDATED


def test_unchanged_content_gets_its_metadata_only(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("f", b"data", mode=0o640)])
    target = tmp_path / "t"
    put(target / "f", b"data", 5)
    stats, heard = restore(maker.repo, tree, target)
    status = (target / "f").stat()
    assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (T0, 0o640)
    assert heard.items == [(Action.UNCHANGED, "/f", 4)]
    assert (stats.files_skipped, stats.bytes_skipped, stats.files_total) == (1, 4, 0)


def test_always_looks_at_the_content_and_if_changed_trusts_size_and_time(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("f", b"data", mode=0o640)])
    for overwrite, expected in ((Overwrite.IF_CHANGED, b"evil"), (Overwrite.ALWAYS, b"data")):
        target = tmp_path / overwrite.value
        put(target / "f", b"evil", T0)
        (target / "f").chmod(0o600)
        restore(maker.repo, tree, target, overwrite=overwrite)
        assert (target / "f").read_bytes() == expected
        assert stat.S_IMODE((target / "f").stat().st_mode) == 0o640
    put(tmp_path / "other" / "f", b"evil", T0 + 1)
    restore(maker.repo, tree, tmp_path / "other", overwrite=Overwrite.IF_CHANGED)
    assert (tmp_path / "other" / "f").read_bytes() == b"data"


@pytest.mark.parametrize(("age", "expected"), [(-1, b"data"), (0, b"mine"), (1, b"mine")])
def test_if_newer_replaces_only_what_is_older(maker: Maker, tmp_path: Path, age: int, expected: bytes) -> None:
    tree = maker.finish([maker.file("f", b"data"), maker.symlink("s", "new")])
    target = tmp_path / "t"
    put(target / "f", b"mine", T0 + age)
    (target / "s").symlink_to("old")
    os.utime(target / "s", ns=(T0 + age, T0 + age), follow_symlinks=False)
    restore(maker.repo, tree, target, overwrite=Overwrite.IF_NEWER)
    assert (target / "f").read_bytes() == expected
    assert os.readlink(target / "s") == ("new" if age < 0 else "old")
    assert (target / "f").stat().st_mtime_ns == (T0 if age < 0 else T0 + age)


def test_never_keeps_everything_that_exists_and_adds_the_rest(maker: Maker, tmp_path: Path) -> None:
    entries = [
        maker.file("f", b"data"),
        maker.symlink("s", "new"),
        maker.file("new", b"n"),
        maker.folder("d", [maker.file("x", b"x")]),
    ]
    tree = maker.finish(entries)
    target = tmp_path / "t"
    put(target / "f", b"mine", 5)
    put(target / "d" / "y", b"y", 5)
    (target / "s").symlink_to("old")
    stats, heard = restore(maker.repo, tree, target, overwrite=Overwrite.NEVER)
    assert (target / "f").read_bytes() == b"mine" and (target / "f").stat().st_mtime_ns == 5
    assert os.readlink(target / "s") == "old"
    assert (target / "new").read_bytes() == b"n" and (target / "d" / "x").read_bytes() == b"x" and (target / "d" / "y").exists()
    assert heard.errors == [] and (stats.files_skipped, stats.bytes_skipped) == (2, 4)


def test_types_that_changed(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("a", [maker.file("f", b"f")]), maker.file("b", b"b"), maker.symlink("c", "x")])
    target = tmp_path / "t"
    put(target / "a", b"a file", 5)
    (target / "b").mkdir()
    (target / "c").mkdir()
    _, heard = restore(maker.repo, tree, target)
    assert heard.errors == []
    assert (target / "a" / "f").read_bytes() == b"f" and (target / "b").read_bytes() == b"b" and (target / "c").is_symlink()


def test_a_full_folder_in_the_way_is_only_removed_when_deleting(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("b", b"b"), maker.symlink("c", "x"), maker.file("good", b"g")])
    target = tmp_path / "t"
    for name in ("b", "c"):
        put(target / name / "deep" / "mine", b"mine", 5)
    _, heard = restore(maker.repo, tree, target)
    assert heard.failed == ["/b", "/c"] and (target / "b" / "deep" / "mine").exists()
    assert (target / "good").read_bytes() == b"g"
    _, heard = restore(maker.repo, tree, target, delete=True)
    assert heard.errors == [] and (target / "b").read_bytes() == b"b" and (target / "c").is_symlink()


def test_a_read_only_file_and_folder_of_ones_own_are_restored_over(maker: Maker, shared_folder: Path) -> None:
    here = shared_folder
    tree = maker.finish([maker.folder("d", [maker.file("f", b"new", mode=0o444)], mode=0o555)])

    def check() -> None:
        (here / "d").mkdir()
        (here / "d" / "f").write_bytes(b"old, and read-only")
        (here / "d" / "f").chmod(0o444)
        (here / "d").chmod(0o555)
        for _ in range(2):
            _, heard = restore(maker.repo, tree, here)
            assert heard.errors == [], heard.errors
            assert (here / "d" / "f").read_bytes() == b"new"
            assert stat.S_IMODE((here / "d").stat().st_mode) == 0o555
            assert stat.S_IMODE((here / "d" / "f").stat().st_mode) == 0o444
            assert (here / "d").stat().st_mtime_ns == T0

    as_nobody(check)


def test_a_dry_run_changes_nothing_and_says_what_would_be(maker: Maker, tmp_path: Path) -> None:
    entries = [maker.file("changed", b"new!"), maker.file("new", b"n"), maker.file("same", b"same"), maker.symlink("s", "x")]
    tree = maker.finish([*entries, maker.folder("d", [maker.file("x", b"xx")]), maker.folder("inway", [maker.file("y", b"y")])])
    target = tmp_path / "t"
    put(target / "changed", b"old!", 5)
    put(target / "same", b"same", 5)
    put(target / "inway", b"a file", 5)
    put(target / "extra" / "deep", b"e", 5)
    os.utime(target, ns=(5, 5))
    stats, heard = restore(maker.repo, tree, target, dry_run=True, delete=True)
    assert sorted(os.listdir(target)) == ["changed", "extra", "inway", "same"]
    assert (target / "changed").read_bytes() == b"old!" and (target / "same").stat().st_mtime_ns == 5
    assert target.stat().st_mtime_ns == 5
    actions = heard.actions()
    assert actions["/changed"] is Action.FILE_UPDATED and actions["/new"] is Action.FILE_RESTORED
    assert actions["/same"] is Action.UNCHANGED and actions["/d"] is Action.DIR_RESTORED
    assert actions[f"{target}/extra/deep"] is actions[f"{target}/extra"] is Action.DELETED
    assert (stats.files_deleted, stats.bytes_total, stats.bytes_restored) == (2, 8, 8)


def test_a_dry_run_does_not_even_make_the_target(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("d", [maker.file("x", b"xx")])])
    stats, heard = restore(maker.repo, tree, tmp_path / "t", dry_run=True, delete=True)
    assert os.listdir(tmp_path) == [] and heard.errors == [] and stats.files_restored == 2


def test_delete_removes_what_the_snapshot_does_not_have(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("d", [maker.file("x", b"x")]), maker.file("f", b"f")])
    target = tmp_path / "t"
    for name in ("extra", "d/extra/deep/er", "d/extra/z"):
        put(target / name, b"e", 5)
    (tmp_path / "outside").mkdir()
    put(tmp_path / "outside" / "precious", b"p", 5)
    (target / "d" / "extra" / "link").symlink_to(tmp_path / "outside")
    stats, heard = restore(maker.repo, tree, target, delete=True)
    assert heard.errors == []
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["d", "d/x", "f"]
    assert (tmp_path / "outside" / "precious").read_bytes() == b"p"
    deleted = [location for action, location, _ in heard.items if action is Action.DELETED]
    base = f"{target}/d/extra"
    assert sorted(deleted) == sorted([f"{target}/extra", base, f"{base}/deep", f"{base}/deep/er", f"{base}/z", f"{base}/link"])
    assert deleted.index(f"{base}/deep/er") < deleted.index(f"{base}/deep") < deleted.index(base)
    assert stats.files_deleted == 6 and (target / "d").stat().st_mtime_ns == T0


def test_without_delete_other_files_stay(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("d", [])])
    put(tmp_path / "d" / "mine", b"m", 5)
    restore(maker.repo, tree, tmp_path)
    assert (tmp_path / "d" / "mine").exists()


def test_delete_stays_within_the_filter(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("in", [maker.file("x", b"x")]), maker.folder("out", [maker.file("y", b"y")])])
    for name in ("in/extra", "out/extra", "extra"):
        put(tmp_path / name, b"e", 5)

    def select(location: str, is_dir: bool) -> tuple[bool, bool]:
        inside = location == "/in" or location.startswith("/in/")
        return inside, inside and is_dir

    _, heard = restore(maker.repo, tree, tmp_path, delete=True, select=select)
    assert heard.errors == []
    assert not (tmp_path / "in" / "extra").exists()
    assert (tmp_path / "out" / "extra").exists() and (tmp_path / "extra").exists()


def test_nothing_is_deleted_where_the_snapshot_cannot_be_read(maker: Maker, tmp_path: Path) -> None:
    lost = maker.folder("lost", [])
    lost.subtree = "00" * 32
    tree = maker.finish([lost, maker.folder("known", [])])
    put(tmp_path / "lost" / "mine", b"m", 5)
    put(tmp_path / "known" / "extra", b"e", 5)
    _, heard = restore(maker.repo, tree, tmp_path, delete=True)
    assert heard.failed == ["/lost"]
    assert (tmp_path / "lost" / "mine").exists() and not (tmp_path / "known" / "extra").exists()


def test_nothing_at_all_is_deleted_when_a_name_is_unsafe(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("a", [maker.file("../x", b"evil")]), maker.folder("b", [])])
    put(tmp_path / "a" / "mine", b"m", 5)
    put(tmp_path / "b" / "mine", b"m", 5)
    restore(maker.repo, tree, tmp_path, delete=True)
    assert (tmp_path / "a" / "mine").exists() and (tmp_path / "b" / "mine").exists()


def links(maker: Maker, **fields: object) -> dict[str, object]:
    return {"links": 2, "inode": 77, "device_id": 5, **fields}


def test_hard_links_are_made_and_remade(maker: Maker, tmp_path: Path) -> None:
    shared = links(maker)
    tree = maker.finish([maker.file("a", b"data", **shared), maker.folder("d", [maker.file("b", b"data", **shared)])])
    for _ in range(2):
        stats, heard = restore(maker.repo, tree, tmp_path / "t")
        assert heard.errors == [] and stats.bytes_total + stats.bytes_skipped == 4
        assert os.path.samefile(tmp_path / "t" / "a", tmp_path / "t" / "d" / "b")
    (tmp_path / "t" / "d" / "b").unlink()
    put(tmp_path / "t" / "d" / "b", b"other", 5)
    restore(maker.repo, tree, tmp_path / "t")
    assert os.path.samefile(tmp_path / "t" / "a", tmp_path / "t" / "d" / "b")


@pytest.mark.parametrize("fields", [{"device_id": 6}, {"inode": 78}, {"links": 1}])
def test_only_the_same_inode_of_the_same_device_is_linked(maker: Maker, tmp_path: Path, fields: dict[str, int]) -> None:
    tree = maker.finish([maker.file("a", b"data", **links(maker)), maker.file("b", b"data", **links(maker, **fields))])
    restore(maker.repo, tree, tmp_path)
    assert not os.path.samefile(tmp_path / "a", tmp_path / "b") and (tmp_path / "b").read_bytes() == b"data"


def test_files_without_inode_or_with_other_content_are_not_linked(maker: Maker, tmp_path: Path) -> None:
    nothing = links(maker, inode=0, device_id=0)
    entries = [maker.file("a", b"one", **nothing), maker.file("b", b"two", **nothing)]
    entries += [maker.file("c", b"three", **links(maker)), maker.file("d", b"four", **links(maker))]
    tree = maker.finish(entries)
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.errors == []
    assert [(tmp_path / name).read_bytes() for name in "abcd"] == [b"one", b"two", b"three", b"four"]
    tree = maker.finish([maker.file("a", b"one", **nothing), maker.file("b", b"one", **nothing)])
    restore(maker.repo, tree, tmp_path / "same")
    assert not os.path.samefile(tmp_path / "same" / "a", tmp_path / "same" / "b")


def test_a_kept_first_name_is_linked_to_only_if_it_has_the_content(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("a", b"data", **links(maker)), maker.file("b", b"data", **links(maker))])
    for name, present in (("good", b"data"), ("bad", b"mine")):
        put(tmp_path / name / "a", present, 5)
        _, heard = restore(maker.repo, tree, tmp_path / name, overwrite=Overwrite.NEVER)
        assert heard.errors == []
        assert (tmp_path / name / "a").read_bytes() == present and (tmp_path / name / "b").read_bytes() == b"data"
    assert os.path.samefile(tmp_path / "good" / "a", tmp_path / "good" / "b")
