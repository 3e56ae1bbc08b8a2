"""What several tests do with explained bytes: check that nothing is left out, and find regions by their names."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from restic_spec.regions import Document, Region, findings, leaves


def everything(regions: Iterable[Region]) -> list[Region]:
    """All regions, those of what is inside too, each before its parts."""
    found: list[Region] = []
    for region in regions:
        found.append(region)
        found += everything(region.regions())
        if region.content is not None:
            found += everything(region.content.regions())
    return found


def by_name(document: Document) -> dict[str, Region]:
    """All regions by their names, which are unique."""
    regions = everything(document.regions())
    named = {region.name: region for region in regions}
    assert len(named) == len(regions), "names are unique"
    return named


def wrong(document: Document) -> list[tuple[str, str]]:
    """Region and clause of each finding."""
    return [(found.region, found.clause) for found in findings(document)]


def check_cover(document: Document) -> None:
    """Regions lie side by side and fill what they are parts of, on every level, and in what is inside."""
    _fill(document.regions(), 0, document.size)
    position = 0
    for leaf in leaves(document):
        assert leaf.offset == position
        position = leaf.end
    assert position == document.size


def _fill(regions: Iterable[Region], start: int, end: int) -> None:
    position = start
    for region in regions:
        assert region.offset == position and region.length >= 0, region
        position += region.length
        assert region.clause, region
        assert region.meaning and "\n" not in region.meaning, region
        parts = list(region.regions())
        if parts:
            assert region.value is None, region
            _fill(parts, region.offset, region.end)
        if region.content is not None:
            check_cover(region.content)
    assert position == end


def json_of(regions: Iterable[Region]) -> Any:
    """The JSON value that *regions*, the parts of an object or a list, stand for."""
    values: dict[Any, Any] = {}
    is_list = True
    for region in regions:
        if not hasattr(region, "path"):
            continue
        (*_, step) = region.path
        is_list = isinstance(step, int)
        parts = list(region.regions())
        values[step] = json_of(parts) if parts else region.value
        assert not isinstance(region.value, bytes)
    opening = bytes(next(iter(regions)).raw).strip()[:1] if not values else b""
    return list(values.values()) if (is_list and values) or opening == b"[" else values


def document_regions(document: Document) -> list[Region]:
    """The parts of the JSON document that a file or a blob holds, through seal and frame."""
    (region,) = (part for part in document.regions() if not part.name.endswith("mark"))
    if region.content is not None:
        return document_regions(region.content) if len(list(region.content.regions())) < 3 else list(region.content.regions())
    return list(region.regions())


def base64_of(data: bytes) -> str:
    """As JSON has bytes."""
    return base64.b64encode(data).decode()
