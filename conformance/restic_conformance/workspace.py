"""Where scenarios work: source trees and repositories made once and used by many cases."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from restic_conformance import trees
from restic_conformance.compare import Facts, differences, restorable, scan
from restic_conformance.known import findings
from restic_conformance.locations import Remote
from restic_conformance.programs import HOST, PASSWORD, REFERENCE, Mismatch, Program
from restic_conformance.vault import quicken

MEMORY = Path("/dev/shm")
ENOUGH = 2 << 30
"""Bytes that have to be free in memory before repositories are put there."""

NO_LOCK = ("--no-lock",)
"""For commands that change nothing: every lock costs a wait of 200 ms, and locks have scenarios of their own."""

SOURCE = "source"
"""Name of the folder that is backed up; it is named relatively, so no parent folder gets into the trees."""


class Workspace:
    """A temporary folder with everything the cases of one run share.

    ``programs`` are all programs of the run; ``fast`` asks scenarios for small data.
    """

    def __init__(self, programs: list[Program], fast: bool = True, folder: Path | None = None) -> None:
        self.programs = {program.name: program for program in programs}
        self.fast = fast
        self.folder = Path(tempfile.mkdtemp(prefix="conformance-", dir=folder))
        # Trees need a file system with everything; repositories are hundreds of folders each and need only speed.
        in_memory = fast and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH
        self.store = Path(tempfile.mkdtemp(prefix="conformance-", dir=MEMORY)) if in_memory else self.folder
        self.left_out: dict[str, list[str]] = {}
        self.notes: list[str] = []
        """What a case found worth saying though it passed; emptied by the runner after every case."""
        self._sources: dict[str, Path] = {}
        self._facts: dict[str, dict[bytes, Facts]] = {}
        self._made: dict[tuple[str, ...], Path] = {}
        self._scratch: list[Path] = []
        self._count = 0

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything."""
        for folder in (self.folder, self.store):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def reference(self) -> Program:
        """restic 0.19."""
        return self.programs[REFERENCE]

    def fresh(self, what: str) -> Path:
        """A path below the workspace where nothing is yet; what is put there lasts until the case ends."""
        return self._new(self.folder, what)

    def fresh_repository(self) -> Path:
        """The same for a repository."""
        return self._new(self.store, "repo")

    def new_name(self) -> str:
        """A name for a repository on a server, which none had yet."""
        self._count += 1
        return f"{self.folder.name}-{self._count:04d}"

    def _new(self, folder: Path, what: str) -> Path:
        self._count += 1
        path = folder / f"{self._count:04d}-{what}"
        self._scratch.append(path)
        return path

    def tidy(self) -> None:
        """Remove what the last case made for itself."""
        kept = {*self._made.values(), *self._sources.values()}
        for path in self._scratch:
            if path.is_dir() and path not in kept:
                shutil.rmtree(path, ignore_errors=True)
        self._scratch = []

    def source(self, name: str, kind: Callable[[trees.Builder], None] | None = None) -> Path:
        """The folder that contains ``source/``, filled by the builder ``kind`` (default: the tree of that name)."""
        if name not in self._sources:
            parent = self.fresh(f"tree-{name}")
            parent.mkdir()
            left_out = trees.build(kind or trees.TREES[name], os.fsencode(parent / SOURCE))
            if left_out:
                self.left_out[name] = left_out
            self._sources[name] = parent
        return self._sources[name]

    def facts(self, name: str) -> dict[bytes, Facts]:
        """The facts of the source tree of that name (see :meth:`source`)."""
        if name not in self._facts:
            self._facts[name] = scan(self._sources[name] / SOURCE)
        return self._facts[name]

    def repository(self, writer: Program, version: int) -> Path:
        """A new empty repository by a program, with a key that opens quickly."""
        made = self._made.get((writer.name, str(version)))
        if made is None:
            made = self.fresh_repository()
            writer.run(made, "init", "--repository-version", str(version)).expect(0)
            quicken(made, PASSWORD)
            self._made[writer.name, str(version)] = made
        return self.copy(made)

    def copy(self, repository: Path) -> Path:
        """A copy of a repository to change."""
        path = self.fresh_repository()
        shutil.copytree(repository, path, symlinks=True)
        return path

    def once(self, key: tuple[str, ...], make: Callable[[], Path]) -> Path:
        """What ``make`` returned for this key; it is called the first time only."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def backup(self, program: Program, repository: Path | Remote, name: str, *arguments: str) -> None:
        """Back up the source tree of that name with the tree's name as tag."""
        program.run(repository, "backup", "--host", HOST, "--tag", name, *arguments, SOURCE, cwd=self.source(name)).expect(0)

    def snapshots(self, repository: Path, tag: str = "") -> list[dict[str, Any]]:
        """The snapshots as the reference lists them, oldest first."""
        found = self.reference.run(repository, "snapshots", "--json", *NO_LOCK).expect(0).json() or []
        return [snapshot for snapshot in found if not tag or tag in (snapshot.get("tags") or [])]

    def snapshot(self, repository: Path, tag: str) -> dict[str, Any]:
        """The one snapshot with this tag."""
        found = self.snapshots(repository, tag)
        if len(found) != 1:
            raise Mismatch(f"{len(found)} snapshots with the tag {tag}, expected one")
        return found[0]

    def judge_restore(
        self, writer: Program, reader: Program, repository: Path | Remote, snapshot: str, expected: dict[bytes, Facts]
    ) -> None:
        """Restore with ``reader`` and compare every attribute with what was saved by ``writer``."""
        target = self.fresh("restored")
        try:
            reader.run(repository, "restore", snapshot, "--target", str(target), *NO_LOCK).expect(0)
            found = scan(target / SOURCE) if (target / SOURCE).is_dir() else {}
            self.compare(writer, reader, expected, found)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def compare(self, writer: Program, reader: Program, expected: dict[bytes, Facts], found: dict[bytes, Facts]) -> None:
        """Raise :class:`Mismatch` unless the trees are equal but for known faults, which are noted."""
        counted, reasons = findings(writer, reader, differences(restorable(expected), found), expected)
        self.notes += reasons
        if counted:
            listed = "; ".join(str(difference) for difference in counted[:8])
            raise Mismatch(f"{len(counted)} differences after {reader.name} restored: {listed}")
