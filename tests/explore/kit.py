"""What the tests of looking at snapshots share: a source that changes, and a storage that remembers which files were read."""

from __future__ import annotations

import os
import random
from pathlib import Path

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


def change(folder: Path, source: random.Random) -> None:
    """Some steps that make files equal, linked, longer, moved, gone, or of other types."""
    for _ in range(12):
        directory = folder / source.choice(["", "a", "a/b", "c"])
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"f{source.randrange(12)}"
        files = sorted(found for found in folder.rglob("f*") if found.is_file() and not found.is_symlink())
        other = source.choice(files) if files else None
        what = source.randrange(7)
        if os.path.lexists(path) and what != 0:
            path.unlink()
        if what == 0:
            with open(path, "ab") as file:
                file.write(source.randbytes(source.choice([0, 10, 500])))
        elif what == 1 and other is not None and other.exists():
            os.link(other, path)
        elif what == 2 and other is not None and other.exists():
            path.write_bytes(other.read_bytes())
        elif what == 3:
            path.symlink_to("f1")
        elif what == 4:
            os.mkfifo(path)
        elif what == 5:
            path.write_bytes(b"")
        else:
            path.write_bytes(b"same")
