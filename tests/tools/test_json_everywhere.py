"""``--json`` for every command: standard output is JSON, a message a line or one document, and an error is a message, too."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from restic_tools.registry import COMMANDS, Entry
from tests.mount.kit import detach, is_mounted, until
from tests.tools.kit import PASSWORD, Filled, Runner

LINES: dict[str, list[str]] = {
    "backup": [
        "backup {source} --tag new",
        "backup {source} -vv --dry-run",
        "backup {source} --delete-after 3d --label x",
        "backup {source} --verify",
    ],
    "cache": ["cache", "cache --cleanup", "cache --no-size"],
    "cat": ["cat config", "cat masterkey", "cat snapshot latest", "cat tree latest~1"],
    "check": ["check", "check --read-data -vv"],
    "config": ["config", "config --set-compression 3 --set-datapack-size 5MiB"],
    "copy": [
        "copy -r {new} --from-repo {repo} --from-password-file {pw} -vv",
        "copy {first} --from-repo {repo} --from-password-file {pw}",
    ],
    "diagnose": ["diagnose", "diagnose --sealed"],
    "diagnose merge": ["diagnose --shard 1/1 --resume {target}/share", "diagnose merge {target}/share"],
    "diff": ["diff {first} {second} --metadata", "diff {second} {second}", "diff {first} {source}"],
    "overview": ["overview", "overview latest --top 3"],
    "du": ["du", "du latest", "du --by-type --top 2", "du {first} {second}"],
    "dump": ["dump latest / --target {target}/all.tar", "dump latest / -a zip -t {target}/all"],
    "explore": ["explore"],
    "features": ["features"],
    "find": ["find *.txt", "find nothing", "find --pack {pack}", "find --blob 12345678"],
    "forget": [
        "forget --keep-last 1",
        "forget --keep-last 1 --dry-run --prune -vv",
        "forget {first} {second}",
        "forget --keep-last 1 --prune --max-unused 0",
    ],
    "generate": ["generate --bash-completion - --man {target}", "generate --zsh-completion {target}/z"],
    "heal": ["heal", "heal --dry-run", "heal --undo --yes", "heal --forget-quarantine --yes"],
    "help": ["help", "help backup", "help key"],
    "init": ["init -r {new}"],
    "inspect": ["inspect config latest", "inspect pack/{pack} --depth 0", "inspect {repo}/config --sealed", "inspect {pack}"],
    "key add": ["key add --new-password-file {pw} --host h"],
    "key list": ["key list"],
    "key passwd": ["key passwd --new-insecure-no-password"],
    "key remove": ["key remove {key} --key-hint {old}"],
    "list": [f"list {kind}" for kind in ("blobs", "packs", "index", "snapshots", "keys", "locks")],
    "ls": ["ls latest", "ls --long latest~1 --recursive"],
    "merge": ["merge", "merge --dry-run", "merge --delete {first} {second}"],
    "migrate": ["migrate", "migrate upgrade_repo_v2", "migrate nonsense"],
    "mount": ["mount {target}"],
    "options": ["options"],
    "protect": ["protect", "protect --dry-run --overhead 10", "protect --to {target}"],
    "prune": ["prune", "prune -n -vv", "prune --lock-free", "prune --max-unused 0 --repack-smaller-than 1M"],
    "rebuild-index": ["rebuild-index"],
    "recover": ["recover", "recover -v"],
    "repair index": ["repair index", "repair index --read-all-packs -vv"],
    "repair packs": ["repair packs {pack}"],
    "repair snapshots": ["repair snapshots", "repair snapshots --forget -vv"],
    "repo-info": ["repo-info", "repo-info --only-files"],
    "repoinfo": ["repoinfo --only-index"],
    "restore": ["restore latest --target {target}", "restore latest --target {target} -vv --dry-run"],
    "rewrite": ["rewrite --exclude a.txt", "rewrite -e a.txt -n -vv", "rewrite --new-host n --forget", "rewrite -s"],
    "self-update": ["self-update"],
    "serve": ["serve --path {target} --no-auth --listen unix:socket"],
    "show-config": ["show-config"],
    "snapshots": ["snapshots", "snapshots latest", "snapshots --group-by host --compact"],
    "stats": ["stats", "stats --mode raw-data latest", "stats --mode blobs-per-file", "stats --mode files-by-contents"],
    "tag": ["tag --add q", "tag --set ''", "tag --set-delete-never {first}"],
    "unlock": ["unlock", "unlock --remove-all"],
    "version": ["version"],
}
"""Lines for each command; words in braces are those of `places`."""

WITHOUT_REPOSITORY = {"cache", "features", "generate", "help", "options", "self-update", "serve", "version"}
GOES_ON = {"diagnose"}
"""What works all the same in a repository without its config."""
REFUSED = {"explore", "self-update"}
"""A screen has no messages, and what is not done has none."""
TEXT_OF_RESTIC = {"forget {first} {second}": b""}
"""Where restic says nothing, and so do we."""


def json_in(output: bytes) -> list[object]:
    """The documents in *output*: one a line, or one in all."""
    text = output.decode()
    if not text.strip():
        return []
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def places(filled_once: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands in braces, all of which a command may change."""
    repo = tmp_path / "repo"
    shutil.copytree(filled_once.folder, repo)
    (tmp_path / "target").mkdir()
    (tmp_path / "pw").write_text(PASSWORD)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repo))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    return {
        "repo": str(repo),
        "new": str(tmp_path / "new"),
        "target": str(tmp_path / "target"),
        "pw": str(tmp_path / "pw"),
        "source": str(filled_once.source),
        "first": filled_once.ids[0],
        "second": filled_once.ids[1],
        "pack": next((repo / "data").glob("*/*")).name,
        "key": "none",
        "old": "none",
    }


