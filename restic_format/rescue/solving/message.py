"""A damaged sealed message: the shapes of damage that are tried, from the cheap and likely ones to those that take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from restic_format.native import solving as native
from restic_format.rescue.solving.clock import Clock
from restic_format.rescue.solving.judges import Edits, FileJudge, Judge, edited
from restic_format.work import Advance, Progress, silent
from restic_spec import solving
from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD, MasterKey
from restic_spec.solving import BLOCK, SHORT_RUN, Candidate

_SCANNED = 1 << 13 if native.UNAVAILABLE is None else 1 << 8
"""Blocks that are searched at a time for a few differences, without a look at the clock."""
_JUDGED = 256
"""Blocks whose candidates a thread judges at a time; what stands before them is hashed once for them all."""
_FEW_FIRST = 4
"""Differences of a message whose IV and MAC are as they were."""
_BEFORE = (4, 8, 12)
"""Bytes before a border in windows that cover each run of up to `SHORT_RUN` bytes over it."""
_MOST_HASHED = 1 << 20
"""Bytes of a message up to which every bit of it is flipped and judged by itself: that takes the square of its length."""


class Effort(IntEnum):
    """The rounds of a search: each tries other shapes than those before it, and takes longer."""

    RUNS = 0
    """Up to 12 bytes in a row; anything in the IV or in the MAC alone (SOLVE-5 to SOLVE-8)."""
    PAIRS = 1
    """A run from the IV on. Two faults: two bits, or one bit of the IV or the MAC and up to 11 bytes in one block (SOLVE-8 to
    SOLVE-10)."""
    BLOCKS = 2
    """Anything in one block of 16 bytes (SOLVE-4)."""
    WINDOWS = 3
    """Anything in 16 bytes wherever they begin; single bits where the MAC says nothing (SOLVE-6, SOLVE-11)."""


class Solution(NamedTuple):
    """A message as it was before the damage."""

    sealed: bytes
    edits: tuple[Candidate, ...]
    """What has to stand elsewhere than was read."""
    how: str
    """What was damaged, in words: ``one bit``, ``4 bytes in a row``, ``IV``."""


class Message:
    """A sealed message as it was read, of at least `OVERHEAD` bytes, and who says whether it is the right one."""

    def __init__(
        self, key: MasterKey, sealed: bytes | bytearray | memoryview, judge: Judge, progress: Progress[Advance] = silent
    ) -> None:
        self.key = key
        self.sealed = memoryview(sealed)
        self.judge = judge
        self.progress = progress
        self.iv = bytes(self.sealed[:IV_SIZE])
        self.ciphertext = self.sealed[IV_SIZE : len(self.sealed) - MAC_SIZE]
        self.tag = bytes(self.sealed[len(self.sealed) - MAC_SIZE :])
        self.end = len(self.sealed) - MAC_SIZE
        """Where the MAC begins."""
        self.blocks = solving.block_count(len(self.ciphertext))
        self.r = solving.multiplier(key)

    @cached_property
    def value(self) -> int:
        """The polynomial's value for the ciphertext as it was read."""
        return native.polynomial(self.r, self.ciphertext)

    @cached_property
    def pad(self) -> int:
        """The pad that belongs to the IV as it was read."""
        return solving.pad(self.key, self.iv)

    @cached_property
    def fits(self) -> bool:
        """Whether the MAC fits: damage is older than it then, and nothing can be solved through it."""
        return solving.tag(self.value, self.pad) == self.tag

    @cached_property
    def wanted(self) -> tuple[int, ...]:
        """The differences that would make the stored MAC fit."""
        return solving.differences(self.value, self.tag, self.pad)

    def placed(self, candidate: Candidate) -> Candidate:
        """A candidate for the ciphertext as an edit of the message."""
        return Candidate(candidate.start + IV_SIZE, candidate.content)

    def solution(self, edits: Edits) -> Solution | None:
        """The solution that *edits* make, if the judge accepts them."""
        if not self.judge.accepts(edits):
            return None
        return Solution(bytes(edited(self.sealed, edits)), tuple(edits), _told(self, edits))


Shape = Callable[[Message, Clock], Solution | None]


def solve_message(message: Message, clock: Clock, efforts: Iterable[Effort] = Effort) -> Solution | None:
    """The message as it was before the damage; None where no shape of damage that is tried explains it.

    *efforts* are the rounds to go through. A message that is too short to be one, or whose length is another than it was, has
    no solution (SOLVE-13).

    Raises:
        OutOfTime: the budget was used up first.
        Interrupted: the search was cancelled.
    """
    if len(message.sealed) < OVERHEAD:
        return None
    for effort in efforts:
        for shape in ROUNDS[effort]:
            clock.check()
            found = shape(message, clock)
            if found is not None:
                return found
    return None


def lost_mac(message: Message) -> Solution | None:
    """The message with a MAC made anew, if the judge accepts what it holds (SOLVE-7). Where the judge is not certain, something
    else must still say whether it is the right one: nothing of the MAC that was read bears it out.
    """
    return message.solution([Candidate(message.end, solving.tag(message.value, message.pad))])


