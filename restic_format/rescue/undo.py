"""Undoing a repair: every file that it replaced or removed comes back, byte for byte, and what it added goes.

What comes back is stored before anything is removed (QUARANTINE-5), so that whoever is killed in between can undo once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from restic_format.errors import FileMissing, FileUnusable, UsageError
from restic_format.rescue.quarantine import FileName, Run, pieces, place, read_run, run_names
from restic_format.storage import SideFiles, Storage
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.layout import FileKind

RESTORING, REMOVING = "files brought back", "files removed"
"""The stages that `Advance` names."""

_BACK = (FileKind.PACK, FileKind.KEY, FileKind.INDEX, FileKind.SNAPSHOT, FileKind.CONFIG, FileKind.LOCK)
_AWAY = (FileKind.SNAPSHOT, FileKind.KEY, FileKind.INDEX, FileKind.PACK, FileKind.CONFIG)
"""In which order files come and go (QUARANTINE-5): as in ORDER-1 and ORDER-3, the rest where it disturbs the least."""


class Undone(NamedTuple):
    """What was done."""

    run: str
    restored: list[FileName]
    removed: list[FileName]
    left: list[FileName]
    """Packs and index files of the repair that stay, as snapshots were made since, which may need them (QUARANTINE-6)."""


def undo(
    storage: Storage,
    side: SideFiles,
    run: str | None = None,
    *,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> Undone:
    """Undo the last run, which may be named, under an exclusive lock.

    Raises:
        UsageError: there is none, another one comes after it, or the repository was changed since, so that it cannot be undone.
        DamagedFile: its journal is damaged.
        StorageError: something could not be read or stored; undo once more.
        Interrupted: it was cancelled; likewise.
    """
    names = run_names(side)
    found = read_run(side, run or (names[-1] if names else "none"))
    if found.name != names[-1]:
        raise UsageError(f"run {found.name} cannot be undone before the later one, {names[-1]}")
    _check_unchanged(storage, found)
    known = found.snapshots | {name for kind, name in found.added if kind is FileKind.SNAPSHOT}
    is_needed = any(name not in known for name, _ in storage.list(FileKind.SNAPSHOT))
    restored = sorted(found.kept, key=lambda file: _BACK.index(file[0]))
    for done, (kind, name) in enumerate(restored):
        if cancel is not None:
            cancel.check()
        progress(Advance(RESTORING, done, len(restored)))
        _bring_back(storage, side, place(found.name, kind, name), kind, name)
    progress(Advance(RESTORING, len(restored), len(restored)))
    going = sorted((file for file in found.added if file[0] in _AWAY), key=lambda file: _AWAY.index(file[0]))
    removed: list[FileName] = []
    left: list[FileName] = []
    for done, (kind, name) in enumerate(going):
        progress(Advance(REMOVING, done, len(going)))
        if not storage.exists(kind, name):
            continue
        if is_needed and kind in (FileKind.PACK, FileKind.INDEX):
            left.append((kind, name))
            continue
        storage.remove(kind, name)
        removed.append((kind, name))
    progress(Advance(REMOVING, len(going), len(going)))
    forget(side, found.name)
    return Undone(found.name, restored, removed, left)


def forget(side: SideFiles, run: str | None = None) -> list[str]:
    """Drop what the quarantine keeps, of one run or of all; the names of these. Raises as `read_run`."""
    names = run_names(side)
    if run is not None and run not in names:
        read_run(side, run)  # Says which there are.
    going = names if run is None else [run]
    for name in going:
        files = [file for file, _ in side.list(f"{name}/")]
        # The journal goes last: while it is there, somebody knows what the rest is.
        for file in sorted(files, key=lambda file: (file.startswith(f"{name}/journal-"), file)):
            side.remove(file)
    return going


def _check_unchanged(storage: Storage, run: Run) -> None:
    """Refuse to undo where an index file that the run has left was replaced since: what the old ones list may be gone
    (QUARANTINE-6)."""
    indexes = {name for kind, name in run.added if kind is FileKind.INDEX and (kind, name) not in run.dropped}
    gone = indexes - {name for name, _ in storage.list(FileKind.INDEX)}
    replaced = [name for kind, name in run.kept if kind is FileKind.INDEX and not storage.exists(kind, name)]
    if gone and replaced and (run.has_ended or gone == indexes):
        raise UsageError(
            f"run {run.name} cannot be undone: the index was written anew since, by prune or another repair; what the run has "
            "set aside is in the quarantine"
        )


def _bring_back(storage: Storage, side: SideFiles, source: str, kind: FileKind, name: str) -> None:
    try:
        same = storage.size(kind, name) == side.size(source) and all(
            storage.load(kind, name, offset, len(piece)) == piece for offset, piece in _numbered(side, source)
        )
    except (FileMissing, FileUnusable):
        same = False
    if same:
        return
    writer = storage.begin(kind)
    try:
        for piece in pieces(side, source):
            writer.append(piece)
        writer.finish(name)
    except BaseException:
        writer.abort()
        raise


def _numbered(side: SideFiles, name: str) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for piece in pieces(side, name):
        yield offset, piece
        offset += len(piece)
