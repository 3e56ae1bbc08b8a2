"""An open repository, for programs: what a command does is one or two typed calls, and locks are taken and released inside."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from restic_format.api.access import Access, Guard, Readings, close_at_the_end
from restic_format.api.files import SnapshotFiles
from restic_format.api.given import check_filter, check_texts, find_named
from restic_format.api.outcomes import Heard, strictly
from restic_format.api.records import (
    BackupResult,
    CopyResult,
    ForgetDecision,
    ForgetResult,
    PruneRun,
    RestoreResult,
    SnapshotInfo,
)
from restic_format.errors import DamagedFile, ResticFormatError, UsageError
from restic_format.snapshots import SnapshotFilter, all_snapshots, resolve_subfolder
from restic_format.work import Cancel, Progress, silent
from restic_spec.ids import parse_id

if TYPE_CHECKING:
    from typing import BinaryIO

    from restic_format.backup import BackupEvent, BackupOptions
    from restic_format.check import CheckEvent, CheckReport
    from restic_format.maintenance.copy import CopyEvent
    from restic_format.maintenance.forget import Removed
    from restic_format.maintenance.policy import KeepPolicy
    from restic_format.maintenance.prune import PruneEvent, PruneOptions, PruneStatistics
    from restic_format.repository import Repository
    from restic_format.restore import Overwrite, RestoreEvent, Selector
    from restic_format.snapshots import FoundSnapshot

    GroupBy = Literal["host", "paths", "tags"]

Path = str | os.PathLike[str]


class OpenRepository:
    """A repository that `open_repository` or `create_repository` has opened. Close it, or use it in a ``with`` block.

    Every method may be called from any thread, and several at once: each has a lock of its own in the repository, as if it were
    another program. `check`, `forget` and `prune` need the repository for themselves, and raise `AlreadyLocked` while anybody,
    this program included, has files of a snapshot open or does something else with it.

    *progress* is called from any thread with what happens (the types are in `restic_format.events`); what it raises ends the
    operation. *cancel* ends it, with `Interrupted`, as soon as ``cancel.set()`` is called. Nothing is lost or left half done
    then, nor when the program is killed.

    Besides what is named at a method, all of them raise `StorageError` where the storage fails, `DamagedFile` where a file of
    the repository is damaged, `AlreadyLocked` and `InvalidLock` where another lock is in the way, `LockLost` where the own lock
    could not be kept, and `UsageError` once it is closed, and in a forked process.
    """

    def __init__(self, access: Access) -> None:
        """To be made by `open_repository` and `create_repository`."""
        self._access = access
        self._guard = Guard(f"the repository at {access.storage.location}")
        readings = Readings(access)
        self._readings = readings
        self._open_files: weakref.WeakSet[SnapshotFiles] = weakref.WeakSet()
        self._finalizer = close_at_the_end(self, readings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<OpenRepository {self.id[:8]} at {self.location}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an open repository cannot be pickled: open it again where it is needed")

    @property
    def id(self) -> str:
        """The repository's id, hexadecimal."""
        return self._access.config.id

    @property
    def location(self) -> str:
        """Where it is; without secrets."""
        return self._access.storage.location

    @property
    def version(self) -> int:
        """The version of its format, 1 or 2."""
        return self._access.config.version

    @property
    def chunker_polynomial(self) -> int:
        """What decides where files are cut."""
        return self._access.config.polynomial

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._guard.closed

    def close(self) -> None:
        """Close it with all files of snapshots that are open, and release their locks. May be called again."""
        if self._guard.closed:
            return
        self._guard.closed = True
        for files in list(self._open_files):
            files.close()
        self._finalizer()

    # Looking at snapshots

    def snapshots(
        self,
        wanted: SnapshotFilter | None = None,
        *,
        damaged: Callable[[str, ResticFormatError], None] | None = None,
    ) -> list[SnapshotInfo]:
        """The snapshots that fit *wanted*, or all, from the oldest to the newest.

        One that cannot be read is given to *damaged* with its id, or raised.
        """
        check_filter(wanted)
        told = None if damaged is None else lambda snapshot_id, error: damaged(snapshot_id.hex(), error)
        with self._session() as (repository, _):
            found = all_snapshots(repository, told)
            chosen = [SnapshotInfo.of(item) for item in found if wanted is None or wanted.matches(item.snapshot)]
        return sorted(chosen, key=lambda info: (info.time_ns, info.id))

    def snapshot(self, name: str = "latest", wanted: SnapshotFilter | None = None) -> SnapshotInfo:
        """The snapshot that *name* means: an id or the beginning of one, ``latest``, or ``latest~1`` for the one before it.

        *wanted* is for ``latest`` only.

        Raises:
            SnapshotNotFound: none or several fit.
        """
        with self._session() as (repository, _):
            found, folder = find_named(repository, name, wanted)
        if folder:
            raise UsageError(f"{name!r} means a folder in a snapshot, and here a snapshot is wanted; see files()")
        return SnapshotInfo.of(found)

    def files(self, name: str = "latest", wanted: SnapshotFilter | None = None) -> SnapshotFiles:
        """The files of a snapshot, named as for `snapshot`; with ``:/folder`` behind it, of that folder.

        They are to be closed: as long as any are open, a lock is held, the index is in memory, and up to 64 MiB each of blobs
        and of directories are kept. All that are open at the same time share that.

        Raises:
            SnapshotNotFound: no snapshot, or no such folder.
        """
        self._guard.check()
        reading, found, folder = self._readings.borrow(lambda repository: find_named(repository, name, wanted))
        try:
            tree = resolve_subfolder(reading.repository, _root_of(found), folder)
            files = SnapshotFiles(SnapshotInfo.of(found), reading, tree, folder, self._readings.give_back)
        except BaseException:
            self._readings.give_back(reading)
            raise
        self._open_files.add(files)
        return files

    # Backing up and restoring

    def backup(
        self,
        targets: Path | Sequence[Path],
        *,
        excludes: Sequence[str] = (),
        tags: Sequence[str] = (),
        hostname: str | None = None,
        parent: str | None = None,
        force: bool = False,
        skip_if_unchanged: bool = False,
        dry_run: bool = False,
        options: BackupOptions | None = None,
        strict: bool = True,
        progress: Progress[BackupEvent] = silent,
        cancel: Cancel | None = None,
    ) -> BackupResult:
        """Back up files and directories into a new snapshot, as `restic backup`.

        Files that have not changed since the *parent* (by default the latest snapshot of the same host and targets; none with
        *force*) are not read. *excludes* are patterns as restic has them. Everything else is in *options*, of which what is
        given here, and the parent, is replaced.

        Raises:
            Incomplete: something could not be read; the snapshot is there without it. Not with ``strict=False``.
            NothingToBackUp: nothing of the targets is there.
            SnapshotNotFound: there is no such parent.
            InvalidPattern: a pattern is malformed.
            Interrupted: *cancel* was set; there is no snapshot, but the next backup need not store the same data again.
        """
        from restic_format.backup import NothingToBackUp, SourceError, backup, existing_targets
        from restic_format.backup.job import ItemFailed

        paths = [targets] if isinstance(targets, str | os.PathLike) else list(targets)
        heard: Heard[BackupEvent, ItemFailed] = Heard(progress, ItemFailed)

        def missing(text: str) -> None:
            heard(ItemFailed(next(path for path in texts if text.startswith(f"{path} ")), SourceError(text)))

        texts = [_path_text(path) for path in paths]
        if not texts:
            raise NothingToBackUp("there are no targets: name at least one file or directory")
        found = existing_targets(texts, missing)
        how = self._backup_options(options, excludes, tags, hostname, skip_if_unchanged=skip_if_unchanged, dry_run=dry_run)
        with self._session(writes=not how.dry_run, cancel=cancel) as (repository, token):
            if not force:
                _find_parent(repository, how, parent, found)
            repository.load_index()
            result = backup(repository, found, how, heard, token)
        failed = tuple(heard.failed)
        done = BackupResult(result.snapshot_id, result.tree, result.summary, failed, result.partial)
        return strictly(done, f"{heard.count or result.summary.errors} items could not be backed up as they should be", strict)

    def backup_stream(
        self,
        stream: BinaryIO | bytes,
        name: str = "stdin",
        *,
        tags: Sequence[str] = (),
        hostname: str | None = None,
        options: BackupOptions | None = None,
        progress: Progress[BackupEvent] = silent,
        cancel: Cancel | None = None,
    ) -> BackupResult:
        """Back up what *stream* gives until its end, or bytes, as the file *name* (a path from ``/``) of a new snapshot.

        Raises:
            BackupFailed: the stream fails, or the name cannot be one. There is no snapshot then.
            Interrupted: *cancel* was set; likewise.
        """
        from restic_format.api.streams import ObjectSource
        from restic_format.backup import backup_stream

        source = ObjectSource(stream)
        how = self._backup_options(options, (), tags, hostname)
        with self._session(writes=True, cancel=cancel) as (repository, token):
            repository.load_index()
            result = backup_stream(repository, source, name, how, progress, token)
        return BackupResult(result.snapshot_id, result.tree, result.summary, ())

    def restore(
        self,
        name: str,
        target: Path,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: Overwrite | Literal["always", "if-changed", "if-newer", "never"] = "always",
        delete: bool = False,
        sparse: bool = False,
        dry_run: bool = False,
        verify: bool = False,
        wanted: SnapshotFilter | None = None,
        strict: bool = True,
        progress: Progress[RestoreEvent] = silent,
        cancel: Cancel | None = None,
    ) -> RestoreResult:
        """Restore a snapshot (named as for `files`) into the directory *target*, as `restic restore`.

        *include* or *exclude* are patterns of paths in the snapshot; with *delete* what the snapshot does not have is removed
        from the directories that are restored; with *verify* all content is read back and compared.

        Raises:
            Incomplete: something could not be restored; the rest was. Not with ``strict=False``.
            SnapshotNotFound: no snapshot, or no such folder.
            UsageError: both kinds of patterns.
            InvalidPattern: a pattern is malformed.
            RestoreError: the target cannot be made or opened.
            Interrupted: *cancel* was set; files that are incomplete were told to *progress*.
        """
        from restic_format.restore import Failed, Overwrite, RestoreOptions, Restorer

        options = RestoreOptions(
            overwrite=overwrite if isinstance(overwrite, Overwrite) else _overwrite(overwrite),
            delete=delete,
            sparse=sparse,
            dry_run=dry_run,
            select=_selector(include, exclude),
            tell_items=progress is not silent,
        )
        heard: Heard[RestoreEvent, Failed] = Heard(progress, Failed)
        where = _path_text(target)
        with self._session(cancel=cancel) as (repository, token):
            found, folder = find_named(repository, name, wanted)
            repository.load_index()
            tree = resolve_subfolder(repository, _root_of(found), folder)
            restorer = Restorer(repository, tree, where, options, progress=heard, cancel=token)
            stats = restorer.run()
            verified = restorer.verify() if verify and not dry_run else 0
        done = RestoreResult(stats, verified, tuple(heard.failed))
        return strictly(done, f"{stats.errors} items could not be restored as they should be", strict)

    # Keeping the repository

    def check(
        self,
        *,
        read_data: bool = False,
        read_data_subset: str = "",
        progress: Progress[CheckEvent] = silent,
        cancel: Cancel | None = None,
    ) -> CheckReport:
        """Check the repository, as `restic check`. Nothing is changed; the report says what is wrong, what that costs and what
        repairs it. ``report.ok`` is the verdict.

        With *read_data* every pack is read, with *read_data_subset* some: ``1/10``, ``5%``, ``2G``. Nothing is taken from a
        cache.

        Raises:
            InvalidSubset: a subset that makes no sense.
            UsageError: both at once.
            Interrupted: *cancel* was set.
        """
        from restic_format.check import CheckOptions, check, parse_subset

        if read_data and read_data_subset:
            raise UsageError("give read_data or read_data_subset, not both")
        subset = parse_subset(read_data_subset) if read_data_subset else None
        with self._session(exclusive=True, cached=False, cancel=cancel) as (repository, token):
            return check(repository, CheckOptions(read_data=read_data, subset=subset), progress, cancel=token)

    def forget(
        self,
        policy: KeepPolicy | None = None,
        *,
        names: Sequence[str] = (),
        wanted: SnapshotFilter | None = None,
        group_by: Sequence[GroupBy] = ("host", "paths"),
        approve: Callable[[ForgetDecision], bool] | None = None,
        strict: bool = True,
        progress: Progress[Removed] = silent,
        cancel: Cancel | None = None,
    ) -> ForgetResult:
        """Remove the snapshots *names*, or those that *policy* does not keep of each group, as `restic forget`.

        *approve* is given the decision before anything is removed, and says whether to go on: ``lambda decision: False`` is a
        dry run.
        What only the removed snapshots needed stays until a `prune`.

        Raises:
            Incomplete: some snapshots could not be removed; the others were. Not with ``strict=False``.
            NoPolicy: neither names nor a rule are given.
            KeepsNothing: the policy would remove all snapshots of a group.
            SnapshotNotFound: a name means no snapshot.
            UsageError: the repository is append-only.
            Interrupted: *cancel* was set.
        """
        from restic_format.maintenance.forget import execute, plan
        from restic_format.snapshots.grouping import parse_grouping

        check_texts("names", names)
        check_filter(wanted)
        try:
            by = parse_grouping(",".join(group_by))
        except ValueError as error:
            raise UsageError(str(error)) from None
        with self._session(exclusive=True, writes=True, cancel=cancel) as (repository, token):
            planned = plan(repository, policy, names=names, wanted=wanted, by=by)
            decision = ForgetDecision.of(planned)
            if approve is not None and not approve(decision):
                return ForgetResult(decision)
            result = execute(repository, planned, progress=progress, cancel=token)
        removed, failed = (tuple(map(SnapshotInfo.of, some)) for some in (result.removed, result.failed))
        done = ForgetResult(decision, removed, failed)
        return strictly(done, f"{len(failed)} snapshots could not be removed", strict)

    def prune(
        self,
        options: PruneOptions | None = None,
        *,
        approve: Callable[[PruneStatistics], bool] | None = None,
        progress: Progress[PruneEvent] = silent,
        cancel: Cancel | None = None,
    ) -> PruneRun:
        """Remove the data that no snapshot needs, as `restic prune`. *approve* is told what would be done,
        see `forget`.

        With `PruneOptions.lock_free` others may go on with backups meanwhile. Packs that could not be removed are named in the
        result, and are removed by the next prune.

        Raises:
            PruneRefused: the repository is append-only, or the index does not have all that snapshots need.
            Interrupted: *cancel* was set.
        """
        from restic_format.maintenance.prune import PruneOptions, execute, plan

        options = options or PruneOptions()
        with self._session(exclusive=not options.lock_free, writes=True, cancel=cancel) as (repository, token):
            planned = plan(repository, options, progress=progress, cancel=token)
            statistics = planned.statistics
            if approve is not None and not approve(statistics):
                return PruneRun(statistics, None)
            return PruneRun(statistics, execute(planned, progress=progress, cancel=token))

    def copy_to(
        self,
        target: OpenRepository,
        names: Sequence[str] = (),
        *,
        wanted: SnapshotFilter | None = None,
        strict: bool = True,
        progress: Progress[CopyEvent] = silent,
        cancel: Cancel | None = None,
    ) -> CopyResult:
        """Copy the snapshots *names*, or all that fit *wanted*, into another repository, as `restic copy`.

        What was copied before is left out.

        Raises:
            Incomplete: a snapshot is damaged and was not copied; the others were. Not with ``strict=False``.
            SnapshotNotFound: a name means no snapshot.
            Interrupted: *cancel* was set; what is copied need not be copied again.
        """
        from restic_format.maintenance.copy import copy, plan_copy

        if not isinstance(target, OpenRepository):
            raise TypeError(f"the target of a copy is an open repository, not {type(target).__name__}")
        check_texts("names", names)
        check_filter(wanted)
        with (
            self._session(cancel=cancel) as (source, token),
            target._session(writes=True, cancel=token) as (into, both),
        ):
            plan = plan_copy(source, into, names, wanted)
            source.load_index()
            into.load_index()
            done = CopyResult.of(plan, copy(plan, progress=progress, cancel=both))
        return strictly(done, f"{len(done.failed)} snapshots could not be copied", strict)

    @contextmanager
    def _session(
        self, *, exclusive: bool = False, writes: bool = False, cached: bool = True, cancel: Cancel | None = None
    ) -> Iterator[tuple[Repository, Cancel]]:
        self._guard.check()
        with self._access.session(exclusive=exclusive, writes=writes, cached=cached, cancel=cancel) as session:
            yield session

    def _backup_options(
        self,
        options: BackupOptions | None,
        excludes: Sequence[str],
        tags: Sequence[str],
        hostname: str | None,
        *,
        skip_if_unchanged: bool = False,
        dry_run: bool = False,
    ) -> BackupOptions:
        import copy

        from restic_format.backup import BackupOptions
        from restic_format.filter import ExcludeFilter
        from restic_format.repository.keys import current_host

        how = BackupOptions() if options is None else copy.copy(options)
        if excludes:
            if isinstance(excludes, str):
                raise TypeError("excludes is a sequence of patterns, not one text")
            how.excludes, how.exclude_patterns = ExcludeFilter(excludes), list(excludes)
        if tags:
            if isinstance(tags, str):
                raise TypeError("tags is a sequence of tags, not one text")
            how.tags = list(tags)
        how.parent = how.parent_id = None
        how.hostname = hostname or how.hostname or current_host()
        how.skip_if_unchanged = skip_if_unchanged or how.skip_if_unchanged
        how.dry_run = dry_run or how.dry_run
        return how


