"""scrypt's lanes against hashlib and the vectors of RFC 7914."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.native import scrypt
from restic_format.native._scrypt import mix_lane


@pytest.mark.parametrize(
    ("password", "salt", "n", "r", "p", "expected"),
    [
        (b"", b"", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"),
        (b"password", b"NaCl", 1024, 8, 16, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"),
        (b"pleaseletmein", b"SodiumChloride", 16384, 8, 1, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"),
    ],
)
@pytest.mark.parametrize("kernel", [True, False])
def test_the_vectors_of_the_rfc(
    password: bytes, salt: bytes, n: int, r: int, p: int, expected: str, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(scrypt, "mix_lane", None)
    assert scrypt.derive(password, salt, n, r, p).hex()[:64] == expected


@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(1, 8), st.integers(1, 9), st.integers(1, 5))
def test_lanes_side_by_side_give_what_hashlib_gives(password: bytes, salt: bytes, log: int, r: int, p: int) -> None:
    expected = hashlib.scrypt(password, salt=salt, n=1 << log, r=r, p=p, dklen=64)
    assert scrypt.derive(password, salt, 1 << log, r, p) == expected


@pytest.mark.parametrize(("size", "n", "r"), [(127, 16, 1), (128, 15, 1), (128, 0, 1), (0, 16, 0), (128, 16, 2)])
def test_lanes_of_the_wrong_size_are_refused(size: int, n: int, r: int) -> None:
    with pytest.raises(ValueError, match="lane"):
        mix_lane(bytearray(size), n, r)
