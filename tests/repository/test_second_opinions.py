"""What nobody could read back if it were wrong is worked out a second time, by a library."""

from __future__ import annotations

import hashlib

import pytest

from restic_format.errors import DamagedFile, KeyUnusable
from restic_format.native import scrypt
from restic_format.repository import Repository, keys, packer
from restic_format.storage import MemoryStorage
from restic_spec import keyfile
from restic_spec.errors import KdfUnavailable
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

CHEAP = Kdf(16, 8, 1, b"s" * 64)


class WrongHash:
    """A SHA-256 that errs in one bit."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.update = self._hash.update

    def digest(self) -> bytes:
        right = self._hash.digest()
        return bytes([right[0] ^ 1]) + right[1:]


def test_a_pack_with_two_hashes_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    repository = Repository.init(storage, "pw", kdf=CHEAP)
    writer = repository.writer()
    monkeypatch.setattr(packer, "SAMPLE", 1)
    monkeypatch.setattr(packer.OpenPack, "add", _with_wrong_hash(packer.OpenPack.add))
    with pytest.raises(DamagedFile, match="two hashes"):
        writer.save_blob(BlobType.DATA, b"content")
        writer.flush()
    assert not list(storage.list(FileKind.PACK))


def _with_wrong_hash(add: object) -> object:
    def wrong(self: packer.OpenPack, *arguments: object) -> object:
        taken = add(self, *arguments)  # type: ignore[operator]
        self._hash = WrongHash()  # type: ignore[assignment]
        return taken

    return wrong


def test_a_sample_of_packs_is_hashed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []
    real = packer.OpenPack.__init__

    def spy(self: packer.OpenPack, *arguments: object, **named: bool) -> None:
        checked.append(named["checked"])
        real(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(packer.OpenPack, "__init__", spy)
    monkeypatch.setattr(packer, "SAMPLE", 3)
    repository = Repository.init(MemoryStorage(), "pw", kdf=CHEAP)
    writer = repository.writer()
    for number in range(4):
        writer.save_blob(BlobType.DATA, bytes([number]) * 1000)
        writer.flush()
    assert checked[:6] == [True, False, False, True, False, False]


def _derive_wrongly(patch: pytest.MonkeyPatch) -> None:
    """Let our own derivation be used, and give zeros."""
    patch.setattr(scrypt, "UNAVAILABLE", None)
    patch.setattr(scrypt, "SLOTS", {"?": 1}, raising=False)
    patch.setattr(scrypt, "derive_by", lambda *arguments: bytes(64), raising=False)


def test_new_keys_are_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that only our own derivation opens would lock its owner out on every other machine."""
    storage = MemoryStorage()
    with monkeypatch.context() as broken:
        _derive_wrongly(broken)
        with pytest.raises(KeyUnusable, match="does not open"):
            Repository.init(storage, "pw", kdf=CHEAP)
        assert not list(storage.list(FileKind.KEY))
        broken.setattr(keys, "_derive", keyfile.derive)  # so that the new key is not tried with what is broken
        Repository.init(storage, "pw", kdf=CHEAP)
    assert Repository.open(storage, "pw").version == 2
    _derive_wrongly(monkeypatch)
    with pytest.raises(KeyUnusable, match="consists of zeros"):
        Repository.open(storage, "pw")


@pytest.mark.parametrize(("n", "r", "p"), [(1 << 31, 8, 1), (16, 1 << 40, 1), (16, 8, 1 << 31), (1 << 62, 1, 1)])
@pytest.mark.parametrize("native", [True, False])
def test_parameters_that_no_library_counts_to_are_too_much_memory(
    n: int, r: int, p: int, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(scrypt, "UNAVAILABLE", "not wanted")
    with pytest.raises(MemoryError):
        scrypt.derive(b"", b"", n, r, p)


def test_a_python_without_scrypt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    Repository.init(storage, "pw", kdf=CHEAP)
    monkeypatch.setattr(scrypt, "UNAVAILABLE", "not wanted")

    def refused(*_arguments: object, **_options: object) -> bytes:
        raise ValueError("disabled for FIPS")

    for way in ("missing", "refused"):
        with monkeypatch.context() as patch:
            if way == "missing":
                patch.delattr("hashlib.scrypt")
            else:
                patch.setattr("hashlib.scrypt", refused)
            with pytest.raises(KdfUnavailable, match="OpenSSL has no scrypt"):
                Repository.open(storage, "pw")
            with pytest.raises(KdfUnavailable, match="OpenSSL has no scrypt"):
                Repository.init(MemoryStorage(), "pw", kdf=CHEAP)
