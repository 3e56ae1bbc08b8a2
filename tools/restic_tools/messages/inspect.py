"""The message of ``inspect``: an object, explained down to the byte. It is written piece by piece, as it can be long."""

from __future__ import annotations

from typing import Literal

import msgspec


class RegionMessage(msgspec.Struct, omit_defaults=True):
    """A stretch of a file, or of what is inside of a part of it."""

    offset: int
    """Where it begins, in bytes; counted in the file, or in the ``content`` that it belongs to."""
    length: int
    """How many bytes it has."""
    name: str
    """How one gets there: ``file.frame.packs[0].id``. No other region of the file has this name. What stands between the
    values of a JSON document has names with a colon: ``file.frame.packs:name``."""
    clause: str
    """The clause of the specification that says what it is."""
    value: int | float | str | bool | None
    """What it says; bytes are hexadecimal, at most 64 of them. ``null`` where parts or content follow, and of JSON's null;
    ``hidden`` in a master key that is not to be shown."""
    regions: list[RegionMessage] | msgspec.UnsetType = msgspec.UNSET
    """Its parts, in order; they touch each other and cover it. Left out where there are none, or too deep for --depth."""
    content: ContentMessage | msgspec.UnsetType = msgspec.UNSET
    """What is inside, where it was opened."""


class ContentMessage(msgspec.Struct):
    """What is inside of a sealed, compressed or encoded region: bytes with offsets of their own."""

    form: Literal["opened", "expanded", "decoded"]
    """How one gets there: decrypted, decompressed, or decoded from base64."""
    size: int
    """How many bytes it has."""
    regions: list[RegionMessage]
    """Its parts, in order; they touch each other and cover it."""


class FindingMessage(msgspec.Struct):
    """Something is wrong."""

    region: str
    """The name of the region; empty for the whole file."""
    clause: str
    """The clause of the specification that is violated."""
    severity: Literal["error", "warning"]
    """``warning`` for what does no harm by itself."""
    what: str
    """What is wrong, in one line."""


class PlaceMessage(msgspec.Struct):
    """Where a copy of a blob is."""

    pack: str
    """Id of the pack."""
    offset: int
    """In the pack, in bytes."""
    length: int
    """As stored, in bytes."""


class InspectMessage(msgspec.Struct, omit_defaults=True):
    """``inspect``: one object; a line for each target."""

    message_type: Literal["inspect"]
    kind: Literal["config", "key", "index", "snapshot", "lock", "pack", "blob", "tree", "unknown"]
    """What it is; ``unknown`` for a file of which nothing tells."""
    name: str
    """Its id, ``config``, the path of a lone file as given, or ``-``."""
    size: int
    """How many bytes it has, as stored."""
    sealed: bool
    """Whether it, or a part of it, is sealed."""
    opened: bool
    """Whether what is sealed could be opened."""
    regions: list[RegionMessage]
    """Its parts, in order; they touch each other and cover it from 0 to ``size``, whatever its state."""
    findings: list[FindingMessage]
    """Everything that is wrong with it, also with what --region and --depth leave out; of more than 100,000 things the first
    ones, and one for the file that says so."""
    places: list[PlaceMessage] | msgspec.UnsetType = msgspec.UNSET
    """Of a blob: every copy that an index lists; the first one is explained."""
