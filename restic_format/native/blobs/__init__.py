"""Sealing and opening blobs in one call without the interpreter lock, where the machine has libcrypto 3 and libzstd.

`Context(encrypt, mac_k, mac_r)` belongs to one thread and keeps its contexts and buffers::

    seal(data, iv) -> sealed | None
    seal_many(items, ivs, small, large, threshold, always, verify, pack) -> (sealed, lengths) | None
    open(sealed, room, compressed, blob_id=None) -> bytes | None
    open_into(sealed, target) -> bool  # what is not compressed, into memory of just the plaintext's length
    open_many(data, entries, keep, pack=None, again=False) -> list[memoryview | None] if keep else list[bool]

None means that something is wrong; the Python path is then asked, which says what. `seal` is for messages that are no blobs.
`seal_many` takes (id, data) with 16 bytes of *ivs* for each and gives all of them sealed in one piece of memory, good until
the next call, with (sealed length, plaintext length or None) for each. *small* and *large* are parameters of `Zstd`, *large*
for data of *threshold* bytes or more; a blob that compression does not shrink is stored as it is unless *always*. With
*verify* everything is opened again and its hash compared. *pack*, a `Sha256` of `hashes`, goes on with what
was sealed. *room* is the length the plaintext must have. The entries of `open_many` are (start in *data*, sealed length,
plaintext length, compressed, id); without *keep* it only tells which are intact, with *again* the plaintexts are good until the
next call. Hashes are worked out two at a time where the processor has the SHA extensions; with *pack* all of *data* is appended
to that hash on the way.

`PackCheck(context, header, largest)` looks through a pack that must have *header* (in plaintext) and be what that says: `fits`
says whether no blob has more than *largest* bytes, otherwise the pack is not for this; `ahead(most)` how many bytes come next,
whole blobs of about *most* bytes together, at last with the header, and 0 after that; `take(data)` whether all is well in them;
`digest()` is the hash of all that was taken. A context does one thing at a time.

The algorithms are the libraries': libcrypto is the machine's, libzstd the one that comes with `zstandard` where its functions
can be had from there (it is newer than most machines' own), else the machine's. The oracle is `restic_spec.crypto` and
`restic_spec.unpacked`. `UNAVAILABLE` says why the kernel is not used, None where it is.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from restic_format.native import policy

UNAVAILABLE: str | None


def _zstd_of_zstandard() -> bytes | None:
    """The extension module of `zstandard` that shows libzstd's functions to others."""
    spec = find_spec("zstandard")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in os.listdir(folder):
            if name.startswith("_cffi.") and name.endswith(".so"):
                return os.fsencode(os.path.join(folder, name))
    return None


try:
    policy.permit(libraries=True)
    from restic_format.native.blobs._blobs import (
        Context,
        PackCheck,
        Zstd,
        missing_library,
        zstd_version,
    )

    UNAVAILABLE = missing_library(_zstd_of_zstandard())
    if UNAVAILABLE is not None and policy.POLICY == "require":
        raise ImportError(f"RESTIC_FORMAT_KERNEL=require, but the blob kernel cannot be used: {UNAVAILABLE}")
except ImportError as error:
    UNAVAILABLE = policy.reason(error)

IMPLEMENTATION = f"compiled, libzstd {zstd_version()}" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"


__all__ = ["IMPLEMENTATION", "UNAVAILABLE", "Context", "PackCheck", "Zstd"]
