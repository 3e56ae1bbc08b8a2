"""``init``: make a new repository."""

from __future__ import annotations

from typing import Annotated

from restic_format.words import visible
from restic_tools.access import repository_location, secondary_options
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.messages import Initialized
from restic_tools.passwords import ask_new_password, ask_password, given_password


def init(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="")],
    repository_version: Annotated[
        str,
        Option("--repository-version", help="format version of the repository: a number, 'latest' or 'stable'"),
    ] = "stable",
    copy_chunker_params: Annotated[
        bool,
        Option("--copy-chunker-params", help="cut files as another repository does, so that copies share their data"),
    ] = False,
    from_repo: Annotated[
        str | None,
        Option(
            "--from-repo",
            metavar="repository",
            help="where that other repository is (default: $RESTIC_FROM_REPOSITORY)",
        ),
    ] = None,
    from_repository_file: Annotated[
        str | None,
        Option(
            "--from-repository-file",
            metavar="file",
            help="file that says where it is (default: $RESTIC_FROM_REPOSITORY_FILE)",
        ),
    ] = None,
    from_password_file: Annotated[
        str | None,
        Option(
            "--from-password-file",
            metavar="file",
            help="file that holds its password (default: $RESTIC_FROM_PASSWORD_FILE)",
        ),
    ] = None,
    from_password_command: Annotated[
        str | None,
        Option(
            "--from-password-command",
            metavar="command",
            help="command whose output is its password (default: $RESTIC_FROM_PASSWORD_COMMAND)",
        ),
    ] = None,
    from_key_hint: Annotated[
        str | None,
        Option("--from-key-hint", help="try its key with this ID before the others (default: $RESTIC_FROM_KEY_HINT)"),
    ] = None,
    from_insecure_no_password: Annotated[
        bool,
        Option("--from-insecure-no-password", help="its password is empty"),
    ] = False,
) -> None:
    """Make a new repository"""
    if words:
        raise Failure(
            "the init command expects no arguments, only options - please see `restic-format help init` for usage and flags"
        )
    version = _version_number(repository_version)
    polynomial: int | None = None
    if copy_chunker_params:
        other = secondary_options(
            ctx.options,
            repo=from_repo,
            repository_file=from_repository_file,
            password_file=from_password_file,
            password_command=from_password_command,
            key_hint=from_key_hint,
            insecure_no_password=from_insecure_no_password,
        )
        with ctx.open_repository(lock="none", options=other) as source:
            polynomial = source.chunker_polynomial
    elif from_repo or from_repository_file:
        raise Failure("Secondary repository must only be specified when copying the chunker parameters")
    _create(ctx, version, polynomial)


def _version_number(text: str) -> int:
    from restic_spec.config import MAX_VERSION, MIN_VERSION, STABLE_VERSION

    if text in ("latest", ""):
        return MAX_VERSION
    if text == "stable":
        return STABLE_VERSION
    if not (text.isascii() and text.isdecimal()):
        raise Failure("invalid repository version")
    version = int(text)
    if not MIN_VERSION <= version <= MAX_VERSION:
        raise Failure(f"only repository versions between {MIN_VERSION} and {MAX_VERSION} are allowed")
    return version


def _create(ctx: Context, version: int, polynomial: int | None) -> None:
    from restic_format.errors import ConfigExists, UsageError
    from restic_format.repository import Repository
    from restic_format.storage import open_storage
    from restic_spec.layout import FileKind

    options, out = ctx.options, ctx.out
    location = repository_location(options)
    try:
        storage = open_storage(location, options.extended)
    except UsageError as error:
        raise Failure(f"create repository at {visible(location)} failed: Fatal: {error}", block=True) from None
    if storage.exists(FileKind.CONFIG, ""):
        # Said before a new password is asked for.
        raise ConfigExists(f"create repository at {location} failed: config file already exists")
    if options.insecure_no_password or given_password(options):
        password = ask_password(options, "")
    else:
        password = ask_new_password("enter password for new repository: ")
    created = Repository.init(
        storage,
        password.encode("utf-8", "surrogateescape"),
        version=version,
        polynomial=polynomial,
        compression=options.compression,
        pack_size=options.pack_size_bytes,
    )
    if options.json:
        out.json(Initialized("initialized", created.id, location))
        return
    out.info(f"created restic repository {created.id[:10]} at {location}")
    if polynomial is not None:
        out.info(" with chunker parameters copied from secondary repository")
    out.info()
    out.info("Please note that the repository can only be opened with the password you chose. If you lose")
    out.info("the password, nobody can get your data back.")
