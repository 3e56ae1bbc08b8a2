"""Last pass: hard links, then what does not belong into the target, then the directories' metadata from below."""

from __future__ import annotations

import os

from restic_format.restore.dirs import DirCache, remove_entry, remove_tree, status_of
from restic_format.restore.errors import Doing, RestoreError
from restic_format.restore.existing import may_replace
from restic_format.restore.report import Action
from restic_format.restore.session import Session
from restic_format.restore.table import ROOT, DirState, FileState
from restic_format.snapshots import list_directory
from restic_spec import gojson
from restic_spec.errors import ResticFormatError
from restic_spec.tree import FILE


class Finisher:
    """Ends a restore once all content is written."""

    def __init__(self, session: Session, cache: DirCache) -> None:
        self._session = session
        self._cache = cache

    def run(self) -> None:
        """Make the links, delete, and apply the metadata of directories. Errors are reported, and the rest goes on.

        Raises:
            Interrupted: the caller wants to stop.
        """
        session = self._session
        for number in range(len(session.links)):
            session.cancel.check()
            try:
                self._link(number)
            except (OSError, RestoreError) as error:
                session.report.error(session.link_location(number), error)
        # A parent's number is lower than its children's, so this is from below.
        for number in range(len(session.dirs) - 1, -1, -1):
            session.cancel.check()
            if session.dirs.state[number] & DirState.USED:
                self._directory(number)

    def _link(self, number: int) -> None:
        session, links, files = self._session, self._session.links, self._session.files
        directory, name, first = links.directory[number], links.names[number], links.file[number]
        if files.state[first] & FileState.FAILED:
            raise RestoreError(f"it is a hard link to {session.file_location(first)}, which could not be restored whole")
        meta = links.meta.get(number, files.meta[first])
        is_new = bool(session.dirs.state[directory] & DirState.NEW)
        existing = None if is_new else status_of(name, self._cache.fd(directory))
        if not may_replace(session.options.overwrite, existing, meta.mtime):
            session.report.skipped(lambda: session.link_location(number), 0)
            return
        if not session.options.dry_run:
            source = self._cache.fd(files.directory[first])
            parent = self._cache.fd(directory)
            first_name = files.names[first]
            if existing is not None and not os.path.samestat(existing, os.lstat(first_name, dir_fd=source)):
                remove_entry(name, parent, recursive=session.may_delete)
                existing = None
            if existing is None:
                path = session.target_path(session.file_location(first))
                with Doing(f"link {path}"):
                    os.link(first_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            if number in links.meta:
                session.metadata.apply_entry(name, parent, FILE, meta)
        session.report.done(Action.OTHER_RESTORED, lambda: session.link_location(number), 0)

    def _directory(self, number: int) -> None:
        session = self._session
        dry_run = session.options.dry_run
        try:
            if session.may_delete and not (dry_run and session.dirs.state[number] & DirState.NEW):
                self._delete(number)
            if number == ROOT:
                return
            if not dry_run:
                session.metadata.apply_fd(self._cache.fd(number), session.dirs.meta[number])
        except (OSError, ResticFormatError) as error:
            session.report.error(session.dirs.location(number), error)
            return
        session.report.done(Action.DIR_RESTORED, lambda: session.dirs.location(number), 0)

    def _delete(self, number: int) -> None:
        session = self._session
        if session.dirs.state[number] & DirState.INCOMPLETE:
            return
        descriptor = self._cache.fd(number)
        location = session.dirs.location(number).rstrip("/")
        unexpected = set(map(os.fsencode, os.listdir(descriptor)))
        for node in list_directory(session.repository, session.dirs.tree(number)):
            unexpected.discard(node.name_bytes)
        for name in sorted(unexpected):
            if not self._selected(location, name):
                continue
            for path in remove_tree(name, descriptor, dry_run=session.options.dry_run):
                session.report.deleted(session.target_path(f"{location}/{gojson.to_text(path)}"))

    def _selected(self, location: str, name: bytes) -> bool:
        select = self._session.options.select
        return select is None or select(location + "/" + name.decode("utf-8", "surrogateescape"), False)[0]
