"""What a command reads first, asked for while its lock is not certain yet: there is time then, and nothing else to do.

Nothing of it is relied on before the lock is certain. Then the files are listed once more, all kinds at the same time. Where
that gives what was listed before, one kind after the other, no snapshot needs an index that was not seen (ORDER-2); else the
indexes are listed again, after the snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from restic_format.storage.cache import CachedStorage, without_cache
from restic_format.storage.retrying import impatient
from restic_format.work import Later, WorkerPool
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.repository.loading import LoadedIndex
    from restic_format.repository.repository import Repository

Listing = Sequence[tuple[str, int]]
"""Names and sizes of files."""


class FirstReads:
    """The files of *kinds*: listed, and fetched into the cache if there is one, from `begin` on, until `settle` or `stop`. With
    *load_index* the index is loaded then, too.

    What goes wrong before that is not told, and asked again when it is wanted.
    """

    def __init__(self, repository: Repository, kinds: Sequence[FileKind], *, load_index: bool = False) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._ahead = impatient(without_cache(repository.storage))
        self._kinds = kinds
        self._load_index = load_index
        self._seen: dict[FileKind, Listing] = {}
        self._stopped = False
        self._reading: Later[LoadedIndex | None] | None = None

    def begin(self) -> None:
        """Begin to read, the first time; what was read for one try at the lock is good enough for the next."""
        if self._reading is None:
            self._reading = Later(self._read, name="first reads")

    def _read(self) -> LoadedIndex | None:
        """Read everything; the index, if that was loaded."""
        for kind in self._kinds:
            self._seen[kind] = list(self._ahead.list(kind))
        if not isinstance(self._storage, CachedStorage):
            return None
        for kind in self._kinds:
            self._fetch(self._storage, kind, [name for name, _ in self._seen[kind]])
        if self._stopped or not self._load_index:
            return None
        return self._repository.load_index_ahead(self._seen[FileKind.INDEX])

    def _fetch(self, cached: CachedStorage, kind: FileKind, names: Sequence[str]) -> None:
        def fetch() -> None:
            for name in shared:
                if self._stopped:
                    return
                cached.keep(kind, name, self._ahead)

        pool = WorkerPool("first reads", cached.readers, fetch)
        shared: Iterable[str] = pool.share(names)
        with pool:
            pass

    def stop(self) -> None:
        """Begin with nothing more; what is under way is fetched to its end."""
        self._stopped = True

    def settle(self) -> dict[FileKind, Later[Listing]]:
        """The files of each kind as they are now, to be listed at the same time. The lock is certain."""
        self.stop()
        seen = dict(self._seen)
        # Whoever has not even listed by now is not waited for.
        self._repository.index_ahead = self._reading if self._load_index and FileKind.INDEX in seen else None
        listed = {kind: Later(partial(self._list, kind), name=f"list {kind.value}") for kind in self._kinds}

        def indexes() -> Listing:
            found = {kind: listing.get() for kind, listing in listed.items()}
            if all(kind in seen and set(files) == set(seen[kind]) for kind, files in found.items()):
                return found[FileKind.INDEX]
            return self._list(FileKind.INDEX)

        if FileKind.INDEX not in listed:
            return listed
        return {**listed, FileKind.INDEX: Later(indexes, name="indexes")}

    def _list(self, kind: FileKind) -> Listing:
        return list(self._storage.list(kind))
