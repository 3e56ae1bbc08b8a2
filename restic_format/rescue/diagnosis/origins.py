"""Where faults most likely come from, and what can help: judged by what the files are now, not by what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from restic_format.check.advice import UNREADABLE_CODES
from restic_format.check.findings import Code, Finding
from restic_format.errors import FileMissing, StorageError
from restic_format.rescue.diagnosis.records import Hope, Means, Origin, Problem
from restic_format.storage import Storage
from restic_spec.ids import id_of
from restic_spec.layout import KINDS, FileKind

FAULTY_PROGRAM = "restic 0.16.0"
"""Its compression wrote blobs that expand to something else, at the levels ``max`` and, by chance, others."""

_ZEROS = 512
"""Zero bytes one after the other that no sealed file has by chance."""

_INDEX_CODES = frozenset(
    (Code.INDEX_WRONG, Code.INDEX_ENTRIES_DIFFER, Code.INDEX_LAYOUT, Code.INDEX_DUPLICATE_PACK, Code.INDEX_NONE)
)
_PROGRAM_CODES = frozenset(
    (
        Code.TREE_ORDER,
        Code.TREE_FAULTY,
        Code.NODE_NAME,
        Code.NODE_TYPE,
        Code.NODE_NO_CONTENT,
        Code.NODE_NO_SUBTREE,
        Code.NODE_NULL_ID,
        Code.BLOB_LENGTH,
        Code.PACK_MIXED,
        Code.SNAPSHOT_NO_TREE,
    )
)

Judged = tuple[Origin, str]
"""The likely origin, and what makes it likely."""


class PackFacts(NamedTuple):
    """What is known of a damaged pack."""

    hash: bytes
    """Of the file, b"" where not all of it was read."""
    file_size: int | None
    size: int
    """Bytes that it should have; 0 where nobody knows."""
    problems: frozenset[Problem]
    """Those of its copies of blobs."""
    is_compressed: bool
    """Whether such a copy is compressed."""


class Names:
    """The names of all files of the repository, to recognise one by its content."""

    def __init__(self, names: Mapping[bytes, FileKind], strays: Iterable[str]) -> None:
        self._names = names
        self._strays = {path.rpartition("/")[2]: path for path in strays}

    def whose(self, content: bytes) -> str | None:
        """The path of the file whose content has this hash."""
        kind = self._names.get(content)
        return None if kind is None else f"{KINDS[kind].folder}/{content.hex()}"

    def elsewhere(self, name: str) -> str | None:
        """Where a file of this name lies that is not where it belongs."""
        return self._strays.get(name)


def of_file(storage: Storage, kind: FileKind, name: str, names: Names, *, opens: bool = False) -> Judged:
    """What most likely happened to a config, key, lock, snapshot or index file; *opens* says whether it does with the key."""
    try:
        raw = storage.load(kind, "" if kind is FileKind.CONFIG else name)
    except FileMissing:
        return Origin.MISSING, "the file is not there"
    except (StorageError, OSError) as error:
        return Origin.UNREADABLE, f"the storage does not give it back: {error}"
    if not raw:
        return Origin.INTERRUPTED, "the file is empty, as an interrupted upload or a full disk leaves it"
    if _has_zeros(raw):
        return Origin.STORAGE, "a long stretch of it is zero, as file systems leave it after a crash"
    if kind is FileKind.CONFIG:
        return Origin.STORAGE, "its seal does not fit: its bytes have changed, or it is another repository's"
    digest = id_of(raw)
    if digest.hex() == name:
        if kind is FileKind.KEY or opens:
            return Origin.MEMORY, "its content is what its name says, so it was written like this"
        return Origin.MIXED_UP, (
            "its content is what its name says but is sealed with another key: "
            "it is another repository's, or memory or processor erred before it was written"
        )
    other = names.whose(digest)
    if other is not None:
        return Origin.MIXED_UP, f"it is a copy of {other}"
    return Origin.STORAGE, "its content is not what its name says: bytes have changed, or the file was cut short"


def _has_zeros(raw: bytes) -> bool:
    return bytes(_ZEROS) in raw


def of_pack(code: Code, name: str, facts: PackFacts, names: Names, programs: Iterable[str]) -> Judged:
    """What most likely happened to a pack."""
    elsewhere = names.elsewhere(name)
    if code is Code.PACK_MISSING:
        if elsewhere is not None:
            return Origin.MIXED_UP, f"a file of this name lies at {elsewhere}"
        return Origin.MISSING, "the index lists it, but the file is not there"
    if facts.file_size == 0:
        return Origin.INTERRUPTED, "the file is empty, as an interrupted upload or a full disk leaves it"
    if facts.hash.hex() != name and facts.hash and (other := names.whose(facts.hash)) is not None:
        return Origin.MIXED_UP, f"it is a copy of {other}"
    if facts.size and facts.file_size is not None and facts.file_size < facts.size:
        return Origin.INTERRUPTED, f"the file ends after {facts.file_size} of {facts.size} bytes"
    if facts.size and facts.file_size is not None and facts.file_size > facts.size:
        return Origin.STORAGE, f"the file has {facts.file_size - facts.size} bytes more than it was written with"
    if facts.hash.hex() == name:
        if Problem.CONTENT in facts.problems and facts.is_compressed and any(map(_is_faulty, programs)):
            return (
                Origin.PROGRAM,
                f"the pack is as it was written, and {FAULTY_PROGRAM} wrote blobs that expand to something else",
            )
        where = "sealed" if Problem.CONTENT in facts.problems else "stored"
        return Origin.MEMORY, f"the pack is as it was written: memory or processor erred before it was {where}"
    return Origin.STORAGE, "the file is not what its name says: bytes have changed on the medium or on the way"


def _is_faulty(program: str) -> bool:
    return program == FAULTY_PROGRAM


def of_finding(finding: Finding) -> Judged:
    """What most likely happened, by the kind of a finding alone."""
    code = finding.code
    if code in (Code.LOCK_DAMAGED, Code.LOCK_UNREADABLE):
        return Origin.LEFT_BEHIND, "locks hold no data; no program needs one that cannot be read"
    if code in UNREADABLE_CODES:
        return Origin.UNREADABLE, "the storage does not give back what is there, or not the same each time"
    if code in _INDEX_CODES:
        return Origin.INDEX, "the index and the packs do not agree"
    if code in _PROGRAM_CODES:
        return Origin.PROGRAM, "everything fits its checksums: it was written like this"
    if code in (Code.TREE_MISSING, Code.BLOB_MISSING):
        return Origin.MISSING, "no index and no pack has it: its pack is gone, and with it the index entry"
    if code is Code.SNAPSHOTS_GONE:
        return Origin.MISSING, "there are directory trees, but no snapshot"
    return Origin.STORAGE, "bytes have changed"


def means_for(code: Code, origin: Origin, hopes: Iterable[Hope]) -> tuple[Means, ...]:
    """What can help against a fault; *hopes* are those of the blobs it hits."""
    found = set(hopes)
    if origin is Origin.UNREADABLE:
        return (Means.READ_AGAIN,)
    if origin is Origin.LEFT_BEHIND:
        return (Means.UNLOCKING if code in (Code.LOCK_DAMAGED, Code.LOCK_UNREADABLE) else Means.NONE_NEEDED,)
    solving = () if origin in (Origin.INTERRUPTED, Origin.MISSING) else (Means.SOLVING,)
    if code in (Code.INDEX_DAMAGED, Code.PACK_UNINDEXED) or code in _INDEX_CODES or origin is Origin.INDEX:
        return (Means.HEADERS,)
    if code is Code.CONFIG_DAMAGED:
        return (*solving, Means.COPIES, Means.FROM_KEY)
    if code is Code.KEY_DAMAGED:
        return (*solving, Means.COPIES, Means.OTHER_KEY)
    if code is Code.SNAPSHOT_DAMAGED:
        return (*solving, Means.COPIES, Means.SNAPSHOT_FROM_TREES)
    if code is Code.SNAPSHOTS_GONE:
        return (Means.SNAPSHOT_FROM_TREES,)
    if code is Code.PACK_HEADER_DAMAGED:
        return (Means.HEADER,)
    if code is Code.PACK_HEADER:
        return (Means.SCANNING, Means.COPIES)
    means = [Means.PUT_BACK] if origin is Origin.MIXED_UP and code is Code.PACK_MISSING else []
    if Hope.WHOLE in found:
        means.append(Means.OTHER_COPY)
    if not found:
        means.append(Means.REWRITING)
    if Hope.FOUND in found and not means:
        means.append(Means.HEADERS)
    if Hope.DAMAGED in found:
        means.append(Means.SOLVING)
    if found & {Hope.DAMAGED, Hope.LOST}:
        means.append(Means.COPIES)
    return tuple(means)
