"""Where a repository on an SFTP server is, as people write it, and the command that reaches the server."""

from __future__ import annotations

import json
import posixpath
import re
from typing import NamedTuple
from urllib.parse import unquote

from restic_format.errors import LocationInvalid, UsageError
from restic_format.storage.child import words_of
from restic_format.storage.locations import without_password
from restic_format.words import visible
from restic_spec import gojson

_INVALID = "parsing repository location failed: "


class Place(NamedTuple):
    """A folder on a server."""

    user: str
    host: str
    port: str
    path: bytes
    """A relative one begins where the server puts those who log in."""


def parse_place(rest: str) -> Place:
    """The place that a location names; *rest* is what stands behind ``sftp:``, in restic's two notations.

    ``user@host:path`` and ``//user@host:port/path``, where the path is relative unless it begins with one more slash.

    Raises:
        LocationInvalid: it is neither.
    """
    place = _from_url(rest) if rest.startswith("//") else _from_words(rest)
    path = _clean(place.path)
    if path.startswith(b"~"):
        raise LocationInvalid(
            f"{_INVALID}sftp path starts with the tilde (~) character, that fails for most sftp servers.\n"
            "Use a relative directory, most servers interpret this as relative to the user's home directory"
        )
    if place.host.startswith("-"):
        raise LocationInvalid(
            f"{_INVALID}sftp: host {place.host!r} begins with a hyphen, so that ssh would take it for an option"
        )
    return place._replace(path=path)


def _from_words(rest: str) -> Place:
    who, colon, path = rest.partition(":")
    if not colon:
        raise LocationInvalid(f"{_INVALID}sftp: invalid format, hostname or path not found")
    # A user may have one @, as those of a domain have.
    words = who.split("@", 2)
    user, host = "@".join(words[:-1]), words[-1]
    return Place(user, host, "", gojson.to_bytes(path))


def _from_url(rest: str) -> Place:
    url = "sftp:" + rest
    shown = visible(json.dumps(without_password(url), ensure_ascii=False))

    def fail(why: str) -> LocationInvalid:
        return LocationInvalid(f"{_INVALID}parse {shown}: {why}")

    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in url):
        raise fail("net/url: invalid control character in URL")
    beyond = re.split("[?#]", rest[2:], maxsplit=1)[0]
    authority, slash, path = beyond.partition("/")
    user, _, where = authority.rpartition("@")
    if where.startswith("["):
        host, bracket, port = where[1:].partition("]")
        if not bracket:
            raise fail("missing ']' in host")
    else:
        host, colon, port = where.partition(":")
        port = colon + port
    if port and not re.fullmatch(":[0-9]*", port, re.ASCII):
        # Without a user before it, it may be the beginning of a password that has a / or # in it.
        raise fail(f'invalid port "{port}" after host' if user or "@" not in rest else "invalid port after host")
    for part in (user, host, path):
        wrong = re.search("%(?![0-9A-Fa-f]{2}).{0,2}", part)
        if wrong:
            raise fail(f'invalid URL escape "{wrong[0]}"')
    if not slash:
        raise LocationInvalid(f"{_INVALID}invalid backend {shown}, no directory specified")
    name = unquote(user.partition(":")[0], errors="surrogateescape")
    return Place(
        name, unquote(host, errors="surrogateescape"), port[1:], gojson.to_bytes(unquote(path, errors="surrogateescape"))
    )


def _clean(path: bytes) -> bytes:
    """*path* without ``.``, ``..`` and needless slashes, as Go's ``path.Clean`` does it."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith(b"//") else cleaned


def command_for(place: Place, command: str, arguments: str) -> list[str]:
    """The program to start, with its arguments: ssh unless the extended option ``sftp.command`` names another.

    Raises:
        UsageError: both options are given, or one is not a list of words.
    """
    if command:
        if arguments:
            raise UsageError("cannot specify both sftp.command and sftp.args options")
        return words_of(command, "sftp.command")
    words = ["ssh", place.host]
    words += ["-p", place.port] if place.port else []
    words += ["-l", place.user] if place.user else []
    words += words_of(arguments, "sftp.args") if arguments else []
    return [*words, "-s", "sftp"]
