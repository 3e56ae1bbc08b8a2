"""What the small files of a repository say: config, keys, locks, snapshots; and the index files as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from restic_format.errors import DamagedFile, FileMissing, ResticFormatError, SpecError
from restic_format.explore.overview.records import (
    MIN_MEMORY,
    MIN_WORK,
    MOST_INDEX_FILES,
    MOST_PROBLEMS,
    RESTIC_WORK,
    Category,
    Extension,
    IndexFacts,
    IndexFileFacts,
    KeyFacts,
    LockFacts,
    Problem,
    RepositoryFacts,
)
from restic_format.repository import Repository
from restic_format.repository.index import PreparedIndex
from restic_format.repository.loading import read_indexes
from restic_format.repository.lock import read_locks
from restic_format.snapshots import FoundSnapshot
from restic_format.work import Advance, Cancel, Progress
from restic_spec import gotime
from restic_spec.errors import JsonInvalid
from restic_spec.keyfile import decode_keyfile
from restic_spec.layout import FileKind
from restic_spec.lock import STALE_AFTER
from restic_spec.rustic import DELETE, DESCRIPTION, LABEL, ConfigMembers, config_members
from restic_spec.snapshot import PARTIAL, Snapshot, SnapshotSummary, is_partial

RUSTIC, OURS = "rustic", "restic-format"
MOST_EXTENSIONS = 100
"""Undeclared members that are told apart."""
_LONGEST = 100
"""Characters of a member's name and value."""
_ENDS = 4096
"""Bytes at both ends of an index in which members beside the packs stand, as all programs write them."""

_SNAPSHOT_MEMBERS = {LABEL: RUSTIC, DESCRIPTION: RUSTIC, DELETE: RUSTIC, "parents": RUSTIC, PARTIAL: OURS}
_CONFIG_MEMBERS = frozenset(ConfigMembers.__struct_fields__)


class Problems:
    """Is told of what cannot be read."""

    def __init__(self) -> None:
        self.told: list[Problem] = []
        self.count = 0

    def add(self, item: str, error: ResticFormatError, category: str) -> None:
        """One more."""
        self.count += 1
        if len(self.told) < MOST_PROBLEMS:
            self.told.append(Problem(item, " ".join(str(error).split("\n")), category))


class Extensions:
    """Counts what restic's design does not have."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Extension] = {}

    def add(self, where: str, name: str, program: str, count: int = 1, value: str = "") -> None:
        """Count that something has a member."""
        key = where, name[:_LONGEST]
        known = self._found.get(key)
        if known is not None:
            self._found[key] = msgspec.structs.replace(known, count=known.count + count)
        elif len(self._found) < MOST_EXTENSIONS:
            self._found[key] = Extension(*key, program, count, value if len(value) <= _LONGEST else "")

    def all(self) -> tuple[Extension, ...]:
        """All that were counted, by where they are and their names."""
        return tuple(found for _, found in sorted(self._found.items()))


def look_at_config(repository: Repository, extensions: Extensions, problems: Problems) -> bool:
    """Count the config's extensions; whether this is the hot half of a repository (RUSTIC-1)."""
    config = repository.config
    for name, raw in config.extra.items():
        value = bytes(raw).decode(errors="replace")
        extensions.add("config", name, RUSTIC if name in _CONFIG_MEMBERS else "", value=value)
    try:
        hot = config_members(config).is_hot is True
    except JsonInvalid as error:
        problems.add("config", error, Category.FILE)
        return False
    if hot:
        extensions.add("repository", "hot", RUSTIC)
    return hot


def repository_facts(repository: Repository, extensions: Extensions, *, hot: bool) -> RepositoryFacts:
    """What the config says, with everything that was counted."""
    settings = repository.settings
    return RepositoryFacts(
        repository.id,
        repository.version,
        repository.config.chunker_polynomial,
        settings.append_only,
        hot,
        settings.level,
        extensions.all(),
    )


def look_at_keys(repository: Repository, problems: Problems) -> tuple[KeyFacts, ...]:
    """The key files, the oldest first; those that do not say when they were made at the end."""
    found = []
    for key_id, _ in repository.list(FileKind.KEY):
        name = f"keys/{key_id.hex()}"
        try:
            key = decode_keyfile(repository.load_raw(FileKind.KEY, key_id), name)
            kdf = key.derivation()
        except FileMissing:
            continue
        except ResticFormatError as error:
            problems.add(name, error, Category.KEY)
            continue
        work, memory = kdf.N * kdf.r * kdf.p, 128 * kdf.N * kdf.r
        found.append(
            KeyFacts(
                key_id.hex(),
                gotime.parse_ns(key.created) if key.created else None,
                key.username or "",
                key.hostname or "",
                kdf.N,
                kdf.r,
                kdf.p,
                memory,
                work,
                work / RESTIC_WORK,
                weak=work < MIN_WORK or memory < MIN_MEMORY,
                current=key_id == repository.key_id,
            )
        )
    return tuple(sorted(found, key=lambda one: (one.created is None, one.created or 0, one.id)))


