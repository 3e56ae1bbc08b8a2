"""Diagnosis without a key: every file against its name, and as much as can be told of its form."""

from __future__ import annotations

from collections.abc import Iterator

from restic_format.check.advice import UNREADABLE_CODES
from restic_format.check.files import check_key
from restic_format.check.findings import FILE_KINDS, Code, Finding, ObjectKind, ObjectRef
from restic_format.check.state import CheckEvent, Stage
from restic_format.errors import FileMissing, FileUnusable, ResticFormatError, StorageError
from restic_format.rescue.diagnosis import origins
from restic_format.rescue.diagnosis.opening import Opened
from restic_format.rescue.diagnosis.records import UNKNOWN_COST, BadFile, Cause, Diagnosis, Fault, Means, Origin
from restic_format.storage import Storage, hash_file
from restic_format.work import Advance, Cancel, Progress, in_order
from restic_spec.constants import OVERHEAD
from restic_spec.layout import LISTED_KINDS, FileKind

_CODES = {
    FileKind.LOCK: (Code.LOCK_DAMAGED, ObjectKind.LOCK),
    FileKind.SNAPSHOT: (Code.SNAPSHOT_DAMAGED, ObjectKind.SNAPSHOT),
    FileKind.INDEX: (Code.INDEX_DAMAGED, ObjectKind.INDEX),
    FileKind.PACK: (Code.PACK_DAMAGED, ObjectKind.PACK),
}
_UNREADABLE = {
    FileKind.LOCK: Code.LOCK_UNREADABLE,
    FileKind.SNAPSHOT: Code.SNAPSHOT_UNREADABLE,
    FileKind.INDEX: Code.INDEX_UNREADABLE,
    FileKind.PACK: Code.PACK_UNREADABLE,
}


def empty_lock(name: str) -> Finding:
    """What is to be said of a lock without content: others pass over it in silence (LOCK-8)."""
    ref = ObjectRef(ObjectKind.LOCK, name)
    return Finding(Code.LOCK_DAMAGED, ref, f"lock {name} is empty, as an interrupted upload leaves it")


def look_at_files(opened: Opened, progress: Progress[CheckEvent], cancel: Cancel) -> Diagnosis:
    """What is wrong with the files of a repository that is not opened."""
    storage = opened.storage
    result = Diagnosis(opened=False, trouble=opened.trouble)
    findings: list[Finding] = []
    jobs: list[tuple[FileKind, str]] = []
    listed: dict[bytes, FileKind] = {}
    for kind in LISTED_KINDS:
        try:
            for name, _ in storage.list(kind):
                listed[bytes.fromhex(name)] = kind
                jobs.append((kind, name))
        except StorageError as error:
            findings.append(Finding(Code.LIST_FAILED, ObjectRef(ObjectKind.REPOSITORY), f"cannot list {kind.value}: {error}"))
    strays = list(_strays(storage, findings))
    names = origins.Names(listed, [finding.object.name for finding in strays])
    result.notes += strays
    result.packs = sum(kind is FileKind.PACK for kind, _ in jobs)
    findings += _config(storage)
    findings += [found for kind, name in jobs if kind is FileKind.KEY and (found := check_key(storage, name)) is not None]
    if not any(kind is FileKind.KEY for kind, _ in jobs):
        message = "there is no key file: without one no password opens anything"
        findings.append(Finding(Code.KEY_DAMAGED, ObjectRef(ObjectKind.KEY), message))
    hashed = [job for job in jobs if job[0] is not FileKind.KEY]
    progress(Advance(Stage.READ, 0, len(hashed)))

    def read(job: tuple[FileKind, str]) -> tuple[bytes, int]:
        found = hash_file(storage, *job)
        # A transfer may have been at fault.
        return found if found[0].hex() == job[1] else hash_file(storage, *job)

    hashes: dict[str, tuple[bytes, int]] = {}
    for done, ((kind, name), read_file) in enumerate(in_order(read, hashed, name="hash"), 1):
        cancel.check()
        if isinstance(read_file, Exception):
            if not isinstance(read_file, ResticFormatError | OSError):
                raise read_file
            findings += _failed(kind, name, read_file)
        else:
            if kind is FileKind.PACK:
                result.packs_read += 1
                result.bytes_read += read_file[1]
            if kind is FileKind.LOCK and not read_file[1]:
                findings.append(empty_lock(name))
            elif read_file[0].hex() != name:
                hashes[name] = read_file
                code, shown = _CODES[kind]
                message = f"{kind.value}/{name}: its content is not what its name says"
                findings.append(Finding(code, ObjectRef(shown, name), message))
        progress(Advance(Stage.READ, done, len(hashed)))
    for finding in findings:
        progress(finding)
        result.faults.append(_fault(storage, finding, names, hashes))
        kind_of = FILE_KINDS.get(finding.object.kind)
        if kind_of is not None and finding.object.name and result.faults[-1].origin is not Origin.UNREADABLE:
            result.files.append(BadFile(kind_of, finding.object.name, result.faults[-1].origin is not Origin.MISSING))
    result.causes = [Cause(fault.origin, (number,), fault.means) for number, fault in enumerate(result.faults)]
    return result


def _strays(storage: Storage, findings: list[Finding]) -> Iterator[Finding]:
    try:
        for path in storage.strays():
            yield Finding(Code.FILE_STRAY, ObjectRef(ObjectKind.FILE, path), f"file {path} does not belong here")
    except StorageError as error:
        findings.append(Finding(Code.LIST_FAILED, ObjectRef(ObjectKind.REPOSITORY), f"cannot list the files: {error}"))


def _config(storage: Storage) -> Iterator[Finding]:
    ref = ObjectRef(ObjectKind.CONFIG, "config")
    try:
        size = storage.size(FileKind.CONFIG, "")
    except FileMissing:
        yield Finding(Code.CONFIG_DAMAGED, ref, "the config is missing")
    except StorageError as error:
        yield Finding(Code.LIST_FAILED, ref, f"the config cannot be read: {error}")
    else:
        if size <= OVERHEAD:
            yield Finding(Code.CONFIG_DAMAGED, ref, f"the config has only {size} bytes")


def _failed(kind: FileKind, name: str, error: Exception) -> Iterator[Finding]:
    code, shown = _CODES[kind]
    if isinstance(error, FileMissing) and kind is not FileKind.PACK:
        return  # Removed meanwhile.
    if not isinstance(error, FileUnusable | FileMissing):
        code = _UNREADABLE[kind]
    yield Finding(code, ObjectRef(shown, name), f"{kind.value}/{name}: {error}")


def _fault(storage: Storage, finding: Finding, names: origins.Names, hashes: dict[str, tuple[bytes, int]]) -> Fault:
    kind = FILE_KINDS.get(finding.object.kind)
    name = finding.object.name
    if kind is FileKind.LOCK or finding.code in UNREADABLE_CODES or kind is None:
        origin, why = origins.of_finding(finding)
    elif kind is FileKind.PACK:
        digest, size = hashes.get(name, (b"", 0))
        facts = origins.PackFacts(digest, size, 0, frozenset(), is_compressed=False)
        origin, why = origins.of_pack(finding.code, name, facts, names, ())
    elif not name:
        origin, why = Origin.MISSING, "the folder keys is empty"
    else:
        origin, why = origins.of_file(storage, kind, name, names)
    means = origins.means_for(finding.code, origin, ())
    if finding.code is Code.PACK_DAMAGED:
        means = (Means.SOLVING, Means.COPIES)
    return Fault(finding.object, [finding], origin, why, means, UNKNOWN_COST)
