"""The file system that a mount shows: every request of the kernel, answered from the repository.

All methods may be called from several threads. What an answer needs and cannot be had is told with its path and refused with
EIO; nothing else suffers.
"""

from __future__ import annotations

import errno
import struct
import threading
from collections.abc import Callable, Sequence
from itertools import count

from restic_format.mount import protocol
from restic_format.mount.attributes import (
    Owner,
    entry_inode,
    folder_inode,
    is_directory,
    kind_of,
    node_attributes,
    place_attributes,
    snapshot_attributes,
)
from restic_format.mount.folders import Folder, Folders, Refused
from restic_format.mount.listing import Listing, Listings
from restic_format.mount.names import Place
from restic_format.mount.places import Places
from restic_format.repository import Repository
from restic_format.snapshots import subtree_of
from restic_format.snapshots.blobcache import BlobCache
from restic_format.snapshots.stream import FileStream, open_file
from restic_spec.errors import ResticFormatError
from restic_spec.gojson import to_bytes
from restic_spec.ids import parse_id
from restic_spec.tree import FILE, SYMLINK, Node

Buffers = Sequence[bytes | memoryview]
Handler = Callable[[protocol.Request], Buffers | None]

SOON = 1
"""Seconds that the kernel may rely on what it knows of places, which change when there are new snapshots."""
STREAMS = 64
"""Files of several blobs of which is known how far they were read."""
NEAR = 8
"""Entries that may lie between two files that are read one after the other."""
SMALL_AHEAD = 4 << 20
"""Bytes of small files that are fetched at once, and how many files:"""
FILES_AHEAD = 256
TOLD = 1000
"""Paths of which is known that their fault was told; each is told once."""

_DIRECTORY, _LINK = 0o040000, 0o120000
_ATTRIBUTES_FOREVER = protocol.ATTR_OUT.pack(protocol.FOREVER, 0, 0)
_ATTRIBUTES_SOON = protocol.ATTR_OUT.pack(SOON, 0, 0)


