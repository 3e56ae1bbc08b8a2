"""What the tests of looking at snapshots share: a storage that remembers which files were read."""

from __future__ import annotations

from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind


class WatchedStorage(LocalStorage):
    """Remembers what was read of packs."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.packs: list[bytes] = []
        """The pack of each read."""

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Storage`."""
        if kind is FileKind.PACK:
            self.packs.append(bytes.fromhex(name))
        return super().load(kind, name, offset, length)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """See `Storage`."""
        if kind is FileKind.PACK:
            self.packs.append(bytes.fromhex(name))
        super().load_into(kind, name, offset, target)
