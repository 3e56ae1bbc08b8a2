"""Every byte of real files has its place and its clause, and damage is named where it is."""

import json

import pytest
import traceability
from hypothesis import given
from hypothesis import strategies as st

from restic_conformance import fixtures
from restic_spec import binary
from restic_spec.annotate import Span, annotate, declaration_of
from restic_spec.blob import seal_blob
from restic_spec.config import Config
from restic_spec.crypto import OVERHEAD, MasterKey, open_sealed, seal
from restic_spec.errors import LengthInvalid, SpecError
from restic_spec.index import IndexFile
from restic_spec.keyfile import Kdf, KeyFile, derive, encode_keyfile, wrap
from restic_spec.layout import KINDS, FileKind
from restic_spec.pack import BlobType, encode_header, encode_length
from restic_spec.snapshot import Snapshot, encode_snapshot
from restic_spec.tree import Node, Tree, encode_tree
from restic_spec.unpacked import encode_unpacked
from tests.spec.test_fixture_bytes import Opened

KEY = MasterKey(bytes(range(1, 33)), bytes(range(1, 17)), bytes(range(2, 18)))
CLAUSES = {clause.id for clause in traceability.clauses()}
SNAPSHOT = encode_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree="0" * 64, paths=["/x"], tags=["t"], uid=5))


def opener(sealed: bytes) -> bytes:
    return open_sealed(KEY, sealed)


def by_path(spans) -> dict[tuple, Span]:
    return {span.path: span for span in spans}


def problems(spans) -> list[tuple[tuple, str]]:
    return [(span.path, problem.clause) for span in spans for problem in span.problems]


def a_pack(version: int = 2) -> bytes:
    tree = encode_tree([Node(quoted="a", type="file", content=["00" * 32], size=3)])
    first, one = seal_blob(KEY, BlobType.DATA, b"data", offset=0, version=version)
    second, two = seal_blob(KEY, BlobType.TREE, tree, offset=len(one), version=version)
    header = seal(KEY, encode_header([first, second]))
    return one + two + header + encode_length(len(header))


def covered(spans: list[Span], size: int) -> bool:
    """Whether the smallest spans of the data lie side by side, from its first byte to its last."""
    own = [span for span in spans if span.source == () and span.end > span.start]
    leaves = {
        (span.start, span.end)
        for span in own
        if not any(
            other.start >= span.start
            and other.end <= span.end
            and other is not span
            and (other.start, other.end) != (span.start, span.end)
            for other in own
        )
    }
    position = 0
    for start, end in sorted(leaves):
        if start != position:
            return False
        position = end
    return position == size


@pytest.mark.parametrize("name", fixtures.names())
def test_every_byte_of_what_programs_wrote_has_its_place(name, tmp_path):
    opened = Opened(name, tmp_path)

    def unseal(sealed: bytes) -> bytes:
        return open_sealed(opened.master, sealed)

    for kind in FileKind:
        if kind is FileKind.KEY:
            continue
        paths = [opened.path / "config"] if kind is FileKind.CONFIG else opened.files(KINDS[kind].folder)
        for path in paths[:2]:
            raw = path.read_bytes()
            spans = list(annotate(declaration_of(kind, opened.config.version), raw, unseal))
            assert problems(spans) == [], path
            assert covered(spans, len(raw)), path
            assert {span.clause for span in spans} - {""} <= CLAUSES
            sealed_only = list(annotate(declaration_of(kind, opened.config.version), raw))
            assert covered(sealed_only, len(raw)) and problems(sealed_only) == []
    for path in opened.files("keys"):
        assert problems(annotate(KeyFile, path.read_bytes())) == []


@pytest.mark.clause("PACK-1", "PACK-2", "PACK-5", "PACK-6", "PACK-10", "PACK-12", "CRYPTO-1")
@pytest.mark.parametrize("version", [1, 2])
def test_a_pack_is_explained_down_to_the_members_of_its_trees(version):
    spans = by_path(annotate(declaration_of(FileKind.PACK, version), a_pack(version), opener))
    assert spans["length",].value == spans["header",].end - spans["header",].start
    assert spans["header", 1, "kind"].value == ("compressed_tree" if version == 2 else "tree")
    assert spans["header", 1, "kind"].source == ("header", "content")
    assert spans["blobs", 1].start == spans["header", 0, "length"].value == spans["blobs", 0].end
    assert spans["blobs", 1, "mac"].end == spans["blobs", 1].end == spans["header",].start
    name = spans["blobs", 1, *(("content",) if version == 1 else ("frame",)), "nodes", 0, "name"]
    assert (name.value, name.clause) == ("a", "TREE-5")


@pytest.mark.clause("PACK-5", "PACK-8", "PACK-11")
def test_it_goes_on_after_an_entry_that_is_wrong():
    raw = a_pack()
    length = int.from_bytes(raw[-4:], "little")
    header = bytearray(open_sealed(KEY, raw[-4 - length : -4]))
    header[0] = 7
    sealed = seal(KEY, bytes(header))
    spans = list(annotate(binary.PACK, raw[: -4 - length] + sealed + raw[-4:], opener))
    assert (("header", 0, "kind"), "PACK-5") in problems(spans)
    assert ("header", 1, "id") in by_path(spans)
    header[0], header[1:5] = 2, b"\x05\0\0\0"
    sealed = seal(KEY, bytes(header))
    found = problems(annotate(binary.PACK, raw[: -4 - length] + sealed + raw[-4:], opener))
    assert (("header", 0, "length"), "PACK-8") in found
    assert ((), "PACK-11") in found


