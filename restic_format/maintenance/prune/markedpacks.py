"""Packs that are marked for deletion, as rustic marks them (RUSTIC-2, RUSTIC-9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from restic_format.repository import Repository
from restic_format.repository.index import MarkedPack
from restic_format.repository.indexwriter import load_index_file
from restic_spec import gotime
from restic_spec.errors import SpecError
from restic_spec.index import entries_of
from restic_spec.layout import FileKind


def load_marked(repository: Repository) -> dict[bytes, MarkedPack]:
    """Take the blobs of packs that are marked for deletion into the index in memory, and give these packs.

    A pack that another record lists as in use is not marked.
    """
    index = repository.index
    marked = {pack: state for pack, state in index.marked.items() if not index.has_pack(pack)}
    if not marked:
        return {}
    left = set(marked)
    for file_id, _ in list(repository.list(FileKind.INDEX)):
        for record in load_index_file(repository, file_id).packs_to_delete:
            pack = bytes.fromhex(record.id)
            if pack in left:
                index.add_pack(pack, entries_of(record))
                left.discard(pack)
    return marked


def overdue_packs(
    marked: Mapping[bytes, MarkedPack], unused: Iterable[bytes], now_ns: int, keep_delete: float
) -> tuple[list[bytes], list[bytes]]:
    """Which of the *unused* packs have been *marked* for *keep_delete* seconds, and of which it cannot be told since when."""
    before = now_ns - int(keep_delete * gotime.NS)
    times = {pack: _since(marked[pack]) for pack in unused}
    return [pack for pack, since in times.items() if since is not None and since <= before], [
        pack for pack, since in times.items() if since is None
    ]


def _since(pack: MarkedPack) -> int | None:
    if pack.time is None:
        return None
    try:
        return gotime.parse_ns(pack.time)
    except SpecError:
        return None
