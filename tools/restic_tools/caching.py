"""The local cache for commands: which folder, and putting it before a repository."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

from restic_tools.environment import variable
from restic_tools.exitcodes import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from restic_format.errors import StorageError
    from restic_format.repository import Repository
    from restic_tools.globaloptions import GlobalOptions
    from restic_tools.output import Output


def cache_base(options: GlobalOptions) -> str:
    """The folder of all caches: the one given, otherwise ``restic`` in the user's cache folder; ``Failure`` without either."""
    if options.cache_dir:
        return options.cache_dir
    if base := variable("XDG_CACHE_HOME"):
        if not os.path.isabs(base):
            raise Failure("unable to locate cache directory: path in $XDG_CACHE_HOME is relative")
    elif home := variable("HOME"):
        base = os.path.join(home, ".cache")
    else:
        raise Failure("unable to locate cache directory: neither $XDG_CACHE_HOME nor $HOME are defined")
    return os.path.join(base, "restic")


def index_cache_base(options: GlobalOptions) -> str | None:
    """The folder of all caches for the sealed index, None for no cache."""
    if options.no_cache:
        return None
    try:
        return cache_base(options)
    except Failure:
        return None


def use_cache(repository: Repository, options: GlobalOptions, out: Output) -> None:
    """Put the cache before *repository*, unless it is not wanted or of no use; then remove old ones where that is asked for."""
    if options.no_cache:
        repository.use_memory()
        return
    from restic_format.errors import StorageError
    from restic_format.storage.cachefolder import CacheFolder

    try:
        base = cache_base(options)
        if not repository.storage.at_hand:
            folder = CacheFolder(base, repository.id)
            if folder.created:
                out.info_on_terminal(f"created new cache in {base}")
            repository.use_cache(folder, lambda error: out.warn(f"the cache is not written to any more: {error}"))
    except (Failure, StorageError) as error:
        out.warn(f"unable to open cache: {error}")
        repository.use_memory()
        return
    _old_caches(repository, base, options, out)


@contextmanager
def temporary_cache(repository: Repository, base: str, out: Output) -> Iterator[None]:
    """Put a cache before *repository* that is empty, and removed at the end of the ``with`` block, unless it is of no use.
    It is in the folder *base*, if that is there, otherwise where temporary files are.
    """
    if repository.storage.at_hand:
        yield
        return
    import shutil
    import tempfile

    from restic_format.errors import StorageError
    from restic_format.storage.cachefolder import CacheFolder

    try:
        place = tempfile.mkdtemp(prefix="restic-check-cache-", dir=base if base and os.path.isdir(base) else None)
    except OSError as error:
        out.warn(f"unable to create cache directory during check, disabling cache: {error}")
        yield
        return
    try:
        out.info(f"using temporary cache in {place}")
        try:
            repository.use_cache(CacheFolder(place, repository.id))
        except StorageError as error:
            out.warn(f"unable to open cache: {error}")
        yield
    finally:
        for wait in (0.0, 0.1, 0.5):  # What was read ahead for nothing may still be coming.
            time.sleep(wait)
            shutil.rmtree(place, ignore_errors=True)
            if not os.path.lexists(place):
                break
        else:
            out.warn(f"error removing temporary cache directory: {place}")


def _old_caches(repository: Repository, base: str, options: GlobalOptions, out: Output) -> None:
    """Remove the caches that were not used for long, or say that there are some."""
    from restic_format.errors import StorageError
    from restic_format.storage.cachefolder import list_caches, remove_caches

    def failed(path: str, error: StorageError) -> None:
        out.warn(f"unable to remove {path}: {error}")

    if not options.cleanup_cache and not out.stdout_is_terminal:
        return
    try:
        old = [cache for cache in list_caches(base) if cache.is_old() and cache.name != repository.id]
        if not old:
            return
        if options.cleanup_cache:
            out.info_on_terminal(f"removing {len(old)} old cache dirs from {base}")
            remove_caches(base, old, failed)
        else:
            out.info_on_terminal(
                f"found {len(old)} old cache directories in {base}, run `restic-format cache --cleanup` to remove them"
            )
    except StorageError as error:
        out.warn(f"unable to find old cache directories: {error}")
