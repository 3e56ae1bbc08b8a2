"""``prune``: remove what no snapshot needs."""

from __future__ import annotations

from typing import Annotated

from restic_tools.context import Context
from restic_tools.declare import Option
from restic_tools.exitcodes import Failure
from restic_tools.pruneprint import PruneFlags, lock_of, prune_options, run_prune


def prune(
    ctx: Context,
    flags: PruneFlags,
    dry_run: Annotated[
        bool, Option("--dry-run", "-n", help="do not modify the repository, just print what would be done")
    ] = False,
    unsafe_recover_no_free_space: Annotated[
        str,
        Option(
            "--unsafe-recover-no-free-space",
            metavar="string",
            help="UNSAFE: remove the index before unused packs, to recover a repository stuck with no free space. Takes the "
            "repository's ID. Try 'prune --max-repack-size 0' first",
        ),
    ] = "",
) -> None:
    """Remove unneeded data from the repository

    Packs of which no snapshot needs anything are removed; those of which some blobs are needed are repacked, as far as the
    options say. The plan is printed first. With --lock-free backups may go on meanwhile: what is not needed is marked, and
    removed by a run after --keep-delete.
    """
    ctx.approach()
    options = prune_options(ctx, flags, recover_no_free_space=bool(unsafe_recover_no_free_space))
    if ctx.options.no_lock and not dry_run:
        raise Failure("--no-lock is only applicable in combination with --dry-run for prune command")
    with ctx.open_repository(lock_of(ctx, options), first=("snapshots", "index")) as repository:
        if options.recover_no_free_space and unsafe_recover_no_free_space != repository.id:
            raise Failure(f"must pass id '{repository.id}' to --unsafe-recover-no-free-space")
        run_prune(ctx, repository, options, dry_run=dry_run)
