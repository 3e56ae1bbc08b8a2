"""``python -m restic_conformance``: hold programs with restic's command line against each other."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from restic_conformance.programs import OURS, REFERENCE, Program, default_programs, make_program
from restic_conformance.report import MARKS, matrix, summary, write_html, write_junit
from restic_conformance.runner import SCENARIOS, choose, run_case
from restic_conformance.workspace import Workspace


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m restic_conformance", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--fast", action="store_true", help="small data, pairs with our program only (default)")
    size.add_argument("--full", action="store_true", help="big data, every pair")
    parser.add_argument(
        "--impl", action="append", default=[], metavar="NAME=COMMAND",
        help=f"add or replace a program; {OURS!r} is the one in question, 'rustic…' gets rustic's adapter",
    )  # fmt: skip
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave a program out")
    parser.add_argument("--only", action="append", default=[], metavar="SCENARIO", help="names starting with this")
    parser.add_argument("--focus", metavar="NAME", help="with --full: only pairs with this program in them")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="where the real programs are (.peers)")
    parser.add_argument("--report-dir", type=Path, help="write junit.xml and index.html here")
    parser.add_argument("--work-dir", type=Path, help="where to put the data (default: the temporary folder)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and stop")
    return parser


def _own_command() -> list[str] | None:
    """Our program beside the running interpreter, else the one on the search path."""
    beside = Path(sys.executable).parent / "restic-format"
    return [str(beside)] if os.access(beside, os.X_OK) else None


def programs_of(options: argparse.Namespace) -> list[Program]:
    """The programs a run is about. Raises :class:`ValueError` for one that cannot be run."""
    programs = {program.name: program for program in default_programs(options.peers, _own_command())}
    for argument in options.impl:
        name, separator, command = argument.partition("=")
        if not separator:
            raise ValueError(f"--impl {argument}: NAME=COMMAND is expected")
        programs[name] = make_program(name, shlex.split(command))
    for name in options.without:
        programs.pop(name, None)
    if REFERENCE not in programs:
        raise ValueError(f"{REFERENCE} is not below {options.peers}: run python -m restic_conformance.peers")
    return list(programs.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns 0 when every case passes, 1 when one does not, 2 when nothing could be run."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{scenario.name:28} {scenario.title}" for scenario in SCENARIOS))
        return 0
    try:
        programs = programs_of(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = []
    with Workspace(programs, fast=not options.full, folder=options.work_dir) as workspace:
        for case in choose(programs, not options.full, options.only):
            if options.focus and options.focus not in (case.writer, case.reader):
                continue
            result = run_case(workspace, case)
            results.append(result)
            print(f"{MARKS[result.verdict]:>5} {result.seconds:6.1f} s  {case.name}", flush=True)
            if result.message:
                print(f"               {result.message}", flush=True)
        left_out = {f"{name}: {what}" for name, whats in workspace.left_out.items() for what in whats}
    print("\n" + matrix(results) + "\n\n" + summary(results))
    for what in sorted(left_out):
        print(f"this machine left out of the trees: {what}")
    if options.report_dir:
        options.report_dir.mkdir(parents=True, exist_ok=True)
        write_junit(results, options.report_dir / "junit.xml")
        write_html(results, programs, options.report_dir / "index.html", "Compatibility matrix")
    return 0 if results and all(result.verdict == "pass" for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
