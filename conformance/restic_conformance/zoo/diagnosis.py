"""What a diagnosis has to say of a damage, computed from the files, and what of it ``diagnose --json`` says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from restic_conformance.programs import PASSWORD, Run
from restic_conformance.vault import file_id
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.judge import read_snapshots
from restic_conformance.zoo.prognosis import Prognosis, Way
from restic_conformance.zoo.site import (
    Files,
    Place,
    SavedFile,
    Site,
    in_folder,
    indexed,
    open_master,
    open_unpacked,
    pack_path,
    read_indexes,
)
from restic_spec.errors import ResticFormatError
from restic_spec.ids import is_hex_id
from restic_spec.keyfile import decode_keyfile
from restic_spec.pack import BlobType

WHOLE = frozenset({Way.IN_PLACE, Way.COPY})
"""What can be read as the repository is."""

FOUND = WHOLE | {Way.INDEX}
"""What a reader can read who looks into the packs' headers."""

NO_INDEX = "index-none"
"""Code of the fault that there is no index."""

Ranges = tuple[tuple[int, int], ...]


class HurtPath(NamedTuple):
    """A file or folder that is not whole."""

    path: str
    type: str
    ranges: Ranges
    """Parts of a file, each as long as it can be; none for a folder."""


@dataclass(frozen=True)
class Expected:
    """What is to be said."""

    named: frozenset[str]
    """Names of files (the config's is ``config``) each of which is to be named."""
    whole: frozenset[str]
    """Snapshots that can be restored whole as the repository is."""
    hurt: frozenset[str]
    """Snapshots that can be read and cannot be restored whole."""
    paths: frozenset[HurtPath]


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted ranges, those that touch put together."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif end > start:
            found.append((start, end))
    return tuple(found)


def _text(names: Iterable[bytes]) -> str:
    return "/" + "/".join(name.decode("utf-8", "surrogateescape") for name in names)


def _path(site: Site, prognosis: Prognosis, file: SavedFile) -> HurtPath | None:
    """What is not whole of *file*: a part of it, or the uppermost folder that cannot be read; None where all is whole."""
    for depth, tree in enumerate(file.trees):
        if prognosis.blobs[BlobType.TREE, tree] not in FOUND:
            return HurtPath(_text(file.path[:depth]), "dir", ())
    offset, ranges = 0, []
    for chunk in file.chunks:
        end = offset + len(site.plain[BlobType.DATA, chunk])
        if prognosis.blobs[BlobType.DATA, chunk] not in WHOLE:
            ranges.append((offset, end))
        offset = end
    return HurtPath(_text(file.path), "file", joined(ranges)) if ranges else None


def _unreadable(site: Site, files: Files) -> Iterator[str]:
    """Names of the files that are not what their names say, not at their place, or not the repository's."""
    for path, data in files.items():
        folder, _, name = path.rpartition("/")
        kind = folder.partition("/")[0]
        if not is_hex_id(name) or kind not in ("keys", "locks", "snapshots", "index", "data"):
            continue
        if (kind == "data" and path != pack_path(name)) or file_id(data) != name:
            yield name
        elif kind == "keys":
            if not _is_key(data):
                yield name
        elif kind != "data" and not _opens(site, data):
            yield name


def _is_key(data: bytes) -> bool:
    try:
        decode_keyfile(data)
    except ResticFormatError:
        return False
    return True


def _opens(site: Site, data: bytes) -> bool:
    try:
        json.loads(open_unpacked(site.master, data))
    except (ResticFormatError, ValueError):
        return False
    return True


def _wrongly_indexed(site: Site, files: Files) -> Iterator[str]:
    """Names of the packs that indexes do not tell rightly of: gone, in none, or without what an index says is in them.

    Packs that are in none count where the indexes that are there can be read; else these are to be named. Where there is no
    index file at all, that is to be said, and the packs need no names.
    """
    if not in_folder(files, "index") and in_folder(files, "data"):
        yield NO_INDEX
        return
    places: dict[str, list[Place]] = {}
    indexes = read_indexes(site.master, files)
    indexes_good = len(indexes) == len(in_folder(files, "index"))
    for place in indexed(indexes):
        places.setdefault(place.path, []).append(place)
    for path in {*places, *in_folder(files, "data")}:
        name = path.rpartition("/")[2]
        if is_hex_id(name) and path == pack_path(name):
            listed = places.get(path, [])
            if path not in files or (indexes_good and not listed) or not all(site.opens(files, place) for place in listed):
                yield name


