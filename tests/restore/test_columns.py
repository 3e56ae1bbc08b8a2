"""Trees planned as columns: the same comes out as from their nodes one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restic_format.native.table import _table
from restic_format.repository import Repository
from restic_format.repository import index as index_module
from restic_format.repository.index import BlobIndex
from restic_format.restore.dirs import DirCache
from restic_format.restore.files import FilePlanner
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.metadata import MetadataReader
from restic_format.restore.report import Report
from restic_format.restore.request import RestoreOptions
from restic_format.restore.session import Session
from restic_format.restore.table import ROOT, DirState
from restic_format.work import Cancel
from restic_spec import gotime
from restic_spec.errors import ResticFormatError
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.tree import ExtendedAttribute, Node, decode_tree, encode_tree
from tests.restore.kit import Heard

KNOWN = [bytes([n]) * 32 for n in (0xA1, 0xB2, 0xC3, 0xD4)]
SIZES = [10, 1000, MAX_BLOB_SIZE + 1, 0]
MISSING = b"\xee" * 32


def make_index() -> BlobIndex:
    """Blobs of `SIZES` bytes, one of them longer than a blob may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "BlobTable", _table.BlobTable)
        made = BlobIndex()
    made.add_pack(
        b"p" * 32, [PackEntry(BlobType.DATA, KNOWN[0], 0, 42, None), PackEntry(BlobType.DATA, KNOWN[3], 42, 32, None)]
    )
    made.add_pack(b"q" * 32, [PackEntry(BlobType.DATA, KNOWN[n], 500 * n, 80, SIZES[n]) for n in (1, 2)])
    return made


INDEX = make_index()


