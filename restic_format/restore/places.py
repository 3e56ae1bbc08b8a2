"""A run of a pack written to where it belongs in a few calls of the kernel, without the interpreter lock.

The kernel fills files that are open, and creates new files of one blob with all that belongs to them. Whatever is not entirely
ordinary it leaves, and so does a step that fails: that is done once more, step by step, by those who know how to report what is
wrong.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from restic_format.native import places
from restic_format.restore.session import Session
from restic_spec.crypto import OVERHEAD

if TYPE_CHECKING:
    from restic_format.native.places._places import PlaceWriter


def place_writer(session: Session) -> PlaceWriter | None:
    """The kernel's writer for this thread and the session's tables, None where there is no kernel.

    It keeps the tables from growing as long as it lives.
    """
    if places.UNAVAILABLE is not None:
        return None
    files, dirs = session.files, session.dirs
    return places.PlaceWriter(
        OVERHEAD,
        session.plan.columns(),
        (files.directory, files.state, files.size, files.blobs, files.remaining),
        files.names.columns(),
        files.meta.columns(),
        (dirs.state, dirs.traits),
        (os.geteuid(), os.getegid()),
        not session.options.sparse,
    )
