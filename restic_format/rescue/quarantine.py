"""The quarantine: what a repair replaces or removes is kept there first, with a journal, so that it can be undone.

Each run has a folder of its own in the quarantine (QUARANTINE-1). Its journal is JSON lines, in numbered files of so many lines
each (QUARANTINE-3). A line is stored before the step that it tells of is made (QUARANTINE-4):

- ``begin``: which snapshots and index files there were, and when;
- ``set aside``: a file, which has been copied to the run's folder, is replaced or removed;
- ``add``: a file is stored under a name that no file has;
- ``drop``: a file that the run itself has stored is removed again;
- ``end``: everything is done;
- ``undone``: everything is as it was before the run, whose folder goes now.

What the first line about a file says tells what was there before the run (QUARANTINE-5). A line whose step was not made
does no harm.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from restic_format.errors import DamagedFile, FileMissing, StorageError, UsageError
from restic_format.storage import Content, SideFiles, Storage, WrappedStorage, Writer, hash_file
from restic_format.storage.base import name_of
from restic_format.words import printable
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.ids import is_hex_id
from restic_spec.layout import FileKind, path_of

FOLDER = "quarantine"
"""Where it is in a repository, unless the user says otherwise."""

BEGIN, SET_ASIDE, ADD, DROP, END, UNDONE = "begin", "set aside", "add", "drop", "end", "undone"
"""The steps of a journal."""

_JOURNAL = "journal-"
_RUN = re.compile(r"[0-9]{8}T[0-9]{12}-[0-9a-f]{6}\Z")
_LINES = 200
"""Lines of one file of a journal, which is written anew for each."""

_PIECE = 4 << 20
"""Bytes of a file that are copied at once."""

FileName = tuple[FileKind, str]
"""A file of the repository; the config has the name ""."""


class Step(msgspec.Struct, omit_defaults=True):
    """A line of a journal."""

    step: str
    time: str
    kind: str = ""
    name: str = ""
    snapshots: list[str] = msgspec.field(default_factory=list)
    """Ids of the snapshots that there were, at the begin."""
    indexes: list[str] = msgspec.field(default_factory=list)
    """Likewise of index files."""
    sha256: str = ""
    """Of the copy of a file that is set aside."""


class Run(NamedTuple):
    """What a run has done, as its journal and its folder tell."""

    name: str
    time: str
    """When it began."""
    kept: dict[FileName, int]
    """Files that were there before, and that are kept in the quarantine: bytes of each."""
    hashes: dict[FileName, str]
    """SHA-256 of those, as they were copied."""
    added: list[FileName]
    """Files that were not there before the run and that it stored, or was about to."""
    dropped: frozenset[FileName]
    """Those of them that it has removed again, or was about to."""
    snapshots: frozenset[str]
    """Ids of the snapshots that there were before the run."""
    indexes: frozenset[str]
    """Ids of the index files that there were before the run."""
    has_ended: bool
    """Whether it has come to its end; else its last steps may not have been made."""
    is_undone: bool
    """Whether it was undone already; then only its folder has to go."""


class Quarantine:
    """The quarantine of one run: to be told before anything changes. Any thread may use it."""

    def __init__(self, side: SideFiles, *, now: Callable[[], int] = time.time_ns) -> None:
        """*now* gives nanoseconds since the epoch. Nothing is stored before `begin`."""
        self.side = side
        self._now = now
        seconds, rest = divmod(now(), gotime.NS)
        text = gotime.format_ns(seconds * gotime.NS)
        self.name = text[:19].replace("-", "").replace(":", "") + f"{rest // 1000:06}-{secrets.token_hex(3)}"
        """Of the run: when it began, so that names are in the order of the runs, and something by chance."""
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._number = 0
        self._known: set[FileName] = set()
        self._added: set[FileName] = set()
        self.begun = False

    def begin(self, snapshots: list[str], indexes: list[str]) -> None:
        """Begin the journal; *snapshots* and *indexes* are the ids of those that there are. Raises `StorageError`."""
        with self._lock:
            if not self.begun:
                self._write(Step(BEGIN, "", snapshots=snapshots, indexes=indexes))
                self.begun = True

    def end(self) -> None:
        """Note that everything is done. Raises `StorageError`."""
        with self._lock:
            if self.begun:
                self._write(Step(END, ""))

    def set_aside(self, storage: Storage, kind: FileKind, name: str) -> bool:
        """Copy a file that is to be replaced or removed, unless the run itself has stored it; false where there is none.

        Raises:
            StorageError: it cannot be read, or the copy not be stored: then the file must stay.
            DamagedFile: the copy is not what was read.
        """
        with self._lock:
            if (kind, name) in self._known:
                return storage.exists(kind, name)
            try:
                size = storage.size(kind, name)
            except FileMissing:
                return False
            digest = self._copy(storage, kind, name, size)
            self._write(Step(SET_ASIDE, "", kind.value, name, sha256=digest))
            self._known.add((kind, name))
            return True

    def removing(self, storage: Storage, kind: FileKind, name: str) -> None:
        """Note that a file is about to be removed, set aside unless the run itself has stored it. Raises as `set_aside`."""
        with self._lock:
            if (kind, name) in self._added:
                self._write(Step(DROP, "", kind.value, name))
                return
        self.set_aside(storage, kind, name)

    def adding(self, storage: Storage, kind: FileKind, name: str) -> None:
        """Note that a file is about to be stored; one that has the name is set aside. Raises as `set_aside`."""
        if self.set_aside(storage, kind, name):
            return
        with self._lock:
            if (kind, name) not in self._known:
                self._write(Step(ADD, "", kind.value, name))
                self._known.add((kind, name))
                self._added.add((kind, name))

    def _write(self, step: Step) -> None:
        if len(self._lines) >= _LINES:
            self._lines = []
            self._number += 1
        step.time = gotime.format_ns(self._now())
        lines = [*self._lines, msgspec.json.encode(step) + b"\n"]
        self.side.save(f"{self.name}/{_JOURNAL}{self._number:06}", lines)
        self._lines = lines

    def _copy(self, storage: Storage, kind: FileKind, name: str, size: int) -> str:
        target = place(self.name, kind, name)
        digest = hashlib.sha256()
        writer = self.side.begin()
        try:
            for offset in range(0, size, _PIECE):
                piece = storage.load(kind, name, offset, min(_PIECE, size - offset))
                digest.update(piece)
                writer.append(piece)
            writer.finish(target)
        except BaseException:
            writer.abort()
            raise
        if _digest(self.side, target) != digest.digest():
            raise DamagedFile(f"{FOLDER}/{target} was stored just now and is not what was written: check the storage")
        # What a file is that has not the hash which is its name only a second reading tells: undo brings back this copy.
        if digest.hexdigest() != name and hash_file(storage, kind, name)[0] != digest.digest():
            with suppress(StorageError):
                self.side.remove(target)
            raise StorageError(f"{name_of(kind, name)}: reads differently each time; it stays as it is: check the storage")
        return digest.hexdigest()


class QuarantiningStorage(WrappedStorage):
    """Passes everything on, and keeps what is replaced or removed in *quarantine* first. Locks come and go as they do."""

    def __init__(self, inner: Storage, quarantine: Quarantine) -> None:
        super().__init__(inner)
        self.quarantine = quarantine

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """See `Storage`."""
        self._adding(kind, name)
        self.inner.save(kind, name, data, metadata=metadata)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """See `Storage`."""
        self._adding(kind, name)
        self.inner.save_new(kind, name, data)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """See `Storage`."""
        return _NotedWriter(self.inner.begin(kind, metadata=metadata), lambda name: self._adding(kind, name))

    def remove(self, kind: FileKind, name: str) -> None:
        """See `Storage`."""
        if kind is not FileKind.LOCK:
            self._begin()
            self.quarantine.removing(self.inner, kind, name)
        self.inner.remove(kind, name)

    def remove_lock(self, name: str) -> None:
        """Set a lock aside that is nobody's. Raises as `Quarantine.set_aside`."""
        self._begin()
        if self.quarantine.set_aside(self.inner, FileKind.LOCK, name):
            self.inner.remove(FileKind.LOCK, name)

    def _adding(self, kind: FileKind, name: str) -> None:
        if kind is not FileKind.LOCK:
            self._begin()
            self.quarantine.adding(self.inner, kind, name)

    def _begin(self) -> None:
        if not self.quarantine.begun:
            there = [[name for name, _ in self.inner.list(kind)] for kind in (FileKind.SNAPSHOT, FileKind.INDEX)]
            self.quarantine.begin(*there)


