"""What explained bytes consist of: documents with coordinates of their own, and the regions that cover them.

`restic_spec.regions` makes them from the declarations of binary forms, `restic_spec.members` from those of JSON documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from restic_spec.errors import ResticFormatError

if TYPE_CHECKING:
    from restic_spec.members import Json

SHOWN = 64
"""Bytes of a value that a region repeats at most; all of it is in the data."""

UNEXPLAINED = "unexplained"
"""The last part of the name of a stretch that cannot be explained."""

Value = int | float | str | bytes | bool | None
Buffer = bytes | memoryview


class Finding(NamedTuple):
    """Something is wrong."""

    region: str
    """The whole name of the region, "" for the file itself."""
    clause: str
    """The clause that is violated."""
    severity: str
    """``error``, or ``warning`` for what does no harm by itself."""
    what: str
    """What is wrong, in one line."""


class Region:
    """A stretch of a document, and what the declaration says of it. As it is here it has no parts and shows its bytes."""

    __slots__ = ("__weakref__", "clause", "document", "length", "meaning", "name", "offset")

    def __init__(self, document: Document, offset: int, length: int, name: str, clause: str, meaning: str) -> None:
        self.document = document
        """What ``offset`` and ``length`` count in."""
        self.offset = offset
        self.length = length
        self.name = name
        """How one gets there from the file: ``header.entries[3].length``; unique in it."""
        self.clause = clause
        """The clause that says what it is."""
        self.meaning = meaning
        """The same in one line."""

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + self.length

    @property
    def raw(self) -> memoryview:
        """Its bytes, not copied."""
        return memoryview(self.document.data)[self.offset : self.offset + self.length]

    @property
    def value(self) -> Value:
        """A number, text or truth value; of bytes at most `SHOWN`; None for what has parts of its own."""
        return bytes(self.raw[:SHOWN])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it; not what is wrong with its parts. What must be opened for this is opened."""
        return ()

    def regions(self) -> Iterator[Region]:
        """Its parts in their order, touching each other and covering it; made anew at each call. None for a leaf."""
        return iter(())

    @property
    def content(self) -> Document | None:
        """What is inside, decrypted, expanded or decoded; None where nothing is, or where it could not be opened."""
        return None

    def __repr__(self) -> str:
        return f"<{self.name} {self.offset}+{self.length}>"


class Unexplained(Region):
    """A stretch that no declaration explains."""

    __slots__ = ("problem",)

    def __init__(
        self,
        document: Document,
        offset: int,
        length: int,
        name: str,
        clause: str,
        problem: ResticFormatError | None,
    ) -> None:
        super().__init__(document, offset, length, name, clause, "bytes that cannot be explained")
        self.problem: Any = problem
        """Why nobody can, where no region beside it says so."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Why it cannot be explained, unless a region beside it says so."""
        return () if self.problem is None else (finding(self.name, self.problem),)


class Document:
    """Bytes with coordinates of their own: a file, or what a sealed, compressed or encoded part holds."""

    __slots__ = ("_findings", "_json", "_make_json", "_regions", "data", "form", "size")

    def __init__(
        self,
        form: str,
        data: Buffer,
        regions: Callable[[Document], Iterable[Region]],
        findings: Callable[[Document], tuple[Finding, ...]] = lambda _: (),
        json: Callable[[Document], Json] | None = None,
    ) -> None:
        self.form = form
        """``file``, ``opened`` (decrypted), ``expanded`` (decompressed) or ``decoded`` (from base64)."""
        self.data = data
        self.size = len(data)
        self._make_json = json
        self._json: ref[Json] | None = None
        self._regions = regions
        self._findings = findings

    def regions(self) -> Iterator[Region]:
        """Its parts in their order, touching each other and covering it from 0 to ``size``, whatever its state."""
        return iter(self._regions(self))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it as a whole."""
        return self._findings(self)

    @property
    def json(self) -> Json | None:
        """What it is as JSON, with all that is wrong with it, where it is that; kept as long as somebody holds it."""
        if self._make_json is None:
            return None
        json = None if self._json is None else self._json()
        if json is None:
            json = self._make_json(self)
            self._json = ref(json)
        return json


def join(name: str, part: str) -> str:
    """The whole name of a *part* of *name*."""
    return f"{name}.{part}" if name else part


def finding(region: str, problem: ResticFormatError, severity: str = "error") -> Finding:
    """The *problem* as one of the *region*, in one line."""
    return Finding(region, problem.clause, severity, " ".join(problem.what.split()))


def leaves(document: Document) -> Iterator[Region]:
    """The regions of *document* that have no parts, in their order: they touch each other and cover it."""
    return _leaves(document.regions())


def _leaves(regions: Iterator[Region]) -> Iterator[Region]:
    for region in regions:
        parts = region.regions()
        first = next(parts, None)
        if first is None:
            yield region
        else:
            yield from _leaves(_chain(first, parts))


def _chain(first: Region, others: Iterator[Region]) -> Iterator[Region]:
    yield first
    yield from others


def findings(document: Document) -> Iterator[Finding]:
    """Everything that is wrong: with the document, its regions, and what is inside of them, in their order."""
    yield from document.findings
    for region in document.regions():
        yield from findings_of(region)


def findings_of(region: Region) -> Iterator[Finding]:
    """The same of one region: its own, its parts', and what is inside of it."""
    yield from region.findings
    for part in region.regions():
        yield from findings_of(part)
    content = region.content
    if content is not None:
        yield from findings(content)
