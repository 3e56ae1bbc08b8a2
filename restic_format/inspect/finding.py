"""Which object of a repository a target means: by kind and id, or by the beginning of an id, whatever it is the id of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from restic_format.errors import ResticFormatError
from restic_format.inspect.access import Access, Trouble
from restic_format.inspect.target import FILE_KINDS, ObjectKind, Place, Target, TargetInvalid
from restic_format.repository.index import Location
from restic_format.snapshots import find_snapshot
from restic_spec.ids import is_hex_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

BLOB_TYPES = {ObjectKind.BLOB: BlobType.DATA, ObjectKind.TREE: BlobType.TREE}

_SHOWN = 5
"""Candidates that an error names."""
_MORE_DIGITS = 8
"""How many digits of a candidate are shown beyond those that were given."""


class Found(NamedTuple):
    """An object of a repository."""

    kind: ObjectKind
    id: bytes
    """b"" of the config."""
    places: tuple[Location, ...] = ()
    """Of a blob: every copy that an index lists."""


def find_object(access: Access, target: Target, trouble: Trouble) -> Found:
    """The object that *target* means (`Place.OBJECT`, `Place.ANYWHERE`); *trouble* is told which indexes cannot be read.

    Raises:
        TargetInvalid: no object is meant, or several.
        SnapshotNotFound: no snapshot is the latest.
        KeyUnusable, ResticFormatError: blobs, or the latest snapshot, are asked for, and the repository cannot be opened.
        StorageError: it cannot be listed.
    """
    if target.kind is ObjectKind.CONFIG:
        return Found(ObjectKind.CONFIG, b"")
    if target.kind is ObjectKind.SNAPSHOT and target.name.startswith("latest"):
        return Found(ObjectKind.SNAPSHOT, find_snapshot(access.opened(), target.name)[0].id)
    candidates: list[Found] = []
    kinds = tuple(FILE_KINDS) if target.place is Place.ANYWHERE else (target.kind,)
    for kind in kinds:
        if kind in FILE_KINDS and FILE_KINDS[kind] is not FileKind.CONFIG:
            candidates += _files(access, kind, target.name)
    whole = is_hex_id(target.name)
    if target.kind in BLOB_TYPES or (target.place is Place.ANYWHERE and not (whole and candidates)):
        try:
            candidates += _blobs(access, target, trouble)
        except ResticFormatError as error:
            if target.kind in BLOB_TYPES:
                raise
            if not candidates:
                told = f"no file has an id that {'is' if whole else 'begins with'} {target.name}"
                raise TargetInvalid(f"{told}, and its blobs are not known: {error}", cause=error) from error
    if len(candidates) == 1 or (whole and candidates):
        return candidates[0]
    what = "object" if target.kind is None else target.kind.value
    if not candidates:
        if whole and target.kind in FILE_KINDS:
            return Found(target.kind, bytes.fromhex(target.name))  # the storage says why it is not there
        raise TargetInvalid(f"no {what} has an id that {'is' if whole else 'begins with'} {target.name}")
    raise TargetInvalid(f"{target.text} is ambiguous: {_named(candidates, target.name)}")


def _files(access: Access, kind: ObjectKind, beginning: str) -> Iterator[Found]:
    for name, _ in access.storage.list(FILE_KINDS[kind]):
        if name.startswith(beginning):
            yield Found(kind, bytes.fromhex(name))


def _blobs(access: Access, target: Target, trouble: Trouble) -> list[Found]:
    repository = access.indexed(trouble)
    kinds = [target.kind] if target.kind in BLOB_TYPES else list(BLOB_TYPES)
    if target.kind is ObjectKind.BLOB:
        kinds.append(ObjectKind.TREE)  # a tree is a blob, too
    ids: Iterable[tuple[ObjectKind, bytes]]
    if is_hex_id(target.name):
        ids = [(kind, bytes.fromhex(target.name)) for kind in kinds]
    else:
        kind_of = {BLOB_TYPES[kind]: kind for kind in kinds}
        ids = dict.fromkeys(
            (kind_of[entry.type], entry.id)
            for _, entry in repository.index.entries()
            if entry.type in kind_of and entry.id.hex().startswith(target.name)
        )
    found = [Found(kind, blob_id, tuple(repository.index.lookup_all(BLOB_TYPES[kind], blob_id))) for kind, blob_id in ids]
    found = [item for item in found if item.places]
    if target.kind is ObjectKind.BLOB and len(found) == 2 and found[0].id == found[1].id:
        return found[:1]
    return found


def _named(candidates: list[Found], beginning: str) -> str:
    digits = len(beginning) + _MORE_DIGITS
    shown = [f"{found.kind.value}/{found.id.hex()[:digits]}" for found in candidates[:_SHOWN]]
    left = len(candidates) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "") + "; give more digits"


__all__ = ["BLOB_TYPES", "Found", "TargetInvalid", "find_object"]