def _ranges(message: Message, size: int, first: int = 0) -> Iterator[tuple[int, int]]:
    for start in range(first, message.blocks, size):
        yield start, min(start + size, message.blocks)


def _changed(message: Message, edits: Edits) -> tuple[dict[int, int], int]:
    """The bytes that differ by the bits that do, and how many bytes there are from the first to the last of them."""
    read = message.sealed
    changed = {
        start + n: read[start + n] ^ new for start, content in edits for n, new in enumerate(content) if read[start + n] != new
    }
    return changed, max(changed) - min(changed) + 1 if changed else 0


def _told(message: Message, edits: Edits) -> str:
    """What differs, in words."""
    changed, spanned = _changed(message, edits)
    if not changed:
        return "nothing"
    bits = sum(map(int.bit_count, changed.values()))
    if bits <= 2:
        what = "one bit" if bits == 1 else "two bits"
    elif spanned == 1:
        what = "one byte"
    else:
        what = f"{spanned} bytes in a row" if spanned <= BLOCK else f"{len(changed)} bytes in two places"
    parts = {"IV" if place < IV_SIZE else "MAC" if place >= message.end else "" for place in changed}
    named = [part for part in ("IV", "MAC") if part in parts]
    if not named:
        return what
    return f"{what} in the {' and the '.join(named)}" if "" not in parts else f"{what}, some in the {' and the '.join(named)}"


# The shapes


def _outside(message: Message, clock: Clock) -> Solution | None:
    """The MAC alone, then the IV alone, whatever happened to them (SOLVE-7, SOLVE-8)."""
    del clock
    if message.fits:
        return None
    found = lost_mac(message)
    if found is not None and (message.judge.certain or _changed(message, found.edits)[1] <= SHORT_RUN):
        return found
    iv = solving.lost_iv(message.key, message.value, message.tag)
    return message.solution([Candidate(0, iv)]) if any(iv) else None


def _short_run(message: Message, clock: Clock) -> Solution | None:
    """A run of a few bytes in one block, or over a border of two (SOLVE-5, SOLVE-6)."""
    if message.fits:
        return None
    for first, last in _ranges(message, _SCANNED):
        clock.check()
        for candidate in native.block_candidates(message.r, message.ciphertext, message.wanted, first, last, (1, SHORT_RUN)):
            clock.check()
            found = message.solution([message.placed(candidate)])
            if found is not None:
                return found
    for before in _BEFORE:
        for first, last in _ranges(message, _SCANNED >> 2):
            clock.check()
            for candidate in native.border_candidates(message.r, message.ciphertext, message.wanted, before, first, last):
                clock.check()
                found = message.solution([message.placed(candidate)])
                if found is not None:
                    return found
    return None


def _at_the_mac(message: Message, clock: Clock, longest: int = SHORT_RUN) -> Solution | None:
    """A run over the border of ciphertext and MAC (SOLVE-6)."""
    if message.fits:
        return None
    for before in range(1, longest):
        clock.check()
        for candidate, tag in solving.tag_border_candidates(
            message.r, message.ciphertext, message.value, message.tag, message.pad, before, (2, longest)
        ):
            found = message.solution([message.placed(candidate), Candidate(message.end, tag)])
            if found is not None:
                return found
    return None


def _at_the_iv(message: Message, clock: Clock) -> Solution | None:
    """A run over the border of IV and ciphertext with one or two bytes on one of the sides (SOLVE-8)."""
    if message.fits or not message.blocks:
        return None
    for iv, candidate in solving.iv_border_candidates(message.key, message.iv, message.ciphertext, message.tag, message.value):
        clock.check()
        found = message.solution([Candidate(0, iv), message.placed(candidate)])
        if found is not None:
            return found
    return None


