"""The worked examples of the chapters: complete, the same at every build, and nothing wrong with the repository they show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import examples
import pytest
from examples import EXAMPLES, Example
from pages import CHAPTERS, Pages

from restic_conformance import fixtures

WITH_BYTES = {"layout", "crypto", "keys", "config", "unpacked", "packs", "indexes", "trees", "snapshots", "locks"}


class _Tables(HTMLParser):
    """The tables of a page: caption, and for each row the cells' texts, `<br>` as a line's end."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[list[str]]]] = []
        self._into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "caption":
            self._into = []
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag == "td":
            self._into = []
        elif tag == "br" and self._into is not None:
            self._into.append("\n")

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self.tables.append(("".join(self._into or ()), []))
        elif tag == "td":
            self.tables[-1][1][-1].append("".join(self._into or ()))
        if tag in ("caption", "td"):
            self._into = None


def _address(name: str) -> str:
    return f"#{name}"


def _tables(example: Example) -> list[tuple[str, list[list[str]]]]:
    parser = _Tables()
    parser.feed(examples.shown(example, _address))
    return parser.tables


def _bytes(cell: str, is_text: bool) -> tuple[bytes, int]:
    """What a cell shows, and how many bytes it leaves out."""
    if is_text:
        return cell.replace("\\n", "\n").encode(), 0
    more = re.search(r"and (\d+) more$", cell)
    shown = cell[: more.start()] if more else cell
    return bytes.fromhex(shown.replace("\n", " ")), int(more[1]) if more else 0


def test_every_chapter_about_bytes_has_an_example() -> None:
    pages = Pages().all()
    assert {name for name in CHAPTERS if "{ #worked-example }" in pages[name]} == WITH_BYTES
    assert "restic-format-docs-" not in "".join(pages.values()), "a page names the folder of the build"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.chapter}-{example.fixture}-{example.folder}")
def test_an_example_shows_every_byte(example: Example) -> None:
    tables = _tables(example)
    document = examples.inspected(example).document
    regions = {region.name: region for region in examples.all_regions(document)}
    for caption, rows in tables:
        size = int(re.findall(r"(\d+) bytes?", caption)[0])
        content = None if "as stored" in caption else regions[caption.split(",")[0]].content
        data = document.data if content is None else content.data
        assert size == len(data)
        is_text = any(not name for _, _, name in rows)
        at = 0
        for offset, cell, _ in rows:
            assert int(offset) == at
            shown, left_out = _bytes(cell, is_text)
            assert bytes(data[at : at + len(shown)]) == shown
            at += len(shown) + left_out
        assert at == size


def test_a_region_is_shown_with_its_value_clause_and_meaning() -> None:
    example = next(example for example in EXAMPLES if example.chapter == "packs" and example.fixture == examples.SMALL)
    rows = {name.splitlines()[0]: (cell, name) for _, table in _tables(example) for _, cell, name in table}
    cell, name = rows["header.entries[0].length = 71"]
    assert cell == "47 00 00 00"
    assert name.splitlines()[1] == "bytes of the sealed blob (PACK-6)"
    assert rows["header.entries[0].kind = compressed_data"][0] == "02"


def _names(chapter: str, fixture: str) -> str:
    """What stands in the last column of a chapter's examples from *fixture*."""
    found = [example for example in EXAMPLES if (example.chapter, example.fixture) == (chapter, fixture)]
    return "\n".join(name for example in found for _, rows in _tables(example) for *_, name in rows)


def test_examples_of_both_versions_differ_in_what_the_chapters_say() -> None:
    for chapter, only_new in (("unpacked", "file.mark"), ("packs", "uncompressed_length"), ("indexes", "uncompressed_length")):
        assert only_new not in _names(chapter, examples.OLD)
        assert only_new in _names(chapter, examples.SMALL)


def test_an_example_is_what_the_command_prints() -> None:
    for example in (one for one in EXAMPLES if one.fixture == examples.SMALL and not one.begin):
        home = str(examples.repository(example.fixture))
        arguments = ["-r", home, "inspect", "--json", "--all", "--depth", "0", "--show-secrets", examples.target(example)]
        done = subprocess.run(
            [sys.executable, "-m", "restic_tools", *arguments],
            env={**os.environ, "RESTIC_PASSWORD": fixtures.describe(example.fixture).passwords[0]},
            capture_output=True,
            check=True,
        )
        printed = [
            name for name in _leaves(json.loads(done.stdout)["regions"]) if not name.endswith((":name", ":before", ":end"))
        ]
        shown = [name.splitlines()[0].split(" = ")[0] for _, rows in _tables(example) for *_, name in rows if name]
        assert sorted(shown) == sorted(printed)


def _leaves(regions: list[dict[str, Any]]) -> Iterator[str]:
    """Names of the regions without parts in the command's JSON."""
    for region in regions:
        if "regions" not in region:
            yield region["name"]
        yield from _leaves(region.get("regions", []))
        yield from _leaves(region.get("content", {}).get("regions", []))


def test_damage_stops_the_build(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = fixtures.unpack(examples.SMALL, tmp_path / "fixture")
    (lock,) = (repository / "locks").iterdir()
    fixtures.apply([{"do": "truncate", "path": str(lock.relative_to(repository)), "size": 100}], repository)
    monkeypatch.setattr(examples, "repository", lambda _: repository)
    for cached in (examples.inspector, examples.inspected):
        cached.cache_clear()
    locks = next(example for example in EXAMPLES if example.chapter == "locks")
    with pytest.raises(ValueError, match="tiny-v2"):
        examples.inspected(locks)
    for cached in (examples.inspector, examples.inspected):
        cached.cache_clear()
