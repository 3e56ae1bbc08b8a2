from collections.abc import Sequence
from typing import Literal, overload

from typing_extensions import Buffer

def missing_library(zstd: bytes | None = None) -> str | None: ...
def zstd_version() -> str: ...
def hash_in_pairs(allowed: bool) -> bool: ...

class Sha256:
    def update(self, data: Buffer) -> None: ...
    def digest(self) -> bytes: ...

class Zstd:
    def __init__(
        self,
        level: int,
        strategy: int = 0,
        window_log: int = 0,
        hash_log: int = 0,
        chain_log: int = 0,
        min_match: int = 0,
    ) -> None: ...

class Context:
    def __init__(self, encrypt: bytes, mac_k: bytes, mac_r: bytes) -> None: ...
    def seal(self, data: Buffer, iv: bytes) -> bytes | None: ...
    def seal_many(
        self,
        items: Sequence[tuple[bytes, Buffer]],
        ivs: bytes,
        small: Zstd | None,
        large: Zstd | None,
        threshold: int,
        always: bool,
        verify: bool,
        pack: Sha256,
    ) -> tuple[memoryview, list[tuple[int, int | None]]] | None: ...
    def seal_again(
        self, source: Context, data: Buffer, messages: Sequence[tuple[int, int]], ivs: bytes, verify: bool
    ) -> memoryview | None: ...
    @overload
    def open_many(
        self,
        data: Buffer,
        entries: Sequence[tuple[int, int, int, bool, bytes]],
        keep: Literal[True],
        pack: Sha256 | None = None,
        again: bool = False,
    ) -> list[memoryview | None]: ...
    @overload
    def open_many(
        self,
        data: Buffer,
        entries: Sequence[tuple[int, int, int, bool, bytes]],
        keep: Literal[False],
        pack: Sha256 | None = None,
        again: bool = False,
    ) -> list[bool]: ...
    def open(self, sealed: Buffer, room: int, compressed: bool, blob_id: bytes | None = None) -> bytes | None: ...
    def open_into(self, sealed: Buffer, target: Buffer) -> bool: ...

class PackCheck:
    def __init__(self, context: Context, header: bytes, largest: int) -> None: ...
    @property
    def fits(self) -> bool: ...
    def ahead(self, most: int) -> int: ...
    def take(self, data: Buffer) -> bool: ...
    def digest(self) -> bytes: ...
