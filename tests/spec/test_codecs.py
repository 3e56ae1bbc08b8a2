"""Properties of every codec: decoding reverses encoding, and garbage gives a typed error and no other exception."""

import json
import math
import random
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors.generators.base import frame

from restic_spec import chunker, gojson, gomode, gotime, ids, wire
from restic_spec.binary import LENGTH_FIELD
from restic_spec.blob import open_blob, seal_blob
from restic_spec.config import Config, decode_config, encode_config
from restic_spec.crypto import OVERHEAD, MasterKey, clamp, open_sealed, seal
from restic_spec.errors import MacInvalid, SpecError
from restic_spec.index import IndexFile, decode_index, encode_index, encode_packs, entries_of, index_pack
from restic_spec.keyfile import Kdf, decode_keyfile, decode_master_key, encode_keyfile, encode_master_key, unwrap, wrap
from restic_spec.lock import Lock, decode_lock, encode_lock
from restic_spec.pack import (
    BlobType,
    PackEntry,
    check_layout,
    decode_header,
    decode_length,
    encode_header,
    encode_length,
    header_length,
)
from restic_spec.snapshot import Snapshot, SnapshotSummary, decode_snapshot, encode_snapshot, summary_fields
from restic_spec.tree import ExtendedAttribute, Node, Tree, check_node, decode_tree, encode_tree, validate_tree
from restic_spec.unpacked import decode_unpacked, decompress, encode_unpacked

KEY = MasterKey(bytes(range(32)), bytes(range(1, 17)), bytes(range(2, 18)))
KDF = Kdf(2, 1, 1, bytes(64))

ids_ = st.binary(min_size=32, max_size=32)
hex_ids = ids_.map(bytes.hex)
raw_names = st.binary(max_size=24)
texts = raw_names.map(gojson.to_text)
u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
times = st.builds(gotime.format_ns, st.integers(-(10**20), 10**21), st.integers(-1439, 1439).map(lambda minutes: minutes * 60))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
raws = json_values.map(lambda value: msgspec.Raw(gojson.encode(value)))


@st.composite
def entries(draw, version=2):
    """Entries of a pack whose offsets follow from their order."""
    result, offset = [], 0
    for _ in range(draw(st.integers(1, 8))):
        length = draw(st.integers(OVERHEAD, 1 << 20))
        plain = draw(st.none() | st.integers(1, (1 << 32) - 1)) if version == 2 else None
        result.append(PackEntry(draw(st.sampled_from(BlobType)), draw(ids_), offset, length, plain))
        offset += length
    return result


@st.composite
def nodes(draw):
    """A node with any fields a program may write."""
    node = Node(
        quoted=gojson.quote(draw(texts)),
        type=draw(st.sampled_from(["file", "dir", "symlink", "dev", "chardev", "fifo", "socket", "irregular", "other"])),
        mode=draw(u32),
        mtime=draw(st.none() | times),
        atime=draw(times),
        ctime=draw(times),
        uid=draw(st.none() | u32),
        gid=draw(u32),
        user=draw(st.text(max_size=5)),
        group=draw(st.text(max_size=5)),
        inode=draw(u64),
        device_id=draw(u64),
        size=draw(st.integers(0, (1 << 63) - 1)),
        links=draw(u32),
        extended_attributes=draw(
            st.none()
            | st.lists(
                st.builds(ExtendedAttribute, st.text(max_size=5), st.none() | st.binary(max_size=5)), min_size=1, max_size=3
            )
        ),
        generic_attributes=draw(st.none() | st.dictionaries(st.text(max_size=5), raws, min_size=1, max_size=3)),
        device=draw(u64),
        content=draw(st.none() | st.lists(hex_ids, max_size=3)),
        subtree=draw(st.none() | hex_ids),
        error=draw(st.text(max_size=5)),
    )
    if draw(st.booleans()):
        node.set_target(draw(st.binary(max_size=12)))
    return node


def typed(function, *arguments):
    """Run a decoder on garbage: a result or a `SpecError` are fine, anything else escapes and fails the test."""
    try:
        return function(*arguments)
    except SpecError as error:
        assert error.layer != "invalid"
        assert error.clause
        return None


@pytest.mark.clause("CRYPTO-1", "CRYPTO-3", "CRYPTO-5", "CRYPTO-9")
@given(st.binary(max_size=300))
def test_sealing(plaintext):
    sealed = seal(KEY, plaintext)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert open_sealed(KEY, sealed) == plaintext


