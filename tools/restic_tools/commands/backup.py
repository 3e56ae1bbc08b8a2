"""``backup``: create a new snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import time_ns
from typing import TYPE_CHECKING, Annotated

from restic_format.words import printable
from restic_tools.argv import parse_uint
from restic_tools.backupsources import FileLists, check_streams, exclude_filter, open_stream, source_path
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.deleteoptions import delete_option
from restic_tools.exitcodes import Failure, Incomplete
from restic_tools.features import is_enabled
from restic_tools.flagtypes import local_time, size, tag_list

if TYPE_CHECKING:
    from restic_format.backup import BackupOptions, CommandSource, Result, StreamSource
    from restic_format.repository import Repository
    from restic_format.snapshots import FoundSnapshot
    from restic_format.work import Cancel
    from restic_tools.backupprint import BackupPrinter
    from restic_tools.context import Reads

MANY = "(can be given several times)"
PATTERN_LINES = f"back up the files that match the patterns in this file, one a line {MANY}"
VERBATIM_LINES = f"back up the files named in this file, one a line, names taken literally {MANY}"
RAW_LINES = f"back up the files named in this file, each name followed by a NUL byte {MANY}"
CACHES = "exclude the contents of cache directories, marked with a CACHEDIR.TAG (see https://bford.info/cachedir/)"
IF_PRESENT = (
    "exclude the contents of directories that have a file of this name, except that file; with a header only if the file "
    f"begins with it {MANY}"
)

GROUPINGS = ("host", "paths", "tags", "host,paths", "host,tags", "host,paths,tags")

Texts = list[str] | None


def backup(
    ctx: Context,
    targets: Annotated[list[str], Argument(metavar="[FILE/DIR] ...")],
    as_path: Annotated[
        str | None,
        Option("--as-path", metavar="path", help="store the source, of which there is only one, as if it were at this path"),
    ] = None,
    custom_ignorefile: Annotated[
        Texts,
        Option("--custom-ignorefile", metavar="name", help=f"treat files of this name like .gitignore files {MANY}"),
    ] = None,
    delete_after: Annotated[
        str,
        Option(
            "--delete-after",
            metavar="duration",
            help="let `forget` remove the snapshot after this long (like 1y5m7d2h), and not before, whatever its policy",
        ),
    ] = "",
    delete_never: Annotated[bool, Option("--delete-never", help="let `forget` never remove the snapshot")] = False,
    description: Annotated[str, Option("--description", metavar="text", help="a text about the snapshot, kept with it")] = "",
    description_from: Annotated[
        str, Option("--description-from", metavar="file", help="read the text about the snapshot from a file")
    ] = "",
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="store nothing, only show what would be done")] = False,
    exclude: Annotated[
        Texts, Option("--exclude", "-e", metavar="pattern", help=f"exclude what matches this pattern {MANY}")
    ] = None,
    exclude_caches: Annotated[bool, Option("--exclude-caches", help=CACHES)] = False,
    exclude_file: Annotated[
        Texts, Option("--exclude-file", metavar="file", help=f"read exclude patterns from a file, one a line {MANY}")
    ] = None,
    exclude_if_present: Annotated[Texts, Option("--exclude-if-present", metavar="filename[:header]", help=IF_PRESENT)] = None,
    exclude_larger_than: Annotated[
        int | None,
        Option(
            "--exclude-larger-than",
            metavar="size",
            parser=size,
            help="exclude files larger than this: a number of bytes, or with one of the units K, M, G and T",
        ),
    ] = None,
    files_from: Annotated[Texts, Option("--files-from", metavar="file", help=PATTERN_LINES)] = None,
    files_from_raw: Annotated[Texts, Option("--files-from-raw", metavar="file", help=RAW_LINES)] = None,
    files_from_verbatim: Annotated[Texts, Option("--files-from-verbatim", metavar="file", help=VERBATIM_LINES)] = None,
    force: Annotated[
        bool,
        Option("--force", "-f", help="read all files again, also those that seem unchanged (no parent snapshot is used)"),
    ] = False,
    git_ignore: Annotated[
        bool,
        Option("--git-ignore", help="exclude what git ignores in its repositories: .gitignore, .git/info/exclude, your own"),
    ] = False,
    group_by: Annotated[
        frozenset[str] | None,
        Option(
            "--group-by",
            "-g",
            metavar="group",
            parser=_grouping,
            values=GROUPINGS,
            otherwise="host,paths",
            help="what the parent snapshot must share: host, paths, tags, separated by commas, or '' for nothing",
        ),
    ] = None,
    host: Annotated[
        str | None,
        Option(
            "--host",
            "-H",
            metavar="hostname",
            variable="RESTIC_HOST",
            otherwise="this host",
            help="hostname for the snapshot; when it changes, give --parent so that files need not be read again",
        ),
    ] = None,
    hostname: Annotated[str | None, Option("--hostname", metavar="hostname", deprecated="use --host", help="")] = None,
    iexclude: Annotated[
        Texts,
        Option("--iexclude", metavar="pattern", help="like --exclude, but ignores upper and lower case"),
    ] = None,
    iexclude_file: Annotated[
        Texts,
        Option("--iexclude-file", metavar="file", help="like --exclude-file, but ignores upper and lower case"),
    ] = None,
    ignore_ctime: Annotated[
        bool, Option("--ignore-ctime", help="do not take files for changed because of their ctime")
    ] = False,
    ignore_inode: Annotated[
        bool,
        Option("--ignore-inode", help="do not take files for changed because of their inode number or ctime"),
    ] = False,
    init: Annotated[bool, Option("--init", help="create the repository first, if there is none")] = False,
    label: Annotated[str, Option("--label", metavar="label", help="a label for the snapshot, as rustic has them")] = "",
    no_require_git: Annotated[
        bool, Option("--no-require-git", help="with --git-ignore: let .gitignore files count outside of repositories as well")
    ] = False,
    no_scan: Annotated[bool, Option("--no-scan", help="do not determine first how much there is to back up")] = False,
    one_file_system: Annotated[
        bool,
        Option("--one-file-system", "-x", help="do not cross into other file systems or subvolumes"),
    ] = False,
    parent: Annotated[
        str,
        Option(
            "--parent",
            metavar="snapshot",
            otherwise="the latest snapshot before --time in the group of --group-by",
            help="parent snapshot to compare with",
        ),
    ] = "",
    protect: Annotated[
        bool, Option("--protect", help="afterwards bring the parity of the repository up to date, as the command protect does")
    ] = False,
    read_concurrency: Annotated[
        int | None,
        Option(
            "--read-concurrency",
            metavar="n",
            parser=parse_uint,
            variable="RESTIC_READ_CONCURRENCY",
            otherwise="2",
            help="read this many files at a time",
        ),
    ] = None,
    skip_if_unchanged: Annotated[
        bool, Option("--skip-if-unchanged", help="create no snapshot when it would be identical to the parent snapshot")
    ] = False,
    snapshot_on_interrupt: Annotated[
        bool, Option("--snapshot-on-interrupt", help="when interrupted, create a partial snapshot of what is done by then")
    ] = False,
    stdin: Annotated[bool, Option("--stdin", help="back up standard input as a file")] = False,
    stdin_filename: Annotated[str, Option("--stdin-filename", metavar="filename", help="name of that file")] = "stdin",
    stdin_from_command: Annotated[
        bool,
        Option("--stdin-from-command", help="back up the output of a command; the arguments are the command"),
    ] = False,
    tag: Annotated[
        list[list[str]] | None,
        Option("--tag", metavar="tags", parser=tag_list, help=f"tags for the snapshot, separated by commas {MANY}"),
    ] = None,
    time: Annotated[
        str, Option("--time", metavar="time", otherwise="now", help="time of the snapshot, for example '2012-11-01 22:08:41'")
    ] = "",
    verify: Annotated[
        bool, Option("--verify", help="read back what was stored, and compare it with the source; also what was there before")
    ] = False,
    verify_new_only: Annotated[
        bool, Option("--verify-new-only", help="with --verify, leave out what is as in the parent snapshot")
    ] = False,
    with_atime: Annotated[bool, Option("--with-atime", help="store the access times of files and directories")] = False,
) -> None:
    """Back up files and directories into a new snapshot

    Directories are backed up with everything in them. Files that have not changed since the parent snapshot are not read
    again, and data that the repository already has are not stored again.
    """
    if not init:
        ctx.approach()
    from restic_format.backup import DEFAULT_GROUPING, BackupOptions
    from restic_format.backup.select import CACHE_TAG
    from restic_format.errors import Interrupted
    from restic_format.repository.keys import current_host
    from restic_format.work import Cancel
    from restic_tools.backupprint import BackupPrinter
    from restic_tools.nativenote import tell_missing_native

    lists = FileLists(files_from or [], files_from_verbatim or [], files_from_raw or [])
    stream = stdin or stdin_from_command
    if dry_run and verify:
        raise Failure("--dry-run and --verify are mutually exclusive")
    if dry_run and protect:
        raise Failure("--dry-run and --protect are mutually exclusive")
    if verify_new_only and not verify:
        raise Failure("--verify-new-only says what --verify leaves out: give that as well")
    check_streams(ctx, lists, targets, stdin=stdin, from_command=stdin_from_command)
    found, incomplete = ([], False) if stream else lists.targets(ctx, targets)
    now = time_ns()
    excludes = exclude_filter(exclude or [], exclude_file or [], iexclude or [], iexclude_file or [])
    options = BackupOptions(
        excludes=excludes,
        exclude_patterns=exclude or [],
        exclude_if_present=[*(exclude_if_present or []), *([CACHE_TAG] if exclude_caches else [])],
        exclude_larger_than=exclude_larger_than,
        ignore_files=custom_ignorefile or [],
        git_ignore=git_ignore,
        require_git_repository=not no_require_git,
        git_user_file=_git_user_file() if git_ignore else "",
        as_path=source_path(as_path, found, stream=stream),
        one_file_system=one_file_system,
        with_atime=with_atime,
        ignore_ctime=ignore_ctime,
        ignore_inode=ignore_inode,
        device_id_for_hardlinks=is_enabled("device-id-for-hardlinks"),
        read_concurrency=_read_concurrency(read_concurrency),
        scan=not no_scan and _scan_is_seen(ctx),
        dry_run=dry_run,
        skip_if_unchanged=skip_if_unchanged,
        time_ns=_time(time) if time else now,
        start_ns=now,
        hostname=host or hostname or os.environ.get("RESTIC_HOST") or current_host(),
        tags=[name for names in tag or [] for name in names if name],
        label=label,
        description=_description(description, description_from),
    )
    options.snapshot_on_interrupt = _on_interrupt(ctx, stream=stream, dry_run=dry_run) if snapshot_on_interrupt else False
    options.delete = delete_option(delete_after, options.time_ns or now, never=delete_never)
    search = ParentSearch(parent, DEFAULT_GROUPING if group_by is None else group_by, [as_path] if as_path else found)
    if init:
        _init_where_there_is_none(ctx, dry_run=dry_run)
    ctx.out.verbose("open repository")

    reads: Reads = ("index",) if stdin or force else ("snapshots", "index")
    with ctx.open_repository("none" if dry_run else "shared", honour_no_lock=False, first=reads) as repository:
        if not stdin and not force:
            search.apply(ctx, repository, options)
        elif not stdin:
            ctx.out.info("no parent snapshot found, will read all files")
        ctx.out.verbose("load index files")
        repository.load_index()
        tell_missing_native(ctx.out, cutting=True)
        printer = BackupPrinter(ctx)
        options.tells_files = printer.tells_files
        source: StreamSource | CommandSource | None = None
        if stream:
            source = open_stream(ctx, targets, from_command=stdin_from_command)
        cancel = Cancel(health=ctx.check_lock)
        with ctx.interrupt.deferred(_stop_twice(cancel) if snapshot_on_interrupt else cancel.set):
            result = _run(ctx, repository, found, source, stdin_filename, options, printer, cancel)
            failure = ""
            try:
                if verify and not result.partial:
                    from restic_tools.verifyprint import verify as verify_stored

                    known = options.parent.tree if verify_new_only and options.parent is not None else None
                    failure = verify_stored(
                        ctx, repository, result, None if stream else found, options.as_path, known or None, cancel
                    )
            finally:  # the snapshot is there, however verifying it ends
                printer.conclude(result, dry_run=dry_run)
            if protect and not result.partial:
                from restic_tools.parityprint import protect_new

                protect_new(ctx, repository.past_cache().storage, cancel)
        if result.partial:
            raise Interrupted("interrupted by a signal")
    if failure:
        raise Failure(failure)
    if incomplete or result.summary.errors:
        raise Incomplete("at least one source file could not be read")


def _init_where_there_is_none(ctx: Context, *, dry_run: bool) -> None:
    from restic_spec.config import STABLE_VERSION
    from restic_spec.layout import FileKind
    from restic_tools.access import given_storage
    from restic_tools.commands.init import create

    if dry_run:
        raise Failure("--init and --dry-run cannot be used together")
    if not given_storage(ctx.options, ctx.interrupt.event.is_set).exists(FileKind.CONFIG, ""):
        create(ctx, STABLE_VERSION, None)


def _git_user_file() -> str:
    from restic_tools.gitconfig import git_user_file

    return git_user_file()


def _on_interrupt(ctx: Context, *, stream: bool, dry_run: bool) -> bool:
    """Say what happens when a signal comes; True."""
    if stream:
        raise Failure("--snapshot-on-interrupt cannot be used for a stream: half of one is nothing to keep")
    if dry_run:
        raise Failure("--snapshot-on-interrupt and --dry-run cannot be used together")
    if not ctx.options.json:
        text = "signal received, saving what is done as a partial snapshot; another one ends without it"
        ctx.interrupt.announce = lambda: ctx.out.warn(text)
    return True


def _stop_twice(cancel: Cancel) -> Callable[[], None]:
    """What a signal does: the first one cancels, the second one ends what is done after that."""

    def stop() -> None:
        if cancel.is_set():
            from restic_format.errors import Interrupted

            raise Interrupted("interrupted by a second signal")
        cancel.set()

    return stop


def _description(text: str, file: str) -> str:
    from restic_tools.passwords import read_text_file

    if text and file:
        raise Failure("--description and --description-from cannot be used together")
    return read_text_file(file) if file else text


def _run(
    ctx: Context,
    repository: Repository,
    targets: list[str],
    source: StreamSource | CommandSource | None,
    name: str,
    options: BackupOptions,
    printer: BackupPrinter,
    cancel: Cancel,
) -> Result:
    from restic_format.backup import backup as back_up
    from restic_format.backup import backup_stream
    from restic_format.backup.select import InvalidIgnoreName, InvalidTagSpec
    from restic_format.errors import AlreadyLocked, InvalidLock, LockLost, ResticFormatError

    live: AbstractContextManager[object] = ctx.progress(lines=printer.lines, status=printer.status)
    try:
        with live:
            if source is not None:
                return backup_stream(repository, source, name, options, printer, cancel)
            shown = " ".join(map(printable, targets))
            if options.scan:
                ctx.out.verbose(f"start scan on [{shown}]")
            ctx.out.verbose(f"start backup on [{shown}]")
            return back_up(repository, targets, options, printer, cancel)
    except (AlreadyLocked, InvalidIgnoreName, InvalidLock, InvalidTagSpec, LockLost):
        raise
    except ResticFormatError as error:
        raise Failure(f"unable to save snapshot: {error}") from error


class ParentSearch:
    """Finds the parent snapshot and says which it is."""

    def __init__(self, name: str, group_by: frozenset[str], targets: list[str]) -> None:
        self._name = name
        self._group_by = group_by
        self._targets = targets

    def apply(self, ctx: Context, repository: Repository, options: BackupOptions) -> None:
        """Put the parent into *options* and tell people."""
        from restic_format.backup import find_parent
        from restic_spec.snapshot import is_partial

        found: FoundSnapshot | None = find_parent(
            repository,
            name=self._name,
            group_by=self._group_by,
            hostname=options.hostname,
            paths=self._targets,
            tags=options.tags,
            not_after_ns=options.time_ns,
        )
        if found is None:
            ctx.out.info("no parent snapshot found, will read all files")
            return
        ctx.out.info(f"using parent snapshot {found.short_id}{' (partial)' if is_partial(found.snapshot) else ''}")
        options.parent = found.snapshot
        options.parent_id = found.id.hex()


def _scan_is_seen(ctx: Context) -> bool:
    """Whether anybody would see the results of a scan."""
    from restic_tools.output import VERBOSE
    from restic_tools.progress import update_interval

    return update_interval(ctx.out) > 0 or ctx.options.verbosity >= VERBOSE


def _grouping(text: str) -> frozenset[str]:
    from restic_format.snapshots.grouping import parse_grouping

    return parse_grouping(text)


def _read_concurrency(given: int | None) -> int:
    text = os.environ.get("RESTIC_READ_CONCURRENCY", "")
    if given is None and text:
        try:
            given = parse_uint(text)
        except ValueError as error:
            raise Failure(f'invalid value for RESTIC_READ_CONCURRENCY "{text}": {error}') from None
    return given or 2


def _time(text: str) -> int:
    try:
        return local_time(text)
    except ValueError as error:
        raise Failure(f'error in time option: "{text}": {error}') from None
