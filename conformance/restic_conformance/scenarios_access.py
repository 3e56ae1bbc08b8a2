"""The scenarios about getting in: keys, locks held by the other program, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restic_conformance import trees
from restic_conformance.programs import HOST, PASSWORD, REFERENCE, Mismatch, Program
from restic_conformance.scenarios import Scenario, _restic_like
from restic_conformance.workspace import SOURCE, Workspace

OTHER = "another password"
PATIENCE = 60.0
"""Seconds to wait for a lock to appear."""


def two_keys(w: Workspace, writer: Program, reader: Program) -> None:
    """A key added by one program opens for the other, which may remove the first one."""
    repository = w.repository(writer, 2)
    new = w.fresh("password")
    new.write_text(OTHER + "\n")
    writer.run(repository, "key", "add", "--new-password-file", str(new)).expect(0)
    for password in (PASSWORD, OTHER):
        reader.run(repository, "snapshots", "--json", password=password).expect(0)
    reader.run(repository, "snapshots", "--json", password="wrong").expect(reader.exit_code("wrong-password"))
    listed = reader.run(repository, "key", "list", "--json", password=OTHER).expect(0).json()
    if len(listed) != 2:
        raise Mismatch(f"{reader.name} lists {len(listed)} keys, expected 2")
    first = next(key for key in listed if not key["current"])
    names = [name for name in os.listdir(repository / "keys") if name.startswith(first["id"])]
    if len(names) != 1:
        raise Mismatch(f"{reader.name} lists a key {first['id']} that is not a file")
    reader.run(repository, "key", "remove", names[0], password=OTHER).expect(0)
    writer.run(repository, "snapshots", password=PASSWORD).expect(writer.exit_code("wrong-password"))
    third = w.fresh("password")
    third.write_text("a third one\n")
    reader.run(repository, "key", "passwd", "--new-password-file", str(third), password=OTHER).expect(0)
    writer.run(repository, "check", password="a third one").expect(0)


def _locks(repository: Path) -> set[str]:
    """Names of the locks; files that are still being written have longer names."""
    folder = repository / "locks"
    return {name for name in os.listdir(folder) if len(name) == 64} if folder.is_dir() else set()


@contextmanager
def _holding(process: subprocess.Popen[bytes], repository: Path, before: set[str]) -> Iterator[None]:
    """Wait for the lock of a process, freeze it for the block, let it finish afterwards."""
    deadline = time.monotonic() + PATIENCE
    try:
        while _locks(repository) <= before:
            if process.poll() is not None or time.monotonic() > deadline:
                output = b"" if process.stdout is None else process.stdout.read()
                raise Mismatch(f"{process.args!r} took no lock: {output[-500:].decode(errors='replace')}")
            time.sleep(0.01)
        yield
    finally:
        process.send_signal(signal.SIGCONT)
        try:
            # Some input, because restic calls an empty stdin a source that could not be read.
            process.communicate(b"through the pipe\n", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _held_repository(w: Workspace, holder: Program) -> Path:
    """A repository with enough in it that a check takes a while."""
    name = "held"
    w.source(name, lambda b: trees.big(b, 24))

    def make() -> Path:
        repository = w.repository(holder, 2)
        w.backup(holder, repository, name)
        return repository

    return w.copy(w.once((holder.name, name), make))


def shared_lock(w: Workspace, holder: Program, other: Program) -> None:
    """While one backs up, the other may read and back up, and may not do what needs the repository alone."""
    repository = w.repository(holder, 2)
    process = holder.start(repository, "backup", "--host", HOST, "--stdin")
    with _holding(process, repository, set()):
        time.sleep(0.6)
        other.run(repository, "snapshots").expect(0)
        w.backup(other, repository, "nested")
        other.run(repository, "check").expect(other.exit_code("locked"))
        # unlock must leave the lock of a process that is alive, and the process must survive being looked at.
        other.run(repository, "unlock").expect(0)
        if not _locks(repository):
            raise Mismatch(f"{other.name} unlock removed the lock of a running {holder.name}")
    if process.returncode != 0:
        raise Mismatch(f"{holder.name} ended with {process.returncode} after {other.name} looked at its lock")
    if _locks(repository):
        raise Mismatch(f"locks are left: {_locks(repository)}")
    other.run(repository, "check", "--read-data").expect(0)
    if len(w.snapshots(repository)) != 2:
        raise Mismatch(f"{len(w.snapshots(repository))} snapshots after two backups at the same time")


def exclusive_lock(w: Workspace, holder: Program, other: Program) -> None:
    """While one has the repository alone, the other is refused, and gets in afterwards."""
    repository = _held_repository(w, holder)
    process = holder.start(repository, "check", "--read-data")
    with _holding(process, repository, set()):
        process.send_signal(signal.SIGSTOP)
        other.run(
            repository, "backup", "--host", HOST, SOURCE, cwd=w.source("nested")
        ).expect(other.exit_code("locked"))  # fmt: skip
        other.run(repository, "check").expect(other.exit_code("locked"))
        other.run(repository, "snapshots", "--no-lock").expect(0)
    if process.returncode != 0:
        raise Mismatch(f"{holder.name} ended with {process.returncode}")
    w.backup(other, repository, "nested")


def stale_lock(w: Workspace, holder: Program, other: Program) -> None:
    """A killed program's lock is in the way of nothing but exclusive work until the other removes it."""
    repository = w.repository(holder, 2)
    process = holder.start(repository, "backup", "--host", HOST, "--stdin")
    with _holding(process, repository, set()):
        process.kill()
        process.wait()
    if not _locks(repository):
        raise Mismatch(f"{holder.name} left no lock when it was killed")
    other.run(repository, "check").expect(other.exit_code("locked"))
    other.run(repository, "snapshots").expect(0)
    other.run(repository, "unlock").expect(0)
    if _locks(repository):
        raise Mismatch(f"{other.name} unlock left the lock of a killed {holder.name}")
    w.backup(other, repository, "nested")


