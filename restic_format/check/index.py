"""The index: does every index file load, and do the packs it lists exist with the sizes it implies?

A damaged index does not end the check. The headers of the packs no intact index lists are read instead, which is what
``repair index`` would do, so that everything after sees what a repaired repository would look like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from restic_format.check.affected import Damage
from restic_format.check.blobs import clause_of
from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef
from restic_format.check.packs import distinct_blobs
from restic_format.check.state import Run, Stage
from restic_format.errors import DamagedFile, StorageError
from restic_format.repository.loading import read_indexes
from restic_spec.errors import IdMismatch, ResticFormatError, SpecError
from restic_spec.index import IndexFile, decode_index, entries_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry


def load_indexes(run: Run) -> None:
    """Load every index file into the repository's index; each one that cannot be used is a finding."""
    repo = run.repo
    files = sorted(repo.list(FileKind.INDEX))
    run.progress.stage(Stage.INDEX, len(files))
    for done, (ident, failure) in enumerate(read_indexes(repo, files), 1):
        run.check_interrupt()
        if isinstance(failure, ResticFormatError | OSError):
            ref = ObjectRef(ObjectKind.INDEX, ident.hex())
            message = f"error loading index {ident.hex()}: {load_reason('index', ident, failure)}"
            run.add(Finding(Code.INDEX_DAMAGED, ref, message, fault_clause(failure)))
        elif failure is not None:
            raise failure
        run.progress.advance(Stage.INDEX, done)
    repeated = repo.index.repeated_packs()
    if repeated:
        _name_repeated(run, [ident for ident, _ in files], repeated)


def reason(error: BaseException) -> str:
    """What an error says is wrong, without the clause."""
    cause = error.cause if isinstance(error, DamagedFile) else error
    return cause.what if isinstance(cause, SpecError) else str(error)


def load_reason(kind: str, ident: bytes, error: BaseException) -> str:
    """What is wrong with a file that is named by its hash, in the words other programs use where they have some."""
    cause = error.cause if isinstance(error, DamagedFile) else error
    if isinstance(cause, IdMismatch):
        return f"LoadRaw(<{kind}/{ident.hex()[:10]}>): invalid data returned"
    return reason(error)


def fault_clause(error: BaseException) -> str:
    """The clause an error, or what caused it, says is broken."""
    cause = error.cause if isinstance(error, DamagedFile) else error
    return clause_of(cause) if cause is not None else ""


def _load(run: Run, ident: bytes) -> IndexFile:
    return decode_index(run.repo.load_unpacked(FileKind.INDEX, ident), f"index {ident.hex()}")


def _name_repeated(run: Run, files: list[bytes], repeated: set[bytes]) -> None:
    """Say which indexes list the same pack, and whether they agree; reads the indexes again, as this is rare."""
    where: dict[bytes, set[bytes]] = {pack: set() for pack in repeated}
    content: dict[bytes, set[frozenset[PackEntry]]] = {pack: set() for pack in repeated}
    for ident in files:
        try:
            packs = _load(run, ident).all_packs()
            for record in packs:
                pack = bytes.fromhex(record.id)
                if pack in where:
                    where[pack].add(ident)
                    content[pack].add(frozenset(entries_of(record)))
        except (ResticFormatError, OSError, ValueError):
            continue  # Named when it was loaded.
    for pack in sorted(repeated):
        indexes = "{" + " ".join(ident.hex()[:8] for ident in sorted(where[pack])) + "}"
        ref = _ref(pack)
        if len(content[pack]) > 1:
            message = f"pack {pack.hex()} has different data in indexes: {indexes}"
            run.add(Finding(Code.INDEX_ENTRIES_DIFFER, ref, message))
        elif len(where[pack]) > 1:
            message = f"pack {pack.hex()} contained in several indexes: {indexes}"
            run.add(Finding(Code.INDEX_DUPLICATE_PACK, ref, message))


def list_packs(run: Run) -> None:
    """Note the size of each pack file, for all that follows."""
    try:
        run.file_sizes = dict(run.repo.list(FileKind.PACK))
    except (StorageError, OSError) as error:
        run.add(Finding(Code.LIST_FAILED, ObjectRef(ObjectKind.REPOSITORY), f"cannot list packs: {error}"))


