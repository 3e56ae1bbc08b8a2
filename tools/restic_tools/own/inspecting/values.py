"""Values of regions as text that can act on no terminal, and colours."""

from __future__ import annotations

import re
from typing import NamedTuple

from restic_spec import gojson
from restic_spec.regions import Blob, Region, Value

_CLAUSES = re.compile(r" \([A-Z]+-[0-9]+(?:(?:, | and | to )[A-Z]+-[0-9]+)*\)")

HIDDEN = "hidden"
"""What is shown in the place of a part of a master key."""

_WHOLE = 32
"""Bytes that are shown whole: an id."""
_FIRST = 16
"""Of more bytes the first ones are."""
_RAW = 200
"""Bytes of a JSON document that are shown in one line at most."""


class Ink(NamedTuple):
    """What begins each colour, "" where there are none."""

    name: str = ""
    faint: str = ""
    bad: str = ""
    strong: str = ""
    end: str = ""


PLAIN = Ink()
COLOURED = Ink("\x1b[36m", "\x1b[2m", "\x1b[31m", "\x1b[1m", "\x1b[0m")


def label_of(region: Region, above: str) -> str:
    """The name of *region* without that of what it is in."""
    return escaped(region.name.removeprefix(above).lstrip(".") or region.name)


def summary(region: Region, *, has_parts: bool, secret: bool) -> str:
    """What *region* says, in one line; *has_parts* says that parts of it are shown as well."""
    if secret:
        return "" if has_parts else HIDDEN
    if isinstance(region, Blob):
        return region.meaning
    if has_parts:
        return ""
    value = region.value
    if value is not None or not region.length:
        return text_of(value)
    if region.raw[0] in b"{[n":
        return _raw(region)
    count = sum(1 for _ in region.regions())
    return f"{count:,} part{'' if count == 1 else 's'}" if count else ""


def meaning_of(region: Region) -> str:
    """What *region* means, without the clauses, which stand beside it."""
    return _CLAUSES.sub("", region.meaning).replace("`", "").rstrip(".")


def text_of(value: Value) -> str:
    """A value: text in quotes, bytes as hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex() if len(value) <= _WHOLE else f"{value[:_FIRST].hex()}…"
    if isinstance(value, str):
        return f'"{gojson.quote(value)}"'
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _raw(region: Region) -> str:
    """A JSON document as it is."""
    text = bytes(region.raw[:_RAW]).decode("utf-8", "replace")
    return escaped(text) + ("…" if region.length > _RAW else "")


def escaped(text: str) -> str:
    """*text* in which everything that is not printable is an escape; quotation marks stay."""
    return text if text.isprintable() else gojson.quote(text).replace('\\"', '"')


def columns(text: str) -> int:
    """Columns of printable text."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """*text* in at most *width* columns."""
    if columns(text) <= width:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def folded(text: str, width: int) -> list[str]:
    """*text* in lines of at most *width* columns."""
    if columns(text) <= width:
        return [text]
    if text.isascii():
        return [text[start : start + width] for start in range(0, len(text), width)]
    from rich.cells import chop_cells

    return chop_cells(text, width)
