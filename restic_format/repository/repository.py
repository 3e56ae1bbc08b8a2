"""The repository: the one place that knows keys, indexes, blobs and packs, and in which order they may be written.

Packs are stored before the index that lists them, indexes before the snapshot that needs them (ORDER-1); removing goes the
other way (ORDER-3, ORDER-4).
A MAC is checked before a byte is decrypted, a hash before a byte is used, a size before memory is taken.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from restic_format.errors import (
    BlobMissing,
    DamagedFile,
    FileUnusable,
    ResticFormatError,
    SpecError,
    StorageError,
    UsageError,
)
from restic_format.repository import keys, loading
from restic_format.repository.cipher import make_cipher
from restic_format.repository.coder import check_size, make_coder
from restic_format.repository.compression import Compression
from restic_format.repository.index import BlobIndex, Location
from restic_format.repository.indexcache import IndexCache
from restic_format.repository.packer import (
    DEFAULT_PACK_SIZE,
    MAX_PACK_SIZE,
    MIN_PACK_SIZE,
)
from restic_format.repository.packs import PackReader
from restic_format.repository.settings import Settings
from restic_format.repository.writer import BlobWriter, DryBlobWriter
from restic_format.storage import Storage, hash_file
from restic_format.storage.hotcold import halves
from restic_format.work import Later
from restic_spec.chunker import random_polynomial
from restic_spec.config import MAX_VERSION, MIN_VERSION, STABLE_VERSION, Config
from restic_spec.crypto import MasterKey
from restic_spec.ids import ID_SIZE, id_of, verify_id
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot, decode_snapshot, encode_snapshot
from restic_spec.tree import Damaged, Tree, decode_tree
from restic_spec.unpacked import LEVEL, decode_unpacked, encode_unpacked

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from restic_format.errors import StorageError
    from restic_format.repository.coder import Coder
    from restic_format.repository.loading import LoadedIndex
    from restic_format.repository.lock import RepositoryLock
    from restic_format.storage.cachefolder import CacheFolder
    from restic_format.work import Cancel


_INDEX_LEVEL = 1
"""zstd's level for an index: 3 takes two and a half times as long for 7 % more bytes, as ids do not shrink (`repair index`)."""


