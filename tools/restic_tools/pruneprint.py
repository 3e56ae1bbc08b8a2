"""The options of a prune, and how it is carried out and told: for ``prune`` and ``forget --prune``."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

from restic_format.durations import duration
from restic_tools.context import Context
from restic_tools.declare import Option, OptionGroup
from restic_tools.exitcodes import Failure
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.messages.prune import PruneBlobs, PrunePacks, PruneSizes, PruneSummary
from restic_tools.render import bytes_text

if TYPE_CHECKING:
    from restic_format.maintenance.prune import MaxUnused, PruneEvent, PruneOptions, PrunePlan, PruneResult
    from restic_format.repository import Repository
    from restic_tools.context import LockMode
    from restic_tools.progress import Counter

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class PruneFlags(OptionGroup):
    """The options that ``prune`` and ``forget`` share."""

    max_unused: Annotated[
        str,
        Option(
            "--max-unused",
            metavar="limit",
            help="tolerate this limit of unused data: bytes with suffixes k/K, m/M, g/G, t/T, a value in %, or 'unlimited'",
        ),
    ] = "5%"
    max_repack_size: Annotated[
        str,
        Option(
            "--max-repack-size",
            metavar="size",
            help="stop after repacking this much data in total (suffixes: k/K, m/M, g/G, t/T)",
        ),
    ] = ""
    repack_cacheable_only: Annotated[
        bool, Option("--repack-cacheable-only", help="only repack packs that are cacheable, that is, packs with trees")
    ] = False
    repack_small: Annotated[
        bool,
        Option("--repack-small", deprecated="small packs are repacked anyway, see --repack-smaller-than"),
    ] = False
    repack_smaller_than: Annotated[
        str,
        Option("--repack-smaller-than", metavar="below-limit", help="repack packs that are below this size (suffixes: m/M)"),
    ] = ""
    repack_uncompressed: Annotated[bool, Option("--repack-uncompressed", help="repack all uncompressed data")] = False
    lock_free: Annotated[
        bool,
        Option(
            "--lock-free",
            help="let others go on with their backups: mark what is not needed, and remove what was marked some time ago",
        ),
    ] = False
    keep_delete: Annotated[
        float,
        Option(
            "--keep-delete",
            metavar="duration",
            parser=duration,
            otherwise="23h",
            help="with --lock-free: how long packs stay marked before they are removed, longer than any backup takes",
        ),
    ] = 23 * 3600.0


def prune_options(ctx: Context, flags: PruneFlags, *, recover_no_free_space: bool = False) -> PruneOptions:
    """What the options say. ``Failure`` where they contradict each other."""
    from restic_format.maintenance.prune import PruneOptions

    max_repack = _bytes(flags.max_repack_size, "--max-repack-size") if flags.max_repack_size else None
    small = _bytes(flags.repack_smaller_than, "--repack-smaller-than") if flags.repack_smaller_than else None
    unused = _max_unused(flags.max_unused)
    if small == 0:
        raise Failure("--repack-smaller-than must be larger than zero")
    if flags.repack_uncompressed and ctx.options.compression == "off":
        raise Failure("disabled compression and `--repack-uncompressed` are mutually exclusive")
    if flags.keep_delete < 0:
        raise Failure("--keep-delete must not be negative")
    return PruneOptions(
        max_unused=unused,
        max_repack=max_repack,
        small_pack=small,
        repack_cacheable_only=flags.repack_cacheable_only,
        repack_uncompressed=flags.repack_uncompressed,
        recover_no_free_space=recover_no_free_space,
        lock_free=flags.lock_free,
        keep_delete=flags.keep_delete,
    )


def lock_of(ctx: Context, options: PruneOptions) -> LockMode:
    """The lock that a prune needs."""
    if ctx.options.no_lock:
        return "none"
    return "shared" if options.lock_free else "exclusive"


def _bytes(text: str, option: str) -> int:
    unit = _UNITS.get(text[-1:].lower())
    number = text if unit is None else text[:-1]
    invalid = f'invalid number of bytes "{text}" for {option}: '
    if not re.fullmatch(r"[+-]?[0-9]+", number):
        raise Failure(f'{invalid}strconv.ParseInt: parsing "{number}": invalid syntax')
    size = int(number) * (unit or 1)
    if not -(1 << 63) <= int(number) < 1 << 63:
        raise Failure(f'{invalid}strconv.ParseInt: parsing "{number}": value out of range')
    if not 0 <= size < 1 << 63:
        raise Failure(f'{invalid}ParseSize: "{number}": value out of range')
    return size


def _max_unused(given: str) -> MaxUnused:
    from restic_format.maintenance.prune import MaxUnused

    text = given.strip()
    if not text:
        raise Failure(f'invalid value for --max-unused: "{given}"')
    if text == "unlimited":
        return MaxUnused()
    if not text.endswith("%"):
        return MaxUnused(bytes=_bytes(text, "--max-unused"))
    try:
        if not text.isascii():
            raise ValueError(text)
        percent = float(text[:-1])
    except ValueError:
        raise Failure(
            f'invalid percentage "{given}" passed for --max-unused: strconv.ParseFloat: parsing "{text[:-1]}": invalid syntax'
        ) from None
    if percent < 0:
        raise Failure("percentage for --max-unused must be positive")
    if not percent < 100:
        raise Failure("percentage for --max-unused must be below 100%")
    return MaxUnused(percent=percent)


def run_prune(
    ctx: Context, repository: Repository, options: PruneOptions, *, dry_run: bool, ignore: Collection[bytes] = ()
) -> PruneResult | None:
    """Plan, print the plan and, unless it is a dry run, carry it out; the lock is held by the caller."""
    from restic_format.maintenance.prune import PruneRefused, execute, plan

    printer = _Printer(ctx)
    try:
        made = plan(repository, options, ignore=ignore, progress=printer)
        printer.close()
        _print_plan(ctx, made, dry_run=dry_run)
        if dry_run:
            _print_dry(ctx, made)
            return None
        result = execute(made, progress=printer)
    except PruneRefused as error:
        printer.close()
        for line in error.details:
            _tell_error(ctx, line)
        raise
    finally:
        printer.close()
    if ctx.options.json:
        ctx.out.json(_summary(made, result))
    ctx.out.info("done")
    if options.lock_free:
        ctx.out.info(f"{len(result.marked)} packs are marked, and will be removed by a later run when nothing needs them")
    return result


def _tell_error(ctx: Context, text: str, item: str = "") -> None:
    """What is wrong, on standard error; it does not end the command by itself."""
    if ctx.options.json:
        ctx.out.json_error(ObjectError("error", ErrorText(text), "prune", item))
    else:
        ctx.out.warn(text)


_BEGINNINGS = {
    "snapshots": ("loading all snapshots...", "finding data that is still in use for {} snapshots"),
    "packs": ("searching used packs...", "collecting packs for deletion and repacking"),
    "unreferenced": ("deleting unreferenced packs",),
    "repack": ("repacking packs",),
    "rewrite": ("rebuilding index",),
    "remove": ("removing {} old packs",),
    "remove index": ("deleting index files",),
}
_NOUNS = {
    "snapshots": "snapshots",
    "packs": "packs processed",
    "unreferenced": "files deleted",
    "repack": "packs repacked",
    "rewrite": "indexes processed",
    "remove old index": "old indexes deleted",
    "remove": "files deleted",
    "remove index": "files deleted",
    "save index": "packs processed",
}


class _Printer:
    """Is told what a prune does and prints it, in restic's words."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._stage = ""
        self._counter: Counter | None = None
        self._stack = ExitStack()

    def __call__(self, event: PruneEvent) -> None:
        """Tell what happened; from any thread."""
        from restic_format.maintenance.prune import FileGone, FileStays, PackForgotten, Unindexed
        from restic_format.storage.warming import WarmUp
        from restic_tools.warmprint import tell_warm_up

        out = self._ctx.out
        if isinstance(event, FileGone):
            out.debug(f"removed {event.kind.value}/{event.id.hex()}")
        elif isinstance(event, FileStays):
            item = f"{event.kind.value}/{event.id.hex()}"
            _tell_error(self._ctx, f"unable to remove {item} from the repository: {event.reason}", item)
        elif isinstance(event, PackForgotten):
            text = f"will forget missing pack file {event.id.hex()}: it is in the index, but not needed"
            _tell_error(self._ctx, text, f"data/{event.id.hex()}")
        elif isinstance(event, Unindexed):
            out.verbose(f"will remove pack {event.id.hex()[:8]} as it is unused and not indexed")
        elif isinstance(event, WarmUp):
            if not self._ctx.options.json:
                tell_warm_up(out, event)
        elif event.stage in _NOUNS:
            if event.stage != self._stage:
                self._begin(event.stage, event.total)
            if self._counter is not None:
                self._counter.add(event.done - self._counter.done)

    def _begin(self, stage: str, total: int) -> None:
        self.close()
        self._stage = stage
        for line in _BEGINNINGS.get(stage, ()):
            self._ctx.out.info(line.format(total))
        if not self._ctx.options.json:
            self._counter = self._stack.enter_context(self._ctx.counter(_NOUNS[stage], total))

    def close(self) -> None:
        """Leave the counter's last state on the screen."""
        self._counter = None
        self._stage = ""
        self._stack.close()


