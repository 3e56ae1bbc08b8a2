"""Objects of a repository, and lone files, explained: what each is, whether it could be opened, its bytes as regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import IO, Any

from restic_format.errors import ResticFormatError, StorageError, UsageError
from restic_format.inspect.access import Access, Trouble, untold
from restic_format.inspect.finding import BLOB_TYPES, Found, find_object
from restic_format.inspect.shape import kind_of_bytes, kind_of_place, repository_of
from restic_format.inspect.sources import Data, load_file, read_file, read_stream
from restic_format.inspect.target import FILE_KINDS, ObjectKind, Place, Target
from restic_format.inspect.verifying import index_findings, pack_findings
from restic_format.native import scrypt
from restic_format.repository.cipher import make_cipher
from restic_format.repository.coder import check_size
from restic_format.repository.index import Location
from restic_format.storage import LocalStorage
from restic_spec import binary
from restic_spec.crypto import MasterKey
from restic_spec.errors import SpecError
from restic_spec.ids import id_of
from restic_spec.keyfile import decode_keyfile
from restic_spec.layout import FileKind
from restic_spec.regions import Document, Finding, Region, declaration_of, explain, findings
from restic_spec.tree import Tree

MOST_FINDINGS = 100_000
"""Findings that are told of one object at most: a small pack can hold millions of entries that are wrong."""

Opener = Callable[[Any], bytes]
"""Verifies and decrypts a sealed message, or raises `SpecError`."""

_NO_PASSWORD = "its content is not opened: a password (-p, --password-command, RESTIC_PASSWORD) or --key-file would open it"
_NO_KEY_PASSWORD = "the master key in it is not opened: its password (-p, --password-command, RESTIC_PASSWORD) would open it"
_NO_KEY = "no key can be derived from a password by what it says"
_NO_MEMORY = "there is not enough memory to derive its key"
_OTHER_PASSWORD = "this password does not open this key: it is another one's"
_OTHER_KEY = "the master key does not open key files: a password does"
_BY_INDEX = "its header cannot be read: the blobs are where an index says that they are"
_NO_KEYS = "its content is not opened: for that the keys of its repository are needed (-r), or the master key (--key-file)"


@dataclass(frozen=True)
class Inspected:
    """An object, explained."""

    kind: ObjectKind
    name: str
    """Its id, hexadecimal; ``config``; the path of a lone file, as given; ``-`` for a stream."""
    size: int
    """Bytes of it as stored."""
    sealed: bool
    """Whether it, or a part of it, is sealed."""
    opened: bool
    """Whether what is sealed could be opened."""
    document: Document
    notes: tuple[str, ...] = ()
    """What a person should know, a line each."""
    named: bool = False
    """Whether its name must be the hash of its bytes, so that a wrong one is found."""
    trouble: ResticFormatError | None = None
    """Why it was not opened although there is a password."""
    places: tuple[Location, ...] = field(default=())
    """Of a blob: every copy that an index lists; the first one is explained."""

    access: Access | None = field(default=None, repr=False)
    """What it was opened with."""

    def findings(self) -> Iterator[Finding]:
        """What is wrong with it, in the order of its bytes; computed anew at each call. Every blob of a pack is opened.

        After `MOST_FINDINGS` comes one that says that there are more, and nothing further is looked at.
        """
        return _at_most(MOST_FINDINGS, self._all_findings())

    def _all_findings(self) -> Iterator[Finding]:
        access = self.access
        if self.kind is ObjectKind.PACK and self.opened and access is not None and access.master is not None:
            return pack_findings(self.document, access.master, access.version)
        if self.kind is ObjectKind.INDEX:
            return index_findings(self.document)
        return findings(self.document)

    @property
    def refused(self) -> bool:
        """Whether it is an intact key file that the given password does not open."""
        return _OTHER_PASSWORD in self.notes

    def is_secret(self, content: Document) -> bool:
        """Whether *content*, which is inside of this object, is the master key: nothing of it is to be shown."""
        return self.kind is ObjectKind.KEY and content.form == "opened"


class Inspector:
    """Explains objects of the repository *access*, and lone files with or without one.

    *password* and *master* open lone files outside of *access*: those that stand in a repository's folder are opened with the
    keys there. *trouble* is told which index files could not be read.
    """

    def __init__(
        self,
        access: Access | None = None,
        *,
        password: bytes | None = None,
        master: MasterKey | None = None,
        key_hint: str | None = None,
        trouble: Trouble = untold,
    ) -> None:
        self.access = access
        self._password = password
        self._master = master
        self._key_hint = key_hint
        self._trouble = trouble
        self._homes: dict[str, Access] = {}

    def target(self, target: Target, stream: IO[bytes] | None = None) -> Inspected:
        """Whatever *target* names, but paths in snapshots; *stream* is standard input.

        Raises:
            TargetInvalid: it names nothing, or several things.
            WrongPassword: the password does not open the repository of a lone file.
            ResticFormatError: it cannot be read.
        """
        if target.place is Place.FILE:
            return self.file(target.name)
        if target.place is Place.INPUT:
            if stream is None:
                raise UsageError("standard input is closed")
            return self._explained(ObjectKind.UNKNOWN, "-", read_stream(stream, "standard input"), self._alone())
        if target.place is Place.SNAPSHOT or self.access is None:
            raise UsageError(f"{target.text} is not an object of a repository")
        return self.object(find_object(self.access, target, self._trouble))

    def object(self, found: Found) -> Inspected:
        """An object of the repository. Raises `ResticFormatError` where it cannot be read."""
        assert self.access is not None
        if found.kind in BLOB_TYPES:
            return self._blob(self.access, found)
        name = found.id.hex()
        data = load_file(self.access.storage, FILE_KINDS[found.kind], name)
        inspected = self._explained(found.kind, name or "config", data, self.access, name)
        if found.kind is ObjectKind.PACK and not inspected.opened and self.access.repository is not None:
            return self._by_index(self.access, found, inspected)
        return inspected

    def _by_index(self, access: Access, found: Found, inspected: Inspected) -> Inspected:
        """A pack whose header cannot be read: its blobs are where an index says."""
        index = access.indexed(self._trouble).index
        entries = next((entries for _, entries in index.by_pack({found.id})), None)
        if entries is None:
            return inspected
        document = explain(
            declaration_of(FileKind.PACK, access.version),
            inspected.document.data,
            opener=access.opener,
            version=access.version,
            name=inspected.name,
            entries=entries,
        )
        return replace(inspected, document=document, notes=(*inspected.notes, _BY_INDEX))

    def file(self, path: str) -> Inspected:
        """The lone file at *path*: its kind is told by its place and by its shape. Raises as `target`."""
        data = read_file(path)
        kind, name = kind_of_place(path)
        access = self.access
        if access is None:
            home = None if self._password is None and self._master is None else repository_of(path)
            access = self._alone() if home is None or kind is ObjectKind.KEY else self._at_home(home)
        return self._explained(kind, path, data, access, name)

    def _at_home(self, storage: LocalStorage) -> Access:
        """The repository of a lone file; its keys are tried once."""
        access = self._homes.get(storage.location)
        if access is None:
            if self._master is not None:
                access = Access.with_master_key(storage, self._master)
            else:
                access = Access.with_password(storage, self._password or b"", self._key_hint)
            self._homes[storage.location] = access
        return access

    def _alone(self) -> Access | None:
        """What opens a file of which the repository is not known."""
        if self._master is not None or self._password is not None:
            return Access.without_storage(self._master, self._password)
        return self.access

    def _blob(self, access: Access, found: Found) -> Inspected:
        place, data = self._first_copy(access, found)
        document = Tree if found.kind is ObjectKind.TREE else None
        plain = place.uncompressed_length
        declaration = binary.blob(document, compressed=plain is not None, size=plain, digest=found.id)
        explained = explain(declaration, data, opener=access.opener, version=access.version)
        places = (place, *(other for other in found.places if other != place))
        opened = _is_opened(explained.regions())
        return Inspected(found.kind, found.id.hex(), place.length, True, opened, explained, places=places, access=access)

    def _first_copy(self, access: Access, found: Found) -> tuple[Location, bytes]:
        """The first copy of a blob that can be read, intact or not."""
        for number, place in enumerate(found.places, 1):
            try:
                check_size(place.entry(BLOB_TYPES[found.kind], found.id))
                return place, access.storage.load(FileKind.PACK, place.pack.hex(), place.offset, place.length)
            except (SpecError, StorageError) as error:
                if number == len(found.places):
                    raise
                self._trouble(f"pack/{place.pack.hex()}", error)
        raise UsageError(f"{found.kind.value} {found.id.hex()} is in no pack")

    def _explained(self, kind: ObjectKind, name: str, data: Data, access: Access | None, stored_as: str = "") -> Inspected:
        opener = None if access is None else access.opener
        if kind is ObjectKind.UNKNOWN:
            kind = kind_of_bytes(data, opener)
        notes: list[str] = []
        trouble: ResticFormatError | None = None
        if kind is ObjectKind.KEY:
            opener = None
            if access is not None and access.password is not None:
                opener, notes = _key_opener(data, access.password, stored_as)
            elif access is not None and access.master is not None:
                notes.append(_OTHER_KEY)
            else:
                notes.append(_NO_KEY_PASSWORD)
        elif opener is None and access is not None and access.trouble is not None:
            trouble = access.trouble
            notes.append(f"its content is not opened: {trouble}")
        elif opener is None:
            notes.append(_NO_PASSWORD if access is None or access.password is None else _NO_KEYS)
        version = None if access is None else access.version
        declaration = (
            binary.unpacked(None, marked=True) if kind is ObjectKind.UNKNOWN else declaration_of(FILE_KINDS[kind], version)
        )
        document = explain(declaration, data, opener=opener, version=version, name=stored_as or None)
        opened = _is_opened(document.regions())
        found = Inspected(kind, name, len(data), True, opened, document, tuple(notes))
        return replace(found, named=bool(stored_as), trouble=trouble, access=access)


def _at_most(most: int, found: Iterator[Finding]) -> Iterator[Finding]:
    yield from islice(found, most)
    further = next(found, None)
    if further is not None:
        yield Finding("", further.clause, "error", f"more than {most:,} things are wrong: what follows is not looked at")


def _key_opener(data: Data, password: bytes, name: str) -> tuple[Opener | None, list[str]]:
    """What opens the sealed part of a key file, and why nothing does: where it is certain that another password does."""
    try:
        key = decode_keyfile(bytes(data))
        kdf = key.derivation()
        derived = scrypt.derive(password, kdf.salt, kdf.N, kdf.r, kdf.p)
    except SpecError:
        return None, [_NO_KEY]
    except MemoryError:
        return None, [_NO_MEMORY]
    cipher = make_cipher(MasterKey.from_derived(derived))
    try:
        cipher.open(key.data or b"")
    except SpecError:
        if not name or id_of(memoryview(data)).hex() == name:
            return None, [_OTHER_PASSWORD]
    return cipher.open, []


def _is_opened(regions: Iterable[Region]) -> bool:
    """Whether something that is sealed was opened: the whole file, the header of a pack, the data of a key file."""
    for region in regions:
        content = region.content
        if content is not None and (content.form == "opened" or _is_opened(content.regions())):
            return True
        if region.offset == 0 and region.length == region.document.size and _is_opened(region.regions()):
            return True
    return False
