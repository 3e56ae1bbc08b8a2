"""A healthy repository read whole: where every blob lies, and which bytes of which file of which snapshot it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from restic_conformance.programs import PASSWORD, SECOND
from restic_conformance.vault import file_id
from restic_spec.blob import open_blob
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import ResticFormatError
from restic_spec.index import IndexFile, decode_index, entries_of
from restic_spec.keyfile import decode_keyfile, unwrap
from restic_spec.pack import LENGTH_SIZE, BlobType, PackEntry, decode_header, header_length
from restic_spec.snapshot import Snapshot, decode_snapshot
from restic_spec.tree import decode_tree
from restic_spec.unpacked import decode_unpacked, encode_unpacked

Key = tuple[BlobType, bytes]
"""A blob: type and id."""

Files = Mapping[str, bytes]
"""The files of a repository by their path in it."""

PASSWORDS = (PASSWORD, SECOND)
"""What the owner of the repository can try."""


class Place(NamedTuple):
    """Where a sealed blob lies, and what an index says of it."""

    path: str
    entry: PackEntry


@dataclass(frozen=True)
class SavedFile:
    """A regular file in a snapshot."""

    path: tuple[bytes, ...]
    """Names from the snapshot's root to it."""
    trees: tuple[bytes, ...]
    """Ids of the trees from the root to the folder it is in."""
    chunks: tuple[bytes, ...]
    """Ids of its data blobs in their order."""


def read_files(repository: Path) -> dict[str, bytes]:
    """The bytes of every regular file below *repository* by its path there."""
    return {
        path.relative_to(repository).as_posix(): path.read_bytes() for path in sorted(repository.rglob("*")) if path.is_file()
    }


def in_folder(files: Files, folder: str) -> list[str]:
    """Paths of the files in *folder* (`index`, `data` …), sorted."""
    return sorted(path for path in files if path.startswith(f"{folder}/"))


def pack_path(name: str) -> str:
    """Path of a pack in a repository."""
    return f"data/{name[:2]}/{name}"


def open_master(files: Files, passwords: Sequence[str] = PASSWORDS) -> tuple[MasterKey, str] | None:
    """The master key and the first of *passwords* that opens it; None where no key file does."""
    for password in passwords:
        for path in in_folder(files, "keys"):
            if file_id(files[path]) != path.removeprefix("keys/"):
                continue
            try:
                return unwrap(decode_keyfile(files[path]), password.encode()), password
            except ResticFormatError:
                continue
    return None


def open_unpacked(master: MasterKey, raw: bytes) -> bytes:
    """Plaintext of an index, snapshot or lock. Raises :class:`ResticFormatError`."""
    return decode_unpacked(2, open_sealed(master, raw))


def read_indexes(master: MasterKey, files: Files) -> dict[str, IndexFile]:
    """Every index that is what its name says, by path."""
    found = {}
    for path in in_folder(files, "index"):
        if file_id(files[path]) == path.removeprefix("index/"):
            try:
                found[path] = decode_index(open_unpacked(master, files[path]))
            except ResticFormatError:
                continue
    return found


def indexed(indexes: Mapping[str, IndexFile]) -> Iterator[Place]:
    """Every blob that *indexes* name, where they say it lies."""
    for index in indexes.values():
        for pack in index.all_packs():
            for entry in entries_of(pack):
                yield Place(pack_path(pack.id), entry)


def open_at(master: MasterKey, files: Files, place: Place) -> bytes | None:
    """The plaintext of the blob that should lie at *place*, None where it does not."""
    _, entry = place
    sealed = files.get(place.path, b"")[entry.offset : entry.offset + entry.length]
    try:
        return open_blob(master, entry, sealed)
    except ResticFormatError:
        return None


def readable(files: Files, passwords: Sequence[str] = PASSWORDS) -> set[Key]:
    """Every blob that whoever has a password and the indexes can read."""
    opened = open_master(files, passwords)
    if opened is None:
        return set()
    master = opened[0]
    found: set[Key] = set()
    for place in indexed(read_indexes(master, files)):
        key = place.entry.type, place.entry.id
        if key not in found and open_at(master, files, place) is not None:
            found.add(key)
    return found


def listed_in_header(master: MasterKey, pack: bytes) -> list[PackEntry]:
    """What a pack's own header lists; nothing where it cannot be read."""
    try:
        length = header_length(pack[-LENGTH_SIZE:], len(pack))
        return decode_header(open_sealed(master, pack[-LENGTH_SIZE - length : -LENGTH_SIZE]))
    except ResticFormatError:
        return []


