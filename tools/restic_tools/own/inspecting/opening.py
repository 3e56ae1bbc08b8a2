"""What opens the objects that ``inspect`` shows: password or master key, as they are given; nothing is asked without need."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from restic_format.errors import ResticFormatError, SpecError, WrongPassword
from restic_format.inspect.access import Access, has_files
from restic_format.inspect.objects import Inspector
from restic_format.inspect.sources import read_file
from restic_spec.crypto import MasterKey
from restic_spec.keyfile import decode_master_key
from restic_tools.access import PASSWORD_TRIES, given_storage, no_repository
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.passwords import ask_password, given_password, may_try_again

if TYPE_CHECKING:
    from restic_format.storage import Storage

_LARGEST_KEY = 1 << 16
"""Bytes of a file with a master key."""


def make_inspector(ctx: Context, *, sealed: bool, key_file: str) -> Inspector:
    """What explains targets: in the repository that is given, if one is, opened with what is given for that.

    Raises:
        Failure: options that do not fit together, or a file that holds no master key.
        RepositoryNotFound: there is no repository.
        WrongPassword: no key opens.
        KeyUnusable: the master key is another repository's.
    """
    if sealed and key_file:
        raise Failure("--sealed and --key-file are mutually exclusive")
    options = ctx.options
    master = _master_key(key_file) if key_file else None
    password = None if sealed or master is not None else _given_password(ctx)
    if not (options.repo or options.repository_file):
        return Inspector(password=password, master=master, key_hint=options.key_hint or None)
    storage = given_storage(options, ctx.interrupt.event.is_set)
    if not has_files(storage):
        raise no_repository(options)

    def trouble(name: str, error: ResticFormatError) -> None:
        if options.json:
            ctx.out.json_error(ObjectError("error", ErrorText(str(error)), "inspect", name))
        else:
            ctx.out.warn(f"ignoring error for {name}: {error}")

    if master is not None:
        access = Access.with_master_key(storage, master)
    elif password is not None or (not sealed and _is_person()):
        access = _opened(ctx, storage)
    else:
        access = Access(storage)
    return Inspector(access, trouble=trouble)


def _is_person() -> bool:
    """Whether somebody can be asked."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:
        return False


def _given_password(ctx: Context) -> bytes | None:
    """The password, where one is given; None where it would have to be asked for."""
    if ctx.options.insecure_no_password:
        return ask_password(ctx.options, "").encode()
    return given_password(ctx.options).encode("utf-8", "surrogateescape") or None


def _opened(ctx: Context, storage: Storage) -> Access:
    """The repository, opened with the password; a person at a terminal may try three times."""
    options = ctx.options
    tries = PASSWORD_TRIES if may_try_again(options) else 1
    while True:
        tries -= 1
        try:
            password = ask_password(options, "enter password for repository: ")
            return Access.with_password(storage, password.encode("utf-8", "surrogateescape"), options.key_hint or None)
        except (WrongPassword, Failure) as error:
            if tries == 0:
                raise
            ctx.out.warn(f"{error}. Try again")


def _master_key(path: str) -> MasterKey:
    """The master key in a file, as ``cat masterkey`` prints it."""
    raw = read_file(path)
    if len(raw) > _LARGEST_KEY:
        raise Failure(f"{path} holds no master key: it has {len(raw)} bytes")
    try:
        return decode_master_key(bytes(raw))
    except SpecError as error:
        raise Failure(f"{path} holds no master key as `cat masterkey` prints it: {error.what}") from None
