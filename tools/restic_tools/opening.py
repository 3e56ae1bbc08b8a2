"""Opening repositories for commands: where the repository is, its password, its lock."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext, suppress

from restic_tools.environment import variable
from restic_tools.exitcodes import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from restic_format.repository import Repository, RepositoryLock
    from restic_format.storage import Storage
    from restic_tools.context import LockMode
    from restic_tools.options import GlobalOptions
    from restic_tools.output import Output

PASSWORD_TRIES = 3
"""How often a person at a terminal may try."""

BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def read_text_file(path: str) -> str:
    """A small text file's content without a byte order mark and without white space at its ends.

    Raises ``Failure`` when the file is not there; other ``OSError``s pass.
    """
    try:
        with open(path.encode("utf-8", "surrogateescape"), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise Failure(f"{path} does not exist") from None
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace").strip()
    return data.decode("utf-8", "surrogateescape").strip()


def repository_location(options: GlobalOptions) -> str:
    """Where the repository is; ``Failure`` when that is not said, or said twice."""
    if options.repository_file:
        if options.repo:
            raise Failure("Options -r and --repository-file are mutually exclusive, please specify only one")
        return read_text_file(options.repository_file)
    if not options.repo:
        raise Failure("Please specify repository location (-r or --repository-file)")
    return options.repo


def given_password(options: GlobalOptions) -> str:
    """The password from command, file or environment, in that order; empty when it has to be asked for."""
    if options.password_file and options.password_command:
        raise Failure("Resolving password failed: Fatal: Password file and command are mutually exclusive options")
    if options.password_command:
        return _password_from_command(options.password_command)
    if options.password_file:
        try:
            return read_text_file(options.password_file)
        except Failure as error:
            raise Failure(f"Resolving password failed: Fatal: {error}") from None
    return options.password or variable(options.password_variable)


def _password_from_command(command: str) -> str:
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Failure(f"Resolving password failed: the password command cannot be read: {error}") from None
    if not words:
        raise Failure("Resolving password failed: the password command is empty")
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise Failure(f"Resolving password failed: {words[0]}: {error.strerror}") from None
    if done.returncode:
        raise Failure(f"Resolving password failed: exit status {done.returncode}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def ask_password(options: GlobalOptions, prompt: str) -> str:
    """The password as given, or as typed at the prompt (read from standard input when that is no terminal).

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
    if sys.stdout is not None and sys.stdout.isatty():
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


@contextmanager
def open_repository(
    options: GlobalOptions,
    out: Output,
    *,
    lock: LockMode = "shared",
    honour_no_lock: bool = True,
    releasing: Callable[[], AbstractContextManager[object]] = nullcontext,
    meanwhile: Callable[[Repository], None] | None = None,
    at_once: bool = False,
) -> Iterator[tuple[Repository, RepositoryLock | None]]:
    """Open a repository and hold a lock on it for the length of the block; gives both.

    --no-lock leaves out shared locks only, unless ``honour_no_lock`` is False. The lock is given back inside ``releasing()``.
    ``meanwhile`` reads what the command needs while the lock settles. ``at_once`` goes on without waiting for that, unless
    others are to be waited for: storing waits, and what goes to standard output is held back until then.
    Raises ``RepositoryNotFound``, ``WrongPassword``, ``AlreadyLocked``, ``InvalidLock``, ``Failure`` and what the storage
    raises.
    """
    repository = unlock_with_password(options, out)
    if options.cleanup_cache:
        _remove_old_caches(options, out, repository)
    described = f", compression level {options.compression}" if repository.version >= 2 else ""
    out.info_on_terminal(f"repository {repository.id[:8]} opened (version {repository.version}{described})")
    if lock == "none" or (options.no_lock and honour_no_lock and lock == "shared"):
        if meanwhile is not None:
            meanwhile(repository)
        yield repository, None
        return
    from restic_format.repository import lock_repository, lock_while_working

    def waiting(_: str) -> None:
        out.info(f"repo already locked, waiting up to {duration_text(options.retry_lock)} for the lock")
        out.flush()

    refusals: list[Exception] = []

    def settled(refused: Exception | None) -> None:
        if refused is not None:
            refusals.append(refused)
            return
        with suppress(OSError):  # it will be seen again by who writes next
            out.release()

    exclusive = lock == "exclusive"
    if options.retry_lock:
        at_once = False
    if at_once:
        locking = lock_while_working(repository, exclusive=exclusive, settled=settled)
        out.hold()
    else:
        locking = lock_repository(
            repository, exclusive=exclusive, retry=options.retry_lock, waiting=waiting, meanwhile=meanwhile
        )
    try:
        held = locking.__enter__()
        try:
            if at_once and meanwhile is not None:
                meanwhile(repository)
            yield repository, held
        except BaseException as error:
            with releasing():
                locking.__exit__(type(error), error, error.__traceback__)
            raise
        # A signal that comes just now must not leave the lock behind.
        with releasing():
            locking.__exit__(None, None, None)
    finally:
        out.release(drop=bool(refusals))


