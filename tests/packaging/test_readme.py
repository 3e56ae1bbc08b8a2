"""What the README tells people to type exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from restic_tools.registry import COMMANDS, GROUPS, PREFIXES

DOCUMENTS = ("README.md", "CONTRIBUTING.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_targets_of_make(project_root: Path, document: str) -> None:
    listed = subprocess.run(["make", "help"], cwd=project_root, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make (\w+)", listed, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", (project_root / document).read_text()))
    assert named
    assert named <= targets


def test_commands(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    named = {words[0] for words in (line.split() for line in re.findall(r"restic-format ([a-z].*)", readme))}
    assert named
    assert named <= {path[0] for path in PREFIXES} | set(GROUPS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_paths(project_root: Path, document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (project_root / document).read_text()):
        if not target.startswith("http"):
            assert (project_root / target).exists(), target


def test_the_commands_the_readme_lists_are_all_there_are(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    table = readme.split("## What works today")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    listed = {tuple(words.split()) for cell in cells for words in re.findall(r"`([a-z -]+)`", cell)}
    assert [words for words in listed if words not in PREFIXES] == []
    visible = [entry.path for entry in COMMANDS if not entry.hidden]
    assert [path for path in visible if not {path, path[:1]} & listed] == []


def test_the_example_in_python_runs(project_root: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    env = {**os.environ, "RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": "password", "HOME": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join(str(project_root / folder) for folder in (".", "spec", "tools"))
    (tmp_path / "file").write_text("content")

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout

    python("-m", "restic_tools", "init")
    python("-m", "restic_tools", "backup", "file")
    (example,) = re.findall(r"```python\n(.*?)```", (project_root / "README.md").read_text(), re.DOTALL)
    assert "/srv/backup" in example
    printed = python("-c", example.replace("/srv/backup", str(repository)))
    assert re.fullmatch(rf"[0-9a-f]{{8}} \S+ \['{re.escape(str(tmp_path))}/file'\]\n", printed)
