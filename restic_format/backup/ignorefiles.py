"""Ignore files in the source: ``.gitignore`` and those of other names say what to leave out of the directories they are in.

Of the files that have a pattern for an item the nearest one decides, and of two in one directory the one that is named later.
Files with names of their own come first and count everywhere. Those of git (`BackupOptions.git_ignore`) count within a
repository, from the directory that has a ``.git`` on: behind the ``.gitignore`` files comes ``info/exclude`` of the repository,
and then the user's own file. In ``.git`` itself they do not count. The index is not looked at: unlike for git, what is in the
repository is left out like anything else where a pattern says so.

What is below an ignored directory is not looked at, and so cannot be taken back, as in git.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from typing import NamedTuple

from restic_format.backup.errors import SourceError
from restic_format.backup.source import OPEN_FLAGS, FileInfo, Place, look_closely, open_source
from restic_format.errors import ResticFormatError
from restic_format.gitpatterns import IgnoreRules
from restic_spec import gojson

MOST_BYTES = 1 << 20
"""Bytes that the ignore files may have together that count in one directory."""

GIT = b".git"
GIT_IGNORE = b".gitignore"

_REMEMBERED_DIRECTORIES = 1024
_REMEMBERED_BYTES = 4 << 20


class _Unusable(Exception):
    """An ignore file cannot be used; the text says why."""


class _Rules(NamedTuple):
    """The patterns of a file, and where they count from."""

    rules: IgnoreRules
    base: int
    """So many bytes of a path come before what the patterns are compared with."""
    size: int
    """Bytes of the file."""


class _Here(NamedTuple):
    """What counts in a directory, the nearest first."""

    own: tuple[_Rules, ...] = ()
    """From files with names of their own."""
    git: tuple[_Rules, ...] = ()
    in_repository: bool = False
    """Whether ``.gitignore`` files count."""
    inside_git: bool = False
    """Whether this is ``.git``, or below it."""

    def size(self) -> int:
        """Bytes of all files."""
        return sum(rules.size for rules in (*self.own, *self.git))


class IgnoreFiles:
    """Rejects what ignore files say; *warn* is told of those that cannot be used, which leave nothing out."""

    def __init__(
        self,
        names: list[bytes],
        warn: Callable[[str], None],
        *,
        git: bool = False,
        require_repository: bool = True,
        user_file: bytes = b"",
    ) -> None:
        """*names* are those of files like ``.gitignore``. With *git* that one counts, too, *user_file* is then the user's own,
        and without *require_repository* they count outside of repositories as well.
        """
        self._names = names
        self._warn = warn
        self._git = git
        self._require_repository = require_repository
        self._user_file = user_file
        self._user_rules: _Rules | None = None
        self._known: dict[bytes, _Here] = {}
        self._known_bytes = 0
        self._told: set[bytes] = set()
        self._last: tuple[bytes, _Here] = (b"", _Here())

    def rejects(self, path: bytes, info: FileInfo) -> bool:
        """See `restic_format.backup.select.Reject`."""
        directory, _, name = path.rpartition(b"/")
        if directory != self._last[0] or not self._last[0]:
            self._last = directory, self._in(directory)
        here = self._last[1]
        if not here.own and not here.git:
            return False
        is_dir = stat.S_ISDIR(info.st_mode)
        for rules, base, _ in here.own if name == GIT else (*here.own, *here.git):
            ignored = rules.match(name, path[base:], is_dir=is_dir)
            if ignored is not None:
                return ignored
        return False

    def _in(self, directory: bytes) -> _Here:
        """What counts in *directory*, an absolute path without a slash at the end."""
        missing: list[bytes] = []
        current: bytes | None = directory
        here: _Here | None = None
        while current is not None and (here := self._known.get(current)) is None:
            missing.append(current)
            current = current.rpartition(b"/")[0] if current else None
        for current in reversed(missing):
            above = here if here is not None else self._at_the_top()
            here = self._below(above, current)
            added = 0 if here.own == above.own and here.git == above.git else here.size()
            if len(self._known) >= _REMEMBERED_DIRECTORIES or self._known_bytes + added > _REMEMBERED_BYTES:
                self._known.clear()
                self._known_bytes = 0
                re.purge()  # it keeps the compiled patterns otherwise
            self._known[current] = here
            self._known_bytes += added
        assert here is not None
        return here

    def _at_the_top(self) -> _Here:
        if not self._git or self._require_repository:
            return _Here()
        return _Here(git=self._users(1), in_repository=True)

    def _below(self, above: _Here, directory: bytes) -> _Here:
        """What counts in *directory*, where *above* counts in the one above it."""
        left = MOST_BYTES - above.size()
        base = len(directory) + 1
        own: list[_Rules] = []
        for name in self._names:
            found = self._read(Place.of_target(directory + b"/" + name), base, left - sum(rules.size for rules in own))
            if found is not None:
                own.insert(0, found)
        here = above._replace(own=(*own, *above.own)) if own else above
        if not self._git or above.inside_git:
            return here
        if directory.endswith(b"/" + GIT):
            return here._replace(git=(), in_repository=False, inside_git=True)
        git = above.git
        if os.path.exists(directory + b"/" + GIT):
            here = here._replace(in_repository=True)
            excluded = self._read(_info_exclude(directory), base, left, follow=True)
            git = (*(() if excluded is None else (excluded,)), *self._users(base))
        elif not here.in_repository:
            return here
        found = self._read(Place.of_target(directory + b"/" + GIT_IGNORE), base, left - sum(rules.size for rules in own))
        return here._replace(git=git if found is None else (found, *git))

    def _users(self, base: int) -> tuple[_Rules, ...]:
        """The patterns of the user's own file, which count from *base* on."""
        if self._user_file and self._user_rules is None:
            none = _Rules(IgnoreRules(b""), 0, 0)
            self._user_rules = self._read(Place.of_target(self._user_file), 0, MOST_BYTES, follow=True) or none
        return (self._user_rules._replace(base=base),) if self._user_rules else ()

    def _read(self, place: Place | None, base: int, most: int, *, follow: bool = False) -> _Rules | None:
        """The patterns of a file of at most *most* bytes; None where there are none."""
        if place is None:
            return None
        try:
            raw = _content(place, max(most, 0), follow=follow)
            rules = IgnoreRules(raw) if raw else None
        except (OSError, _Unusable, ResticFormatError) as error:
            if isinstance(error, OSError):
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    return None
                error = SourceError.from_os("open", place.path, error)
            if place.path not in self._told and len(self._told) < _REMEMBERED_DIRECTORIES:
                self._told.add(place.path)
                self._warn(f"ignore file {gojson.to_text(place.path)} is not used: {error}")
            return None
        return _Rules(rules, base, len(raw)) if rules else None


