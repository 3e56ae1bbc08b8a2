"""Fuzz targets: whatever reads bytes of a repository in C, and what explains them, held against the specification."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

from restic_format.native.blobs import Context, PackCheck
from restic_format.native.nodes import parse_tree
from restic_format.native.table import BlobTable, DecodedIndex, decode_index, pack_record
from restic_format.repository.header import decode_entries, encode_entries
from restic_spec import index as index_format
from restic_spec.blob import seal_blob
from restic_spec.config import Config
from restic_spec.crypto import OVERHEAD, MasterKey, open_sealed, seal
from restic_spec.errors import SpecError
from restic_spec.faults import check
from restic_spec.ids import id_of
from restic_spec.index import IndexFile, encode_pack, index_pack
from restic_spec.keyfile import KeyFile, encode_master_key
from restic_spec.layout import FileKind
from restic_spec.lock import Lock
from restic_spec.pack import BlobType, PackEntry, decode_header, encode_length
from restic_spec.regions import Region, declaration_of, explain, findings
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Tree, decode_tree
from restic_spec.unpacked import decode_unpacked, encode_unpacked
from tests.fuzz.mutate import changed_bytes, changed_document, odd_json
from tests.spec.regionkit import base64_of, by_name, check_cover, json_of

KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
BLOBS = [bytes([number]) * (number + 1) for number in range(5)]
IDS = [id_of(blob).hex() for blob in BLOBS]
TIME = "2024-02-03T04:05:06.000000007+01:00"

INDEX: dict[str, Any] = {
    "supersedes": ["cd" * 32],
    "packs": [
        {"id": "ab" * 32, "blobs": [{"id": IDS[0], "type": "data", "offset": 0, "length": 100, "uncompressed_length": 70}]},
        {"id": "ac" * 32, "blobs": [{"id": ident, "type": "tree", "offset": 9, "length": 40} for ident in IDS]},
        {"id": "ad" * 32, "blobs": []},
    ],
    "packs_to_delete": [{"id": "ae" * 32, "time": TIME, "size": 12, "blobs": []}],
}
TREE: dict[str, Any] = {
    "nodes": [
        {
            "name": name, "type": kind, "mode": 420, "mtime": TIME, "atime": TIME, "ctime": TIME, "uid": 1, "gid": 2,
            "user": "u", "group": "g", "inode": 5, "device_id": 6, "size": 6, "links": 1, **more,
        }
        for name, kind, more in (
            ("a", "file", {"content": IDS[1:3], "size": 5}),
            ("b", "dir", {"subtree": "ab" * 32}),
            ("c\\u00e9", "symlink", {"linktarget": "x", "linktarget_raw": "eA==", "content": None}),
            ("d", "file", {"content": [], "size": 0, "extended_attributes": [{"name": "user.a", "value": "eA=="}]}),
            ("e", "fifo", {"generic_attributes": {"a": "b"}, "error": "no", "device": 7}),
        )
    ]
}  # fmt: skip
SNAPSHOT: dict[str, Any] = {
    "time": TIME, "parent": "ab" * 32, "tree": "cd" * 32, "paths": ["/a"], "hostname": "h", "username": "u", "uid": 5, "gid": 6,
    "tags": ["t"], "original": "ef" * 32, "program_version": "restic 0.19.1", "label": "x",
    "summary": {"backup_start": TIME, "backup_end": TIME, "files_new": 3, "data_blobs": 4, "command": "c"},
}  # fmt: skip
CONFIG: dict[str, Any] = {"version": 2, "id": "ab" * 32, "chunker_polynomial": "3635ff42f03fd3", "is_hot": True}
KEYFILE: dict[str, Any] = {
    "created": TIME, "username": "u", "hostname": "h", "kdf": "scrypt", "N": 2, "r": 1, "p": 1,
    "salt": base64_of(bytes(64)), "data": base64_of(seal(KEY, encode_master_key(KEY))),
}  # fmt: skip
ENTRIES = [
    PackEntry(
        BlobType.TREE if number & 1 else BlobType.DATA, id_of(blob), 0, len(blob) + OVERHEAD, len(blob) if number > 2 else None
    )
    for number, blob in enumerate(BLOBS)
]


def document(rng: random.Random, seed: Any) -> bytes:
    """A document that is near one of the right form."""
    raw = odd_json(rng, changed_document(rng, seed) if rng.random() < 0.8 else seed)
    return changed_bytes(rng, raw) if rng.random() < 0.4 else raw


def check_index(raw: bytes) -> None:
    """What C takes is what the specification says; what that refuses C refuses."""
    decoded = decode_index(raw)
    try:
        expected = index_format.decode_index(raw)
    except SpecError:
        if decoded is None or decoded.marked():
            return  # the records of marked packs are looked at later
        raise AssertionError("C takes what the specification refuses") from None
    if decoded is None:
        return
    table, again = BlobTable(), DecodedIndex()
    table.merge(decoded)
    table.finish_loading()
    for pack in expected.all_packs():
        again.add_pack(bytes.fromhex(pack.id))
        for kind, blob_id, offset, length, plain in index_format.entries_of(pack):
            again.add(kind is BlobType.TREE, blob_id, offset, length, plain or 0)
    other = BlobTable()
    other.merge(again)
    other.finish_loading()
    assert _rows(table) == _rows(other)
    assert len(decoded.marked()) == len(expected.packs_to_delete)


def _rows(table: BlobTable) -> list[Any]:
    order = table.in_packs()
    return [(table.pack_id(n), table.is_repeated(n), order.rows(n), order.layout(n)) for n in range(table.pack_count())]


def table_of_blobs() -> BlobTable:
    """A table that knows the blobs of `TREE`."""
    table = BlobTable()
    pack = table.add_pack(b"p" * 32)
    for number, blob in enumerate(BLOBS):
        table.add(0, id_of(blob), pack, 100 * number, len(blob) + OVERHEAD, len(blob) if number & 1 else 0)
    return table


TABLE = table_of_blobs()


def check_tree(raw: bytes) -> None:
    """A tree that C takes apart is one for the specification, with the same entries."""
    tree: Tree | None
    try:
        tree = decode_tree(raw)
    except SpecError:
        tree = None
    parsed, subtrees, columns = parse_tree(raw), TABLE.check_tree(raw), TABLE.plan_tree(raw, 0, 0, 1 << 29)
    if tree is None:
        assert parsed is None and subtrees is None and columns is None, "C takes what the specification refuses"
        return
    nodes = list(tree)
    if parsed is not None:
        assert parsed.count() == len(nodes)
        assert all(json.loads(text) for text in parsed.nodes())
    if subtrees is not None:
        assert subtrees == [bytes.fromhex(node.subtree or "") for node in nodes if node.type == "dir"]
    if columns is not None:
        assert len(columns[0]) // 8 + len(columns[-1]) // 16 == len(nodes)


def check_header(raw: bytes) -> None:
    """A pack's header by the engine's two ways and the specification's."""
    for version in (1, 2):
        try:
            expected = decode_header(raw, version)
        except SpecError:
            assert pack_record(KEY.encrypt, raw, version > 1) is None, "C takes what the specification refuses"
            try:
                decode_entries(raw, version)
            except SpecError:
                continue
            raise AssertionError("the engine takes what the specification refuses") from None
        assert decode_entries(raw, version) == expected
        sealed = sum(entry.length for entry in expected)
        record = encode_pack(index_pack(KEY.encrypt, expected)), len(expected), sealed
        assert pack_record(KEY.encrypt, raw, version > 1) in (None, record)
    check = PackCheck(Context(KEY.encrypt, KEY.mac_k, KEY.mac_r), raw, 1 << 20)
    sealed = b"".join(seal(KEY, blob) for blob in BLOBS)
    body = sealed + seal(KEY, raw) + encode_length(len(raw) + OVERHEAD)
    while check.fits and (length := check.ahead(1 << 16)):
        if length > 1 << 20:
            break
        check.take(body[:length].ljust(length, b"\0"))
        body = body[length:]
    check.digest()


