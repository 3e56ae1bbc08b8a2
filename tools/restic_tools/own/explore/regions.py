"""Pages of what is stored, byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.errors import BlobMissing
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_tools.own.explore.content import HexPage
from restic_tools.own.explore.page import SHORT_ID, Page
from restic_tools.own.explore.searching import kind_text

if TYPE_CHECKING:
    from restic_tools.own.explore.model import Model


def file_page(model: Model, kind: FileKind, file_id: bytes) -> Page:
    """The bytes of a file of the repository. Raises what the storage raises."""
    storage, name = model.repository.storage, file_id.hex()
    size = storage.size(kind, name)
    title = f"{kind_text(kind)} {name[:SHORT_ID]}"
    return HexPage(model, title, lambda offset, length: storage.load(kind, name, offset, length), size)


def blob_page(model: Model, kind: BlobType, blob: bytes, pack: bytes | None = None) -> Page:
    """The bytes of a blob in a pack, as they are stored.

    Raises:
        BlobMissing: no index knows it.
        StorageError: what the storage raises.
    """
    copies = model.repository.index.lookup_all(kind, blob)
    copy = next((copy for copy in copies if pack in (None, copy.pack)), None)
    if copy is None:
        raise BlobMissing.of(kind, blob.hex())
    storage, name = model.repository.storage, copy.pack.hex()
    return HexPage(
        model,
        f"{kind_text(kind)} {blob.hex()[:SHORT_ID]} in pack {name[:SHORT_ID]}",
        lambda offset, length: storage.load(FileKind.PACK, name, copy.offset + offset, length),
        copy.length,
    )
