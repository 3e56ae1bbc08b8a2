"""What is backed up and loaded: made from a seed, the same on every machine."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from pathlib import Path
from typing import Any

from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.storage import LocalStorage
from restic_spec import gotime
from restic_spec.constants import COMPRESSED_ENTRY_SIZE, LENGTH_SIZE, OVERHEAD
from restic_spec.gomode import DIR
from restic_spec.index import IndexBlob, IndexPack, encode_packs
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry, encode_header, encode_length
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node, encode_tree

PASSWORD = "bench"
WORDS = tuple("".join(random.Random(n).choices("etaoinshrdlu", k=3 + n % 8)) for n in range(4000))


LINES = 20_000


def text(source: random.Random, size: int) -> bytes:
    """Lines as in source code: some are everywhere, most are rare, and many differ from another one in a single word.

    zstd at level 3 makes a third of it, at about the speed at which it compresses real sources.
    """
    lines = ["    " * source.randrange(5) + " ".join(source.choices(WORDS, k=source.randrange(1, 10))) for _ in range(LINES)]
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(LINES)))
    pieces: list[str] = []
    length = 0
    while length < size:
        for line in source.choices(lines, cum_weights=weights, k=1000):
            piece = line + "\n"
            if source.random() < 0.4:
                piece = line.replace(" ", f" {source.choice(WORDS)}{source.randrange(100)} ", 1) + "\n"
            pieces.append(piece)
            length += len(piece)
    return "".join(pieces).encode()[:size]


def big_files(folder: Path, mebibytes: int) -> None:
    """Half random bytes, half text, in files of up to 256 MiB."""
    source = random.Random(1)
    block = text(source, 16 << 20)
    for half, name in enumerate(("random", "text")):
        left = mebibytes // 2
        number = 0
        while left > 0:
            step = min(left, 256)
            with open(folder / f"{name}-{number}", "wb") as file:
                for part in range(step):
                    if half == 0:
                        file.write(source.randbytes(1 << 20))
                    else:
                        # Shuffled stretches of one text: compressible, and no chunk twice.
                        start = source.randrange(15 << 20)
                        file.write(b"%d %d\n" % (number, part) + block[start : start + (1 << 20) - 20])
            left -= step
            number += 1


def one_file(folder: Path, mebibytes: int) -> None:
    """One file, of which half can be compressed."""
    source = random.Random(11)
    with open(folder / "file", "wb") as file:
        for number in range(mebibytes):
            file.write(source.randbytes(1 << 19) + (b"%d" % number * (1 << 19))[: 1 << 19])


def small_files(folder: Path, count: int, mean: int = 22_000, per_folder: int = 40, seed: int = 2) -> None:
    """Files like those of a source tree: most of them text, some not."""
    source = random.Random(seed)
    block = text(source, 8 << 20)
    for number in range(count):
        place = folder / f"{number // per_folder // 30:03d}" / f"{number // per_folder:05d}"
        place.mkdir(parents=True, exist_ok=True)
        size = min(int(source.expovariate(1 / mean)) + 20, 400_000)
        start = source.randrange(len(block) - 400_000)
        content = source.randbytes(size) if number % 12 == 0 else b"%d\n" % number + block[start : start + size]
        (place / f"file-{number}.txt").write_bytes(content)


def tiny_files(folder: Path, count: int) -> None:
    """Very small files in deep folders."""
    source = random.Random(3)
    for number in range(count):
        place = folder
        for level in (number // 10_000, number // 1000 % 10, number // 100 % 10, number // 20 % 5):
            place /= f"d{level}"
        if number % 20 == 0:
            place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number}").write_bytes(b"%d %d\n" % (number, source.randrange(10**9)) * (1 + number % 9))


def change_some(folder: Path, share: float) -> None:
    """Rewrite a share of the files, the same ones every time."""
    source = random.Random(4)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in source.sample(files, max(1, int(len(files) * share))):
        path.write_bytes(source.randbytes(min(path.stat().st_size, 1 << 20) + 1))


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def index_repository(folder: Path, blobs: int) -> None:
    """Add index files to an empty repository that list *blobs* blobs in packs of 150."""
    repo = Repository.open(LocalStorage(folder), PASSWORD)
    source = random.Random(5)
    per_file = 50_000
    for _ in range(0, blobs, per_file):
        packs = []
        for _ in range(0, per_file, 150):
            ids = source.randbytes(32 * 150).hex()
            packs.append(
                IndexPack(
                    source.randbytes(32).hex(),
                    [IndexBlob(ids[64 * n : 64 * n + 64], "data", n * 110_000, 110_000, 170_000 + n) for n in range(150)],
                )
            )
        repo.save_unpacked(FileKind.INDEX, encode_packs(packs))


def pack_headers(folder: Path, packs: int) -> None:
    """Add *packs* packs of 150 blobs to an empty repository: files of 16 MiB in which only the header is real."""
    repo = Repository.open(LocalStorage(folder), PASSWORD)
    source = random.Random(6)
    for _ in range(packs):
        ids = source.randbytes(32 * 150)
        entries = [PackEntry(BlobType.DATA, ids[n * 32 : n * 32 + 32], n * 110_000, 110_000, 170_000 + n) for n in range(150)]
        sealed = make_cipher(repo.master_key).seal(encode_header(entries))
        name = source.randbytes(32).hex()
        place = folder / "data" / name[:2]
        place.mkdir(exist_ok=True)
        with open(place / name, "wb") as file:
            file.seek(150 * 110_000)
            file.write(sealed + encode_length(len(sealed)))


def used_repository(folder: Path, blobs: int) -> None:
    """Add *blobs* blobs to an empty repository, all of them used by the files of one snapshot.

    Packs of trees are real; those of data are holes in the right size, in the index as it would list them.
    """
    repo = Repository.open(LocalStorage(folder), PASSWORD)
    writer = repo.writer()
    source = random.Random(6)
    time = "2026-01-01T00:00:00Z"
    length, plain, per_pack, per_file, per_tree = 110_000, 170_000, 150, 500, 20
    per_index = 300 * per_pack
    waiting: list[str] = []
    dirs: list[Node] = []

    def node(name: str, kind: str, mode: int, **members: Any) -> Node:
        return Node(quoted=name, type=kind, mode=mode, mtime=time, atime=time, ctime=time, uid=0, gid=0, **members)

    made = 0
    while made < blobs:
        packs = []
        for _ in range(0, min(per_index, blobs - made), per_pack):
            ids = source.randbytes(32 * per_pack).hex()
            names = [ids[64 * n : 64 * n + 64] for n in range(per_pack)]
            pack = source.randbytes(32).hex()
            packs.append(IndexPack(pack, [IndexBlob(name, "data", n * length, length, plain) for n, name in enumerate(names)]))
            path = folder / "data" / pack[:2] / pack
            path.touch()
            os.truncate(path, OVERHEAD + LENGTH_SIZE + per_pack * (length + COMPRESSED_ENTRY_SIZE))
            waiting += names
        made += per_pack * len(packs)
        repo.save_unpacked(FileKind.INDEX, encode_packs(packs))
        while len(waiting) >= per_file * per_tree or (made >= blobs and waiting):
            contents = [waiting[start : start + per_file] for start in range(0, per_file * per_tree, per_file)]
            del waiting[: per_file * per_tree]
            nodes = [
                node(f"file-{n:04d}", "file", 0o644, size=plain * len(content), content=content)
                for n, content in enumerate(contents)
                if content
            ]
            tree = writer.save_blob(BlobType.TREE, encode_tree(nodes)).id.hex()
            dirs.append(node(f"dir-{len(dirs):06d}", "dir", DIR | 0o755, subtree=tree))
    root = writer.save_blob(BlobType.TREE, encode_tree(dirs)).id.hex()
    writer.flush()
    repo.save_snapshot(Snapshot(time=time, tree=root, paths=["/srv"], hostname="host", program_version="restic 0.19.1"))


def many_snapshots(folder: Path, count: int) -> None:
    """Add one small tree and *count* snapshots of it to an empty repository."""
    repo = Repository.open(LocalStorage(folder), PASSWORD)
    writer = repo.writer()
    data = writer.save_blob(BlobType.DATA, b"content").id.hex()
    time = "2026-01-01T00:00:00Z"
    nodes = [
        Node(quoted=f"file-{n:04d}", type="file", mode=0o644, mtime=time, atime=time, ctime=time, uid=0, gid=0, content=[data])
        for n in range(2000)
    ]
    tree = writer.save_blob(BlobType.TREE, encode_tree(nodes)).id.hex()
    writer.flush()
    start = gotime.parse_ns("2020-01-01T00:00:00Z")
    for number in range(count):
        repo.save_snapshot(
            Snapshot(
                time=gotime.format_ns(start + number * 3_600 * gotime.NS, 0),
                tree=tree,
                paths=[f"/srv/data-{number % 7}"],
                hostname=f"host-{number % 5}",
                username="root",
                tags=["nightly"] if number % 3 else [],
                program_version="restic 0.19.1",
            )
        )


HISTORY = 50
"""Snapshots of `history`."""


def history(folder: Path, files: int) -> list[str]:
    """Add `HISTORY` successive snapshots of *files* small files to an empty repository: from one to the next a hundredth of the
    files changes, a few are new and a few are gone, all of them in a few folders. Gives their ids.
    """
    repo = Repository.open(LocalStorage(folder), PASSWORD)
    writer = repo.writer()
    source = random.Random(7)
    start = gotime.parse_ns("2026-01-01T00:00:00Z")
    owner: dict[str, Any] = {"uid": 1000, "gid": 1000, "user": "alice", "group": "users", "device_id": 65024}
    inodes = itertools.count(9_000_000)

    def file(time: str) -> Node:
        inode = next(inodes)
        name = f"{source.choice(WORDS)}-{inode}{source.choice(('.txt', '.py', '.html', '.jpg', '.c', ''))}"
        return Node(quoted=name, type="file", mode=0o644, mtime=time, inode=inode, links=1, **owner)

    def write(node: Node, time: str) -> Node:
        content = b"%d %d\n" % (node.inode, source.randrange(10**9)) * source.randrange(1, 12)
        blob = writer.save_blob(BlobType.DATA, content).id.hex()
        node.mtime = node.atime = node.ctime = time
        node.size, node.content = len(content), [blob]
        return node

    def save(nodes: list[Node]) -> str:
        return writer.save_blob(BlobType.TREE, encode_tree(sorted(nodes, key=lambda node: node.quoted))).id.hex()

    def directory(name: str, time: str, tree: str) -> Node:
        times: dict[str, Any] = {"mtime": time, "atime": time, "ctime": time, "inode": next(inodes)}
        return Node(quoted=name, type="dir", mode=DIR | 0o755, subtree=tree, **times, **owner)

    time = gotime.format_ns(start, 0)
    per_folder, per_part = 40, 20
    folders = [[write(file(time), time) for _ in range(per_folder)] for _ in range(files // per_folder)]
    leaves = [directory(f"folder-{number:04d}", time, save(nodes)) for number, nodes in enumerate(folders)]
    changed = set(range(len(folders)))
    parts: dict[int, Node] = {}
    ids: list[str] = []
    for number in range(HISTORY):
        for leaf in changed if number else ():
            leaves[leaf].subtree = save(folders[leaf])
        for part in sorted({leaf // per_part for leaf in changed}):
            first = part * per_part
            parts[part] = directory(f"part-{part:03d}", time, save(leaves[first : first + per_part]))
        root = save([directory("srv", time, save(list(parts.values())))])
        writer.flush()
        saved = repo.save_snapshot(
            Snapshot(
                time=time,
                parent=ids[-1] if ids else None,
                tree=root,
                paths=["/srv"],
                hostname="host",
                username="alice",
                program_version="restic 0.19.1",
            )
        )
        ids.append(saved.hex())
        time = gotime.format_ns(start + (number + 1) * 86_400 * gotime.NS, 0)
        changed = set(source.sample(range(len(folders)), max(2, files // 500)))
        for leaf in changed:
            nodes = folders[leaf]
            for node in source.sample(nodes, 5):
                write(node, time)
            if source.random() < 0.1:
                nodes[source.randrange(len(nodes))] = write(file(time), time)
    return ids


def size_of(folder: Path) -> int:
    """Bytes of all files below *folder*."""
    return sum(os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(folder) for name in names)
