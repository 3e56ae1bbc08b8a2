"""Reading and forging the files of a local repository with nothing but the specification.

Used to place damage exactly (this blob, this header) and to give a repository a key that opens quickly. It is not an
engine: everything is read at once, nothing is locked, only small repositories are meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import ResticFormatError
from restic_spec.index import IndexFile, decode_index, entries_of
from restic_spec.keyfile import Kdf, decode_keyfile, encode_keyfile, unwrap, wrap
from restic_spec.pack import PackEntry
from restic_spec.unpacked import decode_unpacked, encode_unpacked

QUICK = Kdf(N=1024, r=1, p=1, salt=bytes(range(64)))
"""scrypt parameters that take a millisecond; every program accepts them."""


def file_id(data: bytes) -> str:
    """The name of a stored file: SHA-256 of its bytes in hex."""
    return hashlib.sha256(data).hexdigest()


class Vault:
    """A local repository, opened with a password."""

    def __init__(self, repository: Path, password: str) -> None:
        self.path = repository
        self.master = self._master(password)
        self.version = 2 if b'"version":2' in self.open("config") else 1

    def _master(self, password: str) -> MasterKey:
        problem: Exception | None = None
        for path in sorted((self.path / "keys").iterdir()):
            try:
                return unwrap(decode_keyfile(path.read_bytes()), password.encode())
            except ResticFormatError as error:
                problem = error
        raise ValueError(f"{self.path}: no key opens with this password") from problem

    def open(self, path: str) -> bytes:
        """Plaintext of an unpacked file, by its path below the repository."""
        plain = open_sealed(self.master, (self.path / path).read_bytes())
        return plain if path == "config" else decode_unpacked(self.version, plain)

    def seal_file(self, folder: str, plaintext: bytes) -> tuple[str, bytes]:
        """An unpacked file for ``folder``: its path below the repository and its bytes."""
        sealed = seal(self.master, encode_unpacked(self.version, plaintext))
        return f"{folder}/{file_id(sealed)}", sealed

    def names(self, folder: str) -> list[str]:
        """Names of the files in ``index``, ``snapshots``, ``keys`` or ``locks``."""
        return sorted(path.name for path in (self.path / folder).iterdir())

    def indexes(self) -> dict[str, IndexFile]:
        """Every index file by name."""
        return {name: decode_index(self.open(f"index/{name}")) for name in self.names("index")}

    def packs(self) -> Iterator[tuple[str, list[PackEntry]]]:
        """Every indexed pack with its entries, by offset."""
        for index in self.indexes().values():
            for pack in index.all_packs():
                yield str(pack.id), sorted(entries_of(pack), key=lambda entry: entry.offset)

    def pack_path(self, name: str) -> str:
        """Path of a pack below the repository."""
        return f"data/{name[:2]}/{name}"


def quicken(repository: Path, password: str) -> None:
    """Replace every key of a repository by one for ``password`` that takes no time to derive.

    The runs judged here open a repository hundreds of times; at the usual cost of a key that would be all they do.
    """
    vault = Vault(repository, password)
    key = wrap(vault.master, password.encode(), QUICK, created="2020-01-01T00:00:00Z", username="quick", hostname="quick")
    data = encode_keyfile(key)
    for path in (repository / "keys").iterdir():
        path.unlink()
    (repository / "keys" / file_id(data)).write_bytes(data)
