"""``python -m restic_conformance.zoo``: damage repositories in every way, let programs repair them, write the table."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from restic_conformance.__main__ import NOTHING_RUN, programs_of
from restic_conformance.programs import OURS, REFERENCE, Mismatch, Program, version_of
from restic_conformance.workspace import MEMORY
from restic_conformance.zoo import repositories
from restic_conformance.zoo.cases import Cases, run_cases
from restic_conformance.zoo.judge import Judge
from restic_conformance.zoo.recipes import RECIPES
from restic_conformance.zoo.report import read, write
from restic_conformance.zoo.rescuers import DIAGNOSE, WAYS, has_command, rescuer
from restic_conformance.zoo.site import Site

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


@app.command()
def zoo(
    repository: Annotated[str, typer.Option(help="the healthy repository: PROGRAM-vVERSION[-twice], or a fixture")] = (
        "restic-0.19-v2"
    ),
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="only kinds whose names begin like this")] = None,
    way: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"only these: {', '.join([*WAYS, DIAGNOSE])}, another program")
    ] = None,
    impl: Annotated[list[str] | None, typer.Option(metavar="NAME=COMMAND", help="add or replace a program")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="cases at once")] = os.cpu_count() or 1,
    log: Annotated[Path | None, typer.Option(help="write here what programs said where something stayed behind")] = None,
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
    try:
        programs = programs_of(peers, impl or (), ())
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-", dir=MEMORY if MEMORY.is_dir() else None))
            site = make_site(repository, programs, work or Path(folder))
            by_name = {one.name: one for one in programs}
            wanted = way or [*WAYS, DIAGNOSE]
            ways = {name: made for name in wanted if name != DIAGNOSE and (made := rescuer(name, by_name))}
            ours = by_name.get(OURS)
            diagnosing = ours if ours and DIAGNOSE in wanted and has_command(ours, "diagnose") else None
            judge = Judge(site, by_name[REFERENCE], Path(folder))
            judge.prepare(ways.values())
            file = stack.enter_context(log.open("w", encoding="utf-8")) if log else None
            versions = {name: version_of(one.program.command)[0] for name, one in ways.items()}
            for row in run_cases(Cases(site, judge, ways, diagnosing, seed), only or (), jobs, file):
                if output is not None:
                    write(output, repository, seed, versions, [row], read(output))
    except (ValueError, Mismatch) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(NOTHING_RUN) from None


if __name__ == "__main__":
    app(prog_name="python -m restic_conformance.zoo")
