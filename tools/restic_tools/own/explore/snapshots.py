"""Pages of snapshots, their directories and files."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import ResticFormatError, SnapshotNotFound
from restic_format.explore.browse import FolderList, Mark, PieceList
from restic_format.explore.browse.selection import TOP
from restic_format.snapshots import FoundSnapshot, SnapshotFilter, all_snapshots, subtree_of
from restic_format.words import printable
from restic_spec import gomode
from restic_spec.ids import parse_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, SYMLINK, Node
from restic_tools.own.explore.page import SHORT_ID, Column, Page, counted, share_text, size_text, time_text

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model


class SnapshotsPage(Page):
    """The snapshots, the newest first."""

    kind = "snapshots"
    columns = (Column("ID", 8), Column("Time", 19), Column("Host", 12), Column("Tags", 14), Column("Paths", 0))
    empty = "no snapshots"

    def __init__(self, model: Model, wanted: SnapshotFilter | None = None) -> None:
        super().__init__(model, "Snapshots")
        self._wanted = wanted or SnapshotFilter()
        self._found: list[FoundSnapshot] = []

    def __len__(self) -> int:
        return len(self._found)

    def load(self, cancel: Cancel) -> None:
        """Read the snapshots; they appear when all are known, as only then their order is."""
        found = []
        for index_id, error in self.model.unread.items():
            self.tell(f"index {index_id.hex()[:SHORT_ID]}", error)
        every = all_snapshots(self.model.repository, lambda name, error: self.tell(f"snapshot {name.hex()[:SHORT_ID]}", error))
        for read, item in enumerate(every, 1):
            cancel.check()
            self.note = f"{counted(read, 'snapshot')} read"
            if self._wanted.matches(item.snapshot):
                found.append(item)
        found.sort(key=lambda item: (item.time_ns, item.id), reverse=True)
        self.note = ""
        self._found = found

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        found = self._found[number]
        snapshot = found.snapshot
        tags = ",".join(map(printable, snapshot.tags))
        paths = ", ".join(map(printable, snapshot.path_list()))
        return [found.short_id, time_text(found.time_ns), printable(snapshot.hostname), tags, paths]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        found = self._found[number]
        snapshot = found.snapshot
        lines = [f"snapshot {found.id.hex()}"]
        user = printable(f"{snapshot.username}@{snapshot.hostname}")
        program = f", by {printable(snapshot.program_version)}" if snapshot.program_version else ""
        lines.append(f"of {user}{program}, tree {(snapshot.tree or 'none')[:SHORT_ID]}")
        parent = f"parent {snapshot.parent[:SHORT_ID]}" if snapshot.parent else "no parent"
        try:
            statistics = snapshot.statistics()
        except ResticFormatError:
            statistics = None
        if statistics is not None:
            parent += (
                f", {counted(statistics.total_files_processed, 'file')}, {size_text(statistics.total_bytes_processed)}, "
                f"added {size_text(statistics.data_added_packed or statistics.data_added)}"
            )
        lines.append(parent)
        return lines

    def found(self, number: int) -> FoundSnapshot:
        """The snapshot of a row."""
        return self._found[number]

    def open(self, number: int) -> Page:
        """Its files."""
        return snapshot_page(self.model, self._found[number])

    def mark(self, number: int) -> Mark:
        """The whole snapshot."""
        return Mark(self._found[number], TOP)

    def raw(self, number: int) -> Page:
        """The snapshot's file."""
        from restic_tools.own.explore.regions import file_page

        return file_page(self.model, FileKind.SNAPSHOT, self._found[number].id)


def snapshot_page(model: Model, found: FoundSnapshot) -> FolderPage:
    """The page of a snapshot's top directory.

    Raises:
        SnapshotNotFound: it has no tree.
    """
    tree = found.snapshot.tree
    if not tree:
        raise SnapshotNotFound(f"snapshot {found.short_id} has no tree")
    return FolderPage(model, found, "/", parse_id(tree))


