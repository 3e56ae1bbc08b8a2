"""The binary forms of the format as the documentation shows them: which there are, and the parts of each, by declaration."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import construct as cs

from restic_spec import binary
from restic_spec.config import Config
from restic_spec.index import IndexFile
from restic_spec.keyfile import KeyFile, MasterKeyJson
from restic_spec.lock import Lock
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Tree


class Form(NamedTuple):
    """A declaration, and where the documentation shows it."""

    name: str
    """Anchor of its table in the schema reference."""
    title: str
    chapter: str
    declaration: Any
    says: str
    """What it is, one sentence of Markdown."""
    drawn: bool = True
    """Whether its chapter has a byte map of it; others are a part of one."""


_UNPACKED = Snapshot | IndexFile | Lock

FORMS = (
    Form("sealed-message", "Sealed message", "crypto", binary.SEALED, "Everything in a repository but key files (CRYPTO-1)."),
    Form("derived-key", "Derived key", "keys", binary.DERIVED_KEY, "What scrypt makes of a password (KEY-4)."),
    Form("key-file", "Key file", "keys", binary.key_file(KeyFile), "A file in `keys/`, which is not sealed (KEY-1)."),
    Form(
        "key-data",
        "Data of a key file",
        "keys",
        binary.key_data(MasterKeyJson),
        "The member `data` of a key file, decoded from base64 (KEY-7).",
    ),
    Form("config-file", "Config file", "config", binary.config_file(Config), "The file `config`, in both versions (CONFIG-1)."),
    Form(
        "unpacked-file-of-version-1",
        "Unpacked file of version 1",
        "unpacked",
        binary.unpacked(_UNPACKED, marked=False),
        "A snapshot, index or lock in a repository of version 1 (FILE-1).",
    ),
    Form(
        "unpacked-file-of-version-2",
        "Unpacked file of version 2",
        "unpacked",
        binary.unpacked(_UNPACKED, marked=True),
        "A snapshot, index or lock in a repository of version 2 (FILE-2).",
    ),
    Form("pack", "Pack", "packs", binary.PACK, "A file with blobs (PACK-1)."),
    Form("pack-header", "Pack header", "packs", binary.HEADER, "What is sealed in a pack's `header`: entries (PACK-5).", False),
    Form(
        "pack-header-entry", "Pack header entry", "packs", binary.ENTRY, "What a pack's header says of a blob (PACK-6).", False
    ),
    Form(
        "blob",
        "Blob",
        "packs",
        binary.blob(compressed=False),
        "One of a pack's `blobs`, of kind 0 or 1: data, or a tree (PACK-12).",
    ),
    Form(
        "compressed-blob",
        "Compressed blob",
        "packs",
        binary.blob(compressed=True),
        "One of a pack's `blobs`, of kind 2 or 3 (PACK-12).",
    ),
    Form("tree-blob", "Tree", "trees", binary.blob(Tree, compressed=True), "A directory's blob, here compressed (PACK-12)."),
)


class Part(NamedTuple):
    """A field of a form."""

    name: str
    size: int | None
    """Bytes; None for as many as there are."""
    optional: bool
    form: str
    """What its bytes are."""
    clause: str
    meaning: str
    how: str
    inner: Any
    """Declaration of what is inside; None for none."""
    each: Any = None
    """Of a field that consists of any number of others, what each of them is declared as."""
    listed: str = ""
    """Of a field whose parts are listed elsewhere, where: ``header.entries``."""

    @property
    def extent(self) -> str:
        """Its size in words."""
        if self.size is None:
            return "variable"
        return f"{'0 or ' if self.optional else ''}{self.size} byte{'s' if self.size != 1 else ''}"


def parts(declaration: Any) -> Iterator[Part]:
    """The fields of a struct's *declaration*."""
    for field in declaration.subcons:
        inner: Any = field.subcon
        each = inner.subcon if isinstance(inner, cs.GreedyRange) else None
        optional = isinstance(inner, cs.IfThenElse)
        if optional:
            inner = inner.thensubcon
        form = "bytes"
        if isinstance(inner, cs.Enum):
            form = ", ".join(f"{value} {name}" for name, value in inner.encmapping.items())
        elif isinstance(inner, cs.FormatField | cs.Rebuild):
            form = "unsigned integer"
        try:
            size: int | None = inner.sizeof()
        except cs.SizeofError:
            size = None
        listed = f"{field.listed.field}.{field.listed.entries}" if field.listed is not None else ""
        yield Part(field.name, size, optional, form, field.clause, field.meaning, field.how, field.inner, each, listed)


def documents(declaration: Any) -> tuple[type, ...]:
    """The JSON documents that *declaration* stands for: one, each of a union, or none."""
    if isinstance(declaration, types.UnionType):
        return typing.get_args(declaration)
    return (declaration,) if isinstance(declaration, type) else ()


def name_of(declaration: Any) -> str:
    """The title of a form that has its own table, "" for any other."""
    return next((form.title for form in FORMS if form.declaration is declaration), "")


def branches(declaration: Any) -> tuple[Any, ...]:
    """The forms that *declaration* may have: itself, but for those that are chosen by their first bytes."""
    if isinstance(declaration, cs.IfThenElse):
        return declaration.thensubcon, declaration.elsesubcon
    return (declaration,)
