"""``list``: print the ids of all objects of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from restic_format.repository import Repository
from restic_spec.index import decode_index
from restic_spec.layout import FileKind
from restic_tools.argv import UsageFailure
from restic_tools.context import Context
from restic_tools.declare import Argument
from restic_tools.messages import encode_message
from restic_tools.messages.list import ListedObject

KINDS = {
    "packs": FileKind.PACK,
    "index": FileKind.INDEX,
    "snapshots": FileKind.SNAPSHOT,
    "keys": FileKind.KEY,
    "locks": FileKind.LOCK,
}
TYPES = {"packs": "pack", "index": "index", "snapshots": "snapshot", "keys": "key", "locks": "lock"}
"""What one object of each kind is called in messages."""


def list_objects(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="[blobs|packs|index|snapshots|keys|locks]", values=("blobs", *KINDS))],
) -> None:
    """List objects in the repository

    Prints one ID per line, for blobs with the type before it; with --json one message per line.
    """
    if len(words) != 1:
        raise UsageFailure(f"accepts 1 arg(s), received {len(words)}")
    kind = words[0]
    if kind != "blobs" and kind not in KINDS:
        raise UsageFailure(f'invalid argument "{kind}" for "restic-format list"')
    with ctx.open_repository(lock="none" if kind == "locks" else "shared") as repo:
        if kind == "blobs":
            for blobs in _blobs(repo):
                if ctx.options.json:
                    lines = [encode_message(ListedObject("object", blob_type, blob_id)) for blob_type, blob_id in blobs]
                    ctx.out.write(b"".join(line + b"\n" for line in lines))
                else:
                    ctx.out.write("".join(f"{blob_type} {blob_id}\n" for blob_type, blob_id in blobs).encode())
            return
        for file_id, _ in repo.list(KINDS[kind]):
            if ctx.options.json:
                ctx.out.json(ListedObject("object", TYPES[kind], file_id.hex()))
            else:
                ctx.out.write(file_id.hex().encode() + b"\n")


def _blobs(repo: Repository) -> Iterator[list[tuple[str, str]]]:
    """Type and id of the blobs of the index, one index file at a time, so that the whole index need not fit into memory."""
    for index_id, _ in repo.list(FileKind.INDEX):
        index = decode_index(repo.load_unpacked(FileKind.INDEX, index_id), f"index {index_id.hex()[:8]}")
        for pack in index.all_packs():
            yield [(blob.type, blob.id) for blob in pack.blobs]
