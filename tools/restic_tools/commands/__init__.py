'''One module per command. How to write one:

1. Write a function in ``commands/NAME.py`` and name it in the table of ``restic_tools.registry``.
   Its docstring is the help text: the first line is the summary. The exit codes it shows are in the table too.

2. Declare options and arguments with annotations; the parameter's type decides how values are read::

       """The example command."""

       from typing import Annotated

       from restic_tools.declare import Argument, Option

       from restic_tools.context import Context


       def example(
           ctx: Context,
           names: Annotated[list[str], Argument(metavar="[NAME ...]")],
           dry_run: Annotated[bool, Option("--dry-run", "-n", help="only show what would be done")] = False,
           host: Annotated[list[str] | None, Option("--host", "-H", metavar="host", help="…")] = None,
           wait: Annotated[float, Option("--wait", metavar="duration", parser=duration)] = 0.0,
       ) -> int | None:
           """Show how a command is written

           Longer text follows after an empty line.
           """
           with ctx.open_repository(lock="shared") as repo:
               for name in names:
                   ctx.out.info(f"looking at {name}")
           return None  # or an exit code

   ``bool`` is a flag, ``int``, ``float`` and ``str`` take a value, ``list[...]`` may be given many times, ``count=True``
   counts. ``parser=`` is any function from ``str`` to a value that raises ``ValueError``; ready ones are in
   ``restic_tools.flagtypes`` (``duration``, ``comma_list``, ``size`` …). Options that several
   commands share are an ``OptionGroup``. ``restic_tools.argv`` reads the line in restic's syntax: options may stand anywhere,
   ``--flag=false`` works, and names that are not UTF-8 arrive as ``str`` with ``surrogateescape``.

3. Use what ``ctx`` gives:

   * ``ctx.options``: the global options (``ctx.options.json``, ``ctx.options.verbosity`` …);
   * ``ctx.out``: ``line`` (always), ``info`` (not with --quiet), ``verbose`` (--verbose), ``debug`` (--verbose=2),
     ``warn`` (stderr), ``json`` (one message of ``restic_tools.messages``). The people's methods say nothing with --json;
   * ``ctx.open_repository(lock="shared" | "exclusive" | "none")``: asks for the password, opens, locks, releases;
   * ``ctx.progress(...)``: see ``restic_tools.progress``;
   * ``ctx.interrupt``: SIGINT and SIGTERM raise ``Interrupted`` in the main thread. Work that must stop in order uses
     ``with ctx.interrupt.deferred():`` and asks ``ctx.interrupt.requested`` (or waits on ``.event``) itself.

4. Raise; never print a traceback or call ``sys.exit``. ``Failure("text")`` becomes ``Fatal: text`` and exit code 1; every
   error of the engine has its place in ``restic_tools.exitcodes``. Return an ``int`` for an exit code without a message.
'''
