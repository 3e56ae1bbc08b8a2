"""Pages of what is stored, byte by byte: the regions of an object as its declaration explains them, and what is inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from restic_format.errors import BlobMissing, UsageError
from restic_format.inspect.access import Access
from restic_format.inspect.finding import Found
from restic_format.inspect.objects import Inspected, Inspector
from restic_format.inspect.target import OBJECT_KINDS, ObjectKind
from restic_format.words import printable
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.regions import Document, Finding, Region, Value
from restic_tools.own.explore.content import HexPage, hex_text, text_of
from restic_tools.own.explore.page import MOST_ROWS, SHORT_ID, Column, Page, counted

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model

_MOST_FINDINGS = 10_000
_AT_ONCE = 20
"""Findings that are seen in the list at once; others when all are known."""
_KEPT = 1000
"""Rows of which the texts are kept."""
_BYTES = 1000
"""Bytes of a file that count like a row, see `Page.held`."""
_HEX = 16
_SECRET = "the master key is not shown here: `cat masterkey` prints it"

_BLOB_KINDS = {BlobType.DATA: ObjectKind.BLOB, BlobType.TREE: ObjectKind.TREE}


def file_page(model: Model, kind: FileKind, file_id: bytes) -> Page:
    """A file of the repository. Raises what the storage raises."""
    return _object_page(model, Found(OBJECT_KINDS[kind], file_id))


def blob_page(model: Model, kind: BlobType, blob: bytes, pack: bytes | None = None) -> Page:
    """A blob as it stands in a pack, in any or in this one.

    Raises:
        BlobMissing: no index knows it there.
        StorageError: what the storage raises.
    """
    copies = model.repository.index.lookup_all(kind, blob)
    copies.sort(key=lambda copy: copy.pack != pack)
    if not copies or pack not in (None, copies[0].pack):
        raise BlobMissing.of(kind, blob.hex())
    return _object_page(model, Found(_BLOB_KINDS[kind], blob, tuple(copies)))


def _object_page(model: Model, found: Found) -> Page:
    inspected = Inspector(Access.of(model.repository)).object(found)
    title = f"{found.kind.value} {found.id.hex()[:SHORT_ID]}".strip()
    page = RegionsPage(model, title, inspected, inspected.document, None, _Findings())
    first = next(inspected.document.regions(), None)
    if first is None or first.length < inspected.size or next(first.regions(), None) is None:
        return page
    # Nothing is to be seen of one region that is the whole.
    return RegionsPage(model, title, inspected, inspected.document, first, page.findings, first.name)


class _Findings:
    """The names of regions with something wrong in them, as far as that is known."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        """With what is wrong, in a line."""
        self._above: set[str] = set()

    def add(self, name: str, what: str) -> None:
        """Add one."""
        self._names.setdefault(name, what)
        for position, char in enumerate(name):
            if char in ".[":
                self._above.add(name[:position])

    def has(self, name: str) -> bool:
        """Whether something is wrong in this region, or in a part of it."""
        return name in self._names or name in self._above

    def of(self, name: str) -> str:
        """What is wrong with this region itself; empty for nothing."""
        return self._names.get(name, "")


def _findings_of(part: Region | Document, cancel: Cancel) -> Iterator[Finding]:
    cancel.check()
    yield from part.findings
    for region in part.regions():
        yield from _findings_of(region, cancel)
    if isinstance(part, Region) and (content := part.content) is not None:
        yield from _findings_of(content, cancel)


class RegionsPage(Page):
    """The regions of a document, or the parts of one region, with what is inside of them."""

    kind = "bytes"
    columns = (Column("Offset", 10, right=True), Column("Length", 10, right=True), Column("Name", 26), Column("Value", 0))
    empty = "no bytes"

    def __init__(
        self,
        model: Model,
        title: str,
        inspected: Inspected,
        document: Document,
        region: Region | None,
        findings: _Findings,
        above: str = "",
    ) -> None:
        """The regions of *document*, or with *region* its parts. *above* is the region whose name they begin with."""
        super().__init__(model, title)
        self._above = above
        self._inspected = inspected
        self._document = document
        self._region = region
        self.findings = findings
        self._rows: list[Region | Document] = []
        """What is inside of the region stands behind its parts."""
        self._made: dict[int, tuple[Sequence[str], Sequence[str]]] = {}
        """Cells and details of the rows that were looked at last."""
        self._known = 0
        """Changes with what is known of all rows."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def held(self) -> int:
        """Rows that are in memory, and bytes that are worth as many."""
        return len(self._rows) + (self._document.size // _BYTES if self._document.form == "file" else 0)

    def _parts(self) -> Iterator[Region | Document]:
        region = self._region
        if region is None:
            yield from self._document.regions()
            return
        yield from region.regions()
        content = region.content
        if content is not None:
            yield content

    def load(self, cancel: Cancel) -> None:
        """List the regions; of the whole object also find what is wrong."""
        self.note = self._about()
        for part in self._parts():
            cancel.check()
            if len(self._rows) >= MOST_ROWS:
                self.note = f"only the first {MOST_ROWS:,} parts are shown"
                break
            self._rows.append(part)
        if not self._whole:
            return
        for number, finding in enumerate(self._all_findings(cancel)):
            cancel.check()
            if number == _MOST_FINDINGS:
                break
            self.findings.add(finding.region, f"{finding.what} [{finding.clause}]")
            if number < _AT_ONCE:
                self._renew()
            self.tell(finding.region, UsageError(f"{finding.what} [{finding.clause}]"))
        self._renew()

    def _renew(self) -> None:
        """Let the texts be made anew: more is known than when they were made."""
        self._known += 1
        self._made.clear()

    def _all_findings(self, cancel: Cancel) -> Iterator[Finding]:
        """What is wrong with the object: as `Inspected.findings`, but so that it can be cancelled in a large document."""
        inspected = self._inspected
        if inspected.kind is ObjectKind.PACK:
            return inspected.findings()
        return _findings_of(inspected.document, cancel)

    @property
    def _whole(self) -> bool:
        """Whether all of the object is shown."""
        document = self._inspected.document
        return self._document is document and (self._region is None or self._region.length == document.size)

    def _about(self) -> str:
        if self._whole:
            return "; ".join((counted(self._inspected.size, "byte"), *self._inspected.notes))
        if self._region is not None:
            return f"{self._region.meaning} [{self._region.clause}]"
        return f"{counted(self._document.size, 'byte')}, {_FORMS.get(self._document.form, self._document.form)}"

    def lacks(self, first: int, count: int) -> bool:
        """See `Page`."""
        return any(number not in self._made for number in range(first, min(first + count, len(self._rows))))

    def fetch(self, first: int, count: int) -> None:
        """See `Page`; looking at a value may open what it is in."""
        for number in range(first, min(first + count, len(self._rows))):
            if number not in self._made:
                known, texts = self._known, self._texts(self._rows[number])
                if known == self._known:
                    self._made[number] = texts
        while len(self._made) > _KEPT:
            del self._made[next(iter(self._made))]

    def _texts(self, row: Region | Document) -> tuple[Sequence[str], Sequence[str]]:
        if isinstance(row, Document):
            how = _FORMS.get(row.form, row.form)
            return ["", f"{row.size:,}", f"({row.form})", f"what is inside, {how}"], [f"{counted(row.size, 'byte')}, {how}"]
        wrong = self.findings.of(row.name)
        value = f"! {wrong}" if wrong else value_text(row.value)
        if not value and self.findings.has(row.name):
            value = "! something is wrong in it"
        cells = [f"{row.offset:,}", f"{row.length:,}", printable(self._short(row.name)), value]
        start = bytes(row.raw[:_HEX])
        return cells, [
            printable(row.name),
            f"{row.meaning} [{row.clause}]" + (f": {wrong}" if wrong else ""),
            f"{hex_text(start)}  {text_of(start)}",
        ]

    def _short(self, name: str) -> str:
        """A name without that of the region it is a part of."""
        above = self._above
        return name[len(above) :].lstrip(".") if above and name.startswith(above) and len(name) > len(above) else name

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        made = self._made.get(number)
        if made is not None:
            return made[0]
        row = self._rows[number]
        return ["", f"{row.size:,}", "", ""] if isinstance(row, Document) else [f"{row.offset:,}", f"{row.length:,}", "...", ""]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        made = self._made.get(number)
        return () if made is None else made[1]

    def open(self, number: int) -> Page:
        """The parts of a region, what is inside of it, or else its bytes."""
        row = self._rows[number]
        if isinstance(row, Document):
            return self._inside(row, self.title, self._above)
        title = f"{self.title.partition('  ')[0]}  {printable(row.name)}"
        if next(row.regions(), None) is not None:
            return RegionsPage(self.model, title, self._inspected, row.document, row, self.findings, row.name)
        content = row.content
        return self.raw(number) if content is None else self._inside(content, title, row.name)

    def _inside(self, content: Document, title: str, above: str) -> Page:
        if self._inspected.is_secret(content):
            raise UsageError(_SECRET)
        return RegionsPage(self.model, f"{title} ({content.form})", self._inspected, content, None, self.findings, above)

    def raw(self, number: int) -> Page:
        """The bytes of a region."""
        row = self._rows[number]
        if isinstance(row, Document):
            if self._inspected.is_secret(row):
                raise UsageError(_SECRET)
            data, name = memoryview(row.data), f"{self.title} ({row.form})"
        else:
            data, name = row.raw, f"{self.title.partition('  ')[0]}  {printable(row.name)}"
        return HexPage(self.model, name, lambda offset, size: bytes(data[offset : offset + size]), len(data))


_FORMS = {"opened": "decrypted", "expanded": "decompressed", "decoded": "decoded from base64"}


def value_text(value: Value) -> str:
    """The value of a region in a line; empty for what has parts of its own."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        if value.isascii() and (text := value.decode()).isprintable():
            return text
        return value[:_HEX].hex() + ("..." if len(value) > _HEX else "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(value) if isinstance(value, str) else str(value)
