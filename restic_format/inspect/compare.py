"""Two objects compared region by region: what is the same, what has changed, what only one of them has.

Parts are put side by side by what they are, not by where they stand: packs and blobs by their ids, the entries of a tree by
their names, members of a document by theirs. What is equal byte for byte is not looked into. Memory: for each part of the
longest list a region and its identity, some hundred bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from restic_format.inspect.way import Way
from restic_spec.ids import parse_id
from restic_spec.members import Between
from restic_spec.pack import BlobType
from restic_spec.regions import Blob, Document, Region, Value, explain
from restic_spec.tree import Tree

_ELEMENT = re.compile(r"\[[0-9]+\]\Z")
_BETWEEN_PARTS = "only what stands between its parts differs, or their order"
_PIECE = 1 << 20
"""Bytes that are compared at once."""
_IDENTITIES = (".id", ".name")
"""Members that tell one element of a list from another."""
_CONTENTS = {".frame": ".content", ".document": ".content"}
"""What takes the place of what, where one of two things is compressed and the other is not."""


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


HIDDEN = "hidden"
"""The value of what is secret."""


def compare(
    a: Document,
    b: Document,
    *,
    without: Sequence[str] = (),
    is_secret: Callable[[Document], bool] = lambda _: False,
) -> Iterator[Difference]:
    """The regions of *a* and *b*, and of what is inside of them, put side by side; but for those that *without* names."""
    found = _Comparison(without, is_secret).parts("", _Parts("", a.regions()), _Parts("", b.regions()))
    if without or _same_bytes(memoryview(a.data), memoryview(b.data)):
        yield from found
    else:
        sides = [Side("", 0, document.size, None) for document in (a, b)]
        yield from _or_at_least(Difference(State.CHANGED, "", "FILE-8", _BETWEEN_PARTS, *sides), found)


class _Parts(NamedTuple):
    """The parts of a region or document that is called *name* in its own file."""

    name: str
    regions: Iterable[Region]
    secret: bool = False
    """Whether no value of them is to be shown."""


class _Inside(NamedTuple):
    parts: _Parts | None
    """What a region consists of; None for a leaf."""
    content: _Parts | None
    """What is inside of it once opened; None where nothing is, or it could not be opened."""


class _Comparison:
    def __init__(self, without: Container[str], is_secret: Callable[[Document], bool]) -> None:
        self._without = without
        self._is_secret = is_secret

    def parts(self, name: str, a: _Parts, b: _Parts) -> Iterator[Difference]:
        """Compare the parts of what is called *name* in both."""
        secret = a.secret or b.secret
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
                yield _difference(State.ONLY_A, whole, region, None, secret=secret)
                continue
            in_order = in_order and number_of[step] > last
            last, first = number_of[step], first or region
            yield from self.regions(whole, region, other, secret=secret)
        for step, region in others.items():
            whole = f"{name}{step}".lstrip(".")
            if whole not in self._without:
                yield _difference(State.ONLY_B, whole, None, region, secret=secret)
        if not in_order and first is not None:
            meaning = "those that both have stand in another order"
            sides = [Side(parts.name, None, None, None) for parts in (a, b)]
            yield Difference(State.MOVED, name, first.clause, meaning, *sides)

    def regions(self, name: str, a: Region, b: Region, *, secret: bool) -> Iterator[Difference]:
        """Compare two regions that are called *name*."""
        if _same_bytes(a.raw, b.raw):
            yield _difference(State.SAME, name, a, b, secret=secret)
            return
        sides = [Side(region.name, region.offset, region.length, None) for region in (a, b)]
        at_least = Difference(State.CHANGED, name, a.clause, _BETWEEN_PARTS, *sides)
        yield from _or_at_least(at_least, self._different(name, a, b, secret=secret))

    def _different(self, name: str, a: Region, b: Region, *, secret: bool) -> Iterator[Difference]:
        inside_a, inside_b = self._inside(a, secret=secret), self._inside(b, secret=secret)
        if inside_a.parts and inside_b.parts:
            yield from self.parts(name, inside_a.parts, inside_b.parts)
            if inside_a.content or inside_b.content:
                nothing = _Parts(a.name, ())
                yield from self.parts(name, inside_a.content or nothing, inside_b.content or nothing)
            return
        # Of what is compressed here and not there, the contents are compared.
        whole_a, whole_b = inside_a.content or inside_a.parts, inside_b.content or inside_b.parts
        if whole_a and whole_b:
            yield from self.parts(name, whole_a, whole_b)
        else:
            yield _difference(State.CHANGED, name, a, b, secret=secret)

    def _inside(self, region: Region, *, secret: bool) -> _Inside:
        leaf = next(iter(region.regions()), None) is None
        content = region.content
        hidden = secret or (content is not None and self._is_secret(content))
        return _Inside(
            None if leaf else _Parts(region.name, region.regions(), secret),
            None if content is None else _Parts(region.name, content.regions(), hidden),
        )


def _keyed(parts: _Parts) -> Iterator[tuple[str, Region]]:
    """The parts, each with the last part of its name, by which it is compared; what stands between values is left out."""
    seen: dict[str, int] = {}
    for region in parts.regions:
        if isinstance(region, Between):
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
    if isinstance(region, Blob):
        return region.entry.id.hex()
    parts = False
    for part in region.regions():
        parts = True
        if part.name.removeprefix(region.name) in _IDENTITIES:
            return _text(part.value)
    return number if parts or region.content is not None else _text(region.value)


def _text(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _same_bytes(a: memoryview, b: memoryview) -> bool:
    if len(a) != len(b):
        return False
    pieces = (slice(start, start + _PIECE) for start in range(0, len(a), _PIECE))
    return all(bytes(a[piece]) == bytes(b[piece]) for piece in pieces)


def _or_at_least(difference: Difference, found: Iterator[Difference]) -> Iterator[Difference]:
    """What was *found* to differ in two stretches that are not equal; *difference* where nothing was."""
    differ = False
    for item in found:
        differ = differ or item.state is not State.SAME
        yield item
    if not differ:
        yield difference


def _side(region: Region | None, *, secret: bool) -> Side | None:
    if region is None:
        return None
    return Side(region.name, region.offset, region.length, HIDDEN if secret else region.value)


def _difference(state: State, name: str, a: Region | None, b: Region | None, *, secret: bool) -> Difference:
    region = a or b
    assert region is not None
    return Difference(state, name, region.clause, region.meaning, _side(a, secret=secret), _side(b, secret=secret))


# Paths in snapshots


def compare_ways(a: Way, b: Way) -> Iterator[Difference]:
    """What two paths in snapshots lead to: the nodes member by member, the blobs of files by their ids, the entries of
    directories by their names.

    Raises:
        ResticFormatError: a tree cannot be read.
    """
    found = _different_ways(a, b)
    if a.node is None or b.node is None or a.node.raw == b.node.raw:
        yield from found
    else:
        sides = [Side("node", None, len(way.node.raw), None) for way in (a, b) if way.node is not None]
        yield from _or_at_least(Difference(State.CHANGED, "node", "TREE-3", _BETWEEN_PARTS, *sides), found)


def _different_ways(a: Way, b: Way) -> Iterator[Difference]:
    files = a.file is not None and b.file is not None
    if a.node is not None and b.node is not None:
        # The blobs of two files are compared by themselves: with where they are in the file.
        for found in compare(a.node.document, b.node.document, without=("content",) if files else ()):
            yield found._replace(name=f"node.{found.name}" if found.name else "node")
    if files:
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