def _one_outside(message: Message, clock: Clock) -> Solution | None:
    """One bit of the IV or the MAC, and a short run in one block (SOLVE-10)."""
    if message.fits or not message.r:
        return None
    outside: dict[int, list[Candidate]] = {}
    for place in range(8 * MAC_SIZE):
        flipped = (int.from_bytes(message.tag, "little") ^ 1 << place).to_bytes(MAC_SIZE, "little")
        for difference in solving.differences(message.value, flipped, message.pad):
            outside.setdefault(difference, []).append(Candidate(message.end, flipped))
    for place in range(8 * IV_SIZE):
        flipped = (int.from_bytes(message.iv, "little") ^ 1 << place).to_bytes(IV_SIZE, "little")
        for difference in solving.differences(message.value, message.tag, solving.pad(message.key, flipped)):
            outside.setdefault(difference, []).append(Candidate(0, flipped))
    wanted = list(outside)
    for first, last in _ranges(message, max(1, _SCANNED * _FEW_FIRST // len(wanted))):
        clock.check()
        for candidate in native.block_candidates(message.r, message.ciphertext, wanted, first, last, (1, SHORT_RUN - 1)):
            clock.check()
            changed = bytes(edited(message.ciphertext, [candidate]))
            difference = (native.polynomial(message.r, changed) - message.value) % solving.PRIME
            for other in outside.get(difference, ()):
                found = message.solution(sorted([message.placed(candidate), other]))
                if found is not None:
                    return found
    return None


def _two_bits(message: Message, clock: Clock) -> Solution | None:
    """Two bits anywhere, by meeting in the middle (SOLVE-9)."""
    if message.fits or not message.r:
        return None
    for first, last in _ranges(message, native.MOST_BLOCKS):
        clock.check()
        table = native.BitPairs(message.r, message.ciphertext, first, last)

        def search(part: tuple[int, int], table: native.BitPairs = table) -> Solution | None:
            for pair in table.search(message.wanted, *part):
                clock.check()
                found = message.solution([message.placed(edit) for edit in _flipped(message, pair)])
                if found is not None:
                    return found
            return None

        found = clock.first(search, _ranges(message, _SCANNED >> 3, first))
        if found is not None:
            return found
    return None


def _flipped(message: Message, bits: tuple[int, ...]) -> list[Candidate]:
    """The bytes of the ciphertext that hold some bits, with these flipped."""
    masks: dict[int, int] = {}
    for bit in bits:
        masks[bit // 8] = masks.get(bit // 8, 0) ^ 1 << bit % 8
    return [Candidate(place, bytes((message.ciphertext[place] ^ mask,))) for place, mask in sorted(masks.items())]


def _any_block(message: Message, clock: Clock) -> Solution | None:
    """Anything in one block: a candidate for each, on the average, to be judged one by one (SOLVE-4)."""
    if message.fits or not message.r:
        return None

    def candidates(part: tuple[int, int]) -> list[Candidate]:
        return native.block_candidates(message.r, message.ciphertext, message.wanted, *part, (SHORT_RUN + 1, BLOCK))

    return _judged(message, clock, "blocks", candidates)


def _any_window(message: Message, clock: Clock) -> Solution | None:
    """Anything in 16 bytes that lie over a border (SOLVE-6)."""
    if message.fits or not message.r:
        return None
    for before in range(1, BLOCK):

        def candidates(part: tuple[int, int], before: int = before) -> list[Candidate]:
            spans = (SHORT_RUN + 1, BLOCK)
            return native.border_candidates(message.r, message.ciphertext, message.wanted, before, *part, spans)

        found = _judged(message, clock, f"windows, {before} of {BLOCK - 1}", candidates)
        if found is not None:
            return found
    return _at_the_mac(message, clock, BLOCK) if message.judge.certain else None


def _judged(
    message: Message, clock: Clock, stage: str, candidates: Callable[[tuple[int, int]], list[Candidate]]
) -> Solution | None:
    """The first candidate that the judge accepts, with all threads."""
    done = 0

    def look(part: tuple[int, int]) -> Candidate | None:
        nonlocal done
        first, last = part
        # A window begins before the border.
        accepts = message.judge.series(IV_SIZE + first * BLOCK)
        for candidate in candidates(part):
            clock.check()
            placed = message.placed(candidate)
            if accepts(placed):
                return placed
        done += last - first
        message.progress(Advance(stage, min(done, message.blocks), message.blocks))
        return None

    found = clock.first(look, _ranges(message, _JUDGED))
    return None if found is None else message.solution([found])


def _bits_by_hash(message: Message, clock: Clock) -> Solution | None:
    """One bit that is older than the MAC, or a MAC that is lost besides: each bit in turn (SOLVE-11)."""
    if len(message.ciphertext) > _MOST_HASHED or not message.judge.certain:
        return None
    if isinstance(message.judge, FileJudge) and message.r:
        return None  # the MAC is a part of the file: it would have shown the bit

    def look(part: tuple[int, int]) -> Candidate | None:
        first, last = part
        accepts = message.judge.series(IV_SIZE + first * BLOCK)
        for bit in range(first * 8 * BLOCK, min(last * 8 * BLOCK, 8 * len(message.ciphertext))):
            if not bit % 64:
                clock.check()
            (edit,) = _flipped(message, (bit,))
            placed = message.placed(edit)
            if accepts(placed):
                return placed
        return None

    found = clock.first(look, _ranges(message, 4))
    if found is None:
        return None
    # A blob that was wrong before it was sealed gets a MAC that fits; a file has the MAC that it had.
    value = native.polynomial(message.r, edited(message.sealed, [found])[IV_SIZE : message.end])
    solved = message.solution([found, Candidate(message.end, solving.tag(value, message.pad))]) or message.solution([found])
    return solved and solved._replace(how="one bit, found by the hash alone")


ROUNDS: dict[Effort, tuple[Shape, ...]] = {
    Effort.RUNS: (_short_run, _outside, _at_the_mac),  # a run proves more than a MAC that is all different
    Effort.PAIRS: (_at_the_iv, _one_outside, _two_bits),
    Effort.BLOCKS: (_any_block,),
    Effort.WINDOWS: (_any_window, _bits_by_hash),
}
"""The shapes of damage that each round tries."""
