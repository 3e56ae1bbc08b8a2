"""Taking away the caches of repositories that nobody has used for long."""

from __future__ import annotations

import os
import shutil
import time

from restic_format.repository.indexcache import TAG, TAG_NAME
from restic_spec import gojson
from restic_spec.ids import is_hex_id

MAX_AGE = 30 * 24 * 3600
"""Seconds after its last use at which a cache is old; restic's limit for its own."""


def remove_old_caches(folder: str, *, keep: str = "", max_age: float = MAX_AGE) -> int:
    """Remove the caches in *folder* that were last used more than *max_age* seconds ago; gives how many.

    Only folders named by a repository id, in a folder that bears our own tag, are ever touched; the one of the repository
    *keep* stays. What cannot be removed is left alone.
    """
    oldest = time.time() - max_age
    place = gojson.to_bytes(folder)
    if not _is_ours(place):
        return 0
    removed = 0
    try:
        with os.scandir(place) as entries:
            old = [entry.path for entry in entries if entry.name != keep.encode() and _is_old(entry, oldest)]
    except OSError:
        return 0
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
        removed += not os.path.lexists(path)
    return removed


def _is_ours(folder: bytes) -> bool:
    try:
        with open(os.path.join(folder, TAG_NAME.encode()), "rb") as file:
            return file.read(len(TAG)) == TAG
    except OSError:
        return False


def _is_old(entry: os.DirEntry[bytes], oldest: float) -> bool:
    try:
        is_cache = is_hex_id(gojson.to_text(entry.name)) and entry.is_dir(follow_symlinks=False)
        return is_cache and entry.stat(follow_symlinks=False).st_mtime < oldest
    except OSError:
        return False
