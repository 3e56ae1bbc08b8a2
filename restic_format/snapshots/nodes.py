"""The nodes of a tree, decoded a batch at a time.

A tree may hold tens of millions of nodes in a blob that is small when it is stored, and a decoded node takes up to twenty times
the space of its JSON. So nobody decodes a large tree at once.
"""

from __future__ import annotations

import re

import msgspec

from restic_spec import wire
from restic_spec.errors import SpecError
from restic_spec.tree import Node, decode_tree

BATCH = 256 << 10
"""Bytes of JSON that are decoded at once, unless a single node has more."""

_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}]', re.DOTALL)
_COMMA = re.compile(rb"[ \t\r\n]*,?")


class _RawTree(msgspec.Struct):
    nodes: msgspec.Raw


_raw_tree = msgspec.json.Decoder(_RawTree)


class NodeReader:
    """Reads the nodes of one tree in order.

    ``offset`` says where the next batch begins: a reader of the same plaintext that is given it goes on there.
    """

    def __init__(self, raw: bytes, what: str, offset: int = 0) -> None:
        """*raw* is the tree's plaintext, *what* names it in messages.

        Raises:
            JsonInvalid: it is no JSON, or has no nodes (TREE-1).
        """
        self.offset = offset
        self._what = what
        self._raw = raw
        self._nodes: memoryview | None = None
        """The JSON of the list, None where it is decoded at once."""
        self._end = len(raw)
        """Where the last node ends."""
        if len(raw) > 2 * BATCH:
            raw_tree: _RawTree = wire.decode_known(_raw_tree, raw, what, "TREE-1")
            nodes = memoryview(raw_tree.nodes)
            if bytes(nodes[:1]) == b"[":  # Anything else is small, or refused when it is decoded.
                self._nodes = nodes
                self.offset = max(offset, 1)
                self._end = len(nodes) - 1

    @property
    def size(self) -> int:
        """Bytes of the tree's plaintext."""
        return len(self._raw)

    def next(self) -> list[Node]:
        """The next batch, empty after the last one.

        Raises:
            SpecError: a node is not what it must be; what comes after it cannot be read.
        """
        if self.offset >= self._end:
            return []
        if self._nodes is None:
            self.offset = self._end
            return decode_tree(self._raw, self._what).nodes or []
        nodes, end = self._batch(self._nodes)
        comma = _COMMA.match(self._nodes, end, self._end)
        self.offset = end if comma is None else comma.end()
        return nodes

    def _batch(self, text: memoryview) -> tuple[list[Node], int]:
        """The nodes of a batch, and where the last of them ends."""
        target = self.offset + BATCH
        # Two objects with a comma between them are nearly always two nodes. Where they are parts of one, what is before the
        # comma is no list of whole nodes, and decoding it fails.
        between = _BETWEEN_OBJECTS.search(text, target, self._end) if target < self._end else None
        if between is None:
            return self._decode(text, self._end), self._end
        end = between.start() + 1
        try:
            return self._decode(text, end), end
        except SpecError:
            end = self._end_of_node(text, target)
            return self._decode(text, end), end

    def _decode(self, text: memoryview, end: int) -> list[Node]:
        return decode_tree(b"".join((b'{"nodes":[', text[self.offset : end], b"]}")), self._what).nodes or []

    def _end_of_node(self, text: memoryview, target: int) -> int:
        """Where the first node ends that reaches *target*."""
        depth = 0
        for token in _STRING_OR_BRACKET.finditer(text, self.offset, self._end):
            mark = text[token.start()]
            if mark in b"{[":
                depth += 1
            elif mark in b"}]":
                depth -= 1
                if not depth and token.end() >= target:
                    return token.end()
        return self._end
