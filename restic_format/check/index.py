"""The index: does every index file load, and do the packs it lists exist with the sizes it implies?

A damaged index does not end the check. The headers of the packs no intact index lists are read instead, which is what
``repair index`` would do, so that everything after sees what a repaired repository would look like. Where the index and the
header of a pack disagree, the header is right: it was sealed together with the pack, and the pack's name is the hash of both.
"""

from __future__ import annotations

from restic_format.check.affected import Damage
from restic_format.check.findings import REPAIR_INDEX, Code, Finding, ObjectKind, ObjectRef
from restic_format.check.headers import add_unlisted, trust_header
from restic_format.check.reasons import clause_of, is_unreadable, load_reason
from restic_format.check.state import Run, Stage
from restic_format.errors import FileMissing, StorageError
from restic_format.repository.loading import read_indexes
from restic_spec.errors import ResticFormatError
from restic_spec.index import IndexFile, decode_index, entries_of
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry


def load_indexes(run: Run) -> None:
    """Load every index file into the repository's index; each one that cannot be used is a finding."""
    repo = run.repo
    files = sorted(run.files(FileKind.INDEX))
    run.advance(Stage.INDEX, 0, len(files))
    for done, (ident, failure) in enumerate(read_indexes(repo, files), 1):
        run.cancel.check()
        if isinstance(failure, ResticFormatError | OSError):
            code = Code.INDEX_UNREADABLE if is_unreadable(failure) else Code.INDEX_DAMAGED
            message = f"error loading index {ident.hex()}: {load_reason('index', ident, failure)}"
            run.add(Finding(code, ObjectRef(ObjectKind.INDEX, ident.hex()), message, clause_of(failure)))
        elif failure is not None:
            raise failure
        run.advance(Stage.INDEX, done, len(files))
    repeated = repo.index.repeated_packs()
    if repeated:
        _name_repeated(run, [ident for ident, _ in files], repeated)


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
    # What was listed before a failure counts.
    run.file_sizes.update(run.files(FileKind.PACK))


def check_packs(run: Run, damage: Damage) -> None:
    """Hold the index against the pack files: missing, of another size, unknown, mixed, with gaps or overlaps."""
    index = run.repo.index
    if any(run.report.counts[code] for code in (Code.INDEX_DAMAGED, Code.INDEX_UNREADABLE, Code.LIST_FAILED)):
        add_unlisted(run)
    missing: list[bytes] = []
    resized: list[bytes] = []
    broken: list[bytes] = []
    for listed in index.packs():
        run.cancel.check()
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
    run.advance(Stage.PACKS, 0, len(run.file_sizes))
    if _check_missing(run, missing, damage):
        add_unlisted(run)  # It may be the index that is wrong, not the pack that is missing.
    entries = dict(index.by_pack(set(resized))) if resized else {}
    for pack in resized:
        got, expected = run.file_sizes[pack], run.sizes[pack]
        message = f"pack {pack.hex()}: unexpected file size: got {got}, expected {expected}"
        if trust_header(run, pack):
            # `repair index` reads the headers of packs that have another size than it expects.
            run.add(Finding(Code.INDEX_WRONG, _ref(pack), message, repair_override=(REPAIR_INDEX,)))
            continue
        number = run.add(Finding(Code.PACK_SIZE, _ref(pack), message))
        for entry in entries[pack]:
            if entry.offset + entry.length > got:
                damage.copy(pack, entry, number)
    for pack in broken:
        message = f"pack {pack.hex()}: index contains gaps / overlapping blobs"
        run.add(Finding(Code.INDEX_LAYOUT, _ref(pack), message))
        trust_header(run, pack)
    for pack in run.file_sizes:
        if not index.has_pack(pack) and pack not in index.marked:
            message = f"pack {pack.hex()}: not referenced in any index"
            run.add(Finding(Code.PACK_UNINDEXED, _ref(pack), message))


def _check_missing(run: Run, missing: list[bytes], damage: Damage) -> bool:
    """Name the packs that were not listed and are not there when asked for one by one either; whether there are any."""
    gone = []
    for pack in missing:
        run.cancel.check()
        try:
            run.file_sizes[pack] = run.repo.storage.size(FileKind.PACK, pack.hex())
        except FileMissing:
            gone.append(pack)
        except (StorageError, OSError) as error:
            number = run.add(Finding(Code.PACK_UNREADABLE, _ref(pack), f"pack {pack.hex()}: cannot be looked at: {error}"))
            damage.pack(pack, number)
    if gone and not run.file_sizes:
        message = f"none of the {len(gone)} packs that the index lists is here"
        run.add(Finding(Code.PACKS_GONE, ObjectRef(ObjectKind.REPOSITORY), message))
    for pack in gone:
        number = run.add(Finding(Code.PACK_MISSING, _ref(pack), f"pack {pack.hex()}: does not exist"))
        damage.pack(pack, number)
    return bool(gone)


def _ref(pack: bytes) -> ObjectRef:
    return ObjectRef(ObjectKind.PACK, pack.hex())
