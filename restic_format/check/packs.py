"""Reading packs whole: hash of the file, every blob, the header, and the header against the index.

Worker threads each take a pack, read it in pieces of a few MiB and do the heavy work (hashing, decrypting, expanding)
without the interpreter's lock; what they find comes to the thread that called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator
from typing import TypeAlias

from restic_format.check.affected import Damage
from restic_format.check.findings import REPAIR_PACK, Code, Fault, Finding, ObjectKind, ObjectRef
from restic_format.check.packreader import Outcome, PackChecker, PackResult, UnlistedPack
from restic_format.check.state import Run, Stage
from restic_format.repository.index import ListedPack
from restic_format.repository.warming import make_ready
from restic_format.work import in_order
from restic_spec.pack import BlobType

Job: TypeAlias = ListedPack | UnlistedPack
"""A pack to be read."""

PackCheck: TypeAlias = Callable[[Job], PackResult]
"""Reads a pack and says what that showed."""

PackReading: TypeAlias = Callable[[Run, PackCheck, Iterator[Job]], Generator[tuple[Job, PackResult | Exception], None, None]]
"""Reads all packs, each with what reading it showed, in their order."""

_CODES = {
    Outcome.DAMAGED: Code.PACK_DAMAGED,
    Outcome.HEADER_DAMAGED: Code.PACK_HEADER_DAMAGED,
    Outcome.INDEX_WRONG: Code.INDEX_WRONG,
    Outcome.UNREADABLE: Code.PACK_UNREADABLE,
    Outcome.INCOMPLETE: Code.PACK_INCOMPLETE,
    Outcome.MISPLACED: Code.PACK_MISSING,
    Outcome.UNSTEADY: Code.PACK_UNSTEADY,
}


def read_packs(
    run: Run,
    packs: Collection[bytes],
    unlisted: Collection[bytes],
    damage: Damage,
    watch: Callable[[PackResult], None] | None = None,
    reading: PackReading | None = None,
) -> None:
    """Read *packs* and those that no index lists, and record what is wrong with them.

    *watch* is told what reading each pack showed, before that is recorded. *reading* reads them, by default `with_threads`.
    """
    total = len(packs) + len(unlisted)
    make_ready(run.repo, [*packs, *unlisted], run.progress, run.cancel, sizes=run.file_sizes)
    run.advance(Stage.READ, 0, total)

    def jobs() -> Iterator[Job]:
        yield from run.repo.index.packs(packs)
        for pack in unlisted:
            yield UnlistedPack(pack)

    with contextlib.closing((reading or with_threads)(run, PackChecker(run).check, jobs())) as results:
        for done, (job, result) in enumerate(results, 1):
            if isinstance(result, Exception):
                raise result
            if watch is not None:
                watch(result)
            if isinstance(job, UnlistedPack):
                _record_unlisted(run, result)
            else:
                _record(run, result, damage)
            run.advance(Stage.READ, done, total)
            run.cancel.check()


def with_threads(run: Run, check: PackCheck, jobs: Iterator[Job]) -> Generator[tuple[Job, PackResult | Exception], None, None]:
    """Read packs with as many threads as the options say."""
    return in_order(check, jobs, name="check", workers=run.workers, ahead=4 * run.workers)


def _record(run: Run, result: PackResult, damage: Damage) -> None:
    run.report.packs_read += 1
    run.report.bytes_read += result.bytes_read
    if result.outcome is Outcome.INTACT:
        for entry in result.lengths:
            kind = ObjectKind.TREE if entry.type is BlobType.TREE else ObjectKind.DATA
            what = f"blob {entry.id.hex()} in pack {result.pack.hex()} does not expand to {entry.uncompressed_length} bytes"
            run.add(Finding(Code.BLOB_LENGTH, ObjectRef(kind, entry.id.hex(), result.pack.hex()), what))
        return
    if result.outcome is Outcome.INDEX_WRONG and result.pack in run.wrong:
        return  # This was seen before the pack was read.
    name = result.pack.hex()
    clause = next((fault.clause for fault in result.faults if fault.clause), "")
    code = _CODES[result.outcome]
    number = run.add(Finding(code, ObjectRef(ObjectKind.PACK, name), _message(result), clause, faults=tuple(result.faults)))
    if result.outcome is Outcome.INDEX_WRONG:
        run.wrong.add(result.pack)
    if result.outcome is Outcome.DAMAGED and not result.bad:
        run.set_remedy(number, "its blobs are intact: nothing is lost", (REPAIR_PACK,))
    if result.outcome is Outcome.MISPLACED:
        damage.pack(result.pack, number)
    for entry in result.bad:
        damage.copy(result.pack, entry, number)


def _record_unlisted(run: Run, result: PackResult) -> None:
    run.report.packs_read += 1
    run.report.bytes_read += result.bytes_read
    if result.outcome is Outcome.INTACT:
        return
    run.damaged_unlisted.add(result.pack)
    unreadable = result.outcome in (Outcome.UNREADABLE, Outcome.UNSTEADY)
    code = _CODES[result.outcome] if unreadable else Code.PACK_UNINDEXED_DAMAGED
    run.add(Finding(code, ObjectRef(ObjectKind.PACK, result.pack.hex()), _message(result), faults=tuple(result.faults)))


def _message(result: PackResult) -> str:
    parts = [_short(fault) for fault in result.faults]
    message = f"pack {result.pack.hex()} contains {len(parts)} errors: [{' '.join(parts)}]"
    if result.unreadable:
        message = f"download error: {result.unreadable}"
    if result.outcome is Outcome.UNSTEADY:
        message = f"check successful on second attempt, original error {message}"
    return message


def _short(fault: Fault) -> str:
    if fault.object.kind is ObjectKind.PACK or fault.detail.startswith("blob "):
        return fault.detail
    return f"blob {fault.object.name}: {fault.detail}"
