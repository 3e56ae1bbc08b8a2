"""Repositories that are not in a folder: where they are, and what programs must be told to reach them.

Somebody else starts the servers and describes them in a file of JSON, a list of objects with the members of `Place`. Wherever
``{repo}`` stands in one of them, a name comes that no repository had yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMED = "{repo}"
"""Stands for the name of a new repository."""


@dataclass(frozen=True)
class Remote:
    """A repository on a server, as one program reaches it."""

    location: str
    words: Sequence[str] = ()
    """Options and flags for the command line."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.location


@dataclass(frozen=True)
class Place:
    """Where repositories can be made."""

    name: str
    location: str
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()
    folder: str = ""
    """Where the files of a repository lie on this machine; "" where they do not."""
    without: Sequence[str] = ()
    """Programs that have no storage for it; names that begin like these. They work in the folder."""

    def repository(self, name: str) -> Place:
        """The place of the repository *name*."""

        def filled(texts: Mapping[str, str]) -> dict[str, str]:
            return {key: text.replace(NAMED, name) for key, text in texts.items()}

        return Place(
            self.name,
            self.location.replace(NAMED, name),
            filled(self.options),
            filled(self.environment),
            self.flags,
            self.folder.replace(NAMED, name),
            self.without,
        )

    def reached_by(self, program: str) -> Remote | None:
        """How *program* reaches it; None where it cannot."""
        if program.startswith(tuple(self.without)):
            return Remote(self.folder) if self.folder else None
        options = [word for item in self.options.items() for word in ("-o", "=".join(item))]
        return Remote(self.location, [*options, *self.flags], self.environment)


def read_places(path: Path) -> list[Place]:
    """The places that a file describes. Raises :class:`ValueError` where it does not."""
    try:
        return [Place(**members) for members in json.loads(path.read_bytes())]
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe places for repositories: {error}") from None
