"""The output of ``restore``: progress, items, errors and the summary, as text or JSON messages."""

from __future__ import annotations

import os

from restic_format.restore.errors import SystemRefused
from restic_format.restore.report import Action, Failed, RestoreEvent, RestoreStats
from restic_format.storage.warming import WarmUp
from restic_format.systemtext import errno_text
from restic_format.words import printable
from restic_spec import gojson
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.messages.restore import RestoreItem, RestoreStatus, RestoreSummary
from restic_tools.output import Output
from restic_tools.progress import Rate
from restic_tools.render import bytes_text, percent_text, seconds_text
from restic_tools.warmprint import tell_warm_up

_WORDS = {
    Action.DIR_RESTORED: "restored",
    Action.FILE_RESTORED: "restored",
    Action.OTHER_RESTORED: "restored",
    Action.FILE_UPDATED: "updated",
    Action.UNCHANGED: "unchanged",
    Action.DELETED: "deleted",
}
_WITHOUT_SIZE = frozenset({Action.DIR_RESTORED, Action.OTHER_RESTORED, Action.DELETED})


class RestorePrinter:
    """Writes what a restore tells to *out*."""

    def __init__(self, out: Output, target: str, *, dry_run: bool = False) -> None:
        """*target* is the path of the directory that is restored to, or with *dry_run* would be."""
        self._dry_run = dry_run
        self._target = os.path.abspath(target).rstrip("/")
        self._out = out
        self._rate = Rate()
        self.stats = RestoreStats()
        """Counters to show; the restorer's own once there is one."""

    def __call__(self, event: RestoreEvent) -> None:
        """One line for one item, or for what went wrong."""
        if isinstance(event, Failed):
            self._failed(event)
            return
        if isinstance(event, WarmUp):
            tell_warm_up(self._out, event, dry_run=self._dry_run)
            return
        word = _WORDS[event.action]
        if self._out.json_mode:
            self._out.json(RestoreItem("verbose_status", word, event.location, event.size))
            return
        text = f"{word:<9} {printable(event.location)}"
        self._out.line(text if event.action in _WITHOUT_SIZE else f"{text} with size {bytes_text(event.size)}")

    def _failed(self, event: Failed) -> None:
        error = event.error
        text = errno_text(error) if isinstance(error, OSError) else str(error)
        if isinstance(error, SystemRefused):
            text = f"{error.operation} {self._target}{event.location}: {text}"
        if self._out.json_mode:
            self._out.json_error(ObjectError("error", ErrorText(text), "restore", event.location))
        else:
            self._out.warn(f"ignoring error for {printable(event.location)}: {text}")

    def lines(self) -> list[str]:
        """The state of the restore as people see it."""
        stats = self.stats
        share = percent_text(stats.bytes_restored, stats.bytes_total)
        text = (
            f"[{seconds_text(self._rate.elapsed)}] {share}  {stats.files_restored} files/dirs "
            f"{bytes_text(stats.bytes_restored)}, total {stats.files_total} files/dirs {bytes_text(stats.bytes_total)}"
        )
        rate = self._rate.per_second(stats.bytes_restored)
        left = self._rate.remaining(stats.bytes_restored, stats.bytes_total)
        if rate > 0 and left is not None:
            text += f", {bytes_text(rate)}/s, {seconds_text(left)} left"
        return [text + self._others()]

    def _others(self) -> str:
        stats, text = self.stats, ""
        if stats.files_skipped:
            text += f", skipped {stats.files_skipped} files/dirs {bytes_text(stats.bytes_skipped)}"
        if stats.files_deleted:
            text += f", deleted {stats.files_deleted} files/dirs"
        return text

    def status(self) -> RestoreStatus:
        """The state of the restore as programs see it."""
        stats = self.stats
        share = stats.bytes_restored / stats.bytes_total if stats.bytes_total else 0.0
        return RestoreStatus(
            message_type="status",
            seconds_elapsed=int(self._rate.elapsed),
            percent_done=gojson.go_float(share),
            total_files=stats.files_total,
            files_restored=stats.files_restored,
            files_skipped=stats.files_skipped,
            files_deleted=stats.files_deleted,
            total_bytes=stats.bytes_total,
            bytes_restored=stats.bytes_restored,
            bytes_skipped=stats.bytes_skipped,
        )

    def summary(self) -> None:
        """Print the summary."""
        stats, elapsed = self.stats, self._rate.elapsed
        if self._out.json_mode:
            self._out.json(
                RestoreSummary(
                    message_type="summary",
                    seconds_elapsed=int(elapsed),
                    total_files=stats.files_total,
                    files_restored=stats.files_restored,
                    files_skipped=stats.files_skipped,
                    files_deleted=stats.files_deleted,
                    total_bytes=stats.bytes_total,
                    bytes_restored=stats.bytes_restored,
                    bytes_skipped=stats.bytes_skipped,
                )
            )
            return
        total = bytes_text(stats.bytes_total)
        if stats.files_restored == stats.files_total and stats.bytes_restored == stats.bytes_total:
            text = f"Summary: Restored {stats.files_total} files/dirs ({total}) in {seconds_text(elapsed)}"
        else:
            text = (
                f"Summary: Restored {stats.files_restored} / {stats.files_total} files/dirs "
                f"({bytes_text(stats.bytes_restored)} / {total}) in {seconds_text(elapsed)}"
            )
        self._out.line(text + self._others())