class _NotedWriter:
    """A file in the making, whose name is noted before it gets it."""

    def __init__(self, inner: Writer, noted: Callable[[str], None]) -> None:
        self._inner = inner
        self._noted = noted

    def append(self, data: Content) -> None:
        """See `Writer`."""
        self._inner.append(data)

    def contents(self) -> Iterator[bytes]:
        """See `Writer`."""
        return self._inner.contents()

    def finish(self, name: str) -> None:
        """See `Writer`."""
        self._noted(name)
        self._inner.finish(name)

    def abort(self) -> None:
        """See `Writer`."""
        self._inner.abort()


def place(run: str, kind: FileKind, name: str) -> str:
    """The side file that keeps a file of the repository (QUARANTINE-2)."""
    return f"{run}/{kind.value}/{name}" if name else f"{run}/{kind.value}"


def run_names(side: SideFiles) -> list[str]:
    """The runs that there is something of, the first one first (QUARANTINE-1). Raises `StorageError`."""
    folders = {name.partition("/")[0] for name, _ in side.list() if "/" in name}
    return sorted(folder for folder in folders if _RUN.match(folder))


def run_files(side: SideFiles, name: str) -> list[str]:
    """The files of a run in the order in which they go when it is forgotten: the journal first (QUARANTINE-8), so that nobody
    takes a run for whole of which copies are gone. Raises `StorageError`.
    """
    files = [file for file, _ in side.list(f"{name}/")]
    return sorted(files, key=lambda file: (not file.startswith(f"{name}/{_JOURNAL}"), file))


