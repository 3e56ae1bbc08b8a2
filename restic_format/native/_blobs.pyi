from typing_extensions import Buffer

def missing_library() -> str | None: ...

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
    def sha256(self, data: Buffer) -> bytes: ...
    def seal(
        self, data: Buffer, iv: bytes, zstd: Zstd | None = None, always: bool = False, verify: bytes | None = None
    ) -> tuple[bytes, int] | None: ...
    def open(self, sealed: Buffer, room: int, compressed: bool, blob_id: bytes | None = None) -> bytes | None: ...
