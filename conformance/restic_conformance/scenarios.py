"""The scenarios about data: one program writes, another reads, and the facts have to agree."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from restic_conformance import fixtures, trees
from restic_conformance.compare import scan
from restic_conformance.programs import HOST, OURS, REFERENCE, Mismatch, Program
from restic_conformance.vault import quicken
from restic_conformance.workspace import NO_LOCK, SOURCE, Workspace

Pair = tuple[Program, Program]


@dataclass(frozen=True)
class Scenario:
    """Something two programs have to agree on."""

    name: str
    title: str
    run: Callable[[Workspace, Program, Program], None]
    """Raises :class:`Mismatch` with the finding."""
    applies: Callable[[Program, Program], bool] = lambda _writer, _reader: True
    """Whether the pair can be held to it at all."""
    fast: tuple[str, ...] = ()
    """Programs that the fast run pairs with ours, in both directions; none: not in the fast run."""
    one_way: bool = False
    """The fast run pairs them only with ours as the reader."""


def _restic_like(writer: Program, reader: Program) -> bool:
    return writer.takes_locks and reader.takes_locks


def _creates(version: int, writer: Program, _: Program) -> bool:
    return version in writer.formats


def round_trip(version: int, names: tuple[str, ...], w: Workspace, writer: Program, reader: Program) -> None:
    """Trees written by one, checked, listed and restored by the other."""

    def make() -> Path:
        repository = w.repository(writer, version)
        for name in names:
            w.backup(writer, repository, name)
        return repository

    repository = w.once((writer.name, str(version), *names), make)
    reader.run(repository, "check", "--read-data", *NO_LOCK).expect(0)
    for name in names:
        snapshot = w.snapshot(repository, name)
        w.judge_restore(writer, reader, repository, snapshot["id"], w.facts(name))


def compression(mode: str, w: Workspace, writer: Program, reader: Program) -> None:
    """A compression mode of the writer; the reader checks and restores."""

    def make() -> Path:
        repository = w.repository(writer, 2)
        w.backup(writer, repository, "nested", "--compression", mode)
        return repository

    repository = w.once((writer.name, "compression", mode), make)
    reader.run(repository, "check", "--read-data", *NO_LOCK).expect(0)
    w.judge_restore(writer, reader, repository, w.snapshot(repository, "nested")["id"], w.facts("nested"))


def big(w: Workspace, writer: Program, reader: Program) -> None:
    """Big files: many packs, repeated data, zeros."""
    name = "big"
    w.source(name, partial(trees.big, megabytes=24 if w.fast else 320))

    def make() -> Path:
        repository = w.repository(writer, 2)
        w.backup(writer, repository, name)
        return repository

    repository = w.once((writer.name, name), make)
    reader.run(repository, "check", "--read-data", *NO_LOCK).expect(0)
    w.judge_restore(writer, reader, repository, w.snapshot(repository, name)["id"], w.facts(name))


COUNTS = (
    "files_new", "files_changed", "files_unmodified", "dirs_new", "dirs_changed", "dirs_unmodified",
    "total_files_processed", "total_bytes_processed",
)  # fmt: skip


def incremental(w: Workspace, writer: Program, reader: Program) -> None:
    """The second backup is made by the other program: same parent, same counts, right content."""
    parent = w.fresh("changing")
    parent.mkdir()
    trees.build(trees.nested, os.fsencode(parent / SOURCE))
    first = w.repository(writer, 2)
    command = ("backup", "--host", HOST, "--json", SOURCE)
    writer.run(first, *command, cwd=parent).expect(0)
    (saved,) = w.snapshots(first)
    builder = trees.Builder(os.fsencode(parent / SOURCE), _clock=trees.EPOCH_2020 + trees.DAY)
    builder.file("text.txt", trees.prose(60_000, 3))
    builder.file("a/b/new", b"new\n")
    builder.folder("new-folder")
    (parent / SOURCE / "random.bin").unlink()
    summaries = {}
    second = {}
    for program in (writer, reader):
        repository = second[program.name] = w.copy(first)
        summaries[program.name] = program.run(repository, *command, cwd=parent).expect(0).message("summary")
    for count in COUNTS:
        by_writer, by_reader = (summaries[program.name].get(count, 0) for program in (writer, reader))
        if by_writer != by_reader:
            raise Mismatch(f"{count}: {writer.name} counts {by_writer}, {reader.name} counts {by_reader}")
    after = [snapshot for snapshot in w.snapshots(second[reader.name]) if snapshot["id"] != saved["id"]]
    if after[0].get("parent") != saved["id"]:
        raise Mismatch(f"{reader.name} took the parent {after[0].get('parent')}, expected {saved['id']}")
    writer.run(second[reader.name], "check", "--read-data").expect(0)
    w.judge_restore(reader, writer, second[reader.name], after[0]["id"], scan(parent / SOURCE))
    shutil.rmtree(parent)


def fixture_reading(w: Workspace, writer: Program, reader: Program) -> None:
    """The stored repositories of the writer, read with each of their passwords."""
    for version in writer.formats:
        note = fixtures.describe(f"{writer.name}-v{version}")
        folder = w.fresh("fixture")
        repository = fixtures.unpack(note.name, folder)
        reader.run(repository, "check", "--read-data", "--no-lock", password=note.passwords[-1]).expect(0)
        quicken(repository, note.passwords[0])
        expected = fixtures.facts_of(folder)
        for snapshot in note.snapshots:
            if snapshot["source"] not in expected:
                continue
            target = w.fresh("restored")
            reader.run(repository, "restore", snapshot["id"], "--target", str(target), "--no-lock").expect(0)
            w.compare(writer, reader, expected[snapshot["source"]], scan(target / "tree"))
            shutil.rmtree(target)


def _fixture_readers(writer: Program, reader: Program) -> bool:
    return writer.name != OURS and reader.takes_locks


def _knows(mode: str, writer: Program, reader: Program) -> bool:
    return _restic_like(writer, reader) and mode in writer.compressions()


EVERY_TREE = tuple(trees.TREES)

DATA: list[Scenario] = [
    Scenario(
        "trees-v2", "every tree, format 2", partial(round_trip, 2, EVERY_TREE), partial(_creates, 2),
        fast=("restic-0.14", REFERENCE),
    ),
    Scenario(
        "trees-v1", "every tree, format 1", partial(round_trip, 1, ("nested", "metadata")), partial(_creates, 1),
        fast=("restic-0.18",),
    ),
    *(
        Scenario(
            f"compression-{mode}", f"--compression {mode}", partial(compression, mode), partial(_knows, mode),
            fast=(REFERENCE,) if mode in ("off", "max") else (),
        )
        for mode in ("auto", "off", "fastest", "better", "max")
    ),
    Scenario("big-files", "big files", big, _restic_like, fast=(REFERENCE,)),
    Scenario(
        "incremental", "backup onto the other's snapshot", incremental, _restic_like, fast=("restic-0.14", REFERENCE),
    ),
    Scenario(
        "fixtures", "the stored repositories", fixture_reading, _fixture_readers, fast=("restic-0.14", "rustic"),
        one_way=True,
    ),
]  # fmt: skip
