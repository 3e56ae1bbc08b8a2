"""The entry point: runs one command line and returns its exit code.

``version`` is answered first, before anything heavy is imported. Then the command's words are found, its module alone is
imported, the rest of the line is read against the command's and the global flags, and the function is called. Whatever goes
wrong becomes one line on standard error (an ``exit_error`` object with ``--json``) and an exit code from
``restic_tools.exitcodes``; a traceback is shown only with ``RESTIC_FORMAT_DEBUG`` set.
"""

from __future__ import annotations

import os
import signal
import sys

from restic_tools.argv import FlagSet, Parsed, UsageFailure, find_command, parse, take_out
from restic_tools.environment import encode, words_from_system
from restic_tools.memory import collect_rarely, keep_for_good
from restic_tools.registry import BY_PATH, GROUPS, Entry, is_known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from restic_tools.declare import Declaration

DEBUG_VARIABLE = "RESTIC_FORMAT_DEBUG"
FEATURES_VARIABLE = "RESTIC_FEATURES"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name; the process's own by default) and return its exit code."""
    args = words_from_system(sys.argv[1:]) if argv is None else list(argv)
    parsed = Parsed()
    try:
        if os.environ.get(FEATURES_VARIABLE):
            _check_features()
        answer = _quick_version(args)
        if answer is not None:
            if sys.stdout is not None:
                sys.stdout.write(answer + "\n")
                sys.stdout.flush()
            return 0
        return _run(args, parsed)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the last line of defence against tracebacks
        return _report(error, as_json=bool(parsed.values.get("json")))


def run() -> NoReturn:
    """Run the process's command line and end the process.

    At once, without taking down what it made object by object: after a large backup that takes most of a second. Everything
    that has to be closed was closed by then, and what was written is flushed here.
    """
    collect_rarely()
    # Until a command runs, an interruption ends the process as it ends any other, and not with an error of whatever module is
    # being imported. Until one counts, a question for its progress has no answer, but ends nothing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    _open_standard_streams()
    code = main()
    from restic_tools.exitcodes import READER_GONE

    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            code = code or READER_GONE
        except (OSError, ValueError):
            code = code or 1
    if code == READER_GONE:
        # As any program ends that writes to a pipe nobody reads: shells do not speak of it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(code)


def _open_standard_streams() -> None:
    """Give the null device to standard streams that are closed: the next file opened would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _check_features() -> None:
    """Look at the feature flags before anything is done, as restic does: a wrong one is an error for every command."""
    from restic_tools.features import feature_flags
    from restic_tools.output import Output

    feature_flags(Output().warn)


def _quick_version(args: list[str]) -> str | None:
    """The output for the plain forms of ``version``; None for every other line."""
    if args in (["version"], ["--version"]) and not (sys.stdout is not None and sys.stdout.isatty()):
        from restic_tools.about import version_line

        return version_line()
    if args in (["version", "--json"], ["--json", "version"], ["--version", "--json"]):
        from restic_tools.about import version_json

        return version_json()
    return None


def _run(args: list[str], parsed: Parsed) -> int:
    if args and args[0] in ("__complete", "__completeNoDesc"):
        from restic_tools.completion import complete

        return _show(complete(args[1:], described=args[0] == "__complete"))
    if args and args[0] == "--version":
        args = ["version", *args[1:]]
    from restic_tools.globaloptions import GLOBAL_FLAGS

    path, rest = find_command(args, FlagSet(GLOBAL_FLAGS), is_known)
    entry = BY_PATH.get(path)
    if entry is None:
        return _overview(path, rest, parsed)
    declaration = load(entry)
    if declaration.words_key is None:
        parse(rest, FlagSet([*declaration.flags, *GLOBAL_FLAGS]), parsed)
    else:
        take_out(rest, FlagSet(GLOBAL_FLAGS), FlagSet(declaration.flags), parsed)
    if parsed.notes:
        from restic_tools.output import Output

        for note in parsed.notes:
            Output().warn(note)
    if parsed.help:
        from restic_tools.helppages import command_page

        return _show(command_page(entry, declaration))
    return _call(entry, declaration, parsed)


def load(entry: Entry) -> Declaration:
    """Import a command's module and read its declaration."""
    import importlib

    target = getattr(importlib.import_module(entry.module), entry.function)
    if entry.own:
        from restic_tools.own.running import declare_app

        return declare_app(target, entry.path)
    from restic_tools.declare import declare

    return declare(target)


def _call(entry: Entry, declaration: Declaration, parsed: Parsed) -> int:
    from restic_tools.context import Context, global_options
    from restic_tools.interrupt import Interrupt
    from restic_tools.output import Output

    own = {flag.key for flag in declaration.flags}
    shared = {key: value for key, value in parsed.values.items() if key not in own}
    options = global_options(shared)
    arguments = declaration.call_with(parsed.arguments, parsed.values)
    out = Output(verbosity=options.verbosity, json_mode=options.json, shows=entry.shows)
    interrupt = Interrupt()
    interrupt.announce = lambda: None if options.json else out.warn("signal received, cleaning up")
    if declaration.context_key is not None:
        arguments[declaration.context_key] = Context(options, interrupt, out)
    keep_for_good()
    with interrupt.installed():
        code = declaration.function(**arguments)
        out.flush()
    return code or 0


def _overview(path: tuple[str, ...], rest: list[str], parsed: Parsed) -> int:
    """Show the commands when none is named, or say that the word given is not a command."""
    from restic_tools.globaloptions import GLOBAL_FLAGS

    parse(rest, FlagSet(GLOBAL_FLAGS), parsed)
    from restic_tools.helppages import group_page, overview_page, suggestion

    if parsed.arguments and not parsed.help:
        command = " ".join(("restic-format", *path))
        raise UsageFailure(f'unknown command "{parsed.arguments[0]}" for "{command}"{suggestion(path, parsed.arguments[0])}')
    return _show(group_page(path, GROUPS[path[0]]) if path else overview_page())


def _show(page: str) -> int:
    from restic_tools.output import Output

    out = Output(shows=True)
    out.write(encode(page.rstrip("\n")) + b"\n")
    out.flush()
    return 0


def _report(error: BaseException, *, as_json: bool) -> int:
    from restic_tools.exitcodes import READER_GONE, describe, exit_code
    from restic_tools.output import Output

    out = Output()
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        out.warn("".join(traceback.format_exception(error)).rstrip("\n"), block=True)
    code = exit_code(error)
    if code == READER_GONE:
        return code
    if as_json:
        from restic_tools.messages import ExitError

        out.json_error(ExitError("exit_error", code, describe(error)))
    else:
        out.warn(describe(error), block=True)
    out.flush()
    return code


if __name__ == "__main__":
    run()
