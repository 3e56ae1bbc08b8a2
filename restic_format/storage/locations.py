"""Where a repository is, as people write it: ``/path``, ``local:/path``; and the extended options for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from restic_format.errors import LocationInvalid, StorageError, UsageError
from restic_format.storage.base import Storage
from restic_format.storage.extended import LocalOptions, own_options, read_options
from restic_format.storage.transport import DIRECT, Transport

if TYPE_CHECKING:
    from restic_format.storage.side import SideFiles
    from restic_format.storage.warmup import WarmUpRules

Options = Mapping[str, str]
"""Extended options, such as ``local.connections``, with their values."""


class Place:
    """Where a repository is and how it is reached, for other processes and machines. As text it shows nothing.

    Of the environment goes along what storages take credentials and proxies from; the rest is the other process's own.
    """

    def __init__(self, location: str, options: Options | None = None, transport: Transport = DIRECT) -> None:
        scheme, rest = parse_location(location)
        self._location = f"local:{os.path.abspath(rest)}" if scheme == "local" else location
        self._options = dict(options or {})
        sent = {name: text for name, text in transport.environment.items() if name.upper().startswith(_CREDENTIALS)}
        self._transport = Transport(
            environment=sent,
            ca_certificates=transport.ca_certificates,
            client_certificate=transport.client_certificate,
            verify=transport.verify,
            user_agent=transport.user_agent,
            stuck_after=transport.stuck_after,
        )

    def __repr__(self) -> str:
        return "Place()"

    def open(self) -> Storage:
        """Open it where this is called."""
        return open_storage(self._location, self._options, self._transport)


_CREDENTIALS = (
    *("AWS_", "AZURE_", "B2_", "GOOGLE_", "GCLOUD_", "HTTPS_PROXY", "HTTP_PROXY", "MINIO_", "NO_PROXY", "OPENDAL_", "OS_"),
    *("RCLONE_", "RESTIC_AWS_", "RESTIC_REST_", "ST_", "STORAGE_EMULATOR_HOST", "SWIFT_"),
)
"""How the names of the environment variables begin that storages read."""


class Location(NamedTuple):
    """A parsed location: which storage, and where in it."""

    scheme: str
    rest: str
    """What stands behind the scheme and its colon."""


def parse_location(location: str) -> Location:
    """What *location* names, by restic's rule: an unknown scheme is not a folder whose name has a colon.

    A colon stands behind a scheme, or in a path that begins with ``/``, ``../`` or a drive (also with ``\\``).

    Raises:
        LocationInvalid: neither a scheme that is known, nor a path.
    """
    scheme, colon, rest = location.partition(":")
    if scheme in _SCHEMES:
        if not colon:
            raise LocationInvalid(f'parsing repository location failed: invalid format, prefix "{scheme}" not found')
        return Location(scheme, rest)
    if colon and not _is_path(location):
        raise LocationInvalid(
            "parsing repository location failed: invalid backend\n"
            "If the repository is in a local directory, you need to add a `local:` prefix"
        )
    return Location("local", location)


def _is_path(text: str) -> bool:
    if text.startswith(("/", "\\", "../", "..\\")):
        return True
    return len(text) > 2 and text[0].isascii() and text[0].isalpha() and text[1] == ":" and text[2] in "/\\"


def without_password(location: str) -> str:
    """*location* as it may be shown: with ``***`` for a password in it, also where no storage takes it as it is written."""
    start, end = _password_in(location)
    return f"{location[:start]}***{location[end:]}" if end else location


def split_password(location: str) -> tuple[str, str]:
    """*location* without the password that stands in it, and the password; "" where there is none."""
    start, end = _password_in(location)
    return (location[: start - 1] + location[end:], location[start:end]) if end else (location, "")


def with_password(location: str, password: str) -> str:
    """The location that `split_password` has split."""
    begin = _server_in(location)
    authority, slash, path = location[begin:].partition("/")
    name, at, host = authority.rpartition("@")
    return f"{location[:begin]}{name}:{password}{at}{host}{slash}{path}"


_SERVER = re.compile(r"(?i)rest:(?:[a-z+]+:(?=/))?/*|sftp://|s3:(?:https?:(?=/))?/*")
"""What stands before the user and the server in the locations that have a password there, or may be thought to have one."""


def _server_in(location: str) -> int:
    found = _SERVER.match(location)
    return found.end() if found else 0


def _password_in(location: str) -> tuple[int, int]:
    """Where the password in *location* begins and ends; the end is 0 where there is none.

    One that has a slash in it, where ``%2F`` should be, is none for a storage, and a secret all the same: its beginning stands
    where the port should.
    """
    begin = _server_in(location)
    authority, _, path = location[begin:].partition("/")
    user, at, _ = authority.rpartition("@")
    name, colon, password = (user if at else authority).partition(":")
    start = begin + len(name) + 1
    if not begin or not colon or not password:
        return 0, 0
    if at:
        return start, begin + len(user)
    is_port = (password.isascii() and password.isdecimal()) or name.startswith("[")
    return (0, 0) if is_port or "@" not in path else (start, location.rindex("@"))


def open_storage(location: str, options: Options | None = None, transport: Transport = DIRECT) -> Storage:
    """The storage that *location* names, with all that stands between it and the engine: retries, limits of bandwidth.

    *options* are the extended ones; those of other storages are left alone. *transport* says how servers are reached.

    Raises:
        LocationInvalid: a location of a kind that is not known or not supported.
        UsageError: an option that makes no sense.
    """
    scheme, rest = parse_location(location)
    own = own_options(scheme, options or {})
    if scheme == "local":
        return limited(_local(rest, own), transport)
    from restic_format.storage.retrying import RetryingStorage

    try:
        storage = _opener(scheme)(rest, own, transport)
    except (UsageError, StorageError) as error:
        if isinstance(error, LocationInvalid) or error.what.startswith(_OPENING):
            raise
        raise type(error)(f"{_OPENING} {without_password(location)}: {error.what}") from error
    return RetryingStorage(storage, transport)


_OPENING = "unable to open repository at"


def open_halves(
    cold: str, hot: str, options: Options | None = None, transport: Transport = DIRECT, rules: WarmUpRules | None = None
) -> Storage:
    """The storage of a repository that is at *cold*, and what is read often also at *hot*, "" for nowhere else.

    Extended options that begin with ``hot.`` (``hot.s3.storage-class``) are for the hot half, and go before those without.
    *rules* say how packs that are only in the cold one are brought back.

    Raises:
        UsageError: as `open_storage`.
    """
    options = options or {}
    if not hot:
        storage = open_storage(cold, options, transport)
        if rules is None or not rules.wanted:
            return storage
        from restic_format.storage.warmup import WarmedStorage

        return WarmedStorage(storage, rules, transport)
    from restic_format.storage.hotcold import HotColdStorage

    both = (open_storage(cold, options, transport), open_storage(hot, {**options, **own_options("hot", options)}, transport))
    return HotColdStorage(*both, rules, transport)


def open_side_files(location: str, options: Options | None = None, transport: Transport = DIRECT) -> SideFiles:
    """A place that has nothing but files of this program beside a repository: parity, what repairs have set aside.

    Raises:
        UsageError: as `open_storage`, or nothing but a repository's own files can be kept there.
    """
    return open_storage(location, options, transport).side_files("")


Opener = Callable[[str, Options, Transport], Storage]
"""Opens a storage: what stands behind the scheme, the options of its namespace, the way to the server."""


def _opener(scheme: str) -> Opener:
    module, _, function = _SCHEMES[scheme].partition(":")
    found: Opener = getattr(import_module(f"restic_format.storage.{module}"), function)
    return found


def _local(rest: str, options: Options) -> Storage:
    from restic_format.storage.local import LocalStorage

    known = read_options(LocalOptions, "local", options)
    return LocalStorage(rest, connections=known.connections, cached=known.cache)


def limited(storage: Storage, transport: Transport) -> Storage:
    """*storage*, kept to the limits of *transport*: for those that have no connection where that could be done."""
    if transport.upload is None and transport.download is None:
        return storage
    from restic_format.storage.limited import LimitedStorage

    return LimitedStorage(storage, upload=transport.upload, download=transport.download)


_SCHEMES = {
    "local": "",
    "azure": "azure:open_azure",
    "b2": "b2:open_b2",
    "gs": "gcs:open_gs",
    "opendal": "opendal:open_opendal",
    "rest": "rest:open_rest",
    "rclone": "rclone:open_rclone",
    "s3": "s3.opening:open_s3",
    "sftp": "sftp:open_sftp",
    "swift": "swift:open_swift",
}
"""Module and function that opens each kind of storage; imported when one is opened."""
