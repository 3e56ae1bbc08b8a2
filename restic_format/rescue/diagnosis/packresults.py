"""What reading a pack showed, as bytes: for the file that a diagnosis keeps, and from workers on other machines."""

from __future__ import annotations

import msgspec

from restic_format.check.findings import Fault, ObjectKind, ObjectRef
from restic_format.check.packreader import Outcome, PackResult
from restic_spec.pack import BlobType, PackEntry


class _Fault(msgspec.Struct, array_like=True):
    kind: str
    name: str
    pack: str
    detail: str
    clause: str


class Entry(msgspec.Struct, array_like=True):
    """A blob in a pack."""

    kind: str
    id: bytes
    offset: int
    length: int
    uncompressed: int | None

    @classmethod
    def of(cls, entry: PackEntry) -> Entry:
        """An entry of a pack."""
        return cls(entry.type.value, *entry[1:])

    def entry(self) -> PackEntry:
        """Reverse `of`. Raises `ValueError` for a type there is not."""
        return PackEntry(BlobType(self.kind), self.id, self.offset, self.length, self.uncompressed)


class _Result(msgspec.Struct, array_like=True):
    outcome: str
    bytes_read: int
    hash: bytes
    unreadable: str
    faults: list[_Fault]
    bad: list[Entry]
    lengths: list[Entry]
    holds: list[Entry] | None


def encode_result(result: PackResult) -> bytes:
    """All of *result* but the pack's id."""
    made = _Result(
        result.outcome.value,
        result.bytes_read,
        result.hash,
        _text(result.unreadable),
        [
            _Fault(fault.object.kind.value, _text(fault.object.name), fault.object.pack, _text(fault.detail), fault.clause)
            for fault in result.faults
        ],
        [Entry.of(entry) for entry in result.bad],
        [Entry.of(entry) for entry in result.lengths],
        None if result.holds is None else [Entry.of(entry) for entry in result.holds],
    )
    return msgspec.msgpack.encode(made)


def decode_result(pack: bytes, raw: bytes) -> PackResult:
    """What `encode_result` made of the result for *pack*.

    Raises:
        ValueError: it did not.
    """
    found = msgspec.msgpack.decode(raw, type=_Result)
    return PackResult(
        pack,
        found.bytes_read,
        Outcome(found.outcome),
        [
            Fault(ObjectRef(ObjectKind(fault.kind), fault.name, fault.pack), fault.detail, fault.clause)
            for fault in found.faults
        ],
        found.unreadable,
        [entry.entry() for entry in found.bad],
        [entry.entry() for entry in found.lengths],
        found.hash,
        None if found.holds is None else [entry.entry() for entry in found.holds],
    )


def _text(text: str) -> str:
    """Text without what cannot be UTF-8, such as names of files in errors of the system."""
    return text.encode("utf-8", "backslashreplace").decode()
