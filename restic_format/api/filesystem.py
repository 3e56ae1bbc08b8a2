"""``restic://`` for fsspec: pandas, pyarrow, DuckDB, Dask and others open files inside snapshots as they are.

Paths are ``restic://SNAPSHOT/path``, where SNAPSHOT is what restic takes: an id, the beginning of one, ``latest``,
``latest~1``. ``restic://`` itself lists the snapshots by the beginnings of their ids.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from fsspec import AbstractFileSystem

from restic_format.api.connection import Connection, connection_for
from restic_format.api.opening import open_repository
from restic_format.api.secret import Secret
from restic_format.errors import PasswordUnavailable, SnapshotNotFound, UsageError
from restic_format.snapshots import NodeUnusable, SnapshotFilter
from restic_format.storage.locations import split_password, with_password, without_password
from restic_format.storage.transport import Transport
from restic_format.systemtext import errno_text
from restic_format.words import WHITE_SPACE, decode_text, printable
from restic_format.work import in_order

if TYPE_CHECKING:
    from restic_format.api.files import SnapshotFiles
    from restic_format.api.records import Entry, SnapshotInfo
    from restic_format.api.repository import OpenRepository

_BUFFER = 1 << 16
_WORKERS = 4
"""Threads that read the ranges of one `ResticFileSystem.cat_ranges`."""
_OF_FSSPEC = {
    "asynchronous",
    "batch_size",
    "listings_expiry_time",
    "loop",
    "max_paths",
    "skip_instance_cache",
    "use_listings_cache",
}
"""Options that fsspec has for every file system."""
_TYPES = {"file": "file", "dir": "directory", "symlink": "link"}


class _WithoutSecrets(type(AbstractFileSystem)):  # type: ignore[misc]
    """Puts a password away before fsspec makes a token and a record of an instance's options."""

    def __call__(cls, *args: object, **options: object) -> object:
        if args:
            options["repo"], args = args[0], args[1:]
        repo, extended = options.get("repo"), options.get("options")
        if isinstance(repo, str) and without_password(repo) != repo:
            options["repo"], server_password = split_password(repo)
            options["server_password"] = Secret(server_password)
        if isinstance(extended, Mapping):
            options["options"] = {
                key: Secret(text) if key.startswith("opendal.") and isinstance(text, str) else text
                for key, text in extended.items()
            }
        password = options.get("password")
        if isinstance(password, str | bytes):
            options["password"] = Secret(password)
        elif password is not None and not isinstance(password, Secret):
            raise TypeError(f"a password is str or bytes, not {type(password).__name__}")
        return super().__call__(*args, **options)


class ResticFile(io.BufferedReader):
    """A file of a snapshot, open for reading: it seeks, and what is read in order is fetched ahead."""

    mode = "rb"

    def __init__(self, fs: ResticFileSystem, path: str, raw: Any, details: dict[str, Any]) -> None:
        super().__init__(raw, _BUFFER)
        self.fs = fs
        self.path = path
        self.details = details
        self.size: int = raw.size

    @property
    def full_name(self) -> str:
        """The path with the protocol."""
        return str(self.fs.unstrip_protocol(self.path))

    def info(self) -> dict[str, Any]:
        """As `ResticFileSystem.info`."""
        return self.details

    def __repr__(self) -> str:
        return f"<ResticFile {self.path!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return _open_again, (self.fs, self.path, self.tell())


def _open_again(fs: ResticFileSystem, path: str, position: int) -> object:
    file = fs.open(path)
    file.seek(position)
    return file


