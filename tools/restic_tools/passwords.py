"""Passwords: from a command, a file, the environment, or typed by a person.

Each is fetched once and then kept for the run. A second time can give something else or nothing: a FIFO is empty by then, a
token has to be touched again, a one-time code is used up.
"""

from __future__ import annotations

import sys

from restic_format.systemtext import errno_text
from restic_tools.environment import encode, variable
from restic_tools.exitcodes import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from restic_tools.globaloptions import GlobalOptions


def read_text_file(path: str) -> str:
    """A small text file's content without a byte order mark and without white space at its ends.

    Raises ``Failure`` when the file is not there; other ``OSError``s pass.
    """
    from restic_format.words import WHITE_SPACE, decode_text

    try:
        with open(path.encode("utf-8", "surrogateescape"), "rb") as file:
            return decode_text(file.read()).strip(WHITE_SPACE)
    except FileNotFoundError:
        raise Failure(f"{path} does not exist") from None


def given_password(options: GlobalOptions) -> str:
    """The password from command, file or environment, in that order; empty when it has to be asked for.

    The first call fetches it and keeps it in *options*. Raises ``Failure`` when it cannot be fetched.
    """
    if options.password is None:
        try:
            options.password = _fetch_password(options)
        except Failure as error:
            raise Failure(f"Resolving password failed: Fatal: {error}") from None
        except OSError as error:
            raise Failure(f"Resolving password failed: read {options.password_file}: {errno_text(error)}") from None
        except ValueError as error:
            raise Failure(f"Resolving password failed: {error}") from None
    return options.password


def _fetch_password(options: GlobalOptions) -> str:
    if options.password_file and options.password_command:
        raise Failure("Password file and command are mutually exclusive options")
    if options.password_command:
        return _password_from_command(options.password_command)
    if options.password_file:
        return read_text_file(options.password_file)
    return variable(options.password_variable)


def _password_from_command(command: str) -> str:
    """What *command* writes; ``ValueError`` when it cannot be run or fails."""
    import subprocess

    from restic_format.systemtext import exit_text
    from restic_format.words import WHITE_SPACE, split_command

    words = split_command(command)
    try:
        # Standard input is the data or the file list of a backup: none of it may go to the command.
        done = subprocess.run([encode(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise ValueError(f'cannot run "{words[0]}": {errno_text(error)}') from None
    if done.returncode:
        raise ValueError(exit_text(done.returncode))
    return done.stdout.decode("utf-8", "surrogateescape").strip(WHITE_SPACE)


def ask_password(options: GlobalOptions, prompt: str) -> str:
    """The password as given, or as typed at the prompt (read from standard input when that is not a terminal).

    Raises ``Failure`` when it is empty, or given although --insecure-no-password says there is none.
    """
    known = given_password(options)
    if options.insecure_no_password:
        if known:
            raise Failure(
                "--insecure-no-password must not be specified together with providing a password "
                "via a cli option or environment variable"
            )
        return ""
    return known or _not_empty(_read_password(prompt))


def may_try_again(options: GlobalOptions) -> bool:
    """Whether a person types the password, who may have mistyped it."""
    return _stdin_is_terminal() and not options.insecure_no_password and not given_password(options)


def _not_empty(password: str) -> str:
    if not password:
        raise Failure(
            "an empty password is not allowed by default. Pass the flag `--insecure-no-password` to restic-format "
            "to disable this check"
        )
    return password


def ask_new_password(prompt: str) -> str:
    """A new password, typed twice by a person, or read once from standard input; ``Failure`` when the two differ."""
    password = _not_empty(_read_password(prompt))
    if _stdin_is_terminal() and _read_password("enter password again: ") != password:
        raise Failure("passwords do not match")
    return password


def _read_password(prompt: str) -> str:
    if _stdin_is_terminal():
        import getpass

        try:
            return getpass.getpass(prompt, sys.stderr)
        except EOFError:
            raise Failure("unable to read password: end of input") from None
    if sys.stdout is not None and sys.stdout.isatty() and sys.stderr is not None:
        # A person who only sees a hanging program should learn what it waits for.
        sys.stderr.write("reading repository password from stdin\n")
        sys.stderr.flush()
    if sys.stdin is None:
        raise Failure("unable to read password: standard input is closed")
    try:
        line = sys.stdin.buffer.readline() if hasattr(sys.stdin, "buffer") else sys.stdin.readline().encode()
    except (OSError, ValueError) as error:
        raise Failure(f"unable to read password: {error}") from None
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _stdin_is_terminal() -> bool:
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:
        return False
