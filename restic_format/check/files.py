"""The files themselves: do keys and locks hold what their names promise, and is anything there that does not belong?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef
from restic_format.check.reasons import clause_of, is_unreadable, load_reason, reason
from restic_format.check.state import Run, Stage, list_failed
from restic_format.errors import FileMissing, StorageError
from restic_format.storage import Storage
from restic_format.work import Later, in_order
from restic_spec.errors import ResticFormatError
from restic_spec.ids import id_of, parse_id, verify_id
from restic_spec.keyfile import decode_keyfile
from restic_spec.layout import FileKind
from restic_spec.lock import decode_lock

_OPENED = "it has just opened the repository, but restic opens nothing with it, as its content is not what its name says"
_REPLACE_OPENED = (
    "make a new key with `restic-format key add`, which still opens the repository with this one, and then move the file "
    "keys/ID out of the repository"
)


FileFaults = Sequence[tuple[Finding, bytes]]
"""What is wrong with keys, locks and stray files; with each key file that is damaged its id, else b""."""


def check_files(run: Run, found: Callable[[], FileFaults] | None = None) -> None:
    """Check keys and locks, and name stray files. Snapshots, indexes and packs are checked where they are used.

    *found* gives what `find_in_files` has found, where that is under way already.
    """
    run.advance(Stage.FILES, 0)
    for finding, key in find_in_files(run) if found is None else found():
        number = run.add(finding)
        if key == run.repo.key_id and finding.code is Code.KEY_DAMAGED:
            run.set_remedy(number, _OPENED, (), _REPLACE_OPENED)


def find_in_files(run: Run) -> FileFaults:
    """What is wrong with keys and locks, and the stray files; may be called from any thread."""
    storage = run.repo.storage
    found: list[tuple[Finding, bytes]] = []

    def listed(kind: FileKind) -> list[tuple[FileKind, bytes, int]]:
        files: list[tuple[FileKind, bytes, int]] = []
        try:
            files.extend((kind, bytes.fromhex(name), size) for name, size in storage.list(kind))
        except (StorageError, OSError) as error:
            found.append((list_failed(kind.value, error), b""))
        return files

    def check(job: tuple[FileKind, bytes, int]) -> Finding | None:
        kind, ident, size = job
        return check_key(storage, ident.hex()) if kind is FileKind.KEY else _check_lock(run, ident, size)

    locks = Later(partial(listed, FileKind.LOCK), now=not storage.at_hand, name="list locks")
    jobs = [*listed(FileKind.KEY), *locks.get()]
    with contextlib.closing(in_order(check, jobs, name="files", workers=storage.readers, ahead=storage.readers + 2)) as results:
        for (kind, ident, _), finding in results:
            if isinstance(finding, Exception):
                raise finding
            if finding is not None:
                found.append((finding, ident if kind is FileKind.KEY else b""))
    try:
        for path in storage.strays():
            finding = Finding(Code.FILE_STRAY, ObjectRef(ObjectKind.FILE, path), f"file {path} does not belong here")
            found.append((finding, b""))
    except (StorageError, OSError) as error:
        found.append((list_failed("the repository's files", error), b""))
    return found


def check_key(storage: Storage, name: str) -> Finding | None:
    """What is wrong with a key file, None where nothing is; needs no password."""
    ref = ObjectRef(ObjectKind.KEY, name)
    try:
        raw = storage.load(FileKind.KEY, name)
        if id_of(raw).hex() != name:
            raw = storage.load(FileKind.KEY, name)  # A transfer may have been at fault.
        verify_id(raw, parse_id(name), f"key {name}")
        decode_keyfile(raw, f"key {name}").derivation()
    except FileMissing:
        return None  # Removed meanwhile.
    except (ResticFormatError, OSError) as error:
        if is_unreadable(error):
            return Finding(Code.KEY_UNREADABLE, ref, f"key {name} cannot be read: {reason(error)}")
        message = f"key {name} is damaged: {load_reason('key', parse_id(name), error)}"
        return Finding(Code.KEY_DAMAGED, ref, message, clause_of(error))
    return None


def damaged_keys(storage: Storage) -> list[Finding]:
    """The key files that are damaged or cannot be read: what to look at when no key of a repository opens."""
    found = [check_key(storage, name) for name, _size in storage.list(FileKind.KEY)]
    return [finding for finding in found if finding is not None]


def _check_lock(run: Run, ident: bytes, size: int) -> Finding | None:
    if size == 0:
        return None  # An upload that was interrupted; everybody ignores it (LOCK-8).
    name = ident.hex()
    ref = ObjectRef(ObjectKind.LOCK, name)
    try:
        decode_lock(run.repo.load_unpacked(FileKind.LOCK, ident), f"lock {name}")
    except FileMissing:
        return None  # Its holder refreshed or released it meanwhile.
    except (ResticFormatError, OSError) as error:
        if is_unreadable(error):
            return Finding(Code.LOCK_UNREADABLE, ref, f"lock {name} cannot be read: {reason(error)}")
        return Finding(Code.LOCK_DAMAGED, ref, f"lock {name} is damaged: {reason(error)}", clause_of(error))
    return None
