"""Repairs and protection under fire: damaged repositories with what brings them back, and what must be there at any moment."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from restic_format.errors import DamagedFile, FileMissing, KeyUnusable, ResticFormatError
from restic_format.rescue.parity import plan_protection, protect
from restic_format.storage import MemoryStorage, Storage
from restic_spec.layout import LISTED_KINDS, FileKind
from restic_spec.pack import BlobType
from tests.fire.cases import World, fill, packs_of
from tests.fire.kit import Contents, contents, open_any, run

Damage = Callable[[MemoryStorage], None]
FileName = tuple[FileKind, str]


def _changed(storage: MemoryStorage, file: FileName, offset: int, new: bytes) -> None:
    data = storage.files[file]
    offset %= len(data)
    storage.files[file] = data[:offset] + new + data[offset + len(new) :]


def _flipped(storage: MemoryStorage, file: FileName, offset: int) -> None:
    _changed(storage, file, offset, bytes((storage.files[file][offset] ^ 4,)))


def _pack(storage: MemoryStorage, number: int = -1) -> FileName:
    return FileKind.PACK, packs_of(storage, BlobType.DATA)[number]


def _only(storage: MemoryStorage, kind: FileKind) -> FileName:
    return kind, min(name for name, _ in storage.list(kind))


def no_index(storage: MemoryStorage) -> None:
    for name, _ in list(storage.list(FileKind.INDEX)):
        storage.remove(FileKind.INDEX, name)


def spoiled_blob(storage: MemoryStorage) -> None:
    _changed(storage, _pack(storage), 1000, bytes(64))


def cut_pack(storage: MemoryStorage) -> None:
    file = _pack(storage)
    storage.files[file] = storage.files[file][: len(storage.files[file]) // 2]


def lost_pack(storage: MemoryStorage) -> None:
    storage.remove(*_pack(storage))


def flipped_bits(storage: MemoryStorage) -> None:
    """In two packs, a snapshot and an index file."""
    for file, offset in (
        (_pack(storage), 900),
        (_pack(storage, -2), 600),
        (_only(storage, FileKind.SNAPSHOT), 60),
        (_only(storage, FileKind.INDEX), 90),
    ):
        _flipped(storage, file, offset)


def flipped_key(storage: MemoryStorage) -> None:
    """And an index file is gone."""
    file = _only(storage, FileKind.KEY)
    _flipped(storage, file, storage.files[file].index(b'"data"') + 20)
    storage.remove(*_only(storage, FileKind.INDEX))


def lost_config(storage: MemoryStorage) -> None:
    """And an index file is gone."""
    storage.remove(FileKind.CONFIG, "")
    storage.remove(*_only(storage, FileKind.INDEX))


def spoiled_snapshot(storage: MemoryStorage) -> None:
    """And a lock is in the way that nobody can read."""
    _changed(storage, _only(storage, FileKind.SNAPSHOT), 30, bytes(60))
    storage.files[FileKind.LOCK, "ef" * 32] = b"no lock"


def protected(storage: MemoryStorage) -> None:
    """Make parity for it."""
    side = storage.side_files("parity")
    protect(storage, side, plan_protection(storage, side, overhead=0.3, now=1e9), now=1e9)


def both(*damages: Damage) -> Damage:
    def damage(storage: MemoryStorage) -> None:
        for each in damages:
            each(storage)

    return damage


def good(*damages: Damage, seed: int = 1) -> Callable[[], World]:
    """A small repository, and what is done with it then."""

    def make() -> World:
        storage = MemoryStorage()
        fill(storage, seed, snapshots=3, removed=1)
        both(*damages)(storage)
        return {"repo": storage}

    return make


def healed(*damages: Damage) -> Callable[[], World]:
    """A small repository with damage, and after a repair."""

    def make() -> World:
        world = good(*damages)()
        with tempfile.TemporaryDirectory() as folder:
            assert run(["-r", "/repo", "--no-cache", *HEAL], Path(folder), {"/repo": world["repo"]}).code in (0, 1)
        assert world["repo"].sides["quarantine"].files
        return world

    return make


def more(storage: MemoryStorage) -> None:
    """Some snapshots come, a pack goes, which none of them needs."""
    other = MemoryStorage()
    fill(other, 3, snapshots=2, removed=0)
    with tempfile.TemporaryDirectory() as folder:
        words = ["-r", "/repo", "--no-cache", "copy", "--from-repo", "/other"]
        assert run(words, Path(folder), {"/repo": storage, "/other": other}).code == 0
        words = ["-r", "/repo", "--no-cache", "forget", "--keep-last", "1", "--prune", "--max-unused", "0"]
        assert run(words, Path(folder), {"/repo": storage}).code == 0


HEAL = ("heal", "--yes", "--budget", "0")
SOLVE = ("heal", "--yes", "--budget", "500")
"""For what is solved at once."""
UNDO = ("heal", "--undo", "--yes")


class Rescue(NamedTuple):
    """A command line, and the repository it works on."""

    words: tuple[str, ...]
    make: Callable[[], World]
    changes: bool = True
    """Whether it changes the repository; else only what stands beside it."""


RESCUES = {
    "no index": Rescue(HEAL, good(no_index)),
    "no index, a lost blob": Rescue((*HEAL, "--forget"), good(spoiled_blob, no_index)),
    "a pack cut in half": Rescue(HEAL, good(cut_pack)),
    "a lost pack": Rescue((*HEAL, "--forget"), good(lost_pack)),
    "bits turned over": Rescue(SOLVE, good(flipped_bits)),
    "a key with a wrong byte": Rescue(SOLVE, good(flipped_key)),
    "no config": Rescue(HEAL, good(lost_config)),
    "a damaged snapshot and a lock": Rescue(HEAL, good(spoiled_snapshot)),
    "a lost pack that has parity": Rescue(HEAL, good(protected, lost_pack)),
    "undo": Rescue(UNDO, healed(spoiled_blob, no_index)),
    "undo what was opened again": Rescue(UNDO, healed(lost_config)),
    "forget the quarantine": Rescue(("heal", "--forget-quarantine", "--yes"), healed(cut_pack), changes=False),
    "protect": Rescue(("protect",), good(), changes=False),
    "protect more": Rescue(("protect",), good(protected, more), changes=False),
    "protect, what is gone was pruned": Rescue(("protect", "--forget-missing"), good(protected, more), changes=False),
    "backup --protect": Rescue(("backup", "--protect", "--host", "h", "--force", "{work}/source"), good(protected)),
}


class State(NamedTuple):
    """A repository as it is: every file but the locks, and those beside them."""

    files: dict[FileName, bytes]
    side: dict[str, bytes]


def state(storage: Storage, *folders: str) -> State:
    """What is there, with this program's own *folders*."""
    files = {}
    for kind in (FileKind.CONFIG, *LISTED_KINDS):
        if kind is FileKind.LOCK:
            continue
        names = [name for name, _ in storage.list(kind)] if kind in LISTED_KINDS else [""]
        for name in names:
            try:
                files[kind, name] = storage.load(kind, name)
            except FileMissing:
                assert kind is FileKind.CONFIG
    side = {}
    for folder in folders:
        found = storage.side_files(folder)
        side |= {f"{folder}/{name}": found.load(name) for name, _ in found.list()}
    return State(files, side)


