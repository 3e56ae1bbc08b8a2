"""The operating system's errors as errors of storage: told as restic tells them, sorted by what they say about the file."""

from __future__ import annotations

import errno

from restic_format.errors import AccessDenied, FileMissing, FileUnusable, NoSpace, StorageAway, StorageError
from restic_format.systemtext import errno_text
from restic_spec import gojson

_AWAY = (
    *(errno.EIO, errno.ENODEV, errno.ENOMEDIUM, errno.EREMOTEIO, errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN),
    *(errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
)

_CLASSES: dict[int, type[StorageError]] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), FileMissing),
    **dict.fromkeys((errno.EISDIR, errno.ENXIO), FileUnusable),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), AccessDenied),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), NoSpace),
    **dict.fromkeys(_AWAY, StorageAway),
}


def told(operation: str, path: bytes, error: OSError, object: str = "") -> StorageError:
    """*error*, which happened in *operation* on *path*: ``open /srv/repo/keys/…: permission denied``."""
    kind = _CLASSES.get(error.errno or 0, StorageError)
    return kind(f"{operation} {gojson.to_text(path)}: {errno_text(error)}", object=object, cause=error)
