"""Bytes explained: what stands where in a file of a repository, by which clause, and what is wrong with it.

`explain` walks a declaration over bytes and gives a `Document` of `Region`s: fields of binary forms, members of JSON documents
and, where an opener is given, what is inside of sealed messages and frames. Regions are made when they are asked for, and
cover every byte whatever its state: what is damaged is explained as far as anything can be told.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import construct as cs

from restic_spec import binary
from restic_spec.config import Config
from restic_spec.constants import COMPRESSED_ENTRY, COMPRESSED_KINDS, OVERHEAD, PLAIN_ENTRY
from restic_spec.errors import (
    HeaderInvalid,
    IdMismatch,
    LengthInvalid,
    MacInvalid,
    ResticFormatError,
    SpecError,
)
from restic_spec.formats import FORMATS
from restic_spec.ids import id_of
from restic_spec.index import IndexFile
from restic_spec.keyfile import KeyFile, MasterKeyJson
from restic_spec.layout import FileKind
from restic_spec.lock import Lock
from restic_spec.members import Json
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.region import (
    SHOWN as SHOWN,
)
from restic_spec.region import (
    UNEXPLAINED as UNEXPLAINED,
)
from restic_spec.region import (
    Document as Document,
)
from restic_spec.region import (
    Finding as Finding,
)
from restic_spec.region import (
    Region as Region,
)
from restic_spec.region import (
    Unexplained as Unexplained,
)
from restic_spec.region import (
    Value as Value,
)
from restic_spec.region import (
    finding,
)
from restic_spec.region import (
    findings as findings,
)
from restic_spec.region import (
    leaves as leaves,
)
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Tree
from restic_spec.unpacked import MAX_UNPACKED, decompress

Opener = Callable[[memoryview], bytes]
"""Verifies and decrypts a sealed message, or raises `SpecError`."""

MAX_SEALED = MAX_BLOB_SIZE + (1 << 20)
"""Bytes of the largest message that is opened: the largest blob, and what sealing and a frame may add (PACK-14)."""

_BOUNDS = {"FILE-3": (MAX_UNPACKED, "FILE-5"), "PACK-12": (MAX_BLOB_SIZE, "PACK-12")}
"""By the clause of a frame: what it may expand to (FILE-6, PACK-14), and the clause of one that is broken."""

_DOCUMENT_OF = {FileKind.SNAPSHOT: Snapshot, FileKind.INDEX: IndexFile, FileKind.LOCK: Lock}
_ENCODED: dict[tuple[Any, tuple[str, ...]], Any] = {(KeyFile, ("data",)): binary.key_data(MasterKeyJson)}
"""What is in members that are base64 and have a form."""


def declaration_of(kind: FileKind, version: int | None = None) -> Any:
    """What a file of *kind* in a repository of *version* is declared as.

    Without a version a document is what its first byte says (FILE-2), as in version 2, which has plain ones too.
    """
    if kind is FileKind.PACK:
        return binary.pack_file(Tree)
    if kind is FileKind.CONFIG:
        return binary.config_file(Config)
    if kind is FileKind.KEY:
        return binary.key_file(KeyFile)
    return binary.unpacked(_DOCUMENT_OF[kind], marked=version is None or FORMATS[version].marks)


def explain(
    declaration: Any,
    data: Any,
    *,
    opener: Opener | None = None,
    version: int | None = None,
    name: str | None = None,
    entries: Iterable[PackEntry] | None = None,
) -> Document:
    """What stands in *data* (any buffer: bytes, a mapped file) by its *declaration* (see `declaration_of`).

    What is sealed is opened with *opener*; without one its outer form is all that can be told. With the *version* of the
    repository kinds of blobs that it does not have are found (PACK-9). *name* is the file's: the hash of its bytes
    (LAYOUT-1). *entries*, what an index says of a pack, divide its blobs where its own header cannot be read.
    """
    walk = Walk(opener, version, None if entries is None else sorted(entries, key=lambda entry: entry.offset))
    view = memoryview(data)

    def misnamed() -> tuple[Finding, ...]:
        if name is None or (actual := id_of(view).hex()) == name:
            return ()
        return (finding("", IdMismatch(f"SHA-256 of the file is {actual}, not its name", clause="LAYOUT-1")),)

    return walk.document("file", declaration, view, "", misnamed)


class Walk:
    """One walk over a declaration: what holds for all documents of a file."""

    def __init__(self, opener: Opener | None, version: int | None, entries: list[PackEntry] | None) -> None:
        self.opener = opener
        self.entries = entries
        self.context: dict[str, Any] = {} if version is None else {"_kinds": FORMATS[version].kinds}

    def document(
        self, form: str, declaration: Any, data: Any, name: str, found: Callable[[], tuple[Finding, ...]] = lambda: ()
    ) -> Document:
        """A document of what *declaration* says; *name* comes before the names of its regions.

        Regions of a binary form are few, and kept with what was opened in them.
        """
        if isinstance(declaration, cs.IfThenElse):
            condition: Any = declaration.condfunc
            stream = _Window(memoryview(data), 0, len(data))
            declaration = declaration.thensubcon if condition(cs.Container(_io=stream)) else declaration.elsesubcon
        if declaration is None:
            return Document(form, data, partial(_whole, name=f"{name}.content"), found)
        if isinstance(declaration, type):
            return Document(form, data, lambda made: Json(self, declaration, made, 0, made.size, name).regions(), found)
        kept: list[Region] = []

        def regions(made: Document) -> Iterable[Region]:
            if not kept:
                kept.extend(self.fields(declaration, made, 0, made.size, name))
            return kept

        return Document(form, data, regions, found)

    def fields(self, form: Any, document: Document, start: int, end: int, name: str) -> Iterator[Region]:
        """The fields of a binary form at ``[start:end]`` of *document*."""
        stream = _Window(memoryview(document.data), start, end)
        parsed: dict[str, Any] = {**self.context, "_size": end - start}
        for number, field in enumerate(form.subcons):
            at = stream.tell()
            try:
                value = _parse(field, stream, parsed)
            except cs.ConstructError:
                yield from self._broken(form, number, document, (at, end), name, parsed)
                return
            parsed[field.name] = value
            if value is None and stream.tell() == at:
                continue
            yield self.field(field, document, (at, stream.tell()), _join(name, field.name), value, parsed)
        if stream.tell() < end:
            problem = form.error(f"bytes behind {form.meaning}", clause=form.clause)
            yield Unexplained(document, stream.tell(), end - stream.tell(), _join(name, UNEXPLAINED), problem)

    def _broken(
        self, form: Any, number: int, document: Document, place: tuple[int, int], name: str, parsed: dict[str, Any]
    ) -> Iterator[Region]:
        """What is left where field *number* does not fit: nobody can tell, but for fields of fixed size at the end."""
        at, end = place
        tail: list[Region] = []
        for field in reversed(form.subcons[number + 1 :]):
            try:
                size = field.sizeof()
            except cs.SizeofError:
                break
            if end - size < at:
                break
            end -= size
            value = _parse(field, _Window(memoryview(document.data), end, end + size), parsed)
            tail.append(self.field(field, document, (end, end + size), _join(name, field.name), value, parsed))
        problem = form.error(f"{form.meaning} is cut short in its {form.subcons[number].name}", clause=form.clause)
        said = any(region.findings for region in tail)
        yield Unexplained(document, at, end - at, _join(name, UNEXPLAINED), None if said else problem)
        yield from reversed(tail)

    def field(
        self, field: Any, document: Document, place: tuple[int, int], name: str, value: Any, parsed: dict[str, Any]
    ) -> Region:
        """The region of one field."""
        start, end = place
        problems = field.violations(value, parsed)
        if field.listed is not None:
            return _Listing(self, field, document, start, end - start, name, problems)
        if isinstance(field.subcon, cs.GreedyRange):
            return _Entries(self, field, document, start, end - start, name, problems)
        if field.how == "sealed":
            return Sealed(self, field, document, start, end - start, name, problems)
        if field.how == "frame":
            return _Frame(self, field, document, start, end - start, name, problems)
        if field.how == "document" and field.inner is not None:
            return _Text(self, field, document, start, end - start, name, problems)
        return _Plain(self, field, document, start, end - start, name, problems, value)

    def decoded(self, document: Any, names: tuple[str, ...], data: bytes, region: Region) -> Document:
        """What a member holds as base64: a form, where it is declared to have one, or bytes."""
        form = _ENCODED.get((document, names))
        if form is not None:
            return self.document("decoded", form, data, region.name)
        return Document(
            "decoded", data, partial(_whole, name=f"{region.name}.bytes", clause=region.clause, meaning=region.meaning)
        )


def _whole(
    document: Document, name: str, clause: str = "PACK-12", meaning: str = "the content of the blob"
) -> Iterable[Region]:
    """The one region of bytes that have no form."""
    yield Region(document, 0, document.size, name, clause, meaning)


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _parse(field: Any, stream: _Window, parsed: dict[str, Any]) -> Any:
    """The value of a field, with *stream* behind it then; of those as long as the rest their bytes, not copied."""
    if isinstance(field.subcon, binary.Rest):
        return stream.take(field.subcon.left(stream))
    if isinstance(field.subcon, cs.GreedyRange):
        return stream.take(stream.left())
    return field.parse_stream(stream, **parsed, _io=stream)


class _Window:
    """A stretch of a buffer as the stream that construct reads, without copying it."""

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self._data, self._start, self._end, self._at = data, start, end, start

    def tell(self) -> int:
        return self._at

    def left(self) -> int:
        return self._end - self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._end)[whence]
        self._at = max(self._start, base + offset)
        return self._at

    def take(self, length: int) -> memoryview:
        start, self._at = self._at, self._at + length
        return self._data[start : self._at]

    def read(self, length: int) -> bytes:
        return bytes(self.take(min(length, self.left())))


class _Part(Region):
    """A field of a binary form."""

    __slots__ = ("_problems", "_walk", "field")

    def __init__(
        self,
        walk: Walk,
        field: Any,
        document: Document,
        start: int,
        length: int,
        name: str,
        problems: list[SpecError],
    ) -> None:
        super().__init__(document, start, length, name, field.clause, field.meaning)
        self._walk = walk
        self._problems: list[SpecError] = problems
        self.field = field

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The rules that its value breaks."""
        return tuple(finding(self.name, problem) for problem in self._problems)


