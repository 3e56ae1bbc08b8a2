"""The messages of ``inspect snapshotID:path`` and ``inspect --diff``.

Each is a line that is written as it is found out.
A way is ``way``, then ``blob`` or ``entry`` for each there is, with --shared ``sharing`` and ``share`` for each, ``finding``
for what is wrong, and ``summary``. A comparison is ``difference`` for each, and ``summary``.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class CopyMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One copy of a blob."""

    pack: str
    offset: int
    """Where it begins in the pack."""
    length: int
    """Bytes of it there, sealed."""
    uncompressed_length: int | None = None
    """Bytes of the plaintext, of what is compressed."""
    indexes: list[str]
    """The index files that list it."""
    pack_size: int | None = None
    """Bytes of the pack's file; left out where that is not there."""
    intact: bool | None = None
    """Whether it opens and has the hash that is its id; left out where it was not read."""


class WayTreeMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A tree on the way."""

    path: str
    """Of the directory that it is."""
    id: str
    entry: int | None = None
    """Which of its entries the way goes on with, counted from 0."""
    length: int | None = None
    """Bytes of its plaintext; left out where no index lists it."""
    copies: list[CopyMessage]


class MemberMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A member of the node's document."""

    name: str
    clause: str
    """The rule that says what it is."""
    meaning: str
    value: int | float | str | bool | None
    """null for what has members of its own."""
    members: list[MemberMessage] = msgspec.field(default_factory=list)
    """Those; those of ``content`` are left out, for each of them is a ``blob``."""


class WayNodeMessage(msgspec.Struct, omit_defaults=True):
    """The entry that the way leads to."""

    tree: str
    """The tree that it is in."""
    number: int
    """Which of that tree's entries it is, counted from 0."""
    members: list[MemberMessage]
    left_out: bool = False
    """Whether there are more members than the 10,000 that are told of."""


class ContentMessage(msgspec.Struct):
    """How much the content of a file is."""

    blobs: int
    distinct: int
    """Blobs that differ."""
    length: int
    """Bytes of all blobs, as the index has them."""
    stored: int
    """Bytes in packs of one copy of each blob that differs."""
    missing: int
    """Blobs that are in no index."""


class WayMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``way``: how one gets to a path in a snapshot."""

    message_type: Literal["way"]
    snapshot: str
    time: str
    """Of the snapshot."""
    path: str
    trees: list[WayTreeMessage]
    """From the snapshot's own on."""
    node: WayNodeMessage | None = None
    """Left out for the top of the snapshot, and where the way breaks off."""
    content: ContentMessage | None = None
    """Of a file."""
    read: bool
    """Whether blobs are read, opened and hashed."""


class BlobMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``blob``: a blob of the file's content."""

    message_type: Literal["blob"]
    number: int
    """Counted from 0."""
    id: str
    offset: int | None
    """Where it begins in the file; null behind one of a length that nobody knows."""
    length: int | None
    """Bytes of its plaintext; null where no index lists it."""
    copies: list[CopyMessage]


class EntryMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``entry``: an entry of the directory."""

    message_type: Literal["entry"]
    name: str
    type: str
    size: int = 0
    blobs: int = 0
    """How many blobs a file has."""
    subtree: str | None = None
    """The tree of a directory."""


class SharingMessage(msgspec.Struct):
    """``sharing``: what of the file's blobs others have, in bytes as stored; all are 0 for a directory."""

    message_type: Literal["sharing"]
    stored: int
    """All of them, each once."""
    unique: int
    """Those that no other file of the snapshot has."""
    freed: int
    """Those that no other file of any snapshot has."""
    left_out: int
    """Files that are not told of, beyond 10,000 or 64 MiB of memory."""


class ShareMessage(msgspec.Struct, kw_only=True):
    """``share``: a file that has some of the same blobs, or a directory that has the same tree."""

    message_type: Literal["share"]
    path: str
    snapshots: list[str]
    blobs: int
    """How many of the blobs, each once; 0 for a directory."""
    length: int
    """Bytes of their plaintexts."""


class FindingMessage(msgspec.Struct):
    """``finding``: something is wrong."""

    message_type: Literal["finding"]
    region: str
    """With what: ``blobs[3].copies[0]``."""
    clause: str
    severity: Literal["error", "warning"]
    """``error``, or ``warning`` for what does no harm by itself."""
    what: str


class WaySummary(msgspec.Struct):
    """``summary`` of a way: how much is wrong."""

    message_type: Literal["summary"]
    errors: int
    warnings: int


class SideMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A region in one of the two objects."""

    region: str
    """Its name there."""
    offset: int | None = None
    length: int | None = None
    value: int | float | str | bool | None = None
    """Bytes as hexadecimal digits; left out for what has parts of its own."""


class DifferenceMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``difference``: a region of one object or of both; those that are the same only with --all."""

    message_type: Literal["difference"]
    state: Literal["same", "changed", "moved", "only_a", "only_b"]
    """``same``, ``changed``, ``moved``, ``only_a`` or ``only_b``."""
    name: str
    """With what tells it from others in place of the number in a list."""
    clause: str
    a: SideMessage | None = None
    b: SideMessage | None = None


class DifferenceSummary(msgspec.Struct):
    """``summary`` of a comparison: how many regions of each state."""

    message_type: Literal["summary"]
    same: int
    changed: int
    moved: int
    only_a: int
    only_b: int
