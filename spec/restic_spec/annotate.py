"""Bytes explained: what stands where in a file of a repository, by which clause, and what is wrong with it.

`annotate` walks a declaration over bytes and gives a `Span` for everything it meets: fields of binary forms, members of JSON
documents and, where an opener is given, what is inside of sealed messages and frames. It goes on after a violation as far as
anything can be told.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import construct as cs
import msgspec

from restic_spec import binary
from restic_spec.config import Config, decode_config
from restic_spec.errors import HeaderInvalid, JsonInvalid, LengthInvalid, SpecError
from restic_spec.formats import FORMATS
from restic_spec.index import IndexFile, decode_index
from restic_spec.jsonspans import JsonSpan, json_spans
from restic_spec.keyfile import KeyFile, MasterKeyJson, decode_keyfile, decode_master_key
from restic_spec.layout import FileKind
from restic_spec.lock import Lock, decode_lock
from restic_spec.notes import field_notes
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry, check_layout
from restic_spec.snapshot import Snapshot, decode_snapshot
from restic_spec.tree import Tree, decode_tree
from restic_spec.unpacked import decompress

Path = tuple[str | int, ...]
Opener = Callable[[bytes], bytes]
"""Verifies and decrypts a sealed message, or raises `SpecError`."""

SHOWN = 64
"""Bytes of a value that a span repeats at most; all of it is in the data."""

_DOCUMENTS: dict[Any, Callable[[bytes], Any]] = {
    Config: decode_config,
    IndexFile: decode_index,
    KeyFile: decode_keyfile,
    Lock: decode_lock,
    MasterKeyJson: decode_master_key,
    Snapshot: decode_snapshot,
    Tree: decode_tree,
}
_DOCUMENT_OF = {FileKind.SNAPSHOT: Snapshot, FileKind.INDEX: IndexFile, FileKind.LOCK: Lock}
_AT = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class Span(NamedTuple):
    """One thing that stands in the data."""

    path: Path
    """How one gets there: names of fields and members, numbers of entries and elements."""
    source: Path
    """What ``start`` and ``end`` count in: () for the data itself, otherwise the path of what was opened."""
    start: int
    end: int
    value: Any
    """A number, text or truth value; up to `SHOWN` bytes; None for what has parts of its own."""
    clause: str
    """The rule that says what it is."""
    meaning: str
    problems: tuple[SpecError, ...] = ()
    """What is wrong with it."""


def declaration_of(kind: FileKind, version: int) -> Any:
    """What a file of *kind* in a repository of *version* is declared as."""
    if kind is FileKind.PACK:
        return binary.PACK
    if kind is FileKind.CONFIG:
        return binary.config_file(Config)
    if kind is FileKind.KEY:
        return KeyFile
    return binary.unpacked(_DOCUMENT_OF[kind], marked=FORMATS[version].marks)


def annotate(declaration: Any, data: bytes, opener: Opener | None = None) -> Iterator[Span]:
    """What stands in *data* by its *declaration* (see `declaration_of`), a container before its parts.

    What is sealed is opened with *opener*; without one its outer form is all that can be told. Bytes that belong to nothing
    and fields that are cut short are spans with a problem.
    """
    return _Walker(opener).walk(declaration, data, (), (), 0)


class _Walker:
    def __init__(self, opener: Opener | None) -> None:
        self._opener = opener

    def walk(self, declaration: Any, data: bytes, path: Path, source: Path, base: int) -> Iterator[Span]:
        if isinstance(declaration, type):
            yield from self._json(declaration, data, path, source, base)
        elif isinstance(declaration, cs.IfThenElse):
            condition: Any = declaration.condfunc
            branch = declaration.thensubcon if condition(cs.Container(_io=io.BytesIO(data))) else declaration.elsesubcon
            yield from self.walk(branch, data, path, source, base)
        elif isinstance(declaration, cs.GreedyRange):
            position = number = 0
            while position < len(data):
                end = position
                for span in self._struct(declaration.subcon, data[position:], (*path, number), source, base + position):
                    yield span
                    end = max(end, span.end - base)
                position, number = end, number + 1
        elif declaration is binary.PACK:
            yield from self._pack(data, path, source, base)
        elif declaration is not None:
            yield from self._struct(declaration, data, path, source, base)

    def _struct(self, declaration: Any, data: bytes, path: Path, source: Path, base: int) -> Iterator[Span]:
        stream = io.BytesIO(data)
        parsed: dict[str, Any] = {}
        for field in declaration.subcons:
            start = stream.tell()
            try:
                value = field.parse_stream(stream, **parsed, _io=stream)
            except cs.ConstructError:
                problem = LengthInvalid(f"{field.name} is cut short", clause=field.clause)
                place = base + start, base + len(data)
                yield self._span(field, data[start:], (*path, field.name), source, place, (problem,))
                return
            end = stream.tell()
            parsed[field.name] = value
            if start == end and value is None:
                continue
            problems = tuple(field.violations(value, parsed))
            yield self._span(field, value, (*path, field.name), source, (base + start, base + end), problems)
            yield from self._inside(field, data[start:end], (*path, field.name), source, base + start)

    def _span(
        self, field: Any, value: Any, path: Path, source: Path, place: tuple[int, int], problems: tuple[SpecError, ...]
    ) -> Span:
        shown = None if field.how and not problems else _shown(value)
        return Span(path, source, *place, shown, field.clause, field.meaning, problems)

    def _inside(self, field: Any, piece: bytes, path: Path, source: Path, base: int) -> Iterator[Span]:
        """What is in a field, once it is opened."""
        if field.how == "document":
            yield from self.walk(field.inner, piece, path, source, base)
        elif field.how == "sealed":
            yield from self._struct(binary.SEALED, piece, path, source, base)
            if self._opener is not None:
                opener = self._opener
                yield from self._opened(field, lambda: opener(piece), path, source, (base, base + len(piece)))
        elif field.how == "frame":
            yield from self._opened(
                field, lambda: decompress(piece, MAX_BLOB_SIZE, field.clause), path, source, (base, base + len(piece))
            )

    def _opened(
        self, field: Any, opening: Callable[[], bytes], path: Path, source: Path, place: tuple[int, int]
    ) -> Iterator[Span]:
        try:
            plaintext = bytes(opening())
        except SpecError as problem:
            yield Span((*path, "content"), source, *place, None, problem.clause, "cannot be opened", (problem,))
            return
        yield from self.walk(field.inner, plaintext, path, (*path, "content"), 0)

    def _pack(self, data: bytes, path: Path, source: Path, base: int) -> Iterator[Span]:
        """A pack: its parts, the header, and each blob the header lists."""
        entries: dict[int, dict[str, Any]] = {}
        header = 0
        for span in self._struct(binary.PACK, data, path, source, base):
            yield span
            if span.path == (*path, "header"):
                header = span.end - span.start
            if span.source == (*path, "header", "content") and isinstance(span.path[-2], int):
                entries.setdefault(span.path[-2], {})[str(span.path[-1])] = span.value
        offset = 0
        listed: list[PackEntry] = []
        for number, entry in entries.items():
            if not entry.keys() >= {"kind", "length", "id"} or not isinstance(entry["id"], bytes):
                break
            tree = entry["kind"] in ("tree", "compressed_tree")
            plain = entry.get("uncompressed_length")
            listed.append(PackEntry(BlobType.TREE if tree else BlobType.DATA, entry["id"], offset, entry["length"], plain))
            yield from self._blob(listed[-1], data, (*path, "blobs", number), source, base)
            offset += entry["length"]
        if entries:
            try:
                check_layout(listed, header, len(data))
            except HeaderInvalid as problem:
                yield Span(path, source, base, base + len(data), None, "PACK-11", "the whole pack", (problem,))

    def _blob(self, entry: PackEntry, data: bytes, path: Path, source: Path, base: int) -> Iterator[Span]:
        start, end = entry.offset, min(entry.offset + entry.length, len(data))
        cut = LengthInvalid(f"blob ends {entry.offset + entry.length - end} bytes behind the pack", clause="PACK-11")
        problems = (cut,) if end < entry.offset + entry.length else ()
        meaning = f"{entry.type.value} blob {entry.id.hex()}"
        yield Span(path, source, base + start, base + end, None, "PACK-1", meaning, problems)
        document = Tree if entry.type is BlobType.TREE else None
        declaration = binary.blob(document, compressed=entry.uncompressed_length is not None)
        for field in declaration.subcons:
            yield from self._inside(field, data[start:end], path, source, base + start)

    def _json(self, document: Any, data: bytes, path: Path, source: Path, base: int) -> Iterator[Span]:
        found: list[JsonSpan] = []
        problem: SpecError | None = None
        try:
            for member in json_spans(data):
                found.append(member)
            _DOCUMENTS[document](data)
        except SpecError as error:
            problem = error
        found.sort(key=lambda member: (member.start, -member.end))
        wrong = _place_of(problem, found)
        for member in found:
            clause, meaning = _declared(document, member.path)
            problems = (problem,) if problem is not None and member.path == wrong else ()
            text = data[member.start : member.end]
            value = None if text[:1] in (b"{", b"[") else _shown(_scalar(text))
            start, end = base + member.start, base + member.end
            yield Span((*path, *member.path), source, start, end, value, clause, meaning, problems)
            if document is KeyFile and member.path == ("data",):
                yield from self._key_data(text, (*path, "data"))
        if problem is not None and wrong is None:
            yield Span(path, source, base, base + len(data), None, problem.clause, "the document", (problem,))

    def _key_data(self, text: bytes, path: Path) -> Iterator[Span]:
        try:
            sealed = msgspec.json.decode(text, type=bytes)
        except msgspec.MsgspecError:
            return
        yield from self.walk(binary.key_data(MasterKeyJson), sealed, path, (*path, "content"), 0)


def _shown(value: Any) -> Any:
    if isinstance(value, cs.EnumIntegerString):
        return str(value)
    if isinstance(value, bytes | str):
        return value[:SHOWN]
    return value


def _scalar(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


def _place_of(problem: SpecError | None, found: list[JsonSpan]) -> tuple[str | int, ...] | None:
    """The path of the member a message is about; the document's where it does not say, None where there is no document."""
    if problem is None:
        return None
    paths = {member.path for member in found}
    match = _AT.search(problem.what)
    if match is not None and isinstance(problem, JsonInvalid):
        steps = tuple(name if name else int(number) for name, number in _STEP.findall(match[1]))
        if steps in paths:
            return steps
    return () if () in paths else None


def _declared(document: Any, path: Path) -> tuple[str, str]:
    """Clause and meaning of the member at *path*, ("", "") where none is declared."""
    here: Any = document
    note = ("", "")
    for step in path:
        if isinstance(step, int):
            continue
        struct = _struct_of(here)
        if struct is None:
            return "", ""
        named = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        if step not in named:
            return "", ""
        here = named[step].type
        found = field_notes(struct).get(named[step].name)
        note = (found.clause, found.text) if found else ("", "")
    return note


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct in a type: itself, what a list has as elements, one of several."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    for argument in getattr(hint, "__args__", ()):
        found = _struct_of(argument)
        if found is not None:
            return found
    return None
