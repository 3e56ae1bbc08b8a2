"""The comparison sees every kind of difference: a judge that cannot fail proves nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_conformance import trees
from restic_conformance.compare import differences, restorable, scan


def _twins(folder: Path) -> tuple[Path, Path]:
    """Two equal trees with every kind of entry."""
    one, two = folder / "one", folder / "two"
    for root in (one, two):
        trees.build(trees.metadata, os.fsencode(root))
        builder = trees.Builder(os.fsencode(root))
        builder.file("plain", b"content")
        os.setxattr(root / "plain", "user.mark", b"value")
        (root / "link").symlink_to("target")
        builder.settle()
    return one, two


def test_trees_built_twice_are_equal(tmp_path: Path) -> None:
    one, two = _twins(tmp_path)
    assert differences(scan(one), scan(two)) == []


def _replace_link(root: Path) -> None:
    status = os.lstat(root / "link")
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    os.utime(root / "link", ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)


def _same_size_content(root: Path) -> None:
    status = (root / "plain").stat()
    (root / "plain").write_bytes(b"CONTENT")
    os.utime(root / "plain", ns=(status.st_mtime_ns, status.st_mtime_ns))


def _break_hard_link(root: Path) -> None:
    path = root / "links" / "another"
    status = path.stat()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _become_folder(root: Path) -> None:
    (root / "plain").unlink()
    (root / "plain").mkdir()


CHANGES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "one nanosecond": ("plain", "mtime_ns", lambda root: os.utime(root / "plain", ns=(5, 6))),
    "time of a link": ("link", "mtime_ns", lambda root: os.utime(root / "link", ns=(5, 6), follow_symlinks=False)),
    "permissions": ("plain", "mode", lambda root: (root / "plain").chmod(0o600)),
    "setuid": ("plain", "mode", lambda root: (root / "plain").chmod(0o4644)),
    "content of the same size": ("plain", "content", _same_size_content),
    "size": ("plain", "size", lambda root: (root / "plain").write_bytes(b"longer content")),
    "link target": ("link", "target", _replace_link),
    "attribute value": ("plain", "xattrs", lambda root: os.setxattr(root / "plain", "user.mark", b"other")),
    "attribute lost": ("plain", "xattrs", lambda root: os.removexattr(root / "plain", "user.mark")),
    "attribute added": ("plain", "xattrs", lambda root: os.setxattr(root / "plain", "user.new", b"")),
    "access list lost": (
        "attributes/acl", "xattrs",
        lambda root: os.removexattr(root / "attributes/acl", "system.posix_acl_access"),
    ),
    "missing file": ("plain", "missing", lambda root: (root / "plain").unlink()),
    "missing folder": ("attributes", "missing", lambda root: shutil.rmtree(root / "attributes")),
    "unexpected file": ("surprise", "unexpected", lambda root: (root / "surprise").write_bytes(b"")),
    "another type": ("plain", "type", _become_folder),
    "hard link broken": ("links/another", "hardlinks", _break_hard_link),
    "hard link of others changed": ("links/one/original", "hardlinks", _break_hard_link),
    "time of the root": (".", "mtime_ns", lambda root: os.utime(root, ns=(5, 6))),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(tmp_path: Path, change: str) -> None:
    one, two = _twins(tmp_path)
    path, attribute, alter = CHANGES[change]
    alter(two)
    found = {(os.fsdecode(one.path), one.attribute) for one in differences(scan(one), scan(two))}
    assert (path, attribute) in found


def test_an_owner_is_seen(tmp_path: Path) -> None:
    tree = {b"x": next(iter(scan(_twins(tmp_path)[0]).values()))}
    for attribute in ("uid", "gid", "device"):
        other = {b"x": type(tree[b"x"])(**{**tree[b"x"].__dict__, attribute: 4711})}
        assert [one.attribute for one in differences(tree, other)] == [attribute]


def test_sparse_storage_makes_no_difference(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "file").write_bytes(bytes(1 << 20))
    with open(tmp_path / "two" / "file", "wb") as file:
        file.truncate(1 << 20)
    for name in ("one", "two"):
        os.utime(tmp_path / name / "file", ns=(1, 1))
        os.utime(tmp_path / name, ns=(1, 1))
    assert differences(scan(tmp_path / "one"), scan(tmp_path / "two")) == []


def test_only_sockets_are_not_expected_back(tmp_path: Path) -> None:
    tree = scan(_twins(tmp_path)[0])
    assert tree.keys() - restorable(tree).keys() == {b"special/socket"}


def test_what_cannot_be_read_is_no_silence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "nothing")
