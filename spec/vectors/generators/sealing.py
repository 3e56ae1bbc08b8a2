"""Vectors for ids, layout and sealing."""

from __future__ import annotations

import dataclasses

from vectors.generators.base import Chapter, key_json

from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.ids import id_of

EMPTY_ID = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing (FIPS 180-4)."""


def layout() -> Chapter:
    """LAYOUT."""
    out = Chapter("layout")
    data = out.source.draw(40)
    name = id_of(data).hex()
    out.add("id-of-content", "verify-id", "LAYOUT-1", {"data": data.hex(), "id": name}, output={})
    out.add("id-of-nothing", "verify-id", "LAYOUT-1", {"data": "", "id": EMPTY_ID}, output={})
    flipped = bytes((data[0] ^ 1,)) + data[1:]
    out.add("id-bit-flipped", "verify-id", "LAYOUT-1", {"data": flipped.hex(), "id": name}, "id-mismatch")
    out.add("id-cut-short", "verify-id", "LAYOUT-1", {"data": data[:-1].hex(), "id": name}, "id-mismatch")

    out.add("hex", "parse-id", "LAYOUT-2", {"text": name}, output={"id": name})
    for label, text in {
        "upper-case": name.upper(),
        "too-short": name[:-1],
        "too-long": name + "0",
        "no-digits": "",
        "not-hex": "g" + name[1:],
        "white-space": " " + name[1:],
        "line-feed": name + "\n",
        "other-digits": "\u0661" + name[1:],
        "temporary": name + "-tmp-123",
    }.items():
        out.add(f"hex-{label}", "parse-id", "LAYOUT-2", {"text": text}, "name-invalid")

    for kind, folder in {"key": "keys", "lock": "locks", "snapshot": "snapshots", "index": "index"}.items():
        given = {"kind": kind, "name": name, "layout": "default"}
        out.add(f"path-{kind}", "path", "LAYOUT-3", given, output={"path": f"{folder}/{name}"})
    given = {"kind": "pack", "name": name, "layout": "default"}
    out.add("path-pack", "path", "LAYOUT-3", given, output={"path": f"data/{name[:2]}/{name}"})
    given = {"kind": "config", "name": "", "layout": "default"}
    out.add("path-config", "path", ["LAYOUT-3", "LAYOUT-5"], given, output={"path": "config"})
    for kind, folder in {"key": "key", "lock": "lock", "snapshot": "snapshot", "index": "index", "pack": "data"}.items():
        given = {"kind": kind, "name": name, "layout": "s3legacy"}
        out.add(f"path-legacy-{kind}", "path", "LAYOUT-4", given, output={"path": f"{folder}/{name}"})
    for label, bad in {"up": "../config", "empty": "", "absolute": "/etc/passwd"}.items():
        given = {"kind": "snapshot", "name": bad, "layout": "default"}
        out.add(f"path-{label}", "path", "LAYOUT-2", given, "name-invalid")
    return out


def crypto() -> Chapter:
    """CRYPTO."""
    out = Chapter("crypto")
    source = out.source
    key = source.key()
    _known_answers(out)

    for size in (0, 1, 15, 16, 17, 64, 1000):
        plaintext, iv = source.draw(size), source.draw(16)
        clauses = ["CRYPTO-1", "CRYPTO-3", "CRYPTO-5"] + (["CRYPTO-9"] if size == 0 else [])
        given = {"key": key_json(key), "iv": iv.hex(), "plaintext": plaintext.hex()}
        out.add(f"seal-{size}", "seal", clauses, given, output={"sealed": seal(key, plaintext, iv).hex()})
    iv = b"\xff" * 16
    given = {"key": key_json(key), "iv": iv.hex(), "plaintext": bytes(40).hex()}
    comment = "The counter wraps around within the message."
    out.add("seal-wrap", "seal", "CRYPTO-3", given, output={"sealed": seal(key, bytes(40), iv).hex()}, comment=comment)
    given = {"key": key_json(key), "iv": bytes(16).hex(), "plaintext": b"x".hex()}
    out.add("seal-zero-iv", "seal", "CRYPTO-8", given, "mac-invalid")

    def opened(label: str, sealed: bytes, clauses: str, expect: str, with_key: MasterKey = key, comment: str = "") -> None:
        given = {"key": key_json(with_key), "sealed": sealed.hex()}
        output = {"plaintext": open_sealed(with_key, sealed).hex()} if expect == "valid" else None
        out.add(f"open-{label}", "open", clauses, given, expect, output, comment)

    sealed = source.seal(key, b"forty-two bytes of plaintext, give or take")
    opened("valid", sealed, "CRYPTO-1", "valid")
    opened("empty", source.seal(key, b""), "CRYPTO-9", "valid")
    for position, label in ((0, "iv"), (16, "first-byte"), (-17, "last-byte"), (-16, "mac"), (-1, "last-mac-byte")):
        damaged = bytearray(sealed)
        damaged[position] ^= 0x80
        opened(f"flipped-{label}", bytes(damaged), "CRYPTO-4", "mac-invalid")
    opened("cut-by-one", sealed[:-1], "CRYPTO-4", "mac-invalid")
    opened("one-more", sealed + b"\0", "CRYPTO-4", "mac-invalid")
    opened("first-byte-missing", sealed[1:], "CRYPTO-4", "mac-invalid")
    opened("only-iv-and-mac", sealed[:16] + sealed[-16:], "CRYPTO-4", "mac-invalid")
    opened("other-key", sealed, "CRYPTO-4", "mac-invalid", source.key())
    swapped = MasterKey(key.encrypt, key.mac_r, key.mac_k)
    opened("k-and-r-swapped", sealed, "CRYPTO-5", "mac-invalid", swapped)
    other_cipher = MasterKey(source.draw(32), key.mac_k, key.mac_r)
    comment = "The MAC knows nothing of the encryption key: garbage comes out, and authentic."
    opened("other-encryption-key", sealed, "CRYPTO-5", "valid", other_cipher, comment)
    for size in (0, 1, 16, 31):
        opened(f"short-{size}", sealed[:size], "CRYPTO-1", "length-invalid")
    opened("zeros", bytes(64), "CRYPTO-8", "mac-invalid")
    opened("zero-iv", bytes(16) + sealed[16:], "CRYPTO-8", "mac-invalid")

    unclamped = MasterKey(key.encrypt, key.mac_k, b"\xff" * 16)
    clamped = MasterKey(key.encrypt, key.mac_k, bytes.fromhex("ffffff0ffcffff0ffcffff0ffcffff0f"))
    message, iv = source.draw(33), source.draw(16)
    opened("unclamped", seal(clamped, message, iv), "CRYPTO-6", "valid", unclamped, "Bits that do not count are set in r.")
    opened("clamped", seal(unclamped, message, iv), "CRYPTO-6", "valid", clamped)

    for part in ("encrypt", "mac_k", "mac_r"):
        fields = key_json(key)
        fields[part.removeprefix("mac_")] = bytes(len(getattr(key, part))).hex()
        out.add(f"key-zero-{part}", "open", "CRYPTO-11", {"key": fields, "sealed": sealed.hex()}, "length-invalid")
        fields = key_json(key)
        fields[part.removeprefix("mac_")] = getattr(key, part)[:-1].hex()
        out.add(f"key-short-{part}", "open", "CRYPTO-2", {"key": fields, "sealed": sealed.hex()}, "length-invalid")
    return out


@dataclasses.dataclass
class _Known:
    """A vector of D. J. Bernstein's paper on Poly1305-AES, appendix B: key parts, nonce, message and tag."""

    k: str
    r: str
    nonce: str
    message: str
    tag: str


