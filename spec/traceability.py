"""Clauses of the specification, the code that cites them and the tests that check them.

The test suite fails where these do not fit together, and the documentation prints them as a table.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "spec"
CODE = (ROOT / "spec" / "restic_spec", ROOT / "restic_format")
TESTS = ROOT / "tests"
VECTORS = ROOT / "spec" / "vectors"

PREFIXES = (
    "LAYOUT", "CRYPTO", "KEY", "CONFIG", "FILE", "PACK", "INDEX", "TREE", "SNAP", "LOCK", "CHUNK", "GOJSON", "ORDER", "CACHE",
    "QUARANTINE", "PARITY", "RUSTIC", "DIFF", "SOLVE",
)  # fmt: skip
LEVELS = ("must", "should", "observed")

CLAUSE = re.compile(r"^\*\*([A-Z]+-\d+)\*\* \((\w+)\) ", re.MULTILINE)
CITATION = re.compile(rf"\b(?:{'|'.join(PREFIXES)})-\d+\b")
_SOURCE = re.compile(r"^Source: (.+?)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Clause:
    """One numbered rule."""

    id: str
    level: str
    chapter: str
    """File name without ``.md``."""
    text: str
    """The statement, as Markdown, on one line."""
    source: str


@dataclass(frozen=True)
class Place:
    """A line of a file, relative to the top folder."""

    path: str
    line: int
    name: str = ""
    """The test function, or the vector; "" for code."""


def clauses() -> list[Clause]:
    """Every clause, in the order of the chapters' files and of the text.

    Raises:
        ValueError: a clause has no source.
    """
    return [clause for path in sorted(CHAPTERS.glob("*.md")) for clause in _of_chapter(path)]


def _of_chapter(path: Path) -> Iterator[Clause]:
    text = path.read_text(encoding="utf-8")
    starts = list(CLAUSE.finditer(text))
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        body = re.split(r"^#", text[start.end() : end], maxsplit=1, flags=re.MULTILINE)[0]
        source = _SOURCE.search(body)
        if source is None:
            raise ValueError(f"{path.name}: {start[1]} names no source")
        statement = " ".join(body[: source.start()].split())
        yield Clause(start[1], start[2], path.stem, statement, source[1].strip())


def citations(folders: tuple[Path, ...] = CODE) -> dict[str, list[Place]]:
    """Where the code names clauses."""
    result: dict[str, list[Place]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for name in CITATION.findall(line):
                    result.setdefault(name, []).append(Place(str(path.relative_to(ROOT)), number))
    return result


def raised_clauses(folders: tuple[Path, ...] = CODE) -> dict[str, list[Place]]:
    """Every constant ``clause=`` argument in the code, whatever it looks like."""
    result: dict[str, list[Place]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "clause" and isinstance(node.value, ast.Constant):
                    place = Place(str(path.relative_to(ROOT)), node.value.lineno)
                    result.setdefault(str(node.value.value), []).append(place)
    return result


def tests() -> dict[str, list[Place]]:
    """Tests by the clauses their marks name, and vectors, each of which is a test too."""
    result: dict[str, list[Place]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, place in _marks(path):
            result.setdefault(name, []).append(place)
    for path in sorted(VECTORS.glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8")).get("vectors", ()):
            for name in vector["clauses"]:
                result.setdefault(name, []).append(Place(str(path.relative_to(ROOT)), 0, vector["id"]))
    return result


def _marks(path: Path) -> Iterator[tuple[str, Place]]:
    relative = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                for name in _clauses_of_mark(decorator):
                    yield name, Place(relative, node.lineno, node.name)
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets):
            for name in _clauses_of_mark(node.value):
                yield name, Place(relative, node.lineno, path.stem)


def _clauses_of_mark(node: ast.expr) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.clause"):
            yield from (str(argument.value) for argument in call.args if isinstance(argument, ast.Constant))
