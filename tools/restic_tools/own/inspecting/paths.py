"""``inspect SNAPSHOT:PATH``: the way of a file through a repository, for people and as messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from restic_format.errors import ResticFormatError
from restic_format.words import printable
from restic_spec.gomode import mode_string
from restic_spec.tree import DIR, FILE, Node
from restic_tools.context import Context
from restic_tools.gotext import snapshot_line
from restic_tools.messages.inspect_way import (
    BlobMessage,
    ContentMessage,
    CopyMessage,
    EntryMessage,
    FindingMessage,
    MemberMessage,
    ShareMessage,
    SharingMessage,
    WayMessage,
    WayNodeMessage,
    WaySummary,
    WayTreeMessage,
)
from restic_tools.own.inspecting.values import columns, cut
from restic_tools.render import Table, bytes_text

if TYPE_CHECKING:
    from restic_format.inspect.access import Access
    from restic_format.inspect.places import Copy, Stored
    from restic_format.inspect.sharing import Sharing
    from restic_format.inspect.target import Target
    from restic_format.inspect.way import Way, WayBlob
    from restic_format.repository import Repository
    from restic_format.snapshots import FoundSnapshot
    from restic_format.work import Advance
    from restic_spec.regions import Document, Finding, Region

FIRST = 20
"""Blobs, entries, files and findings that are shown unless all are asked for."""
MOST_FINDINGS = 1000
"""Findings that are kept for the end of what people read; the others are counted."""
MOST_MEMBERS = 10_000
"""Members of a node that are told of: an ordinary one has less than twenty, and a few for each extended attribute."""
MOST_LINES = 100
"""Members that people see unless all are asked for."""
LONGEST_VALUE = 48
"""Characters of a value that people see."""
_SHORT = 8
"""Digits of an id that are shown to people."""


def open_way(ctx: Context, access: Access, target: Target, *, read_data: bool = False) -> Way:
    """The way to the path in a snapshot that *target* names.

    Raises:
        SnapshotNotFound: there is no such snapshot or path.
        ResticFormatError: the repository cannot be opened, or fails.
    """
    from restic_format.inspect.way import find_way
    from restic_format.snapshots import find_snapshot
    from restic_format.work import Cancel

    repository = access.indexed(lambda *_: None)  # the way tells what is wrong with index files
    found, _ = find_snapshot(repository, target.name)
    cancel = Cancel(health=ctx.interrupt.check)
    return find_way(repository, found, target.path, read=True if read_data else None, cancel=cancel)


def show_path(ctx: Context, access: Access, target: Target, *, everything: bool, shared: bool, read_data: bool) -> bool:
    """Show the way to a path in a snapshot; whether nothing is wrong. Raises as `open_way`."""
    way = open_way(ctx, access, target, read_data=read_data)
    printer = WayPrinter(ctx, every=everything)
    printer.show(way, _sharing(ctx, way, printer) if shared else None)
    return not printer.errors


def _sharing(ctx: Context, way: Way, printer: WayPrinter) -> Sharing:
    from restic_format.inspect.sharing import find_sharing
    from restic_format.work import Cancel

    every = sorted(_snapshots_of(way.repository, printer), key=lambda found: (found.time_ns, found.id))
    with ExitStack() as stack:
        counter = stack.enter_context(ctx.counter("snapshots", len(every))) if ctx.out.stdout_is_terminal else None

        def progress(event: Advance) -> None:
            if counter is not None:
                counter.done = event.done

        return find_sharing(way, every, progress=progress, cancel=Cancel(health=ctx.interrupt.check))


def _snapshots_of(repository: Repository, printer: WayPrinter) -> Iterator[FoundSnapshot]:
    from restic_format.snapshots import all_snapshots
    from restic_spec.regions import Finding

    def damaged(snapshot_id: bytes, error: ResticFormatError) -> None:
        what = f"snapshot {snapshot_id.hex()} cannot be looked at, so that others may share more: {error}"
        printer.unread.append(Finding("shared", error.clause or "SNAP-1", "error", what))

    yield from all_snapshots(repository, damaged)


class WayPrinter:
    """Shows ways; with *every* nothing is left out. ``errors`` says how much is wrong with the last one."""

    def __init__(self, ctx: Context, *, every: bool) -> None:
        self._ctx = ctx
        self._out = ctx.out
        self._json = ctx.options.json
        self._first = None if every else FIRST
        self._findings: list[Finding] = []
        self._all_read = True
        self.errors = 0
        self.warnings = 0
        self.unread: list[Finding] = []
        """What could not be looked at for who shares something."""

    def show(self, way: Way, sharing: Sharing | None) -> None:
        """Show one way."""
        self.errors = self.warnings = 0
        self._findings = []
        self._all_read = way.read
        if self._json:
            self._out.json(_message(way))
        else:
            self._head(way)
        for finding in way.findings:
            self._found(finding)
        if way.file is not None:
            self._blobs(way)
        elif way.subtree is not None:
            self._entries(way)
        if sharing is not None:
            self._sharing(way, sharing)
        if self._json:
            self._out.json(WaySummary("summary", self.errors, self.warnings))
        else:
            self._tell_findings()

    # What is wrong

    def _found(self, finding: Finding) -> None:
        if finding.severity == "error":
            self.errors += 1
        else:
            self.warnings += 1
        if self._json:
            severity: Literal["error", "warning"] = "warning" if finding.severity == "warning" else "error"
            self._out.json(FindingMessage("finding", finding.region, finding.clause, severity, finding.what))
        elif len(self._findings) < MOST_FINDINGS:
            self._findings.append(finding)

    def _tell_findings(self) -> None:
        self._out.line()
        count = self.errors + self.warnings
        if not count:
            self._out.line(
                "nothing is wrong" if self._all_read else "nothing is wrong as far as can be told without --read-data"
            )
            return
        self._heading(f"{count:,} {'thing is' if count == 1 else 'things are'} wrong:")
        shown = self._findings[: self._first]
        for finding in shown:
            warning = "" if finding.severity == "error" else f" ({finding.severity})"
            self._out.line(f"  {printable(finding.region)}: {finding.what} [{finding.clause}]{warning}")
        if count > len(shown):
            self._out.line(f"  and {count - len(shown):,} more" + ("" if self._first is None else " (--all)"))

    # For people

    def _heading(self, text: str) -> None:
        if self._out.coloured:
            self._out.write(f"\x1b[1m{text}\x1b[0m\n".encode())
        else:
            self._out.line(text)

    def _more(self, count: int, noun: str) -> None:
        if count > 0:
            self._out.line(f"  … {count:,} more {noun} (--all)")

    def _table(self, headers: Sequence[str], rows: Iterator[list[str]], fold: int) -> None:
        table = Table(headers, width=self._out.width if self._out.stdout_is_terminal else None, fold=fold)
        for row in rows:
            table.add(row)
        for line in table.lines():
            self._out.line(line)

    def _head(self, way: Way) -> None:
        self._out.line(snapshot_line(way.found))
        node = None if way.node is None else way.node.node
        kind = "directory" if way.subtree is not None else "item" if node is None else node.type
        text = f"{kind} {printable(way.path)}"
        if way.amounts is not None:
            amounts = way.amounts
            text += f": {_blobs_text(amounts.blobs)}, {bytes_text(amounts.length)}"
            text += f", stored in {bytes_text(amounts.stored)}{_percent(amounts.stored, amounts.length)}"
        self._out.line(text)
        if not way.read:
            self._out.line("its blobs are not opened and hashed here, as they are large: --read-data does that")
        self._out.line()
        self._heading("Trees on the way")
        rows = ([printable(step.path), *_stored_cells(step.stored)] for step in way.trees)
        self._table(["Directory", "Tree", "Size", "Stored", "Pack", "At", "Index", "State"], rows, 0)
        if way.node is None:
            return
        self._out.line()
        self._heading(f"Node: entry {way.node.number} of tree {way.node.tree.hex()[:_SHORT]}")
        blobs = "null" if way.amounts is None else _blobs_text(way.amounts.blobs)
        members = _Members(way.node.document)
        lines = list(_member_rows(members.members, blobs))
        shown = lines[: None if self._first is None else MOST_LINES]
        self._members(shown)
        if members.left_out:
            self._out.line(f"  … more than {MOST_MEMBERS:,} members in all")
        else:
            self._more(len(lines) - len(shown), "members")

    def _members(self, rows: list[tuple[str, str, str, str]]) -> None:
        """The members of the node, a line each: what there is no room for of their meanings is left out."""
        width = self._out.width if self._out.stdout_is_terminal else None
        names, values, clauses = (max((columns(row[column]) for row in rows), default=0) for column in range(3))
        values = min(values, LONGEST_VALUE)
        for name, value, clause, meaning in rows:
            line = f"{_padded(name, names)}  {_padded(value, values)}  {_padded(clause, clauses)}  {meaning}".rstrip()
            self._out.line(line if width is None else cut(line, width))

    def _blobs(self, way: Way) -> None:
        assert way.amounts is not None
        lines = None if self._json else _BlobLines(way)
        if lines is not None and way.amounts.blobs:
            self._out.line()
            self._heading("Blobs")
            self._out.line(lines.header)
        for blob in way.blobs():
            self._ctx.interrupt.check()
            for finding in blob.stored.findings:
                self._found(finding)
            if lines is None:
                self._out.json(_blob_message(blob))
            elif self._first is None or blob.number < self._first:
                for line in lines.of(blob):
                    self._out.line(line)
        if lines is not None and self._first is not None:
            self._more(way.amounts.blobs - self._first, "blobs")

    def _entries(self, way: Way) -> None:
        count = 0
        for node in way.entries(self._found):
            self._ctx.interrupt.check()
            count += 1
            if self._json:
                self._out.json(_entry_message(node))
                continue
            if count == 1:
                self._out.line()
                self._heading("Entries")
            if self._first is None or count <= self._first:
                self._out.line(_entry_line(node))
        if not self._json and self._first is not None:
            self._more(count - self._first, "entries")

    def _sharing(self, way: Way, sharing: Sharing) -> None:
        for finding in (*self.unread, *sharing.findings):
            self._found(finding)
        if self._json:
            self._out.json(SharingMessage("sharing", sharing.stored, sharing.unique, sharing.freed, sharing.left_out))
            for share in sharing.shares:
                ids = [snapshot.hex() for snapshot in share.snapshots]
                message = ShareMessage(
                    message_type="share", path=share.path, snapshots=ids, blobs=share.blobs, length=share.length
                )
                self._out.json(message)
            return
        self._out.line()
        self._heading("Shared with")
        shown = sharing.shares[: self._first]
        if not shown:
            self._out.line("nothing else in the repository")
        elif way.file is None:
            self._table(["Snapshots", "Path"], ([_snapshots(share.snapshots), printable(share.path)] for share in shown), 1)
        else:
            rows = (
                [str(share.blobs), bytes_text(share.length), _snapshots(share.snapshots), printable(share.path)]
                for share in shown
            )
            self._table(["Blobs", "Bytes", "Snapshots", "Path"], rows, 3)
        self._more(len(sharing.shares) - len(shown) + sharing.left_out, "places")
        if way.file is not None:
            self._out.line(
                f"stored {bytes_text(sharing.stored)}: {bytes_text(sharing.unique)} in no other file of this snapshot, "
                f"{bytes_text(sharing.freed)} in no other file of any snapshot"
            )


class _BlobLines:
    """Lines of blobs, in columns that are wide enough for all."""

    def __init__(self, way: Way) -> None:
        assert way.amounts is not None
        self._number = max(len(str(way.amounts.blobs)), 2)
        self._offset = max(len(str(way.amounts.length)), 6)
        self.header = self._line("No", "Offset", "Length", "Stored", "Ratio", "Blob", "Pack", "At", "Index")

    def _line(self, *cells: str) -> str:
        widths = (self._number, self._offset, 8, 8, 5, -_SHORT, -_SHORT, 10, -_SHORT)
        texts = [cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, widths, strict=False)]
        return " ".join([*texts, *cells[len(widths) :]]).rstrip()

    def of(self, blob: WayBlob) -> Iterator[str]:
        """The line of a blob, and one for each further copy."""
        offset = "?" if blob.offset is None else str(blob.offset)
        length = "?" if blob.stored.length is None else str(blob.stored.length)
        first = [str(blob.number), offset, length]
        name = blob.stored.id.hex()[:_SHORT]
        if not blob.stored.copies:
            yield self._line(*first, "", "", name, "missing")
        for copy in blob.stored.copies:
            place = copy.place
            ratio = _percent(place.length, blob.stored.length or 0).strip(" ()")
            cells = [str(place.length), ratio, name, place.pack.hex()[:_SHORT], str(place.offset), _indexes(copy)]
            state = _state(copy)
            yield self._line(*first, *cells, *([] if state in ("intact", "not read") else [state]))
            first, name = ["", "", ""], ""


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _blobs_text(count: int) -> str:
    return f"{count:,} blob{'' if count == 1 else 's'}"


def _percent(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.0f}%)" if whole else ""


def _state(copy: Copy) -> str:
    if copy.pack_size is None:
        return "no pack"
    return "not read" if copy.intact is None else "intact" if copy.intact else "broken"


def _indexes(copy: Copy) -> str:
    more = len(copy.indexes) - 1
    return (copy.indexes[0].hex()[:_SHORT] if copy.indexes else "none") + (f" +{more}" if more > 0 else "")


def _stored_cells(stored: Stored) -> list[str]:
    size = "" if stored.length is None else str(stored.length)
    copies = stored.copies
    columns: list[list[str]] = [
        [str(copy.place.length) for copy in copies],
        [copy.place.pack.hex()[:_SHORT] for copy in copies],
        [str(copy.place.offset) for copy in copies],
        [_indexes(copy) for copy in copies],
        [_state(copy) for copy in copies] or ["missing"],
    ]
    return [stored.id.hex()[:_SHORT], size, *("\n".join(column) for column in columns)]


def _snapshots(ids: Sequence[bytes]) -> str:
    shown = " ".join(snapshot.hex()[:_SHORT] for snapshot in ids[:2])
    return shown + (f" +{len(ids) - 2}" if len(ids) > 2 else "")


def _entry_line(node: Node) -> str:
    if node.type == DIR:
        facts = f"tree {(node.subtree or 'none')[:_SHORT]}"
    elif node.type == FILE:
        facts = f"{bytes_text(node.size)} in {len(node.blobs):,}"
    else:
        facts = ""
    return f"{node.type:8}  {facts:>22}  {printable(node.name)}"


# The node's document


class _Members:
    """The members of the node, as many as `MOST_MEMBERS`."""

    def __init__(self, document: Document) -> None:
        self._room = MOST_MEMBERS
        self.members = list(self._of("", document.regions()))

    @property
    def left_out(self) -> bool:
        """Whether there are more."""
        return self._room < 0

    def _of(self, above: str, regions: Iterator[Region]) -> Iterator[MemberMessage]:
        from restic_spec.members import Between

        for region in regions:
            if isinstance(region, Between):
                continue
            self._room -= 1
            if self._room < 0:
                return
            name = region.name.removeprefix(above).removeprefix(".")
            value = region.value
            shown = value.hex() if isinstance(value, bytes) else value
            message = MemberMessage(name=name, clause=region.clause, meaning=region.meaning, value=shown)
            if name != "content" or above:
                message.members = list(self._of(region.name, region.regions()))
            yield message


def _member_rows(members: Sequence[MemberMessage], content: str, depth: int = 0) -> Iterator[tuple[str, str, str, str]]:
    """Lines of members; *content* is what is said of the node's."""
    for member in members:
        value = "" if member.value is None else str(member.value)
        if member.name == "content" and not depth:
            value = content
        if isinstance(member.value, bool):
            value = value.lower()
        elif member.name == "mode" and isinstance(member.value, int):
            value += f" {mode_string(member.value)}"
        if len(value) > LONGEST_VALUE:
            value = f"{value[: LONGEST_VALUE - 1]}…"
        yield "  " * depth + printable(member.name), printable(value), member.clause, member.meaning
        yield from _member_rows(member.members, content, depth + 1)


