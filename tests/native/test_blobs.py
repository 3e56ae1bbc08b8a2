"""Native blobs against the specification: what is sealed here opens there and the other way round, garbage is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restic_format.native import blobs
from restic_format.native.blobs import _blobs
from restic_format.repository.cipher import Cipher, LibraryCipher, NativeCipher
from restic_format.repository.coder import Coder, make_coder
from restic_format.repository.compression import Compression
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import SpecError
from restic_spec.pack import BlobType, PackEntry
from restic_spec.unpacked import decompress

KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
ZSTD = blobs.Zstd(3)
FAST = blobs.Zstd(1)
contents = st.binary(max_size=2000) | st.builds(
    lambda piece, times: piece * times, st.binary(max_size=50), st.integers(0, 5000)
)


def sealed_alone(
    data: bytes, iv: bytes, zstd: blobs.Zstd | None = None, always: bool = False, verify: bytes | None = None
) -> tuple[bytes, int] | None:
    """One blob sealed, and the plaintext's length or 0; the pack's hash must go on with it, or stay as it was."""
    pack = blobs.Sha256()
    item = (sha256(data) if verify is None else verify, data)
    done = context().seal_many([item], iv, zstd, zstd, 0, always, verify is not None, pack)
    if done is None:
        assert pack.digest() == sha256(b"")
        return None
    sealed, [(length, uncompressed)] = done
    assert length == len(sealed)
    assert pack.digest() == sha256(sealed)
    return bytes(sealed), uncompressed or 0


def coded(coder: Coder, kind: BlobType, data: bytes) -> tuple[bytes, int | None]:
    """One blob sealed by *coder*, and the plaintext's length where it is compressed."""
    pack_hash = coder.pack_hash()
    pieces, [(length, uncompressed)] = coder.seal_many(kind, [(sha256(data), data)], pack_hash)
    sealed = b"".join(pieces)
    assert length == len(sealed)
    assert pack_hash.digest() == sha256(sealed)
    return sealed, uncompressed


def context() -> blobs.Context:
    return blobs.Context(KEY.encrypt, KEY.mac_k, KEY.mac_r)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_native_form_is_there() -> None:
    assert blobs.UNAVAILABLE is None, "libcrypto 3 and libzstd are what the tests of the fast path need"


