"""What rustic adds to the documents of a repository, declared.

restic ignores these members; the documents' declarations keep them as they are (`restic_spec.wire.Document.extra`). Here
is what they mean.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from restic_spec import gojson, gotime, wire
from restic_spec.config import Config
from restic_spec.errors import JsonInvalid
from restic_spec.snapshot import Snapshot

MIN_LEVEL, MAX_LEVEL = -7, 22
"""zstandard's levels that a config may ask for; 0 is off (RUSTIC-1)."""
DEFAULT_TREE_PACK_SIZE, DEFAULT_DATA_PACK_SIZE = 4 << 20, 32 << 20
"""Bytes of a pack where the config does not say (RUSTIC-10)."""
DEFAULT_GROW_FACTOR = 32
"""Bytes by which packs grow for each byte of the square root of what there is (RUSTIC-10)."""


class ConfigMembers(msgspec.Struct, omit_defaults=True):
    """rustic's members of the config (RUSTIC-1). Sizes are bytes, ``None`` means that rustic's default applies."""

    chunker: str | None = None
    """How files are cut: ``Rabin``, as restic does (the default), or ``FixedSize`` (RUSTIC-1)."""
    chunk_size: wire.Size | None = None
    """Size of a chunk: on average with Rabin, exactly with FixedSize (RUSTIC-1)."""
    chunk_min_size: wire.Size | None = None
    """Least size of a chunk but for the last one of a file (RUSTIC-1)."""
    chunk_max_size: wire.Size | None = None
    """Greatest size of a chunk (RUSTIC-1)."""
    is_hot: bool | None = None
    """Whether this is the hot half of a hot/cold repository, whose data packs only the cold half holds (RUSTIC-1)."""
    append_only: bool | None = None
    """Whether no file but locks is removed (RUSTIC-10)."""
    compression: wire.I64 | None = None
    """zstandard level for new blobs from -7 to 22; 0 is off (RUSTIC-1, RUSTIC-10)."""
    treepack_size: wire.Size | None = None
    """Size of a new pack of trees before it grows (RUSTIC-10)."""
    treepack_growfactor: wire.Size | None = None
    """Bytes by which it grows for each byte of the square root of all packs of trees (RUSTIC-10)."""
    treepack_size_limit: wire.Size | None = None
    """Bytes that it does not grow beyond (RUSTIC-10)."""
    datapack_size: wire.Size | None = None
    """Size of a new pack of data before it grows (RUSTIC-10)."""
    datapack_growfactor: wire.Size | None = None
    """Bytes by which it grows for each byte of the square root of all packs of data (RUSTIC-10)."""
    datapack_size_limit: wire.Size | None = None
    """Bytes that it does not grow beyond (RUSTIC-10)."""
    min_packsize_tolerate_percent: wire.Size | None = None
    """Packs below so many percent of the size aimed at are written again by prune (RUSTIC-1)."""
    max_packsize_tolerate_percent: wire.Size | None = None
    """Packs above so many percent of it likewise (RUSTIC-1)."""
    extra_verify: bool | None = None
    """Whether what was encrypted and compressed is opened again before it is stored (RUSTIC-10)."""


_config_decoder = msgspec.json.Decoder(ConfigMembers)


def config_members(config: Config) -> ConfigMembers:
    """rustic's members of *config*.

    Raises:
        JsonInvalid: one of them is of another type.
    """
    members: ConfigMembers = wire.decode_known(_config_decoder, wire.splice(b"{}", config.extra), "config", "RUSTIC-1")
    return members


def with_members(config: Config, changed: ConfigMembers) -> Config:
    """*config* with the members that *changed* has, in rustic's order; everything else as it is (RUSTIC-1).

    Raises:
        JsonInvalid: rustic's members of *config* are not what they must be.
    """
    values = msgspec.structs.asdict(config_members(config))
    values |= {name: value for name, value in msgspec.structs.asdict(changed).items() if value is not None}
    members = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items() if value is not None}
    others = {name: raw for name, raw in config.extra.items() if name not in values}
    made = msgspec.structs.replace(config)
    made.keep_extra(members | others, "config")
    return made


DELETE = "delete"
"""The member of a snapshot that says when it may be removed (RUSTIC-3)."""

LABEL, DESCRIPTION = "label", "description"
"""The members of a snapshot that people write for people (RUSTIC-3)."""


