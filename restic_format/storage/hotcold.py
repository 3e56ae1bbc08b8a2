"""A repository in two places, as rustic keeps it: everything in the cold one, and what is read often in the hot one as well.

The cold half is a whole repository, which any program can read; its packs with data may be in storage from which nothing can be
read at once. The hot half has all files but these packs. It is written first, so that what the cold half lists can be
read, and removed from last. What it lacks is read from the cold half.

The config is another one in each half: the hot one says that it is the hot half (RUSTIC-1). This module stores it in the cold
half only; `restic_format.repository.halves` sees to the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from restic_format.errors import FileCold, FileMissing
from restic_format.storage.base import Content, Storage, WrappedStorage, Writer
from restic_format.storage.side import SideFiles
from restic_format.storage.transport import DIRECT, Transport
from restic_format.storage.warming import Warming
from restic_format.storage.warmup import RuledWarming, WarmUpRules
from restic_spec.layout import FileKind


class HotColdStorage(Storage):
    """A repository whose halves are *cold* and *hot*; packs of the cold one are brought back by *rules*, or as itself does."""

    def __init__(self, cold: Storage, hot: Storage, rules: WarmUpRules | None = None, transport: Transport = DIRECT) -> None:
        self.cold = cold
        self.hot = hot
        self._warming = None
        if rules is not None and rules.wanted:
            self._warming = RuledWarming(cold, rules, transport, lambda name: name in self.hot_packs())
        self._lock = threading.Lock()
        self._packs: set[str] | None = None

    @property
    def location(self) -> str:
        """The cold half's: it is the repository."""
        return self.cold.location

    @property
    def connections(self) -> int:
        """The cold half's."""
        return self.cold.connections

    @property
    def readers(self) -> int:
        """As many as the slower half wants."""
        return max(self.cold.readers, self.hot.readers)

    @property
    def lists_at_once(self) -> bool:
        """The cold half's, which is what is listed."""
        return self.cold.lists_at_once

    @property
    def at_hand(self) -> bool:
        """Whether both are."""
        return self.cold.at_hand and self.hot.at_hand

    @property
    def warming(self) -> Warming | None:
        """What brings packs of the cold half back."""
        return self._warming or self.cold.warming

    def has_place(self, kind: FileKind) -> bool:
        """Whether both halves have it."""
        return self.cold.has_place(kind) and self.hot.has_place(kind)

    def create(self) -> None:
        """Make both places ready."""
        self.cold.create()
        self.hot.create()

    def uncreate(self) -> None:
        """Remove what `create` has made."""
        self.hot.uncreate()
        self.cold.uncreate()

    def _is_hot(self, kind: FileKind, *, metadata: bool) -> bool:
        return kind is not FileKind.CONFIG and (metadata or kind is not FileKind.PACK)

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file where it belongs, in the hot half first."""
        if self._is_hot(kind, metadata=metadata):
            self.hot.save(kind, name, data, metadata=metadata)
            self._note(kind, name)
        self.cold.save(kind, name, data, metadata=metadata)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file that is not there: the cold half decides who is first."""
        self.cold.save_new(kind, name, data)
        if self._is_hot(kind, metadata=False):
            self.hot.save(kind, name, data)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file where it belongs."""
        cold = self.cold.begin(kind, metadata=metadata)
        if not self._is_hot(kind, metadata=metadata):
            return cold
        return _BothWriter(self.hot.begin(kind, metadata=metadata), cold, lambda name: self._note(kind, name))

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range from the half that it is quicker to read from."""
        if not self._reads_hot(kind, name):
            try:
                return self.cold.load(kind, name, offset, length)
            except FileCold as error:
                # Another program may have stored it since; or it is a config, whose other half says the same.
                with suppress(FileMissing):
                    return self.hot.load(kind, name, offset, length)
                raise error
        with suppress(FileMissing):
            return self.hot.load(kind, name, offset, length)
        return self.cold.load(kind, name, offset, length)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Read a range from the half that it is quicker to read from."""
        if self._reads_hot(kind, name):
            with suppress(FileMissing):
                self.hot.load_into(kind, name, offset, target)
                return
        self.cold.load_into(kind, name, offset, target)

    def _reads_hot(self, kind: FileKind, name: str) -> bool:
        if kind is not FileKind.PACK:
            return kind is not FileKind.CONFIG
        return name in self.hot_packs()

    def hot_packs(self) -> set[str]:
        """The names of the packs in the hot half, which are listed once."""
        with self._lock:
            if self._packs is None:
                self._packs = {name for name, _ in self.hot.list(FileKind.PACK)}
            return self._packs

    def _note(self, kind: FileKind, name: str) -> None:
        with self._lock:
            if kind is FileKind.PACK and self._packs is not None:
                self._packs.add(name)

    def prepare(self, kind: FileKind, name: str, size: int | None = None) -> None:
        """See `Storage`."""
        (self.hot if self._reads_hot(kind, name) else self.cold).prepare(kind, name, size)

    def path(self, kind: FileKind, name: str) -> str:
        """Where the file is in the cold half."""
        return self.cold.path(kind, name)

    def size(self, kind: FileKind, name: str) -> int:
        """Bytes of a file, by the cold half."""
        return self.cold.size(kind, name)

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether the cold half has a file."""
        return self.cold.exists(kind, name)

    def written(self, kind: FileKind, name: str) -> int | None:
        """When the file was written to the cold half."""
        return self.cold.written(kind, name)

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """What the cold half has."""
        return self.cold.list(kind)

    def strays(self) -> Iterator[str]:
        """Those of the cold half."""
        return self.cold.strays()

    def load_stray(self, path: str) -> bytes:
        """See `Storage`."""
        return self.cold.load_stray(path)

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file, from the hot half last."""
        self.cold.remove(kind, name)
        if kind is FileKind.CONFIG or self._reads_hot(kind, name):
            with suppress(FileMissing):
                self.hot.remove(kind, name)
            with self._lock:
                if kind is FileKind.PACK and self._packs is not None:
                    self._packs.discard(name)

    def side_files(self, folder: str) -> SideFiles:
        """Those of the hot half: they are read again."""
        return self.hot.side_files(folder)

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove what killed writers have left in both halves."""
        return self.cold.remove_unfinished(age, is_safe) + self.hot.remove_unfinished(age, is_safe)


class _BothWriter:
    """Writes a file to both halves, and names it in the hot one first."""

    def __init__(self, hot: Writer, cold: Writer, done: Callable[[str], None]) -> None:
        self._hot, self._cold, self._done = hot, cold, done
        self.contents = hot.contents

    def append(self, data: Content) -> None:
        """See `Writer`."""
        self._hot.append(data)
        self._cold.append(data)

    def finish(self, name: str) -> None:
        """See `Writer`."""
        self._hot.finish(name)
        self._done(name)
        self._cold.finish(name)

    def abort(self) -> None:
        """See `Writer`."""
        self._hot.abort()
        self._cold.abort()


def halves(storage: Storage) -> HotColdStorage | None:
    """The two halves behind *storage*; None where the repository is in one place."""
    while isinstance(storage, WrappedStorage):
        storage = storage.inner
    return storage if isinstance(storage, HotColdStorage) else None
