"""The output of ``copy``: progress, snapshots, errors and the summary, as text or JSON messages."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from restic_format.maintenance.copy import (
    BatchEnds,
    BlobsCopied,
    BlobsFound,
    CopyStarted,
    PackCopied,
    SnapshotCopied,
    SnapshotFailed,
)
from restic_format.storage.warming import WarmUp
from restic_spec.gojson import go_float
from restic_tools.gotext import snapshot_line
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.messages.copy import CopyStatus, CopySummary, SnapshotCopiedMessage
from restic_tools.render import bytes_text
from restic_tools.warmprint import tell_warm_up

if TYPE_CHECKING:
    from restic_format.maintenance.copy import CopyEvent, CopyPlan, CopyResult
    from restic_tools.context import Context
    from restic_tools.progress import Counter


class CopyPrinter:
    """What `restic_format.maintenance.copy` tells, as lines and messages, for the length of a ``with`` block."""

    def __init__(self, ctx: Context) -> None:
        self._ctx, self._out = ctx, ctx.out
        self._guard = threading.Lock()
        self._shown = ExitStack()
        self._counter: Counter | None = None
        self._started = time.monotonic()
        self._snapshot = ""
        self._packs = self._packs_done = self._bytes = self._bytes_done = 0

    def __enter__(self) -> CopyPrinter:
        return self

    def __exit__(self, *error: object) -> None:
        # Without the counter's last line where the copying has failed.
        self._shown.__exit__(*error)  # type: ignore[arg-type]

    def skipped(self, plan: CopyPlan) -> None:
        """Tell of snapshots that were copied before."""
        for source, copy in plan.skipped:
            if self._ctx.options.json:
                self._out.json(SnapshotCopiedMessage("skipped", source.id.hex(), copy.id.hex()))
                continue
            self._out.verbose("")
            self._out.verbose(snapshot_line(source))
            self._out.verbose(
                f"skipping source snapshot {source.short_id}, was already copied to snapshot {copy.short_id}",
            )

    def __call__(self, event: CopyEvent) -> None:
        """Take note of what the engine tells, and print it."""
        match event:
            case CopyStarted(found):
                self._out.info()
                self._out.info(snapshot_line(found))
                self._out.info("  copy started, this may take a while...")
            case BlobsFound():
                self._found(event)
            case WarmUp():
                tell_warm_up(self._out, event)
            case PackCopied(size):
                with self._guard:
                    self._packs_done += 1
                    self._bytes_done += size
                if self._counter is not None:
                    self._counter.add()
            case BlobsCopied():
                self._counter = None
                self._shown.close()
            case BatchEnds(count):
                if count > 1:
                    self._out.info()
            case SnapshotCopied(found, new_id):
                if self._ctx.options.json:
                    self._out.json(SnapshotCopiedMessage("copied", found.id.hex(), new_id.hex()))
                self._out.info(f"snapshot {new_id.hex()[:8]} saved, copied from source snapshot {found.short_id}")
            case SnapshotFailed():
                self._failed(event)

    def _found(self, event: BlobsFound) -> None:
        with self._guard:
            self._snapshot = event.snapshot.id.hex()
            self._packs, self._packs_done = event.packs, 0
            self._bytes, self._bytes_done = event.size, 0
        self._out.verbose(f"  copy {event.blobs} blobs with disk size {bytes_text(event.size)} in {event.packs} packfiles")
        if self._ctx.options.json:
            self._shown.enter_context(self._ctx.progress(lines=list, status=self._status))
        else:
            self._counter = self._shown.enter_context(self._ctx.counter("packs copied", event.packs))

    def _status(self) -> CopyStatus:
        with self._guard:
            return CopyStatus(
                message_type="status",
                seconds_elapsed=int(time.monotonic() - self._started),
                source_snapshot_id=self._snapshot,
                percent_done=go_float(self._bytes_done / self._bytes if self._bytes else 1.0),
                total_packs=self._packs,
                packs_done=self._packs_done,
                total_bytes=self._bytes,
                bytes_done=self._bytes_done,
            )

    def _failed(self, event: SnapshotFailed) -> None:
        name = event.source.id.hex()
        if self._ctx.options.json:
            for error in event.errors:
                self._out.json_error(ObjectError("error", ErrorText(str(error)), "copy", name))
            return
        for error in event.errors:
            self._out.warn(f"error: snapshot {event.source.short_id}: {error}")
        if event.total > len(event.errors):
            self._out.warn(f"error: snapshot {event.source.short_id}: {event.total - len(event.errors)} more errors")
        self._out.warn(f"snapshot {event.source.short_id} is not copied: parts of it are missing or damaged; run check")

    def summary(self, plan: CopyPlan, result: CopyResult) -> None:
        """The outcome, for programs; people have read it."""
        if self._ctx.options.json:
            self._out.json(
                CopySummary(
                    "summary",
                    len(result.copied),
                    len(plan.skipped),
                    len(result.failed),
                    result.blobs,
                    result.size,
                    plan.same_chunks,
                    go_float(time.monotonic() - self._started),
                )
            )
