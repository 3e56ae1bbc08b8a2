"""The nodes of a tree, decoded a batch at a time.

A tree may hold tens of millions of nodes in a blob that is small when it is stored, and a decoded node takes up to twenty times
the space of its JSON. So nobody decodes a large tree at once.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

import msgspec

from restic_format.repository.cipher import Buffer
from restic_spec import wire
from restic_spec.errors import SpecError
from restic_spec.ids import ID_SIZE
from restic_spec.tree import Damaged, Node, decode_tree

BATCH = 256 << 10
"""Bytes of JSON that are decoded at once, or little more, unless a single node has more."""
LARGE = 1 << 20
"""Bytes of JSON from which a node is decoded alone."""

_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}]', re.DOTALL)
_COMMA = re.compile(rb"[ \t\r\n]*,?")


T = TypeVar("T")


class _RawTree(msgspec.Struct):
    nodes: msgspec.Raw


class _RawNodes(msgspec.Struct):
    nodes: list[msgspec.Raw] | None


_raw_tree = msgspec.json.Decoder(_RawTree)
_raw_nodes = msgspec.json.Decoder(_RawNodes)


_QUOTED_ID = 2 * ID_SIZE + 2
"""Bytes of an id in JSON."""
_IDS_AT_ONCE = 1 << 12


class Content(Sequence[str]):
    """The ids of a file's blobs in less than a third of the memory that a list of texts takes."""

    def __init__(self, ids: bytes | bytearray) -> None:
        """*ids* are the raw ids, joined."""
        self._ids = ids

    @classmethod
    def of(cls, text: memoryview) -> Content | None:
        """The ids of a JSON list, None where it is not one of ids without white space."""
        count, rest = divmod(len(text) - 1, _QUOTED_ID + 1)
        if rest or not count:
            return None
        ids = bytearray()
        step = _IDS_AT_ONCE * (_QUOTED_ID + 1)
        for start in range(1, len(text), step):
            piece = bytes(text[start : start + step])
            number = len(piece) // (_QUOTED_ID + 1)
            joined = piece[1:-2].replace(b'","', b"").decode("ascii", "replace")
            try:
                batch = bytes.fromhex(joined)
            except ValueError:
                return None
            # What has white space, capitals, or anything but texts between the commas differs here.
            if batch.hex() != joined or len(batch) != number * ID_SIZE or piece.count(b'"') != 2 * number:
                return None
            ids += batch
        return cls(ids)

    def __len__(self) -> int:
        return len(self._ids) // ID_SIZE

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self._ids), ID_SIZE):
            yield self._ids[start : start + ID_SIZE].hex()

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        start = ID_SIZE * range(len(self))[number]
        return self._ids[start : start + ID_SIZE].hex()


class _LargeNode(Node):
    content: msgspec.Raw = msgspec.Raw(b"null")  # type: ignore[assignment]  # what it is here, it is for a moment


_large_node = msgspec.json.Decoder(_LargeNode)


class _Batches(ABC, Generic[T]):
    """Reads what the list of one tree's nodes holds, in order and in some form.

    ``offset`` says where the next batch begins: a reader of the same plaintext that is given it goes on there.
    """

    def __init__(self, raw: bytes, what: str, offset: int = 0) -> None:
        """*raw* is the tree's plaintext, *what* names it in messages.

        Raises:
            JsonInvalid: it is not JSON, or has no nodes (TREE-1).
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
    def plaintext(self) -> bytes:
        """The tree's plaintext."""
        return self._raw

    @property
    def size(self) -> int:
        """Bytes of the tree's plaintext."""
        return len(self._raw)

    @property
    def ended(self) -> bool:
        """Whether the last batch has come."""
        return self.offset >= self._end

    def next(self) -> list[T]:
        """The next batch, empty after the last one.

        Raises:
            SpecError: a node is not what it must be; what comes after it cannot be read.
        """
        nodes: list[T] = []
        while not nodes and self.offset < self._end:
            if self._nodes is None:
                nodes, self.offset = self._decode(self._raw), self._end
            else:
                nodes, end = self._batch(self._nodes)
                comma = _COMMA.match(self._nodes, end, self._end)
                self.offset = end if comma is None else comma.end()
        return nodes

    def _batch(self, text: memoryview) -> tuple[list[T], int]:
        """The nodes of a batch, and where the last of them ends."""
        target = self.offset + BATCH
        # Two objects with a comma between them are nearly always two nodes. Where they are parts of one, what is before the
        # comma is not a list of whole nodes, and decoding it fails.
        between = _BETWEEN_OBJECTS.search(text, target, self._end) if target < self._end else None
        end = self._end if between is None else between.start() + 1
        if end - self.offset <= LARGE:
            try:
                return self._decode_list(text[self.offset : end]), end
            except SpecError:
                if between is None:
                    raise
        before, end = self._ends(text, target)
        if end - self.offset > LARGE:
            if before > self.offset:
                return self._decode_list(text[self.offset : before]), before
            return self._decode_large(text[self.offset : end]), end
        return self._decode_list(text[self.offset : end]), end

    @abstractmethod
    def _decode(self, raw: bytes) -> list[T]:
        """What a tree's plaintext holds, or that of a part of it."""

    @abstractmethod
    def _decode_large(self, text: memoryview) -> list[T]:
        """The node whose JSON is *text*, which is large."""

    def _decode_list(self, text: Buffer) -> list[T]:
        return self._decode(b"".join((b'{"nodes":[', text, b"]}")))

    def _ends(self, text: memoryview, target: int) -> tuple[int, int]:
        """Where the first node ends that reaches *target*, and before it the one before that (or the offset)."""
        depth = 0
        before = self.offset
        for token in _STRING_OR_BRACKET.finditer(text, self.offset, self._end):
            mark = text[token.start()]
            if mark in b"{[":
                depth += 1
            elif mark in b"}]":
                depth -= 1
                if not depth:
                    if token.end() >= target:
                        return before, token.end()
                    before = token.end()
        return before, self._end


class NodeReader(_Batches[Node]):
    """Reads the nodes of one tree in order, decoded; see `_Batches` for ``offset``."""

    def __init__(self, raw: bytes, what: str, offset: int = 0, *, damaged: Damaged | None = None) -> None:
        """Like `_Batches`; *damaged* as for `decode_tree`."""
        super().__init__(raw, what, offset)
        self._damaged = damaged

    def _decode(self, raw: bytes) -> list[Node]:
        return decode_tree(raw, self._what, damaged=self._damaged).nodes or []

    def _decode_large(self, text: memoryview) -> list[Node]:
        # Mostly the file's content is what is large: that never becomes a list of texts.
        large: _LargeNode = wire.decode_known(_large_node, text, self._what, "TREE-1")
        content = Content.of(memoryview(large.content))
        if content is None:
            return self._decode_list(text)
        large.content = msgspec.Raw(b"[]")
        nodes = self._decode_list(wire.encode(large))
        for node in nodes:
            node.content = content  # type: ignore[assignment]  # a sequence like the list that `Node.blobs` gives
        return nodes


class RawNodeReader(_Batches[msgspec.Raw]):
    """Reads the JSON of the nodes of one tree in order, batch for batch what `NodeReader` decodes."""

    def _decode(self, raw: bytes) -> list[msgspec.Raw]:
        tree: _RawNodes = wire.decode_known(_raw_nodes, raw, self._what, "TREE-1")
        return tree.nodes or []

    def _decode_large(self, text: memoryview) -> list[msgspec.Raw]:
        return self._decode_list(text)