class _Plain(_Part):
    """A field without parts."""

    __slots__ = ("_value",)

    def __init__(self, walk: Walk, field: Any, document: Document, start: int, length: int, *rest: Any) -> None:
        super().__init__(walk, field, document, start, length, *rest[:-1])
        self._value = rest[-1]

    @property
    def value(self) -> Value:
        """A number, a word of an enumeration, or bytes."""
        value = self._value
        if isinstance(value, bytes | memoryview):
            return bytes(value[:SHOWN])
        found: Value = str(value) if isinstance(value, cs.EnumIntegerString) else value
        return found


class _Text(_Part):
    """A document that is there as it is."""

    __slots__ = ("_json",)

    def _document(self) -> Json:
        json: Json | None = getattr(self, "_json", None)
        if json is None:
            json = self._json = Json(self._walk, self.field.inner, self.document, self.offset, self.end, self.name)
        return json

    @property
    def value(self) -> Value:
        """It has parts."""
        return None

    def regions(self) -> Iterator[Region]:
        """Its members."""
        return self._document().regions()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the document where no member is the one."""
        return super().findings + self._document().findings


class _Opening(_Part):
    """A field with something inside."""

    __slots__ = ("_opened",)

    @property
    def value(self) -> Value:
        """It has content."""
        return None

    def _open(self) -> Document | None:
        raise NotImplementedError

    @property
    def content(self) -> Document | None:
        """What is inside."""
        if not hasattr(self, "_opened"):
            try:
                self._opened: Document | ResticFormatError | None = self._open()
            except ResticFormatError as error:
                self._opened = error
        return self._opened if isinstance(self._opened, Document) else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it, and why it cannot be opened."""
        content = self.content
        found = super().findings
        if isinstance(self._opened, ResticFormatError):
            found += (finding(self.name, self._opened),)
        elif content is not None:
            found += self._inner_findings(content)
        return found

    def _inner_findings(self, content: Document) -> tuple[Finding, ...]:
        del content
        return ()