def header(rng: random.Random, seed: Any) -> bytes:
    """A header near one of the right form."""
    entries = rng.sample(ENTRIES, rng.randrange(len(ENTRIES) + 1))
    return changed_bytes(rng, encode_entries(entries)) if rng.random() < 0.9 else encode_entries(entries)


DOCUMENTS = {FileKind.INDEX: (IndexFile, INDEX), FileKind.SNAPSHOT: (Snapshot, SNAPSHOT), FileKind.CONFIG: (Config, CONFIG)}


def file(rng: random.Random, seed: Any) -> bytes:
    """A file near one of the right form: its kind as the first byte, then its bytes, hurt before or after they were sealed."""
    del seed
    kind = rng.choice(list(FileKind))
    if kind is FileKind.PACK:
        raw = _pack(rng)
    elif kind in DOCUMENTS:
        plain = document(rng, DOCUMENTS[kind][1])
        raw = seal(KEY, encode_unpacked(2, plain) if kind is not FileKind.CONFIG and rng.random() < 0.7 else plain)
    else:
        raw = document(rng, KEYFILE)
    return bytes((list(FileKind).index(kind),)) + (changed_bytes(rng, raw) if rng.random() < 0.3 else raw)


def _pack(rng: random.Random) -> bytes:
    blobs, entries = b"", []
    for number in range(rng.randrange(4)):
        kind = rng.choice(list(BlobType))
        plain = document(rng, TREE) if kind is BlobType.TREE else BLOBS[number]
        entry, sealed = seal_blob(KEY, kind, plain, offset=len(blobs), version=rng.choice((1, 2)))
        blobs += sealed
        entries.append(entry)
    listed = encode_entries(entries)
    sealed = seal(KEY, changed_bytes(rng, listed) if rng.random() < 0.4 else listed)
    return blobs + sealed + encode_length(len(sealed))


