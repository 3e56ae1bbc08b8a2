"""``cache``: list the local caches, and remove those that nobody has used for long."""

from __future__ import annotations

import os
import time
from typing import Annotated

from restic_format.errors import StorageError
from restic_format.storage.cachefolder import Cache, list_caches, remove_caches, size_of
from restic_spec import gotime
from restic_tools.argv import parse_uint
from restic_tools.caching import cache_base
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.messages import encode_message
from restic_tools.messages.cache import CacheInfo, CachesRemoved
from restic_tools.render import Table, bytes_text

DAY = 24 * 3600


def cache(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="")],
    cleanup: Annotated[bool, Option("--cleanup", help="remove old caches")] = False,
    max_age: Annotated[
        int, Option("--max-age", metavar="days", parser=parse_uint, help="caches are old that were not used for so many days")
    ] = 30,
    no_size: Annotated[bool, Option("--no-size", help="do not show the sizes of caches")] = False,
) -> None:
    """List and remove local caches

    A cache holds what is read most often of a repository: its indexes and snapshots, and the packs with the contents of
    directories. restic and this program share it. It can be removed at any time.
    """
    if words:
        raise Failure(
            "the cache command expects no arguments, only options - please see `restic-format help cache` for usage and flags"
        )
    if ctx.options.no_cache:
        raise Failure("Refusing to do anything, the cache is disabled")
    base = cache_base(ctx.options)
    caches = list_caches(base)
    if cleanup or ctx.options.cleanup_cache:
        _remove(ctx, base, [found for found in caches if found.is_old(max_age * DAY)])
    elif ctx.options.json:
        ctx.out.write(encode_message([_info(base, found, max_age, with_size=not no_size) for found in caches]) + b"\n")
    elif not caches:
        ctx.out.line(f"no cache dirs found, basedir is {base}")
    else:
        table = Table(["Repo ID", "Last Used", "Old", *([] if no_size else ["Size"])])
        for found in caches:
            table.add(_row(base, found, max_age, with_size=not no_size))
        ctx.out.line(table.text().rstrip("\n"), block=True)
        ctx.out.line(f"{len(caches)} cache dirs in {base}")


def _remove(ctx: Context, base: str, old: list[Cache]) -> None:
    failed = []

    def keep(path: str, error: StorageError) -> None:
        failed.append(os.path.basename(path))
        ctx.out.warn(f"unable to remove {path}: {error}")

    if old:
        ctx.out.info(f"remove {len(old)} old cache directories")
    else:
        ctx.out.info("no old cache dirs found")
    remove_caches(base, old, keep)
    if ctx.options.json:
        removed = [found.name for found in old if found.name not in failed]
        ctx.out.json(CachesRemoved("summary", removed, failed))


def _row(base: str, found: Cache, max_age: int, *, with_size: bool) -> list[str]:
    name = found.name if found.name.startswith("restic-check-cache-") else found.name[:10]
    days = max(int((time.time() - found.used) // DAY), 0)
    row = [name, f"{days} days ago", "yes" if found.is_old(max_age * DAY) else ""]
    return [*row, f"{bytes_text(size_of(base, found)):>11}"] if with_size else row


def _info(base: str, found: Cache, max_age: int, *, with_size: bool) -> CacheInfo:
    used = gotime.format_ns(int(found.used * gotime.NS))
    return CacheInfo(found.name, used, found.is_old(max_age * DAY), size_of(base, found) if with_size else None)
