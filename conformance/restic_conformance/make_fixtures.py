"""Make the repositories below ``fixtures/`` again with the real programs.

``sudo python -m restic_conformance.make_fixtures [--peers .peers] [name …]``

Needs root: devices, owners and trusted attributes belong to the trees, and ``unshare --uts`` gives every run the host
name ``fixture``, so no machine's name gets into a repository. Ids differ from run to run, as keys and IVs are random.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from restic_conformance import damage, trees
from restic_conformance.compare import Facts, scan
from restic_conformance.fixtures import FOLDER, Fixture, pack_up
from restic_conformance.programs import PASSWORD, SECOND, Program, default_programs, version_of

FIRST = PASSWORD
SOURCE = "tree"
STDIN_NAME = "from <stdin> & more.txt"
ZONE = "Asia/Kathmandu"
"""Where the second snapshot is made: an offset that is not a whole hour, and seconds of it until 1920."""


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder with a fixed name, because snapshots keep the absolute path of what they saved."""
    folder = Path(tempfile.gettempdir()) / "fixture"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def build_source(folder: Path) -> None:
    """The tree in the fixtures: small files, odd names, every node type; under 1 MiB."""
    root = os.fsencode(folder)
    os.makedirs(root)
    for name, kind in (
        ("nested", trees.nested),
        ("names", trees.odd_names),
        ("metadata", trees.metadata_without_sparse),
    ):
        left_out = trees.build(kind, root + b"/" + name.encode())
        if left_out:
            raise SystemExit(f"this machine cannot make the fixtures' tree: {'; '.join(left_out)}")
    builder = trees.Builder(root)
    builder.file("two-equal-chunks-of-zeros", bytes(trees.MIB))
    os.utime(root, ns=(trees.EPOCH_2020, trees.EPOCH_2020))


def change_source(folder: Path) -> None:
    """What changes between the first and the second snapshot."""
    builder = trees.Builder(os.fsencode(folder), _clock=trees.EPOCH_2020 + trees.DAY)
    builder.file("nested/text.txt", trees.prose(30_000, 3))
    builder.file("nested/new.txt", b"new in the second snapshot\n")
    builder.file("nested/left-out.tmp", b"excluded\n")
    os.unlink(folder / "nested" / "random.bin")


