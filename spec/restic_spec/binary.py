"""Everything binary in a repository, declared with construct: the only place where these bytes are written down.

The declarations compose: a sealed message is IV, ciphertext and MAC; a pack is blobs, a sealed header and the header's length;
an unpacked file of version 2 is sealed and either a document or a mark and a frame. Each field carries its clause, a line of
meaning and its rules as data, and what is in it once it is opened. From here `restic_spec.constants`, the engine's `struct`
formats and a C header are generated (``scripts/generate.py``), `restic_spec.pack` takes its checks, and
`restic_spec.regions` what it shows of every byte.

Importing construct takes longer than many commands do: programs in a hurry import `restic_spec.constants` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import construct as cs
from construct import ConstructError

from restic_spec.errors import HeaderInvalid, LengthInvalid, MacInvalid, SpecError, VersionUnsupported

__all__ = [
    "COMPRESSED_KINDS",
    "DERIVED_KEY",
    "ENTRY",
    "HEADER",
    "LENGTH_FIELD",
    "LONGEST_HEADER",
    "MARK",
    "PACK",
    "SEALED",
    "ConstructError",
    "Field",
    "Form",
    "Listed",
    "Rest",
    "Rule",
    "blob",
    "config_file",
    "key_data",
    "key_file",
    "pack_file",
    "unpacked",
    "violations",
]


class Rule(NamedTuple):
    """What must hold for a field, beyond its being there."""

    clause: str
    error: type[SpecError]
    holds: Callable[[Any, Any], bool]
    """Given the field's value and what was parsed before it."""
    says: str
    """What is wrong where it does not hold; ``{value}`` is the value."""


class Listed(NamedTuple):
    """Where the parts of a field are listed, for they do not tell themselves where they end."""

    field: str
    """The field of the same form that holds the list once it is opened."""
    entries: str
    """The field in there that consists of entries, one for each part, in their order."""
    part: Callable[[Any], Any]
    """Given an entry (its fields as attributes), what that part is declared as."""


class Field(cs.Subconstruct):  # type: ignore[type-arg]
    """A named part of a declaration: its clause, meaning and rules, and what it holds once it is opened."""

    def __init__(
        self,
        name: str,
        subcon: Any,
        clause: str,
        meaning: str,
        *rules: Rule,
        inner: Any = None,
        how: str = "",
        bound: int | None = None,
        states: Any = None,
        listed: Listed | None = None,
    ) -> None:
        super().__init__(subcon)
        self.name = name
        self.docs = meaning
        self.clause = clause
        self.meaning = meaning
        self.rules = rules
        self.inner = inner
        """Declaration of what is inside: a construct, a `msgspec` document type, or None where that has no form."""
        self.how = how
        """How one gets there: ``sealed`` (decrypt the message), ``frame`` (expand), ``document`` (the bytes themselves)."""
        self.bound = bound
        """Bytes it may have and be opened nevertheless, None for what holds for all."""
        self.states = states
        """What is stated elsewhere: of a frame the bytes it expands to, of a blob the id of its content. None: nothing is."""
        self.listed = listed
        """Where its parts are listed, None where it has none."""

    def violations(self, value: Any, context: Any) -> list[SpecError]:
        """What is wrong with *value*; *context* is what was parsed before it."""
        broken = [rule for rule in self.rules if not rule.holds(value, context)]
        return [rule.error(rule.says.format(value=value), clause=rule.clause) for rule in broken]


def violations(declaration: Any, parsed: Any) -> Iterator[SpecError]:
    """What is wrong with the fields of what was *parsed* by a declaration."""
    for field in declaration.subcons:
        yield from field.violations(parsed[field.name], parsed)


class Form(cs.Struct):
    """Fields one behind the other, with the clause that is broken, and how, where there are too few bytes for them."""

    def __init__(self, clause: str, meaning: str, *fields: Field, error: type[SpecError] = LengthInvalid) -> None:
        super().__init__(*fields)
        self.clause = clause
        self.meaning = meaning
        self.error = error


class Rest(cs.Construct):  # type: ignore[type-arg]
    """So many bytes as are left in the stream, but for the last ones; in building, whatever is given."""

    def __init__(self, less: Callable[[Any], int]) -> None:
        super().__init__()
        self._less = less
        """Given the stream, how many bytes at its end belong to others."""

    def left(self, stream: Any) -> int:
        """How many bytes that are, from where *stream* stands; ConstructError where some are missing."""
        here = stream.tell()
        left: int = stream.seek(0, 2) - self._less(stream) - here
        stream.seek(here)
        if left < 0:
            raise ConstructError(f"{-left} bytes are missing")
        return left

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        del context, path
        found: bytes = stream.read(self.left(stream))
        return found

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> Any:
        del context, path
        stream.write(obj)
        return obj


