"""How programs repair a repository: the command lines that their documentation gives to users, a class for each program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from restic_conformance.programs import OURS, PASSWORD, Mismatch, Program, Run

PATIENCE = 30.0
"""Seconds a single call may take; one that has not ended by then is stopped."""

AS_IT_IS = "as it is"
"""Name under which it is measured what no repair brings back."""

HUNG = -1
"""Exit code of a call that was stopped."""


@dataclass
class Rescue:
    """One rescue: the repository, a folder for what commands leave behind, and every call that was made."""

    repository: Path
    work: Path
    password: str = PASSWORD
    runs: list[Run] = field(default_factory=list)

    def run(self, program: Program, *arguments: str) -> Run:
        """Call *program* and remember it. A call that hangs is a part of the outcome."""
        try:
            done = program.run(self.repository, *arguments, password=self.password, cwd=self.work, timeout=PATIENCE)
        except Mismatch as error:
            done = Run(arguments, HUNG, "", str(error))
        self.runs.append(done)
        return done


class Rescuer(Protocol):
    """One program's way."""

    program: Program
    undo: tuple[str, ...]
    """Arguments of the command that takes everything back; none where the program has no such thing."""

    def rescue(self, rescue: Rescue) -> None:
        """Repair the repository as far as this program can."""


class ResticRepair:
    """What restic's documentation tells users to do, in its order, and what ``check`` suggests on the way.

    ``unlock --remove-all``; where ``check --read-data`` finds something, ``repair index``, and ``repair packs`` with the packs
    that ``check`` names; ``recover`` for trees that no snapshot has; and ``repair snapshots --forget`` where files lost parts.
    """

    undo: tuple[str, ...] = ()

    def __init__(self, program: Program) -> None:
        self.program = program

    def rescue(self, rescue: Rescue) -> None:
        rescue.run(self.program, "unlock", "--remove-all")
        found = rescue.run(self.program, "check", "--read-data")
        if found.code:
            rescue.run(self.program, "repair", "index")
            found = rescue.run(self.program, "check", "--read-data")
        named = re.findall(r"restic(?:-format)? repair packs((?: [0-9a-f]{64})+)", found.output)
        if named:
            rescue.run(self.program, "repair", "packs", *named[-1].split())
        if rescue.run(self.program, "recover").code:
            rescue.run(self.program, "unlock", "--remove-all")  # where a snapshot cannot be read it crashes, and its lock stays
        if found.code:
            rescue.run(self.program, "repair", "snapshots", "--forget")


class Untouched:
    """No repair: what can be restored from the damaged repository as it is."""

    undo: tuple[str, ...] = ()

    def __init__(self, program: Program) -> None:
        self.program = program

    def rescue(self, rescue: Rescue) -> None:
        """Do nothing."""


class RusticRepair:
    """rustic's commands for the same: it has none for packs, and none that recovers trees."""

    undo: tuple[str, ...] = ()

    def __init__(self, program: Program) -> None:
        self.program = program

    def rescue(self, rescue: Rescue) -> None:
        if rescue.run(self.program, "check", "--read-data").code == 0:
            return
        rescue.run(self.program, "repair", "index")
        rescue.run(self.program, "repair", "snapshots", "--delete")


class Heal:
    """Our program: one command, and one that takes it back."""

    undo: tuple[str, ...] = ("heal", "--undo", "--yes")

    def __init__(self, program: Program) -> None:
        self.program = program

    def rescue(self, rescue: Rescue) -> None:
        rescue.run(self.program, "heal", "--yes")


def has_command(program: Program, name: str) -> bool:
    """Whether *program* lists a command of that name; the help of one that it does not know is that of all."""
    listed = program.run(None, "--help", password=None).output
    return re.search(rf"^  {re.escape(name)} ", listed, re.MULTILINE) is not None


def rescuers(programs: Sequence[Program]) -> list[Rescuer]:
    """The adapters of *programs*; ours repairs as restic does as long as it has no ``heal``."""
    found: list[Rescuer] = []
    for program in programs:
        if program.name.startswith("rustic"):
            found.append(RusticRepair(program))
        elif program.name == OURS and has_command(program, "heal"):
            found.append(Heal(program))
        elif program.name == AS_IT_IS:
            found.append(Untouched(program))
        else:
            found.append(ResticRepair(program))
    return found
