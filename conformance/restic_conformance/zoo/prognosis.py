"""What can still be had from a damaged repository, and by what: computed from its files before and after.

The prognosis knows the healthy files, so it can say what is there in principle: a sealed blob that lies somewhere intact, or
one whose damage its MAC determines. It says nothing of what some program does.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from restic_conformance.zoo.change import Change, Hurt, differing
from restic_conformance.zoo.site import (
    Files,
    Key,
    Place,
    SavedFile,
    Site,
    in_folder,
    indexed,
    open_master,
    read_indexes,
)
from restic_spec.constants import IV_SIZE
from restic_spec.constants import MAC_SIZE as TAG_SIZE
from restic_spec.crypto import OVERHEAD, MasterKey, open_sealed
from restic_spec.errors import ResticFormatError
from restic_spec.keyfile import decode_keyfile
from restic_spec.pack import BlobType
from restic_spec.tree import decode_tree
from restic_spec.unpacked import decompress

BLOCK = 16
"""Bytes of a block of the MAC."""

RUN = 12
"""Bytes of a damaged run over the border of two blocks that the MAC determines; one less beside a bit of the IV or tag."""

BORDER = 5
"""The same over the border of IV and ciphertext."""

TRIED = 1 << 20
"""Bytes of a box in which each bit is tried."""

JOINED, JOINED_GAP = 10, 512
"""Places at which two copies may differ that are to be joined, and the equal bytes that part two places."""

GUESSED = 2
"""Bytes at the end of a file that can be tried one after the other where the file's name judges."""


class Way(Enum):
    """By what something is brought back, the surest first."""

    IN_PLACE = "in place"
    COPY = "other copy"
    INDEX = "index rebuilt"
    SCAN = "found by its MAC"
    RENAMED = "under another name"
    CUT = "cut to its length"
    WRITTEN = "pack written anew"
    OTHER_KEY = "other key"
    SOLVED = "solved"
    JOINED = "damaged copies joined"
    REBUILT = "rebuilt"
    RECOVERED = "from its trees"
    ENTRIES = "those of its entries that can be read"
    LOST = "lost"


@dataclass(frozen=True)
class Prognosis:
    """What a damage costs."""

    hurts: tuple[Hurt, ...]
    """The ranges of bytes that are not as they were."""
    blobs: dict[Key, Way]
    files: dict[str, Way]
    """Files of any kind that are hurt; a pack's is what becomes of it, its blobs have theirs."""
    opens: bool
    """Whether the master key can be had."""
    chunks: dict[str, dict[tuple[bytes, ...], tuple[bool, ...]]]
    """By snapshot and path: which of the file's chunks can be had."""
    recoverable: int
    """Bytes in the files of all snapshots that can be had."""
    total: int

    entries: dict[bytes, frozenset[bytes]]
    """Of trees of which only entries can be had: the names of these."""

    @property
    def lost(self) -> set[Key]:
        """Blobs that are lost for good, as a whole."""
        return {key for key, way in self.blobs.items() if way in (Way.LOST, Way.ENTRIES)}

    @property
    def ways(self) -> tuple[str, ...]:
        """By what, in words, each once, the surest first."""
        found = {way for way in (*self.blobs.values(), *self.files.values()) if way is not Way.IN_PLACE}
        return tuple(way.value for way in Way if way in found)


def _flipped(before: bytes, now: bytes) -> list[int]:
    """Numbers of the bytes in which two strings of one length differ."""
    return [number for number, (one, other) in enumerate(zip(before, now, strict=True)) if one != other]


