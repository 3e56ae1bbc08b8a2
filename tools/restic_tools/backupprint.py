"""The output of ``backup``: progress, items, errors and the summary, as text or JSON messages."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from msgspec import structs

from restic_format.backup.job import BytesDone, FileEnded, FilesDone, FileStarted, ItemDone, ItemFailed, Totals, Warned
from restic_format.words import printable
from restic_spec import gotime
from restic_spec.gojson import go_float
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.messages.backup import BackupItem, BackupStatus, BackupSummary
from restic_tools.output import DEBUG, VERBOSE
from restic_tools.progress import Rate
from restic_tools.render import bytes_text, percent_text, seconds_text

if TYPE_CHECKING:
    from restic_format.backup import BackupEvent, Result
    from restic_tools.context import Context

SLOWEST_RATE = 1024.0
"""Bytes a second below which no time left is given."""


class BackupPrinter:
    """What the engine tells of its progress (`restic_format.backup.BackupEvent`) as lines and messages."""

    def __init__(self, ctx: Context) -> None:
        self._out = ctx.out
        self._json = ctx.options.json
        self._verbosity = ctx.options.verbosity
        self._guard = threading.Lock()
        self._rate = Rate()
        self._started = time.monotonic()
        self._current: dict[str, None] = {}
        self._files = 0
        self._bytes = 0
        self._errors = 0
        self._total_files = self._total_dirs = self._total_bytes = 0
        self._scanned = False
        self.tells_files = self._verbosity >= (VERBOSE if self._json else DEBUG)

    def __call__(self, event: BackupEvent) -> None:
        """Take note of what the engine tells, and print it where it is to be seen."""
        match event:
            case ItemDone():
                self._item_done(event)
            case FilesDone(count):
                with self._guard:
                    self._files += count
            case BytesDone(count):
                with self._guard:
                    self._bytes += count
            case FileStarted(item):
                self._current[item] = None
            case FileEnded(item):
                self._current.pop(item, None)
            case ItemFailed():
                self._failed(event)
            case Totals():
                self._scanned_so_far(event)
            case Warned(text):
                self._out.warn(text)

    def _failed(self, event: ItemFailed) -> None:
        item, error, during = event
        scanning = during == "scan"
        if not scanning:
            with self._guard:
                self._errors += 1
        if self._json:
            self._out.json_error(ObjectError("error", ErrorText(str(error)), during, item))
        elif not scanning or self._verbosity >= VERBOSE:
            self._out.warn(f"{'scan' if scanning else 'error'}: {error}")

    def _scanned_so_far(self, totals: Totals) -> None:
        self._total_files, self._total_dirs, self._total_bytes = totals.files, totals.dirs, totals.bytes
        if not totals.finished:
            return
        self._scanned = True
        seconds = time.monotonic() - self._started
        if self._json:
            if self.tells_files:
                item = BackupItem("verbose_status", "scan_finished", "", go_float(seconds))
                item.data_size, item.total_files = totals.bytes, totals.files
                self._out.json(item)
        else:
            self._out.verbose(f"scan finished in {seconds:.3f}s: {totals.files} files, {bytes_text(totals.bytes)}")

    def _item_done(self, event: ItemDone) -> None:
        item, kind, change, stats, seconds = event
        if kind == "file":
            with self._guard:
                self._files += 1
        if not self.tells_files:
            return
        if self._json:
            self._out.json(_item_message(event))
            return
        if change == "unchanged":
            self._out.debug(f"unchanged {printable(item)}")
            return
        added = f"{bytes_text(stats.data_size)} added, {bytes_text(stats.data_size_in_repo)} stored"
        if kind == "dir":
            added += f", {bytes_text(stats.tree_size_in_repo)} metadata"
        self._out.debug(f"{change:<9} {printable(item)}, saved in {seconds:.3f}s ({added})")

    # What the live display asks for

    def _seconds_left(self) -> int:
        if not self._scanned:
            return 0
        rate = self._rate.per_second(self._bytes)
        return int(max(0, self._total_bytes - self._bytes) / rate) if rate > SLOWEST_RATE else 0

    def _current_files(self) -> list[str]:
        return sorted(self._current)

    def _current_lines(self) -> list[str]:
        return list(map(printable, self._current_files()))

    def lines(self) -> list[str]:
        """The lines of the live display: how far the backup is, and the files being read."""
        clock = seconds_text(self._rate.elapsed)
        done = f"{self._files} files"
        if not (self._total_files or self._total_dirs):
            return [
                f"[{clock}] {done}, {bytes_text(self._bytes)}, {self._errors} errors",
                *self._current_lines(),
            ]
        left = self._seconds_left()
        share = eta = ""
        if left and self._bytes < self._total_bytes:
            share = percent_text(self._bytes, self._total_bytes) + "  "
            eta = f" ETA {seconds_text(left)}"
        total = f"total {self._total_files} files {bytes_text(self._total_bytes)}"
        text = f"[{clock}] {share}{done} {bytes_text(self._bytes)}, {total}, {self._errors} errors{eta}"
        return [text, *self._current_lines()]

    def status(self) -> BackupStatus:
        """The same as a message."""
        total = self._total_bytes
        return BackupStatus(
            message_type="status",
            seconds_elapsed=int(self._rate.elapsed),
            seconds_remaining=self._seconds_left(),
            percent_done=go_float(self._bytes / total if total else 0.0),
            total_files=self._total_files,
            files_done=self._files,
            total_bytes=total,
            bytes_done=self._bytes,
            error_count=self._errors,
            current_files=self._current_files(),
        )

    def conclude(self, result: Result, *, dry_run: bool) -> None:
        """Print the summary."""
        if self._json:
            self._out.json(_summary_message(result, dry_run))
            return
        out, summary = self._out, result.summary
        stats = summary.stats
        files, dirs = summary.files, summary.dirs
        out.info()
        out.info(f"Files:       {files.new:5} new, {files.modified:5} changed, {files.unchanged:5} unmodified")
        out.info(f"Dirs:        {dirs.new:5} new, {dirs.modified:5} changed, {dirs.unchanged:5} unmodified")
        out.verbose(f"Data Blobs:  {stats.data_blobs:5} new")
        out.verbose(f"Tree Blobs:  {stats.tree_blobs:5} new")
        added = bytes_text(stats.data_size + stats.tree_size)
        stored = bytes_text(stats.data_size_in_repo + stats.tree_size_in_repo)
        out.info(f"{'Would add' if dry_run else 'Added'} to the repository: {added:<5} ({stored:<5} stored)")
        out.info()
        seconds = (summary.backup_end - summary.backup_start) / gotime.NS
        out.info(f"processed {files.total} files, {bytes_text(summary.processed_bytes)} in {seconds_text(seconds)}")
        if dry_run:
            return
        if result.snapshot_id is None:
            out.info("skipped creating snapshot")
        else:
            out.info(f"{'partial ' if result.partial else ''}snapshot {result.snapshot_id[:8]} saved")


def _item_message(event: ItemDone) -> BackupItem:
    item, kind, change, stats, seconds = event
    if change == "unchanged":
        return BackupItem("verbose_status", change, item, go_float(0.0))
    message = BackupItem("verbose_status", change, item, go_float(seconds), stats.data_size, stats.data_size_in_repo)
    if kind == "dir":
        message.metadata_size, message.metadata_size_in_repo = stats.tree_size, stats.tree_size_in_repo
    return message


def _summary_message(result: Result, dry_run: bool) -> BackupSummary:
    from restic_format.backup import stored_summary

    summary = result.summary
    return BackupSummary(
        message_type="summary",
        **structs.asdict(stored_summary(summary)),
        total_duration=go_float((summary.backup_end - summary.backup_start) / gotime.NS),
        snapshot_id=result.snapshot_id or "",
        dry_run=dry_run,
        partial=result.partial,
    )
