"""``protect``: its lines and messages, no password, and that real restic takes no notice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tools.kit import Filled, Runner


@pytest.fixture
def repo(filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(filled.folder, tmp_path / "protected")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    return folder


def packs(repo: Path) -> list[Path]:
    return sorted((repo / "data").glob("*/*"))


def last(output: bytes) -> dict[str, object]:
    found = json.loads(output.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_it_protects_what_is_new_without_a_password(
    repo: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.delenv("RESTIC_PASSWORD")
        dry = run("protect", "-n")
        assert dry.code == 0 and dry.out.startswith(b"would make 2 parity files: ") and not (repo / "parity").exists()
        done = run("protect")
        assert done.code == 0 and b" 2 parity files made, 0 removed\nprotected: " in done.out
        assert run("protect").out.startswith(b"0 new files, 0 B read, 0 parity files made, 0 removed\n")
        checked = run("protect", "--check")
        assert checked.code == 0 and checked.out.endswith(b"\nall parity is intact\n")
    assert restic_here("check", "--read-data").code == 0
    assert restic_here("prune").code == 0
    assert run("protect", "--check").code in (0, 1)
    assert len(list((repo / "parity").iterdir())) == 2


def test_what_is_not_protected_is_named(repo: Path, run: Runner) -> None:
    pack = packs(repo)[0]
    content = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))
    done = run("protect")
    assert done.code == 1 and f"not protected: data/{pack.parent.name}/{pack.name}: is damaged".encode() in done.err
    assert b"Fatal: 1 files could not be protected: run diagnose\n" in done.err
    done = run("protect", "--json")
    problem = json.loads(done.out.splitlines()[0])
    assert done.code == 1 and (problem["message_type"], problem["problem"]) == ("problem", "unprotected")
    assert last(done.out)["files_unprotected"] == 1
    checked = run("protect", "--check")
    assert checked.code == 1 and b"1 files have no parity, run protect:\n" in checked.err and pack.name.encode() in checked.err
    pack.write_bytes(content)
    assert run("protect").code == 0 and run("protect", "--check").code == 0


def test_files_that_are_gone_and_damaged_parity_are_told(repo: Path, run: Runner) -> None:
    assert run("protect", "--overhead", "20%").code == 0
    pack = packs(repo)[0]
    pack.unlink()
    told = run("protect")
    assert told.code == 0 and b"1 files that have parity are gone:\n  data/" in told.err
    told = run("protect", "--json")
    assert json.loads(told.out.splitlines()[0])["problem"] == "missing" and last(told.out)["files_missing"] == 1
    assert run("protect", "--check").code == 0
    assert b"gone" not in run("protect", "--forget-missing").err
    assert run("protect", "--check").out.endswith(b"all parity is intact\n")
    parity = next((repo / "parity").glob("*.parity"))
    parity.chmod(0o600)
    parity.write_bytes(parity.read_bytes()[:-9])
    checked = run("protect", "--check")
    assert checked.code == 1 and f"{parity.name}: 1 of its ".encode() in checked.err and b"run protect --renew" in checked.err
    assert last(run("protect", "--check", "--json").out)["parity_files_damaged"] == 1
    assert run("protect", "--renew").code == 0 and run("protect", "--check").code == 0


def test_parity_elsewhere(repo: Path, run: Runner, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert run("protect", "--to", str(elsewhere)).code == 0
    assert not (repo / "parity").exists() and len(list(elsewhere.iterdir())) == 2
    assert run("protect", "--check").code == 1 and run("protect", "--check", "--to", str(elsewhere)).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--overhead 0.5", "parity can be from 1% to 100% of what it protects"),
        ("--overhead 101", "parity can be from 1% to 100% of what it protects"),
        ("--overhead -1", "not a number of percent"),
        ("--overhead nan", "not a number of percent"),
        ("--check --renew", "--check cannot be used together"),
        ("--check -n", "--check cannot be used together"),
        ("--to rest:http://127.0.0.1:1/x", "keeps no files: name another place for them"),
    ],
)
def test_senseless_options_are_refused(repo: Path, run: Runner, words: str, told: str) -> None:
    done = run("protect", *words.split())
    assert done.code == 1 and told.encode() in done.err and not (repo / "parity").exists()


def test_where_there_is_no_repository(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "nothing"))
    done = run("protect")
    assert done.code == 10 and b"repository does not exist" in done.err and not (tmp_path / "nothing").exists()


def test_a_repository_whose_config_is_lost_keeps_its_parity(repo: Path, run: Runner) -> None:
    assert run("protect").code == 0
    (repo / "config").unlink()
    assert run("protect").code == 10
    told = run("protect", "--check")
    assert told.code == 0 and b"\n  config\n" in told.err


def test_a_config_that_has_changed_is_told(repo: Path, run: Runner) -> None:
    assert run("protect").code == 0
    config = repo / "config"
    data = config.read_bytes()
    config.chmod(0o600)
    config.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
    told = run("protect")
    assert b"\n  config\n" in told.err and b"the config is damaged: run diagnose" in told.err


def test_parity_is_not_kept_among_the_files_of_a_repository(repo: Path, run: Runner) -> None:
    before = sorted(repo.iterdir())
    for place in (repo, repo / "data"):
        done = run("protect", "--to", str(place))
        assert done.code == 1 and b"among the files of a repository" in done.err
    assert sorted(repo.iterdir()) == before


def test_backup_protects_what_it_has_stored(repo: Path, run: Runner, filled: Filled) -> None:
    done = run("backup", str(filled.source), "--protect")
    assert done.code == 0 and b" saved\n" in done.out and b"\nprotected: " in done.out
    assert run("protect").out.startswith(b"0 new files, ")
    said = [json.loads(line) for line in run("backup", str(filled.source), "--protect", "--json").out.splitlines()]
    assert [message["message_type"] for message in said][-2:] == ["summary", "protect_summary"]
    assert said[-1]["files_new"] > 0 and run("protect", "--check").code == 0
    assert run("backup", str(filled.source), "--protect", "--dry-run").code == 1
