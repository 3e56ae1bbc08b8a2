"""The chunker without a compiler. See `restic_format.native.chunker` for what it does.

A short stretch is left to the specification's own algorithm. A long one is scanned by NumPy, where that is installed, in many
lanes, which needs the specification's tables only: the fingerprint at a place depends on the 64 bytes before it, so lanes are
independent. That makes about 75 MB/s of what would be 6.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from restic_spec import chunker as oracle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

LANES = 2048
"""Lanes of one tile; the arrays of a step stay in the processor's cache."""
LENGTH = 128
"""Positions of a lane; before them it spends 64 steps on filling its window."""
FEWEST_LANES = 16
"""With fewer the specification's algorithm is as fast."""


class Chunker:
    """Finds cuts; the twin of the compiled class, argument for argument.

    Raises:
        ValueError: the polynomial's degree, the sizes or the range make no sense.
    """

    def __init__(
        self,
        polynomial: int,
        min_size: int = oracle.MIN_SIZE,
        max_size: int = oracle.MAX_SIZE,
        avg_bits: int = oracle.AVERAGE_BITS,
        *,
        method: str | None = None,
    ) -> None:
        _check_degree(polynomial)
        if not oracle.WINDOW <= min_size <= max_size:
            raise ValueError(f"chunk sizes {min_size} to {max_size}: use 64 <= min_size <= max_size")
        if not 1 <= avg_bits <= 52:
            raise ValueError(f"a mask of {avg_bits} bits is outside 1 to 52")
        if method not in (None, "python"):
            raise ValueError(f"the chunking method {method!r} does not work here")
        self.polynomial = polynomial
        self.min_size = min_size
        self.max_size = max_size
        self.avg_bits = avg_bits
        self.method = "python"

    def next_cut(self, buffer: Buffer, start: int, end: int, final: bool, known: int = 0) -> int:
        """Length of the chunk that begins at *start*, or 0 if *end* comes too early to tell."""
        with memoryview(buffer).cast("B") as view:
            if not 0 <= start <= end <= len(view):
                raise ValueError(f"range {start} to {end} lies outside a buffer of {len(view)} bytes")
            available = end - start
            with view[start:end] as data:
                found = self._find(data, max(self.min_size, known + 1), min(available, self.max_size))
        if found:
            return found
        if available >= self.max_size:
            return self.max_size
        return available if final else 0

    def _find(self, data: memoryview, first: int, last: int) -> int:
        """The smallest length from *first* to *last* at which the fingerprint asks for a cut; 0 if there is none."""
        while first <= last:
            lanes = min(LANES, (last - first + 1) // LENGTH)
            if lanes < FEWEST_LANES or not has_numpy():
                return self._ask_specification(data, first, last)
            found = _scan(data, first, lanes, self.polynomial, self.avg_bits)
            if found:
                return found
            first += lanes * LENGTH
        return 0

    def _ask_specification(self, data: memoryview, first: int, last: int) -> int:
        with data[:last] as stretch:
            length = oracle.next_cut(stretch, self.polynomial, min_size=first, max_size=last + 1, average_bits=self.avg_bits)
            # It takes the end of the data for a cut; whether it is one, the last window says.
            window = bytes(stretch[length - oracle.WINDOW :])
        return 0 if oracle.fingerprint(window[: oracle.WINDOW], self.polynomial) & ((1 << self.avg_bits) - 1) else length


@cache
def has_numpy() -> bool:
    """Whether NumPy is installed."""
    return find_spec("numpy") is not None


def methods(polynomial: int) -> tuple[str, ...]:
    """The ways of scanning that work here."""
    _check_degree(polynomial)
    return ("python",)


def _check_degree(polynomial: int) -> None:
    if not 8 <= oracle.degree(polynomial) <= oracle.DEGREE:
        raise ValueError(f"polynomial {polynomial:#x} has a degree outside 8 to {oracle.DEGREE}")


@lru_cache(maxsize=8)
def _tables(polynomial: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The specification's table `mod`, and its table `out` moved on by a byte, as arrays."""
    import numpy as np

    out, mod = oracle.tables(polynomial)
    leave = [oracle.modulo(value << 8, polynomial) for value in out]
    return np.array(mod, dtype=np.uint64), np.array(leave, dtype=np.uint64)


def _scan(data: memoryview, first: int, lanes: int, polynomial: int, avg_bits: int) -> int:
    """Like `_find`, for lengths *first* to *first* + *lanes* * LENGTH - 1; lane after lane takes LENGTH of them."""
    # Imported here, as a tenth of a second is long for a command that cuts nothing.
    import numpy as np
    from numpy.lib.stride_tricks import as_strided

    mod, leave = _tables(polynomial)
    shift = np.uint64(oracle.degree(polynomial) - 8)
    window = oracle.WINDOW
    # Lane l's window is full after 64 steps; from then on a byte leaves for each that enters.
    steps = window + LENGTH - 1
    flat: Any = np.frombuffer(data, dtype=np.uint8)[first - window : first - 1 + lanes * LENGTH]
    # Row by row, a byte of every lane.
    entering = np.ascontiguousarray(as_strided(flat, (lanes, steps), (LENGTH, 1), writeable=False).T)
    terms = entering.astype(np.uint64)
    terms[window:] ^= leave[entering[: LENGTH - 1]]

    value = np.zeros(lanes, dtype=np.uint64)
    top = np.empty(lanes, dtype=np.uint64)
    reduction = np.empty(lanes, dtype=np.uint64)
    values = np.empty((LENGTH, lanes), dtype=np.uint64)
    for step in range(steps):
        np.right_shift(value, shift, out=top)
        mod.take(top.view(np.int64), out=reduction, mode="clip")
        following = value if step < window - 1 else values[step - window + 1]
        np.left_shift(value, np.uint64(8), out=following)
        np.bitwise_xor(following, reduction, out=following)
        np.bitwise_xor(following, terms[step], out=following)
        value = following
    values &= np.uint64((1 << avg_bits) - 1)
    step_of, lane_of = np.nonzero(values == 0)
    if not len(lane_of):
        return 0
    return first + int((lane_of * LENGTH + step_of).min())