# Messages


def _copies(stored: Stored) -> list[CopyMessage]:
    return [
        CopyMessage(
            pack=copy.place.pack.hex(),
            offset=copy.place.offset,
            length=copy.place.length,
            uncompressed_length=copy.place.uncompressed_length,
            indexes=[index.hex() for index in copy.indexes],
            pack_size=copy.pack_size,
            intact=copy.intact,
        )
        for copy in stored.copies
    ]


def _message(way: Way) -> WayMessage:
    message = WayMessage(
        message_type="way",
        snapshot=way.found.id.hex(),
        time=way.found.snapshot.time,
        path=way.path,
        trees=[
            WayTreeMessage(
                path=step.path,
                id=step.stored.id.hex(),
                entry=step.entry,
                length=step.stored.length,
                copies=_copies(step.stored),
            )
            for step in way.trees
        ],
        read=way.read,
    )
    if way.node is not None:
        members = _Members(way.node.document)
        message.node = WayNodeMessage(way.node.tree.hex(), way.node.number, members.members, members.left_out)
    if way.amounts is not None:
        message.content = ContentMessage(*way.amounts)
    return message


def _blob_message(blob: WayBlob) -> BlobMessage:
    return BlobMessage(
        message_type="blob",
        number=blob.number,
        id=blob.stored.id.hex(),
        offset=blob.offset,
        length=blob.stored.length,
        copies=_copies(blob.stored),
    )


def _entry_message(node: Node) -> EntryMessage:
    return EntryMessage(
        message_type="entry",
        name=node.name,
        type=node.type,
        size=node.size,
        blobs=len(node.blobs) if node.type == FILE else 0,
        subtree=node.subtree,
    )
