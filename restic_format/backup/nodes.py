"""Nodes as backups meet them: made from a file's metadata, exactly as restic 0.19 stores them on Linux, encoded, compared.

What restic writes, by type: ``size`` for files only; ``links`` for files, symlinks and devices; ``device`` for devices;
``device_id`` always (restic's feature flag that limits it to hard links is off by default); the access time only where it is
asked for, otherwise the modification time in its place; user and group names where they resolve.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable

import msgspec

from restic_format.backup.errors import SourceError
from restic_format.backup.source import FileInfo, Place, attributes_path, known_attributes, read_link
from restic_format.native import nodes
from restic_format.snapshots.nodes import Content
from restic_format.snapshots.same import same_time
from restic_format.systemtext import errno_text
from restic_spec import gojson, gomode, gotime, tree
from restic_spec.ids import ID_SIZE, is_hex_id
from restic_spec.tree import CHARDEV, DEV, DIR, FILE, NODE_TYPES, SYMLINK, ExtendedAttribute, Node, type_of

_WITH_LINKS = frozenset(name for name, kind in NODE_TYPES.items() if "links" in kind.members)
_NO_ATTRIBUTES = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA})
_CACHED_SECONDS = 4096
_IDS_AT_ONCE = 4096
_FS_IS_UTF8 = sys.getfilesystemencoding().lower() == "utf-8"

Warn = Callable[[bytes, SourceError], None]
"""Gets a path and what cannot be learnt of the item there."""


class NodeBuilder:
    """Builds nodes; keeps names of users and groups and parts of times it has already worked out. Threads may share one."""

    def __init__(self, *, with_atime: bool = False, device_id_for_hardlinks: bool = False) -> None:
        self._with_atime = with_atime
        self._device_id_for_hardlinks = device_id_for_hardlinks
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._modes: dict[int, tuple[int, str]] = {}
        self._seconds: dict[int, tuple[str, str]] = {}
        self.writer = nodes.NodeWriter(
            lambda uid: _member(b"user", self._users.get(uid) or self._user(uid)),
            lambda gid: _member(b"group", self._groups.get(gid) or self._group(gid)),
            quote_in_json,
            _link,
            with_atime,
            device_id_for_hardlinks,
        )
        """Writes the nodes of most files without building them first."""

    def build(
        self, name: bytes, info: FileInfo, place: Place, warn: Warn, fd: int | None = None, *, is_parent: bool = False
    ) -> Node:
        """The node of the item at *place* with the metadata *info*; *name* is what it is called in the snapshot.

        *fd* is the open item where there is one. *is_parent* marks a directory above the targets, whose attributes we may
        not be allowed to list. *warn* is told of metadata that cannot be read; the node then lacks them.
        """
        st_mode = info.st_mode
        known = self._modes.get(st_mode)
        if known is None:
            known = self._modes[st_mode] = (gomode.from_st_mode(st_mode), type_of(st_mode))
        mode, kind = known
        mtime = self.time_text(info.st_mtime_ns)
        uid, gid = info.st_uid, info.st_gid
        links = info.st_nlink if kind in _WITH_LINKS else 0
        node = Node(
            quoted=gojson.quote(name.decode("utf-8", "surrogateescape")),
            type=kind,
            mode=mode,
            mtime=mtime,
            atime=self.time_text(info.st_atime_ns) if self._with_atime else mtime,
            ctime=self.time_text(info.st_ctime_ns),
            uid=uid,
            gid=gid,
            user=self._users[uid] if uid in self._users else self._user(uid),
            group=self._groups[gid] if gid in self._groups else self._group(gid),
            inode=info.st_ino,
            device_id=info.st_dev,
            links=links,
            content=None,
        )
        if self._device_id_for_hardlinks and (links == 1 or kind == DIR):
            node.device_id = 0
        if kind == FILE:
            node.size = info.st_size
        elif kind == SYMLINK:
            try:
                node.set_target(read_link(place))
            except OSError as error:
                warn(place.path, SourceError.from_os("readlink", place.path, error, _incomplete(place.path)))
                return node
        elif kind in (DEV, CHARDEV):
            node.device = info.st_rdev
        attributes = known_attributes(info)
        if attributes is None:
            self._add_attributes(node, place, fd, warn, is_parent)
        elif attributes:
            node.extended_attributes = attributes
        return node

    def time_text(self, ns: int) -> str:
        """A time as it is stored, in the local zone."""
        second, fraction = divmod(ns, gotime.NS)
        parts = self._seconds.get(second)
        if parts is None:
            parts = self._second(second)
        if fraction:
            return f"{parts[0]}.{fraction:09d}".rstrip("0") + parts[1]
        return parts[0] + parts[1]

    def _second(self, second: int) -> tuple[str, str]:
        try:
            local = time.localtime(second)
            if not 0 <= local.tm_year <= 9999:
                raise OverflowError
            year, month, day, hour, minute, seconds = local[:6]
            text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{seconds:02d}"
            parts = text, gotime.format_offset(local.tm_gmtoff)
        except (OverflowError, ValueError, OSError):
            text = gotime.format_ns(second * gotime.NS)
            parts = text[:19], text[19:]
        if len(self._seconds) >= _CACHED_SECONDS:
            self._seconds.clear()
        self._seconds[second] = parts
        return parts

    def _user(self, uid: int) -> str:
        try:
            name = pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError):
            name = ""
        self._users[uid] = name
        return name

    def _group(self, gid: int) -> str:
        try:
            name = grp.getgrgid(gid).gr_name
        except (KeyError, OverflowError):
            name = ""
        self._groups[gid] = name
        return name

    @staticmethod
    def _add_attributes(node: Node, place: Place, fd: int | None, warn: Warn, is_parent: bool) -> None:
        """Put the extended attributes into *node*, in the order the system gives them."""
        path = place.path
        try:
            if fd is not None:
                found = _attributes_of(fd, path, warn)
            else:
                with attributes_path(place) as asked:
                    found = _attributes_of(asked, path, warn)
        except OSError as error:
            if error.errno in _NO_ATTRIBUTES or (is_parent and error.errno in (errno.EACCES, errno.EPERM)):
                return
            warn(path, SourceError.from_os("xattr.list", path, error, _incomplete(path)))
            return
        if found:
            node.extended_attributes = found


def _attributes_of(item: int | bytes, path: bytes, warn: Warn) -> list[ExtendedAttribute]:
    """The extended attributes of an open file, or of what is at a path and is not followed; *path* is for messages.

    Raises:
        OSError: they cannot be listed.
    """
    follow = isinstance(item, int)
    attributes = []
    for name in os.listxattr(item, follow_symlinks=follow):
        value: bytes | None
        try:
            value = os.getxattr(item, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:
                shown = gojson.to_text(path)
                reason = f"xattr.get {shown} {name}: {errno_text(error)}"
                warn(path, SourceError(f"can not obtain extended attribute {name} for {shown}: {reason}"))
                continue
            value = None
        stored = name if _FS_IS_UTF8 else gojson.to_text(os.fsencode(name))
        attributes.append(ExtendedAttribute(stored, value))
    return attributes


def _member(key: bytes, name: str) -> bytes:
    return b',"' + key + b'":' + gojson.encode(name) if name else b""


def _link(target: bytes) -> bytes:
    """The members of a symlink's node that tell where it leads."""
    node = Node("", SYMLINK)
    node.set_target(target)
    encoded = b',"linktarget":' + gojson.encode(node.linktarget)
    return encoded if node.linktarget_raw is None else encoded + b',"linktarget_raw":"' + b64encode(target) + b'"'


