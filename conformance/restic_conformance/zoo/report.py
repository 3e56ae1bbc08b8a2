"""The zoo's table: what was measured as ``zoo.json``, and a page of it for the documentation, ``zoo.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from restic_conformance.programs import REFERENCE
from restic_conformance.zoo.judge import Outcome
from restic_conformance.zoo.rescuers import (
    AS_IT_IS,
    BUDGET,
    DIAGNOSE,
    HEAL,
    HEAL_DONOR,
    HEAL_PROTECTED,
    HEAL_SOURCE,
    HELPED,
    HUNG,
    OUR_REPAIR,
    PATIENCE,
    RUSTIC,
)

GROUPS = {
    "files": "Files",
    "index": "Indexes that lie, that name too little, that are gone",
    "packs": "Packs and the blobs in them",
    "several": "Locks, strays, permissions, several faults at once",
}

ORDER = (AS_IT_IS, REFERENCE, RUSTIC, OUR_REPAIR, HEAL, HEAL_PROTECTED, HEAL_DONOR, HEAL_SOURCE)
"""The columns."""

HEAD = """# The damage zoo

Made by `make zoo`: a small healthy repository is damaged in {kinds} ways, one at a time, always at the same bytes. Then each
program repairs a copy as its documentation tells users to, and real restic 0.19.1 restores all snapshots from it and checks
it. What is recoverable, and by what, is computed from the repository's files before and after the damage.

{sums}
A cell says how many bytes of the snapshots' files are back at their place, of those that can be had; bold where all of it is
back. Signs behind it:

- ✗: restic's `check --read-data` still finds faults afterwards, other than that what is lost for good is not there;
- −: blobs which could be read before cannot be read any more;
- …: a call was stopped. restic tries again for up to 15 minutes what it takes for a fault of the storage; here it has
  {patience:.0f} s.

The columns:

{columns}
Where nothing has to be brought back the column "by what" is empty: such damage is in the way, but costs nothing.
"""

COLUMNS = {
    AS_IT_IS: "nothing is done, only restored.",
    REFERENCE: (
        "`unlock --remove-all`; where `check --read-data` finds something `repair index`, then `repair packs` with the\n"
        "  packs it names; `recover`; where files lost parts `repair snapshots --forget`."
    ),
    RUSTIC: "`check --read-data`, `repair index`, `repair snapshots --delete`.",
    OUR_REPAIR: "our forms of restic's commands, called in the same order.",
    HEAL: f"our `heal --yes --budget {BUDGET}`, with nothing but the damaged repository and its passwords.",
    HEAL_PROTECTED: (
        "the same where `protect` had been called before the damage, with its default of 5 %; where something is lost\n"
        "  for good without. A cell tells of *all* bytes."
    ),
    HEAL_DONOR: "likewise with `--donor` and a healthy copy of the repository.",
    HEAL_SOURCE: "likewise with `--source` and the files as they were backed up last.",
    DIAGNOSE: (
        "✓ where our `diagnose` names every damaged file, exactly the paths and byte ranges that it costs, and which\n"
        "  snapshots are whole."
    ),
}
"""What is measured in a column."""


@dataclass
class Measured:
    """What one program made of one damage; see `Outcome`."""

    recovered: int
    clean: bool
    healthy_lost: int
    undone: bool | None
    processor_seconds: float
    files_behind: int = 0
    """Files of which something that can be had was not brought back."""
    only_lost: bool = False
    """Whether restic's check finds only that something is not there which is lost for good."""
    stopped: bool = False
    """Whether a call had not ended after `PATIENCE` seconds and was stopped."""


@dataclass
class Row:
    """One kind of damage."""

    name: str
    group: str
    what: str
    ways: list[str]
    recoverable: int
    total: int
    programs: dict[str, Measured] = field(default_factory=dict)
    diagnosis: str | None = None
    """What our ``diagnose`` leaves out or says too much, "" where nothing; None where it was not asked."""


def measured(outcome: Outcome) -> Measured:
    """What of an outcome is kept."""
    return Measured(
        outcome.recovered,
        outcome.clean,
        outcome.healthy_lost,
        outcome.undone,
        round(outcome.processor_seconds, 2),
        len(outcome.more_lost),
        outcome.only_lost,
        any(run.code == HUNG for run in outcome.runs),
    )


def read(folder: Path) -> dict[str, Any]:
    """What ``zoo.json`` in *folder* holds, empty where there is none."""
    path = folder / "zoo.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def decode_rows(raw: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of ``zoo.json``."""
    return [Row(**{**row, "programs": {name: Measured(**one) for name, one in row["programs"].items()}}) for row in raw]


def merged(before: Sequence[Row], now: Sequence[Row]) -> list[Row]:
    """The rows *now*, and of those *before* what was not measured again."""
    old = {row.name: row for row in before}
    fresh = {row.name: row for row in now}
    for name, row in fresh.items():
        if name in old and (row.recoverable, row.total) == (old[name].recoverable, old[name].total):
            row.programs = {**old[name].programs, **row.programs}
            row.diagnosis = old[name].diagnosis if row.diagnosis is None else row.diagnosis
    return [fresh.get(name, old.get(name)) or fresh[name] for name in dict.fromkeys([*old, *fresh])]


