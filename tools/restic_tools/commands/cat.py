"""``cat``: print the decrypted content of one object of the repository."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from restic_format.errors import SnapshotNotFound
from restic_format.repository import Repository
from restic_format.repository.keys import load_key
from restic_format.snapshots import FoundSnapshot, find_id, find_snapshot, resolve_subfolder
from restic_format.words import json_for_terminal
from restic_spec import wire
from restic_spec.errors import SpecError
from restic_spec.ids import parse_id
from restic_spec.keyfile import encode_master_key
from restic_spec.layout import FileKind
from restic_spec.lock import decode_lock
from restic_spec.pack import BlobType
from restic_tools.context import Context
from restic_tools.declare import Argument
from restic_tools.exitcodes import Failure

TYPES = ("config", "index", "snapshot", "key", "masterkey", "lock", "pack", "blob", "tree")
WITHOUT_ID = ("config", "masterkey")
READ_SIZE = 8 << 20
"""Bytes of a pack read in one go."""


def cat(
    ctx: Context,
    words: Annotated[
        list[str],
        Argument(
            metavar="[masterkey|config|pack ID|blob ID|snapshot ID|index ID|key ID|lock ID|tree snapshot:subfolder]",
            values=("config", "masterkey", "pack", "blob", "snapshot", "index", "key", "lock", "tree"),
        ),
    ],
) -> None:
    """Print an object of the repository

    Config, keys, locks and snapshots are printed as indented JSON, indexes, trees, blobs and packs byte for byte. IDs can be
    shortened as long as they are unique, except those of blobs.
    """
    if not words:
        raise Failure("type not specified")
    kind = words[0]
    if kind not in TYPES:
        raise Failure(f'invalid type "{kind}", must be one of [config|index|snapshot|key|masterkey|lock|pack|blob|tree]')
    if kind not in WITHOUT_ID and len(words) < 2:
        raise Failure("ID not specified")
    name = words[1] if kind not in WITHOUT_ID else ""
    with ctx.open_repository(lock="shared") as repo:
        match kind:
            case "config":
                _document(ctx, wire.encode(repo.config))
            case "masterkey":
                _document(ctx, encode_master_key(repo.master_key))
            case "key":
                _document(ctx, wire.encode(load_key(repo.storage, find_id(repo, FileKind.KEY, name).hex())))
            case "lock":
                _document(ctx, _lock(repo, name))
            case "snapshot":
                _document(ctx, wire.encode(_snapshot(repo, name)[0].snapshot))
            case "index":
                index_id = find_id(repo, FileKind.INDEX, name)
                _json(ctx, repo.load_unpacked(FileKind.INDEX, index_id).removesuffix(b"\n") + b"\n")
            case "pack":
                _pack(ctx, repo, find_id(repo, FileKind.PACK, name))
            case "blob":
                ctx.out.write(_blob(repo, name))
            case _:
                _json(ctx, _tree(repo, name))


def _document(ctx: Context, raw: bytes) -> None:
    _json(ctx, msgspec.json.format(raw, indent=2) + b"\n")


def _json(ctx: Context, raw: bytes) -> None:
    """Print JSON byte for byte; on a terminal with what it would act on as JSON's escapes, which mean the same."""
    ctx.out.write(json_for_terminal(raw) if ctx.out.stdout_is_terminal else raw)


def _lock(repo: Repository, name: str) -> bytes:
    lock_id = find_id(repo, FileKind.LOCK, name)
    return wire.encode(decode_lock(repo.load_unpacked(FileKind.LOCK, lock_id), f"lock {lock_id.hex()[:8]}"))


def _snapshot(repo: Repository, name: str) -> tuple[FoundSnapshot, str]:
    try:
        return find_snapshot(repo, name)
    except SnapshotNotFound as error:
        raise Failure(f"could not find snapshot: {error}") from None


def _pack(ctx: Context, repo: Repository, pack_id: bytes) -> None:
    """Print a pack as it is; that its hash is wrong is reported after it, so that damaged packs can be looked at."""
    size = repo.storage.size(FileKind.PACK, pack_id.hex())
    digest = hashlib.sha256()
    for offset in range(0, size, READ_SIZE):
        piece = repo.storage.load(FileKind.PACK, pack_id.hex(), offset, min(READ_SIZE, size - offset))
        digest.update(piece)
        ctx.out.write(piece)
    if digest.digest() != pack_id:
        ctx.out.warn(
            f"Warning: hash of data does not match ID, want\n  {pack_id.hex()}\ngot:\n  {digest.hexdigest()}", block=True
        )


def _blob(repo: Repository, name: str) -> bytes:
    try:
        blob_id = parse_id(name)
    except SpecError:
        raise Failure(f'unable to parse ID: "{name}" is not a whole ID of 64 hexadecimal digits') from None
    repo.load_index()
    for blob_type in (BlobType.DATA, BlobType.TREE):
        if repo.index.has(blob_type, blob_id):
            return repo.load_blob(blob_type, blob_id)
    raise Failure("blob not found")


def _tree(repo: Repository, name: str) -> bytes:
    found, subfolder = _snapshot(repo, name)
    if not found.snapshot.tree:
        raise Failure(f"snapshot {found.short_id} has no tree")
    repo.load_index()
    tree_id = resolve_subfolder(repo, bytes.fromhex(found.snapshot.tree), subfolder)
    return repo.load_blob(BlobType.TREE, tree_id)
