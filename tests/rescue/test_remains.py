"""What is left of damaged trees: the entries that can be read, where it is sure that they are ours."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.maintenance.repairsnapshots import Change
from restic_format.repository import Repository
from restic_format.rescue.remains import authentic_part, rebuilt
from restic_format.rescue.wanted import DamagedCopy
from restic_format.snapshots import open_file, stat
from restic_format.storage import MemoryStorage
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.keyfile import SALT_SIZE, Kdf
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import ExtendedAttribute, Node, decode_tree, encode_tree
from tests.rescue.kit import healed, opened
from tests.safety import kit

DATA = {name: name.encode() * 9 for name in ("a", "b", "c", "d")}


def file(name: str, *content: bytes, size: int | None = None) -> Node:
    names = [id_of(blob).hex() for blob in content]
    length = sum(map(len, content)) if size is None else size
    attributes = [ExtendedAttribute("user.x", b"y")]
    return Node(name, "file", mode=0o644, uid=0, gid=0, size=length, content=names, extended_attributes=attributes)


ENTRIES = [file(name, data) for name, data in DATA.items()]
TREE = encode_tree(ENTRIES)


def names(raw: bytes | None) -> list[str]:
    return [] if raw is None else [node.name for node in decode_tree(raw)]


def test_every_entry_but_the_damaged_one_is_kept() -> None:
    assert rebuilt(TREE) == TREE
    for number, entry in enumerate(("a", "b", "c", "d")):
        spoiled = TREE.replace(b'{"name":"%s"' % entry.encode(), b'{"name":"%s' % entry.encode())
        assert names(rebuilt(spoiled)) == [name for name in DATA if name != entry], number
    assert names(rebuilt(TREE[: TREE.index(b'{"name":"c"') + 50])) == ["a", "b"]
    assert names(rebuilt(TREE[TREE.index(b'{"name":"c"') - 9 :])) == ["c", "d"]


def test_what_is_no_entry_is_none() -> None:
    bad = b'{"name":"../x","type":"file"},{"name":"d","type":"dir"},{"name":"y"},{"name":"z","type":"fifo"}'
    assert rebuilt(b"") is None and rebuilt(b'{"nodes":[]}') is None
    assert names(rebuilt(b'{"nodes":[' + bad + b',{"name":"b","type":"fifo"},{"name":"z","type":"socket"}]}')) == ["b", "z"]


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, len(TREE)), st.integers(0, len(TREE)))
def test_damage_never_makes_a_tree_that_cannot_be_read(noise: bytes, start: int, length: int) -> None:
    found = rebuilt(TREE[:start] + noise + TREE[start + length :])
    assert found is None or names(found) == sorted(set(names(found)))


def test_the_search_is_bounded() -> None:
    assert rebuilt(b'{"name":"' * 20_000) is None
    assert rebuilt(b'{"name":"a","content":[' * 20_000) is None


def test_only_what_the_mac_vouches_for_is_looked_at() -> None:
    key = MasterKey.generate()

    def copy(sealed: bytes) -> DamagedCopy:
        return DamagedCopy((BlobType.TREE, id_of(b"")), id_of(b""), 0, sealed, None)

    sealed = seal(key, TREE)
    assert authentic_part(key, copy(sealed)) == TREE
    assert authentic_part(key, copy(sealed[:-1] + bytes([sealed[-1] ^ 1]))) is None
    assert authentic_part(key, copy(sealed[:-40])) is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_tree_that_was_damaged_before_it_was_sealed_keeps_its_other_entries(version: int) -> None:
    storage = Repository.init(MemoryStorage(), kit.PASSWORD, kdf=Kdf(2, 1, 1, bytes(SALT_SIZE)), version=version).storage
    repository = Repository.open(storage, kit.PASSWORD, extra_verify=False)
    below = encode_tree([file("deep", b"one", b"gone", size=7)])
    nodes = [*ENTRIES[:2], Node("bb", "dir", uid=0, gid=0, content=None, subtree=id_of(below).hex()), *ENTRIES[2:]]
    root = encode_tree(nodes)
    writer = repository.writer()
    writer.save(BlobType.DATA, [(id_of(data), data) for data in [*DATA.values(), b"one"]])
    writer.save_blob(BlobType.TREE, below)
    writer.save(BlobType.TREE, [(id_of(root), root.replace(b'"name":"c"', b'"name:"c"'))])
    writer.flush()
    old = repository.save_snapshot(Snapshot("2024-02-03T04:05:06Z", tree=id_of(root).hex(), paths=["/x"]))
    _, done = healed(repository.storage, forget=True)

    assert done.is_sound
    changes = {event.path: event.change for _, event in done.changes}
    deep = {path for path in changes if path.endswith("/deep")}  # Of this snapshot, or of the one with recovered trees.
    assert len(deep) == 1 and changes == {"/": Change.ENTRIES, **dict.fromkeys(deep, Change.ZEROS)}
    (new,) = [one.new for one in done.snapshots if one.old == old.hex()]
    after = opened(repository.storage)
    after.load_index()
    tree = bytes.fromhex(str(after.load_snapshot(bytes.fromhex(new)).tree))
    assert [node.name for node in decode_tree(after.load_blob(BlobType.TREE, tree))] == ["a", "b", "bb", "d"]
    for name, content in (("d", DATA["d"]), ("bb/deep", b"one" + bytes(4))):
        node = stat(after, tree, name)
        assert node is not None and open_file(after, node).read() == content
