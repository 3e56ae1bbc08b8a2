"""What regions cost, and that they stay what the declarations say: entries, building again, hostile input."""

from __future__ import annotations

import gc
import tracemalloc

import construct as cs
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from restic_spec import binary, faults, walk
from restic_spec.blob import seal_blob
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.index import IndexFile
from restic_spec.layout import FileKind
from restic_spec.listing import read_entries
from restic_spec.pack import BlobType, PackEntry, encode_entry, encode_header, encode_length
from restic_spec.regions import Region, declaration_of, explain, leaves
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Tree
from restic_spec.unpacked import COMPRESSED_MARK
from tests.spec.regionkit import by_name, check_cover, wrong
from tests.spec.test_regions import KEY, a_pack, opener, plain

PACK = declaration_of(FileKind.PACK)
HEADER = binary.Form("PACK-5", "-", binary.Field("e", cs.GreedyRange(binary.ENTRY), "PACK-5", "-"))
KINDS = st.binary(min_size=1, max_size=1)
ENTRIES = st.builds(
    lambda tree, blob_id, length, stated: encode_entry(
        PackEntry(BlobType.TREE if tree else BlobType.DATA, blob_id, 0, length, stated)
    ),
    st.booleans(),
    st.binary(min_size=32, max_size=32),
    st.integers(0, (1 << 32) - 1),
    st.none() | st.integers(0, (1 << 32) - 1),
)


def plain_value(value: object) -> object:
    """A value of construct as regions show it."""
    return str(value) if isinstance(value, cs.EnumIntegerString) else value


@pytest.mark.clause("PACK-5", "PACK-6", "PACK-8", "PACK-20")
@given(st.lists(ENTRIES, max_size=5).map(b"".join), st.binary(max_size=90), st.binary(max_size=3))
def test_the_faster_form_of_entries_is_what_the_declaration_says(good, garbage, kinds):
    raw = good + kinds.join((garbage, b""))
    parsed = cs.GreedyRange(binary.ENTRY).parse(raw)
    read = list(read_entries(raw))
    assert [entry._asdict() for _, entry in read] == [
        {"kind": int(one.kind), "length": one.length, "uncompressed_length": one.uncompressed_length, "id": one.id}
        for one in parsed
    ]
    whole = explain(HEADER, raw)
    check_cover(whole)
    (entries,) = whole.regions()
    for region, one in zip(entries.regions(), parsed, strict=False):
        shown = {part.name.rpartition(".")[2]: part.value for part in region.regions()}
        assert shown == {
            name: plain_value(one[name]) for name in ("kind", "length", "uncompressed_length", "id") if one[name] is not None
        }
        problems = [found for part in region.regions() for found in part.findings]
        told = {(found.region.rpartition(".")[2], found.clause, found.what) for found in problems}
        assert told == {
            (field.name, problem.clause, problem.what)
            for field in binary.ENTRY.subcons
            if one[field.name] is not None
            for problem in field.violations(one[field.name], one)
        }


def built(region: Region) -> bytes:
    """The bytes of a region as its declaration builds them of its parts."""
    parts = {part.name.rpartition(".")[2]: bytes(part.raw) for part in region.regions()}
    made: bytes = binary.SEALED.build(parts)
    return made


@pytest.mark.clause("CRYPTO-1", "PACK-1", "PACK-2")
@pytest.mark.parametrize("version", [1, 2])
def test_parts_put_together_are_what_was_taken_apart(version):
    raw = a_pack(version)
    whole = explain(PACK, raw, opener=opener)
    regions = by_name(whole)
    assert b"".join(bytes(leaf.raw) for leaf in leaves(whole)) == raw
    assert all(built(regions[name]) == bytes(regions[name].raw) for name in ("blobs[0]", "blobs[1]", "header"))
    header = regions["header"].content
    assert header is not None
    entries = [
        {part.name.rpartition(".")[2]: part.value if part.length < 32 else bytes(part.raw) for part in entry.regions()}
        for entry in regions["header.entries"].regions()
    ]
    entries = [{"uncompressed_length": None} | entry for entry in entries]
    assert binary.HEADER.build({"entries": entries}) == header.data
    assert binary.PACK.build({name: bytes(regions[name].raw) for name in ("blobs", "header")}) == raw


def large_pack(count: int) -> bytes:
    """A pack of *count* tiny blobs, which are not sealed: nobody opens them."""
    ids = [number.to_bytes(32, "little") for number in range(count)]
    entries = [PackEntry(BlobType.DATA, blob_id, 0, 40, 9 if blob_id[0] & 1 else None) for blob_id in ids]
    header = seal(KEY, encode_header(entries))
    return bytes(40 * count) + header + encode_length(len(header))


def test_a_line_for_each_blob_opens_none_and_holds_none():
    raw = large_pack(3000)
    opened = []

    def counting(sealed: memoryview) -> bytes:
        opened.append(len(sealed))
        return open_sealed(KEY, sealed)

    whole = explain(PACK, raw, opener=counting)
    blobs, header, _ = whole.regions()
    assert sum(1 for _ in blobs.regions()) == 3000
    content = header.content
    assert content is not None and opened == [header.length]
    tracemalloc.start()
    for region in blobs.regions():
        assert region.length == 40
    (entries,) = content.regions()
    for region in entries.regions():
        assert region.length in (37, 41)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000, "regions are made one after the other"
    assert opened == [header.length]


