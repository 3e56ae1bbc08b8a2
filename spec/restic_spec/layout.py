"""Where the files of a repository live.

Two layouts exist: the default one, and the flat one early versions used on S3. Both are a pure function of the kind of
file and its name, so a reader can try one after the other.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from restic_spec.constants import LENGTH_SIZE, MAX_HEADER_SIZE
from restic_spec.errors import NameInvalid
from restic_spec.ids import is_hex_id


class FileKind(Enum):
    """A kind of file in a repository; the value is its folder in the default layout (LAYOUT-3)."""

    CONFIG = "config"
    KEY = "keys"
    LOCK = "locks"
    SNAPSHOT = "snapshots"
    INDEX = "index"
    PACK = "data"


class Layout(Enum):
    """How kinds map to folders: LAYOUT-3, and LAYOUT-4 for what early versions wrote (DIFF-6)."""

    DEFAULT = "default"
    S3LEGACY = "s3legacy"


class KindOfFile(NamedTuple):
    """What is true of all files of a kind; what stands in them is `restic_spec.regions.declaration_of`'s."""

    folder: str
    """Where they live in the default layout, "" for the config, which is one file (LAYOUT-3)."""
    legacy_folder: str
    """Where they live in the layout of early versions (LAYOUT-4)."""
    max_size: int
    """Most bytes one may have (LAYOUT-11)."""


_UNPACKED: Final = (256 << 20) + (1 << 10)

KINDS: Final = {
    FileKind.CONFIG: KindOfFile("", "", 1 << 20),
    FileKind.KEY: KindOfFile("keys", "key", 1 << 20),
    FileKind.LOCK: KindOfFile("locks", "lock", 1 << 20),
    FileKind.SNAPSHOT: KindOfFile("snapshots", "snapshot", _UNPACKED),
    FileKind.INDEX: KindOfFile("index", "index", _UNPACKED),
    FileKind.PACK: KindOfFile("data", "data", (1 << 32) + MAX_HEADER_SIZE + LENGTH_SIZE),
}
"""Every kind. The sizes are what may be unpacked (FILE-6) and its seal; blobs up to the last offset that an index can hold
(INDEX-5) and the largest header (PACK-4)."""

LISTED_KINDS: Final = tuple(kind for kind, found in KINDS.items() if found.folder)
"""Every kind that has a folder; ``config`` is a single file."""


SIDE_FOLDERS: Final = ("parity", "quarantine")
"""Folders in which this program keeps files of its own; no other program looks there (LAYOUT-12)."""


def folder_of(kind: FileKind, layout: Layout = Layout.DEFAULT) -> str:
    """The folder, relative to the repository, in which files of *kind* live; "" for the config."""
    return KINDS[kind].folder if layout is Layout.DEFAULT else KINDS[kind].legacy_folder


def path_of(kind: FileKind, name: str, layout: Layout = Layout.DEFAULT) -> str:
    """Path of a file relative to the repository, with ``/`` as separator.

    *name* is the hexadecimal id; the config has none. In the default layout packs are spread over 256 folders named by the
    first two digits (LAYOUT-3).

    Raises:
        NameInvalid: *name* is not an id.
    """
    if kind is FileKind.CONFIG:
        return "config"
    if not is_hex_id(name):
        raise NameInvalid(f"{name[:80]!r} cannot name a file in {kind.value}/", clause="LAYOUT-2")
    folder = folder_of(kind, layout)
    if kind is FileKind.PACK and layout is Layout.DEFAULT:
        return f"{folder}/{name[:2]}/{name}"
    return f"{folder}/{name}"


def folders(layout: Layout = Layout.DEFAULT) -> list[str]:
    """Every folder ``init`` creates, parents first (LAYOUT-7)."""
    result = [folder_of(kind, layout) for kind in LISTED_KINDS]
    if layout is Layout.DEFAULT:
        result += [f"data/{prefix:02x}" for prefix in range(256)]
    return result
