"""What the generators share: a seeded source of randomness, hand-made zstandard frames, the form of a vector."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

from restic_spec.crypto import MasterKey, seal

SEED = "restic-format test vectors 1"


class Source:
    """Random bytes from a seed and a label; each file has its own, so that one can grow without changing the others."""

    def __init__(self, label: str) -> None:
        self.random = random.Random(f"{SEED}/{label}")

    def draw(self, count: int) -> bytes:
        """*count* random bytes."""
        return self.random.randbytes(count)

    def key(self) -> MasterKey:
        """Random key material."""
        return MasterKey(self.draw(32), self.draw(16), self.draw(16))

    def seal(self, key: MasterKey, plaintext: bytes) -> bytes:
        """*plaintext* sealed under a random IV."""
        return seal(key, plaintext, self.draw(16))


Vector = dict[str, Any]


class Chapter(list[Vector]):
    """The vectors of one file, in order."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label
        self.source = Source(label)

    def add(
        self,
        name: str,
        operation: str,
        clauses: str | list[str],
        given: dict[str, Any],
        expect: str = "valid",
        output: dict[str, Any] | None = None,
        comment: str = "",
    ) -> None:
        """Append one vector; *output* belongs to valid ones only."""
        assert (output is not None) == (expect == "valid"), name
        assert all(vector["id"] != f"{self.label}/{name}" for vector in self), name
        vector: Vector = {
            "id": f"{self.label}/{name}",
            "clauses": [clauses] if isinstance(clauses, str) else clauses,
            "operation": operation,
            "comment": comment,
            "input": given,
            "expect": expect,
        }
        if output is not None:
            vector["output"] = output
        self.append(vector)


def dump(label: str, vectors: Chapter) -> str:
    """The text of a vector file."""
    document = {"schema": "schema.json", "chapter": label, "vectors": list(vectors)}
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def key_json(key: MasterKey) -> dict[str, str]:
    """Key material as vectors write it."""
    return {"encrypt": key.encrypt.hex(), "k": key.mac_k.hex(), "r": key.mac_r.hex()}


def frame(content: bytes, *, announce: bool = True, size: int | None = None) -> bytes:
    """A zstandard frame of stored blocks (RFC 8878), the same whatever library is at hand.

    *announce* puts the content's size (or *size* instead) into the header; without it the window is 512 KiB.
    """
    header = b"\x28\xb5\x2f\xfd"
    if announce:
        # Single segment, eight bytes of content size.
        header += b"\xe0" + (len(content) if size is None else size).to_bytes(8, "little")
    else:
        header += b"\x00" + bytes((9 << 3,))
    pieces = [content[start : start + 65536] for start in range(0, len(content), 65536)] or [b""]
    blocks = [
        ((len(piece) << 3) | (number == len(pieces) - 1)).to_bytes(3, "little") + piece for number, piece in enumerate(pieces)
    ]
    return header + b"".join(blocks)


def bomb(blocks: int) -> list[Any]:
    """A frame, as parts, that announces nothing and expands to *blocks* times 128 KiB of zeros, four bytes each."""
    block = (131072 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (131072 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    start = b"\x28\xb5\x2f\xfd\x00" + bytes((9 << 3,))
    return [start.hex(), {"repeat": block.hex(), "count": blocks - 1}, last.hex()]


def join(parts: list[Any]) -> bytes:
    """The bytes *parts* stand for: hexadecimal text, ``{"repeat": hex, "count": n}`` or ``{"stream": seed, "length": n}``."""
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(bytes.fromhex(part))
        elif "repeat" in part:
            pieces.append(bytes.fromhex(part["repeat"]) * part["count"])
        else:
            pieces.append(stream(part["stream"], part["length"]))
    return b"".join(pieces)


def stream(seed: str, length: int) -> bytes:
    """The byte stream vectors name by ``{"stream": seed, "length": n}``: SHA-256 of ``seed`` || counter (u64, little
    endian), one after the other, cut to *length*."""
    start = seed.encode()
    count = (length + 31) // 32
    return b"".join(hashlib.sha256(start + number.to_bytes(8, "little")).digest() for number in range(count))[:length]
