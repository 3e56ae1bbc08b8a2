"""``init``: create a new repository."""

from __future__ import annotations

from typing import Annotated

from restic_format.words import visible
from restic_tools.access import open_places, repository_location
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.messages.init import HotHalfMade, Initialized
from restic_tools.passwords import ask_new_password, ask_password, given_password
from restic_tools.secondary import SecondaryRepository


def init(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="")],
    second: SecondaryRepository,
    repository_version: Annotated[
        str,
        Option(
            "--repository-version",
            values=("stable", "latest", "1", "2"),
            help="version of the repository format: a number, 'latest' or 'stable'",
        ),
    ] = "stable",
    copy_chunker_params: Annotated[
        bool,
        Option(
            "--copy-chunker-params",
            help="use the chunker parameters of another repository, so that copies between the two share their data",
        ),
    ] = False,
    hot_only: Annotated[
        bool,
        Option("--hot-only", help="make the hot half (--repo-hot) of the repository that is there, or what it lacks"),
    ] = False,
) -> None:
    """Create a new repository"""
    if words:
        raise Failure(
            "the init command expects no arguments, only options - please see `restic-format help init` for usage and flags"
        )
    if hot_only:
        _make_hot_half(ctx)
        return
    version = _version_number(repository_version)
    polynomial: int | None = None
    if copy_chunker_params:
        with ctx.open_repository(lock="none", options=second.options(ctx.options)) as source:
            polynomial = source.chunker_polynomial
    elif second.named:
        raise Failure("Secondary repository must only be specified when copying the chunker parameters")
    create(ctx, version, polynomial)


def _make_hot_half(ctx: Context) -> None:
    """Copy to the hot half what it lacks."""
    from restic_format.repository.halves import fill_hot
    from restic_format.storage.locations import without_password
    from restic_tools.stages import stoppable

    if not ctx.options.repo_hot:
        raise Failure("--hot-only makes the hot half of a repository: say with --repo-hot where")
    ctx.options.filling_hot = True
    with ctx.open_repository(lock="shared") as repository:
        repository.load_index()
        with stoppable(ctx) as cancel:
            count = fill_hot(repository, cancel=cancel)
    if ctx.options.json:
        ctx.out.json(HotHalfMade("hot_half_made", without_password(ctx.options.repo_hot), count))
    else:
        ctx.out.info(f"{count} files copied; the hot half is whole")


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


def create(ctx: Context, version: int, polynomial: int | None) -> None:
    """Create the repository that the options name, and say so; the password is kept for what follows."""
    from restic_format.errors import ConfigExists, UsageError
    from restic_format.repository import Repository
    from restic_format.storage.locations import without_password
    from restic_spec.layout import FileKind
    from restic_tools.certificates import check_certificates

    options, out = ctx.options, ctx.out
    location = repository_location(options)
    shown = without_password(location)
    try:
        check_certificates(options)
    except Failure as error:
        raise Failure(f"Fatal: create repository at {visible(shown)} failed: Fatal: {error}", block=True) from None
    try:
        storage = open_places(options, ctx.interrupt.event.is_set)
    except UsageError as error:
        raise Failure(f"create repository at {visible(shown)} failed: Fatal: {error}", block=True) from None
    if storage.exists(FileKind.CONFIG, ""):
        # Said before a new password is asked for.
        raise ConfigExists(f"create repository at {shown} failed: config file already exists")
    if options.insecure_no_password or given_password(options):
        password = ask_password(options, "")
    else:
        password = options.password = ask_new_password("enter password for new repository: ")
    created = Repository.init(
        storage,
        password.encode("utf-8", "surrogateescape"),
        version=version,
        polynomial=polynomial,
        compression=options.compression,
        pack_size=options.pack_size_bytes,
    )
    if options.json:
        out.json(Initialized("initialized", created.id, shown))
        return
    out.info(f"created restic repository {created.id[:10]} at {shown}")
    if polynomial is not None:
        out.info(" with chunker parameters copied from secondary repository")
    out.info()
    out.info("Please note that the repository can only be opened with the password you chose. If you lose")
    out.info("the password, nobody can get your data back.")
