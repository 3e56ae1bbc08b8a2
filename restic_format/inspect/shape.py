"""What a lone file is: by the folder in which it stands, or else by its bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from restic_format.inspect.sources import Data
from restic_format.inspect.target import OBJECT_KINDS, ObjectKind
from restic_format.storage import LocalStorage
from restic_spec.errors import SpecError
from restic_spec.ids import is_hex_id
from restic_spec.layout import KINDS, FileKind
from restic_spec.pack import LENGTH_SIZE, header_length
from restic_spec.unpacked import decode_unpacked

_KEY_FILE = re.compile(rb'\s*\{\s*"(?:created|username|hostname|kdf|N|r|p|salt|data)"\s*:')
_FOLDERS: Final = {folder: kind for kind, found in KINDS.items() for folder in (found.folder, found.legacy_folder) if folder}
_SHARE = re.compile(r"[0-9a-f]{2}")
_NEWEST = 2
"""The version whose unpacked files may be of any form."""
_SMALL = 64 << 20
"""Bytes of a file that is opened only to find out what it is."""

_MEMBERS: Final = (
    (ObjectKind.CONFIG, "chunker_polynomial"),
    (ObjectKind.INDEX, "packs"),
    (ObjectKind.SNAPSHOT, "tree"),
    (ObjectKind.LOCK, "pid"),
)
"""A member of the document by which each kind is known."""


def kind_of_place(path: str) -> tuple[ObjectKind, str]:
    """The kind of the file at *path* by the folders that it stands in, and its id where its name is one, else ""."""
    parts = [part for part in os.path.abspath(path).split("/") if part]
    name = parts[-1] if parts else ""
    if name == "config":
        return ObjectKind.CONFIG, ""
    if not is_hex_id(name):
        return ObjectKind.UNKNOWN, ""
    folder = parts[-2] if len(parts) > 1 else ""
    if _SHARE.fullmatch(folder) and parts[-3:-2] == ["data"]:
        folder = "data"
    kind = _FOLDERS.get(folder)
    return (ObjectKind.UNKNOWN if kind is None else OBJECT_KINDS[kind]), name


def repository_of(path: str) -> LocalStorage | None:
    """The repository in whose folder the file at *path* stands where one of its files does; None where it does not."""
    folder = os.path.dirname(os.path.abspath(path))
    for _ in range(3):
        if os.path.isfile(os.path.join(folder, "config")) and any(
            os.path.isdir(os.path.join(folder, keys))
            for keys in (KINDS[FileKind.KEY].folder, KINDS[FileKind.KEY].legacy_folder)
        ):
            return LocalStorage(folder)
        folder = os.path.dirname(folder)
    return None


def kind_of_bytes(data: Data, opener: Callable[[Any], bytes] | None) -> ObjectKind:
    """The kind of a file by its bytes, and what *opener* opens of them; `ObjectKind.UNKNOWN` where they do not tell."""
    if _KEY_FILE.match(data):
        return ObjectKind.KEY
    if opener is not None and len(data) <= _SMALL:
        try:
            return _kind_of_document(opener(memoryview(data)))
        except SpecError:
            pass
    try:
        header_length(data[-LENGTH_SIZE:], len(data))
    except SpecError:
        return ObjectKind.UNKNOWN
    return ObjectKind.PACK


def _kind_of_document(plaintext: bytes) -> ObjectKind:
    try:
        members = msgspec.json.decode(decode_unpacked(_NEWEST, plaintext), type=dict[str, msgspec.Raw])
    except (SpecError, msgspec.MsgspecError):
        return ObjectKind.UNKNOWN
    return next((kind for kind, member in _MEMBERS if member in members), ObjectKind.UNKNOWN)
