"""Which blobs are compressed, and how: restic's modes as zstd parameters."""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

import zstandard

from restic_format.errors import UsageError
from restic_format.repository.cipher import Buffer
from restic_spec.formats import FORMATS
from restic_spec.pack import BlobType

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


class Compression:
    """What a repository of one format compresses, and how; from any thread.

    *mode* is what ``--compression`` takes. Where it is None, *level* counts, the config's, of which 0
    is ``off``; without that it is ``auto``.

    Raises:
        UsageError: there is no such mode.
    """

    def __init__(self, mode: str | None, version: int, level: int | None = None) -> None:
        if mode is not None:
            self.mode = check_mode(mode)
            level = None
        else:
            self.mode = "off" if level == 0 else "auto"
        self._level = Parameters(level) if level else None
        self.allowed = FORMATS[version].compresses
        """Whether anything may be compressed (PACK-9)."""
        self._kept = _Kept()

    def compresses(self, blob_type: BlobType) -> bool:
        """Whether blobs of this type are compressed: trees also where the mode is ``off`` (PACK-19)."""
        return self.allowed and (self.mode != "off" or blob_type is BlobType.TREE)

    @staticmethod
    def keeps_longer(blob_type: BlobType) -> bool:
        """Whether blobs of this type are stored compressed even where that makes them longer."""
        return blob_type is BlobType.TREE

    def parameters(self, size: int) -> Parameters:
        """What a blob of *size* bytes is compressed with."""
        return self._level or _LEVELS.get(self.mode) or (_AUTO_SMALL if size < SMALL else _AUTO_LARGE)

    def apply(self, blob_type: BlobType, data: Buffer) -> tuple[Buffer, int | None]:
        """What is to be sealed for *data*, and how long these are where that is compressed (PACK-20)."""
        if self.compresses(blob_type) and len(data):
            compressed = self.compress(data)
            if len(compressed) < len(data) or self.keeps_longer(blob_type):
                return compressed, len(data)
        return data, None

    def compress(self, data: Buffer) -> bytes:
        """One zstd frame that announces its content size."""
        wanted = self.parameters(len(data))
        compressor = self._kept.compressors.get(wanted)
        if compressor is None:
            given = {name: value for name, value in wanted._asdict().items() if value and name != "level"}
            parameters = zstandard.ZstdCompressionParameters(compression_level=wanted.level, write_content_size=True, **given)
            compressor = self._kept.compressors[wanted] = zstandard.ZstdCompressor(compression_params=parameters)
        return compressor.compress(data)


class _Kept(threading.local):
    """One thread's compressors: making one costs more than compressing a small blob."""

    def __init__(self) -> None:
        self.compressors: dict[Parameters, zstandard.ZstdCompressor] = {}


def check_mode(mode: str) -> str:
    """*mode*, if there is such a mode.

    Raises:
        UsageError: there is none.
    """
    if mode not in MODES:
        raise UsageError(f"invalid compression mode {mode!r}, must be one of ({'|'.join(MODES)})")
    return mode
