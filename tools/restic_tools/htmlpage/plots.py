"""Plots as SVG for a report: bars over ranges, bars and areas over time, points in lanes.

Vega-Lite draws them, without a browser and without the network (`vl_convert`). Every plot is drawn twice, for wide and for
narrow windows, so that its writing is as large as that of the page. Colours are the page's variables: one drawing serves
light, dark and paper. What comes out is looked at before it is trusted: no drawing can hold a script, a link or a style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree

from restic_tools.htmlpage import shown
from restic_tools.render import UNITS

Spec = dict[str, Any]
WIDE: Final = 980
NARROW: Final = 330
"""Widths in CSS pixels, writing included."""
POINTS: Final = 400
"""Steps that an area has at most: more are not seen."""
LONGEST_LABEL: Final = 60
"""Characters of a name beside a plot; Vega cuts it to what there is room for, which takes long for long ones."""
_ELEMENTS = {"svg", "g", "path", "line", "rect", "text", "tspan", "title", "defs", "clipPath", "circle"}
_FORBIDDEN = ("on", "href", "style", "src")
_SVG = "{http://www.w3.org/2000/svg}"


class Drawn(NamedTuple):
    """One plot as two drawings."""

    wide: str
    narrow: str


class Stack(NamedTuple):
    """A bar of several stretches, one above the other."""

    label: str
    values: Sequence[float]


class Step(NamedTuple):
    """A value from a time on, in seconds since the epoch."""

    time: float
    value: float


class Span(NamedTuple):
    """A bar from one time to another, in seconds since the epoch."""

    start: float
    end: float
    value: float


class Dot(NamedTuple):
    """A point in a lane, in seconds since the epoch."""

    lane: str
    time: float


def bars(stacks: Sequence[Stack], *, title: str, bytes_axis: bool = False, label_every: int = 1) -> Drawn:
    """Bars over ranges, in their order."""
    values = [
        {"x": number, "s": series, "v": value}
        for number, stack in enumerate(stacks)
        for series, value in enumerate(stack.values)
        if value
    ]
    labels = [stack.label for stack in stacks]
    top = max((sum(stack.values) for stack in stacks), default=0)

    def spec(width: int) -> Spec:
        every = label_every if width == WIDE else max(label_every, math.ceil(len(labels) / 6))
        axis = {
            "title": None,
            "grid": False,
            "labelAngle": 0,
            "values": list(range(0, len(labels), every)),
            "labelExpr": f"{_expression(labels)}[datum.value]",
            "labelOverlap": True,
        }
        return {
            "data": {"values": values},
            "mark": {"type": "bar", "cornerRadiusEnd": 2},
            "encoding": {
                "x": {
                    "field": "x",
                    "type": "ordinal",
                    "axis": axis,
                    "scale": {"domain": list(range(len(labels))), "paddingInner": 0.15},
                },
                "y": _amount("v", title, top, bytes_axis=bytes_axis),
                "color": _colours("s", max((len(stack.values) for stack in stacks), default=1)),
                "order": {"field": "s"},
            },
        }

    return _drawn(spec, height=190)


def area(steps: Sequence[Step], *, title: str) -> Drawn:
    """Bytes over time, which stay the same from one step to the next."""
    kept = _thinned(steps)
    values = [{"t": step.time * 1000, "v": step.value} for step in kept]
    top = max((step.value for step in kept), default=0)
    times = [step.time for step in kept]

    def spec(width: int) -> Spec:
        return {
            "data": {"values": values},
            "mark": {
                "type": "area",
                "interpolate": "step-after",
                "color": "var(--c0)",
                "fillOpacity": 0.25,
                "line": {"color": "var(--c0)", "strokeWidth": 1.5},
            },
            "encoding": {"x": _time(times, width), "y": {**_amount("v", title, top, bytes_axis=True), "stack": None}},
        }

    return _drawn(spec, height=190)


def spans(found: Sequence[Span], *, title: str) -> Drawn:
    """Bytes by stretches of time."""
    values = [{"t": span.start * 1000, "e": span.end * 1000, "v": span.value} for span in found]
    top = max((span.value for span in found), default=0)
    times = [time for span in found for time in span[:2]]

    def spec(width: int) -> Spec:
        return {
            "data": {"values": values},
            "mark": {"type": "rect", "color": "var(--c0)", "stroke": "var(--card)", "strokeWidth": 1},
            "encoding": {
                "x": _time(times, width),
                "x2": {"field": "e"},
                "y": {**_amount("v", title, top, bytes_axis=True), "stack": None},
                "y2": {"datum": 0},
            },
        }

    return _drawn(spec, height=150)


def lanes(dots: Iterable[Dot], names: Sequence[str]) -> Drawn:
    """Points over time in lanes, the first lane on top. Points that would cover each other are drawn once."""
    numbers = {name: number for number, name in enumerate(names)}
    points = sorted({(numbers[dot.lane], dot.time) for dot in dots})
    first = min((time for _, time in points), default=0.0)
    width_of_one = max(1.0, (max((time for _, time in points), default=0.0) - first) / POINTS)
    thinned = {(lane, int((time - first) / width_of_one)): time for lane, time in points}
    values = [{"l": lane, "t": time * 1000} for (lane, _), time in thinned.items()]
    labels = [shown(name)[:LONGEST_LABEL] for name in names]
    times = [time for _, time in points]

    def spec(width: int) -> Spec:
        axis = {
            "title": None,
            "grid": False,
            "domain": False,
            "labelLimit": 160 if width == WIDE else 90,
            "labelExpr": f"{_expression(labels)}[datum.value]",
        }
        return {
            "data": {"values": values},
            "mark": {"type": "tick", "thickness": 2, "size": 16, "color": "var(--c0)", "opacity": 0.8},
            "encoding": {
                "x": _time(times, width),
                "y": {"field": "l", "type": "ordinal", "axis": axis, "scale": {"domain": list(range(len(labels)))}},
            },
        }

    return _drawn(spec, height=26 * len(labels) + 4)


def _expression(labels: Sequence[str]) -> str:
    """A list of texts in Vega's language, which has JavaScript's string literals: nothing but letters stays as it is."""
    return "[" + ",".join("'" + "".join(_literal(char) for char in label) + "'" for label in labels) + "]"


def _literal(char: str) -> str:
    if char == " " or (char.isascii() and char.isalnum()):
        return char
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _thinned(steps: Sequence[Step]) -> list[Step]:
    """The last step of each stretch of time, and the first of all."""
    if len(steps) <= POINTS:
        return list(steps)
    length = max(1.0, (steps[-1].time - steps[0].time) / (POINTS - 2))
    found = {int((step.time - steps[0].time) / length): step for step in steps}
    return [steps[0], *found.values()]


def _time(times: Sequence[float], width: int) -> Spec:
    """An axis of time whose labels say enough to tell them apart; what is given is shifted to the zone that is shown."""
    length = max(times) - min(times) if times else 0
    text = next((text for shortest, text in _TIME_LABELS if length >= shortest), "%H:%M:%S")
    axis = {
        "title": None,
        "grid": False,
        "format": text,
        "formatType": "time",
        "tickCount": 7 if width == WIDE else 3,
        "labelOverlap": "greedy",
        "labelSeparation": 8,
        "labelBound": True,
    }
    return {"field": "t", "type": "temporal", "scale": {"type": "utc", "nice": False, "padding": 6}, "axis": axis}


_DAY: Final = 86_400
_TIME_LABELS: Final = ((8 * 366 * _DAY, "%Y"), (90 * _DAY, "%b %Y"), (3 * _DAY, "%Y-%m-%d"), (600, "%a %H:%M"))
"""Formats for ranges of at least so many seconds."""


def _amount(field: str, title: str, top: float, *, bytes_axis: bool) -> Spec:
    ticks, labels = _ticks(top, binary=bytes_axis)
    axis = {
        "title": title,
        "titleAlign": "left",
        "titleAngle": 0,
        "titleAnchor": "end",
        "titleX": 0,
        "titleY": -10,
        "values": ticks,
        "domain": False,
        "ticks": False,
        "labelExpr": f"{_expression(labels)}[round(datum.value / {ticks[1]!r})]",
    }
    return {"field": field, "type": "quantitative", "axis": axis, "scale": {"domain": [0, ticks[-1]], "nice": False}}


def _ticks(top: float, *, binary: bool) -> tuple[list[float], list[str]]:
    """Up to six round numbers in equal steps, from 0 to *top* or a little more, and how they are written."""
    if top <= 0:
        return [0, 1], ["0", ""]
    power = min(len(UNITS), max(0, int(math.log(max(top, 1), 1024)))) if binary else 0
    base = 1024**power
    raw = top / base / 4
    decimal = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * decimal for factor in (1, 2, 2.5, 5, 10) if factor * decimal >= raw * 0.999)
    if base == 1:
        step = max(1, math.ceil(step))
    numbers = [number * step for number in range(math.ceil(top / base / step - 1e-9) + 1)]
    unit = f" {('B', *UNITS)[power]}" if binary else ""
    return [number * base for number in numbers], [f"{number:,.10g}{unit}" if number else "0" for number in numbers]


def _colours(field: str, count: int) -> Spec:
    scale = {"domain": list(range(count)), "range": [f"var(--c{number})" for number in range(count)]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


_CONFIG: Final[Spec] = {
    "aria": False,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "gridColor": "var(--grid)",
    },
}


def _drawn(spec: Callable[[int], Spec], height: int) -> Drawn:
    return Drawn(*(_draw(spec(width), width, height) for width in (WIDE, NARROW)))


def _draw(spec: Spec, width: int, height: int) -> str:
    import vl_convert

    frame: Spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": None,
        "width": width,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
    }
    return _checked(vl_convert.vegalite_to_svg({**frame, **spec}, allowed_base_urls=[]))


def _checked(drawing: str) -> str:
    """The drawing, if it is made of shapes and text only.

    Raises:
        ValueError: it holds anything else.
    """
    for element in ElementTree.fromstring(drawing).iter():
        name = str(element.tag)
        attributes = [attribute.rpartition("}")[2].lower() for attribute in element.attrib]
        if name.removeprefix(_SVG) not in _ELEMENTS or any(attribute.startswith(_FORBIDDEN) for attribute in attributes):
            raise ValueError(f"a drawing has an element that no plot needs: {name}")
    return drawing
