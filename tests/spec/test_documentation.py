"""What the guide shows works: its Python runs, its commands and options exist."""

import importlib
import re
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.keyfile import Kdf
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node, encode_tree
from restic_tools.cli import main
from restic_tools.registry import PREFIXES

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PAGES = sorted(GUIDE.glob("*.md"))


def _blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def test_python_examples(tmp_path, capsys):
    location = str(tmp_path / "backup")
    repo = Repository.init(LocalStorage(location), "password", kdf=Kdf(2, 1, 1, bytes(64)))
    writer = repo.writer()
    tree = writer.save_blob(BlobType.TREE, encode_tree([Node(quoted="notes", type="file", content=[])]))
    writer.flush()
    repo.save_snapshot(Snapshot(time="2026-01-02T03:04:05Z", tree=tree.id.hex(), paths=["/home/me"]))
    # Those of the page about the library are one program, see tests/api/test_guide.py.
    examples = [block for page in PAGES if page.stem != "library" for block in _blocks(page, "python")]
    assert len(examples) == 2
    for example in examples:
        exec(compile(example.replace("/srv/backup", location), "guide", "exec"), {})
    printed = capsys.readouterr().out
    assert "('daily snapshot', 'weekly snapshot')" in printed
    assert "bytes became free" in printed


def _commands():
    for page in PAGES:
        for block in _blocks(page, "console"):
            for line in block.splitlines():
                words = line.removeprefix("$ ").split()
                if words and Path(words[0]).name == "restic-format":
                    command = words[1:3] if tuple(words[1:3]) in PREFIXES else words[1:2]
                    yield pytest.param(command, [word for word in words if word.startswith("--")], id=" ".join(words[1:3]))


@pytest.mark.parametrize(("command", "options"), list(_commands()))
def test_commands_and_options_exist(command, options, capsys):
    assert main([*command, "--help"]) == 0
    told = capsys.readouterr().out
    for option in options:
        assert re.search(rf"{option}\b", told), f"{' '.join(command)} has no {option}"


def test_transcripts_show_what_the_commands_print(project_root, monkeypatch):
    monkeypatch.syspath_prepend(str(project_root / "scripts"))
    transcripts = importlib.import_module("transcripts")
    for name in transcripts.PAGES:
        page = (project_root / name).read_text(encoding="utf-8")
        assert page.count("```console") >= 8
        assert page.count("\n…\n") < page.count("```console")
        assert transcripts.filled(page).splitlines() == page.splitlines(), f"{name}: run scripts/transcripts.py"
