"""Worked examples: the files of a tiny repository byte by byte, as ``restic-format inspect`` explains them, for the chapters.

The repositories are fixtures that restic wrote: a page stays the same until the specification says something else.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

import traceability
from bytemaps import Link

from restic_conformance import fixtures
from restic_format.inspect.access import Access
from restic_format.inspect.objects import Inspected, Inspector
from restic_format.inspect.target import parse_target
from restic_format.storage import LocalStorage
from restic_spec.regions import Document, Region

LINE, LINES = 16, 4
"""Bytes of a line, and lines of one region that are shown at most; documents are shown whole."""


class Example(NamedTuple):
    """What a chapter shows."""

    chapter: str
    fixture: str
    folder: str
    """Where the file lies in the repository; of several the smallest is shown. ``blob`` and ``tree`` show one of a pack."""
    says: str
    """What is to be seen, Markdown."""
    begin: str = ""
    """Name of the region whose content is shown; "" shows the file."""
    levels: int = 9
    """How often something is opened; what is deeper is not shown."""


SMALL, OLD = "tiny-v2", "tiny-v1"
EXAMPLES = (
    Example(
        "crypto",
        SMALL,
        "blob",
        "A sealed blob: what is decrypted is as long as the ciphertext. The key for it is in the "
        "[example of a key file](keys.md#worked-example).",
    ),
    Example("keys", SMALL, "keys", "A key file, its salt and its sealed data decoded, and the master key in there."),
    Example("config", SMALL, "config", "The config. In a repository of version 1 it has the same form."),
    Example("unpacked", OLD, "locks", "A lock in a repository of version 1: the document under its seal.", levels=1),
    Example("unpacked", SMALL, "locks", "A lock in a repository of version 2: a mark, and a frame with the document."),
    Example("packs", SMALL, "data", "A pack with one compressed blob of data, and its header."),
    Example(
        "packs",
        OLD,
        "data",
        "The same data in a repository of version 1: the blob is not compressed, and its entry has no `uncompressed_length`.",
    ),
    Example("indexes", SMALL, "index", "The document of an index with both packs.", "file.frame"),
    Example(
        "indexes", OLD, "index", "That of version 1: nothing is compressed, so `uncompressed_length` is not there.", "file"
    ),
    Example("trees", SMALL, "tree", "A tree with one file.", "blob.frame"),
    Example("snapshots", SMALL, "snapshots", "The document of a snapshot.", "file.frame"),
    Example("locks", SMALL, "locks", "The document of a lock.", "file.frame"),
)


def of_chapter(name: str, link: Link) -> str:
    """The examples of a chapter as Markdown with HTML, "" where it has none."""
    if name == "layout":
        return _layout()
    found = [example for example in EXAMPLES if example.chapter == name]
    if not found:
        return ""
    return "\n\n".join([_heading(found[0].fixture, len(found)), *(shown(example, link) for example in found)])


def _heading(fixture: str, count: int = 1) -> str:
    note = fixtures.describe(fixture)
    program = " ".join(note.program.split()[:2])
    return (
        f"## Worked example{'s' if count > 1 else ''} {{ #worked-example }}\n\n"
        f"From a repository that {program} has made of one file with {_content_size()} bytes; its password is "
        f"`{note.passwords[0]}`. This is what `inspect` explains, at every build of this page: "
        "[how to read it](index.md#byte-maps-and-worked-examples)."
    )


@cache
def repository(fixture: str) -> Path:
    """The unpacked *fixture*."""
    folder = tempfile.TemporaryDirectory(prefix="restic-format-docs-")
    _folders.append(folder)
    return fixtures.unpack(fixture, Path(folder.name) / "fixture")


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _content_size() -> int:
    facts = fixtures.facts_of(repository(SMALL).parent)["first"]
    return sum(one.size for one in facts.values() if one.type == "file")


@cache
def inspector(fixture: str) -> Inspector:
    """What explains the files of *fixture*."""
    password = fixtures.describe(fixture).passwords[0].encode()
    return Inspector(Access.with_password(LocalStorage(str(repository(fixture))), password), password=password)


def target(example: Example) -> str:
    """What ``inspect`` is told to show."""
    if example.folder == "config":
        return "config"
    folder = {"blob": "data", "tree": "data"}.get(example.folder, example.folder)
    files = [path for path in (repository(example.fixture) / folder).rglob("*") if path.is_file()]
    files.sort(key=lambda path: path.stat().st_size, reverse=example.folder == "tree")
    if example.folder in ("blob", "tree"):
        pack = inspector(example.fixture).target(parse_target(f"pack/{files[0].name}", repository=True))
        first = next(region for region in all_regions(pack.document) if region.name == "header.entries[0].id")
        return f"{example.folder}/{first.raw.hex()}"
    kind = {"data": "pack", "keys": "key", "locks": "lock", "snapshots": "snapshot"}.get(folder, folder)
    return f"{kind}/{files[0].name}"


@cache
def inspected(example: Example) -> Inspected:
    """What the example shows.

    Raises:
        ValueError: something is wrong with it, which no example should have.
    """
    found = inspector(example.fixture).target(parse_target(target(example), repository=True))
    for finding in found.findings():
        raise ValueError(f"{example.fixture}: {finding.region}: {finding.what}")
    return found


def shown(example: Example, link: Link) -> str:
    """The example as Markdown with HTML."""
    kind, _, name = target(example).partition("/")
    command = f"restic-format -r {example.fixture} inspect {kind}{'/' if name else ''}{name[:8]}"
    document, title = inspected(example).document, f"{inspected(example).kind.value}, {inspected(example).size} bytes as stored"
    if example.begin:
        region = next(region for region in all_regions(document) if region.name == example.begin)
        assert region.content is not None
        document, title = region.content, _title(region, region.content)
    tables = "\n".join(_tables(document, title, example.levels, link))
    return f'{example.says}\n\n<div class="bytes">\n<p class="command"><code>{escape(command)}</code></p>\n{tables}\n</div>'


def all_regions(document: Document) -> Iterator[Region]:
    """Every region of *document* and of what is inside, outer ones first."""
    for region in document.regions():
        yield from _below(region)


def _below(region: Region) -> Iterator[Region]:
    yield region
    for part in region.regions():
        yield from _below(part)
    if region.content is not None:
        yield from all_regions(region.content)


_HOW = {"opened": "decrypted", "expanded": "decompressed", "decoded": "decoded from base64"}


def _title(region: Region, content: Document) -> str:
    return f"{region.name}, {_HOW[content.form]}: {content.size} byte{'s' if content.size != 1 else ''}"


def _tables(document: Document, title: str, levels: int, link: Link) -> Iterator[str]:
    """The table of *document*, and those of what is inside of it."""
    rows = "\n".join(_row(row, link) for row in _rows(document))
    yield f'<table class="regions">\n<caption>{escape(title)}</caption>\n{rows}\n</table>'
    if levels:
        for region in _here(document.regions()):
            if region.content is not None:
                yield from _tables(region.content, _title(region, region.content), levels - 1, link)


def _here(regions: Iterator[Region]) -> Iterator[Region]:
    """Regions of one document, outer ones first."""
    for region in regions:
        yield region
        yield from _here(region.regions())


class _Row(NamedTuple):
    """A line of a table: a region, and in documents the punctuation before it."""

    region: Region
    raw: bytes
    text: bool
    """Whether its bytes are shown as text: in documents."""

    @property
    def offset(self) -> int:
        return self.region.end - len(self.raw)


def _rows(document: Document) -> Iterator[_Row]:
    leaves = [region for region in _here(document.regions()) if next(region.regions(), None) is None]
    text = any(":" in region.name for region in leaves)
    before, last = b"", leaves[-1] if leaves else None
    for region in leaves:
        before += bytes(region.raw)
        if region is last or not text or not region.name.endswith((":name", ":before", ":end")):
            yield _Row(region, before, text)
            before = b""


def _row(row: _Row, link: Link) -> str:
    region = row.region
    shown = f"<code>{_text(row.raw)}</code>" if row.text else _hex(row.raw)
    if row.text and region.name.endswith(":end"):
        return f'<tr><td class="offset">{row.offset}</td><td>{shown}</td><td></td></tr>'
    value = "" if row.text or not isinstance(region.value, int | str) else f" = <b>{escape(str(region.value))}</b>"
    meaning = _meaning(region.meaning, link)
    if region.clause not in traceability.CITATION.findall(region.meaning):
        meaning += f" ({_clause(region.clause, link)})"
    return (
        f'<tr><td class="offset">{row.offset}</td><td>{shown}</td>'
        f"<td><code>{escape(region.name)}</code>{value}<br>{meaning}</td></tr>"
    )


def _hex(raw: bytes) -> str:
    lines = [raw[at : at + LINE].hex(" ") for at in range(0, min(len(raw), LINE * LINES), LINE)]
    more = len(raw) - LINE * LINES
    rest = f"<br><i>and {more} more</i>" if more > 0 else ""
    return f'<code class="hex">{"<br>".join(lines)}</code>{rest}'


def _text(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    return escape(text).replace("\n", '<span class="control">\\n</span>')


def _meaning(text: str, link: Link) -> str:
    """A line of a declaration as HTML: its first paragraph, with clauses as links."""
    first = escape(" ".join(text.split("\n\n")[0].split()))
    first = re.sub(r"``?([^`]+)``?", r"<code>\1</code>", first)
    return traceability.CITATION.sub(lambda match: _clause(match[0], link), first)


def _clause(name: str, link: Link) -> str:
    return f'<a href="{escape(link(name))}">{name}</a>'


def _layout() -> str:
    """The files of the repository."""
    home = repository(SMALL)
    chapters = {"index": "indexes", "data": "packs"}
    rows = []
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        place = path.relative_to(home)
        chapter = chapters.get(place.parts[0], place.parts[0])
        rows.append(f"| [`{place}`]({chapter}.md#worked-example) | {path.stat().st_size} |")
    return "\n".join(
        [
            _heading(SMALL),
            "",
            "Its files, beside the folders `data/00` to `data/ff` that are empty:",
            "",
            "| file | bytes |",
            "| --- | --- |",
            *rows,
        ]
    )