class Sealed(_Opening):
    """A sealed message."""

    __slots__ = ()

    def regions(self) -> Iterator[Region]:
        """IV, ciphertext and MAC."""
        return self._walk.fields(binary.SEALED, self.document, self.offset, self.end, self.name)

    def _open(self) -> Document | None:
        if self._walk.opener is None or self.length < OVERHEAD:
            return None
        bound = MAX_SEALED if self.field.bound is None else self.field.bound
        if self.length > bound:
            raise LengthInvalid(f"{self.length} bytes are not opened, bound is {bound}", clause="PACK-14")
        try:
            plaintext = bytes(self._walk.opener(self.raw))
        except MacInvalid as error:
            if error.clause == "CRYPTO-8":
                return None  # the region of the IV says so
            raise
        return self._walk.document("opened", self.field.inner, plaintext, self.name)

    def _inner_findings(self, content: Document) -> tuple[Finding, ...]:
        if self.field.states is None:
            return ()
        (inner,) = content.regions()
        expanded = inner.content
        if isinstance(inner, _Frame) and expanded is None:
            return ()
        actual = id_of(inner.raw if expanded is None else expanded.data)
        if actual == self.field.states:
            return ()
        what = f"SHA-256 of the content is {actual.hex()}, not {self.field.states.hex()}"
        return (finding(self.name, IdMismatch(what, clause="PACK-13")),)