_PAPER = (
    _Known(
        "ec074c835580741701425b623235add6",
        "851fc40c3467ac0be05cc20404f3f700",
        "fb447350c4e868c52ac3275cf9d4327e",
        "f3f6",
        "f4c633c3044fc145f84f335cb81953de",
    ),
    _Known(
        "75deaa25c09f208e1dc4ce6b5cad3fbf",
        "a0f3080000f46400d0c7e9076c834403",
        "61ee09218d29b0aaed7e154a2c5509cc",
        "",
        "dd3fab2251f11ac759f0887129cc2ee7",
    ),
    _Known(
        "6acb5f61a7176dd320c5c1eb2edcdc74",
        "48443d0bb0d21109c89a100b5ce2c208",
        "ae212a55399729595dea458bc621ff0e",
        "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
        "0ee1c16bb73f0f4fd19881753c01cdbe",
    ),
    _Known(
        "e1a5668a4d5b66a5f68cc5424ed5982d",
        "12976a08c4426d0ce8a82407c4f48207",
        "9ae831e743978d3a23527c7128149e3a",
        "ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9",
        "5154ad0d2cb26e01274fc51148491f1b",
    ),
)


def _known_answers(out: Chapter) -> None:
    for number, known in enumerate(_PAPER, 1):
        given = {"k": known.k, "r": known.r, "iv": known.nonce, "ciphertext": known.message}
        comment = "From appendix B of the paper on Poly1305-AES."
        out.add(f"mac-paper-{number}", "mac", "CRYPTO-5", given, output={"mac": known.tag}, comment=comment)
    # NIST SP 800-38A, F.5.5 (CTR-AES256.Encrypt), first two blocks.
    given = {
        "key": "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "iv": "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "plaintext": "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
    }
    output = {"ciphertext": "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"}
    comment = "From NIST SP 800-38A, F.5.5."
    out.add("ctr-nist", "encrypt", "CRYPTO-3", given, output=output, comment=comment)
