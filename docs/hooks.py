"""Brings the generated pages (`pages`) and the decisions into the site, and links the clauses that hand-written pages name."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "spec"), str(ROOT / "docs"), str(ROOT / "tools"), str(ROOT / "conformance")]

import schemas  # noqa: E402 (needs the path set above)
import traceability  # noqa: E402
from pages import CHAPTERS, Pages  # noqa: E402


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
    for name, text in _pages().all().items():
        files.append(File.generated(config, f"specification/{name}.md", content=text))
    files.append(File.generated(config, "reference/messages.md", content=schemas.messages_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link the clauses that hand-written pages name."""
    if page.file.src_uri.startswith("specification/"):
        return markdown
    depth = page.file.src_uri.count("/")
    pages = _pages()
    prefix = "../" * depth + "specification/"
    pieces, last = [], 0
    for code in [*re.finditer(r"```.*?```|`[^`\n]*`|\[[^\]\n]*\]\([^)\n]*\)", markdown, re.DOTALL), None]:
        plain = markdown[last : code.start() if code else len(markdown)]
        pieces.append(traceability.CITATION.sub(lambda m: pages.link(m[0], prefix), plain))
        if code:
            pieces.append(code[0])
            last = code.end()
    return "".join(pieces)


@cache
def _pages() -> Pages:
    return Pages()
