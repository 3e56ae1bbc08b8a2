"""Every attribute of every kind of item: what real restic backed up comes back the same, and the same as restic brings it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from restic_conformance import trees
from restic_conformance.compare import Facts, differences, restorable, scan
from restic_format.filter import IncludeFilter
from restic_format.repository import Repository
from restic_format.restore import RestoreOptions, Restorer, include_selector, xattr_selector
from restic_format.restore.errors import SystemRefused
from restic_format.snapshots import find_snapshot
from restic_format.storage import LocalStorage
from restic_spec import gomode, gotime
from restic_spec.snapshot import Snapshot
from restic_tools.output import Output
from restic_tools.restoreprint import RestorePrinter
from tests.restore.kit import PASSWORD, T0, Heard, Maker, as_nobody, cheap_repo, memory_repo, ours, restic, restore, run

Peer = Callable[[str], Path]
ROOT_KEY = b"."
"""The folder restored into is not part of the snapshot."""


def facts(folder: Path) -> dict[bytes, Facts]:
    return {path: item for path, item in restorable(scan(folder)).items() if path != ROOT_KEY}


@pytest.mark.parametrize("version", ["restic-0.14", "restic-0.18", "restic-0.19"])
@pytest.mark.parametrize("repository_version", [1, 2])
@pytest.mark.parametrize("kind", ["metadata", "odd_names", "nested"])
def test_backed_up_by_restic(peer: Peer, tmp_path: Path, version: str, repository_version: int, kind: str) -> None:
    source, repo, ours_out, theirs_out = (tmp_path / name for name in ("src", "repo", "ours", "theirs"))
    trees.build(getattr(trees, kind), os.fsencode(source))
    cheap_repo(repo, repository_version)
    done = restic(peer(version), repo, "backup", ".", cwd=source)
    assert done.returncode == 0, done.stderr
    done = restic(peer("restic-0.19"), repo, "restore", "latest", "--target", str(theirs_out))
    assert done.returncode == 0, done.stderr
    done = ours(repo, "restore", "latest", "--target", str(ours_out), "--verify")
    assert done.returncode == 0 and not done.stderr, done.stderr
    from_theirs = [
        str(item)
        for item in differences(facts(theirs_out), facts(ours_out))
        # Go counts nanoseconds in 64 bits and restores years after 2262 wrongly.
        if not (item.attribute == "mtime_ns" and abs(item.found) >= 1 << 63)  # type: ignore[arg-type]
    ]
    assert from_theirs == []
    # restic 0.14 loses bytes of a symlink's target that are not UTF-8, and a symlink's attributes, when it backs up.
    old = version == "restic-0.14"
    expected = {
        # Only regular files keep their hard links: the other kinds lack what it takes in the snapshot, or in restic's rules.
        path: item if item.type == "file" else replace(item, hardlinks=())
        for path, item in facts(source).items()
        if not (old and item.type == "symlink")
    }
    found = {path: item for path, item in facts(ours_out).items() if not (old and item.type == "symlink")}
    assert [str(item) for item in differences(expected, found)] == []


def test_big_files_of_many_blobs(peer: Peer, tmp_path: Path) -> None:
    source, repo = tmp_path / "src", cheap_repo(tmp_path / "repo")
    trees.build(trees.big, os.fsencode(source))
    assert restic(peer("restic-0.19"), repo, "backup", ".", cwd=source).returncode == 0
    for sparse in ([], ["--sparse"]):
        out = tmp_path / f"out{len(sparse)}"
        done = ours(repo, "restore", "latest", "--target", str(out), "--verify", *sparse)
        assert done.returncode == 0, done.stderr
        assert [str(item) for item in differences(facts(source), facts(out))] == []


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


@pytest.mark.parametrize(
    "text",
    ["1901-12-14T20:45:52.999999999Z", "1969-12-31T23:59:59.000000001Z", "2106-02-07T06:28:16.5+14:00", "1970-01-01T00:00:00Z"],
)
def test_times_to_the_nanosecond_and_before_the_epoch(maker: Maker, tmp_path: Path, text: str) -> None:
    fields = {"mtime": text, "atime": "2001-02-03T04:05:06.000000007Z"}
    tree = maker.finish([maker.file("f", b"x", **fields), maker.folder("d", [], **fields), maker.symlink("s", "x", **fields)])
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.errors == []
    for name in ("f", "d", "s"):
        status = os.lstat(tmp_path / name)
        assert status.st_mtime_ns == gotime.parse_ns(text)
        if name != "s":  # reading a link's target, as looking at a folder's entries, may update its access time
            assert status.st_atime_ns == gotime.parse_ns(fields["atime"])


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"])
def test_times_no_file_system_has_do_not_stop_the_restore(maker: Maker, tmp_path: Path, text: str) -> None:
    tree = maker.finish([maker.file("f", b"x", mode=0o640, mtime=text, atime=text)])
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.errors == [] and stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_a_node_without_times_and_owner(maker: Maker, tmp_path: Path) -> None:
    """rustic may leave them out: the time is then the restore's, and not that of the year 1."""
    node = maker.file("f", b"x")
    node.mtime = node.atime = node.uid = node.gid = None
    tree = maker.finish([node])
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.errors == [] and (tmp_path / "f").stat().st_mtime_ns > T0


