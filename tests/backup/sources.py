"""Source trees for backups: one with everything Linux has, restic's view of them; and what a backup tells and stores of one."""

from __future__ import annotations

import json
import os
import random
import socket
import stat
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

from restic_format.backup import (
    BackupEvent,
    BackupOptions,
    BytesDone,
    FilesDone,
    FileStarted,
    ItemDone,
    ItemFailed,
    ItemStats,
    Result,
    SourceError,
    Totals,
    backup,
)
from restic_format.repository import Repository
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node

PASSWORD = "correct horse"

ODD_NAMES = [
    b"plain",
    b"with space",
    b'quote"quote',
    b"back\\slash",
    b"new\nline\ttab\rreturn\x0bvt\x0cff\x07bell\x08bs",
    b"escape\x1b[31m",
    b"\x01\x7f",
    b"<html>&amp;'",
    "umlaut-äöü".encode(),
    "line\u2028para\u2029sep".encode(),
    "emoji-😀".encode(),
    "nbsp\u00a0zero\u200bwidth\ufeffbom".encode(),
    "private\ue000\U000f0000".encode(),
    "soft\u00adhyphen".encode(),
    b"latin1-\xe4\xf6",
    b"cut-utf8-\xf0\x9f\x98",
    b"surrogate-\xed\xa0\x80",
    b"overlong-\xc0\xaf",
    b"\xff",
    b"\xff\xfe",
    b"...",
    b"-dash",
    b"A",
    b"a",
    "replacement\ufffd".encode(),
    b"%s%d",
    b"n" * 255,
]

