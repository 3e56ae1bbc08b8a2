"""Facts about a file tree, and the differences between two trees.

Works on raw bytes paths and raw system calls only, so nothing that a backup program does to names or times can
hide here. Content is compared by SHA-256; whether a file is stored sparse does not matter.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

TYPES: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "dir"),
    (stat.S_ISLNK, "symlink"),
    (stat.S_ISBLK, "dev"),
    (stat.S_ISCHR, "chardev"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
)
"""Node types by restic's names."""


@dataclass(frozen=True)
class Facts:
    """Everything about one entry that a restore has to bring back."""

    type: str
    mode: int
    """Permission bits with setuid, setgid and sticky (``st_mode & 0o7777``)."""
    uid: int
    gid: int
    mtime_ns: int
    size: int
    """Bytes of a regular file, 0 for every other type."""
    content: str
    """SHA-256 in hex of a regular file, else empty."""
    target: bytes
    """Target of a symbolic link, else empty."""
    device: int
    """``st_rdev`` of a device, else 0."""
    xattrs: tuple[tuple[str, bytes], ...]
    """Extended attributes with ACLs and capabilities, sorted by name."""
    hardlinks: tuple[bytes, ...]
    """Every path in the tree that is the same inode; empty when it is the only one."""


Tree = Mapping[bytes, Facts]
"""Facts by path below the root; the root itself is ``b"."``."""


@dataclass(frozen=True)
class Difference:
    """One attribute of one path in which two trees disagree."""

    path: bytes
    attribute: str
    """Name of a field of :class:`Facts`, or ``missing`` or ``unexpected``."""
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.path!r}: {self.attribute}: expected {self.expected!r}, found {self.found!r}"


def _hash(path: bytes) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)


def _walk(root: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every entry as (path below the root, path to open), the root first."""
    pending = [(b".", root)]
    while pending:
        below, path = pending.pop()
        yield below, path
        if stat.S_ISDIR(os.lstat(path).st_mode):
            prefix = b"" if below == b"." else below + b"/"
            pending += [(prefix + name, path + b"/" + name) for name in os.listdir(path)]


def scan(root: bytes | str | os.PathLike[str]) -> dict[bytes, Facts]:
    """Read the facts of every entry below ``root``, and of ``root`` itself.

    Raises :class:`OSError` when something cannot be read: a judge that overlooks entries is not a judge.
    """
    start = os.fsencode(root)
    inodes: dict[tuple[int, int], list[bytes]] = {}
    found: dict[bytes, tuple[bytes, os.stat_result]] = {}
    for below, path in _walk(start):
        status = os.lstat(path)
        found[below] = (path, status)
        if not stat.S_ISDIR(status.st_mode):
            inodes.setdefault((status.st_dev, status.st_ino), []).append(below)
    facts: dict[bytes, Facts] = {}
    for below, (path, status) in found.items():
        mode = status.st_mode
        same = inodes.get((status.st_dev, status.st_ino), [])
        regular = stat.S_ISREG(mode)
        facts[below] = Facts(
            type=next((name for test, name in TYPES if test(mode)), "irregular"),
            mode=stat.S_IMODE(mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
            size=status.st_size if regular else 0,
            content=_hash(path) if regular else "",
            target=os.readlink(path) if stat.S_ISLNK(mode) else b"",
            device=status.st_rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0,
            xattrs=_xattrs(path),
            hardlinks=tuple(sorted(same)) if len(same) > 1 else (),
        )
    return facts


def differences(expected: Tree, found: Tree, ignore: frozenset[str] = frozenset()) -> list[Difference]:
    """All disagreements, sorted by path. ``ignore`` names attributes that are not looked at."""
    result: list[Difference] = []
    for path in sorted(expected.keys() | found.keys()):
        left, right = expected.get(path), found.get(path)
        if left is None or right is None:
            attribute = "unexpected" if left is None else "missing"
            result.append(Difference(path, attribute, left and left.type, right and right.type))
            continue
        for field in fields(Facts):
            before, after = getattr(left, field.name), getattr(right, field.name)
            if before != after and field.name not in ignore:
                result.append(Difference(path, field.name, before, after))
    return result


def restorable(tree: Tree) -> dict[bytes, Facts]:
    """What a restore is expected to bring back: all but sockets, which restic records and never creates."""
    kept = {path: facts for path, facts in tree.items() if facts.type != "socket"}
    return kept