def test_folders_get_mode_and_time_after_everything_in_them(maker: Maker, shared_folder: Path) -> None:
    # More folders than descriptors are kept open, so that the order of the last pass decides.
    many = [maker.folder(f"m{number:03}", [], mode=0o500) for number in range(100)]
    inner = maker.folder("inner", [maker.file("f", b"x"), *many, maker.symlink("s", "x")], mode=0o500)
    shared = {"links": 2, "inode": 9, "device_id": 1}
    entries = [inner, maker.file("a", b"data", **shared), maker.file("b", b"data", **shared)]
    tree = maker.finish([maker.folder("outer", entries, mode=0o444)])
    base = shared_folder

    def check() -> None:
        _, heard = restore(maker.repo, tree, base)
        assert heard.errors == [], heard.errors
        for name, mode in (("outer", 0o444), ("outer/inner", 0o500), ("outer/inner/m000", 0o500)):
            if "/" in name:
                (base / "outer").chmod(0o700)
            status = os.stat(base / name)
            assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (T0, mode)

    as_nobody(check)


def test_without_roots_rights_owners_are_passed_over_and_devices_reported(maker: Maker, shared_folder: Path) -> None:
    entries = [
        maker.file("f", b"x", uid=12345, gid=12345, mode=0o640),
        maker.symlink("s", "x", uid=12345, gid=12345),
        maker.node("null", "chardev", gomode.DEVICE | gomode.CHAR_DEVICE | 0o666, device=0x103),
        maker.folder("d", [maker.file("g", b"y")], uid=12345, gid=12345, mode=0o750),
    ]
    tree = maker.finish(entries)
    base = shared_folder

    def check() -> None:
        _, heard = restore(maker.repo, tree, base)
        assert heard.failed == ["/null"] and isinstance(heard.errors[0][1], SystemRefused)
        assert (heard.errors[0][1].operation, heard.errors[0][1].errno) == ("mknod", errno.EPERM)
        assert stat.S_IMODE((base / "f").stat().st_mode) == 0o640 and (base / "f").stat().st_mtime_ns == T0
        assert stat.S_IMODE((base / "d").stat().st_mode) == 0o750 and os.lstat(base / "s").st_mtime_ns == T0

    as_nobody(check)


def test_what_the_system_refuses_is_told_in_restics_words(peer: Peer, shared_folder: Path) -> None:
    """A folder in the target in which nothing may be made; each operation is named with its path, as restic does it."""
    repo, target, told = (shared_folder / name for name in ("repo", "t", "told"))
    maker = Maker(Repository.open(LocalStorage(str(cheap_repo(repo))), PASSWORD))
    shared = {"links": 2, "inode": 7, "device_id": 1}
    inside = [
        maker.file("h", b"x", **shared),
        maker.symlink("l", "some/where"),
        maker.folder("m", []),
        maker.node("p", "fifo", gomode.NAMED_PIPE | 0o600),
    ]
    tree = maker.finish([maker.file("a", b"x", **shared), maker.folder("d", inside)])
    maker.repo.save_snapshot(Snapshot(time="2024-01-01T00:00:00Z", tree=tree.hex(), paths=["/x"]))
    subprocess.run(["chmod", "-R", "a+rX", str(repo)], check=True)
    shutil.copy(peer("restic-0.19"), shared_folder / "restic")

    def clean() -> None:
        shutil.rmtree(target, ignore_errors=True)
        (target / "d").mkdir(parents=True)
        target.chmod(0o777)

    def run_ours() -> None:
        with open(told, "w") as sys.stderr:
            Restorer(maker.repo, tree, target, progress=RestorePrinter(Output(), str(target))).run()

    told.touch()
    told.chmod(0o666)
    clean()
    as_nobody(run_ours)
    clean()
    command = [
        str(shared_folder / "restic"),
        "--no-cache",
        "--no-lock",
        "-r",
        str(repo),
        "restore",
        "latest",
        "-t",
        str(target),
    ]
    done = run(command, user=65534, group=65534, extra_groups=[])
    # What follows from these failures it tells, too.
    theirs = [line for line in done.stderr.decode().splitlines() if "no such file" not in line and "Fatal" not in line]
    ours_told = told.read_text().splitlines()
    assert sorted(ours_told) == sorted(theirs) and len(theirs) == 4
    for operation in (f"link {target}/a {target}/d/h", f"symlink some/where {target}/d/l", f"mkdir {target}/d/m"):
        assert any(f": {operation}: permission denied" in line for line in ours_told)


