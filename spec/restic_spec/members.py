"""JSON documents as regions: every member with its clause and meaning, and what stands between them.

The document is scanned level by level, when somebody asks for it: a value that holds others is passed over to its closing
bracket first. What is not JSON from some byte on is explained up to there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from restic_spec.declared import UNKNOWN, Declared, declared
from restic_spec.errors import JsonInvalid
from restic_spec.faults import Faults, Path, find_faults
from restic_spec.index import IndexFile
from restic_spec.jsonspans import MAX_DEPTH
from restic_spec.region import SHOWN, UNEXPLAINED, Document, Finding, Region, Unexplained, Value, finding, join
from restic_spec.tree import Tree

if TYPE_CHECKING:
    from restic_spec.walk import Walk

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_WORD = re.compile(rb"[-+.0-9A-Za-z]++")
_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_OPENING = {ord("{"): ord("}"), ord("["): ord("]")}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NAMES_KEPT = 10_000
"""Names of an object that are remembered to tell one that stands twice; from there on each has its number."""
_NAME_SHOWN = 64
_PUNCTUATION = {
    True: (UNKNOWN, "name of the member that follows"),
    False: (UNKNOWN, "what stands before an element"),
    None: (UNKNOWN, "end of what the bracket opens"),
}
"""Clause and meaning of what stands before a member, before an element, and behind the last of them."""


class Json:
    """A JSON document that stands at ``[start:end]`` of *data*, in a region called *name*."""

    def __init__(self, walk: Walk, declared: Any, document: Document, start: int, end: int, name: str) -> None:
        self.walk = walk
        self.declared = declared
        self.document = document
        self.start = start
        self.end = end
        self.name = name
        self._faults: Faults | None = None
        self._refused = True
        begin = _after_space(document.data, start, end)
        # The oldest indexes are the list of packs itself (INDEX-13).
        self._above = ("packs",) if declared is IndexFile and begin < end and document.data[begin] == ord("[") else ()

    def regions(self) -> Iterator[Region]:
        """What it consists of."""
        data, end = self.document.data, self.end
        begin = _after_space(data, self.start, end)
        if begin < end and data[begin] in _OPENING:
            stop, _ = _skip(data, begin, end, MAX_DEPTH)
            yield from self.parts(self.start, begin, stop, end, self.name, (), 0)
            return
        past = _scalar_end(data, begin, end)
        if past is None or _after_space(data, past, end) != end:
            clause = "FILE-4" if begin == end and self.declared is not Tree else UNKNOWN
            yield self._broken(self.start, end, self.name, "no JSON", begin, clause)
            return
        yield Member(self, self.start, end, f"{self.name}:value", (), 0)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the document, where no part of it is the one."""
        return tuple(finding(self.name, problem) for problem in self.faults().get((), ()))

    def faults(self) -> Faults:
        """What is wrong by the declaration."""
        if self._faults is None:
            self._faults, self._refused = find_faults(self)
        return self._faults

    def told(self, name: str, problem: JsonInvalid | None) -> tuple[Finding, ...]:
        """The *problem* that the scan has with the region *name*: a warning, where readers pass over what it is in."""
        if problem is None:
            return ()
        self.faults()
        return (finding(name, problem, "error" if self._refused else "warning"),)

    def declaration(self, path: Path) -> Declared:
        """What is declared of the member at *path*."""
        return declared(self.declared, self._above + tuple(step for step in path if isinstance(step, str)))

    def parts(self, start: int, begin: int, stop: int, end: int, name: str, path: Path, depth: int) -> Iterator[Region]:
        """The parts of an object or list whose brackets are at *begin* and before *stop*; space before and behind it is its
        own, from *start* to *end*."""
        data = self.document.data
        is_object = data[begin] == ord("{")
        closing = _OPENING[data[begin]]
        seen: set[str] = set()
        done, number = start, 0
        at = _after_space(data, begin + 1, stop)
        while number or at >= stop or data[at] != closing:
            step: str | int = number
            problem = None
            if is_object:
                key = _STRING.match(data, at, stop)
                if key is None:
                    yield self._broken(done, end, name, "no name of a member", at)
                    return
                step, problem = _text(key[0])
                at = _after_space(data, key.end(), stop)
                if at >= stop or data[at] != ord(":"):
                    yield self._broken(done, end, name, "no colon", at)
                    return
                at = _after_space(data, at + 1, stop)
            past, closed = _value_end(data, at, stop, MAX_DEPTH - depth - 1)
            if past is None:
                yield self._broken(done, end, name, "no value", at)
                return
            called = _called(name, step, number, seen)
            between = f"{called}:{'name' if is_object else 'before'}"
            yield Between(self, done, at, between, *_PUNCTUATION[is_object], problem)
            yield Member(self, at, past, called, (*path, step), depth + 1)
            done, number = past, number + 1
            if not closed and past == end:
                return  # which is told where it breaks
            at = _after_space(data, past, stop)
            if at < stop and data[at] == ord(","):
                at = _after_space(data, at + 1, stop)
            elif at < stop and data[at] == closing:
                break
            else:
                yield self._broken(done, end, name, f"no comma or {chr(closing)!r}", at)
                return
        if at + 1 != stop or _after_space(data, stop, end) != end:
            last = at + 1
            yield Between(self, done, last, f"{name}:end", *_PUNCTUATION[None])
            yield self._broken(last, end, name, "bytes behind it", last)
            return
        yield Between(self, done, end, f"{name}:end", *_PUNCTUATION[None])

    def _broken(self, start: int, end: int, name: str, why: str, at: int, clause: str = UNKNOWN) -> Region:
        problem = JsonInvalid(f"not JSON: {why} at byte {at}", clause=clause)
        return _Broken(self, start, end, join(name, UNEXPLAINED), problem)


