"""Packs with trees, on their way into the cache before the walk comes to them: a check wants nearly all of their trees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from restic_format.check.state import Run
from restic_format.work import WorkerPool
from restic_spec.layout import FileKind


@contextlib.contextmanager
def fetching_trees(run: Run) -> Iterator[None]:
    """Fetch packs that hold nothing but trees for the length of a ``with`` block, unless they are at hand or only some
    snapshots are looked at. Without a cache nothing comes of it. Packs in which there are data as well are fetched by the walk.
    """
    storage = run.repo.storage
    if storage.at_hand or run.options.filtered:
        yield
        return
    packs = [pack.id for pack in run.repo.index.packs(run.file_sizes) if pack.holds_trees()]

    def fetch() -> None:
        for pack in shared:
            storage.prepare(FileKind.PACK, pack.hex(), run.file_sizes[pack])

    pool = WorkerPool("trees", storage.readers, fetch, cancel=run.cancel)
    shared: Iterable[bytes] = pool.share(packs)
    pool.start()
    try:
        yield
    finally:
        pool.stop()
        pool.join()
