"""Changing a snapshot: the new form is stored and read back before the old one is removed."""

from __future__ import annotations

from restic_format.errors import DamagedFile
from restic_format.repository.repository import Repository
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot, encode_snapshot


def replace_snapshot(repo: Repository, old_id: bytes, new: Snapshot) -> bytes:
    """Store *new* and remove the snapshot *old_id* that it stands for; returns the new id (SNAP-7, ORDER-9).

    *new* was read with its undeclared members (SNAP-10) and names its ``original``. When this is stopped in the middle, both
    are there, never none.

    Raises:
        DamagedFile: what was stored is not what can be read; the old one stays.
        StorageError: it could not be stored or read, or the old one could not be removed.
    """
    new_id = save_checked(repo, new, f"snapshots/{old_id.hex()} stays")
    repo.remove(FileKind.SNAPSHOT, old_id)
    return new_id


def save_checked(repo: Repository, new: Snapshot, stays: str) -> bytes:
    """Store *new* and read it back; returns its id. The error tells what *stays*. Raises as `replace_snapshot`."""
    new_id = repo.save_snapshot(new)
    if repo.load_unpacked(FileKind.SNAPSHOT, new_id) != encode_snapshot(new):
        raise DamagedFile(f"snapshots/{new_id.hex()} is not what was stored; {stays}")
    return new_id
