"""A repository made to harm: whatever it says, nothing outside the target changes, and all harmless items are restored."""

from __future__ import annotations

import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from restic_format.native.places import _pure
from restic_format.repository import BlobIndex, Location
from restic_format.restore import RestoreError, RestoreOptions, Restorer, TargetInTheWay
from restic_format.restore.items import ItemPlanner
from restic_format.snapshots import NodeUnusable, TooDeep, UnsafeName
from restic_format.snapshots import walk as walk_module
from restic_spec import gomode
from restic_spec.errors import NameInvalid, ResticFormatError
from restic_spec.pack import BlobType
from tests.restore.kit import T0, Heard, Maker, memory_repo, restore


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder next to the target, which nothing may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"precious")
    os.utime(folder / "secret", ns=(1, 1))
    os.utime(folder, ns=(1, 1))
    return folder


def untouched(outside: Path) -> bool:
    status = os.stat(outside / "secret")
    return (
        os.listdir(outside) == ["secret"]
        and (outside / "secret").read_bytes() == b"precious"
        and status.st_mtime_ns == 1
        and os.stat(outside).st_mtime_ns == 1
    )


@pytest.mark.parametrize(
    "name", ["../outside/evil", "..", ".", "", "/evil", "a/b", "x\0y", "outside/../../outside/secret", "a/"]
)
@pytest.mark.parametrize("kind", ["file", "dir", "symlink"])
def test_names_that_lead_elsewhere(maker: Maker, outside: Path, tmp_path: Path, name: str, kind: str) -> None:
    evil = {
        "file": lambda: maker.file(name, b"evil"),
        "dir": lambda: maker.folder(name, [maker.file("secret", b"evil")]),
        "symlink": lambda: maker.symlink(name, "/etc"),
    }[kind]()
    tree = maker.finish([evil, maker.file("good", b"good")])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert os.listdir(tmp_path / "target") == ["good"]
    assert [type(error) for _, error in heard.errors] == [UnsafeName]
    assert untouched(outside) and sorted(os.listdir(tmp_path)) == ["outside", "target"]


def test_a_name_that_is_not_quoted(maker: Maker, tmp_path: Path) -> None:
    node = maker.file("x", b"evil")
    node.quoted = "bad\\q"
    tree = maker.finish([node, maker.file("good", b"good")])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert os.listdir(tmp_path / "target") == ["good"]
    assert [type(error) for _, error in heard.errors] == [NameInvalid]


@pytest.mark.parametrize("order", ["link first", "folder first"])
def test_the_same_name_as_symlink_and_as_folder(maker: Maker, outside: Path, tmp_path: Path, order: str) -> None:
    entries = [maker.symlink("a", str(outside)), maker.folder("a", [maker.file("secret", b"evil"), maker.file("b", b"evil")])]
    tree = maker.finish(entries if order == "link first" else entries[::-1])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert untouched(outside)
    assert [type(error) for _, error in heard.errors] == [UnsafeName]


@pytest.mark.parametrize("name", ["a", "secret"])
def test_a_symlink_of_the_snapshot_is_never_written_through(maker: Maker, outside: Path, tmp_path: Path, name: str) -> None:
    """First a snapshot that plants symlinks, then one with folders and files of the same names."""
    first = maker.finish([maker.symlink("a", str(outside)), maker.symlink("secret", str(outside / "secret"))])
    second = maker.finish([maker.folder("a", [maker.file("secret", b"evil")]), maker.file("secret", b"evil")])
    target = tmp_path / "target"
    restore(maker.repo, first, target)
    assert os.readlink(target / "a") == str(outside)
    _, heard = restore(maker.repo, second, target)
    assert heard.errors == []
    assert (target / "a" / "secret").read_bytes() == b"evil" and (target / "secret").read_bytes() == b"evil"
    assert untouched(outside)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_symlinks_planted_in_the_target(maker: Maker, outside: Path, tmp_path: Path, depth: int) -> None:
    path = ["a", "b", "c"]
    node = maker.file("secret", b"evil")
    for name in reversed(path):
        node = maker.folder(name, [node])
    tree = maker.finish([node])
    target = tmp_path / "target"
    above = target.joinpath(*path[: depth - 1])
    above.mkdir(parents=True)
    (above / path[depth - 1]).symlink_to(outside)
    _, heard = restore(maker.repo, tree, target)
    assert heard.errors == []
    assert target.joinpath(*path, "secret").read_bytes() == b"evil"
    assert untouched(outside)


