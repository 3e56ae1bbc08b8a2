"""Which blobs are used and which copies are kept: the native part and its twin choose the same, and never lose a blob."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.native.table import (
    GOES,
    HAS_DATA,
    HAS_TREES,
    MARKED,
    MISSING,
    PACK_USE,
    REPACKED,
    STAYS,
    STORED,
    PackUse,
    _pure,
)
from restic_format.native.table import _table as compiled
from restic_format.snapshots.used import needed_of
from restic_spec.tree import Node, encode_tree

Row = tuple[int, int, int, int, int]
"""Type, number of the blob, pack, offset, plaintext length or 0."""

TABLES = {"compiled": compiled.BlobTable, "pure": _pure.BlobTable}


def blob_id(number: int) -> bytes:
    return random.Random(number).randbytes(32)


def fill(table: compiled.BlobTable | _pure.BlobTable, rows: list[Row], packs: int, repeated: bool) -> None:
    for number in range(packs):
        table.add_pack(b"pack" + number.to_bytes(28, "big"))
    for kind, blob, pack, offset, plain in rows:
        table.add(kind, blob_id(blob), pack, offset, 100 + blob, plain)
    if repeated:
        for number in range(packs):
            table.add_pack(b"pack" + number.to_bytes(28, "big"))
        for kind, blob, pack, offset, plain in rows:
            table.add(kind, blob_id(blob), pack, offset, 100 + blob, plain)


ROW = st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 4), st.integers(0, 3), st.sampled_from([0, 500]))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(ROW, max_size=30, unique=True),
    st.sets(st.tuples(st.integers(0, 1), st.integers(0, 9))),
    st.lists(st.sampled_from([STORED, STORED, MARKED, MISSING]), min_size=5, max_size=5),
    st.lists(st.sampled_from([STAYS, GOES, REPACKED]), min_size=5, max_size=5),
    st.booleans(),
)
def test_the_twins_choose_the_same_and_lose_nothing(
    rows: list[Row], used: set[tuple[int, int]], trust: list[int], fate: list[int], repeated: bool
) -> None:
    """Every used blob is kept once, in a pack that can be relied on if there is one; packs are counted to the last byte."""
    results = []
    for make in TABLES.values():
        table = make()
        fill(table, rows, 5, repeated)
        use = table.use()
        marked = {blob: use.mark(blob[0], blob_id(blob[1])) for blob in sorted(used)}
        assert all(
            use.mark(kind, blob_id(number)) is (None if first is None else False) for (kind, number), first in marked.items()
        )
        packs = [PackUse(*record) for record in PACK_USE.iter_unpack(use.choose(bytes(trust)))]
        everything = use.kept(bytes([REPACKED] * 5))
        moved = use.kept(bytes(fate))
        results.append((marked, packs, [everything.rows(pack) for pack in range(5)], [moved.rows(pack) for pack in range(5)]))
    assert results[0] == results[1]
    marked, packs, kept, moved_rows = results[0]
    there = {(kind, blob) for kind, blob, *_ in rows}
    assert marked == {blob: True if blob in there else None for blob in sorted(used)}
    chosen = [(row[0], row[1], pack) for pack, found in enumerate(kept) for row in found]
    assert sorted(item[:2] for item in chosen) == sorted((kind, blob_id(blob)) for kind, blob in used & there)
    for kind, ident, pack in chosen:
        assert trust[pack] == min(trust[row[2]] for row in rows if (row[0], blob_id(row[1])) == (kind, ident))
    for number, pack in enumerate(packs):
        here = [row for row in rows if row[2] == number]
        assert pack.used + pack.unused == len(here)
        assert pack.used_size + pack.unused_size == sum(100 + row[1] for row in here)
        assert pack.used == len(kept[number])
        assert pack.copies == sum((row[0], row[1]) in used for row in here) - pack.used
        assert pack.plain == sum(not row[4] for row in here)
        assert pack.types == (HAS_DATA * any(not row[0] for row in here)) | (HAS_TREES * any(row[0] for row in here))
    for pack, found in enumerate(moved_rows):
        assert found == [] or fate[pack] == REPACKED
        for row in kept[pack] if fate[pack] == REPACKED else []:
            stays = any(fate[other[2]] == STAYS for other in rows if (other[0], blob_id(other[1])) == row[:2])
            assert (row in found) != stays, "what stays elsewhere need not be moved, everything else must be"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ROW, max_size=30, unique=True),
    st.lists(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 9))), min_size=2, max_size=2),
    st.booleans(),
)
def test_what_one_use_has_beyond_another_counts_once(rows: list[Row], used: list[set[tuple[int, int]]], repeated: bool) -> None:
    results = []
    for make in TABLES.values():
        table = make()
        fill(table, rows, 5, repeated)
        one, two = table.use(), table.use()
        for use, blobs in zip((one, two), used, strict=True):
            for kind, number in blobs:
                use.mark(kind, blob_id(number))
        results.append(one.beyond(two))  # type: ignore[arg-type]  # both of the same kind
    assert results[0] == results[1]
    last = {(kind, blob): plain or 100 + blob - 32 for kind, blob, _, _, plain in rows}
    beyond = [blob for blob in used[0] - used[1] if blob in last]
    counts = [sum(kind == code for kind, _ in beyond) for code in (0, 1)]
    assert results[0] == (*counts, sum(last[blob] for blob in beyond))


@pytest.mark.parametrize("make", TABLES.values(), ids=list(TABLES))
def test_a_pack_that_is_needed_anyhow_keeps_the_copy(make: type[compiled.BlobTable | _pure.BlobTable]) -> None:
    """Of two copies the one is kept beside which there is something else to keep; then the one in a pack without anything to
    remove, as an interrupted prune leaves it.
    """
    rows: list[Row] = [
        (0, 1, 0, 0, 0),
        (0, 2, 0, 1, 0),
        (0, 1, 1, 0, 0),
        (0, 3, 1, 1, 0),
        (0, 4, 2, 0, 0),
        (0, 5, 2, 1, 0),
        (0, 4, 3, 0, 0),
    ]
    table = make()
    fill(table, rows, 4, repeated=False)
    use = table.use()
    for blob in (1, 3, 4):
        use.mark(0, blob_id(blob))
    packs = [PackUse(*record) for record in PACK_USE.iter_unpack(use.choose(bytes(4)))]
    assert [pack.used for pack in packs] == [0, 2, 0, 1]


@pytest.mark.parametrize("make", TABLES.values(), ids=list(TABLES))
def test_nothing_may_be_added_meanwhile(make: type[compiled.BlobTable | _pure.BlobTable]) -> None:
    table = make()
    fill(table, [(0, 1, 0, 0, 0)], 1, repeated=False)
    use = table.use()
    for call in (lambda: use.choose(bytes(2)), lambda: use.kept(b"")):
        with pytest.raises(ValueError):
            call()
    table.add(0, blob_id(2), 0, 9, 100, 0)
    for call in (lambda: use.mark(0, blob_id(1)), lambda: use.choose(bytes(1)), lambda: use.kept(bytes(1))):
        with pytest.raises(ValueError):
            call()


def node(name: str, **members: object) -> Node:
    time = "2026-01-01T00:00:00Z"
    return Node(quoted=name, mtime=time, atime=time, ctime=time, uid=0, gid=0, mode=0o644, **members)  # type: ignore[arg-type]


def test_a_tree_marks_what_decoding_it_finds() -> None:
    """Blobs of files and trees of directories; a tree that was marked or is missing is told once or each time."""
    files = [node(f"f{n}", type="file", size=1, content=[blob_id(n).hex(), blob_id(n + 1).hex()]) for n in range(3)]
    dirs = [node(f"d{n}", type="dir", subtree=blob_id(20 + n).hex()) for n in range(3)]
    raw = encode_tree(sorted([*files, *dirs], key=lambda item: item.name))
    needed = needed_of(bytes(32), raw)
    table = compiled.BlobTable()
    fill(table, [*[(0, n, 0, n, 0) for n in range(3)], *[(1, 20 + n, 0, 10 + n, 0) for n in range(2)]], 1, repeated=False)
    use = table.use()
    assert use.mark(1, blob_id(20)) is True
    assert use.mark_tree(raw) == (blob_id(21) + blob_id(22), blob_id(3))
    assert use.mark_tree(raw) == (blob_id(22), blob_id(3))
    assert [use.mark(0, blob_id(n)) for n in range(4)] == [False, False, False, None]
    assert needed.trees == b"".join(blob_id(20 + n) for n in range(3))
    assert {needed.data[start : start + 32] for start in range(0, len(needed.data), 32)} == {blob_id(n) for n in range(4)}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"nodes":[{"name":"d","type":"dir","subtree":null}]}\n',
        b'{"nodes":[{"name":"d","type":"dir","subtree":"' + b"z" * 64 + b'"}]}\n',
        b'{"nodes":[{"name":"f","type":"file","content":["00"]}]}\n',
        b'{"nodes":[{"name":"d","type":"dir","subtree":"' + b"ab" * 32 + b'"},{"name"',
    ],
)
def test_an_unusual_tree_marks_no_tree(raw: bytes) -> None:
    """What is marked is not visited again: the tree that nobody has looked at to its end must not be."""
    table = compiled.BlobTable()
    table.add_pack(bytes(32))
    table.add(1, b"\xab" * 32, 0, 0, 100, 0)
    use = table.use()
    assert use.mark_tree(raw) is None
    assert use.mark(1, b"\xab" * 32) is True


def test_the_twin_looks_at_no_tree() -> None:
    table = _pure.BlobTable()
    assert table.use().mark_tree(b'{"nodes":[]}\n') is None


@pytest.mark.parametrize("make", TABLES.values(), ids=list(TABLES))
def test_what_was_chosen_before_does_not_count(make: type[compiled.BlobTable | _pure.BlobTable]) -> None:
    table = make()
    fill(table, [(0, 1, 0, 0, 0), (0, 1, 1, 0, 0)], 2, repeated=False)
    use = table.use()
    use.mark(0, blob_id(1))
    for trust, kept in ((bytes([STORED, MISSING]), [1, 0]), (bytes([MISSING, STORED]), [0, 1])):
        assert [PackUse(*record).used for record in PACK_USE.iter_unpack(use.choose(trust))] == kept
