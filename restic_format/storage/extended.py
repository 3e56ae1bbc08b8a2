"""The extended options (``-o namespace.key=value``): a record for each namespace, with types and defaults.

A storage gets its options through `read_options`; the command ``options`` lists `EXTENDED_OPTIONS`. Names are restic's 0.19.1,
with ``_`` for ``-``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from restic_format.durations import duration
from restic_format.errors import UsageError

O = TypeVar("O", bound="tuple[Any, ...]")  # noqa: E741


class LocalOptions(NamedTuple):
    """Options of local folders."""

    connections: int = 2
    cache: bool = False


class RestOptions(NamedTuple):
    """Options of REST servers."""

    connections: int = 5


class SftpOptions(NamedTuple):
    """Options of SFTP servers."""

    command: str = ""
    args: str = ""
    connections: int = 5


class S3Options(NamedTuple):
    """Options of S3 and what is compatible with it."""

    bucket_lookup: str = "auto"
    connections: int = 5
    enable_restore: bool = False
    layout: str = ""
    list_objects_v1: bool = False
    region: str = ""
    restore_days: int = 7
    restore_tier: str = "Standard"
    restore_timeout: float = 24 * 3600.0
    retries: int = 0
    storage_class: str = ""
    unsafe_anonymous_auth: bool = False


class AzureOptions(NamedTuple):
    """Options of Azure Blob Storage."""

    access_tier: str = ""
    connections: int = 5
    endpoint: str = ""


class GsOptions(NamedTuple):
    """Options of Google Cloud Storage."""

    connections: int = 5
    region: str = "us"


class B2Options(NamedTuple):
    """Options of Backblaze B2."""

    connections: int = 5


class SwiftOptions(NamedTuple):
    """Options of OpenStack Swift."""

    connections: int = 5


class RcloneOptions(NamedTuple):
    """Options of rclone."""

    args: str = "serve restic --stdio --b2-hard-delete"
    connections: int = 5
    program: str = "rclone"
    timeout: float = 60.0


_CONNECTIONS = "how many operations may run at a time"


class ExtendedOption(NamedTuple):
    """One option, for people: its name with the namespace, what it does, what holds without it or ""."""

    name: str
    summary: str
    default: str = ""

    @property
    def description(self) -> str:
        """What it does, with the default."""
        return f"{self.summary} (default: {self.default})" if self.default else self.summary


EXTENDED_OPTIONS = (
    ExtendedOption(
        "azure.access-tier", "tier for new blobs: Hot, Cool, Cold or Archive", "inferred from the storage account defaults"
    ),
    ExtendedOption("azure.connections", _CONNECTIONS, "5"),
    ExtendedOption("azure.endpoint", "address of the server, where it is not made of the account's name"),
    ExtendedOption("b2.connections", _CONNECTIONS, "5"),
    ExtendedOption("gs.connections", _CONNECTIONS, "5"),
    ExtendedOption("gs.region", "region for a new bucket", "us"),
    ExtendedOption(
        "local.cache", "keep a local cache of a repository although it is on a file system of this machine", "false"
    ),
    ExtendedOption("local.connections", _CONNECTIONS, "2"),
    ExtendedOption("opendal.connections", _CONNECTIONS, "5"),
    ExtendedOption("opendal.throttle", "bytes a second in each direction, such as 500kB"),
    ExtendedOption("rclone.args", "arguments for rclone", "serve restic --stdio --b2-hard-delete"),
    ExtendedOption("rclone.connections", _CONNECTIONS, "5"),
    ExtendedOption("rclone.program", "the program rclone, where it is not in the search path", "rclone"),
    ExtendedOption("rclone.timeout", "how long to wait for rclone to be ready", "1m"),
    ExtendedOption("rest.connections", _CONNECTIONS, "5"),
    ExtendedOption("s3.bucket-lookup", "how a bucket is named in addresses: 'auto', 'dns' or 'path'"),
    ExtendedOption("s3.connections", _CONNECTIONS, "5"),
    ExtendedOption("s3.enable-restore", "fetch objects from the classes GLACIER and DEEP_ARCHIVE", "false"),
    ExtendedOption("s3.layout", "layout of the repository; deprecated", "auto-detect"),
    ExtendedOption("s3.list-objects-v1", "list with version 1 of the interface; deprecated"),
    ExtendedOption("s3.region", "region of the bucket"),
    ExtendedOption("s3.restore-days", "days for which an object that was fetched from a cold class stays", "7"),
    ExtendedOption(
        "s3.restore-tier", "how fast objects are fetched from a cold class: Standard, Bulk or Expedited", "Standard"
    ),
    ExtendedOption("s3.restore-timeout", "how long to wait for objects from a cold class", "24h"),
    ExtendedOption("s3.retries", "how often a request is repeated"),
    ExtendedOption(
        "s3.storage-class",
        "class for new objects: STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING or REDUCED_REDUNDANCY",
    ),
    ExtendedOption("s3.unsafe-anonymous-auth", "use the bucket without credentials"),
    ExtendedOption("sftp.args", "arguments for ssh"),
    ExtendedOption("sftp.command", "command that connects to the server"),
    ExtendedOption("sftp.connections", _CONNECTIONS, "5"),
    ExtendedOption("swift.connections", _CONNECTIONS, "5"),
)
"""Every option, in the order of their names."""

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[bB][01]{1,32}|0[oO]?[0-7]{1,11}|[0-9]{1,10}")


def own_options(namespace: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options of *namespace*, without its name before them; those of other storages are left out."""
    return {key[len(namespace) + 1 :]: text for key, text in options.items() if key.startswith(f"{namespace}.")}


def read_options(kind: type[O], namespace: str, options: Mapping[str, str]) -> O:
    """The record of a storage's options from their texts, which are without the *namespace*.

    Raises:
        UsageError: one is not known, or its value makes no sense.
    """
    defaults: dict[str, object] = kind._field_defaults  # type: ignore[attr-defined]
    found: dict[str, object] = {}
    for key, text in options.items():
        field = key.replace("-", "_")
        if field not in defaults or "_" in key:
            raise UsageError(f"option {namespace}.{key} is not known")
        try:
            found[field] = _READERS[type(defaults[field])](text)
        except ValueError as error:
            raise UsageError(f"option {namespace}.{key}: {text[:80]!r} {error}") from None
        if key == "connections" and not found[field]:
            raise UsageError(f"option {namespace}.{key}: {text[:80]!r} is not a number above 0")
    return kind(**found)


def _truth(text: str) -> bool:
    if text not in ("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"):
        raise ValueError("is neither true nor false")
    return text in ("1", "t", "T", "true", "TRUE", "True")


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number above 0")
    octal = len(text) > 1 and text[0] == "0" and text[1] in "01234567"
    value = int(text, 8 if octal else 0)
    if value >= 1 << 16:
        raise ValueError("is too large")
    return value


def _seconds(text: str) -> float:
    value = duration(text)
    if value < 0:
        raise ValueError("is below 0")
    return value


_READERS: dict[type, Callable[[str], object]] = {bool: _truth, int: _number, float: _seconds, str: str}
"""How the text of an option is read, by the type of its default."""