def test_planted_symlinks_with_a_filter_that_selects_only_the_file(maker: Maker, outside: Path, tmp_path: Path) -> None:
    tree = maker.finish([maker.folder("a", [maker.folder("b", [maker.file("secret", b"evil")])])])
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").symlink_to(outside)

    def select(location: str, is_dir: bool) -> tuple[bool, bool]:
        return location == "/a/b/secret", is_dir

    _, heard = restore(maker.repo, tree, target, select=select)
    assert heard.errors == []
    assert (target / "a" / "b" / "secret").read_bytes() == b"evil"
    assert untouched(outside)


def test_a_folder_swapped_for_a_symlink_while_the_restore_runs(
    maker: Maker, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = maker.finish([maker.folder("a", [maker.file("secret", b"evil"), maker.file("other", b"1", b"2")])])
    target = tmp_path / "target"
    original = ItemPlanner.run

    def swap(planner: ItemPlanner, root: bytes) -> None:
        original(planner, root)
        (target / "a").rename(target / "moved")
        (target / "a").symlink_to(outside)

    monkeypatch.setattr(ItemPlanner, "run", swap)
    _, heard = restore(maker.repo, tree, target)
    assert untouched(outside)
    assert "/a/secret" in heard.failed


def test_a_symlink_planted_in_a_new_folder_while_the_restore_runs(
    maker: Maker, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = maker.finish([maker.folder("a", [maker.file("secret", b"evil"), maker.file("secret2", b"evil", b"more")])])
    target = tmp_path / "target"
    original = ItemPlanner.run

    def plant(planner: ItemPlanner, root: bytes) -> None:
        original(planner, root)
        for name in ("secret", "secret2"):
            (target / "a" / name).symlink_to(outside / "secret")

    monkeypatch.setattr(ItemPlanner, "run", plant)
    _, heard = restore(maker.repo, tree, target)
    assert untouched(outside) and heard.errors == []
    assert (target / "a" / "secret").read_bytes() == b"evil" and not (target / "a" / "secret").is_symlink()


@pytest.mark.parametrize("kind", ["fifo", "symlink", "folder", "nothing"])
def test_what_is_no_regular_file_is_not_read_and_does_not_block(tmp_path: Path, kind: str) -> None:
    from restic_format.restore.existing import open_regular
    from restic_format.restore.filewriter import _open_in_place

    make = {
        "fifo": lambda: os.mkfifo(tmp_path / "x"),
        "symlink": lambda: ((tmp_path / "file").write_bytes(b"x"), (tmp_path / "x").symlink_to("file")),
        "folder": lambda: (tmp_path / "x").mkdir(),
        "nothing": lambda: None,
    }
    make[kind]()
    parent = os.open(tmp_path, os.O_RDONLY)
    reader = os.open(tmp_path / "x", os.O_RDONLY | os.O_NONBLOCK) if kind == "fifo" else None
    try:
        assert open_regular(b"x", parent) is None
        with pytest.raises((OSError, RestoreError)):
            _open_in_place(b"x", parent)
    finally:
        os.close(parent)
        if reader is not None:
            os.close(reader)


def test_a_file_that_got_another_name_is_not_written_in_place(tmp_path: Path) -> None:
    from restic_format.restore.filewriter import _open_in_place

    (tmp_path / "x").write_bytes(b"x")
    os.link(tmp_path / "x", tmp_path / "y")
    parent = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(RestoreError):
            _open_in_place(b"x", parent)
    finally:
        os.close(parent)


def test_devices_in_the_target_are_not_even_opened(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    monkeypatch.setattr("restic_format.restore.files.open_regular", lambda name, parent: opened.append(name))
    tree = maker.finish([maker.file("fifo", b"data")])
    target = tmp_path / "target"
    target.mkdir()
    os.mkfifo(target / "fifo")
    _, heard = restore(maker.repo, tree, target)
    assert heard.errors == [] and opened == [] and (target / "fifo").read_bytes() == b"data"


def test_a_folder_moved_while_it_is_removed_takes_nothing_along(outside: Path, tmp_path: Path) -> None:
    from restic_format.restore.dirs import remove_tree

    (tmp_path / "gone" / "a" / "b").mkdir(parents=True)
    (tmp_path / "gone" / "a" / "b" / "f").write_bytes(b"x")
    (outside / "b").mkdir()
    parent = os.open(tmp_path, os.O_RDONLY)
    try:
        removal = remove_tree(b"gone", parent)
        assert next(removal) == b"gone/a/b/f"
        (outside / "b").rmdir()
        (tmp_path / "gone" / "a" / "b").rename(outside / "b")
        with pytest.raises(RestoreError):
            list(removal)
    finally:
        os.close(parent)
    assert sorted(os.listdir(outside)) == ["b", "secret"]


@pytest.mark.parametrize(("length", "uncompressed"), [(10, None), ((1 << 32) - 1, None), (100, (1 << 32) - 1)])
def test_an_impossible_length_in_the_index(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, uncompressed: int | None
) -> None:
    bad = maker.file("bad", b"first", b"lied about")
    tree = maker.finish([bad, maker.file("good", b"good")])
    _lie(maker, monkeypatch, str(bad.blobs[0]), length=length, uncompressed_length=uncompressed)
    stats, heard = restore(maker.repo, tree, tmp_path / "target")
    assert heard.failed == ["/bad"] and isinstance(heard.errors[0][1], NodeUnusable)
    assert os.listdir(tmp_path / "target") == ["good"] and stats.bytes_total == 4


@pytest.mark.clause("PACK-22")
@pytest.mark.parametrize("claimed", [5, 50_000])
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("native", [False, True])
def test_a_wrong_length_in_the_index_misplaces_nothing(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claimed: int, existing: bool, native: bool
) -> None:
    if not native:
        monkeypatch.setattr("restic_format.restore.fetch.PlaceWriter", _pure.PlaceWriter)
    first, second, third = b"a" * 10_000, b"b" * 10_000, b"c" * 100
    bad = maker.file("bad", second, first, third, first, second)
    tree = maker.finish([maker.folder("d", [bad, maker.file("good", first), maker.file("other", second)])])
    target = tmp_path / "target"
    if existing:
        (target / "d").mkdir(parents=True)
        (target / "d" / "bad").write_bytes(second + b"x" * 50_000)
    true, maker.repo.index = maker.repo.index, BlobIndex()
    for pack, entries in true.by_pack():
        lied = [entry._replace(uncompressed_length=claimed) if entry.id.hex() == bad.blobs[1] else entry for entry in entries]
        maker.repo.index.add_pack(pack, lied)
    heard = Heard()
    restorer = Restorer(maker.repo, tree, target, RestoreOptions(tell_items=True), progress=heard)
    stats = restorer.run()
    # "good" consists of the very blob whose length is wrong.
    assert (target / "d" / "bad").read_bytes() == second + first + third + first + second
    assert (target / "d" / "good").read_bytes() == first and (target / "d" / "other").read_bytes() == second
    assert heard.errors == [] and stats.files_restored == 4 and (target / "d" / "bad").stat().st_mtime_ns == T0
    assert restorer.verify() == 3 and heard.errors == []


@pytest.mark.clause("PACK-22")
def test_a_wrong_length_beside_a_lost_blob(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = maker.file("bad", b"a" * 10_000, b"b" * 10_000)
    bad.content = [*bad.blobs, "11" * 32]
    tree = maker.finish([bad])
    _lie(maker, monkeypatch, str(bad.blobs[0]), uncompressed_length=5)
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/bad"] and (tmp_path / "bad").stat().st_mtime_ns != T0


def _lie(maker: Maker, monkeypatch: pytest.MonkeyPatch, blob: str, **fields: int | None) -> None:
    """Let the index give a wrong location for one blob when a restore asks for it."""
    index = maker.repo.index
    true = index.lookup

    def lookup(kind: BlobType, wanted: bytes) -> Location | None:
        found = true(kind, wanted)
        return found._replace(**fields) if found is not None and wanted.hex() == blob else found

    monkeypatch.setattr(index, "lookup", lookup)


def test_existing_files_that_are_symlinks_are_replaced_not_followed(maker: Maker, outside: Path, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("one", b"new"), maker.file("two", b"new", b"blobs")])
    target = tmp_path / "target"
    target.mkdir()
    for name in ("one", "two"):
        (target / name).symlink_to(outside / "secret")
    _, heard = restore(maker.repo, tree, target)
    assert heard.errors == [] and untouched(outside)
    assert (target / "one").read_bytes() == b"new" and not (target / "one").is_symlink()


def test_an_existing_hard_link_to_the_outside_is_not_written_through(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("one", b"new"), maker.file("two", b"same", b"new")])
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "secret").write_bytes(b"precious")
    (tmp_path / "partly").write_bytes(b"sameold")
    os.link(tmp_path / "secret", target / "one")
    os.link(tmp_path / "partly", target / "two")
    _, heard = restore(maker.repo, tree, target)
    assert heard.errors == []
    assert (target / "one").read_bytes() == b"new" and (target / "two").read_bytes() == b"samenew"
    assert (tmp_path / "secret").read_bytes() == b"precious" and (tmp_path / "partly").read_bytes() == b"sameold"


@pytest.mark.parametrize("overwrite", ["always", "if-changed", "if-newer"])
def test_fifos_and_sockets_in_the_way_do_not_hold_it_up(maker: Maker, tmp_path: Path, overwrite: str) -> None:
    from restic_format.restore import Overwrite

    tree = maker.finish([maker.file("fifo", b"data"), maker.file("link", b"data"), maker.file("sock", b"data")])
    target = tmp_path / "target"
    target.mkdir()
    os.mkfifo(target / "fifo")
    (target / "link").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(target)
        try:
            sock.bind("sock")
        finally:
            os.chdir(here)
    for name in ("fifo", "link", "sock"):
        os.utime(target / name, ns=(1, 1), follow_symlinks=False)
    _, heard = restore(maker.repo, tree, target, overwrite=Overwrite(overwrite))
    assert heard.errors == []
    assert all((target / name).read_bytes() == b"data" for name in ("fifo", "link", "sock"))


def test_a_symlink_gets_no_mode_and_its_target_no_metadata(maker: Maker, outside: Path, tmp_path: Path) -> None:
    before = os.stat(outside / "secret")
    tree = maker.finish([maker.symlink("s", str(outside / "secret"))])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert heard.errors == [] and untouched(outside)
    assert os.lstat(tmp_path / "target" / "s").st_mtime_ns == T0
    assert os.stat(outside / "secret").st_mode == before.st_mode


def test_a_fifo_with_a_device_number_is_a_fifo(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.node("p", "fifo", gomode.NAMED_PIPE | 0o640, device=1 << 40)])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    status = os.lstat(tmp_path / "target" / "p")
    assert heard.errors == [] and stat.S_ISFIFO(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o640


def test_a_file_whose_mode_claims_to_be_something_else_is_a_file(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([maker.file("f", b"data", mode=gomode.DEVICE | gomode.CHAR_DEVICE | 0o600)])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert heard.errors == [] and (tmp_path / "target" / "f").read_bytes() == b"data"


def test_nodes_that_say_nonsense_are_named_and_left_out(maker: Maker, tmp_path: Path) -> None:
    entries = [
        maker.node("device", "chardev", gomode.DEVICE, device=1 << 70),
        maker.node("foldernotree", "dir", gomode.DIR),
        maker.node("foldernoid", "dir", gomode.DIR, subtree="../../x"),
        maker.node("irregular", "irregular", 0),
        maker.node("noid", "file", 0o644, content=["zz"]),
        maker.node("owner", "file", 0o644, content=[], uid=(1 << 32) - 1),
        maker.node("time", "file", 0o644, content=[], mtime="yesterday"),
        maker.node("unknown", "wormhole", 0o644),
        maker.symlink("empty", ""),
        maker.symlink("nul", "a\0b"),
        maker.file("good", b"good"),
    ]
    tree = maker.finish(entries)
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert os.listdir(tmp_path / "target") == ["good"]
    assert len(heard.errors) == len(entries) - 1
    assert all(isinstance(error, (ResticFormatError, OSError, OverflowError, ValueError)) for _, error in heard.errors)


@pytest.mark.parametrize("size", [0, 1, 1 << 62])
def test_a_size_that_lies_is_reported_and_the_content_counts(maker: Maker, tmp_path: Path, size: int) -> None:
    tree = maker.finish([maker.file("f", b"ab" * 50, b"c", size=size)])
    stats, heard = restore(maker.repo, tree, tmp_path / "target")
    assert (tmp_path / "target" / "f").read_bytes() == b"ab" * 50 + b"c"
    assert heard.failed == ["/f"] and isinstance(heard.errors[0][1], NodeUnusable)
    assert stats.bytes_restored == stats.bytes_total == 101


def test_depth_is_bounded(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "MAX_DEPTH", 300)
    node = maker.file("deepest", b"data")
    for _ in range(400):
        node = maker.folder("d", [node])
    tree = maker.finish([node, maker.file("good", b"good")])
    _, heard = restore(maker.repo, tree, tmp_path / "target")
    assert [type(error) for _, error in heard.errors] == [TooDeep]
    assert (tmp_path / "target" / "good").read_bytes() == b"good"


def test_deeper_than_a_path_can_name(maker: Maker, tmp_path: Path) -> None:
    """1500 levels with long names: far more than PATH_MAX, with few descriptors and no recursion."""
    from restic_format.restore.dirs import remove_entry

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    node = maker.file("deepest", b"data")
    for _ in range(1500):
        node = maker.folder("long-enough-name", [node])
    tree = maker.finish([node])
    descriptor = os.open(tmp_path, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        stats, heard = restore(maker.repo, tree, tmp_path / "target")
        assert heard.errors == [] and stats.files_restored == 1501
        remove_entry(b"target", descriptor, recursive=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(descriptor)
    assert not (tmp_path / "target").exists()


def test_never_overwriting_keeps_a_file_where_a_folder_belongs(maker: Maker, tmp_path: Path) -> None:
    from restic_format.restore import Overwrite

    tree = maker.finish([maker.folder("a", [maker.file("f", b"x")]), maker.file("good", b"good")])
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").write_bytes(b"mine")
    _, heard = restore(maker.repo, tree, target, overwrite=Overwrite.NEVER)
    assert (target / "a").read_bytes() == b"mine" and (target / "good").read_bytes() == b"good"
    assert [type(error) for _, error in heard.errors] == [TargetInTheWay]


def test_a_target_that_is_a_symlink_is_the_users_choice(maker: Maker, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "target").symlink_to("real")
    tree = maker.finish([maker.file("f", b"x")])
    restore(maker.repo, tree, tmp_path / "target")
    assert (tmp_path / "target").is_symlink() and (tmp_path / "real" / "f").read_bytes() == b"x"
