"""What the tests of healing share: heal in memory and on the command line, and what is in a repository."""

from __future__ import annotations

from pathlib import Path

from restic_format.repository import Repository
from restic_format.rescue.heal import Healed, heal
from restic_format.rescue.means.misplaced import Misplaced
from restic_format.rescue.plan import HealPlan, make_plan
from restic_format.rescue.quarantine import Quarantine
from restic_format.storage import LocalStorage, Storage
from restic_spec.errors import ResticFormatError
from restic_spec.layout import LISTED_KINDS, FileKind
from restic_spec.pack import BlobType
from tests.safety import kit

MEANS = (Misplaced(),)


def opened(where: Path | Storage) -> Repository:
    """The repository there, without its index."""
    return Repository.open(LocalStorage(where) if isinstance(where, Path) else where, kit.PASSWORD)


def healed(where: Path | Storage, *, forget: bool = False) -> tuple[HealPlan, Healed]:
    """Plan and heal, as the command does."""
    repository = opened(where)
    with repository.lock(exclusive=True):
        made = make_plan(repository, [one.name for one in MEANS], forget=forget)
        assert not made.obstacles
        side = repository.storage.side_files("quarantine")
        return made, heal(made, Quarantine(side), MEANS, forget=forget)


def content(where: Path | Storage, *, locks: bool = True) -> dict[tuple[FileKind, str], bytes]:
    """Every file of the repository."""
    storage = LocalStorage(where) if isinstance(where, Path) else where
    found = {(FileKind.CONFIG, ""): storage.load(FileKind.CONFIG, "")}
    for kind in LISTED_KINDS:
        if locks or kind is not FileKind.LOCK:
            found |= {(kind, name): storage.load(kind, name) for name, _ in storage.list(kind)}
    return found


def readable(where: Path | Storage) -> set[tuple[BlobType, bytes]]:
    """The blobs that can be read by the index files that can be read."""
    repository = opened(where)
    repository.load_index(damaged=lambda file_id, error: None)
    found = set()
    for pack, entries in repository.index.by_pack(None):
        try:
            outcomes = list(repository.packs.blobs(pack, entries))
        except ResticFormatError:
            continue
        found |= {(entry.type, entry.id) for entry, blob in outcomes if not isinstance(blob, ResticFormatError)}
    return found