@pytest.mark.clause("CRYPTO-4")
@given(st.binary(max_size=60), st.data())
def test_every_flipped_bit_is_noticed(plaintext, data):
    sealed = bytearray(seal(KEY, plaintext))
    position = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[position // 8] ^= 1 << position % 8
    with pytest.raises(MacInvalid):
        open_sealed(KEY, bytes(sealed))


@pytest.mark.clause("CRYPTO-7")
def test_no_iv_comes_twice():
    assert len({seal(KEY, b"same")[:16] for _ in range(1000)}) == 1000


@pytest.mark.clause("CRYPTO-6")
@given(st.binary(min_size=16, max_size=16).filter(any), st.binary(max_size=40))
def test_clamped_bits_do_not_count(r, plaintext):
    if any(clamp(r)):
        sealed = seal(MasterKey(KEY.encrypt, KEY.mac_k, r), plaintext)
        assert open_sealed(MasterKey(KEY.encrypt, KEY.mac_k, clamp(r)), sealed) == plaintext


@pytest.mark.clause("CRYPTO-10")
def test_a_sealed_message_does_not_know_what_it_is():
    # Nothing but its form keeps a lock from being read as a snapshot, so the schemas must.
    lock = seal(KEY, encode_lock(Lock("2020-01-01T00:00:00Z", False, "h", "u", 1)))
    snapshot = decode_snapshot(open_sealed(KEY, lock))
    assert snapshot.path_list() == [] and not snapshot.tree
    with pytest.raises(SpecError):
        decode_config(open_sealed(KEY, lock))


@given(st.binary(max_size=80))
def test_garbage_is_not_sealed(raw):
    assert typed(open_sealed, KEY, raw) is None


@pytest.mark.clause("KEY-2", "KEY-4", "KEY-7", "KEY-8")
@given(ids_, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.text(max_size=8), st.text(max_size=8))
def test_keyfile(encrypt, k, r, password, user):
    if not (any(encrypt) and any(k) and any(r)):
        return
    master = MasterKey(encrypt, k, r)
    assert decode_master_key(encode_master_key(master)) == master
    key = wrap(master, password.encode(), KDF, created="2020-01-01T00:00:00Z", username=user, hostname="h")
    raw = encode_keyfile(key)
    assert encode_keyfile(decode_keyfile(raw)) == raw
    assert unwrap(decode_keyfile(raw), password.encode()) == master
    assert list(json.loads(raw)) == ["created", "username", "hostname", "kdf", "N", "r", "p", "salt", "data"]


@pytest.mark.clause("CONFIG-2", "CONFIG-6")
@given(hex_ids, st.integers(1, 2), st.dictionaries(st.text(min_size=1, max_size=6), json_values, max_size=3))
def test_config(repo_id, version, unknown):
    config = Config(version, repo_id, "3da3358b4dc173")
    raw = encode_config(config)
    assert encode_config(decode_config(raw)) == raw
    extended = {**json.loads(raw), **{f"x{name}": value for name, value in unknown.items()}}
    again = decode_config(gojson.encode(extended))
    assert json.loads(encode_config(again)) == extended


@pytest.mark.clause("FILE-2", "FILE-3")
@given(st.integers(1, 2), st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_unpacked(version, document):
    raw = gojson.encode(document)
    encoded = encode_unpacked(version, raw)
    assert (encoded == raw) is (version == 1)
    assert decode_unpacked(version, encoded) == raw


@given(st.binary(max_size=60), st.integers(1, 2))
def test_garbage_is_not_unpacked(raw, version):
    typed(decode_unpacked, version, raw)
    typed(decode_unpacked, version, b"\x02" + raw)
    typed(decode_unpacked, version, b"\x02\x28\xb5\x2f\xfd" + raw)


@given(st.binary(max_size=40), st.integers(0, 400), st.booleans(), st.data())
def test_damaged_frames(content, limit, announce, data):
    raw = bytearray(frame(content, announce=announce))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(0, 255))
    result = typed(decompress, bytes(raw), limit, "FILE-5")
    assert result is None or len(result) <= limit


@pytest.mark.clause("PACK-5", "PACK-6", "PACK-10")
@given(entries())
def test_pack_header(listed):
    raw = encode_header(listed)
    assert decode_header(raw) == listed
    assert len(raw) == sum(entry.header_size for entry in listed)
    size = sum(entry.length for entry in listed) + len(raw) + OVERHEAD + 4
    assert header_length(struct.pack("<I", len(raw) + OVERHEAD), size) == len(raw) + OVERHEAD
    check_layout(listed, len(raw) + OVERHEAD, size)


@pytest.mark.clause("PACK-9")
@given(entries(version=1))
def test_pack_header_of_version_1(listed):
    assert decode_header(encode_header(listed), 1) == listed


@given(st.binary(max_size=130), st.integers(0, 1 << 26))
def test_garbage_is_no_pack(raw, size):
    result = typed(decode_header, raw)
    assert result is None or encode_header(result) == raw
    typed(header_length, raw[-4:], size)


@pytest.mark.clause("PACK-12", "PACK-13", "PACK-19", "LAYOUT-6")
@given(st.sampled_from(BlobType), st.binary(max_size=200), st.integers(1, 2), st.sampled_from([None, 1, 3]))
def test_blob(blob_type, content, version, level):
    entry, sealed = seal_blob(KEY, blob_type, content, offset=7, version=version, level=level)
    assert (entry.id, entry.offset, entry.length) == (ids.id_of(content), 7, len(sealed))
    assert entry.plain_length == len(content)
    compressed = version == 2 and bool(content) and (level is not None or blob_type is BlobType.TREE)
    assert (entry.uncompressed_length is not None) is compressed
    assert open_blob(KEY, entry, sealed) == content


@pytest.mark.clause("INDEX-1", "INDEX-2", "INDEX-6", "INDEX-12")
@given(
    st.lists(st.tuples(ids_, entries()), max_size=4), st.lists(hex_ids, max_size=2), st.dictionaries(st.text(max_size=4), raws)
)
def test_index(packs, supersedes, unknown):
    listed = [index_pack(pack_id, blobs) for pack_id, blobs in packs]
    raw = encode_index(IndexFile(supersedes=supersedes, packs=listed))
    assert raw.endswith(b"]}\n")
    decoded = decode_index(raw)
    assert encode_index(decoded) == raw
    assert [(bytes.fromhex(pack.id), entries_of(pack)) for pack in decoded.all_packs()] == packs
    members = {f"x{name}": value for name, value in unknown.items()}
    extended = wire.splice(raw[:-1], members) + b"\n"
    assert encode_index(decode_index(extended)) == extended
    if not supersedes:
        assert encode_packs(listed) == raw


@pytest.mark.clause("TREE-3", "TREE-18", "TREE-19", "TREE-20", "TREE-23")
@given(st.lists(nodes(), max_size=4), st.dictionaries(st.text(max_size=4), raws, max_size=2))
def test_tree(listed, unknown):
    raw = encode_tree(listed)
    assert encode_tree(decode_tree(raw)) == raw
    decoded = decode_tree(raw, keep_unknown=True)
    assert [node.name for node in decoded] == [node.name for node in listed]
    assert [gojson.to_bytes(node.target) for node in decoded] == [gojson.to_bytes(node.target) for node in listed]
    for node in decoded:
        node.keep_extra({f"x{name}": value for name, value in unknown.items()})
    extended = encode_tree(decoded)
    assert encode_tree(decode_tree(extended, keep_unknown=True)) == extended


ODD = {
    "quoted": ["a\\q", 'a"', "a\n"],
    "mtime": ["2023-02-29T00:00:00Z", "", "2020-01-01T00:00:00Z 2020-01-01T00:00:00Z"],
    "atime": ["yesterday"],
    "ctime": ["yesterday"],
    "inode": [1 << 64],
    "device_id": [1 << 64],
    "device": [1 << 70],
    "content": [["00"], ["zz" * 32], ["00" * 32, "00" * 31], ["00" * 16, "00" * 48], ["AB" * 32], ["00" * 32, "AB" * 32]],
    "subtree": ["ab", "zz" * 32, " " * 64],
}
EVEN = {
    "quoted": ["a\\u00e4"],
    "mtime": [None, "2024-02-29T00:00:00Z"],
    "ctime": [None],
    "inode": [(1 << 64) - 1],
    "content": [[]],
}


def _with(member, value, count, position):
    """Nodes in which everything is ordinary but one member of one of them."""
    time = "2020-01-01T00:00:00.5Z"
    listed = [
        Node(quoted=f"n{number}", type="file", mtime=time, atime=time, ctime=time, content=["00" * 32])
        for number in range(count)
    ]
    setattr(listed[position], member, value)
    return listed


@pytest.mark.clause("TREE-5", "TREE-7", "TREE-8", "TREE-11", "TREE-14", "TREE-21")
@pytest.mark.parametrize(("count", "position"), [(1, 0), (3, 1)])
@pytest.mark.parametrize(("member", "value"), [(member, value) for member, values in ODD.items() for value in values])
def test_a_node_that_is_none_refuses_its_tree(member, value, count, position):
    listed = _with(member, value, count, position)
    with pytest.raises(SpecError):
        check_node(listed[position], "node")
    with pytest.raises(SpecError):
        decode_tree(encode_tree(listed))
    left_out = []
    decoded = decode_tree(encode_tree(listed), damaged=lambda node, error: left_out.append(node))
    assert len(left_out) == 1 and len(decoded.nodes) == count - 1


@pytest.mark.parametrize(("member", "value"), [(member, value) for member, values in EVEN.items() for value in values])
def test_a_node_that_is_unusual_passes(member, value):
    listed = _with(member, value, 3, 1)
    assert decode_tree(encode_tree(listed)).nodes == listed


@pytest.mark.clause("GOJSON-13")
def test_members_that_are_null_are_absent():
    tree = decode_tree(b'{"nodes":[{"name":"a","type":"file","size":null,"mode":null,"generic_attributes":{"size":null}}]}')
    assert (tree.nodes[0].size, tree.nodes[0].mode) == (0, 0)
    assert bytes(tree.nodes[0].generic_attributes["size"]) == b"null"
    for raw in (b'{"nodes":[{"name":null,"type":"file"}]}', b'{"nodes":[{"name":"a","type":"file","content":[null]}]}'):
        with pytest.raises(SpecError):
            decode_tree(raw)


@pytest.mark.clause("TREE-4", "TREE-6")
@given(st.sets(st.binary(min_size=1, max_size=6)))
def test_names_are_sorted_by_bytes(names):
    def tree_of(order):
        return Tree([Node(quoted=gojson.quote(gojson.to_text(name)), type="fifo", content=None) for name in order])

    usable = sorted(name for name in names if name not in (b".", b"..") and not set(name) & {0, 47})
    validate_tree(tree_of(usable))
    if len(usable) > 1:
        with pytest.raises(SpecError) as caught:
            validate_tree(tree_of(usable[::-1]))
        assert caught.value.layer == "tree-invalid"
    for name in names - set(usable):
        with pytest.raises(SpecError):
            validate_tree(tree_of([name]))


@pytest.mark.clause("SNAP-2", "SNAP-9", "SNAP-10")
@given(
    times,
    st.none() | hex_ids,
    st.none() | st.lists(st.text(max_size=9), max_size=3),
    st.lists(st.text(max_size=5), max_size=3),
    u32,
    st.none() | st.lists(st.integers(0, (1 << 63) - 1), min_size=12, max_size=12),
    st.dictionaries(st.text(max_size=4), json_values, max_size=3),
)
def test_snapshot(time, parent, paths, tags, uid, numbers, unknown):
    summary = None if numbers is None else summary_fields(SnapshotSummary(time, time, *numbers))
    snapshot = Snapshot(time=time, parent=parent, tree="0" * 64, paths=paths, tags=tags, uid=uid, summary=summary)
    raw = encode_snapshot(snapshot)
    decoded = decode_snapshot(raw)
    assert encode_snapshot(decoded) == raw
    if numbers is not None:
        assert list(msgspec.structs.astuple(decoded.statistics()))[2:] == numbers
    extended = {**json.loads(raw), **{f"x{name}": value for name, value in unknown.items()}}
    again = encode_snapshot(decode_snapshot(gojson.encode(extended)))
    assert json.loads(again) == extended


@pytest.mark.clause("LOCK-1")
@given(times, st.booleans(), st.text(max_size=9), st.text(max_size=9), st.integers(0, 1 << 31), u32, u32)
def test_lock(time, exclusive, host, user, pid, uid, gid):
    raw = encode_lock(Lock(time, exclusive, host, user, pid, uid, gid))
    assert encode_lock(decode_lock(raw)) == raw
    written = [name for name, value in (("uid", uid), ("gid", gid)) if value]
    assert list(json.loads(raw)) == ["time", "exclusive", "hostname", "username", "pid", *written]


DOCUMENTS = (decode_config, decode_index, decode_keyfile, decode_lock, decode_master_key, decode_snapshot, decode_tree)


@pytest.mark.parametrize("decode", DOCUMENTS, ids=lambda decode: decode.__name__)
@given(st.binary(max_size=80) | json_values.map(gojson.encode))
def test_garbage_is_no_document(decode, raw):
    typed(decode, raw)


@pytest.mark.parametrize("decode", DOCUMENTS, ids=lambda decode: decode.__name__)
def test_deep_nesting_is_refused(decode):
    for raw in (
        b"[" * 100_000,
        b'{"nodes":' * 100_000,
        b'{"packs":[{"x":' + b"[" * 100_000,
        b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
    ):
        typed(decode, raw)


@pytest.mark.clause("GOJSON-11")
@pytest.mark.parametrize("member", [b'"\xff"', b'{"x":"\xed\xa0\x80"}', b'"\\ud800"', b'["\\udc00x"]'])
def test_members_that_are_kept_raw_are_sound(member):
    for decode, raw in (
        (decode_snapshot, b'{"time":"2020-01-01T00:00:00Z","tree":null,"paths":null,"summary":{"later":%s}}'),
        (decode_snapshot, b'{"time":"2020-01-01T00:00:00Z","tree":null,"paths":null,"later":%s}'),
        (decode_tree, b'{"nodes":[{"name":"n","type":"file","generic_attributes":{"a":%s},"content":null}]}'),
        (decode_index, b'{"packs":[],"later":%s}'),
    ):
        decode(raw % b'"fine"')
        with pytest.raises(SpecError) as caught:
            decode(raw % member)
        assert caught.value.layer == "json-invalid"


VALID = {
    decode_config: encode_config(Config(2, "0" * 64, "3da3358b4dc173")),
    decode_index: encode_packs([index_pack(b"p" * 32, [PackEntry(BlobType.DATA, b"b" * 32, 0, 40, 9)])]),
    decode_lock: encode_lock(Lock("2020-01-01T00:00:00Z", True, "h", "u", 1, 2, 3)),
    decode_snapshot: encode_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree="0" * 64, paths=["/"], tags=["t"])),
    decode_tree: encode_tree([Node(quoted="a", type="dir", content=None, subtree="0" * 64)]),
    decode_keyfile: encode_keyfile(wrap(KEY, b"", KDF, created="", username="", hostname="")),
}


