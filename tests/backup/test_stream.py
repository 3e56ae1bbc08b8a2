"""Backing up streams, and the parts around the engine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.backup import (
    BackupFailed,
    BackupOptions,
    CommandFailed,
    CommandSource,
    NothingToBackUp,
    StreamSource,
    backup,
    backup_stream,
    existing_targets,
    pattern_targets,
    raw_targets,
    verbatim_targets,
)
from restic_format.backup.content import ChunkerUnsupported, ChunkReader, FixedCutter, build_cutter
from restic_format.backup.filelists import InvalidFileList, expand_glob
from restic_format.backup.nodes import NodeBuilder, encode_file, encode_node, join_nodes, stored_ids
from restic_format.backup.queue import WorkQueue
from restic_format.backup.targets import build_target_tree
from restic_format.errors import Interrupted
from restic_format.filter import InvalidPattern
from restic_format.native.chunker import Chunker
from restic_format.repository import Repository
from restic_format.snapshots.same import same_node
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.config import Config
from restic_spec.errors import JsonInvalid
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import ExtendedAttribute, Node, encode_tree
from tests.backup.sources import Listener

POLYNOMIAL = 0x3DA3358B4DC173


def content_of(repository: Repository, tree: str, path: str) -> bytes:
    *parents, name = path.strip("/").split("/")
    for parent in parents:
        tree = next(node.subtree or "" for node in repository.load_tree(bytes.fromhex(tree)) if node.name == parent)
    (node,) = [node for node in repository.load_tree(bytes.fromhex(tree)) if node.name == name]
    return b"".join(repository.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs)


def test_stream(repository: Repository) -> None:
    read, write = os.pipe()
    data = os.urandom(3_000_000)

    def feed() -> None:
        for start in range(0, len(data), 50_000):
            os.write(write, data[start : start + 50_000])
        os.close(write)

    feeder = threading.Thread(target=feed)
    feeder.start()
    options = BackupOptions(time_ns=1_600_000_000_123_456_789)
    result = backup_stream(repository, StreamSource(read), "dir/../place/data.bin", options)
    feeder.join()
    os.close(read)
    assert content_of(repository, result.tree, "place/data.bin") == data
    (place,) = repository.load_tree(bytes.fromhex(result.tree))
    assert (place.name, place.mode, place.mtime_ns) == ("place", 1 << 31 | 0o755, 1_600_000_000_123_456_789)
    assert place.content is None and place.user == "" and place.inode == 0
    assert result.summary.dirs.new == 1 and result.summary.processed_bytes == 3_000_000
    assert result.snapshot_id is not None
    assert repository.load_snapshot(bytes.fromhex(result.snapshot_id)).paths == ["/place/data.bin"]


def test_empty_stream_is_an_error(repository: Repository) -> None:
    read, write = os.pipe()
    os.close(write)
    result = backup_stream(repository, StreamSource(read))
    os.close(read)
    assert result.summary.errors == 1
    assert not repository.load_tree(bytes.fromhex(result.tree)).nodes


def test_command(repository: Repository) -> None:
    said: list[str] = []
    source = CommandSource(["sh", "-c", "echo problem >&2; head -c 2000000 /dev/zero"], said.append)
    result = backup_stream(repository, source, "dump.sql")
    assert content_of(repository, result.tree, "dump.sql") == bytes(2_000_000)
    assert said == ["subprocess sh: problem"]


@pytest.mark.parametrize("command", ["echo half; exit 3", "echo half; kill -9 $$", "exit 1"])
def test_failing_command_makes_no_snapshot(command: str, repository: Repository) -> None:
    with pytest.raises(CommandFailed, match=r"failed to save /x: command failed: (exit status [13]|signal: killed)"):
        backup_stream(repository, CommandSource(["sh", "-c", command], print), "x")
    assert not list(repository.storage.list(FileKind.SNAPSHOT))


def test_commands_that_cannot_start() -> None:
    with pytest.raises(BackupFailed, match="no such file"):
        CommandSource(["/nonexistent/program"], print)
    with pytest.raises(BackupFailed, match="no command"):
        CommandSource([], print)


def test_waiting_stream_can_be_cancelled(repository: Repository) -> None:
    cancel = Cancel()
    threading.Timer(0.3, cancel.set).start()
    errors: list[str] = []

    class Listening(Listener):
        def error(self, item: str, error: Exception) -> None:
            errors.append(str(error))

    source = CommandSource(["sleep", "100"], print)
    with pytest.raises(Interrupted):
        backup_stream(repository, source, "x", BackupOptions(), Listening(), cancel)
    assert errors == []


def test_stream_without_a_name(repository: Repository) -> None:
    with pytest.raises(BackupFailed, match="invalid filename"):
        backup_stream(repository, StreamSource(0), "/..")


# Chunks


@pytest.mark.parametrize("room", [8 << 20, (8 << 20) + 100_000, 20_000_000])
@pytest.mark.parametrize("step", [1000, 70_000, 10_000_000])
def test_chunks_do_not_depend_on_how_much_is_read_at_once(step: int, room: int) -> None:
    import random

    data = random.Random(3).randbytes(5_000_000) + bytes(9_000_000) + random.Random(4).randbytes(1_000_000)
    position = 0

    def read(buffer: memoryview) -> int:
        nonlocal position
        piece = data[position : position + min(step, len(buffer))]
        buffer[: len(piece)] = piece
        position += len(piece)
        return len(piece)

    reader = ChunkReader(read, Chunker(POLYNOMIAL))
    buffer = memoryview(bytearray(room))
    found = []
    while lengths := reader.next_chunks(buffer):
        start = 0
        for length in lengths:
            found.append(bytes(buffer[start : start + length]))
            start += length
    assert b"".join(found) == data
    assert [len(chunk) for chunk in found] == _expected_lengths(data)


def _expected_lengths(data: bytes) -> list[int]:
    chunker = Chunker(POLYNOMIAL)
    lengths, start = [], 0
    while length := chunker.next_cut(data, start, len(data), True):
        lengths.append(length)
        start += length
    return lengths


def _config(**extra: object) -> Config:
    config = Config(version=2, id="0" * 64, chunker_polynomial=f"{POLYNOMIAL:x}")
    config.keep_extra({name: msgspec.Raw(msgspec.json.encode(value)) for name, value in extra.items()})
    return config


def test_chunkers_of_rustic_are_honoured(repository: Repository, tmp_path: Path) -> None:
    assert isinstance(build_cutter(_config()), Chunker)
    small = build_cutter(_config(chunker="Rabin", chunk_size=1 << 16, chunk_min_size=1 << 15, chunk_max_size=1 << 18))
    assert (small.min_size, small.max_size) == (1 << 15, 1 << 18)
    assert isinstance(build_cutter(_config(chunker="FixedSize", chunk_size=1000)), FixedCutter)
    for wrong in (
        {"chunker": "FastCDC"},
        {"chunk_size": 1 << 30},
        {"chunker": "FixedSize", "chunk_size": 1 << 30},
        {"chunk_min_size": 1},
        {"chunk_max_size": 1 << 40},
    ):
        with pytest.raises(ChunkerUnsupported, match="cannot be used"):
            build_cutter(_config(**wrong))
    for odd in ({"chunk_size": "abc"}, {"chunk_min_size": 1.5}, {"chunker": 5}, {"chunk_max_size": -1}):
        with pytest.raises(JsonInvalid) as caught:
            build_cutter(_config(**odd))
        assert caught.value.clause == "RUSTIC-1"
    assert isinstance(build_cutter(_config(chunker=None, chunk_size=None)), Chunker)
    repository.config = _config(chunker="FixedSize", chunk_size=1000)
    (tmp_path / "file").write_bytes(bytes(range(250)) * 10)
    result = backup(repository, [str(tmp_path / "file")])
    assert result.summary.stats.data_blobs == 2  # two equal chunks of 1000 bytes, and 500 more
    assert content_of(repository, result.tree, str(tmp_path / "file")) == bytes(range(250)) * 10


def test_no_more_files_are_begun_than_may_be_open_while_there_is_one_to_help_with() -> None:
    queue: WorkQueue[str, str] = WorkQueue(4, 2)
    queue.put(["first"])
    queue.put(["second"])
    queue.call_for_help("one", 2)
    assert queue.get() == ["first"], "one is open, two may be"
    queue.call_for_help("other", 1)
    assert [queue.get(), queue.get(), queue.get()] == ["one", "one", "other"]
    assert queue.get() == ["second"], "nobody needs help any more"
    queue.put(["third"])
    queue.call_for_help("last", 1)
    queue.end_shared("last")
    queue.end_shared("other")
    assert queue.get() == ["third"]
    queue.end_shared("one")
    queue.close()
    assert queue.get() is None


# Nodes and trees

TEXT = st.text(st.characters(blacklist_categories=["Cs"])) | st.just("\udcff\udc80") | st.just("<&>\u2028")
NODES = st.builds(
    lambda name, kind, size, target, attributes, blobs: Node(
        quoted=name,
        type=kind,
        mtime="2020-01-01T00:00:00Z",
        size=size,
        linktarget=target,
        linktarget_raw=target.encode("utf-8", "surrogateescape") if "\udcff" in target else None,
        extended_attributes=[ExtendedAttribute(key, value) for key, value in attributes.items()] or None,
        content=blobs,
    ),
    TEXT,
    st.sampled_from(["file", "dir", "symlink"]),
    st.integers(0, 1 << 60),
    TEXT,
    st.dictionaries(TEXT, st.none() | st.binary(max_size=10), max_size=2),
    st.none() | st.lists(st.just("ab" * 32), max_size=2),
)


@given(st.lists(NODES, max_size=4))
def test_fast_encoding_is_the_specifications(nodes: list[Node]) -> None:
    assert join_nodes(map(encode_node, nodes)) == encode_tree(nodes)


@pytest.mark.parametrize("blobs", [0, 1, 2, 4095, 4096, 4097, 3 * 4096])
def test_files_of_many_blobs_are_encoded_like_any_node(blobs: int) -> None:
    ids = [os.urandom(32) for _ in range(blobs)]
    node = Node('"content":[]', "file", size=5, content=[blob.hex() for blob in ids])
    expected = encode_node(node)
    assert encode_file(node, bytearray().join(ids)) == expected
    assert list(node.blobs) == [blob.hex() for blob in ids] and stored_ids(node) == b"".join(ids)
    same = Node('"content":[]', "file", size=5, content=[blob.hex() for blob in ids])
    assert same_node(same, node)


@given(st.integers(-(1 << 62), 1 << 62) | st.integers(-(10**30), 10**30))
def test_times_are_the_specifications(ns: int) -> None:
    assert NodeBuilder().time_text(ns) == gotime.format_ns(ns)


def test_same_nodes_in_other_zones_and_orders() -> None:
    one = Node("n", "file", mtime="2020-01-01T00:00:00Z", uid=0, gid=0, content=[])
    one.extended_attributes = [ExtendedAttribute("a", b""), ExtendedAttribute("b", b"x")]
    other = Node("n", "file", mtime="2020-01-01T01:00:00+01:00", uid=0, gid=0, content=[])
    other.extended_attributes = [ExtendedAttribute("b", b"x"), ExtendedAttribute("a", None)]
    assert same_node(one, other)
    one.content = other.content = ["ab" * 32]
    changes: list[tuple[str, object]] = [("uid", 1), ("gid", 2), ("content", ["cd" * 32]), ("content", ["ab" * 32] * 2)]
    changes += [("extended_attributes", [ExtendedAttribute("a", b"")]), ("atime", "2020-01-01T00:00:00Z")]
    for name, value in (
        *changes,
        ("size", 1),
        ("content", None),
        ("mode", 1),
        ("ctime", "2020-01-01T00:00:00Z"),
        ("quoted", "m"),
    ):
        changed = Node("n", "file", mtime=one.mtime, uid=0, gid=0, content=["ab" * 32])
        changed.extended_attributes = one.extended_attributes
        setattr(changed, name, value)
        assert not same_node(one, changed)


# Targets


def test_lists_of_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt", ".hidden", "d/x/1", "d/y/2", "star*"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    raw = b"# comment\n  *.txt \r\nd/*/[12]\nnone*\n\n\\star\\*\n./d"
    assert pattern_targets(raw) == (["a.txt", "b.txt", "d/x/1", "d/y/2", "star*", "./d"], ["none*"])
    assert expand_glob("*") == [".hidden", "a.txt", "b.txt", "d", "star*"]
    assert expand_glob(f"{tmp_path}/d/*") == [f"{tmp_path}/d/x", f"{tmp_path}/d/y"]
    assert expand_glob("missing") == []
    with pytest.raises(InvalidPattern):
        expand_glob("[")
    assert verbatim_targets(b"a*\n # x\r\n\n\xff") == ["a*", " # x", "\udcff"]
    assert raw_targets(b"a\nb\0\xff\0") == ["a\nb", "\udcff"]
    assert raw_targets(b"") == []
    for wrong in (b"a", b"a\0b", b"\0", b"a\0\0"):
        with pytest.raises(InvalidFileList):
            raw_targets(wrong)


def test_missing_targets(tmp_path: Path) -> None:
    said: list[str] = []
    there = str(tmp_path)
    assert existing_targets([there, "/nonexistent", "a\0b"], said.append) == [there]
    assert said == ["/nonexistent does not exist, skipping", "a\0b cannot be accessed, skipping"]
    with pytest.raises(NothingToBackUp):
        existing_targets(["/nonexistent"], said.append)


@pytest.mark.clause("SNAP-13")
def test_no_target_takes_the_name_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Repository) -> None:
    """restic loses one of the two, whichever comes first."""
    files = ["a/b/1", "a/b-1/2", "a/b-2/deep/3", "b/4", "b-1/5", "b/deep/6"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
    monkeypatch.chdir(tmp_path / "a")
    for targets, names in [
        ([b"../b", b"."], {b"b": b"../b", b"b-3": b"b", b"b-1": b"b-1", b"b-2": b"b-2"}),
        ([b".", b"../b"], {b"b": b"b", b"b-1": b"b-1", b"b-2": b"b-2", b"b-3": b"../b"}),
        ([b"b", b"../b", b"../b-1"], {b"b": b"b", b"b-2": b"../b", b"b-1": b"../b-1"}),
        ([b"../b", b"b", b"b-1"], {b"b": b"../b", b"b-2": b"b", b"b-1": b"b-1"}),
    ]:
        assert {name: child.path for name, child in build_target_tree(targets).children.items()} == names
    tree = build_target_tree([b"b", b"../b/4", b"b-1", b"../b/deep"])
    assert {name: child.path for name, child in tree.children.items()} == {b"b": b"b", b"b-1": b"b-1", b"b-2": b""}
    assert {name: child.path for name, child in tree.children[b"b-2"].children.items()} == {
        b"4": b"../b/4",
        b"deep": b"../b/deep",
    }
    result = backup(repository, ["../b", "."])
    saved = ["/b/4", "/b/deep/6", "/b-1/2", "/b-2/deep/3", "/b-3/1"]
    assert [content_of(repository, result.tree, path) for path in saved] == [
        b"b/4",
        b"b/deep/6",
        b"a/b-1/2",
        b"a/b-2/deep/3",
        b"a/b/1",
    ]


def test_targets_at_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "a").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    tree = build_target_tree([b"a", b"../a", b"../b", b"../../c"])
    assert {name: child.path for name, child in tree.children.items()} == {
        b"a": b"a",
        b"a-1": b"../a",
        b"b": b"../b",
        b"c": b"../../c",
    }
    with pytest.raises(BackupFailed, match="no such file"):
        build_target_tree([b"missing", b"missing/below"])
