"""Every kind of finding says what it means, and cites a rule that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from restic_format.check import blobs, files, headers, index, orphans, packreader, packs, trees
from restic_format.check.findings import FACTS, Code, Finding, ObjectKind, ObjectRef, Severity


@pytest.fixture(scope="module")
def clauses(project_root: Path) -> set[str]:
    text = "".join(path.read_text() for path in (project_root / "spec").glob("*.md"))
    return set(re.findall(r"^\*\*([A-Z0-9]+-\d+)\*\*", text, re.MULTILINE))


def test_every_code_has_facts_and_every_fact_its_clause(clauses: set[str]) -> None:
    assert set(FACTS) == set(Code)
    for code, facts in FACTS.items():
        assert facts.clause in clauses, code
        assert facts.effect and not facts.effect.endswith(".")


def test_clauses_cited_at_the_place_exist(clauses: set[str]) -> None:
    for module in (blobs, files, headers, index, orphans, packreader, packs, trees):
        assert module.__file__ is not None
        for clause in re.findall(r'"([A-Z0-9]+-\d+)"', Path(module.__file__).read_text()):
            assert clause in clauses, (module.__name__, clause)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_whatever_is_an_error_has_a_remedy(code: Code) -> None:
    finding = Finding(code, ObjectRef(ObjectKind.PACK, "ab" * 32), "message")
    if code.severity is Severity.ERROR and code not in (Code.SNAPSHOT_NOT_FOUND, Code.PACK_INCOMPLETE):
        assert finding.repair or finding.advice
    assert all("ID" not in command and "PACK" not in command for command in finding.repair)
    assert "ID" not in finding.advice
