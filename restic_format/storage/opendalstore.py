"""Services that the package opendal reaches, as object stores."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

import opendal
import opendal.config
import opendal.layers
from opendal import exceptions

from restic_format.errors import (
    AccessDenied,
    AnswerCut,
    FileMissing,
    FileUnusable,
    LocationInvalid,
    StorageAway,
    StorageError,
    UsageError,
)
from restic_format.storage.base import Content, Storage, already_there, pieces_of
from restic_format.storage.objects import ObjectStorage, ObjectStore, name_in
from restic_format.storage.transport import Transport
from restic_format.words import visible
from restic_spec.layout import FileKind

T = TypeVar("T")

_ERRORS: tuple[type[Exception], ...] = tuple(
    found for found in vars(exceptions).values() if isinstance(found, type) and issubclass(found, Exception)
)
"""The package's errors, which have no class in common."""

_RENAMING = frozenset(("fs", "hdfs-native"))
"""Services that show a file before it is whole: it is written under another name."""

_SHOWN = 200

_SECRET = re.compile(r"key|secret|token|password|sas|credential|signature|account", re.IGNORECASE)
"""Options whose values are shown nowhere."""

_TEMPORARY = "-restic-temp-"


def keys_of(service: str) -> frozenset[str]:
    """The options that *service* knows. Raises `LocationInvalid` where there is no such service."""
    for kind in vars(opendal.config).values():
        keys: dict[str, object] = getattr(kind, "__annotations__", {})
        found = re.search(r"Literal\[['\"]([^'\"]+)['\"]\]", str(keys.get("scheme", "")))
        if found is not None and found[1] == service:
            return frozenset(keys) - {"scheme"}
    raise LocationInvalid(f"opendal:{service}: there is no such service in the package opendal {opendal.__version__}")


def open_service(service: str, options: Mapping[str, str], transport: Transport, connections: int) -> Storage:
    """A repository in *service*, at the place that *options* name.

    Raises:
        LocationInvalid: the service does not exist, cannot keep a repository, or needs other options.
        UsageError: certificates are given, of which the package takes no note.
    """
    if transport.ca_certificates or transport.client_certificate or not transport.verify:
        raise UsageError(
            f"opendal:{service}: --cacert, --tls-client-cert and --insecure-tls have no effect on what is reached with OpenDAL"
        )
    secrets = [text for key, text in options.items() if _SECRET.search(key) and len(text) > 3]
    try:
        operator = opendal.Operator(service, **options)
    except exceptions.Unsupported:
        raise LocationInvalid(
            f"opendal:{service}: is not among the services of the package opendal {opendal.__version__}"
        ) from None
    except _ERRORS as error:
        raise LocationInvalid(
            f"opendal:{service}: {_text(error, secrets)}; give what it needs as -o opendal.KEY=VALUE"
        ) from None
    able = operator.capability()
    if not (able.read and able.write and able.delete and able.list and able.stat):
        raise LocationInvalid(f"opendal:{service}: cannot keep a repository: files cannot be written, listed or removed there")
    if transport.stuck_after:
        operator = operator.layer(opendal.layers.TimeoutLayer(transport.stuck_after, transport.stuck_after))
    root = options.get("root", "")
    store = OpendalStore(operator, f"opendal:{service}{f' ({visible(root)})' if root else ''}", connections, secrets, service)
    return ObjectStorage(store, "")