class ResticFileSystem(AbstractFileSystem, metaclass=_WithoutSecrets):  # type: ignore[misc]
    """The snapshots of a repository as an fsspec file system, read only.

    It may be used by any number of threads, in forked processes, and pickled. The password is in no text, token, JSON or pickle
    of it: another process takes it from its own environment, or from *password_file* or *password_command*.

    A lock is held in the repository while files are open and for 10 seconds after each use. For as long a name such as
    ``latest`` means the same snapshot; `invalidate_cache` ends that at once.
    """

    protocol = "restic"
    root_marker = ""

    def __init__(
        self,
        repo: str | os.PathLike[str] | None = None,
        *,
        password: Secret | None = None,
        password_file: str | os.PathLike[str] | None = None,
        password_command: str | Sequence[str] | None = None,
        allow_empty_password: bool = False,
        key_hint: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        options: Mapping[str, str] | None = None,
        lock: bool = True,
        retry_lock: float = 0.0,
        server_password: Secret | None = None,
        hosts: Sequence[str] = (),
        tags: Sequence[Sequence[str]] = (),
        paths: Sequence[str] = (),
        **storage_options: Any,
    ) -> None:
        """Everything is as for `restic_format.open_repository`; what is not given comes from restic's environment variables
        when it is first needed: ``RESTIC_REPOSITORY``, ``RESTIC_REPOSITORY_FILE``, ``RESTIC_PASSWORD``,
        ``RESTIC_PASSWORD_FILE``, ``RESTIC_PASSWORD_COMMAND``, ``RESTIC_KEY_HINT``, ``RESTIC_CACHE_DIR``, and those with
        credentials, certificates and proxies for servers. A password in the location, and options that may be secret, are put
        away like *password* (which makes *server_password*).

        *hosts*, *tags* and *paths* say which snapshots are listed and may be ``latest``. Nothing is opened yet.
        """
        if any(isinstance(given, str) for given in (hosts, tags, paths)):
            raise TypeError("hosts, tags and paths are lists, not one text")
        unknown = sorted(storage_options.keys() - _OF_FSSPEC)
        if unknown:
            raise TypeError(f"restic:// has no option {unknown[0]!r}")
        super().__init__(**storage_options)
        self._repo = repo
        self._password = password
        self._password_file = password_file
        self._password_command = password_command
        self._server_password = server_password
        self._settings: dict[str, Any] = {
            "allow_empty_password": allow_empty_password,
            "key_hint": key_hint,
            "cache_dir": cache_dir,
            "options": options,
            "lock": lock,
            "retry_lock": retry_lock,
        }
        self._wanted = SnapshotFilter(tuple(hosts), tuple(map(tuple, tags)), tuple(paths))
        self._held: Connection | None = None

    # What an instance is, for logs and other processes

    def __repr__(self) -> str:
        return f"<ResticFileSystem {'of the environment' if self._repo is None else printable(os.fspath(self._repo))}>"

    def to_dict(self, *, include_password: bool = False) -> dict[str, Any]:
        """What `from_dict` makes it of again, never with a password."""
        del include_password
        told: dict[str, Any] = super().to_dict(include_password=False)
        told.pop("password", None)
        return told

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return stripped if isinstance(stripped, list) else stripped.lstrip("/")

    def close(self) -> None:
        """Release the lock, unless files are open. The file system may be used again."""
        self.invalidate_cache()

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what ``latest`` and other names mean."""
        if self._held is not None:
            self._held.let_go()
        super().invalidate_cache(path)

    # Reading

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """What is in a directory, or the file that *path* is. Raises `FileNotFoundError`."""
        del kwargs
        path = self._strip_protocol(path)
        found = self._snapshots() if not path else self._list(path)
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """What is known of an item; of a symbolic link what it leads to, with ``islink``. Raises `FileNotFoundError`.

        ``type`` is ``file``, ``directory``, ``link`` for a link that leads nowhere, or ``other``; ``size`` is in bytes.
        """
        del kwargs
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        with self._inside(path) as (files, inner):
            if inner == "/":
                return _snapshot_info(files.info, path)
            return _info_of(files, path, files.stat(inner), into_directories=True)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is anything at *path*. What is wrong with the repository is raised."""
        try:
            self.info(path, **kwargs)
        except FileNotFoundError:
            return False
        return True

    def isdir(self, path: str) -> bool:
        """Whether there is a directory, or a link to one."""
        return self._type_of(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Whether there is a file, or a link to one."""
        return self._type_of(path) == "file"

    def modified(self, path: str) -> datetime:
        """When an item was changed last."""
        path = self._strip_protocol(path)
        with self._inside(path) as (files, inner):
            return files.info.time if inner == "/" else files.stat(inner, follow_symlinks=True).mtime

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """The content of a file from *start* to *end*, which count from its end when they are negative."""
        del kwargs
        with self._inside(self._strip_protocol(path)) as (files, inner), files.open_raw(inner) as stream:
            first, last, _ = slice(start, end).indices(stream.size)
            return stream.pread(first, max(last - first, 0))

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Several ranges, read by some threads at a time. With ``on_error="return"`` an error stands in its range's place."""
        if max_gap is not None:
            raise NotImplementedError("max_gap: neighbouring blobs are fetched together anyway")
        several = [[value] * len(paths) if value is None or isinstance(value, int) else list(value) for value in (starts, ends)]
        if any(len(values) != len(paths) for values in several):
            raise ValueError("as many starts and ends as paths are wanted")
        ranges = list(zip(paths, *several, strict=True))
        read = in_order(
            lambda item: self.cat_file(*item, **kwargs), ranges, name="ranges", workers=_WORKERS, ahead=2 * _WORKERS
        )
        found: list[Any] = []
        for _, outcome in read:
            if isinstance(outcome, Exception) and on_error != "return":
                read.close()
                raise outcome
            found.append(outcome)
        return found

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> ResticFile:
        del kwargs
        if mode != "rb":
            self._refuse(path)
        with self._inside(path) as (files, inner):
            raw = files.open_raw(inner)
            return ResticFile(self, path, raw, _info_of(files, path, files.stat(inner), into_directories=True))

    # What cannot be done

    def _refuse(self, *paths: Any, **kwargs: Any) -> NoReturn:
        del kwargs
        raise OSError(errno.EROFS, "snapshots cannot be changed", str(paths[0]) if paths else None)

    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = mv = touch = pipe_file = put_file = _refuse

    # How it is done

    def _connection(self) -> Connection:
        location = self._repo if self._repo is not None else _repository_of_environment()
        server_password = self._server_password
        if server_password is not None and not server_password.withheld and isinstance(location, str):
            location = with_password(location, str(server_password.value))
        secret = self._secret()
        settings = dict(self._settings)
        settings["key_hint"] = settings["key_hint"] or os.environ.get("RESTIC_KEY_HINT") or None
        settings["cache_dir"] = settings["cache_dir"] or os.environ.get("RESTIC_CACHE_DIR") or None
        key = repr(
            (self._repo or location, server_password, sorted(secret.items()), sorted(settings.items(), key=str), self._wanted)
        )

        def opening() -> OpenRepository:
            given: dict[str, Any] = {
                name: value.value if isinstance(value, Secret) else value for name, value in secret.items()
            }
            options = {
                name: str(value.value) if isinstance(value, Secret) else value
                for name, value in (settings["options"] or {}).items()
                if not (isinstance(value, Secret) and value.withheld)
            }
            transport = Transport(
                environment=os.environ,
                ca_certificates=tuple(filter(None, os.environ.get("RESTIC_CACERT", "").split(","))),
                client_certificate=os.environ.get("RESTIC_TLS_CLIENT_CERT", ""),
                user_agent=os.environ.get("RESTIC_HTTP_USER_AGENT", ""),
            )
            return open_repository(location, **given, **{**settings, "options": options, "transport": transport})

        self._held = connection_for(key, opening, self._wanted)
        return self._held

    def _secret(self) -> dict[str, Any]:
        """Where the password comes from, in the form of arguments of `open_repository`."""
        given: dict[str, Any] = {"password_file": self._password_file, "password_command": self._password_command}
        if self._password is not None and not self._password.withheld:
            given["password"] = self._password
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            return given
        for name in ("password_command", "password_file", "password"):
            value = os.environ.get(f"RESTIC_{name.upper()}")
            if value:
                return {name: Secret(value) if name == "password" else value}
        if self._password is not None:
            raise PasswordUnavailable(
                "a password that is given as such is not sent to other processes: give password_file or password_command, or "
                "set RESTIC_PASSWORD or the like there"
            )
        raise UsageError("no password: give password, password_file or password_command, or set RESTIC_PASSWORD or the like")

    @contextmanager
    def _inside(self, path: str) -> Iterator[tuple[SnapshotFiles, str]]:
        """The files of the snapshot that *path* begins with, and the path in it; errors about paths as Python has them."""
        name, _, inner = path.partition("/")
        try:
            with self._connection().files(name) as files:
                yield files, f"/{inner}"
        except SnapshotNotFound as error:
            raise FileNotFoundError(errno.ENOENT, str(error), path) from error
        except NodeUnusable as error:
            raise IsADirectoryError(errno.EISDIR, str(error), path) from error

    def _type_of(self, path: str) -> str:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return ""

    def _snapshots(self) -> list[dict[str, Any]]:
        found = self._connection().snapshots()
        short = [info.short_id for info in found]
        return [_snapshot_info(info, info.id if short.count(info.short_id) > 1 else info.short_id) for info in found]

    def _list(self, path: str) -> list[dict[str, Any]]:
        with self._inside(path) as (files, inner):
            entry = files.stat(inner, follow_symlinks=True)
            if not entry.is_dir:
                return [_info_of(files, path, files.stat(inner))]
            return [_info_of(files, f"{path}/{entry.name}", entry) for entry in files.list(inner)]


def _info_of(files: SnapshotFiles, name: str, entry: Entry, *, into_directories: bool = False) -> dict[str, Any]:
    """What fsspec is told of an entry. A link to a file is told as the file, one to a directory so only where it is asked for:
    whoever walks must not walk in circles.
    """
    info: dict[str, Any] = {"islink": entry.is_symlink}
    if entry.is_symlink:
        info["destination"] = entry.target
        try:
            led_to = files.stat(entry.path, follow_symlinks=True)
        except SnapshotNotFound:
            led_to = entry
        entry = led_to if into_directories or not led_to.is_dir else entry
    return {
        "name": name,
        "size": entry.size,
        "type": _TYPES.get(entry.type, "other"),
        "mode": entry.mode,
        "mtime": entry.mtime_ns / 1e9,
        "mtime_ns": entry.mtime_ns,
        "uid": entry.uid,
        "gid": entry.gid,
        "ino": entry.inode,
        "nlink": entry.links,
        **info,
    }


def _snapshot_info(info: SnapshotInfo, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "size": 0,
        "type": "directory",
        "mtime": info.time_ns / 1e9,
        "mtime_ns": info.time_ns,
        "id": info.id,
        "hostname": info.hostname,
        "paths": list(info.paths),
        "tags": list(info.tags),
    }


def _repository_of_environment() -> str:
    location = os.environ.get("RESTIC_REPOSITORY")
    if location:
        return location
    file = os.environ.get("RESTIC_REPOSITORY_FILE")
    if not file:
        raise UsageError("no repository: give repo, or set RESTIC_REPOSITORY or RESTIC_REPOSITORY_FILE")
    try:
        with open(file, "rb") as opened:
            return decode_text(opened.read(1 << 20)).strip(WHITE_SPACE)
    except OSError as error:
        raise UsageError(f"RESTIC_REPOSITORY_FILE {printable(file)}: {errno_text(error)}") from error
