"""What rustic adds to the documents of a repository, declared.

restic ignores these members; the documents' declarations keep them as they are (`restic_spec.wire.Document.extra`). Here
is what they mean.
"""

from __future__ import annotations

import msgspec

from restic_spec import wire
from restic_spec.config import Config


class ConfigMembers(msgspec.Struct, omit_defaults=True):
    """rustic's members of the config (RUSTIC-1). Sizes are bytes, ``None`` means that rustic's default applies."""

    chunker: str | None = None
    """``Rabin``, as restic does (the default), or ``FixedSize``."""
    chunk_size: wire.Size | None = None
    """Size of a chunk: on average with Rabin, exactly with FixedSize."""
    chunk_min_size: wire.Size | None = None
    chunk_max_size: wire.Size | None = None
    is_hot: bool | None = None
    """Whether this is the hot half of a hot/cold repository: its index lists data packs that only the cold half holds."""
    append_only: bool | None = None
    """Whether nothing may be removed."""
    compression: wire.I64 | None = None
    """zstandard level from -7 to 22; 0 is off."""
    treepack_size: wire.Size | None = None
    treepack_growfactor: wire.Size | None = None
    treepack_size_limit: wire.Size | None = None
    datapack_size: wire.Size | None = None
    datapack_growfactor: wire.Size | None = None
    datapack_size_limit: wire.Size | None = None
    min_packsize_tolerate_percent: wire.Size | None = None
    max_packsize_tolerate_percent: wire.Size | None = None
    extra_verify: bool | None = None
    """Whether what was encrypted and compressed is opened again before it is stored."""


_config_decoder = msgspec.json.Decoder(ConfigMembers)


def config_members(config: Config) -> ConfigMembers:
    """rustic's members of *config*.

    Raises:
        JsonInvalid: one of them is of another type.
    """
    members: ConfigMembers = wire.decode_known(_config_decoder, wire.splice(b"{}", config.extra), "config", "RUSTIC-1")
    return members