@pytest.mark.parametrize("decode", VALID, ids=lambda decode: decode.__name__)
@given(data=st.data())
def test_damaged_documents(decode, data):
    raw = bytearray(VALID[decode])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not raw:
            break
    document = typed(decode, bytes(raw))
    if isinstance(document, Tree):
        typed(validate_tree, document)
    if isinstance(document, IndexFile):
        for pack in document.all_packs():
            typed(entries_of, pack)


@pytest.mark.clause("GOJSON-5", "GOJSON-7", "TREE-5")
@given(st.binary(max_size=40))
def test_quoting_reverses(raw):
    quoted = gojson.quote(gojson.to_text(raw))
    assert gojson.to_bytes(gojson.unquote(quoted)) == raw
    assert quoted.encode().decode() == quoted, "valid text, whatever the bytes were"


@pytest.mark.clause("GOJSON-7")
@given(st.text(alphabet="\\\"abfnrtvxuU0123456789\n' é", max_size=16))
def test_unquoting_gives_a_name_or_a_typed_error(quoted):
    name = typed(gojson.unquote, quoted)
    if name is not None:
        assert gojson.unquote(gojson.quote(name)) == name


@pytest.mark.clause("GOJSON-2", "GOJSON-3", "GOJSON-4", "GOJSON-11")
@given(st.binary(max_size=40))
def test_strings(raw):
    encoded = gojson.encode(gojson.to_text(raw))
    assert not set(encoded) & {*range(32), *b"<>&"}
    assert json.loads(encoded) == "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in gojson.to_text(raw))