class Site:
    """A healthy repository. Recipes aim with it, the prognosis and the judge compare with it.

    Raises :class:`ValueError` where something in it is not healthy.
    """

    def __init__(self, repository: Path, foreign: Path | None = None) -> None:
        self.repository = repository
        self.files = read_files(repository)
        self.foreign = read_files(foreign) if foreign else {}
        """The files of an unrelated repository with the same password."""
        opened = open_master(self.files)
        if opened is None:
            raise ValueError(f"{repository}: no key opens")
        self.master = opened[0]
        self.version = 2 if b'"version":2' in open_sealed(self.master, self.files["config"]) else 1
        self.indexes = read_indexes(self.master, self.files)
        self._opened: dict[Place, bool] = {}
        self._listed: dict[str, list[PackEntry]] = {}
        self.places: dict[Key, list[Place]] = {}
        for place in indexed(self.indexes):
            self.places.setdefault((place.entry.type, place.entry.id), []).append(place)
        self.plain: dict[Key, bytes] = {}
        for key, places in self.places.items():
            for place in places:
                plain = open_at(self.master, self.files, place)
                if plain is None:
                    raise ValueError(f"{repository}: blob {key[1].hex()} does not open")
                self.plain[key] = plain

    def opens(self, files: Files, place: Place) -> bool:
        """Whether the blob that should lie at *place* of *files* does; what is as in this repository is opened once."""
        if files.get(place.path) is not self.files.get(place.path):
            return open_at(self.master, files, place) is not None
        if place not in self._opened:
            self._opened[place] = open_at(self.master, files, place) is not None
        return self._opened[place]

    def listed(self, files: Files, path: str) -> list[PackEntry]:
        """What the header of the pack at *path* of *files* lists; likewise."""
        if files[path] is not self.files.get(path):
            return listed_in_header(self.master, files[path])
        if path not in self._listed:
            self._listed[path] = listed_in_header(self.master, files[path])
        return self._listed[path]

    @cached_property
    def packs(self) -> dict[str, list[PackEntry]]:
        """The indexed packs by name, their entries by offset."""
        found: dict[str, dict[int, PackEntry]] = {}
        for place in indexed(self.indexes):
            found.setdefault(place.path.rpartition("/")[2], {})[place.entry.offset] = place.entry
        return {name: [entries[offset] for offset in sorted(entries)] for name, entries in sorted(found.items())}

    @cached_property
    def snapshots(self) -> dict[str, Snapshot]:
        """The snapshots by id, the oldest first."""
        found = {
            path.removeprefix("snapshots/"): decode_snapshot(open_unpacked(self.master, self.files[path]))
            for path in in_folder(self.files, "snapshots")
        }
        return dict(sorted(found.items(), key=lambda item: item[1].time_ns))

    @cached_property
    def saved(self) -> dict[str, list[SavedFile]]:
        """The regular files of each snapshot."""
        return {name: list(self._walk(str(snapshot.tree), (), ())) for name, snapshot in self.snapshots.items()}

    def _walk(self, tree: str, above: tuple[bytes, ...], trees: tuple[bytes, ...]) -> Iterator[SavedFile]:
        here = (*trees, bytes.fromhex(tree))
        for node in decode_tree(self.plain[BlobType.TREE, here[-1]]):
            path = (*above, node.name_bytes)
            if node.type == "dir":
                yield from self._walk(node.subtree, path, here)
            elif node.type == "file":
                yield SavedFile(path, here, tuple(bytes.fromhex(one) for one in node.content or ()))

    @cached_property
    def total(self) -> int:
        """Bytes in the files of all snapshots."""
        return sum(
            len(self.plain[BlobType.DATA, chunk]) for files in self.saved.values() for file in files for chunk in file.chunks
        )

    def packs_of(self, kind: BlobType) -> list[str]:
        """Names of the packs with blobs of this type, the largest first."""
        fitting = [name for name, entries in self.packs.items() if any(entry.type is kind for entry in entries)]
        return sorted(fitting, key=lambda name: (-len(self.files[pack_path(name)]), name))

    def seal(self, plaintext: bytes, iv: bytes) -> bytes:
        """*plaintext* sealed with the repository's key."""
        return seal(self.master, plaintext, iv)

    def seal_file(self, folder: str, plaintext: bytes, iv: bytes) -> tuple[str, bytes]:
        """A new file for *folder*: its path and its bytes."""
        sealed = self.seal(encode_unpacked(self.version, plaintext), iv)
        return f"{folder}/{file_id(sealed)}", sealed
