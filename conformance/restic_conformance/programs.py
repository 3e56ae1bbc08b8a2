"""Programs under judgement: how each is called, and what is known of its version.

A :class:`Program` is a black box with restic's command line. Runs are sealed off from the user's settings: an
environment of their own, no cache, the time zone UTC, a fixed locale.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restic_conformance.locations import Remote

PASSWORD = "correct horse"
"""Password of every repository the judge makes."""
SECOND = "battery staple & <more>"
"""The second password of the stored repositories."""
HOST = "conformance"

OURS = "ours"
REFERENCE = "restic-0.19"
"""The program whose behaviour the others are held to where versions differ."""


class Mismatch(AssertionError):
    """A program did not do what the scenario demands; the message is the finding."""


@dataclass(frozen=True)
class Run:
    """One finished call."""

    command: Sequence[str]
    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def messages(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line; other lines are left out."""
        found: list[dict[str, Any]] = []
        for line in self.stdout.splitlines():
            if line.startswith("{"):
                found.append(json.loads(line))
        return found

    def message(self, kind: str) -> dict[str, Any]:
        """The last message of a type. Raises :class:`Mismatch` when there is none."""
        for message in self.messages()[::-1]:
            if message.get("message_type") == kind:
                return message
        raise Mismatch(f"{self.say()}: no message of type {kind!r} on stdout")

    def json(self) -> Any:
        """The whole of stdout as one JSON value."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise Mismatch(f"{self.say()}: stdout is not one JSON value: {self.stdout[:200]!r}") from error

    def expect(self, *codes: int) -> Run:
        """Insist on one of these exit codes."""
        if self.code not in codes:
            raise Mismatch(
                f"{self.say()}: exit code {self.code}, expected {' or '.join(map(str, codes))}: "
                + shorten(self.stderr or self.stdout)
            )
        return self

    def say(self) -> str:
        return shlex.join([Path(self.command[0]).name, *self.command[1:]])


def shorten(text: str, limit: int = 600) -> str:
    """Output as one line of at most ``limit`` characters, cut in the middle."""
    text = " | ".join(line.strip() for line in text.strip().splitlines() if line.strip())
    return text if len(text) <= limit else text[: limit // 2] + " … " + text[-limit // 2 :]


@dataclass
class Program:
    """A program that speaks restic's command line."""

    name: str
    command: Sequence[str]
    version: tuple[int, int] = (0, 19)
    """Version of restic whose behaviour is expected of it."""
    global_arguments: Sequence[str] = ("--no-cache",)
    takes_locks: bool = True
    formats: tuple[int, ...] = (1, 2)
    """Repository formats its ``init`` can create."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def env(self, repository: Path | Remote | None, password: str | None) -> dict[str, str]:
        """The whole environment of a call; nothing of the caller's but the search path and the temporary folder."""
        env = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        env |= {"HOME": "/nonexistent", "TZ": "UTC", "LC_ALL": "C.UTF-8", "RESTIC_PROGRESS_FPS": "0.1"}
        if repository is not None:
            env["RESTIC_REPOSITORY"] = str(repository)
        if isinstance(repository, Remote):
            env |= repository.environment
        if password is not None:
            env["RESTIC_PASSWORD"] = password
        return {**env, **self.environment}

    def argv(self, arguments: Sequence[str]) -> list[str]:
        return [*self.command, *self.global_arguments, *arguments]

    def run(
        self,
        repository: Path | Remote | None,
        *arguments: str,
        password: str | None = PASSWORD,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        timeout: float = 600,
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """Call it and wait. A call that hangs is a finding, not a crash of the judge."""
        command = self.argv([*arguments, *(repository.words if isinstance(repository, Remote) else ())])
        try:
            done = subprocess.run(
                command,
                env={**self.env(repository, password), **(env or {})},
                cwd=cwd,
                input=stdin or b"",
                capture_output=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise Mismatch(f"{shlex.join(command)}: did not finish within {timeout:.0f} s") from error
        return Run(command, done.returncode, _text(done.stdout), _text(done.stderr))

    def run_bytes(self, repository: Path, *arguments: str) -> bytes:
        """Call it and return stdout as it is. Raises :class:`Mismatch` on failure."""
        command = self.argv(arguments)
        done = subprocess.run(command, env=self.env(repository, PASSWORD), stdin=subprocess.DEVNULL, capture_output=True)
        Run(command, done.returncode, "", _text(done.stderr)).expect(0)
        return done.stdout

    def start(
        self, repository: Path, *arguments: str, cwd: Path | None = None, password: str = PASSWORD
    ) -> subprocess.Popen[bytes]:
        """Call it and do not wait: stdin and stdout are pipes, what it says on stderr is joined to stdout."""
        return subprocess.Popen(
            self.argv(arguments),
            env=self.env(repository, password),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    # What differs between versions of restic, by the release that brought it.

    def exit_code(self, cause: str) -> int:
        """Exit code for ``no-repository``, ``locked``, ``wrong-password``,
        ``source-missing`` and ``snapshot-missing``."""
        code, since, before = {
            "no-repository": (10, (0, 17), 1),
            "locked": (11, (0, 17), 1),
            "wrong-password": (12, (0, 17), 1),
            "source-missing": (3, (0, 19), 0),
            "snapshot-missing": (1, (0, 18), 0),
        }[cause]
        return code if self.version >= since else before

    def compressions(self) -> tuple[str, ...]:
        """Values of ``--compression`` it knows."""
        return ("auto", "off", "max") if self.version < (0, 19) else ("auto", "off", "fastest", "better", "max")


class Rustic(Program):
    """rustic, told in its own words what the scenarios say in restic's."""

    def argv(self, arguments: Sequence[str]) -> list[str]:
        command, *rest = arguments
        known = {"--host": "--host", "--tag": "--tag", "--json": "--json", "--read-data": "--read-data"}
        translated: list[str] = []
        words = iter(rest)
        target = ""
        for word in words:
            if word == "--target":
                target = next(words)
            elif word == "--repository-version":
                translated += ["--set-version", next(words)]
            elif word == "--no-lock":
                continue
            elif word.startswith("--") and word not in known:
                raise Mismatch(f"the adapter for rustic does not know {word}")
            else:
                translated.append(word)
        if command == "restore":
            translated += [target]
        return [*self.command, "--no-cache", "--no-progress", command, *translated]

    def env(self, repository: Path | Remote | None, password: str | None) -> dict[str, str]:
        env = super().env(repository, password)
        renamed = {"RESTIC_REPOSITORY": "RUSTIC_REPOSITORY", "RESTIC_PASSWORD": "RUSTIC_PASSWORD"}
        return {renamed.get(name, name): value for name, value in env.items()}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def version_of(command: Sequence[str]) -> tuple[str, tuple[int, int] | None]:
    """What a program says about its version: the line, and (major, minor) when the line names one."""
    try:
        done = subprocess.run([*command, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode:
            done = subprocess.run([*command, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except OSError as error:
        return f"cannot be run: {error.strerror}", None
    line = (done.stdout.strip() or done.stderr.strip()).splitlines()[:1]
    found = re.search(r"(\d+)\.(\d+)\.", line[0]) if line else None
    return (line[0] if line else ""), (int(found[1]), int(found[2])) if found and not done.returncode else None


def make_program(name: str, command: Sequence[str]) -> Program:
    """A program from its name and command line.

    Raises :class:`ValueError` when it does not run. A name that starts with ``rustic`` gets the adapter;
    a version is believed only of restic itself, every other program is held to restic 0.19.
    """
    line, version = version_of(command)
    if version is None:
        raise ValueError(f"{name}: {shlex.join(command)} does not tell a version: {line}")
    if name.startswith("rustic"):
        return Rustic(name, command, takes_locks=False, formats=(2,), global_arguments=())
    return Program(name, command, version=version if name.startswith("restic-0") else (0, 19))


def default_programs(peers: Path, ours: Sequence[str] | None = None) -> list[Program]:
    """The peers that are there, and our own program (``restic-format`` on the search path unless given)."""
    programs = []
    for name in ("restic-0.14", "restic-0.18", "restic-0.19"):
        path = peers / name / "restic"
        if path.exists():
            programs.append(make_program(name, [str(path.resolve())]))
    rustic = peers / "rustic" / "bin" / "rustic"
    if rustic.exists():
        programs.append(make_program("rustic", [str(rustic.resolve())]))
    if ours is None:
        found = shutil.which("restic-format")
        ours = [found] if found else None
    if ours:
        programs.append(make_program(OURS, ours))
    return programs
