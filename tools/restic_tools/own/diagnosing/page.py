"""The page of ``diagnose --html``: what is damaged and what it costs, to be read by whoever has to decide.

Needs the extra ``html``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from restic_format.rescue.diagnosis.records import Hope, Origin
from restic_tools.htmlpage import Cell, Column, Mark, Notice, Part, Parts, Report, Section, Table, Tile, Tone, render
from restic_tools.own.diagnosing import text
from restic_tools.own.diagnosing.advice import next_steps
from restic_tools.render import bytes_text

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis import ByteRange, DamagedPath, Diagnosis, Fault

MOST_ROWS = 2000
"""Rows of a table, and ranges of a file; a page with more cannot be read."""

TONES: dict[Hope, Tone] = {
    Hope.WHOLE: "good",
    Hope.FOUND: "good",
    Hope.HIDDEN: "warn",
    Hope.DAMAGED: "warn",
    Hope.LOST: "bad",
}


def page(found: Diagnosis, location: str) -> str:
    """The whole page as HTML: one file that opens offline, encodable as UTF-8. *location* is where the repository is."""
    verdict = text.verdict(found)
    return render(
        Report(
            title="What is damaged",
            lead=f"Diagnosis of {location}. Nothing was changed.",
            notices=[Notice(verdict[0], " ".join(verdict[1:]), _tone(found))],
            tiles=_tiles(found),
            sections=[section for section in _sections(found) if section is not None],
            footer="Made by restic-format diagnose. 1 KiB is 1024 bytes. Ranges count bytes from the beginning of a file.",
        )
    )


def _tone(found: Diagnosis) -> Tone:
    if found.healthy:
        return "good"
    return "bad" if any(path.hope is Hope.LOST for path in found.paths) else "warn"


def _tiles(found: Diagnosis) -> list[Tile]:
    whole = sum(state.whole for state in found.snapshots)
    hopes = Counter(path.hope for path in found.paths)
    faults = sum(fault.origin is not Origin.LEFT_BEHIND for fault in found.faults)
    tiles = [Tile("Faults", str(faults), tone="bad" if faults else "good")]
    if found.opened:
        tone: Tone = "good" if whole == len(found.snapshots) else "warn"
        tiles.append(Tile("Snapshots that are whole", f"{whole} of {len(found.snapshots)}", tone=tone))
        tiles.append(Tile("Lost here", str(hopes[Hope.LOST]), "files and directories", "bad" if hopes[Hope.LOST] else "good"))
        may = hopes[Hope.DAMAGED] + hopes[Hope.HIDDEN]
        tiles.append(Tile("May come back", str(may), "files and directories", "warn" if may else ""))
        tiles.append(Tile("Only not found by the index", str(hopes[Hope.FOUND]), "files and directories"))
    earlier = f", {found.packs_recalled} of them earlier" if found.packs_recalled else ""
    tiles.append(Tile("Read", bytes_text(found.bytes_read), f"{found.packs_read} of {found.packs} packs{earlier}"))
    return tiles


def _sections(found: Diagnosis) -> list[Section | None]:
    steps = next_steps(found)
    faults = [(number, fault) for number, fault in enumerate(found.faults, 1) if fault.origin is not Origin.LEFT_BEHIND]
    left = [(number, fault) for number, fault in enumerate(found.faults, 1) if fault.origin is Origin.LEFT_BEHIND]
    return [
        Section("next", "What to do now", "", [Table("Steps", [Column("", "number"), Column("step")], _numbered(steps))])
        if steps
        else None,
        Section("faults", "What is wrong", "", [_faults(faults)]) if faults else None,
        _snapshots(found) if found.snapshots else None,
        _paths(found) if found.paths else None,
        Section("left", "Left behind, not needed", "", [_faults(left)]) if left else None,
    ]


def _numbered(steps: list[str]) -> list[list[str]]:
    return [[str(number), step] for number, step in enumerate(steps, 1)]


def _faults(faults: list[tuple[int, Fault]]) -> Table:
    columns = [
        Column("", "number"),
        Column("what is wrong, and what it likely comes from", "path"),
        Column("it costs", "path"),
        Column("expected"),
        Column("what helps", "path"),
    ]
    rows: list[list[Cell]] = [
        [
            str(number),
            f"{text.title(fault)}\nlikely from {text.ORIGINS[fault.origin]}: {fault.why}",
            text.cost(fault),
            Mark(fault.cost.hope.value, TONES[fault.cost.hope]) if fault.cost.snapshots else "",
            "\nor ".join(text.MEANS[means] for means in fault.means),
        ]
        for number, fault in faults[:MOST_ROWS]
    ]
    return Table("Faults", columns, rows, _more(len(faults)))


def _snapshots(found: Diagnosis) -> Section:
    whole = sum(state.whole for state in found.snapshots)
    parts = Parts(
        "Snapshots",
        [Part("whole", whole, str(whole)), Part("not whole", len(found.snapshots) - whole, str(len(found.snapshots) - whole))],
    )
    columns = [
        Column("snapshot", "code"),
        Column("time", "time"),
        Column("host"),
        Column("paths", "path"),
        Column("state"),
        Column(""),
    ]
    rows: list[list[Cell]] = [
        [
            state.id.hex()[:8],
            state.time[:19].replace("T", " "),
            state.hostname,
            " ".join(state.paths),
            Mark("whole", "good")
            if state.whole
            else Mark("not whole", "bad" if state.counts and state.counts.lost else "warn"),
            "" if state.counts is None else text.counts(state),
        ]
        for state in found.snapshots[:MOST_ROWS]
    ]
    return Section(
        "snapshots", "Snapshots", "Newest first.", [parts, Table("All snapshots", columns, rows, _more(len(found.snapshots)))]
    )


def _paths(found: Diagnosis) -> Section:
    order = {hope: -number for number, hope in enumerate(Hope)}
    columns = [
        Column("path", "path"),
        Column("bytes", "number"),
        Column("expected"),
        Column("what is not whole of it"),
        Column("by fault", "number"),
    ]
    rows: list[list[Cell]] = [
        [
            path.path + ("/" if path.is_dir and path.path != "/" else ""),
            "" if path.is_dir else f"{path.size:,}",
            Mark(path.hope.value, TONES[path.hope]),
            _parts(path),
            ", ".join(str(fault + 1) for fault in path.faults[:20]),
        ]
        for path in sorted(found.paths, key=lambda path: order[path.hope])[:MOST_ROWS]
    ]
    table = Table("Files and directories that are not whole", columns, rows, _more(found.paths_total))
    words = (
        "found: intact, only the index must be put right. damaged: there, and may be solved. hidden: the storage does not give "
        "it back now. lost: only copies from elsewhere bring it back."
    )
    return Section("paths", "Files", words, [table])


def _parts(path: DamagedPath) -> str:
    if path.is_dir:
        return "the directory with all that is in it"
    mixed = any(part.hope is not path.hope for part in path.ranges)
    return ", ".join(_range(part, told=mixed) for part in path.ranges[:20]) + (" …" if len(path.ranges) > 20 else "")


def _range(part: ByteRange, *, told: bool) -> str:
    """A part of a file; what can be expected of it is *told* where not all parts are alike."""
    return f"{'' if part.exact else 'some of '}{part.start:,} to {part.end:,}{f' ({part.hope.value})' if told else ''}"


def _more(count: int) -> str:
    return f"{count - MOST_ROWS} more are in the output of --json." if count > MOST_ROWS else ""
