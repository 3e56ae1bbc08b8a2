"""``repair snapshots``: new snapshots without what is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from restic_format.errors import ResticFormatError
from restic_format.words import visible
from restic_spec import gojson
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import full_text, quoted
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from restic_format.maintenance.repairsnapshots import Outcome, Repaired
    from restic_format.snapshots import FoundSnapshot
    from restic_tools.context import LockMode


def repair_snapshots(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshot ID] [...]", values=("latest",))],
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="do not do anything, just print what would be done")] = False,
    forget: Annotated[bool, Option("--forget", help="remove original snapshots after creating new ones")] = False,
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
) -> None:
    """Repair snapshots

    Scans the given snapshots, or all, and makes new ones without what is damaged. Folders that cannot be read become empty.
    Files that have lost parts keep their length where it can be told: zeros stand for what is missing. The index must be right,
    so run `repair index` first.

    What is lost is lost in the new snapshots as well. If the files are still where they were backed up from, `backup` stores
    them again and heals the old snapshots; that is the better way.
    """
    from restic_format.maintenance.repairsnapshots import SnapshotRepairer
    from restic_format.snapshots import filter_snapshots
    from restic_tools.messages.repair import RepairSnapshotsSummary
    from restic_tools.stages import stoppable

    wanted = snapshot_filter(host, tag, path).absolute()
    printer = _Printer(ctx, dry_run=dry_run)
    lock: LockMode = "none" if dry_run and ctx.options.no_lock else "exclusive"
    # What is damaged in the repository must not look intact because there is a copy of it.
    with ctx.open_repository(lock=lock, options=ctx.options.replaced(no_cache=True)) as repository:
        found = sorted(filter_snapshots(repository, names, wanted, printer.ignored), key=lambda item: (item.time_ns, item.id))
        repository.load_index()
        with stoppable(ctx) as cancel:
            repairer = SnapshotRepairer(repository, dry_run=dry_run, forget=forget, progress=printer.repaired, cancel=cancel)
            try:
                for snapshot in found:
                    printer.begin(snapshot)
                    try:
                        printer.end(snapshot, repairer.repair(snapshot))
                    except ResticFormatError as error:
                        raise Failure(f'unable to rewrite snapshot ID "{snapshot.short_id}": {error}') from error
            finally:
                repairer.close()
    changed = printer.changed
    if ctx.options.json:
        ctx.out.json(RepairSnapshotsSummary("summary", changed, dry_run))
        return
    verb = ("would be modified" if dry_run else "were modified") if not changed else ("would modify" if dry_run else "modified")
    ctx.out.info("\n" + (f"{verb} {changed} snapshots" if changed else f"no snapshots {verb}"), block=True)


class _Printer:
    def __init__(self, ctx: Context, *, dry_run: bool) -> None:
        self._ctx = ctx
        self._dry_run = dry_run
        self._snapshot = ""
        self.changed = 0

    def ignored(self, name: str, error: ResticFormatError) -> None:
        """A snapshot cannot be found or read."""
        self._ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    def begin(self, found: FoundSnapshot) -> None:
        """A snapshot is about to be looked at."""
        snapshot = found.snapshot
        self._snapshot = found.id.hex()
        self._ctx.out.info()
        self._ctx.out.info(
            f"snapshot {found.short_id} of [{' '.join(snapshot.path_list())}] at {full_text(snapshot.time)} "
            f"by {snapshot.username}@{snapshot.hostname}"
        )

    def repaired(self, event: Repaired) -> None:
        """Something is changed in the snapshot."""
        from restic_tools.messages.repair import RepairedItem

        if self._ctx.options.json:
            reason = "" if event.reason is None else visible(str(event.reason))
            change = event.change.name.lower()
            self._ctx.out.json(RepairedItem("repaired", self._snapshot, event.path, change, event.zeros, reason))
        else:
            self._ctx.out.info(f"  {_text(event)}")

    def end(self, found: FoundSnapshot, outcome: Outcome) -> None:
        """The snapshot has been looked at."""
        from restic_tools.messages.repair import RepairedSnapshot

        self.changed += outcome.changed
        if self._ctx.options.json:
            if outcome.changed:
                new = "" if outcome.new is None else outcome.new.hex()
                removed = outcome.removed and not self._dry_run
                self._ctx.out.json(RepairedSnapshot("changed", found.id.hex(), new, removed))
            return
        for line in self._lines(found, outcome):
            self._ctx.out.info(line)

    def _lines(self, found: FoundSnapshot, outcome: Outcome) -> list[str]:
        if outcome.empty:
            if not outcome.removed:
                return ["nothing of it is left; with --forget it is removed"]
            return ["would delete empty snapshot" if self._dry_run else f"removed empty snapshot {found.short_id}"]
        if not outcome.changed:
            return []
        if self._dry_run:
            return ["would save new snapshot", *(["would remove old snapshot"] if outcome.removed else [])]
        assert outcome.new is not None
        lines = [f"saved new snapshot {outcome.new.hex()[:8]}"]
        return [*lines, f"removed old snapshot {found.short_id}"] if outcome.removed else lines


def _text(event: Repaired) -> str:
    from restic_format.maintenance.repairsnapshots import Change

    name = f'"{gojson.quote(event.path)}"'
    if event.change is Change.ZEROS:
        return f"file {name}: removed missing content, {event.zeros} bytes of it are zeros now"
    if event.change is Change.CUT:
        return f"file {name}: removed missing content"
    if event.change is Change.SORTED:
        return f"dir {name}: put its nodes in order"
    if event.change is Change.SIZE:
        return f"file {name}: fixed incorrect size"
    if event.change is Change.ENTRIES:
        return f"dir {name}: kept the entries that can be read"
    if event.change is Change.EMPTIED:
        return f"dir {name}: replaced with empty directory"
    if event.change is Change.UNREADABLE:
        return f"dir {name}: not readable"
    if event.reason is not None:
        return f"dir {name}: removed a node that cannot be used: {event.reason}"
    return f'file {name}: removed node with invalid type "{gojson.quote(event.node_type)}"'
