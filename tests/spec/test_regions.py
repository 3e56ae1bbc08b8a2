"""Every byte of real files has its place and its clause, and damage is named where it is."""

import json

import construct as cs
import pytest
import traceability
from hypothesis import given
from hypothesis import strategies as st

from restic_spec import binary
from restic_spec.blob import seal_blob
from restic_spec.config import Config
from restic_spec.crypto import OVERHEAD, MasterKey, open_sealed, seal
from restic_spec.index import IndexFile
from restic_spec.keyfile import Kdf, KeyFile, derive, encode_keyfile, wrap
from restic_spec.layout import FileKind
from restic_spec.lock import Lock
from restic_spec.pack import BlobType, decode_header, encode_header, encode_length
from restic_spec.regions import Document, declaration_of, explain, findings
from restic_spec.snapshot import Snapshot, encode_snapshot
from restic_spec.tree import Node, Tree, encode_tree
from restic_spec.unpacked import encode_unpacked
from tests.spec.regionkit import by_name, check_cover, wrong

KEY = MasterKey(bytes(range(1, 33)), bytes(range(1, 17)), bytes(range(2, 18)))
CLAUSES = {clause.id for clause in traceability.clauses()}
SNAPSHOT = encode_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree="0" * 64, paths=["/x"], tags=["t"], uid=5))


def opener(sealed) -> bytes:
    return open_sealed(KEY, sealed)


def plain(document) -> object:
    """A declaration of *document* that stands there as it is."""
    return binary.Form("FILE-8", "a document", binary.Field("d", binary._rest(), "FILE-8", "-", inner=document, how="document"))


def a_pack(version: int = 2) -> bytes:
    tree = encode_tree([Node(quoted="a", type="file", content=["00" * 32], size=3)])
    first, one = seal_blob(KEY, BlobType.DATA, b"data", offset=0, version=version)
    second, two = seal_blob(KEY, BlobType.TREE, tree, offset=len(one), version=version)
    header = seal(KEY, encode_header([first, second]))
    return one + two + header + encode_length(len(header))


PACK = declaration_of(FileKind.PACK)


@pytest.mark.clause("PACK-1", "PACK-2", "PACK-5", "PACK-6", "PACK-10", "PACK-12", "CRYPTO-1")
@pytest.mark.parametrize("version", [1, 2])
def test_a_pack_is_explained_down_to_the_members_of_its_trees(version):
    raw = a_pack(version)
    regions = by_name(explain(PACK, raw, opener=opener, version=version))
    assert regions["length"].value == regions["header"].length
    assert regions["header.entries[1].kind"].value == ("compressed_tree" if version == 2 else "tree")
    assert regions["header.entries[1].kind"].document is regions["header"].content
    assert regions["blobs[1]"].offset == regions["header.entries[0].length"].value == regions["blobs[0]"].end
    assert regions["blobs[1].mac"].end == regions["blobs[1]"].end == regions["header"].offset
    name = regions[f"blobs[1].{'content' if version == 1 else 'frame'}.nodes[0].name"]
    assert (name.value, name.clause) == ("a", "TREE-5")
    entries = decode_header(open_sealed(KEY, regions["header"].raw), version)
    assert [regions[f"blobs[{number}]"].entry for number in range(2)] == entries


@pytest.mark.clause("PACK-5", "PACK-8", "PACK-11")
def test_it_goes_on_after_an_entry_that_is_wrong():
    raw = a_pack()
    length = int.from_bytes(raw[-4:], "little")
    header = bytearray(open_sealed(KEY, raw[-4 - length : -4]))
    header[0] = 7
    sealed = seal(KEY, bytes(header))
    whole = explain(PACK, raw[: -4 - length] + sealed + raw[-4:], opener=opener)
    assert ("header.entries[0].kind", "PACK-5") in wrong(whole)
    assert "header.entries[1].id" in by_name(whole)
    header[0], header[1:5] = 2, b"\x05\0\0\0"
    sealed = seal(KEY, bytes(header))
    whole = explain(PACK, raw[: -4 - length] + sealed + raw[-4:], opener=opener)
    check_cover(whole)
    assert ("header.entries[0].length", "PACK-8") in wrong(whole)
    assert ("blobs.unexplained", "PACK-11") in wrong(whole)