def check_packs(run: Run, damage: Damage) -> None:
    """Hold the index against the pack files: missing, of another size, unknown, mixed, with gaps or overlaps."""
    index = run.repo.index
    if run.report.counts[Code.INDEX_DAMAGED]:
        _read_unlisted_headers(run)
    missing: list[bytes] = []
    resized: list[bytes] = []
    broken: list[bytes] = []
    for listed in index.packs():
        run.check_interrupt()
        pack, (size, mixed, gaps) = listed.id, listed.layout()
        run.sizes[pack] = size
        if mixed:
            message = f"pack {pack.hex()[:8]} contains a mix of tree and data blobs"
            run.add(Finding(Code.PACK_MIXED, _ref(pack), message))
        actual = run.file_sizes.get(pack)
        if actual is None:
            missing.append(pack)
        elif actual != size:
            resized.append(pack)
        elif gaps:
            broken.append(pack)
    faulty = {*missing, *resized}
    entries = dict(index.by_pack(faulty)) if faulty else {}
    run.progress.stage(Stage.PACKS, len(run.file_sizes))
    for pack in missing:
        number = run.add(Finding(Code.PACK_MISSING, _ref(pack), f"pack {pack.hex()}: does not exist"))
        _mark(run, damage, pack, entries[pack], number)
    for pack in resized:
        got, expected = run.file_sizes[pack], run.sizes[pack]
        message = f"pack {pack.hex()}: unexpected file size: got {got}, expected {expected}"
        number = run.add(Finding(Code.PACK_SIZE, _ref(pack), message))
        _mark(run, damage, pack, [entry for entry in entries[pack] if entry.offset + entry.length > got], number)
    for pack in broken:
        message = f"pack {pack.hex()}: index contains gaps / overlapping blobs"
        run.add(Finding(Code.INDEX_LAYOUT, _ref(pack), message))
    for pack in run.file_sizes:
        if not index.has_pack(pack) and pack not in index.marked:
            message = f"pack {pack.hex()}: not referenced in any index"
            run.add(Finding(Code.PACK_UNINDEXED, _ref(pack), message))


def _ref(pack: bytes) -> ObjectRef:
    return ObjectRef(ObjectKind.PACK, pack.hex())


def _mark(run: Run, damage: Damage, pack: bytes, lost: Iterable[PackEntry], number: int) -> None:
    """Note the blobs a faulty pack takes with it, but for those that have a copy elsewhere."""
    for entry in distinct_blobs(lost):
        copies = run.repo.index.lookup_all(entry.type, entry.id)
        if any(copy.pack != pack and copy.pack in run.file_sizes for copy in copies):
            continue
        if entry.type is BlobType.DATA:
            damage.data(entry.id, number)
        else:
            damage.tree(entry.id, number)


def _unlisted(run: Run) -> Iterator[tuple[bytes, int]]:
    """Pack files, with their sizes, that no index lists."""
    for pack, size in run.file_sizes.items():
        run.check_interrupt()
        if not run.repo.index.has_pack(pack) and pack not in run.repo.index.marked:
            yield pack, size


def _read_unlisted_headers(run: Run) -> None:
    """Add what packs without an index say themselves, in place of the indexes that are damaged."""
    for pack, size in _unlisted(run):
        try:
            entries = run.repo.read_header(pack, size)
        except (ResticFormatError, OSError) as error:
            message = f"pack {pack.hex()}: header cannot be read: {reason(error)}"
            run.add(Finding(Code.PACK_HEADER, _ref(pack), message, fault_clause(error)))
            continue
        run.repo.index.add_pack(pack, entries)


def look_for_missing(run: Run) -> None:
    """Find blobs that no index lists in packs that no index lists; those are not lost, and a rebuilt index has them."""
    missing: dict[tuple[str, bytes], list[int]] = {}
    for number, finding in enumerate(run.report.findings):
        if finding.code in (Code.TREE_MISSING, Code.BLOB_MISSING):
            key = finding.object.kind.value, bytes.fromhex(finding.object.name)
            missing.setdefault(key, []).append(number)
    if not missing:
        return
    for pack, size in _unlisted(run):
        try:
            entries = run.repo.read_header(pack, size)
        except (ResticFormatError, OSError):
            continue  # What it holds cannot be told; the pack itself is named as not indexed.
        for entry in entries:
            for number in missing.pop((entry.type.value, entry.id), ()):
                effect = f"it is in pack {pack.hex()[:8]}, which no index lists"
                run.set_remedy(number, effect, ("repair index",))
