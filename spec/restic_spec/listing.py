"""The blobs of a pack as regions, and the entries of the header that list them.

There may be hundreds of thousands of them: entries are read with the `struct` formats that are generated from their
declaration, and a blob's own declaration is made when it is looked into.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from restic_spec.constants import COMPRESSED_ENTRY, COMPRESSED_KINDS, PLAIN_ENTRY
from restic_spec.errors import HeaderInvalid, SpecError
from restic_spec.pack import BlobType, PackEntry
from restic_spec.region import SHOWN, UNEXPLAINED, Document, Region, Unexplained, Value
from restic_spec.walk import Part, Plain, Sealed, Walk


class Entry(NamedTuple):
    """An entry of a header, with the names that its declaration has."""

    kind: int
    length: int
    uncompressed_length: int | None
    id: bytes


_PLAIN = struct.Struct(PLAIN_ENTRY)
_COMPRESSED = struct.Struct(COMPRESSED_ENTRY)


def read_entries(header: bytes | memoryview) -> Iterator[tuple[int, Entry]]:
    """Where each whole entry of an opened header begins, and what it says, right or wrong: `restic_spec.binary.ENTRY` with
    the `struct` formats that are generated from it."""
    at, end = 0, len(header)
    plain, compressed = _PLAIN.size, _COMPRESSED.size
    while at < end:
        if header[at] < COMPRESSED_KINDS:
            if at + plain > end:
                return
            kind, length, blob_id = _PLAIN.unpack_from(header, at)
            yield at, Entry(kind, length, None, blob_id)
            at += plain
        else:
            if at + compressed > end:
                return
            yield at, Entry._make(_COMPRESSED.unpack_from(header, at))
            at += compressed


class Entries(Part):
    """The entries of a header."""

    __slots__ = ()

    @property
    def value(self) -> Value:
        """It has parts."""
        return None

    def regions(self) -> Iterator[Region]:
        """One for each entry; one that is cut short at the end is the last."""
        form = self.field.subcon.subcon
        done, number = 0, 0
        for number, (at, read) in enumerate(read_entries(self.raw), 1):
            done = at + (_PLAIN if read.uncompressed_length is None else _COMPRESSED).size
            yield _Entry(self._walk, form, self.document, self.offset + at, done - at, f"{self.name}[{number - 1}]", read)
        if done < self.length:
            rest = self.offset + done, self.length - done
            yield _Entry(self._walk, form, self.document, *rest, f"{self.name}[{number}]", None)


class _Entry(Region):
    """An entry of a header."""

    __slots__ = ("_form", "_read", "_walk")

    def __init__(
        self, walk: Walk, form: Any, document: Document, start: int, length: int, name: str, read: Entry | None
    ) -> None:
        super().__init__(document, start, length, name, form.clause, form.meaning)
        self._walk = walk
        self._form = form
        self._read = read

    @property
    def value(self) -> Value:
        """It has parts."""
        return None

    def regions(self) -> Iterator[Region]:
        """Its fields."""
        if self._read is None:
            yield from self._walk.fields(self._form, self.document, self.offset, self.end, self.name)
            return
        parsed: dict[str, Any] = {**self._walk.context, **self._read._asdict()}
        for field, start, length, value in _fields(self._form, self._read.kind):
            found = parsed[field.name] if value is None else value
            place = self.offset + start, length, f"{self.name}.{field.name}"
            yield Plain(self._walk, field, self.document, *place, field.violations(found, parsed), found)


@cache
def _fields(form: Any, kind: int) -> tuple[tuple[Any, int, int, Any], ...]:
    """Each field of an entry of *kind*, where it begins, its length, and its value where that is the kind: as the walk over
    the declaration finds them in one such entry."""
    sample = bytes((kind,)) + bytes((_PLAIN if kind < COMPRESSED_KINDS else _COMPRESSED).size - 1)
    document = Walk(None, None, None).document("opened", form, sample, "")
    parts = [part for part in document.regions() if isinstance(part, Plain)]
    return tuple((part.field, part.offset, part.length, part.parsed if not part.offset else None) for part in parts)


@cache
def _type_of(kind: int) -> BlobType:
    return BlobType.TREE if kind % COMPRESSED_KINDS else BlobType.DATA


class Listing(Part):
    """The blobs of a pack, which its header lists."""

    __slots__ = ("_header",)

    @property
    def value(self) -> Value:
        """The bytes, where nothing divides them."""
        return None if next(self.regions(), None) else bytes(self.raw[:SHOWN])

    def _entries(self) -> Iterator[tuple[int, Entry]] | None:
        """Offset and entry of each blob; None where there is no list."""
        listed = self.field.listed
        header = getattr(self, "_header", None)
        if header is None:
            header = next((part for part in self.document.regions() if part.name == listed.field), None)
            self._header: Region | None = header
        content = None if header is None else header.content
        if content is None:
            given = self._walk.entries
            return None if given is None else map(_given, given)
        entries = next((part for part in content.regions() if part.name == f"{listed.field}.{listed.entries}"), None)
        return iter(()) if entries is None else _placed(read_entries(entries.raw))

    def regions(self) -> Iterator[Region]:
        """One for each blob, and what no entry accounts for."""
        entries = self._entries()
        if entries is None:
            return
        gaps, done, clause = 0, 0, ""
        for number, (offset, entry) in enumerate(entries):
            clause = clause or self.field.listed.part(entry).clause
            if offset > self.length:
                what = f"blob {number} of the list begins {offset - self.length} bytes behind the last"
                yield self._gap(done, self.length, gaps, what)
                return
            if offset > done:
                yield self._gap(done, offset, gaps)
                gaps += 1
            start, end = max(offset, done), offset + entry.length
            problems: list[SpecError] = []
            if offset < done:
                problems.append(HeaderInvalid("blob begins before the one before it ends", clause="PACK-1"))
            if end > self.length:
                what = f"blob ends {end - self.length} bytes behind the last"
                problems.append(HeaderInvalid(what, clause="PACK-11"))
                end = self.length
            done = max(start, end)
            yield Blob(self, number, self.offset + start, done - start, problems, entry, clause)
            if offset + entry.length > self.length:
                return
        if done < self.length:
            yield self._gap(done, self.length, gaps)

    def _gap(self, start: int, end: int, number: int, what: str = "") -> Region:
        name = f"{self.name}.{UNEXPLAINED}" + (f"#{number}" if number else "")
        problem = HeaderInvalid(what or f"{end - start} bytes that no entry accounts for", clause="PACK-11")
        return Unexplained(self.document, self.offset + start, end - start, name, problem.clause, problem)


class Blob(Sealed):
    """A blob of a pack, and what the header (or an index) says of it."""

    __slots__ = ("_declared", "_listed", "_said")

    def __init__(
        self, listing: Listing, number: int, start: int, length: int, problems: list[SpecError], said: Entry, clause: str
    ) -> None:
        name = f"{listing.name}[{number}]"
        meaning = f"{_type_of(said.kind).value} blob {said.id.hex()}"
        Region.__init__(self, listing.document, start, length, name, clause, meaning)
        self._walk = listing._walk
        self._problems = problems
        self._listed = listing.field.listed
        self._said = said
        self._declared: Any = None

    @property
    def field(self) -> Any:
        """Its declaration, which follows from its entry."""
        if self._declared is None:
            (self._declared,) = self._listed.part(self._said).subcons
        return self._declared

    @property
    def entry(self) -> PackEntry:
        """What is said of it."""
        said = self._said
        return PackEntry(_type_of(said.kind), said.id, self.offset, said.length, said.uncompressed_length)


def _given(entry: PackEntry) -> tuple[int, Entry]:
    compressed = entry.uncompressed_length is not None
    kind = (COMPRESSED_KINDS if compressed else 0) + (entry.type is BlobType.TREE)
    return entry.offset, Entry(kind, entry.length, entry.uncompressed_length, entry.id)


def _placed(entries: Iterator[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
    """The entries of a header, each with the offset that their order implies (PACK-10)."""
    offset = 0
    for _, entry in entries:
        yield offset, entry
        offset += entry.length
