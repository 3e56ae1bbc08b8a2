"""What the tests under fire share: running a command line that is stopped somehow, and what must be there afterwards."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import restic_format.repository.coder as coder_module
import restic_format.repository.keys as keys_module
import restic_format.repository.repository as repository_module
import restic_format.storage.cachefolder as cachefolder_module
import restic_format.storage.local as local_module
import restic_format.storage.localwriter as writer_module
import restic_format.storage.locations as locations_module
import restic_format.storage.oldlayout as oldlayout_module
import restic_format.storage.side as side_module
from restic_format.check import CheckOptions, check
from restic_format.errors import ResticFormatError, WrongPassword
from restic_format.repository import Repository
from restic_format.repository.lock import remove_locks
from restic_format.snapshots.walk import Level, Walk
from restic_format.storage import LocalStorage, MemoryStorage, Storage
from restic_format.storage.side import MemorySideFiles
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_tools.cli import main
from restic_tools.globaloptions import GlobalOptions
from tests.fire.cases import NEW_PASSWORD, Case, World, packs_of
from tests.restore.kit import CHEAP, PASSWORD
from tests.safety import kit as safety

PACK_SIZE = 20_000
"""Bytes of packs while a command is under fire: many steps, many moments."""

ENVIRONMENT = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_FROM_PASSWORD": PASSWORD, "RESTIC_PROGRESS_FPS": "0.001"}


def prepare(work: Path) -> Path:
    """A folder with what some command lines name."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "new-password").write_text(NEW_PASSWORD)
    (work / "source").mkdir(exist_ok=True)
    rng = random.Random(5)
    for number in range(8):
        (work / "source" / f"file{number}").write_bytes(rng.randbytes(9000))
    return work


def words_of(case: Case, world: World, places: dict[str, str], work: Path) -> list[str]:
    """The command line of *case*, with the repositories at *places*."""
    values = {**places, "work": str(work), "id": "", "pack": "", "key": ""}
    storage = world["repo"]
    if storage.exists(FileKind.CONFIG, ""):
        repository = Repository.open(storage, PASSWORD)
        values["id"] = repository.id
        values["key"] = next((name for name, _ in storage.list(FileKind.KEY) if name != repository.key_id.hex()), "")
        if "{pack}" in case.words:
            values["pack"] = packs_of(storage, BlobType.DATA)[-1]
    return ["-r", places["repo"], "--no-cache", *(word.format(**values) for word in case.words)]


def stored(world: World, folder: Path, *, old_layout: bool = False) -> dict[str, str]:
    """Put the repositories of *world* into a folder; where each is."""
    places = {}
    for name, memory in world.items():
        place = folder / name
        places[name] = str(place)
        if not memory.files:
            continue
        storage = LocalStorage(place)
        storage.create()
        for (kind, file), data in memory.files.items():
            storage.save(kind, file, data)
        for side_folder, side in memory.sides.items():
            for file, data in side.files.items():
                storage.side_files(side_folder).save(file, data)
        for path in safety.files_of(place):
            path.chmod(0o600)
    if old_layout:
        safety.to_old_layout(Path(places["repo"]))
    return places


def copy_of(world: World) -> World:
    copies = {name: MemoryStorage() for name in world}
    for name, storage in world.items():
        copies[name].files = dict(storage.files)
        for folder, side in storage.sides.items():
            copies[name].sides[folder] = MemorySideFiles()
            copies[name].sides[folder].files = dict(side.files)
    return copies


# What is there

Files = dict[str, bytes | None]
"""Path to content, None where something is missing or damaged."""


