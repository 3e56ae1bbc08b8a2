"""How programs repair a repository: the command lines that their documentation gives to users, a class for each program."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from restic_conformance.programs import OURS, PASSWORD, REFERENCE, Mismatch, Program, Run

PATIENCE = 30.0
"""Seconds a single call of a repair may take; one that has not ended by then is stopped."""

LONG_PATIENCE = 180.0
"""The same where damage is solved, which takes the processor's time, not the storage's."""

AS_IT_IS = "as it is"
"""Name under which it is measured what no repair brings back."""

RUSTIC = "rustic"

OUR_REPAIR = "our repair"
"""Name of our forms of restic's repair commands."""

HEAL = "heal"
HEAL_PROTECTED = "heal after protect"
"""Names of our ``heal``: alone, and with parity that was made before the damage."""

HEAL_DONOR = "heal with a donor"
HEAL_SOURCE = "heal with the files"
"""The same with a copy of the healthy repository, and with the files as they were backed up last."""

HELPED = (HEAL_PROTECTED, HEAL_DONOR, HEAL_SOURCE)
"""Ways that have more than the damaged repository: they are measured where something is lost for good without."""

DIAGNOSE = "diagnose"
"""Name under which our ``diagnose`` is held against what it has to say."""

BUDGET = 15
"""Seconds that ``heal`` may try to solve damage; most is solved within one, what nothing solves takes all of them."""

HUNG = -1
"""Exit code of a call that was stopped."""


@dataclass
class Rescue:
    """One rescue: the repository, a folder for what commands leave behind, and every call that was made."""

    repository: Path
    work: Path
    password: str = PASSWORD
    healthy: Path | None = None
    """The repository before it was damaged; others may look at it too."""
    source: Path | None = None
    """The files of the last snapshot."""
    runs: list[Run] = field(default_factory=list)

    def run(self, program: Program, *arguments: str, patience: float | None = None) -> Run:
        """Call *program* and remember it. A call that hangs is a part of the outcome."""
        try:
            done = program.run(self.repository, *arguments, password=self.password, cwd=self.work, timeout=patience or PATIENCE)
        except Mismatch as error:
            done = Run(arguments, HUNG, "", str(error))
        self.runs.append(done)
        return done


class Rescuer(Protocol):
    """One way to repair a repository."""

    name: str
    program: Program
    undo: tuple[str, ...]
    """Arguments of the command that takes everything back; none where the program has no such thing."""
    precaution: tuple[str, ...]
    """Arguments of the command that is called while the repository is healthy; none where there is no such thing."""

    def rescue(self, rescue: Rescue) -> None:
        """Repair the repository as far as this program can."""


class _Plain:
    """No command beforehand, none that takes back."""

    undo: tuple[str, ...] = ()
    precaution: tuple[str, ...] = ()

    def __init__(self, program: Program, name: str = "") -> None:
        self.program = program
        self.name = name or program.name


class ResticRepair(_Plain):
    """What restic's documentation tells users to do, in its order, and what ``check`` suggests on the way.

    ``unlock --remove-all``; where ``check --read-data`` finds something, ``repair index``, and ``repair packs`` with the packs
    that ``check`` names; ``recover`` for trees that no snapshot has; and ``repair snapshots --forget`` where files lost parts.
    """

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


class Untouched(_Plain):
    """No repair: what can be restored from the damaged repository as it is."""

    def rescue(self, rescue: Rescue) -> None:
        """Do nothing."""


class RusticRepair(_Plain):
    """rustic's commands for the same: it has none for packs, and none that recovers trees."""

    def rescue(self, rescue: Rescue) -> None:
        if rescue.run(self.program, "check", "--read-data").code == 0:
            return
        rescue.run(self.program, "repair", "index")
        rescue.run(self.program, "repair", "snapshots", "--delete")


class Heal(_Plain):
    """Our program: one command, and one that takes it back."""

    undo: tuple[str, ...] = ("heal", "--undo", "--yes")

    def rescue(self, rescue: Rescue) -> None:
        rescue.run(self.program, "heal", "--yes", "--budget", str(BUDGET), patience=LONG_PATIENCE)


class HealProtected(Heal):
    """The same where ``protect`` had been called before the damage."""

    precaution: tuple[str, ...] = ("protect",)


class HealDonor(Heal):
    """The same with a healthy copy of the repository at hand."""

    def rescue(self, rescue: Rescue) -> None:
        assert rescue.healthy is not None
        copy = rescue.work / "donor"
        shutil.copytree(rescue.healthy, copy)  # For it is locked while it is read.
        rescue.run(self.program, "heal", "--yes", "--budget", str(BUDGET), "--donor", str(copy), patience=LONG_PATIENCE)


class HealSource(Heal):
    """The same with the files at hand that were backed up last."""

    def rescue(self, rescue: Rescue) -> None:
        source = ("--source", str(rescue.source))
        rescue.run(self.program, "heal", "--yes", "--budget", str(BUDGET), *source, patience=LONG_PATIENCE)


def has_command(program: Program, name: str) -> bool:
    """Whether *program* lists a command of that name; the help of one that it does not know is that of all."""
    listed = program.run(None, "--help", password=None).output
    return re.search(rf"^  {re.escape(name)} ", listed, re.MULTILINE) is not None


WAYS: dict[str, tuple[str, Callable[[Program, str], Rescuer]]] = {
    AS_IT_IS: (REFERENCE, Untouched),
    REFERENCE: (REFERENCE, ResticRepair),
    RUSTIC: (RUSTIC, RusticRepair),
    OUR_REPAIR: (OURS, ResticRepair),
    HEAL: (OURS, Heal),
    HEAL_PROTECTED: (OURS, HealProtected),
    HEAL_DONOR: (OURS, HealDonor),
    HEAL_SOURCE: (OURS, HealSource),
}
"""Every way by name, with the program that goes it."""


def rescuer(name: str, programs: Mapping[str, Program]) -> Rescuer | None:
    """The way *name*, or restic's with the program of that name; None where its program or a command is not there."""
    program_name, make = WAYS.get(name, (name, ResticRepair))
    program = programs.get(program_name)
    if program is None:
        return None
    made = make(program, name)
    commands = {arguments[0] for arguments in (made.undo, made.precaution) if arguments}
    return made if all(has_command(program, command) for command in commands) else None
