"""The index in columns against a plain dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.repository import index as index_module
from restic_format.repository.index import BlobIndex
from restic_spec.errors import JsonInvalid
from restic_spec.ids import id_of
from restic_spec.index import IndexBlob, IndexFile, IndexPack, index_pack
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
            index.add_file(IndexFile(packs=[index_pack(pack, listed)]))
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
    assert {pack: set(found) for pack, found in index.by_pack()} == per_pack or not any(per_pack.values())
    for pack, found in index.by_pack():
        assert [entry.offset for entry in found] == sorted(entry.offset for entry in found)
        assert set(index.pack_entries(pack)) == set(found)
    assert {(pack, entry) for pack, entry in index.entries()} == {
        (pack, entry) for pack, listed in per_pack.items() for entry in listed
    }


def test_a_full_tail_becomes_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_TAIL_LIMIT", 10)
    index = BlobIndex()
    made = [PackEntry(BlobType.DATA, id_of(bytes([n])), n * 100, 100, None) for n in range(35)]
    for entry in made:
        index.add_pack(id_of(entry.id), [entry])
    assert len(index) == 35
    assert all((found := index.lookup(BlobType.DATA, entry.id)) and found.offset == entry.offset for entry in made)


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
        BlobIndex().add_file(IndexFile(packs=[IndexPack("00" * 32, [blob])]))
