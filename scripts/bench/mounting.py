"""The measure of a mounted repository: what reading through it takes, and the program that answers."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measure import Program, Sample

_READY = b"quit with Ctrl-c"
_TICKS = os.sysconf("SC_CLK_TCK")


def read_mounted(program: Program, arguments: Sequence[str], folder: Path, read: Callable[[Path], None]) -> Sample:
    """Mount at *folder*, let *read* look at what is there, and unmount.

    The wall clock is that of *read*, processor time and memory are those of the program that has mounted.
    """
    folder.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "RESTIC_PASSWORD": "bench"}
    with tempfile.NamedTemporaryFile() as output:
        process = subprocess.Popen(
            [*program.command, *arguments, str(folder)],
            env={**environment, **program.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while _READY not in Path(output.name).read_bytes():
            if process.poll() is not None:
                raise SystemExit(f"{program.name} mount: {Path(output.name).read_text()}")
            time.sleep(0.05)
        time.sleep(0.3)  # restic says so before it answers
        try:
            before, start = _processor_time(process.pid), time.perf_counter()
            read(folder)
            wall, cpu = time.perf_counter() - start, _processor_time(process.pid) - before
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            subprocess.run(["umount", str(folder)], check=True)
            process.wait()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return Sample(wall, cpu, memory * 1024)


def find_and_cat(folder: Path) -> None:
    """Look at everything below the last snapshot, and read every file."""
    latest = folder / "snapshots" / "latest"
    subprocess.run(["find", f"{latest}/", "-type", "f", "-exec", "cat", "{}", "+"], check=True, stdout=subprocess.DEVNULL)


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
