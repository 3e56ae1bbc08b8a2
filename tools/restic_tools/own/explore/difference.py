"""The page of what differs between two snapshots."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import SnapshotNotFound
from restic_format.explore.browse import Mark
from restic_format.explore.diff import REMOVED, TreeDiff
from restic_format.snapshots import FoundSnapshot
from restic_format.words import printable
from restic_spec.ids import parse_id
from restic_spec.tree import FILE, Node
from restic_tools.own.explore.page import MOST_ROWS, Column, Page, counted, size_text
from restic_tools.own.explore.searching import MORE, folder_of, open_path

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model

_MEANING = {
    "+": "added",
    "-": "removed",
    "M": "modified",
    "U": "metadata modified",
    "T": "type changed",
    "?": "bitrot suspected",
}


class DifferencePage(Page):
    """What differs from an older snapshot to a newer one."""

    kind = "diff"
    columns = (Column("", 2), Column("Before", 11, right=True), Column("After", 11, right=True), Column("Path", 0))
    empty = "no differences"

    def __init__(self, model: Model, one: FoundSnapshot, two: FoundSnapshot) -> None:
        """The snapshots come in any order."""
        before, after = sorted((one, two), key=lambda item: (item.time_ns, item.id))
        super().__init__(model, f"Diff {before.short_id} to {after.short_id}")
        self._before = before
        self._after = after
        self._marks: list[str] = []
        self._sizes = array("q")
        self._paths: list[str] = []

    def __len__(self) -> int:
        return len(self._paths)

    def load(self, cancel: Cancel) -> None:
        """Compare."""
        trees = []
        for item in (self._before, self._after):
            if not item.snapshot.tree:
                raise SnapshotNotFound(f"snapshot {item.short_id} has no tree")
            trees.append(parse_id(item.snapshot.tree))
        diff = TreeDiff(self.model.repository, *trees, metadata=True, damaged=self.tell, cancel=cancel)
        for difference in diff:
            if len(self._paths) >= MOST_ROWS:
                self.note = MORE
                return
            self._marks.append(difference.mark)
            self._sizes.extend((_size(difference.before), _size(difference.after)))
            self._paths.append(difference.path)
        added, removed = diff.statistics.added, diff.statistics.removed
        self.note = (
            f"{counted(diff.statistics.changed_files, 'file')} changed, {added.files:,} new, {removed.files:,} removed; "
            f"{size_text(added.bytes)} added, {size_text(removed.bytes)} removed"
        )

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        sizes = self._sizes[2 * number : 2 * number + 2]
        before, after = ("" if size < 0 else size_text(size) for size in sizes)
        return [self._marks[number], before, after, printable(self._paths[number])]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        meaning = ", ".join(_MEANING.get(mark, mark) for mark in self._marks[number])
        return [printable(self._paths[number]), meaning]

    def _side(self, number: int) -> tuple[FoundSnapshot, str]:
        """The snapshot that has the item, the newer one where both do, and its path."""
        found = self._before if self._marks[number] == REMOVED else self._after
        return found, self._paths[number].rstrip("/")

    def open(self, number: int) -> Page:
        """The file or directory, in the newer snapshot that has it."""
        return open_path(self.model, *self._side(number))

    def folder(self, number: int) -> Page:
        """The directory that it is in."""
        return folder_of(self.model, *self._side(number))

    def mark(self, number: int) -> Mark:
        """The item, in the newer snapshot that has it."""
        return Mark(*self._side(number))


def _size(node: Node | None) -> int:
    """Bytes of a file, -1 where there is none."""
    return node.size if node is not None and node.type == FILE else -1