class NoWriter:
    """Remembers the files it was to write whole."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def write_whole(self, number: int, *_: object) -> None:
        self.numbers.append(number)


def planned(raw: bytes, *, columns: bool) -> tuple[dict[bytes, Any], list[str], Any]:
    """What is planned of each file of the tree *raw*, the names of those that cannot be, and the counters."""
    heard, writer = Heard(), NoWriter()
    repository = cast(Repository, SimpleNamespace(index=INDEX))
    session = Session(repository, b"/t", RestoreOptions(), Report(heard), Cancel())
    session.dirs.state[ROOT] = DirState.READY | DirState.NEW
    planner = FilePlanner(session, DirCache(-1, session.dirs), cast(FileWriter, writer))
    reader = MetadataReader(ownership_by_name=False, select_xattr=None)
    errors: list[str] = []
    if columns:
        left = planner.take(ROOT, raw)
        times = [node.get(name) for node in json.loads(raw)["nodes"] for name in ("mtime", "atime")]
        assert left is not None or not all(gotime.is_canonical(time) for time in times if time is not None)
        raw = raw if left is None else left
    for node in decode_tree(raw, damaged=lambda node, error: errors.append(node.name)):
        if node.type == "file":
            try:
                planner.add(node, ROOT, node.name_bytes, reader.meta(node))
            except ResticFormatError:
                errors.append(node.name)
    files, first = session.files, 0
    packs = {row: run.pack for run in session.plan.runs() for row in run.rows}
    found = {}
    for number in range(len(files)):
        count = files.blobs[number]
        rows = [(packs[first + n], *blob) for n, blob in enumerate(session.plan.by_file(first, count))]
        state = (files.directory[number], files.state[number], files.size[number], files.remaining[number])
        found[files.names[number]] = (state, files.meta[number], rows, number in writer.numbers)
        first += count
    links = {session.links.names[n]: files.names[session.links.file[n]] for n in range(len(session.links))}
    stats = session.report.stats
    counters = (stats.files_total, stats.bytes_total, links, sorted(heard.failed))
    return found, sorted(errors), counters


blob_lists = st.lists(st.sampled_from([*range(4), None]), max_size=4)
times = st.one_of(
    st.none(),
    st.builds(
        gotime.format_ns,
        st.integers(-(3 * 10**18), 9 * 10**18)
        | st.integers(-(10**20), 10**20)
        | st.integers(0, 4 * 10**9).map(lambda s: s * 10**9),
        st.sampled_from([0, 3600, -12600, 86399 - 86399 % 60]),
    ),
    st.sampled_from(["2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01", ""]),
    st.sampled_from(
        ["2024-01-01T00:00:00.1234567891Z", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00,5Z", "1900-02-29T00:00:00Z"]
    ),
    st.sampled_from(["2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+1:00"]),
    st.sampled_from(["2000-02-29T00:00:00+99:99", "1970-01-01T00:00:00-00:01", "2024-01-01t00:00:00Z", "٢024-01-01T00:00:00Z"]),
)


@st.composite
def file_nodes(draw: st.DrawFn) -> Node:
    blobs = draw(blob_lists)
    content = [(MISSING if blob is None else KNOWN[blob]).hex() for blob in blobs]
    size = sum(SIZES[blob] for blob in blobs if blob is not None) + draw(st.sampled_from([0, 0, 0, 1]))
    return Node(
        quoted="",
        type=draw(st.sampled_from(["file", "file", "file", "dir", "socket"])),
        mode=draw(st.integers(0, 0o777) | st.integers(0, 2**32 - 1)),
        mtime=(mtime := draw(times)),
        atime=draw(st.just(mtime) | times),
        uid=draw(st.sampled_from([0, 1000, 2**32 - 2, 2**32 - 1, None])),
        gid=draw(st.sampled_from([0, 1000, 2**32 - 1])),
        inode=draw(st.integers(0, 2)),
        device_id=draw(st.integers(0, 1)),
        links=draw(st.sampled_from([0, 1, 1, 1, 2])),
        size=size,
        content=draw(st.sampled_from([content] * 5 + [None])),
        extended_attributes=draw(st.sampled_from([None, None, None, [ExtendedAttribute("user.a", b"x")]])),
    )


ORDINARY = {"type": "file", "mode": 0o640, "mtime": "2024-05-06T07:08:09.1Z", "uid": 0, "gid": 0, "links": 1}


@given(st.lists(file_nodes(), max_size=12))
@example([Node(quoted="", content=[KNOWN[0].hex(), KNOWN[1].hex(), KNOWN[0].hex()], size=1020, **ORDINARY)])
@example([Node(quoted="", content=[], **ORDINARY), Node(quoted="", content=[MISSING.hex()], **ORDINARY)])
def test_columns_say_what_the_nodes_say(nodes: list[Node]) -> None:
    for number, node in enumerate(nodes):
        node.quoted = f"{number:02}ä"
    raw = encode_tree(nodes)
    assert planned(raw, columns=True) == planned(raw, columns=False)


def test_ordinary_files_need_no_second_look() -> None:
    nodes = [Node(quoted=f"{n}", content=[KNOWN[n % 2].hex()], size=SIZES[n % 2], **ORDINARY) for n in range(9)]
    columns = INDEX.plan_tree(encode_tree(nodes), 7, 100)
    assert columns is not None and columns.others == b"" and len(columns.size) == 8 * 9
    assert columns.file[:4] == (7).to_bytes(4, "little") and columns.name_ends[:8] == (101).to_bytes(8, "little")


def unusual() -> Iterator[bytes]:
    whole = encode_tree([Node(quoted="a", content=[], **ORDINARY), Node(quoted="b", content=[], **ORDINARY)])
    yield from (whole[:cut] for cut in range(0, len(whole) - 1, 7))
    yield whole.replace(b'"name":"b"', b'"name":"a"')
    yield whole.replace(b'"name":"b"', b'"name":"../b"')
    yield whole.replace(b'"name":"b"', b'"name":"\\\\x62"')
    yield whole.replace(b'"name":"b"', b'"name":"b\xff"')
    yield whole.replace(b'"mode":416', b'"mode":4160000000000')
    yield whole.replace(b'"links"', b'"unknown"')


@pytest.mark.parametrize("raw", list(unusual()))
def test_a_tree_of_any_other_form_is_left_alone(raw: bytes) -> None:
    assert INDEX.plan_tree(raw, 0, 0) is None


@given(st.binary(max_size=200) | st.integers(0, 400).map(os.urandom))
def test_garbage_is_left_alone(raw: bytes) -> None:
    assert INDEX.plan_tree(raw, 0, 0) is None
    assert INDEX.plan_tree(b'{"nodes":[{"name"' + raw, 0, 0) is None