def test_extended_attributes_and_which_of_them(maker: Maker, tmp_path: Path) -> None:
    from restic_spec.tree import ExtendedAttribute

    attributes = [ExtendedAttribute("user.a", b"1\0\xff"), ExtendedAttribute("user.b", None), ExtendedAttribute("user.c", b"")]
    fields = {"extended_attributes": attributes}
    tree = maker.finish([maker.file("f", b"x", **fields), maker.folder("d", [], **fields)])
    for name, chosen, expected in (
        ("all", xattr_selector(), {"user.a": b"1\0\xff", "user.b": b"", "user.c": b""}),
        ("some", xattr_selector(include=["user.[ab]"]), {"user.a": b"1\0\xff", "user.b": b"", "user.old": b"o"}),
        ("less", xattr_selector(exclude=["user.a", "user.old"]), {"user.b": b"", "user.c": b"", "user.old": b"o"}),
    ):
        target = tmp_path / name
        (target / "d").mkdir(parents=True)
        (target / "f").write_bytes(b"x")
        for item in ("f", "d"):
            os.setxattr(target / item, "user.old", b"o")
        _, heard = restore(maker.repo, tree, target, select_xattr=chosen)
        assert heard.errors == []
        for item in ("f", "d"):
            found = {key: os.getxattr(target / item, key) for key in os.listxattr(target / item) if key.startswith("user.")}
            assert found == expected


def test_an_extended_attribute_that_cannot_be_set_is_reported_and_the_others_are(maker: Maker, tmp_path: Path) -> None:
    from restic_spec.tree import ExtendedAttribute

    attributes = [ExtendedAttribute("nonsense\0name", b"x"), ExtendedAttribute("user.big", bytes(1 << 20))]
    tree = maker.finish(
        [maker.file("f", b"x", mode=0o640, extended_attributes=[*attributes, ExtendedAttribute("user.a", b"1")])]
    )
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/f"]
    assert os.getxattr(tmp_path / "f", "user.a") == b"1" and stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_ownership_by_name_falls_back_to_the_number(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    from restic_format.restore import metadata

    class Entry:
        pw_uid = 4711
        gr_gid = 815

    def known(name: str) -> Entry:
        if name != "known":
            raise KeyError(name)
        return Entry()

    monkeypatch.setattr(metadata.pwd, "getpwnam", known)
    monkeypatch.setattr(metadata.grp, "getgrnam", known)
    reader = metadata.MetadataReader(ownership_by_name=True, select_xattr=None)
    plain = metadata.MetadataReader(ownership_by_name=False, select_xattr=None)
    node = maker.file("f", user="known", group="known", uid=1, gid=2)
    assert reader.meta(node)[1:3] == (4711, 815) and plain.meta(node)[1:3] == (1, 2)
    for name in ("unknown", ""):
        assert reader.meta(maker.file("f", user=name, group=name, uid=1, gid=2))[1:3] == (1, 2)


def test_a_file_named_alone_and_the_folders_above_it(peer: Peer, tmp_path: Path) -> None:
    """With a filter the folders above what is selected are made and get their metadata; nothing else is."""
    source, repo = tmp_path / "src", cheap_repo(tmp_path / "repo")
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "c").mkdir()
    for name in ("a/b/f", "a/b/g", "a/c/f"):
        (source / name).write_bytes(name.encode())
    (source / "a" / "b").chmod(0o711)
    for name in ("a/b", "a"):
        os.utime(source / name, ns=(T0, T0))
    assert restic(peer("restic-0.19"), repo, "backup", ".", cwd=source).returncode == 0
    opened = Repository.open(LocalStorage(str(repo)), PASSWORD)
    opened.load_index()
    tree = find_snapshot(opened, "latest")[0].snapshot.tree
    assert isinstance(tree, str)
    heard = Heard()
    options = RestoreOptions(select=include_selector(IncludeFilter(["/a/b/f"])))
    Restorer(opened, bytes.fromhex(tree), tmp_path / "ours", options, progress=heard).run()
    restic(peer("restic-0.19"), repo, "restore", "latest", "--target", str(tmp_path / "theirs"), "--include", "/a/b/f")
    assert sorted(facts(tmp_path / "ours")) == [b"a", b"a/b", b"a/b/f"]
    assert [str(item) for item in differences(facts(tmp_path / "theirs"), facts(tmp_path / "ours"))] == []
