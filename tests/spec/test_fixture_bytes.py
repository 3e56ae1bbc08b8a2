"""Everything the real programs wrote into our fixtures: decoding and encoding again gives the same bytes."""

import json
import re
from pathlib import Path

import pytest
import zstandard

from restic_conformance import fixtures
from restic_spec import gojson, gomode, ids, tree
from restic_spec.blob import open_blob
from restic_spec.config import decode_config, encode_config
from restic_spec.crypto import open_sealed
from restic_spec.errors import MacInvalid
from restic_spec.index import decode_index, encode_index, entries_of
from restic_spec.keyfile import decode_keyfile, decode_master_key, derive, encode_keyfile, encode_master_key
from restic_spec.lock import decode_lock, encode_lock
from restic_spec.pack import BlobType, check_layout, decode_header, encode_header, header_length
from restic_spec.snapshot import decode_snapshot, encode_snapshot
from restic_spec.unpacked import decode_unpacked

NAMES = fixtures.names()
BY_RESTIC = [name for name in NAMES if not name.startswith("rustic")]
OLD_CONTROL_CHARACTERS = [name for name in BY_RESTIC if name.startswith("restic-0.14")]


class Opened:
    """A fixture, unpacked, with its master key."""

    def __init__(self, name: str, folder: Path) -> None:
        self.note = fixtures.describe(name)
        self.path = fixtures.unpack(name, folder / name)
        self.keys = [decode_keyfile(path.read_bytes()) for path in self.files("keys")]
        self.opened = [self._open(key) for key in self.keys]
        self.master = self.opened[0][1]
        self.config = decode_config(open_sealed(self.master, (self.path / "config").read_bytes()))

    def _open(self, key):
        """The JSON of the master key in *key*, and the master key; deriving is slow, so it is done once a password."""
        for password in self.note.passwords:
            try:
                raw = open_sealed(derive(password.encode(), key.derivation()), key.data)
            except MacInvalid:
                continue
            return raw, decode_master_key(raw)
        raise AssertionError("no password opens")

    def files(self, folder: str) -> list[Path]:
        return sorted(path for path in (self.path / folder).rglob("*") if path.is_file())

    def documents(self, folder: str):
        for path in self.files(folder):
            yield decode_unpacked(self.config.version, open_sealed(self.master, path.read_bytes()))

    def packs(self):
        for path in self.files("data"):
            raw = path.read_bytes()
            length = header_length(raw[-4:], len(raw))
            header = open_sealed(self.master, raw[-4 - length : -4])
            yield path.name, raw, length, header, decode_header(header, self.config.version)

    def trees(self):
        for _, raw, _, _, entries in self.packs():
            for entry in entries:
                if entry.type is BlobType.TREE:
                    yield open_blob(self.master, entry, raw[entry.offset : entry.offset + entry.length])


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    cache = {}
    folder = tmp_path_factory.mktemp("fixtures")

    def get(name: str) -> Opened:
        if name not in cache:
            cache[name] = Opened(name, folder)
        return cache[name]

    return get


@pytest.mark.clause("KEY-1", "KEY-2", "KEY-7", "KEY-10", "LAYOUT-1")
@pytest.mark.parametrize("name", BY_RESTIC)
def test_keys(opened, name):
    repo = opened(name)
    assert len(repo.keys) == len(repo.note.passwords)
    for path, key, (raw_master, master) in zip(repo.files("keys"), repo.keys, repo.opened, strict=True):
        raw = path.read_bytes()
        assert encode_keyfile(key) == raw
        assert ids.id_of(raw).hex() == path.name
        assert master == repo.master
        assert encode_master_key(master) == raw_master


@pytest.mark.clause("KEY-12")
def test_keys_of_rustic(opened):
    repo = opened("rustic-v2")
    assert all(master == repo.master for _, master in repo.opened)
    assert any(key.created is None for key in repo.keys)


@pytest.mark.clause("CONFIG-1", "CONFIG-2", "CONFIG-3", "CONFIG-5", "LAYOUT-5")
@pytest.mark.parametrize("name", NAMES)
def test_config(opened, name):
    repo = opened(name)
    plaintext = open_sealed(repo.master, (repo.path / "config").read_bytes())
    assert plaintext.startswith(b"{")
    assert encode_config(repo.config) == plaintext
    assert repo.config.version == repo.note.version


@pytest.mark.clause("INDEX-1", "INDEX-2", "INDEX-6", "INDEX-7", "INDEX-8", "INDEX-12", "FILE-1", "FILE-2")
@pytest.mark.parametrize("name", NAMES)
def test_indexes(opened, name):
    repo = opened(name)
    headers = {pack: set(entries) for pack, _, _, _, entries in repo.packs()}
    listed = {}
    for raw in repo.documents("index"):
        index = decode_index(raw)
        assert encode_index(index) == (raw if name in BY_RESTIC else raw + b"\n")
        for pack in index.all_packs():
            listed.setdefault(pack.id, set()).update(entries_of(pack))
    assert listed, "an index"
    for pack, entries in listed.items():
        assert entries <= headers[pack]


@pytest.mark.clause("SNAP-2", "SNAP-9")
@pytest.mark.parametrize("name", BY_RESTIC)
def test_snapshots(opened, name):
    documents = list(opened(name).documents("snapshots"))
    assert len(documents) == len(opened(name).note.snapshots)
    for raw in documents:
        assert encode_snapshot(decode_snapshot(raw)) == raw


