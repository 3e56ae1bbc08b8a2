"""Scenarios on servers: whatever one program does through a location, the other goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from restic_conformance.locations import Place, Remote
from restic_conformance.programs import PASSWORD, REFERENCE, Mismatch, Program
from restic_conformance.scenarios import Scenario
from restic_conformance.vault import quicken
from restic_conformance.workspace import Workspace


def _reached(place: Place, writer: Program, reader: Program) -> bool:
    return all(program.takes_locks and place.reached_by(program.name) is not None for program in (writer, reader))


def in_turn(place: Place, w: Workspace, writer: Program, reader: Program) -> None:
    """Init, backup, check, restore, snapshots, ls, forget with prune: each goes on from what the other program has done."""
    repository = place.repository(w.new_name())

    def at(program: Program) -> Remote:
        reached = repository.reached_by(program.name)
        assert reached is not None, "the pair does not apply"
        return reached

    def lists(program: Program) -> tuple[list[str], list[str]]:
        snapshots = program.run(at(program), "snapshots", "--json").expect(0).json()
        nodes = program.run(at(program), "ls", "latest", "--json").expect(0).messages()
        return [snapshot["id"] for snapshot in snapshots], [
            node["path"] for node in nodes if node.get("path") and "id" not in node
        ]

    writer.run(at(writer), "init").expect(0)
    if repository.folder:
        quicken(Path(repository.folder), PASSWORD)
    w.backup(writer, at(writer), "nested")
    reader.run(at(reader), "check", "--read-data").expect(0)
    w.judge_restore(writer, reader, at(reader), "latest", w.facts("nested"))
    w.backup(reader, at(reader), "odd-names")
    found, other = lists(writer), lists(reader)
    if found != other or len(found[0]) != 2 or not found[1]:
        raise Mismatch(f"{writer.name} lists {found}, {reader.name} {other}")
    reader.run(at(reader), "forget", "--keep-last", "1", "--group-by", "", "--prune", "--max-unused", "0").expect(0)
    writer.run(at(writer), "check", "--read-data").expect(0)
    w.judge_restore(reader, writer, at(writer), found[0][-1], w.facts("odd-names"))
    locks = writer.run(at(writer), "list", "locks", "--no-lock").expect(0).stdout.split()
    if locks:
        raise Mismatch(f"{len(locks)} locks are left")


def location_scenarios(places: Sequence[Place]) -> list[Scenario]:
    """A scenario for each place."""
    return [
        Scenario(f"location-{place.name}", place.location, partial(in_turn, place), partial(_reached, place), fast=(REFERENCE,))
        for place in places
    ]