class Contents(NamedTuple):
    """Everything that snapshots hold, by what each was made from; several may have been made from one."""

    snapshots: dict[str, list[Files]]

    def lost(self, before: Contents, after: Contents, lied: bool = False) -> list[str]:
        """What is lost of *before*, but for what is not in *after* either, which the whole command would leave.

        Where a storage has *lied* about what it stored, a new snapshot may be worth nothing beside the one it was made from.
        """
        missing = []
        for origin, wanted in before.snapshots.items():
            ends = after.snapshots.get(origin, [])
            found = self.snapshots.get(origin, [])
            if ends and not found:
                if not any(data is not None for files in wanted for data in files.values()):
                    continue  # nothing of it could be read
                missing.append(f"snapshot {origin[:8]}")
                continue
            for old in wanted:
                for have in found if not lied else ():
                    missing += [f"{path} of snapshot {origin[:8]}" for path in _other(have, old, ends)]
                for end in ends:
                    if all(_other(have, old, [end]) for have in found) and not (
                        lied and any(_has(have, old) for have in found)
                    ):
                        missing.append(f"what was to become of snapshot {origin[:8]}")
        new = Contents({origin: files for origin, files in after.snapshots.items() if origin not in before.snapshots})
        gone = (before.items() & new.items()) - self.items()
        return missing + [f"{path} ({len(data)} bytes) is in no snapshot" for path, data in sorted(gone)]

    def items(self) -> set[tuple[str, bytes]]:
        """Every path with every content that it has in any snapshot."""
        return {
            (path, data)
            for several in self.snapshots.values()
            for files in several
            for path, data in files.items()
            if data is not None
        }


def _has(have: Files, old: Files) -> bool:
    return all(have.get(path) == data for path, data in old.items() if data is not None)


def _staying(old: Files, ends: list[Files]) -> set[str]:
    """The paths whose content is in *old* and stays in all of *ends*; none where there are none."""
    return {path for path, data in old.items() if data is not None and ends and all(end.get(path) == data for end in ends)}


def _other(have: Files, old: Files, ends: list[Files]) -> set[str]:
    """Those of them that *have* does not hold as they were."""
    return {path for path in _staying(old, ends) if have.get(path) != old[path]}


def open_any(where: Storage | str) -> Repository:
    """Open it with the old password or with the new one."""
    storage = where if isinstance(where, Storage) else LocalStorage(where)
    try:
        return Repository.open(storage, PASSWORD)
    except WrongPassword:
        return Repository.open(storage, NEW_PASSWORD)


def contents(where: Storage | str, damaged: Callable[[bytes, ResticFormatError], None] | None = None) -> Contents:
    """What is in the snapshots of a repository; nothing where there is none yet. A damaged index file is told to *damaged*, and
    left out; where that is None it is raised.
    """
    storage = where if isinstance(where, Storage) else LocalStorage(where)
    found: dict[str, list[Files]] = {}
    if not storage.exists(FileKind.CONFIG, ""):
        return Contents(found)
    repository = open_any(storage)
    repository.load_index(damaged=damaged)
    for snapshot_id, _ in list(repository.list(FileKind.SNAPSHOT)):
        try:
            snapshot = repository.load_snapshot(snapshot_id)
        except ResticFormatError:
            continue
        files = _files(repository, snapshot.tree) if isinstance(snapshot.tree, str) else {}
        found.setdefault(snapshot.original or snapshot_id.hex(), []).append(files)
    return Contents(found)


def _files(repository: Repository, tree: str) -> Files:
    files: Files = {}

    def fault(level: Level[None] | None, node: object, error: Exception) -> None:
        files[level.prefix + "/" if level is not None else "/"] = None

    walk: Walk[None] = Walk(repository, bytes.fromhex(tree), None, fault=fault)
    for level, node, name in walk:
        if node.type == "dir":
            walk.enter(node, name, None)
            continue
        data: bytes | None = b""
        for blob in node.content or []:
            try:
                part = repository.load_blob(BlobType.DATA, bytes.fromhex(blob))
            except ResticFormatError:
                data = None
                break
            assert data is not None
            data += part
        files[level.path_of(name)] = data
    return files