class DeleteMark(NamedTuple):
    """When a snapshot may be removed (RUSTIC-8)."""

    after_ns: int | None
    """Nanoseconds since the epoch from which on it is to be removed; None means that it never is."""

    def must_keep(self, now_ns: int) -> bool:
        """Whether nobody may remove the snapshot."""
        return self.after_ns is None or self.after_ns >= now_ns


class _After(msgspec.Struct):
    After: str
    """From when on it is to be removed, a time with zone (RUSTIC-8)."""


class SnapshotMembers(msgspec.Struct, omit_defaults=True):
    """rustic's members of a snapshot (RUSTIC-3)."""

    label: str = ""
    """A word for the snapshot, by which rustic groups (RUSTIC-3)."""
    description: str = ""
    """What people wrote about it (RUSTIC-3)."""
    delete: str | _After | None = None
    """When it may be removed: ``NotSet``, ``Never`` or a time (RUSTIC-8)."""
    parents: list[str] = msgspec.field(default_factory=list)
    """The snapshots that it was compared with, where there are several (RUSTIC-3)."""


_delete_decoder: msgspec.json.Decoder[str | _After | None] = msgspec.json.Decoder(str | _After | None)
_text_decoder = msgspec.json.Decoder(str)
_ZONE_NAMES = re.compile(r"(?:\[[^][]*\])+")


def zoned_ns(text: str) -> int:
    """Nanoseconds since the epoch of a time by RFC 9557, ``2126-11-22T14:56:55+00:00[UTC]``: its offset counts, not the names.

    Raises:
        JsonInvalid: *text* is not such a time.
    """
    names = _ZONE_NAMES.search(text)
    return gotime.parse_ns(text[: names.start()] if names and names.end() == len(text) else text)


def delete_mark(snapshot: Snapshot, what: str = "snapshot") -> DeleteMark | None:
    """When *snapshot* may be removed, None where rustic has not said; read with the member `DELETE` (RUSTIC-3, RUSTIC-8).

    Raises:
        JsonInvalid: the member is there, and no such mark.
    """
    raw = snapshot.extra.get(DELETE)
    if raw is None:
        return None
    value: str | _After | None = wire.decode_known(_delete_decoder, raw, what, "RUSTIC-3")
    if isinstance(value, _After):
        try:
            return DeleteMark(zoned_ns(value.After))
        except JsonInvalid as error:
            raise JsonInvalid(error.what, object=what, clause="RUSTIC-3") from None
    if value in (None, "NotSet"):
        return None
    if value != "Never":
        raise JsonInvalid(f"{value[:60]!r} does not say when to delete it", object=what, clause="RUSTIC-3")
    return DeleteMark(None)


def with_delete_mark(snapshot: Snapshot, mark: DeleteMark | None) -> Snapshot:
    """*snapshot* with *mark*, or without one, and with everything else that it has (RUSTIC-3, SNAP-10)."""
    made = msgspec.structs.replace(snapshot)
    others = {name: raw for name, raw in snapshot.extra.items() if name != DELETE}
    made.keep_extra(others | snapshot_members(delete=mark), "snapshot")
    return made


def text_member(snapshot: Snapshot, name: str) -> str:
    """The text of `LABEL` or `DESCRIPTION`; nothing where there is none, or it is not text."""
    raw = snapshot.extra.get(name)
    if raw is None:
        return ""
    try:
        text: str = wire.decode_known(_text_decoder, raw, name, "RUSTIC-3")
    except JsonInvalid:
        return ""
    return text


def snapshot_members(*, label: str = "", description: str = "", delete: DeleteMark | None = None) -> dict[str, msgspec.Raw]:
    """What a snapshot that is made with these has beside restic's members (RUSTIC-3)."""
    members: dict[str, bytes] = {}
    if label:
        members[LABEL] = gojson.encode(label)
    if delete is not None and delete.after_ns is None:
        members[DELETE] = b'"Never"'
    elif delete is not None and delete.after_ns is not None:
        time = gotime.format_ns(delete.after_ns, 0).removesuffix("Z")
        members[DELETE] = b'{"After":"%s+00:00[UTC]"}' % time.encode()
    if description:
        members[DESCRIPTION] = gojson.encode(description)
    return {name: msgspec.Raw(raw) for name, raw in members.items()}
