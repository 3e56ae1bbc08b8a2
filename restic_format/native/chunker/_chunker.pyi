from typing_extensions import Buffer

class Chunker:
    polynomial: int
    min_size: int
    max_size: int
    avg_bits: int
    method: str
    def __init__(
        self,
        polynomial: int,
        min_size: int = ...,
        max_size: int = ...,
        avg_bits: int = ...,
        *,
        method: str | None = None,
    ) -> None: ...
    def next_cut(self, buffer: Buffer, start: int, end: int, final: bool, known: int = 0) -> int: ...

def methods(polynomial: int) -> tuple[str, ...]: ...
