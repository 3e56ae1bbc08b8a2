"""An IV of zeros is refused on every way something is opened, though the MAC fits (CRYPTO-8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers import Cipher as RawCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from restic_format.errors import DamagedFile
from restic_format.repository import Repository
from restic_format.repository.cipher import Cipher
from restic_format.repository.coder import Coder, make_coder
from restic_format.repository.compression import Compression
from restic_format.repository.header import encode_entries
from restic_format.storage import MemoryStorage
from restic_spec.crypto import IV_SIZE, MasterKey, poly1305_key
from restic_spec.errors import MacInvalid, SpecError
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import LENGTH_SIZE, BlobType, PackEntry
from restic_spec.unpacked import encode_unpacked
from tests.repository.forms import FORMS

KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
PLAIN = b"what somebody sealed under an IV of zeros " * 20

pytestmark = pytest.mark.clause("CRYPTO-8")


def sealed_with(plaintext: bytes, iv: bytes, key: MasterKey = KEY) -> bytes:
    """A sealed message under any IV, with the MAC it must have; `seal` does not make one under zeros."""
    ciphertext = RawCipher(algorithms.AES(key.encrypt), modes.CTR(iv)).encryptor().update(plaintext)
    return iv + ciphertext + Poly1305.generate_tag(poly1305_key(key, iv), ciphertext)


ZEROS, SOUND = bytes(IV_SIZE), bytes(15) + b"\x01"


@pytest.fixture(params=FORMS)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    """The cipher in each of its forms."""
    made: Cipher = request.param(KEY)
    return made


def coder_of(cipher: Cipher) -> Coder:
    """The coder that belongs to it."""
    return make_coder(cipher, Compression("auto", 2), extra_verify=False)


def test_messages(cipher: Cipher) -> None:
    for opens in (cipher.open, lambda sealed: cipher.open_into(sealed, memoryview(bytearray(len(PLAIN))))):
        opens(sealed_with(PLAIN, SOUND))
        with pytest.raises(MacInvalid, match="zeros"):
            opens(sealed_with(PLAIN, ZEROS))


def ways(coder: Coder) -> dict[str, Callable[[PackEntry, bytes], Any]]:
    """What is wrong with a blob, None where nothing is, on each way it may be opened."""

    def alone(entry: PackEntry, sealed: bytes) -> object:
        try:
            coder.open(entry, sealed)
        except SpecError as error:
            return error
        return None

    def batch(entry: PackEntry, sealed: bytes) -> object:
        ((_, found),) = coder.open_many(sealed, 0, [entry])
        return found if isinstance(found, SpecError) else None

    def ranges(entry: PackEntry, sealed: bytes) -> object:
        wanted = [(0, entry.length, entry.plain_length, entry.uncompressed_length is not None, entry.id)]
        return MacInvalid("zeros", clause="CRYPTO-8") if coder.open_ranges(sealed, wanted) == [None] else None

    def verified(entry: PackEntry, sealed: bytes) -> object:
        return dict(coder.verify_many(sealed, 0, [entry], coder.pack_hash())).get(entry)

    return {"alone": alone, "batch": batch, "ranges": ranges, "verified": verified}


@pytest.mark.parametrize("compressed", [False, True], ids=["stored", "compressed"])
@pytest.mark.parametrize("way", ["alone", "batch", "ranges", "verified"])
def test_blobs(cipher: Cipher, way: str, compressed: bool) -> None:
    opens = ways(coder_of(cipher))[way]
    stored = zstandard.compress(PLAIN) if compressed else PLAIN
    for iv in (SOUND, ZEROS):
        sealed = sealed_with(stored, iv)
        entry = PackEntry(BlobType.DATA, id_of(PLAIN), 0, len(sealed), len(PLAIN) if compressed else None)
        wrong = opens(entry, sealed)
        assert wrong is None if iv == SOUND else isinstance(wrong, MacInvalid) and wrong.clause == "CRYPTO-8"


@pytest.mark.parametrize("iv", [SOUND, ZEROS], ids=["sound", "zeros"])
@pytest.mark.parametrize("where", ["blob", "header"])
def test_whole_packs(cipher: Cipher, where: str, iv: bytes) -> None:
    blob = sealed_with(PLAIN, iv if where == "blob" else SOUND)
    header = encode_entries([PackEntry(BlobType.DATA, id_of(PLAIN), 0, len(blob), None)])
    end = sealed_with(header, iv if where == "header" else SOUND)
    pack = blob + end + len(end).to_bytes(LENGTH_SIZE, "little")
    check = coder_of(cipher).check_pack(header)
    assert check.ahead(len(pack)) == len(pack)
    assert check.take(pack) is (iv == SOUND)


@pytest.mark.parametrize("kind", [FileKind.SNAPSHOT, FileKind.INDEX, FileKind.LOCK])
def test_files(repo: Repository, kind: FileKind) -> None:
    assert isinstance(repo.storage, MemoryStorage)
    for iv in (SOUND, ZEROS):
        sealed = sealed_with(encode_unpacked(repo.version, b"{}"), iv, repo.master_key)
        repo.storage.files[kind, id_of(sealed).hex()] = sealed
        if iv == SOUND:
            assert repo.load_unpacked(kind, id_of(sealed)) == b"{}"
            continue
        with pytest.raises(DamagedFile, match="CRYPTO-8"):
            repo.load_unpacked(kind, id_of(sealed))
