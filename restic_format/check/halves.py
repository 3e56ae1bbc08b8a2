"""A repository in two places: has the hot half what it must have?"""

from __future__ import annotations

from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef
from restic_format.check.state import Run, list_failed
from restic_format.errors import StorageError
from restic_format.repository.halves import hot_config_fault, missing_in_hot
from restic_spec.layout import FileKind

_OBJECTS = {
    FileKind.KEY: ObjectKind.KEY,
    FileKind.SNAPSHOT: ObjectKind.SNAPSHOT,
    FileKind.INDEX: ObjectKind.INDEX,
    FileKind.PACK: ObjectKind.PACK,
}


def check_hot_half(run: Run) -> None:
    """Name what the hot half lacks, if there is one. The index must be loaded."""
    try:
        fault = hot_config_fault(run.repo)
        if fault:
            run.add(Finding(Code.HOT_INCOMPLETE, ObjectRef(ObjectKind.CONFIG), fault))
        for file in missing_in_hot(run.repo):
            ref = ObjectRef(_OBJECTS[file.kind], file.name)
            run.add(Finding(Code.HOT_INCOMPLETE, ref, f"{ref} is not in the hot half, or has another size there"))
    except (StorageError, OSError) as error:
        run.add(list_failed("the hot half of the repository", error))