def write(
    folder: Path, repository: str, seed: int, versions: Mapping[str, str], rows: Sequence[Row], before: Mapping[str, Any]
) -> None:
    """Write ``zoo.json`` and ``zoo.md`` into *folder*, with the *versions* of programs by way.

    Rows of *before* that are not measured again are kept.

    What was measured on another repository or with another seed is not kept.
    """
    same = (before.get("repository"), before.get("seed")) == (repository, seed)
    kept = {
        "repository": repository,
        "seed": seed,
        "programs": {**(before.get("programs", {}) if same else {}), **versions},
        "rows": [asdict(row) for row in merged(decode_rows(before.get("rows", ())) if same else [], rows)],
    }
    (folder / "zoo.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "zoo.md").write_text(page(kept), encoding="utf-8")


def _wanted(row: Row, way: str) -> int:
    """Bytes that count as all; who has help can bring back what else is lost for good."""
    return row.total if way in HELPED else row.recoverable


def _cell(row: Row, way: str) -> str:
    found = row.programs.get(way)
    if found is None:
        return "·"
    wanted = _wanted(row, way)
    if wanted == 0:
        share = "–"
    elif found.recovered >= wanted:
        share = "**100 %**"
    else:
        share = f"{min(99.9, 100 * found.recovered / wanted):.1f} %"
    signs = (" ✗", not (found.clean or found.only_lost)), (" −", bool(found.healthy_lost)), (" …", found.stopped)
    return share + "".join(sign for sign, there in signs if there)


def _sum(rows: Sequence[Row], way: str) -> str:
    fitting = [(row, row.programs[way]) for row in rows if way in row.programs]
    whole = sum(found.recovered >= _wanted(row, way) for row, found in fitting)
    back = sum(min(found.recovered, _wanted(row, way)) for row, found in fitting)
    share = 100 * back / max(1, sum(_wanted(row, way) for row, _ in fitting))
    clean = sum(found.clean or found.only_lost for _, found in fitting)
    harmed = sum(bool(found.healthy_lost) for _, found in fitting)
    taken_back = [found.undone for _, found in fitting if found.undone is not None]
    undone = f"{sum(taken_back)} of {len(taken_back)}" if taken_back else "no such command"
    shown = f"{share:.1f} %" if share == 100 else f"{min(share, 99.9):.1f} %"
    undone = "" if way == AS_IT_IS else undone
    return f"| {way} | {whole} of {len(fitting)} | {shown} | {clean} of {len(fitting)} | {harmed} | {undone} |"


def _sums(kept: Mapping[str, Any], rows: Sequence[Row], ways: Sequence[str], asked: Sequence[str]) -> list[str]:
    size = f"{rows[0].total / 1e6:.1f} MB of files in all its snapshots together"
    lines = [f"The repository is {kept['repository']}, with {size}.", ""]
    lines += [
        "| way | all that can be had is back | bytes of those that can be had | restic's check finds nothing, or only what is "
        "lost for good | cases in which healthy blobs were lost | taken back, every byte |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- |", *(_sum(rows, way) for way in ways), ""]
    if asked:
        lines += [f"`diagnose` says exactly what is damaged and what it costs in {asked.count('')} of {len(asked)} cases.", ""]
    return lines


def page(kept: Mapping[str, Any]) -> str:
    """The page, of what ``zoo.json`` holds."""
    rows = decode_rows(kept["rows"])
    ways = sorted(kept["programs"], key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    asked = [row.diagnosis for row in rows if row.diagnosis is not None]
    columns = [*ways, *([DIAGNOSE] if asked else [])]
    told = [f"- **{way}**" + (f": {COLUMNS[way]}" if way in COLUMNS else "") for way in columns]
    told += ["", "Programs: " + "; ".join(dict.fromkeys(kept["programs"][way] for way in ways)) + "."]
    head = HEAD.format(
        kinds=len(rows), sums="\n".join(_sums(kept, rows, ways, asked)), patience=PATIENCE, columns="\n".join(told) + "\n"
    )
    lines = [head.rstrip("\n")]
    for group, title in GROUPS.items():
        fitting = [row for row in rows if row.group == group]
        if not fitting:
            continue
        cells = ["damage", "can be had", "by what", *columns]
        lines += ["", f"## {title}", "", f"| {' | '.join(cells)} |", "| " + " | ".join("---" for _ in cells) + " |"]
        for row in fitting:
            share = 100 * row.recoverable / max(1, row.total)
            had = "all" if row.recoverable == row.total else "nothing" if row.recoverable == 0 else f"{share:.1f} %"
            said = ["·" if row.diagnosis is None else "✗" if row.diagnosis else "✓"] if asked else []
            cells = [row.what, had, ", ".join(row.ways), *(_cell(row, way) for way in ways), *said]
            lines += [f"| {' | '.join(cells)} |"]
    return "\n".join(lines) + "\n"
