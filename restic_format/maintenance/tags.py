"""Changing the tags of snapshots, and the marks that say when they may be removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from restic_format.errors import LockLost, ResticFormatError
from restic_format.maintenance.restrictions import check_may_remove
from restic_format.repository.repository import Repository
from restic_format.snapshots.change import replace_snapshot
from restic_format.snapshots.find import FoundSnapshot, SnapshotFilter, filter_snapshots
from restic_format.work import Cancel
from restic_spec.rustic import DELETE, DeleteMark, delete_mark, with_delete_mark


@dataclass(frozen=True)
class TagChange:
    """What becomes of tags: exactly *to* where that is not None, otherwise *add* and then *remove*. Empty tags are none.

    The mark that says when the snapshot may be removed (RUSTIC-8) becomes *delete*, where that is not None, or is taken away.
    """

    to: Sequence[str] | None = None
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    delete: DeleteMark | None = None
    remove_delete: bool = False

    def apply(self, tags: Sequence[str]) -> list[str] | None:
        """The new tags; None where nothing changes."""
        if self.to is not None:
            return [tag for tag in self.to if tag]
        changed = list(tags)
        for tag in self.add:
            if tag and tag not in changed:
                changed.append(tag)
        for tag in self.remove:
            if tag in changed:
                # As in restic the last one takes its place.
                changed[changed.index(tag)] = changed[-1]
                changed.pop()
        return changed if changed != list(tags) else None

    def changes_mark(self, mark: DeleteMark | None) -> bool:
        """Whether a snapshot with *mark* gets another one, or none."""
        return mark is not None if self.remove_delete else self.delete is not None and self.delete != mark


class Changed(NamedTuple):
    """A snapshot that was changed, and so has a new id."""

    old_id: bytes
    new_id: bytes


class TagResult(NamedTuple):
    """What `change_tags` has done."""

    changed: list[Changed]
    failed: list[bytes]
    """Ids of snapshots that could not be changed."""


def change_tags(
    repo: Repository,
    change: TagChange,
    *,
    names: Sequence[str] = (),
    wanted: SnapshotFilter | None = None,
    damaged: Callable[[str, ResticFormatError], None] | None = None,
    failed: Callable[[FoundSnapshot, ResticFormatError], None] | None = None,
    changed: Callable[[Changed], None] | None = None,
    cancel: Cancel | None = None,
) -> TagResult:
    """Change the tags and marks of the snapshots *names* mean, or of all *wanted*, under an exclusive lock (SNAP-7).

    *damaged* is told of snapshots that cannot be found or read, *failed* of those that cannot be changed, *changed* of those
    that were. Without *damaged* or *failed* the error is raised.

    Raises:
        UsageError: the repository is append-only.
        LockLost: the lock is lost.
        Interrupted: *cancel* was set.
    """
    check_may_remove(repo, "tag")
    result = TagResult([], [])
    for found in list(filter_snapshots(repo, names, wanted, damaged, members=(DELETE,))):
        if cancel is not None:
            cancel.check()
        try:
            tags = change.apply(found.snapshot.tags)
            marks = change.changes_mark(_mark(found))
            if tags is None and not marks:
                continue
            # Once more, with every member (SNAP-10): those of all snapshots might not fit into memory.
            snapshot = repo.load_snapshot(found.id)
            snapshot.tags = snapshot.tags if tags is None else tags
            snapshot.original = snapshot.original or found.id.hex()
            if marks:
                snapshot = with_delete_mark(snapshot, change.delete)
            pair = Changed(found.id, replace_snapshot(repo, found.id, snapshot))
        except LockLost:
            raise
        except ResticFormatError as error:
            if failed is None:
                raise
            failed(found, error)
            result.failed.append(found.id)
            continue
        result.changed.append(pair)
        if changed is not None:
            changed(pair)
    return result


def _mark(found: FoundSnapshot) -> DeleteMark | None:
    """The mark of a snapshot; one that cannot be understood is like none of those that can be given."""
    try:
        return delete_mark(found.snapshot)
    except ResticFormatError:
        return DeleteMark(-1)
