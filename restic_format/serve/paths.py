"""What the path of a request names: a repository in the data folder, and a file or folder of it.

A repository is at most two folders below the data folder, as with rest-server. Nothing else is ever looked at: a path that
does not have exactly one of these forms names nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from restic_spec.ids import is_hex_id
from restic_spec.layout import LISTED_KINDS, FileKind

MAX_DEPTH = 2
"""Folders that may stand above a repository in the data folder."""

_MAX_NAME = 255
"""Bytes of a folder's name that file systems can keep."""

_KINDS = {kind.value.encode(): kind for kind in LISTED_KINDS}
_SPECIAL = {*_KINDS, FileKind.CONFIG.value.encode()}
_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Named(NamedTuple):
    """What a request's path names."""

    folders: tuple[bytes, ...]
    """The repository's folders below the data folder; none for a repository that is the data folder itself."""
    kind: FileKind | None = None
    """The kind of file; None for the repository itself."""
    name: str = ""
    """The file's name, "" for the config, or for all files of the kind."""

    @property
    def is_file(self) -> bool:
        """Whether it is one file."""
        return self.kind is FileKind.CONFIG or bool(self.name)


def read_path(raw: bytes) -> Named | None:
    """What *raw* names, the path of a request as it was sent; None where it names nothing that can exist."""
    if not raw.startswith(b"/") or _BROKEN.search(raw):
        return None
    parts = unquote_to_bytes(raw).split(b"/")[1:]
    folders: list[bytes] = []
    while len(folders) < MAX_DEPTH and len(parts) > 1 and parts[0] not in _SPECIAL:
        folders.append(parts.pop(0))
    if not all(map(_is_name, folders)):
        return None
    return _read_rest(tuple(folders), parts)


def _read_rest(folders: tuple[bytes, ...], parts: list[bytes]) -> Named | None:
    """What stands behind the repository's folders."""
    if parts == [b""]:
        return Named(folders)
    if parts == [b"config"]:
        return Named(folders, FileKind.CONFIG)
    kind = _KINDS.get(parts[0])
    if kind is None or len(parts) != 2:
        return None
    name = parts[1].decode("latin-1")
    return Named(folders, kind, name) if not name or is_hex_id(name) else None


def _is_name(name: bytes) -> bool:
    return 0 < len(name) <= _MAX_NAME and name not in (b".", b"..") and b"\0" not in name
