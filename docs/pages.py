"""The pages of the specification on the site: the chapters of ``spec/`` with byte maps, who implements and tests each clause,
the schemas that the declarations make. Nothing of it is kept twice, and nothing of it needs the program that builds the site.
"""

from __future__ import annotations

import re

import bytemaps
import examples
import forms
import schemas
import traceability

CHAPTERS = (
    "layout", "crypto", "keys", "config", "unpacked", "packs", "indexes", "trees", "snapshots", "locks", "chunking", "gojson",
    "ordering", "cache", "quarantine", "parity", "rustic", "differences", "solving",
)  # fmt: skip
_CODE = re.compile(r"`[^`]*`")


class Pages:
    """The pages, made from chapters, code and tests."""

    def __init__(self) -> None:
        self.clauses = {clause.id: clause for clause in traceability.clauses()}
        self.code = traceability.citations()
        self.tests = traceability.tests()
        missing = {clause.chapter for clause in self.clauses.values()} - set(CHAPTERS)
        if missing:
            raise ValueError(f"chapters the site does not know: {', '.join(sorted(missing))}")

    def link(self, name: str, folder: str = "") -> str:
        """*name* as a link where it is a clause; *folder* has the chapters."""
        clause = self.clauses.get(name)
        return name if clause is None else f"[{name}]({folder}{clause.chapter}.md#{name})"

    def _linked(self, text: str, own: str = "") -> str:
        """*text* with every clause it names, but *own* and those inside code, as a link."""
        pieces, last = [], 0
        for code in [*_CODE.finditer(text), None]:
            plain = text[last : code.start() if code else len(text)]
            pieces.append(traceability.CITATION.sub(lambda m: m[0] if m[0] == own else self.link(m[0]), plain))
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
        pieces.insert(1, self._maps(name))
        pieces.append(examples.of_chapter(name, self._address))
        return "\n\n".join(pieces)

    def _maps(self, chapter: str) -> str:
        """The byte maps of a chapter's forms."""
        return "\n\n".join(
            f'<figure class="bytemap-figure">\n{bytemaps.draw(form, self._address)}\n'
            f'<figcaption>{form.title}. <a href="../schemas/#{form.name}">As a table</a></figcaption>\n</figure>'
            for form in forms.FORMS
            if form.chapter == chapter and form.drawn
        )

    def _address(self, name: str) -> str:
        """The address of a clause, or of a document's schema, from a page beside its own."""
        clause = self.clauses.get(name)
        return f"../schemas/#{name.lower()}" if clause is None else f"../{clause.chapter}/#{name}"

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

    def all(self) -> dict[str, str]:
        """Every page, by its name in the folder ``specification``."""
        pages = {
            "index": self.introduction(),
            "coverage": self.coverage(),
            "vectors": self.vectors(),
            "schemas": self.schemas(),
        }
        return pages | {name: self.chapter(name) for name in CHAPTERS}

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
        name = f'<span id="{clause.id}"></span>{self.link(clause.id)}'
        return f"| {name} | {clause.level} | {code} | {'<br>'.join(tests)} |"
