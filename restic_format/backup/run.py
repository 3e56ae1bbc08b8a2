"""A whole backup: targets or a stream in, a snapshot out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from restic_format import __version__
from restic_format.backup.archiver import Archiver
from restic_format.backup.dryrun import DryStorage
from restic_format.backup.errors import NothingToBackUp
from restic_format.backup.files import Team
from restic_format.backup.nodes import NodeBuilder
from restic_format.backup.options import BackupOptions, Progress, Result, Silent, Summary
from restic_format.backup.parenttrees import ParentTrees
from restic_format.backup.pending import Bookkeeper
from restic_format.backup.scan import Scanner
from restic_format.backup.select import build_rejects
from restic_format.backup.stream import Source, clean_stream_path, save_stream
from restic_format.backup.targets import build_target_tree, clean
from restic_format.errors import AlreadyLocked, Interrupted, InvalidLock, LockLost
from restic_format.repository import Repository
from restic_format.repository.keys import current_user
from restic_spec import gojson, gotime
from restic_spec.snapshot import Snapshot, SnapshotSummary, summary_fields

MOST_WORKERS = 8
"""Threads that hash and compress, however many processors there are: each holds a chunk, and one thread must feed them all."""


def backup(
    repository: Repository,
    targets: Sequence[str],
    options: BackupOptions | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    warn: Callable[[str], None] | None = None,
    guard: Callable[[], None] | None = None,
) -> Result:
    """Back up *targets* into *repository*, whose index is loaded and which is locked by the caller.

    What cannot be read is told to *progress* and counted in ``summary.errors``; the snapshot is made without it. *warn* is
    told of tag files that cannot be used. When *cancel* is set, the backup ends early, what is stored by then stays findable.
    *guard* is called now and then, and before the snapshot is written: it raises when the lock on the repository is lost.

    Raises:
        Interrupted: *cancel* was set.
        LockLost: *guard* said so.
        NothingToBackUp: nothing is in the root of the snapshot.
        BackupFailed: nothing could be backed up at all.
        ResticFormatError: the repository failed.
    """
    options = options or BackupOptions()
    run = _Run(repository, options, progress or Silent(), cancel or threading.Event(), guard)
    paths = [gojson.to_bytes(target) for target in targets]
    tree = build_target_tree(paths)
    report = warn or (lambda _text: None)
    archiver = Archiver(run.team, run.parents, options, build_rejects(options, paths, report), run.guard)
    scanner = None
    if options.scan:
        # Checks of its own: they remember directories, and the two walks are at different places.
        rejects = build_rejects(options, paths, lambda _text: None)
        excluded = options.excludes.rejects if options.excludes else None
        scanner = Scanner(tree, excluded, rejects, run.progress, run.done)
    return run.execute(lambda: archiver.walk(tree), targets, scanner)


def backup_stream(
    repository: Repository,
    source: Source,
    name: str = "stdin",
    options: BackupOptions | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> Result:
    """Back up *source* as the file *name*. Otherwise like `backup`.

    Raises:
        CommandFailed: the source is a command, and it failed.
    """
    options = options or BackupOptions()
    path = clean_stream_path(name)
    run = _Run(repository, options, progress or Silent(), cancel or threading.Event(), guard)
    return run.execute(lambda: save_stream(run.team, run.parents, source, path, run.time_ns), [path], None, may_be_empty=True)


class _Run:
    """One backup from its first to its last moment."""

    def __init__(
        self,
        repository: Repository,
        options: BackupOptions,
        progress: Progress,
        cancel: threading.Event,
        guard: Callable[[], None] | None,
    ) -> None:
        now = time.time_ns()
        self.repository = repository
        self.options = options
        self.progress = progress
        self.cancel = cancel
        self.guard = guard or (lambda: None)
        self.done = threading.Event()
        self.time_ns = now if options.time_ns is None else options.time_ns
        self.summary = Summary(now if options.start_ns is None else options.start_ns)
        self.builder = NodeBuilder(with_atime=options.with_atime, device_id_for_hardlinks=options.device_id_for_hardlinks)
        self.books = Bookkeeper(repository, self.summary, progress)
        reading = max(1, options.read_concurrency)
        self.parents = ParentTrees(repository, options.parent, self.books.error)
        self.team = Team(
            repository,
            self.builder,
            self.books,
            progress,
            workers=max(reading, min(len(os.sched_getaffinity(0)), MOST_WORKERS)),
            open_files=reading,
            cancel=cancel,
        )

    def execute(
        self, work: Callable[[], None], targets: Sequence[str], scanner: Scanner | None, *, may_be_empty: bool = False
    ) -> Result:
        """Run *work* with the team, then finish the repository's files and make the snapshot."""
        storage = self.repository.storage
        if self.options.dry_run:
            self.repository.storage = DryStorage(storage)
        scan_thread = None if scanner is None else threading.Thread(target=scanner.run, name="scan", daemon=True)
        try:
            if scan_thread is not None:
                scan_thread.start()
            self._save_tree(work)
            if self.books.root_is_empty and not may_be_empty:
                # SNAP-14
                raise NothingToBackUp("snapshot is empty; check the targets, who may read them, and the patterns that exclude")
            return self._save_snapshot(targets)
        finally:
            self.done.set()
            if scan_thread is not None:
                scan_thread.join()
            self.repository.storage = storage

    def _save_tree(self, work: Callable[[], None]) -> None:
        self.team.start()
        try:
            work()
            self.guard()
        except BaseException as error:
            self.team.fail(error)
            raise
        finally:
            self.team.finish()
            if self.team.failure is not None:
                self._keep_what_is_stored()
        if self.team.failure is not None:
            raise self.team.failure
        self.guard()
        # Also on the way out: what is stored so far need not be uploaded again.
        self.repository.flush()
        if self.cancel.is_set():
            raise Interrupted("the backup was interrupted; what it has stored will be used by the next one")

    def _keep_what_is_stored(self) -> None:
        if isinstance(self.team.failure, LockLost | AlreadyLocked | InvalidLock):
            # Others may have removed packs that no index lists: ours must not be listed now.
            self.repository.discard()
            return
        try:
            self.repository.abandon()
        except Exception as error:  # noqa: BLE001 - the first failure is the one to tell
            if self.team.failure is not None:
                self.team.failure.add_note(f"then the index could not be written either: {error}")

    def _save_snapshot(self, targets: Sequence[str]) -> Result:
        options, summary = self.options, self.summary
        tree = self.books.root
        assert tree is not None, "the root tree is saved when every worker has ended well"
        summary.backup_end = time.time_ns()
        if options.skip_if_unchanged and options.parent is not None and options.parent.tree == tree:
            return Result(summary, tree, None)
        username, uid, gid = current_user()
        snapshot = Snapshot(
            time=gotime.format_ns(self.time_ns),
            parent=options.parent_id,
            tree=tree,
            paths=[_absolute(target) for target in targets],
            hostname=options.hostname,
            username=username,
            uid=uid,
            gid=gid,
            excludes=list(options.exclude_patterns),
            tags=list(options.tags),
            program_version=options.program_version or f"restic-format {__version__}",
            summary=summary_fields(stored_summary(summary)),
        )
        self.guard()
        return Result(summary, tree, self.repository.save_snapshot(snapshot).hex())


def stored_summary(summary: Summary) -> SnapshotSummary:
    """What a snapshot keeps of a backup's counters."""
    stats = summary.stats
    return SnapshotSummary(
        backup_start=gotime.format_ns(summary.backup_start),
        backup_end=gotime.format_ns(summary.backup_end),
        files_new=summary.files.new,
        files_changed=summary.files.modified,
        files_unmodified=summary.files.unchanged,
        dirs_new=summary.dirs.new,
        dirs_changed=summary.dirs.modified,
        dirs_unmodified=summary.dirs.unchanged,
        data_blobs=stats.data_blobs,
        tree_blobs=stats.tree_blobs,
        data_added=stats.data_size + stats.tree_size,
        data_added_packed=stats.data_size_in_repo + stats.tree_size_in_repo,
        total_files_processed=summary.files.total,
        total_bytes_processed=summary.processed_bytes,
    )


def _absolute(target: str) -> str:
    return gojson.to_text(clean(os.path.abspath(gojson.to_bytes(target))))