class _Frame(_Opening):
    """A zstandard frame."""

    __slots__ = ("_json",)

    @property
    def value(self) -> Value:
        """Its first bytes."""
        return bytes(self.raw[:SHOWN])

    def _open(self) -> Document | None:
        limit, clause = _BOUNDS[self.field.clause]
        data = decompress(self.raw, limit, clause)
        return self._walk.document("expanded", self.field.inner, data, self.name)

    def _inner_findings(self, content: Document) -> tuple[Finding, ...]:
        found: tuple[Finding, ...] = ()
        if self.field.states is not None and content.size != self.field.states:
            problem = LengthInvalid(f"expands to {content.size} bytes, not {self.field.states}", clause="PACK-12")
            found += (finding(self.name, problem),)
        if self.field.inner is not None:
            found += Json(self._walk, self.field.inner, content, 0, content.size, self.name).findings
        return found


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


class _Entries(_Part):
    """The entries of a header."""

    __slots__ = ()

    @property
    def value(self) -> Value:
        """It has parts."""
        return None

    def regions(self) -> Iterator[Region]:
        """One for each entry; one that is cut short at the end is the last."""
        entry = self.field.subcon.subcon
        done, number = 0, 0
        for number, (at, read) in enumerate(read_entries(self.raw), 1):
            done = at + (_PLAIN if read.uncompressed_length is None else _COMPRESSED).size
            yield _Entry(self._walk, entry, self.document, self.offset + at, done - at, f"{self.name}[{number - 1}]")
        if done < self.length:
            yield _Entry(self._walk, entry, self.document, self.offset + done, self.length - done, f"{self.name}[{number}]")


class _Entry(Region):
    """An entry of a header."""

    __slots__ = ("_form", "_walk")

    def __init__(self, walk: Walk, form: Any, document: Document, start: int, length: int, name: str) -> None:
        super().__init__(document, start, length, name, form.clause, form.meaning)
        self._walk = walk
        self._form = form

    @property
    def value(self) -> Value:
        """It has parts."""
        return None

    def regions(self) -> Iterator[Region]:
        """Its fields."""
        return self._walk.fields(self._form, self.document, self.offset, self.end, self.name)


@cache
def _type_of(kind: int) -> BlobType:
    return BlobType.TREE if kind % COMPRESSED_KINDS else BlobType.DATA


class _Listing(_Part):
    """The blobs of a pack, which its header lists."""

    __slots__ = ()

    @property
    def value(self) -> Value:
        """The bytes, where nothing divides them."""
        return None if next(self.regions(), None) else bytes(self.raw[:SHOWN])

    def _entries(self) -> Iterator[tuple[int, Entry]] | None:
        """Offset and entry of each blob; None where there is no list."""
        listed = self.field.listed
        header = next((part for part in self.document.regions() if part.name == listed.field), None)
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
            if offset > done:
                yield self._gap(done, min(offset, self.length), gaps)
                gaps += 1
            start, end = max(offset, done), offset + entry.length
            if start > self.length:
                return
            problems: list[SpecError] = []
            if end > self.length:
                what = f"blob ends {end - self.length} bytes behind the last"
                problems.append(HeaderInvalid(what, clause="PACK-11"))
                end = self.length
            done = max(start, end)
            yield Blob(self, number, self.offset + start, done - start, problems, entry, clause)
            if problems:
                return
        if done < self.length:
            yield self._gap(done, self.length, gaps)

    def _gap(self, start: int, end: int, number: int) -> Region:
        again = f"#{number}" if number else ""
        problem = HeaderInvalid(f"{end - start} bytes that no entry accounts for", clause="PACK-11")
        return Unexplained(self.document, self.offset + start, end - start, f"{self.name}.{UNEXPLAINED}{again}", problem)


class Blob(Sealed):
    """A blob of a pack, and what the header (or an index) says of it."""

    __slots__ = ("_declared", "_listed", "_said")

    def __init__(
        self, listing: _Listing, number: int, start: int, length: int, problems: list[SpecError], said: Entry, clause: str
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
