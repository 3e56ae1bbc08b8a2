"""Remains: the entries of a damaged tree that can still be read.

Only what the MAC, or the id, vouches for is looked at: a tree that was damaged before it was sealed, or before it was hashed.
Whoever can write to the storage could choose the entries of any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress

from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.rescue.wanted import DamagedCopy
from restic_format.snapshots.rewriter import assemble
from restic_spec.crypto import MasterKey, open_sealed
from restic_spec.errors import SpecError
from restic_spec.pack import MAX_BLOB_SIZE, BlobType
from restic_spec.tree import DIR, decode_node, is_entry_name
from restic_spec.unpacked import expand_pieces

MOST_HELD = 64 << 20
"""Bytes of trees that are remembered; what comes after them is not."""

_ENTRY = re.compile(rb'\{"name":"')
"""What an entry begins with: restic writes the name first (TREE-3)."""
_MOST_FAILED = 1000
"""Places at which an entry begins and cannot be read, after which the search ends."""


class Remains:
    """What is left of the trees of *repository*, as far as damaged copies were noted."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._trees: dict[bytes, bytes] = {}
        self._held = 0

    def note(self, copy: DamagedCopy) -> None:
        """Remember the entries of a damaged copy of a tree; of several that with the most bytes counts."""
        plaintext = authentic_part(self._repository.master_key, copy)
        tree = None if plaintext is None else rebuilt(plaintext)
        tree_id = copy.key[1]
        if tree is None or len(tree) <= len(self._trees.get(tree_id, b"")) or self._held + len(tree) > MOST_HELD:
            return
        self._held += len(tree) - len(self._trees.get(tree_id, b""))
        self._trees[tree_id] = tree

    def tree(self, tree_id: bytes) -> bytes | None:
        """The plaintext of a tree with what is left of that one; None where nothing is."""
        if tree_id in self._trees:
            return self._trees[tree_id]
        try:
            return rebuilt(self._repository.load_blob(BlobType.TREE, tree_id))  # It is what its id says, and no tree.
        except ResticFormatError:
            return None


def authentic_part(key: MasterKey, copy: DamagedCopy) -> bytes | None:
    """The content of a copy whose MAC fits, as far as it can be expanded; None where it does not."""
    try:
        stored = open_sealed(key, copy.sealed)
    except SpecError:
        return None
    if copy.uncompressed_length is None:
        return stored
    pieces: list[bytes] = []
    with suppress(SpecError):
        pieces.extend(expand_pieces(stored, min(copy.uncompressed_length, MAX_BLOB_SIZE), "PACK-12"))
    return b"".join(pieces)


def rebuilt(plaintext: bytes) -> bytes | None:
    """The plaintext of a tree with those entries of a damaged one that can be read, in order; None where there are none."""
    entries: dict[bytes, bytes] = {}
    for text in _entries(plaintext):
        try:
            node = decode_node(text)
            name = node.name_bytes
        except SpecError:
            continue
        if is_entry_name(name) and (node.type != DIR or node.subtree is not None):
            entries.setdefault(name, text)
    try:
        return assemble([entries[name] for name in sorted(entries)], {}) if entries else None
    except SpecError:
        return None


def _entries(plaintext: bytes) -> Iterator[bytes]:
    """The JSON of what looks like an entry, wherever it begins."""
    text = plaintext.decode("latin-1")  # Places are those of the bytes.
    decoder = json.JSONDecoder(object_pairs_hook=len, parse_int=len, parse_float=len)
    place = failed = 0
    while failed < _MOST_FAILED and (found := _ENTRY.search(plaintext, place)) is not None:
        try:
            _, place = decoder.raw_decode(text, found.start())
            yield plaintext[found.start() : place]
        except (ValueError, RecursionError):
            failed += 1
            place = found.start() + 1
