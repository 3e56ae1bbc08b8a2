"""The ignore file of git's user is the one that git itself uses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from restic_tools.gitconfig import git_user_file


@pytest.mark.parametrize(
    "text",
    [
        "[core]\n\texcludesFile = /a/b\n",
        '[Core] EXCLUDESFILE="/a b/#c" ; comment\n',
        "[core]\nexcludesfile = ~/ignored # comment\n",
        "[core]\nexcludesfile = /first\n[user]\nexcludesfile = /no\n[core]\n excludesfile = /sec\\\nond\n",
        '[core "sub"]\nexcludesfile = /no\n',
        '[core]\nexcludesfile = "/with \\"quotes\\" and \\\\"/x\n',
        '[core]\nexcludesfile = "/space " \n',
        '[core]\nexcludesfile = "/a"  b  ; comment\n',
        "[core]\nexcludesfile = a\\tb\n",
        "\ufeff[core]\nexcludesfile = /mark\n",
        "[core]\nexcludesfile = /a\x0cb\x85c\n",
        "# nothing\n[user]\nname = n\n",
        "",
    ],
)
@pytest.mark.parametrize("where", [".gitconfig", ".config/git/config"])
def test_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, where: str) -> None:
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_text(text, "utf-8")
    asked = subprocess.run(
        ["git", "config", "--get", "--path", "core.excludesFile"], cwd=tmp_path, stdout=subprocess.PIPE, check=False
    )
    named = os.fsdecode(asked.stdout).removesuffix("\n")
    assert git_user_file() == (named if asked.returncode == 0 else f"{tmp_path}/.config/git/ignore")


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert git_user_file() == f"{tmp_path}/xdg/git/ignore"
    (tmp_path / ".gitconfig").write_text("[core]\nexcludesFile = /one\n")
    (tmp_path / "other").write_text("[core]\nexcludesFile = /two\n")
    assert git_user_file() == "/one"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "other"))
    assert git_user_file() == "/two"
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    assert git_user_file() == ""