class Repository:
    """An open repository. Every method may be called from any thread."""

    def __init__(
        self,
        storage: Storage,
        config: Config,
        key: keys.OpenedKey,
        *,
        compression: str | None = None,
        pack_size: int | None = None,
        extra_verify: bool = True,
        cache_folder: str | None = None,
    ) -> None:
        self.storage = storage
        self.config = config
        self.version = config.version
        self.key_id = key.id
        self.master_key: MasterKey = key.master
        self.index = BlobIndex()
        self.index_files: frozenset[bytes] = frozenset()
        """The index files that there were when `index` was loaded."""
        self.settings = Settings.of(config)
        """What the config says about writing; what the caller says goes before it."""
        given = checked_pack_size(pack_size)
        self._targets: dict[BlobType, int] | None = None if pack_size is None else dict.fromkeys(BlobType, given)
        self.extra_verify = extra_verify = extra_verify and self.settings.extra_verify
        self.index_ahead: Later[LoadedIndex | None] | None = None
        """The index, on its way before a lock was certain; `load_index` goes on with it if that can be."""
        self._listed: dict[FileKind, Later[Sequence[tuple[str, int]]]] = {}
        self.locks_ahead: Later[Sequence[tuple[bytes, int]] | None] | None = None
        """The lock files there were a moment ago, where that was asked already; for the first look of `lock`."""
        self.before_changes: Callable[[], None] | None = None
        """Called before anything but locks is stored or removed; raises when the lock is lost, see `lock`."""
        self._cipher = make_cipher(key.master)
        self._index_cache = None
        if cache_folder is not None and self.index.can_dump:
            self._index_cache = IndexCache(cache_folder, config.id, self._cipher)
        compressing = Compression(compression, self.version, self.settings.level)
        self.coder: Coder = make_coder(self._cipher, compressing, extra_verify=extra_verify)
        """Seals and opens blobs with this repository's key."""
        self.packs = PackReader(self)
        """Reads packs: headers, ranges, blobs."""

    @property
    def id(self) -> str:
        """The repository's id, hexadecimal."""
        return self.config.id

    @property
    def pack_size(self) -> int:
        """Bytes that a new pack with data should have; `pack_targets` has the other ones as well."""
        return self.pack_targets()[BlobType.DATA]

    @pack_size.setter
    def pack_size(self, size: int) -> None:
        self._targets = dict.fromkeys(BlobType, size)

    def pack_targets(self) -> dict[BlobType, int]:
        """Bytes that new packs should have, by type: as the caller says, or the config, or as in restic.

        In a config packs may grow with what there is: with the index that is loaded now.
        """
        return self._targets or self.settings.targets(self.index)

    @property
    def chunker_polynomial(self) -> int:
        """The polynomial that decides where files are cut."""
        return self.config.polynomial

    @classmethod
    def init(
        cls,
        storage: Storage,
        password: bytes | str,
        *,
        version: int = STABLE_VERSION,
        polynomial: int | None = None,
        kdf: Kdf | None = None,
        username: str | None = None,
        hostname: str | None = None,
        compression: str | None = None,
        pack_size: int | None = None,
    ) -> Repository:
        """Create a repository that *password* opens; see `restic_format.repository.creating`, also for errors.

        *polynomial* is drawn at random unless given; *kdf* is calibrated to this machine unless given.

        Raises:
            UsageError: a version that does not exist.
        """
        if not MIN_VERSION <= version <= MAX_VERSION:
            raise UsageError(f"repository version {version} is not supported, only {MIN_VERSION} and {MAX_VERSION} are")
        checked_pack_size(pack_size)
        from restic_format.repository.creating import create

        if polynomial is None:
            import random

            polynomial = random_polynomial(random.SystemRandom())
        config = Config(version=version, id=os.urandom(ID_SIZE).hex(), chunker_polynomial=f"{polynomial:x}")
        secret = password_bytes(password)
        key = create(
            storage,
            config,
            secret,
            lambda master: keys.add_key(storage, master, secret, kdf=kdf, username=username, hostname=hostname),
        )
        if halves(storage) is not None:
            from restic_format.repository.halves import store_hot_config

            store_hot_config(storage, config, key.master)
        return cls(storage, config, key, compression=compression, pack_size=pack_size)

    @classmethod
    def open(
        cls,
        storage: Storage,
        password: bytes | str,
        *,
        key_hint: str | None = None,
        compression: str | None = None,
        pack_size: int | None = None,
        extra_verify: bool = True,
        cache_folder: str | None = None,
    ) -> Repository:
        """Open a repository with any of its passwords.

        *compression* is restic's mode; without it the config decides, or else it is ``auto``. A sealed copy of a large index is
        kept in *cache_folder*, the one for all caches, so that it loads faster the next time.

        Raises:
            RepositoryNotFound: there is no config file.
            WrongPassword: no key opens.
            KeyUnusable: no key opens, but not all of them could be tried.
            DamagedFile: the config cannot be read with the key that opened.
        """
        from restic_format.repository.entering import open_by
        from restic_format.storage.entry import Entry

        return open_by(
            Entry(storage, key_hint),
            password,
            compression=compression,
            pack_size=pack_size,
            extra_verify=extra_verify,
            cache_folder=cache_folder,
        )

    def use_cache(self, folder: CacheFolder, troubled: Callable[[StorageError], object] | None = None) -> None:
        """Keep copies of indexes, snapshots and packs with trees in *folder*; to be called before anything else.

        *troubled* is told once why nothing can be written there; the repository is used without then.
        """
        from restic_format.storage.cache import CachedStorage

        self.storage = CachedStorage(self.storage, folder, troubled)

    def use_memory(self) -> None:
        """Keep packs with trees in memory, 64 MiB of them at most, where a request takes its time: for whoever has no cache."""
        if not self.storage.at_hand:
            from restic_format.storage.packmemory import PackMemory

            self.storage = PackMemory(self.storage)

    def past_cache(self) -> Repository:
        """The same repository, read from the storage itself; its index is to be loaded again."""
        from restic_format.storage.cache import without_cache

        other = copy.copy(self)
        other.storage = without_cache(self.storage)
        other.packs = PackReader(other)
        other.index = BlobIndex()
        other._index_cache = None
        other._listed = {}
        other.index_ahead = None
        return other

    def lock(
        self,
        *,
        exclusive: bool = False,
        retry: float = 0.0,
        waiting: Callable[[float], None] | None = None,
        cancel: Cancel | None = None,
        first: Sequence[FileKind] = (),
        load_index: bool = False,
    ) -> AbstractContextManager[RepositoryLock]:
        """Hold a lock for a ``with`` block: shared to read or add, exclusive to remove or rewrite (LOCK-13).

        When the block begins, the lock is certain; where a storage lists late that takes 200 ms (LOCK-3). With *retry* others
        are waited for so many seconds, which *waiting* is told once, unless *cancel* ends it. In the block nothing but locks
        is stored or removed once the lock is lost (LOCK-7). *first* are the kinds of files that are going to be read before
        anything else, in this order: snapshots, and the index after them. Where requests take their time this begins while the
        lock is not certain yet, and their listings of then are not relied on. *load_index* says that `load_index` comes next.

        Raises:
            AlreadyLocked: somebody holds one that conflicts; a stale one conflicts as well (LOCK-4).
            InvalidLock: a lock cannot be read even after some tries.
            Interrupted: *cancel* was set.
        """
        from restic_format.repository.lock import hold_lock

        return hold_lock(
            self, exclusive=exclusive, retry=retry, waiting=waiting, cancel=cancel, first=first, load_index=load_index
        )

    # Whole files

    def list(self, kind: FileKind) -> Iterator[tuple[bytes, int]]:
        """Id and size of every file of *kind*."""
        ahead = self._listed.pop(kind, None)
        for name, size in self.storage.list(kind) if ahead is None else ahead.get():
            yield bytes.fromhex(name), size

    def load_index_ahead(self, files: Sequence[tuple[str, int]]) -> LoadedIndex:
        """The index that *files* are, for `index_ahead`. Raises `ResticFormatError`."""
        return loading.load_ahead(self, self._index_cache, [(bytes.fromhex(name), size) for name, size in files])

    def listed_ahead(self, listings: Mapping[FileKind, Later[Sequence[tuple[str, int]]]]) -> None:
        """Let `list` give *listings*, each once, until the index is loaded, or something is stored or removed."""
        self._listed.update(listings)

    @contextmanager
    def listing_ahead(self, *kinds: FileKind) -> Iterator[None]:
        """List files of *kinds*, one kind after the other, while a ``with`` block does other things: `list` has the files of
        each kind at once, the first time that it is asked in the block. Nothing is listed ahead where files are at hand.

        What is listed first must be what may be outdated when the rest is read (ORDER-2).
        """
        before: Later[Sequence[tuple[str, int]]] | None = None
        for kind in () if self.storage.at_hand else kinds:
            # What has been listed ahead of this is as good.
            before = self._listed.get(kind) or Later(partial(self._list_after, before, kind), name=f"list {kind.value}")
            self._listed[kind] = before
        try:
            yield
        finally:
            self._listed.clear()

    def _list_after(self, before: Later[Sequence[tuple[str, int]]] | None, kind: FileKind) -> Sequence[tuple[str, int]]:
        """The files of *kind*, asked for when *before* is done, whatever came of it."""
        if before is not None:
            with suppress(StorageError):
                before.get()
        return list(self.storage.list(kind))

    def load_raw(self, kind: FileKind, file_id: bytes) -> bytes:
        """A file's stored bytes, checked against its name (the config has none to check).

        Raises:
            FileMissing, StorageError: it cannot be read.
            DamagedFile: its bytes do not hash to its name.
        """
        if kind is FileKind.CONFIG:
            return self.storage.load(kind, "")
        what = f"{kind.value}/{file_id.hex()}"
        raw = self.storage.load(kind, file_id.hex())
        try:
            verify_id(raw, file_id, what)
        except SpecError as error:
            # A transfer may have been at fault: once more, before the file is blamed.
            raw = self.storage.load(kind, file_id.hex())
            if id_of(raw) != file_id:
                raise DamagedFile(what, error) from error
        return raw

    def load_unpacked(self, kind: FileKind, file_id: bytes) -> bytes:
        """The plaintext of a snapshot, index, lock or the config: verified, decrypted, decompressed.

        Raises:
            FileMissing, StorageError: it cannot be read.
            DamagedFile: it is not what it must be.
        """
        raw = self.load_raw(kind, file_id)
        try:
            plaintext = self._cipher.open(raw)
            return plaintext if kind is FileKind.CONFIG else decode_unpacked(self.version, plaintext)
        except SpecError as error:
            raise DamagedFile(f"{kind.value}/{file_id.hex()}", error) from error

    def save_unpacked(self, kind: FileKind, plaintext: bytes) -> bytes:
        """Compress (version 2), seal and store a file; returns its id, which is another one each time (FILE-9)."""
        encoded = encode_unpacked(self.version, plaintext, _INDEX_LEVEL if kind is FileKind.INDEX else LEVEL)
        sealed = self._cipher.seal(encoded)
        if self.extra_verify and decode_unpacked(self.version, self._cipher.open(sealed)) != plaintext:
            raise DamagedFile(f"new file for {kind.value}/ differs after sealing; memory or processor are unreliable")
        file_id = id_of(sealed)
        self.may_change(kind)
        self.storage.save(kind, file_id.hex(), sealed)
        return file_id

    def check_stored(self, kind: FileKind, file_id: bytes) -> None:
        """Read a file back that was stored just now, past any cache, before what it replaces is removed.

        Raises:
            DamagedFile: it is not what its name says.
            FileMissing, StorageError: it cannot be read.
        """
        from restic_format.storage.cache import without_cache

        name, storage = file_id.hex(), without_cache(self.storage)
        # Of all but packs there is room for the whole file, in a single request.
        found = hash_file(storage, kind, name)[0] if kind is FileKind.PACK else id_of(storage.load(kind, name))
        if found != file_id:
            raise DamagedFile(f"{kind.value}/{name} was stored just now and is not what was written: check the storage")

    def remove(self, kind: FileKind, file_id: bytes) -> None:
        """Remove a file. Raises as `may_remove` and the storage."""
        self.may_remove(kind, file_id)
        self.may_change(kind)
        self.storage.remove(kind, file_id.hex())

    def may_remove(self, kind: FileKind, file_id: bytes) -> None:
        """Refuse to remove a file, but a lock, where the config says that nothing may be (RUSTIC-1).

        Raises:
            UsageError: it does.
        """
        if self.settings.append_only and kind is not FileKind.LOCK:
            raise UsageError(
                f"{kind.value}/{file_id.hex()} is not removed: the repository is append-only, its config says so; "
                "take that back with `config --set-append-only false` first"
            )

    def may_change(self, kind: FileKind) -> None:
        """To be called before a file of *kind* is stored or removed: see `before_changes`."""
        if kind is not FileKind.LOCK:
            self._listed.clear()
            if self.before_changes is not None:
                self.before_changes()

    def load_snapshot(self, snapshot_id: bytes, *, keep_unknown: bool = True, members: Collection[str] = ()) -> Snapshot:
        """Read a snapshot, to be written again only with *keep_unknown* (SNAP-10); see `decode_snapshot`.

        Raises as `load_unpacked`.
        """
        raw = self.load_unpacked(FileKind.SNAPSHOT, snapshot_id)
        try:
            what = f"snapshot {snapshot_id.hex()[:8]}"
            return decode_snapshot(raw, what, keep_unknown=keep_unknown, members=members)
        except SpecError as error:
            raise DamagedFile(f"snapshots/{snapshot_id.hex()}", error) from error

    def save_snapshot(self, snapshot: Snapshot) -> bytes:
        """Store a snapshot; everything it needs must have been flushed before."""
        return self.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))

    # Index and blobs

    def load_index(
        self,
        progress: Callable[[int, int], None] | None = None,
        damaged: Callable[[bytes, ResticFormatError], None] | None = None,
    ) -> None:
        """Read all index files into `index`. *progress* gets files done and files in all.

        A damaged index is given to *damaged* and left out; without that callback it is raised.
        """
        try:
            loading.load_index(self, self._index_cache, progress, damaged)
        finally:
            self._listed.clear()

    def reload_index(self) -> None:
        """Read the index files anew, when others have written some. Who reads blobs meanwhile goes on with the index that was
        loaded before, which also stays where this fails. Raises as `load_index`.
        """
        self.index = loading.read_index(self, self._index_cache, None, None)

    def load_blob(self, blob_type: BlobType, blob_id: bytes) -> bytes:
        """A blob's plaintext, from the first copy that is intact (PACK-16). One that is not is read twice: a transfer may have
        been at fault, and whoever asks may give up what it cannot have.

        Raises:
            BlobMissing: no index lists it.
            StorageError: none was read, and the storage fails for one that may be good: see its class.
            DamagedFile: no copy is intact.
        """
        locations = self.index.lookup_all(blob_type, blob_id)
        if not locations:
            raise BlobMissing.of(blob_type, blob_id.hex())
        failures: list[tuple[Location, ResticFormatError]] = []
        for location in locations:
            try:
                return self._load_copy(blob_type, blob_id, location)
            except ResticFormatError as error:
                failures.append((location, error))
        for location, reason in failures:
            if isinstance(reason, SpecError | FileUnusable):
                with suppress(SpecError, StorageError):
                    return self._load_copy(blob_type, blob_id, location)
        # Of what the storage does not give back nothing is known: it may be good.
        location, failure = next((item for item in failures if _may_be_intact(item[1])), failures[-1])
        what = f"{blob_type.value} blob {blob_id.hex()[:8]} in pack {location.pack.hex()[:8]}"
        if _may_be_intact(failure):
            raise type(failure)(f"{what}: {failure}", object=what, pack=location.pack, cause=failure) from failure
        raise DamagedFile(what, failure, pack=location.pack) from failure

    def _load_copy(self, blob_type: BlobType, blob_id: bytes, location: Location) -> bytes:
        entry = location.entry(blob_type, blob_id)
        check_size(entry)
        if blob_type is BlobType.TREE:
            self.storage.prepare(FileKind.PACK, location.pack.hex())
        return self.coder.open(entry, self.storage.load(FileKind.PACK, location.pack.hex(), entry.offset, entry.length))

    def load_tree(self, tree_id: bytes, *, keep_unknown: bool = False) -> Tree:
        """A tree. Raises as `load_blob`, and `DamagedFile` where it is not a tree."""
        return self.decode_tree(tree_id, self.load_blob(BlobType.TREE, tree_id), keep_unknown=keep_unknown)

    def decode_tree(self, tree_id: bytes, raw: bytes, *, keep_unknown: bool = False, damaged: Damaged | None = None) -> Tree:
        """The tree that a blob's plaintext is, or a part of it. Raises `DamagedFile` where it is not one; see also
        `restic_spec.tree.decode_tree`.
        """
        try:
            return decode_tree(raw, f"tree {tree_id.hex()[:8]}", keep_unknown=keep_unknown, damaged=damaged)
        except SpecError as error:
            raise DamagedFile(f"tree {tree_id.hex()}", error) from error

    # Writing

    def writer(self, *, dry_run: bool = False, stored: Callable[[bytes, int], None] | None = None) -> BlobWriter:
        """What stores blobs. With *dry_run* it stores nothing, and says what it would have stored. *stored* is told of each new
        pack and its size in bytes, from any thread.
        """
        return DryBlobWriter(self) if dry_run else BlobWriter(self, stored)


def _may_be_intact(error: ResticFormatError) -> TypeGuard[StorageError]:
    return isinstance(error, StorageError) and error.may_be_intact


def checked_pack_size(size: int | None) -> int:
    """Bytes that new packs should have, by default as restic has it. Raises `UsageError` where they cannot."""
    if size is None:
        return DEFAULT_PACK_SIZE
    if not MIN_PACK_SIZE <= size <= MAX_PACK_SIZE:
        raise UsageError(
            f"pack size {size >> 20} MiB is out of bounds ({MIN_PACK_SIZE >> 20} MiB to {MAX_PACK_SIZE >> 20} MiB)"
        )
    return size


def password_bytes(password: bytes | str) -> bytes:
    """What the key is derived from."""
    return password if isinstance(password, bytes) else os.fsencode(password)
