"""The index in columns against a plain dictionary."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restic_format.native.table import _pure, _table
from restic_format.repository import index as index_module
from restic_format.repository.header import encode_entries
from restic_format.repository.index import BlobIndex, layout_of
from restic_spec.errors import JsonInvalid
from restic_spec.ids import id_of
from restic_spec.index import IndexBlob, IndexFile, IndexPack, decode_index, encode_index, index_pack
from restic_spec.pack import BlobType, PackEntry

# Few ids with equal beginnings, so that keys collide.
ids = st.builds(lambda head, tail: bytes([head]) * 8 + bytes([tail]) * 24, st.integers(0, 3), st.integers(0, 5))
entries = st.builds(
    PackEntry,
    st.sampled_from(BlobType),
    ids,
    st.integers(0, 2**32 - 1),
    st.integers(33, 2**32 - 1),
    st.none() | st.integers(1, 2**32 - 1),
)
packs = st.lists(st.tuples(st.integers(0, 6), st.lists(entries, max_size=8), st.booleans()), max_size=12)


@pytest.fixture(params=["compiled", "pure"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either table."""
    compiled = request.param == "compiled"
    monkeypatch.setattr(index_module, "BlobTable", _table.BlobTable if compiled else _pure.BlobTable)
    monkeypatch.setattr(index_module, "decode_index", _table.decode_index if compiled else None)
    monkeypatch.setattr(_pure, "_TAIL_LIMIT", 10)


@pytest.mark.usefixtures("table")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packs)
def test_every_copy_is_found_and_nothing_else(steps: list[tuple[int, list[PackEntry], bool]]) -> None:
    index = BlobIndex()
    model: dict[tuple[BlobType, bytes], set[tuple[bytes, int, int, int | None]]] = {}
    per_pack: dict[bytes, set[PackEntry]] = {}
    for number, listed, stored_now in steps:
        pack = id_of(bytes([number]))
        if stored_now:
            index.add_pack(pack, listed)
        else:
            index.add_raw(encode_index(IndexFile(packs=[index_pack(pack, listed)])))
            index.finish_loading()
        per_pack.setdefault(pack, set()).update(listed)
        for entry in listed:
            copy = (pack, entry.offset, entry.length, entry.uncompressed_length)
            model.setdefault((entry.type, entry.id), set()).add(copy)
    for head in range(4):
        for tail in range(6):
            for kind in BlobType:
                blob_id = bytes([head]) * 8 + bytes([tail]) * 24
                expected = model.get((kind, blob_id), set())
                assert set(index.lookup_all(kind, blob_id)) == expected
                first = index.lookup(kind, blob_id)
                assert (first in expected) if expected else (first is None)
                assert index.has(kind, blob_id) == bool(expected)
    for kind in BlobType:
        known = b"".join(blob_id for found, blob_id in model if found is kind)
        assert index.has_all(kind, known) and not index.has_all(kind, known + bytes([9] * 32))
    assert {pack: set(found) for pack, found in index.by_pack()} == per_pack or not any(per_pack.values())
    for pack, found in index.by_pack():
        assert [entry.offset for entry in found] == sorted(entry.offset for entry in found)
        assert list(index.by_pack({pack})) == [(pack, found)]
    for listed in index.packs():
        assert listed.layout() == layout_of(listed.entries())
        header = listed.header()
        assert header is None or header == encode_entries(listed.entries())
    assert {(pack, entry) for pack, entry in index.entries()} == {
        (pack, entry) for pack, listed in per_pack.items() for entry in listed
    }


def test_many_segments_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pure, "_TAIL_LIMIT", 2)
    table = _pure.BlobTable()
    for number in range(99):
        table.add(0, id_of(bytes([number])), number, number * 100, 100, 0)
    assert len(table) == 99
    assert all(table.first(0, id_of(bytes([number]))) == (number, number * 100, 100, None) for number in range(99))
    order = table.in_packs(99)
    assert [row[2] for number in range(99) for row in order.rows(number)] == list(range(0, 9900, 100))
    with pytest.raises(IndexError):
        order.rows(99)


