"""Symbolic links inside a snapshot."""

from __future__ import annotations

from collections.abc import Callable

from restic_format.errors import SnapshotNotFound
from restic_spec.tree import SYMLINK, Node

MOST_LINKS = 40
"""Symbolic links that are followed for one path, as many as by Linux."""
LONGEST = 4096
"""Characters of a target; no system has a longer one."""


def follow(stat: Callable[[str], Node], path: str, folder: str = "", *, last: bool = True) -> str:
    """The path of what *path* leads to; *stat* gives the node at a path that has no links in it, or only at its end.

    Absolute targets lead from the root of the snapshot, of which *folder* is what *stat* sees as the root ("" for all of it).
    A link at the end itself is followed only with *last*.

    Raises:
        SnapshotNotFound: nothing is there, a link leads out of *folder*, or there are too many.
        ResticFormatError: as *stat*.
    """
    links = 0
    done: list[str] = []
    left = _parts(path)
    while left:
        name = left.pop()
        if name == "..":
            done = done[:-1]
            continue
        here = "/" + "/".join([*done, name])
        if not left and not last:
            done.append(name)
            break
        node = stat(here)
        if node.type != SYMLINK:
            done.append(name)
            continue
        links += 1
        if links > MOST_LINKS:
            raise SnapshotNotFound(f"path {path}: too many levels of symbolic links")
        target = node.target
        if len(target) > LONGEST:
            raise SnapshotNotFound(f"path {path}: the target of the symbolic link {here} is too long")
        if target.startswith("/"):
            if target != folder and not target.startswith(folder + "/"):
                raise SnapshotNotFound(f"path {path}: the symbolic link {here} leads to {target}, outside of {folder}")
            target = target[len(folder) :]
            done = []
        left += _parts(target)
    return "/" + "/".join(done)


def _parts(path: str) -> list[str]:
    """The names of a path, the first one at the end."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