def words_of(line: str, places: dict[str, str]) -> list[str]:
    return ["" if word == "''" else word.format(**places) for word in line.split()]


def test_every_command_has_a_line() -> None:
    assert set(LINES) == {" ".join(entry.path) for entry in COMMANDS}


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: " ".join(entry.path))
def test_standard_output_is_json(entry: Entry, places: dict[str, str], run: Runner) -> None:
    name = " ".join(entry.path)
    if name == "copy":
        assert run("init", "-r", places["new"]).code == 0
    if name == "key remove":
        before = {path.name for path in Path(places["repo"], "keys").iterdir()}
        assert run("key", "add", "--new-password-file", places["pw"]).code == 0
        (places["old"],) = before
        (places["key"],) = {path.name for path in Path(places["repo"], "keys").iterdir()} - before
    if name == "mount":
        target = Path(places["target"])
        threading.Thread(target=lambda: until(lambda: is_mounted(target)) and detach(target)).start()
    if name == "serve":
        threading.Thread(target=lambda: until(Path("socket").exists) and os.kill(os.getpid(), signal.SIGTERM)).start()
    for line in LINES[name]:
        done = run(*words_of(line, places), "--json")
        assert done.code in ((1,) if name in REFUSED else (0,)), (line, done)
        told = json_in(done.out)
        says_nothing = line in TEXT_OF_RESTIC or line in ("migrate", "list locks") or name in {*REFUSED, "dump"}
        assert bool(told) is not says_nothing, line
        for message in told:
            assert isinstance(message, dict | list), (line, message)


@pytest.mark.parametrize(
    "entry",
    [entry for entry in COMMANDS if entry.path[0] not in WITHOUT_REPOSITORY | GOES_ON],
    ids=lambda entry: " ".join(entry.path),
)
def test_an_error_is_a_message(entry: Entry, places: dict[str, str], run: Runner) -> None:
    """On standard error, with the code that the program ends with; standard output has nothing."""
    line = LINES[" ".join(entry.path)][0]
    Path(places["repo"], "config").unlink()
    places["new"] = f"{places['repo']}/a/pack/that/is/a/file"
    (Path(places["repo"]) / "a").write_text("")
    done = run(*words_of(line, places), "--json")
    last = json.loads(done.err.splitlines()[-1])
    assert (last["message_type"], last["code"]) == ("exit_error", done.code) and done.code in (1, 10), done
    # check has a summary also when nothing could be checked, as restic's has; heal says how the config can be had again.
    assert len(json_in(done.out)) == (entry.path in (("check",), ("heal",)))


def test_data_is_printed_as_it_is(places: dict[str, str], run: Runner) -> None:
    """What is asked for as bytes comes as bytes."""
    raw = next(Path(places["repo"], "data").glob("*/*"))
    assert run("cat", "pack", raw.name, "--json").out == raw.read_bytes()
