"""Write the recipes below ``fixtures/damaged/``: every way of damage that users meet, placed exactly.

Each recipe is tried with the real programs when it is made, and what they said (their exit codes) is kept in it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from restic_conformance import fixtures
from restic_conformance.fixtures import Damage
from restic_conformance.programs import PASSWORD, SECOND, Program
from restic_conformance.vault import Vault, file_id
from restic_spec.crypto import OVERHEAD, seal
from restic_spec.errors import ResticFormatError
from restic_spec.index import encode_index
from restic_spec.keyfile import decode_keyfile, unwrap
from restic_spec.pack import BlobType, PackEntry

Steps = list[dict[str, Any]]

NEW, OLD = "restic-0.19-v2", "restic-0.14-v1"
"""The fixtures that get damaged: compressed and current, uncompressed and old."""

CALLS = (("check",), ("check", "--read-data"))

OVERLOOKED = frozenset({"key-empty-beside-good", "key-flip-beside-good"})
"""Damage that restic's ``check`` does not look for: it reads no key but the one that opens."""


def flip(path: str, offset: int, mask: int = 0x10) -> dict[str, Any]:
    """Step: invert the bits of ``mask`` in one byte."""
    return {"do": "flip", "path": path, "offset": offset, "mask": mask}


def truncate(path: str, size: int) -> dict[str, Any]:
    """Step: keep the first ``size`` bytes."""
    return {"do": "truncate", "path": path, "size": size}


def write(path: str, data: bytes) -> dict[str, Any]:
    """Step: store these bytes."""
    return {"do": "write", "path": path, "data": base64.b64encode(data).decode()}


def remove(path: str) -> dict[str, Any]:
    """Step: delete a file."""
    return {"do": "remove", "path": path}


class Site:
    """A healthy fixture, unpacked, with what is needed to aim at its parts."""

    def __init__(self, name: str, work: Path) -> None:
        self.name = name
        self.repository = fixtures.unpack(name, work / name)
        self.vault = Vault(self.repository, PASSWORD)
        self.packs = sorted(self.vault.packs())

    def pack(self, kind: BlobType) -> tuple[str, list[PackEntry]]:
        """The largest pack that holds blobs of this kind."""
        fitting = [(name, entries) for name, entries in self.packs if entries[0].type is kind]
        return max(fitting, key=lambda pack: sum(entry.length for entry in pack[1]))

    def path(self, pack: str) -> str:
        return self.vault.pack_path(pack)

    def size(self, path: str) -> int:
        return (self.repository / path).stat().st_size

    def key_of(self, password: str) -> str:
        """Path of the key that this password opens."""
        for name in self.vault.names("keys"):
            keyfile = decode_keyfile((self.repository / "keys" / name).read_bytes())
            with contextlib.suppress(ResticFormatError):
                unwrap(keyfile, password.encode())
                return f"keys/{name}"
        raise ValueError(f"{self.name}: no key for {password}")

    def only(self, folder: str) -> str:
        """Path of the first file in a folder."""
        return f"{folder}/{self.vault.names(folder)[0]}"

    def repack(self, pack: str, changed: bytes) -> Steps:
        """Steps that replace a pack by other bytes under their true hash, and correct the index to it."""
        renamed = file_id(changed)
        steps = [remove(self.path(pack)), write(self.path(renamed), changed)]
        for name, index in self.vault.indexes().items():
            if any(entry.id == pack for entry in index.all_packs()):
                for entry in index.all_packs():
                    entry.id = renamed if entry.id == pack else entry.id
                path, sealed = self.vault.seal_file("index", encode_index(index))
                steps += [remove(f"index/{name}"), write(path, sealed)]
        return steps


Recipe = tuple[str, str, Steps, list[str]]
"""What it is, what a user loses, the steps, what to name."""


