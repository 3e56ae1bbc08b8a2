"""Reading packs whole: hash of the file, every blob, the header, and the header against the index.

Two worker threads each take a pack, read it in pieces of a few MiB and do the heavy work (hashing, decrypting, expanding)
without the interpreter's lock; what they find goes through a queue to the thread that called.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from queue import SimpleQueue
from typing import NamedTuple

from restic_format.errors import StorageError
from restic_format.maintenance.affected import Damage
from restic_format.maintenance.blobs import clause_of, describe
from restic_format.maintenance.check_state import Run, Stage
from restic_format.maintenance.findings import Code, Fault, Finding, ObjectKind, ObjectRef
from restic_format.repository.index import layout_of
from restic_spec.errors import SpecError
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry

PIECE = 4 << 20
"""Bytes read at a time; a blob that is larger is read in one go."""

HEADER_OVERHEAD = 36
"""Bytes of a pack's end that are no header entry: IV, MAC and the length field."""

_KINDS = {BlobType.TREE: ObjectKind.TREE, BlobType.DATA: ObjectKind.DATA}


class PackResult(NamedTuple):
    """What reading one pack showed."""

    pack: bytes
    bytes_read: int
    faults: list[Fault]
    unreadable: str
    """Why the storage did not give the whole file, "" where it did."""
    bad: list[PackEntry]
    """Blobs that were read and are damaged."""
    unread: list[PackEntry]
    """Blobs that could not be read."""
    header: list[Fault]
    """What is wrong with the header of a file that is damaged as a whole."""
    transient: bool = False
    """Whether a second attempt found nothing wrong."""


class PackReader:
    """Reads packs and says what is wrong with them; used by one thread at a time."""

    def __init__(self, run: Run) -> None:
        self.repo = run.repo
        self.sizes = run.sizes
        self.file_sizes = run.file_sizes

    def check(self, pack: bytes, entries: list[PackEntry]) -> PackResult:
        """Read one pack; a fault is looked at a second time, for storage and memory can err once.

        *entries* is what the index says, in order of the offsets.
        """
        first = self._check(pack, entries)
        if not first.faults and not first.unreadable:
            return first
        second = self._check(pack, entries)
        if second.faults or second.unreadable:
            return second
        return first._replace(transient=True, bad=[], unread=[])

    def _check(self, pack: bytes, entries: list[PackEntry]) -> PackResult:
        size = self.sizes[pack]
        available = min(size, self.file_sizes.get(pack, 0))
        faults: list[Fault] = []
        bad: list[PackEntry] = []
        this = ObjectRef(ObjectKind.PACK, pack.hex())
        if layout_of(entries).gaps:
            faults.append(Fault(this, "index for pack contains gaps / overlapping blobs", "PACK-10"))
        digest = self.repo.pack_hash()
        end = max((entry.offset + entry.length for entry in entries), default=0)
        tail = b""
        read = 0
        try:
            for start, piece, inside in self._pieces(pack, entries, available):
                read += len(piece)
                for entry, error in self.repo.verify_blobs(piece, start, inside, digest):
                    bad.append(entry)
                    ref = ObjectRef(_KINDS[entry.type], entry.id.hex(), pack.hex())
                    faults.append(Fault(ref, describe(error, pack, entry), clause_of(error)))
                if start >= end:
                    tail = piece if not tail else tail + piece
        except (StorageError, OSError) as error:
            return PackResult(pack, read, faults, str(error), bad, _beyond(entries, read), [])
        if read < size:
            why = "file is too short" if pack in self.file_sizes else "no such file"
            return PackResult(pack, read, faults, why, bad, _beyond(entries, read), [])
        actual = digest.digest()
        header = self._header(this, entries, tail, size)
        if actual != pack:
            faults.append(Fault(this, f"unexpected pack id {actual.hex()}", "LAYOUT-1"))
            return PackResult(pack, read, faults, "", bad, [], header)
        return PackResult(pack, read, faults + header, "", bad, [], [])

    def _pieces(self, pack: bytes, entries: list[PackEntry], size: int) -> Iterator[tuple[int, bytes, list[PackEntry]]]:
        """(offset, bytes, blobs wholly inside) of the first *size* bytes, in order."""
        name = pack.hex()
        position = 0
        queue = list(reversed(entries))
        while position < size:
            inside: list[PackEntry] = []
            stop = position
            while queue:
                entry = queue[-1]
                if entry.offset < position:
                    queue.pop()  # Overlaps what is behind; the index is at fault and has been named.
                    continue
                if entry.offset + entry.length > size:
                    queue.clear()  # Beyond the end of a file that was cut short; so are all that follow.
                    break
                if inside and entry.offset + entry.length - position > PIECE:
                    break
                if entry.offset - position > PIECE:
                    stop = min(entry.offset, position + PIECE)
                    break
                stop = max(stop, entry.offset + entry.length)
                inside.append(queue.pop())
            if not inside and stop == position:
                stop = size
            stop = min(stop, size)
            yield position, self.repo.storage.load(FileKind.PACK, name, position, stop - position), inside
            position = stop

    def _header(self, this: ObjectRef, entries: list[PackEntry], tail: bytes, size: int) -> list[Fault]:
        try:
            listed = self.repo.open_header(tail, size)
        except SpecError as error:
            return [Fault(this, error.what, error.clause)]
        if listed == entries:
            return []
        faults = []
        want = size - sum(entry.length for entry in entries)
        have = HEADER_OVERHEAD + sum(entry.header_size for entry in listed)
        if want != have:
            what = f"pack header size does not match, want {want}, got {have}"
            faults.append(Fault(this, what, "INDEX-7"))
        known = set(entries)
        for entry in listed:
            if entry not in known:
                ref = ObjectRef(_KINDS[entry.type], entry.id.hex(), this.name)
                what = f"blob {entry.id.hex()} is not contained in index or position is incorrect"
                faults.append(Fault(ref, what, "INDEX-7"))
        return faults


def _beyond(entries: list[PackEntry], end: int) -> list[PackEntry]:
    return [entry for entry in entries if entry.offset + entry.length > end]


def read_packs(run: Run, packs: Collection[bytes], damage: Damage) -> None:
    """Read *packs* with worker threads and record what is wrong with them."""
    run.progress.stage(Stage.READ, len(packs))
    results: SimpleQueue[PackResult | BaseException] = SimpleQueue()
    stop = threading.Event()
    todo = run.repo.index.by_pack(packs)
    turn = threading.Lock()

    def work() -> None:
        reader = PackReader(run)
        try:
            while not stop.is_set():
                with turn:
                    job = next(todo, None)
                if job is None:
                    return
                results.put(reader.check(*job))
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
    for entry in lost:
        if _has_other_copy(run, entry, result.pack):
            continue
        if entry.type is BlobType.DATA:
            damage.data(entry.id, number)
        else:
            damage.tree(entry.id, number)


def _short(fault: Fault) -> str:
    if fault.object.kind is ObjectKind.PACK or fault.detail.startswith("blob "):
        return fault.detail
    return f"blob {fault.object.name}: {fault.detail}"


def _has_other_copy(run: Run, entry: PackEntry, pack: bytes) -> bool:
    return any(
        location.pack != pack and location.pack in run.file_sizes
        for location in run.repo.index.lookup_all(entry.type, entry.id)
    )
