"""Running programs and taking their measure: wall clock, processor time, peak memory; alternating, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A command line that is compared, and the environment it needs."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, repo: Path, words: Sequence[str], *, cache: Path | None = None) -> list[str]:
        """A command on a repository, without a cache or with one in the folder *cache*."""
        caching = ["--no-cache"] if cache is None else ["--cache-dir", str(cache / self.name.replace(" ", "-"))]
        return ["-r", str(repo), "-q", *caching, *words]


class Rustic(Program):
    """rustic, told in its own words what restic is told."""

    def arguments(self, repo: Path, words: Sequence[str], *, cache: Path | None = None) -> list[str]:
        """See `Program.arguments`."""
        caching = ["--no-cache"] if cache is None else ["--cache-dir", str(cache / self.name)]
        own = {"--read-all-packs": "--read-all"} | ({"blob": "data-blob"} if words[0] == "cat" else {})
        said = [own.get(word, word) for word in words if word != "--target"]
        if words[0] == "find":
            said.insert(1, "--glob")
        return ["-r", str(repo), "--no-progress", "--log-level", "error", *caching, *said]


@dataclass(frozen=True)
class Sample:
    """One run: seconds of wall clock and of processor time, bytes of peak memory."""

    wall: float
    cpu: float
    memory: int


@dataclass(frozen=True)
class Row:
    """Medians of one workload by program name, and the bytes stored where that matters."""

    workload: str
    samples: Mapping[str, Sample]
    stored: Mapping[str, int]

    def ratio(self, name: str, base: str, what: str) -> float:
        """How much of *base* the program *name* takes of ``wall``, ``cpu`` or ``memory``."""
        return float(getattr(self.samples[name], what)) / float(getattr(self.samples[base], what))


def run(
    program: Program, arguments: Sequence[str], *, expect: Sequence[int] = (0,), cwd: Path | None = None, discard: bool = False
) -> Sample:
    """Run once. A wrong exit code ends the bench: a number for something else would be worse than none.

    With *discard* standard output goes to the null device: it is what the program is for, and large.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "RESTIC_PASSWORD": "bench",
        "RESTIC_FROM_PASSWORD": "bench",
        "RUSTIC_PASSWORD": "bench",
    }
    start = time.perf_counter()
    # Files, not pipes: nobody must be busy reading while the program runs.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*program.command, *arguments],
            env={**environment, **program.environment},
            stdout=subprocess.DEVNULL if discard else output,
            stderr=output,
            cwd=cwd,
        )
        memory = _watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode not in expect:
        raise SystemExit(f"{program.name} {' '.join(arguments)}: exit {process.returncode}\n{said.decode(errors='replace')}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, memory)


def _watch(pid: int) -> int:
    """The high-water mark of a process's memory, in bytes; returns when it has ended.

    ``ru_maxrss`` would count the memory this process had when it forked.
    """
    highest = 0
    while True:
        try:
            with open(f"/proc/{pid}/status") as file:
                marks = [line.split()[1] for line in file if line.startswith("VmHWM:")]
        except OSError:
            return highest
        if not marks:
            return highest  # a process that has ended and was not waited for has no memory left
        highest = max(highest, int(marks[0]) * 1024)
        time.sleep(0.004)


def compare(
    workload: str,
    programs: Sequence[Program],
    rounds: int,
    once: Callable[[Program], Sample],
    stored: Callable[[Program], int] | None = None,
) -> Row:
    """Let *programs* take turns, after a warm-up of each; a single round has none."""
    taken: dict[str, list[Sample]] = {program.name: [] for program in programs}
    for number in range(rounds + (rounds > 1)):
        for program in programs:
            sample = once(program)
            if number or rounds == 1:
                taken[program.name].append(sample)
    sizes = {program.name: stored(program) for program in programs} if stored is not None else {}
    row = Row(workload, {name: _median(samples) for name, samples in taken.items()}, sizes)
    print(describe(row, programs), flush=True)
    return row


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        statistics.median(sample.wall for sample in samples),
        statistics.median(sample.cpu for sample in samples),
        int(statistics.median(sample.memory for sample in samples)),
    )


def describe(row: Row, programs: Sequence[Program]) -> str:
    """A line for the terminal; the first program is what the others are compared with."""
    base = programs[0].name
    first = row.samples[base]
    parts = [f"{row.workload:34} {base} {first.wall:7.2f} s {first.cpu:7.2f} s cpu {first.memory / 1e6:6.0f} MB"]
    for program in programs[1:]:
        ratios = "/".join(f"{row.ratio(program.name, base, what):.2f}" for what in ("wall", "cpu", "memory"))
        parts.append(f"{program.name} {ratios}")
    if row.stored:
        parts.append("stored " + " ".join(f"{name} {size / 1e6:.1f}" for name, size in row.stored.items()))
    return "  ".join(parts)
