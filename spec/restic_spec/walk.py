"""The walk over the declarations of binary forms that yields regions.

Fields are read by construct; those that are as long as the rest of the bytes are extents, which nobody copies. What is inside
of a field is opened when somebody asks for it, and kept with the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from weakref import ref

import construct as cs

from restic_spec import binary
from restic_spec.constants import OVERHEAD
from restic_spec.errors import IdMismatch, LengthInvalid, MacInvalid, ResticFormatError, SpecError
from restic_spec.formats import FORMATS
from restic_spec.ids import id_of
from restic_spec.keyfile import KeyFile, MasterKeyJson
from restic_spec.members import Json
from restic_spec.pack import MAX_BLOB_SIZE, PackEntry
from restic_spec.region import SHOWN, UNEXPLAINED, Document, Finding, Region, Unexplained, Value, finding, join
from restic_spec.unpacked import MAX_UNPACKED, decompress

Opener = Callable[[memoryview], bytes]
"""Verifies and decrypts a sealed message, or raises `SpecError`."""

MAX_SEALED = MAX_BLOB_SIZE + (1 << 20)
"""Bytes of the largest message that is opened: the largest blob, and what sealing and a frame may add (PACK-14)."""

_BOUNDS = {"FILE-3": (MAX_UNPACKED, "FILE-5"), "PACK-12": (MAX_BLOB_SIZE, "PACK-12")}
"""By the clause of a frame: what it may expand to (FILE-6, PACK-14), and the clause of one that is broken."""

_ENCODED: dict[tuple[Any, tuple[str, ...]], Any] = {(KeyFile, ("data",)): binary.key_data(MasterKeyJson)}
"""What is in members that are base64 and have a form."""


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

        Regions of a binary form are few: those that somebody holds are given again, with what was opened in them. Nothing
        holds itself here, so that what was opened goes as soon as nobody has it any more.
        """
        if isinstance(declaration, cs.IfThenElse):
            condition: Any = declaration.condfunc
            stream = _Window(memoryview(data), 0, len(data))
            declaration = declaration.thensubcon if condition(cs.Container(_io=stream)) else declaration.elsesubcon
        if declaration is None:
            return Document(form, data, partial(_whole, name=f"{name}.content"), lambda _: found())
        if isinstance(declaration, type):

            def whole(made: Document) -> tuple[Finding, ...]:
                # A region around it shows them, where there is one.
                return found() + (made.json.findings if made.json is not None and not name else ())

            json = partial(self._json, declaration, name)
            return Document(form, data, lambda made: made.json.regions() if made.json else (), whole, json)
        given: list[ref[Region]] = []

        def regions(made: Document) -> Iterable[Region]:
            held = [region for one in given if (region := one()) is not None]
            if not given or len(held) < len(given):
                held = list(self.fields(declaration, made, 0, made.size, name))
                given[:] = map(ref, held)
            return held

        return Document(form, data, regions, lambda _: found())

    def _json(self, declaration: Any, name: str, document: Document) -> Json:
        return Json(self, declaration, document, 0, document.size, name)

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
            yield self.field(field, document, (at, stream.tell()), join(name, field.name), value, parsed)
        if stream.tell() < end:
            problem = form.error(f"bytes behind {form.meaning}", clause=form.clause)
            yield Unexplained(document, stream.tell(), end - stream.tell(), join(name, UNEXPLAINED), form.clause, problem)

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
            tail.append(self.field(field, document, (end, end + size), join(name, field.name), value, parsed))
        problem = form.error(f"{form.meaning} is cut short in its {form.subcons[number].name}", clause=form.clause)
        said = any(region.findings for region in tail)
        yield Unexplained(document, at, end - at, join(name, UNEXPLAINED), form.clause, None if said else problem)
        yield from reversed(tail)

    def field(
        self, field: Any, document: Document, place: tuple[int, int], name: str, value: Any, parsed: dict[str, Any]
    ) -> Region:
        """The region of one field."""
        start, end = place
        problems = field.violations(value, parsed)
        if problems:
            parsed["_sound"] = False  # with a mark that is unknown nobody knows what follows it
        if field.listed is not None or isinstance(field.subcon, cs.GreedyRange):
            from restic_spec.listing import Entries, Listing

            several = Entries if field.listed is None else Listing
            return several(self, field, document, start, end - start, name, problems)
        if field.how == "sealed":
            return Sealed(self, field, document, start, end - start, name, problems)
        if field.how == "frame" and parsed.get("_sound", True):
            return Frame(self, field, document, start, end - start, name, problems)
        if field.how == "document" and field.inner is not None:
            return _Text(self, field, document, start, end - start, name, problems)
        return Plain(self, field, document, start, end - start, name, problems, value)

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


class Part(Region):
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


class Plain(Part):
    """A field without parts."""

    __slots__ = ("parsed",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments[:-1])
        self.parsed: Any = arguments[-1]
        """What construct makes of it."""

    @property
    def value(self) -> Value:
        """A number, a word of an enumeration, or bytes."""
        value = self.parsed
        if isinstance(value, bytes | memoryview):
            return bytes(value[:SHOWN])
        found: Value = str(value) if isinstance(value, cs.EnumIntegerString) else value
        return found


class _Text(Part):
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


class _Opening(Part):
    """A field with something inside."""

    __slots__ = ("_held", "_opened")

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
            if self.field.bound is not None:
                return None  # where its length is written, that is said
            raise LengthInvalid(f"{self.length} bytes are not opened, bound is {bound}", clause="PACK-14")
        try:
            plaintext = bytes(self._walk.opener(self.raw))
        except MacInvalid as error:
            if error.clause == "CRYPTO-8":
                return None  # the region of the IV says so
            raise
        content = self._walk.document("opened", self.field.inner, plaintext, self.name)
        self._held: Any = list(content.regions())
        return content

    def _inner_findings(self, content: Document) -> tuple[Finding, ...]:
        if self.field.states is None:
            return ()
        (inner,) = content.regions()
        expanded = inner.content
        if isinstance(inner, Frame) and expanded is None:
            return ()
        actual = id_of(inner.raw if expanded is None else expanded.data)
        if actual == self.field.states:
            return ()
        what = f"SHA-256 of the content is {actual.hex()}, not {self.field.states.hex()}"
        return (finding(self.name, IdMismatch(what, clause="PACK-13")),)


class Frame(_Opening):
    """A zstandard frame."""

    __slots__ = ()

    @property
    def value(self) -> Value:
        """Its first bytes."""
        return bytes(self.raw[:SHOWN])

    def _open(self) -> Document | None:
        limit, clause = _BOUNDS[self.field.clause]
        data = decompress(self.raw, limit, clause)
        content = self._walk.document("expanded", self.field.inner, data, self.name)
        self._held: Any = content.json
        return content

    def _inner_findings(self, content: Document) -> tuple[Finding, ...]:
        found: tuple[Finding, ...] = ()
        if self.field.states is not None and content.size != self.field.states:
            problem = LengthInvalid(f"expands to {content.size} bytes, not {self.field.states}", clause="PACK-12")
            found += (finding(self.name, problem),)
        return found if content.json is None else found + content.json.findings
