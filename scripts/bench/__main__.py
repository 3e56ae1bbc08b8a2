"""Our program against the real restic (and rustic), as whole processes in one run; a table and a plot come of it.

    python -m bench [--quick] [--folder DIR] [--rounds N] [--only WORD] [--output DIR] [--leave-one-out]

Ratios are ours / restic, less is better: wall clock, processor time, peak memory. ``--leave-one-out`` compares our program with
itself instead, without each native part in turn: a table of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import remote, report, sources
from bench.measure import Program, Row, Rustic, Sample, compare, run
from bench.mounting import find_and_cat, read_mounted
from restic_conformance.peers import find_rustic
from restic_format.native.parts import PARTS

ROOT = Path(__file__).resolve().parent.parent.parent
LARGE = ("random", "text")
"""What the big files hold; each is one of 256 MiB, or less in a quick run."""


class Bench:
    """All workloads, on scratch folders."""

    def __init__(self, options: argparse.Namespace, programs: list[Program]) -> None:
        self.folder: Path = options.folder
        self.disk: Path | None = options.disk
        self.quick: bool = options.quick
        self.rounds: int = options.rounds or (3 if options.quick else 5)
        self.only: str = options.only
        self.named = frozenset(report.NAMED) if options.leave_one_out else None
        self.programs = programs
        self.rows: list[Row] = []

    def wanted(self, workload: str) -> bool:
        """Whether *workload* belongs to this run; how many blobs an index has does not matter."""
        return self.only in workload and (self.named is None or report.plain(workload) in self.named)

    def repo(self, program: Program, name: str) -> Path:
        return self.folder / "repos" / f"{program.name.replace(' ', '-')}-{name}"

    def call(
        self,
        program: Program,
        repo: Path,
        *words: str,
        expect: tuple[int, ...] = (0,),
        cache: Path | None = None,
        discard: bool = False,
    ) -> Sample:
        """Run *program* on a repository, without a cache unless *cache* is a folder for one."""
        return run(program, program.arguments(repo, words, cache=cache), expect=expect, discard=discard)

    def new_repo(self, program: Program, name: str, *, key: str = "empty") -> Path:
        """A new repository; all with the same *key* are copies of one made by restic, so that opening them is the same work."""
        empty = self.folder / key
        if not empty.exists():
            self.call(self.programs[0], empty, "init")
        repo = self.repo(program, name)
        shutil.rmtree(repo, ignore_errors=True)
        shutil.copytree(empty, repo)
        return repo

    def calling(self, repo: Path, *words: str) -> Callable[[Program], Sample]:
        """The same command with each program."""
        return lambda program: self.call(program, repo, *words)

    def add(
        self, workload: str, once: Callable[[Program], Sample], stored: Callable[[Program], int] | None = None, rounds: int = 0
    ) -> None:
        if self.wanted(workload):
            self.rows.append(compare(workload, self.programs, min(rounds or self.rounds, self.rounds), once, stored))

    @contextmanager
    def having(self, *command: str, rustic: bool = True) -> Iterator[None]:
        """Without the programs that do not have a command: older ones of ours, and *rustic*, where others do the same."""
        everybody = self.programs
        self.programs = [
            program for program in everybody if (rustic if isinstance(program, Rustic) else knows(program, command))
        ]
        yield
        self.programs = everybody

    def run(self) -> None:
        for group, kinds in self.groups():
            if any(self.wanted(kind) for kind in kinds):
                group()
                shutil.rmtree(self.folder / "repos", ignore_errors=True)

    def groups(self) -> Iterator[tuple[Callable[[], None], list[str]]]:
        """Groups of workloads that share sources and repositories."""
        yield partial(self.tree, "big files", self.make_big), self.kinds("big files")
        yield partial(self.tree, "small files", self.make_small), self.kinds("small files")
        yield self.start_up, ["version", "open (cat config)"]
        yield self.snapshots, ["snapshots (2,000)", "ls latest (2,000 snapshots)", *self.forgets()]
        yield self.history, [*self.searches(), *self.comparisons(), *self.counts()]
        if self.named is None and os.path.exists("/dev/fuse"):
            yield self.mounts, self.mounted()
        yield self.indexes, ["load index", "load index from the cache"]
        yield self.repair_index, ["repair index --read-all-packs"]
        if self.named is None:
            yield self.far_away, remote.workloads()
            yield self.prune, ["prune that repacks 20 %"]
            yield self.plans, [f"prune with nothing to do, {blobs:,} blobs" for blobs in self.plan_sizes()]
        if not self.quick or self.named is not None:
            yield partial(self.tree, "tiny files", self.make_tiny, 3), self.kinds("tiny files")
        if self.disk is not None:
            yield self.on_disk, self.kinds("small files on a disk")
        if not self.quick:
            yield self.million, ["backup 1,000,000 files", "unchanged 1,000,000 files"]

    @staticmethod
    def forgets() -> tuple[str, str]:
        """The workloads that remove snapshots: shown only, and really."""
        return "forget with 2,000 snapshots, dry run", "forget with 2,000 snapshots"

    @staticmethod
    def kinds(name: str) -> list[str]:
        """The workloads of a source tree."""
        done = ["backup", "unchanged", "restore", "check --read-data", "ls", "overview", "dump", "copy", "rewrite --exclude"]
        done.append("1 % changed")
        return [*(f"{what} {name}" for what in done), *(f"dump a file of {kind}" for kind in LARGE if name == "big files")]

    def make_big(self, folder: Path) -> None:
        sources.big_files(folder, 256 if self.quick else 2048)

    def make_small(self, folder: Path) -> None:
        sources.small_files(folder, 4000 if self.quick else 20_000)

    def make_one(self, folder: Path) -> None:
        sources.one_file(folder, 256 if self.quick else 1024)

    def make_tiny(self, folder: Path) -> None:
        sources.tiny_files(folder, 5_000 if self.quick else 100_000)

    def tree(self, name: str, make: Callable[[Path], None], rounds: int = 0) -> None:
        """Everything that is done with one source tree."""
        source = sources.fresh(self.folder / "source")
        make(source)
        target = self.folder / "target"

        def first_backup(program: Program) -> Sample:
            return self.call(program, self.new_repo(program, "tree"), "backup", str(source))

        self.add(f"backup {name}", first_backup, lambda program: sources.size_of(self.repo(program, "tree") / "data"), rounds)
        for program in self.programs:
            if not self.repo(program, "tree").exists():
                first_backup(program)
        self.add(
            f"unchanged {name}",
            lambda program: self.call(program, self.repo(program, "tree"), "backup", str(source)),
            rounds=rounds,
        )

        def restore(program: Program) -> Sample:
            shutil.rmtree(target, ignore_errors=True)
            return self.call(program, self.repo(program, "tree"), "restore", "latest", "--target", str(target))

        self.add(f"restore {name}", restore, rounds=rounds)
        shutil.rmtree(target, ignore_errors=True)
        self.add(
            f"check --read-data {name}",
            lambda program: self.call(program, self.repo(program, "tree"), "check", "--read-data"),
            rounds=rounds,
        )
        self.add(f"ls {name}", lambda program: self.call(program, self.repo(program, "tree"), "ls", "latest"), rounds=rounds)
        with self.having("stats", rustic=False):
            whole = self.nearest("overview", lambda program: self.repo(program, "tree"))
            self.add(f"overview {name}", whole, rounds=rounds)
        self.dumped(name, source, rounds)
        self.rewritten(name, rounds)
        if self.wanted(f"1 % changed {name}"):
            self.changed(name, source, rounds)
        shutil.rmtree(source)

    def dumped(self, name: str, source: Path, rounds: int) -> None:
        """All of a snapshot as a tar archive, and a large file, to the null device; rustic names both in other words."""

        def dump(program: Program, path: str = "/") -> Sample:
            return self.call(program, self.repo(program, "tree"), "dump", "latest", path, discard=True)

        with self.having("dump", rustic=False):
            self.add(f"dump {name}", dump, rounds=rounds)
            for kind in LARGE if name == "big files" else ():
                self.add(f"dump a file of {kind}", partial(dump, path=str(source / f"{kind}-0")), rounds=rounds)

    def rewritten(self, name: str, rounds: int) -> None:
        """Snapshots copied into an empty repository, and rewritten without some of their files; rustic has other commands."""

        def copy(program: Program) -> Sample:
            source = self.repo(program, "tree")
            return self.call(program, self.new_repo(program, "copy", key="other"), "copy", "--from-repo", str(source))

        def rewrite(program: Program) -> Sample:
            copied = self.repo(program, "rewrite")
            shutil.rmtree(copied, ignore_errors=True)
            shutil.copytree(self.repo(program, "tree"), copied)
            return self.call(program, copied, "rewrite", "--exclude", "*7*", "--forget")

        with self.having("copy", rustic=False):
            self.add(f"copy {name}", copy, lambda program: sources.size_of(self.repo(program, "copy") / "data"), rounds)
        with self.having("rewrite", rustic=False):
            self.add(f"rewrite --exclude {name}", rewrite, rounds=rounds)

    def changed(self, name: str, source: Path, rounds: int) -> None:
        """One more backup after a hundredth of the files was rewritten; the repository is the same each time."""
        sources.change_some(source, 0.01)

        def once(program: Program) -> Sample:
            copy = self.repo(program, "changed")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.repo(program, "tree"), copy)
            return self.call(program, copy, "backup", str(source))

        self.add(f"1 % changed {name}", once, rounds=rounds)

    def million(self) -> None:
        """What many files cost; once, and two programs only, for it takes minutes."""
        everybody, self.programs = self.programs, self.programs[:2]
        source = sources.fresh(self.folder / "source")
        sources.tiny_files(source, 1_000_000)
        self.add(
            "backup 1,000,000 files",
            lambda program: self.call(program, self.new_repo(program, "tree"), "backup", str(source)),
            rounds=1,
        )
        self.add(
            "unchanged 1,000,000 files",
            lambda program: self.call(program, self.repo(program, "tree"), "backup", str(source)),
            rounds=1,
        )
        shutil.rmtree(source)
        self.programs = everybody

    def on_disk(self) -> None:
        """The small files once more, everything on a file system that is not in memory."""
        assert self.disk is not None
        memory, self.folder = self.folder, sources.fresh(self.disk / "restic-format-bench")
        try:
            self.tree("small files on a disk", self.make_small, 3)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = memory

    def start_up(self) -> None:
        self.add("version", lambda program: run(program, ["--version" if isinstance(program, Rustic) else "version"]))
        repos = {program.name: self.new_repo(program, "empty") for program in self.programs}
        self.add("open (cat config)", lambda program: self.call(program, repos[program.name], "cat", "config"))

    def snapshots(self) -> None:
        repo = self.new_repo(self.programs[0], "snapshots")
        sources.many_snapshots(repo, 2000)
        self.add("snapshots (2,000)", lambda program: self.call(program, repo, "snapshots"))
        self.add("ls latest (2,000 snapshots)", lambda program: self.call(program, repo, "ls", "latest"))
        dry, real = self.forgets()
        policy = ("forget", "--keep-last", "10", "--keep-daily", "14", "--keep-weekly", "8", "--keep-monthly", "24")

        def forget(program: Program) -> Sample:
            copy = self.repo(program, "forget")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(repo, copy)
            return self.call(program, copy, *policy)

        with self.having("forget"):
            self.add(dry, lambda program: self.call(program, repo, *policy, "--dry-run"))
            self.add(real, forget)

    def searches(self) -> list[str]:
        """The workloads on many snapshots of many files."""
        files = self.history_files()
        return [f"find in {sources.HISTORY} snapshots of {files:,} files", f"find --blob in {sources.HISTORY} snapshots"]

    def comparisons(self) -> list[str]:
        """The workloads on two of them."""
        files = self.history_files()
        return [f"diff of two snapshots of {files:,} files", f"diff of two snapshots with {sources.HISTORY - 2} between them"]

    @staticmethod
    def counts() -> list[str]:
        """The workloads that count what is in many snapshots; of our own commands restic does what is nearest."""
        modes = ("restore-size", "files-by-contents", "blobs-per-file", "raw-data")
        own = [f"{command} (restic: stats --mode raw-data)" for command in ("du", "overview")]
        return [*(f"stats --mode {mode}" for mode in modes), *own]

    def history_files(self) -> int:
        return 4_000 if self.quick else 20_000

    def history(self) -> None:
        """Looking at many successive snapshots, which are equal but for a little."""
        repo = self.new_repo(self.programs[0], "history")
        ids = sources.history(repo, self.history_files())
        by_name, by_blob = self.searches()
        with self.having("find"):
            self.add(by_name, self.calling(repo, "find", "*-9000*.py"), rounds=3)
        with self.having("find", rustic=False):
            self.add(by_blob, self.calling(repo, "find", "--blob", "00" * 32), rounds=3)
        with self.having("diff"):
            for name, before in zip(self.comparisons(), (ids[-2], ids[0]), strict=True):
                self.add(name, self.calling(repo, "diff", before, ids[-1]), rounds=7)
        *modes, costs, whole = self.counts()
        with self.having("stats", rustic=False):
            for name in modes:
                self.add(f"{name}, {sources.HISTORY} snapshots", self.calling(repo, *name.split()), rounds=3)
            self.add(costs, self.nearest("du", lambda _: repo), rounds=3)
            self.add(whole, self.nearest("overview", lambda _: repo), rounds=3)

    def nearest(self, command: str, repo: Callable[[Program], Path]) -> Callable[[Program], Sample]:
        """A command that only ours has; restic counts all blobs instead."""

        def once(program: Program) -> Sample:
            words = ["stats", "--mode", "raw-data"] if program.name == "restic" else [command]
            return self.call(program, repo(program), *words)

        return once

    def mounted(self) -> list[str]:
        """The workloads that read through a mount."""
        return ["mount: a file of 1 GiB", "mount: find and cat, 20,000 files"]

    def mounts(self) -> None:
        """Reading through a mounted repository, from one end to the other."""
        source = self.folder / "source"
        for name, make in zip(self.mounted(), (self.make_one, self.make_small), strict=True):
            make(sources.fresh(source))
            repo = self.new_repo(self.programs[0], "mounted")
            self.call(self.programs[0], repo, "backup", str(source))

            def once(program: Program, repo: Path = repo) -> Sample:
                arguments = ["-r", str(repo), "--no-cache", "mount"]
                return read_mounted(program, arguments, self.folder / "mountpoint", find_and_cat)

            with self.having("mount", rustic=False):
                self.add(name, once, rounds=3)
        shutil.rmtree(source)

    def indexes(self) -> None:
        """Loading an index, by asking for a blob that is not there: first without any cache, then with one that is warm."""
        missing = ("cat", "blob", "00" * 32)
        everybody = self.programs
        sizes = (100_000,) if self.quick else (1_000_000, 10_000_000)
        for blobs in sizes if self.named is None else sizes[:1]:
            # The largest one takes minutes with anybody else.
            self.programs = everybody if blobs < 10_000_000 else everybody[:2]
            repo = self.new_repo(self.programs[0], "index")
            sources.index_repository(repo, blobs)

            def load(program: Program, repo: Path = repo, cache: Path | None = None) -> Sample:
                return self.call(program, repo, *missing, expect=(1,), cache=cache)

            self.add(f"load index, {blobs:,} blobs", load, rounds=3)
            cache = sources.fresh(self.folder / "cache")
            self.add(f"load index from the cache, {blobs:,} blobs", partial(load, cache=cache), rounds=3)
            shutil.rmtree(cache)
        self.programs = everybody

    def repair_index(self) -> None:
        """Making the index anew from the headers of all packs."""
        packs = 500 if self.quick else 5000
        for program in self.programs:
            sources.pack_headers(self.new_repo(program, "packs"), packs)

        def once(program: Program) -> Sample:
            return self.call(program, self.repo(program, "packs"), "repair", "index", "--read-all-packs")

        with self.having("repair", "index"):
            self.add(f"repair index --read-all-packs, {packs:,} packs", once, rounds=3)

    def prune(self) -> None:
        """A fifth of the repository is in packs of which about half is needed."""
        everybody, self.programs = self.programs, self.programs[:2]
        restic = self.programs[0]
        source = sources.fresh(self.folder / "source")
        repo = self.new_repo(restic, "prunable")
        for part in range(5):
            folder = source / f"part-{part}"
            sources.small_files(folder, 800 if self.quick else 4000, mean=66_000, seed=20 + part)
            self.call(restic, repo, "backup", str(folder))
        for number, path in enumerate(sorted((source / "part-0").rglob("*.txt"))):
            if number % 2:
                path.unlink()
        self.call(restic, repo, "backup", str(source / "part-0"))
        self.call(restic, repo, "forget", "--keep-last", "1")
        shutil.rmtree(source)

        def once(program: Program) -> Sample:
            copy = self.repo(program, "pruned")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(repo, copy)
            return self.call(program, copy, "prune", "--max-unused", "0")

        self.add("prune that repacks 20 %", once, lambda program: sources.size_of(self.repo(program, "pruned") / "data"))
        self.programs = everybody

    def far_away(self) -> None:
        """Repositories on a server, restic and ours only."""
        everybody, self.programs = self.programs, self.programs[:2]

        def add(workload: str, once: Callable[[Program], Sample]) -> None:
            self.add(workload, once, rounds=3)

        server = ROOT / ".peers/rest-server/rest-server"
        self.new_repo(self.programs[0], "empty")
        far = remote.Remote(self.folder / "far", server, self.folder / "empty", self.programs, add, self.wanted)
        makers = (self.make_small, lambda folder: sources.big_files(folder, 128 if self.quick else 1024))
        for kind, make in zip(remote.KINDS, makers, strict=True):
            if any(self.wanted(remote.name_of(command, kind)) for command in remote.COMMANDS):
                far.run(kind, make)
        self.programs = everybody

    def plan_sizes(self) -> tuple[int, ...]:
        return (100_000,) if self.quick else (1_000_000, 10_000_000)

    def plans(self) -> None:
        """Everything is used: what it takes to find that out."""
        everybody, self.programs = self.programs, self.programs[:2]
        for blobs in self.plan_sizes():
            repo = self.new_repo(self.programs[0], "used")
            sources.used_repository(repo, blobs)

            def plan(program: Program, repo: Path = repo) -> Sample:
                return self.call(program, repo, "prune", "--dry-run")

            self.add(f"prune with nothing to do, {blobs:,} blobs", plan, rounds=3)
        self.programs = everybody


def knows(program: Program, command: Sequence[str]) -> bool:
    """Whether a program has a command: what it says when it is told nothing else."""
    told = subprocess.run([*program.command, *command], check=False, capture_output=True, env={}, stdin=subprocess.DEVNULL)
    return b"unknown command" not in told.stderr


def programs_to_compare(ours: Path, with_wheels: bool, before: Path | None) -> list[Program]:
    """restic first: the others are compared with it. rustic takes part where it is."""
    command = [str(ours.absolute())]
    found = [Program("restic", [str(ROOT / ".peers/restic-0.19/restic")]), Program("ours", command)]
    if before is not None:
        found.append(Program("before", [str(before.absolute())]))
    if with_wheels:
        found.append(Program("wheels only", command, {"RESTIC_FORMAT_KERNEL": "wheels"}))
    rustic = find_rustic(ROOT / ".peers")
    if rustic is not None:
        found.append(Rustic("rustic", [str(rustic)]))
    return found


def programs_without_parts(ours: Path) -> list[Program]:
    """Our program with every native part, and without each in turn: what a part buys."""
    command = [str(ours.absolute())]
    left_out = (Program(f"without {part}", command, {"RESTIC_FORMAT_KERNEL": f"without:{part}"}) for part in PARTS)
    return [Program("ours", command), *left_out]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of this run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller sources, three rounds: minutes instead of an hour")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm/restic-format-bench"), help="scratch folder")
    parser.add_argument("--disk", type=Path, help="folder on a disk's file system, for the small files once more")
    parser.add_argument("--rounds", type=int, default=0, help="runs of each after a warm-up")
    parser.add_argument("--only", default="", help="workloads whose names contain this")
    parser.add_argument(
        "--no-wheels", action="store_true", help="leave out our program without the native part that calls the libraries"
    )
    parser.add_argument("--leave-one-out", action="store_true", help="our program without each of its native parts instead")
    parser.add_argument("--program", type=Path, default=Path(sys.executable).parent / "restic-format", help="our program")
    parser.add_argument("--before", type=Path, help="an older build of our program, to see what a change costs or gains")
    parser.add_argument("--output", type=Path, help="folder for the pages and the plot (docs)")
    options = parser.parse_args(words)
    options.folder = options.folder.absolute()
    return options


def main() -> None:
    options = parse()
    sources.fresh(options.folder)
    if options.leave_one_out:
        programs = programs_without_parts(options.program)
    else:
        programs = programs_to_compare(options.program, not options.no_wheels, options.before)
    bench = Bench(options, programs)
    part = True
    try:
        bench.run()
        part = bool(options.only)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
        if options.leave_one_out and bench.rows:
            names = [program.name for program in programs[1:]]
            print(report.parts_table(bench.rows, names))
            if options.output is not None:
                report.write_parts(
                    bench.rows,
                    names,
                    options.output,
                    options.folder,
                    bench.rounds,
                    quick=options.quick,
                    part=part,
                )
        elif bench.rows and options.output is not None:
            report.write(
                bench.rows,
                options.output,
                options.folder,
                options.disk,
                bench.rounds,
                quick=options.quick,
                part=part,
            )


if __name__ == "__main__":
    os.umask(0o077)
    main()