@pytest.mark.clause("PACK-11")
def test_a_blob_that_goes_beyond_is_named():
    raw = a_pack()
    length = int.from_bytes(raw[-4:], "little")
    whole = explain(PACK, raw[: -4 - length - 9] + raw[-4 - length :], opener=opener)
    check_cover(whole)
    assert ("blobs[1]", "PACK-11") in wrong(whole)


@pytest.mark.clause("PACK-6", "PACK-7", "PACK-9")
def test_headers_that_cannot_be():
    raw = a_pack()
    length = int.from_bytes(raw[-4:], "little")
    header = open_sealed(KEY, raw[-4 - length : -4])

    def pack(header: bytes) -> Document:
        sealed = seal(KEY, header)
        whole = explain(PACK, raw[: -4 - length] + sealed + encode_length(len(sealed)), opener=opener, version=1)
        check_cover(whole)
        return whole

    assert ("header.entries[1].unexplained", "PACK-6") in wrong(pack(header[:-1]))
    assert ("header.entries", "PACK-7") in wrong(pack(b""))
    assert {("header.entries[0].kind", "PACK-9"), ("header.entries[1].kind", "PACK-9")} <= set(wrong(pack(header)))


@pytest.mark.clause("CRYPTO-4", "CRYPTO-8")
def test_what_cannot_be_opened_is_named_and_the_rest_explained():
    raw = bytearray(a_pack())
    raw[40] ^= 1
    whole = explain(PACK, bytes(raw), opener=opener)
    assert wrong(whole) == [("blobs[0]", "CRYPTO-4")]
    assert "blobs[1].frame.nodes[0].name" in by_name(whole)
    raw[:16] = bytes(16)
    assert wrong(explain(PACK, bytes(raw), opener=opener)) == [("blobs[0].iv", "CRYPTO-8")]


@pytest.mark.clause("PACK-12", "PACK-13", "LAYOUT-1")
def test_content_is_held_against_what_is_stated():
    first, one = seal_blob(KEY, BlobType.DATA, b"data", offset=0)

    def pack(entry) -> bytes:
        header = seal(KEY, encode_header([entry]))
        return one + header + encode_length(len(header))

    assert wrong(explain(PACK, pack(first._replace(id=bytes(32))), opener=opener)) == [("blobs[0]", "PACK-13")]
    assert wrong(explain(PACK, pack(first._replace(uncompressed_length=9)), opener=opener)) == [("blobs[0].frame", "PACK-12")]
    assert wrong(explain(PACK, pack(first), opener=opener, name="00" * 32)) == [("", "LAYOUT-1")]


@pytest.mark.clause("PACK-2", "PACK-3", "PACK-4")
@pytest.mark.parametrize(("trailer", "clause"), [(5, "PACK-3"), (1 << 31, "PACK-4"), (1 << 30, "PACK-3"), (68, "PACK-3")])
def test_a_header_length_that_cannot_be(trailer, clause):
    whole = explain(PACK, a_pack()[:-4] + encode_length(trailer), opener=opener)
    check_cover(whole)
    assert ("length", clause) in wrong(whole)


def test_blobs_are_divided_by_an_index_where_the_header_is_lost():
    raw = bytearray(a_pack())
    length = int.from_bytes(raw[-4:], "little")
    entries = decode_header(open_sealed(KEY, raw[-4 - length : -4]))
    raw[-20] ^= 1
    whole = explain(PACK, bytes(raw), opener=opener)
    check_cover(whole)
    assert wrong(whole) == [("header", "CRYPTO-4")]
    assert not list(by_name(whole)["blobs"].regions())
    whole = explain(PACK, bytes(raw), opener=opener, entries=entries[1:])
    check_cover(whole)
    regions = by_name(whole)
    assert regions["blobs.unexplained"].length == entries[1].offset
    assert regions["blobs[0].frame.nodes[0].name"].value == "a"
    size = regions["blobs"].length
    for odd, expected in (
        (entries[1]._replace(offset=size + 5), ("blobs.unexplained", "PACK-11")),
        (entries[1]._replace(offset=size - 5), ("blobs[1]", "PACK-11")),
        (entries[1]._replace(offset=5), ("blobs[1]", "PACK-1")),
    ):
        whole = explain(PACK, bytes(raw), opener=opener, entries=[entries[0], odd, entries[0]])
        check_cover(whole)
        assert expected in wrong(whole)


