"""Reading single blobs for a check, with errors that say which copy in which pack is bad."""

from __future__ import annotations

from enum import Enum

from restic_format.check.state import Run
from restic_format.errors import FileMissing, FileUnusable, StorageError
from restic_format.repository.coder import check_size
from restic_spec.errors import CompressionInvalid, IdMismatch, LengthInvalid, MacInvalid, ResticFormatError, SpecError
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry


class Trouble(Enum):
    """Why a blob cannot be read."""

    UNKNOWN = "no index lists it"
    GONE = "its pack is missing, or too short for it"
    UNREADABLE = "the storage does not give it back"
    DAMAGED = "it is not what it must be"


class BlobFault(ResticFormatError):
    """A blob, or one copy of it, cannot be read."""

    def __init__(self, what: str, trouble: Trouble, *, clause: str = "", pack: bytes = b"") -> None:
        super().__init__(what, clause=clause, pack=pack)
        self.trouble = trouble


def read_blob(run: Run, kind: BlobType, ident: bytes) -> tuple[bytes, list[BlobFault]]:
    """The blob's plaintext, from the first copy that is good, and the faults of the copies tried before it.

    Raises:
        BlobFault: there is no good copy; where one could not be read that may be good, this is what is raised.
    """
    faults: list[BlobFault] = []
    for location in run.repo.index.lookup_all(kind, ident):
        try:
            return read_copy(run, location.pack, location.entry(kind, ident)), faults
        except BlobFault as fault:
            faults.append(fault)
    if faults:
        raise next((fault for fault in faults if fault.trouble is Trouble.UNREADABLE), faults[-1])
    raise BlobFault(f"id {ident.hex()} not found in repository", Trouble.UNKNOWN)


def read_copy(run: Run, pack: bytes, entry: PackEntry) -> bytes:
    """The plaintext of one copy of a blob.

    Raises:
        BlobFault: the storage does not give it, or it is not what it should be.
    """
    place = f"<data/{pack.hex()[:10]}>"
    try:
        check_size(entry)
    except SpecError as error:
        raise BlobFault(describe(error, pack, entry), Trouble.DAMAGED, clause=error.clause, pack=pack) from error
    try:
        if entry.type is BlobType.TREE:
            run.repo.storage.prepare(FileKind.PACK, pack.hex(), run.file_sizes.get(pack))
        sealed = run.repo.storage.load(FileKind.PACK, pack.hex(), entry.offset, entry.length)
    except (StorageError, OSError) as error:
        trouble = Trouble.GONE if isinstance(error, FileMissing | FileUnusable) else Trouble.UNREADABLE
        raise BlobFault(f"ReadFull({place}): {error}", trouble, clause="PACK-1", pack=pack) from error
    try:
        return run.repo.coder.open(entry, memoryview(sealed))
    except ResticFormatError as error:
        what = describe(error, pack, entry)
        raise BlobFault(what, Trouble.DAMAGED, clause=error.clause, pack=pack) from error


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