def second_facts(folder: Path) -> dict[bytes, Facts]:
    """What the second snapshot holds: one file is excluded, and times lose the odd seconds of their zone.

    Before standard time a zone's offset could have seconds; RFC 3339 has no place for them, so a time that was
    written in such a zone comes back changed by them.
    """
    facts = scan(folder)
    del facts[b"nested/left-out.tmp"]
    zone = ZoneInfo(ZONE)
    start = datetime(1970, 1, 1, tzinfo=UTC)
    for path, one in facts.items():
        if abs(one.mtime_ns) < 250 * 365 * trees.DAY:
            moment = start + timedelta(seconds=one.mtime_ns // 10**9)
            offset = int((moment.astimezone(zone).utcoffset() or timedelta()).total_seconds())
            facts[path] = replace(one, mtime_ns=one.mtime_ns + offset % 60 * 10**9)
    return facts


class Writer:
    """One program writing one repository, recording every command."""

    def __init__(self, program: Program, work: Path) -> None:
        self.program = program
        self.work = work
        self.repository = work / "repo"
        self.commands: list[str] = []
        self.second = work / "second-password"
        self.second.write_text(SECOND)

    def _argv(self, arguments: Sequence[str]) -> list[str]:
        command = self.program.argv(arguments)
        shown = [self.program.name, *command[len(self.program.command) :]]
        self.commands.append(" ".join(shown).replace(str(self.work), "WORK"))
        return ["unshare", "--uts", "sh", "-c", 'hostname fixture && exec "$@"', "sh", *command]

    def _env(self, timezone: str) -> dict[str, str]:
        env = self.program.env(self.repository, FIRST)
        return {**env, "TZ": timezone, "USER": "root", "LOGNAME": "root"}

    def run(self, *arguments: str, timezone: str = "UTC", stdin: bytes = b"") -> str:
        """One command; returns its output."""
        done = subprocess.run(self._argv(arguments), env=self._env(timezone), cwd=self.work, input=stdin, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{self.commands[-1]}: exit code {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    def leave_stale_lock(self) -> None:
        """Kill a backup that waits for its stdin, so that its lock stays."""
        process = subprocess.Popen(
            self._argv(["backup", "--stdin"]), env=self._env("UTC"), cwd=self.work, stdin=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while not any((self.repository / "locks").iterdir()):
            if time.monotonic() > deadline:
                raise SystemExit("no lock appeared")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.commands[-1] += "   # killed while it waited for its input: a stale lock stays"


def _snapshots(reference: Program, repository: Path) -> tuple[dict[str, object], ...]:
    listed = reference.run(repository, "snapshots", "--json", "--no-lock").expect(0).json()
    found = []
    for snapshot in sorted(listed, key=lambda one: str(one["tags"])):
        tags = snapshot.get("tags") or []
        source = next((tag for tag in tags if tag in ("first", "second", "stdin")), "")
        found.append({"id": snapshot["id"], "tree": snapshot["tree"], "tags": tags, "source": source})
    return tuple(found)


def make_restic(program: Program, version: int, reference: Program, work: Path) -> None:
    """A restic's repository: three snapshots (one from stdin, one in another time zone), two keys, a stale lock."""
    writer = Writer(program, work)
    facts: dict[str, dict[bytes, Facts]] = {}
    build_source(work / SOURCE)
    writer.run("init", "--repository-version", str(version))
    facts["first"] = scan(work / SOURCE)
    writer.run(
        "backup", "--host", "fixture", "--tag", "first,alpha", "--time", "2021-02-03 04:05:06", SOURCE
    )  # fmt: skip
    change_source(work / SOURCE)
    writer.run(
        "backup", "--host", "fixture", "--tag", "second", "--exclude", "*.tmp", "--with-atime", SOURCE,
        timezone=ZONE,
    )  # fmt: skip
    facts["second"] = second_facts(work / SOURCE)
    writer.run(
        "backup", "--host", "fixture", "--tag", "stdin", "--stdin", "--stdin-filename", STDIN_NAME,
        stdin=b"through the pipe\n",
    )  # fmt: skip
    writer.run("key", "add", "--host", "fixture", "--user", "second", "--new-password-file", str(writer.second))
    if program.version < (0, 15):
        # Only old programs write indexes that say which ones they replace.
        writer.run("rebuild-index", "--read-all-packs")
    writer.leave_stale_lock()
    _finish(f"{program.name}-v{version}", writer, version, reference, facts)


def make_rustic(program: Program, version: int, reference: Program, work: Path) -> None:
    """rustic's repository: its own snapshot fields, a second key without dates, packs marked for deletion."""
    writer = Writer(program, work)
    writer.program = Program(program.name, program.command, global_arguments=("--no-cache", "--no-progress"))
    writer.program.environment = {"RUSTIC_REPOSITORY": str(writer.repository), "RUSTIC_PASSWORD": FIRST}
    facts: dict[str, dict[bytes, Facts]] = {}
    build_source(work / SOURCE)
    writer.run("init", "--set-version", str(version), "--hostname", "fixture", "--with-created")
    writer.run("backup", "--host", "fixture", "--tag", "gone", f"{SOURCE}/nested")
    facts["first"] = scan(work / SOURCE)
    writer.run(
        "backup", "--host", "fixture", "--tag", "first,alpha", "--label", "a label", "--description", "says why",
        "--delete-after", "100years", SOURCE,
    )  # fmt: skip
    change_source(work / SOURCE)
    writer.run(
        "backup", "--host", "fixture", "--tag", "second", "--glob", "!*.tmp", "--set-atime", "yes", "--delete-never",
        SOURCE, timezone=ZONE,
    )  # fmt: skip
    facts["second"] = second_facts(work / SOURCE)
    writer.run(
        "backup", "--host", "fixture", "--tag", "stdin", "--stdin-filename", STDIN_NAME, "-",
        stdin=b"through the pipe\n",
    )  # fmt: skip
    writer.run("key", "add", "--new-password-file", str(writer.second))
    gone = [one for one in _snapshots(reference, writer.repository) if "gone" in str(one["tags"])]
    writer.run("forget", str(gone[0]["id"]))
    writer.run("prune", "--max-unused", "0", "--keep-pack", "0s", "--repack-cacheable-only", "false")
    _finish(f"rustic-v{version}", writer, version, reference, facts)


def make_halves(program: Program, work: Path) -> None:
    """rustic's repository in two places, of a few files: ``cold/`` and ``hot/`` in one archive, without facts."""
    writer = Writer(program, work)
    writer.program = Program(program.name, program.command, global_arguments=("--no-cache", "--no-progress"))
    writer.program.environment = {
        "RUSTIC_REPOSITORY": str(work / "cold"), "RUSTIC_REPO_HOT": str(work / "hot"), "RUSTIC_PASSWORD": FIRST,
    }  # fmt: skip
    for number in range(3):
        (work / SOURCE).mkdir(exist_ok=True)
        (work / SOURCE / f"file-{number}").write_bytes(hashlib.sha256(bytes([number])).digest() * 100)
        if not number:
            writer.run("init")
        writer.run("backup", "--host", "fixture", SOURCE)
    (FOLDER / "halves").mkdir(exist_ok=True)
    with tarfile.open(FOLDER / "halves" / "rustic-v2.tar.gz", "w:gz") as archive:
        for half in ("cold", "hot"):
            archive.add(work / half, half)


def make_duplicates(program: Program, reference: Program, work: Path) -> None:
    """The same data saved twice into copies of one repository, then put together: every blob in two packs."""
    writer = Writer(program, work)
    build_source(work / SOURCE)
    facts = {"first": scan(work / SOURCE)}
    writer.run("init", "--repository-version", "2")
    shutil.copytree(writer.repository, work / "other")
    writer.run("backup", "--host", "fixture", "--tag", "first", SOURCE)
    writer.repository, merged = work / "other", writer.repository
    writer.run("backup", "--host", "fixture", "--tag", "first", SOURCE)
    shutil.copytree(writer.repository, merged, dirs_exist_ok=True)
    writer.commands.append("the second backup went into a copy of the empty repository; both were merged")
    writer.repository = merged
    _finish("duplicates-v2", writer, 2, reference, facts)


def make_tiny(program: Program, version: int, reference: Program, work: Path) -> None:
    """One file with a few lines of text, a snapshot of it, a stale lock: what the documentation shows byte by byte."""
    writer = Writer(program, work)
    (work / SOURCE).mkdir()
    trees.Builder(os.fsencode(work / SOURCE)).file("hello.txt", b"The same line again.\n" * 5)
    os.utime(work / SOURCE, ns=(trees.EPOCH_2020, trees.EPOCH_2020))
    facts = {"first": scan(work / SOURCE)}
    writer.run("init", "--repository-version", str(version))
    writer.run("backup", "--host", "fixture", "--tag", "first", "--time", "2021-02-03 04:05:06", SOURCE)
    writer.leave_stale_lock()
    _finish(f"tiny-v{version}", writer, version, reference, facts)


def _finish(name: str, writer: Writer, version: int, reference: Program, facts: dict[str, dict[bytes, Facts]]) -> None:
    reference.run(writer.repository, "check", "--read-data", "--no-lock").expect(0)
    line, _ = version_of(list(writer.program.command))
    passwords = (FIRST,) if name.startswith(("duplicates", "tiny")) else (FIRST, SECOND)
    note = Fixture(
        name, line, version, passwords, tuple(writer.commands), _snapshots(reference, writer.repository)
    )  # fmt: skip
    pack_up(name, writer.repository, facts, note)
    size = (FOLDER / f"{name}.tar.gz").stat().st_size
    print(f"{name}: {line}, {size // 1024} KiB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restic_conformance.make_fixtures")
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    parser.add_argument("names", nargs="*", help="only these (healthy ones by name, 'damaged', or damaged/NAME)")
    options = parser.parse_args(arguments)
    programs = {program.name: program for program in default_programs(options.peers, ours=())}
    reference = programs["restic-0.19"]

    def wanted(name: str) -> bool:
        return not options.names or any(re.fullmatch(pattern, name) for pattern in options.names)

    for name, program in programs.items():
        for version in program.formats:
            if wanted(f"{name}-v{version}"):
                make = make_rustic if name == "rustic" else make_restic
                with workplace() as work:
                    make(program, version, reference, work)
    if "rustic" in programs and wanted("halves"):
        with workplace() as work:
            make_halves(programs["rustic"], work)
    if wanted("duplicates-v2"):
        with workplace() as work:
            make_duplicates(reference, reference, work)
    for version in reference.formats:
        if wanted(f"tiny-v{version}"):
            with workplace() as work:
                make_tiny(reference, version, reference, work)
    only = [name.removeprefix("damaged/") for name in options.names if name.startswith("damaged/")]
    if only or wanted("damaged"):
        observers = [program for name, program in programs.items() if name.startswith("restic")]
        damage.make_all(observers, only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
