"""Two objects compared: what is told is what differs, put side by side by ids and names."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.inspect.compare import HIDDEN, Difference, State, compare, compare_ways
from restic_format.inspect.way import find_way
from restic_format.native import scrypt
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.storage import MemoryStorage
from restic_spec import binary
from restic_spec.config import Config
from restic_spec.crypto import MasterKey
from restic_spec.ids import id_of
from restic_spec.index import IndexBlob, IndexFile, IndexPack, encode_index
from restic_spec.keyfile import KeyFile, decode_keyfile, encode_master_key
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.regions import Document, declaration_of, explain
from restic_spec.tree import Tree, encode_tree
from tests.inspecting.waykit import snapshot
from tests.restore.kit import CHEAP, PASSWORD, Maker, memory_repo


def told(a: Document, b: Document, **options: Any) -> dict[str, tuple[str, Any, Any]]:
    """By name the state and values of what is not the same."""
    return shown(compare(a, b, **options))


def shown(differences: Any) -> dict[str, tuple[str, Any, Any]]:
    found: dict[str, tuple[str, Any, Any]] = {}
    for name, state, a, b in ((item.name, item.state, item.a, item.b) for item in differences if item.state is not State.SAME):
        assert name not in found
        found[name] = (state.value, None if a is None else a.value, None if b is None else b.value)
    return found


def ident(number: int) -> str:
    return f"{number:02x}" * 32


def index(*packs: tuple[int, Sequence[int]]) -> bytes:
    records = [
        IndexPack(ident(pack), [IndexBlob(ident(blob), "data", 100 * blob, 100, blob) for blob in blobs])
        for pack, blobs in packs
    ]
    return encode_index(IndexFile(packs=records))


def test_packs_and_blobs_are_put_side_by_side_by_their_ids() -> None:
    a = explain(IndexFile, index((1, [1, 2, 3]), (2, [4])))
    raw = index((1, [3, 2]), (3, [4])).replace(b'"uncompressed_length":2', b'"uncompressed_length":9')
    found = told(a, explain(IndexFile, raw))
    first = f"packs[{ident(1)}].blobs"
    assert found == {
        f"{first}[{ident(1)}]": ("only_a", None, None),
        f"{first}[{ident(2)}].uncompressed_length": ("changed", 2, 9),
        first: ("moved", None, None),
        f"packs[{ident(2)}]": ("only_a", None, None),
        f"packs[{ident(3)}]": ("only_b", None, None),
    }


def test_entries_of_trees_are_put_side_by_side_by_their_names() -> None:
    maker = Maker(memory_repo())
    kept = [maker.node(name, "fifo", 0) for name in ("b", "c", "d")]
    a = explain(Tree, encode_tree([maker.node("a", "fifo", 0), *kept]))
    kept[1] = maker.node("c", "socket", 0o600)
    b = explain(Tree, encode_tree([*kept, maker.node("odd\x1b]", "fifo", 0)]))
    assert told(a, b) == {
        "nodes[a]": ("only_a", None, None),
        "nodes[c].type": ("changed", "fifo", "socket"),
        "nodes[c].mode": ("only_b", None, 0o600),
        "nodes[odd\\x1b]]": ("only_b", None, None),
    }


def test_what_stands_twice_is_told_twice() -> None:
    twice = b'{"nodes":[{"name":"a","type":"fifo"},{"name":"a","type":"dev"}]}'
    once = b'{"nodes":[{"name":"a","type":"fifo"}]}'
    assert list(told(explain(Tree, twice), explain(Tree, once))) == ["nodes[a]#1"]
    assert list(told(explain(Tree, once), explain(Tree, twice))) == ["nodes[a]#1"]


def test_space_and_order_are_differences_too() -> None:
    a = explain(Tree, b'{"nodes":[{"name":"a","type":"fifo"}]}')
    assert list(told(a, explain(Tree, b'{"nodes":[{"name": "a","type":"fifo"}]}'))) == ["nodes[a]"]
    assert list(told(a, explain(Tree, b'{"nodes":[{"type":"fifo","name":"a"}]}'))) == ["nodes[a]"]
    assert list(told(a, explain(Tree, b' {"nodes":[{"name":"a","type":"fifo"}]}'))) == [""]


def test_what_is_compressed_here_and_not_there_is_compared_by_its_content() -> None:
    repos = [memory_repo(), Repository.init(MemoryStorage(), PASSWORD, version=1, kdf=CHEAP)]
    documents = []
    for number, repo in enumerate(repos):
        sealed = repo.save_unpacked(FileKind.INDEX, index((1, [1, number + 2])))
        raw = repo.storage.load(FileKind.INDEX, sealed.hex())
        documents.append(explain(declaration_of(FileKind.INDEX, repo.version), raw, opener=repo.coder.cipher.open))
    assert list(told(*documents)) == [
        "file.iv", "file.ciphertext", "file.mac", "file.mark",
        f"file.content.packs[{ident(1)}].blobs[{ident(2)}]", f"file.content.packs[{ident(1)}].blobs[{ident(3)}]",
    ]  # fmt: skip


def test_what_cannot_be_opened_has_no_content() -> None:
    repo = memory_repo()
    raw = repo.storage.load(FileKind.CONFIG, "")
    declaration = binary.config_file(Config)
    opened = explain(declaration, raw, opener=repo.coder.cipher.open)
    other = explain(declaration, memory_repo().storage.load(FileKind.CONFIG, ""))
    found = told(opened, other)
    assert list(found)[:3] == ["file.iv", "file.ciphertext", "file.mac"]
    assert [state for state, *_ in found.values()][3:] == ["only_a"] * (len(found) - 3) and len(found) > 3


def test_packs_have_blobs_by_their_ids() -> None:
    documents = []
    for order in ((b"one", b"two", b"three"), (b"two", b"four", b"one")):
        repo = memory_repo()
        maker = Maker(repo)
        for data in order:
            maker.blob(data)
        maker.writer.flush()
        ((pack, _),) = list(repo.list(FileKind.PACK))
        raw = repo.storage.load(FileKind.PACK, pack.hex())
        documents.append(explain(declaration_of(FileKind.PACK, 2), raw, opener=repo.coder.cipher.open))
    found = told(*documents)
    three, four = id_of(b"three").hex(), id_of(b"four").hex()
    wanted = {
        f"blobs[{three}]": "only_a", f"blobs[{four}]": "only_b",
        f"header.entries[{three}]": "only_a", f"header.entries[{four}]": "only_b",
    }  # fmt: skip
    assert wanted.items() <= {name: state for name, (state, *_) in found.items()}.items()
    # The order of blobs in a pack is left to chance.
    others = {*wanted, "blobs", "header.entries"}
    inside = {name for name in found if name not in others and not name.endswith((".iv", ".ciphertext", ".mac"))}
    assert inside == set()


@pytest.mark.clause("KEY-7")
def test_no_part_of_a_master_key_is_told() -> None:
    documents = []
    for number in (1, 2):
        repo = Repository.init(MemoryStorage(), f"pw{number}", kdf=CHEAP)
        ((key, _),) = list(repo.list(FileKind.KEY))
        raw = repo.storage.load(FileKind.KEY, key.hex())
        documents.append((repo, explain(declaration_of(FileKind.KEY), raw, opener=_key_opener(raw, f"pw{number}"))))
    differences = list(compare(*(found for _, found in documents), is_secret=lambda content: content.form == "opened"))
    values = str([(side.value) for item in differences for side in (item.a, item.b) if side is not None])
    for repo, _ in documents:
        assert isinstance(repo.master_key, MasterKey)
        for secret in str(msgspec.json.decode(encode_master_key(repo.master_key))).split("'"):
            assert len(secret) < 20 or secret not in values
    assert HIDDEN in values


def _key_opener(raw: bytes, password: str) -> Any:
    kdf = decode_keyfile(raw).derivation()
    return make_cipher(MasterKey.from_derived(scrypt.derive(password.encode(), kdf.salt, kdf.N, kdf.r, kdf.p))).open


# Paths in snapshots


def test_two_versions_of_a_file() -> None:
    maker = Maker(memory_repo())
    a = snapshot(maker, maker.file("f", b"one", b"two", b"three"))
    b = snapshot(maker, maker.file("g", b"one", b"four", b"three", b"one", mode=0o600))
    found = shown(compare_ways(find_way(maker.repo, a, "f"), find_way(maker.repo, b, "g")))
    two, three, four, one = (id_of(data).hex() for data in (b"two", b"three", b"four", b"one"))
    assert found == {
        "node.name": ("changed", "f", "g"),
        "node.mode": ("changed", 0o644, 0o600),
        "node.size": ("changed", 11, 15),
        f"blobs[{two}]": ("only_a", two, None),
        f"blobs[{three}]": ("moved", three, three),
        f"blobs[{four}]": ("only_b", None, four),
        f"blobs[{one}]": ("only_b", None, one),
    }


def test_directories_and_items_of_other_types() -> None:
    maker = Maker(memory_repo())
    a = snapshot(maker, maker.folder("d", [maker.file("x", b"1")]), maker.file("f", b"1"))
    b = snapshot(maker, maker.folder("d", [maker.file("y", b"1")]), maker.symlink("f", "x"))

    def found(path: str) -> dict[str, tuple[str, Any, Any]]:
        return shown(compare_ways(find_way(maker.repo, a, path), find_way(maker.repo, b, path)))

    assert list(found("d")) == ["node.subtree", "nodes[x]", "nodes[y]"]
    assert list(found("/")) == ["nodes[d].subtree", *list(found("/"))[1:]]
    assert found("f")["node.type"] == ("changed", "file", "symlink")
    assert shown(compare_ways(find_way(maker.repo, a, "/"), find_way(maker.repo, a, "/"))) == {}


def test_nodes_that_cannot_be_decoded_or_differ_in_space_only() -> None:
    maker = Maker(memory_repo())

    def found(*nodes: bytes) -> dict[str, tuple[str, Any, Any]]:
        trees = [maker.writer.save_blob(BlobType.TREE, b'{"nodes":[%b]}' % node).id for node in nodes]
        snapshots = [snapshot(maker, tree=tree) for tree in trees]
        return shown(compare_ways(*(find_way(maker.repo, item, "f") for item in snapshots)))

    good = b'{"name":"f","type":"file","content":["%b"]}' % (b"ab" * 32)
    assert list(found(good, good.replace(b",", b" ,"))) == ["node"]
    assert list(found(good, good.replace(b"ab", b"zz"))) == [f"node.content[{'ab' * 32}]", f"node.content[{'zz' * 32}]"]


# Whatever stands there


documents = st.one_of(
    st.just(index((1, [1, 2]), (2, [3]))),
    st.just(index((2, [3]), (1, [2]))),
    st.binary(max_size=60),
    st.builds(
        lambda raw, at, by: raw[:at] + by + raw[at:], st.just(index((1, [1]))), st.integers(0, 200), st.binary(max_size=3)
    ),
)


@given(documents, documents)
def test_equal_bytes_and_no_others_are_the_same(raw_a: bytes, raw_b: bytes) -> None:
    a, b = explain(IndexFile, raw_a), explain(IndexFile, raw_b)
    assert (told_any(compare(a, b))) == (raw_a != raw_b)
    backwards = {State.ONLY_A: State.ONLY_B, State.ONLY_B: State.ONLY_A}
    one = sorted((item.name, backwards.get(item.state, item.state).value) for item in compare(a, b))
    assert one == sorted((item.name, item.state.value) for item in compare(b, a))


def told_any(differences: Any) -> bool:
    return any(item.state is not State.SAME for item in differences)


def test_a_long_list_is_compared_in_good_time() -> None:
    numbers = random.Random(1)
    packs = [
        IndexPack(numbers.randbytes(32).hex(), [IndexBlob(numbers.randbytes(32).hex(), "data", 0, 50)] * 1) for _ in range(3000)
    ]
    a = encode_index(IndexFile(packs=packs))
    gone = packs.pop(1500)
    found: list[Difference] = list(compare(explain(IndexFile, a), explain(IndexFile, encode_index(IndexFile(packs=packs)))))
    assert [item.name for item in found if item.state is not State.SAME] == [f"packs[{gone.id}]"]


def test_key_files_are_documents() -> None:
    assert told(explain(KeyFile, b'{"N":1}'), explain(KeyFile, b'{"N":2}'))
