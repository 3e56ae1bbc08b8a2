"""The config: a repository's version, id and chunker polynomial.

It is sealed but never compressed (CONFIG-1), and stored under the fixed name ``config``, not under a hash (LAYOUT-5).
"""

from __future__ import annotations

import re

from restic_spec import wire
from restic_spec.chunker import check_polynomial
from restic_spec.errors import JsonInvalid, VersionUnsupported
from restic_spec.formats import FORMATS
from restic_spec.ids import is_hex_id

MIN_VERSION = min(FORMATS)
MAX_VERSION = max(FORMATS)
STABLE_VERSION = 2
"""What ``init`` writes unless told otherwise (CONFIG-8, DIFF-7)."""

_POLYNOMIAL = re.compile(r"[0-9a-fA-F]{1,16}")


class Config(wire.Document):
    """The decrypted config, fields in stored order (CONFIG-2); rustic's are in ``extra`` (CONFIG-6, RUSTIC-1)."""

    version: int
    """Repository format version, 1 or 2; 2 adds compression (CONFIG-3)."""
    id: str
    """Random repository id, 64 hexadecimal digits (CONFIG-4)."""
    chunker_polynomial: str
    """The irreducible polynomial of degree 53, hexadecimal without leading zeros (CONFIG-5)."""

    @property
    def polynomial(self) -> int:
        """The chunker polynomial as an integer whose bits are the coefficients."""
        return int(self.chunker_polynomial, 16)


def decode_config(raw: bytes) -> Config:
    """Parse and check a config.

    Raises:
        JsonInvalid: not of this schema.
        VersionUnsupported: a version other than 1 or 2.
        PolynomialInvalid: the polynomial is not an irreducible one of degree 53.
    """
    config = wire.decode(Config, raw, "config", "CONFIG-2")
    if config.version not in FORMATS:
        raise VersionUnsupported(
            f"config: repository version {config.version} is not supported (known: 1 and 2)",
            clause="CONFIG-3",
        )
    if not is_hex_id(config.id):
        raise JsonInvalid("config: id is not 64 hexadecimal digits", clause="CONFIG-4")
    if _POLYNOMIAL.fullmatch(config.chunker_polynomial) is None:
        raise JsonInvalid("config: chunker_polynomial is not a hexadecimal number of 64 bits", clause="CONFIG-5")
    check_polynomial(config.polynomial)
    return config


def encode_config(config: Config) -> bytes:
    """The plaintext to seal for *config*."""
    return wire.encode(config)
