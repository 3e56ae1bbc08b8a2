"""What is wrong with a pack or an index, fast: regions look only at what is not sound as a whole.

The blobs of a pack are opened and hashed many at once.

The findings are those of `restic_spec.regions.findings`, in the same order; a test proves it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from restic_format.repository.cipher import make_cipher
from restic_format.repository.coder import Coder, make_coder
from restic_format.repository.compression import Compression
from restic_format.repository.header import decode_entries
from restic_format.repository.packs import Run, coalesce
from restic_format.work import in_order
from restic_spec.constants import OVERHEAD
from restic_spec.errors import SpecError
from restic_spec.faults import check
from restic_spec.formats import FORMATS
from restic_spec.index import IndexBlob, IndexFile, IndexPack, decode_index
from restic_spec.pack import BlobType, PackEntry
from restic_spec.regions import Blob, Document, Finding, Region, findings, findings_of
from restic_spec.tree import Tree

if TYPE_CHECKING:
    from restic_spec.crypto import MasterKey

_AT_ONCE = 1 << 13
"""Blobs that are verified together at most."""
_NEWEST = max(FORMATS)
_PIECE = 1 << 20
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MEMBER = re.compile(rb'"([^"]*)"\s*:')
_INDEX_MEMBERS = {
    field.encode_name.encode() for struct in (IndexFile, IndexPack, IndexBlob) for field in msgspec.structs.fields(struct)
}


def pack_findings(document: Document, master: MasterKey, version: int | None) -> Iterator[Finding]:
    """What is wrong with the pack *document*, which *master* opens, in a repository of *version*, where that is known."""
    coder = make_coder(make_cipher(master), Compression(None, _NEWEST), extra_verify=False)
    yield from document.findings
    for region in document.regions():
        yield from region.findings
        parts = region.regions()
        while batch := list(islice(parts, _AT_ONCE)):
            for part in _suspects(document, batch, coder):
                yield from findings_of(part)
        content = region.content
        if content is not None and not _is_sound_header(content, version):
            yield from findings(content)


def _is_sound_header(content: Document, version: int | None) -> bool:
    try:
        decode_entries(bytes(content.data), version or _NEWEST)
    except SpecError:
        return False
    return True


def _suspects(document: Document, regions: Sequence[Region], coder: Coder) -> list[Region]:
    """Those of *regions* that are no blobs, or blobs in which something is wrong."""
    blobs = [region for region in regions if isinstance(region, Blob) and region.length == region.entry.length >= OVERHEAD]
    suspects = {id(region) for region in regions} - {id(region) for region in blobs}
    by_entry = {region.entry: region for region in blobs}
    runs = list(coalesce(by_entry, lambda entry: entry.offset, lambda entry: entry.length, gap=0))
    view = memoryview(document.data)

    def check(run: Run[PackEntry]) -> list[PackEntry]:
        piece = view[run.offset : run.offset + run.length]
        bad = [entry for entry, _ in coder.verify_many(piece, run.offset, [e for e in run.items if e.type is BlobType.DATA])]
        trees = [entry for entry in run.items if entry.type is BlobType.TREE]
        for entry, plain in coder.open_many(piece, run.offset, trees):
            if isinstance(plain, SpecError) or not _is_tree(plain):
                bad.append(entry)
        return bad

    for _, bad in in_order(check, runs, name="verify"):
        if isinstance(bad, Exception):
            raise bad
        suspects |= {id(by_entry[entry]) for entry in bad}
    return [region for region in regions if id(region) in suspects]


def _is_tree(plain: bytes | memoryview) -> bool:
    try:
        check(Tree, bytes(plain))
    except SpecError:
        return False
    return True


def index_findings(document: Document) -> Iterator[Finding]:
    """What is wrong with the index *document*: into one that is written as programs write it nobody looks member by member."""
    yield from document.findings
    for region in document.regions():
        yield from region.findings
        for part in region.regions():
            yield from findings_of(part)
        content = region.content
        if content is not None and not _is_sound_index(content.data):
            yield from index_findings(content)


def _is_sound_index(data: bytes | memoryview) -> bool:
    """Whether *data* are an index in which there can be nothing to warn of either: no escapes, no unknown members."""
    raw = bytes(data)
    if raw[:1] not in (b"{", b"[") or b"\\" in raw or _CONTROL.search(raw):
        return False
    if any(name not in _INDEX_MEMBERS for name in {found[1] for found in _MEMBER.finditer(raw)}):
        return False
    try:
        _check_utf8(raw)
        decode_index(raw)
    except (SpecError, UnicodeDecodeError):
        return False
    return True


def _check_utf8(raw: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _PIECE):
        decoder.decode(raw[start : start + _PIECE], final=start + _PIECE >= len(raw))
