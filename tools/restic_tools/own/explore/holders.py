"""Pages of keys, locks and index files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import ResticFormatError
from restic_format.repository.keys import load_key
from restic_format.repository.lock import is_stale, read_locks
from restic_format.words import printable
from restic_spec.layout import FileKind
from restic_tools.gotext import canonical, local_text
from restic_tools.own.explore.page import SHORT_ID, Column, Page, counted, size_text

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model


class _Files(Page):
    """Small files of one kind, each a row of texts."""

    file_kind: FileKind

    def __init__(self, model: Model, title: str) -> None:
        super().__init__(model, title)
        self._rows: list[tuple[bytes, Sequence[str], Sequence[str]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, file_id: bytes, cells: Sequence[str], details: Sequence[str]) -> None:
        """Add a row."""
        self._rows.append((file_id, cells, details))

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        return self._rows[number][1]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        return self._rows[number][2]

    def raw(self, number: int) -> Page:
        """The file."""
        from restic_tools.own.explore.regions import file_page

        return file_page(self.model, self.file_kind, self._rows[number][0])

    def open(self, number: int) -> Page:
        """The file, byte by byte."""
        return self.raw(number)


class KeysPage(_Files):
    """The keys, each of which a password opens."""

    kind = "keys"
    opens = "bytes"
    file_kind = FileKind.KEY
    columns = (Column("ID", 9), Column("User", 10), Column("Host", 16), Column("Created", 19), Column("scrypt", 0))

    def __init__(self, model: Model) -> None:
        super().__init__(model, "Keys")

    def load(self, cancel: Cancel) -> None:
        """Read the key files."""
        repository = self.model.repository
        for key_id, size in repository.list(FileKind.KEY):
            cancel.check()
            name = key_id.hex()
            current = "*" if key_id == repository.key_id else " "
            try:
                key = load_key(repository.storage, name)
                created = local_text(canonical(key.created))
                cells = [key.username or "", key.hostname or ""]
                costs = f"N={key.N} r={key.r} p={key.p}"
            except ResticFormatError as error:
                self.tell(f"key {name[:SHORT_ID]}", error)
                self.add(key_id, [current + name[:SHORT_ID], "unreadable", "", "", ""], [f"key {name}"])
                continue
            opened = ", opened with the password that was given" if current == "*" else ""
            lines = [f"key {name}", f"{counted(size, 'byte')}{opened}", f"{printable(key.kdf)}, {costs}"]
            self.add(key_id, [current + name[:SHORT_ID], *map(printable, cells), created, costs], lines)


class LocksPage(_Files):
    """The locks: who uses the repository."""

    kind = "locks"
    opens = "bytes"
    file_kind = FileKind.LOCK
    columns = (Column("ID", 8), Column("Time", 19), Column("Host", 14), Column("User", 10), Column("PID", 8), Column("Kind", 0))
    empty = "no locks"

    def __init__(self, model: Model) -> None:
        super().__init__(model, "Locks")

    def load(self, cancel: Cancel) -> None:
        """Read the locks."""
        for lock_id, lock in read_locks(self.model.repository):
            cancel.check()
            name = lock_id.hex()
            if isinstance(lock, ResticFormatError):
                self.tell(f"lock {name[:SHORT_ID]}", lock)
                self.add(lock_id, [name[:SHORT_ID], "unreadable", "", "", "", ""], [f"lock {name}"])
                continue
            stale = is_stale(lock)
            kind = ("exclusive" if lock.exclusive else "shared") + (", stale" if stale else "")
            cells = [local_text(canonical(lock.time)), printable(lock.hostname), printable(lock.username), str(lock.pid), kind]
            what = "nobody holds it any more: `unlock` removes it" if stale else "held, as far as can be told"
            self.add(lock_id, [name[:SHORT_ID], *cells], [f"lock {name}", what])


class IndexesPage(_Files):
    """The index files."""

    kind = "indexes"
    opens = "bytes"
    file_kind = FileKind.INDEX
    columns = (Column("Index", 64), Column("Size", 11, right=True))
    empty = "no index files"

    def __init__(self, model: Model) -> None:
        super().__init__(model, "Index files")

    def load(self, cancel: Cancel) -> None:
        """List the index files."""
        for file_id, size in self.model.repository.list(FileKind.INDEX):
            cancel.check()
            self.add(file_id, [file_id.hex(), size_text(size)], [counted(size, "byte")])
