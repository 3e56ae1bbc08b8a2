"""Bytes explained: what stands where in a file of a repository, by which clause, and what is wrong with it.

`explain` walks a declaration over bytes and gives a `Document` of `Region`s: fields of binary forms, members of JSON documents
and, where an opener is given, what is inside of sealed messages and frames. Regions are made when they are asked for, and
cover every byte whatever its state: what is damaged is explained as far as anything can be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from restic_spec import binary
from restic_spec.config import Config
from restic_spec.errors import IdMismatch
from restic_spec.formats import FORMATS
from restic_spec.ids import id_of
from restic_spec.index import IndexFile
from restic_spec.keyfile import KeyFile
from restic_spec.layout import FileKind
from restic_spec.listing import Blob as Blob
from restic_spec.lock import Lock
from restic_spec.pack import PackEntry
from restic_spec.region import SHOWN as SHOWN
from restic_spec.region import UNEXPLAINED as UNEXPLAINED
from restic_spec.region import Document as Document
from restic_spec.region import Finding as Finding
from restic_spec.region import Region as Region
from restic_spec.region import Unexplained as Unexplained
from restic_spec.region import Value as Value
from restic_spec.region import finding
from restic_spec.region import findings as findings
from restic_spec.region import findings_of as findings_of
from restic_spec.region import leaves as leaves
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Tree
from restic_spec.walk import MAX_SEALED as MAX_SEALED
from restic_spec.walk import Opener as Opener
from restic_spec.walk import Sealed as Sealed
from restic_spec.walk import Walk

_DOCUMENT_OF = {FileKind.SNAPSHOT: Snapshot, FileKind.INDEX: IndexFile, FileKind.LOCK: Lock}


def declaration_of(kind: FileKind, version: int | None = None) -> Any:
    """What a file of *kind* in a repository of *version* is declared as.

    Without a version a document is what its first byte says (FILE-2), as in version 2, which has plain ones too.
    """
    if kind is FileKind.PACK:
        return binary.pack_file(Tree)
    if kind is FileKind.CONFIG:
        return binary.config_file(Config)
    if kind is FileKind.KEY:
        return binary.key_file(KeyFile)
    return binary.unpacked(_DOCUMENT_OF[kind], marked=version is None or FORMATS[version].marks)


def explain(
    declaration: Any,
    data: Any,
    *,
    opener: Opener | None = None,
    version: int | None = None,
    name: str | None = None,
    entries: Iterable[PackEntry] | None = None,
) -> Document:
    """What stands in *data* (any buffer: bytes, a mapped file) by its *declaration* (see `declaration_of`).

    What is sealed is opened with *opener*; without one its outer form is all that can be told. With the *version* of the
    repository kinds of blobs that it does not have are found (PACK-9). *name* is the file's: the hash of its bytes
    (LAYOUT-1). *entries*, what an index says of a pack, divide its blobs where its own header cannot be read.
    """
    walk = Walk(opener, version, None if entries is None else sorted(set(entries), key=lambda entry: entry.offset))
    view = memoryview(data)

    def misnamed() -> tuple[Finding, ...]:
        if name is None or (actual := id_of(view).hex()) == name:
            return ()
        return (finding("", IdMismatch(f"SHA-256 of the file is {actual}, not its name", clause="LAYOUT-1")),)

    return walk.document("file", declaration, view, "", misnamed)
