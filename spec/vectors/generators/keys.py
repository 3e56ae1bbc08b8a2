"""Vectors for key files."""

from __future__ import annotations

import base64
import json
from typing import Any

from vectors.generators.base import Chapter, key_json

from restic_spec.crypto import seal
from restic_spec.keyfile import Kdf, derive, encode_master_key

PASSWORD = "correct horse battery staple"


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def keys() -> Chapter:
    """KEY."""
    out = Chapter("keys")
    source = out.source
    _derivation(out)

    master = source.key()
    kdf = Kdf(16, 1, 1, source.draw(64))
    sealed_with = derive(PASSWORD.encode(), kdf)
    iv = source.draw(16)
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05.678901234+01:00",
        "username": "somebody",
        "hostname": "somewhere",
        "kdf": "scrypt",
        "N": 16,
        "r": 1,
        "p": 1,
        "salt": _b64(kdf.salt),
        "data": _b64(seal(sealed_with, encode_master_key(master), iv)),
    }

    def unwrap(
        label: str,
        clauses: str | list[str],
        changed: dict[str, Any],
        expect: str = "valid",
        password: str = PASSWORD,
        without: tuple[str, ...] = (),
        comment: str = "",
        spaced: bool = False,
    ) -> None:
        document = {name: value for name, value in {**fields, **changed}.items() if name not in without}
        text = json.dumps(document, separators=None if spaced else (",", ":"), ensure_ascii=False)
        output = {"key": key_json(master)} if expect == "valid" else None
        out.add(label, "unwrap", clauses, {"keyfile": text, "password": password}, expect, output, comment)

    def master_json(label: str, clauses: str | list[str], text: str, expect: str) -> None:
        unwrap(label, clauses, {"data": _b64(seal(sealed_with, text.encode(), iv))}, expect)

    unwrap("valid", ["KEY-1", "KEY-2", "KEY-7", "KEY-8"], {})
    unwrap("white-space", "KEY-1", {}, spaced=True)
    unwrap("unknown-member", "FILE-8", {"comment": "kept"})
    unwrap("rustic-nothing-optional", "KEY-12", {}, without=("created", "username", "hostname"))
    unwrap("wrong-password", "KEY-9", {}, "mac-invalid", "correct horse battery stapl")
    unwrap("empty-password", "KEY-9", {}, "mac-invalid", "")
    other_salt = _b64(source.draw(64))
    unwrap("other-salt", "KEY-9", {"salt": other_salt}, "mac-invalid")
    unwrap("other-cost", "KEY-9", {"N": 32}, "mac-invalid")
    for kind in ("pbkdf2", "", "Scrypt"):
        unwrap(f"kdf-{kind or 'empty'}", "KEY-3", {"kdf": kind}, "kdf-invalid")
    unwrap("kdf-missing", "KEY-3", {}, "kdf-invalid", without=("kdf",))
    for name in ("N", "r", "p", "salt"):
        unwrap(f"missing-{name}", "KEY-2", {}, "kdf-invalid", without=(name,))
    for size in (0, 8, 63, 65):
        unwrap(f"salt-{size}", "KEY-5", {"salt": _b64(source.draw(size))}, "kdf-invalid")
    for label, changed in {
        "zero-n": {"N": 0},
        "one-n": {"N": 1},
        "odd-n": {"N": 15},
        "no-power-n": {"N": 24},
        "negative-n": {"N": -16},
        "zero-r": {"r": 0},
        "zero-p": {"p": 0},
        "huge-n": {"N": 1 << 40},
        "memory-bomb": {"N": 1 << 24, "r": 8},
        "r-p-product": {"r": 1 << 15, "p": 1 << 15},
    }.items():
        unwrap(f"scrypt-{label}", "KEY-6", changed, "kdf-invalid")
    unwrap("n-not-integer", "KEY-2", {"N": 16.5}, "json-invalid")
    unwrap("salt-not-base64", "KEY-8", {"salt": "*" * 88}, "json-invalid")
    unwrap("data-empty", "KEY-7", {"data": ""}, "json-invalid")
    unwrap("data-short", "CRYPTO-1", {"data": _b64(bytes(31))}, "length-invalid")
    damaged = bytearray(base64.b64decode(fields["data"]))
    damaged[40] ^= 4
    unwrap("data-flipped", "KEY-9", {"data": _b64(bytes(damaged))}, "mac-invalid")

    good = encode_master_key(master).decode()
    master_json("master-not-json", "KEY-7", good[:-1], "json-invalid")
    master_json("master-empty", "KEY-7", "", "json-invalid")
    master_json("master-no-mac", "KEY-7", json.dumps({"encrypt": _b64(master.encrypt)}), "json-invalid")
    short = {"mac": {"k": _b64(master.mac_k), "r": _b64(master.mac_r)}, "encrypt": _b64(master.encrypt[:-1])}
    master_json("master-short", "KEY-11", json.dumps(short), "length-invalid")
    zero = {"mac": {"k": _b64(master.mac_k), "r": _b64(bytes(16))}, "encrypt": _b64(master.encrypt)}
    master_json("master-zero", "KEY-11", json.dumps(zero), "length-invalid")
    out.add("not-json", "unwrap", "KEY-1", {"keyfile": "", "password": PASSWORD}, "json-invalid")
    out.add("array", "unwrap", "KEY-1", {"keyfile": "[]", "password": PASSWORD}, "json-invalid")
    text = json.dumps(fields)
    out.add("cut", "unwrap", "KEY-1", {"keyfile": text[:-20], "password": PASSWORD}, "json-invalid")
    return out


def _derivation(out: Chapter) -> None:
    for label, password, cost in (
        ("ascii", PASSWORD, (16, 8, 1)),
        ("p-2", "x", (8, 2, 2)),
        ("restic", "geheim", (32768, 8, 1)),
    ):
        kdf = Kdf(*cost, out.source.draw(64))
        given = {"password": password, "N": kdf.N, "r": kdf.r, "p": kdf.p, "salt": kdf.salt.hex()}
        output = {"key": key_json(derive(password.encode(), kdf))}
        out.add(f"derive-{label}", "derive", "KEY-4", given, output=output)
    salt = out.source.draw(64)
    for label, password in (("composed", "p\u00e4ss"), ("decomposed", "pa\u0308ss"), ("empty", ""), ("emoji", "\U0001f511")):
        given = {"password": password, "N": 4, "r": 1, "p": 1, "salt": salt.hex()}
        output = {"key": key_json(derive(password.encode(), Kdf(4, 1, 1, salt)))}
        out.add(f"derive-{label}", "derive", "KEY-4", given, output=output, comment="Passwords are not normalised.")
