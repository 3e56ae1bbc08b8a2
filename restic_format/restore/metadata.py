"""Owner, extended attributes, times and mode: from a node to the file system.

The order matters: a change of owner clears setuid bits and capabilities, so it comes first and the mode last; anything
that writes comes before the times.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd

from restic_format.restore.dirs import chmod_nofollow, entry_path
from restic_format.restore.errors import SystemRefused
from restic_format.restore.request import XattrSelector
from restic_format.restore.table import Meta, Xattrs
from restic_format.snapshots import NodeUnusable
from restic_spec import gojson, gomode, gotime
from restic_spec.tree import SYMLINK, Node

_LEAVE = (1 << 32) - 1
"""Means "leave the owner as it is" to the system."""
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA})
"""The file system has no (such) attributes: restic passes over that silently."""


class MetadataReader:
    """Takes from nodes what is to be applied."""

    def __init__(self, *, ownership_by_name: bool, select_xattr: XattrSelector | None) -> None:
        self._by_name = ownership_by_name
        self._select_xattr = select_xattr
        self._users: dict[str, int | None] = {}
        self._groups: dict[str, int | None] = {}

    def meta(self, node: Node) -> Meta:
        """The metadata of *node*.

        Raises:
            NodeUnusable: an owner is not a 32-bit number.
            ResticFormatError: a time cannot be read.
        """
        uid, gid = node.uid or 0, node.gid or 0
        if self._by_name:
            uid = self._user(node.user, uid)
            gid = self._group(node.group, gid)
        if not (uid < _LEAVE and gid < _LEAVE):
            raise NodeUnusable(f"owner {uid}:{gid} is not one that a file can have")
        mtime = None if node.mtime is None else gotime.parse_ns(node.mtime)
        # Most backups are made without access times, which repeats the modification time.
        atime = mtime if node.atime is None or node.atime == node.mtime else gotime.parse_ns(node.atime)
        return Meta(gomode.to_permissions(node.mode), uid, gid, atime, mtime, self._xattrs(node))

    def _xattrs(self, node: Node) -> Xattrs:
        if not node.extended_attributes:
            return ()
        return tuple(
            (gojson.to_bytes(attribute.name), attribute.value or b"")
            for attribute in node.extended_attributes
            if self._select_xattr is None or self._select_xattr(attribute.name)
        )

    def _user(self, name: str, number: int) -> int:
        if name not in self._users:
            found = None
            with contextlib.suppress(KeyError, ValueError):
                found = pwd.getpwnam(name).pw_uid
            self._users[name] = found
        found = self._users[name]
        return number if found is None else found

    def _group(self, name: str, number: int) -> int:
        if name not in self._groups:
            found = None
            with contextlib.suppress(KeyError, ValueError):
                found = grp.getgrnam(name).gr_gid
            self._groups[name] = found
        found = self._groups[name]
        return number if found is None else found


class MetadataWriter:
    """Applies metadata. Each call goes as far as it can and raises the first error at the end.

    Without root's rights, refusals are expected (owners, foreign attributes) and ignored, as restic does.
    """

    def __init__(self, select_xattr: XattrSelector | None) -> None:
        self._select_xattr = select_xattr
        self._is_root = os.geteuid() == 0

    def apply_fd(self, descriptor: int, meta: Meta, *, times: bool = True) -> None:
        """Apply to an open file or directory; without *times* those stay as they are.

        Raises:
            OSError: the first thing that went wrong.
        """
        errors = _Errors(ignore_refused=not self._is_root)
        with errors.of("lchown"):
            os.chown(descriptor, meta.uid, meta.gid)
        self._apply_xattrs(descriptor, meta.xattrs, errors)
        if times and meta.mtime is not None and meta.atime is not None:
            with errors.of("utimes"):
                os.utime(descriptor, ns=(meta.atime, meta.mtime))
        with errors.of("chmod"):
            os.chmod(descriptor, meta.permissions)
        errors.raise_first()

    def apply_entry(self, name: bytes, parent: int, node_type: str, meta: Meta) -> None:
        """Apply to *name* in the directory *parent*, whatever it is, without following a symlink.

        Raises:
            OSError: the first thing that went wrong.
        """
        errors = _Errors(ignore_refused=not self._is_root)
        with errors.of("lchown"):
            os.chown(name, meta.uid, meta.gid, dir_fd=parent, follow_symlinks=False)
        self._apply_xattrs(entry_path(name, parent), meta.xattrs, errors)
        if meta.mtime is not None and meta.atime is not None:
            with errors.of("utimes"):
                os.utime(name, ns=(meta.atime, meta.mtime), dir_fd=parent, follow_symlinks=False)
        if node_type != SYMLINK:
            with errors.of("chmod"):
                chmod_nofollow(name, parent, meta.permissions)
        errors.raise_first()

    def _apply_xattrs(self, target: int | bytes, xattrs: Xattrs, errors: _Errors) -> None:
        follow = isinstance(target, int)
        for name, value in xattrs:
            with errors.of("setxattr"):
                os.setxattr(target, name, value, follow_symlinks=follow)
        present: list[str] = []
        with errors.of("listxattr"):
            present = os.listxattr(target, follow_symlinks=follow)
        if not present:
            return
        wanted = {name for name, _ in xattrs}
        for text in present:
            raw = os.fsencode(text)
            if raw not in wanted and (self._select_xattr is None or self._select_xattr(gojson.to_text(raw))):
                with errors.of("removexattr"):
                    os.removexattr(target, raw, follow_symlinks=follow)


class _Errors:
    """Collects the first error of several independent steps."""

    def __init__(self, *, ignore_refused: bool) -> None:
        self._ignore_refused = ignore_refused
        self._operation = ""
        self._first: OSError | None = None

    def of(self, operation: str) -> _Errors:
        """For a ``with`` block: what comes next is this *operation*."""
        self._operation = operation
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, (OverflowError, ValueError)):
            # A time beyond what the system counts, or a name with a NUL.
            error = OSError(errno.EINVAL, str(error))
        if not isinstance(error, OSError):
            return error is None
        ignored = error.errno in _UNSUPPORTED or (self._ignore_refused and isinstance(error, PermissionError))
        if not ignored and self._first is None:
            self._first = SystemRefused(self._operation, error)
        return True

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first
