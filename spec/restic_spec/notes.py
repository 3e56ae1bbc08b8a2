"""The notes under the fields of the JSON declarations, which Python itself throws away: meaning and clause, as data."""

from __future__ import annotations

import ast
import inspect
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

_CLAUSE = re.compile(r"\b(?!UTF-|AES-|SHA-)[A-Z]+-\d+\b")


class Note(NamedTuple):
    """What a declaration says of one of its fields."""

    text: str
    clause: str
    """The first clause it names, "" where it names none."""


@lru_cache(maxsize=32)
def field_notes(struct: type[msgspec.Struct]) -> dict[str, Note]:
    """The note under each field of *struct*, by the field's name in Python; those without one are left out."""
    source = Path(inspect.getfile(struct)).read_text(encoding="utf-8")
    notes: dict[str, Note] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == struct.__name__:
            for field, note in pairwise(node.body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(note, ast.Expr):
                    text = inspect.cleandoc(str(ast.literal_eval(note.value)))
                    found = _CLAUSE.search(text)
                    notes[field.target.id] = Note(text, found[0] if found else "")
    return notes
