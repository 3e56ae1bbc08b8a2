'''Commands that restic does not have: one typer app per module, imported only when it is called.

How to write one:

1. Write ``own/NAME.py`` with a typer app and name it in the table of ``restic_tools.registry`` with ``own=True``::

       """``example``: show how a command is written."""

       from typing import Annotated

       import typer

       from restic_tools.own.running import context_of

       app = typer.Typer()


       @app.command()
       def example(
           ctx: typer.Context,
           names: Annotated[list[str], typer.Argument(metavar="NAME...")],
           depth: Annotated[int, typer.Option("--depth", "-d", help="how deep to look")] = 3,
       ) -> None:
           """Show how a command is written

           Longer text follows after an empty line.
           """
           tools = context_of(ctx)
           with tools.open_repository(lock="shared") as repository:
               tools.out.line(f"looking at {repository.id}")

2. The global options stand anywhere in the line, in restic's syntax; they are taken out before typer reads the rest, and arrive
   in what `context_of` gives: the same context that restic's commands get (see ``restic_tools.commands``). Print through
   ``out``, raise ``Failure`` and the engine's errors, return an exit code or nothing.

3. Help, usage errors, exit codes, completion and manual pages are those of the other commands: they come from the app's
   parameters. So an app has no ``--help`` of its own, and names no option that is a global one.
'''
