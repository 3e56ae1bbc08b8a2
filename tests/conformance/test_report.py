"""The reports say what the results say, whatever bytes the programs put into their messages."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from restic_conformance.apt import mirror_candidates
from restic_conformance.programs import OURS, REFERENCE, Program, Rustic
from restic_conformance.report import matrix, summary, write_html, write_junit
from restic_conformance.runner import SCENARIOS, Case, Result, choose
from restic_conformance.scenarios_same import normal

OLD = Program("restic-0.14", ["false"], version=(0, 14))
NEW = Program(REFERENCE, ["false"], version=(0, 19))
OWN = Program(OURS, ["false"], version=(0, 19))
NASTY = "b'\\xff' <b>&\x00\x1b[31m \udcff \u2028"

RESULTS = [
    Result(Case(SCENARIOS[0], OURS, REFERENCE), "pass", "", 1.0, ("a known fault",)),
    Result(Case(SCENARIOS[0], REFERENCE, OURS), "fail", NASTY, 2.0),
    Result(Case(SCENARIOS[1], REFERENCE, OURS), "error", "Traceback\nKeyError: 'x'", 3.0),
]


def test_matrix_has_a_mark_for_every_case() -> None:
    lines = matrix(RESULTS).splitlines()
    assert lines[-2].split() == [SCENARIOS[0].name, "ok", "FAIL"]
    assert lines[-1].split() == [SCENARIOS[1].name, ".", "ERROR"]


def test_summary_counts_and_lists() -> None:
    text = summary(RESULTS)
    assert text.startswith("1 passed, 1 failed, 1 broken, 6 s")
    assert NASTY in text
    assert "a known fault" in text


def test_junit_is_valid_and_complete(tmp_path: Path) -> None:
    write_junit(RESULTS, tmp_path / "junit.xml")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [len(case.findall("failure")) for case in suite] == [0, 1, 0]


def test_html_is_one_page_and_escapes(tmp_path: Path) -> None:
    write_html(RESULTS, [OWN], tmp_path / "index.html", "Matrix <of> programs")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Matrix &lt;of&gt; programs" in page
    assert "<b>&" not in page
    assert "http" not in page
    assert "src=" not in page


def test_fast_cases_always_have_our_program_in_them() -> None:
    cases = choose([OLD, NEW, OWN], fast=True)
    assert all(OURS in (case.writer, case.reader) for case in cases)
    assert {case.scenario.name for case in choose([NEW, OWN], fast=True)} >= {"same-tree-v2", "same-json", "two-keys"}


def test_full_cases_cover_every_ordered_pair() -> None:
    pairs = {(case.writer, case.reader) for case in choose([OLD, NEW, OWN], fast=False, only=["trees-v2"])}
    assert len(pairs) == 9


def test_what_a_pair_cannot_do_is_not_asked_of_it() -> None:
    rustic = Rustic("rustic", ["false"], takes_locks=False, formats=(2,))
    cases = choose([OLD, NEW, OWN, rustic], fast=False)
    assert not [case for case in cases if case.scenario.name == "trees-v1" and case.writer == "rustic"]
    assert not [case for case in cases if "lock" in case.scenario.name and "rustic" in (case.writer, case.reader)]
    assert not [
        case for case in cases if case.scenario.name == "compression-better" and case.writer == "restic-0.14"
    ]  # fmt: skip
    assert not [case for case in cases if case.scenario.name.startswith("same-") and OLD.name in case.writer]


def test_only_values_that_must_differ_are_masked() -> None:
    assert normal([("time", "a"), ("tree", "b")]) == [("time", "…"), ("tree", "b")]
    assert normal([[("id", 1)], [("size", 2)]]) == [[("id", "…")], [("size", 2)]]


def test_mirrors_come_from_the_configuration_of_apt() -> None:
    assert mirror_candidates(["http://a/debian/", "http://a/debian-security/"]) == ["http://a/debian/"]
    assert mirror_candidates(["http://b/ubuntu/"]) == ["http://b/debian/"]
    assert mirror_candidates(["http://a/debian/"], "http://c/") == ["http://c/"]
