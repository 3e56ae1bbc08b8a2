"""What a target names: a file by its path, an object of a repository by kind and id, a path in a snapshot, a stream."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from restic_format.errors import UsageError
from restic_format.words import printable
from restic_spec.layout import KINDS, FileKind


class ObjectKind(Enum):
    """A kind of object that can be looked at; the value is its word in targets and messages."""

    CONFIG = "config"
    KEY = "key"
    INDEX = "index"
    SNAPSHOT = "snapshot"
    LOCK = "lock"
    PACK = "pack"
    BLOB = "blob"
    TREE = "tree"
    UNKNOWN = "unknown"
    """A file of which neither its place nor its bytes say what it is."""


class Place(Enum):
    """Where an object is looked for."""

    FILE = "file"
    """A file outside of any repository, or found by its path."""
    INPUT = "input"
    """Standard input."""
    OBJECT = "object"
    """In a repository, among the objects of one kind."""
    ANYWHERE = "anywhere"
    """In a repository, among all objects."""
    SNAPSHOT = "snapshot"
    """A path in a snapshot of a repository."""


class Target(NamedTuple):
    """What a text of the command line names."""

    text: str
    place: Place
    kind: ObjectKind | None = None
    """Of `Place.OBJECT` only."""
    name: str = ""
    """An id or its beginning, ``latest`` and the like, or a file's path."""
    path: str = ""
    """In the snapshot ``name``, of `Place.SNAPSHOT` only."""


class TargetInvalid(UsageError):
    """A target that names nothing, or several things."""


FILE_KINDS: Final = {
    ObjectKind.CONFIG: FileKind.CONFIG,
    ObjectKind.KEY: FileKind.KEY,
    ObjectKind.INDEX: FileKind.INDEX,
    ObjectKind.SNAPSHOT: FileKind.SNAPSHOT,
    ObjectKind.LOCK: FileKind.LOCK,
    ObjectKind.PACK: FileKind.PACK,
}
"""The objects that are files of their own."""

OBJECT_KINDS: Final = {file_kind: kind for kind, file_kind in FILE_KINDS.items()}
"""The same the other way round."""

_WORDS: Final = {
    **{kind.value: kind for kind in ObjectKind if kind is not ObjectKind.UNKNOWN},
    **{f"{kind.value}s": kind for kind in (ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.TREE)},
    "indexes": ObjectKind.INDEX,
    **{folder: OBJECT_KINDS[kind] for kind, found in KINDS.items() for folder in (found.folder, found.legacy_folder) if folder},
}
"""What stands before the slash: kinds, and the folders of repositories in both layouts."""

_BEGINNING = re.compile(r"[0-9a-f]{1,64}")
_LATEST = re.compile(r"latest(~[0-9]*)?")
_SPREAD = re.compile(r"[0-9a-f]{2}/([0-9a-f]{1,64})")


def parse_target(text: str, *, repository: bool, exists: Callable[[str], bool] = os.path.lexists) -> Target:
    """What *text* names. *repository* says whether one is given; *exists* whether a file is at a path.

    With a repository its objects come first: ``./config`` is the file, ``config`` the repository's. Ids may be shortened.

    Raises:
        TargetInvalid: it names nothing, or what is in a repository while none is given.
    """
    if text == "-":
        return Target(text, Place.INPUT)
    if not text:
        raise TargetInvalid("the target is empty")
    found = _in_repository(text)
    if found is None or (not repository and exists(text)):
        return Target(text, Place.FILE, name=text)
    if not repository:
        raise TargetInvalid(f"there is no file {printable(text)}; to look for it in a repository, say which (-r)")
    return found


def _in_repository(text: str) -> Target | None:
    """What *text* names in a repository; None where it is none of its objects' names."""
    snapshot, colon, path = text.partition(":")
    if colon and (_LATEST.fullmatch(snapshot) or _BEGINNING.fullmatch(snapshot.lower())):
        return Target(text, Place.SNAPSHOT, name=snapshot, path=path)
    word, slash, name = text.partition("/")
    kind = _WORDS.get(word)
    if kind is ObjectKind.CONFIG:
        return None if slash else Target(text, Place.OBJECT, kind)
    if kind is None or not slash:
        if _LATEST.fullmatch(text):
            return Target(text, Place.OBJECT, ObjectKind.SNAPSHOT, text)
        return Target(text, Place.ANYWHERE, name=text.lower()) if _BEGINNING.fullmatch(text.lower()) else None
    if kind is ObjectKind.PACK and (spread := _SPREAD.fullmatch(name)):
        name = spread[1]
    if kind is ObjectKind.SNAPSHOT and _LATEST.fullmatch(name):
        return Target(text, Place.OBJECT, kind, name)
    return Target(text, Place.OBJECT, kind, name.lower()) if _BEGINNING.fullmatch(name.lower()) else None