def read_run(side: SideFiles, name: str) -> Run:
    """What a run has done.

    Raises:
        UsageError: there is no such run, or it was about to be forgotten.
        DamagedFile: its journal is damaged (QUARANTINE-7), or a copy is missing (QUARANTINE-8).
        StorageError: it cannot be read.
    """
    known = run_names(side)
    if name not in known:
        told = f"there are {', '.join(known)}" if known else "there is nothing to undo"
        raise UsageError(f"no run {printable(name[:80])!r} in the quarantine ({side.location}): {told}")
    files = dict(side.list(f"{name}/"))
    journals = sorted(file for file in files if file.startswith(f"{name}/{_JOURNAL}"))
    kept: dict[FileName, int] = {}
    hashes: dict[FileName, str] = {}
    added: list[FileName] = []
    snapshots: frozenset[str] | None = None
    indexes: frozenset[str] = frozenset()
    began = ""
    seen: set[FileName] = set()
    dropped: set[FileName] = set()
    gone: set[FileName] = set()
    has_ended = is_undone = False
    for step in _steps(side, journals):
        if step.step == BEGIN:
            snapshots, indexes, began = frozenset(step.snapshots), frozenset(step.indexes), step.time
        has_ended = has_ended or step.step == END
        is_undone = is_undone or step.step == UNDONE
        if step.step in (BEGIN, END, UNDONE):
            continue
        key = _file_of(step, name)
        if step.step == DROP:
            dropped.add(key)
        if key in seen:
            continue
        seen.add(key)
        if step.step == ADD:
            added.append(key)
        elif (size := files.get(place(name, *key))) is not None:
            kept[key] = size
            hashes[key] = step.sha256
        elif step.step == SET_ASIDE:
            gone.add(key)
    if snapshots is None:
        raise UsageError(
            f"run {name} cannot be undone, as its journal has no begin: it was about to be forgotten; "
            f"`heal --forget-quarantine {name}` drops what is left of it in {side.location}"
        )
    lost = sorted(path_of(*key) for key in gone)
    if lost and not is_undone:
        raise DamagedFile(
            f"run {name} cannot be undone, as {lost[0]}, which it has set aside, is not in the quarantine any more: what is "
            f"left is in {side.location}"
        )
    return Run(name, began, kept, hashes, added, frozenset(dropped), snapshots, indexes, has_ended, is_undone)


def note_undone(side: SideFiles, name: str, *, now: Callable[[], int] = time.time_ns) -> None:
    """Note that a run has been undone, so that only its folder has to go. Raises `StorageError`."""
    last = max(file for file, _ in side.list(f"{name}/{_JOURNAL}"))
    line = msgspec.json.encode(Step(UNDONE, gotime.format_ns(now()))) + b"\n"
    side.save(last, [side.load(last), line])


def _steps(side: SideFiles, journals: list[str]) -> Iterator[Step]:
    for journal in journals:
        for line in side.load(journal).splitlines():
            try:
                yield msgspec.json.decode(line, type=Step)
            except msgspec.MsgspecError as error:
                raise DamagedFile(f"{FOLDER}/{journal} is damaged: {error}") from error


def _file_of(step: Step, run: str) -> FileName:
    try:
        kind = FileKind(step.kind)
    except ValueError:
        kind = None
    if step.step not in (SET_ASIDE, ADD, DROP) or kind is None or (kind is FileKind.CONFIG) != (step.name == ""):
        raise DamagedFile(f"{FOLDER}/{run}: its journal has a step that this program does not know")
    if (step.name and not is_hex_id(step.name)) or is_hex_id(step.sha256) is not (step.step == SET_ASIDE):
        raise DamagedFile(f"{FOLDER}/{run}: its journal names a file or a hash that cannot be")
    return kind, step.name


def check_copies(side: SideFiles, run: Run, cancel: Cancel | None = None) -> None:
    """Read all copies of a run, to see whether they are what was set aside (QUARANTINE-8).

    Raises:
        DamagedFile: one is damaged.
        StorageError: one cannot be read.
        Interrupted: it was cancelled.
    """
    for key, digest in run.hashes.items():
        if cancel is not None:
            cancel.check()
        source = place(run.name, *key)
        if _digest(side, source).hex() != digest:
            raise DamagedFile(
                f"run {run.name} cannot be undone, as {FOLDER}/{source} is damaged: it is not what was set aside; nothing was "
                "changed"
            )


def _digest(side: SideFiles, name: str) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces(side, name):
        digest.update(piece)
    return digest.digest()


def pieces(side: SideFiles, name: str) -> Iterator[bytes]:
    """The content of a side file. Raises as `SideFiles.load`."""
    size = side.size(name)
    for offset in range(0, size, _PIECE):
        yield side.load(name, offset, min(_PIECE, size - offset))
