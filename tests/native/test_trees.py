"""Looking trees through in one go: what it passes, the plain way finds nothing in."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restic_format.check.affected import Damage
from restic_format.check.state import CheckOptions, Run
from restic_format.check.trees import TreeChecker
from restic_format.native.nodes import parse_tree
from restic_format.native.table import _table
from restic_format.repository import Repository
from restic_format.repository import index as index_module
from restic_format.repository.index import BlobIndex
from restic_format.work import Cancel, silent
from restic_spec.errors import SpecError
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import ExtendedAttribute, Node, Tree, decode_tree, encode_tree

BLOB, COMPRESSED, MISSING = (bytes([n]) * 32 for n in (0xA1, 0xB2, 0xC3))
TIME = "2024-02-03T04:05:06.789Z"


@pytest.fixture(scope="module")
def index() -> BlobIndex:
    """An index with a blob of 10 bytes and a compressed one of 1000."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "BlobTable", _table.BlobTable)
        made = BlobIndex()
    made.add_pack(b"p" * 32, [PackEntry(BlobType.DATA, BLOB, 0, 42, None), PackEntry(BlobType.DATA, COMPRESSED, 42, 80, 1000)])
    return made


def plain_check(index: BlobIndex, raw: bytes) -> tuple[list[bytes], list[Any]]:
    """Subtrees and findings of a check without native parts."""
    run = Run(cast(Repository, SimpleNamespace(index=index)), CheckOptions(), silent, Cancel())
    subtrees = list(TreeChecker(run, Damage(run)).check_nodes(bytes(32), decode_tree(raw)))
    return subtrees, run.report.findings


def file(name: str, *content: bytes, size: int) -> Node:
    return Node(quoted=name, type="file", mode=0o644, mtime=TIME, content=[blob.hex() for blob in content], size=size)


FULL = Node(
    quoted="zz",
    type="dir",
    mode=0o755,
    mtime=TIME,
    atime=TIME,
    ctime=TIME,
    uid=1000,
    gid=1000,
    user="näme",
    group="g",
    inode=1 << 60,
    device_id=7,
    links=2,
    extended_attributes=[ExtendedAttribute("user.a", b"\0\xff\x10"), ExtendedAttribute("user.b", None)],
    subtree="d4" * 32,
    error="could not be read",
)
ORDERLY = [
    file("a", size=0),
    file("b", BLOB, COMPRESSED, BLOB, size=1020),
    Node(quoted="link", type="symlink", linktarget="\ufffd", linktarget_raw=b"\xff", links=1),
    Node(quoted="null", type="chardev", device=259),
    Node(quoted="pipe", type="fifo"),
    FULL,
    Node(quoted="zzz", type="dir", subtree="e5" * 32),
    Node(quoted="ä \U0001f600", type="socket"),
]


def test_an_orderly_tree_passes_with_its_directories(index: BlobIndex) -> None:
    raw = encode_tree(ORDERLY)
    assert index.check_tree(raw) == [b"\xd4" * 32, b"\xe5" * 32]
    assert index.check_tree(raw[:-1]) is not None, "the last newline is not needed"
    assert index.check_tree(memoryview(raw)) is not None
    assert index.check_tree(encode_tree([])) == []


def test_attributes_of_other_systems_and_another_order_of_fields_pass(index: BlobIndex) -> None:
    node = {
        "type": "file",
        "generic_attributes": {"windows.creation_time": "AAEC", "windows.file_attributes": 32},
        "size": 10,
        "content": [BLOB.hex()],
        "name": "f",
    }
    assert index.check_tree(json.dumps({"nodes": [node]}, separators=(",", ":")).encode()) == []


FAULTY = {
    "a blob that is missing": [file("f", MISSING, size=1)],
    "another size": [file("f", BLOB, size=11)],
    "the id of zeros": [file("f", bytes(32), size=0)],
    "no content": [Node(quoted="f", type="file")],
    "content null": [Node(quoted="f", type="file", content=None)],
    "no subtree": [Node(quoted="d", type="dir")],
    "a subtree of zeros": [Node(quoted="d", type="dir", subtree="00" * 32)],
    "an unknown type": [Node(quoted="x", type="portal")],
    "no name": [file("", size=0)],
    "a dot": [file(".", size=0)],
    "two dots": [file("..", size=0)],
    "a slash": [file("a/b", size=0)],
    "twice the same": [file("a", size=0), file("a", size=0)],
    "not in order": [file("b", size=0), file("a", size=0)],
    "a prefix after the longer name": [file("ab", size=0), file("a", size=0)],
}


