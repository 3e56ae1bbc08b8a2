"""Trees decoded in batches: the same nodes as at once, in whatever form the JSON is, and never many of them at a time."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.snapshots import nodes as nodes_module
from restic_format.snapshots.nodes import Content, NodeReader
from restic_spec.errors import JsonInvalid, SpecError
from restic_spec.tree import Node, decode_tree, encode_tree

NASTY = st.sampled_from(['},{"name":"x"', "]}", '"', "\\", '\\"},{', "a", "é", "\n", "[[[", "{"])
NAMES = st.lists(NASTY, max_size=4).map("".join)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", 64)


def batches(raw: bytes) -> list[list[Node]]:
    reader = NodeReader(raw, "tree")
    return list(iter(reader.next, []))


def documents() -> st.SearchStrategy[list[dict[str, object]]]:
    attribute = st.fixed_dictionaries({"name": NAMES, "value": st.none()})
    return st.lists(
        st.fixed_dictionaries(
            {"name": NAMES, "type": st.just("file")},
            optional={
                "extended_attributes": st.lists(attribute, max_size=4),
                "user": NAMES,
                "unknown": st.recursive(NAMES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner)),
            },
        ),
        max_size=20,
    )


@pytest.mark.clause("TREE-1")
@settings(max_examples=300, deadline=None)
@given(documents(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]), st.integers(1, 400), st.booleans())
def test_batches_are_the_tree(entries: list[dict[str, object]], separators: tuple[str, str], size: int, around: bool) -> None:
    document: dict[str, object] = (
        {"before": [{"nodes": []}, "]"], "nodes": entries, "after": {}} if around else {"nodes": entries}
    )
    raw = json.dumps(document, separators=separators).encode() + b"\n"
    bad: list[Node] = []
    whole = decode_tree(raw, damaged=lambda node, _: bad.append(node)).nodes or []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes_module, "BATCH", size)
        told: list[Node] = []
        reader = NodeReader(raw, "tree", damaged=lambda node, _: told.append(node))
        got = [node for batch in iter(reader.next, []) for node in batch]
        assert got == whole and told == bad
        # Wherever one begins, a new reader goes on.
        reader = NodeReader(raw, "tree", damaged=lambda *_: None)
        while nodes := reader.next():
            offset = reader.offset
            got = got[len(nodes) :]
            again = NodeReader(raw, "tree", offset, damaged=lambda *_: None)
            assert [node for batch in iter(again.next, []) for node in batch] == got


@pytest.mark.clause("TREE-8")
@pytest.mark.parametrize("form", ["plain", "spaced", "upper", "bad", "short"])
@pytest.mark.parametrize("count", [1, 2, 40, 5000])
def test_a_file_of_many_blobs(monkeypatch: pytest.MonkeyPatch, count: int, form: str) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", 128)
    monkeypatch.setattr(nodes_module, "LARGE", 256)
    content = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)]
    if form == "upper":
        content[-1] = content[-1].upper()
    elif form == "bad":
        content[-1] = "g" + content[-1][1:]
    elif form == "short":
        content[-1] = content[-1][2:]
    small = {"name": "s", "type": "fifo"}
    large = {
        "name": "a",
        "type": "file",
        "user": "u" * 300,
        "content": content,
        "extended_attributes": [{"name": "n", "value": ""}],
    }
    raw = json.dumps({"nodes": [small, small, large, small]}, separators=None if form == "spaced" else (",", ":")).encode()
    try:
        whole = decode_tree(raw).nodes or []
    except SpecError:
        with pytest.raises(SpecError):
            batches(raw)
        return
    got = [node for batch in batches(raw) for node in batch]
    assert len(got) == 4 and got[0] == whole[0] and got[3] == whole[3]
    assert [text.lower() for text in got[2].blobs] == [text.lower() for text in whole[2].blobs]
    assert got[2].blobs[-1].lower() == content[-1].lower() and got[2].blobs[: count - 1] == content[:-1]
    assert isinstance(got[2].content, Content) is (form in ("plain", "upper") or (form, count) == ("spaced", 1))
    got[2].content = whole[2].content = None
    assert got == whole


def test_a_file_of_very_many_blobs_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b",".join([b'"' + b"ab" * 32 + b'"'] * 200_000)
    raw = b'{"nodes":[{"name":"a","type":"file","content":[' + content + b"]}]}"
    tracemalloc.start()
    try:
        [[node]] = batches(raw)
        assert len(node.blobs) == 200_000 and tracemalloc.get_traced_memory()[1] < 0.75 * len(raw)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [1, 10])
def test_numbers_are_no_ids(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", 128)
    monkeypatch.setattr(nodes_module, "LARGE", 256)
    numbers = b",".join([b"1" * 66] * count)
    raw = b'{"nodes":[{"name":"a","type":"file","user":"' + b"u" * 300 + b'","content":[' + numbers + b"]}]}"
    with pytest.raises(JsonInvalid):
        batches(raw)


def test_no_batch_is_larger_than_it_need_be(tiny: None) -> None:
    raw = encode_tree([Node(quoted=f"{number:04}", type="fifo") for number in range(1000)])
    assert max(map(len, batches(raw))) <= 4
    # Objects with commas between them that are no nodes: only where nodes end is the list cut.
    attributes = [msgspec.json.decode(b'{"name":"n","value":null}')] * 10
    odd = [{"name": str(number), "type": "fifo", "extended_attributes": attributes} for number in range(100)]
    assert set(map(len, batches(json.dumps({"nodes": odd}).encode()))) == {1}


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        (b'{"nodes":[%s,{"name":"x"}]}', 0),
        (b'{"nodes":[%s,5]}', 0),
        (b'{"nodes":[%s]', -1),
        (b'{"nodes":"%s"}', -1),
        (b'{"knots":[%s]}', -1),
        (b'{"nodes":[%s]}}', -1),
    ],
)
def test_what_is_no_tree_is_refused(tiny: None, broken: bytes, whole: int) -> None:
    raw = broken.replace(b"%s", b",".join([b'{"name":"a","type":"fifo"}'] * 20))

    def read() -> Iterator[list[Node]]:
        yield from iter(NodeReader(raw, "tree 1234").next, [])

    found = 0
    with pytest.raises(JsonInvalid, match="tree 1234"):
        for _ in read():
            found += 1
    assert (found > 0) is (whole == 0)
    with pytest.raises(JsonInvalid):
        decode_tree(raw)


@pytest.mark.parametrize("raw", [b'{"nodes":null}', b'{"nodes":[]}', b'{"nodes":[  ]}'])
def test_no_nodes(tiny: None, raw: bytes) -> None:
    assert batches(raw) == batches(raw[:-1] + b" " * 1000 + b"}") == []
