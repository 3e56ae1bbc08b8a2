"""``repair``: put right what is damaged in a repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from restic_format.words import visible
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from restic_format.errors import ResticFormatError
    from restic_format.maintenance.repairindex import IndexRepair, IndexRepairPlan
    from restic_format.maintenance.repairpacks import LostBlob
    from restic_format.repository import Repository
    from restic_format.work import Advance
    from restic_tools.messages.repair import DamagedObject

ReadAllPacks = Annotated[bool, Option("--read-all-packs", help="read all pack files to generate new index from scratch")]


def repair_index(ctx: Context, read_all_packs: ReadAllPacks = False) -> None:
    """Build a new index

    Creates a new index based on the pack files in the repository: packs that no index lists are entered, those that are gone
    leave it, and damaged index files are replaced. Packs whose header cannot be read are named and left alone.
    """
    from restic_tools.messages.repair import RepairIndexSummary

    with ctx.open_repository(lock="exclusive", options=ctx.options.replaced(no_cache=True)) as repository:
        made, result = mend_index(ctx, repository, read_all=read_all_packs)
    if ctx.options.json:
        ctx.out.json(
            RepairIndexSummary(
                "summary",
                made.read_all,
                damaged_objects(made.damaged),
                sorted(pack.hex() for pack in made.unlisted),
                sorted(pack.hex() for pack in made.resized),
                sorted(pack.hex() for pack in made.gone),
                damaged_objects(result.skipped),
                damaged_objects(result.unreadable),
                result.entered,
                [file_id.hex() for file_id in result.written],
            )
        )
    if result.unreadable:
        raise Failure(
            f"{len(result.unreadable)} packs could not be read; the index says of them what it said before: "
            "make them readable, then run repair index again"
        )
    ctx.out.info("done")


def rebuild_index(ctx: Context, read_all_packs: ReadAllPacks = False) -> None:
    """Build a new index

    The old name of `repair index`.
    """
    ctx.out.warn('Command "rebuild-index" is deprecated, Use "repair index" instead')
    repair_index(ctx, read_all_packs)


def mend_index(ctx: Context, repository: Repository, *, read_all: bool = False) -> tuple[IndexRepairPlan, IndexRepair]:
    """Repair the index and say what happens, but for the end."""
    from restic_format.maintenance import repairindex
    from restic_tools.stages import StagePrinter, stoppable

    headings = {
        repairindex.READING: "reading pack files",
        repairindex.REWRITING: "rebuilding index",
        repairindex.REMOVING: "",
    }
    with stoppable(ctx) as cancel, StagePrinter(ctx, headings) as progress:
        if not read_all:
            ctx.out.info("loading indexes...")
        made = repairindex.plan(repository, read_all=read_all, progress=progress, cancel=cancel)
        _tell_plan(ctx, made)
        result = repairindex.execute(made, progress=progress, cancel=cancel)
    for pack, error in (result.skipped | result.unreadable).items():
        tell_error(ctx, f"skipped incomplete pack file: {pack.hex()}: {error}", pack.hex())
    return made, result


def _tell_plan(ctx: Context, made: IndexRepairPlan) -> None:
    for file_id, error in made.damaged.items():
        tell_error(ctx, f"removing invalid index {file_id.hex()}: {error}", file_id.hex())
    ctx.out.info("getting pack files to read...")
    for pack in made.unlisted:
        _tell_change(ctx, f"adding pack file to index {pack.hex()}")
    for pack, (actual, expected) in made.resized.items():
        what = (
            f"with unexpected size {actual} instead of {expected}" if actual != expected else "whose blobs are elsewhere in it"
        )
        _tell_change(ctx, f"reindexing pack file {pack.hex()} {what}")
    for pack in made.gone:
        _tell_change(ctx, f"removing not found pack file {pack.hex()}")


def _tell_change(ctx: Context, text: str) -> None:
    if not ctx.options.json:
        ctx.out.warn(text)


def tell_error(ctx: Context, text: str, item: str) -> None:
    """Something that cannot be used: the command goes on."""
    from restic_tools.messages import ErrorText, ObjectError

    if ctx.options.json:
        ctx.out.json_error(ObjectError("error", ErrorText(visible(text)), "repair", item))
    else:
        ctx.out.warn(text)


def damaged_objects(found: Mapping[bytes, ResticFormatError]) -> list[DamagedObject]:
    """Ids and what is wrong with each, for a message."""
    from restic_tools.messages.repair import DamagedObject

    return [DamagedObject(ident.hex(), visible(str(error))) for ident, error in sorted(found.items())]


def repair_packs(ctx: Context, ids: Annotated[list[str], Argument(metavar="[packIDs...]")]) -> None:
    """Salvage damaged pack files

    Extracts intact blobs from the given packs into new ones, rebuilds the index without the damaged packs, and removes them
    from the repository. Before anything else a copy of each is put into the current folder, as pack-ID.
    """
    from restic_format.maintenance import repairpacks
    from restic_format.work import Advance
    from restic_tools.messages.repair import LostBlobMessage, RepairPacksSummary
    from restic_tools.stages import StagePrinter, stoppable

    packs = _pack_ids(ids)
    headings = {
        repairpacks.SALVAGING: "salvaging intact data from specified pack files",
        repairpacks.REWRITING: "rebuilding index",
        repairpacks.OLD_INDEXES: "",
        repairpacks.REMOVING: "removing salvaged pack files",
    }
    with ctx.open_repository(lock="exclusive") as repository:
        repository.load_index()
        made = repairpacks.plan(repository, packs)
        with stoppable(ctx) as cancel, StagePrinter(ctx, headings) as counter:
            ctx.out.info("saving backup copies of pack files to current folder")
            copies = []
            for pack, damaged in made.packs.items():
                cancel.check()
                copies.append(repairpacks.keep_copy(repository, pack, damaged.size, os.curdir))

            def progress(event: Advance | LostBlob) -> None:
                if isinstance(event, Advance):
                    counter(event)
                elif ctx.options.json:
                    ctx.out.json_error(LostBlobMessage("lost_blob", *_lost_fields(event)))
                else:
                    ctx.out.warn(f"failed to load blob {event.id.hex()}: {event.reason}")

            result = repairpacks.execute(made, progress=progress, cancel=cancel)
    for pack, error in result.left.items():
        tell_error(ctx, f"pack {pack.hex()} is not needed any more, but could not be removed: {error}", pack.hex())
    if ctx.options.json:
        ctx.out.json(
            RepairPacksSummary(
                "summary",
                [os.path.basename(copy) for copy in copies],
                result.saved,
                len(result.lost),
                [pack.hex() for pack in result.removed],
                damaged_objects(result.left),
            )
        )
    elif result.lost:
        text = "\nUse `restic-format repair snapshots --forget` to remove the corrupted data blobs from all snapshots"
        ctx.out.warn(text, block=True)


def _lost_fields(lost: LostBlob) -> tuple[str, str, str, str]:
    return lost.type.value, lost.id.hex(), lost.pack.hex(), visible(str(lost.reason))


def _pack_ids(texts: Iterable[str]) -> list[bytes]:
    from restic_spec.ids import is_hex_id

    packs = []
    for text in texts:
        if not is_hex_id(text.lower()):
            raise Failure(f"invalid pack ID {text[:80]!r}: the whole ID is needed, 64 hexadecimal digits")
        packs.append(bytes.fromhex(text))
    if not packs:
        raise Failure("no ids specified")
    return packs
