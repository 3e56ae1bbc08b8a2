"""A whole backup: targets or a stream in, a snapshot out."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from restic_format import __version__
from restic_format.backup.directories import Bookkeeper
from restic_format.backup.errors import NothingToBackUp
from restic_format.backup.files import Workers
from restic_format.backup.job import BackupEvent, BackupOptions, Result, Summary, Warned
from restic_format.backup.nodes import NodeBuilder
from restic_format.backup.parent import ParentTrees
from restic_format.backup.select import build_rejects
from restic_format.backup.stream import Source, clean_stream_path, queue_stream
from restic_format.backup.targets import build_moved_tree, build_target_tree, clean
from restic_format.backup.totals import Counter
from restic_format.backup.walk import Walk
from restic_format.errors import Interrupted, UsageError
from restic_format.repository import Repository
from restic_format.repository.keys import current_user
from restic_format.work import Cancel, Progress, WorkerPool, silent
from restic_spec import gojson, gotime
from restic_spec.ids import id_of
from restic_spec.rustic import snapshot_members
from restic_spec.snapshot import PARTIAL, Snapshot, SnapshotSummary, encode_snapshot, is_partial, summary_fields

MOST_WORKERS = 8
"""Threads that hash and compress, however many processors there are: each holds a chunk, and one thread must feed them all."""


def backup(
    repository: Repository,
    targets: Sequence[str],
    options: BackupOptions | None = None,
    progress: Progress[BackupEvent] | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Back up *targets* into *repository*, whose index is loaded and which is locked by the caller.

    What cannot be read is told to *progress* and counted in ``summary.errors``; the snapshot is made without it. When *cancel*
    is set, the backup ends early, what is stored by then stays findable; with ``snapshot_on_interrupt`` it has a partial
    snapshot where a file was finished, and a whole one where everything was. Its health is asked now and then, and before the
    snapshot is written: it says when the lock on the repository is lost.

    Raises:
        Interrupted: *cancel* was set, and there is no snapshot.
        LockLost: its health said so.
        UsageError: there are several targets, and ``as_path`` is for one.
        NothingToBackUp: nothing is in the root of the snapshot (SNAP-14).
        BackupFailed: nothing could be backed up at all.
        ResticFormatError: the repository failed.
    """
    options = options or BackupOptions()
    run = _Run(repository, options, progress or silent, cancel or Cancel())
    paths = [gojson.to_bytes(target) for target in targets]
    if options.as_path:
        if len(paths) != 1:
            raise UsageError(f"as_path takes one target, not {len(paths)}")
        tree = build_moved_tree(paths[0], gojson.to_bytes(options.as_path))
    else:
        tree = build_target_tree(paths)
    rejects = build_rejects(options, paths, lambda text: run.progress(Warned(text)))
    walk = Walk(repository, run.workers, run.parents, options, rejects, run.cancel)
    counter = None
    if options.scan:
        # Checks of its own: they remember directories, and the two walks are at different places.
        rejects = build_rejects(options, paths, silent)
        excluded = options.excludes.rejects if options.excludes else None
        counter = Counter(tree, excluded, rejects, run.progress, run.done)
    with _counting(counter, run.done):
        run.save_tree(lambda: walk.run(tree))
        if run.books.root_is_empty:
            raise NothingToBackUp("snapshot is empty; check the targets, who may read them, and the patterns that exclude")
        return run.save_snapshot([options.as_path] if options.as_path else targets)


