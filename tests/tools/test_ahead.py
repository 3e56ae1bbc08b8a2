"""What begins before the command is imported: the derivation of the key that the command will ask for, or nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.native import scrypt
from restic_format.repository import Repository, keys
from restic_format.storage import LocalStorage
from restic_spec.keyfile import Kdf
from restic_tools import ahead
from tests.tools.kit import PASSWORD, Runner, new_repository, quick_kdf

Begun = list[tuple[object, ...]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_repository(tmp_path / "repo")
    return tmp_path / "repo"


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """What is begun, without doing it."""
    calls: Begun = []
    monkeypatch.setattr(scrypt, "begin", lambda *arguments: calls.append(arguments))
    return calls


def expected(folder: Path, name: str | None = None) -> tuple[object, ...]:
    """The derivation for a key file, the first by default."""
    name = name or sorted(path.name for path in (folder / "keys").iterdir())[0]
    key = json.loads((folder / "keys" / name).read_bytes())
    return PASSWORD.encode(), base64.b64decode(key["salt"]), key["N"], key["r"], key["p"]


def change(folder: Path, **fields: object) -> None:
    """Change members of the only key file."""
    (path,) = (folder / "keys").iterdir()
    path.chmod(0o600)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


@pytest.mark.parametrize(
    "words",
    [
        ["-r", "{}"],
        ["-r{}"],
        ["--repo={}", "--json"],
        ["--unknown", "--repo", "{}"],
        ["-x", "latest", "--repo", "{}", "-vv"],
        ["--repo", "local:{}"],
        ["--pack-size", "many", "--repo", "{}"],
    ],
)
def test_the_key_that_a_command_line_points_to(
    words: list[str], folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ahead.begin([word.format(folder) for word in words])
    assert begun == [expected(folder)]


def test_the_environment_may_say_everything(
    folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    ahead.begin([])
    assert begun == [expected(folder)]


def test_of_several_keys_the_one_that_is_tried_first(folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    for _ in range(3):
        keys.add_key(repo.storage, repo.master_key, b"another", kdf=quick_kdf())
    names = sorted(path.name for path in (folder / "keys").iterdir())
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ahead.begin(["-r", str(folder)])
    ahead.begin(["-r", str(folder), "--key-hint", names[2][:10]])
    assert begun == [expected(folder, names[0]), expected(folder, names[2])]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-r", "{}/missing"],
        ["-r", "{}", "--help"],
        ["-r", "{}", "--insecure-no-password"],
        ["-r", "{}", "--password-command", "false"],
        ["-r", "{}", "--repository-file", "{}/config"],
        ["-r", "{}", "--quiet", "--verbose"],
    ],
)
def test_nothing_begins_where_it_is_not_easily_told(
    words: list[str], folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ahead.begin([word.format(folder) for word in words])
    assert begun == []


def test_nothing_begins_without_a_password(folder: Path, begun: Begun) -> None:
    ahead.begin(["-r", str(folder)])
    assert begun == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kdf": "argon2"},
        {"N": 1},
        {"N": 1000},
        {"N": 1 << 17},
        {"N": "1024"},
        {"N": -1024},
        {"r": 0},
        {"r": 1 << 20},
        {"p": 0},
        {"p": 17},
        {"salt": "*"},
        {"salt": None},
    ],
)
def test_nothing_begins_with_unusual_costs(
    fields: dict[str, object], folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(folder, **fields)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ahead.begin(["-r", str(folder)])
    assert begun == []


def test_a_damaged_key_file_is_left_to_the_command(folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (folder / "keys").iterdir()
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ahead.begin(["-r", str(folder)])
    assert begun == []


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """Every derivation that is done."""
    calls: Begun = []
    derive: Callable[..., bytes] = scrypt._derive
    monkeypatch.setattr(scrypt, "_derive", lambda *arguments: calls.append(arguments) or derive(*arguments))
    return calls


def test_a_command_derives_its_key_once(folder: Path, run: Runner, derived: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    assert run("-r", str(folder), "cat", "config").code == 0
    assert derived == [expected(folder)]


def test_a_wrong_password_is_said_as_ever(folder: Path, run: Runner, derived: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    outcome = run("-r", str(folder), "cat", "config")
    assert (outcome.code, len(derived)) == (12, 1)
    assert outcome.err == b"Fatal: wrong password or no key found\n"


def test_costs_beyond_bounds_are_refused_as_ever(folder: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    change(folder, N=1 << 40)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    assert run("-r", str(folder), "cat", "config").code == 12


def test_the_costs_of_new_keys_are_usual(folder: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    kdf = keys.calibrate()
    assert isinstance(kdf, Kdf)
    change(folder, N=kdf.N, r=kdf.r, p=kdf.p)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    ahead.begin(["-r", str(folder)])
    assert begun == [expected(folder)]
