"""Two objects compared region by region: what is the same, what has changed, what only one of them has.

Parts are put side by side by what they are, not by where they stand: packs and blobs by their ids, the entries of a tree by
their names, members of a document by theirs. What is equal byte for byte is not looked into. Memory: for each part of the
longest list a region and its identity, some hundred bytes.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from restic_format.inspect.way import Way
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.regions import Document, Region, explain
from restic_spec.tree import Tree

Value = int | float | str | bytes | bool | None

_BETWEEN = re.compile(r":(?:name|before|end)\Z")
"""Ends the names of what stands between the values of a JSON document."""
_ELEMENT = re.compile(r"\[[0-9]+\]\Z")
_PIECE = 1 << 20
"""Bytes that are compared at once."""
_IDENTITIES = (".id", ".name")
"""Members that tell one element of a list from another."""
_CONTENTS = {".frame": ".content", ".document": ".content"}
"""What takes the place of what, where one of two things is compressed and the other is not."""


def is_between(region: Region) -> bool:
    """Whether it is what stands between the values of a JSON document: brackets, commas, names, space."""
    return _BETWEEN.search(region.name) is not None


class State(Enum):
    """How something in A compares with its counterpart in B."""

    SAME = "same"
    CHANGED = "changed"
    MOVED = "moved"
    """The same, at another place: a blob at another offset of the file, or elements in another order."""
    ONLY_A = "only_a"
    ONLY_B = "only_b"


class Side(NamedTuple):
    """Where it is in one of the two, and what."""

    region: str
    """Its whole name there."""
    offset: int | None
    length: int | None
    value: Value
    """None for what has parts of its own."""


class Difference(NamedTuple):
    """One region of A, of B, or of both."""

    state: State
    name: str
    """Its name, with what tells it from others in place of the number in a list: ``packs[ID].blobs[ID].offset``."""
    clause: str
    meaning: str
    a: Side | None
    b: Side | None


def compare(a: Document, b: Document, *, without: Container[str] = ()) -> Iterator[Difference]:
    """The regions of *a* and *b*, and of what is inside of them, put side by side; but for those that *without* names."""
    yield from _Comparison(without).parts("", _Parts("", a.regions()), _Parts("", b.regions()))


class _Parts(NamedTuple):
    """The parts of a region or document that is called *name* in its own file."""

    name: str
    regions: Iterable[Region]


class _Comparison:
    def __init__(self, without: Container[str]) -> None:
        self._without = without

    def parts(self, name: str, a: _Parts, b: _Parts) -> Iterator[Difference]:
        """Compare the parts of what is called *name* in both."""
        others = dict(_keyed(b))
        number_of = {step: number for number, step in enumerate(others)}
        last, in_order = -1, True
        first: Region | None = None
        for step, region in _keyed(a):
            whole = f"{name}{step}".lstrip(".")
            if whole in self._without:
                others.pop(step, None)
                continue
            other = others.pop(step, None)
            if other is None:
                yield _difference(State.ONLY_A, whole, region, None)
                continue
            in_order = in_order and number_of[step] > last
            last, first = number_of[step], first or region
            yield from self.regions(whole, region, other)
        for step, region in others.items():
            whole = f"{name}{step}".lstrip(".")
            if whole not in self._without:
                yield _difference(State.ONLY_B, whole, None, region)
        if not in_order and first is not None:
            meaning = "those that both have stand in another order"
            sides = [Side(parts.name, None, None, None) for parts in (a, b)]
            yield Difference(State.MOVED, name, first.clause, meaning, *sides)

    def regions(self, name: str, a: Region, b: Region) -> Iterator[Difference]:
        """Compare two regions that are called *name*."""
        if _same_bytes(a, b):
            yield _difference(State.SAME, name, a, b)
            return
        inside_a, inside_b = _inside(a), _inside(b)
        if not (inside_a and inside_b):
            yield _difference(State.CHANGED, name, a, b)
            return
        # Of what is compressed here and not there, the contents are compared.
        for parts_a, parts_b in zip(_aligned(inside_a, len(inside_b)), _aligned(inside_b, len(inside_a)), strict=False):
            yield from self.parts(name, parts_a, parts_b)


def _inside(region: Region) -> list[_Parts]:
    """What a region consists of, and what is inside of it once opened; each where there is any."""
    found = []
    if next(iter(region.regions()), None) is not None:
        found.append(_Parts(region.name, region.regions()))
    content = region.content
    if content is not None:
        found.append(_Parts(region.name, content.regions()))
    return found


def _aligned(inside: list[_Parts], others: int) -> list[_Parts]:
    return inside[-others:] if len(inside) > others else inside


def _keyed(parts: _Parts) -> Iterator[tuple[str, Region]]:
    """The parts, each with the last part of its name, by which it is compared; what stands between values is left out."""
    seen: dict[str, int] = {}
    for region in parts.regions:
        if is_between(region):
            continue
        step = region.name.removeprefix(parts.name)
        if _ELEMENT.fullmatch(step):
            step = f"[{_identity(region, step[1:-1])}]"
        step = _CONTENTS.get(step, step)
        number = seen.get(step, 0)
        seen[step] = number + 1
        yield f"{step}#{number}" if number else step, region


def _identity(region: Region, number: str) -> str:
    """What tells an element of a list from others: its id or name, or itself; its *number* where it has none."""
    parts = False
    for part in region.regions():
        parts = True
        if part.name.removeprefix(region.name) in _IDENTITIES:
            return _text(part.value)
    return number if parts or region.content is not None else _text(region.value)


def _text(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _same_bytes(a: Region, b: Region) -> bool:
    if a.length != b.length:
        return False
    pieces = (slice(start, start + _PIECE) for start in range(0, a.length, _PIECE))
    return all(bytes(a.raw[piece]) == bytes(b.raw[piece]) for piece in pieces)


def _side(region: Region | None) -> Side | None:
    return None if region is None else Side(region.name, region.offset, region.length, region.value)


def _difference(state: State, name: str, a: Region | None, b: Region | None) -> Difference:
    region = a or b
    assert region is not None
    return Difference(state, name, region.clause, region.meaning, _side(a), _side(b))


# Paths in snapshots


def compare_ways(a: Way, b: Way) -> Iterator[Difference]:
    """What two paths in snapshots lead to: the nodes member by member, the blobs of files by their ids, the entries of
    directories by their names.

    Raises:
        ResticFormatError: a tree cannot be read.
    """
    if a.node is not None and b.node is not None:
        for found in compare(a.node.document, b.node.document, without=("content",)):
            yield found._replace(name=f"node.{found.name}")
    if a.file is not None and b.file is not None:
        yield from _blobs(a, b)
    elif a.subtree is not None and b.subtree is not None:
        yield from compare(*(explain(Tree, way.repository.load_blob(BlobType.TREE, way.subtree or b"")) for way in (a, b)))


class _Place(NamedTuple):
    number: int
    offset: int
    length: int


def _content(way: Way) -> Iterator[tuple[str, _Place]]:
    offset = 0
    for number, blob in enumerate(() if way.file is None else way.file.blobs):
        blob_id = parse_id(blob)
        place = way.repository.index.lookup(BlobType.DATA, blob_id)
        length = 0 if place is None else place.entry(BlobType.DATA, blob_id).plain_length
        yield blob, _Place(number, offset, length)
        offset += length


def _blobs(a: Way, b: Way) -> Iterator[Difference]:
    others: dict[str, list[_Place]] = {}
    for blob, place in _content(b):
        others.setdefault(blob, []).append(place)
    for places in others.values():
        places.reverse()
    for blob, place in _content(a):
        places = others.get(blob, [])
        other = places.pop() if places else None
        state = State.SAME if other is not None and other.offset == place.offset else State.MOVED
        yield _blob(State.ONLY_A if other is None else state, blob, place, other)
    left = [(place, blob) for blob, places in others.items() for place in places]
    for place, blob in sorted(left):
        yield _blob(State.ONLY_B, blob, None, place)


def _blob(state: State, blob: str, a: _Place | None, b: _Place | None) -> Difference:
    sides = [None if place is None else Side(f"blobs[{place.number}]", place.offset, place.length, blob) for place in (a, b)]
    return Difference(state, f"blobs[{blob}]", "TREE-8", "a blob of the file; offsets are those in the file", *sides)