@pytest.mark.clause("TREE-1")
def test_a_document_may_stand_alone():
    whole = explain(Tree, b'{"nodes":[{"name":"a","type":7}]}')
    assert wrong(whole) == [("nodes[0].type", "TREE-1")]
    assert list(by_name(whole))[:2] == ["nodes:name", "nodes"]
    assert wrong(explain(Tree, b"{}")) == [("", "TREE-1")]
    assert wrong(explain(Tree, b"{")) == [("unexplained", "FILE-8")]


@pytest.mark.clause("FILE-1", "FILE-2", "FILE-3", "SNAP-2")
@pytest.mark.parametrize("version", [1, 2])
def test_a_document_is_explained_member_by_member(version):
    raw = seal(KEY, encode_unpacked(version, SNAPSHOT))
    regions = by_name(explain(declaration_of(FileKind.SNAPSHOT, version), raw, opener=opener))
    way = "file.document" if version == 1 else "file.frame"
    assert regions[f"{way}.time"].value == "2020-01-01T00:00:00Z"
    assert regions[f"{way}.time"].clause == "SNAP-3"
    assert regions[f"{way}.paths[0]"].value == "/x"
    assert bytes(regions[f"{way}.tags"].raw) == b'["t"]'
    assert ("file.mark" in regions) is (version == 2)
    unknown = by_name(explain(declaration_of(FileKind.SNAPSHOT), raw, opener=opener))
    assert {name: region.value for name, region in unknown.items()} == {name: found.value for name, found in regions.items()}


@pytest.mark.parametrize(
    ("document", "name", "clause"),
    [
        (SNAPSHOT.replace(b'"uid":5', b'"uid":1.5'), "d.uid", "SNAP-1"),
        (SNAPSHOT.replace(b'["/x"]', b'["/x",7]'), "d.paths[1]", "SNAP-1"),
        (SNAPSHOT.replace(b"2020", b"20x0"), "d.time", "SNAP-3"),
        (SNAPSHOT[:-1], "d.unexplained", "FILE-8"),
        (b"{]", "d.unexplained", "FILE-8"),
        (b'{"time":"a",}', "d.unexplained", "FILE-8"),
        (b"5", "d", "SNAP-1"),
        (b"", "d.unexplained", "FILE-4"),
        (b"{} x", "d.unexplained", "FILE-8"),
        (b'{"time":"\\ud800"}', "d.time", "FILE-8"),
        (b'{"paths":["a"', "d.paths.unexplained", "FILE-8"),
        (b'{"x":' + b"[" * 200 + b"]" * 200 + b"}", f"d.x{'[0]' * 99}", "FILE-8"),
    ],
)
def test_a_member_that_is_wrong_is_pointed_at(document, name, clause):
    whole = explain(plain(Snapshot), document)
    check_cover(whole)
    assert wrong(whole) == [(name, clause)]


TREE_ID, OTHER_ID = "ab" * 32, "cd" * 32


def _index(*blobs: dict, pack: str = TREE_ID) -> bytes:
    good = {"id": OTHER_ID, "type": "data", "offset": 0, "length": 40}
    return json.dumps({"packs": [{"id": TREE_ID, "blobs": [good]}, {"id": pack, "blobs": [good | b for b in blobs]}]}).encode()


def _tree(*nodes: dict) -> bytes:
    return json.dumps({"nodes": [{"name": "a", "type": "file"} | node for node in nodes]}).encode()


def _key(**changed: object) -> bytes:
    kdf = Kdf(2, 1, 1, bytes(64))
    raw = encode_keyfile(wrap(KEY, b"pw", kdf, created="2020-01-01T00:00:00Z", username="u", hostname="h"))
    return json.dumps(json.loads(raw) | changed).encode()


def _config(**changed: object) -> bytes:
    return json.dumps({"version": 2, "id": TREE_ID, "chunker_polynomial": "3635ff42f03fd3"} | changed).encode()