def _rest(less: int = 0) -> Any:
    return Rest(lambda _: less)


_IV_BYTES, _MAC_BYTES, _ID_BYTES = 16, 16, 32

SEALED = Form(
    "CRYPTO-1",
    "a sealed message",
    Field(
        "iv",
        cs.Bytes(_IV_BYTES),
        "CRYPTO-1",
        "initial counter block; encrypted with the MAC's AES key it is also the pad of Poly1305",
        Rule(
            "CRYPTO-8",
            MacInvalid,
            lambda iv, _: any(iv),
            "IV consists of zeros, as in a block of storage that was wiped",
        ),
    ),
    Field("ciphertext", _rest(_MAC_BYTES), "CRYPTO-3", "AES-256 in counter mode, as long as the plaintext"),
    Field("mac", cs.Bytes(_MAC_BYTES), "CRYPTO-5", "Poly1305-AES of the ciphertext"),
)
"""A sealed message (CRYPTO-1)."""

OVERHEAD = _IV_BYTES + _MAC_BYTES

DERIVED_KEY = cs.Struct(
    Field("encrypt", cs.Bytes(32), "KEY-4", "AES-256 key"),
    Field("mac_k", cs.Bytes(16), "KEY-4", "AES-128 key of Poly1305-AES"),
    Field("mac_r", cs.Bytes(16), "KEY-4", "multiplier of Poly1305, not clamped yet (CRYPTO-6)"),
)
"""What a password's scrypt yields (KEY-4); a master key has the same parts (CRYPTO-2)."""

COMPRESSED_KINDS = 2
"""Kinds of header entries from here on are those of compressed blobs (PACK-5)."""

LENGTH_FIELD = cs.Int32ul
"""The last four bytes of a pack: length of the sealed header, little endian (PACK-2)."""


KIND: Any = cs.Enum(cs.Int8ul, data=0, tree=1, compressed_data=2, compressed_tree=3)
"""The kinds of header entries (PACK-5)."""


def _is_compressed(kind: Any) -> bool:
    """Whether a *kind*, its number or its word, is that of a compressed blob."""
    return int(KIND.encmapping.get(kind, kind)) >= COMPRESSED_KINDS


def _occurs(kind: int, this: Any) -> bool:
    """Whether the version, where it is known, has this kind; those that none has are another matter."""
    return kind >= 2 * COMPRESSED_KINDS or kind in this.get("_kinds", (kind,))


ENTRY = Form(
    "PACK-6",
    "an entry: what the header says of one blob",
    Field(
        "kind",
        KIND,
        "PACK-5",
        "type of the blob, and whether it is compressed",
        Rule("PACK-5", HeaderInvalid, lambda kind, _: int(kind) < 2 * COMPRESSED_KINDS, "has unknown type {value}"),
        Rule("PACK-9", HeaderInvalid, lambda kind, this: _occurs(int(kind), this), "is compressed, in version 1"),
    ),
    Field(
        "length",
        cs.Int32ul,
        "PACK-6",
        "bytes of the sealed blob",
        Rule("PACK-8", HeaderInvalid, lambda length, _: length >= OVERHEAD, "says {value} bytes, no sealed blob is that short"),
    ),
    Field(
        "uncompressed_length",
        cs.If(lambda this: _is_compressed(this.kind), cs.Int32ul),
        "PACK-6",
        "bytes of the plaintext; of compressed blobs only",
        Rule("PACK-20", HeaderInvalid, lambda length, _: length != 0, "is compressed and empty"),
    ),
    Field("id", cs.Bytes(_ID_BYTES), "PACK-6", "SHA-256 of the plaintext"),
    error=HeaderInvalid,
)
"""A header entry: kind (PACK-5), sealed length, plaintext length (kinds 2 and 3 only), id (PACK-6)."""

HEADER = Form(
    "PACK-5",
    "the list of the blobs",
    Field(
        "entries",
        cs.GreedyRange(ENTRY),
        "PACK-5",
        "an entry for each blob, in their order",
        Rule("PACK-7", HeaderInvalid, lambda entries, _: len(entries) > 0, "lists no blob"),
    ),
    error=HeaderInvalid,
)
"""The opened header: entries until it ends."""

_PLAIN_ENTRY = cs.Int8ul.sizeof() + cs.Int32ul.sizeof() + _ID_BYTES
_SHORTEST_HEADER = OVERHEAD + _PLAIN_ENTRY
LONGEST_HEADER = 16 << 20
"""Bytes a sealed header may have; restic refuses more (PACK-4)."""


def _header_and_length(stream: Any) -> int:
    """Bytes at the end of a pack that are not blobs, as its last four say."""
    stream.seek(-LENGTH_FIELD.sizeof(), 2)
    return LENGTH_FIELD.sizeof() + int(LENGTH_FIELD.parse_stream(stream))


