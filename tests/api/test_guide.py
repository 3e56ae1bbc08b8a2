"""The guide of the library: every example runs, is typed, and together they show all of the public face.

The blocks of the page are one program, so a collector of our own is a few lines; the plugins for this run each block by
itself, or need marks on the page that readers would see.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import restic_format
from restic_format import OpenRepository, SnapshotFiles

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "guide" / "library.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program() -> str:
    """The blocks of the page, each on its own lines."""
    text = PAGE.read_text()
    lines = [""] * text.count("\n")
    for block in _BLOCK.finditer(text):
        first = text[: block.start(1)].count("\n")
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the reader of the page has: two folders and a password."""
    monkeypatch.chdir(tmp_path)
    Path("password.txt").write_text("open sesame\n")
    for name in ("documents", "pictures"):
        Path(name).mkdir()
    Path("documents/notes.txt").write_text("Remember the milk.\n" * 10)
    Path("documents/current").symlink_to("notes.txt")
    Path("documents/draft.tmp").write_text("no")
    Path("pictures/cat.jpg").write_bytes(os.urandom(100_000))
    pandas.DataFrame({"number": range(10)}).to_parquet("documents/table.parquet")
    return tmp_path


def test_every_example_runs(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "spec")])
    # As a file of this name, so that a traceback shows the line of the page.
    code = f"import sys; exec(compile(sys.stdin.read(), {str(PAGE)!r}, 'exec'), {{'__name__': '__main__'}})"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        input=program(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "no such folder" in done.stdout
    assert "somebody reads" in done.stdout
    assert (folder / "restored" / "notes.txt").exists()
    assert not (folder / "restored" / "draft.tmp").exists()
    assert not list((folder / "backup" / "locks").iterdir())


@pytest.mark.slow
def test_every_example_is_typed(tmp_path: Path) -> None:
    script = tmp_path / "guide.py"
    script.write_text(program())
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--disable-error-code=import-untyped",
            f"--cache-dir={tmp_path / 'cache'}",
            "--config-file=",
            str(script),
        ],
        env={**os.environ, "MYPYPATH": os.pathsep.join([str(ROOT), str(ROOT / "spec")])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_show_everything() -> None:
    words = set(re.findall(r"\w+", program()))
    text = set(re.findall(r"\w+", PAGE.read_text()))
    assert set(restic_format.__all__) - {"__version__"} <= words
    for kind in (OpenRepository, SnapshotFiles):
        methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        assert methods <= words, kind
    for function in (restic_format.open_repository, restic_format.create_repository):
        described = set(inspect.signature(function).parameters) - {
            "key_hint",
            "options",
            "compression",
            "pack_size",
            "location",
        }
        assert described - {"version"} <= text
