from collections.abc import Callable, Sequence

from typing_extensions import Buffer

class PlaceWriter:
    def __init__(
        self,
        overhead: int,
        blobs: tuple[Buffer, Buffer, Buffer, Buffer, Buffer, Buffer],
        files: tuple[Buffer, Buffer, Buffer, Buffer, Buffer],
        names: tuple[Buffer, Buffer],
        meta: tuple[Buffer, Buffer, Buffer, Buffer, Buffer],
        directories: tuple[Buffer, Buffer],
        owner: tuple[int, int],
        create: bool,
    ) -> None: ...
    def take(self, rows: Sequence[int], first: int, start: int) -> tuple[int, list[tuple[int, int, int, bool, bytes]]]: ...
    def put(
        self, opened: Sequence[Buffer | None], directory: Callable[[int], int], descriptor: Callable[[int], int]
    ) -> tuple[list[int], list[int], list[int]]: ...