def _files(s: Site) -> dict[str, Recipe]:
    """Damage to config, keys, indexes, snapshots."""
    config, key, index = "config", s.only("keys"), s.only("index")
    snapshot = s.only("snapshots")
    indexes = [f"index/{name}" for name in s.vault.names("index")]
    named = {path: path.rpartition("/")[2][:8] for path in (key, index, snapshot)}
    every_key = [f"keys/{name}" for name in s.vault.names("keys")]
    short = {path: path.rpartition("/")[2][:8] for path in every_key}
    lost = "nothing can be read until it is repaired"
    return {
        "config-flip": ("one bit of the config is wrong", lost, [flip(config, 40)], ["config"]),
        "config-truncated": ("the config is cut short", lost, [truncate(config, 50)], ["config"]),
        "config-missing": ("the config is gone", lost, [remove(config)], ["config", "repository"]),
        "key-flip": (
            "one bit of the sealed part of each key is wrong", lost,
            [flip(path, s.size(path) - 60, 0x01) for path in every_key], ["password", "key", *short.values()],
        ),
        "key-truncated": (
            "each key file is cut short", lost, [truncate(path, 200) for path in every_key],
            ["key", *short.values()],
        ),
        "key-empty-beside-good": (
            "an empty key file lies beside good ones", "none: the other keys still open it",
            [write("keys/" + "0" * 64, b"")], ["00000000"],
        ),
        "key-flip-beside-good": (
            "one bit of one of two keys is wrong", "that key's password opens the repository no longer",
            [flip(s.key_of(SECOND), 30, 0x01)], [s.key_of(SECOND)[5:13]],
        ),
        "key-data-short": (
            "the sealed part of each key is only a few bytes", "everything, unless a key is kept elsewhere",
            [write(path, _shorten_data((s.repository / path).read_bytes())) for path in every_key],
            ["password", "key", *short.values()],
        ),
        "key-costs-absurd": (
            "each key asks for a derivation that no machine could do", "everything, unless a key is kept elsewhere",
            [write(path, _absurd((s.repository / path).read_bytes())) for path in every_key],
            ["password", "key", *short.values()],
        ),
        "keys-missing": (
            "no key file is left", "everything: without a key nothing can be decrypted",
            [remove(path) for path in every_key], ["key"],
        ),
        "index-flip": (
            "one bit of an index is wrong", "its blobs are not found until the index is rebuilt",
            [flip(index, 77)], [named[index]],
        ),
        "index-truncated": (
            "an index is cut short", "its blobs are not found until the index is rebuilt",
            [truncate(index, 60)], [named[index]],
        ),
        "index-missing": (
            "one index is gone", "its packs are in no index", [remove(index)],
            [pack[:8] for pack in _packs_in(s, index)],
        ),
        "indexes-missing": (
            "all indexes are gone", "nothing is found until the index is rebuilt",
            [remove(path) for path in indexes], [name[:8] for name, _ in s.packs],
        ),
        "snapshot-flip": (
            "one bit of a snapshot is wrong", "that snapshot", [flip(snapshot, 30)], [named[snapshot]],
        ),
        "snapshot-truncated": (
            "a snapshot is cut short", "that snapshot", [truncate(snapshot, 33)], [named[snapshot]],
        ),
        "snapshot-empty": ("a snapshot is empty", "that snapshot", [truncate(snapshot, 0)], [named[snapshot]]),
        "garbage-names": (
            "files that are not repository files lie in its folders", "none",
            [
                write("data/ab/not-a-pack", b"x"), write("data/README", b"x"), write("index/tmp-123", b"x"),
                write("snapshots/.DS_Store", b"x"), write("keys/README.txt", b"x"), write("locks/garbage", b"x"),
                write("lost+found/file", b"x"), write("data/zz/" + "0" * 64, b"x"),
            ], [],
        ),
    }  # fmt: skip


def _shorten_data(key: bytes) -> bytes:
    raw = json.loads(key)
    return json.dumps({**raw, "data": base64.b64encode(b"short").decode()}).encode()


def _absurd(key: bytes) -> bytes:
    raw = json.loads(key)
    return json.dumps({**raw, "N": 1 << 40, "r": 1 << 20, "p": 1 << 20}).encode()


def _packs_in(s: Site, index: str) -> list[str]:
    wanted = index.rpartition("/")[2]
    return [str(pack.id) for pack in s.vault.indexes()[wanted].all_packs()]


