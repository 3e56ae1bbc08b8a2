"""Repositories made from a seed: several snapshots that share trees, with every type of node and odd names."""

from __future__ import annotations

import random
from pathlib import Path

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec import gomode, gotime
from restic_spec.gojson import to_text
from restic_spec.snapshot import Snapshot
from restic_spec.tree import ExtendedAttribute, Node
from tests.restore.kit import PASSWORD, Maker, cheap_repo

NAMES = [
    *(
        name.encode()
        for name in ("a", "b", "ab", "a-b", "a.txt", "A.TXT", "b.TXT", "a b", "x[1]", "st*r", "qu?", "back\\slash")
    ),
    *(
        name.encode()
        for name in ("Ärger.txt", "ärger.txt", "ẞ", "ß", "İ", "日本", "!bang", "-dash", "nl\nname", 'q"uote', "<&>")
    ),
    *(b"bad\xff", b"\x01ctl", b"a\xe2\x80\xa8b", b".hidden", b"UPPER"),
]
TIMES = [
    gotime.parse_ns(text)
    for text in (
        "2026-01-01T00:00:00Z",
        "2025-12-31T23:59:59.999999999Z",
        "1969-07-20T20:17:40.5Z",
        "2000-02-29T12:00:00Z",
        "2038-01-19T03:14:08Z",
        "0001-01-01T00:00:00Z",
        "2026-06-15T12:30:00.123Z",
    )
]


class Forest:
    """Makes a repository in *folder* with a few snapshots, one made from the other."""

    def __init__(self, folder: Path, seed: int, version: int = 2) -> None:
        self.rng = random.Random(seed)
        self.folder = cheap_repo(folder, version)
        self.repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
        self.maker = Maker(self.repo)
        self.paths: list[str] = []
        self.blobs = [self.maker.blob(b"content %d" % number) for number in range(12)]
        self.snapshots: list[str] = []

    def fill(self, count: int = 4) -> None:
        """Store *count* snapshots."""
        roots: list[list[Node]] = []
        for number in range(count):
            nodes = self._changed(roots[-1]) if roots else self._entries("", 0)
            roots.append(nodes)
            tree = self.maker.tree(nodes)
            self.maker.writer.flush()
            zone = self.rng.choice((0, 3600, -9000))
            snapshot = Snapshot(
                time=gotime.format_ns(gotime.parse_ns("2026-02-01T10:00:00.5Z") + number * 86_400 * gotime.NS, zone),
                tree=tree.hex(),
                paths=["/" + self.rng.choice(("home", "srv"))],
                hostname=self.rng.choice(("one", "two")),
                username="user",
                tags=self.rng.choice(([], ["x"], ["x", "y"])),
            )
            self.snapshots.append(self.repo.save_snapshot(snapshot).hex())

    def _entries(self, prefix: str, depth: int) -> list[Node]:
        count = self.rng.randrange(0 if depth > 2 else 3, 8)
        names = sorted(self.rng.sample(NAMES, count))
        nodes = []
        for name in names:
            path = f"{prefix}/{to_text(name)}"
            self.paths.append(path)
            nodes.append(self._node(name, path, depth))
        return nodes

    def _node(self, name: bytes, path: str, depth: int) -> Node:
        rng, maker = self.rng, self.maker
        time = gotime.format_ns(rng.choice(TIMES), rng.choice((0, 7200)))
        members = {
            "mtime": time,
            "atime": rng.choice((time, "2024-01-01T00:00:00Z")),
            "ctime": time,
            "uid": rng.choice((0, 1000, 4_000_000_000)),
            "gid": rng.choice((0, 100)),
            "user": rng.choice(("", "alice")),
            "group": rng.choice(("", "users")),
            "inode": rng.choice((0, 17, 1 << 63)),
            "device_id": rng.choice((0, 65024)),
            "links": rng.choice((0, 1, 3)),
        }
        kind = rng.choices(
            ("file", "dir", "symlink", "fifo", "dev", "chardev", "socket"), (6, 5 if depth < 4 else 0, 2, 1, 1, 1, 1)
        )[0]
        mode = rng.choice((0o644, 0o4755 & 0o777 | gomode.SETUID, 0o600, 0o777 | gomode.STICKY))
        if kind == "dir":
            return maker.folder(name, self._entries(path, depth + 1), mode, **members)
        if kind == "file":
            content = rng.choices(self.blobs, k=rng.randrange(4))
            attributes = rng.choice((None, [ExtendedAttribute("user.a", b"v")]))
            size = rng.choice((0, 7, 1023, 1024, 1_000_000, 5 << 40))
            return maker.node(name, "file", mode, size=size, content=content, extended_attributes=attributes, **members)
        if kind == "symlink":
            node = maker.symlink(name, "", **members)
            node.set_target(rng.choice((b"target", b"bad\xfe", "ä/ö".encode(), b"")))
            return node
        return maker.node(name, kind, mode, error=rng.choice(("", "no <such> thing")), **members)

    def _changed(self, nodes: list[Node]) -> list[Node]:
        """The entries of a directory after some have changed, gone or come."""
        kept = [node for node in nodes if self.rng.random() > 0.1]
        for number, node in enumerate(kept):
            if self.rng.random() < 0.3:
                kept[number] = self._node(node.name_bytes, f"/{node.name}", 1)
        if self.rng.random() < 0.2:
            return list(nodes)
        missing = sorted(set(NAMES) - {node.name_bytes for node in kept})
        name = self.rng.choice(missing)
        self.paths.append(f"/{to_text(name)}")
        return sorted([*kept, self._node(name, f"/{to_text(name)}", 1)], key=lambda node: node.name_bytes)