def expect(site: Site, change: Change, prognosis: Prognosis) -> Expected:
    """What a diagnosis of *site* after *change* has to say, *prognosis* being what can be had."""
    files = change.applied(site.files)
    named = {*_unreadable(site, files), *_wrongly_indexed(site, files)}
    if files.get("config") != site.files["config"]:
        named.add("config")
    whole: set[str] = set()
    hurt: set[str] = set()
    paths: set[HurtPath] = set()
    if open_master(files, (PASSWORD,)) is None:
        return Expected(frozenset(named), frozenset(), frozenset(), frozenset())  # Nothing in it can be read.
    for name in read_snapshots(files):
        if name not in site.saved:
            continue
        blobs = {(BlobType.TREE, tree) for file in site.saved[name] for tree in file.trees}
        found = {_path(site, prognosis, file) for file in site.saved[name]} - {None}
        paths |= {one for one in found if one is not None}
        bad = found or any(prognosis.blobs[key] not in WHOLE for key in blobs)
        (hurt if bad else whole).add(name)
    return Expected(frozenset(named), frozenset(whole), frozenset(hurt), frozenset(paths))


@dataclass(frozen=True)
class Said:
    """What of it was said."""

    unnamed: tuple[str, ...]
    """Names that are missing."""
    paths_missing: tuple[HurtPath, ...]
    paths_too_many: tuple[HurtPath, ...]
    snapshots_wrong: tuple[str, ...]
    crashed: bool

    @property
    def right(self) -> bool:
        """Whether all was said, and nothing else."""
        return not self.words()

    def words(self) -> str:
        """What was not said, or said too much; empty where all is right."""
        found = {
            "not named": self.unnamed,
            "costs not told": self.paths_missing,
            "costs that are none": self.paths_too_many,
            "snapshots told wrongly": self.snapshots_wrong,
        }
        told = [f"{len(what)} {words}" for words, what in found.items() if what]
        return "; ".join([*told, *(["did not end as it should"] if self.crashed else [])])


def heard(expected: Expected, run: Run) -> Said:
    """What *run*, a call of ``diagnose --json``, says of what is *expected*."""
    messages = run.messages()
    kinds: dict[str, list[dict[str, Any]]] = {}
    for message in messages:
        kinds.setdefault(str(message.get("message_type")), []).append(message)
    told = [json.dumps(message) for kind in ("fault", "note") for message in kinds.get(kind, [])]
    objects = {message["object"] for message in kinds.get("fault", [])}
    unnamed = [name for name in expected.named if not (name in objects or any(name in text for text in told))]
    found: dict[tuple[str, str], set[Ranges]] = {}
    for message in kinds.get("path", []):
        if message["type"] == "dir" and message["hope"] == "found":
            continue  # its tree can be read, though not through the index, so what is not whole below it is told
        ranges = joined((part["start"], part["end"]) for part in message["ranges"])
        found.setdefault((message["path"], message["type"]), set()).add(ranges)
    paths = {HurtPath(path, kind, ranges) for (path, kind), all_ranges in found.items() for ranges in all_ranges}
    states = {message["id"]: message["whole"] for message in kinds.get("snapshot", [])}
    wrong = [name for name in expected.whole if states.get(name) is not True]
    wrong += [name for name in expected.hurt if states.get(name) is not False]
    return Said(
        tuple(sorted(unnamed)),
        tuple(sorted(expected.paths - paths)),
        tuple(sorted(paths - expected.paths)),
        tuple(sorted(wrong)),
        "summary" not in kinds or "Traceback" in run.output,
    )