def _packs(s: Site) -> dict[str, Recipe]:
    """Damage to packs."""
    data, data_entries = s.pack(BlobType.DATA)
    tree, tree_entries = s.pack(BlobType.TREE)
    blob, node = data_entries[len(data_entries) // 2], tree_entries[len(tree_entries) // 2]
    end = s.size(s.path(data))
    named = [data[:8], blob.id.hex()[:8]]
    raw = (s.repository / s.path(data)).read_bytes()
    wrong_mac = bytearray(raw)
    wrong_mac[blob.offset + blob.length // 2] ^= 0x04
    stray = seal(s.vault.master, b"stray") + seal(s.vault.master, bytes(37)) + (37 + OVERHEAD).to_bytes(4, "little")
    some = "the files and folders that use the blob"
    return {
        "data-blob-flip": (
            "one bit in a data blob is wrong", some, [flip(s.path(data), blob.offset + blob.length // 2)], named,
        ),
        "data-blob-iv-flip": ("one bit of a blob's IV is wrong", some, [flip(s.path(data), blob.offset + 3)], named),
        "data-blob-mac-flip": (
            "one bit of a blob's MAC is wrong", some, [flip(s.path(data), blob.offset + blob.length - 1)], named,
        ),
        "tree-blob-flip": (
            "one bit in a tree blob is wrong", "the folder and all below it",
            [flip(s.path(tree), node.offset + node.length // 2)], [tree[:8], node.id.hex()[:8]],
        ),
        "header-flip": (
            "one bit of a pack's header is wrong", "none while the index is good: the blobs can still be found",
            [flip(s.path(data), end - 20)], [data[:8]],
        ),
        "header-length-absurd": (
            "a pack's header length is far larger than the pack", "none while the index is good",
            [flip(s.path(data), end - 1, 0x7F)], [data[:8]],
        ),
        "pack-truncated": (
            "the end of a pack is missing", "the blobs that lay there",
            [truncate(s.path(data), blob.offset + 10)], [data[:8]],
        ),
        "pack-empty": ("a pack is empty", "all its blobs", [truncate(s.path(data), 0)], [data[:8]]),
        "pack-extended": (
            "bytes were appended to a pack", "none while the index is good",
            [write(s.path(data), raw + b"appended")], [data[:8]],
        ),
        "data-pack-missing": ("a data pack is gone", "all its blobs", [remove(s.path(data))], [data[:8]]),
        "tree-pack-missing": (
            "a tree pack is gone", "the folders in it", [remove(s.path(tree))], [tree[:8]],
        ),
        "pack-misplaced": (
            "a pack lies in the folder of another prefix", "all its blobs, for programs that look where it belongs",
            [{"do": "rename", "path": s.path(data), "to": f"data/{'00' if data[:2] != '00' else '01'}/{data}"}], [data[:8]],
        ),
        "pack-unindexed": (
            "a pack is in no index", "none: it is only space",
            [write(f"data/{file_id(stray)[:2]}/{file_id(stray)}", stray)], [file_id(stray)[:8]],
        ),
        "corrupt-before-hash": (
            "a blob was damaged before its pack was hashed: the pack's name is right, the blob's MAC is wrong", some,
            s.repack(data, bytes(wrong_mac)), [file_id(bytes(wrong_mac))[:8], blob.id.hex()[:8]],
        ),
    }  # fmt: skip


def _uncompressed(s: Site) -> dict[str, Recipe]:
    """Damage that needs blobs stored plainly."""
    data, entries = s.pack(BlobType.DATA)
    blob = entries[len(entries) // 2]
    raw = (s.repository / s.path(data)).read_bytes()
    other = seal(s.vault.master, bytes(blob.length - OVERHEAD - 1) + b"!")
    changed = raw[: blob.offset] + other + raw[blob.offset + blob.length :]
    tree, tree_entries = s.pack(BlobType.TREE)
    node = tree_entries[len(tree_entries) // 2]
    return {
        "corrupt-before-sealing": (
            "a blob was damaged before it was encrypted: pack name and MAC are right, the blob's hash is wrong",
            "the files that use the blob", s.repack(data, changed), [file_id(changed)[:8], blob.id.hex()[:8]],
        ),
        "v1-data-blob-flip": (
            "one bit in a data blob is wrong", "the files that use the blob",
            [flip(s.path(data), blob.offset + 20)], [data[:8], blob.id.hex()[:8]],
        ),
        "v1-tree-blob-flip": (
            "one bit in a tree blob is wrong", "the folder and all below it",
            [flip(s.path(tree), node.offset + 20)], [tree[:8], node.id.hex()[:8]],
        ),
    }  # fmt: skip


def make_all(observers: Sequence[Program], only: Sequence[str] = ()) -> None:
    """Write the recipes (all unless ``only`` names some), with the exit codes of the programs given."""
    makers: list[tuple[str, Callable[[Site], dict[str, Recipe]]]] = [
        (NEW, _files),
        (NEW, _packs),
        (OLD, _uncompressed),
    ]
    with tempfile.TemporaryDirectory(prefix="damage-") as folder:
        for number, (fixture, maker) in enumerate(makers):
            site = Site(fixture, Path(folder) / str(number))
            for name, (what, consequence, steps, named) in maker(site).items():
                if only and name not in only:
                    continue
                thorough = dict.fromkeys(map(" ".join, CALLS), 1) if name in OVERLOOKED else {}
                damage = Damage(name, fixture, what, consequence, tuple(steps), tuple(named), {}, thorough)
                for observer in observers:
                    damage.observed[observer.name] = observe(damage, observer)
                fixtures.store_damage(damage)
                print(f"{name}: {damage.observed}")


def observe(damage: Damage, program: Program) -> dict[str, int]:
    """Exit codes of a program on the damaged fixture."""
    codes = {}
    for call in CALLS:
        with tempfile.TemporaryDirectory(prefix="observe-") as folder:
            repository = fixtures.unpack(damage.fixture, Path(folder) / "fixture")
            fixtures.apply(damage.steps, repository)
            codes[" ".join(call)] = program.run(repository, *call, "--no-lock").code
    return codes
