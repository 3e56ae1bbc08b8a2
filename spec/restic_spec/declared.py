"""What the declarations of JSON documents say of a member: its clause, its meaning, and whether it is base64."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from restic_spec.config import Config
from restic_spec.index import IndexFile
from restic_spec.keyfile import KeyFile, MasterKeyJson
from restic_spec.lock import Lock
from restic_spec.notes import field_notes
from restic_spec.rustic import ConfigMembers, SnapshotMembers
from restic_spec.snapshot import OwnMembers, Snapshot, SnapshotSummary
from restic_spec.tree import Node, Tree

CLAUSES: dict[Any, str] = {
    Config: "CONFIG-2",
    IndexFile: "INDEX-1",
    KeyFile: "KEY-2",
    Lock: "LOCK-1",
    MasterKeyJson: "KEY-7",
    Node: "TREE-3",
    Snapshot: "SNAP-1",
    Tree: "TREE-1",
}
"""Every JSON document, and the clause of those of its members that name none of their own."""

UNKNOWN = "FILE-8"
"""The clause of what stands between the members, and of members that are not declared."""

_RAW: dict[tuple[Any, str], Any] = {(Snapshot, "summary"): SnapshotSummary}
"""Declarations of members that are kept as they are."""
_EXTRA: dict[Any, tuple[type[msgspec.Struct], ...]] = {Config: (ConfigMembers,), Snapshot: (SnapshotMembers, OwnMembers)}
"""Declarations of members that restic does not have."""

_CLAUSES_IN_BRACKETS = re.compile(r" \((?:[A-Z]+-\d+(?:, | to |; | and )?)+\)")
_LONGEST_NAME = 200
"""Characters of a name that is looked up; no member has one as long."""


class Declared(NamedTuple):
    """What is declared of a member."""

    clause: str
    meaning: str
    """One line."""
    encoded: bool = False
    """Whether it is bytes, as base64."""


_NOTHING = Declared(UNKNOWN, "a member that this specification does not know")


def declared(document: Any, names: tuple[str, ...]) -> Declared:
    """What is said of the member of *document* that *names* lead to; elements of lists are what their list is."""
    return _NOTHING if any(len(name) > _LONGEST_NAME for name in names) else _declared(document, names)


@lru_cache(maxsize=1024)
def _declared(document: Any, names: tuple[str, ...]) -> Declared:
    own = CLAUSES[document]
    here: Any = document
    found = Declared(own, "the document")
    for step in names:
        struct = struct_of(here)
        if struct is None:
            return found._replace(encoded=False)
        owner = next((one for one in (struct, *_EXTRA.get(struct, ())) if step in _fields(one)), None)
        if owner is None:
            return _NOTHING
        field = _fields(owner)[step]
        here = _RAW.get((owner, step), field.type)
        note = field_notes(owner).get(field.name)
        text = note.text if note is not None else step.replace("_", " ")
        found = Declared((note.clause if note else "") or own, _one_line(text), _is_bytes(here))
    return found


def member_with(struct: Any, clause: str) -> str | None:
    """The only member of *struct* whose note names *clause* first; None where there is none, or there are several."""
    names = {field.name: name for name, field in _fields(struct).items()}
    found = [names[name] for name, note in field_notes(struct).items() if note.clause == clause and name in names]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=100)
def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _one_line(text: str) -> str:
    """The first paragraph of a note as one phrase, without its clauses and marks."""
    line = _CLAUSES_IN_BRACKETS.sub("", " ".join(text.split("\n\n")[0].split())).replace("`", "").removesuffix(".")
    return line[:1].lower() + line[1:] if line[1:2].islower() or line[1:2] == " " else line


def _is_bytes(hint: Any) -> bool:
    return hint is bytes or any(_is_bytes(argument) for argument in getattr(hint, "__args__", ()))


def struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct in a type: itself, what a list has as elements, one of several."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    for argument in getattr(hint, "__args__", ()):
        found = struct_of(argument)
        if found is not None:
            return found
    return None
