"""Brings into the site what is written elsewhere: the chapters of ``spec/``, who implements and tests each clause, the schemas
that the declarations make, and the decisions. Nothing of it is kept twice.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "spec"), str(ROOT / "docs"), str(ROOT / "tools")]

import schemas  # noqa: E402 (needs the path set above)
import traceability  # noqa: E402

CHAPTERS = (
    "layout", "crypto", "keys", "config", "unpacked", "packs", "indexes", "trees", "snapshots", "locks", "chunking", "gojson",
    "ordering", "cache", "rustic", "differences",
)  # fmt: skip
_CODE = re.compile(r"`[^`]*`")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation's open places."""
    pages = ["specification/index.md", *(f"specification/{name}.md" for name in CHAPTERS)]
    pages += ["specification/schemas.md", "specification/coverage.md", "specification/vectors.md"]
    decisions = [f"decisions/{path.name}" for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))]
    for entry in config.nav or []:
        if "Specification" in entry:
            entry["Specification"] = pages
        if "Decisions" in entry:
            entry["Decisions"] = decisions
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    site = _Site()
    pages = {
        "index": site.introduction(),
        "coverage": site.coverage(),
        "vectors": site.vectors(),
        "schemas": site.schemas(),
    }
    pages.update({name: site.chapter(name) for name in CHAPTERS})
    for name, text in pages.items():
        files.append(File.generated(config, f"specification/{name}.md", content=text))
    files.append(File.generated(config, "reference/messages.md", content=schemas.messages_page()))
    return files


class _Site:
    """The pages, made from chapters, code and tests."""

    def __init__(self) -> None:
        self.clauses = {clause.id: clause for clause in traceability.clauses()}
        self.code = traceability.citations()
        self.tests = traceability.tests()
        missing = {clause.chapter for clause in self.clauses.values()} - set(CHAPTERS)
        if missing:
            raise ValueError(f"chapters the site does not know: {', '.join(sorted(missing))}")

    def _link(self, name: str, folder: str = "") -> str:
        clause = self.clauses.get(name)
        return name if clause is None else f"[{name}]({folder}{clause.chapter}.md#{name})"

    def _linked(self, text: str, own: str = "") -> str:
        """*text* with every clause it names, but *own* and those inside code, as a link."""
        pieces, last = [], 0
        for code in [*_CODE.finditer(text), None]:
            plain = text[last : code.start() if code else len(text)]
            pieces.append(traceability.CITATION.sub(lambda m: m[0] if m[0] == own else self._link(m[0]), plain))
            if code:
                pieces.append(code[0])
                last = code.end()
        return "".join(pieces)

    def chapter(self, name: str) -> str:
        """A chapter with its clauses framed and linked."""
        text = (traceability.CHAPTERS / f"{name}.md").read_text(encoding="utf-8")
        starts = list(traceability.CLAUSE.finditer(text))
        pieces = [self._linked(text[: starts[0].start()])]
        for number, start in enumerate(starts):
            end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
            heading = re.search(r"^#", text[start.end() : end], re.MULTILINE)
            stop = start.end() + heading.start() if heading else end
            pieces.append(self._clause(start[1]))
            pieces.append(self._linked(text[stop:end]))
        return "\n\n".join(pieces)

    def _clause(self, name: str) -> str:
        clause = self.clauses[name]
        places, tests = len(self.code.get(name, ())), len(self.tests.get(name, ()))
        counts = f"[code: {places} · tests: {tests}](coverage.md#{name})"
        return (
            f'<div class="clause {clause.level}" id="{name}" markdown>\n\n'
            f'<span class="clause-id">[{name}](#{name})</span> <span class="clause-level">{clause.level}</span>\n\n'
            f"{self._linked(clause.text, name)}\n\n"
            f'<p class="clause-source" markdown>{self._linked(" ".join(clause.source.split()), name)} · {counts}</p>\n\n</div>'
        )

    def introduction(self) -> str:
        """The introduction, with the places of the site in its links."""
        text = (traceability.CHAPTERS / "README.md").read_text(encoding="utf-8")
        levels = {level: sum(clause.level == level for clause in self.clauses.values()) for level in traceability.LEVELS}
        counted = ", ".join(f"{count} {level}" for level, count in levels.items())
        more = (
            f"\n\n## In figures\n\n{len(self.clauses)} clauses ({counted}), {self._vector_count()} test vectors. "
            "[Coverage](coverage.md) lists the code and the tests of each clause, [Schemas](schemas.md) the declarations that "
            "drive everything, [Test vectors](vectors.md) how to run the vectors.\n"
        )
        return text + more

    def _vector_count(self) -> int:
        names = {place.name for places in self.tests.values() for place in places if place.path.endswith(".json")}
        return len(names)

    def vectors(self) -> str:
        """How to use the vectors."""
        text = (traceability.VECTORS / "README.md").read_text(encoding="utf-8")
        return text.replace("(../README.md#", "(index.md#")

    def schemas(self) -> str:
        """The declarations, with the clauses they name as links."""
        return self._linked(schemas.page())

    def coverage(self) -> str:
        """Clause, code, tests."""
        lines = [
            "# Coverage",
            "",
            "Which code implements a clause, and which tests and vectors check it. The test suite fails when a clause has",
            "no code or no test, and when code or tests name a clause that does not exist.",
            "",
            "| clause | level | code | tests |",
            "| --- | --- | --- | --- |",
        ]
        for chapter in CHAPTERS:
            for clause in self.clauses.values():
                if clause.chapter == chapter:
                    lines.append(self._row(clause))
        return "\n".join(lines) + "\n"

    def _row(self, clause: traceability.Clause) -> str:
        files: dict[str, list[int]] = {}
        for place in self.code.get(clause.id, ()):
            files.setdefault(place.path, []).append(place.line)
        code = "<br>".join(f"`{path}` {', '.join(map(str, lines))}" for path, lines in files.items())
        vectors: dict[str, int] = {}
        tests = []
        for place in self.tests.get(clause.id, ()):
            if place.path.endswith(".json"):
                vectors[place.path] = vectors.get(place.path, 0) + 1
            else:
                tests.append(f"`{place.path}` {place.name}")
        tests += [f"`{path}` {count} vector{'s' if count > 1 else ''}" for path, count in vectors.items()]
        name = f'<span id="{clause.id}"></span>{self._link(clause.id)}'
        return f"| {name} | {clause.level} | {code} | {'<br>'.join(tests)} |"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link the clauses that hand-written pages name."""
    if page.file.src_uri.startswith("specification/"):
        return markdown
    depth = page.file.src_uri.count("/")
    site = _site()
    prefix = "../" * depth + "specification/"
    pieces, last = [], 0
    for code in [*re.finditer(r"```.*?```|`[^`\n]*`|\[[^\]\n]*\]\([^)\n]*\)", markdown, re.DOTALL), None]:
        plain = markdown[last : code.start() if code else len(markdown)]
        pieces.append(traceability.CITATION.sub(lambda m: site._link(m[0], prefix), plain))
        if code:
            pieces.append(code[0])
            last = code.end()
    return "".join(pieces)


_cached: list[_Site] = []


def _site() -> _Site:
    if not _cached:
        _cached.append(_Site())
    return _cached[0]
