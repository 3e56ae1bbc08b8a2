"""Repositories on SFTP servers, which are reached through the system's ``ssh``: its settings, keys and known hosts hold."""

from __future__ import annotations

from collections.abc import Mapping

from restic_format.storage.base import Storage
from restic_format.storage.extended import SftpOptions, read_options
from restic_format.storage.locations import without_password
from restic_format.storage.sftp.location import command_for, parse_place
from restic_format.storage.sftp.storage import SftpStorage
from restic_format.storage.transport import Transport


def open_sftp(rest: str, options: Mapping[str, str], transport: Transport) -> Storage:
    """The storage for a location ``sftp:`` and *rest*.

    Raises:
        LocationInvalid: *rest* is not a place on a server.
        UsageError: an option makes no sense.
        StorageError: ssh cannot be started.
    """
    place, chosen = parse_place(rest), read_options(SftpOptions, "sftp", options)
    words = command_for(place, chosen.command, chosen.args)
    location = without_password(f"sftp:{rest}")
    return SftpStorage(words, place.path, transport, location=location, connections=chosen.connections)