SIZES = [0, 1, 63, 64, 65, (1 << 19) - 1, 1 << 19, (1 << 19) + 1, (1 << 20) + 1, (1 << 23) - 1, 1 << 23, (1 << 23) + 1]
"""File sizes around the chunker's minimum and maximum."""


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel keeps it, of (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY_READS = acl((1, 6, 0xFFFFFFFF), (2, 4, 65534), (4, 4, 0xFFFFFFFF), (0x10, 4, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))


def make_strange_tree(root: Path) -> None:
    """Fill *root* with every node type and every oddity; as root also with device nodes and foreign owners."""
    base = os.fsencode(root)
    rng = random.Random(20260719)
    names = base + b"/names"
    os.mkdir(names)
    for number, name in enumerate(ODD_NAMES):
        write(names + b"/" + name, b"content %d" % number)
        os.symlink(name, base + b"/names/link-%02d" % number)
    for number, name in enumerate(ODD_NAMES):
        os.makedirs(base + b"/dirs/" + name + b"/" + name)
        if number % 3 == 0:
            write(base + b"/dirs/" + name + b"/" + name + b"/file", b"x")
    os.mkdir(base + b"/sizes")
    for size in SIZES:
        write(base + b"/sizes/random-%08d" % size, rng.randbytes(size))
        write(base + b"/sizes/zeros-%08d" % size, bytes(size))
    write(base + b"/sizes/several-chunks", rng.randbytes(9_000_000) + b"text " * 600_000)
    _make_links(base)
    _make_attributes(base)
    _make_modes_and_times(base)
    os.mkfifo(base + b"/fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.getcwd()
        os.chdir(root)
        server.bind("socket")
        os.chdir(directory)
    if os.geteuid() == 0:
        os.mknod(base + b"/char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(base + b"/block", stat.S_IFBLK | 0o660, os.makedev(259, 1034567))
        write(base + b"/foreign", b"x")
        os.chown(base + b"/foreign", 65534, 4_000_000_000)
    deep = base + b"/deep"
    for _ in range(40):
        deep += b"/d"
    os.makedirs(deep)
    os.mkdir(base + b"/empty")


def _make_links(base: bytes) -> None:
    write(base + b"/hard-1", b"linked")
    os.link(base + b"/hard-1", base + b"/hard-2")
    os.link(base + b"/hard-1", base + b"/names/hard-3")
    for number, target in enumerate([b"nowhere", b"latin1-\xe4", b"<&>\xe2\x80\xa8", b"/", b"t" * 4000, b"a\nb"]):
        os.symlink(target, base + b"/link-%d" % number)
    os.link(base + b"/link-1", base + b"/link-hard", follow_symlinks=False)


def _make_attributes(base: bytes) -> None:
    path = base + b"/attributes"
    write(path, b"x")
    for number, value in enumerate([b"", b"\0binary\xff", b"v" * 3000, b"plain"]):
        os.setxattr(path, f"user.{'zyxw'[number]}-<name>", value)
    os.setxattr(path, "system.posix_acl_access", NOBODY_READS)
    os.mkdir(base + b"/acl-dir")
    os.setxattr(base + b"/acl-dir", "system.posix_acl_default", NOBODY_READS)
    os.setxattr(base + b"/acl-dir", b"user.bytes-\xff", b"\xff")
    if os.geteuid() == 0:
        os.setxattr(base + b"/link-0", "trusted.on-a-link", b"1", follow_symlinks=False)


def _make_modes_and_times(base: bytes) -> None:
    os.mkdir(base + b"/modes")
    for mode in (0o000, 0o4755, 0o2755, 0o1777, 0o7777, 0o444):
        write(base + b"/modes/file-%04o" % mode, b"x")
        os.chmod(base + b"/modes/file-%04o" % mode, mode)
        os.mkdir(base + b"/modes/dir-%04o" % mode)
        os.chmod(base + b"/modes/dir-%04o" % mode, mode | (0 if os.geteuid() == 0 else 0o500))
    os.mkdir(base + b"/times")
    moments = [0, 1, -1, 999_999_999, 1_500_000_000_000_000_000, 1_600_000_000_120_000_000, 1_700_000_000_000_000_001]
    moments += [-2_000_000_000_000_000_000, 4_102_444_800_000_000_000, 1_711_846_800_000_000_000, 1_729_990_800_000_000_000]
    for moment in moments:
        write(base + b"/times/%d" % moment, b"x")
        os.utime(base + b"/times/%d" % moment, ns=(moment + 5, moment))


def write(path: bytes, content: bytes) -> None:
    """Write a file."""
    with open(path, "wb") as file:
        file.write(content)


class Restic:
    """A real restic on one repository."""

    def __init__(self, program: Path, repository: Path) -> None:
        self.program = program
        self.repository = repository

    def __call__(self, *arguments: str | bytes, cwd: Path | None = None, code: int = 0, **env: str) -> str:
        """Run it; the exit code must be *code*. Gives standard output."""
        done = subprocess.run(
            [self.program, "-r", self.repository, "--no-cache", *arguments],
            capture_output=True,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "RESTIC_PASSWORD": PASSWORD, **env},
        )
        assert done.returncode == code, (arguments, done.returncode, done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")

    def backup(self, *arguments: str | bytes, **options: Any) -> dict[str, Any]:
        """Back up; the snapshot as stored."""
        lines = self("backup", "--json", "--quiet", *arguments, **options).splitlines()
        summary = json.loads(lines[-1])
        return self.snapshot(summary["snapshot_id"])

    def snapshot(self, name: str) -> dict[str, Any]:
        """A snapshot as stored."""
        found: dict[str, Any] = json.loads(self("cat", "snapshot", name))
        return found


def make_labelled_tree(root: Path) -> list[Path]:
    """Fill *root* with files, directories and symlinks that have extended attributes; gives those that have them."""
    base = os.fsencode(root)
    rng = random.Random(19)
    labelled: list[bytes] = [base]
    for folder in (b"a", b"b", b"a/deeper"):
        os.makedirs(base + b"/" + folder, exist_ok=True)
        labelled.append(base + b"/" + folder)
        for number in range(60):
            path = base + b"/%s/%02d" % (folder, number)
            if number % 3:
                write(path, rng.randbytes(rng.choice([0, 10, 5000])))
                labelled.append(path)
            else:
                os.symlink(
                    rng.choice([b"../%d" % number, "ü<\u2028".encode(), b"\xff\n", b"t" * rng.randint(1000, 1050)]), path
                )
    for number, path in enumerate(labelled):
        os.setxattr(path, "user.number", b"%d" % (number % 4))
        for chance, name, value in [
            (6, b"user.empty", b""),
            (6, b"system.posix_acl_access", NOBODY_READS),
            (12, b"user.<\xc3\xbc>", b"escaped"),
            (12, b"user.\xff", b"no UTF-8"),
            (12, b"user.long", rng.randbytes(rng.randint(1000, 2000))),
        ]:
            if not rng.randrange(chance):
                os.setxattr(path, name, value)
    return [Path(os.fsdecode(path)) for path in labelled]


class Listener:
    """Hands what a backup tells to methods; those that nobody defines do nothing."""

    def __call__(self, event: BackupEvent) -> None:
        match event:
            case ItemDone():
                self.item_done(*event)
            case FilesDone(files):
                self.files_done(files)
            case BytesDone(count):
                self.bytes_done(count)
            case FileStarted(item):
                self.start_file(item)
            case ItemFailed(item, error, "archival"):
                self.error(item, error)
            case Totals():
                self.scanned(event)

    def item_done(self, item: str, kind: str, change: str, stats: ItemStats, seconds: float) -> None:
        pass

    def files_done(self, count: int) -> None:
        pass

    def bytes_done(self, count: int) -> None:
        pass

    def start_file(self, item: str) -> None:
        pass

    def error(self, item: str, error: Exception) -> None:
        pass

    def scanned(self, totals: Totals) -> None:
        pass


class Recorder(Listener):
    """Remembers what a backup tells."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.items: dict[str, tuple[str, str]] = {}
        self.bytes = 0
        self.totals: Totals | None = None
        self.guard = threading.Lock()

    def error(self, item: str, error: Exception) -> None:
        assert isinstance(error, SourceError)
        self.errors.append((item, str(error)))

    def bytes_done(self, count: int) -> None:
        with self.guard:
            self.bytes += count

    def item_done(self, item: str, kind: str, change: str, stats: ItemStats, seconds: float) -> None:
        assert item not in self.items and seconds >= 0
        self.items[item] = (kind, change)

    def scanned(self, totals: Totals) -> None:
        if totals.finished:
            self.totals = totals


def stored(repository: Repository, result: Result) -> Snapshot:
    assert result.snapshot_id is not None
    return repository.load_snapshot(bytes.fromhex(result.snapshot_id))


def files(repository: Repository, tree: str, prefix: str = "") -> dict[str, Node]:
    """Every node below a tree by its path."""
    found: dict[str, Node] = {}
    for node in repository.load_tree(bytes.fromhex(tree)):
        path = f"{prefix}/{node.name}"
        found[path] = node
        if node.subtree:
            found.update(files(repository, node.subtree, path))
    return found


def again(repository: Repository, result: Result, **options: object) -> tuple[Result, Recorder]:
    """Back up once more, onto *result*."""
    seen = Recorder()
    parent = stored(repository, result)
    chosen = BackupOptions(parent=parent, parent_id=result.snapshot_id, **options)  # type: ignore[arg-type]
    return backup(repository, ["s"], chosen, seen), seen
