"""Bringing packs back from cold storage before they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from restic_format.repository.repository import Repository
from restic_format.storage.warming import WarmUp
from restic_format.work import Cancel


def make_ready(
    repository: Repository,
    packs: Collection[bytes],
    told: Callable[[WarmUp], object],
    cancel: Cancel | None = None,
    *,
    sizes: Mapping[bytes, int] | None = None,
    only_tell: bool = False,
) -> None:
    """See to it that *packs* can be read, where they are in cold storage; *told* hears first how much that is.

    *sizes* are the bytes of packs, where the caller knows them better than the index. With *only_tell* nothing is asked for.

    Raises:
        FileCold: they were asked for, but cannot be read after the longest time to wait.
        StorageError: the storage fails.
        Interrupted: it was cancelled while waiting; the packs come all the same.
    """
    warming = repository.storage.warming
    if warming is None or not packs:
        return
    cancel = cancel or Cancel()
    cold = warming.cold([pack.hex() for pack in packs], cancel)
    if not cold:
        return
    told(WarmUp(len(cold), _size(repository, {bytes.fromhex(name) for name in cold}, sizes or {})))
    if not only_tell:
        warming.begin(cold, cancel)
        warming.wait(cold, cancel)


def _size(repository: Repository, packs: set[bytes], sizes: Mapping[bytes, int]) -> int:
    """The bytes of *packs*, by *sizes* or else by what the index lists in them."""
    known = sum(sizes[pack] for pack in packs if pack in sizes)
    others = {pack for pack in packs if pack not in sizes}
    return known + sum(entry.length for _, entries in repository.index.by_pack(others) for entry in entries)
