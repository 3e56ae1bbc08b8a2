"""Names by templates, and what the kernel is told of entries, without mounting anything."""

from __future__ import annotations

import struct
import threading
import time
from typing import Any

import msgspec
import pytest

from restic_format.errors import SnapshotNotFound
from restic_format.mount import protocol
from restic_format.mount.attributes import Owner, entry_inode, folder_inode, node_attributes
from restic_format.mount.folders import Folders, Refused
from restic_format.mount.listing import Fault, Listing, Listings
from restic_format.mount.names import Layout, Place
from restic_format.mount.places import Places
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot
from restic_spec import golayout, gomode
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot
from tests.restore.kit import Maker, memory_repo


def found(number: int, **fields: Any) -> FoundSnapshot:
    values = {"time": "2020-01-02T03:04:05.678Z", "tree": "00" * 32, "hostname": "h", "username": "u", **fields}
    return FoundSnapshot(bytes([number]) * 32, Snapshot(**values))


def shown(place: Place) -> set[bytes]:
    """The snapshots that can be come to from a place."""
    if place.snapshot is not None:
        return set() if place.target else {place.snapshot.id}
    return set().union(*(shown(below) for below in place.names.values()))


@pytest.mark.parametrize("template", ["%T", "//x//%T", "x/../y/%T", "same", "", "/", ".", "..", "%h", "a%b", "x/%/y", "latest"])
def test_no_template_hides_a_snapshot(template: str) -> None:
    snapshots = [found(number) for number in range(1, 5)]
    root = Layout(snapshots, [template]).root
    if root.snapshot is None:
        assert shown(root) == {item.id for item in snapshots}, template


def test_a_snapshot_that_is_called_latest_goes_before_the_link() -> None:
    layout = Layout([found(1), found(2)], ["%T"], "latest")
    assert shown(layout.root) == {b"\1" * 32, b"\2" * 32}


@pytest.mark.clause("SNAP-23")
def test_a_partial_snapshot_is_the_latest_only_where_there_is_no_other() -> None:
    partial = [found(number, time=f"2020-01-0{number}T00:00:00Z") for number in (1, 3)]
    for item in partial:
        item.snapshot.keep_extra({"partial": msgspec.Raw(b"true")})
    whole = found(2, time="2020-01-02T00:00:00Z")
    for snapshots, latest in (([*partial, whole], whole), (partial, partial[1])):
        place = Layout(snapshots, ["all/%T"]).get("/all/latest")
        assert place is not None and place.snapshot is latest


def test_names_that_the_system_cannot_have() -> None:
    layout = Layout([found(1, hostname="x" * 300), found(2, hostname="a\0b"), found(3)], ["%h/%i"])
    assert shown(layout.root) == {b"\3" * 32}
    assert list(layout.root.names) == ["h"]


def test_times_of_zones_and_long_ago() -> None:
    clock = golayout.Clock(-1, -12600, "")
    assert golayout.format_time("2006 January 2 Monday 03:04:05.000000000 PM MST -07:00:00 Z07", clock) == (
        "1969 December 31 Wednesday 08:29:59.999999999 PM -0330 -03:30:00 -03"
    )
    assert golayout.clock_of("2020-01-01T00:00:00Z").zone == "UTC"


def test_entries_have_the_form_of_the_kernel() -> None:
    entry = protocol.entry(7, 3, 0o100000, b"name")
    assert len(entry) == protocol.entry_size(b"name") == 32
    assert entry == struct.pack("=QQII", 7, 3, 4, 8) + b"name\0\0\0\0"
    assert len(protocol.NO_ENTRY) == 128
    reply, minor = protocol.init_reply(
        struct.pack("=IIII", 7, 45, 1 << 17, 0xFFFFFFFF), readahead=1 << 20, pages=256, background=8
    )
    assert (len(reply), minor) == (64, 45)
    assert struct.unpack_from("=IIII", reply) == (7, 31, 1 << 17, protocol.WANTED)
    assert protocol.init_reply(struct.pack("=IIII", 8, 1, 0, 0), readahead=0, pages=1, background=1)[1] == 0


def test_what_the_kernel_gives_back_is_forgotten() -> None:
    folders = Folders()
    below = folders.enter(folders.root, b"x")
    assert folders.enter(folders.root, b"x") is below
    deeper = folders.enter(below, b"y")
    assert folders.entry(folders.number_of(below, 5)) == (below, 5)
    assert folders.entry(folders.number_of(folders.root, 0)) == (folders.root, 0)
    folders.forget([(deeper.node, 1), (below.node, 1)])
    assert folders.get(below.node) is below
    folders.forget([(below.node, 1), (1, 99), (12345 << 32, 1), (folders.number_of(below, 5), 3)])
    assert len(folders) == 1
    with pytest.raises(Refused):
        folders.get(below.node)
    assert folders.get(protocol.ROOT_ID) is folders.root