@pytest.fixture(params=[True, False], ids=["pairs", "one by one"])
def pairs(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Hash two streams at a time, or one after the other."""
    yield _blobs.hash_in_pairs(request.param)
    _blobs.hash_in_pairs(True)


@pytest.mark.usefixtures("pairs")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 400) | st.sampled_from([55, 56, 63, 64, 65, 119, 128, 4096]), max_size=12), st.data())
def test_hashes_are_hashlibs(sizes: list[int], data: st.DataObject) -> None:
    """Blobs of all lengths are hashed beside each other, and beside the bytes of the pack they are in."""
    plain = [os.urandom(size) for size in sizes]
    sealed = [seal(KEY, content, os.urandom(16)) for content in plain]
    pack = blobs.Sha256()
    whole = b""
    while sealed:
        some = data.draw(st.integers(1, len(sealed)))
        piece = b"".join(sealed[:some])
        entries, start = [], 0
        for content, blob in zip(plain[:some], sealed[:some], strict=True):
            entries.append((start, len(blob), len(content), False, sha256(content)))
            start += len(blob)
        # One id is wrong: only that blob may be refused.
        wrong = data.draw(st.integers(0, some))
        expected = [number != wrong for number in range(some)]
        entries = [entry if well else (*entry[:4], b"x" * 32) for entry, well in zip(entries, expected, strict=True)]
        if data.draw(st.booleans()):
            opened = context().open_many(piece, entries, True, pack)
            assert opened == [content if well else None for content, well in zip(plain[:some], expected, strict=True)]
        else:
            assert context().open_many(piece, entries, False, pack) == expected
        whole += piece
        plain, sealed = plain[some:], sealed[some:]
    assert pack.digest() == sha256(whole)


@pytest.mark.usefixtures("pairs")
def test_megabytes_are_hashed_alike() -> None:
    sizes = [1_500_000, 70, 700_001, 64, 3_000_000, 0, 1]
    plain = [os.urandom(size) for size in sizes]
    entries, start = [], 0
    for content in plain:
        entries.append((start, len(content) + 32, len(content), False, sha256(content)))
        start += len(content) + 32
    sealed = b"".join(seal(KEY, content, os.urandom(16)) for content in plain)
    pack = blobs.Sha256()
    assert context().open_many(sealed, entries, True, pack) == plain
    assert pack.digest() == sha256(sealed)
    pack = blobs.Sha256()
    for content in plain:
        pack.update(content)
    assert pack.digest() == sha256(b"".join(plain))


def test_a_processor_with_sha_extensions_hashes_in_pairs() -> None:
    flags = Path("/proc/cpuinfo").read_text()
    assert _blobs.hash_in_pairs(True) == ("sha_ni" in flags)
    assert not _blobs.hash_in_pairs(False)
    _blobs.hash_in_pairs(True)


def test_the_libzstd_of_the_bindings_is_preferred() -> None:
    shown = ".".join(map(str, zstandard.ZSTD_VERSION))
    assert f"compiled, libzstd {shown}" == blobs.IMPLEMENTATION


@given(contents, st.binary(min_size=16, max_size=16).filter(any))
def test_uncompressed_blobs_are_sealed_byte_for_byte_as_the_specification_says(data: bytes, iv: bytes) -> None:
    assert sealed_alone(data, iv) == (seal(KEY, data, iv), 0)


@given(contents, st.booleans(), st.booleans())
def test_compressed_blobs_open_by_the_specification(data: bytes, always: bool, verify: bool) -> None:
    done = sealed_alone(data, os.urandom(16), ZSTD, always, sha256(data) if verify else None)
    assert done is not None
    sealed, uncompressed = done
    plaintext = open_sealed(KEY, sealed)
    if uncompressed:
        assert uncompressed == len(data)
        plaintext = decompress(plaintext, uncompressed, "PACK-12")
    else:
        assert not (always and data)
    assert plaintext == data
    assert context().open(sealed, len(data), uncompressed != 0, sha256(data)) == data


@given(contents, st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_byte_anywhere_is_refused(data: bytes, where: int, change: int) -> None:
    done = sealed_alone(data, os.urandom(16), ZSTD)
    assert done is not None
    damaged = bytearray(done[0])
    damaged[where % len(damaged)] ^= change
    assert context().open(damaged, len(data), done[1] != 0) is None


@given(st.binary(max_size=100), st.integers(0, 200), st.booleans())
def test_garbage_is_refused(garbage: bytes, room: int, compressed: bool) -> None:
    assert context().open(garbage, room, compressed) is None


@pytest.mark.parametrize("length", [0, 1, 99_999, 100_001, 1 << 20])
def test_a_wrong_stated_length_is_refused(length: int) -> None:
    data = b"abcdefghij" * 10_000
    done = sealed_alone(data, os.urandom(16), ZSTD)
    assert done is not None
    assert done[1] == len(data)
    assert context().open(done[0], length, True) is None


def test_a_wrong_hash_is_refused_and_so_is_what_does_not_verify() -> None:
    data = b"data" * 100
    done = sealed_alone(data, os.urandom(16), ZSTD)
    assert done is not None
    assert context().open(done[0], len(data), True, bytes(32)) is None
    assert sealed_alone(data, os.urandom(16), ZSTD, False, bytes(32)) is None


@pytest.mark.usefixtures("pairs")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(contents, max_size=6), max_size=4), st.booleans(), st.booleans())
def test_blobs_sealed_together_are_the_pack_that_was_hashed(batches: list[list[bytes]], always: bool, verify: bool) -> None:
    pack, one = blobs.Sha256(), context()
    whole = b""
    for batch in batches:
        items = [(sha256(data), data) for data in batch]
        before = pack.digest()
        if batch:
            # A blob that is not what its id says: nothing of the batch may be taken.
            wrong = [*items[:-1], (bytes(32), batch[-1])]
            assert one.seal_many(wrong, os.urandom(16 * len(items)), ZSTD, FAST, 1000, always, True, pack) is None
            assert pack.digest() == before
        done = one.seal_many(items, os.urandom(16 * len(items)), ZSTD, FAST, 1000, always, verify, pack)
        assert done is not None
        sealed, lengths = done
        assert sum(length for length, _ in lengths) == len(sealed)
        start = 0
        for data, (length, uncompressed) in zip(batch, lengths, strict=True):
            blob = sealed[start : start + length]
            assert context().open(blob, len(data), uncompressed is not None, sha256(data)) == data
            assert uncompressed in ((len(data) or None,) if always else (None, len(data)))
            start += length
        whole += bytes(sealed)
    assert pack.digest() == sha256(whole)


OTHER = MasterKey(bytes(range(1, 33)), b"K" * 16, b"R" * 16)


@given(st.lists(contents, max_size=6), st.booleans(), st.integers(0, 5))
def test_what_is_sealed_again_is_the_same_under_the_other_key(messages: list[bytes], verify: bool, gap: int) -> None:
    other = blobs.Context(OTHER.encrypt, OTHER.mac_k, OTHER.mac_r)
    sealed = [seal(KEY, message, os.urandom(16)) for message in messages]
    data = b"".join(bytes(gap) + one for one in sealed)
    places = []
    for one in sealed:
        places.append((sum(length + gap for _, length in places) + gap, len(one)))
    ivs = [os.urandom(16) for _ in messages]
    done = other.seal_again(context(), data, places, b"".join(ivs), verify)
    assert done is not None
    assert done == b"".join(seal(OTHER, message, iv) for message, iv in zip(messages, ivs, strict=True))
    if messages:
        start, length = places[-1]
        damaged = bytearray(data)
        damaged[start + length // 2] ^= 1
        assert other.seal_again(context(), damaged, places, b"".join(ivs), verify) is None
        assert other.seal_again(other, data, places, b"".join(ivs), verify) is None
        for wrong in ((start, length + 1), (start + 1, length), (len(data) + 1, length), (start, 31), (1 << 62, 40)):
            assert other.seal_again(context(), data, [*places[:-1], wrong], b"".join(ivs), verify) is None


def test_an_iv_of_zeros_is_refused() -> None:
    sealed, _ = sealed_alone(b"data", b"\0" * 15 + b"\1") or (b"", 0)
    assert context().open(b"\0" * 16 + sealed[16:], 4, False) is None


def test_two_frames_are_not_one() -> None:
    frame = decompressable(b"x" * 1000)
    assert context().open(seal(KEY, frame + frame), 2000, True) is None
    assert context().open(seal(KEY, frame[:-1]), 1000, True) is None
    assert context().open(seal(KEY, frame), 1000, True) == b"x" * 1000


def decompressable(data: bytes) -> bytes:
    """One zstd frame."""
    done = sealed_alone(data, os.urandom(16), ZSTD)
    assert done is not None
    return open_sealed(KEY, done[0])


@pytest.mark.parametrize("forms", [(NativeCipher, LibraryCipher), (LibraryCipher, NativeCipher)])
@pytest.mark.parametrize("mode", ["auto", "off", "max"])
def test_both_ways_of_coding_open_what_the_other_sealed(forms: tuple[type[Cipher], type[Cipher]], mode: str) -> None:
    sealer, opener = (make_coder(form(KEY), Compression(mode, 2), extra_verify=True) for form in forms)  # type: ignore[call-arg]
    assert type(sealer) is not type(opener)
    for data in (b"", b"x", b"text " * 10_000, os.urandom(3000), bytes(600_000)):
        for kind in BlobType:
            sealed, uncompressed = coded(sealer, kind, data)
            entry = PackEntry(kind, sha256(data), 0, len(sealed), uncompressed)
            assert opener.open(entry, sealed) == data
            with pytest.raises(SpecError):
                opener.open(entry, sealed[:-1] + bytes([sealed[-1] ^ 1]))
            with pytest.raises(SpecError):
                sealer.open(entry._replace(id=bytes(32)), sealed)


def test_threads_have_contexts_of_their_own() -> None:
    coder = make_coder(NativeCipher(KEY), Compression("auto", 2), extra_verify=True)
    failures: list[Exception] = []

    def work(seed: int) -> None:
        try:
            for size in range(1, 200_000, 5000):
                data = bytes([seed]) * size
                sealed, uncompressed = coded(coder, BlobType.DATA, data)
                assert coder.open(PackEntry(BlobType.DATA, sha256(data), 0, len(sealed), uncompressed), sealed) == data
        except Exception as error:  # noqa: BLE001 - told to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_libcrypto_without_poly1305_is_left_alone(tmp_path: Path) -> None:
    # As on machines that allow FIPS algorithms only.
    settings_file = tmp_path / "openssl.cnf"
    settings_file.write_text(
        "openssl_conf = init\n[init]\nalg_section = algorithms\n[algorithms]\ndefault_properties = fips=yes\n"
    )
    code = "from restic_format.native import blobs; print(blobs.IMPLEMENTATION)"
    env = {**os.environ, "OPENSSL_CONF": str(settings_file), "RESTIC_FORMAT_KERNEL": "auto"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert said.startswith("pure, ") and "Poly1305" in said
