"""Pictures of terminals for the documentation: each command runs in a real one of a fixed width, on a small repository.

    make pictures        or        .venv/bin/python scripts/pictures.py [name ...]

Writes docs/assets/terminal/NAME.svg. What the commands print (ids, sizes) is what they printed in that run.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import random
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Path(sys.executable).with_name("restic-format")
TARGET = ROOT / "docs" / "assets" / "terminal"
COLUMNS = 112

PICTURES: dict[str, list[str]] = {
    "find": ["restic-format find --long '*.csv'", "restic-format find --newest '2026-03-01 23:59:59' notes.md"],
    "diff": ["restic-format diff latest~1 latest", "restic-format diff latest project"],
    "dump": [
        "restic-format dump latest /project/notes.md",
        "restic-format dump --target project.tar.zst latest /project",
        "tar --list --verbose --file project.tar.zst",
    ],
    "stats": ["restic-format stats --mode raw-data", "restic-format stats --mode restore-size latest"],
    "du": ["restic-format du", "restic-format du latest"],
    "overview": ["restic-format overview --top 3"],
    "inspect": ["restic-format inspect latest"],
}
"""The command lines that each picture shows, one after the other."""

SCREENS: dict[str, str] = {
    "explore": "down space enter enter enter end up space",
    "explore-bytes": "down enter b end enter end enter down enter down enter",
}
"""The keys that lead to each picture of the explorer."""

# No fonts from elsewhere: a page that is read offline looks the same.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def in_terminal(line: str, folder: Path, env: dict[str, str]) -> str:
    """What a command line shows in a terminal, both streams."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        shlex.split(line), cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    shown = bytearray()
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # the last one who had the terminal open is gone
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    if process.wait():
        raise SystemExit(f"{line}: exit code {process.returncode}\n{shown.decode(errors='replace')}")
    # What a progress line wrote over is not seen.
    lines = shown.decode(errors="replace").replace("\r\n", "\n").replace("\x1b[2K", "").split("\n")
    return "\n".join(text.rsplit("\r", 1)[-1] for text in lines).strip("\n")


def make_source(project: Path) -> None:
    """A small project."""
    rng = random.Random(10)
    (project / "data").mkdir(parents=True)
    (project / "notes.md").write_text("# Notes\n\nThe measurements of March.\n")
    for month in ("january", "february", "march"):
        rows = "\n".join(f"{day},{rng.random():.4f}" for day in range(1, 4000))
        (project / "data" / f"{month}.csv").write_text(f"day,value\n{rows}\n")
    (project / "data" / "raw.bin").write_bytes(rng.randbytes(3 << 20))
    for path in project.rglob("*"):
        date(path, 1)


def change_source(project: Path) -> None:
    """A day's work."""
    (project / "notes.md").write_text("# Notes\n\nThe measurements of March.\nChecked on the second.\n")
    (project / "data" / "january.csv").unlink()
    (project / "data" / "summary.csv").write_text("month,mean\nfebruary,0.51\nmarch,0.49\n")
    (project / "report.txt").symlink_to("notes.md")
    for name in ("notes.md", "data", "data/summary.csv", "report.txt", "."):
        date(project / name, 2)


def date(path: Path, day: int) -> None:
    """Let something be last changed on a day of March."""
    changed = datetime(2026, 3, day, 18, 30, tzinfo=UTC).timestamp()
    os.utime(path, (changed, changed), follow_symlinks=False)


def explorer_screen(repository: str, password: str, keys: str) -> str:
    """The screen of the explorer after some keys, as SVG, with fonts of the reader's system."""
    from restic_format.repository import Repository
    from restic_format.storage import LocalStorage
    from restic_tools.own.explore.model import Model
    from restic_tools.own.explore.screen import Explorer

    opened = Repository.open(LocalStorage(repository), password)
    opened.load_index()

    async def picture() -> str:
        with Model(opened) as model:
            explorer = Explorer(model)
            async with explorer.run_test(size=(100, 24)) as pilot:
                for key in ["", *keys.split()]:
                    if key:
                        await pilot.press(key)
                    # A key works on what the one before has brought to the screen.
                    await pilot.pause(0.5)
                svg = explorer.export_screenshot(title="restic-format explore")
            explorer.finish()
        return svg

    svg = re.sub(r"@font-face \{.*?\}", "", asyncio.run(picture()), flags=re.DOTALL)
    return svg.replace("Fira Code", "DejaVu Sans Mono")


def main() -> None:
    """Make the pictures that are named, or all."""
    names = sys.argv[1:] or [*PICTURES, *SCREENS]
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        env = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}
        env |= {
            "PATH": f"{COMMAND.parent}{os.pathsep}{env['PATH']}",
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD": "only a picture",
            "RESTIC_HOST": "workstation",
            "TERM": "xterm-256color",
            "TZ": "UTC",
        }

        def quietly(*words: str) -> None:
            subprocess.run([COMMAND, "-q", *words], cwd=folder, env=env, check=True)

        quietly("init")
        make_source(folder / "project")
        for day in (1, 2):
            quietly("backup", "--time", f"2026-03-0{day} 20:00:00", "--tag", "nightly", "project", "--as-path", "/project")
            if day == 1:
                change_source(folder / "project")
        (folder / "project" / "data" / "march.csv").write_text("day,value\n")
        for name in names:
            if name in SCREENS:
                svg = explorer_screen(env["RESTIC_REPOSITORY"], env["RESTIC_PASSWORD"], SCREENS[name])
                (TARGET / f"{name}.svg").write_text(svg)
                print(TARGET / f"{name}.svg")
                continue
            console = Console(width=COLUMNS, record=True, file=io.StringIO(), color_system="truecolor", force_terminal=True)
            for number, line in enumerate(PICTURES[name]):
                shown = in_terminal(line, folder, env).replace(str(folder), "/home/ada")
                console.print(Text("\n" * bool(number) + f"$ {line}", style="bold"))
                console.print(Text.from_ansi(shown))
            console.save_svg(
                str(TARGET / f"{name}.svg"), title=f"restic-format {name}", code_format=SVG, unique_id=f"terminal-{name}"
            )
            print(TARGET / f"{name}.svg")


if __name__ == "__main__":
    main()
