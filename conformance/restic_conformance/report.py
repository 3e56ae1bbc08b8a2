"""The results as a matrix for people, JUnit XML for machines, and one self-contained HTML page."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from restic_conformance.programs import Program, version_of
from restic_conformance.runner import Result

MARKS = {"pass": "ok", "fail": "FAIL", "error": "ERROR"}


def _rows(results: Sequence[Result]) -> tuple[list[str], list[str], dict[tuple[str, str], Result]]:
    pairs = list(dict.fromkeys(f"{result.case.writer} → {result.case.reader}" for result in results))
    scenarios = list(dict.fromkeys(result.case.scenario.name for result in results))
    cells = {
        (result.case.scenario.name, f"{result.case.writer} → {result.case.reader}"): result for result in results
    }  # fmt: skip
    return pairs, scenarios, cells


def matrix(results: Sequence[Result]) -> str:
    """Scenarios as rows, writer → reader as columns; a dot where the pair was not tried."""
    pairs, scenarios, cells = _rows(results)
    width = max((len(name) for name in scenarios), default=0)
    lines = [f"{number:>{width}}  {pair}" for number, pair in enumerate(pairs, 1)]
    lines.append(" " * width + "".join(f"{number:>6}" for number in range(1, len(pairs) + 1)))
    for scenario in scenarios:
        marks = (cells.get((scenario, pair)) for pair in pairs)
        lines.append(f"{scenario:<{width}}" + "".join(f"{MARKS[c.verdict] if c else '.':>6}" for c in marks))
    return "\n".join(lines)


def summary(results: Sequence[Result]) -> str:
    """One line of totals, then every finding, then the known faults that were met."""
    count = {verdict: sum(result.verdict == verdict for result in results) for verdict in MARKS}
    seconds = sum(result.seconds for result in results)
    lines = [f"{count['pass']} passed, {count['fail']} failed, {count['error']} broken, {seconds:.0f} s"]
    lines += [f"{MARKS[r.verdict]} {r.case.name}: {r.message}" for r in results if r.verdict != "pass"]
    notes = sorted({note for result in results for note in result.notes})
    lines += ["known faults of other programs, not judged:", *(f"  {note}" for note in notes)] if notes else []
    return "\n".join(lines)


def write_junit(results: Sequence[Result], path: Path) -> None:
    """JUnit XML: a test case for every case, the scenario as class."""
    suite = ElementTree.Element(
        "testsuite",
        name="restic conformance",
        tests=str(len(results)),
        failures=str(sum(result.verdict == "fail" for result in results)),
        errors=str(sum(result.verdict == "error" for result in results)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=result.case.scenario.name,
            name=f"{result.case.writer} → {result.case.reader}",
            time=f"{result.seconds:.3f}",
        )
        if result.verdict != "pass":
            kind = "failure" if result.verdict == "fail" else "error"
            node = ElementTree.SubElement(case, kind, message=_printable(result.message.splitlines()[-1]))
            node.text = _printable(result.message)
        if result.notes:
            ElementTree.SubElement(case, "system-out").text = _printable("\n".join(result.notes))
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """Text that XML can hold: control characters are not allowed in it, not even escaped."""
    return "".join(char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in text)


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1c2330}
h1{font-size:1.5rem}table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.3rem .6rem;border:1px solid #d6dbe3;text-align:left;font-size:.86rem}
th.pair{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:500;white-space:nowrap}
td.pass{background:#dff3e4;color:#11632b}td.fail{background:#fbdcdc;color:#8c1515;font-weight:600}
td.error{background:#fdeac7;color:#7a4b00;font-weight:600}td.none{color:#a6adba;text-align:center}
td a{color:inherit}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f6f9;padding:.7rem;border-radius:.4rem}
@media(prefers-color-scheme:dark){body{background:#14171c;color:#dfe4ec}th,td{border-color:#343b47}
td.pass{background:#14351f;color:#9be0b0}td.fail{background:#471a1c;color:#ffb3b3}
td.error{background:#463310;color:#ffd68a}pre{background:#1d222a}}
"""


def write_html(results: Sequence[Result], programs: Sequence[Program], path: Path, title: str) -> None:
    """One page without any other file: programs, matrix, findings, known faults."""
    pairs, scenarios, cells = _rows(results)
    e = html.escape
    passed = sum(result.verdict == "pass" for result in results)
    out = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{e(title)}</title><style>{STYLE}</style><h1>{e(title)}</h1>",
        f"<p>{passed} of {len(results)} cases pass. {time.strftime('%Y-%m-%d %H:%M %Z')}</p><table>",
    ]
    for program in programs:
        line, _ = version_of(list(program.command))
        out.append(f"<tr><th>{e(program.name)}<td>{e(line)}")
    out.append("</table><table><tr><th>scenario")
    out += [f"<th class=pair>{e(pair)}" for pair in pairs]
    for scenario in scenarios:
        titles = {r.case.scenario.title for r in results if r.case.scenario.name == scenario}
        out.append(f"<tr><th title='{e(titles.pop(), quote=True)}'>{e(scenario)}")
        for pair in pairs:
            result = cells.get((scenario, pair))
            if result is None:
                out.append("<td class=none>·")
            elif result.verdict == "pass":
                out.append(f"<td class=pass title='{result.seconds:.1f} s'>ok")
            else:
                out.append(f"<td class={result.verdict}><a href='#{results.index(result)}'>{MARKS[result.verdict]}</a>")
    out.append("</table>")
    bad = [result for result in results if result.verdict != "pass"]
    out += ["<h2>Findings</h2>"] if bad else []
    out += [f"<h3 id='{results.index(r)}'>{e(r.case.name)}</h3><pre>{e(r.message)}</pre>" for r in bad]
    notes = sorted({note for result in results for note in result.notes})
    out += ["<h2>Known faults of other programs, not judged</h2><ul>"] if notes else []
    out += [f"<li>{e(note)}" for note in notes]
    path.write_text("\n".join(out) + "\n", encoding="utf-8", errors="backslashreplace")
