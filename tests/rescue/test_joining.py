"""Damaged copies of a blob are joined to a whole one, whatever was lost of each, as long as it is not the same."""

from __future__ import annotations

import random

import pytest
import zstandard

from restic_format.errors import Interrupted
from restic_format.rescue.means import Means
from restic_format.rescue.means.joining import MOST_PLACES, Joining, differing
from restic_format.rescue.wanted import DamagedCopy, DamagedFile
from restic_format.work import Cancel
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

NOISE = random.Random(7)
KEY = MasterKey(NOISE.randbytes(32), NOISE.randbytes(16), NOISE.randbytes(16))
PLAIN = b"".join(b"line %d\n" % NOISE.randrange(10**9) for _ in range(8000))
FRAME = zstandard.ZstdCompressor(level=3).compress(PLAIN)


def copies(*zeroed: list[tuple[int, int]], compressed: bool = False) -> list[DamagedCopy]:
    """Copies of a blob, each sealed anew, with zeros over some ranges."""
    key, made = (BlobType.DATA, id_of(PLAIN)), []
    for ranges in zeroed:
        sealed = bytearray(seal(KEY, FRAME if compressed else PLAIN))
        for start, end in ranges:
            sealed[start:end] = bytes(end - start)
        made.append(DamagedCopy(key, bytes(32), 0, bytes(sealed), len(PLAIN) if compressed else None))
    return made


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "zeroed",
    [
        ([(4096, 8192)], [(12288, 16384)]),
        ([(16, 4096), (20000, 24000)], [(8192, 12288)]),
        ([(100, 101)], [(8000, 8001), (20000, 30000)]),
        ([], [(50, 30000)]),
        ([(50, 30000)], [(60, 30010)], [(31000, 32000)]),
    ],
)
def test_each_loses_something_else(zeroed: tuple[list[tuple[int, int]], ...], compressed: bool) -> None:
    means: Means = Joining(KEY)
    given = copies(*zeroed, compressed=compressed)
    (found,) = means.blobs({given[0].key: given}, cancel=None)
    assert found.plaintext == PLAIN


@pytest.mark.parametrize(
    "zeroed",
    [
        ([(4096, 8192)], [(4096, 8192)]),
        ([(4096, 8192)], [(6000, 9000)]),
        ([(0, 16)], [(5000, 5001)]),
        ([(4096, 8192)],),
        ([(at, at + 9) for at in range(1000, 60000, 3000)], [(64000, 64100)]),
    ],
)
def test_nothing_is_made_up(zeroed: tuple[list[tuple[int, int]], ...]) -> None:
    given = copies(*zeroed)
    short = given[0]._replace(sealed=given[0].sealed[:40])
    assert list(Joining(KEY).blobs({given[0].key: [*given, short, short]}, cancel=Cancel())) == []


def test_files_and_cancelling() -> None:
    given = copies([(4096, 8192)], [(12288, 16384)])
    assert list(Joining(KEY).files([DamagedFile(FileKind.INDEX, "ab" * 32, b"x")], cancel=None)) == []
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        list(Joining(KEY).blobs({given[0].key: given}, cancel=cancel))


def test_places() -> None:
    assert differing(bytes(9000), bytes(9000)) == []
    assert differing(bytes(9000), bytes(4095) + b"\1\1" + bytes(4903)) == [(4095, 4097)]
    assert differing(bytes(9000), b"\1" + bytes(8998) + b"\1") == [(0, 1), (8999, 9000)]
    assert differing(bytes(100_000), bytes(at % 5000 == 0 for at in range(100_000))) is None
    assert MOST_PLACES < 20