class FolderPage(Page):
    """The entries of a directory."""

    kind = "directory"
    columns = (Column("Mode", 11), Column("Size", 11, right=True), Column("Modified", 19), Column("Name", 0))
    empty = "an empty directory"

    def __init__(self, model: Model, found: FoundSnapshot, path: str, tree: bytes, select: str | None = None) -> None:
        """With *select* the cursor is put on the entry of that name."""
        super().__init__(model, f"{found.short_id}  {printable(path)}")
        self.snapshot = found
        self.path = path
        self.tree = tree
        self._select = select
        self._rows = FolderList()

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, cancel: Cancel) -> None:
        """Read the directory."""
        files = self.model.files(self.tree, lambda path, error: self.tell(posixpath.join(self.path, path.lstrip("/")), error))
        self._rows.fill(files.list(), cancel)
        if self._select is not None and not self.cursor:
            self.cursor = next((number for number, row in enumerate(self._rows) if row.name == self._select), 0)

    def path_of(self, number: int) -> str:
        """The path of an entry."""
        return posixpath.join(self.path, self._rows[number].name)

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        row = self._rows[number]
        name = printable(row.name) + ("/" if row.type == DIR else "@" if row.type == SYMLINK else "")
        size = size_text(row.size) if row.type == FILE else ""
        return [gomode.mode_string(row.mode), size, time_text(row.mtime_ns), name]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        row = self._rows[number]
        size = f", {counted(row.size, 'byte')}" if row.type == FILE else ""
        return [printable(self.path_of(number)), f"{printable(row.type)}{size}, owner {row.uid}:{row.gid}"]

    def _node(self, number: int) -> Node:
        return self.model.files(self.tree).stat("/" + self._rows[number].name)

    def open(self, number: int) -> Page:
        """The entries of a directory, the blobs of a file, what else there is to say of others."""
        node, path = self._node(number), self.path_of(number)
        assert self.snapshot is not None
        if node.type == DIR:
            return FolderPage(self.model, self.snapshot, path, subtree_of(node))
        return FilePage(self.model, self.snapshot, path, node)

    def view(self, number: int) -> Page | None:
        """The content of a file."""
        from restic_tools.own.explore.content import content_page

        if self._rows[number].type != FILE:
            return None
        return content_page(self.model, self.snapshot, self.path_of(number), self._node(number))

    def raw(self, number: int) -> Page | None:
        """The tree of a directory."""
        from restic_tools.own.explore.regions import blob_page

        if self._rows[number].type != DIR:
            return None
        return blob_page(self.model, BlobType.TREE, subtree_of(self._node(number)))

    def users(self, number: int) -> Page | None:
        """Where else a directory is."""
        from restic_tools.own.explore.searching import UsersPage

        if self._rows[number].type != DIR:
            return None
        return UsersPage(self.model, BlobType.TREE, subtree_of(self._node(number)))

    def mark(self, number: int) -> Mark:
        """The entry."""
        assert self.snapshot is not None
        return Mark(self.snapshot, self.path_of(number))


class FilePage(Page):
    """What a node says, and the blobs of a file."""

    kind = "file"
    columns = (
        Column("Blob", 10),
        Column("Offset", 14, right=True),
        Column("Length", 11, right=True),
        Column("Pack", 8),
        Column("At", 9, right=True),
        Column("Stored", 11, right=True),
        Column("Ratio", 8, right=True),
    )
    empty = "no content"

    def __init__(self, model: Model, found: FoundSnapshot, path: str, node: Node) -> None:
        super().__init__(model, f"{found.short_id}  {printable(path)}")
        self.snapshot = found
        self.path = path
        self.node = node
        self._pieces = PieceList(model.repository, node.blobs)

    def __len__(self) -> int:
        return len(self._pieces)

    def load(self, cancel: Cancel) -> None:
        """Look the blobs up."""
        self.note = self._about()
        self._pieces.fill(cancel)
        if self._pieces.missing:
            self.troubles = self._pieces.missing
            self.trouble = (
                f"{counted(self._pieces.missing, 'blob')} of the file are not in any index: run check, then repair index"
            )

    def _about(self) -> str:
        node = self.node
        if node.type == SYMLINK:
            return f"symlink to {printable(node.target)}"
        owner = printable(f"{node.user or node.uid}:{node.group or node.gid}")
        size = f"{counted(node.size, 'byte')}, {counted(len(node.blobs), 'blob')}"
        return f"{printable(node.type)}, {size}, owner {owner}, inode {node.inode}"

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        piece = self._pieces[number]
        offset = "" if piece.offset is None else f"{piece.offset:,}"
        if not piece.copies or piece.length is None:
            return [piece.id.hex()[:SHORT_ID], offset, "", "missing", "", "", ""]
        copy = piece.copies[0]
        several = "+" if len(piece.copies) > 1 else ""
        return [
            piece.id.hex()[:SHORT_ID] + several,
            offset,
            size_text(piece.length),
            copy.pack.hex()[:SHORT_ID],
            str(copy.offset),
            size_text(copy.length),
            share_text(copy.length, piece.length),
        ]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        piece = self._pieces[number]
        lines = [f"blob {piece.id.hex()}"]
        lines += [f"pack {copy.pack.hex()}" for copy in piece.copies[:2]]
        if not piece.copies:
            lines.append("not in any index: run check, then repair index")
        return lines

    def open(self, number: int) -> Page | None:
        """The pack that a blob is in."""
        from restic_tools.own.explore.packs import PackPage

        piece = self._pieces[number]
        if not piece.copies:
            return None
        return PackPage(self.model, piece.copies[0].pack, piece.id)

    def view(self, number: int) -> Page:
        """The content of the file."""
        del number
        from restic_tools.own.explore.content import content_page

        return content_page(self.model, self.snapshot, self.path, self.node)

    def raw(self, number: int) -> Page:
        """The blob."""
        from restic_tools.own.explore.regions import blob_page

        return blob_page(self.model, BlobType.DATA, self._pieces[number].id)

    def users(self, number: int) -> Page:
        """Which files have the blob."""
        from restic_tools.own.explore.searching import UsersPage

        return UsersPage(self.model, BlobType.DATA, self._pieces[number].id)

    def mark(self, number: int) -> Mark:
        """The file."""
        del number
        assert self.snapshot is not None
        return Mark(self.snapshot, self.path)
