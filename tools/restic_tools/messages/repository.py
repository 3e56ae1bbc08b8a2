"""The messages of ``repo-info`` (rustic's), ``config`` and ``show-config``."""

from __future__ import annotations

import msgspec


class FilesInfo(msgspec.Struct):
    """The files of one kind."""

    tpe: str
    """``key``, ``snapshot``, ``index`` or ``pack``."""
    count: int
    size: int


class AllFiles(msgspec.Struct):
    """All files."""

    repo: list[FilesInfo]


class BlobsInfo(msgspec.Struct):
    """The blobs of one type."""

    blob_type: str
    count: int
    size: int
    """Bytes in packs."""
    data_size: int
    """Bytes of their plaintexts."""


class PacksInfo(msgspec.Struct, omit_defaults=True):
    """The packs of one type."""

    blob_type: str
    count: int
    min_size: int | None = None
    max_size: int | None = None


class IndexInfoMessage(msgspec.Struct):
    """What the index lists."""

    blobs: list[BlobsInfo]
    packs: list[PacksInfo]
    marked_packs: int
    """How many packs are marked for deletion."""


class RepositoryInfo(msgspec.Struct, omit_defaults=True):
    """``repo-info``: what the repository holds."""

    files: AllFiles | None = None
    index: IndexInfoMessage | None = None


class Setting(msgspec.Struct):
    """One setting in the repository."""

    name: str
    value: int | bool | None
    """What the config says; ``null`` where it says nothing."""
    effective: int | bool | str | None
    """What holds; ``null`` for no limit."""


class SettingChanged(msgspec.Struct):
    """``config``: one setting that was changed."""

    name: str
    before: int | bool | None
    after: int | bool


class ConfigChanged(msgspec.Struct):
    """``config``: what was changed."""

    message_type: str
    """``summary``."""
    changed: list[SettingChanged]


class ShownConfig(msgspec.Struct):
    """``show-config``: the repository and its settings."""

    id: str
    version: int
    chunker_polynomial: str
    settings: list[Setting]
