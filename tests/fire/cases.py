"""The commands that keep a repository, each with a repository in which it has much to do, small enough to be tried often."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from restic_format.maintenance import prune, repairindex
from restic_format.repository import Repository
from restic_format.repository.keys import add_key
from restic_format.storage import MemoryStorage, Storage
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.restore.kit import CHEAP, PASSWORD, POLYNOMIAL, Maker

NEW_PASSWORD = "new"
OTHER_PASSWORD = "other"
REPO, OTHER, WORK = "{repo}", "{other}", "{work}"
"""In command lines: the repository, the one that is copied from, and a folder with ``source`` and ``new-password``."""

World = dict[str, MemoryStorage]
"""Repositories by name: ``repo``, and ``other`` where there are two."""


def fill(storage: Storage, seed: int = 1, *, version: int = 2, snapshots: int = 5, removed: int = 2) -> None:
    """A repository whose snapshots share much, some of it stored twice; *removed* of them are gone, their data is not."""
    rng = random.Random(seed)
    Repository.init(storage, PASSWORD, version=version, polynomial=POLYNOMIAL, kdf=CHEAP)
    files: dict[str, bytes] = {}
    ids = []
    for day in range(snapshots):
        repository = Repository.open(storage, PASSWORD)
        if day != 2:  # the third does not see what is there
            repository.load_index()
        maker = Maker(repository)
        for name in rng.sample(sorted(files), len(files) // 3):
            del files[name]
        for number in range(4):
            files[f"{day}-{number}.{'txt' if number % 2 else 'bin'}"] = rng.randbytes(rng.randrange(200, 5000))
        nodes = [maker.file(name, data) for name, data in sorted(files.items())]
        own = maker.file(f"only-{day}.bin", rng.randbytes(9000), rng.randbytes(3000))
        tree = maker.finish([maker.folder("a", nodes), own])
        time = f"2020-01-{day + 1:02}T00:00:00Z"
        ids.append(repository.save_snapshot(Snapshot(time=time, tree=tree.hex(), paths=["/x"], hostname="h")))
    for snapshot in ids[1 : 1 + removed]:
        repository.remove(FileKind.SNAPSHOT, snapshot)


def filled(**options: int) -> Callable[[], World]:
    def make() -> World:
        storage = MemoryStorage()
        fill(storage, **options)
        return {"repo": storage}

    return make


def opened(storage: Storage) -> Repository:
    repository = Repository.open(storage, PASSWORD)
    repository.load_index()
    return repository


def with_marked_packs() -> World:
    """Some packs are marked for deletion, one of which a later snapshot needs."""
    world = filled()()
    repository = opened(world["repo"])
    with repository.lock():
        prune.execute(prune.plan(repository, prune.PruneOptions(prune.MaxUnused(bytes=0), lock_free=True)))
    repository = opened(world["repo"])
    repository.remove(FileKind.SNAPSHOT, min(snapshot for snapshot, _ in repository.list(FileKind.SNAPSHOT)))
    return world


def two_repositories() -> World:
    world = filled(seed=2, snapshots=2, removed=0)()
    world["other"] = filled()()["repo"]
    return world


def two_keys() -> World:
    world = filled()()
    add_key(world["repo"], opened(world["repo"]).master_key, OTHER_PASSWORD.encode(), kdf=CHEAP)
    return world


def packs_of(storage: Storage, blob_type: BlobType) -> list[str]:
    """The packs with blobs of a type, those with most of them last."""
    count: dict[str, int] = {}
    for pack, entry in opened(storage).index.entries():
        if entry.type is blob_type:
            count[pack.hex()] = count.get(pack.hex(), 0) + 1
    return sorted(count, key=lambda name: (count[name], name))


def without_an_index() -> World:
    """An index file and a pack are gone."""
    world = filled()()
    storage = world["repo"]
    storage.remove(FileKind.PACK, packs_of(storage, BlobType.DATA)[0])
    storage.remove(FileKind.INDEX, min(name for name, _ in storage.list(FileKind.INDEX)))
    return world


def with_a_damaged_pack() -> World:
    world = filled()()
    storage = world["repo"]
    name = packs_of(storage, BlobType.DATA)[-1]
    data = bytearray(storage.files[FileKind.PACK, name])
    data[1000] ^= 1
    storage.files[FileKind.PACK, name] = bytes(data)
    return world


def with_several_faults() -> World:
    """An index file is gone, one pack has a blob that is lost, another one has no header."""
    world = filled()()
    storage = world["repo"]
    one, two = packs_of(storage, BlobType.DATA)[-2:]
    storage.files[FileKind.PACK, one] = (
        storage.files[FileKind.PACK, one][:1000] + bytes(64) + storage.files[FileKind.PACK, one][1064:]
    )
    storage.files[FileKind.PACK, two] = storage.files[FileKind.PACK, two][:-60] + bytes(60)
    storage.remove(FileKind.INDEX, min(name for name, _ in storage.list(FileKind.INDEX)))
    return world


def with_lost_data() -> World:
    world = filled()()
    storage = world["repo"]
    storage.remove(FileKind.PACK, packs_of(storage, BlobType.DATA)[-1])
    repairindex.execute(repairindex.plan(Repository.open(storage, PASSWORD)))
    return world


class Case(NamedTuple):
    """A command line, and the repositories it works on."""

    words: tuple[str, ...]
    make: Callable[[], World] = filled()
    first: tuple[str, ...] | None = None
    """What has to be run after the command was stopped, before anything can be read."""
    old_layout: bool = False
    """Whether the files are arranged as early versions did on S3."""
    goes: FileKind | None = None
    """A file of this kind is removed in the end; then the same line cannot be run again."""


EXACTLY = ("--max-unused", "0")
CASES = {
    "forget": Case(("forget", "--keep-last", "1")),
    "forget --prune": Case(("forget", "--keep-last", "1", "--prune", *EXACTLY)),
    "prune": Case(("prune", *EXACTLY)),
    "prune without space": Case(("prune", *EXACTLY, "--unsafe-recover-no-free-space", "{id}"), first=("repair", "index")),
    "prune --lock-free, marking": Case(("prune", *EXACTLY, "--lock-free")),
    "prune --lock-free, removing": Case(("prune", *EXACTLY, "--lock-free", "--keep-delete", "0s"), with_marked_packs),
    "copy": Case(("copy", "--from-repo", OTHER), two_repositories),
    "rewrite": Case(("rewrite", "--exclude", "*.txt")),
    "rewrite --forget": Case(("rewrite", "--exclude", "*.txt", "--forget")),
    "tag": Case(("tag", "--add", "x")),
    "merge": Case(("merge",)),
    "merge --delete": Case(("merge", "--delete")),
    "repair index": Case(("repair", "index"), without_an_index),
    "repair index --read-all-packs": Case(("repair", "index", "--read-all-packs"), without_an_index),
    "repair packs": Case(("repair", "packs", "{pack}"), with_a_damaged_pack, goes=FileKind.PACK),
    "repair snapshots --forget": Case(("repair", "snapshots", "--forget"), with_lost_data),
    "recover": Case(("recover",)),
    "heal": Case(("heal", "--yes", "--forget", "--budget", "1"), with_several_faults),
    "protect": Case(("protect",)),
    "migrate upgrade_repo_v2": Case(("migrate", "upgrade_repo_v2"), filled(version=1)),
    "migrate s3_layout": Case(("migrate", "s3_layout"), old_layout=True),
    "config": Case(("config", "--set-compression", "5", "--set-treepack-size", "1MiB")),
    "key add": Case(("key", "add", "--new-password-file", f"{WORK}/new-password")),
    "key passwd": Case(("key", "passwd", "--new-password-file", f"{WORK}/new-password"), goes=FileKind.KEY),
    "key remove": Case(("key", "remove", "{key}"), two_keys, goes=FileKind.KEY),
    "backup --init": Case(("backup", "--init", f"{WORK}/source"), lambda: {"repo": MemoryStorage()}),
}
