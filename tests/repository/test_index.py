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
from restic_spec.ids import id_of, is_hex_id
from restic_spec.index import IndexBlob, IndexFile, IndexPack, decode_index, encode_index, entries_of, index_pack
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
    monkeypatch.setattr(index_module, "decode_index", (_table if compiled else _pure).decode_index)
    monkeypatch.setattr(index_module, "DecodedIndex", (_table if compiled else _pure).DecodedIndex)
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
        table.add(0, id_of(bytes([number])), table.add_pack(bytes([number]) * 32), number * 100, 100, 0)
    assert len(table) == 99
    assert all(table.first(0, id_of(bytes([number]))) == (number, number * 100, 100, None) for number in range(99))
    order = table.in_packs()
    assert [row[2] for number in range(99) for row in order.rows(number)] == list(range(0, 9900, 100))
    with pytest.raises(IndexError):
        order.rows(99)


USUAL = encode_index(IndexFile(packs=[index_pack(b"p" * 32, [PackEntry(BlobType.DATA, b"b" * 32, 1, 4_000_000_000, 7)])]))


def test_restics_own_form_is_decoded_in_one_go() -> None:
    decoded = _table.decode_index(USUAL)
    assert decoded is not None
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


def by_the_specification(raw: bytes) -> tuple[list[str], object]:
    """All rows of an index and what is marked, as the specification decodes it."""
    document = decode_index(raw)
    listed = [(entries_of(pack), bytes.fromhex(pack.id)) for pack in document.all_packs()]
    rows = [(pack, *entry) for entries, pack in listed for entry in entries]
    for pack in document.packs_to_delete:
        if not is_hex_id(pack.id):
            raise JsonInvalid("no id", clause="INDEX-3")
    return sorted(map(repr, rows)), {bytes.fromhex(pack.id): (pack.time, pack.size) for pack in document.packs_to_delete}


def by_the_index(raw: bytes) -> tuple[list[str], object]:
    index = BlobIndex()
    index.add_raw(raw)
    index.finish_loading()
    table = index._table
    order = table.in_packs()
    rows = [
        (table.pack_id(n), index_module._TYPES[row[0]], *row[1:]) for n in range(table.pack_count()) for row in order.rows(n)
    ]
    return sorted(map(repr, rows)), index.marked


SPACE = st.sampled_from(["", " ", "\n\t", " \r\n "])
RARE = st.sampled_from(
    [
        ('"x"', "null"), ('"x"', "[]"), ('"x"', "{}"), ('"x"', '[1,{"a":[-1.5e+3,0,"\\u00e9"]},true,false]'), ('"Id"', '"y"'),
        ('"\\u0069d"', '"z"'), ('"ü"', "12"), ('"x"', "[1 2]"), ('"x"', "01"), ('"x"', "1."), ('"supersedes"', "[]"),
        ('"supersedes"', "null"), ('"size"', "7"), ('"time"', '"2026-01-01T00:00:00Z"'), ('"uncompressed_length"', "null"),
        ('"x"', "[" * 70 + "]" * 70), ('"x"', "\"\\ud800\""), ('"blobs"', "[]"), ('"packs"', "[]"), ('"packs"', "null"),
    ]
)  # fmt: skip


@st.composite
def odd_indexes(draw: st.DrawFn) -> bytes:
    """Index files whose members come in any order, with others between them, and with space anywhere."""

    def members(pairs: list[tuple[str, str]]) -> str:
        pairs = draw(st.permutations([*pairs, *draw(st.lists(RARE, max_size=1))]))
        text = ",".join(f"{draw(SPACE)}{name}{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}" for name, value in pairs)
        return f"{{{text}}}"

    def blob(entry: PackEntry) -> str:
        pairs = [('"id"', f'"{entry.id.hex()}"'), ('"type"', f'"{entry.type.value}"'), ('"offset"', str(entry.offset))]
        pairs.append(('"length"', str(entry.length)))
        if entry.uncompressed_length is not None:
            pairs.append(('"uncompressed_length"', str(entry.uncompressed_length)))
        return members(pairs)

    def pack(record: tuple[bytes, list[PackEntry]]) -> str:
        listed = ",".join(blob(entry) + draw(SPACE) for entry in record[1])
        return members([('"id"', f'"{record[0].hex()}"'), ('"blobs"', f"[{draw(SPACE)}{listed}]")])

    records = st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.lists(entries, max_size=3)), max_size=3)
    lists = [f"[{draw(SPACE)}{','.join(map(pack, draw(records)))}]" for _ in range(2)]
    pairs = [('"packs"', lists[0])]
    if draw(st.booleans()):
        pairs.append(('"packs_to_delete"', lists[1]))
    return f"{draw(SPACE)}{members(pairs)}{draw(SPACE)}".encode()


def assert_alike(raw: bytes) -> None:
    """The index takes in what the specification says is there, and refuses what that refuses."""
    try:
        expected = by_the_specification(raw)
    except JsonInvalid:
        with pytest.raises(JsonInvalid):
            by_the_index(raw)
    else:
        assert by_the_index(raw) == expected


@pytest.mark.usefixtures("table")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd_indexes())
def test_indexes_of_odd_form_are_decoded_as_the_specification_does(raw: bytes) -> None:
    assert_alike(raw)


@pytest.mark.usefixtures("table")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(USUAL) - 1), st.sampled_from(b'0123456789abcdefABCDEF{}[]",: x\n\0'), st.booleans())
def test_changed_indexes_are_decoded_or_refused_as_the_specification_does(where: int, byte: int, insert: bool) -> None:
    assert_alike(USUAL[:where] + bytes([byte]) + USUAL[where + (not insert) :])


@pytest.mark.usefixtures("table")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    for raw in (garbage, USUAL[:-30] + garbage):
        assert_alike(raw)


def test_odd_forms_are_decoded_in_one_go() -> None:
    blob = '{"offset":1,"x":[{}],"length":40,"type":"tree", "id":"%s"}' % ("ab" * 32)
    raw = '{ "x": 1,"packs" : [{"blobs":[%s],"id":"%s","time":null}], "packs_to_delete":[{"id":"%s","blobs":[]}]}\n\n'
    raw %= blob, "cd" * 32, "ef" * 32
    decoded = _table.decode_index(raw.encode())
    assert decoded is not None
    [(start, end)] = decoded.marked()
    assert raw[start:end] == '{"id":"%s","blobs":[]}' % ("ef" * 32)


@pytest.mark.usefixtures("table")
def test_packs_listed_twice_and_marked_packs_are_known() -> None:
    index = BlobIndex()
    entry = PackEntry(BlobType.DATA, bytes(32), 0, 100, None)
    record = index_pack(b"p" * 32, [entry])
    marked = index_pack(b"q" * 32, [entry])
    marked.time, marked.size = "2026-01-01T00:00:00Z", 1234
    index.add_raw(encode_index(IndexFile(packs=[record])))
    index.add_raw(encode_index(IndexFile(packs=[record], packs_to_delete=[marked])))
    index.finish_loading()
    assert index.repeated_packs() == {b"p" * 32}
    assert index.marked == {b"q" * 32: ("2026-01-01T00:00:00Z", 1234)}
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
