"""Fill in what commands print in the guide: ``python scripts/transcripts.py``.

Each block ``console`` of the pages below is a transcript: lines that begin with ``$``, and what they print. Commands run in a
folder with unpacked fixtures. Where a block leaves lines out, at a line ``…``, as many stay before and behind it as there are.
A test fails when a page differs from what the commands print.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "conformance")]

from restic_conformance import fixtures  # noqa: E402 (needs the path set above)

PAGES = ("docs/guide/inspect.md", "docs/guide/damaged.md")
FIXTURES = {
    "backup": ("restic-0.19-v2",),
    "damaged": ("data-blob-flip",),
    "hurt": ("data-blob-flip", "index-truncated"),
    "cut": ("restic-0.19-v2",),
}
"""The folders that the pages speak of, and which fixture each is; what further damaged ones do is done to it, too."""
STEPS = {
    "cut": {
        "do": "truncate",
        "path": "data/7b/7b53756a0e91ae5f179caedc48127d34007ac3d00493a9052f33e95970fdea59",
        "size": 45_000,
    }
}
"""What is done to some of them besides."""

COLUMNS = 112
"""Of the terminal that the commands run in: as many as the pictures of terminals have."""
LEFT_OUT = "…"
_NEW = re.compile(r"(?<=\bnew snapshot )[0-9a-f]{8}\b")
_RUN = re.compile(r"\b\d{8}T\d{12}-[0-9a-f]{6}\b")
"""The id of a snapshot that a repair makes, and the name of a repair, which has the time in it: pages have fixed ones."""
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)


def filled(page: str) -> str:
    """*page* (its text) with what its commands print now."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, (fixture, *more) in FIXTURES.items():
            repository = fixtures.unpack(fixture, folder / "fixtures" / name)
            for damage in more:
                fixtures.apply(fixtures.describe_damage(damage).steps, repository)
            if name in STEPS:
                fixtures.apply((STEPS[name],), repository)
            repository.rename(folder / name)
        settings = {"RESTIC_REPOSITORY": "backup", "RESTIC_PASSWORD": fixtures.describe("restic-0.19-v2").passwords[0]}
        return _BLOCK.sub(lambda block: _transcript(block[0], folder, settings), page)


def _transcript(block: str, folder: Path, settings: dict[str, str]) -> str:
    """The *block* with new output. Lines ``$ export`` change the *settings* from there on, and so do those before a command."""
    pieces = re.split(r"^(\$ .*\n)", block, flags=re.MULTILINE)
    lines = [pieces[0]]
    for command, shown in zip(pieces[1::2], pieces[2::2], strict=True):
        lines.append(command)
        words = shlex.split(command[2:], comments=True)
        if words[:1] == ["export"]:
            for word in words[1:]:
                name, _, value = word.partition("=")
                settings[name] = value
        elif words[:1] == ["restic-format"] and shown:
            lines.append(_abridged(_run(words[1:], folder, settings), shown))
        else:
            lines.append(shown)
    return "".join(lines)


def _run(arguments: list[str], folder: Path, settings: dict[str, str]) -> str:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC"}
    environment |= {"RESTIC_CACHE_DIR": str(folder / "cache"), **settings}
    environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("", "spec", "tools"))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "restic_tools", "-q", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    os.close(slave)
    shown = bytearray()
    with contextlib.suppress(OSError):  # what reading gives when the last one who had the terminal open is gone
        while piece := os.read(master, 1 << 16):
            shown += piece
    os.close(master)
    process.wait()
    text = _STYLE.sub("", shown.decode().replace("\r\n", "\n"))
    return _NEW.sub("1263a3e3", _RUN.sub("20261126T161659295659-4f9f3a", text))


def _abridged(printed: str, before: str) -> str:
    """What was *printed*, with lines left out where *before* did so."""
    old, new = before.splitlines(), [line.rstrip() for line in printed.splitlines()]
    if LEFT_OUT in old:
        first, last = old.index(LEFT_OUT), len(old) - old.index(LEFT_OUT) - 1
        if len(new) > first + last:
            new = [*new[:first], LEFT_OUT, *new[len(new) - last :]]
    return "".join(f"{line}\n" for line in new)


def main() -> None:
    """Write the pages again."""
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
