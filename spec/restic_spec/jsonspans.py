"""Where the members of a JSON document stand: their byte offsets, nested ones too.

msgspec says what a document holds; this says where. It is what reads ``null`` as "absent" (GOJSON-13). Regions
(`restic_spec.members`) are found level by level instead, and go on behind what is broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from restic_spec.errors import JsonInvalid

Buffer = bytes | bytearray | memoryview
Path = tuple[str | int, ...]

MAX_DEPTH = 100
"""Levels of nesting that are followed; no document of the format has more than a handful."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb"[ \t\r\n]*+(?:([{}\[\]:,])|(" + _STRING + rb")|([-+.0-9A-Za-z]++))", re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_OPENING, _CLOSING = b"{[", {b"{": b"}", b"[": b"]"}
_text = msgspec.json.Decoder(str)


class JsonSpan(NamedTuple):
    """A value of a document: where it is in the nesting, and its bytes ``[start:end]``.

    ``path`` are the names of members and the numbers of elements that lead to it, () for the document. ``key`` is where the
    member's name stands, quotes included; (-1, -1) for elements of a list and the document itself.
    """

    path: Path
    start: int
    end: int
    key: tuple[int, int] = (-1, -1)


class _Level:
    """An object or list that has not ended yet."""

    __slots__ = ("bracket", "count", "key", "name", "own_key", "path", "start")

    def __init__(self, bracket: bytes, start: int, path: Path, own_key: tuple[int, int]) -> None:
        self.bracket = bracket
        self.start = start
        self.path = path
        self.own_key = own_key
        self.count = 0
        self.name: str | int = 0
        self.key = (-1, -1)


def json_spans(raw: Buffer, what: str = "document") -> Iterator[JsonSpan]:
    """Every value of the JSON document *raw*, a container after what it holds.

    Raises:
        JsonInvalid: it is not JSON from some byte on, which the message tells, or nested deeper than `MAX_DEPTH`. What
            stands before that byte has been given.
    """
    scanner = _Scanner(raw, what)
    levels: list[_Level] = []
    while True:
        kind, start, end = scanner.token()
        path = (*levels[-1].path, levels[-1].name) if levels else ()
        key = levels[-1].key if levels else (-1, -1)
        if kind in _OPENING:
            if len(levels) == MAX_DEPTH:
                raise scanner.failure(start, f"nested deeper than {MAX_DEPTH} levels")
            levels.append(_Level(kind, start, path, key))
            if scanner.next_is(_CLOSING[kind]):
                yield from _close(levels, scanner.token()[2])
            else:
                scanner.name(levels[-1])
                continue
        elif kind in (b'"', b"0") and _is_scalar(raw[start:end]):
            yield JsonSpan(path, start, end, key)
        else:
            raise scanner.failure(start, "no value")
        while levels:
            kind, start, end = scanner.token()
            level = levels[-1]
            if kind == b",":
                level.count += 1
                scanner.name(level)
                break
            if kind != _CLOSING[level.bracket]:
                raise scanner.failure(start, f"no comma or {_CLOSING[level.bracket].decode()!r}")
            yield from _close(levels, end)
        else:
            scanner.finish()
            return


def _close(levels: list[_Level], end: int) -> Iterator[JsonSpan]:
    level = levels.pop()
    yield JsonSpan(level.path, level.start, end, level.own_key)


class _Scanner:
    def __init__(self, raw: Buffer, what: str) -> None:
        self._raw = raw
        self._what = what
        self._at = 0

    def failure(self, at: int, why: str) -> JsonInvalid:
        return JsonInvalid(f"{why} at byte {at}", object=self._what, clause="FILE-8")

    def token(self) -> tuple[bytes, int, int]:
        """The next token: its first byte (``0`` for numbers and words), where it begins and where it ends."""
        found = _TOKEN.match(self._raw, self._at)
        if found is None:
            raise self.failure(_SPACE.match(self._raw, self._at).end(), "no JSON")  # type: ignore[union-attr]
        group = found.lastindex or 1
        start, self._at = found.span(group)
        return (found[1], b'"', b"0")[group - 1], start, self._at

    def next_is(self, wanted: bytes) -> bool:
        at = _SPACE.match(self._raw, self._at).end()  # type: ignore[union-attr]
        return bytes(self._raw[at : at + 1]) == wanted

    def name(self, level: _Level) -> None:
        """Read the name of an object's next member; elements of a list are numbered."""
        if level.bracket == b"[":
            level.name = level.count
            return
        kind, start, end = self.token()
        if kind != b'"':
            raise self.failure(start, "no member name")
        try:
            level.name = _text.decode(self._raw[start:end])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.failure(start, str(error)) from None
        level.key = start, end
        kind, start, _ = self.token()
        if kind != b":":
            raise self.failure(start, "no colon")

    def finish(self) -> None:
        at = _SPACE.match(self._raw, self._at).end()  # type: ignore[union-attr]
        if at != len(self._raw):
            raise self.failure(at, "bytes after the document")


def _is_scalar(raw: Buffer) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def without_nulls(raw: Buffer, schema: Any, what: str = "document") -> bytes:
    """*raw* without the members that are ``null`` although *schema* (a msgspec type) declares them as something else.

    Go leaves a field as it is where it reads null, so such a member says no more than one that is missing (GOJSON-13).

    Raises:
        JsonInvalid: see `json_spans`.
    """
    pieces: list[Buffer] = []
    at = 0
    for span in json_spans(raw, what):
        null = span.end - span.start == 4 and bytes(raw[span.start : span.end]) == b"null"
        if null and span.key[0] >= 0 and _refuses_null(_declared(schema), span.path):
            # A member with a name that no declaration has is skipped.
            pieces += (raw[at : span.key[0]], b'""')
            at = span.key[1]
    pieces.append(raw[at:])
    return b"".join(pieces)


@lru_cache(maxsize=32)
def _declared(schema: Any) -> Any:
    from msgspec import inspect

    return inspect.type_info(schema)


def _refuses_null(declared: Any, path: Path) -> bool:
    """Whether the member at *path* is declared, and not as one that may be null."""
    from msgspec import inspect

    here = declared
    for step in path:
        below: Any = None
        for kind in _kinds(here):
            if isinstance(kind, inspect.StructType) and isinstance(step, str):
                below = next((field.type for field in kind.fields if field.encode_name == step), None)
            elif isinstance(kind, inspect.ListType) and isinstance(step, int):
                below = kind.item_type
        if below is None:
            return False
        here = below
    return not any(isinstance(kind, inspect.NoneType | inspect.AnyType | inspect.RawType) for kind in _kinds(here))


def _kinds(declared: Any) -> tuple[Any, ...]:
    from msgspec import inspect

    return declared.types if isinstance(declared, inspect.UnionType) else (declared,)