def exit_codes(w: Workspace, writer: Program, reader: Program) -> None:
    """The exit code of everything that fails in a documented way."""
    repository = w.repository(writer, 2)
    w.backup(writer, repository, "nested")
    nothing = w.fresh("nothing")
    for command in ("snapshots", "check"):
        reader.run(nothing, command).expect(reader.exit_code("no-repository"))
    reader.run(repository, "snapshots", password="wrong").expect(reader.exit_code("wrong-password"))
    reader.run(repository, "init").expect(1)
    cwd = w.source("nested")
    reader.run(repository, "backup", "--host", HOST, SOURCE, "not-there", cwd=cwd).expect(reader.exit_code("source-missing"))
    reader.run(repository, "backup", "--host", HOST, "not-there", cwd=cwd).expect(1)
    reader.run(repository, "backup", cwd=cwd).expect(1)
    reader.run(repository, "restore", "ffffffff", "--target", str(w.fresh("out"))).expect(1)
    reader.run(repository, "cat", "snapshot", "ffffffff").expect(1)
    reader.run(repository, "ls", "ffffffff").expect(reader.exit_code("snapshot-missing"))
    reader.run(repository, "no-such-command").expect(1)
    reader.run(repository, "snapshots", "--no-such-option").expect(1)
    reader.run(repository, "snapshots", "--compression", "nonsense").expect(1)


def _held(holder: Program, other: Program) -> bool:
    return _restic_like(holder, other)


ACCESS = [
    Scenario("two-keys", "keys added and removed by either", two_keys, _restic_like, fast=(REFERENCE,)),
    Scenario("shared-lock", "while the other backs up", shared_lock, _held, fast=(REFERENCE,)),
    Scenario("exclusive-lock", "while the other works alone", exclusive_lock, _held, fast=(REFERENCE,)),
    Scenario("stale-lock", "after the other was killed", stale_lock, _held, fast=(REFERENCE,)),
    Scenario("exit-codes", "exit codes of failures", exit_codes, _restic_like, fast=(REFERENCE,), one_way=True),
]
