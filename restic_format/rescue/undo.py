"""Undoing a repair: every file that it replaced or removed comes back, byte for byte, and what it added goes.

What comes back is stored before anything is removed (QUARANTINE-5), so that whoever is killed in between can undo once more.
Keys and the config come last: a repository may not be opened any more with those that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import FileMissing, FileUnusable, UsageError
from restic_format.rescue.quarantine import (
    FileName,
    Run,
    check_copies,
    note_undone,
    pieces,
    place,
    read_run,
    run_files,
    run_names,
)
from restic_format.storage import SideFiles, Storage
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.layout import FileKind

RESTORING, REMOVING = "files brought back", "files removed"
"""The stages that `Advance` names."""

_FIRST = (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)
_LAST = (FileKind.KEY, FileKind.CONFIG, FileKind.LOCK)
"""In which order files come, and in the opposite one go (QUARANTINE-5): as in ORDER-1 and ORDER-3; then those without which
nothing can be opened."""


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
        DamagedFile: its journal, or a copy, is damaged.
        StorageError: something could not be read or stored; undo once more.
        Interrupted: it was cancelled; likewise.
    """
    names = run_names(side)
    found = read_run(side, run or (names[-1] if names else "none"))
    if found.name != names[-1]:
        raise UsageError(f"run {found.name} cannot be undone before the later one, {names[-1]}")
    if found.is_undone:
        _drop(side, found.name)
        return Undone(found.name, [], [], [])
    _check_unchanged(storage, found)
    check_copies(side, found, cancel)
    is_needed = _is_needed(storage, found)
    done = Undone(found.name, [], [], [])
    for kinds in (_FIRST, _LAST):
        for kind, name in _ordered(found.kept, kinds):
            if cancel is not None:
                cancel.check()
            progress(Advance(RESTORING, len(done.restored), len(found.kept)))
            _bring_back(storage, side, place(found.name, kind, name), kind, name)
            done.restored.append((kind, name))
        for kind, name in _ordered(found.added, kinds[::-1]):
            progress(Advance(REMOVING, len(done.removed), len(found.added)))
            if not storage.exists(kind, name):
                continue
            if is_needed and kind in (FileKind.PACK, FileKind.INDEX):
                done.left.append((kind, name))
                continue
            storage.remove(kind, name)
            done.removed.append((kind, name))
    progress(Advance(RESTORING, len(found.kept), len(found.kept)))
    progress(Advance(REMOVING, len(found.added), len(found.added)))
    note_undone(side, found.name)
    _drop(side, found.name)
    return done


def may_end_unopened(storage: Storage, side: SideFiles, name: str) -> bool:
    """Whether of undoing a run only keys, the config and locks are left: then a repository that cannot be opened any more, and
    that nobody can lock, is as it was before the run. Raises as `read_run`.
    """
    found = read_run(side, name)
    kept = {file[0] for file in found.kept} | {file[0] for file in found.added}
    if found.is_undone:
        return True
    return (
        not kept.isdisjoint((FileKind.KEY, FileKind.CONFIG))
        and all(_is_back(storage, side, place(name, *file), *file) for file in _ordered(found.kept, _FIRST))
        and (_is_needed(storage, found) or not any(storage.exists(*file) for file in _ordered(found.added, _FIRST)))
    )


def _is_needed(storage: Storage, run: Run) -> bool:
    """Whether there are snapshots that were made since, which may need what the run has added."""
    known = run.snapshots | {name for kind, name in run.added if kind is FileKind.SNAPSHOT}
    return any(name not in known for name, _ in storage.list(FileKind.SNAPSHOT))


def _ordered(files: Iterable[FileName], kinds: Sequence[FileKind]) -> list[FileName]:
    """Those of some *kinds*, in the order of these."""
    return sorted((file for file in files if file[0] in kinds), key=lambda file: (kinds.index(file[0]), file[1]))


def forget(side: SideFiles, run: str | None = None) -> list[str]:
    """Drop what the quarantine keeps, of one run or of all; the names of these. Raises as `read_run`."""
    names = run_names(side)
    if run is not None and run not in names:
        read_run(side, run)  # Says which there are.
    going = names if run is None else [run]
    for name in going:
        for file in run_files(side, name):
            side.remove(file)
    return going


def _drop(side: SideFiles, name: str) -> None:
    """Drop a run that was undone; its journal, which says so, goes last."""
    for file in reversed(run_files(side, name)):
        side.remove(file)


def _check_unchanged(storage: Storage, run: Run) -> None:
    """Refuse to undo where an index file that was there before the run, or that the run has left, is gone since: what comes
    back may need what is gone with it (QUARANTINE-6).
    """
    there = {name for name, _ in storage.list(FileKind.INDEX)}
    before = run.indexes - {name for kind, name in run.kept if kind is FileKind.INDEX} - there
    indexes = {name for kind, name in run.added if kind is FileKind.INDEX and (kind, name) not in run.dropped}
    gone = indexes - there
    replaced = any(not storage.exists(kind, name) for kind, name in run.kept if kind is FileKind.INDEX)
    # A run that was killed may have been about to store one.
    was_stored = run.has_ended or len(gone) > 1 or (replaced and gone == indexes)
    if before or (gone and was_stored and not _is_being_undone(storage, run)):
        raise UsageError(
            f"run {run.name} cannot be undone: the index was written anew since, by prune or another repair; what the run has "
            "set aside is in the quarantine"
        )


def _is_being_undone(storage: Storage, run: Run) -> bool:
    """Whether the files of a run are as undoing leaves them before it removes index files."""
    kept = _ordered(run.kept, _FIRST)
    added = [file for file in run.added if file[0] is FileKind.SNAPSHOT]
    return all(storage.exists(*file) for file in kept) and not any(storage.exists(*file) for file in added)


def _is_back(storage: Storage, side: SideFiles, source: str, kind: FileKind, name: str) -> bool:
    """Whether a file is what its copy is."""
    try:
        return storage.size(kind, name) == side.size(source) and all(
            storage.load(kind, name, offset, len(piece)) == piece for offset, piece in _numbered(side, source)
        )
    except (FileMissing, FileUnusable):
        return False


def _bring_back(storage: Storage, side: SideFiles, source: str, kind: FileKind, name: str) -> None:
    if _is_back(storage, side, source, kind, name):
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
