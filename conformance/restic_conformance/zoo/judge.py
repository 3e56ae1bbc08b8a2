"""What a program brought back, measured from outside: restored by restic 0.19 and compared chunk by chunk."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from restic_conformance.programs import PASSWORD, Mismatch, Program, Run
from restic_conformance.vault import file_id
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.prognosis import Prognosis, foresee
from restic_conformance.zoo.repositories import SOURCE
from restic_conformance.zoo.rescuers import HUNG, PATIENCE, Rescue, Rescuer
from restic_conformance.zoo.site import (
    PASSWORDS,
    SavedFile,
    Site,
    in_folder,
    open_master,
    open_unpacked,
    read_files,
    readable,
)
from restic_spec.errors import ResticFormatError
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot, decode_snapshot

Parts = dict[tuple[str, tuple[bytes, ...]], tuple[bool, ...]]
"""By snapshot and path of a file: which of its chunks are there, each at its place."""


@dataclass(frozen=True)
class Outcome:
    """One case: what a program made of one damage."""

    recovered: int
    """Bytes of the snapshots' files that are restored, each at its place."""
    recoverable: int
    total: int
    clean: bool
    """Whether ``check --read-data`` of restic 0.19 finds nothing wrong afterwards."""
    only_lost: bool
    """Whether all that it finds is that blobs are not there which are lost for good."""
    healthy_lost: int
    """Blobs that could be read in the damaged repository and cannot be any more."""
    more_lost: tuple[str, ...]
    """Files of which something that can be had was not brought back, as ``snapshot:path``."""
    undone: bool | None
    """Whether every file was as before after the program took its repair back; None where it cannot."""
    processor_seconds: float
    """What the program took for it."""
    runs: tuple[Run, ...]


def size_of(site: Site, file: SavedFile) -> int:
    """Bytes of a saved file."""
    return sum(len(site.plain[BlobType.DATA, chunk]) for chunk in file.chunks)


def read_there(repository: Path) -> dict[str, bytes]:
    """The files below *repository* that can be read."""
    found = {}
    for path in sorted(repository.rglob("*")):
        with contextlib.suppress(OSError):
            if path.is_file():
                found[path.relative_to(repository).as_posix()] = path.read_bytes()
    return found


def without_quarantine(files: dict[str, bytes]) -> dict[str, bytes]:
    """*files* without those that a program has set aside in a folder of its own."""
    return {path: data for path, data in files.items() if not path.startswith("quarantine/")}


def read_snapshots(files: dict[str, bytes]) -> dict[str, Snapshot]:
    """The snapshots that are what their names say and can be read, by name."""
    opened = open_master(files)
    found: dict[str, Snapshot] = {}
    if opened is None:
        return found
    for path in in_folder(files, "snapshots"):
        if file_id(files[path]) != path.removeprefix("snapshots/"):
            continue
        with contextlib.suppress(ResticFormatError):
            found[path.removeprefix("snapshots/")] = decode_snapshot(open_unpacked(opened[0], files[path]))
    return found