def check_regions(raw: bytes) -> None:
    """Regions cover a file whatever its state, and something is wrong with a document just where the specification says so."""
    kind = list(FileKind)[raw[0] % len(FileKind)]
    whole = explain(declaration_of(kind), raw[1:], opener=lambda sealed: open_sealed(KEY, sealed))
    check_cover(whole)
    regions = by_name(whole)
    told = list(findings(whole))
    assert all(found.clause and found.what.isprintable() for found in told)
    if kind is FileKind.PACK:
        return
    declared = KeyFile if kind is FileKind.KEY else DOCUMENTS.get(kind, (Lock,))[0]
    try:
        text = raw[1:] if kind is FileKind.KEY else open_sealed(KEY, raw[1:])
        text = text if kind in (FileKind.KEY, FileKind.CONFIG) else decode_unpacked(2, text)
        check(declared, text)
    except SpecError:
        assert told, "the specification refuses what is explained as sound"
    else:
        inside = [found for found in told if found.severity == "error" and not found.region.startswith("file.data.sealed")]
        assert not inside, f"the specification takes what {inside} are told of"
        if kind is not FileKind.KEY:
            way = next(name for name in ("file.frame", "file.document") if name in regions)
            assert json_of(_parts(regions[way])) == msgspec.json.decode(text)


def _parts(region: Region) -> list[Region]:
    return list(region.regions() if region.content is None else region.content.regions())


Target = tuple[Callable[[random.Random, Any], bytes], Any, Callable[[bytes], None]]
TARGETS: dict[str, Target] = {
    "index": (document, INDEX, check_index),
    "tree": (document, TREE, check_tree),
    "header": (header, None, check_header),
    "regions": (file, None, check_regions),
}
