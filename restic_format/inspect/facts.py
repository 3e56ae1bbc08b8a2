"""What a person wants to know of an object first: who made it and when, what it holds, how strong a key is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from restic_format.inspect.objects import Inspected
from restic_format.inspect.target import ObjectKind
from restic_spec.config import decode_config
from restic_spec.constants import OVERHEAD
from restic_spec.errors import SpecError
from restic_spec.index import decode_index
from restic_spec.keyfile import decode_keyfile
from restic_spec.lock import decode_lock
from restic_spec.pack import COMPRESSED_ENTRY_SIZE, PLAIN_ENTRY_SIZE
from restic_spec.regions import Blob, Document, Region
from restic_spec.snapshot import decode_snapshot
from restic_spec.tree import decode_tree

LEAST_MEMORY, LEAST_WORK = 128 * 32768 * 8, 32768 * 8
"""What scrypt costs with restic's N and r, and a p of 1: bytes for each guess, and N·r·p. Its own keys cost that or more."""


class Fact(NamedTuple):
    """One thing to know."""

    label: str
    text: str
    """Not escaped: it may come from inside a repository."""


def facts(inspected: Inspected) -> list[Fact]:
    """What there is to know of an object; as much of a damaged one as can be read."""
    found: list[Fact] = []
    with suppress(SpecError):  # its findings say what is wrong
        found.extend(_FACTS[inspected.kind](inspected))
    return found


def plaintext_of(document: Document) -> bytes | memoryview | None:
    """What is inside of the one sealed message that *document* is: decrypted, and decompressed where it is compressed."""
    for region in document.regions():
        content = region.content
        if content is None:
            return None
        inner = next((part for part in content.regions() if part.name.endswith(".frame")), None)
        if inner is None:
            return content.data
        expanded = inner.content
        return None if expanded is None else expanded.data
    return None


def _document(inspected: Inspected) -> bytes | None:
    found = plaintext_of(inspected.document)
    return None if found is None else bytes(found)


def _config(inspected: Inspected) -> Iterator[Fact]:
    raw = _document(inspected)
    if raw is not None:
        config = decode_config(raw)
        yield Fact("repository", f"{config.id}, version {config.version}")


def _key(inspected: Inspected) -> Iterator[Fact]:
    key = decode_keyfile(bytes(memoryview(inspected.document.data)))
    yield Fact("made", " ".join(filter(None, (key.created, _who(key.username, key.hostname)))) or "not said by whom")
    kdf = key.derivation()
    memory, work = 128 * kdf.N * kdf.r, kdf.N * kdf.r * kdf.p
    yield Fact("password", f"scrypt with N={kdf.N}, r={kdf.r}, p={kdf.p}: {memory >> 10:,} KiB of memory for each guess")
    if memory < LEAST_MEMORY or work < LEAST_WORK:
        yield Fact("strength", f"weak: a guess costs {_share(work, LEAST_WORK)} of what restic's keys cost at the least")
    else:
        yield Fact("strength", f"usual: a guess costs {work / LEAST_WORK:.3g} times what restic's keys cost at the least")


def _share(part: int, whole: int) -> str:
    return f"1/{whole // part:,}" if part and whole >= 2 * part else f"{100 * part // whole} %"


def _snapshot(inspected: Inspected) -> Iterator[Fact]:
    raw = _document(inspected)
    if raw is None:
        return
    snapshot = decode_snapshot(raw)
    yield Fact("made", " ".join(filter(None, (snapshot.time, _who(snapshot.username, snapshot.hostname)))))
    for path in snapshot.path_list()[:_SHOWN]:
        yield Fact("path", path)
    if len(snapshot.path_list()) > _SHOWN:
        yield Fact("path", f"and {len(snapshot.path_list()) - _SHOWN:,} more")
    if snapshot.tags:
        yield Fact("tags", ", ".join(snapshot.tags[:_SHOWN]))
    yield Fact("tree", snapshot.tree or "none")
    if snapshot.program_version:
        yield Fact("written by", snapshot.program_version)


def _lock(inspected: Inspected) -> Iterator[Fact]:
    raw = _document(inspected)
    if raw is not None:
        lock = decode_lock(raw)
        kind = "exclusive" if lock.exclusive else "shared"
        yield Fact("held", f"{kind}, by process {lock.pid} of {_who(lock.username, lock.hostname)}, since {lock.time}")


def _index(inspected: Inspected) -> Iterator[Fact]:
    raw = _document(inspected)
    if raw is not None:
        packs = decode_index(raw).all_packs()
        blobs = sum(len(pack.blobs or ()) for pack in packs)
        yield Fact("lists", f"{blobs:,} blobs in {len(packs):,} packs")


def _pack(inspected: Inspected) -> Iterator[Fact]:
    regions = {region.name: region for region in inspected.document.regions()}
    blobs, header = regions.get("blobs"), regions.get("header")
    counts: Counter[str] = Counter()
    if blobs is not None:
        counts.update(part.entry.type.value if isinstance(part, Blob) else "" for part in blobs.regions())
        kinds = [f"{counts[kind]:,} {kind} blob{'' if counts[kind] == 1 else 's'}" for kind in ("data", "tree") if counts[kind]]
        if kinds:
            yield Fact("holds", " and ".join(kinds) + f", {blobs.length:,} bytes")
    if header is not None and header.content is None:
        yield Fact("header", f"{header.length:,} bytes, so that it lists {_entries(header)}")


def _entries(header: Region) -> str:
    entries = max(header.length - OVERHEAD, 0)
    least, most = -(-entries // COMPRESSED_ENTRY_SIZE), entries // PLAIN_ENTRY_SIZE
    return f"{most:,} blobs" if least >= most else f"{least:,} to {most:,} blobs"


def _blob(inspected: Inspected) -> Iterator[Fact]:
    found = plaintext_of(inspected.document)
    for place in inspected.places[:_SHOWN]:
        yield Fact("in pack", f"{place.pack.hex()}, {place.length:,} bytes from {place.offset:,} on")
    if len(inspected.places) > _SHOWN:
        yield Fact("in pack", f"and in {len(inspected.places) - _SHOWN:,} more")
    if found is not None:
        yield Fact("content", f"{len(found):,} bytes")
        if inspected.kind is ObjectKind.TREE:
            entries = len(decode_tree(bytes(found)).nodes or ())
            yield Fact("directory", f"{entries:,} entr{'y' if entries == 1 else 'ies'}")


def _nothing(inspected: Inspected) -> Iterator[Fact]:
    del inspected
    yield from ()


_SHOWN = 5
"""Paths, tags and copies that are shown."""

_FACTS = {
    ObjectKind.CONFIG: _config,
    ObjectKind.KEY: _key,
    ObjectKind.SNAPSHOT: _snapshot,
    ObjectKind.LOCK: _lock,
    ObjectKind.INDEX: _index,
    ObjectKind.PACK: _pack,
    ObjectKind.BLOB: _blob,
    ObjectKind.TREE: _blob,
    ObjectKind.UNKNOWN: _nothing,
}


def _who(user: str | None, host: str | None) -> str:
    return f"{user}@{host}" if user and host else user or host or ""
