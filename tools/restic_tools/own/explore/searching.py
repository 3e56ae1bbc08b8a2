"""Pages of what a search has found: files by name, anything by its id, and where a blob is used."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import SnapshotNotFound
from restic_format.explore.browse import FolderList, Mark, Named, named_by
from restic_format.explore.search import Match, ObjectSearch, PatternSearch
from restic_format.filter import AnyPattern
from restic_format.snapshots import FoundSnapshot, all_snapshots, subtree_of
from restic_format.words import printable
from restic_spec.ids import parse_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node
from restic_tools.own.explore.page import MOST_ROWS, SHORT_ID, Column, Page, counted, size_text, time_text

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model

_WILD = "*?[\\/"
MORE = f"only the first {MOST_ROWS:,} are shown"


class NamePattern:
    """What a person searches: a pattern as `find` has it, or else any part of a name, in capitals or not.

    Unlike there, what is below a directory that fits does not fit for that.

    Raises:
        InvalidPattern: it is malformed.
    """

    def __init__(self, text: str) -> None:
        wild = any(char in text for char in _WILD)
        self.pattern = AnyPattern([text]) if wild else AnyPattern([f"*{text}*"], ignore_case=True)
        self._whole = "/" in text

    def fits(self, path: str) -> bool:
        """Whether a path that `pattern` matches is meant."""
        return self._whole or self.pattern.match(path[path.rindex("/") :])


def open_path(model: Model, found: FoundSnapshot, path: str) -> Page:
    """The page of what a snapshot has at a path.

    Raises:
        SnapshotNotFound: there is nothing of that path.
        ResticFormatError: a tree on the way cannot be read.
    """
    from restic_tools.own.explore.snapshots import FilePage, FolderPage

    node = node_at(model, found, path)
    if node.type == DIR:
        return FolderPage(model, found, path, subtree_of(node))
    return FilePage(model, found, path, node)


def node_at(model: Model, found: FoundSnapshot, path: str) -> Node:
    """The node at a path of a snapshot. Raises as `open_path`."""
    tree = found.snapshot.tree
    if not tree:
        raise SnapshotNotFound(f"snapshot {found.short_id} has no tree")
    return model.files(parse_id(tree)).stat(path)


class PatternPage(Page):
    """What fits a name or a pattern in a snapshot."""

    kind = "found"
    columns = (Column("Size", 11, right=True), Column("Modified", 19), Column("Path", 0))
    empty = "nothing found"

    def __init__(self, model: Model, found: FoundSnapshot, text: str) -> None:
        super().__init__(model, f"{found.short_id}  find {printable(text)}")
        self.snapshot: FoundSnapshot = found
        self._wanted = NamePattern(text)
        self._rows = FolderList()

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, cancel: Cancel) -> None:
        """Search."""
        tree = self.snapshot.snapshot.tree
        if not tree:
            raise SnapshotNotFound(f"snapshot {self.snapshot.short_id} has no tree")

        def add(match: Match) -> Match:
            if self._wanted.fits(match.path):
                self._rows.add(match.node, match.path)
            return match

        search = PatternSearch(self.model.repository, self._wanted.pattern, add, fault=self.tell, cancel=cancel)
        for _ in search.matches(parse_id(tree)):
            if len(self._rows) >= MOST_ROWS:
                self.note = MORE
                return
            cancel.check()

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        row = self._rows[number]
        size = size_text(row.size) if row.type == FILE else ""
        return [size, time_text(row.mtime_ns), printable(row.name) + ("/" if row.type == DIR else "")]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        return [printable(self._rows[number].name)]

    def open(self, number: int) -> Page:
        """The directory, or the file."""
        return open_path(self.model, self.snapshot, self._rows[number].name)

    def folder(self, number: int) -> Page:
        """The directory that it is in."""
        return folder_of(self.model, self.snapshot, self._rows[number].name)

    def view(self, number: int) -> Page | None:
        """The content of a file."""
        from restic_tools.own.explore.content import content_page

        row = self._rows[number]
        if row.type != FILE:
            return None
        return content_page(self.model, self.snapshot, row.name, node_at(self.model, self.snapshot, row.name))

    def mark(self, number: int) -> Mark:
        """The file or directory."""
        return Mark(self.snapshot, self._rows[number].name)


def folder_of(model: Model, found: FoundSnapshot, path: str) -> Page:
    """The directory that something is in, with the cursor on it. Raises as `open_path`."""
    from restic_tools.own.explore.snapshots import FolderPage

    above, name = posixpath.split(path.rstrip("/") or "/")
    return FolderPage(model, found, above or "/", subtree_of(node_at(model, found, above)), select=name)


class NamedPage(Page):
    """What has an id that begins with some digits."""

    kind = "IDs"
    columns = (Column("Kind", 10), Column("ID", 0), Column("Size", 12, right=True))
    empty = "nothing has such an ID"

    def __init__(self, model: Model, prefix: str) -> None:
        super().__init__(model, f"ID {printable(prefix)}")
        self._prefix = prefix
        self._rows: list[Named] = []

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, cancel: Cancel) -> None:
        """Search."""
        for named in named_by(self.model.repository, self._prefix, cancel):
            if len(self._rows) >= MOST_ROWS:
                self.note = MORE
                return
            self._rows.append(named)

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        named = self._rows[number]
        return [kind_text(named.kind), named.id.hex(), size_text(named.size)]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        named = self._rows[number]
        return [f"{kind_text(named.kind)} {named.id.hex()}", counted(named.size, "byte")]

    def open(self, number: int) -> Page:
        """A snapshot's files, a pack's blobs, a blob in its pack, other files byte by byte."""
        from restic_tools.own.explore.packs import PackPage
        from restic_tools.own.explore.snapshots import snapshot_page

        named = self._rows[number]
        repository = self.model.repository
        if named.kind is FileKind.SNAPSHOT:
            return snapshot_page(self.model, FoundSnapshot(named.id, repository.load_snapshot(named.id)))
        if named.kind is FileKind.PACK:
            return PackPage(self.model, named.id)
        if isinstance(named.kind, BlobType):
            where = repository.index.lookup(named.kind, named.id)
            if where is not None:
                return PackPage(self.model, where.pack, named.id)
        return self.raw(number)

    def raw(self, number: int) -> Page:
        """The file or blob, byte by byte."""
        from restic_tools.own.explore.regions import blob_page, file_page

        named = self._rows[number]
        if isinstance(named.kind, BlobType):
            return blob_page(self.model, named.kind, named.id)
        return file_page(self.model, named.kind, named.id)

    def users(self, number: int) -> Page | None:
        """Where snapshots have a blob."""
        named = self._rows[number]
        return UsersPage(self.model, named.kind, named.id) if isinstance(named.kind, BlobType) else None


def kind_text(kind: FileKind | BlobType) -> str:
    """What an id names, in a word or two."""
    if isinstance(kind, BlobType):
        return f"{kind.value} blob"
    return {FileKind.SNAPSHOT: "snapshot", FileKind.KEY: "key", FileKind.LOCK: "lock", FileKind.INDEX: "index"}.get(
        kind, "pack"
    )


class UsersPage(Page):
    """Which files or directories of which snapshots have a blob."""

    kind = "users"
    columns = (Column("Snapshot", 8), Column("Time", 19), Column("Path", 0))
    empty = "no snapshot has it"

    def __init__(self, model: Model, kind: BlobType, blob: bytes) -> None:
        super().__init__(model, f"Who has {kind.value} blob {blob.hex()[:SHORT_ID]}")
        self._type = kind
        self._blob = blob
        self._rows: list[tuple[FoundSnapshot, str]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, cancel: Cancel) -> None:
        """Search all snapshots, the newest first."""
        repository = self.model.repository
        found = []
        for item in all_snapshots(repository, lambda name, error: self.tell(f"snapshot {name.hex()[:SHORT_ID]}", error)):
            cancel.check()
            found.append(item)
        found.sort(key=lambda item: (item.time_ns, item.id), reverse=True)
        wanted = [self._blob.hex()]
        search = ObjectSearch(
            repository,
            blobs=wanted if self._type is BlobType.DATA else (),
            trees=wanted if self._type is BlobType.TREE else (),
            fault=self.tell,
            cancel=cancel,
        )
        for done, item in enumerate(found):
            self.note = f"{done:,} of {len(found):,} snapshots searched"
            if not item.snapshot.tree:
                continue
            for place in search.places(parse_id(item.snapshot.tree)):
                if len(self._rows) >= MOST_ROWS:
                    self.note = MORE
                    return
                self._rows.append((item, place.path))
        self.note = f"{counted(len(found), 'snapshot')} searched"

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        found, path = self._rows[number]
        return [found.short_id, time_text(found.time_ns), printable(path)]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        return [printable(self._rows[number][1])]

    def open(self, number: int) -> Page:
        """The file or directory."""
        return open_path(self.model, *self._rows[number])

    def folder(self, number: int) -> Page:
        """The directory that it is in."""
        return folder_of(self.model, *self._rows[number])

    def mark(self, number: int) -> Mark:
        """The file or directory."""
        return Mark(*self._rows[number])