def _print_plan(ctx: Context, plan: PrunePlan, *, dry_run: bool) -> None:
    out = ctx.out
    blobs, size, packs = plan.statistics.blobs, plan.statistics.size, plan.statistics.packs
    if dry_run:
        out.info("\nWould have made the following changes:", block=True)
    out.verbose("")
    out.verbose(f"used:         {blobs.used:10} blobs / {bytes_text(size.used)}")
    if blobs.duplicate:
        out.verbose(f"duplicates:   {blobs.duplicate:10} blobs / {bytes_text(size.duplicate)}")
    out.verbose(f"unused:       {blobs.unused:10} blobs / {bytes_text(size.unused)}")
    if size.unreferenced:
        out.verbose(f"unreferenced:                    {bytes_text(size.unreferenced)}")
    out.verbose(f"total:        {blobs.total:10} blobs / {bytes_text(size.total)}")
    out.verbose(f"unused size: {_percent(size.duplicate + size.unused, size.total)} of total size")
    out.info("")
    out.info(f"to repack:    {blobs.repack:10} blobs / {bytes_text(size.repack)}")
    out.info(f"this removes: {blobs.repack_remove:10} blobs / {bytes_text(size.repack_remove)}")
    out.info(f"to delete:    {blobs.remove:10} blobs / {bytes_text(size.remove + size.unreferenced)}")
    out.info(f"total prune:  {blobs.total_remove:10} blobs / {bytes_text(size.total_remove)}")
    if size.uncompressed:
        out.info(f"not yet compressed:              {bytes_text(size.uncompressed)}")
    remaining = size.total - size.total_remove
    out.info(f"remaining:    {blobs.total - blobs.total_remove:10} blobs / {bytes_text(remaining)}")
    after = size.unused_after
    out.info(f"unused size after prune: {bytes_text(after)} ({_percent(after, remaining)} of remaining size)")
    out.info("")
    out.verbose(f"totally used packs: {packs.used:10}")
    out.verbose(f"partly used packs:  {packs.partly_used:10}")
    out.verbose(f"unused packs:       {packs.unused:10}")
    out.verbose("")
    out.verbose(f"to keep:      {packs.keep:10} packs")
    out.verbose(f"to repack:    {packs.repack:10} packs")
    out.verbose(f"to delete:    {packs.remove:10} packs")
    if packs.unreferenced:
        out.verbose(f"to delete:    {packs.unreferenced:10} unreferenced packs")
        out.verbose("")
    if packs.marked or packs.unmark:
        out.verbose(f"marked:       {packs.marked:10} packs not needed, {packs.unmark} needed again")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:3.2f}%" if whole else ""


