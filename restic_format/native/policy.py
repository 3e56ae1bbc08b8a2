"""Which compiled modules are used: what the environment variable RESTIC_FORMAT_KERNEL says when the program runs.

`auto` (or nothing) takes what is there. `off` leaves every compiled module alone. `wheels` leaves alone what calls libcrypto
and libzstd, as where they cannot be found: what the installed packages alone can do. `require` makes a missing module an error.
"""

from __future__ import annotations

import os

POLICY = os.environ.get("RESTIC_FORMAT_KERNEL", "auto")

PARTS = tuple(
    f"restic_format.native.{name}" for name in ("blobs", "chunker", "blobs.hashes", "nodes", "places", "scrypt", "table")
)
"""The modules that choose between a compiled part and its twin; each says in `IMPLEMENTATION` which is used."""


class _LeftAloneError(ImportError):
    """A compiled module is not wanted."""


def permit(*, libraries: bool = False) -> None:
    """Raise ImportError where a compiled module is not wanted; *libraries* says that it calls libcrypto and libzstd."""
    if POLICY == "off" or (libraries and POLICY == "wheels"):
        raise _LeftAloneError(f"RESTIC_FORMAT_KERNEL={POLICY}")


def reason(error: ImportError) -> str:
    """Why a compiled module is not used that cannot be imported; raises *error* where that is not to be put up with."""
    if POLICY == "require":
        raise error
    return str(error) if isinstance(error, _LeftAloneError) else f"not compiled ({error})"