def look_at_locks(
    repository: Repository, now: int, is_own: Callable[[bytes], bool] | None, problems: Problems
) -> tuple[LockFacts, ...]:
    """The locks but those of whom this is told, the oldest first."""
    found = []
    for lock_id, lock in read_locks(repository):
        if is_own is not None and is_own(lock_id):
            continue
        if isinstance(lock, ResticFormatError):
            problems.add(f"locks/{lock_id.hex()}", lock, Category.LOCK)
            continue
        time = gotime.parse_ns(lock.time)
        found.append(
            LockFacts(
                lock_id.hex(),
                time,
                now - time,
                lock.exclusive,
                lock.hostname,
                lock.username,
                lock.pid,
                stale=now - time > STALE_AFTER * gotime.NS,
            )
        )
    return tuple(sorted(found, key=lambda one: (one.time, one.id)))


class _Summary(NamedTuple):
    added: int | None = None
    packed: int | None = None


class KnownSnapshot(NamedTuple):
    """A snapshot without what may be large in it, and what its summary says."""

    found: FoundSnapshot
    summary_added: int | None
    summary_added_packed: int | None


def look_at_snapshots(
    repository: Repository, extensions: Extensions, problems: Problems, cancel: Cancel | None
) -> list[KnownSnapshot]:
    """All snapshots, the oldest first."""
    known = []
    for snapshot_id, _ in list(repository.list(FileKind.SNAPSHOT)):
        if cancel is not None:
            cancel.check()
        try:
            snapshot = repository.load_snapshot(snapshot_id)
            found = FoundSnapshot(snapshot_id, _small(snapshot))
            _ = found.time_ns
        except ResticFormatError as error:
            problems.add(f"snapshots/{snapshot_id.hex()}", error, Category.SNAPSHOT)
            continue
        for name in snapshot.extra:
            extensions.add("snapshot", name, _SNAPSHOT_MEMBERS.get(name, ""))
        summary = _summary_of(snapshot, extensions)
        known.append(KnownSnapshot(found, summary.added, summary.packed))
    known.sort(key=lambda one: (one.found.time_ns, one.found.id))
    return known


def _small(snapshot: Snapshot) -> Snapshot:
    small = msgspec.structs.replace(snapshot, excludes=[], summary=None)
    if is_partial(snapshot):
        small.keep_extra({PARTIAL: snapshot.extra[PARTIAL]})
    return small


def _summary_of(snapshot: Snapshot, extensions: Extensions) -> _Summary:
    if snapshot.summary is None:
        return _Summary()
    for name in snapshot.summary.keys() - set(SnapshotSummary.__struct_fields__):
        extensions.add("snapshot", f"summary.{name}", RUSTIC)
    statistics = snapshot.statistics()
    assert statistics is not None
    has = snapshot.summary.keys()
    return _Summary(
        statistics.data_added if "data_added" in has else None,
        statistics.data_added_packed if "data_added_packed" in has else None,
    )


class _Superseding(msgspec.Struct):
    """That part of an index, which has been decoded before."""

    supersedes: list[str] | None = None


_superseding = msgspec.json.Decoder(_Superseding)


@dataclass
class IndexFiles:
    """The index files as files, while they are loaded."""

    files: list[IndexFileFacts] = field(default_factory=list)
    rustic: int = 0
    """How many say when packs were written, or how large they are (RUSTIC-2)."""

    def facts(self, sizes: Sequence[int], packs: int) -> IndexFacts:
        """All of it, given the sizes of all index files, readable or not, and how many packs they list together."""
        found = sorted(self.files, key=lambda one: (-(one.written or 0), -one.size, one.id))
        return IndexFacts(
            tuple(found[:MOST_INDEX_FILES]),
            len(sizes),
            sum(sizes),
            packs,
            sum(one.blobs for one in found),
            sum(one.marked for one in found),
            sum(1 for one in found if one.supersedes),
        )


def load_indexes(
    repository: Repository,
    files: Sequence[tuple[bytes, int]],
    problems: Problems,
    progress: Progress[Advance],
    cancel: Cancel | None,
) -> IndexFiles:
    """Load the index *files* into the repository's index, which must be empty, and look at each; damaged ones are told of.

    Raises:
        Interrupted: it was cancelled.
    """
    sizes = dict(files)
    loaded = IndexFiles()

    def look(file_id: bytes, raw: bytes, prepared: PreparedIndex) -> None:
        start, end = raw[:_ENDS], raw[-_ENDS:]
        supersedes = len(_superseding.decode(raw).supersedes or ()) if start[:1] == b"{" and b'"supersedes"' in start else 0
        if b'"time":' in end or b'"size":' in end:
            loaded.rustic += 1
        counts = [blobs for _, blobs in prepared.decoded.records()]
        name = file_id.hex()
        written = repository.storage.written(FileKind.INDEX, name)
        loaded.files.append(
            IndexFileFacts(name, sizes[file_id], len(counts), sum(counts), supersedes, len(prepared.marked), written)
        )

    for done, (file_id, failure) in enumerate(read_indexes(repository, files, look=look), 1):
        if cancel is not None:
            cancel.check()
        if isinstance(failure, ResticFormatError):
            told = DamagedFile(f"index/{file_id.hex()}", failure) if isinstance(failure, SpecError) else failure
            problems.add(f"index/{file_id.hex()}", told, Category.INDEX)
        elif failure is not None:
            raise failure
        progress(Advance("index", done, len(files)))
    return loaded
