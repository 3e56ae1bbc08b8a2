"""Changing inputs: bytes without a plan, and JSON documents by their structure."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

WORDS = (
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"0",
    b"-1",
    b"1e9",
    b"\\u0000",
    b"\xff",
    b"\0",
    b"\xed\xa0\x80",
)
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 1.5, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 64, 10**40, "", "x", "ab" * 32, "AB" * 32,
    "00" * 32, "zz" * 32, "ab" * 31, [], [None], {}, {"a": 1}, "\x1b[31m\n", "\\", "..", "a/b", "\x00", "\udc80",
    "9999-12-31T23:59:59Z",
)  # fmt: skip


def changed_bytes(rng: random.Random, raw: bytes) -> bytes:
    """*raw* with a few bytes changed, moved, doubled or cut away."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 4, 32, 200))
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at:at] = rng.choice(WORDS)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                other = rng.randrange(len(data) + 1)
                data[at:at] = data[other : other + length]
            case _:
                data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"\x20\0\0\0"))
    return bytes(data)


def changed_document(rng: random.Random, document: Any) -> Any:
    """A copy of a JSON document in which some value is another one, is missing, or is there twice or under another name."""
    copy = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 2, 4))):
        places: list[tuple[Any, Any]] = []
        pending = [copy]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                places += [(value, key) for key in value]
                pending += value.values()
            elif isinstance(value, list):
                places += [(value, index) for index in range(len(value))]
                pending += value
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(5):
            case 0 | 1:
                holder[key] = deepcopy(rng.choice(ODD))  # it may be changed in its turn
            case 2:
                del holder[key]
            case 3 if isinstance(holder, list):
                holder += [holder[key]] * rng.choice((1, 3, 50))
            case 3:
                holder[rng.choice(("x", "Name", "size", "blobs", "content", "subtree", "\u00fc"))] = holder[key]
            case _:
                other, name = rng.choice(places)
                there = name in other if isinstance(other, dict) else name < len(other)
                holder[key] = json.loads(json.dumps(other[name])) if there else 7
    return copy


def odd_json(rng: random.Random, document: Any) -> bytes:
    """The document in the form restic writes, or in another one."""
    match rng.randrange(5):
        case 0:
            text = json.dumps(document, indent=rng.choice((None, 1, "\t")))
        case 1:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        case _:
            text = json.dumps(document, separators=(",", ":")) + rng.choice(("", "\n"))
    return text.encode("utf-8", "surrogatepass")
