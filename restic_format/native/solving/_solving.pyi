from collections.abc import Sequence

from typing_extensions import Buffer

from restic_spec.solving import Candidate

def polynomial(r: int, ciphertext: Buffer) -> int: ...
def block_candidates(
    r: int, ciphertext: Buffer, wanted: Sequence[int], first: int = 0, last: int | None = None, spans: tuple[int, int] = (1, 16)
) -> list[Candidate]: ...
def border_candidates(
    r: int,
    ciphertext: Buffer,
    wanted: Sequence[int],
    before: int,
    first: int = 0,
    last: int | None = None,
    spans: tuple[int, int] = (2, 12),
) -> list[Candidate]: ...

class BitPairs:
    def __init__(self, r: int, ciphertext: Buffer, first: int, last: int) -> None: ...
    def search(self, wanted: Sequence[int], first: int, last: int) -> list[tuple[int, int]]: ...