def _print_dry(ctx: Context, plan: PrunePlan) -> None:
    out = ctx.out
    if ctx.options.json:
        out.json(_summary(plan, None))
    out.verbose(
        "Repeated prune dry-runs can report slightly different amounts of data to keep or repack. This is expected behavior."
    )
    out.verbose("")
    lists = [
        ("unreferenced", sorted(plan.unreferenced)),
        ("", sorted(plan.repack)),
        ("no longer used", sorted(plan.remove)),
    ]
    for what, packs in lists:
        if what == "unreferenced" and not packs:
            continue
        done = "removed the following" if what else "repacked and removed the following"
        out.verbose(f"Would have {done} {what}{' ' if what else ''}packs:")
        out.verbose(f"{{{' '.join(pack.hex()[:8] for pack in packs)}}}")
        out.verbose("")


def _summary(plan: PrunePlan, result: PruneResult | None) -> PruneSummary:
    """The message at the end; without a result, of a dry run."""
    blobs, size, packs = plan.statistics.blobs, plan.statistics.size, plan.statistics.packs
    return PruneSummary(
        "summary",
        result is None,
        PruneBlobs(blobs.used, blobs.duplicate, blobs.unused, blobs.remove, blobs.repack, blobs.repack_remove, blobs.total),
        PruneSizes(
            size.used,
            size.duplicate,
            size.unused,
            size.remove,
            size.repack,
            size.repack_remove,
            size.unreferenced,
            size.uncompressed,
            size.total,
        ),
        PrunePacks(packs.used, packs.unused, packs.partly_used, packs.unreferenced, packs.keep, packs.repack, packs.remove),
        0 if result is None else len(result.removed),
        0 if result is None else len(result.not_removed),
        0 if result is None else len(result.marked),
        0 if result is None else len(result.unmarked),
    )