MARK = 2
"""First byte of a compressed document (FILE-2)."""


def _rest_of(name: str, clause: str, meaning: str, inner: Any, how: str, states: Any = None) -> Any:
    return Form(clause, meaning, Field(name, _rest(), clause, meaning, inner=inner, how=how, states=states))


def _plain_or_marked(document: Any) -> Any:
    """What an unpacked file of version 2 holds under its seal: a *document* as it is, or a mark and a frame with it."""
    mark = Rule(
        "FILE-2",
        VersionUnsupported,
        lambda mark, _: mark == MARK,
        "unpacked file starts with byte {value}, not 2, '{{' or '['",
    )
    marked = Form(
        "FILE-2",
        "a mark and a frame",
        Field("mark", cs.Int8ul, "FILE-2", "encoding of what follows", mark),
        Field("frame", _rest(), "FILE-3", "a zstandard frame with the document", inner=document, how="frame"),
    )
    plain = _rest_of("document", "FILE-2", "the document, not compressed", document, "document")
    return cs.IfThenElse(lambda this: _peek(this._io) in (b"", b"{", b"["), plain, marked)


def _peek(stream: Any) -> bytes:
    here = stream.tell()
    byte: bytes = stream.read(1)
    stream.seek(here)
    return byte


def unpacked(document: Any, *, marked: bool) -> Any:
    """A snapshot, index or lock that holds *document*; *marked* says whether the version marks encodings (FILE-1, FILE-2)."""
    plain = _rest_of("document", "FILE-1", "the document itself", document, "document")
    inner = _plain_or_marked(document) if marked else plain
    return _rest_of("file", "CRYPTO-1", "the whole file is one sealed message", inner, "sealed")


def config_file(document: Any) -> Any:
    """The config: sealed, never compressed (CONFIG-1)."""
    plain = _rest_of("document", "CONFIG-1", "the document itself", document, "document")
    return _rest_of("file", "CONFIG-1", "the whole file is one sealed message", plain, "sealed")


def key_data(document: Any) -> Any:
    """The member ``data`` of a key file: the master key's *document*, sealed with the derived key (KEY-7)."""
    plain = _rest_of("document", "KEY-7", "the master key", document, "document")
    return _rest_of("sealed", "KEY-7", "sealed with the key that the password derives", plain, "sealed")


def blob(document: Any = None, *, compressed: bool, size: int | None = None, digest: bytes | None = None) -> Any:
    """A blob of a pack: sealed, with its content or a frame of it (PACK-12); *document* is the form of a tree's.

    *size* and *digest* are what is stated of the content: its bytes, and their SHA-256 (PACK-13).
    """
    if compressed:
        content = _rest_of("frame", "PACK-12", "a zstandard frame with the content", document, "frame", size)
    else:
        content = _rest_of("content", "PACK-12", "the content itself", document, "document")
    return _rest_of("blob", "PACK-1", "a sealed message", content, "sealed", digest)


def key_file(document: Any) -> Any:
    """A key file: the *document* itself, not sealed (KEY-1)."""
    return _rest_of("file", "KEY-1", "the whole file is one document, not sealed", document, "document")


def pack_file(document: Any = None) -> Any:
    """A pack (PACK-1); *document* is the form of trees."""

    def part(entry: Any) -> Any:
        tree, compressed = int(entry.kind) % COMPRESSED_KINDS == 1, int(entry.kind) >= COMPRESSED_KINDS
        inner = document if tree else None
        return blob(inner, compressed=compressed, size=entry.uncompressed_length, digest=entry.id)

    return Form(
        "PACK-2",
        "a pack",
        Field(
            "blobs",
            Rest(_header_and_length),
            "PACK-1",
            "sealed blobs without gaps, in the order of the header",
            listed=Listed("header", "entries", part),
        ),
        Field(
            "header",
            _rest(LENGTH_FIELD.sizeof()),
            "PACK-1",
            "the sealed list of the blobs",
            inner=HEADER,
            how="sealed",
            bound=LONGEST_HEADER,
        ),
        Field(
            "length",
            cs.Rebuild(LENGTH_FIELD, lambda this: len(this.header)),
            "PACK-2",
            "bytes of the sealed header",
            Rule("PACK-3", LengthInvalid, lambda length, _: length >= _SHORTEST_HEADER, "{value} bytes are no header"),
            Rule("PACK-3", LengthInvalid, _fits, "a header of {value} bytes does not fit into the pack"),
            Rule(
                "PACK-4",
                LengthInvalid,
                lambda length, _: length <= LONGEST_HEADER,
                "{value} bytes are over the bound",
            ),
        ),
    )


def _fits(length: int, this: Any) -> bool:
    return bool(length + LENGTH_FIELD.sizeof() <= this.get("_size", 1 << 63))


PACK = pack_file()
"""A pack whose trees are not looked into."""