@pytest.mark.clause("RUSTIC-3", "RUSTIC-6", "SNAP-10")
def test_snapshots_of_rustic(opened):
    seen = set()
    for raw in opened("rustic-v2").documents("snapshots"):
        snapshot = decode_snapshot(raw)
        again = encode_snapshot(snapshot)
        written = {name: value for name, value in json.loads(raw).items() if value not in ("", 0, [])}
        assert json.loads(again) == written, "only the order of members and empty ones change"
        for number in re.findall(rb'"(?:backup|total)_duration":[^,}]+', raw):
            assert number in again
        assert decode_snapshot(again).extra.keys() == snapshot.extra.keys()
        seen.update(snapshot.extra)
        assert snapshot.tree and snapshot.time_ns
    assert {"label", "description", "delete"} <= seen


@pytest.mark.clause("RUSTIC-2")
def test_packs_rustic_marked(opened):
    marked = [pack for raw in opened("rustic-v2").documents("index") for pack in decode_index(raw).packs_to_delete]
    assert marked
    assert all(pack.time is not None for pack in marked)


@pytest.mark.clause("LOCK-1")
@pytest.mark.parametrize("name", [name for name in BY_RESTIC if name.startswith("restic")])
def test_locks(opened, name):
    documents = list(opened(name).documents("locks"))
    assert documents, "each has a stale lock"
    for raw in documents:
        assert encode_lock(decode_lock(raw)) == raw


@pytest.mark.clause("PACK-1", "PACK-5", "PACK-6", "PACK-10", "PACK-11", "PACK-13", "PACK-15", "LAYOUT-1")
@pytest.mark.parametrize("name", NAMES)
def test_packs(opened, name):
    repo = opened(name)
    for pack, raw, length, header, entries in repo.packs():
        assert ids.id_of(raw).hex() == pack
        assert encode_header(entries) == header
        check_layout(entries, length, len(raw))
        assert len({entry.type for entry in entries}) == 1, "trees and data are kept apart"
        for entry in entries:
            open_blob(repo.master, entry, raw[entry.offset : entry.offset + entry.length])
            assert repo.config.version == 2 or entry.uncompressed_length is None


@pytest.mark.clause("FILE-7")
@pytest.mark.parametrize("name", [name for name in BY_RESTIC if name.endswith("v2")])
def test_frames(opened, name):
    repo = opened(name)
    sizes = []
    for _, raw, _, _, entries in repo.packs():
        for entry in entries:
            frame = open_sealed(repo.master, raw[entry.offset : entry.offset + entry.length])
            parameters = zstandard.get_frame_parameters(frame)
            assert not parameters.has_checksum
            announced = parameters.content_size != zstandard.CONTENTSIZE_UNKNOWN
            sizes.append((announced, entry.uncompressed_length))
    assert {announced for announced, size in sizes if size > 255} == {True}
    assert False in {announced for announced, _ in sizes}


@pytest.mark.clause("TREE-1", "TREE-3", "TREE-4", "TREE-5", "TREE-18", "TREE-19", "DIFF-3", "DIFF-5")
@pytest.mark.parametrize("name", BY_RESTIC)
def test_trees(opened, name):
    count = 0
    for raw in opened(name).trees():
        decoded = tree.decode_tree(raw, keep_unknown=True)
        tree.validate_tree(decoded)
        expected = raw
        if name in OLD_CONTROL_CHARACTERS:
            # Go before 1.22 wrote these two differently, and link targets may hold them.
            expected = raw.replace(rb"\u0008", rb"\b").replace(rb"\u000c", rb"\f")
        again = tree.encode_tree(decoded)
        # A replaced byte of an old link target (before 0.16 its raw form was lost) is read as the character itself.
        assert again.replace(rb"\ufffd", "\ufffd".encode()) == expected.replace(rb"\ufffd", "\ufffd".encode())
        if name not in OLD_CONTROL_CHARACTERS:
            assert again == raw
        count += 1
    assert count >= (2 if name.startswith("tiny") else 4)


@pytest.mark.clause("GOJSON-5", "GOJSON-6", "DIFF-4")
@pytest.mark.parametrize("name", BY_RESTIC)
def test_names_are_quoted_as_restic_quotes_them(opened, name):
    nodes = [node for raw in opened(name).trees() for node in tree.decode_tree(raw)]
    different = {node.quoted for node in nodes if gojson.quote(node.name) != node.quoted}
    # Two names in the fixtures have characters that are younger than the Unicode of Go 1.19.
    younger = {r"heart\U0001fa77hands\U0001faf6", r"shaking\U0001fae8face"}
    assert different == (younger if name in OLD_CONTROL_CHARACTERS else set())


@pytest.mark.clause("RUSTIC-4", "RUSTIC-5")
def test_trees_of_rustic(opened):
    type_bits = set()
    for raw in opened("rustic-v2").trees():
        decoded = tree.decode_tree(raw, keep_unknown=True)
        tree.validate_tree(decoded)
        again = tree.encode_tree(decoded)
        assert tree.encode_tree(tree.decode_tree(again)) == again
        # A mode of 0 is left out, and what stands for bytes in a readable target is as many characters as Go writes.
        assert _comparable(again) == _comparable(raw), "only the order of members changes"
        type_bits.update((node.type, node.mode & gomode.TYPE) for node in decoded)
        assert all(not node.extra for node in decoded)
    assert {("dir", gomode.DIR), ("dir", 0), ("chardev", 0)} <= type_bits


def _comparable(raw):
    return [
        {name: value for name, value in node.items() if value != 0 and not (name == "linktarget" and "linktarget_raw" in node)}
        for node in json.loads(raw)["nodes"]
    ]
