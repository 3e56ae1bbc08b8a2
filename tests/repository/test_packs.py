"""Reading packs: what is read together, headers, and blobs beside damaged ones."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import StorageError
from restic_format.repository import Repository
from restic_format.repository.packs import coalesce
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Call, Fail
from restic_spec.errors import HeaderInvalid, LengthInvalid, MacInvalid, SpecError
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry
from tests.repository.conftest import CHEAP

RANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=20).map(sorted)


@given(RANGES, st.integers(1, 100), st.integers(0, 30))
def test_ranges_are_read_together_as_far_as_span_and_gap_allow(ranges: list[tuple[int, int]], span: int, gap: int) -> None:
    runs = list(coalesce(ranges, lambda item: item[0], lambda item: item[1], span=span, gap=gap))
    assert [item for run in runs for item in run.items] == ranges
    for run in runs:
        assert run.offset == run.items[0][0]
        assert run.offset + run.length == max(start + length for start, length in run.items)
        assert run.length <= span or run.length == run.items[0][1], "one range that is longer, and what lies inside of it"
        wanted = {at for start, length in run.items for at in range(start, start + length)}
        unwanted = "".join("-" if at in wanted else "x" for at in range(run.offset, run.offset + run.length))
        assert max(map(len, unwanted.split("-"))) <= gap
    for run, after in pairwise(runs):
        start, length = after.items[0]
        assert start > run.offset + run.length + gap or start + length > run.offset + span, "could have been read along"


@pytest.mark.parametrize(
    ("ranges", "runs"),
    [
        ([(0, 10), (10, 10)], [(0, 20)]),
        ([(0, 10), (10, 11)], [(0, 10), (10, 11)]),
        ([(0, 10), (15, 5)], [(0, 20)]),
        ([(0, 10), (16, 4)], [(0, 10), (16, 4)]),
        ([(0, 50), (0, 50), (10, 5), (50, 1)], [(0, 50), (50, 1)]),
        ([], []),
    ],
)
def test_just_within_span_and_gap(ranges: list[tuple[int, int]], runs: list[tuple[int, int]]) -> None:
    found = coalesce(ranges, lambda item: item[0], lambda item: item[1], span=20, gap=5)
    assert [(run.offset, run.length) for run in found] == runs


def filled(
    storage: MemoryStorage | FaultyStorage, count: int = 12, size: int = 3000
) -> tuple[Repository, bytes, list[PackEntry]]:
    """A repository with one pack, its id, and what is in it."""
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    writer = repo.writer()
    source = random.Random(1)
    writer.save(BlobType.DATA, [(id_of(data), data) for data in (source.randbytes(size) for _ in range(count))])
    writer.flush()
    [(pack, entries)] = repo.index.by_pack()
    return repo, pack, entries


@pytest.mark.clause("PACK-2", "PACK-11")
@pytest.mark.parametrize("count", [1, 12, 3000])
def test_headers_of_any_length(count: int) -> None:
    """That of 3000 blobs is longer than what is read at first."""
    repo, pack, entries = filled(MemoryStorage(), count, 100)
    size = repo.storage.size(FileKind.PACK, pack.hex())
    assert repo.packs.header(pack, size) == entries
    for wrong in (size - 1, size + 1, 10):
        with pytest.raises((SpecError, StorageError)):
            repo.packs.header(pack, wrong)
    whole = repo.storage.load(FileKind.PACK, pack.hex())
    with pytest.raises(HeaderInvalid, match="PACK-11"):
        repo.packs.open_header(whole, size + 1)


@pytest.mark.parametrize("span", [1, 7000, 4 << 20])
def test_blobs_come_in_the_order_of_their_offsets_past_damaged_ones(span: int) -> None:
    storage = MemoryStorage()
    repo, pack, entries = filled(storage)
    raw = bytearray(storage.files[FileKind.PACK, pack.hex()])
    raw[entries[4].offset + 100] ^= 1
    storage.files[FileKind.PACK, pack.hex()] = bytes(raw)
    beyond = PackEntry(BlobType.DATA, bytes(32), len(raw) - 50, 100, None)
    huge = PackEntry(BlobType.DATA, bytes(32), 0, 3_500_000_000, 10)
    found = []
    for entry, plain in repo.packs.blobs(pack, [*entries[::-1], beyond, huge], span=span):
        found.append((entry, plain if isinstance(plain, Exception) else id_of(plain)))
    assert [entry for entry, _ in found] == sorted([*entries, beyond, huge], key=lambda entry: entry.offset)
    wrong = {entry: type(plain) for entry, plain in found if not isinstance(plain, bytes)}
    assert wrong.pop(huge) is LengthInvalid
    assert wrong.pop(entries[4]) is MacInvalid
    assert list(wrong) == [beyond]
    assert all(plain == entry.id for entry, plain in found if isinstance(plain, bytes))


def test_a_failed_read_costs_only_the_blobs_it_must() -> None:
    """Where a run cannot be read, its blobs are read by themselves."""
    storage = FaultyStorage(MemoryStorage(), lambda call: None)
    repo, pack, entries = filled(storage)
    tried: list[Call] = []

    def plan(call: Call) -> Fail | None:
        if not call.operation.startswith("load"):
            return None
        tried.append(call)
        return Fail("bad sector") if len(tried) in (1, 4) else None

    storage.plan = plan
    found = dict(repo.packs.blobs(pack, entries))
    assert [entry for entry in entries if isinstance(found[entry], Exception)] == [entries[2]]
