"""Files of snapshots as streams: the bytes of the file wherever one reads, few requests, little memory."""

from __future__ import annotations

import io
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import BlobMissing, DamagedFile
from restic_format.repository import BlobIndex, Repository
from restic_format.snapshots import NodeUnusable, open_file
from restic_format.snapshots import stream as stream_module
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
    ),
    max_size=20,
)


@given(st.lists(st.sampled_from(PIECES), max_size=12), OPERATIONS, st.sampled_from([1, 2000, 1 << 30]))
def test_it_is_a_file(content: list[bytes], operations: list[tuple[str, int, int]], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "KEPT", kept)
        ours, theirs = open_file(MAKER.repo, MAKER.file("f", *content)), io.BytesIO(b"".join(content))
        assert ours.size == len(theirs.getvalue())
        for what, number, whence in operations:
            if what == "seek":
                assert ours.seek(number, whence) == theirs.seek(number, whence)
            else:
                piece = ours.read(number)
                assert piece == theirs.read(len(piece)) and (piece or not number or not theirs.read(1))
            assert ours.tell() == theirs.tell()
            held = sum(map(len, ours._kept.values()))
            assert held == ours._kept_size and (held <= kept or len(ours._kept) == 1)
        theirs.seek(ours.tell())
        assert ours.read() == theirs.read()


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
    # 10 MB, 8 MiB of blobs and 4 MiB of a pack at a time.
    assert len([call for call in loads if call.kind is FileKind.PACK]) <= 5
    loads.clear()
    stream = open_file(repo, node)
    for number in random.Random(1).sample(range(2, 100), 10):
        stream.seek(100_000 * number)
        assert stream.read(10) == blobs[number][:10]
    # Who reads here and there is not given what comes behind.
    assert len(loads) == 10 and len(stream._kept) == 10


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
    with pytest.raises(DamagedFile):
        stream.read(1)
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