def children_seconds() -> float:
    """Processor time that finished children have taken."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Judge:
    """Measures rescues of damaged copies of one repository, below the folder *work*."""

    def __init__(self, site: Site, reference: Program, work: Path) -> None:
        self.site = site
        self.reference = reference
        self.work = work
        self._kept: dict[str, Path] = {}

    def case(self, change: Change, rescuer: Rescuer, prognosis: Prognosis | None = None) -> Outcome:
        """Damage a copy, let *rescuer* repair it, and measure."""
        prognosis = prognosis or foresee(self.site, change)
        damaged = change.applied(read_files(self._prepared(rescuer)) if rescuer.precaution else self.site.files)
        with self._damaged(change, rescuer) as folder:
            repository = folder / "repository"
            source = self.site.repository.with_name(SOURCE)
            rescue = Rescue(repository, folder / "work", password_of(damaged), self.site.repository, source)
            started = children_seconds()
            rescuer.rescue(rescue)
            seconds = children_seconds() - started
            parts, checked = self.measure(repository, folder)
            kept = readable(read_there(repository))
            healthy_lost = len((readable(damaged) & self.site.plain.keys()) - kept)
            undone = None
            if rescuer.undo:
                touched = read_there(repository) != damaged
                ended = rescue.run(rescuer.program, *rescuer.undo).code == 0 or not touched
                undone = ended and without_quarantine(read_there(repository)) == damaged
        more_lost, recovered = [], 0
        for name, saved in self.site.saved.items():
            for file in saved:
                there = parts[name, file.path]
                recovered += sum(
                    len(self.site.plain[BlobType.DATA, chunk]) for chunk, one in zip(file.chunks, there, strict=True) if one
                )
                wanted = prognosis.chunks[name][file.path]
                if any(can and not is_there for can, is_there in zip(wanted, there, strict=True)):
                    more_lost.append(f"{name[:8]}:{os.fsdecode(b'/'.join(file.path))}")
        return Outcome(
            recovered,
            prognosis.recoverable,
            prognosis.total,
            checked.code == 0,
            tells_only_of(checked, {ident.hex() for _, ident in prognosis.lost} if prognosis.opens else {*NO_KEY}),
            healthy_lost,
            tuple(more_lost),
            undone,
            seconds,
            (*rescue.runs, checked),
        )

    def diagnosis(self, change: Change, program: Program) -> Run:
        """Damage a copy and let *program* say what is wrong with it."""
        with self._damaged(change) as folder:
            rescue = Rescue(folder / "repository", folder / "work", password_of(change.applied(self.site.files)))
            return rescue.run(program, "diagnose", "--json")

    @contextlib.contextmanager
    def _damaged(self, change: Change, rescuer: Rescuer | None = None) -> Iterator[Path]:
        """A folder with a damaged copy in ``repository``, and an empty folder ``work``."""
        with tempfile.TemporaryDirectory(prefix="case-", dir=self.work) as folder:
            (Path(folder) / "work").mkdir()
            shutil.copytree(self._prepared(rescuer), Path(folder) / "repository")
            change.apply(Path(folder) / "repository")
            yield Path(folder)

    def _prepared(self, rescuer: Rescuer | None) -> Path:
        """The healthy repository as a rescuer's precaution leaves it, taken once for each."""
        if rescuer is None or not rescuer.precaution:
            return self.site.repository
        if rescuer.name not in self._kept:
            folder = Path(tempfile.mkdtemp(prefix="prepared-", dir=self.work))
            shutil.copytree(self.site.repository, folder / "repository")
            rescuer.program.run(folder / "repository", *rescuer.precaution, cwd=folder).expect(0)
            self._kept[rescuer.name] = folder / "repository"
        return self._kept[rescuer.name]

    def prepare(self, rescuers: Iterable[Rescuer]) -> None:
        """Take every precaution now. Raises :class:`~restic_conformance.programs.Mismatch` where one fails."""
        for rescuer in rescuers:
            self._prepared(rescuer)

    def measure(self, repository: Path, folder: Path) -> tuple[Parts, Run]:
        """What restic 0.19 restores from *repository*, and what its ``check --read-data`` says."""
        files = read_there(repository)
        password = password_of(files)
        restored: list[tuple[str, Snapshot, Path]] = []
        parts: Parts = {}
        for name, snapshot in read_snapshots(files).items():
            target = folder / f"restored-{len(restored)}"
            self._run(repository, password, "restore", name, "--target", str(target), "--no-lock")
            restored.append((name, snapshot, target))
        made_from = [self._made_from(name, snapshot) for name, snapshot, _ in restored]
        for name, saved in self.site.saved.items():
            own = [target for origin, (_, _, target) in zip(made_from, restored, strict=True) if origin == name]
            others = [target for origin, (_, _, target) in zip(made_from, restored, strict=True) if origin is None]
            for file in saved:
                parts[name, file.path] = self._best(file, candidates(file, own, others))
        return parts, self._run(repository, password, "check", "--read-data")

    def _run(self, repository: Path, password: str, *arguments: str) -> Run:
        try:
            return self.reference.run(repository, *arguments, password=password, timeout=PATIENCE)
        except Mismatch as error:
            return Run(arguments, HUNG, "", str(error))

    def _made_from(self, restored: str, snapshot: Snapshot) -> str | None:
        """The saved snapshot that a restored one is or was made from; None for one that was made of trees."""
        for name, saved in self.site.snapshots.items():
            if name in (restored, snapshot.original) or saved.time == snapshot.time:
                return name
        return None

    def _best(self, file: SavedFile, found: Iterable[Path]) -> tuple[bool, ...]:
        """Which chunks of *file* are at their place in one of the restored files *found*."""
        there = [False] * len(file.chunks)
        for path in found:
            data = path.read_bytes()
            offset = 0
            for number, chunk in enumerate(file.chunks):
                plain = self.site.plain[BlobType.DATA, chunk]
                there[number] = there[number] or data[offset : offset + len(plain)] == plain
                offset += len(plain)
            if all(there):
                break
        return tuple(there)


NO_KEY = ("wrong password or no key found", "(<key/")
"""What restic says where every key is lost."""

NO_FINDINGS = re.compile(
    r"\s*($|create exclusive lock|load indexes|check all packs|check snapshots|read all data|\[\d+:\d\d\]"
    r"|error for tree [0-9a-f]{8}:|The repository is damaged and must be repaired\. |Fatal: repository contains errors)"
)
"""Lines of restic's check that name nothing that is wrong."""


def tells_only_of(checked: Run, names: Collection[str]) -> bool:
    """Whether every fault that restic's check has found is about an object of *names*, and there is one."""
    faults = [line for line in checked.output.splitlines() if not NO_FINDINGS.match(line)]
    return bool(faults) and all(any(name in line for name in names) for line in faults)


def candidates(file: SavedFile, own: Sequence[Path], others: Sequence[Path]) -> Iterator[Path]:
    """Restored files that can be *file*.

    In the restored forms of its *own* snapshot at the file's path, or beside it under a longer name; in *others*, which no
    backup made (``recover`` makes such ones of trees), below any of their top folders.
    """
    for target in own:
        yield from _at(target, file.path)
    for target in others:
        for top in sorted(target.iterdir()) if target.is_dir() else ():
            for start in range(len(file.path)):
                yield from _at(top, file.path[start:])


def _at(root: Path, path: tuple[bytes, ...]) -> Iterator[Path]:
    place = Path(os.fsdecode(os.path.join(os.fsencode(root), *path)))
    if place.is_file() and not place.is_symlink():
        yield place
    elif place.parent.is_dir():
        yield from (
            one for one in sorted(place.parent.iterdir()) if one.name.startswith(place.name) and one.is_file() and one.suffix
        )


def password_of(files: dict[str, bytes]) -> str:
    """The password that opens a key; the usual one where none does."""
    opened = open_master(files, PASSWORDS)
    return opened[1] if opened else PASSWORD
