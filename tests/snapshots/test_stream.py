"""Files of snapshots as streams: the bytes of the file wherever one reads, few requests, little memory."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import BlobMissing, DamagedFile
from restic_format.repository import BlobIndex, Repository
from restic_format.snapshots import BlobCache, NodeUnusable, open_file
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Call
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from tests.restore.kit import PASSWORD, Maker, memory_repo


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


PIECES = [bytes([number]) * size for number, size in enumerate((1, 1000, 70_000, 3, 0, 5000))]


def saved() -> tuple[Maker, list[bytes]]:
    maker = Maker(memory_repo())
    for piece in PIECES:
        maker.blob(piece)
    maker.writer.flush()
    return maker, PIECES


MAKER, _ = saved()
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 200_000), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
        st.tuples(st.just("read"), st.integers(0, 100_000), st.just(0)),
        st.tuples(st.just("pread"), st.integers(0, 100_000), st.integers(0, 200_000)),
    ),
    max_size=20,
)


def held(cache: BlobCache) -> int:
    """Bytes that are kept, counted; what the cache counts itself must agree."""
    with cache._lock:
        assert cache._size == sum(map(len, cache._kept.values()))
        if not cache._fetches:
            assert cache._ahead == sum(len(cache._kept[blob]) for blob in cache._unread)
        return cache._size


@given(
    st.lists(st.sampled_from(PIECES), max_size=12), OPERATIONS, st.sampled_from([1, 2000, 150_000, 1 << 30]), st.integers(0, 3)
)
def test_it_is_a_file(content: list[bytes], operations: list[tuple[str, int, int]], limit: int, workers: int) -> None:
    with BlobCache(MAKER.repo, limit=limit, workers=workers) as cache:
        ours, theirs = open_file(MAKER.repo, MAKER.file("f", *content), cache), io.BytesIO(b"".join(content))
        assert ours.size == len(theirs.getvalue())
        for what, number, whence in operations:
            if what == "seek":
                assert ours.seek(number, whence) == theirs.seek(number, whence)
            elif what == "pread":
                assert ours.pread(whence, number) == theirs.getvalue()[whence : whence + number]
            else:
                piece = ours.read(number)
                assert piece == theirs.read(len(piece)) and (piece or not number or not theirs.read(1))
            assert ours.tell() == theirs.tell()
            assert held(cache) <= max(limit, *map(len, PIECES))
        theirs.seek(ours.tell())
        assert ours.read() == theirs.read()
        ours.close()
        with pytest.raises(ValueError, match="closed"):
            ours.read(1)


def test_a_seek_says_what_is_wrong(maker: Maker) -> None:
    node = maker.file("f", b"content")
    maker.writer.flush()
    stream = open_file(maker.repo, node)
    for offset, whence in ((0, 9), (-1, 0), (-8, 2)):
        with pytest.raises(ValueError, match="there is no"):
            stream.seek(offset, whence)
    assert stream.tell() == 0


@pytest.mark.parametrize("limit", [1, 300_000, 64 << 20])
def test_many_threads_read_many_files(maker: Maker, limit: int) -> None:
    random.seed(7)
    pieces = [random.randbytes(random.choice([1, 10, 5000, 60_000])) for _ in range(120)]
    files = [[random.choice(pieces) for _ in range(40)] for _ in range(4)]
    nodes = [maker.file(str(number), *content) for number, content in enumerate(files)]
    maker.writer.flush()
    wrong: list[object] = []
    with BlobCache(maker.repo, limit=limit, workers=2) as cache:
        streams = [open_file(maker.repo, node, cache) for node in nodes]

        def read(seed: int) -> None:
            chance = random.Random(seed)
            try:
                for _ in range(60):
                    number = chance.randrange(len(files))
                    whole = b"".join(files[number])
                    offset, size = chance.randrange(len(whole) + 10), chance.randrange(100_000)
                    if streams[number].pread(offset, size) != whole[offset : offset + size]:
                        wrong.append((number, offset, size))
                if seed < len(files) and open_file(maker.repo, nodes[seed], cache).readall() != b"".join(files[seed]):
                    wrong.append(seed)
            except BaseException as error:  # noqa: BLE001
                wrong.append(error)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert held(cache) <= max(limit, 60_000)
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_what_is_read_in_order_is_fetched_in_few_requests() -> None:
    inner = MemoryStorage()
    maker = Maker(memory_repo(inner))
    blobs = [os.urandom(100_000) for _ in range(100)]
    node = maker.file("f", *blobs)
    maker.writer.flush()
    loads: list[Call] = []
    repo = Repository.open(FaultyStorage(inner, loads.append), PASSWORD)
    repo.load_index()
    loads.clear()
    reader = io.BufferedReader(open_file(repo, node), 1 << 16)
    assert reader.read() == b"".join(blobs)
    # 10 MB: 2 MiB, then 8 MiB, then the rest, at most 4 MiB of a pack at a time; a pack is not quite in the file's order.
    assert len([call for call in loads if call.kind is FileKind.PACK]) <= 7
    loads.clear()
    stream = open_file(repo, node)
    for number in random.Random(1).sample(range(2, 100), 10):
        stream.seek(100_000 * number)
        assert stream.read(10) == blobs[number][:10]
    # Who reads here and there is not given what comes behind.
    assert len(loads) == 10 and stream._cache.size == 1_000_000


def test_a_damaged_blob_is_an_error_only_where_it_is_needed() -> None:
    inner = MemoryStorage()
    maker = Maker(memory_repo(inner))
    node = maker.file("f", b"a" * 1000)
    maker.writer.flush()
    node.content = [*node.blobs, maker.blob(b"b" * 1000)]
    maker.writer.flush()
    node.content = [*node.blobs, maker.blob(b"c" * 1000)]
    maker.writer.flush()
    where = maker.repo.index.lookup(BlobType.DATA, id_of(b"b" * 1000))
    assert where is not None
    raw = bytearray(inner.files[FileKind.PACK, where.pack.hex()])
    raw[where.offset + 20] ^= 1
    inner.files[FileKind.PACK, where.pack.hex()] = bytes(raw)
    stream = open_file(maker.repo, node)
    assert stream.read(1000) == b"a" * 1000
    for _ in range(2):
        with pytest.raises(DamagedFile):
            stream.read(1)
        with pytest.raises(DamagedFile):
            stream.pread(500, 1000)
    assert stream.pread(2500, 1000) == b"c" * 500
    stream.seek(2000)
    assert stream.read() == b"c" * 1000
    # A second copy that is intact makes up for it.
    raw[where.offset + 20] ^= 1
    copy = id_of(bytes(raw) + b"x")
    inner.files[FileKind.PACK, copy.hex()] = bytes(raw)
    maker.repo.index.add_pack(copy, [where.entry(BlobType.DATA, id_of(b"b" * 1000))])
    stream.seek(0)
    assert stream.read() == b"a" * 1000 + b"b" * 1000 + b"c" * 1000


@pytest.mark.clause("PACK-22")
@pytest.mark.parametrize("claimed", [5, 50_000])
def test_a_wrong_length_in_the_index_is_corrected(maker: Maker, claimed: int) -> None:
    node = maker.file("f", b"a" * 1000, b"b" * 10_000, b"c" * 1000)
    maker.writer.flush()
    true, maker.repo.index = maker.repo.index, BlobIndex()
    for pack, entries in true.by_pack():
        lied = [entry._replace(uncompressed_length=claimed) if entry.id.hex() == node.blobs[1] else entry for entry in entries]
        maker.repo.index.add_pack(pack, lied)
    stream = open_file(maker.repo, node)
    assert stream.read() == b"a" * 1000 + b"b" * 10_000 + b"c" * 1000 and stream.size == 12_000
    stream.seek(10_990)
    assert stream.read(20) + stream.read(10) == b"b" * 10 + b"c" * 10


def test_what_has_no_content_or_not_all_of_it(maker: Maker) -> None:
    with pytest.raises(NodeUnusable):
        open_file(maker.repo, maker.folder("d", []))
    with pytest.raises(BlobMissing):
        open_file(maker.repo, maker.node("f", "file", 0, content=["11" * 32]))
    assert open_file(maker.repo, maker.file("empty")).read() == b""
    node = maker.file("f", b"x")
    maker.writer.flush()
    stream = open_file(maker.repo, node)
    with pytest.raises(ValueError, match="-1"):
        stream.seek(-1)
    with pytest.raises(ValueError, match="-1"):
        stream.pread(0, -1)


def test_who_goes_elsewhere_leaves_no_room_taken(maker: Maker) -> None:
    chunks = [random.randbytes(50_000) for _ in range(60)]
    node = maker.file("f", *chunks)
    maker.writer.flush()
    with BlobCache(maker.repo) as cache:
        for jump in (False, True):
            stream = open_file(maker.repo, node, cache)
            assert stream.read(10) == chunks[0][:10]
            wait_until(lambda: not cache._fetches)
            assert cache._ahead > 0
            if jump:
                stream.seek(50 * 50_000)
                assert stream.read(10) == chunks[50][:10]
            else:
                stream.close()
            wait_until(lambda: not cache._fetches)
            assert cache._ahead == 0 and held(cache) > 0
            cache._kept.clear()
            cache._size = 0


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.001)
