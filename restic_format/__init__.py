"""restic repositories for programs: open or create one, look at snapshots, back up, restore, check, forget, prune, copy.

What is listed here is the public face, with `restic_format.errors` and `restic_format.events`; docs/guide/library.md shows all
of it and says what that promises. It is imported when it is first used.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from restic_format.api.files import SnapshotFiles
    from restic_format.api.opening import create_repository, open_repository
    from restic_format.api.records import (
        BackupResult,
        CopyResult,
        Entry,
        ForgetDecision,
        ForgetResult,
        PruneRun,
        RestoreResult,
        SnapshotInfo,
    )
    from restic_format.api.repository import OpenRepository
    from restic_format.backup.job import BackupOptions
    from restic_format.check.state import CheckReport
    from restic_format.maintenance.duration import Duration
    from restic_format.maintenance.policy import KeepPolicy
    from restic_format.maintenance.prune.records import MaxUnused, PruneOptions
    from restic_format.restore.request import Overwrite
    from restic_format.snapshots.find import SnapshotFilter
    from restic_format.storage.transport import Transport
    from restic_format.work import Cancel
    from restic_spec.errors import ResticFormatError

__all__ = [
    "BackupOptions",
    "BackupResult",
    "Cancel",
    "CheckReport",
    "CopyResult",
    "Duration",
    "Entry",
    "ForgetDecision",
    "ForgetResult",
    "KeepPolicy",
    "MaxUnused",
    "OpenRepository",
    "Overwrite",
    "PruneOptions",
    "PruneRun",
    "RestoreResult",
    "ResticFormatError",
    "SnapshotFiles",
    "SnapshotFilter",
    "SnapshotInfo",
    "Transport",
    "__version__",
    "create_repository",
    "open_repository",
]

_HOMES = {
    "BackupOptions": "restic_format.backup.job",
    "BackupResult": "restic_format.api.records",
    "Cancel": "restic_format.work",
    "CheckReport": "restic_format.check.state",
    "CopyResult": "restic_format.api.records",
    "Duration": "restic_format.maintenance.duration",
    "Entry": "restic_format.api.records",
    "ForgetDecision": "restic_format.api.records",
    "ForgetResult": "restic_format.api.records",
    "KeepPolicy": "restic_format.maintenance.policy",
    "MaxUnused": "restic_format.maintenance.prune.records",
    "OpenRepository": "restic_format.api.repository",
    "Overwrite": "restic_format.restore.request",
    "PruneOptions": "restic_format.maintenance.prune.records",
    "PruneRun": "restic_format.api.records",
    "RestoreResult": "restic_format.api.records",
    "ResticFormatError": "restic_spec.errors",
    "SnapshotFiles": "restic_format.api.files",
    "SnapshotFilter": "restic_format.snapshots.find",
    "SnapshotInfo": "restic_format.api.records",
    "Transport": "restic_format.storage.transport",
    "create_repository": "restic_format.api.opening",
    "open_repository": "restic_format.api.opening",
}
"""The module of each name above."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'restic_format' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