def test_names_with_escapes_are_left_to_the_plain_way(index: BlobIndex) -> None:
    raw = encode_tree([file("a<b", size=0), file('c\\"d', size=0)])
    assert plain_check(index, raw) == ([], [])
    assert index.check_tree(raw) is None


@pytest.mark.parametrize("nodes", FAULTY.values(), ids=FAULTY)
def test_what_is_wrong_is_left_to_the_plain_way(index: BlobIndex, nodes: list[Node]) -> None:
    raw = encode_tree(nodes)
    assert plain_check(index, raw)[1], "the plain way must find something here"
    assert index.check_tree(raw) is None


RAW = encode_tree(ORDERLY)
PIECES = [
    b'"name":"x",',
    b"null",
    b"[",
    b"]",
    b"{}",
    b"-1",
    b"1e3",
    b"4294967296",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"\\",
    b" ",
    b"",
]


@given(
    st.integers(0, len(RAW)),
    st.integers(0, 12),
    st.one_of(st.sampled_from(PIECES), st.binary(max_size=3), st.integers(0, len(RAW) - 12).map(lambda at: RAW[at : at + 12])),
)
@example(len(RAW), 0, b" ")
@example(0, 0, b"\xef\xbb\xbf")
def test_whatever_passes_the_plain_way_passes_too(index: BlobIndex, at: int, drop: int, insert: bytes) -> None:
    raw = RAW[:at] + insert + RAW[at + drop :]
    quick = index.check_tree(raw)
    if quick is not None:
        assert plain_check(index, raw) == (quick, [])


@pytest.mark.clause("TREE-7", "TREE-8", "TREE-11", "TREE-14")
@given(
    st.integers(0, len(RAW)),
    st.integers(0, 12),
    st.one_of(st.sampled_from(PIECES), st.binary(max_size=3), st.integers(0, len(RAW) - 12).map(lambda at: RAW[at : at + 12])),
)
def test_no_way_takes_a_tree_that_is_none(index: BlobIndex, at: int, drop: int, insert: bytes) -> None:
    raw = RAW[:at] + insert + RAW[at + drop :]
    try:
        decode_tree(raw)
    except SpecError:
        assert index.check_tree(raw) is None
        assert index.plan_tree(raw, 0, 0) is None
        assert parse_tree(raw) is None


@pytest.mark.parametrize(
    "member",
    [
        f'"content":["{"zz" * 32}"]',
        f'"content":["{"AB" * 32}"]',
        f'"subtree":"{"zz" * 32}"',
        '"mtime":"yesterday"',
        '"atime":"2023-02-29T00:00:00Z"',
        '"ctime":"2023-13-01T00:00:00Z"',
        '"mtime":"2023-01-01T00:00:00"',
        '"mtime":"2023-01-01T24:00:00Z"',
        '"mtime":"2023-01-01T00:00:00.Z"',
        '"mtime":"2023-01-01T00:00:00+0100"',
        '"size":1.0',
        '"size":1e3',
        '"inode":18446744073709551616',
    ],
)
@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_no_way_takes_a_node_that_is_none(index: BlobIndex, member: str, kind: str) -> None:
    raw = f'{{"nodes":[{{"name":"a","type":"{kind}",{member}}}]}}'.encode()
    with pytest.raises(SpecError):
        decode_tree(raw)
    assert index.check_tree(raw) is None
    assert index.plan_tree(raw, 0, 0) is None
    assert parse_tree(raw) is None


@given(st.binary(max_size=100))
def test_garbage_is_left_to_the_plain_way(index: BlobIndex, raw: bytes) -> None:
    try:
        decode_tree(raw)
    except SpecError:
        assert index.check_tree(raw) is None


def test_pieces_of_a_tree_are_no_tree(index: BlobIndex) -> None:
    assert all(index.check_tree(RAW[:end]) is None for end in range(len(RAW) - 1))
    assert isinstance(decode_tree(RAW), Tree)
