"""Opening repositories for commands: location, password, lock."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext

from restic_format.durations import duration_text
from restic_format.words import visible
from restic_tools.caching import index_cache_base, use_cache
from restic_tools.exitcodes import Failure
from restic_tools.passwords import ask_password, may_try_again, read_text_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from restic_format.errors import RepositoryNotFound
    from restic_format.repository import Repository, RepositoryLock
    from restic_format.storage import Storage
    from restic_format.storage.entry import Entry
    from restic_format.storage.limited import Pace
    from restic_format.storage.side import SideFiles
    from restic_format.storage.transport import Transport
    from restic_format.storage.warmup import WarmUpRules
    from restic_format.work import Later
    from restic_tools.context import LockMode, Reads
    from restic_tools.globaloptions import GlobalOptions
    from restic_tools.output import Output

PASSWORD_TRIES = 3
"""How often a person at a terminal may try."""


def repository_location(options: GlobalOptions) -> str:
    """The location of the repository; ``Failure`` when it is not given, or given twice."""
    if options.repository_file:
        if options.repo:
            raise Failure("Options -r and --repository-file are mutually exclusive, please specify only one")
        # Once: the file may be a FIFO, which is empty the second time.
        options.repo, options.repository_file = read_text_file(options.repository_file), ""
    if not options.repo:
        raise Failure("Please specify repository location (-r or --repository-file)")
    return options.repo


@contextmanager
def open_repository(
    options: GlobalOptions,
    out: Output,
    *,
    lock: LockMode = "shared",
    honour_no_lock: bool = True,
    releasing: Callable[[], AbstractContextManager[object]] = nullcontext,
    stopping: Callable[[], bool] = bool,
    approached: Later[Entry] | None = None,
    first: Reads = (),
    caching: Callable[[Repository], object] | None = None,
) -> Iterator[tuple[Repository, RepositoryLock | None]]:
    """Open a repository and hold a lock on it for the length of the block; gives both.

    --no-lock leaves out shared locks only, unless ``honour_no_lock`` is False. The lock is released inside ``releasing()``,
    so that a signal that comes just then does not leave it behind. *stopping* says whether a signal has come: then nothing is
    kept to --limit-upload and --limit-download any more. *approached* is what `approach` has begun. For *first* and
    *caching* see `Context.open_repository`. Raises
    ``RepositoryNotFound``, ``WrongPassword``, ``AlreadyLocked``, ``InvalidLock``, ``Failure`` and what the storage raises.
    """
    locks = not (lock == "none" or (options.no_lock and honour_no_lock and lock == "shared"))
    repository = unlock_with_password(options, out, stopping, for_lock=locks, approached=approached)
    if caching is None:
        use_cache(repository, options, out)
    else:
        caching(repository)
    described = f", compression level {options.compression}" if repository.version >= 2 else ""
    out.info_on_terminal(f"repository {repository.id[:8]} opened (version {repository.version}{described})")
    _check_halves(repository, options, out)
    if not locks:
        yield repository, None
        return

    from restic_spec.layout import FileKind

    def waiting(seconds: float) -> None:
        out.info(f"repo already locked, waiting up to {duration_text(seconds)} for the lock")
        out.flush()

    locking = repository.lock(
        exclusive=lock == "exclusive",
        retry=options.retry_lock,
        waiting=waiting,
        first=[FileKind(kind.removesuffix(" files")) for kind in first],
        load_index="index" in first,
    )
    held = locking.__enter__()
    try:
        yield repository, held
    finally:
        with releasing():
            locking.__exit__(None, None, None)


def _check_halves(repository: Repository, options: GlobalOptions, out: Output) -> None:
    """See to it that the places that are given are what they must be: both halves, or one whole repository."""
    if options.repo_hot:
        from restic_format.repository.halves import hot_config_fault
        from restic_format.storage.locations import without_password

        fault = hot_config_fault(repository)
        if "does not say" in fault:
            hot = visible(without_password(options.repo_hot))
            raise Failure(f"{hot} is not the hot half of a repository: its config does not say so")
        if fault and not options.filling_hot:
            out.warn(f"{fault}: `init --hot-only` makes the hot half whole")
    elif "is_hot" in repository.config.extra:
        out.warn("this is the hot half of a repository, without its data: give it with --repo-hot, and the cold half with -r")


def unlock_with_password(
    options: GlobalOptions,
    out: Output,
    stopping: Callable[[], bool],
    *,
    for_lock: bool = False,
    approached: Later[Entry] | None = None,
) -> Repository:
    """Open the storage and find a key for the password; a person at a terminal may try three times.

    For *stopping* and *approached* see `open_repository`, for *for_lock* `open_by`.
    """
    entry = find_entry(options, stopping) if approached is None else approached.get()

    # The storage is at work already.
    from restic_format.errors import WrongPassword
    from restic_format.repository.entering import open_by

    def attempt(password: str) -> Repository:
        return open_by(
            entry,
            password.encode("utf-8", "surrogateescape"),
            compression=options.compression if options.compression_given else None,
            pack_size=options.pack_size_bytes,
            extra_verify=not options.no_extra_verify,
            cache_folder=index_cache_base(options),
            for_lock=for_lock,
        )

    if not entry.exists():
        raise no_repository(options)  # before anybody is asked for a password
    tries = PASSWORD_TRIES if may_try_again(options) else 1
    while True:
        tries -= 1
        try:
            password = ask_password(options, f"enter password for {options.role and options.role + ' '}repository: ")
            found = attempt(password)
            if password:
                options.password = password  # A command that opens it again need not ask again.
            return found
        except (WrongPassword, Failure) as error:
            if tries == 0:
                raise
            out.warn(f"{error}. Try again")


def find_entry(options: GlobalOptions, stopping: Callable[[], bool]) -> Entry:
    """The storage of the repository that is given, and what opening it reads first. Raises as `given_storage`."""
    from restic_format.storage.entry import Entry

    return Entry(given_storage(options, stopping), options.key_hint or None)


def approach(options: GlobalOptions, stopping: Callable[[], bool]) -> Later[Entry] | None:
    """`find_entry` that is under way while the command still imports what it needs; None where that is not done.

    It is done where it takes no more than requests to a server: a child process that may ask for a password is started when it
    is sure to be needed. What goes wrong is told when the repository is opened.
    """
    if options.repository_file or options.repo.partition(":")[0] not in _SERVERS:
        return None
    from restic_format.work import Later

    return Later(lambda: find_entry(options, stopping), name="approach")


_SERVERS = frozenset({"rest", "s3", "azure", "gs", "b2", "swift"})
"""Schemes of storages that are asked by HTTP."""


def given_storage(options: GlobalOptions, stopping: Callable[[], bool] = bool) -> Storage:
    """The storage of the repository that is given, whatever is there; for *stopping* see `open_repository`."""
    from restic_tools.certificates import check_certificates

    repository_location(options)
    check_certificates(options)
    return open_places(options, stopping)


def open_places(options: GlobalOptions, stopping: Callable[[], bool] = bool) -> Storage:
    """The storage at the location that is given, with the hot half and the rules of cold storage. Raises ``UsageError``."""
    from restic_format.storage.locations import open_halves

    rules = None
    if options.warm_up or options.warm_up_command or options.warm_up_wait or options.warm_up_wait_command:
        rules = _warm_up_rules(options)
    return open_halves(repository_location(options), options.repo_hot, options.extended, transport(options, stopping), rules)


def _warm_up_rules(options: GlobalOptions) -> WarmUpRules:
    from restic_format.storage.child import words_of
    from restic_format.storage.warmup import WarmUpRules

    def words(text: str, flag: str) -> list[str]:
        return words_of(text, flag) if text else []

    if options.warm_up and options.warm_up_command:
        raise Failure("--warm-up and --warm-up-command cannot be used together")
    return WarmUpRules(
        options.warm_up,
        words(options.warm_up_command, "warm-up-command"),
        words(options.warm_up_wait_command, "warm-up-wait-command"),
        options.warm_up_wait,
        options.warm_up_batch,
    )


def side_files(options: GlobalOptions, location: str) -> SideFiles:
    """The files of this program at *location*, where no repository is."""
    from restic_format.storage.locations import open_side_files

    return open_side_files(location, options.extended, transport(options))


def transport(options: GlobalOptions, stopping: Callable[[], bool] = bool) -> Transport:
    """How storages reach their servers by the options and the environment; what goes wrong meanwhile goes to standard error."""
    from restic_format.storage.transport import Transport

    def pace(kibibytes: int) -> Pace | None:
        if kibibytes <= 0:
            return None
        from restic_format.storage.limited import Pace

        return Pace(kibibytes << 10, stopping=stopping)

    return Transport(
        environment=os.environ,
        ca_certificates=tuple(filter(None, options.cacert)),
        client_certificate=options.tls_client_cert,
        verify=not options.insecure_tls,
        user_agent=options.http_user_agent,
        stuck_after=options.stuck_request_timeout,
        upload=pace(options.limit_upload),
        download=pace(options.limit_download),
        report=_report,
        stopping=stopping,
    )


def _report(line: str) -> None:
    sys.stderr.write(f"{visible(line)}\n")
    sys.stderr.flush()


def no_repository(options: GlobalOptions) -> RepositoryNotFound:
    """The error for a location without a repository."""
    from restic_format.errors import RepositoryNotFound
    from restic_format.storage.locations import parse_location, without_password

    location = repository_location(options)
    scheme, rest = parse_location(location)
    missing = "<config/> does not exist"
    if scheme == "local":
        missing = f"stat {visible(os.path.normpath(os.path.join(rest, 'config')))}: no such file or directory"
    return RepositoryNotFound(
        f"repository does not exist: unable to open config file: {missing}\n"
        f"Is there a repository at the following location?\n{visible(without_password(location))}"
    )
