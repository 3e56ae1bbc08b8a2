"""``protect``: parity, which brings back lost bytes of a repository's files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from restic_format.words import printable
from restic_tools.access import given_storage, no_repository, side_files
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.own.running import context_of
from restic_tools.parityprint import STAGES, show_done, show_state
from restic_tools.stages import StagePrinter, stoppable

if TYPE_CHECKING:
    from restic_format.storage import SideFiles, Storage

app = typer.Typer()


@app.command()
def protect(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="make no parity, look whether it is intact and protects every file")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="change nothing, only show what would be done")] = False,
    forget_missing: Annotated[
        bool,
        typer.Option("--forget-missing", help="files that are gone were removed on purpose: drop their parity now"),
    ] = False,
    overhead: Annotated[
        str, typer.Option("--overhead", metavar="percent", help="parity in percent of what it protects, 1 to 100")
    ] = "5",
    renew: Annotated[bool, typer.Option("--renew", help="make all parity anew, also what is there already")] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="directory", help="keep parity in this directory, not in the repository's parity/")
    ] = "",
) -> None:
    """Protect the repository's files with parity

    Makes Reed-Solomon parity of the config, keys, snapshots, index files and packs, in the directory parity/ of the repository,
    which restic and other programs leave alone. With it flipped bits, lost stretches, truncated and lost files can be brought
    back, as long as no more is lost than there is parity. No password is needed.

    Only files that are new since the last run are read, and small groups of files; run it after each backup. Every file is
    verified before: damaged ones are named and left out. Parity of files that are gone, removed by prune or lost, is kept for
    30 days, or until --forget-missing is given.
    """
    from restic_format.rescue.parity import check_protection, plan_protection
    from restic_format.rescue.parity import protect as make_parity
    from restic_format.rescue.parity.planning import KEEP_MISSING

    tools = context_of(ctx)
    share = _share(overhead)
    if check and (dry_run or forget_missing or renew):
        raise Failure("--check cannot be used together with --dry-run, --forget-missing or --renew")
    storage = _repository(tools, lost=check)
    side = _place(tools, storage, to)
    with stoppable(tools) as cancel, StagePrinter(tools, STAGES) as progress:
        if check:
            state = check_protection(storage, side, progress=progress, cancel=cancel)
        else:
            now = time.time()
            keep = 0.0 if forget_missing else KEEP_MISSING
            plan = plan_protection(storage, side, overhead=share, keep_missing=keep, renew=renew, now=now, cancel=cancel)
            done = None if dry_run else make_parity(storage, side, plan, now=now, progress=progress, cancel=cancel)
    if check:
        show_state(tools, state)
    else:
        show_done(tools, plan, done, forget_missing=forget_missing)


def _share(text: str) -> float:
    """``--overhead`` as a share of 1; the engine says what is too small or too large."""
    digits = text.removesuffix("%")
    if not (digits.isascii() and digits.replace(".", "", 1).isdigit() and len(digits) < 10):
        raise Failure(f"invalid argument {printable(text)!r} for --overhead: not a number of percent")
    return float(digits) / 100


def _repository(ctx: Context, *, lost: bool) -> Storage:
    """The storage that is given, in which there must be a repository; with *lost* its config may be missing."""
    from restic_spec.layout import FileKind

    storage = given_storage(ctx.options, ctx.interrupt.event.is_set)
    if not storage.exists(FileKind.CONFIG, "") and not (lost and any(storage.list(FileKind.PACK))):
        raise no_repository(ctx.options)
    return storage


def _place(ctx: Context, storage: Storage, directory: str) -> SideFiles:
    """Where parity is kept."""
    if not directory:
        return storage.side_files("parity")
    from pathlib import Path

    from restic_format.storage.locations import parse_location

    location = parse_location(directory)
    place = Path(location.rest).absolute()
    if location.scheme == "local" and any(
        (folder / "config").is_file() and (folder / "data").is_dir() for folder in (place, place.parent)
    ):
        raise Failure("--to names a directory among the files of a repository: without it parity is kept in parity/ there")
    return side_files(ctx.options, directory)