@pytest.mark.clause("GOJSON-1", "GOJSON-12", "TREE-20")
def test_members_keep_the_declared_order_and_maps_are_sorted():
    node = Node(
        quoted="n",
        type="file",
        content=[],
        generic_attributes={"b": msgspec.Raw(b'{ "z" : 1.0, "a":"<" }'), "a": msgspec.Raw(b"null")},
    )
    expected = rb'{"name":"n","type":"file","generic_attributes":{"a":null,"b":{"z":1.0,"a":"\u003c"}},"content":[]}'
    assert encode_tree([node]) == b'{"nodes":[' + expected + b"]}\n"


@pytest.mark.clause("GOJSON-10")
@given(st.binary(max_size=20))
def test_byte_strings(value):
    import base64

    raw = gojson.encode(ExtendedAttribute("n", value))
    assert raw == b'{"name":"n","value":"' + base64.b64encode(value) + b'"}'
    assert gojson.encode(ExtendedAttribute("n", None)) == b'{"name":"n","value":null}'


@pytest.mark.clause("GOJSON-4")
def test_raw_members_survive_beside_text_that_is_no_utf_8():
    snapshot = decode_snapshot(
        b'{"time":"2020-01-01T00:00:00Z","tree":null,"paths":["/"],"summary":{"a":1.0},"later":{"b":"<"}}'
    )
    snapshot.paths = [gojson.to_text(b"/\xff\xfe")]
    expected = rb'{"time":"2020-01-01T00:00:00Z","tree":null,"paths":["/\ufffd\ufffd"],"summary":{"a":1.0},"later":{"b":"<"}}'
    assert encode_snapshot(snapshot) == expected
    # Once read, the replacement is a character like any other.
    assert encode_snapshot(decode_snapshot(expected)) == expected.replace(rb"\ufffd", "\ufffd".encode())


