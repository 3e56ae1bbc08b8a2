"""Sums of multiples of columns, of which parity is made: by the library ISA-L where it is there, else by the specification.

Both give the same bytes. ISA-L is the library that comes with the package `pyeclib` (the extra `parity`), else the machine's.
`IMPLEMENTATION` says which is used, and why it is not ISA-L.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Final

from restic_format.native.parts import POLICY, wrong_answer
from restic_spec import galois

_FILE: Final = "libisal.so.2"
_NEEDED: Final = ("ec_init_tables", "ec_encode_data_update")
_TABLE: Final = 32
"""Bytes of ISA-L's table for one factor."""


def _of_pyeclib() -> str | None:
    """The library ISA-L in the package `pyeclib`."""
    spec = find_spec("pyeclib")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        libraries = f"{folder}.libs"
        for name in os.listdir(libraries) if os.path.isdir(libraries) else ():
            if name.startswith("libisal"):
                return os.path.join(libraries, name)
    return None


class IsaLSums(galois.Sums):
    """`restic_spec.galois.Sums` by ISA-L, which holds no interpreter lock while it calculates."""

    library: ctypes.CDLL

    def __init__(self, count: int, length: int) -> None:
        self._length = length
        self._rows = [bytearray(length) for _ in range(count)]
        self._bytes = ctypes.c_char * length
        self._places = (ctypes.c_void_p * count)(*(ctypes.addressof(self._bytes.from_buffer(row)) for row in self._rows))

    def add(self, factors: Sequence[int], data: bytes | bytearray) -> None:
        """See `restic_spec.galois.Sums`."""
        count = len(self._rows)
        if len(data) != self._length or len(factors) != count:
            raise ValueError("factors and data do not fit the sums")
        tables = ctypes.create_string_buffer(_TABLE * count)
        self.library.ec_init_tables(1, count, bytes(factors), tables)
        column = self._bytes.from_buffer(data) if isinstance(data, bytearray) else ctypes.c_char_p(data)
        place = ctypes.cast(column, ctypes.c_void_p)
        self.library.ec_encode_data_update(self._length, 1, count, 0, tables, place, self._places)

    def values(self) -> list[bytes]:
        """See `restic_spec.galois.Sums`."""
        return [bytes(row) for row in self._rows]


def _self_test() -> str | None:
    """Sums of lengths around those of the processor's registers, with every factor."""
    for length in (64, 65, 127, 192, 1000):
        ours, theirs = galois.Sums(5, length), IsaLSums(5, length)
        for first in range(0, galois.ELEMENTS, 17):
            data = bytes((first * at + at // 7) % galois.ELEMENTS for at in range(length))
            factors = [(first + number) % galois.ELEMENTS for number in range(5)]
            ours.add(factors, data)
            theirs.add(factors, bytearray(data) if first % 2 else data)
        if ours.values() != theirs.values():
            return wrong_answer(f"sums of {length} bytes")
    return None


def load() -> str | None:
    """Load ISA-L and try it; why it cannot be used, or None."""
    name = _of_pyeclib() or _FILE
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return f"{_FILE} is not on this machine, nor the package pyeclib"
    missing = [needed for needed in _NEEDED if not hasattr(library, needed)]
    if missing:
        return f"{name} has no {missing[0]}"
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.ec_init_tables.argtypes = [number, number, ctypes.c_char_p, ctypes.c_char_p]
    library.ec_init_tables.restype = None
    library.ec_encode_data_update.argtypes = [number, number, number, number, ctypes.c_char_p, pointer, pointer]
    library.ec_encode_data_update.restype = None
    IsaLSums.library = library
    return _self_test()


_LEFT_ALONE: Final = POLICY in ("off", "wheels") or (POLICY.startswith("without:") and "isal" in POLICY)
UNAVAILABLE: Final = f"RESTIC_FORMAT_KERNEL={POLICY}" if _LEFT_ALONE else load()
IMPLEMENTATION: Final = "ISA-L" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"
make_sums: Final[Callable[[int, int], galois.Sums]] = IsaLSums if UNAVAILABLE is None else galois.Sums
