"""``inspect --diff``: two objects compared, for people and as messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from restic_format.words import printable
from restic_tools.context import Context
from restic_tools.messages.inspect_way import DifferenceMessage, DifferenceSummary, SideMessage

if TYPE_CHECKING:
    from restic_format.inspect.compare import Difference, Side, State

LONGEST_VALUE = 40
_MARKS = {"same": "=", "changed": "M", "moved": "R", "only_a": "-", "only_b": "+"}
_COLOURS = {"changed": 33, "moved": 36, "only_a": 31, "only_b": 32}
_ID = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")


class DifferencePrinter:
    """Shows differences; with *every* also what is the same. `counts` has how many of each state there were."""

    def __init__(self, ctx: Context, *, every: bool) -> None:
        from restic_format.inspect.compare import State

        self._ctx = ctx
        self._out = ctx.out
        self._json = ctx.options.json
        self._every = every
        self.counts: dict[State, int] = dict.fromkeys(State, 0)

    def show(self, names: tuple[str, str], differences: Iterable[Difference]) -> bool:
        """Show what *names* differ in; whether they do."""
        from restic_format.inspect.compare import State

        if not self._json:
            for mark, name in zip(("---", "+++"), names, strict=True):
                self._out.line(f"{mark} {printable(name)}")
        for difference in differences:
            self._ctx.interrupt.check()
            self.counts[difference.state] += 1
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
            self._summary(differ=differ)
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

    def _summary(self, *, differ: bool) -> None:
        from restic_format.inspect.compare import State

        counts = self.counts
        if not differ:
            self._out.line(f"no difference: {counts[State.SAME]:,} regions are the same")
            return
        self._out.line(
            f"{counts[State.SAME]:,} regions are the same, {counts[State.CHANGED]:,} changed, {counts[State.MOVED]:,} moved, "
            f"{counts[State.ONLY_A]:,} only in the first, {counts[State.ONLY_B]:,} only in the second"
        )


def _shortened(text: str) -> str:
    """A text for people: ids in it have eight digits."""
    return _ID.sub(r"\1", text)


def _text(side: Side) -> str:
    """What a person sees of one side."""
    value = side.value
    if value is None:
        return "" if side.length is None else f"{side.length:,} bytes"
    text = value.hex() if isinstance(value, bytes) else str(value).lower() if isinstance(value, bool) else str(value)
    text = printable(_shortened(text))
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE - 1]}…"
    return text if side.offset is None or not isinstance(value, bytes) else f"{text} ({side.length:,} bytes)"


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