USUAL = encode_index(IndexFile(packs=[index_pack(b"p" * 32, [PackEntry(BlobType.DATA, b"b" * 32, 1, 4_000_000_000, 7)])]))


def test_restics_own_form_is_decoded_in_one_go() -> None:
    decoded = _table.decode_index(USUAL)
    assert decoded is not None
    assert decoded.packs() == [b"p" * 32]
    index = index_module.BlobIndex()
    index.add_raw(USUAL)
    index.finish_loading()
    assert index.lookup_all(BlobType.DATA, b"b" * 32) == [(b"p" * 32, 1, 4_000_000_000, 7)]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("expected", [None, 0, 3, 1500, 100_000])
def test_whatever_is_expected_all_that_comes_is_found(expected: int | None) -> None:
    index = index_module.BlobIndex()
    lists = [
        [PackEntry(BlobType.TREE, id_of(b"%d %d" % (number, n)), 40 * n, 40, None) for n in range(300)] for number in range(9)
    ]
    for number, listed in enumerate(lists):
        index.add_raw(encode_index(IndexFile(packs=[index_pack(id_of(bytes([number])), listed)])))
        if number == 0 and expected is not None:
            index.expect(expected)
    index.finish_loading()
    for number, listed in enumerate(lists):
        for entry in listed:
            assert index.lookup_all(BlobType.TREE, entry.id) == [(id_of(bytes([number])), entry.offset, 40, None)]
    assert not index.has(BlobType.DATA, lists[0][0].id)


@given(st.integers(0, len(USUAL) - 1), st.sampled_from(b'0123456789abcdefABCDEF{}[]",: x\n\0'), st.booleans())
def test_what_the_fast_decoder_takes_the_specification_takes_alike(where: int, byte: int, insert: bool) -> None:
    raw = USUAL[:where] + bytes([byte]) + USUAL[where + (not insert) :]
    decoded = _table.decode_index(raw)
    if decoded is not None:
        fast, slow = index_module.BlobIndex(), index_module.BlobIndex()
        fast.add_raw(raw)
        slow.add_file(decode_index(raw))
        fast.finish_loading()
        slow.finish_loading()
        assert list(fast.entries()) == list(slow.entries())


@given(st.binary(max_size=200))
def test_garbage_is_left_to_the_specification(raw: bytes) -> None:
    assert _table.decode_index(raw) is None
    assert _table.decode_index(USUAL[:-30] + raw) is None or USUAL.startswith(USUAL[:-30] + raw)


@pytest.mark.usefixtures("table")
def test_packs_listed_twice_and_marked_packs_are_known() -> None:
    index = BlobIndex()
    entry = PackEntry(BlobType.DATA, bytes(32), 0, 100, None)
    record = index_pack(b"p" * 32, [entry])
    marked = index_pack(b"q" * 32, [entry])
    index.add_file(IndexFile(packs=[record]))
    index.add_file(IndexFile(packs=[record], packs_to_delete=[marked]))
    index.finish_loading()
    assert index.repeated_packs() == {b"p" * 32}
    assert index.marked == {b"q" * 32}
    assert list(index.by_pack()) == [(b"p" * 32, [entry])]
    assert not index.has_pack(b"q" * 32)


@pytest.mark.usefixtures("table")
@pytest.mark.clause("INDEX-3", "INDEX-4", "INDEX-5")
@pytest.mark.parametrize(
    "blob",
    [
        IndexBlob("zz" * 32, "data", 0, 100),
        IndexBlob("00" * 31, "data", 0, 100),
        IndexBlob("00" * 32, "date", 0, 100),
        IndexBlob("00" * 32, "data", -1, 100),
        IndexBlob("00" * 32, "data", 1 << 32, 100),
        IndexBlob("00" * 32, "data", 0, 0),
        IndexBlob("00" * 32, "data", 0, 100, 1 << 40),
    ],
)
def test_impossible_records_are_refused(blob: IndexBlob) -> None:
    with pytest.raises(JsonInvalid):
        index_module.BlobIndex().add_raw(encode_index(IndexFile(packs=[IndexPack("00" * 32, [blob])])))
