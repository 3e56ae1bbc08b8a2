"""``diff``: what differs between two snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from restic_format.errors import ResticFormatError, SnapshotNotFound
from restic_format.words import printable
from restic_tools.buffered import Buffered
from restic_tools.commands.ls import load_index
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.messages import ErrorText, ObjectError, encode_message
from restic_tools.messages.diff import ChangeMessage, SideCounts, StatisticsMessage
from restic_tools.output import NORMAL, encode
from restic_tools.render import bytes_text
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from restic_format.explore.diff import DiffStatistics, ItemCounts
    from restic_format.repository import Repository
    from restic_format.snapshots import FoundSnapshot, SnapshotFilter


def diff(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="snapshotID snapshotID", values=("latest",))],
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    metadata: Annotated[bool, Option("--metadata", help="print changes in metadata")] = False,
) -> None:
    """Show differences between two snapshots

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
    """
    from restic_format.explore.diff import TreeDiff
    from restic_format.work import Cancel

    if len(words) != 2:
        raise Failure("specify two snapshot IDs")
    wanted = snapshot_filter(host, tag, path)
    printer = _Printer(ctx)
    with ctx.open_repository(lock="shared") as repo:
        load_index(ctx, repo)
        before, after = (_find(repo, word, wanted) for word in words)
        ctx.out.info(f"comparing snapshot {before[0].short_id} to {after[0].short_id}:")
        ctx.out.info()
        trees = [_tree(repo, *found) for found in (before, after)]
        with ctx.interrupt.deferred():
            found = TreeDiff(
                repo, *trees, metadata=metadata, damaged=printer.damaged, cancel=Cancel(health=ctx.interrupt.check)
            )
            for difference in found:
                printer.change(difference.path, difference.mark)
        printer.flush()
        for kind, blob in found.statistics.missing:
            printer.fault(f"unable to find blob size for <{kind.value}/{blob.hex()[:8]}>")
        printer.statistics(found.statistics, words)
    printer.close()


def _find(repo: Repository, word: str, wanted: SnapshotFilter) -> tuple[FoundSnapshot, str]:
    from restic_format.snapshots import find_snapshot

    try:
        return find_snapshot(repo, word, wanted)
    except SnapshotNotFound as error:
        raise Failure(str(error)) from error


def _tree(repo: Repository, found: FoundSnapshot, subfolder: str) -> bytes:
    from restic_format.snapshots import resolve_subfolder
    from restic_spec.ids import parse_id

    if not found.snapshot.tree:
        raise Failure(f"snapshot {found.short_id} has no tree")
    return resolve_subfolder(repo, parse_id(found.snapshot.tree), subfolder)


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

    def flush(self) -> None:
        """Write what is pending."""
        self.push()

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

    def close(self) -> None:
        """Fail where something was left out."""
        if self._faults:
            raise Failure(f"There were {self._faults} errors")


def _side(counts: ItemCounts) -> SideCounts:
    return SideCounts(counts.files, counts.dirs, counts.others, counts.data_blobs, counts.tree_blobs, counts.bytes)
