"""Repositories that are 20 ms away: rest-server behind a proxy that holds every byte, with the cache that every program has."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import sources
from bench.delayproxy import delayed
from bench.measure import Program, Sample, run

ROUND_TRIP = 0.02
"""Seconds."""

KINDS = ("small files", "big files")

COMMANDS = (
    "backup",
    "unchanged",
    "unchanged, cold cache",
    "restore",
    "restore, cold cache",
    "check",
    "check --read-data",
    "ls",
    "ls, cold cache",
    "snapshots",
    "prune that repacks",
)


def workloads() -> list[str]:
    """What is measured."""
    return [name_of(command, kind) for kind in KINDS for command in COMMANDS]


def name_of(command: str, kind: str) -> str:
    """The row's name."""
    what, _, cache = command.partition(", ")
    return f"20 ms away: {what} {kind}" + (f", {cache}" if cache else "")


@contextmanager
def _served(server: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """The address of a rest-server that keeps its repositories in *folder*."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    words = [str(server), "--path", str(folder), "--no-auth", "--listen", f"{host}:{port}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                    break
                time.sleep(0.05)
            yield host, port
        finally:
            process.kill()


Once = Callable[[Program], Sample]


class Remote:
    """The workloads of one source tree; *add* takes a name and what each program does once."""

    def __init__(
        self,
        folder: Path,
        server: Path,
        empty: Path,
        programs: Sequence[Program],
        add: Callable[[str, Once], None],
        wanted: Callable[[str], bool],
    ) -> None:
        """*empty* is an empty repository, of which all others are copies: opening them is the same work."""
        self.empty = empty
        self.folder = folder
        self.server = server
        self.programs = programs
        self._add = add
        self._wanted = wanted
        self.served = folder / "served"
        self.source = folder / "source"
        self.target = folder / "target"
        self._address = ("", 0)

    def run(self, kind: str, make: Callable[[Path], None]) -> None:
        """Measure everything with the source tree that *make* makes."""
        make(sources.fresh(self.source))
        sources.fresh(self.served)
        with _served(self.server, self.served) as server, delayed(server, ROUND_TRIP) as address:
            self._address = address
            shutil.copytree(self.empty, self.served / "empty")
            for command, once in self._commands().items():
                if self._wanted(name_of(command, kind)):
                    self._add(name_of(command, kind), once)
        for folder in (self.source, self.served, self.target, self._caches):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _caches(self) -> Path:
        return self.folder / "caches"

    def _commands(self) -> dict[str, Once]:
        source, target = str(self.source), str(self.target)

        def backup(program: Program) -> Sample:
            self._copy("empty", self._own(program))
            return self._cold(program, "backup", source)

        def restore(call: Callable[..., Sample]) -> Once:
            def once(program: Program) -> Sample:
                shutil.rmtree(self.target, ignore_errors=True)
                return call(program, "restore", "latest", "--target", target)

            return once

        def prune(program: Program) -> Sample:
            self._copy(self._prunable(source), self._own(program) + "-pruned")
            return self._call(program, self._own(program) + "-pruned", "prune", "--max-unused", "0")

        def with_cache(*words: str) -> Once:
            return lambda program: self._warm(program, *words)

        return {
            "backup": backup,
            "unchanged": with_cache("backup", source),
            "unchanged, cold cache": lambda program: self._cold(program, "backup", source),
            "restore": restore(self._warm),
            "restore, cold cache": restore(self._cold),
            "check": with_cache("check"),
            "check --read-data": with_cache("check", "--read-data"),
            "ls": with_cache("ls", "latest"),
            "ls, cold cache": lambda program: self._cold(program, "ls", "latest"),
            "snapshots": with_cache("snapshots"),
            "prune that repacks": prune,
        }

    @staticmethod
    def _own(program: Program) -> str:
        """The repository that a program has made."""
        return f"tree-{program.name.replace(' ', '-')}"

    def _copy(self, name: str, to: str) -> None:
        shutil.rmtree(self.served / to, ignore_errors=True)
        shutil.copytree(self.served / name, self.served / to)

    def _prunable(self, source: str) -> str:
        """A repository in which half of the files of a second source tree are not needed any more."""
        if not (self.served / "prunable").exists():
            self._copy("empty", "prunable")
            restic = self.programs[0]
            more = self.folder / "more"
            sources.small_files(more, 3000, mean=66_000, seed=20)
            for left in (True, False):
                self._call(restic, "prunable", "backup", source, str(more))
                for number, path in enumerate(sorted(more.rglob("*.*"))):
                    if left and number % 2:
                        path.unlink()
            self._call(restic, "prunable", "forget", "--keep-last", "1")
            shutil.rmtree(more)
        return "prunable"

    def _warm(self, program: Program, *words: str) -> Sample:
        """With the cache that the runs before have filled."""
        if not (self.served / self._own(program)).exists():
            self._copy("empty", self._own(program))
            self._call(program, self._own(program), "backup", str(self.source))
        return self._call(program, self._own(program), *words)

    def _cold(self, program: Program, *words: str) -> Sample:
        """With an empty cache."""
        shutil.rmtree(self._cache(program), ignore_errors=True)
        return self._warm(program, *words)

    def _cache(self, program: Program) -> Path:
        return self._caches / program.name.replace(" ", "-")

    def _call(self, program: Program, name: str, *words: str) -> Sample:
        host, port = self._address
        location = f"rest:http://{host}:{port}/{name}"
        return run(program, ["-r", location, "-q", "--cache-dir", str(self._cache(program)), *words])
