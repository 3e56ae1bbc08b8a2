"""The extended options, which ``-o`` takes: restic's, and one of our own."""

from __future__ import annotations


class ExtendedOption:
    """One option: its name with the storage it is for, what it does, what holds without it."""

    __slots__ = ("default", "name", "summary")

    def __init__(self, name: str, summary: str, default: str = "") -> None:
        self.name = name
        self.summary = summary
        self.default = default

    @property
    def description(self) -> str:
        """What it does, with the default."""
        return f"{self.summary} (default: {self.default})" if self.default else self.summary


SUPPORTED = ("local.cache", "local.connections")
"""The options that have any effect so far; the others are for storages that are not supported yet."""

_CONNECTIONS = "how many operations may run at a time"

EXTENDED_OPTIONS = (
    ExtendedOption("b2.connections", _CONNECTIONS, "5"),
    ExtendedOption("gs.connections", _CONNECTIONS, "5"),
    ExtendedOption("gs.region", "region for a new bucket", "us"),
    ExtendedOption(
        "local.cache", "keep a local cache of a repository although it is on a file system of this machine", "false"
    ),
    ExtendedOption("local.connections", _CONNECTIONS, "2"),
    ExtendedOption("rclone.args", "arguments for rclone", "serve restic --stdio --b2-hard-delete"),
    ExtendedOption("rclone.connections", _CONNECTIONS, "5"),
    ExtendedOption("rclone.program", "the program rclone, where it is not in the search path", "rclone"),
    ExtendedOption("rclone.timeout", "how long to wait for rclone to be ready", "1m"),
    ExtendedOption("rest.connections", _CONNECTIONS, "5"),
    ExtendedOption("s3.bucket-lookup", "how a bucket is named in addresses: 'auto', 'dns' or 'path'"),
    ExtendedOption("s3.connections", _CONNECTIONS, "5"),
    ExtendedOption(
        "s3.enable-restore", 'fetch objects from the classes GLACIER and DEEP_ARCHIVE; needs the feature "s3-restore"', "false"
    ),
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
