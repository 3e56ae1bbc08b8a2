"""The bench's page (Markdown) and plot (SVG) for the documentation."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.measure import Row

BASE = "restic"

HEAD = """# Speed

Made by `make bench`: restic 0.19.1 and others as whole processes, start-up and key derivation included, in turns in one run, on
repositories with the same key. For the others: wall clock / processor time / peak memory, each divided by restic's; less is
better. `wheels only` is our program where libcrypto and libzstd cannot be called directly (`RESTIC_FORMAT_KERNEL=wheels`).

"20 ms away" is rest-server behind a proxy that holds every byte for 10 ms in each direction, both on the same processors as the
program, which have their part in the wall clock of what moves much; five connections, and each program's own cache.

"""

PARTS_HEAD = """# What each native part buys

Made by `make bench` and `make parts`: processor time of our program without a native part, divided by that with all of them
(`RESTIC_FORMAT_KERNEL=without:chunker` and so on). 1.30 means that without it the workload takes three tenths more. A part pays
when some workload takes at least a fifth more without it (bold); one that never does is marked with **no**, and goes
([decision 10](decisions/0010-native-parts-chosen-tested-measured.md)).

"""
NAMED = (
    "backup big files",
    "backup small files",
    "backup tiny files",
    "unchanged small files",
    "restore small files",
    "check --read-data small files",
    "load index",
    "open (cat config)",
)
"""The workloads that say whether a native part pays (decision 10)."""
PAYS = 1.2
"""The ratio from which on a native part pays."""

FOOT = """
![Wall clock of our program as a share of restic's](performance.svg)

What the native parts do, and what was tried, is in the decisions [on them](decisions/0007-native-batches.md) and
[on how they are chosen](decisions/0010-native-parts-chosen-tested-measured.md);
[what each of them buys](native-parts.md) is measured, too.
"""


def write(rows: Sequence[Row], folder: Path, where: Path, disk: Path | None, rounds: int, *, quick: bool, part: bool) -> None:
    """Write the page ``performance.md`` and its picture ``performance.svg`` into *folder*.

    The numbers are kept in ``performance.json``. A *part* of the workloads takes its rows' places in what is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = kept(rows, folder / "performance.json", part=part)
    names = [name for name in rows[0].samples if name != BASE]
    (folder / "performance.md").write_text(HEAD + table(rows, names) + conditions(where, disk, rounds, quick=quick) + FOOT)
    plot(rows, names, folder / "performance.svg")


def plain(workload: str) -> str:
    """The name of a *workload* without the number of blobs in its index."""
    return workload.split(",")[0]


def kept(rows: Sequence[Row], numbers: Path, *, part: bool) -> Sequence[Row]:
    """Keep *rows* in the file *numbers*, those of a *part* of the workloads together with what it has of the others."""
    if part and numbers.exists():
        new = {row.workload: row for row in rows}
        old = msgspec.json.decode(numbers.read_bytes(), type=list[Row])
        rows = [*(new.pop(row.workload, row) for row in old), *new.values()]
    numbers.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return rows


def write_parts(
    rows: Sequence[Row], names: Sequence[str], folder: Path, where: Path, rounds: int, *, quick: bool, part: bool
) -> None:
    """Write the page ``native-parts.md`` and its numbers, ``native-parts.json``, into *folder*; see `write`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = kept(rows, folder / "native-parts.json", part=part)
    page = PARTS_HEAD + parts_table(rows, names) + conditions(where, None, rounds, quick=quick, stored=False)
    (folder / "native-parts.md").write_text(page)


def parts_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """What each native part buys: processor time without it as a ratio to that of the whole program.

    Ratios of workloads for which a part pays are bold. The last line says which parts pay: a part pays for none only where all
    `NAMED` workloads were measured.
    """
    lines = ["| " + " | ".join(["workload", "all", *names]) + " |", "| --- " * (len(names) + 2) + "|"]
    paying = set()
    for row in rows:
        cells = [row.workload, f"{row.samples['ours'].cpu:.2f} s cpu"]
        for name in names:
            ratio = row.ratio(name, "ours", "cpu") if name in row.samples else 0.0
            shown = f"{ratio:.2f}" if ratio else ""
            if ratio >= PAYS:
                paying.add(name)
                shown = f"**{shown}**"
            cells.append(shown)
        lines.append("| " + " | ".join(cells) + " |")
    other = "**no**" if set(NAMED) <= {plain(row.workload) for row in rows} else "not known"
    lines.append("| " + " | ".join(["pays", "", *("yes" if name in paying else other for name in names)]) + " |")
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Medians of restic, and the others as ratios to it: wall clock, processor time, peak memory; bytes stored last."""
    header = ["workload", BASE, *names, "stored"]
    lines = ["| " + " | ".join(header) + " |", "| --- " * len(header) + "|"]
    for row in rows:
        base = row.samples[BASE]
        cells = [row.workload, f"{base.wall:.2f} s, {base.cpu:.2f} s cpu, {base.memory / 1e6:.0f} MB"]
        for name in names:
            if name not in row.samples:
                cells.append("")
                continue
            wall, cpu, memory = (row.ratio(name, BASE, what) for what in ("wall", "cpu", "memory"))
            # A process may have ended before anybody could look at its memory.
            cells.append(f"**{wall:.2f}** / {cpu:.2f} / " + (f"{memory:.2f}" if memory else "–"))
        stored = row.stored
        cells.append(f"{stored[names[0]] / stored[BASE]:.3f}" if stored else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def conditions(where: Path, disk: Path | None, rounds: int, *, quick: bool, stored: bool = True) -> str:
    """What the numbers were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    form = "Quick form" if quick else "Full form"
    on_disk = f" (on a disk: {_file_system(disk)})" if disk is not None else ""
    return (
        f"\n{form}: medians of {rounds} alternating runs after a warm-up (at most 3 for tiny files and indexes"
        + (", and the disk, 1 for a million files" if stored else "")
        + f"); {os.cpu_count()} cores ({model}), Python {platform.python_version()}, sources and repositories on "
        f"{_file_system(where.parent)}{on_disk}." + (" Stored: ours / restic, in bytes.\n" if stored else "\n")
    )


def _file_system(folder: Path) -> str:
    command = ["findmnt", "--first-only", "--noheadings", "--output", "FSTYPE", "--target", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def plot(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Wall clock as bars; the line at 1 is restic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    height = 0.8 / len(names)
    figure, axes = pyplot.subplots(figsize=(9, 0.45 * len(rows) + 1.2))
    for offset, name in enumerate(names):
        ratios = [row.ratio(name, BASE, "wall") if name in row.samples else 0.0 for row in rows]
        places = [number + offset * height for number in range(len(rows))]
        bars = axes.barh(places, ratios, height=height, label=name)
        axes.bar_label(bars, [f"{ratio:.2f}" if ratio else "" for ratio in ratios], padding=3, fontsize=8)
    axes.axvline(1.0, color="black", linewidth=1, label="restic 0.19.1")
    axes.set_yticks([number + height * (len(names) - 1) / 2 for number in range(len(rows))], [row.workload for row in rows])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("wall clock as a share of restic's (less is better)")
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