def test_inodes() -> None:
    maker = Maker(memory_repo())
    plain, linked = maker.file("a", b"x"), maker.file("a", b"x", links=2, inode=5, device_id=6)
    folder, snapshot = folder_inode(1, b"x"), folder_inode(1, b"s")
    assert len({entry_inode(folder, number, plain, snapshot) for number in range(10_000)}) == 10_000
    assert entry_inode(folder, 1, linked, snapshot) == entry_inode(folder + 9, 7, linked, snapshot)
    assert entry_inode(folder, 1, linked, snapshot) != entry_inode(folder, 1, linked, snapshot + 1)


def test_attributes_that_are_out_of_bounds() -> None:
    maker = Maker(memory_repo())
    for node in (
        maker.file("a", size=(1 << 64) - 1, links=1 << 40, mtime="9999-12-31T23:59:59.999999999Z", atime=None, ctime=None),
        maker.file("a", mtime="0000-01-01T00:00:00Z", uid=0xFFFFFFFF, gid=None, mode=0xFFFFFFFF),
        maker.node("a", "chardev", 0, device=(1 << 64) - 1, mtime=None),
    ):
        assert len(node_attributes(node, 2, Owner(0, 0, False))) == 88


def test_a_snapshot_that_cannot_be_read_is_told_once_and_the_others_are_shown() -> None:
    repository = memory_repo()
    tree = Maker(repository).finish([])
    good = repository.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree=tree.hex(), hostname="h"))
    bad = bytes(32)
    repository.storage.save(FileKind.SNAPSHOT, bad.hex(), b"nonsense")
    told: list[str] = []
    places = Places(repository, told=lambda where, error: told.append(where), refresh=0)
    places.load()
    for _ in range(3):
        places.refresh()
        assert shown(places.at("") or Place("")) == {good}
    assert told == [f"snapshots/{bad.hex()}"]


def test_a_storage_that_is_away_leaves_the_places_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = memory_repo()
    tree = Maker(repository).finish([])
    repository.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree=tree.hex(), hostname="h"))
    told: list[str] = []
    places = Places(repository, told=lambda where, error: told.append(where), refresh=0)
    places.load()

    def away(*_: object) -> None:
        raise SnapshotNotFound("away")

    monkeypatch.setattr(repository, "list", away)
    places.refresh()
    assert told == ["snapshots"]
    assert len(shown(places.at("") or Place(""))) == 1


def test_a_host_with_many_slashes_hides_no_other_snapshot() -> None:
    layout = Layout([found(1, hostname="a/" * 5000), found(2, hostname="b")])
    assert len(layout.root.names["ids"].names) == 2
    assert list(layout.root.names["hosts"].names) == ["b"]


def large_and_small(entries: int) -> tuple[Repository, bytes, list[bytes]]:
    repository = memory_repo()
    maker = Maker(repository)
    below = [maker.tree([maker.file(f"{number}")]) for number in range(entries)]
    folders = [maker.node(f"{number:05}", "dir", gomode.DIR | 0o755, subtree=tree.hex()) for number, tree in enumerate(below)]
    top = maker.finish(folders)
    repository.load_index()
    return repository, top, below


def test_what_is_in_a_large_directory_does_not_displace_it(monkeypatch: pytest.MonkeyPatch) -> None:
    repository, top, below = large_and_small(40)
    listings = Listings(repository, 20 << 10)
    read: list[bytes] = []
    monkeypatch.setattr(listings, "_read", lambda tree, fault: read.append(tree) or Listings._read(listings, tree, fault))
    for tree in below:
        listings.get(top, print)
        listings.get(tree, print)
    assert read.count(top) == 1
    assert len(read) == 41


def test_a_directory_is_read_once_however_many_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    repository, top, _ = large_and_small(40)
    listings = Listings(repository, 20 << 10)
    read: list[bytes] = []

    def slowly(tree: bytes, fault: Fault) -> Listing:
        read.append(tree)
        time.sleep(0.1)
        return Listings._read(listings, tree, fault)

    monkeypatch.setattr(listings, "_read", slowly)
    threads = [threading.Thread(target=listings.get, args=(top, print)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [top]


def test_a_name_that_the_kernel_does_not_take_hides_no_other() -> None:
    repository = memory_repo()
    maker = Maker(repository)
    top = maker.finish([maker.file("a"), maker.file("b" * 70000), maker.file("c")])
    repository.load_index()
    told: list[str] = []
    listing = Listings(repository, 1 << 20).get(top, lambda name, error: told.append(str(error)))
    assert listing.names == [b"a", b"c"]
    assert told == ["the name is too long for this system; the item is left out"]