@pytest.mark.clause("PACK-14")
def test_what_was_opened_goes_when_nobody_has_it():
    """Without waiting for what collects circles: a pack may have many blobs, each of which expands to much."""
    blobs, entries = b"", []
    for number in range(12):
        plaintext = b'{"nodes":[]}' + b" " * (1 << 20) if number & 1 else bytes([number]) * (1 << 20)
        kind = BlobType.TREE if number & 1 else BlobType.DATA
        entry, sealed = seal_blob(KEY, kind, plaintext, offset=len(blobs))
        blobs += sealed
        entries.append(entry)
    header = seal(KEY, encode_header(entries))
    whole = explain(PACK, blobs + header + encode_length(len(header)), opener=opener)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        assert wrong(whole) == []
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    finally:
        gc.enable()
    assert most < 5 << 20


def test_data_are_not_copied():
    raw = bytearray(large_pack(10)) + bytearray(0)
    tracemalloc.start()
    whole = explain(PACK, bytes(8 << 20) + raw, opener=opener)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert sum(leaf.length for leaf in leaves(whole)) == whole.size
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most - before < 1 << 20


@pytest.mark.clause("FILE-5", "FILE-6", "PACK-12", "PACK-14")
def test_bombs_are_not_expanded(monkeypatch):
    monkeypatch.setattr(walk, "_BOUNDS", {"FILE-3": (1 << 20, "FILE-5"), "PACK-12": (1 << 20, "PACK-12")})
    bomb = zstandard.ZstdCompressor().compress(bytes(2 << 20))
    unannounced = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2 << 20))
    for frame in (bomb, unannounced):
        sealed = seal(KEY, bytes((COMPRESSED_MARK,)) + frame)
        assert wrong(explain(declaration_of(FileKind.INDEX), sealed, opener=opener)) == [("file.frame", "FILE-5")]
    entry, sealed = seal_blob(KEY, BlobType.DATA, bytes(2 << 20), offset=0)
    header = seal(KEY, encode_header([entry]))
    assert wrong(explain(PACK, sealed + header + encode_length(len(header)), opener=opener)) == [("blobs[0].frame", "PACK-12")]
    monkeypatch.setattr(walk, "MAX_SEALED", 50)
    entry, sealed = seal_blob(KEY, BlobType.DATA, b"x" * 99, offset=0, level=None)
    assert wrong(explain(PACK, sealed + header + encode_length(len(header)), opener=opener))[0] == ("blobs[0]", "PACK-14")


def test_lengths_and_counts_of_a_hostile_header_are_no_bound():
    entries = [PackEntry(BlobType.DATA, bytes(32), 0, (1 << 32) - 1, (1 << 32) - 1)] * 2000
    header = seal(KEY, encode_header(entries))
    whole = explain(PACK, bytes(100) + header + encode_length(len(header)), opener=opener)
    check_cover(whole)
    assert [name for name, clause in wrong(whole) if clause == "PACK-11"] == ["blobs[0]"]


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 100_000,
        b'{"packs":' * 50_000,
        b'{"packs":[' + b"[],[" * 30_000,
        b'{"packs":"' + b"\\" * 200_001,
        b'{"' + b"x" * 300_000,
        b'{"packs":' + b"1" * 300_000 + b"}",
        b"{" + b",".join(b'"a":[]' for _ in range(30_000)) + b"}",
    ],
    ids=["lists", "objects", "wide", "escapes", "a name", "a number", "one name"],
)
def test_odd_documents_end(document):
    whole = explain(plain(IndexFile), document)
    position = count = 0
    for leaf in leaves(whole):
        assert leaf.offset == position
        position, count = leaf.end, count + 1
    assert position == len(document)
    assert count < 200_000
    assert (len(wrong(whole)) == 0) is document.startswith(b'{"a"')
    assert len(wrong(whole)) <= 2000


@pytest.mark.clause("FILE-6")
@pytest.mark.parametrize("form", [IndexFile, Tree, Snapshot])
def test_large_documents_are_read_element_by_element(monkeypatch, form):
    samples = {
        IndexFile: b'{"packs":[{"id":"%s","blobs":[]},{"id":"%s","blobs":[]}]}' % (b"ab" * 32, b"cd" * 32),
        Tree: b'{"nodes":[{"name":"ab","type":"file"},{"name":"cd","type":"file"}]}',
        Snapshot: b'{"time":"2020-01-01T00:00:00Z","hostname":"cd"}',
    }
    monkeypatch.setattr(faults, "AT_ONCE", 10)
    sound = explain(plain(form), samples[form])
    assert wrong(sound) == ([("d", "FILE-6")] if form is Snapshot else [])
    hurt = explain(plain(form), samples[form].replace(b'"cd', b"7"))
    check_cover(hurt)
    monkeypatch.setattr(faults, "AT_ONCE", 1 << 20)
    if form is not Snapshot:
        assert wrong(hurt) == wrong(explain(plain(form), samples[form].replace(b'"cd', b"7"))) != []


def test_a_key_that_does_not_fit_is_told_once_for_each_message():
    other = MasterKey(bytes(range(9, 41)), bytes(range(9, 25)), bytes(range(2, 18)))
    whole = explain(PACK, a_pack(), opener=lambda sealed: open_sealed(other, sealed))
    check_cover(whole)
    assert wrong(whole) == [("header", "CRYPTO-4")]
