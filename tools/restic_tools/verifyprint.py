"""The output of ``backup --verify``: progress, what differs, and the outcome, as text or JSON messages; and the step itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from restic_format.errors import LockLost, ResticFormatError
from restic_format.explore.verify import BYTES, SourceChanged, VerifyFailed, verify_backup
from restic_format.words import printable
from restic_spec.gojson import go_float
from restic_spec.ids import parse_id
from restic_tools.exitcodes import Failure
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.messages.backup import VerifyChanged, VerifyStatus, VerifySummary
from restic_tools.render import bytes_text, percent_text, seconds_text

if TYPE_CHECKING:
    from restic_format.backup import Result
    from restic_format.explore.verify import Verified, VerifyEvent
    from restic_format.repository import Repository
    from restic_format.work import Cancel
    from restic_tools.context import Context


def verify(
    ctx: Context,
    repository: Repository,
    result: Result,
    targets: list[str] | None,
    as_path: str,
    parent: str | None,
    cancel: Cancel,
) -> str:
    """Read back what a backup has stored, and compare it with its *targets*; the message of a failure, "" where all is well."""
    name = f"snapshot {result.snapshot_id[:8]}" if result.snapshot_id else "the backup"
    ctx.out.verbose(f"verify {name}")
    printer = VerifyPrinter(ctx)
    try:
        with ctx.progress(lines=printer.lines, status=printer.status):
            found = verify_backup(
                repository,
                parse_id(result.tree),
                targets,
                snapshot_id=parse_id(result.snapshot_id) if result.snapshot_id else None,
                as_path=as_path,
                parent=parse_id(parent) if parent else None,
                progress=printer,
                cancel=cancel,
            )
    except LockLost:
        raise
    except ResticFormatError as error:
        raise Failure(f"{name} is stored, but cannot be verified: {error}") from error
    printer.conclude(found, result.snapshot_id, stream=targets is None)
    if not found.faults:
        return ""
    return f"{name} is stored, but verifying it has found {found.faults} errors: run check, and back up again with --force"


class VerifyPrinter:
    """What the engine tells while it verifies a backup."""

    def __init__(self, ctx: Context) -> None:
        self._out = ctx.out
        self._json = ctx.options.json
        self._started = time.monotonic()
        self._bytes = self._total = self._files = 0

    def __call__(self, event: VerifyEvent) -> None:
        """Take note of what the engine tells, and print it where it is to be seen."""
        match event:
            case SourceChanged(item, reason):
                if self._json:
                    self._out.json(VerifyChanged("verify_changed", item, reason))
                else:
                    self._out.info(f"changed since it was backed up: {printable(item)}: {reason}")
            case VerifyFailed(item, error):
                if self._json:
                    self._out.json_error(ObjectError("error", ErrorText(str(error)), "verify", item))
                else:
                    self._out.warn(f"verify: {printable(item)}: {error}" if item else f"verify: {error}")
            case (stage, done, total):
                if stage == BYTES:
                    self._bytes, self._total = done, total
                else:
                    self._files = done

    def lines(self) -> list[str]:
        """The line of the live display."""
        share = percent_text(self._bytes, self._total)
        text = f"[{seconds_text(time.monotonic() - self._started)}] {share}  {bytes_text(self._bytes)} read back"
        return [f"{text}, {self._files} files compared" if self._files else text]

    def status(self) -> VerifyStatus:
        """The same as a message."""
        return VerifyStatus(
            message_type="verify_status",
            seconds_elapsed=int(time.monotonic() - self._started),
            percent_done=go_float(self._bytes / self._total if self._total else 0.0),
            total_bytes=self._total,
            bytes_read_back=self._bytes,
            files_compared=self._files,
        )

    def conclude(self, found: Verified, snapshot_id: str | None, *, stream: bool) -> None:
        """Print the outcome."""
        seconds = time.monotonic() - self._started
        if self._json:
            self._out.json(
                VerifySummary(
                    message_type="verified",
                    snapshot_id=snapshot_id or "",
                    files_compared=found.files,
                    bytes_compared=found.bytes,
                    blobs_read_back=found.blobs,
                    bytes_read_back=found.stored_bytes,
                    items_changed=found.changed,
                    num_errors=found.faults,
                    total_duration=go_float(seconds),
                )
            )
            return
        stored = f"{found.blobs} data blobs ({bytes_text(found.stored_bytes)} stored)"
        if stream:
            self._out.info(f"verified {stored} in {seconds_text(seconds)}; what was read is gone, nothing was compared")
            return
        compared = f"{found.files} files ({bytes_text(found.bytes)})"
        self._out.info(f"verified {stored}, compared {compared} with the source in {seconds_text(seconds)}")
        if found.changed:
            self._out.info(f"{found.changed} items have changed since they were backed up")
