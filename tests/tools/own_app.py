"""A typer app as the commands are that restic lacks, for the tests."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from restic_tools.exitcodes import Failure
from restic_tools.own.running import context_of

app = typer.Typer()


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@app.command()
def paint(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None,
    depth: Annotated[int, typer.Option("--depth", "-d", help="how deep to look")] = 3,
    colour: Annotated[Colour, typer.Option(help="what to paint with")] = Colour.RED,
    layers: Annotated[list[str] | None, typer.Option("--layer", "-l", metavar="layer", help="a layer (many)")] = None,
    wet: Annotated[bool, typer.Option("--wet/--dry", help="leave it wet")] = False,
    fast: Annotated[bool, typer.Option("--fast", "-f", help="be quick")] = False,
    code: Annotated[int, typer.Option("--code", hidden=True)] = 0,
) -> int:
    """Paint snapshots

    A longer text about painting.
    """
    tools = context_of(ctx)
    if depth > 100:
        raise Failure("too deep")
    if colour is Colour.GREEN:
        with tools.open_repository(lock="shared") as repository:
            tools.out.line(f"version {repository.version}")
    verbosity = tools.options.verbosity
    tools.out.line(
        f"{names or []} {depth} {colour} {layers or []} {wet} {fast} {tools.options.json} {verbosity} {tools.options.repo}"
    )
    if code == 99:
        raise typer.Exit(4)
    if code == 98:
        raise typer.Abort
    return code
