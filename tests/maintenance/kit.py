"""What the tests of prune share: repositories made from a seed, with everything a prune has to decide on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from restic_format.repository import Repository
from restic_format.storage import LocalStorage, Storage
from restic_spec.crypto import OVERHEAD
from restic_spec.layout import FileKind
from restic_spec.pack import LENGTH_SIZE, BlobType
from restic_spec.snapshot import Snapshot
from tests.restore.kit import CHEAP, PASSWORD, POLYNOMIAL, Maker


@dataclass
class Made:
    """A repository and its snapshots that were not removed, by id."""

    storage: Storage
    snapshots: list[bytes]

    @property
    def folder(self) -> Path:
        """Where it is, for programs."""
        return Path(self.storage.location)


def open_repo(folder: Path | Storage, **options: object) -> Repository:
    """Open it with its index."""
    storage = folder if isinstance(folder, Storage) else LocalStorage(str(folder))
    repo = Repository.open(storage, PASSWORD, **options)  # type: ignore[arg-type]
    repo.load_index()
    return repo


def add_snapshot(maker: Maker, files: dict[str, bytes], number: int = 0) -> bytes:
    """Store *files*, each one blob, and a snapshot of them; its id."""
    nodes = [maker.file(name, data) for name, data in sorted(files.items())]
    half = len(nodes) // 2
    tree = maker.finish([maker.folder("a", nodes[:half]), maker.folder("b", nodes[half:])])
    time = f"2026-01-{1 + number % 28:02d}T00:00:00Z"
    return maker.repo.save_snapshot(Snapshot(time=time, tree=tree.hex(), paths=["/src"], hostname="host"))


def generate(
    where: Path | Storage, seed: int, version: int = 2, *, rounds: int = 8, duplicates: bool = True, large: int = 30_000
) -> Made:
    """A repository with packs that are used, partly used, unused, small and large, uncompressed; with *duplicates* also blobs
    that are stored twice, and a file that no index lists.
    """
    source = random.Random(seed)
    storage = where if isinstance(where, Storage) else LocalStorage(str(where))
    Repository.init(storage, PASSWORD, version=version, polynomial=POLYNOMIAL, kdf=CHEAP)
    files: dict[str, bytes] = {}
    ids = []
    repo = open_repo(storage)
    for number in range(rounds):
        if number == rounds // 2 and version == 2:
            repo = open_repo(storage, compression="off")
        elif duplicates and source.random() < 0.4:
            # Who has not seen what is there stores it again.
            repo = Repository.open(storage, PASSWORD)
        for name in source.sample(sorted(files), len(files) // 3):
            del files[name]
        for _ in range(source.randrange(3, 12)):
            text = b"%d " % source.randrange(1 << 30) * 40
            files[f"f{source.randrange(10**6)}"] = source.randbytes(source.randrange(50, large)) + text * source.randrange(3)
        ids.append(add_snapshot(Maker(repo), files, number))
    removed = source.sample(ids, rounds // 2)
    for snapshot in removed:
        repo.remove(FileKind.SNAPSHOT, snapshot)
    if duplicates:
        repo.storage.save(FileKind.PACK, source.randbytes(32).hex(), source.randbytes(1000))
    return Made(storage, [snapshot for snapshot in ids if snapshot not in removed])


def pack_bytes(folder: Path) -> int:
    """Bytes of all packs, but for what each takes however little is in it: that depends on chance, in restic too."""
    return sum(path.stat().st_size - OVERHEAD - LENGTH_SIZE for path in (folder / "data").rglob("*") if path.is_file())


def contents(folder: Path | Storage) -> dict[bytes, dict[str, bytes]]:
    """All files of all snapshots, read with our engine."""
    from restic_format.snapshots.walk import Walk

    repo = open_repo(folder)
    found: dict[bytes, dict[str, bytes]] = {}
    for snapshot, _ in list(repo.list(FileKind.SNAPSHOT)):
        tree = repo.load_snapshot(snapshot).tree
        assert isinstance(tree, str)
        files = found[snapshot] = {}

        def fault(level: object, node: object, error: Exception) -> None:
            raise error

        walk: Walk[None] = Walk(repo, bytes.fromhex(tree), None, fault=fault)
        for level, node, name in walk:
            if node.type == "dir":
                walk.enter(node, name, None)
            else:
                blobs = [repo.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in node.content or []]
                files[level.path_of(name)] = b"".join(blobs)
    return found