def _content(place: Place, most: int, *, follow: bool) -> bytes:
    """What is in a regular file of at most *most* bytes.

    Raises:
        OSError: it cannot be read.
        _Unusable: it is something else, or larger.
    """
    info = os.stat(place.path) if follow else look_closely(place)
    if stat.S_ISLNK(info.st_mode):
        raise _Unusable("it is a symbolic link, which git does not follow either")
    if not stat.S_ISREG(info.st_mode):
        raise _Unusable("it is not a regular file")
    fd = open_source(place, OPEN_FLAGS & ~os.O_NOFOLLOW if follow else OPEN_FLAGS)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _Unusable("it is not a regular file")
        raw = file.read(most + 1)
    if len(raw) > most:
        raise _Unusable(f"the ignore files that count there have more than {MOST_BYTES >> 20} MiB together")
    return raw


_MOST_OF_A_LINK = 8192


def _info_exclude(directory: bytes) -> Place | None:
    """Where the ``info/exclude`` of a repository is: its ``.git`` may be a file that says where the real one is."""
    git = directory + b"/" + GIT
    try:
        if os.path.isfile(git):
            named = _content(Place.of_target(git), _MOST_OF_A_LINK, follow=True)
            if not named.startswith(b"gitdir:"):
                return None
            git = os.path.join(directory, named.removeprefix(b"gitdir:").strip())
            common = Place.of_target(git + b"/commondir")
            if os.path.isfile(common.path):
                git = os.path.join(git, _content(common, _MOST_OF_A_LINK, follow=True).strip())
        return Place.of_target(git + b"/info/exclude")
    except (OSError, ValueError, _Unusable):
        return None