def unlock_with_password(options: GlobalOptions, out: Output) -> Repository:
    """Open the storage and find a key for the password; a person at a terminal may try three times."""
    from restic_format.errors import RepositoryNotFound, WrongPassword
    from restic_format.repository import Repository
    from restic_format.storage import open_storage
    from restic_spec.layout import FileKind

    location = repository_location(options)
    storage = open_storage(location)
    if options.limit_upload > 0 or options.limit_download > 0:
        storage = _limited(storage, options)

    def attempt(password: str) -> Repository:
        return Repository.open(
            storage,
            password.encode("utf-8", "surrogateescape"),
            key_hint=options.key_hint or None,
            compression=options.compression,
            pack_size=options.pack_size_bytes,
            extra_verify=not options.no_extra_verify,
            cache_folder=cache_folder(options),
        )

    if not storage.exists(FileKind.CONFIG, ""):
        # Said before anybody is asked for a password.
        raise RepositoryNotFound(
            f"repository does not exist: unable to open config file: stat {location.removeprefix('local:')}/config: "
            f"no such file or directory\nIs there a repository at the following location?\n{location}"
        )
    tries = 1
    if _stdin_is_terminal() and not options.insecure_no_password and not given_password(options):
        tries = PASSWORD_TRIES
    while True:
        tries -= 1
        try:
            return attempt(ask_password(options, "enter password for repository: "))
        except (WrongPassword, Failure) as error:
            if tries == 0:
                raise
            out.warn(f"{error}. Try again")


def _limited(storage: Storage, options: GlobalOptions) -> Storage:
    from restic_format.storage.limited import LimitedStorage

    def rate(kibibytes: int) -> int | None:
        return kibibytes << 10 if kibibytes > 0 else None

    return LimitedStorage(storage, upload=rate(options.limit_upload), download=rate(options.limit_download))


def cache_folder(options: GlobalOptions) -> str | None:
    """Where caches go: beside restic's where a folder is given, in the user's cache folder otherwise; None for nowhere."""
    if options.no_cache:
        return None
    if options.cache_dir:
        return os.path.join(options.cache_dir, "restic-format")
    base = variable("XDG_CACHE_HOME") or os.path.join(variable("HOME"), ".cache")
    return os.path.join(base, "restic-format") if os.path.isabs(base) else None


def _remove_old_caches(options: GlobalOptions, out: Output, repository: Repository) -> None:
    folder = cache_folder(options)
    if folder is None:
        return
    from restic_format.repository.oldcaches import remove_old_caches

    if removed := remove_old_caches(folder, keep=repository.id):
        out.info_on_terminal(f"removed {removed} old caches from {folder}")


def secondary_options(
    options: GlobalOptions,
    *,
    repo: str | None,
    repository_file: str | None,
    password_file: str | None,
    password_command: str | None,
    key_hint: str | None,
    insecure_no_password: bool,
) -> GlobalOptions:
    """The options of the second repository of ``init`` and ``copy`` (``--from-repo`` …), with its environment variables."""
    repo = repo or (None if repository_file else variable("RESTIC_FROM_REPOSITORY"))
    repository_file = repository_file or (None if repo else variable("RESTIC_FROM_REPOSITORY_FILE"))
    if not repo and not repository_file:
        raise Failure("Please specify a source repository location (--from-repo or --from-repository-file)")
    if repo and repository_file:
        raise Failure("Options --from-repo and --from-repository-file are mutually exclusive, please specify only one")
    return options.replaced(
        repo=repo or "",
        repository_file=repository_file or "",
        password_file=password_file or variable("RESTIC_FROM_PASSWORD_FILE"),
        password_command=password_command or variable("RESTIC_FROM_PASSWORD_COMMAND"),
        key_hint=key_hint or variable("RESTIC_FROM_KEY_HINT"),
        insecure_no_password=insecure_no_password,
        password="",
        password_variable="RESTIC_FROM_PASSWORD",
    )


def duration_text(seconds: float) -> str:
    """Seconds in Go's notation (``1h2m3s``, ``5s``, ``1.5s``)."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