class _Broken(Unexplained):
    """What is not JSON."""

    __slots__ = ("_json",)

    def __init__(self, json: Json, start: int, end: int, name: str, problem: JsonInvalid) -> None:
        super().__init__(json.document, start, end - start, name, problem.clause, problem)
        self._json = json

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Why it is none."""
        return self._json.told(self.name, self.problem)


class Between(Region):
    """Brackets, commas, names and space between the values."""

    __slots__ = ("_json", "problem")

    def __init__(
        self, json: Json, start: int, end: int, name: str, clause: str, meaning: str, problem: JsonInvalid | None = None
    ) -> None:
        super().__init__(json.document, start, end - start, name, clause, meaning)
        self._json = json
        self.problem = problem
        """What is wrong with the name in it."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The same."""
        return self._json.told(self.name, self.problem)


class Member(Region):
    """A value of a JSON document."""

    __slots__ = ("depth", "json", "path")

    def __init__(self, json: Json, start: int, end: int, name: str, path: Path, depth: int) -> None:
        says = json.declaration(path)
        super().__init__(json.document, start, end - start, name, says.clause, says.meaning)
        self.json = json
        self.path = path
        """Names of members and numbers of elements that lead to it from the document."""
        self.depth = depth

    @property
    def value(self) -> Value:
        """A number, text or truth value, None for null and for what has parts of its own."""
        if self._holds_others():
            return None
        try:
            decoded: Value = msgspec.json.decode(self.raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return bytes(self.raw[:SHOWN])
        return decoded

    def _holds_others(self) -> bool:
        return self.length > 0 and self.document.data[self.offset] in _OPENING

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the declaration has against it."""
        faults = self.json.faults().get(self.path, ()) if self.path else ()
        return tuple(finding(self.name, problem) for problem in faults) or self.json.told(self.name, self.problem)

    @property
    def problem(self) -> JsonInvalid | None:
        """What is wrong with it as JSON."""
        if not self._holds_others():
            try:
                msgspec.json.decode(self.raw)
            except UnicodeDecodeError:
                return JsonInvalid("not UTF-8", clause="GOJSON-11")
            except (msgspec.MsgspecError, ValueError) as error:
                return JsonInvalid(f"not JSON: {error}", clause=UNKNOWN)
        elif self.depth >= MAX_DEPTH:
            return JsonInvalid(f"nested deeper than {MAX_DEPTH} levels", clause=UNKNOWN)
        return None

    def regions(self) -> Iterator[Region]:
        """The values in it and what stands between them."""
        if self._holds_others() and self.depth < MAX_DEPTH:
            yield from self.json.parts(self.offset, self.offset, self.end, self.end, self.name, self.path, self.depth)

    @property
    def content(self) -> Document | None:
        """What is encoded as base64 in it."""
        if not self.json.declaration(self.path).encoded or self._holds_others():
            return None
        try:
            decoded = msgspec.json.decode(self.raw, type=bytes)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        names = tuple(step for step in self.path if isinstance(step, str))
        return self.json.walk.decoded(self.json.declared, names, decoded, self)


def _after_space(data: Any, at: int, end: int) -> int:
    found = _SPACE.match(data, at, end)
    return found.end() if found is not None else at


def _scalar_end(data: Any, at: int, end: int) -> int | None:
    found = _STRING.match(data, at, end) or _WORD.match(data, at, end)
    return None if found is None else found.end()


def _value_end(data: Any, at: int, end: int, depth: int) -> tuple[int | None, bool]:
    """Where the value at *at* ends, None where there is none, and whether it does; otherwise it ends with what it is in."""
    if at < end and data[at] in _OPENING:
        return _skip(data, at, end, depth)
    return _scalar_end(data, at, end), True


def _skip(data: Any, at: int, end: int, depth: int) -> tuple[int, bool]:
    """Behind the bracket that closes the one at *at*; *end* and False where none does, or *depth* levels are not enough."""
    level = 0
    while (found := _BRACKET.match(data, at, end)) is not None:
        at = found.end()
        if data[at - 1] in _OPENING:
            level += 1
            if level > depth + 1:
                return end, False
        else:
            level -= 1
            if level == 0:
                return at, True
    return end, False


def _text(raw: bytes) -> tuple[str, JsonInvalid | None]:
    """The text of a string, and what is wrong with it."""
    try:
        return msgspec.json.decode(raw, type=str), None
    except UnicodeDecodeError:
        problem = JsonInvalid("the name of the member is not UTF-8", clause="GOJSON-11")
    except msgspec.MsgspecError as error:
        problem = JsonInvalid(f"not JSON: the name of the member: {error}", clause=UNKNOWN)
    return raw[1:-1].decode("utf-8", "replace"), problem


def _called(name: str, step: str | int, number: int, seen: set[str]) -> str:
    """The whole name of a part of *name*; a member that stands there for the second time has its number with it."""
    if isinstance(step, int):
        return f"{name}[{step}]"
    again = step in seen or len(seen) >= _NAMES_KEPT
    if not again:
        seen.add(step)
    if _PLAIN_NAME.fullmatch(step) and step != UNEXPLAINED:
        called = join(name, step)
    else:
        again = again or len(step) > _NAME_SHOWN
        called = f"{name}[{json.dumps(step[:_NAME_SHOWN])}]"
    return f"{called}#{number}" if again else called
