"""JSON as Go's ``encoding/json`` writes it, and Go's ``strconv.Quote``.

Content addresses depend on these bytes: a tree's id is the hash of its JSON. msgspec produces the same compact form with
fields in declared order; what is left is Go's habit of escaping ``<``, ``>``, ``&``, U+2028 and U+2029, and of writing bytes
that are not UTF-8 as ``\\ufffd``.

Text that came from bytes is a ``str`` with ``surrogateescape``, so that nothing is lost inside the program.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any, Final

import msgspec

from restic_spec.errors import JsonInvalid, NameInvalid
from restic_spec.printable import is_printable

_encoder = msgspec.json.Encoder()
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_HTML: Final = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
)
_SEPARATORS: Final = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)
_NEEDS_QUOTING = re.compile(r"[^ !#-\[\]-~]")
_SHORT: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_SHORT_BYTES: Final = {escape[1]: char.encode() for char, escape in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))|\\|\"|\n")


def to_bytes(text: str) -> bytes:
    """The bytes that *text* (``surrogateescape``) stands for."""
    return text.encode("utf-8", "surrogateescape")


def to_text(raw: bytes) -> str:
    """*raw* as text; bytes that are not UTF-8 become lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def encode(value: Any) -> bytes:
    """The bytes Go's ``json.Marshal`` gives for *value* (msgspec structs, lists, dicts with sorted keys, str, int, bool).

    Clauses GOJSON-1, GOJSON-2, GOJSON-3, GOJSON-4, GOJSON-10, GOJSON-12; control characters as Go 1.22 and later (DIFF-3).

    Floats differ (Go writes ``1`` for 1.0): wrap them with `go_float`.
    """
    try:
        raw = _encoder.encode(value)
    except UnicodeEncodeError:
        raw = _encode_replacing(msgspec.to_builtins(value, builtin_types=(msgspec.Raw,)))
    return escape_html(raw)


def _encode_replacing(value: Any) -> bytes:
    """Encode what holds bytes that are not UTF-8: each becomes ``\\ufffd`` (GOJSON-4). msgspec refuses such text."""
    if isinstance(value, str):
        import json  # Hardly ever needed.

        return _LONE_SURROGATE.sub(r"\\ufffd", json.dumps(value, ensure_ascii=False)).encode()
    if isinstance(value, dict):
        members = (_encode_replacing(key) + b":" + _encode_replacing(item) for key, item in value.items())
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(_encode_replacing, value)) + b"]"
    return _encoder.encode(value)


def escape_html(raw: bytes) -> bytes:
    """Escape the five characters Go never writes plainly (GOJSON-3); *raw* is JSON, where they occur inside strings only."""
    for plain, escaped in _HTML if raw.isascii() else _HTML + _SEPARATORS:
        if plain in raw:
            raw = raw.replace(plain, escaped)
    return raw


def go_float(value: float) -> msgspec.Raw:
    """A float64 as Go writes it: shortest form, no ``.0``, exponents only below 1e-6 and from 1e21 (GOJSON-9).

    Raises:
        JsonInvalid: *value* is infinite or not a number, which Go refuses too.
    """
    if not math.isfinite(value):
        raise JsonInvalid(f"{value} has no JSON form", clause="GOJSON-9")
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        return msgspec.Raw(re.sub(r"e([+-])0*", r"e\1", repr(value)).encode())
    return msgspec.Raw(format(Decimal(repr(value)), "f").removesuffix(".0").encode())


def quote(text: str) -> str:
    """``strconv.Quote`` without the outer quotes: how a node's name is written before it is JSON-encoded (GOJSON-5)."""
    if _NEEDS_QUOTING.search(text) is None:
        return text
    return "".join(char if " " <= char <= "~" and char not in '"\\' else _quote_char(char) for char in text)


def _quote_char(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if is_printable(char):
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(quoted: str) -> str:
    """Reverse `quote`, and take every other escape of a Go string as well (GOJSON-7).

    Raises:
        NameInvalid: a bare quote or newline, or an escape Go does not know.
    """
    if "\\" not in quoted and '"' not in quoted and "\n" not in quoted:
        return quoted
    return to_text(_ESCAPE.sub(_unescape, quoted).encode("utf-8", "surrogateescape"))


def _unescape(match: re.Match[str]) -> str:
    short, hex2, hex4, hex8, octal = match.groups()
    if short is not None:
        return _SHORT_BYTES[short].decode()
    if hex2 is not None or octal is not None:
        byte = int(hex2, 16) if hex2 is not None else int(octal, 8)
        if byte < 0x80:
            return chr(byte)
        if byte < 0x100:
            # A raw byte: joined with its neighbours it may well be UTF-8, which the caller's round trip sorts out.
            return chr(0xDC00 + byte)
    elif hex4 is not None or hex8 is not None:
        code = int(hex4 or hex8, 16)
        if code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code)
    raise NameInvalid(f"{match.string[:80]!r} is not a quoted name", clause="TREE-5")
