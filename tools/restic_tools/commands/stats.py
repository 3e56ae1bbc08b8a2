"""``stats``: count what is in snapshots."""

from __future__ import annotations

import time
from typing import Annotated

from restic_format.errors import BlobMissing, ResticFormatError
from restic_format.explore.stats import Counted, Mode, SnapshotUnreadable, Statistics, count
from restic_format.repository import Repository
from restic_format.snapshots import filter_snapshots
from restic_tools.commands.ls import load_index
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import quoted
from restic_tools.messages.stats import stats_message
from restic_tools.output import Output
from restic_tools.render import bytes_text, percent_text, seconds_text
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

MODES = tuple(mode.value for mode in Mode)
DEBUG = "debug"
"""One more mode, which restic does not tell about: how large files and blobs are."""


def stats(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshot ID] [...]", values=("latest",))],
    mode: Annotated[
        str,
        Option(
            "--mode",
            metavar="mode",
            values=MODES,
            help="what to count: restore-size, files-by-contents, blobs-per-file or raw-data",
        ),
    ] = Mode.RESTORE_SIZE.value,
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
) -> None:
    """Count what is in snapshots

    Counts what is in the snapshots with these IDs ("latest" for the latest one), or in all that match --host, --tag and
    --path. The modes are:

    * restore-size: what restoring each of the snapshots gives, an item with several hard links once.
    * files-by-contents: files, those with the same content once.
    * blobs-per-file: the blobs of files with different contents, for each path those that it did not have before.
    * raw-data: the blobs as they are stored, however many files refer to them.

    See also `du`, which says what each snapshot or directory costs.
    """
    ctx.approach()
    if mode not in (*MODES, DEBUG):
        raise Failure(f"unknown counting mode: {mode} (use the -h flag to get a list of supported modes)", plain=True)

    def ignored(name: str, error: ResticFormatError) -> None:
        ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repository:
        load_index(ctx, repository)
        if mode == DEBUG:
            _show_sizes(ctx.out, repository)
            return
        ctx.out.line("scanning...")
        found = list(filter_snapshots(repository, names, snapshot_filter(host, tag, path).absolute(), ignored))
        if not names:
            found.sort(key=lambda item: (item.time_ns, item.id))
        status = _Status(len(found))
        try:
            with ctx.progress(lines=status.lines):
                counted = count(repository, found, Mode(mode), progress=status)
        except (SnapshotUnreadable, BlobMissing) as error:
            # Each restic's words; what the repository lacks is a matter of `check`.
            walking = isinstance(error, SnapshotUnreadable)
            ctx.out.line(status.text(ended=True))
            raise Failure(f"error walking snapshot: {error}" if walking else str(error), plain=True) from error
        ctx.out.line(status.text(ended=True))
    if ctx.options.json:
        ctx.out.json(stats_message(counted))
        return
    _show(ctx.out, mode, counted)


class _Status:
    """Is told how far counting is, and says it in a line."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = time.monotonic()
        self._counted = Counted(0)

    def __call__(self, counted: Counted) -> None:
        """See `count`."""
        self._counted = counted

    def lines(self) -> list[str]:
        """The line while counting goes on."""
        return [self.text(ended=False)]

    def text(self, *, ended: bool) -> str:
        """The line."""
        number, entries, blobs, size = self._counted
        done = number if ended else max(0, number - 1)
        text = f"[{seconds_text(time.monotonic() - self._started)}] {percent_text(done, self._total)}"
        text += f"  {number} / {self._total} snapshots"
        if entries:
            text += f", {entries} files"
        if blobs:
            text += f", {blobs} blobs"
        return f"{text}, {bytes_text(size)}"


def _show(out: Output, mode: str, counted: Statistics) -> None:
    out.line(f"Stats in {mode} mode:")
    out.line(f"     Snapshots processed:  {counted.snapshots}")
    if counted.blobs:
        out.line(f"        Total Blob Count:  {counted.blobs}")
    if counted.files:
        out.line(f"        Total File Count:  {counted.files}")
    if counted.uncompressed:
        out.line(f" Total Uncompressed Size:  {bytes_text(counted.uncompressed):5}")
    out.line(f"              Total Size:  {bytes_text(counted.size):5}")
    if counted.compression_progress > 0:
        out.line(f"    Compression Progress:  {counted.compression_progress:.2f}%")
    if counted.compression_ratio > 0:
        out.line(f"       Compression Ratio:  {counted.compression_ratio:.2f}x")
    if counted.space_saving > 0:
        out.line(f"Compression Space Saving:  {counted.space_saving:.2f}%")


def _show_sizes(out: Output, repository: Repository) -> None:
    """How large files and blobs are, on standard error like restic."""
    from restic_format.explore.histogram import Histogram, count_blob_sizes, count_file_sizes
    from restic_tools.render import Table

    def show(title: str, found: Histogram, after: str) -> None:
        table = Table(["Size", "Count"])
        ranges = [f"{lowest} - {highest} Byte" for lowest, highest, _ in found.classes()]
        widest = max(map(len, ranges), default=0)
        for text, (_, _, number) in zip(ranges, found.classes(), strict=True):
            table.add([text.rjust(widest), str(number)])
        page = f"{title}\nCount: {found.count}\nTotal Size: {bytes_text(found.size)}\n{table.text()}"
        if found.oversized:
            page += f"Oversized: [{' '.join(map(str, found.oversized))}]\n"
        out.warn((page + after).removesuffix("\n"), block=True)

    out.warn("Collecting size statistics\n", block=True)
    for kind, sizes in count_file_sizes(repository):
        show(f"File Type: {kind.value.rstrip('s') if kind.value != 'data' else 'data'}", sizes, "")
    for blob_type, sizes in count_blob_sizes(repository).items():
        show(f"Blob Type: {blob_type.value}", sizes, "\n\n")
