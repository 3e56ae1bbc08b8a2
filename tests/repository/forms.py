"""The forms a cipher has here: the library's always, the native one where it is used."""

from __future__ import annotations

from collections.abc import Callable

from restic_format.native import blobs
from restic_format.repository.cipher import Cipher, LibraryCipher, NativeCipher
from restic_spec.crypto import MasterKey

FORMS: list[Callable[[MasterKey], Cipher]] = [LibraryCipher, *([NativeCipher] if blobs.UNAVAILABLE is None else [])]
