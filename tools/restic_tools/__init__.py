"""The command line of restic-format: one module per command, and nothing that a user of the library would miss.

The modules and what each one owns:

``cli``         ``main()``: from an argument list to an exit code.
``own``         commands that restic does not have, as typer apps.
``argv``        restic's option syntax (the one of Go's pflag), as pure functions over plain lists.
``registry``    which commands exist and where they live.
``declare``     turns an annotated function into a command.
``globaloptions`` the options every command takes, with their environment variables.
``context``     what a command is given: options, output, interruption, the repository.
``passwords``   where passwords come from, each fetched once.
``access``      opening a repository, its lock.
``output``      lines for people, JSON lines for programs.
``messages``    every JSON message as a struct, a module per command.
``progress``    live progress on a terminal, status lines with ``--json``.
``render``      tables and help pages.
``exitcodes``   one table from error type to exit code.

How to write a command is told in ``restic_tools.commands``.
"""
