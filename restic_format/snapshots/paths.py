"""Paths in a snapshot: what is there, and what is in a directory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from restic_format.errors import SnapshotNotFound
from restic_format.repository import Repository
from restic_format.snapshots.walk import Level, Walk
from restic_spec.errors import ResticFormatError
from restic_spec.ids import parse_id
from restic_spec.tree import DIR, Node


def list_directory(repository: Repository, tree: bytes) -> Iterator[Node]:
    """The entries of the directory whose tree is *tree*.

    Raises:
        ResticFormatError: the tree cannot be read, or an entry cannot be used. Nothing comes after that.
    """

    def fault(_level: Level[None], _node: Node | None, error: ResticFormatError) -> None:
        raise error

    for _, node, _ in Walk(repository, tree, None, fault=fault):
        yield node


def stat(repository: Repository, root: bytes, path: str) -> Node | None:
    """The node at *path* (``/``-separated, from the tree *root* on), None where that is *root* itself.

    Raises:
        SnapshotNotFound: there is no such item, or what should be a directory is not one.
        ResticFormatError: a tree on the way cannot be read.
    """
    found: Node | None = None
    walked = ""
    for name in posixpath.normpath(path).split("/"):
        if name in ("", "."):
            continue
        tree = root if found is None else _subtree(found, walked)
        walked = f"{walked}/{name}" if walked else name
        found = _entry(repository, tree, name)
        if found is None:
            raise SnapshotNotFound(f"path {walked}: not found")
    return found


def resolve_subfolder(repository: Repository, root: bytes, subfolder: str) -> bytes:
    """The tree of the directory *subfolder* below the tree *root*. Raises as `stat`."""
    node = stat(repository, root, subfolder)
    return root if node is None else _subtree(node, posixpath.normpath(subfolder).strip("/"))


def _subtree(node: Node, path: str) -> bytes:
    if node.type != DIR or node.subtree is None:
        raise SnapshotNotFound(f"path {path}: not a directory")
    return parse_id(node.subtree)


def _entry(repository: Repository, tree: bytes, wanted: str) -> Node | None:
    """The entry of a directory that has this name; what is wrong with others does not matter."""
    damage: list[ResticFormatError] = []

    def fault(_level: Level[None], node: Node | None, error: ResticFormatError) -> None:
        if node is None:
            damage.append(error)

    for _, node, name in Walk(repository, tree, None, fault=fault):
        if name == wanted:
            return node
    if damage:
        raise damage[0]
    return None
