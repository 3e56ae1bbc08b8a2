"""Pages of content: of a file as text, or of anything as bytes in hexadecimal."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import chop_cells

from restic_format.errors import ResticFormatError
from restic_format.explore.browse import image_facts
from restic_format.explore.browse.images import HEAD
from restic_format.snapshots import FoundSnapshot, open_file
from restic_format.words import printable, visible
from restic_spec.tree import Node
from restic_tools.own.explore.page import Column, Page, counted

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model

WIDTH = 16
"""Bytes in a row."""
TEXT = 1 << 20
"""Bytes of a file that are shown as text; the rest only in hexadecimal."""
_MARGIN = 3
"""Columns of the screen that no text stands in."""
_CHUNK = 64 << 10
_CHUNKS = 32
"""Chunks of bytes that are kept."""

Read = Callable[[int, int], bytes]
"""``(offset, size) -> bytes``, fewer only at the end."""


def content_page(model: Model, found: FoundSnapshot | None, path: str, node: Node) -> Page:
    """The content of a file, as text if it is text.

    Raises:
        NodeUnusable: it is not a regular file.
        ResticFormatError: no index knows one of its blobs, or the first one cannot be read.
    """
    stream = open_file(model.repository, node, model.cache)
    head = stream.pread(0, min(stream.size, HEAD))
    short = "" if found is None else f"{found.short_id}  "
    hexadecimal = HexPage(model, f"{short}{printable(path)}", stream.pread, stream.size)
    facts = image_facts(head)
    if facts is not None:
        colours = f", {facts.colours}" if facts.colours else ""
        hexadecimal.note = (
            f"{facts.format} image, {facts.width} x {facts.height} pixels{colours}, {counted(stream.size, 'byte')}"
        )
    page: Page = hexadecimal
    if facts is None and is_text(head):
        page = TextPage(model, hexadecimal, stream.pread, stream.size)
    page.snapshot = hexadecimal.snapshot = found
    return page


def is_text(head: bytes) -> bool:
    """Whether what begins with *head* can be shown as text: UTF-8 without NUL."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


class TextPage(Page):
    """The beginning of a file as text; whatever a terminal would act on is shown as an escape."""

    kind = "text"
    opens = ""
    empty = "no content"

    def __init__(self, model: Model, other: HexPage, read: Read, size: int) -> None:
        super().__init__(model, other.title)
        self._other = other
        self._read = read
        self._size = size
        self._lines: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def load(self, cancel: Cancel) -> None:
        """Read it."""
        width = max(self.model.width - _MARGIN, 1)
        raw = self._read(0, min(self._size, TEXT))
        cancel.check()
        lines = []
        for line in raw.decode("utf-8", "replace").removesuffix("\n").split("\n"):
            shown = visible(line.removesuffix("\r").expandtabs())
            lines += chop_cells(shown, width) or [""]
        self._lines = lines if raw else []
        self.note = counted(self._size, "byte")
        if self._size > TEXT:
            self.note = f"the first {TEXT >> 20} MiB of {counted(self._size, 'byte')}; the rest in hexadecimal only (t)"

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        return [self._lines[number]]

    def other(self) -> Page:
        """The same in hexadecimal."""
        self._other.back_to = self
        return self._other


class HexPage(Page):
    """Bytes in hexadecimal, of any length: what is not in view is not read."""

    kind = "hex"
    opens = ""
    columns = (Column("Offset", 10, right=True), Column("Bytes", 48), Column("Text", 0))
    empty = "no content"

    def __init__(self, model: Model, title: str, read: Read, size: int) -> None:
        super().__init__(model, title)
        self._read = read
        self._size = size
        self._chunks: dict[int, bytes | None] = {}
        """By number; None for one that cannot be read. Those used last stand at the end."""
        self.back_to: Page | None = None
        """The same as text."""
        self.note = counted(size, "byte")

    def __len__(self) -> int:
        return (self._size + WIDTH - 1) // WIDTH

    @property
    def held(self) -> int:
        """Rows that are in memory."""
        return len(self._chunks) * _CHUNK // WIDTH

    def _needed(self, first: int, count: int) -> range:
        last = max(first, min(first + count, len(self)) - 1)
        return range(first * WIDTH // _CHUNK, last * WIDTH // _CHUNK + 1)

    def lacks(self, first: int, count: int) -> bool:
        """See `Page`."""
        return any(number not in self._chunks for number in self._needed(first, count))

    def fetch(self, first: int, count: int) -> None:
        """See `Page`."""
        for number in self._needed(first, count):
            if number in self._chunks:
                continue
            try:
                chunk: bytes | None = self._read(number * _CHUNK, min(_CHUNK, self._size - number * _CHUNK))
            except ResticFormatError as error:
                self.tell("", error)
                chunk = None
            self._chunks[number] = chunk
            while len(self._chunks) > _CHUNKS:
                del self._chunks[next(iter(self._chunks))]

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        start = number * WIDTH
        offset = f"{start:x}"
        if start // _CHUNK not in self._chunks:
            return [offset, "...", ""]
        chunk = self._chunks[start // _CHUNK]
        if chunk is None:
            return [offset, "cannot be read", ""]
        row = chunk[start % _CHUNK : start % _CHUNK + WIDTH]
        return [offset, hex_text(row), text_of(row)]

    def other(self) -> Page | None:
        """The same as text, where it is text."""
        return self.back_to


def hex_text(row: bytes) -> str:
    """A row of bytes in two groups of eight."""
    return f"{row[:8].hex(' '):<23}  {row[8:].hex(' ')}"


def text_of(row: bytes) -> str:
    """The same bytes as ASCII, a dot for every other one."""
    return "".join([chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row])