def unlock(storage: Storage) -> None:
    """Remove what the killed have left; no key is needed."""
    for name, _ in list(storage.list(FileKind.LOCK)):
        storage.remove(FileKind.LOCK, name)


def readable(storage: Storage) -> Contents:
    """What can be read of the snapshots, by what can be read of the index; nothing where the repository cannot be opened."""
    try:
        return contents(storage, damaged=lambda _id, _error: None)
    except (DamagedFile, KeyUnusable):
        return Contents({})


def intact_blobs(storage: Storage) -> set[tuple[BlobType, bytes]]:
    """Every blob in any pack that can be opened, by the headers of the packs and by what can be read of the index."""
    try:
        repository = open_any(storage)
    except ResticFormatError:
        return set()
    repository.load_index(damaged=lambda _id, _error: None)
    listed = dict(repository.index.by_pack(None))
    found = set()
    for name, size in storage.list(FileKind.PACK):
        entries = set(listed.get(bytes.fromhex(name), ()))
        with contextlib.suppress(ResticFormatError):
            entries |= set(repository.packs.header(bytes.fromhex(name), size))
        for entry in entries:
            for _, blob in repository.packs.blobs(bytes.fromhex(name), [entry]):
                if not isinstance(blob, ResticFormatError):
                    found.add((entry.type, entry.id))
    return found
