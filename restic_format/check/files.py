"""The files themselves: do keys and locks hold what their names promise, and is anything there that does not belong?"""

from __future__ import annotations

from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef
from restic_format.check.reasons import clause_of, is_unreadable, load_reason, reason
from restic_format.check.state import Run, Stage
from restic_format.errors import FileMissing, StorageError
from restic_format.storage import Storage
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


def check_files(run: Run) -> None:
    """Check keys and locks, and name stray files. Snapshots, indexes and packs are checked where they are used."""
    run.advance(Stage.FILES, 0)
    for ident, _size in run.files(FileKind.KEY):
        finding = check_key(run.repo.storage, ident.hex())
        if finding is not None:
            number = run.add(finding)
            if ident == run.repo.key_id and finding.code is Code.KEY_DAMAGED:
                run.set_remedy(number, _OPENED, (), _REPLACE_OPENED)
    for ident, size in run.files(FileKind.LOCK):
        _check_lock(run, ident, size)
    try:
        for path in run.repo.storage.strays():
            run.add(Finding(Code.FILE_STRAY, ObjectRef(ObjectKind.FILE, path), f"file {path} does not belong here"))
    except (StorageError, OSError) as error:
        message = f"cannot list the repository's files: {error}"
        run.add(Finding(Code.LIST_FAILED, ObjectRef(ObjectKind.REPOSITORY), message))


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


def _check_lock(run: Run, ident: bytes, size: int) -> None:
    if size == 0:
        return  # An upload that was interrupted; everybody ignores it (LOCK-8).
    name = ident.hex()
    ref = ObjectRef(ObjectKind.LOCK, name)
    try:
        decode_lock(run.repo.load_unpacked(FileKind.LOCK, ident), f"lock {name}")
    except FileMissing:
        return  # Its holder refreshed or released it meanwhile.
    except (ResticFormatError, OSError) as error:
        if is_unreadable(error):
            run.add(Finding(Code.LOCK_UNREADABLE, ref, f"lock {name} cannot be read: {reason(error)}"))
        else:
            run.add(Finding(Code.LOCK_DAMAGED, ref, f"lock {name} is damaged: {reason(error)}", clause_of(error)))
