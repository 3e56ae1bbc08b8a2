"""Shell completion: what is offered, and that bash takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from restic_tools.completion import BASH, SCRIPTS, complete
from restic_tools.registry import COMMANDS
from tests.tools.kit import Runner


def offered(*words: str) -> tuple[set[str], str]:
    *lines, directive = complete(words, described=False).splitlines()
    return set(lines), directive


@pytest.mark.parametrize(
    ("words", "expected", "directive"),
    [
        (["sn"], {"snapshots"}, ":4"),
        (["key", ""], {"add", "list", "passwd", "remove"}, ":4"),
        (["-r", "x", "--json", "key", "l"], {"list"}, ":4"),
        (["list", ""], {"blobs", "packs", "index", "snapshots", "keys", "locks"}, ":4"),
        (["cat", "ma"], {"masterkey"}, ":4"),
        (["ls", "--sort", "s"], {"size"}, ":4"),
        (["ls", "-s", "s"], {"size"}, ":4"),
        (["ls", "-ls", "s"], {"size"}, ":4"),
        (["ls", "--sort=s"], {"--sort=size"}, ":4"),
        (["ls", "--ncd"], {"--ncdu"}, ":4"),
        (["--compression", "fa"], {"fastest"}, ":4"),
        (["ls", "--password-f"], {"--password-file"}, ":4"),
        (["ls", "--json", ""], {"latest"}, ":4"),
        (["snapshots", "--password-file", ""], set(), ":0"),
        (["snapshots", "--password-file="], set(), ":0"),
        (["backup", "/et"], set(), ":0"),
        (["backup", "--", "-"], set(), ":0"),
        (["help", "k"], {"key"}, ":4"),
        (["help", "key", "p"], {"passwd"}, ":4"),
        (["nothing", "x"], set(), ":4"),
    ],
)
def test_what_is_offered(words: list[str], expected: set[str], directive: str) -> None:
    assert offered(*words) == (expected, directive)


def test_every_command_and_option_is_offered() -> None:
    from restic_tools.cli import load

    assert offered("")[0] == {entry.path[0] for entry in COMMANDS if not entry.hidden}
    for entry in COMMANDS:
        flags = {f"--{flag.name}" for flag in load(entry).flags if not flag.hidden}
        assert flags | {"--help", "--repo"} <= offered(*entry.path, "--")[0]


def test_the_answer_has_descriptions(run: Runner) -> None:
    assert run("__complete", "snap").out == b"snapshots\tList the snapshots\n:4\n"
    assert run("__completeNoDesc", "snap").out == b"snapshots\n:4\n"


def test_generate_writes_every_kind_of_file(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "man").mkdir()
    words = [word for shell in SCRIPTS for word in (f"--{shell}-completion", str(tmp_path / shell))]
    assert run("generate", *words, "--man", str(tmp_path / "man")).code == 0
    for shell, script in SCRIPTS.items():
        assert (tmp_path / shell).read_text() == script
    pages = {path.name for path in (tmp_path / "man").iterdir()}
    assert pages == {"restic-format.1"} | {f"restic-format-{'-'.join(entry.path)}.1" for entry in COMMANDS if not entry.hidden}
    page = (tmp_path / "man" / "restic-format-ls.1").read_text()
    assert page.startswith('.TH "RESTIC-FORMAT-LS"')
    assert ".SH OPTIONS" in page
    assert run("generate", "--fish-completion", "-").out.decode() == SCRIPTS["fish"]
    assert run("generate", "--man", str(tmp_path / "missing")).code == 1


def in_bash(line: str, environment: dict[str, str], folder: Path) -> list[str]:
    """What bash would offer at the end of ``line``."""
    bash = shutil.which("bash")
    assert bash is not None
    words = line.split(" ")
    script = f"""
{BASH}
restic-format() {{ "{sys.executable}" -m restic_tools "$@"; }}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
COMP_CWORD={len(words) - 1}
_restic_format
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        [bash, "--norc", "-c", script], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_bash(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    assert in_bash("restic-format sn", environment, tmp_path) == ["snapshots"]
    assert in_bash("restic-format ls --sort=ext", environment, tmp_path) == ["extension"]
    assert in_bash("restic-format backup a", environment, tmp_path) == ["a file"]
    assert in_bash("restic-format --password-file=a", environment, tmp_path) == ["a file"]
    assert in_bash("restic-format nothing ", environment, tmp_path) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_for_other_shells_are_well_formed(shell: str, tmp_path: Path) -> None:
    """Parsed by the shell where it is installed; their braces and quotes are counted anyway."""
    text = SCRIPTS[shell]
    assert text.count("'") % 2 == text.count('"') % 2 == 0
    assert text.count("(") == text.count(")")
    program = shutil.which(shell)
    if program is not None:
        (tmp_path / "script").write_text(text)
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True, env=dict(os.environ))