def quote_in_json(name: bytes) -> bytes:
    """A node's name as it stands in JSON, between its quotes."""
    return gojson.encode(gojson.quote(gojson.to_text(name)))[1:-1]


def _incomplete(path: bytes) -> str:
    return f"incomplete metadata for {gojson.to_text(path)}: "


# Encoding and comparing

_encoder = msgspec.json.Encoder()


def encode_node(node: Node) -> bytes:
    """What `restic_spec.tree.encode_node` gives for a new node, which has no undeclared fields and no attributes of other
    systems.
    """
    if node.linktarget_raw is not None:
        return tree.encode_node(node)
    try:
        return gojson.escape_html(_encoder.encode(node))
    except UnicodeEncodeError:
        return tree.encode_node(node)


def join_nodes(nodes: Iterable[bytes]) -> bytes:
    """A tree of encoded nodes; each piece may be several of them with commas between."""
    return b'{"nodes":[' + b",".join(nodes) + b"]}\n"


EMPTY_TREE = join_nodes(())
"""The tree of an empty directory."""


def encode_file(node: Node, ids: bytes | bytearray) -> bytes:
    """`encode_node` of a file whose content has the blobs *ids*, joined: in far less memory than a list of texts takes."""
    node.content = []
    encoded = encode_node(node)
    node.content = Content(ids)  # type: ignore[assignment]  # a sequence like the list that `Node.blobs` gives
    if not ids:
        return encoded
    head, _, tail = encoded.rpartition(b'"content":[]')  # no text in JSON has unescaped quotation marks
    pieces = [head, b'"content":["']
    for start in range(0, len(ids), _IDS_AT_ONCE * ID_SIZE):
        end = min(start + _IDS_AT_ONCE * ID_SIZE, len(ids))
        pieces.append('","'.join([ids[at : at + ID_SIZE].hex() for at in range(start, end, ID_SIZE)]).encode())
        pieces.append(b'","' if end < len(ids) else b'"]')
    pieces.append(tail)
    return b"".join(pieces)


def stored_ids(node: Node) -> bytes | None:
    """The ids of a file's content, joined; None where one of them is not an id."""
    return bytes.fromhex("".join(node.blobs)) if all(map(is_hex_id, node.blobs)) else None


def file_changed(
    info: FileInfo, mtime: str, ctime: str, previous: Node, *, check_ctime: bool = True, check_inode: bool = True
) -> bool:
    """Whether a regular file has to be read again: it is another one, or not the same as *previous*, by its metadata."""
    return (
        previous.type != FILE
        or info.st_size != previous.size
        or not same_time(previous.mtime, mtime)
        or (check_ctime and not same_time(previous.ctime, ctime))
        or (check_inode and info.st_ino != previous.inode)
    )
