"""Messages, packs and key files of which a few bytes are wrong come back as they were, and nothing wrong ever does."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
import zstandard

from restic_format.errors import Interrupted
from restic_format.rescue.solving import (
    Clock,
    ContentJudge,
    DocumentJudge,
    Effort,
    FileJudge,
    Message,
    OutOfTime,
    solve_key,
    solve_message,
    solve_pack,
)
from restic_format.work import Cancel
from restic_spec.config import Config, decode_config, encode_config
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.keyfile import Kdf, encode_keyfile, wrap
from restic_spec.pack import BlobType, PackEntry, encode_header, encode_length

NOISE = random.Random(20)
KEY = MasterKey(NOISE.randbytes(32), NOISE.randbytes(16), NOISE.randbytes(16))
PLAIN = NOISE.randbytes(1000)
TEXT = b"".join(b'{"name":"file %d","type":"file"},' % number for number in NOISE.choices(range(1000), k=200))
FRAME = zstandard.ZstdCompressor(level=3).compress(TEXT)


def masked(data: bytes, *masks: tuple[int, bytes]) -> bytes:
    changed = bytearray(data)
    for place, mask in masks:
        for number, byte in enumerate(mask):
            changed[place % len(data) + number] ^= byte
    return bytes(changed)


def random_mask(size: int) -> bytes:
    return bytes(NOISE.randrange(1, 256) for _ in range(size))


SHAPES = {
    "first bit": ((16, b"\1"),),
    "last bit": ((-17, b"\x80"),),
    "a byte": ((100, b"\x5a"),),
    "the MAC": ((-16, random_mask(16)),),
    "the IV": ((0, random_mask(16)),),
    "a bit of the IV": ((3, b"\4"),),
    "a run": ((50, random_mask(9)),),
    "a run over a border": ((62, random_mask(12)),),
    "a run from the IV on": ((12, random_mask(6)),),
    "a run into the MAC": ((-21, random_mask(9)),),
    "two bits": ((70, b"\x10"), (90, b"\x02")),
    "two bits in a block": ((64, b"\x10"), (79, b"\x02")),
    "a bit of the IV and a run": ((7, b"\x10"), (88, random_mask(7))),
    "a bit of the MAC and a bit": ((-3, b"\x10"), (88, b"\1")),
    "a block": ((96, random_mask(16)),),
    "the first block": ((16, random_mask(16)),),
    "a window": ((103, random_mask(16)),),
    "a window early": ((17, random_mask(16)),),
}
"""Masks over a sealed message."""


@pytest.mark.clause("SOLVE-5", "SOLVE-7", "SOLVE-8", "SOLVE-9", "SOLVE-10")
@pytest.mark.parametrize("form", ["plain", "compressed", "file"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, form: str) -> None:
    whole = seal(KEY, FRAME if form == "compressed" else PLAIN)
    damaged = masked(whole, *SHAPES[shape])
    judge = {
        "plain": lambda: ContentJudge(KEY, damaged, None, id_of(PLAIN)),
        "compressed": lambda: ContentJudge(KEY, damaged, len(TEXT), id_of(TEXT)),
        "file": lambda: FileJudge(damaged, id_of(whole)),
    }[form]()
    found = solve_message(Message(KEY, damaged, judge), Clock(60))
    assert found is not None and found.sealed == whole
    assert masked(damaged, *SHAPES[shape]) == found.sealed
    assert found.how


@pytest.mark.clause("SOLVE-3", "SOLVE-13")
@pytest.mark.parametrize(
    "masks", [((20, b"\1"), (60, b"\1"), (90, b"\1")), ((20, random_mask(40)),), ((20, b"\1"), (200, random_mask(16)))]
)
def test_nothing_wrong_is_ever_accepted(masks: tuple[tuple[int, bytes], ...]) -> None:
    whole = seal(KEY, PLAIN)
    damaged = masked(whole, *masks)
    for judge in (ContentJudge(KEY, damaged, None, id_of(PLAIN)), FileJudge(damaged, id_of(whole))):
        assert solve_message(Message(KEY, damaged, judge), Clock(60)) is None


@pytest.mark.clause("SOLVE-3")
def test_what_another_blob_says_is_no_solution() -> None:
    damaged = masked(seal(KEY, PLAIN), (20, b"\1"))
    judge = ContentJudge(KEY, damaged, None, id_of(PLAIN + b"\0"))
    assert solve_message(Message(KEY, damaged, judge), Clock(60)) is None


@pytest.mark.clause("SOLVE-13")
@pytest.mark.parametrize("damaged", [seal(KEY, PLAIN)[:-1], seal(KEY, PLAIN)[1:], seal(KEY, PLAIN) + b"\0", b"", bytes(31)])
def test_another_length_is_not_solved(damaged: bytes) -> None:
    judge = FileJudge(damaged, id_of(PLAIN))
    assert solve_message(Message(KEY, damaged, judge), Clock(60)) is None


@pytest.mark.clause("SOLVE-11")
@pytest.mark.parametrize("form", ["plain", "compressed"])
def test_a_bit_that_was_wrong_before_sealing(form: str) -> None:
    content, length = (FRAME, len(TEXT)) if form == "compressed" else (PLAIN, None)
    damaged = seal(KEY, masked(content, (333, b"\x20")))
    judge = ContentJudge(KEY, damaged, length, id_of(TEXT if length else PLAIN))
    found = solve_message(Message(KEY, damaged, judge), Clock(60))
    assert found is not None and judge.plaintext(found.edits) == (TEXT if length else PLAIN)
    assert found.how == "one bit, found by the hash alone"


@pytest.mark.clause("SOLVE-11")
def test_a_key_without_r() -> None:
    key = MasterKey(KEY.encrypt, KEY.mac_k, b"\0\0\0\xf0" + bytes(12))
    whole = seal(key, PLAIN)
    for place in (0, -16):
        damaged = masked(whole, (place, random_mask(16)))
        found = solve_message(Message(key, damaged, FileJudge(damaged, id_of(whole))), Clock(60))
        assert found is not None and found.sealed == whole
    damaged = masked(whole, (300, b"\x40"))
    found = solve_message(Message(key, damaged, FileJudge(damaged, id_of(whole))), Clock(60))
    assert found is not None and found.sealed == whole


@pytest.mark.clause("SOLVE-12")
def test_a_search_ends_with_its_budget_and_when_it_is_cancelled() -> None:
    damaged = masked(seal(KEY, bytes(3 << 20)), (20, random_mask(40)))
    judge = ContentJudge(KEY, damaged, None, bytes(32))
    start = time.monotonic()
    with pytest.raises(OutOfTime):
        solve_message(Message(KEY, damaged, judge), Clock(0.3))
    assert time.monotonic() - start < 30
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        solve_message(Message(KEY, damaged, judge), Clock(None, cancel))


def test_threads_share_what_there_is_to_do() -> None:
    done = []

    def jobs() -> Iterator[int]:
        for number in range(40):
            time.sleep(0.001)  # another thread asks for the next one meanwhile
            yield number

    assert Clock(60, workers=4).first(done.append, jobs()) is None
    assert sorted(done) == list(range(40))
    assert Clock(60, workers=4).first(lambda number: number if number == 7 else None, jobs()) == 7
    with pytest.raises(ZeroDivisionError):
        Clock(60, workers=4).first(lambda number: None if number < 7 else 1 // (number - 7), jobs())


@pytest.mark.clause("SOLVE-12")
def test_a_length_beyond_all_bounds_takes_no_memory() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    damaged = masked(seal(KEY, bomb), (-16, b"\1"))
    for length in (1000, 1 << 32):
        judge = ContentJudge(KEY, damaged, length, id_of(bytes(1 << 26)))
        assert judge.plaintext(()) is None
        assert solve_message(Message(KEY, damaged, judge), Clock(60), (Effort.RUNS,)) is None


CONFIG = encode_config(Config(version=2, id="ab" * 32, chunker_polynomial="3da3358b4dc173"))


@pytest.mark.clause("SOLVE-3")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_config_is_judged_by_what_it_is(shape: str) -> None:
    whole = seal(KEY, CONFIG)
    masks = SHAPES[shape]
    damaged = masked(whole, *masks)
    found = solve_message(Message(KEY, damaged, DocumentJudge(KEY, damaged, decode_config)), Clock(60))
    # Without a MAC nobody knows whether another digit stood in the id.
    assert found is None if shape == "the MAC" else found is not None and found.sealed == whole


@pytest.mark.clause("SOLVE-3")
def test_a_config_with_another_id_is_none() -> None:
    whole = seal(KEY, CONFIG)
    place = 16 + CONFIG.index(b"abab")
    masks = [(place + way, b"\3") for way in (0, 21, 62)]  # a becomes b
    damaged = masked(whole, *masks)
    assert decode_config(masked(CONFIG, *((at - 16, mask) for at, mask in masks))).id != "ab" * 32
    assert solve_message(Message(KEY, damaged, DocumentJudge(KEY, damaged, decode_config)), Clock(60)) is None


# Packs


def make_pack(count: int = 3) -> tuple[bytes, list[PackEntry]]:
    entries, body = [], b""
    for number in range(count):
        plain = PLAIN[number:] if number % 2 else TEXT
        sealed = seal(KEY, plain if number % 2 else FRAME)
        length = None if number % 2 else len(TEXT)
        entries.append(PackEntry(BlobType.DATA, id_of(plain), len(body), len(sealed), length))
        body += sealed
    header = seal(KEY, encode_header(entries))
    return body + header + encode_length(len(header)), entries


@pytest.mark.clause("SOLVE-14")
@pytest.mark.parametrize(
    "masks",
    [
        ((100, b"\1"),),
        ((-4, b"\1"),),
        ((-4, b"\xff\xff\xff\xff"),),
        ((-40, b"\x80"),),
        ((-60, random_mask(16)),),
        ((-20, random_mask(16)),),
        ((-2, b"\1"), (50, random_mask(10)), (-21, b"\1")),
        ((100, b"\1"), (700, b"\1"), (1700, b"\2"), (-90, b"\4")),
    ],
    ids=str,
)
def test_packs(masks: tuple[tuple[int, bytes], ...]) -> None:
    whole, _entries = make_pack()
    damaged = masked(whole, *masks)
    solved = solve_pack(KEY, 2, damaged, id_of(whole), Clock(60))
    if (-2, b"\1") in masks:
        # Nobody knows where a damaged header begins.
        assert solved is None
    else:
        assert solved is not None and solved.data == whole


@pytest.mark.clause("SOLVE-14")
def test_every_block_of_a_header() -> None:
    whole, _entries = make_pack()
    size = int.from_bytes(whole[-4:], "little")
    for start in range(len(whole) - 4 - size + 16, len(whole) - 36, 16):
        damaged = masked(whole, (start, random_mask(16)[: len(whole) - 20 - start]))
        solved = solve_pack(KEY, 2, damaged, id_of(whole), Clock(60))
        assert solved is not None and solved.data == whole


@pytest.mark.clause("SOLVE-14")
def test_a_pack_that_is_none() -> None:
    whole, _entries = make_pack()
    for damaged in (b"", whole[:40], whole[:-1], b"\0" + whole, bytes(len(whole)), whole[:-4] + bytes(4)):
        solved = solve_pack(KEY, 2, damaged, id_of(whole), Clock(60), (Effort.RUNS,))
        assert solved is None or solved.data == whole
    assert solve_pack(KEY, 2, whole, bytes(32), Clock(60)) is None


# Key files

PASSWORD = b"correct horse"


@pytest.fixture(scope="module")
def keyfile() -> bytes:
    kdf = Kdf(2, 1, 1, NOISE.randbytes(64))
    return encode_keyfile(wrap(KEY, PASSWORD, kdf, created="2026-01-02T03:04:05Z", username="me", hostname="here"))


@pytest.mark.clause("SOLVE-15")
def test_key_files_by_their_name(keyfile: bytes) -> None:
    for masks in (((0, b"\1"),), ((-1, b"\xff"),), ((200, b"\x33"),), ((5, b"\1"), (9, b"\x80"))):
        solved = solve_key(masked(keyfile, *masks), id_of(keyfile), Clock(60))
        assert solved is not None and solved.data == keyfile


@pytest.mark.clause("SOLVE-15")
def test_key_files_by_their_password(keyfile: bytes) -> None:
    start = keyfile.index(b'"data":"') + 8
    for place, size in ((0, 20), (40, 10), (101, 14), (-24, 20)):
        at = (start if place >= 0 else keyfile.rindex(b'"')) + place
        damaged = keyfile[:at] + b"?" * size + keyfile[at + size :]
        solved = solve_key(damaged, id_of(keyfile), Clock(60), PASSWORD)
        assert solved is not None and solved.data == keyfile
    assert solved.how.startswith("sealed master key: ")


@pytest.mark.clause("SOLVE-15", "SOLVE-12")
def test_key_files_that_are_none(keyfile: bytes) -> None:
    assert solve_key(bytes(1 << 16), id_of(keyfile), Clock(60)) is None
    with pytest.raises(OutOfTime):
        solve_key(masked(keyfile, (9, random_mask(60))), id_of(keyfile), Clock(0.1), b"another")
