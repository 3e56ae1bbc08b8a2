from typing_extensions import Buffer

SLOTS: dict[str, int]
"""The methods that work on this processor, the fastest first, and how many lanes each can mix at once."""

def mix_lanes(lanes: Buffer, n: int, r: int, slots: int, every: int, method: str) -> None:
    """scryptROMix of lanes of 128 * r bytes each, in place, without the interpreter's lock.

    *slots* of them are mixed at once, keeping every *every*-th row of their tables.

    Raises:
        ValueError: arguments that do not fit each other.
        MemoryError: the tables do not fit into the memory.
    """
