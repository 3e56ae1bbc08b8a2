"""``check``: find errors in the repository, what they affect, and what repairs them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption

if TYPE_CHECKING:
    from restic_format.repository import Repository
    from restic_tools.context import LockMode, Reads


def check(
    ctx: Context,
    snapshots: Annotated[list[str], Argument(metavar="[snapshotID ...]")],
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    read_data: Annotated[bool, Option("--read-data", help="read and verify all packs, too")] = False,
    read_data_subset: Annotated[
        str,
        Option(
            "--read-data-subset",
            metavar="subset",
            help="read and verify only a part of the packs: 'n/t' for the nth of t groups, or a random part, "
            "given as a percentage ('2.5%') or a size ('500M', '2G')",
        ),
    ] = "",
    check_unused: Annotated[bool, Option("--check-unused", hidden=True, help="list blobs that no snapshot uses")] = False,
    with_cache: Annotated[
        bool, Option("--with-cache", help="accepted, but without effect: what was cached before is not looked at")
    ] = False,
) -> None:
    """Check the repository for errors

    By default the structure is checked: keys, indexes, snapshots, all trees, and whether all packs exist and have the right
    size. With --read-data or --read-data-subset the contents of packs are read and verified as well. For every error the
    affected snapshots and files are shown, and what repairs it.
    """
    ctx.approach()
    from restic_format.check import CheckOptions, CheckReport, InvalidSubset, damaged_keys, parse_subset
    from restic_format.check import check as run_check
    from restic_format.check.findings import FACTS, MAKE_READABLE, WITHOUT_KEY, Code
    from restic_format.errors import DamagedFile, KeyUnusable, WrongPassword
    from restic_tools.access import given_storage
    from restic_tools.caching import temporary_cache
    from restic_tools.checkprint import CheckPrinter, summary_of
    from restic_tools.nativenote import tell_missing_native

    # Checks read the repository itself, whatever is cached.
    del with_cache
    if read_data and read_data_subset:
        raise Failure("check flags --read-data and --read-data-subset cannot be used together")
    try:
        subset = parse_subset(read_data_subset) if read_data_subset else None
    except InvalidSubset as error:
        raise Failure(str(error)) from None
    options = CheckOptions(
        read_data=read_data,
        subset=subset,
        check_unused=check_unused,
        snapshots=snapshots,
        hosts=_hosts(host),
        tags=tag or (),
        paths=path or (),
    )
    printer = CheckPrinter(ctx)
    report: CheckReport | None = None
    if not ctx.options.no_lock:
        ctx.out.info("create exclusive lock for repository")
    try:
        caching, ctx.options.no_cache = not ctx.options.no_cache, True
        lock: LockMode = "none" if ctx.options.no_lock else "exclusive"
        with ExitStack() as ending:

            def cache(repository: Repository) -> None:
                ending.enter_context(temporary_cache(repository, ctx.options.cache_dir, ctx.out))

            first: Reads = ("snapshots", "index files")
            with ctx.open_repository(lock, first=first, caching=cache if caching else None) as repository:
                tell_missing_native(ctx.out)
                report = run_check(repository, options, printer)
                printer.conclude(report)
    except (WrongPassword, KeyUnusable) as error:
        # A damaged key file looks like a wrong password to whoever tries it.
        damaged = damaged_keys(given_storage(ctx.options, ctx.interrupt.event.is_set))
        if not damaged:
            raise
        # One that cannot be read may be the right one: it must not be replaced.
        unreadable = any(finding.code is Code.KEY_UNREADABLE for finding in damaged)
        advice = MAKE_READABLE if unreadable else WITHOUT_KEY
        raise Failure(f"{'; '.join(finding.message for finding in damaged)}; {advice}") from error
    except DamagedFile as error:
        if error.object != "config":
            raise
        raise Failure(f"{error}; {FACTS[Code.CONFIG_DAMAGED].effect}: {FACTS[Code.CONFIG_DAMAGED].advice}") from error
    finally:
        printer.close()
        if ctx.options.json:
            ctx.out.json(summary_of(report, printer.errors))
    if not report.ok:
        raise Failure("repository contains errors")
    ctx.out.info("no errors were found")


def _hosts(given: list[str] | None) -> list[str]:
    """The hosts to consider: those given, or else $RESTIC_HOST; an empty name takes the default away."""
    hosts = given if given is not None else [os.environ.get("RESTIC_HOST", "")]
    return [host for host in hosts if host]