class OpendalStore(ObjectStore):
    """What *operator* reaches; *secrets* are shown in no message."""

    def __init__(self, operator: opendal.Operator, location: str, connections: int, secrets: list[str], service: str) -> None:
        self._operator = operator
        self._location = location
        self._connections = connections
        self._secrets = secrets
        self._renames = service in _RENAMING

    @property
    def location(self) -> str:
        """The service, and the path in it."""
        return self._location

    @property
    def connections(self) -> int:
        """How many operations may run at once."""
        return self._connections

    def create(self) -> None:
        """See that the service answers; where it has folders, they come with the first files."""
        self._do("look for the repository", lambda: self._operator.exists("config"))

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """Store a file."""
        del kind, metadata, sha256
        pieces = pieces_of(data)
        whole = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
        if not self._renames:
            self._do(f"upload {key}", lambda: self._operator.write(key, whole))
            return
        temporary = f"{key}{_TEMPORARY}{os.urandom(16).hex()}"
        try:
            self._do(f"upload {key}", lambda: self._operator.write(temporary, whole))
            self._do(f"rename {key}", lambda: self._operator.rename(temporary, key))
        except BaseException:
            with suppress(StorageError):
                self._do(f"remove {key}", lambda: self._operator.delete(temporary))
            raise

    def put_new(self, key: str, data: Content, *, kind: FileKind) -> None:
        """Store a file if there is none; where the service can tell, it decides who was first."""
        if self.has(key):
            raise already_there(kind, name_in(kind, key))
        if self._renames or not self._operator.capability().write_with_if_not_exists:
            self.put(key, data, kind=kind, metadata=True, sha256="")
            return
        whole = b"".join(pieces_of(data))
        try:
            self._do(f"upload {key}", lambda: self._operator.write(key, whole, if_not_exists=True))
        except _Taken:
            raise already_there(kind, name_in(kind, key)) from None

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """Read a part of a file."""
        if length is None:
            size = self.size(key)
            if size - offset > limit:
                raise FileUnusable(f"load {key}: has {size} bytes, at most {limit} can be right")
            length = max(size - offset, 0)
        if not length:
            return b""
        wanted = length
        try:
            return bytes(self._do(f"load {key}", lambda: self._operator.read(key, offset=offset, size=wanted)))
        except StorageAway as error:
            # A file that is too short is no error of its own to the package, which does not tell it from a broken connection.
            if self.size(key) < offset + wanted:
                raise FileUnusable(error.what) from None
            raise

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """Read a part of a file into *target*."""
        data = self.get(key, offset, len(target), len(target))
        if len(data) != len(target):
            raise AnswerCut(f"load {key}: {len(data)} of {len(target)} bytes from {offset} arrived")
        target[:] = data

    def size(self, key: str) -> int:
        """Bytes of a file."""
        found = self._do(f"stat {key}", lambda: self._operator.stat(key))
        if found.mode.is_dir():
            raise FileUnusable(f"stat {key}: is a folder")
        return int(found.content_length)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Path and size of the files whose paths begin with *prefix*."""
        folder = f"{prefix.rpartition('/')[0]}/"
        what = f"list {folder}"
        entries = self._do(what, lambda: iter(self._operator.list(folder, recursive=True)))
        while True:
            entry = self._do(what, lambda: next(entries, None))
            if entry is None:
                return
            found = entry.metadata
            if found.mode.is_file() and entry.path.startswith(prefix) and _TEMPORARY not in entry.path:
                yield entry.path, found.content_length

    def delete(self, key: str) -> None:
        """Remove a file. Services say nothing where there is none."""
        self.size(key)
        self._do(f"remove {key}", lambda: self._operator.delete(key))

    def _do(self, what: str, act: Callable[[], T]) -> T:
        """What *act* gives; the package's errors as ours."""
        try:
            return act()
        except _ERRORS as error:
            raise self._told(what, error) from None

    def _told(self, what: str, error: Exception) -> StorageError:
        kind = next((ours for theirs, ours in _CLASSES if isinstance(error, theirs)), StorageAway)
        return kind(f"{visible(what)}: {_text(error, self._secrets)}")


class _Taken(StorageError):
    """There is such a file."""


class _Impossible(StorageError):
    """The service cannot do that, or is not set up for it."""

    permanent = True


_CLASSES: tuple[tuple[type[Exception], type[StorageError]], ...] = (
    (exceptions.NotFound, FileMissing),
    (exceptions.PermissionDenied, AccessDenied),
    (exceptions.RangeNotSatisfied, FileUnusable),
    (exceptions.IsADirectory, FileUnusable),
    (exceptions.ConditionNotMatch, _Taken),
    (exceptions.AlreadyExists, _Taken),
    (exceptions.ConfigInvalid, _Impossible),
    (exceptions.Unsupported, _Impossible),
)


def _text(error: Exception, secrets: list[str]) -> str:
    """The first line of an error, without what comes from the options, and what was asked for in addresses."""
    lines = str(error).split("\n")
    text = lines[0].partition(" => ")[2] or lines[0]
    for number, line in enumerate(lines):
        if line.startswith("Source:") and number + 1 < len(lines):
            text += f": {lines[number + 1].strip()}"
    for secret in secrets:
        text = text.replace(secret, "***")
    text = re.sub(r"\?[^\s)]*", "?…", text)
    return visible(re.sub(r"//[^/@\s]*@", "//", text))[:_SHOWN]