@pytest.mark.clause("CRYPTO-4", "CRYPTO-8")
def test_what_cannot_be_opened_is_named_and_the_rest_explained():
    raw = bytearray(a_pack())
    raw[40] ^= 1
    spans = list(annotate(binary.PACK, bytes(raw), opener))
    assert [path for path, clause in problems(spans) if clause == "CRYPTO-4"] == [("blobs", 0, "content")]
    assert ("blobs", 1, "frame", "nodes", 0, "name") in by_path(spans)
    raw[:16] = bytes(16)
    assert (("blobs", 0, "iv"), "CRYPTO-8") in problems(annotate(binary.PACK, bytes(raw), opener))


@pytest.mark.clause("PACK-3", "PACK-4")
@pytest.mark.parametrize(("trailer", "clause"), [(5, "PACK-3"), (1 << 31, None), (68, "PACK-3")])
def test_a_header_length_that_cannot_be(trailer, clause):
    raw = a_pack()[:-4] + encode_length(trailer)
    found = problems(annotate(binary.PACK, raw, opener))
    assert found and (clause is None or (("header",), clause) in found)


@pytest.mark.clause("FILE-1", "FILE-2", "FILE-3", "SNAP-2")
@pytest.mark.parametrize("version", [1, 2])
def test_a_document_is_explained_member_by_member(version):
    raw = seal(KEY, encode_unpacked(version, SNAPSHOT))
    spans = by_path(annotate(declaration_of(FileKind.SNAPSHOT, version), raw, opener))
    way = ("file", "document") if version == 1 else ("file", "frame")
    assert spans[*way, "time"].value == "2020-01-01T00:00:00Z"
    assert spans[*way, "time"].clause == "SNAP-3"
    assert spans[*way, "paths", 0].value == "/x"
    member = spans[*way, "tags"]
    assert SNAPSHOT[member.start : member.end] == b'["t"]'
    assert (("file", "mark") in spans) is (version == 2)


@pytest.mark.parametrize(
    ("document", "path", "clause"),
    [
        (SNAPSHOT.replace(b'"uid":5', b'"uid":1.5'), ("uid",), "SNAP-1"),
        (SNAPSHOT.replace(b'["/x"]', b'["/x",7]'), ("paths", 1), "SNAP-1"),
        (SNAPSHOT.replace(b"2020", b"20x0"), (), "SNAP-3"),
        (SNAPSHOT[:-1], (), "FILE-8"),
        (b"{]", (), "FILE-8"),
    ],
)
def test_a_member_that_is_wrong_is_pointed_at(document, path, clause):
    spans = list(annotate(Snapshot, document))
    assert (path, clause) in problems(spans) or (path == () and clause in [found for _, found in problems(spans)])


@pytest.mark.clause("KEY-7")
def test_a_key_file_is_explained_down_to_the_master_key():
    kdf = Kdf(2, 1, 1, bytes(64))
    raw = encode_keyfile(wrap(KEY, b"pw", kdf, created="2020-01-01T00:00:00Z", username="u", hostname="h"))
    derived = derive(b"pw", kdf)
    spans = by_path(annotate(declaration_of(FileKind.KEY, 2), raw, lambda sealed: open_sealed(derived, sealed)))
    assert ("data", "mac", "k") not in by_path(annotate(KeyFile, raw))
    assert spans["data", "data", "document", "mac", "k"].clause == "KEY-7"
    assert spans["data", "data", "iv"].source == ("data", "content")


@pytest.mark.parametrize("kind", FileKind)
@given(st.binary(max_size=300), st.sampled_from([1, 2]))
def test_garbage_is_explained_too(kind, raw, version):
    for given_opener in (None, opener, lambda sealed: sealed):
        for span in annotate(declaration_of(kind, version), raw, given_opener):
            assert 0 <= span.start <= span.end
            assert span.source or span.end <= len(raw)
            assert all(isinstance(problem, SpecError) for problem in span.problems)


@given(st.data(), st.sampled_from([1, 2]))
def test_any_damage_to_a_pack_is_named(data, version):
    raw = bytearray(a_pack(version))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    spans = list(annotate(binary.PACK, bytes(raw), opener))
    assert problems(spans)


@pytest.mark.parametrize("size", [0, 1, OVERHEAD - 1])
def test_what_is_cut_short_says_so(size):
    spans = list(annotate(declaration_of(FileKind.CONFIG, 2), bytes(size), opener))
    assert any(isinstance(problem, LengthInvalid) for span in spans for problem in span.problems)


def test_notes_and_members_are_found_by_their_place():
    raw = json.dumps(
        {"packs": [{"id": "00" * 32, "blobs": [{"id": "11" * 32, "type": "data", "offset": 0, "length": 40}]}], "x": 1}
    )
    spans = by_path(annotate(IndexFile, raw.encode()))
    assert spans["packs", 0, "blobs", 0, "length"].meaning == "Sealed bytes (INDEX-5)."
    assert spans["x",].clause == spans["x",].meaning == ""
    assert problems(annotate(Tree, b'{"nodes":[{"name":"a","type":7}]}')) == [(("nodes", 0, "type"), "TREE-1")]
    assert problems(annotate(Config, b"{}")) == [((), "CONFIG-2")]
