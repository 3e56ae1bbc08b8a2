"""Repositories in services of OpenDAL, in rustic's notation: ``opendal:SERVICE``, with options for that service.

WebDAV and FTP are done here, everything else by the package opendal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from restic_format.errors import LocationInvalid, UsageError
from restic_format.storage.base import Storage
from restic_format.storage.extended import read_options
from restic_format.storage.folders import FolderStorage
from restic_format.storage.limited import Pace
from restic_format.storage.locations import Options, limited
from restic_format.storage.transport import Transport
from restic_format.words import visible

R = TypeVar("R", bound="tuple[Any, ...]")

ELSEWHERE = {
    "sftp": "sftp:user@host:/path",
    "rclone": "rclone:remote:path",
    "rest": "rest:https://host/path/",
    **dict.fromkeys(("pcloud", "icloud", "koofr"), "rclone:remote:path"),
}
"""What has a location of its own here, or cannot be had from the package opendal for Python."""


class CommonOptions(NamedTuple):
    """Options that every service has; they are rustic's."""

    connections: int = 5
    retry: str = ""
    """Has no effect: what fails is tried again as with every other storage."""
    throttle: str = ""
    """Bytes a second in each direction, and how many may go at once, ``1MB,10MB``; of the second no note is taken."""


def open_opendal(rest: str, options: Options, transport: Transport) -> Storage:
    """The storage at ``opendal:`` *rest*, the name of a service; *options* say where in it, and who we are.

    What they do not say is taken from $OPENDAL_KEY, or $RUSTIC_REPO_OPT_KEY, as rustic does it.

    Raises:
        LocationInvalid: no such service, or options that name no place in it.
        UsageError: an option that makes no sense, or a package that is missing.
    """
    service = rest.strip().lower().replace("_", "-")
    if service in ELSEWHERE:
        raise LocationInvalid(f"opendal:{service}: use the location {ELSEWHERE[service]}")
    if not re.fullmatch(r"[a-z0-9-]{1,40}", service):
        raise LocationInvalid(
            f"opendal:{visible(rest)[:80]}: a location is opendal: and the name of a service, such as opendal:webdav"
        )
    given = _Given(options, transport.environment)
    common = read_options(CommonOptions, "opendal", given.some(CommonOptions._fields))
    transport = _throttled(common.throttle, transport)
    if service == "webdav":
        from restic_format.storage.webdav import WebdavOptions, open_webdav

        return FolderStorage(open_webdav(given.record(WebdavOptions, service), transport, common.connections))
    if service == "ftp":
        from restic_format.storage.ftp import FtpOptions, open_ftp

        return FolderStorage(open_ftp(given.record(FtpOptions, service), transport, common.connections))
    try:
        from restic_format.storage.opendalstore import keys_of, open_service
    except ModuleNotFoundError as error:
        if error.name != "opendal":
            raise
        raise UsageError(f"opendal:{service}: needs a package: pip install 'restic-format[opendal]'") from None
    storage = open_service(service, given.all(service, keys_of(service)), transport, common.connections)
    return limited(storage, transport)


class _Given:
    """The options for a service: those that were given win over the environment's."""

    def __init__(self, options: Options, environment: Mapping[str, str]) -> None:
        self._options = {key.replace("-", "_"): text for key, text in options.items()}
        self._environment: dict[str, str] = {}
        for prefix in ("RUSTIC_REPO_OPT_", "OPENDAL_"):
            for name, text in environment.items():
                if name.startswith(prefix):
                    self._environment[name.removeprefix(prefix).lower()] = text

    def some(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of *keys* that were given; they are used up."""
        found = {key: self._environment[key] for key in keys if key in self._environment}
        found |= {key: self._options.pop(key) for key in keys if key in self._options}
        return found

    def all(self, service: str, keys: Iterable[str]) -> dict[str, str]:
        """Those of *keys* that were given. Raises `UsageError` where options were given that are none of them."""
        found = self.some(keys)
        for key in self._options:
            raise UsageError(f"option opendal.{visible(key)[:80]} is not known to the service {service}")
        return found

    def record(self, kind: Callable[..., R], service: str) -> R:
        """They as a record, whose members are texts. Raises as `all`."""
        fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
        return kind(**self.all(service, fields))


_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def _throttled(text: str, transport: Transport) -> Transport:
    """*transport* with the limits of the option throttle, where it has none of its own. Raises `UsageError`."""
    if not text:
        return transport
    rate = text.partition(",")[0].strip()
    found = re.fullmatch(r"([0-9]{1,12})(?:\.0*)? *([kmg]?i?)b?", rate.lower())
    bytes_a_second = int(found[1]) * _UNITS.get(found[2], 0) if found else 0
    if not bytes_a_second:
        raise UsageError(f"option opendal.throttle: {text[:80]!r} is no number of bytes, such as 500kB,10MB")
    return transport._replace(
        upload=transport.upload or Pace(bytes_a_second, stopping=transport.stopping),
        download=transport.download or Pace(bytes_a_second, stopping=transport.stopping),
    )
