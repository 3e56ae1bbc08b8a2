"""``restore``: restore files from a snapshot."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

from restic_format.durations import duration_text
from restic_format.errors import SnapshotNotFound
from restic_format.filter import ExcludeFilter, IncludeFilter, InvalidPattern, clean_path
from restic_format.restore.request import (
    Overwrite,
    RestoreOptions,
    Selector,
    XattrSelector,
    exclude_selector,
    include_selector,
    xattr_selector,
)
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import full_text
from restic_tools.output import DEBUG
from restic_tools.patternoptions import patterns_of
from restic_tools.restoreprint import RestorePrinter
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from restic_format.repository import Repository
    from restic_format.restore import Restorer
    from restic_format.snapshots import FoundSnapshot

_MANY = "(can be given several times)"


def overwrite_option(text: str) -> Overwrite:
    """Read an ``--overwrite`` value."""
    try:
        return Overwrite(text)
    except ValueError:
        choices = "|".join(choice.value for choice in Overwrite)
        raise ValueError(f'invalid overwrite behavior "{text}", must be one of ({choices})') from None


def restore(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="snapshotID", values=("latest",))],
    target: Annotated[str, Option("--target", "-t", metavar="directory", help="directory to restore to")] = "",
    exclude: Annotated[
        list[str] | None, Option("--exclude", "-e", metavar="pattern", help=f"exclude what matches this pattern {_MANY}")
    ] = None,
    exclude_file: Annotated[
        list[str] | None,
        Option("--exclude-file", metavar="file", help=f"read exclude patterns from a file, one a line {_MANY}"),
    ] = None,
    iexclude: Annotated[
        list[str] | None, Option("--iexclude", metavar="pattern", help="like --exclude, but ignores upper and lower case")
    ] = None,
    iexclude_file: Annotated[
        list[str] | None,
        Option("--iexclude-file", metavar="file", help="like --exclude-file, but ignores upper and lower case"),
    ] = None,
    include: Annotated[
        list[str] | None, Option("--include", "-i", metavar="pattern", help=f"restore only what matches this pattern {_MANY}")
    ] = None,
    include_file: Annotated[
        list[str] | None,
        Option("--include-file", metavar="file", help=f"read include patterns from a file, one a line {_MANY}"),
    ] = None,
    iinclude: Annotated[
        list[str] | None, Option("--iinclude", metavar="pattern", help="like --include, but ignores upper and lower case")
    ] = None,
    iinclude_file: Annotated[
        list[str] | None,
        Option("--iinclude-file", metavar="file", help="like --include-file, but ignores upper and lower case"),
    ] = None,
    exclude_xattr: Annotated[
        list[str] | None,
        Option(
            "--exclude-xattr", metavar="pattern", help=f"exclude extended attributes whose names match this pattern {_MANY}"
        ),
    ] = None,
    include_xattr: Annotated[
        list[str] | None,
        Option(
            "--include-xattr",
            metavar="pattern",
            help=f"restore only extended attributes whose names match this pattern {_MANY}",
        ),
    ] = None,
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    dry_run: Annotated[bool, Option("--dry-run", help="write nothing, only show what would be done")] = False,
    sparse: Annotated[bool, Option("--sparse", help="restore files as sparse files")] = False,
    verify: Annotated[bool, Option("--verify", help="read the restored files again and verify them")] = False,
    overwrite: Annotated[
        Overwrite,
        Option(
            "--overwrite",
            metavar="behavior",
            parser=overwrite_option,
            values=tuple(choice.value for choice in Overwrite),
            help="which existing files to overwrite: always, if-changed, if-newer or never",
        ),
    ] = Overwrite.ALWAYS,
    delete: Annotated[
        bool,
        Option(
            "--delete", help="delete files from the target directory that are not in the snapshot; '--dry-run -vv' shows which"
        ),
    ] = False,
    ownership_by_name: Annotated[
        bool, Option("--ownership-by-name", help="restore owners by user and group name instead of number (not in ACLs)")
    ] = False,
) -> None:
    """Restore files from a snapshot

    The snapshot "latest" is the latest one that matches --host, --path and --tag, "latest~1" the one before it.
    "snapshotID:subfolder" restores only that directory of the snapshot, by its path in the output of "ls".

    Of files that already exist in the target directory, only the parts that differ are written.
    """
    ctx.approach()
    excludes = ExcludeFilter(
        patterns_of("exclude", exclude, exclude_file), patterns_of("iexclude", iexclude, iexclude_file, ignore_case=True)
    )
    includes = IncludeFilter(
        patterns_of("include", include, include_file), patterns_of("iinclude", iinclude, iinclude_file, ignore_case=True)
    )
    if len(names) != 1:
        given = f"more than one snapshot ID specified: [{' '.join(names)}]" if names else "no snapshot ID specified"
        raise Failure(given)
    if not target:
        raise Failure("please specify a directory to restore to (--target)")
    if excludes and includes:
        raise Failure("exclude and include patterns are mutually exclusive")
    if dry_run and verify:
        raise Failure("--dry-run and --verify are mutually exclusive")
    if delete and clean_path(os.path.abspath(target)) == "/" and not (excludes.matches_something or includes.matches_something):
        raise Failure("'--target / --delete' must be combined with an include or exclude filter")
    options = RestoreOptions(
        overwrite=overwrite,
        delete=delete,
        sparse=sparse,
        dry_run=dry_run,
        ownership_by_name=ownership_by_name,
        select=_selector(excludes, includes),
        select_xattr=_xattrs(include_xattr, exclude_xattr),
        tell_items=ctx.out.verbosity >= DEBUG,
    )
    wanted = snapshot_filter(host, tag, path)
    from restic_format.snapshots import find_snapshot
    from restic_tools.nativenote import tell_missing_native

    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repo:
        try:
            found = find_snapshot(repo, names[0], wanted.absolute())
        except SnapshotNotFound as error:
            raise Failure(f"failed to find snapshot: {error}") from error
        repo.load_index()
        tell_missing_native(ctx.out)
        _restore(ctx, repo, *found, target, options, verify=verify)


def _restore(
    ctx: Context,
    repo: Repository,
    found: FoundSnapshot,
    subfolder: str,
    target: str,
    options: RestoreOptions,
    *,
    verify: bool,
) -> None:
    from restic_format.restore import Restorer
    from restic_format.snapshots import resolve_subfolder
    from restic_format.work import Cancel
    from restic_spec.ids import parse_id

    snapshot = found.snapshot
    if not snapshot.tree:
        raise Failure(f"snapshot {found.short_id} has no tree")
    tree = resolve_subfolder(repo, parse_id(snapshot.tree), subfolder)
    ctx.out.info(
        f"restoring snapshot {found.short_id} of [{' '.join(snapshot.path_list())}] at {full_text(snapshot.time)} "
        f"by {snapshot.username}@{snapshot.hostname} to {target}"
    )
    printer = RestorePrinter(ctx.out, target, dry_run=options.dry_run)
    restorer = Restorer(repo, tree, target, options, progress=printer, cancel=Cancel(health=ctx.interrupt.check))
    printer.stats = restorer.stats
    with ctx.interrupt.deferred():
        with ctx.progress(lines=printer.lines, status=printer.status):
            stats = restorer.run()
        printer.summary()
        if not stats.errors and verify:
            _verify(ctx, restorer, target)
    if stats.errors:
        raise Failure(f"There were {stats.errors} errors")


def _verify(ctx: Context, restorer: Restorer, target: str) -> None:
    ctx.out.info(f"verifying files in {target}")
    started = time.monotonic()
    if ctx.out.stdout_is_terminal and not ctx.out.json_mode:
        with ctx.counter("files verified", restorer.written_files) as counter:
            count = restorer.verify(counter.add)
    else:
        count = restorer.verify()
    if not restorer.stats.errors:
        took = duration_text(round(time.monotonic() - started, 3))
        ctx.out.info(f"finished verifying {count} files in {target} (took {took})")


def _selector(excludes: ExcludeFilter, includes: IncludeFilter) -> Selector | None:
    if excludes:
        return exclude_selector(excludes)
    return include_selector(includes) if includes else None


def _xattrs(include: list[str] | None, exclude: list[str] | None) -> XattrSelector | None:
    if include and exclude:
        raise Failure("exclude and include xattr patterns are mutually exclusive")
    try:
        return xattr_selector(include=include or (), exclude=exclude or ())
    except InvalidPattern as error:
        raise Failure(f"--{'include' if include else 'exclude'}-xattr: {error}") from error