def free(where: Storage | str) -> None:
    """What ``unlock`` does after a process was killed."""
    storage = where if isinstance(where, Storage) else LocalStorage(where)
    if storage.exists(FileKind.CONFIG, ""):
        remove_locks(open_any(storage), everything=True)


def errors(where: Storage | str) -> set[str]:
    """What a check of everything finds wrong."""
    report = check(open_any(where), CheckOptions(read_data=True))
    return {finding.code.name for finding in report.findings if finding.severity.value == "error"}


# Running a command


class Ended(NamedTuple):
    """How a command line ended."""

    code: int
    err: str


@contextlib.contextmanager
def small_steps() -> Iterator[None]:
    """Packs are small, keys cheap."""
    before = repository_module.MIN_PACK_SIZE, coder_module.GROUP_SIZE, GlobalOptions.pack_size_bytes, keys_module.calibrate
    repository_module.MIN_PACK_SIZE, coder_module.GROUP_SIZE = 1, PACK_SIZE // 2
    GlobalOptions.pack_size_bytes = property(lambda self: PACK_SIZE)  # type: ignore[assignment]
    keys_module.calibrate = lambda: CHEAP
    try:
        yield
    finally:
        repository_module.MIN_PACK_SIZE, coder_module.GROUP_SIZE = before[:2]
        GlobalOptions.pack_size_bytes = before[2]  # type: ignore[method-assign]
        keys_module.calibrate = before[3]


def run(words: list[str], work: Path, storages: dict[str, Storage] | None = None) -> Ended:
    """Run a command line in this process, with *storages* at their locations."""
    opening, environment, folder = locations_module.open_storage, dict(os.environ), os.getcwd()
    streams = sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape", write_through=True) for _ in range(2))
    if storages is not None:
        locations_module.open_storage = lambda location, options=None, transport=None: storages[location]
    os.environ.update(ENVIRONMENT)
    os.chdir(work)
    sys.stdout, sys.stderr = out, err
    try:
        with small_steps():
            code = main(words)
    finally:
        locations_module.open_storage = opening
        sys.stdout, sys.stderr = streams
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
    return Ended(code, err.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]


# Killing it


PAUSE = 0.001
"""Seconds before and after each step in which it can be killed."""


class AnnouncedOs:
    """The ``os`` module, but what changes a file or a folder takes its time, and is announced with a byte to a pipe."""

    ANNOUNCED = frozenset(("rename", "replace", "link", "unlink", "rmdir", "mkdir", "fsync", "writev"))

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def __getattr__(self, name: str) -> object:
        found = getattr(os, name)
        if name not in self.ANNOUNCED:
            return found

        def slow(*args: object, **named: object) -> object:
            os.write(self._pipe, b".")
            time.sleep(PAUSE)
            done = found(*args, **named)
            time.sleep(PAUSE)
            return done

        return slow


MODULES = (local_module, writer_module, side_module, oldlayout_module, cachefolder_module, shutil)
"""Those that change files."""


def _run_and_exit(words: list[str], work: Path, pipe: int) -> NoReturn:
    code = 70
    try:
        for module in MODULES:
            module.os = AnnouncedOs(pipe)  # type: ignore[attr-defined]
        ended = run(words, work)
        os.write(2, ended.err.encode())
        code = ended.code
    finally:
        os._exit(code)


class Child(NamedTuple):
    """A command line in a process of its own."""

    steps: int
    killed: bool
    code: int


def run_child(words: list[str], work: Path, *, kill_at: int | None = None, later: float = 0.0) -> Child:
    """Run a command line in a child, which is killed *later* seconds after step *kill_at*."""
    steps, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(steps)
        _run_and_exit(words, work, pipe)
    os.close(pipe)
    taken = 0
    while taken != kill_at and os.read(steps, 1):
        taken += 1
    if kill_at is not None:
        time.sleep(later)
        os.kill(child, signal.SIGKILL)
    os.close(steps)
    status = os.waitpid(child, 0)[1]
    return Child(taken, os.WIFSIGNALED(status), -1 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