@pytest.mark.parametrize(
    ("form", "document", "expected"),
    [
        (IndexFile, _index({"id": "x"}, {}, {"type": "x"}),
         [("packs[1].blobs[0].id", "INDEX-3"), ("packs[1].blobs[2].type", "INDEX-4")]),
        (IndexFile, _index({"offset": -1}), [("packs[1].blobs[0]", "INDEX-5")]),
        (IndexFile, _index({"offset": ""}), [("packs[1].blobs[0].offset", "INDEX-1")]),
        (IndexFile, _index(pack="x"), [("packs[1].id", "INDEX-3")]),
        (IndexFile, _index(pack="x").replace(b'{"packs": ', b"")[:-1], [("[1].id", "INDEX-3")]),
        (Tree, _tree({}, {"name": "b", "type": "dir", "subtree": "x"}, {"name": "c", "uid": -1}),
         [("nodes[1].subtree", "TREE-7"), ("nodes[2].uid", "TREE-1")]),
        (Tree, _tree({"name": "b"}, {"name": "a"}, {"name": "c"}, {"name": "c"}),
         [("nodes[1]", "TREE-4"), ("nodes[3]", "TREE-4")]),
        (Tree, _tree({"name": ".."}, {"name": '"'}), [("nodes[0]", "TREE-6"), ("nodes[1].name", "TREE-5")]),
        (Tree, _tree({"name": ".."}, {"name": "b"}), [("nodes[0]", "TREE-6")]),
        (Tree, _tree({"type": "dir"}), [("nodes[0]", "TREE-7")]),
        (Tree, _tree({"content": ["x"]}, {"name": "b", "mtime": "x"}),
         [("nodes[0].content", "TREE-8"), ("nodes[1]", "TREE-11")]),
        (KeyFile, _key(kdf="x"), [("kdf", "KEY-3")]),
        (KeyFile, _key(salt="eA=="), [("salt", "KEY-5")]),
        (KeyFile, _key(N=1 << 60), [("", "KEY-6")]),
        (KeyFile, _key(N="1"), [("N", "KEY-1")]),
        (KeyFile, _key(data="!"), [("data", "KEY-1")]),
        (Config, _config(version=3), [("version", "CONFIG-3")]),
        (Config, _config(id="x"), [("id", "CONFIG-4")]),
        (Config, _config(chunker_polynomial="10"), [("chunker_polynomial", "CHUNK-2")]),
        (Snapshot, SNAPSHOT.replace(b"000000", b"x00000"), [("tree", "SNAP-4")]),
        (Snapshot, SNAPSHOT[:-1] + b',"summary":{"files_new":"x"}}', [("summary.files_new", "SNAP-9")]),
        (Lock, b'{"time":"2020-01-01T00:00:00Z","exclusive":1,"hostname":"","username":"","pid":1}', [("exclusive", "LOCK-1")]),
    ],
)  # fmt: skip
def test_a_fault_is_shown_at_the_member_that_has_it(form, document, expected):
    whole = explain(plain(form), document)
    check_cover(whole)
    names = [("d" + ("" if not name or name.startswith("[") else ".") + name, clause) for name, clause in expected]
    assert wrong(whole) == names


@pytest.mark.clause("RUSTIC-1", "RUSTIC-3", "SNAP-21", "TREE-20")
def test_members_of_other_programs_have_their_clauses_too():
    regions = by_name(explain(plain(Config), _config(is_hot=True, odd={"a": 1}, **{"a.b": 2})))
    assert (regions["d.is_hot"].clause, regions["d.is_hot"].value) == ("RUSTIC-1", True)
    assert regions["d.odd.a"].clause == "FILE-8"
    assert regions['d["a.b"]'].value == 2
    regions = by_name(explain(plain(Snapshot), SNAPSHOT[:-1] + b',"label":"x","partial":true,"delete":{"After":"x"}}'))
    assert [regions[f"d.{name}"].clause for name in ("label", "partial", "delete")] == ["RUSTIC-3", "SNAP-21", "RUSTIC-8"]
    regions = by_name(explain(plain(Tree), _tree({"generic_attributes": {"windows.file_attributes": 32}})))
    assert regions['d.nodes[0].generic_attributes["windows.file_attributes"]'].clause == "TREE-20"


@pytest.mark.clause("GOJSON-11", "FILE-8")
def test_what_readers_pass_over_is_a_warning():
    odd = _index({}).replace(b'"offset": 0', b'"offset": 0, "x\xff": {"y": "\xff"}')
    passed = explain(plain(IndexFile), odd)
    check_cover(passed)
    assert len(list(findings(passed))) == 4
    assert {(found.clause, found.severity) for found in findings(passed)} == {("GOJSON-11", "warning")}
    refused = explain(plain(IndexFile), odd.replace(b'"data"', b'"dat"'))
    assert {found.severity for found in findings(refused)} == {"error"}


