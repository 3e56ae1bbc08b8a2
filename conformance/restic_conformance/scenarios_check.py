"""The scenarios about damage: every recipe is found, named, and answered with the right exit code."""

from __future__ import annotations

import shutil
from functools import partial

from restic_conformance import fixtures
from restic_conformance.fixtures import Damage
from restic_conformance.programs import OURS, PASSWORD, REFERENCE, Mismatch, Program, shorten
from restic_conformance.scenarios import Scenario
from restic_conformance.vault import quicken
from restic_conformance.workspace import Workspace

CRASH = 2
"""Exit code of a Go program that panics; a program that meets damage must answer with a plain failure instead."""


def damaged(name: str, w: Workspace, _: Program, reader: Program) -> None:
    """``check`` on one damaged repository, with and without reading all data."""
    damage = fixtures.describe_damage(name)
    folder = w.fresh("damaged")
    repository = fixtures.unpack(damage.fixture, folder)
    if not name.startswith(("config", "key")):
        quicken(repository, PASSWORD)
    fixtures.apply(damage.steps, repository)
    for call, code in _expectations(damage, reader).items():
        if w.fast and call == "check":
            continue
        run = reader.run(repository, *call.split(), "--no-lock", password=PASSWORD)
        run.expect(code)
        if reader.name != OURS:
            continue
        if code and damage.names and not any(word in run.output for word in damage.names):
            wanted = " or ".join(damage.names)
            raise Mismatch(f"{run.say()} does not name the damage ({wanted}): {shorten(run.output)}")
        if "Traceback" in run.output:
            raise Mismatch(f"{run.say()} shows a traceback: {shorten(run.output)}")
    shutil.rmtree(folder)


def _expectations(damage: Damage, reader: Program) -> dict[str, int]:
    if reader.name in damage.observed:
        return damage.observed[reader.name]
    observed = {call: 1 if code == CRASH else code for call, code in damage.observed[REFERENCE].items()}
    return {**observed, **damage.thorough}


def _by_restic_itself(_: Program, reader: Program) -> bool:
    return reader.takes_locks


DAMAGED = [
    Scenario(
        f"damaged-{name}", fixtures.describe_damage(name).what, partial(damaged, name), _by_restic_itself,
        fast=(REFERENCE,), one_way=True,
    )
    for name in fixtures.damage_names()
]  # fmt: skip
