"""Reading single blobs for a check, with errors that say which copy in which pack is bad."""

from __future__ import annotations

from restic_format.errors import StorageError
from restic_format.repository import Repository
from restic_format.repository.coder import check_size
from restic_spec.errors import (
    CompressionInvalid,
    IdMismatch,
    LengthInvalid,
    MacInvalid,
    ResticFormatError,
    SpecError,
)
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry


class BlobFault(ResticFormatError):
    """A blob, or one copy of it, cannot be read.

    ``missing``: no index names it. ``pack``: the pack of the copy, b"" where there is none.
    """

    def __init__(self, what: str, *, clause: str = "", missing: bool = False, pack: bytes = b"") -> None:
        super().__init__(what)
        self.clause = clause
        self.missing = missing
        self.pack = pack


def read_blob(repo: Repository, kind: BlobType, ident: bytes) -> tuple[bytes, list[BlobFault]]:
    """The blob's plaintext, from the first copy that is good, and the faults of the copies tried before it.

    Raises:
        BlobFault: there is no good copy.
    """
    faults: list[BlobFault] = []
    for location in repo.index.lookup_all(kind, ident):
        entry = PackEntry(kind, ident, location.offset, location.length, location.uncompressed_length)
        try:
            return read_copy(repo, location.pack, entry), faults
        except BlobFault as fault:
            faults.append(fault)
    if faults:
        raise faults[-1]
    raise BlobFault(f"id {ident.hex()} not found in repository", missing=True)


def read_copy(repo: Repository, pack: bytes, entry: PackEntry) -> bytes:
    """The plaintext of one copy of a blob.

    Raises:
        BlobFault: the storage does not give it, or it is not what it should be.
    """
    place = f"<data/{pack.hex()[:10]}>"
    try:
        check_size(entry)
    except SpecError as error:
        raise BlobFault(describe(error, pack, entry), clause=error.clause, pack=pack) from error
    try:
        sealed = repo.storage.load(FileKind.PACK, pack.hex(), entry.offset, entry.length)
    except (StorageError, OSError) as error:
        raise BlobFault(f"ReadFull({place}): {error}", clause="PACK-1", pack=pack) from error
    if len(sealed) < entry.length:
        raise BlobFault(f"ReadFull({place}): file is too short", clause="PACK-1", pack=pack)
    try:
        return repo.open_blob(entry, memoryview(sealed))
    except ResticFormatError as error:
        raise BlobFault(describe(error, pack, entry), clause=clause_of(error), pack=pack) from error


def describe(error: ResticFormatError, pack: bytes, entry: PackEntry) -> str:
    """What is wrong with a blob that could not be opened, in one line."""
    blob = f"<{entry.type.value}/{entry.id.hex()[:8]}>"
    if isinstance(error, MacInvalid):
        return f"decrypting blob {blob} from pack {pack.hex()} failed: ciphertext verification failed"
    if isinstance(error, IdMismatch):
        return f"read blob {blob} from pack {pack.hex()}: wrong data returned, {error.what}"
    if isinstance(error, CompressionInvalid | LengthInvalid):
        return f"decompressing blob {blob} from pack {pack.hex()} failed: {error.what}"
    return f"blob {blob} from pack {pack.hex()}: {error}"


def clause_of(error: BaseException) -> str:
    """The clause an error says is broken, "" where it says none."""
    return error.clause if isinstance(error, SpecError) else ""
