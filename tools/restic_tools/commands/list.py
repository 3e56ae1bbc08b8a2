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

KINDS = {
    "packs": FileKind.PACK,
    "index": FileKind.INDEX,
    "snapshots": FileKind.SNAPSHOT,
    "keys": FileKind.KEY,
    "locks": FileKind.LOCK,
}


def list_objects(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="[blobs|packs|index|snapshots|keys|locks]", values=("blobs", *KINDS))],
) -> None:
    """List objects in the repository

    Prints one ID per line, for blobs with the type before it, and the same with --json.
    """
    if len(words) != 1:
        raise UsageFailure(f"accepts 1 arg(s), received {len(words)}")
    kind = words[0]
    if kind != "blobs" and kind not in KINDS:
        raise UsageFailure(f'invalid argument "{kind}" for "restic-format list"')
    with ctx.open_repository(lock="none" if kind == "locks" else "shared") as repo:
        if kind == "blobs":
            for line in _blob_lines(repo):
                ctx.out.write(line)
            return
        for file_id, _ in repo.list(KINDS[kind]):
            ctx.out.write(file_id.hex().encode() + b"\n")


def _blob_lines(repo: Repository) -> Iterator[bytes]:
    """The blobs of the index, one index file at a time, so that the whole index need not fit into memory."""
    for index_id, _ in repo.list(FileKind.INDEX):
        index = decode_index(repo.load_unpacked(FileKind.INDEX, index_id), f"index {index_id.hex()[:8]}")
        for pack in index.all_packs():
            yield "".join(f"{blob.type} {blob.id}\n" for blob in pack.blobs).encode()
