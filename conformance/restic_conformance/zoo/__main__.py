"""``python -m restic_conformance.zoo``: damage repositories in every way, let programs repair them, write the table."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from restic_conformance.__main__ import NOTHING_RUN, programs_of
from restic_conformance.programs import OURS, REFERENCE, Program
from restic_conformance.workspace import MEMORY
from restic_conformance.zoo import repositories
from restic_conformance.zoo.diagnosis import expect, heard
from restic_conformance.zoo.judge import Judge
from restic_conformance.zoo.prognosis import foresee
from restic_conformance.zoo.recipes import RECIPES
from restic_conformance.zoo.report import Row, measured, read, write
from restic_conformance.zoo.rescuers import AS_IT_IS, Rescuer, has_command, rescuers
from restic_conformance.zoo.site import Site

RESCUERS = (AS_IT_IS, REFERENCE, "rustic", OURS)
"""The programs whose repairs are compared."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def make_site(name: str, programs: Sequence[Program], work: Path) -> Site:
    """The healthy repository *name*: ``PROGRAM-vVERSION``, with ``-twice`` where every blob is in two packs, or a fixture.

    Raises :class:`ValueError` when there is no such thing.
    """
    by_name = {program.name: program for program in programs}
    short, _, twice = name.partition("-twice")
    program, _, version = short.rpartition("-v")
    foreign = work / "foreign"
    if not foreign.exists():
        repositories.write_small(by_name[REFERENCE], 2, foreign)
    kept = work / name / "repository"
    if kept.exists():
        return Site(kept, foreign / "repository")
    if program in by_name and program != "rustic" and version in ("1", "2"):
        make = repositories.write_twice if twice or name.endswith("-twice") else repositories.write
        repository = make(by_name[program], int(version), work / name)
    else:
        try:
            repository = repositories.from_fixture(name, work / name)
        except OSError:
            raise ValueError(f"{name}: neither a program's repository nor a fixture") from None
    return Site(repository, foreign / "repository")


def run_cases(site: Site, judge: Judge, chosen: Sequence[Rescuer], only: Sequence[str], seed: int) -> Iterator[Row]:
    """Every kind of damage (those whose names begin with one of *only*) with every program; says each as it is done."""
    for recipe in RECIPES:
        if only and not recipe.name.startswith(tuple(only)):
            continue
        change = recipe.change(site, seed)
        if change is None:
            continue
        prognosis = foresee(site, change)
        row = Row(recipe.name, recipe.group, recipe.what, list(prognosis.ways), prognosis.recoverable, prognosis.total)
        for rescuer in chosen:
            started = time.monotonic()
            row.programs[rescuer.program.name] = measured(judge.case(change, rescuer, prognosis))
            found = row.programs[rescuer.program.name]
            part = f"{found.recovered}/{row.recoverable}"
            state = "clean" if found.clean else "not clean"
            seconds = time.monotonic() - started
            print(f"{recipe.name:32} {rescuer.program.name:12} {part:>18} {state:9} {seconds:5.1f} s", flush=True)
            if rescuer.program.name == OURS and has_command(rescuer.program, "diagnose"):
                said = heard(expect(site, change, prognosis), judge.diagnosis(change, rescuer.program))
                row.diagnosis = said.words()
        yield row


@app.command()
def zoo(
    repository: Annotated[str, typer.Option(help="the healthy repository: PROGRAM-vVERSION[-twice], or a fixture")] = (
        "restic-0.19-v2"
    ),
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="only kinds whose names begin like this")] = None,
    program: Annotated[list[str] | None, typer.Option(metavar="NAME", help="only these programs' repairs")] = None,
    seed: Annotated[int, typer.Option(help="where the damage falls")] = 1,
    peers: Annotated[Path, typer.Option(help="directory of the real programs")] = Path(".peers"),
    work: Annotated[Path | None, typer.Option(help="make healthy repositories here and keep them for other runs")] = None,
    output: Annotated[Path | None, typer.Option(help="write zoo.json and zoo.md to this directory")] = None,
    list_kinds: Annotated[bool, typer.Option("--list", help="list the kinds of damage and stop")] = False,
) -> None:
    """Damage a repository in every way and measure what the repairs of programs bring back

    With --output, what was measured before on the same repository (see --work) stays in the table.
    Exit code 0 when all ran, 2 when nothing could be run.
    """
    if list_kinds:
        print("\n".join(f"{recipe.name:32} {recipe.what}" for recipe in RECIPES))
        return
    rows: list[Row] = []
    try:
        programs = programs_of(peers, (), ())
        with tempfile.TemporaryDirectory(prefix="zoo-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
            site = make_site(repository, programs, work or Path(folder))
            by_name = {one.name: one for one in programs}
            by_name[AS_IT_IS] = dataclasses.replace(by_name[REFERENCE], name=AS_IT_IS)
            wanted = program or RESCUERS
            chosen = rescuers([by_name[name] for name in wanted if name in by_name])
            judge = Judge(site, by_name[REFERENCE], Path(folder))
            try:
                for row in run_cases(site, judge, chosen, only or (), seed):
                    rows.append(row)
            finally:
                if output is not None and rows:
                    write(output, repository, seed, [one.program for one in chosen], rows, read(output))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(NOTHING_RUN) from None


if __name__ == "__main__":
    app(prog_name="python -m restic_conformance.zoo")
