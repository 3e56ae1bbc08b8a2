"""Repositories made by hand, so that they can be wrong in any way one likes.

Everything is sealed with the right key: what is wrong is what a hostile or broken program would have written.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import zstandard

from restic_spec import keyfile
from restic_spec.crypto import MasterKey, seal
from tests.safety.kit import PASSWORD

POLYNOMIAL = "3da3358b4dc173"
TIME = "2024-02-03T04:05:06.000000007Z"
Blob = tuple[str, str, bytes, int]
"""type, id (hex), sealed bytes, plaintext length (0: stored uncompressed)."""


class Forge:
    """A repository at *path*, version 2, with a key that opens at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = MasterKey.generate()
        for folder in ("data", "index", "keys", "locks", "snapshots"):
            (path / folder).mkdir(parents=True)
        kdf = keyfile.Kdf(2, 1, 1, os.urandom(keyfile.SALT_SIZE))
        wrapped = keyfile.wrap(self.key, PASSWORD.encode(), kdf, created=TIME, username="u", hostname="h")
        self.store("keys", keyfile.encode_keyfile(wrapped))
        document = {"version": 2, "id": os.urandom(32).hex(), "chunker_polynomial": POLYNOMIAL}
        (path / "config").write_bytes(seal(self.key, json.dumps(document).encode()))

    def store(self, folder: str, raw: bytes) -> str:
        """Write a file under its right name."""
        name = hashlib.sha256(raw).hexdigest()
        place = self.path / folder / name[:2] if folder == "data" else self.path / folder
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(raw)
        return name

    def document(self, folder: str, document: Any) -> str:
        """Seal and store a JSON document."""
        return self.store(folder, self.sealed(json.dumps(document).encode()))

    def sealed(self, plaintext: bytes) -> bytes:
        """*plaintext* under the repository's key."""
        return seal(self.key, plaintext)

    def compressed_document(self, folder: str, frame: bytes) -> str:
        """Seal and store a file that claims to be compressed."""
        return self.store(folder, seal(self.key, b"\x02" + frame))

    def blob(self, kind: str, plaintext: bytes, *, frame: bytes | None = None, claims: int | None = None) -> Blob:
        """A compressed blob; *frame* and *claims* put something else in the place of the frame and its length."""
        frame = zstandard.compress(plaintext) if frame is None else frame
        claims = len(plaintext) if claims is None else claims
        return kind, hashlib.sha256(plaintext).hexdigest(), seal(self.key, frame), claims

    def plain_blob(self, kind: str, plaintext: bytes) -> Blob:
        """A blob that is stored uncompressed."""
        return kind, hashlib.sha256(plaintext).hexdigest(), seal(self.key, plaintext), 0

    def pack(self, blobs: list[Blob], *, header: bytes | None = None, trailer: int | None = None) -> str:
        """Store a pack; *header* and *trailer* replace the plaintext of the header and the length at the end."""
        if header is None:
            header = b"".join(
                struct.pack("<BI", 2 * bool(claims) + (kind == "tree"), len(sealed))
                + (struct.pack("<I", claims) if claims else b"")
                + bytes.fromhex(ident)
                for kind, ident, sealed, claims in blobs
            )
        sealed_header = seal(self.key, header)
        length = len(sealed_header) if trailer is None else trailer
        body = b"".join(sealed for _kind, _ident, sealed, _claims in blobs)
        return self.store("data", body + sealed_header + struct.pack("<I", length))

    def index(self, packs: dict[str, list[Blob]], **changes: Any) -> str:
        """Store an index of *packs*; *changes* replace fields of the first blob of each pack."""
        records = []
        for pack, blobs in packs.items():
            entries, offset = [], 0
            for kind, ident, sealed, claims in blobs:
                entry = {"id": ident, "type": kind, "offset": offset, "length": len(sealed)}
                entries.append({**entry, "uncompressed_length": claims} if claims else entry)
                offset += len(sealed)
            entries[0].update(changes)
            records.append({"id": pack, "blobs": entries})
        return self.document("index", {"packs": records})

    def snapshot(self, tree: str) -> str:
        """Store a snapshot of a root tree."""
        return self.document("snapshots", {"time": TIME, "tree": tree, "paths": ["/x"], "hostname": "h", "username": "u"})

    def whole(self, nodes: list[dict[str, Any]], extra: list[Blob] | None = None) -> tuple[str, str]:
        """A snapshot of one directory with *nodes*, its tree and *extra* data blobs indexed: (snapshot, tree)."""
        tree = self.blob("tree", tree_json(nodes))
        packs = {self.pack([tree]): [tree]}
        if extra:
            packs[self.pack(extra)] = extra
        self.index(packs)
        return self.snapshot(tree[1]), tree[1]


def tree_json(nodes: list[dict[str, Any]]) -> bytes:
    """The plaintext of a tree."""
    return json.dumps({"nodes": nodes}, separators=(",", ":")).encode() + b"\n"


def node(name: str, kind: str = "file", **fields: Any) -> dict[str, Any]:
    """An entry of a tree."""
    base = {"name": name, "type": kind, "mode": 0o644, "mtime": TIME, "atime": TIME, "ctime": TIME, "uid": 0, "gid": 0}
    return {**base, **({"content": []} if kind == "file" else {}), **fields}


def zstd_bomb(size: int, *, announced: int | None) -> bytes:
    """A valid zstd frame of a few hundred KiB that expands to *size* zeros; it may announce another size, or none."""
    block = 128 << 10
    count, rest = divmod(size, block)
    sizes = [block] * count + ([rest] if rest else [])
    # The frame header's flags say that an 8-byte content size follows, or none; then comes a window of 2 MiB.
    size_field = b"" if announced is None else struct.pack("<Q", announced)
    body = bytearray(b"\x28\xb5\x2f\xfd" + (b"\xc0" if size_field else b"\x00") + b"\x58" + size_field)
    for number, length in enumerate(sizes):
        last = number == len(sizes) - 1
        body += struct.pack("<I", last | 1 << 1 | length << 3)[:3] + b"\0"
    return bytes(body)
