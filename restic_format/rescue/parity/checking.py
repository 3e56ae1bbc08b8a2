"""Whether parity is intact, and protects every file that is there."""

from __future__ import annotations

from typing import NamedTuple

from restic_format.errors import StorageError
from restic_format.rescue.parity.planning import present_files
from restic_format.rescue.parity.store import MOST_BYTES, SUFFIX
from restic_format.storage import SideFiles, Storage
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec import parity
from restic_spec.parity import Member

_COPIES = 3


class ParityFault(NamedTuple):
    """A parity file that is not whole."""

    name: str
    why: str


class ProtectionState(NamedTuple):
    """How well a repository is protected."""

    parity_files: int
    parity_bytes: int
    protected: int
    """Files of the repository with parity."""
    faults: list[ParityFault]
    unprotected: list[Member]
    """Files of the repository without parity."""
    missing: list[Member]
    """Files with parity that are no longer there, or have another size: removed, or lost."""


def check_protection(
    storage: Storage, side: SideFiles, *, progress: Progress[Advance] = silent, cancel: Cancel | None = None
) -> ProtectionState:
    """Read every parity file, and compare what they protect with the files that are there. Nothing is changed.

    Raises:
        StorageError: repository or parity cannot be listed.
        Interrupted: it was cancelled.
    """
    present = present_files(storage)
    files = [(name, size) for name, size in side.list() if name.endswith(SUFFIX)]
    total = sum(size for _, size in files)
    faults: list[ParityFault] = []
    covered: set[Member] = set()
    for number, (name, size) in enumerate(files, 1):
        if cancel is not None:
            cancel.check()
        covered |= _check_file(side, name, size, faults)
        progress(Advance("parity files read", number, len(files)))
    there = set(present)
    unprotected = [member for member in present if member not in covered]
    missing = sorted(covered - there, key=lambda member: member.path)
    return ProtectionState(len(files), total, len(covered & there), faults, unprotected, missing)


def _check_file(side: SideFiles, name: str, size: int, faults: list[ParityFault]) -> set[Member]:
    """What a parity file protects; what is wrong with it goes to *faults*."""
    try:
        if size > MOST_BYTES:
            faults.append(ParityFault(name, f"has {size} bytes, more than any parity file"))
            return set()
        data = side.load(name)
    except StorageError as error:
        faults.append(ParityFault(name, str(error)))
        return set()
    groups = parity.read_parity_file(data)
    if not groups:
        faults.append(ParityFault(name, "what it protects cannot be read"))
    covered: set[Member] = set()
    for group in groups:
        covered.update(group.description.members)
        pieces = len(parity.pieces_of(parity.encode_description(group.description)))
        there = sum(packet.group == group.id for _, packet in parity.packets(data))
        expected = _COPIES * pieces + group.description.parity_blocks
        if there < expected:
            faults.append(ParityFault(name, f"{expected - there} of its {expected} packets are damaged or missing"))
    return covered
