"""``diff``: what differs between two snapshots, or a snapshot and a local path."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Annotated

from restic_format.errors import ResticFormatError, SnapshotNotFound
from restic_format.words import printable
from restic_tools.buffered import Buffered
from restic_tools.commands.ls import load_index
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.messages import ErrorText, ObjectError, encode_message
from restic_tools.messages.diff import ChangeMessage, LocalSideCounts, LocalStatisticsMessage, SideCounts, StatisticsMessage
from restic_tools.output import NORMAL, encode
from restic_tools.render import bytes_text
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter
from restic_tools.sourceoptions import SourceFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from restic_format.explore.diff import DiffStatistics, ItemCounts
    from restic_format.explore.local import LocalOptions, LocalStatistics
    from restic_format.repository import Repository
    from restic_format.snapshots import FoundSnapshot, SnapshotFilter
    from restic_spec.tree import Node


def diff(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="snapshotID snapshotID|path", values=("latest",))],
    source: SourceFilter,
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    metadata: Annotated[bool, Option("--metadata", help="print changes in metadata")] = False,
    no_content: Annotated[
        bool, Option("--no-content", help="read no local file: one that has the size in the snapshot is the same")
    ] = False,
    read_data: Annotated[
        bool, Option("--read-data", help="read all local files, also those that have the size and time in the snapshot")
    ] = False,
) -> None:
    """Show differences between two snapshots, or a snapshot and a local path

    The first characters of each line say what has happened to a file or directory on the way from the first snapshot to the
    second:

    +  it was added
    -  it was removed
    U  its metadata (mode, times, …) were updated; only with --metadata
    M  the content of the file was modified
    T  its type was changed, for example from a file to a symlink
    ?  bitrot: the file's content has changed, but its metadata are the same

    "snapshotID:subfolder" compares only that directory of the snapshot, by its path in the output of "ls". The snapshot
    "latest" is the latest one that matches --host, --tag and --path, "latest~1" the one before it.

    Changes of metadata, and bitrot, are not seen reliably between backups with --ignore-inode or --ignore-ctime.

    The second one may be a local path: it begins with '/' or '.', or exists and means no snapshot. It is compared with the
    same absolute path in the snapshot, or with the subfolder given there. Local files are read where the size is that in the
    snapshot and the modification time is not. The options that exclude leave items out on both sides.
    """
    ctx.approach()
    if len(words) != 2:
        raise Failure("specify two snapshot IDs")
    if no_content and read_data:
        raise Failure("--no-content and --read-data are mutually exclusive")
    wanted = snapshot_filter(host, tag, path)
    printer = _Printer(ctx)
    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repo:
        load_index(ctx, repo)
        before, after = _find(repo, words[0], wanted), _find_second(repo, words[1], wanted)
        if isinstance(after, str):
            options = _local_options(source, metadata=metadata, no_content=no_content, read_data=read_data)
            _with_local(ctx, repo, words[0], before, after, options, printer)
        elif source.given or no_content or read_data:
            raise Failure("options about local files are given, but no local path to compare the snapshot with")
        else:
            _with_snapshot(ctx, repo, words, before, after, printer, metadata=metadata)
    printer.close()


_Found = tuple["FoundSnapshot", str]
"""A snapshot, and the subfolder."""


def _find(repo: Repository, word: str, wanted: SnapshotFilter) -> _Found:
    from restic_format.snapshots import find_snapshot

    try:
        return find_snapshot(repo, word, wanted)
    except SnapshotNotFound as error:
        raise Failure(str(error)) from error


def _find_second(repo: Repository, word: str, wanted: SnapshotFilter) -> _Found | str:
    """A snapshot, or a local path."""
    if word.startswith(("/", ".")):
        return word
    try:
        return _find(repo, word, wanted)
    except Failure:
        if word and os.path.lexists(word):
            return word
        raise


def _tree(found: FoundSnapshot) -> bytes:
    from restic_spec.ids import parse_id

    if not found.snapshot.tree:
        raise Failure(f"snapshot {found.short_id} has no tree")
    return parse_id(found.snapshot.tree)


def _with_snapshot(
    ctx: Context, repo: Repository, words: list[str], before: _Found, after: _Found, printer: _Printer, *, metadata: bool
) -> None:
    from restic_format.explore.diff import TreeDiff
    from restic_format.snapshots import resolve_subfolder
    from restic_format.work import Cancel

    ctx.out.info(f"comparing snapshot {before[0].short_id} to {after[0].short_id}:")
    ctx.out.info()
    trees = [resolve_subfolder(repo, _tree(found), subfolder) for found, subfolder in (before, after)]
    with ctx.interrupt.deferred():
        cancel = Cancel(health=ctx.interrupt.check)
        found = TreeDiff(repo, *trees, metadata=metadata, damaged=printer.damaged, cancel=cancel)
        for difference in found:
            printer.change(difference.path, difference.mark)
    printer.push()
    for kind, blob in found.statistics.missing:
        printer.fault(f"unable to find blob size for <{kind.value}/{blob.hex()[:8]}>")
    printer.statistics(found.statistics, words)


def _local_options(source: SourceFilter, *, metadata: bool, no_content: bool, read_data: bool) -> LocalOptions:
    from restic_format.explore.local import LocalOptions, Reading

    reading = Reading.NONE if no_content else Reading.ALL if read_data else Reading.CHANGED
    return LocalOptions(metadata=metadata, reading=reading, source=source.options())


def _with_local(
    ctx: Context, repo: Repository, word: str, before: _Found, local: str, options: LocalOptions, printer: _Printer
) -> None:
    from restic_format.explore.local import LocalDiff
    from restic_format.snapshots import subtree_of
    from restic_format.work import Cancel
    from restic_spec.tree import DIR

    found, subfolder = before
    target = os.path.abspath(local)
    inside, node = _find_inside(repo, found, subfolder, local)
    ctx.out.info(f"comparing snapshot {found.short_id}:{printable(inside)} to {printable(target)}:")
    ctx.out.info()
    tree: bytes | None = _tree(found)
    if node is not None:
        tree, node = (subtree_of(node), None) if node.type == DIR else (None, node)
    with ctx.interrupt.deferred():
        differences = LocalDiff(
            repo,
            tree,
            target,
            options,
            node=node,
            damaged=printer.damaged,
            warn=ctx.out.warn,
            cancel=Cancel(health=ctx.interrupt.check),
        )
        for path, mark in differences:
            printer.change(path, mark)
    printer.push()
    printer.local_statistics(differences.statistics, word, inside, target)


def _find_inside(repo: Repository, found: FoundSnapshot, subfolder: str, local: str) -> tuple[str, Node | None]:
    """The path in the snapshot that a local path is compared with, and the node there, None for the root.

    Where no subfolder is given, it is the absolute path, or the one that a backup with this relative path as a target has.
    """
    from restic_format.backup.targets import components
    from restic_format.snapshots import stat
    from restic_spec import gojson

    target = os.path.abspath(local)
    if subfolder:
        return subfolder, stat(repo, _tree(found), subfolder)
    relative = "/" + gojson.to_text(b"/".join(components(gojson.to_bytes(local))))
    for path in (target, relative) if not local.startswith("/") and relative != "/" else (target,):
        with contextlib.suppress(SnapshotNotFound):
            return path, stat(repo, _tree(found), path)
    raise Failure(
        f"{target} is not in snapshot {found.short_id}; say what to compare it with: "
        f"{found.short_id}:/folder, or {found.short_id}:/ for the whole snapshot"
    )


class _Printer(Buffered):
    """Prints what differs, as lines or as messages."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx.out)
        self._json = ctx.options.json
        self._faults = 0
        shown: Callable[[str], str] | None = printable if ctx.out.stdout_is_terminal else None
        self._shown = shown
        self._quiet = ctx.out.verbosity < NORMAL

    def change(self, path: str, mark: str) -> None:
        """An item that differs."""
        if self._quiet:
            return
        if self._json:
            self.put(encode_message(ChangeMessage("change", path, mark)) + b"\n")
        else:
            self.put(encode(f"{mark:<5}{path if self._shown is None else self._shown(path)}\n"))

    def damaged(self, path: str, error: ResticFormatError) -> None:
        """A directory or an entry that cannot be read."""
        self.fault(f"{printable(path)}: {error}" if path else str(error), path)

    def fault(self, text: str, path: str = "") -> None:
        """Something that is left out; the rest goes on."""
        self._faults += 1
        if self._json:
            self.out.json_error(ObjectError("error", ErrorText(text), "diff", path))
        else:
            self.out.warn(f"error: {text}")

    def statistics(self, found: DiffStatistics, words: list[str]) -> None:
        """What the differences come to."""
        added, removed, line = found.added, found.removed, self.out.line
        if self._json:
            sides = _side(added), _side(removed)
            self.out.json(StatisticsMessage("statistics", words[0], words[1], found.changed_files, *sides))
        line()
        line(f"Files:       {added.files:5d} new, {removed.files:5d} removed, {found.changed_files:5d} changed")
        line(f"Dirs:        {added.dirs:5d} new, {removed.dirs:5d} removed")
        line(f"Others:      {added.others:5d} new, {removed.others:5d} removed")
        line(f"Data Blobs:  {added.data_blobs:5d} new, {removed.data_blobs:5d} removed")
        line(f"Tree Blobs:  {added.tree_blobs:5d} new, {removed.tree_blobs:5d} removed")
        line(f"  Added:   {bytes_text(added.bytes):<5}")
        line(f"  Removed: {bytes_text(removed.bytes):<5}")

    def local_statistics(self, found: LocalStatistics, word: str, inside: str, target: str) -> None:
        """The same for a snapshot and a local path."""
        added, removed, line = found.added, found.removed, self.out.line
        if self._json:
            sides = [LocalSideCounts(counts.files, counts.dirs, counts.others, counts.bytes) for counts in (added, removed)]
            read = found.files_read, found.bytes_read
            self.out.json(
                LocalStatisticsMessage("statistics", word, inside, target, found.changed_files, sides[0], sides[1], *read)
            )
        line()
        line(f"Files:       {added.files:5d} new, {removed.files:5d} removed, {found.changed_files:5d} changed")
        line(f"Dirs:        {added.dirs:5d} new, {removed.dirs:5d} removed")
        line(f"Others:      {added.others:5d} new, {removed.others:5d} removed")
        line(f"  Added:   {bytes_text(added.bytes):<5}")
        line(f"  Removed: {bytes_text(removed.bytes):<5}")
        line(f"  Read:    {bytes_text(found.bytes_read):<5} of {found.files_read} local files")

    def close(self) -> None:
        """Fail where something was left out."""
        if self._faults:
            raise Failure(f"There were {self._faults} errors")


def _side(counts: ItemCounts) -> SideCounts:
    return SideCounts(counts.files, counts.dirs, counts.others, counts.data_blobs, counts.tree_blobs, counts.bytes)
