"""How blobs are compressed: restic's modes as zstd parameters, one reused compressor per thread."""

from __future__ import annotations

import threading
from typing import Final

import zstandard
from zstandard import STRATEGY_DFAST, STRATEGY_FAST, ZstdCompressionParameters

from restic_format.errors import UsageError

MODES: Final = ("auto", "off", "fastest", "better", "max")
"""What ``--compression`` takes."""

_LEVELS: Final = {"fastest": 1, "better": 7, "max": 13}
_SMALL = 512 << 10
"""Blobs below this many bytes compress better with another strategy; measured against restic's stored size."""


class Compressor(threading.local):
    """Compresses with one mode, from any thread.

    Raises:
        UsageError: the mode is unknown.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise UsageError(f"invalid compression mode {mode!r}, must be one of ({'|'.join(MODES)})")
        self.mode = mode
        if mode in _LEVELS:
            self._small = self._large = zstandard.ZstdCompressor(level=_LEVELS[mode])
        else:
            self._small = zstandard.ZstdCompressor(compression_params=_auto_small())
            self._large = zstandard.ZstdCompressor(compression_params=_auto_large())

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """One zstd frame that announces its content size."""
        return (self._small if len(data) < _SMALL else self._large).compress(data)


def _auto_small() -> ZstdCompressionParameters:
    return ZstdCompressionParameters(
        compression_level=3, strategy=STRATEGY_DFAST, hash_log=15, chain_log=14, min_match=5, write_content_size=True
    )


def _auto_large() -> ZstdCompressionParameters:
    return ZstdCompressionParameters(
        compression_level=1, strategy=STRATEGY_FAST, window_log=21, hash_log=17, min_match=6, write_content_size=True
    )