def _root_of(found: FoundSnapshot) -> bytes:
    if not found.snapshot.tree:
        raise DamagedFile(f"snapshot {found.short_id} has no tree", object=f"snapshots/{found.id.hex()}")
    return parse_id(found.snapshot.tree)


def _path_text(path: Path) -> str:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"a path is str or a path object, not {type(text).__name__}")
    return text


def _find_parent(repository: Repository, options: BackupOptions, name: str | None, targets: Sequence[str]) -> None:
    from restic_format.backup import find_parent

    paths = [options.as_path] if options.as_path else targets
    found = find_parent(repository, name=name or "", hostname=options.hostname, paths=paths, not_after_ns=options.time_ns)
    if found is not None:
        options.parent, options.parent_id = found.snapshot, found.id.hex()


def _overwrite(word: str) -> Overwrite:
    from restic_format.restore import Overwrite

    try:
        return Overwrite(word)
    except ValueError:
        words = ", ".join(choice.value for choice in Overwrite)
        raise UsageError(f"overwrite is one of {words}, not {word!r}") from None


def _selector(include: Sequence[str], exclude: Sequence[str]) -> Selector | None:
    from restic_format.filter import ExcludeFilter, IncludeFilter
    from restic_format.restore import exclude_selector, include_selector

    if isinstance(include, str) or isinstance(exclude, str):
        raise TypeError("include and exclude are sequences of patterns, not one text")
    if include and exclude:
        raise UsageError("give include or exclude patterns, not both")
    if include:
        return include_selector(IncludeFilter(include))
    return exclude_selector(ExcludeFilter(exclude)) if exclude else None
