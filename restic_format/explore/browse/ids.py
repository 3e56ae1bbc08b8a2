"""What an id, or the beginning of one, names: files of a repository and blobs of its index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from restic_format.errors import UsageError
from restic_format.repository import Repository
from restic_format.work import Cancel
from restic_spec.ids import HEX_SIZE
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

SHORTEST = 4
"""Digits that an id must begin with at least, so that not everything is found."""
_KINDS = (FileKind.SNAPSHOT, FileKind.KEY, FileKind.LOCK, FileKind.INDEX, FileKind.PACK)
_CHECK_EVERY = 1 << 12


class Named(NamedTuple):
    """Something that has the id."""

    kind: FileKind | BlobType
    id: bytes
    size: int
    """Bytes of the file, or of the blob's plaintext."""


def named_by(repository: Repository, prefix: str, cancel: Cancel) -> Iterator[Named]:
    """Whatever has an id that begins with *prefix*: files first, then blobs, each once. The index must be loaded.

    Raises:
        UsageError: it is no beginning of an id, or too short.
        Interrupted: *cancel* was set.
        StorageError: the files cannot be listed.
    """
    wanted = prefix.strip().lower()
    if not SHORTEST <= len(wanted) <= HEX_SIZE or wanted.strip("0123456789abcdef"):
        raise UsageError(f"an ID has {HEX_SIZE} digits 0-9 and a-f: give the first {SHORTEST} of them or more")
    for kind in _KINDS:
        for file_id, size in repository.list(kind):
            cancel.check()
            if file_id.hex().startswith(wanted):
                yield Named(kind, file_id, size)
    seen: set[tuple[BlobType, bytes]] = set()
    start = bytes.fromhex(wanted[: len(wanted) & ~1])
    for number, (_, entry) in enumerate(repository.index.entries()):
        if number % _CHECK_EVERY == 0:
            cancel.check()
        blob = entry.id
        if blob.startswith(start) and blob.hex().startswith(wanted) and (entry.type, blob) not in seen:
            seen.add((entry.type, blob))
            yield Named(entry.type, blob, entry.plain_length)
