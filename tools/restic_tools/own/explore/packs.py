"""Pages of packs and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import ResticFormatError
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry
from restic_tools.own.explore.page import SHORT_ID, Column, Page, counted, share_text, size_text

if TYPE_CHECKING:
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model

_CHECK_EVERY = 1 << 8


class PacksPage(Page):
    """The packs in the storage."""

    kind = "packs"
    columns = (Column("Pack", 64), Column("Size", 11, right=True))
    empty = "no packs"

    def __init__(self, model: Model) -> None:
        super().__init__(model, "Packs")
        self._ids: list[bytes] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def load(self, cancel: Cancel) -> None:
        """List the packs."""
        for pack, size in self.model.repository.list(FileKind.PACK):
            cancel.check()
            self._sizes.append(size)
            self._ids.append(pack)

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        return [self._ids[number].hex(), size_text(self._sizes[number])]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        listed = self.model.repository.index.has_pack(self._ids[number])
        told = "listed in an index" if listed else "not listed in any index: run repair index"
        return [f"{counted(self._sizes[number], 'byte')}, {told}"]

    def open(self, number: int) -> Page:
        """Its blobs."""
        return PackPage(self.model, self._ids[number])

    def raw(self, number: int) -> Page:
        """The pack's file."""
        from restic_tools.own.explore.regions import file_page

        return file_page(self.model, FileKind.PACK, self._ids[number])


class PackPage(Page):
    """The blobs of a pack: as its header lists them, or where that cannot be read as the index has them."""

    kind = "pack"
    opens = "bytes"
    columns = (
        Column("Blob", 12),
        Column("Type", 4),
        Column("Offset", 12, right=True),
        Column("Stored", 11, right=True),
        Column("Length", 11, right=True),
        Column("Ratio", 8, right=True),
    )
    empty = "nothing is known of this pack"

    def __init__(self, model: Model, pack: bytes, select: bytes | None = None) -> None:
        """With *select* the cursor is put on the blob of that id."""
        super().__init__(model, f"Pack {pack.hex()[:16]}")
        self.pack = pack
        self._select = select
        self._entries: list[PackEntry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, cancel: Cancel) -> None:
        """Read the header."""
        repository = self.model.repository
        try:
            size = repository.storage.size(FileKind.PACK, self.pack.hex())
            entries = repository.packs.header(self.pack, size)
            self.note = f"{counted(size, 'byte')}, {counted(len(entries), 'blob')}"
        except ResticFormatError as error:
            self.tell("", error)
            self.note = "as the index has it"
            entries = [entry for _, found in repository.index.by_pack({self.pack}) for entry in found]
        cancel.check()
        if self._select is not None and not self.cursor:
            self.cursor = next((number for number, entry in enumerate(entries) if entry.id == self._select), 0)
        self._entries = entries

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        entry = self._entries[number]
        return [
            entry.id.hex()[:SHORT_ID],
            entry.type.value,
            f"{entry.offset:,}",
            size_text(entry.length),
            size_text(entry.plain_length),
            share_text(entry.length, entry.plain_length),
        ]

    def details(self, number: int) -> Sequence[str]:
        """See `Page`."""
        entry = self._entries[number]
        how = "compressed" if entry.uncompressed_length is not None else "not compressed"
        return [f"{entry.type.value} blob {entry.id.hex()}", f"{counted(entry.length, 'byte')} at {entry.offset:,}, {how}"]

    def open(self, number: int) -> Page:
        """The blob, byte by byte."""
        return self.raw(number)

    def raw(self, number: int) -> Page:
        """The blob, byte by byte."""
        from restic_tools.own.explore.regions import blob_page

        entry = self._entries[number]
        return blob_page(self.model, entry.type, entry.id, self.pack)

    def users(self, number: int) -> Page:
        """Which files and directories have the blob."""
        from restic_tools.own.explore.searching import UsersPage

        entry = self._entries[number]
        return UsersPage(self.model, entry.type, entry.id)
