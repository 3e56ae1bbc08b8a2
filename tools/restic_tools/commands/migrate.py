"""``migrate``: change what a repository is, such as its version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from restic_format.words import visible
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.output import QUIET
from restic_tools.safekeeping import safekeeping

if TYPE_CHECKING:
    from restic_format.maintenance.migrate import Migration
    from restic_format.repository import Repository


def migrate(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[migration name] [...]", values=("s3_layout", "upgrade_repo_v2"))],
    force: Annotated[bool, Option("--force", "-f", help="apply a migration a second time")] = False,
) -> None:
    """Apply migrations

    Prints which migrations can be applied to the repository. If names of migrations are given, these are applied.
    """
    from restic_format.maintenance.migrate import MIGRATIONS
    from restic_tools.messages.repair import AvailableMigration

    with ctx.open_repository(lock="exclusive") as repository:
        if names:
            _apply_all(ctx, repository, names, force=force)
            return
        ctx.out.info("available migrations:")
        available = [migration for migration in MIGRATIONS if migration.refused(repository) is None]
        for migration in available:
            if ctx.options.json:
                ctx.out.json(AvailableMigration("migration", migration.name, migration.description))
            elif ctx.out.verbosity > QUIET:
                ctx.out.write(f"  {migration.name}\t{migration.description}\n".encode())
        if not available:
            ctx.out.info("no migrations found")


def _apply_all(ctx: Context, repository: Repository, names: list[str], *, force: bool) -> None:
    from restic_format.maintenance.migrate import MIGRATIONS

    known = {migration.name: migration for migration in MIGRATIONS}
    failure: Exception | None = None
    for name in names:
        if name not in known:
            _tell(ctx, name, "unknown", "", f"unknown migration {name}")
            continue
        migration = known[name]
        refusal = migration.refused(repository)
        if refusal is not None and not force:
            text = (
                f"migration {name} cannot be applied: {refusal.reason}\n"
                "If you want to apply this migration anyway, re-run with option --force"
            )
            _tell(ctx, name, "refused", refusal.reason, text)
            continue
        if refusal is not None and not ctx.options.json:
            ctx.out.warn(f"check for migration {name} failed, continuing anyway")
        if migration.needs_check:
            _check(ctx, repository)
        ctx.out.info(f"applying migration {name}...")
        try:
            _apply(ctx, repository, migration)
        except Exception as error:  # noqa: BLE001 - told, and raised at the end
            failure = failure or error
            _tell(ctx, name, "failed", str(error), f"migration {name} failed: {error}")
            continue
        _tell(ctx, name, "success", "", f"migration {name}: success")
    if failure is not None:
        raise failure


def _apply(ctx: Context, repository: Repository, migration: Migration) -> None:
    with safekeeping(ctx, f"migrate-{migration.name}") as folder:
        migration.apply(repository, folder)


def _check(ctx: Context, repository: Repository) -> None:
    """Check the repository as `check` does.

    ``Failure`` where there are errors.
    """
    from restic_format.check import check
    from restic_format.work import Cancel
    from restic_tools.checkprint import CheckPrinter

    ctx.out.info("checking repository integrity...")
    printer = CheckPrinter(ctx)
    try:
        report = check(repository, None, printer, Cancel(health=ctx.check_lock))
        printer.conclude(report)
    finally:
        printer.close()
    if not report.ok:
        raise Failure("repository contains errors")
    ctx.out.info("no errors were found")


def _tell(ctx: Context, name: str, result: str, reason: str, text: str) -> None:
    from restic_tools.messages.repair import MigrationResult

    if ctx.options.json:
        ctx.out.json(MigrationResult("migration_result", name, result, visible(reason)))
    elif result == "success":
        ctx.out.info(text)
    else:
        ctx.out.warn(text, block=True)