def backup_stream(
    repository: Repository,
    source: Source,
    name: str = "stdin",
    options: BackupOptions | None = None,
    progress: Progress[BackupEvent] | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Back up *source*, which is closed at the end, as the file *name*. Otherwise like `backup`.

    Raises:
        CommandFailed: the source is a command, and it failed.
    """
    try:
        options = options or BackupOptions()
        path = clean_stream_path(name)
        run = _Run(repository, options, progress or silent, cancel or Cancel())
        run.save_tree(lambda: queue_stream(run.workers, run.parents, source, path, run.time_ns))
        return run.save_snapshot([path])
    finally:
        source.close()


@contextlib.contextmanager
def _counting(counter: Counter | None, done: threading.Event) -> Iterator[None]:
    """The totals are found out in a thread of its own inside this block."""
    if counter is None:
        yield
        return
    pool = WorkerPool("totals", 1, counter.run)
    pool.start()
    try:
        yield
    finally:
        done.set()
        pool.join()
    pool.wait()  # for what the caller's progress has raised


class _Run:
    """One backup from its first to its last moment."""

    def __init__(self, repository: Repository, options: BackupOptions, progress: Progress[BackupEvent], cancel: Cancel) -> None:
        now = time.time_ns()
        self.repository = repository
        self.options = options
        self.progress = progress
        self.cancel = cancel
        self.done = threading.Event()
        self.partial = False
        """Whether the backup was cancelled, and its tree is finished all the same, without the rest."""
        self.time_ns = now if options.time_ns is None else options.time_ns
        self.summary = Summary(now if options.start_ns is None else options.start_ns)
        self.writer = repository.writer(dry_run=options.dry_run)
        self.books = Bookkeeper(self.writer, self.summary, progress, tells_files=options.tells_files)
        self.parents = ParentTrees(repository, options.parent, self.books.error)
        reading = max(1, options.read_concurrency)
        self.workers = Workers(
            self.writer,
            repository.config,
            NodeBuilder(with_atime=options.with_atime, device_id_for_hardlinks=options.device_id_for_hardlinks),
            self.books,
            progress,
            cancel,
            count=max(reading, min(len(os.sched_getaffinity(0)), MOST_WORKERS)),
            open_files=reading,
        )

    def save_tree(self, queue: Callable[[], None]) -> None:
        """Set the workers to what *queue* gives them, and have everything stored and listed in the index."""
        try:
            self.workers.start()
            queue()
            self.cancel.check()
            self.workers.finish()
            self._check_at_the_end()
        except BaseException as error:
            self.workers.give_up(error)
            if not isinstance(error, Interrupted) or not self._finish_early():
                self.writer.keep_stored(error)
                raise
        self.writer.flush()

    def _finish_early(self) -> bool:
        """After an interruption: finish the tree with what is there, if that is wanted and worth a snapshot."""
        if self.options.dry_run or not self.options.snapshot_on_interrupt or not self.summary.files.total:
            return False
        try:
            self.cancel.check_health()
            self.books.finish_early()
        except BaseException as error:
            self.writer.keep_stored(error)
            raise
        self.partial = True
        return True

    def _check_at_the_end(self) -> None:
        """Whether to stop although the tree is finished; with ``snapshot_on_interrupt`` it gets its snapshot all the same."""
        if self.options.snapshot_on_interrupt:
            self.cancel.check_health()
        else:
            self.cancel.check()

    def save_snapshot(self, targets: Sequence[str]) -> Result:
        """Make the snapshot, whose tree is stored."""
        options, summary = self.options, self.summary
        tree = self.books.root
        assert tree is not None, "the root tree is saved when every worker has ended well"
        summary.backup_end = time.time_ns()
        parent = options.parent
        if options.skip_if_unchanged and parent is not None and parent.tree == tree and is_partial(parent) == self.partial:
            return Result(summary, tree, None, self.partial)
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
            tags=[*options.tags, *([PARTIAL] if self.partial and PARTIAL not in options.tags else [])],
            program_version=options.program_version or f"restic-format {__version__}",
            summary=summary_fields(stored_summary(summary)),
        )
        members = snapshot_members(label=options.label, description=options.description, delete=options.delete)
        if self.partial:
            members[PARTIAL] = msgspec.Raw(b"true")
        snapshot.keep_extra(members, "snapshot")
        self._check_at_the_end()
        saved = id_of(encode_snapshot(snapshot)) if options.dry_run else self.repository.save_snapshot(snapshot)
        return Result(summary, tree, saved.hex(), self.partial)


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
