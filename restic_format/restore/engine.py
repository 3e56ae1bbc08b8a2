"""A restore from beginning to end."""

from __future__ import annotations

import os
from collections.abc import Callable

from restic_format.repository import Repository
from restic_format.repository.warming import make_ready
from restic_format.restore.dirs import DirCache, open_root
from restic_format.restore.errors import RestoreError
from restic_format.restore.fetch import Fetcher
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.finish import Finisher
from restic_format.restore.items import ItemPlanner
from restic_format.restore.report import Report, RestoreEvent, RestoreStats
from restic_format.restore.request import RestoreOptions
from restic_format.restore.session import Session
from restic_format.restore.table import ROOT, DirState, FileState
from restic_format.restore.verify import Verifier
from restic_format.systemtext import errno_text
from restic_format.work import Cancel, Progress, silent


class Restorer:
    """Restores one tree into one directory.

    Whatever goes wrong with single items is told (`Failed`), counted in ``stats.errors``, and the rest goes on. The
    repository's index must be loaded.
    """

    def __init__(
        self,
        repository: Repository,
        tree: bytes,
        target: str | bytes | os.PathLike[str],
        options: RestoreOptions | None = None,
        *,
        progress: Progress[RestoreEvent] = silent,
        cancel: Cancel | None = None,
    ) -> None:
        options = options or RestoreOptions()
        self._report = Report(progress, tell_items=options.tell_items)
        self._tree = tree
        self._target = os.path.abspath(_path_bytes(target))
        self._session = Session(repository, self._target, options, self._report, cancel or Cancel())
        self._finished = False

    @property
    def stats(self) -> RestoreStats:
        """Counters, live."""
        return self._report.stats

    def run(self) -> RestoreStats:
        """Restore. Can be called once.

        Raises:
            RestoreError: the target directory cannot be made or opened.
            FileCold: packs are in cold storage, and not back after the longest time to wait.
            Interrupted: *cancel* was set. Files that are incomplete were reported.
        """
        session = self._session
        dry_run = session.options.dry_run
        try:
            root = open_root(self._target, create=not dry_run)
        except OSError as error:
            raise RestoreError(f"target {os.fsdecode(self._target)}: {errno_text(error)}") from error
        session.dirs.state[ROOT] |= DirState.READY | (DirState.NEW if root is None else 0)
        session.root = -1 if root is None else root
        try:
            with DirCache(session.root, session.dirs) as cache:
                writer = FileWriter(session)
                planner = ItemPlanner(session, cache, writer)
                planner.run(self._tree)
                packs = session.plan.packs()
                make_ready(session.repository, packs, self._report.warm_up, session.cancel, only_tell=dry_run)
                if not dry_run:
                    Fetcher(session, writer).run()
                planner.report_sizes()
                Finisher(session, cache).run()
        finally:
            self._close()
        self._finished = True
        return self.stats

    def verify(self, on_file: Callable[[], None] | None = None) -> int:
        """Read all restored content back and compare; how many files were read. *on_file* is called after each.

        Raises:
            RestoreError: the target is gone, or there was no restore.
            Interrupted: *cancel* was set.
        """
        if not self._finished:
            raise RestoreError("there is nothing to verify before a restore has run")
        root = open_root(self._target, create=False)
        if root is None:
            raise RestoreError(f"target {os.fsdecode(self._target)} has vanished")
        self._session.root = root
        try:
            return Verifier(self._session, on_file or (lambda: None)).run()
        finally:
            self._close()

    @property
    def written_files(self) -> int:
        """Files whose content was written, which `verify` reads."""
        return sum(1 for state in self._session.files.state if state & FileState.CONTENT)

    def _close(self) -> None:
        if self._session.root >= 0:
            os.close(self._session.root)
            self._session.root = -1


def _path_bytes(path: str | bytes | os.PathLike[str]) -> bytes:
    path = os.fspath(path)
    return path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
