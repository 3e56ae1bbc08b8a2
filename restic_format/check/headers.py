"""The headers of packs: what a pack says itself that it holds, where the index does not say it, or not rightly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from restic_format.check.findings import REPAIR_INDEX, REPAIR_INDEX_READING, Code, Finding, ObjectKind, ObjectRef
from restic_format.check.reasons import clause_of, is_unreadable, reason
from restic_format.check.state import Run
from restic_format.work import in_order
from restic_spec.errors import ResticFormatError
from restic_spec.pack import PackEntry

_CHECK_AGAIN = "after these steps check again with --read-data: only then what is damaged can be told from what is not"


def trust_header(run: Run, pack: bytes) -> bool:
    """Whether a pack's header is intact and lists something the index does not; the index in memory then has it, too."""
    if pack in run.consulted:
        return False
    run.consulted.add(pack)
    try:
        entries = run.repo.packs.header(pack, run.file_sizes[pack])
    except (ResticFormatError, OSError):
        return False
    if not differs(run, pack, entries):
        return False
    run.wrong.add(pack)
    run.sizes[pack] = run.file_sizes[pack]
    _correct(run, pack, entries)
    return True


def _correct(run: Run, pack: bytes, entries: Sequence[PackEntry]) -> None:
    """Take into the index in memory what a pack's own header says."""
    if run.correcting is not None:
        run.correcting(pack, entries)
    run.repo.index.add_pack(pack, entries)


def differs(run: Run, pack: bytes, entries: Iterable[PackEntry]) -> bool:
    """Whether the index lists any of a pack's *entries* otherwise, or not at all."""
    known: dict[tuple[object, bytes], set[PackEntry]] = {}
    for entry in entries:
        key = entry.type, entry.id
        if key not in known:
            copies = run.repo.index.lookup_all(entry.type, entry.id)
            known[key] = {copy.entry(entry.type, entry.id) for copy in copies if copy.pack == pack}
        if entry not in known[key]:
            return True
    return False


def unlisted(run: Run) -> Iterator[bytes]:
    """Packs that no index lists."""
    index = run.repo.index
    return (pack for pack in run.file_sizes if not index.has_pack(pack) and pack not in index.marked)


def add_unlisted(run: Run) -> None:
    """Add to the index in memory what packs that no index lists say themselves, in place of indexes that cannot be used."""
    for pack, entries in _headers(run, list(unlisted(run))):
        if isinstance(entries, list):
            _correct(run, pack, entries)
            run.sizes[pack] = run.file_sizes[pack]
            continue
        code = Code.PACK_UNREADABLE if is_unreadable(entries) else Code.PACK_HEADER
        message = f"pack {pack.hex()}: header cannot be read: {reason(entries)}"
        run.add(Finding(code, ObjectRef(ObjectKind.PACK, pack.hex()), message, clause_of(entries)))


def look_for_missing(run: Run) -> None:
    """Find blobs that no index lists in the headers of packs; those are not lost, and a rebuilt index has them."""
    missing: dict[tuple[str, bytes], list[int]] = {}
    for number, finding in enumerate(run.report.findings):
        if finding.code in (Code.TREE_MISSING, Code.BLOB_MISSING):
            key = finding.object.kind.value, bytes.fromhex(finding.object.name)
            missing.setdefault(key, []).append(number)
    if missing:
        places = list(unlisted(run))
        _find(run, missing, places, "which no index lists", REPAIR_INDEX)
    index_lies = run.report.counts[Code.INDEX_WRONG] or run.report.counts[Code.INDEX_LAYOUT]
    if (missing or index_lies) and not run.options.read_data:
        # The header of each pack says whether the index is right, and whether the index could be made again from it.
        listed = [pack for pack in run.file_sizes if run.repo.index.has_pack(pack) and pack not in run.consulted]
        _find(run, missing, listed, "which the index does not list rightly", REPAIR_INDEX_READING)
    if run.hidden:
        for number in (number for numbers in missing.values() for number in numbers):
            found = run.report.findings[number].code
            run.set_code(number, Code.TREE_UNREADABLE if found is Code.TREE_MISSING else Code.BLOB_UNREADABLE)


def _find(run: Run, missing: dict[tuple[str, bytes], list[int]], packs: list[bytes], where: str, command: str) -> None:
    for pack, entries in _headers(run, packs):
        name = pack.hex()
        ref = ObjectRef(ObjectKind.PACK, name)
        if not isinstance(entries, list):
            hides = is_unreadable(entries)
            if run.repo.index.has_pack(pack) or (hides and pack not in run.damaged_unlisted):
                code = Code.PACK_UNREADABLE if hides else Code.PACK_HEADER_DAMAGED
                message = f"pack {name}: header cannot be read: {reason(entries)}"
                run.add(Finding(code, ref, message, clause_of(entries)))
            continue  # A pack that is damaged is named as one that no index lists.
        if command == REPAIR_INDEX_READING and differs(run, pack, entries):
            run.wrong.add(pack)
            run.add(Finding(Code.INDEX_WRONG, ref, f"pack {name}: the index lists other blobs than the pack's own header"))
        effect, advice = f"it is in pack {name[:8]}, {where}", ""
        if pack in run.damaged_unlisted:
            effect, advice = f"{effect}; something in that pack is damaged", _CHECK_AGAIN
        for entry in entries:
            for number in missing.pop((entry.type.value, entry.id), ()):
                run.set_remedy(number, effect, (command,), advice)


def _headers(run: Run, packs: list[bytes]) -> Iterator[tuple[bytes, list[PackEntry] | Exception]]:
    """What each of *packs* lists, or why that cannot be told."""

    def read(pack: bytes) -> list[PackEntry]:
        return run.repo.packs.header(pack, run.file_sizes[pack])

    with contextlib.closing(in_order(read, packs, name="headers", workers=run.workers, ahead=run.workers + 2)) as headers:
        for pack, found in headers:
            run.cancel.check()
            if isinstance(found, Exception) and not isinstance(found, ResticFormatError | OSError):
                raise found
            yield pack, found
