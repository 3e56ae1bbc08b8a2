"""The bench's page (Markdown) and plot (SVG) for the documentation."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Row

BASE = "restic"

HEAD = """# Speed

Made by `make bench`: our program and restic 0.19.1 as whole processes, start-up and key derivation included, in turns in one
run. Ratios are ours / restic; less is better.

"""

FOOT = """
![Wall clock of our program as a share of restic's](performance.svg)

What the compiled kernels do, and what was tried, is in the [decision on them](decisions/0007-engine-kernel.md).
"""


def write(rows: Sequence[Row], folder: Path, where: str, rounds: int, *, quick: bool) -> None:
    """Write the page ``performance.md`` and its picture ``performance.svg`` into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in rows[0].samples if name != BASE]
    (folder / "performance.md").write_text(HEAD + table(rows, names) + conditions(where, rounds, quick=quick) + FOOT)
    plot(rows, names, folder / "performance.svg")


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Medians of restic, and the others as ratios to it: wall clock, processor time, peak memory."""
    header = ["workload", "restic", *(f"{name}: wall" for name in names), *(f"{name}: cpu" for name in names)]
    header += [*(f"{name}: memory" for name in names), "stored"]
    lines = ["| " + " | ".join(header) + " |", "| --- " * len(header) + "|"]
    for row in rows:
        base = row.samples[BASE]
        cells = [row.workload, f"{base.wall:.2f} s, {base.memory / 1e6:.0f} MB"]
        cells += [f"**{row.ratio(name, BASE, 'wall'):.2f}**" for name in names]
        cells += [f"{row.ratio(name, BASE, what):.2f}" for what in ("cpu", "memory") for name in names]
        stored = row.stored
        cells.append(f"{stored[names[0]] / stored[BASE]:.3f}" if stored else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def conditions(where: str, rounds: int, *, quick: bool) -> str:
    """What the numbers were taken on."""
    system = subprocess.run(
        ["stat", "-f", "-c", "%T", os.path.dirname(where)], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    form = "Quick form" if quick else "Full form"
    return (
        f"\n{form}: medians of {rounds} alternating runs after a warm-up; {os.cpu_count()} cores ({model}), "
        f"Python {platform.python_version()}, sources and repositories on {system}.\n"
    )


def plot(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Wall clock as bars; the line at 1 is restic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    height = 0.8 / len(names)
    figure, axes = pyplot.subplots(figsize=(9, 0.45 * len(rows) + 1.2))
    for offset, name in enumerate(names):
        ratios = [row.ratio(name, BASE, "wall") for row in rows]
        places = [number + offset * height for number in range(len(rows))]
        bars = axes.barh(places, ratios, height=height, label=name)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.axvline(1.0, color="black", linewidth=1, label="restic 0.19.1")
    axes.set_yticks([number + height * (len(names) - 1) / 2 for number in range(len(rows))], [row.workload for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("wall clock, ours / restic (less is better)")
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