@pytest.mark.clause("GOJSON-9")
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back(value):
    text = bytes(gojson.go_float(value)).decode()
    assert math.copysign(1, float(text)) == math.copysign(1, value) and float(text) == value
    assert not text.endswith(".0")


@pytest.mark.clause("GOJSON-8", "TREE-11")
@given(st.integers(-62167219200 * 10**9, 253402300799 * 10**9), st.integers(-1439, 1439).map(lambda minutes: minutes * 60))
def test_times_read_back(ns, offset):
    text = gotime.format_ns(ns, offset)
    # Near the ends the local year may fall outside and be moved.
    if not text.startswith(("0000", "9999")):
        assert gotime.parse(text) == (ns, offset)


@given(st.text(alphabet="0123456789-+:.TZ", max_size=36))
def test_garbage_is_no_time(text):
    typed(gotime.parse, text)


@pytest.mark.clause("TREE-10")
@given(st.integers(0, 0o177777))
def test_modes(st_mode):
    mode = gomode.from_st_mode(st_mode)
    assert gomode.to_permissions(mode) == st_mode & 0o7777
    assert gomode.mode_string(mode).endswith("".join("rwxrwxrwx"[i] if st_mode >> 8 - i & 1 else "-" for i in range(9)))


@pytest.mark.clause("LAYOUT-2")
@given(st.text(max_size=70))
def test_garbage_is_no_id(text):
    parsed = typed(ids.parse_id, text)
    assert parsed is None or parsed.hex() == text


