"""Which regions of an object are shown: all, or one and what is in it; how deep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from restic_format.inspect.objects import Inspected
from restic_format.inspect.target import ObjectKind
from restic_spec.regions import Document, Region
from restic_tools.exitcodes import Failure

EVERYTHING = 1 << 30
"""A depth that nothing reaches."""

_DEPTHS = {ObjectKind.PACK: 2, ObjectKind.INDEX: 5, ObjectKind.TREE: 4}
"""Levels that are shown unless the caller says otherwise: a line for each blob, pack, entry of a folder."""

_BETWEEN = (":name", ":before", ":end")
"""Ends of the names of what stands between the values of a JSON document."""


class Selected(NamedTuple):
    """A region, and the document that it is in."""

    document: Document
    region: Region
    secret: bool
    """Whether it is a part of a master key."""


class Selection(NamedTuple):
    """What is to be shown of an object."""

    inspected: Inspected
    depth: int
    region: Selected | None = None
    """The one region that was asked for."""
    show_secrets: bool = False

    @property
    def top(self) -> Iterable[Region]:
        """The regions to begin with."""
        return self.inspected.document.regions() if self.region is None else (self.region.region,)

    @property
    def secret(self) -> bool:
        """Whether already the first of them is a part of a master key that is not to be shown."""
        return self.region is not None and self.region.secret and not self.show_secrets

    def hides(self, content: Document) -> bool:
        """Whether *content* is a master key that is not to be shown."""
        return not self.show_secrets and self.inspected.is_secret(content)


def depth_of(kind: ObjectKind, given: int | None, *, region: bool) -> int:
    """The levels to show of an object of *kind*, or of a *region* of it."""
    if given is not None:
        return given or EVERYTHING
    return EVERYTHING if region else _DEPTHS.get(kind, EVERYTHING)


def is_between(region: Region) -> bool:
    """Whether *region* stands between the values of a JSON document: brackets, commas, names, space."""
    return region.name.endswith(_BETWEEN)


def find_region(inspected: Inspected, name: str) -> Selected:
    """The region called *name*.

    Raises:
        Failure: there is none.
    """
    found = _find(inspected, inspected.document, name, secret=False)
    if found is None:
        raise Failure(f'{inspected.kind.value} {inspected.name} has no region "{name}"')
    return found


def _find(inspected: Inspected, document: Document, name: str, *, secret: bool) -> Selected | None:
    regions: Iterator[Region] = document.regions()
    while True:
        region = next((region for region in regions if _leads_to(region, name)), None)
        if region is None:
            return None
        if region.name == name:
            return Selected(document, region, secret)
        below = region.content
        if below is not None:
            inner = _find(inspected, below, name, secret=secret or inspected.is_secret(below))
            if inner is not None:
                return inner
        regions = region.regions()


def _leads_to(region: Region, name: str) -> bool:
    return name == region.name or name.startswith((f"{region.name}.", f"{region.name}[", f"{region.name}:"))


def parts_of(region: Region) -> Iterator[Region] | None:
    """The parts of *region*, None where it has none."""
    parts = region.regions()
    first = next(parts, None)
    return None if first is None else chain((first,), parts)
