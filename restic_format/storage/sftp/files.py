"""What is done with files and folders on a server, in few round trips: each function has all its requests under way at once."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from restic_format.errors import AccessDenied, FileMissing, FileUnusable, NoSpace, StorageError
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.connection import sending, told
from restic_format.storage.sftp.protocol import Attributes, Reply, Request, Status
from restic_format.storage.sftp.session import Pending, Session
from restic_format.words import visible
from restic_spec import gojson

_MOST_FOLDERS = 128
"""Folders that are listed at once, where the server lets as many be open."""

_FEW_FOLDERS = 16
_MOST_IN_FOLDER = 1 << 20
"""Entries of one folder: a server that goes on after so many makes them up."""

_MOST_BELOW = 100_000
"""Folders below one that is walked through, for the same reason."""


def status_or_none(session: Session, reply: Reply) -> Status | None:
    """The status that *reply* is; None where it is something else."""
    return session.checked(protocol.status_of, reply)


def must(session: Session, reply: Reply, operation: str, path: bytes, what: str = "", *, folder: bytes | None = None) -> None:
    """Do nothing where *reply* says that all went well, which was done to *path* in *folder*. Raises what it says otherwise."""
    status = status_or_none(session, reply)
    if status is None:
        session.checked(_no_status, reply)
    elif status.code != protocol.OK:
        raise _explained(
            session, told(operation, path, status, what), status, posixpath.dirname(path) if folder is None else folder
        )


def _no_status(reply: Reply) -> None:
    raise protocol.ProtocolError(f"an answer of type {reply.kind} came where a status was due")


def _explained(session: Session, error: StorageError, status: Status, folder: bytes) -> StorageError:
    """*error*, or a better one: OpenSSH has one code for a full disk, one that is read-only, and all else."""
    if status.code != protocol.FAILURE or protocol.SPACE not in session.extensions:
        return error
    reply = session.ask(protocol.extended(protocol.SPACE, folder or b"."))
    if reply.kind != protocol.EXTENDED_REPLY:
        return error
    room = session.checked(protocol.room_of, reply)
    begin = error.what.removesuffix(status.words)
    if room.read_only:
        return AccessDenied(f"{begin}read-only file system", object=error.object)
    if not room.bytes or not room.files:
        return NoSpace(f"{begin}no space left on device", object=error.object)
    return error


def attributes(session: Session, path: bytes, what: str = "", *, follow: bool = True) -> Attributes:
    """What the server tells of a path; *follow* links. Raises `FileMissing` or `StorageError`."""
    reply = session.ask(protocol.naming(protocol.STAT if follow else protocol.LSTAT, path))
    return told_attributes(session, reply, path, what)


def told_attributes(session: Session, reply: Reply, path: bytes, what: str) -> Attributes:
    """What an answer tells of a path. Raises `FileMissing` or `StorageError`."""
    status = status_or_none(session, reply)
    if status is not None:
        raise told("stat", path, status, what)
    return session.checked(protocol.attributes_of, reply)


def size_of(found: Attributes, what: str) -> int:
    """Bytes of a file. Raises `FileUnusable`: it is not a regular one."""
    if not found.is_file:
        why = "is not a regular file; see what stands there, and move it away"
        raise FileUnusable(f"{what}: {why}", object=what, clause="LAYOUT-11")
    if found.size is None:
        raise StorageError(f"{what}: the server does not tell its size", object=what)
    return found.size


class Entry(NamedTuple):
    """One entry of a folder."""

    folder: bytes
    name: bytes
    found: Attributes

    @property
    def path(self) -> bytes:
        """Its path."""
        return join(self.folder, self.name)


def join(folder: bytes, name: bytes) -> bytes:
    """The path of *name* in *folder*."""
    return posixpath.join(folder, name) if folder != b"." else name


def entries(session: Session, folders: Iterable[bytes]) -> Iterator[tuple[bytes, list[Entry] | None]]:
    """Each of *folders* with what is in it, sorted; None for one that is missing. Many are listed at once.

    Raises:
        StorageError: one cannot be listed.
    """
    most = _MOST_FOLDERS if session.sizes().open >= 4 * _MOST_FOLDERS else _FEW_FOLDERS
    source = iter(folders)

    def ahead(most: int) -> list[bytes]:
        return list(islice(source, most))

    following: list[_Listing] = []
    listings = _start(session, [], ahead(most))
    try:
        while listings:
            for listing in listings:
                listing.begin()
            # While these are read the next ones are opened.
            following = _start(session, listings, ahead(most))
            while any(not listing.at_end for listing in listings):
                _start(session, listings, [])
            for listing in listings:
                yield listing.path, listing.found
            listings, following = following, []
    finally:
        for listing in [*listings, *following]:
            listing.close()


def walk(session: Session, root: bytes, without: Collection[bytes] = ()) -> Iterator[Entry]:
    """What is in *root* and below and no folder. The folders *without* are left out.

    Raises:
        StorageError: one cannot be listed.
    """
    places, count = [root], 0
    while places:
        level, places = places, []
        for _, found in entries(session, level):
            for entry in found or []:
                if not entry.found.is_folder:
                    yield entry
                elif entry.path not in without:
                    places.append(entry.path)
                    count += 1
                    if count > _MOST_BELOW:
                        session.fail(f"the folders below {root!r} do not end")
                        raise session.failure_text()


def _start(session: Session, listings: Sequence[_Listing], folders: Sequence[bytes]) -> list[_Listing]:
    """Go on with the *listings* that are not at their end, and begin to list *folders*."""
    going_on = [listing for listing in listings if not listing.at_end]
    requests = [(listing, request) for listing in going_on for request in listing.questions(8 // len(going_on))]
    opening = [protocol.naming(protocol.OPENDIR, path) for path in folders]
    if not requests and not opening:
        return []
    pending = session.send([*(request for _, request in requests), *opening])
    begun = [_Listing(session, path, waits) for path, waits in zip(folders, pending[len(requests) :], strict=True)]
    try:
        if requests:
            pending[len(requests) - 1].settle()
        for (listing, _), waits in zip(requests, pending, strict=False):
            listing.take(waits.wait())
        session.forget([protocol.naming(protocol.CLOSE, handle) for listing in going_on if (handle := listing.closing())])
    except BaseException:
        for listing in begun:
            listing.close()
        raise
    return begun


class _Listing:
    """A folder that is being listed."""

    def __init__(self, session: Session, path: bytes, opening: Pending) -> None:
        self.path = path
        self.found: list[Entry] | None = []
        self.at_end = False
        self._session = session
        self._opening: Pending | None = opening
        self._handle = b""
        self._round = 2

    def begin(self) -> None:
        """Take the answer to the request that opened it."""
        assert self._opening is not None
        reply = self._opening.wait()
        self._opening = None
        if reply.kind == protocol.HANDLE:
            self._handle = self._session.checked(protocol.handle_of, reply)
            return
        status = status_or_none(self._session, reply)
        if status is None or status.error_class is not FileMissing:
            must(self._session, reply, "open", self.path)
        self.at_end, self.found = True, None

    def questions(self, at_least: int) -> list[Request]:
        """What to ask next."""
        count = max(self._round, at_least)
        self._round = min(2 * count, 64)
        return [protocol.naming(protocol.READDIR, self._handle)] * count

    def take(self, reply: Reply) -> None:
        """Take an answer."""
        if reply.kind == protocol.NAME:
            assert self.found is not None
            self.found += [
                Entry(self.path, name, found)
                for name, found in self._session.checked(protocol.names_of, reply)
                if name not in (b".", b"..") and b"/" not in name and b"\0" not in name
            ]
            if len(self.found) > _MOST_IN_FOLDER:
                self._session.fail(f"the listing of {self.path!r} does not end")
                raise self._session.failure_text()
            return
        status = status_or_none(self._session, reply)
        if status is None or status.code != protocol.END:
            must(self._session, reply, "read", self.path)
        if not self.at_end and self.found is not None:
            self.found.sort(key=lambda entry: entry.name)
        self.at_end = True

    def closing(self) -> bytes:
        """The handle to close, once, when the listing is at its end."""
        handle = self._handle if self.at_end else b""
        if handle:
            self._handle = b""
        return handle

    def close(self) -> None:
        """Give up."""
        if self._opening is not None:
            self._opening.settle()
            reply = self._opening.reply
            if reply is not None and reply.kind == protocol.HANDLE:
                self._handle = self._session.checked(protocol.handle_of, reply)
        self.at_end = True
        if handle := self.closing():
            self._session.forget([protocol.naming(protocol.CLOSE, handle)])


def make_folders(session: Session, paths: Sequence[bytes], mode: int, made: list[bytes] | None = None) -> None:
    """Make *paths*, whose parents are there, all with *mode*; nothing is said of folders that are there already.

    Those that were made are added to *made*. Raises `FileMissing`: a parent is missing. Raises `StorageError`.
    """
    if not paths:
        return
    replies = sending(session, [protocol.making(path, mode) for path in paths])
    failed: list[tuple[bytes, Reply]] = []
    fresh: list[tuple[bytes, Reply]] = []
    for path, reply in zip(paths, replies, strict=True):
        status = status_or_none(session, reply)
        (fresh if status is not None and status.code == protocol.OK else failed).append((path, reply))
    if made is not None:
        made += [path for path, _ in fresh]
    if fresh and mode != 0o700:  # what the server's mask has taken away
        sending(session, [protocol.changing_mode(protocol.SETSTAT, path, mode) for path, _ in fresh])
    if failed:
        there = sending(session, [protocol.naming(protocol.STAT, path) for path, _ in failed])
        for (path, reply), found in zip(failed, there, strict=True):
            if found.kind != protocol.ATTRS:
                must(session, reply, "mkdir", path)
            elif not session.checked(protocol.attributes_of, found).is_folder:
                raise FileUnusable(f"mkdir {visible(gojson.to_text(path))}: is there and not a folder")


def make_folder_and_above(session: Session, path: bytes, mode: int, made: list[bytes] | None = None) -> None:
    """Make a folder, and those above it that are missing. Raises `StorageError`."""
    try:
        make_folders(session, [path], mode, made)
    except FileMissing:
        above = posixpath.dirname(path)
        if above in (b"", path):
            raise
        make_folder_and_above(session, above, mode, made)
        make_folders(session, [path], mode, made)