class Contents:
    """What is shown. *told* gets the path of what cannot be read, and why; *cache* is for the content of files."""

    def __init__(
        self,
        repository: Repository,
        places: Places,
        cache: BlobCache,
        *,
        owner: Owner,
        listings: int,
        told: Callable[[str, ResticFormatError], None],
    ) -> None:
        """*listings* is how many bytes directories may take."""
        self._repository = repository
        self._places = places
        self._cache = cache
        self._owner = owner
        self._told = told
        self._tell_once: dict[str, str] = {}
        self._folders = Folders()
        self._listings = Listings(repository, listings)
        self._lock = threading.Lock()
        self._streams: dict[int, FileStream] = {}
        self._opened: dict[int, list[tuple[Place, Folder]]] = {}
        """The lists of places that are being read."""
        self._handles = count(1)
        self.handlers: dict[int, Handler] = {
            protocol.LOOKUP: self._lookup,
            protocol.FORGET: self._forget,
            protocol.BATCH_FORGET: self._batch_forget,
            protocol.GETATTR: self._getattr,
            protocol.READLINK: self._readlink,
            protocol.READ: self._read,
            protocol.STATFS: self._statfs,
            protocol.GETXATTR: self._getxattr,
            protocol.LISTXATTR: self._listxattr,
            protocol.OPENDIR: self._opendir,
            protocol.READDIR: self._readdir,
            protocol.READDIRPLUS: self._readdirplus,
            protocol.RELEASEDIR: self._releasedir,
        }
        """By operation; None is no answer, an operation that is not here does not exist."""

    # Finding things

    def _lookup(self, request: protocol.Request) -> Buffers:
        folder = self._folders.get(request.node)
        name = request.body.rstrip(b"\0")
        if folder.place is not None:
            self._places.refresh()
            place = self._places.get(folder.place, name)
            if place is None:
                raise Refused(errno.ENOENT)
            below = self._enter_place(folder, name, place)
            entry = protocol.ENTRY_OUT.pack(below.node, 0, SOON, SOON, 0, 0)
            return (entry, self._folder_attributes(below))
        listing = self._listing(folder)
        number = listing.find(name)
        if number is None:
            if not listing.whole:
                raise Refused(errno.EIO)
            return (protocol.ENTRY_OUT.pack(0, 0, protocol.FOREVER, 0, 0, 0), bytes(protocol.ATTR.size))
        node = listing.nodes[number]
        if is_directory(node):
            below = self._enter(folder, name, node)
            entry = protocol.ENTRY_OUT.pack(below.node, 0, protocol.FOREVER, protocol.FOREVER, 0, 0)
            return (entry, self._directory_attributes(below, node))
        return (self._entry(folder, number, node),)

    def _entry(self, folder: Folder, number: int, node: Node) -> bytes:
        """The entry for what is no directory."""
        inode = entry_inode(folder.inode, number, node, folder.snapshot_inode)
        shown = self._folders.number_of(folder, number)
        entry = protocol.ENTRY_OUT.pack(shown, 0, protocol.FOREVER, protocol.FOREVER, 0, 0)
        return entry + node_attributes(node, inode, self._owner)

    def _enter(self, above: Folder, name: bytes, node: Node) -> Folder:
        below = self._folders.enter(above, name)
        if below.tree is None:
            try:
                below.tree = subtree_of(node)
            except ResticFormatError as error:
                self._tell(below.path.rstrip("/"), error)
        return below

    def _enter_place(self, above: Folder, name: bytes, place: Place) -> Folder:
        found = place.snapshot
        below = self._folders.enter(above, name, snapshot=b"" if found is None else found.id)
        if found is None or place.target:
            below.place = place.path
        else:
            below.snapshot_inode = below.inode
            below.tree = parse_id(found.snapshot.tree) if found.snapshot.tree else None
        return below

    def _listing(self, folder: Folder) -> Listing:
        if folder.tree is None:
            raise Refused(errno.EIO)

        def fault(name: str, error: ResticFormatError) -> None:
            self._tell(f"{folder.path}{name}", error)

        while True:
            readings = self._places.index_readings
            try:
                return self._listings.get(folder.tree, fault)
            except ResticFormatError as error:
                if not self._places.reload_index(error, readings):
                    self._tell(folder.path.rstrip("/"), error)
                    raise Refused(errno.EIO) from None

    def _node(self, request: protocol.Request) -> tuple[Folder, int, Node] | None:
        """The entry that is asked about: its directory, its number there, and its node; None for a folder itself."""
        folder, number = self._folders.entry(request.node)
        if number is None:
            return None
        nodes = self._listing(folder).nodes
        if number >= len(nodes):
            raise Refused(errno.EIO)
        return folder, number, nodes[number]

    def _node_of(self, folder: Folder) -> Node | None:
        """The node of a directory in a snapshot; None above it and where the snapshot begins."""
        if folder.place is not None or folder.above is None or folder.snapshot:
            return None
        listing = self._listing(folder.above)
        number = listing.find(folder.name)
        return None if number is None else listing.nodes[number]

    # Attributes

    def _getattr(self, request: protocol.Request) -> Buffers:
        found = self._node(request)
        if found is None:
            folder = self._folders.get(request.node)
            lasts = _ATTRIBUTES_SOON if folder.place is not None or folder.snapshot else _ATTRIBUTES_FOREVER
            return (lasts, self._folder_attributes(folder))
        folder, number, node = found
        inode = entry_inode(folder.inode, number, node, folder.snapshot_inode)
        return (_ATTRIBUTES_FOREVER, node_attributes(node, inode, self._owner))

    def _folder_attributes(self, folder: Folder) -> bytes:
        if folder.place is not None:
            place = self._places.at(folder.place)
            if place is None:
                raise Refused(errno.ENOENT)
            if place.target and place.snapshot is not None:
                ns, target = place.snapshot.time_ns, to_bytes(place.target)
                return place_attributes(folder.inode, self._owner, ns, target=target)
            below = sum(not item.target for item in place.names.values())
            return place_attributes(folder.inode, self._owner, self._places.changed_ns, folders=below)
        if folder.snapshot:
            found = self._places.snapshot(folder.snapshot)
            if found is None:
                raise Refused(errno.ENOENT)
            return snapshot_attributes(found, folder.inode, self._owner, self._folders_in(folder))
        node = self._node_of(folder)
        if node is None:
            raise Refused(errno.EIO)
        return self._directory_attributes(folder, node)

    def _directory_attributes(self, folder: Folder, node: Node) -> bytes:
        return node_attributes(node, folder.inode, self._owner, folders=self._folders_in(folder))

    def _folders_in(self, folder: Folder) -> int:
        """How many directories are in one; 0 where that cannot be told: its attributes can be had all the same."""
        try:
            return self._listing(folder).folders
        except Refused:
            return 0

    def _readlink(self, request: protocol.Request) -> Buffers:
        found = self._node(request)
        if found is not None:
            _, _, node = found
            if node.type != SYMLINK:
                raise Refused(errno.EINVAL)
            return (to_bytes(node.target),)
        folder = self._folders.get(request.node)
        place = None if folder.place is None else self._places.at(folder.place)
        if place is None or not place.target:
            raise Refused(errno.EINVAL)
        return (to_bytes(place.target),)

    def _attributes_of(self, request: protocol.Request) -> list[tuple[bytes, bytes]]:
        found = self._node(request)
        node = self._node_of(self._folders.get(request.node)) if found is None else found[2]
        if node is None or not node.extended_attributes:
            return []
        return [(to_bytes(item.name), item.value or b"") for item in node.extended_attributes]

    def _listxattr(self, request: protocol.Request) -> Buffers:
        return _sized(request.body, b"".join([name + b"\0" for name, _ in self._attributes_of(request)]))

    def _getxattr(self, request: protocol.Request) -> Buffers:
        wanted = request.body[protocol.XATTR_IN.size :].rstrip(b"\0")
        for name, value in self._attributes_of(request):
            if name == wanted:
                return _sized(request.body, value)
        raise Refused(errno.ENODATA)

    def _statfs(self, _request: protocol.Request) -> Buffers:
        return (protocol.STATFS_OUT.pack(0, 0, 0, 0, 0, 512, 255, 512),)

    # Directories

    def _opendir(self, request: protocol.Request) -> Buffers:
        folder = self._folders.get(request.node)
        if folder.place is None:
            self._listing(folder)
            return (protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE | protocol.CACHE_DIR, 0),)
        self._places.refresh()
        place = self._places.at(folder.place)
        if place is None:
            raise Refused(errno.ENOENT)
        handle = next(self._handles)
        items = sorted(place.names.items())
        self._opened[handle] = [(item, self._shown(folder, to_bytes(name), item)) for name, item in items]
        return (protocol.OPEN_OUT.pack(handle, 0, 0),)

    def _shown(self, above: Folder, name: bytes, place: Place) -> Folder:
        """The folder of a place for a list, in which it only has an inode and a name."""
        snapshot = b"" if place.snapshot is None else place.snapshot.id
        return Folder(0, above, name, folder_inode(above.inode, name + snapshot))

    def _releasedir(self, request: protocol.Request) -> Buffers:
        handle, _, _ = protocol.READ_IN.unpack_from(request.body.ljust(protocol.READ_IN.size, b"\0"))
        self._opened.pop(handle, None)
        return ()

    def _readdir(self, request: protocol.Request) -> Buffers:
        return self._list(request, attributes=False)

    def _readdirplus(self, request: protocol.Request) -> Buffers:
        return self._list(request, attributes=True)

    def _list(self, request: protocol.Request, *, attributes: bool) -> Buffers:
        folder = self._folders.get(request.node)
        handle, offset, size = protocol.READ_IN.unpack_from(request.body)
        above = folder if folder.above is None else folder.above
        pieces: list[bytes] = []
        room = size
        extra = len(protocol.NO_ENTRY) if attributes else 0
        for number, (name, inode) in enumerate(((b".", folder.inode), (b"..", above.inode))):
            if offset <= number:
                room -= extra + protocol.entry_size(name)
                pieces.append(protocol.NO_ENTRY[:extra] + protocol.entry(inode, number + 1, _DIRECTORY, name))
        first = max(offset - 2, 0)
        if folder.place is not None:
            self._list_places(self._opened.get(handle, [])[first:], first, room, extra, pieces)
        else:
            self._list_entries(folder, first, room, extra, pieces)
        return pieces

    def _list_places(self, items: list[tuple[Place, Folder]], first: int, room: int, extra: int, pieces: list[bytes]) -> None:
        for number, (place, below) in enumerate(items, first):
            room -= extra + protocol.entry_size(below.name)
            if room < 0:
                return
            kind = _LINK if place.target else _DIRECTORY
            pieces.append(protocol.NO_ENTRY[:extra] + protocol.entry(below.inode, number + 3, kind, below.name))

    def _list_entries(self, folder: Folder, first: int, room: int, extra: int, pieces: list[bytes]) -> None:
        listing = self._listing(folder)
        names, nodes = listing.names, listing.nodes
        for number in range(first, len(nodes)):
            node, name = nodes[number], names[number]
            room -= extra + protocol.entry_size(name)
            if room < 0:
                return
            if is_directory(node):
                # Its attributes need its own tree: they are asked for when somebody wants them.
                pieces.append(protocol.NO_ENTRY[:extra])
                inode = folder_inode(folder.inode, name)
            else:
                inode = entry_inode(folder.inode, number, node, folder.snapshot_inode)
                if extra:
                    pieces.append(self._entry(folder, number, node))
            pieces.append(protocol.entry(inode, number + 3, kind_of(node), name))

    # Content

    def _read(self, request: protocol.Request) -> Buffers:
        found = self._node(request)
        if found is None:
            raise Refused(errno.EISDIR)
        folder, number, node = found
        if node.type != FILE:
            raise Refused(errno.EINVAL)
        _, offset, size = protocol.READ_IN.unpack_from(request.body)
        blobs = node.blobs
        if not blobs:
            return ()
        while True:
            readings = self._places.index_readings
            try:
                if len(blobs) > 1:
                    return (self._stream(request.node, node).pread(offset, size),)
                self._read_ahead(folder, number)
                return (memoryview(self._cache.get(parse_id(blobs[0])))[offset : offset + size],)
            except ResticFormatError as error:
                if not self._places.reload_index(error, readings):
                    self._tell(f"{folder.path}{self._name(folder, number)}", error)
                    raise Refused(errno.EIO) from None

    def _name(self, folder: Folder, number: int) -> str:
        return self._listing(folder).names[number].decode("utf-8", "surrogateescape")

    def _stream(self, node_number: int, node: Node) -> FileStream:
        with self._lock:
            stream = self._streams.pop(node_number, None)
            if stream is not None:
                self._streams[node_number] = stream
                return stream
        stream = open_file(self._repository, node, self._cache)
        with self._lock:
            stream = self._streams.setdefault(node_number, stream)
            while len(self._streams) > STREAMS:
                del self._streams[next(iter(self._streams))]
        return stream

    def _read_ahead(self, folder: Folder, number: int) -> None:
        """The small file *number* is going to be read: where files are read in order, those after it are fetched with it."""
        listing = self._listing(folder)
        last, folder.last = folder.last, number
        if not (number == listing.first_file or (last >= 0 and 0 < number - last <= NEAR)):
            if last != number:
                folder.asked = number + 1
            return
        if number + NEAR < folder.asked < len(listing.nodes) + NEAR:
            return
        wanted: list[bytes] = []
        size = 0
        following = max(number, folder.asked)
        while following < len(listing.nodes) and size < SMALL_AHEAD and len(wanted) < FILES_AHEAD:
            node = listing.nodes[following]
            following += 1
            if len(node.blobs) == 1:
                size += node.size
                wanted.append(parse_id(node.blobs[0]))
        folder.asked = following if following < len(listing.nodes) else following + 2 * NEAR
        self._cache.ahead(wanted)

    # What the kernel gives back

    def _forget(self, request: protocol.Request) -> None:
        self._folders.forget([(request.node, protocol.FORGET_IN.unpack_from(request.body)[0])])

    def _batch_forget(self, request: protocol.Request) -> None:
        number, _ = protocol.BATCH_FORGET_IN.unpack_from(request.body)
        rest = memoryview(request.body)[protocol.BATCH_FORGET_IN.size :][: number * protocol.FORGET_ONE.size]
        self._folders.forget(struct.iter_unpack(protocol.FORGET_ONE.format, rest))

    def _tell(self, path: str, error: ResticFormatError) -> None:
        text = str(error)
        with self._lock:
            if self._tell_once.get(path) == text:
                return
            self._tell_once[path] = text
            if len(self._tell_once) > TOLD:
                del self._tell_once[next(iter(self._tell_once))]
        self._told(path, error)


def _sized(body: bytes, value: bytes) -> Buffers:
    """An extended attribute, or how much room it takes where none is offered."""
    room, _ = protocol.XATTR_IN.unpack_from(body)
    if not room:
        return (protocol.XATTR_OUT.pack(len(value), 0),)
    if len(value) > room:
        raise Refused(errno.ERANGE)
    return (value,)
