"""A pack in which parts are damaged: each part solved by itself, the whole judged by the pack's name."""

from __future__ import annotations

import threading
from typing import NamedTuple

from restic_format.repository.cipher import make_cipher
from restic_format.repository.header import decode_entries
from restic_format.rescue.solving.clock import Clock
from restic_format.rescue.solving.judges import ContentJudge, DocumentJudge, edited
from restic_format.rescue.solving.message import Effort, Message, lost_mac, solve_message
from restic_format.work import Advance, Progress, silent
from restic_spec.blob import open_blob
from restic_spec.crypto import OVERHEAD, MasterKey
from restic_spec.errors import IdMismatch, LengthInvalid, MacInvalid, SpecError
from restic_spec.ids import id_of
from restic_spec.pack import (
    LENGTH_SIZE,
    MAX_BLOB_SIZE,
    PLAIN_ENTRY_SIZE,
    PackEntry,
    check_layout,
    encode_length,
    header_length,
)
from restic_spec.solving import Candidate
from restic_spec.unpacked import decompress

MOST_HEADER_LENGTHS = 1 << 15
"""Bytes of a header up to which its length is looked for where the pack does not say it: each length takes a MAC of so many
bytes.
"""
MOST_PARTS = 64
"""Damaged blobs of a pack that are solved: more are no flipped bits, and each may take the whole budget."""


class SolvedPack(NamedTuple):
    """A pack as it was before the damage."""

    data: bytes
    how: str
    """What was damaged, in words."""


class _Header(NamedTuple):
    entries: list[PackEntry]
    sealed: bytes
    how: str
    """"" where nothing was wrong with it."""


def solve_pack(
    key: MasterKey,
    version: int,
    data: bytes,
    pack_id: bytes,
    clock: Clock,
    efforts: tuple[Effort, ...] = tuple(Effort),
    progress: Progress[Advance] = silent,
) -> SolvedPack | None:
    """The pack with this id that *data* were before the damage, in a repository of *version*; None where it is not found.

    Its length must be what it was. A header that is damaged is solved first, for it says what every blob must hash to; then
    every blob. The id is the judge of it all (SOLVE-14).

    Raises:
        OutOfTime, Interrupted: see `solve_message`.
    """
    header = _header(key, version, data, clock, efforts, progress)
    if header is None:
        return None
    edits, told = [], [f"header: {header.how}"] if header.how else []
    length = len(header.sealed)
    edits.append(Candidate(len(data) - LENGTH_SIZE - length, header.sealed))
    edits.append(Candidate(len(data) - LENGTH_SIZE, encode_length(length)))
    if data[-LENGTH_SIZE:] != encode_length(length):
        told.append("length of the header")
    bad = _damaged(key, data, header.entries, clock)
    if len(bad) > MOST_PARTS:
        return None
    for entry in bad:
        sealed = data[entry.offset : entry.offset + entry.length]
        judge = ContentJudge(key, sealed, entry.uncompressed_length, entry.id)
        found = solve_message(Message(key, sealed, judge, progress), clock, efforts)
        if found is None:
            return None
        edits.append(Candidate(entry.offset, found.sealed))
        told.append(f"{entry.type.value} blob {entry.id.hex()[:8]}: {found.how}")
    whole = bytes(edited(data, edits))
    return SolvedPack(whole, "; ".join(told) or "nothing") if id_of(whole) == pack_id else None


def _damaged(key: MasterKey, data: bytes, entries: list[PackEntry], clock: Clock) -> list[PackEntry]:
    bad = []
    view = memoryview(data)
    for entry in entries:
        clock.check()
        try:
            open_blob(key, entry, view[entry.offset : entry.offset + entry.length])
        except LengthInvalid as error:
            if error.clause != "PACK-12":
                bad.append(entry)
        except SpecError:
            bad.append(entry)
    return bad


class _Contents:
    """What blobs of a pack hash to where they open: a header that says otherwise is not the right one."""

    def __init__(self, key: MasterKey, data: bytes) -> None:
        self._cipher = make_cipher(key)
        self._data = memoryview(data)
        self._known: dict[tuple[int, int, int | None], bytes | None] = {}
        self._lock = threading.Lock()

    def check(self, entry: PackEntry) -> None:
        """Raise `IdMismatch` where the blob that *entry* describes opens and has another id."""
        place = (entry.offset, entry.length, entry.uncompressed_length)
        with self._lock:
            if place not in self._known:
                self._known[place] = self._hashed(entry)
            known = self._known[place]
        if known is not None and known != entry.id:
            raise IdMismatch("a blob has another id than the header says", clause="PACK-13")

    def _hashed(self, entry: PackEntry) -> bytes | None:
        try:
            plaintext = self._cipher.open(self._data[entry.offset : entry.offset + entry.length])
            if entry.uncompressed_length is not None:
                plaintext = decompress(plaintext, min(entry.uncompressed_length, MAX_BLOB_SIZE), "PACK-12")
        except SpecError:
            return None
        return id_of(plaintext)


def _header(
    key: MasterKey, version: int, data: bytes, clock: Clock, efforts: tuple[Effort, ...], progress: Progress[Advance]
) -> _Header | None:
    """The header, opened or solved; None where there is no way to it."""

    def parse(length: int, plaintext: bytes) -> list[PackEntry]:
        entries = decode_entries(plaintext, version)
        check_layout(entries, length, len(data))
        return entries

    cipher = make_cipher(key)
    try:
        length = header_length(data[-LENGTH_SIZE:], len(data))
    except LengthInvalid:
        length = 0
    if length:
        sealed = data[-LENGTH_SIZE - length : -LENGTH_SIZE]
        try:
            return _Header(parse(length, cipher.open(sealed)), sealed, "")
        except MacInvalid:
            pass
        except SpecError:
            return None
    # A wrong length is far more easily found than a header is solved.
    for other in range(OVERHEAD + PLAIN_ENTRY_SIZE, min(len(data) - LENGTH_SIZE, MOST_HEADER_LENGTHS) + 1):
        clock.check()
        try:
            sealed = data[-LENGTH_SIZE - other : -LENGTH_SIZE]
            return _Header(parse(other, cipher.open(sealed)), sealed, "")
        except SpecError:
            continue
    if not length:
        return None
    sealed = data[-LENGTH_SIZE - length : -LENGTH_SIZE]
    contents = _Contents(key, data)

    def judged(plaintext: bytes) -> None:
        for entry in parse(length, plaintext):
            contents.check(entry)

    judge = DocumentJudge(key, sealed, judged)
    message = Message(key, sealed, judge, progress)
    found = solve_message(message, clock, efforts) or lost_mac(message)
    if found is None:
        return None
    return _Header(parse(length, cipher.open(found.sealed)), found.sealed, found.how)