def test_fields_of_fixed_size_are_found_from_the_end():
    fields = [
        binary.Field("some", binary._rest(6), "PACK-1", "-"),
        *(binary.Field(name, cs.Int16ul, "PACK-1", "-") for name in ("one", "two", "three")),
    ]
    form = binary.Form("PACK-1", "three numbers", *fields)
    for raw, expected in ((b"\1\0\2\0\3\0", {"some": b"", "one": 1, "two": 2, "three": 3}),
                          (b"\7\2\0\3\0", {"unexplained": b"\7", "two": 2, "three": 3}),
                          (b"\7", {"unexplained": b"\7"})):  # fmt: skip
        whole = explain(form, raw)
        check_cover(whole)
        assert {region.name: region.value for region in whole.regions()} == expected
        assert wrong(whole) == ([("unexplained", "PACK-1")] if "unexplained" in expected else [])


def test_names_are_unique_whatever_the_document_calls_its_members():
    odd = b'{"a":1,"a":2,"":3,"a:name":4,"unexplained":5,"\\u001b[31m":6,"' + b"x" * 300 + b'":7,"' + b"x" * 301 + b'":{"a":8}'
    for document in (odd + b"}", odd + b',"y"'):
        whole = explain(plain(Config), document)
        check_cover(whole)
        names = list(by_name(whole))
        assert all(name.isprintable() and name.isascii() and len(name) < 200 for name in names)
        assert {"d.a", "d.a#1"} < set(names)


@pytest.mark.clause("KEY-7", "KEY-8")
def test_a_key_file_is_explained_down_to_the_master_key():
    kdf = Kdf(2, 1, 1, bytes(64))
    raw = encode_keyfile(wrap(KEY, b"pw", kdf, created="2020-01-01T00:00:00Z", username="u", hostname="h"))
    derived = derive(b"pw", kdf)
    declaration = declaration_of(FileKind.KEY, 2)
    whole = explain(declaration, raw, opener=lambda sealed: open_sealed(derived, sealed))
    check_cover(whole)
    regions = by_name(whole)
    assert regions["file.data.sealed.document.mac.k"].clause == "KEY-7"
    assert regions["file.data.sealed.document.mac.k.bytes"].value == KEY.mac_k
    assert regions["file.data.sealed.iv"].document is regions["file.data.sealed"].document
    assert regions["file.salt.bytes"].value == bytes(64)
    assert not any("document" in name for name in by_name(explain(declaration, raw)))


@pytest.mark.parametrize("kind", FileKind)
@given(st.binary(max_size=300), st.sampled_from([1, 2, None]))
def test_garbage_is_explained_too(kind, raw, version):
    for given_opener in (None, opener, bytes):
        whole = explain(declaration_of(kind, version), raw, opener=given_opener, version=version)
        check_cover(whole)
        by_name(whole)
        for found in findings(whole):
            assert found.clause in CLAUSES and found.what and "\n" not in found.what


@given(st.data(), st.sampled_from([1, 2]))
def test_any_damage_to_a_pack_is_named(data, version):
    raw = bytearray(a_pack(version))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    whole = explain(PACK, bytes(raw), opener=opener)
    check_cover(whole)
    assert wrong(whole)


@given(st.data(), st.sampled_from([1, 2]))
def test_a_pack_that_is_cut_short_is_covered(data, version):
    raw = a_pack(version)
    whole = explain(PACK, raw[: data.draw(st.integers(0, len(raw) - 1))], opener=opener)
    check_cover(whole)
    assert wrong(whole)


@pytest.mark.parametrize("size", [0, 1, OVERHEAD - 1])
def test_what_is_cut_short_says_so(size):
    for given_opener in (None, opener):
        assert ("file.unexplained", "CRYPTO-1") in wrong(
            explain(declaration_of(FileKind.CONFIG, 2), bytes(size), opener=given_opener)
        )


def test_notes_and_members_are_found_by_their_place():
    raw = json.dumps(
        {"packs": [{"id": "00" * 32, "blobs": [{"id": "11" * 32, "type": "data", "offset": 0, "length": 40}]}], "x": 1}
    )
    regions = by_name(explain(plain(IndexFile), raw.encode()))
    assert regions["d.packs[0].blobs[0].length"].meaning == "sealed bytes"
    assert regions["d.x"].clause == "FILE-8"
    assert wrong(explain(plain(Tree), b'{"nodes":[{"name":"a","type":7}]}')) == [("d.nodes[0].type", "TREE-1")]
    assert wrong(explain(plain(Config), b"{}")) == [("d", "CONFIG-2")]
