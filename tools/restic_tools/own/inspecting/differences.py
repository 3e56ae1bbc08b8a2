"""``inspect --diff``: two objects compared, for people and as messages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from restic_format.errors import ResticFormatError
from restic_format.words import printable
from restic_tools.context import Context
from restic_tools.exitcodes import FAILURE, NOT_COMPARED, Failure, describe, exit_code
from restic_tools.messages.inspect_way import DifferenceMessage, DifferenceSummary, SideMessage

if TYPE_CHECKING:
    from restic_format.inspect.compare import Difference, Side, State
    from restic_format.inspect.objects import Inspector
    from restic_format.inspect.target import Target
    from restic_spec.regions import Document

LONGEST_VALUE = 40
"""Characters of a value that people see."""
FIRST_BYTES = 8
"""Bytes of one."""
_MARKS = {"same": "=", "changed": "M", "moved": "R", "only_a": "-", "only_b": "+"}
_COLOURS = {"changed": 33, "moved": 36, "only_a": 31, "only_b": 32}
_ID = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")


@contextmanager
def comparing() -> Iterator[None]:
    """Errors in this block end with an exit code of their own: 1 says that there is a difference."""
    try:
        yield
    except (ResticFormatError, Failure, OSError, MemoryError, RecursionError) as error:
        if exit_code(error) != FAILURE:
            raise
        raise Failure(describe(error), NOT_COMPARED, block=True, plain=True) from error


def show_difference(
    ctx: Context, inspector: Inspector, targets: Sequence[Target], *, everything: bool, show_secrets: bool
) -> bool:
    """Show what two targets differ in; whether they do.

    Raises:
        Failure: there are not two targets, or one is a path in a snapshot and the other is not.
        ResticFormatError: one of them is not found or cannot be read.
    """
    from restic_format.inspect.compare import compare, compare_ways
    from restic_format.inspect.target import Place
    from restic_tools.own.inspecting.paths import open_way

    if len(targets) != 2:
        raise Failure(f"--diff compares two targets, {len(targets)} {'is' if len(targets) == 1 else 'are'} given")
    paths = sum(target.place is Place.SNAPSHOT for target in targets)
    if paths == 1:
        raise Failure("--diff compares two paths in snapshots, or two objects: one of each is given")
    printer = DifferencePrinter(ctx, every=everything)
    names = targets[0].text, targets[1].text
    if paths:
        assert inspector.access is not None
        ways = [open_way(ctx, inspector.access, target) for target in targets]
        for way, name in zip(ways, names, strict=True):
            if way.broken:
                raise Failure(f"{printable(name)} cannot be compared: {way.findings[0].what}")
        return printer.show(names, compare_ways(*ways))
    a, b = (inspector.target(target, None if sys.stdin is None else sys.stdin.buffer) for target in targets)
    for inspected in (a, b):
        if inspected.trouble is not None:
            raise inspected.trouble
    for note in dict.fromkeys((*a.notes, *b.notes)):
        ctx.out.line(f"note: {note}")

    def is_secret(content: Document) -> bool:
        return not show_secrets and (a.is_secret(content) or b.is_secret(content))

    differences = compare(a.document, b.document, is_secret=is_secret)
    return printer.show(names, differences, opened=a.opened and b.opened)


class DifferencePrinter:
    """Shows differences; with *every* also what is the same. `counts` has how many of each state there were."""

    def __init__(self, ctx: Context, *, every: bool) -> None:
        from restic_format.inspect.compare import State

        self._ctx = ctx
        self._out = ctx.out
        self._json = ctx.options.json
        self._every = every
        self.counts: dict[State, int] = dict.fromkeys(State, 0)
        self._seals = 0
        """Differences that are of seals only, which are other ones each time something is sealed."""

    def show(self, names: tuple[str, str], differences: Iterable[Difference], *, opened: bool = False) -> bool:
        """Show what *names* differ in; whether they do. *opened* says that what is sealed was opened."""
        from restic_format.inspect.compare import State

        if not self._json:
            for mark, name in zip(("---", "+++"), names, strict=True):
                self._out.line(f"{mark} {printable(name)}")
        for difference in differences:
            self._ctx.interrupt.check()
            self.counts[difference.state] += 1
            self._seals += difference.state is State.CHANGED and difference.clause.startswith("CRYPTO-")
            if difference.state is State.SAME and not self._every:
                continue
            if self._json:
                self._out.json(_message(difference))
            else:
                self._line(difference)
        differ = any(count for state, count in self.counts.items() if state is not State.SAME)
        if self._json:
            self._out.json(DifferenceSummary("summary", **{state.value: count for state, count in self.counts.items()}))
        else:
            self._summary(differ=differ, opened=opened)
        return differ

    def _line(self, difference: Difference) -> None:
        state = difference.state.value
        texts = [_text(side) for side in (difference.a, difference.b) if side is not None]
        if state == "moved" and difference.a is not None and difference.b is not None:
            texts = [
                difference.meaning if side.offset is None else f"at {side.offset:,}" for side in (difference.a, difference.b)
            ]
        text = " -> ".join(texts if state in ("changed", "moved") and texts[0] != texts[-1] else texts[:1])
        line = f"{_MARKS[state]} {printable(_shortened(difference.name))}  {text}  [{difference.clause}]"
        if self._out.coloured and state in _COLOURS:
            from restic_format.words import visible
            from restic_tools.environment import encode

            self._out.write(b"\x1b[%dm%s\x1b[0m\n" % (_COLOURS[state], encode(visible(line))))
        else:
            self._out.line(line)

    def _summary(self, *, differ: bool, opened: bool) -> None:
        from restic_format.inspect.compare import State

        counts = self.counts
        if not differ:
            self._out.line("no difference")
            return
        if opened and self._seals == sum(counts.values()) - counts[State.SAME]:
            self._out.line("sealed anew: what is inside is the same")
        self._out.line(
            f"regions: {counts[State.SAME]:,} the same, {counts[State.CHANGED]:,} changed, {counts[State.MOVED]:,} moved, "
            f"{counts[State.ONLY_A]:,} only in the first, {counts[State.ONLY_B]:,} only in the second"
        )


def _shortened(text: str) -> str:
    """A text for people: ids in it have eight digits."""
    return _ID.sub(r"\1", text)


def _text(side: Side) -> str:
    """What a person sees of one side."""
    value = side.value
    if side.region.startswith("blobs[") and isinstance(value, str):  # of a file: its id is in the name
        return f"at {side.offset or 0:,}, {side.length or 0:,} bytes"
    if value is None:
        return "" if side.length is None else f"{side.length:,} bytes"
    if isinstance(value, bytes):
        text = value[:FIRST_BYTES].hex()
        return f"{text}… ({side.length:,} bytes)" if (side.length or 0) > FIRST_BYTES else text
    text = printable(_shortened(str(value).lower() if isinstance(value, bool) else str(value)))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _side(side: Side | None) -> SideMessage | None:
    if side is None:
        return None
    value = side.value.hex() if isinstance(side.value, bytes) else side.value
    return SideMessage(region=side.region, offset=side.offset, length=side.length, value=value)


def _message(difference: Difference) -> DifferenceMessage:
    return DifferenceMessage(
        message_type="difference",
        state=difference.state.value,
        name=difference.name,
        clause=difference.clause,
        a=_side(difference.a),
        b=_side(difference.b),
    )
