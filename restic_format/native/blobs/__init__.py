"""Sealing and opening blobs in one call without the interpreter lock, where the machine has libcrypto 3 and libzstd.

`Context(encrypt, mac_k, mac_r)` belongs to one thread and keeps its contexts and buffers::

    seal(data, iv) -> sealed | None
    seal_many(items, ivs, small, large, threshold, always, verify, pack) -> (sealed, lengths) | None
    seal_again(source, data, messages, ivs, verify) -> sealed | None
    open(sealed, room, compressed, blob_id=None) -> bytes | None
    open_into(sealed, target) -> bool  # what is not compressed, into memory of just the plaintext's length
    open_many(data, entries, keep, pack=None, again=False) -> list[memoryview | None] if keep else list[bool]

None means that something is wrong; the Python path is then asked, which says what. `seal` is for messages that are not blobs.
`seal_again` seals what another context has sealed, each message given by its place and length in *data*; what is inside is not
looked at, and with *verify* everything is opened again. `seal_many` takes (id, data) with 16 bytes of *ivs* for each and gives
all of them sealed in one piece of memory, good until the next call, with (sealed length, plaintext length or None) for each.
*small* and *large* are parameters of `Zstd`, *large* for data of *threshold* bytes or more; a blob that compression does not
shrink is stored as it is unless *always*. With *verify* everything is opened again and its hash compared. *pack*, a `Sha256`,
goes on with what was sealed. *room* is the length the plaintext must have. The entries of `open_many` are (start in *data*,
sealed length, plaintext length, compressed, id); without *keep* it only tells which are intact, with *again* the plaintexts are
good until the next call. Hashes are worked out two at a time where the processor has the SHA extensions; with *pack* all of
*data* is appended to that hash on the way.

`PackCheck(context, header, largest)` looks through a pack that must have *header* (in plaintext) and be what that says: `fits`
says whether no blob has more than *largest* bytes, otherwise the pack is not for this; `ahead(most)` how many bytes come next,
whole blobs of about *most* bytes together, at last with the header, and 0 after that; `take(data)` whether all is well in them;
`digest()` is the hash of all that was taken. A context does one thing at a time.

The algorithms are the libraries': libcrypto is the machine's, libzstd the one that comes with `zstandard` where its functions
can be had from there (it is newer than most machines' own), else the machine's. The oracle is `restic_spec.crypto` and
`restic_spec.unpacked`. `UNAVAILABLE` says why the native form is not used, None where it is.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from restic_format.native import parts
from restic_spec.constants import IV_SIZE


def _zstd_of_zstandard() -> bytes | None:
    """The extension module of `zstandard` that shows libzstd's functions to others."""
    spec = find_spec("zstandard")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in os.listdir(folder):
            if name.startswith("_cffi.") and name.endswith(".so"):
                return os.fsencode(os.path.join(folder, name))
    return None


def _self_test() -> str | None:
    """Why the libraries cannot be used, or which of them does not give the known answer."""
    from restic_format.native.blobs import _blobs

    missing = _blobs.missing_library(_zstd_of_zstandard())
    if missing is not None:
        return missing
    context = _blobs.Context(bytes(range(32)), b"k" * 16, b"r" * 16)
    sealed = context.seal(_PLAIN, bytes(range(16)))
    if sealed is None or sealed.hex() != KNOWN_SEALED:
        return parts.wrong_answer("sealing")
    wrong = bytearray(sealed)
    wrong[20] ^= 1
    if context.open(sealed, len(_PLAIN), False) != _PLAIN or context.open(wrong, len(_PLAIN), False) is not None:
        return parts.wrong_answer("opening")
    another = context.seal_again(context, sealed, [(0, len(sealed))], bytes(range(1, 17)), True)
    if another is None or another == sealed or context.open(another, len(_PLAIN), False) != _PLAIN:
        return parts.wrong_answer("sealing again")
    level, pack = _blobs.Zstd(3), _blobs.Sha256()
    packed = context.seal_many([(_ID, _PLAIN)], bytes(range(16)), level, level, 0, True, True, pack)
    if packed is None or hashlib.sha256(packed[0]).digest() != pack.digest():
        return parts.wrong_answer("compressing")
    pieces = [bytes(range(size)) for size in (0, 3, 55, 64, 119, 250)]
    items = [(hashlib.sha256(piece).digest(), piece) for piece in pieces]
    pack = _blobs.Sha256()
    packed = context.seal_many(items, bytes(range(IV_SIZE * len(items))), None, None, 0, False, True, pack)
    if packed is None or hashlib.sha256(packed[0]).digest() != pack.digest():
        return parts.wrong_answer("SHA-256")
    frame = context.seal(bytes.fromhex(KNOWN_FRAME), bytes(range(16)))
    if frame is None or context.open(frame, len(_PLAIN), True, _ID) != _PLAIN:
        return parts.wrong_answer("expanding")
    return None


_PLAIN = b"restic-format restic-format restic-format 0123456789"
_ID = bytes.fromhex("f5577d8b17391db52ba8d45be9ef4378330865c7a40610bef3426891ce9d1433")
KNOWN_SEALED = (
    "000102030405060708090a0b0c0d0e0f280b772361985cf09f5c385c76e3d4f7138779b6eee3372f38778f71008053bb7506"
    "5a3d55b7a1c5cfc13b94d722f3a7a0fc3f4b31ce69e24b5bb098988123fab92c56fb"
)
KNOWN_FRAME = "28b52ffd2034f50000c07265737469632d666f726d617420303132333435363738390100c14c25"
UNAVAILABLE = parts.unusable("blobs", _self_test, libraries=True)
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.blobs._blobs import Context, PackCheck, Sha256, Zstd, zstd_version

IMPLEMENTATION = f"compiled, libzstd {zstd_version()}" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"

__all__ = ["IMPLEMENTATION", "UNAVAILABLE", "Context", "PackCheck", "Sha256", "Zstd"]
