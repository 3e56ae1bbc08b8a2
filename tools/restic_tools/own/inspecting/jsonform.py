"""An object as the JSON message of ``inspect`` (`restic_tools.messages.inspect`), piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from restic_spec import gojson
from restic_spec.regions import Blob, Document, Finding, Region, Value
from restic_tools.messages.inspect import FindingMessage, PlaceMessage
from restic_tools.own.inspecting.selection import Selection, parts_of
from restic_tools.own.inspecting.values import HIDDEN

_PIECE = 1 << 16


def message(selection: Selection, findings: Iterable[Finding]) -> Iterator[bytes]:
    """The line for one object, in pieces; *findings* is asked for last."""
    held: list[bytes] = []
    size = 0
    for text in _message(selection, findings):
        held.append(text)
        size += len(text)
        if size > _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _message(selection: Selection, findings: Iterable[Finding]) -> Iterator[bytes]:
    found = selection.inspected
    yield b'{"message_type":"inspect","kind":%b,"name":%b,"size":%d,"sealed":%b,"opened":%b,"regions":' % (
        gojson.encode(found.kind.value), gojson.encode(found.name), found.size, _truth(found.sealed), _truth(found.opened),
    )  # fmt: skip
    yield from _regions(selection, selection.top, 1, secret=selection.secret)
    yield b',"findings":['
    for number, finding in enumerate(findings):
        yield (b"," if number else b"") + gojson.encode(finding_message(finding))
    yield b"]"
    if found.places:
        places = [PlaceMessage(place.pack.hex(), place.offset, place.length) for place in found.places]
        yield b',"places":' + gojson.encode(places)
    yield b"}\n"


def finding_message(finding: Finding) -> FindingMessage:
    """A finding as a message."""
    severity: Literal["error", "warning"] = "warning" if finding.severity == "warning" else "error"
    return FindingMessage(finding.region, finding.clause, severity, finding.what)


def _regions(selection: Selection, regions: Iterable[Region], level: int, *, secret: bool) -> Iterator[bytes]:
    before = b"["
    for region in regions:
        yield before
        yield from _region(selection, region, level, secret=secret)
        before = b","
    yield b"[]" if before == b"[" else b"]"


def _region(selection: Selection, region: Region, level: int, *, secret: bool) -> Iterator[bytes]:
    deeper = level < selection.depth
    parts = parts_of(region) if deeper else None
    content = region.content if deeper else None
    value = None if parts is not None or content is not None else _value(region, secret=secret)
    yield b'{"offset":%d,"length":%d,"name":%b,"clause":%b,"value":%b' % (
        region.offset, region.length, gojson.encode(region.name), gojson.encode(region.clause), gojson.encode(value),
    )  # fmt: skip
    if parts is not None:
        yield b',"regions":'
        yield from _regions(selection, parts, level + 1, secret=secret)
    if content is not None:
        yield from _content(selection, content, level + 1, secret=secret or selection.hides(content))
    yield b"}"


def _content(selection: Selection, content: Document, level: int, *, secret: bool) -> Iterator[bytes]:
    yield b',"content":{"form":"%b","size":%d,"regions":' % (content.form.encode(), content.size)
    yield from _regions(selection, content.regions(), level, secret=secret)
    yield b"}"


def _value(region: Region, *, secret: bool) -> int | float | str | bool | None:
    if secret:
        return HIDDEN
    if isinstance(region, Blob):
        return region.meaning
    value: Value = region.value
    return value.hex() if isinstance(value, bytes) else value


def _truth(value: bool) -> bytes:
    return b"true" if value else b"false"
