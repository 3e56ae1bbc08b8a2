from collections.abc import Callable, Sequence
from typing import Any

class Stat:
    @staticmethod
    def of(info: Any, no_attributes: bool = False) -> Stat: ...
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_atime_ns: int
    st_ino: int
    st_dev: int
    st_rdev: int
    st_nlink: int
    st_mode: int
    st_uid: int
    st_gid: int
    no_attributes: bool

class ParsedTree:
    def count(self) -> int: ...
    def escaped(self) -> list[bytes]: ...
    def rename(self, names: list[bytes]) -> None: ...
    def find(self, name: bytes) -> bytes | None: ...
    def nodes(self) -> list[bytes]: ...

class TakenOver:
    def __getitem__(self, number: int) -> bool: ...
    def ids(self, first: int = 0, last: int | None = None) -> bytes: ...
    def drop(self, number: int) -> None: ...
    def runs(self) -> list[tuple[int, int, bytes, int]]: ...

class NodeWriter:
    def __init__(
        self,
        user: Callable[[int], bytes],
        group: Callable[[int], bytes],
        quote: Callable[[bytes], bytes],
        with_atime: bool = False,
        device_id_for_hardlinks: bool = False,
    ) -> None: ...
    def take_over(
        self,
        names: list[bytes],
        infos: Sequence[object],
        parent: ParsedTree,
        ignore_ctime: bool = False,
        ignore_inode: bool = False,
    ) -> TakenOver: ...
    def write(self, names: list[bytes], infos: Sequence[object], sizes: list[int], ids: list[bytes]) -> list[bytes | None]: ...

def look_at(prefix: bytes, names: list[bytes], ask: int) -> list[Stat | None]: ...
def parse_tree(raw: bytes) -> ParsedTree | None: ...