@pytest.mark.clause("CHUNK-2", "CHUNK-3", "CHUNK-4")
@given(st.integers(0, 1 << 64))
def test_drawn_polynomials_are_good(seed):
    polynomial = chunker.random_polynomial(random.Random(seed))
    chunker.check_polynomial(polynomial)
    assert polynomial >> 53 == 1 and polynomial & 1 == 1


@pytest.mark.clause("CHUNK-5", "CHUNK-9", "CHUNK-11")
@given(st.binary(min_size=64, max_size=400), st.integers(0, 100))
def test_cuts_follow_the_definition(data, seed):
    # The definition, position by position, against the sliding algorithm, with small bounds.
    polynomial = chunker.random_polynomial(random.Random(seed))
    bounds = {"min_size": 64, "max_size": 200, "average_bits": 4}
    length = chunker.next_cut(data, polynomial, **bounds)
    expected = next(
        (
            end
            for end in range(64, min(len(data), 200) + 1)
            if end == 200 or chunker.fingerprint(data[end - 64 : end], polynomial) & 15 == 0
        ),
        len(data),
    )
    assert length == expected


@pytest.mark.clause("CHUNK-8", "CHUNK-12")
@given(st.binary(max_size=50))
def test_chunks_join_to_the_file(data):
    pieces = list(chunker.chunks(data, 0x3DA3358B4DC173))
    assert b"".join(pieces) == data
    assert len(pieces) == (1 if data else 0)


@given(st.integers(0, (1 << 32) - 1))
def test_the_length_of_a_header_is_as_declared(length: int) -> None:
    assert encode_length(length) == LENGTH_FIELD.build(length)
    assert decode_length(encode_length(length)) == LENGTH_FIELD.parse(encode_length(length)) == length
