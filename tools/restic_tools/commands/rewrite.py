"""``rewrite``: new snapshots from existing ones, without some of what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from restic_format.errors import ResticFormatError
from restic_format.filter import ExcludeFilter, IncludeFilter
from restic_format.words import printable
from restic_spec import gojson
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import local_time
from restic_tools.gotext import full_text, quoted, snapshot_line
from restic_tools.messages.rewrite import RewriteSummary, SnapshotRewritten
from restic_tools.output import DEBUG
from restic_tools.patternoptions import patterns_of
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from restic_format.maintenance.rewrite import RewriteEvent, RewriteOptions, SnapshotChanged
    from restic_tools.context import LockMode

Texts = list[str] | None
MANY = "(can be given several times)"


def rewrite(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshotID ...]", values=("latest",))],
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="change nothing, only show what would be done")] = False,
    exclude: Annotated[
        Texts, Option("--exclude", "-e", metavar="pattern", help=f"leave out what matches this pattern {MANY}")
    ] = None,
    exclude_file: Annotated[
        Texts, Option("--exclude-file", metavar="file", help=f"read exclude patterns from a file, one a line {MANY}")
    ] = None,
    forget: Annotated[bool, Option("--forget", help="remove the original snapshots when the new ones are stored")] = False,
    host: HostOption = None,
    iexclude: Annotated[
        Texts, Option("--iexclude", metavar="pattern", help="like --exclude, but ignores upper and lower case")
    ] = None,
    iexclude_file: Annotated[
        Texts, Option("--iexclude-file", metavar="file", help="like --exclude-file, but ignores upper and lower case")
    ] = None,
    iinclude: Annotated[
        Texts, Option("--iinclude", metavar="pattern", help="like --include, but ignores upper and lower case")
    ] = None,
    iinclude_file: Annotated[
        Texts, Option("--iinclude-file", metavar="file", help="like --include-file, but ignores upper and lower case")
    ] = None,
    include: Annotated[
        Texts, Option("--include", "-i", metavar="pattern", help=f"keep only what matches this pattern {MANY}")
    ] = None,
    include_file: Annotated[
        Texts, Option("--include-file", metavar="file", help=f"read include patterns from a file, one a line {MANY}")
    ] = None,
    new_host: Annotated[str, Option("--new-host", help="replace the hostname")] = "",
    new_time: Annotated[
        str, Option("--new-time", help="replace the time of the backup, for example '2012-11-01 22:08:41'")
    ] = "",
    path: PathOption = None,
    snapshot_summary: Annotated[
        bool, Option("--snapshot-summary", "-s", help="create a summary in snapshots that have none")
    ] = False,
    tag: TagOption = None,
) -> None:
    """Create new snapshots from existing ones, without unwanted files

    Without snapshot IDs, all snapshots that match --host, --tag and --path are rewritten. Time, host and tags stay as they
    are, unless --new-host or --new-time is given.

    New snapshots get the tag "rewrite", and their "original" is the ID of the snapshot they were made from. With --forget
    they get no tag, and the original snapshots are removed. Their data is removed by "prune" only.

    A new snapshot's summary says how many files and bytes are in it. With --snapshot-summary, snapshots without a summary get
    one that says only that.
    """
    from restic_format.maintenance.rewrite import RewriteOptions, plan_rewrite
    from restic_format.maintenance.rewrite import rewrite as rewrite_snapshots
    from restic_tools.commands.ls import load_index
    from restic_tools.stages import stoppable

    options = RewriteOptions(
        ExcludeFilter(
            patterns_of("exclude", exclude, exclude_file), patterns_of("iexclude", iexclude, iexclude_file, ignore_case=True)
        ),
        IncludeFilter(
            patterns_of("include", include, include_file), patterns_of("iinclude", iinclude, iinclude_file, ignore_case=True)
        ),
        hostname=new_host,
        time=_time(new_time) if new_time else "",
        summary=snapshot_summary,
        forget=forget,
        dry_run=dry_run,
        tell_items=ctx.out.verbosity >= DEBUG and not ctx.options.json,
    )
    has_excludes = bool(exclude or exclude_file or iexclude or iexclude_file)
    has_includes = bool(include or include_file or iinclude or iinclude_file)
    if not (has_excludes or has_includes or snapshot_summary or options.changes_metadata):
        raise Failure("Nothing to do: no excludes/includes provided and no new metadata provided")
    if has_excludes and has_includes:
        raise Failure("exclude and include patterns are mutually exclusive")
    printer = _Printer(ctx, options)
    if forget:
        ctx.out.info("create exclusive lock for repository")
    lock: LockMode = "none" if dry_run else "exclusive" if forget else "shared"
    with ctx.open_repository(lock=lock, honour_no_lock=False) as repo:
        plan = plan_rewrite(repo, options, names, snapshot_filter(host, tag, path).absolute(), damaged=printer.ignored)
        load_index(ctx, repo)
        with stoppable(ctx) as cancel:
            try:
                result = rewrite_snapshots(plan, progress=printer, cancel=cancel)
            except ResticFormatError as error:
                raise printer.failure(error) from error
    changed = len(result.changed)
    if ctx.options.json:
        ctx.out.json(RewriteSummary("summary", changed, len(result.unchanged), dry_run))
    ctx.out.info()
    if not changed:
        ctx.out.info(f"no snapshots {'would be' if dry_run else 'were'} modified")
    else:
        ctx.out.info(f"{'would modify' if dry_run else 'modified'} {changed} snapshots")


def _time(text: str) -> str:
    from restic_spec import gotime

    try:
        return gotime.format_ns(local_time(text))
    except ValueError as error:
        raise Failure(f'error in time option: "{text}": {error}') from None


class _Printer:
    """What `restic_format.maintenance.rewrite` tells, as lines and messages."""

    def __init__(self, ctx: Context, options: RewriteOptions) -> None:
        self._out = ctx.out
        self._json = ctx.options.json
        self._options = options
        self._name = ""

    def ignored(self, name: str, error: ResticFormatError) -> None:
        """Tell of a snapshot that cannot be found or read."""
        self._out.warn(f"Ignoring {quoted(name)}: {error}")

    def failure(self, error: ResticFormatError) -> Failure | ResticFormatError:
        """The error to end with, for one of the snapshot that is being rewritten."""
        return Failure(f'unable to rewrite snapshot ID "{self._name}": {error}') if self._name else error

    def __call__(self, event: RewriteEvent) -> None:
        """Print what the engine tells."""
        from restic_format.maintenance.rewrite import ItemExcluded, ItemIncluded, RewriteStarted

        if isinstance(event, RewriteStarted):
            self._name = event.snapshot.short_id
            self._out.info()
            self._out.info(snapshot_line(event.snapshot))
        elif isinstance(event, ItemExcluded):
            self._out.debug(f'excluding "{gojson.quote(event.path)}"')
        elif isinstance(event, ItemIncluded):
            self._out.debug(f'including {"directory " if event.directory else ""}"{gojson.quote(event.path)}"')
        else:
            self._changed(event)

    def _changed(self, event: SnapshotChanged) -> None:
        old, new, options = event.old, event.new, self._options
        if self._json:
            new_id = "" if event.new_id is None else event.new_id.hex()
            self._out.json(SnapshotRewritten("changed", old.id.hex(), new_id, event.removed))
        elif event.new_id is None:
            self._out.info("would save new snapshot")
            if options.forget:
                self._out.info("would remove old snapshot")
            if options.time:
                self._out.info(f"would set time to {full_text(new.time)}")
            if options.hostname:
                self._out.info(f"would set hostname to {printable(new.hostname)}")
        else:
            if options.time:
                self._out.info(f"setting time to {full_text(new.time)}")
            if options.hostname:
                self._out.info(f"setting host to {printable(new.hostname)}")
            self._out.info(f"saved new snapshot {event.new_id.hex()[:8]}")
            if event.removed:
                self._out.info(f"removed old snapshot {old.short_id}")
