"""Where a repository is, as people write it: ``/path``, ``local:/path``; and the extended options for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from restic_format.errors import LocationInvalid, UsageError
from restic_format.storage.base import Storage

Options = Mapping[str, str]
"""Extended options, such as ``local.connections``, with their values."""


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


def open_storage(location: str, options: Options | None = None) -> Storage:
    """The storage that *location* names.

    *options* are the extended ones; those of other storages are left alone.

    Raises:
        LocationInvalid: a location of a kind that is not known or not supported.
        UsageError: an option that makes no sense.
    """
    scheme, rest = parse_location(location)
    own = {key: value for key, value in (options or {}).items() if key.partition(".")[0] == scheme}
    return _SCHEMES[scheme](rest, own)


def _local(rest: str, options: Options) -> Storage:
    from restic_format.storage.local import LocalStorage

    known = _known(options, "local.connections", "local.cache")
    return LocalStorage(
        rest, connections=_count(known, "local.connections", 2), cached=_truth(known, "local.cache", default=False)
    )


def _unsupported(scheme: str) -> Callable[[str, Options], Storage]:
    def refuse(rest: str, options: Options) -> Storage:
        del rest, options
        raise LocationInvalid(f"invalid backend: {scheme}: is not supported yet, only folders are; mount it and use a path")

    return refuse


_SCHEMES: dict[str, Callable[[str, Options], Storage]] = {
    "local": _local,
    **{scheme: _unsupported(scheme) for scheme in ("azure", "b2", "gs", "rclone", "rest", "s3", "sftp", "swift")},
}
"""The storages by scheme; each is imported when it is opened."""


def _known(options: Options, *names: str) -> Options:
    """*options*, of which all must be among *names*."""
    for name in options:
        if name not in names:
            raise UsageError(f"option {name} is not known")
    return options


def _truth(options: Options, name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise UsageError(f"option {name}: {text!r} is neither true nor false")
    return text.lower() in ("1", "t", "true")


def _count(options: Options, name: str, default: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 1 << 16):
        raise UsageError(f"option {name}: {text!r} is not a number above 0")
    return int(text)
