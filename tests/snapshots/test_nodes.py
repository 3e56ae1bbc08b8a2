"""Trees decoded in batches: the same nodes as at once, in whatever form the JSON is, and never many of them at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.snapshots import nodes as nodes_module
from restic_format.snapshots.nodes import NodeReader
from restic_spec.errors import JsonInvalid
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
    whole = decode_tree(raw).nodes or []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes_module, "BATCH", size)
        got = [node for batch in batches(raw) for node in batch]
        assert got == whole
        # Wherever one begins, a new reader goes on.
        reader = NodeReader(raw, "tree")
        while nodes := reader.next():
            offset = reader.offset
            got = got[len(nodes) :]
            again = NodeReader(raw, "tree", offset)
            assert [node for batch in iter(again.next, []) for node in batch] == got


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
