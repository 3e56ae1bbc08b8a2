"""What every JSON document of the format shares: declared fields in restic's order, unknown fields kept.

A `Document` is a msgspec struct whose fields are the wire form. Fields this specification does not know (a newer restic,
rustic's extensions) are kept in ``extra`` as raw JSON and written back after the known ones (FILE-8).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

import msgspec

from restic_spec import gojson
from restic_spec.errors import JsonInvalid

T = TypeVar("T", bound="Document")

# What is written with a fraction or an exponent is not an integer (GOJSON-14).
U32 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
"""An integer of 32 bits without sign; Go refuses others, and so do we."""
Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""A size or count that system calls can take."""
Natural = Annotated[int, msgspec.Meta(ge=0)]
"""An integer of 64 bits without sign (msgspec cannot check the upper bound: see `check_naturals`)."""
I64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""An integer of 64 bits."""

Id = Annotated[str, msgspec.Meta(extra={"form": "ID"})]
"""An id in its textual form (LAYOUT-2); whether it is one is checked when all is decoded."""
Time = Annotated[str, msgspec.Meta(extra={"form": "TIME"})]
"""A time (GOJSON-8); likewise."""

_NO_EXTRA: dict[str, msgspec.Raw] = {}
_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class Document(msgspec.Struct, omit_defaults=True, dict=True):
    """Base of the JSON documents."""

    @property
    def extra(self) -> dict[str, msgspec.Raw]:
        """Fields of the stored object that are not declared, as raw JSON, in stored order."""
        extra: dict[str, msgspec.Raw] = self.__dict__.get("extra", _NO_EXTRA)
        return extra

    def keep_extra(self, fields: dict[str, msgspec.Raw], what: str = "", only: Collection[str] | None = None) -> None:
        """Remember from all *fields* of the stored object those that are not declared, or of these *only* some.

        Raises:
            JsonInvalid: one of them is not UTF-8 or has escapes that are not a character (GOJSON-11).
        """
        known = self.__struct_encode_fields__
        kept = fields if only is None else only
        extra = {name: raw.copy() for name, raw in fields.items() if name not in known and name in kept}
        if extra:
            check_raw(extra, what)
        if extra or self.extra:
            self.__dict__["extra"] = extra


def decode(kind: type[T], raw: bytes | bytearray | memoryview, what: str, clause: str, *, keep_unknown: bool = True) -> T:
    """Decode one document, unknown fields included where *keep_unknown* says so.

    Raises:
        JsonInvalid: not JSON, not UTF-8 (GOJSON-11), or not of this schema. *what* names the object, *clause* the rule.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    value: T = decode_known(decoder, raw, what, clause)
    if keep_unknown:
        value.keep_extra(raw_members(raw, what, clause), what)
    return value


def check_raw(members: dict[str, msgspec.Raw], what: str = "") -> None:
    """Check raw members, which were only skimmed so far: what is copied into new files must be sound.

    Raises:
        JsonInvalid: one of them is not UTF-8 or has escapes that are not a character (GOJSON-11).
    """
    for name, raw in members.items():
        try:
            decode_known(_anything, raw, "", "GOJSON-11")
        except JsonInvalid as error:
            raise JsonInvalid(f"member {name[:80]!r}: {error.what}", object=what, clause=error.clause) from None


def raw_members(raw: bytes | bytearray | memoryview, what: str, clause: str) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, not parsed.

    Raises:
        JsonInvalid: not a JSON object, or a name that is not UTF-8 (names that are skipped are not looked at before).
    """
    members: dict[str, msgspec.Raw] = decode_known(_raw_object, raw, what, clause)
    return members


def decode_known(decoder: msgspec.json.Decoder[Any], raw: bytes | bytearray | memoryview, what: str, clause: str) -> Any:
    """Decode with *decoder* and turn msgspec's errors into ours; members that are null are absent (GOJSON-13)."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        failure: Exception = error
        if "got `null`" in str(error):
            from restic_spec import jsonspans  # Hardly ever needed.

            try:
                return decoder.decode(jsonspans.without_nulls(raw, decoder.type, what))
            except msgspec.MsgspecError as again:
                failure = again
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        failure = error
    raise JsonInvalid(str(failure), object=what, clause=clause) from None


def check_naturals(what: str, clause: str, *values: int) -> None:
    """Check the upper bound that msgspec cannot check.

    Raises:
        JsonInvalid: one of *values* is beyond 64 bits.
    """
    if any(value >> 64 for value in values):
        raise JsonInvalid("a number is beyond 64 bits", object=what, clause=clause)


def encode(document: Document) -> bytes:
    """The bytes restic stores for *document*: compact, in declared order, Go's escapes; then the unknown fields."""
    return splice(gojson.encode(document), document.extra)


def splice(encoded: bytes, extra: dict[str, msgspec.Raw]) -> bytes:
    """Append the fields *extra* to the JSON object *encoded*."""
    if not extra:
        return encoded
    fields = b",".join(gojson.encode(name) + b":" + bytes(raw) for name, raw in extra.items())
    body = encoded[:-1]
    return b"".join((body, b"" if body == b"{" else b",", fields, b"}"))
