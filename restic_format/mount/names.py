"""What a mounted repository shows above its snapshots: folders and links, named after the snapshots by templates."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence

from restic_format.snapshots.find import FoundSnapshot
from restic_spec import golayout
from restic_spec.gojson import to_bytes
from restic_spec.snapshot import is_partial

PATH_TEMPLATES = ("ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T")
"""restic's own."""
TIME_TEMPLATE = golayout.RFC3339
LATEST = "latest"
"""The link beside snapshots that are named by their time, to the last of them."""
MAX_NAME = 255
"""Bytes of a name."""
DEEPEST = 100
"""Names of a path; a host or a tag with more slashes is not shown by its name."""

_PIECE = re.compile("%.?|[^%]+", re.DOTALL)


class Place:
    """A folder above the snapshots, a link, or where a snapshot begins."""

    def __init__(self, path: str) -> None:
        self.path = path
        """From the mount point on, "" for itself, with a ``/`` before each name."""
        self.names: dict[str, Place] = {}
        self.snapshot: FoundSnapshot | None = None
        """The snapshot that begins here, or that the link leads to."""
        self.target = ""
        """Where the link leads to; "" where this is no link."""

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder above snapshots."""
        return self.snapshot is None


class Layout:
    """The places for some snapshots; ``root`` is the mount point."""

    def __init__(
        self,
        snapshots: Iterable[FoundSnapshot],
        path_templates: Sequence[str] = PATH_TEMPLATES,
        time_template: str = TIME_TEMPLATE,
    ) -> None:
        self._places: dict[str, Place] = {}
        self.root = self._place("")
        newest: dict[str, tuple[FoundSnapshot, str]] = {}
        for template in path_templates:
            prefix = static_prefix(template)
            if prefix:
                self._place(_clean(prefix))
        for found in sorted(snapshots, key=lambda item: (item.time_ns, item.id)):
            for template in path_templates:
                paths, suffix = expand(template, time_template, found)
                for path in paths:
                    name = self._add(path, suffix, found)
                    # A partial snapshot is the latest only where there is no other (SNAP-23).
                    first = path not in newest or is_partial(newest[path][0].snapshot)
                    if suffix and name and (first or not is_partial(found.snapshot)):
                        newest[path] = found, name
        for path, (found, name) in newest.items():
            where = _clean(f"{path}/{LATEST}")
            if where not in self._places and _usable(where):
                link = self._place(where)
                link.snapshot, link.target = found, name

    def get(self, path: str) -> Place | None:
        """The place at *path*, see `Place.path`."""
        return self._places.get(path)

    def _add(self, path: str, suffix: str, found: FoundSnapshot) -> str:
        """Put a snapshot at a path; what *suffix* has become there, "" where the system cannot have such a name."""
        name = self._unused(path, suffix)
        where = _clean(path + name)
        if not _usable(where):
            return ""
        self._place(where).snapshot = found
        return name

    def _unused(self, path: str, name: str) -> str:
        """*name*, or with a number after it where another snapshot has that already."""
        unused, number = name, 0
        while _clean(path + unused) in self._places:
            number += 1
            unused = f"{name}-{number}"
        return unused

    def _place(self, path: str) -> Place:
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = Place(path)
            if path:
                above, _, name = path.rpartition("/")
                self._place(above).names[name] = place
        return place


def expand(template: str, time_template: str, found: FoundSnapshot) -> tuple[list[str], str]:
    """The paths of a snapshot by a path template, and what follows them if that ends with the time.

    One for each tag if the template has ``%t``, none for a snapshot without tags.
    """
    snapshot = found.snapshot
    moment = golayout.format_time(time_template, golayout.clock_of(snapshot.time))
    paths = [""]
    for text, is_last in _pieces(template):
        match text:
            case "%T":
                if is_last:
                    return paths, moment
                added = [moment]
            case "%t":
                # As restic: a single tag may be a path of folders.
                added = snapshot.tags if len(snapshot.tags) == 1 else [name_of_tag(tag) for tag in snapshot.tags]
            case "%i":
                added = [found.short_id]
            case "%I":
                added = [found.id.hex()]
            case "%u":
                added = [snapshot.username]
            case "%h":
                added = [snapshot.hostname]
            case _:
                added = [text[1:] if text.startswith("%") else text]
        paths = [path + piece for piece in added for path in paths]
    return paths, ""


def _pieces(template: str) -> Iterator[tuple[str, bool]]:
    """The verbs of a template and the texts between them, each with whether it is the last."""
    for match in _PIECE.finditer(template):
        yield match[0], match.end() == len(template)


def name_of_tag(tag: str) -> str:
    """A tag as the name of a folder."""
    return {"": "_", ".": "_", "..": "__"}.get(tag) or tag.replace("/", "_")


def static_prefix(template: str) -> str:
    """The folders of a path template that are there without any snapshot, "" for none."""
    end = 0
    for text, _ in _pieces(template):
        if text in ("%i", "%I", "%u", "%h", "%t", "%T"):
            return template[: end + 1].rpartition("/")[0]
        end += len(text)
    return ""


def _clean(path: str) -> str:
    """*path* with a ``/`` before each name and nothing to be resolved; "" for the mount point."""
    return "/" + posixpath.normpath(f"/{path}").strip("/") if path.strip("/") else ""


def _usable(path: str) -> bool:
    """Whether the system can have such names."""
    if path.count("/") > DEEPEST:
        return False
    return "\0" not in path and all(len(to_bytes(name)) <= MAX_NAME for name in path.split("/"))
