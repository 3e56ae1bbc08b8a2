"""``restic-conformance``: hold programs with restic's command line against each other."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from restic_conformance.locations import read_places
from restic_conformance.programs import OURS, REFERENCE, Program, default_programs, make_program
from restic_conformance.report import MARKS, matrix, summary, write_html, write_junit
from restic_conformance.runner import SCENARIOS, choose, run_case
from restic_conformance.scenarios_locations import location_scenarios
from restic_conformance.workspace import Workspace

NOTHING_RUN = 2
"""Exit code when nothing could be run: the command line is wrong, or a program is missing."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _own_command() -> list[str] | None:
    """Our program beside the running interpreter, else the one on the search path."""
    beside = Path(sys.executable).parent / "restic-format"
    return [str(beside)] if os.access(beside, os.X_OK) else None


def programs_of(peers: Path, given: Sequence[str], without: Sequence[str]) -> list[Program]:
    """The programs a run is about: those below *peers* and ours, those *given* as ``NAME=COMMAND``, and none of *without*.

    Raises :class:`ValueError` for one that cannot be run.
    """
    programs = {program.name: program for program in default_programs(peers, _own_command())}
    for argument in given:
        name, separator, command = argument.partition("=")
        if not separator:
            raise ValueError(f"--impl {argument}: NAME=COMMAND is expected")
        programs[name] = make_program(name, shlex.split(command))
    for name in without:
        programs.pop(name, None)
    if REFERENCE not in programs:
        raise ValueError(f"{REFERENCE} is not below {peers}: run python -m restic_conformance.peers")
    return list(programs.values())


@app.command()
def conformance(
    fast: Annotated[bool, typer.Option("--fast", help="small data, only pairs with our program (default)")] = False,
    full: Annotated[bool, typer.Option("--full", help="large data, all pairs")] = False,
    impl: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND",
            help=f"add or replace a program; {OURS!r} is the one in question, 'rustic…' gets rustic's adapter",
        ),
    ] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="NAME", help="leave a program out")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="SCENARIO", help="only scenarios whose names begin like this")
    ] = None,
    focus: Annotated[str, typer.Option(metavar="NAME", help="with --full: only pairs with this program in them")] = "",
    peers: Annotated[Path, typer.Option(help="directory of the real programs")] = Path(".peers"),
    locations: Annotated[
        Path | None, typer.Option(help="also through the locations that this file describes (restic_conformance/locations.py)")
    ] = None,
    report_dir: Annotated[Path | None, typer.Option(help="write junit.xml and index.html to this directory")] = None,
    work_dir: Annotated[Path | None, typer.Option(help="directory for the data (default: a temporary one)")] = None,
    list_scenarios: Annotated[bool, typer.Option("--list", help="list the scenarios and stop")] = False,
) -> None:
    """Hold programs with restic's command line against each other

    Exit code 0 when every case passes, 1 when one does not, 2 when nothing could be run.
    """
    if fast and full:
        raise typer.BadParameter("--fast and --full exclude each other")
    if list_scenarios:
        print("\n".join(f"{scenario.name:28} {scenario.title}" for scenario in SCENARIOS))
        return
    try:
        programs = programs_of(peers, impl or (), without or ())
        scenarios = [*SCENARIOS, *location_scenarios(read_places(locations) if locations else ())]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(NOTHING_RUN) from None
    results = []
    with Workspace(programs, fast=not full, folder=work_dir) as workspace:
        for case in choose(programs, not full, only or [], scenarios):
            if focus and focus not in (case.writer, case.reader):
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
    if report_dir:
        report_dir.mkdir(parents=True, exist_ok=True)
        write_junit(results, report_dir / "junit.xml")
        write_html(results, programs, report_dir / "index.html", "Compatibility matrix")
    raise typer.Exit(0 if results and all(result.verdict == "pass" for result in results) else 1)


def run() -> None:
    """Run the process's command line."""
    app(prog_name="restic-conformance")


if __name__ == "__main__":
    run()
