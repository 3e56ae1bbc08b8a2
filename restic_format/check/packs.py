"""Reading packs whole: hash of the file, every blob, the header, and the header against the index.

Two worker threads each take a pack, read it in pieces of a few MiB and do the heavy work (hashing, decrypting, expanding)
without the interpreter's lock; what they find goes through a queue to the thread that called.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from queue import SimpleQueue

from restic_format.check.affected import Damage
from restic_format.check.findings import Code, Fault, Finding, ObjectKind, ObjectRef
from restic_format.check.packreader import PackReader, PackResult
from restic_format.check.state import Run, Stage
from restic_spec.pack import BlobType, PackEntry


def read_packs(run: Run, packs: Collection[bytes], damage: Damage) -> None:
    """Read *packs* with worker threads and record what is wrong with them."""
    run.progress.stage(Stage.READ, len(packs))
    results: SimpleQueue[PackResult | BaseException] = SimpleQueue()
    stop = threading.Event()
    todo = run.repo.index.packs(packs)
    turn = threading.Lock()

    def work() -> None:
        reader = PackReader(run)
        try:
            while not stop.is_set():
                with turn:
                    job = next(todo, None)
                if job is None:
                    return
                results.put(reader.check(job))
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread, which raises it
            results.put(error)

    threads = [
        threading.Thread(target=work, name=f"check-{number}", daemon=True)
        for number in range(max(1, min(run.options.workers, len(packs))))
    ]
    for thread in threads:
        thread.start()
    try:
        for done in range(1, len(packs) + 1):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            _record(run, result, damage)
            run.progress.advance(Stage.READ, done)
            run.check_interrupt()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _record(run: Run, result: PackResult, damage: Damage) -> None:
    run.report.packs_read += 1
    run.report.bytes_read += result.bytes_read
    name = result.pack.hex()
    this = ObjectRef(ObjectKind.PACK, name)
    if not result.faults and not result.unreadable:
        return
    code = Code.PACK_DAMAGED
    parts = [_short(fault) for fault in result.faults]
    message = f"pack {name} contains {len(parts)} errors: [{' '.join(parts)}]"
    if result.unreadable:
        code = Code.PACK_UNREADABLE
        message = f"download error: {result.unreadable}"
    if result.transient:
        code = Code.PACK_UNSTEADY
        message = f"check successful on second attempt, original error {message}"
    clause = next((fault.clause for fault in result.faults if fault.clause), "")
    number = run.add(Finding(code, this, message, clause, faults=(*result.faults, *result.header)))
    lost = list(result.bad)
    if run.file_sizes.get(result.pack) == run.sizes[result.pack]:
        lost += result.unread  # A file that is missing or cut short was named, with what it costs, before.
    for entry in distinct_blobs(lost):
        if _has_other_copy(run, entry, result.pack):
            continue
        if entry.type is BlobType.DATA:
            damage.data(entry.id, number)
        else:
            damage.tree(entry.id, number)


def distinct_blobs(entries: Iterable[PackEntry]) -> Iterable[PackEntry]:
    """One entry for each blob: a pack may list any number of copies, and the index is asked for all of them each time."""
    return {(entry.type, entry.id): entry for entry in entries}.values()


def _short(fault: Fault) -> str:
    if fault.object.kind is ObjectKind.PACK or fault.detail.startswith("blob "):
        return fault.detail
    return f"blob {fault.object.name}: {fault.detail}"


def _has_other_copy(run: Run, entry: PackEntry, pack: bytes) -> bool:
    return any(
        location.pack != pack and location.pack in run.file_sizes
        for location in run.repo.index.lookup_all(entry.type, entry.id)
    )
