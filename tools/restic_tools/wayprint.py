"""``inspect SNAPSHOT:PATH``: the way of a file through a repository, for people and as messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from restic_format.words import printable
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
from restic_tools.render import Table, bytes_text

if TYPE_CHECKING:
    from restic_format.inspect.places import Copy, Stored
    from restic_format.inspect.sharing import Sharing
    from restic_format.inspect.way import Way, WayBlob
    from restic_spec.regions import Document, Finding, Region

FIRST = 20
"""Blobs, entries, files and findings that are shown unless all are asked for."""
MOST_FINDINGS = 1000
"""Findings that are kept for the end of what people read; the others are counted."""
LONGEST_VALUE = 48
_SHORT = 8
"""Digits of an id that are shown to people."""


class WayPrinter:
    """Shows ways; with *every* nothing is folded. `errors` counts what is wrong in all of them."""

    def __init__(self, ctx: Context, *, every: bool) -> None:
        self._ctx = ctx
        self._out = ctx.out
        self._json = ctx.options.json
        self._first = None if every else FIRST
        self._findings: list[Finding] = []
        self._untold = 0
        self.errors = 0
        self.warnings = 0

    def show(self, way: Way, sharing: Sharing | None) -> None:
        """Show one way."""
        self.errors = self.warnings = self._untold = 0
        self._findings = []
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
            self._out.json(FindingMessage("finding", *finding))
        elif len(self._findings) < MOST_FINDINGS:
            self._findings.append(finding)
        else:
            self._untold += 1

    def _tell_findings(self) -> None:
        self._out.line()
        if not self._findings:
            self._out.line("nothing is wrong")
            return
        self._heading(f"{self.errors} errors, {self.warnings} warnings")
        shown = self._findings[: self._first]
        for finding in shown:
            self._out.line(f"{finding.severity}: {finding.region} [{finding.clause}]: {finding.what}")
        self._more(len(self._findings) - len(shown) + self._untold, "findings")

    # For people

    def _heading(self, text: str) -> None:
        if self._out.coloured:
            self._out.write(f"\x1b[1m{text}\x1b[0m\n".encode())
        else:
            self._out.line(text)

    def _more(self, count: int, noun: str) -> None:
        if count > 0:
            self._out.line(f"… {count:,} more {noun} (--all)")

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
            text += f": {amounts.blobs:,} blobs, {bytes_text(amounts.length)}"
            text += f", stored in {bytes_text(amounts.stored)}{_percent(amounts.stored, amounts.length)}"
        self._out.line(text)
        if not way.read:
            self._out.line("its blobs are not read, opened and hashed, for they are large: --read-data does so")
        self._out.line()
        self._heading("Trees on the way")
        rows = ([printable(step.path), *_stored_cells(step.stored)] for step in way.trees)
        self._table(["Directory", "Tree", "Size", "Stored", "Pack", "At", "Index", "State"], rows, 0)
        if way.node is None:
            return
        self._out.line()
        self._heading(f"Node: entry {way.node.number} of tree {way.node.tree.hex()[:_SHORT]}")
        rows = (list(row) for row in _member_rows(_members(way.node.document)))
        self._table(["Member", "Value", "Clause", "Meaning"], rows, 3)

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
        for finding in sharing.findings:
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


def _members(document: Document) -> list[MemberMessage]:
    return list(_members_of("", document.regions()))


def _members_of(above: str, regions: Iterator[Region]) -> Iterator[MemberMessage]:
    from restic_format.inspect.compare import is_between

    for region in regions:
        if is_between(region):
            continue
        name = region.name.removeprefix(above).removeprefix(".")
        value = region.value
        shown = value.hex() if isinstance(value, bytes) else value
        message = MemberMessage(name=name, clause=region.clause, meaning=region.meaning, value=shown)
        if name != "content" or above:
            message.members = list(_members_of(region.name, region.regions()))
        yield message


def _member_rows(members: Sequence[MemberMessage], depth: int = 0) -> Iterator[tuple[str, str, str, str]]:
    for member in members:
        value = "" if member.value is None else str(member.value)
        if isinstance(member.value, bool):
            value = value.lower()
        if len(value) > LONGEST_VALUE:
            value = f"{value[: LONGEST_VALUE - 1]}…"
        yield "  " * depth + printable(member.name), printable(value), member.clause, member.meaning
        yield from _member_rows(member.members, depth + 1)


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
        message.node = WayNodeMessage(way.node.tree.hex(), way.node.number, _members(way.node.document))
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
