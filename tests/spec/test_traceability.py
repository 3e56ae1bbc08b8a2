"""Chapters, code and tests fit together: no clause without code or test, no name of a clause that does not exist."""

import re

import pytest
import traceability

CLAUSES = {clause.id: clause for clause in traceability.clauses()}


@pytest.fixture(scope="module")
def cited():
    return traceability.citations()


@pytest.fixture(scope="module")
def tested():
    return traceability.tests()


def test_chapters_are_well_formed():
    ids = [clause.id for clause in traceability.clauses()]
    assert len(set(ids)) == len(ids)
    assert {clause.level for clause in CLAUSES.values()} <= set(traceability.LEVELS)
    for prefix in traceability.PREFIXES:
        numbers = [int(name.split("-")[1]) for name in ids if name.startswith(f"{prefix}-")]
        assert numbers == list(range(1, len(numbers) + 1)), f"{prefix} is not numbered from 1 without gaps"
    assert {name.split("-")[0] for name in ids} == set(traceability.PREFIXES)


def test_every_bold_id_is_a_clause():
    # A clause with a malformed first line would silently be none.
    for path in traceability.CHAPTERS.glob("*.md"):
        bold = re.findall(r"^\*\*([A-Z]+-\d+)\*\*", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert bold == [name for name, clause in CLAUSES.items() if clause.chapter == path.stem], path.name


@pytest.mark.parametrize("name", CLAUSES)
def test_clause_has_code_and_test(name, cited, tested):
    assert name in cited, f"no code cites {name}"
    assert name in tested, f"no test checks {name}"


def test_code_names_only_clauses_that_exist(cited):
    named = {**cited, **traceability.raised_clauses()}
    assert {name: places[0] for name, places in named.items() if name not in CLAUSES} == {}


def test_tests_name_only_clauses_that_exist(tested):
    assert {name: places[0] for name, places in tested.items() if name not in CLAUSES} == {}


def test_chapters_refer_only_to_clauses_that_exist():
    for path in traceability.CHAPTERS.glob("*.md"):
        for name in traceability.CITATION.findall(path.read_text(encoding="utf-8")):
            assert name in CLAUSES, f"{path.name} refers to {name}"