def solvable(before: bytes, now: bytes) -> bool:
    """Whether the MAC of a sealed box and the hash of its content give back *before* from *now*.

    What the chapter on solving covers (SOLVE-4 to SOLVE-10): any damage to the IV alone, to the tag alone or to one block of
    the ciphertext, a run of up to `RUN` bytes over the border of two blocks, of up to `BORDER` over that of the IV, two flipped
    bits, and a bit of the IV or of the tag with a run in one block besides.
    """
    if len(before) != len(now) or len(before) < OVERHEAD:
        return False
    where = _flipped(before, now)
    if sum((before[one] ^ now[one]).bit_count() for one in where) <= 2:
        return True
    end = len(before) - TAG_SIZE
    in_iv, in_tag = [one for one in where if one < IV_SIZE], [one for one in where if one >= end]
    inside = [one for one in where if IV_SIZE <= one < end]
    one_block = len({(one - IV_SIZE) // BLOCK for one in inside}) <= 1
    run = where[-1] - where[0] + 1
    if not in_iv and not in_tag:
        return one_block or run <= RUN
    if not inside:
        return not in_iv or not in_tag
    if in_tag and not in_iv and run <= RUN:
        return True
    if in_iv and not in_tag and run <= BORDER:
        return True
    bits = sum((before[one] ^ now[one]).bit_count() for one in (*in_iv, *in_tag))
    return bits == 1 and one_block and inside[-1] - inside[0] < RUN - 1


def flipped_before_sealing(master: MasterKey, before: bytes, now: bytes) -> bool:
    """Whether a box whose MAC fits holds the content of *before* but for one bit, which is found by trying (SOLVE-11)."""
    if len(before) != len(now) or len(before) > TRIED:
        return False
    try:
        left, right = open_sealed(master, before), open_sealed(master, now)
    except ResticFormatError:
        return False
    return sum((left[one] ^ right[one]).bit_count() for one in _flipped(left, right)) == 1


def joinable(master: MasterKey, before: bytes, copies: Sequence[bytes]) -> bool:
    """Whether two damaged copies of the box *before* have together all of its content, and differ in few places."""
    plain = _decrypted(master, before)
    for pair in combinations([_decrypted(master, one) for one in copies if len(one) == len(before)], 2):
        places = differing(*pair, gap=JOINED_GAP)
        if len(places) <= JOINED and all(any(one[a:b] == plain[a:b] for one in pair) for a, b in places):
            outside = zip([0, *(b for _, b in places)], [*(a for a, _ in places), len(plain)], strict=True)
            if all(pair[0][a:b] == plain[a:b] for a, b in outside):
                return True
    return False


def _decrypted(master: MasterKey, box: bytes) -> bytes:
    """What is in a box, whether its MAC fits or not."""
    cipher = Cipher(algorithms.AES(master.encrypt), modes.CTR(box[:IV_SIZE])).decryptor()
    return cipher.update(box[IV_SIZE:-TAG_SIZE])


def _guessable(before: bytes, now: bytes) -> bool:
    """Whether a file that is not sealed as a whole is found by trying, its name being the judge.

    So it is with two flipped bits, with one byte, and with a few bytes that are missing at the end.
    """
    if len(now) == len(before):
        where = _flipped(before, now)
        return len(where) <= 1 or sum((before[one] ^ now[one]).bit_count() for one in where) <= 2
    return before.startswith(now) and len(before) - len(now) <= GUESSED


def _data_solvable(before: bytes, now: bytes) -> bool:
    """Whether a key file's sealed master key is found by its MAC: all else in it is as it was."""
    try:
        left, right = decode_keyfile(before), decode_keyfile(now)
    except Exception:  # noqa: BLE001  whatever makes it no key file
        return False
    same = (left.N, left.r, left.p, left.salt, left.kdf) == (right.N, right.r, right.p, right.salt, right.kdf)
    return same and solvable(left.data or b"", right.data or b"")


def _file_way(path: str, before: bytes, after: Files) -> Way:
    """How the file that was *before* at *path* is had again from its own remains."""
    now = after.get(path)
    if now == before:
        return Way.IN_PLACE
    if any(data == before for data in after.values()):
        return Way.RENAMED
    if now is None:
        return Way.LOST
    if len(now) > len(before) and now.startswith(before):
        return Way.CUT
    if path.startswith("data/"):
        return Way.LOST
    if path.startswith("keys/"):
        return Way.SOLVED if _guessable(before, now) or _data_solvable(before, now) else Way.LOST
    if len(now) < len(before):
        return Way.SOLVED if before.startswith(now) and len(before) - len(now) <= TAG_SIZE else Way.LOST
    return Way.SOLVED if solvable(before, now) else Way.LOST


class _Judge:
    def __init__(self, site: Site, change: Change) -> None:
        self.site = site
        self.after = change.applied(site.files)
        self.indexes = read_indexes(site.master, self.after)
        self.data = in_folder(self.after, "data")
        self.indexed: dict[Key, list[Place]] = {}
        for place in indexed(self.indexes):
            key = place.entry.type, place.entry.id
            if key in site.plain:
                self.indexed.setdefault(key, []).append(place)
        self.headers = {path: site.listed(self.after, path) for path in self.data}

    def files(self, blobs: dict[Key, Way]) -> dict[str, Way]:
        """How each file that is hurt is had again, with what becomes of its *blobs*."""
        found: dict[str, Way] = {}
        for path, before in self.site.files.items():
            way = _file_way(path, before, self.after)
            if way is Way.LOST and path.startswith("data/"):
                ways = [blobs[entry.type, entry.id] for entry in self.site.packs.get(path.rpartition("/")[2], [])]
                if path not in self.after and Way.LOST not in ways:
                    continue  # what was in it is elsewhere
                way = Way.WRITTEN if path in self.after and any(one is not Way.LOST for one in ways) else way
            elif way is Way.LOST and path.startswith("index/"):
                keys = {(place.entry.type, place.entry.id) for place in indexed({path: self.site.indexes[path]})}
                if path not in self.after and keys <= self.indexed.keys():
                    continue  # others name it all
                way = Way.INDEX
            elif way is Way.LOST and path == "config":
                way = Way.REBUILT
            if way is not Way.IN_PLACE:
                found[path] = way
        return found

    def blobs(self) -> dict[Key, Way]:
        """How each blob is had again."""
        good: set[Key] = set()
        bad: set[Key] = set()
        for key, places in self.indexed.items():
            for place in places:
                (good if self.site.opens(self.after, place) else bad).add(key)
        return {
            key: (Way.COPY if key in bad else Way.IN_PLACE) if key in good else self._search(key) for key in self.site.plain
        }

    def _search(self, key: Key) -> Way:
        """The surest way to a blob that no index leads to."""
        ways = {way for place in self.site.places[key] for way in self._copy(key, place)}
        return next(way for way in Way if way in ways or way is Way.LOST)

    def _copy(self, key: Key, place: Place) -> Iterator[Way]:
        entry = place.entry
        sealed = self.site.files[place.path][entry.offset : entry.offset + entry.length]
        for path in self.data:
            offset = self.after[path].find(sealed)
            if offset >= 0:
                listed = any((one.type, one.id) == key and one.offset == offset for one in self.headers[path])
                yield Way.INDEX if listed else Way.SCAN
        copies = [
            self.after.get(where.path, b"")[where.entry.offset : where.entry.offset + where.entry.length]
            for where in {place, *self.indexed.get(key, ())}
        ]
        damaged = {copy for copy in copies if len(copy) == len(sealed) and copy != sealed}
        master = self.site.master
        if any(solvable(sealed, copy) or flipped_before_sealing(master, sealed, copy) for copy in damaged):
            yield Way.SOLVED
        if len(damaged) > 1 and joinable(master, sealed, sorted(damaged)):
            yield Way.JOINED
        if key[0] is BlobType.TREE and self.entries(key):
            yield Way.ENTRIES

    def entries(self, key: Key) -> frozenset[bytes]:
        """The names of a tree whose entries are as they were in an authentic copy of it that is not."""
        texts = entry_texts(self.site.plain[key])
        kept: set[bytes] = set()
        for place in self.indexed.get(key, ()):
            sealed = self.after.get(place.path, b"")[place.entry.offset : place.entry.offset + place.entry.length]
            with contextlib.suppress(ResticFormatError):
                plain = open_sealed(self.site.master, sealed)
                if place.entry.uncompressed_length is not None:
                    plain = decompress(plain, place.entry.uncompressed_length, "PACK-12")
                kept |= {name for name, text in texts.items() if text in plain}
        return frozenset(kept)


def entry_texts(tree: bytes) -> dict[bytes, bytes]:
    """The JSON of every entry of a tree, by its name."""
    text = tree.decode("utf-8")
    decoder, found = json.JSONDecoder(), {}
    place = text.find('{"name":')
    for node in decode_tree(tree):
        end = decoder.raw_decode(text, place)[1]
        found[node.name_bytes] = text[place:end].encode()
        place = end + 1
    return found


def _named_trees(site: Site, blobs: Mapping[Key, Way], entries: Mapping[bytes, frozenset[bytes]]) -> set[bytes]:
    """The trees that are named by another of which this can be read."""
    return {
        bytes.fromhex(node.subtree)
        for (kind, tree), way in blobs.items()
        if kind is BlobType.TREE and way is not Way.LOST
        for node in decode_tree(site.plain[kind, tree])
        if node.type == "dir" and (tree not in entries or node.name_bytes in entries[tree])
    }


def _belongs(
    file: SavedFile, blobs: Mapping[Key, Way], entries: Mapping[bytes, frozenset[bytes]], named: Collection[bytes]
) -> bool:
    """Whether *file* can be found in its snapshot, or below a folder that no tree names any more and that is kept as such."""
    broken = 0
    for depth, tree in enumerate(file.trees):
        name = file.path[depth]
        if blobs[BlobType.TREE, tree] is Way.LOST or (tree in entries and name not in entries[tree]):
            broken = depth + 1
    return broken == 0 or (broken < len(file.trees) and file.trees[broken] not in named)


def foresee(site: Site, change: Change) -> Prognosis:
    """What *change* costs a repository that is *site*."""
    judge = _Judge(site, change)
    blobs = judge.blobs()
    files = judge.files(blobs)
    keys = {path: way for path, way in files.items() if path.startswith("keys/")}
    healthy = open_master(judge.after) is not None
    opens = healthy or any(way is not Way.LOST for way in keys.values())
    if healthy:
        files |= {path: Way.OTHER_KEY for path, way in keys.items() if way is Way.LOST}
    for name, snapshot in site.snapshots.items():
        path = f"snapshots/{name}"
        if files.get(path) is Way.LOST and blobs[BlobType.TREE, bytes.fromhex(str(snapshot.tree))] is not Way.LOST:
            files[path] = Way.RECOVERED
    entries = {key[1]: judge.entries(key) for key, way in blobs.items() if way is Way.ENTRIES}
    named = _named_trees(site, blobs, entries)
    chunks: dict[str, dict[tuple[bytes, ...], tuple[bool, ...]]] = {}
    sizes: Counter[bool] = Counter()
    for name, saved in site.saved.items():
        for file in saved:
            there = opens and _belongs(file, blobs, entries, named)
            had = tuple(there and blobs[BlobType.DATA, chunk] is not Way.LOST for chunk in file.chunks)
            chunks.setdefault(name, {})[file.path] = had
            for chunk, one in zip(file.chunks, had, strict=True):
                sizes[one] += len(site.plain[BlobType.DATA, chunk])
    return Prognosis(tuple(change.hurts(site.files)), blobs, files, opens, chunks, sizes[True], site.total, entries)
