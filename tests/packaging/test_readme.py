"""What the README tells people to type exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from restic_tools.registry import BY_PATH, GROUPS

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
    assert named <= {path[0] for path in BY_PATH} | set(GROUPS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_paths(project_root: Path, document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (project_root / document).read_text()):
        if not target.startswith("http"):
            assert (project_root / target).exists(), target


def test_the_commands_the_readme_lists_are_all_there_are(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    table = readme.split("## What works today")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `([a-z ]+)`", table, re.MULTILINE))
    assert listed == {path[0] for path in BY_PATH}
