"""A damaged key file: by its name alone, or by the password through the MAC of the master key in it (SOLVE-15)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from restic_format.native import scrypt
from restic_format.rescue.solving.clock import Clock
from restic_format.rescue.solving.ends import without_more
from restic_format.rescue.solving.judges import DocumentJudge
from restic_format.rescue.solving.message import Message, lost_mac, solve_message
from restic_spec.crypto import MasterKey
from restic_spec.errors import SpecError
from restic_spec.ids import id_of
from restic_spec.keyfile import Kdf, decode_keyfile, decode_master_key
from restic_spec.solving import BLOCK

MOST_SIZE = 1 << 12
"""Bytes of a key file in which damage is looked for; usual ones have 460. Pairs of bits are as many as the square of it."""

_DATA = re.compile(rb'"data":"([^"]*)"')
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


class SolvedKey(NamedTuple):
    """A key file as it was before the damage."""

    data: bytes
    how: str
    """What was damaged, in words."""


def solve_key(data: bytes, key_id: bytes, clock: Clock, password: bytes | None = None) -> SolvedKey | None:
    """The key file with this id that *data* were before the damage; None where it is not found.

    One byte, or two bits, are found by the id alone. With the *password* so is what `solve_message` finds in the sealed master
    key, as long as the rest of the file can be read; to derive the key takes what the file says it takes, within the bounds of
    KEY-6.

    Raises:
        OutOfTime, Interrupted: see `solve_message`.
    """
    shorter = without_more(data, key_id, clock)
    if shorter is not None:
        return SolvedKey(shorter, f"{len(data) - len(shorter)} bytes too many")
    if len(data) > MOST_SIZE:
        return None
    found = _two_bytes_more(data, key_id) or _one_byte(data, key_id, clock)
    if found is None and password is not None:
        found = _sealed(data, key_id, clock, password)
    return found or _two_bits(data, key_id, clock)


def _two_bytes_more(data: bytes, key_id: bytes) -> SolvedKey | None:
    """The file with its last byte or its last two, whatever they were."""
    prefix = hashlib.sha256(data)
    for length in (1, 2):
        for number in range(1 << 8 * length):
            found = prefix.copy()
            found.update(number.to_bytes(length, "little"))
            if found.digest() == key_id:
                return SolvedKey(data + number.to_bytes(length, "little"), f"cut short by {length}")
    return None


def _one_byte(data: bytes, key_id: bytes, clock: Clock) -> SolvedKey | None:
    prefix = hashlib.sha256()
    for place, old in enumerate(data):
        clock.check()
        rest = data[place + 1 :]
        for new in range(256):
            found = prefix.copy()
            found.update(bytes((new,)) + rest)
            if found.digest() == key_id:
                how = "one bit" if (old ^ new).bit_count() == 1 else "one byte"
                return SolvedKey(data[:place] + bytes((new,)) + rest, how)
        prefix.update(data[place : place + 1])
    return None


def _two_bits(data: bytes, key_id: bytes, clock: Clock) -> SolvedKey | None:
    changed = bytearray(data)
    for place in range(len(data)):
        for bit in range(8):
            changed[place] ^= 1 << bit
            prefix = hashlib.sha256(changed[: place + 1])
            for other in range(place + 1, len(data)):
                clock.check()
                rest = data[other + 1 :]
                for last in range(8):
                    found = prefix.copy()
                    found.update(bytes((data[other] ^ 1 << last,)) + rest)
                    if found.digest() == key_id:
                        changed[other] ^= 1 << last
                        return SolvedKey(bytes(changed), "two bits")
                prefix.update(data[other : other + 1])
            changed[place] ^= 1 << bit
    return None


def _sealed(data: bytes, key_id: bytes, clock: Clock, password: bytes) -> SolvedKey | None:
    """The sealed master key solved, where the file around it is intact."""
    found = _DATA.search(data)
    if found is None:
        return None
    # Characters that base64 does not know are a part of the damage; any others do as well.
    text = bytes(char if char in _ALPHABET else ord("A") for char in found[1])
    try:
        sealed = base64.b64decode(text, validate=True)
        derived = _derived(data[: found.start(1)] + text + data[found.end(1) :], password)
    except (binascii.Error, SpecError):
        return None
    if len(sealed) > MOST_SIZE or len(sealed) < 2 * BLOCK:
        return None
    clock.check()
    message = Message(derived, sealed, DocumentJudge(derived, sealed, decode_master_key))
    solved = solve_message(message, clock) or lost_mac(message)
    if solved is None:
        return None
    whole = data[: found.start(1)] + base64.b64encode(solved.sealed) + data[found.end(1) :]
    return SolvedKey(whole, f"sealed master key: {solved.how}") if id_of(whole) == key_id else None


def _derived(data: bytes, password: bytes) -> MasterKey:
    kdf: Kdf = decode_keyfile(data).derivation()
    return MasterKey.from_derived(scrypt.derive(password, kdf.salt, kdf.N, kdf.r, kdf.p))
