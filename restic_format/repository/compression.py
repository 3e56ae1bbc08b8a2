"""How blobs are compressed: restic's modes as zstd parameters."""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

import zstandard

from restic_format.errors import UsageError

MODES: Final = ("auto", "off", "fastest", "better", "max")
"""What ``--compression`` takes."""


class Parameters(NamedTuple):
    """zstd's compression parameters; 0 is what the level implies."""

    level: int
    strategy: int = 0
    window_log: int = 0
    hash_log: int = 0
    chain_log: int = 0
    min_match: int = 0


SMALL: Final = 512 << 10
"""Blobs below this many bytes compress better with another strategy; measured against restic's stored size."""

_LEVELS: Final = {"fastest": Parameters(1), "better": Parameters(7), "max": Parameters(13)}
_AUTO_SMALL: Final = Parameters(3, zstandard.STRATEGY_DFAST, hash_log=15, chain_log=14, min_match=5)
_AUTO_LARGE: Final = Parameters(3, zstandard.STRATEGY_DFAST, window_log=21, hash_log=17, chain_log=13, min_match=5)


def parameters_for(mode: str, size: int) -> Parameters:
    """What a blob of *size* bytes is compressed with in *mode* (trees also when it is ``off``)."""
    return _LEVELS.get(mode) or (_AUTO_SMALL if size < SMALL else _AUTO_LARGE)


def check_mode(mode: str) -> str:
    """*mode*, if there is such a mode.

    Raises:
        UsageError: there is none.
    """
    if mode not in MODES:
        raise UsageError(f"invalid compression mode {mode!r}, must be one of ({'|'.join(MODES)})")
    return mode


class Compressor(threading.local):
    """Compresses with one mode, from any thread; compressors are kept, for making one costs more than a small blob."""

    def __init__(self, mode: str) -> None:
        self.mode = check_mode(mode)
        self._made: dict[Parameters, zstandard.ZstdCompressor] = {}

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """One zstd frame that announces its content size."""
        wanted = parameters_for(self.mode, len(data))
        compressor = self._made.get(wanted)
        if compressor is None:
            given = {name: value for name, value in wanted._asdict().items() if value and name != "level"}
            parameters = zstandard.ZstdCompressionParameters(compression_level=wanted.level, write_content_size=True, **given)
            compressor = self._made[wanted] = zstandard.ZstdCompressor(compression_params=parameters)
        return compressor.compress(data)
