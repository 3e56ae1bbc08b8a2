"""From the targets of a backup to the top of its tree.

Below ``/`` of a snapshot stand the directories that lead to the targets. A relative target keeps its own components
(``a/b`` becomes ``/a/b``), one that leads upwards (``../x``) loses the ``..``, one without components of its own (``.``,
``..``, ``/``) is replaced by what the directory contains. Where targets from different places would share a name at the top,
the first one has it and the others get it with ``-1``, ``-2`` … behind it, the first that no target has (SNAP-13).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set

import msgspec

from restic_format.backup.errors import BackupFailed, SourceError
from restic_format.backup.source import OPEN_FLAGS, Place, list_directory


class TargetTree(msgspec.Struct):
    """A directory of the snapshot's top, or a target in it (then ``path`` is set and there are no children)."""

    children: dict[bytes, TargetTree] = msgspec.field(default_factory=dict)
    path: bytes = b""
    """Where on the source the item to back up is."""
    info_path: bytes = b""
    """For a directory that only leads to targets: where its metadata are."""
    origin: tuple[bytes, bytes] = (b"", b"")
    """For a top entry the directory it was found in and its name there, to tell apart entries of the same name."""
    stand_in: bytes = b""
    """For a directory that only leads to targets and may not be there: the one whose metadata it gets."""
    explicit: bool = False
    """Whether the target was named by the user: then no pattern excludes it."""

    def names(self) -> list[bytes]:
        """The children's names, sorted."""
        return sorted(self.children)


def clean(path: bytes) -> bytes:
    """The shortest path of the same meaning; an empty path becomes ``.``."""
    cleaned = os.path.normpath(path)
    return cleaned[1:] if cleaned.startswith(b"//") else cleaned


def join(*parts: bytes) -> bytes:
    """The parts as one clean path, empty ones ignored."""
    present = [part for part in parts if part]
    return clean(b"/".join(present)) if present else b""


def components(path: bytes, *, keep_parents: bool = False) -> list[bytes]:
    """The components of a path; without *keep_parents* a relative path is taken as if it began at ``/``."""
    path = clean(path if keep_parents or path.startswith(b"/") else b"/" + path)
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def root_directory(path: bytes) -> bytes:
    """The directory that holds the first component of *path*."""
    if path.startswith(b"/"):
        return b"/"
    up = [part for part in components(path, keep_parents=True) if part == b".."]
    return join(b".", *up)


def build_target_tree(targets: Iterable[bytes]) -> TargetTree:
    """The tree for *targets*.

    Raises:
        BackupFailed: a directory cannot be listed, or two targets claim the same place.
    """
    tree = TargetTree()
    expanded: dict[bytes, bool] = {}
    for path, explicit in _expanded(targets):
        expanded.setdefault(path, explicit)
    names = {components(path)[0] for path in expanded}
    for path, explicit in expanded.items():
        _add(tree, path, explicit, names)
    _unroll(tree)
    return tree


def build_moved_tree(target: bytes, as_path: bytes) -> TargetTree:
    """The tree for *target* as if it were at *as_path*, which need not exist. Where that has no components of its own, what is
    in the target stands at the top.

    Raises:
        BackupFailed: the target must be a directory then, and cannot be listed.
    """
    tree = TargetTree()
    path, stored = clean(target), clean(as_path)
    if not components(stored):
        for name in _list(path):
            tree.children[name] = TargetTree(path=join(path, name))
        return tree
    _add(tree, stored, explicit=True, names=set())
    stand_in = os.path.dirname(os.path.realpath(path))
    node = tree
    for node in _chain(tree):
        node.stand_in = stand_in
    node.path = b"/." if path == b"/" else path
    return tree


def _chain(tree: TargetTree) -> Iterator[TargetTree]:
    """The directories that lead to the only target, and at last the target."""
    while tree.children:
        [tree] = tree.children.values()
        yield tree


def _expanded(targets: Iterable[bytes]) -> list[tuple[bytes, bool]]:
    """Clean targets, those without components of their own replaced by what they contain; and whether the user named them."""
    result: list[tuple[bytes, bool]] = []
    for target in targets:
        path = clean(target)
        if components(path):
            result.append((path, True))
        else:
            result.extend((join(path, name), False) for name in _list(path))
    return result


def _add(tree: TargetTree, path: bytes, explicit: bool, names: Set[bytes]) -> None:
    """Add one target below the root; *names* are those that some target has there by itself."""
    first, *rest = components(path)
    root = root_directory(path)
    origin = root, first
    name = first
    number = 0
    while tree.children.get(name, TargetTree(origin=origin)).origin != origin or (number and name in names):
        number += 1
        name = b"%s-%d" % (first, number)
    node = tree.children.setdefault(name, TargetTree(origin=origin))
    if rest:
        node.info_path = join(root, first)
        _add_below(node, path, node.info_path, rest, explicit)
    else:
        node.path = path
        node.explicit = explicit


def _add_below(tree: TargetTree, path: bytes, directory: bytes, rest: list[bytes], explicit: bool) -> None:
    """Add the target *path*, of which *rest* is still to come, below *tree*, whose directory is *directory*."""
    *leading, last = rest
    for name in leading:
        directory = join(directory, name)
        tree = tree.children.setdefault(name, TargetTree())
        tree.info_path = directory
    node = tree.children.setdefault(last, TargetTree())
    if node.path:
        raise BackupFailed(f"two targets stand for the same place {_text(path)}; name only one of them")
    node.path = path
    node.explicit = explicit


def _unroll(tree: TargetTree) -> None:
    """Where a target lies inside another target, replace the outer one by its entries."""
    waiting = [tree]
    while waiting:
        tree = waiting.pop()
        if tree.path and tree.children:
            for name in _list(tree.path):
                path = join(tree.path, name)
                child = tree.children.setdefault(name, TargetTree())
                if child.path and child.path != path:
                    raise BackupFailed(
                        f"{_text(path)} and {_text(child.path)} would stand at the same place of the snapshot; "
                        "back them up separately"
                    )
                child.path = path
            tree.path = b""
        waiting.extend(tree.children.values())


def _list(path: bytes) -> list[bytes]:
    try:
        return list_directory(Place.of_target(path), OPEN_FLAGS & ~os.O_NOFOLLOW)
    except OSError as error:
        raise BackupFailed(str(SourceError.from_os("open", path, error, "openfile for readdirnames failed: "))) from error


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
