"""The zoo's table: what was measured as ``zoo.json``, and a page of it for the documentation, ``zoo.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from restic_conformance.programs import OURS, REFERENCE, Program, version_of
from restic_conformance.zoo.judge import Outcome
from restic_conformance.zoo.rescuers import AS_IT_IS, HUNG, PATIENCE

GROUPS = {
    "files": "Files",
    "index": "Indexes that lie, that name too little, that are gone",
    "packs": "Packs and the blobs in them",
    "several": "Locks, strays, permissions, several faults at once",
}

ORDER = (AS_IT_IS, REFERENCE, "rustic", OURS)
"""The programs' columns."""

HEAD = """# The damage zoo

Made by `make zoo`: a small healthy repository is damaged in {kinds} ways, one at a time, always at the same bytes. Then each
program repairs a copy as its documentation tells users to, and real restic 0.19.1 restores all snapshots from it. A cell says
how many bytes of the snapshots' files are back at their place, of those that can be had: what is recoverable, and by what, is
computed from the repository's files before and after the damage. Bold where all of it is back. A ✗ behind it says that restic's
`check --read-data` still finds faults afterwards, a − that blobs which could be read before cannot be read any more, a … that
a call was stopped after {patience:.0f} s: restic tries again for up to 15 minutes what it takes for a fault of the storage.

- **as it is**: nothing is done, only restored.
- **restic**: `unlock --remove-all`; where `check --read-data` finds something `repair index`, then `repair packs` with the
  packs it names; `recover`; where files lost parts `repair snapshots --forget`.
- **rustic**: `check --read-data`, `repair index`, `repair snapshots --delete`.
- **ours**: {ours}
{diagnosed}
Where nothing has to be brought back the column "by what" is empty: such damage is in the way, but costs nothing.
"""

WITH_HEAL = "`heal --yes`; `heal --undo` then brought back every byte of the damaged repository in {undone} of {all} cases."
DIAGNOSED = """- **diagnose** (ours): ✓ where `diagnose` names every damaged file, exactly the paths and byte ranges that it
  costs, and which snapshots are whole; so it is in {right} of {all} cases.
"""

WITHOUT_HEAL = "the same commands as with restic."


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
    folder: Path, repository: str, seed: int, programs: Sequence[Program], rows: Sequence[Row], before: Mapping[str, Any]
) -> None:
    """Write ``zoo.json`` and ``zoo.md`` into *folder*; rows of *before* that are not measured again are kept.

    What was measured on another repository or with another seed is not kept.
    """
    same = (before.get("repository"), before.get("seed")) == (repository, seed)
    versions = {program.name: version_of(list(program.command))[0] for program in programs}
    kept = {
        "repository": repository,
        "seed": seed,
        "programs": {**(before.get("programs", {}) if same else {}), **versions},
        "rows": [asdict(row) for row in merged(decode_rows(before.get("rows", ())) if same else [], rows)],
    }
    (folder / "zoo.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "zoo.md").write_text(page(kept), encoding="utf-8")


def _cell(row: Row, name: str) -> str:
    found = row.programs.get(name)
    if found is None:
        return "·"
    if row.recoverable == 0:
        share = "–"
    elif found.recovered >= row.recoverable:
        share = "**100 %**"
    else:
        share = f"{min(99.9, 100 * found.recovered / row.recoverable):.1f} %"
    signs = (" ✗", not found.clean), (" −", bool(found.healthy_lost)), (" …", found.stopped)
    return share + "".join(sign for sign, there in signs if there)


def _sum(rows: Sequence[Row], name: str) -> str:
    fitting = [row for row in rows if name in row.programs]
    whole = sum(row.programs[name].recovered >= row.recoverable for row in fitting)
    recovered = sum(min(row.programs[name].recovered, row.recoverable) for row in fitting)
    share = 100 * recovered / max(1, sum(row.recoverable for row in fitting))
    clean = sum(row.programs[name].clean for row in fitting)
    return f"| {name} | {whole} of {len(fitting)} | {share:.1f} % | {clean} |"


def page(kept: Mapping[str, Any]) -> str:
    """The page, of what ``zoo.json`` holds."""
    rows = decode_rows(kept["rows"])
    names = sorted(kept["programs"], key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    undone = [one.undone for row in rows if (one := row.programs.get("ours")) and one.undone is not None]
    ours = WITH_HEAL.format(undone=sum(undone), all=len(undone)) if undone else WITHOUT_HEAL
    asked = [row.diagnosis for row in rows if row.diagnosis is not None]
    diagnosed = DIAGNOSED.format(right=asked.count(""), all=len(asked)) if asked else ""
    lines = [HEAD.format(kinds=len(rows), ours=ours, patience=PATIENCE, diagnosed=diagnosed)]
    size = f"{rows[0].total / 1e6:.1f} MB of files in all its snapshots together"
    lines += [f"The repository is {kept['repository']}, with {size}.", ""]
    lines += ["| program | all that can be had is back | bytes of those that can be had | restic's check is clean |"]
    lines += ["| --- | --- | --- | --- |", *(_sum(rows, name) for name in names), ""]
    lines += [f"- {name}: {kept['programs'][name]}" for name in names]
    for group, title in GROUPS.items():
        fitting = [row for row in rows if row.group == group]
        if not fitting:
            continue
        columns = ["damage", "can be had", "by what", *names, *(["diagnose"] if asked else [])]
        lines += ["", f"## {title}", "", f"| {' | '.join(columns)} |", "| " + " | ".join("---" for _ in columns) + " |"]
        for row in fitting:
            share = 100 * row.recoverable / max(1, row.total)
            had = "all" if row.recoverable == row.total else "nothing" if row.recoverable == 0 else f"{share:.1f} %"
            told = ["·" if row.diagnosis is None else "✗" if row.diagnosis else "✓"] if asked else []
            cells = [row.what, had, ", ".join(row.ways), *(_cell(row, name) for name in names), *told]
            lines += [f"| {' | '.join(cells)} |"]
    return "\n".join(lines) + "\n"
