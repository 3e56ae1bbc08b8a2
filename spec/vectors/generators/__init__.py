"""One generator a chapter; see ``generate.py``."""

from __future__ import annotations

from collections.abc import Callable

from vectors.generators import chunking, documents, gojson, keys, packs, parity, sealing, solving, trees
from vectors.generators.base import Chapter

CHAPTERS: dict[str, Callable[[], Chapter]] = {
    "layout": sealing.layout,
    "crypto": sealing.crypto,
    "keys": keys.keys,
    "config": documents.config,
    "unpacked": documents.unpacked,
    "packs": packs.packs,
    "blobs": packs.blobs,
    "index": documents.index,
    "trees": trees.trees,
    "snapshots": documents.snapshots,
    "locks": documents.locks,
    "chunking": chunking.chunking,
    "gojson": gojson.gojson,
    "parity": parity.parity,
    "solving": solving.solving,
}
