"""The same command line gives the same bytes as real restic, on a repository that restic wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.kit import PASSWORD, Filled, Runner

SAME = [
    "snapshots",
    "snapshots --json",
    "snapshots --compact",
    "snapshots --host h1",
    "snapshots --host h1 --tag a",
    "snapshots --tag a,c --json",
    "snapshots --tag a,x",
    "snapshots --tag nothing",
    "snapshots --tag nothing --json",
    "snapshots --path {source} --json",
    "snapshots --latest 1 --json",
    "snapshots {second}",
    "snapshots {second} {second} --json",
    "snapshots latest --json",
    "snapshots latest --host h2 --json",
    "snapshots 0000zz",
    "snapshots 0000zz --json",
    "snapshots {second}:/x",
    "snapshots --group-by host --host h2",
    "snapshots --group-by tags,host,paths --host h2 --json",
    "snapshots --group-by tag --tag a --json",
    "ls latest",
    "ls {first}",
    "ls latest --host h2 --long",
    "ls {first} -l --human-readable",
    "ls {first} --json",
    "ls {first} --ncdu",
    "ls {first} -q",
    "ls {first} --sort size -l",
    "ls {first} --sort time --reverse -l",
    "ls {first} --sort mtime --json",
    "ls {first} --sort ctime",
    "ls {first} --sort extension --json --reverse",
    "ls {first} --reverse",
    "ls {first} {source}",
    "ls {first} {source}/dir",
    "ls {first} {source}/dir/ --recursive",
    "ls {first} {source}/dir --recursive --json",
    "ls {first} {source}/dir/sub {source}/empty --ncdu",
    "ls {first} /",
    "ls {first} / --recursive",
    "ls {first} /nothing --json",
    "ls {first} /nothing --ncdu",
    "ls {first}:{source}/dir --json",
    "ls {first}:{source}/dir --ncdu",
    "ls {first}:{source}/dir /sub",
    "ls {first}:{source}/a.txt",
    "ls {first}:/nothing",
    "ls {first}: --json",
    "ls 0000zz",
    "ls latest --host nobody",
    "ls latest --path /nothing",
    "ls {first} --sort foo",
    "ls {first} --ncdu --json",
    "ls {first} --ncdu --sort size",
    "ls --no-lock {first} {source}/empty --json",
    "find a.txt",
    "find *.txt --json",
    "find --long --human-readable old *.bin",
    "find -l -s {first} -R link pipe",
    "find -i A.TXT SUB/C* --reverse",
    "find -q {source}/dir/*",
    "find --host h2 --json b.bin",
    "find --tag nothing --json b.bin",
    "find -s latest -s nothing -s {second}:/x b.bin",
    "find -s {first} --host h1 sub",
    "find -O 1999-02-03 -N 2000-01-01 *",
    "find -N 1970-01-01 hard --json",
    "find --newest 2000-01-01 --oldest 2001-01-01 x",
    "find --oldest yesterday x",
    "find",
    "find --json",
    "find --blob --tree x",
    "find --blob {blob} --show-pack-id",
    "find --blob {shortblob} nothing --json",
    "find --tree {tree} --show-pack-id",
    "find --tree {shorttree} --reverse --json",
    "find --tree {key}",
    "find --blob {key} --show-pack-id",
    "find --blob x --show-pack-id",
    "find --pack {key}",
    "find --pack nothing {pack} --json",
    "cat config",
    "cat config --json",
    "cat masterkey",
    "cat key {key}",
    "cat index {index}",
    "cat snapshot {first}",
    "cat snapshot 0000zz",
    "cat tree {first}",
    "cat tree {first}:{source}/dir",
    "cat tree {first}:/nothing",
    "cat blob {blob}",
    "cat blob {tree}",
    "cat blob {key}",
    "cat pack {pack}",
    "list keys",
    "list locks",
    "key list",
    "key list --json",
]


@pytest.fixture(scope="session")
def names(filled_once: Filled, restic: Runner) -> dict[str, str]:
    """What stands in braces in the lines."""
    filled = filled_once
    settings = {"RESTIC_REPOSITORY": str(filled.folder), "RESTIC_PASSWORD": PASSWORD}
    blobs = [line.split() for line in restic("list", "blobs", env=settings).out.decode().splitlines()]
    return {
        "source": str(filled.source),
        "first": filled.ids[0][:8],
        "second": filled.ids[1][:8],
        "key": next((filled.folder / "keys").iterdir()).name,
        "index": min(path.name for path in (filled.folder / "index").iterdir()),
        "pack": min(path.name for path in (filled.folder / "data").glob("*/*")),
        "blob": next(blob for kind, blob in blobs if kind == "data"),
        "tree": next(blob for kind, blob in blobs if kind == "tree"),
        "shortblob": next(blob for kind, blob in blobs if kind == "data")[:8],
        "shorttree": next(blob for kind, blob in blobs if kind == "tree")[:8],
    }


@pytest.mark.parametrize("line", SAME)
def test_output_errors_and_exit_code_are_the_same(
    line: str, filled: Filled, names: dict[str, str], run: Runner, restic_here: Runner
) -> None:
    words = [word.format(**names) for word in line.split()]
    ours, theirs = run(*words), restic_here(*words)
    assert ours.out == theirs.out
    assert ours.err == theirs.err
    assert ours.code == theirs.code


@pytest.mark.parametrize("line", ["snapshots", "ls latest", "ls latest -l", "snapshots --json", "ls latest --json"])
def test_other_time_zones_change_the_same_things(
    line: str, filled: Filled, spawn: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    settings = {"RESTIC_REPOSITORY": str(filled.folder), "RESTIC_PASSWORD": PASSWORD, "TZ": "Asia/Kolkata"}
    ours, theirs = spawn(*line.split(), env=settings), restic_here(*line.split())
    assert (ours.code, ours.out) == (theirs.code, theirs.out)


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("line", ["snapshots --json", "ls latest --json", "ls latest --ncdu"])
def test_a_snapshot_with_a_parent_is_shown_alike(line: str, tmp_path: Path, run: Runner, restic_here: Runner) -> None:
    (tmp_path / "source").mkdir()
    for number in range(2):
        (tmp_path / "source" / str(number)).write_text("content")
        assert restic_here("backup", "-q", str(tmp_path / "source")).code == 0
    ours, theirs = run(*line.split()), restic_here(*line.split())
    assert b'"parent":' in theirs.out
    assert ours.out == theirs.out


@pytest.mark.parametrize("kind", ["blobs", "packs", "index", "snapshots"])
def test_lists_hold_the_same_lines(kind: str, filled: Filled, run: Runner, restic_here: Runner) -> None:
    ours, theirs = run("list", kind), restic_here("list", kind)
    assert ours.out
    assert sorted(ours.out.splitlines()) == sorted(theirs.out.splitlines())


@pytest.mark.parametrize("by", ["host", "paths", "tags", "host,paths", "hosts,path,tag"])
def test_groups_hold_the_same_snapshots(by: str, filled: Filled, run: Runner, restic_here: Runner) -> None:
    words = ("snapshots", "--json", "--latest", "1", "--group-by", by)
    ours, theirs = json.loads(run(*words).out), json.loads(restic_here(*words).out)
    assert sorted(ours, key=str) == sorted(theirs, key=str)
    text = run("snapshots", "--group-by", by).out.decode()
    heads = [
        line for line in restic_here("snapshots", "--group-by", by).out.decode().splitlines() if line.startswith("snapshots")
    ]
    assert heads
    for head in heads:
        assert head + "\n" in text


def test_ids_may_be_shortened_more_than_restic_lets(filled: Filled, run: Runner) -> None:
    whole = next((filled.folder / "keys").iterdir()).name
    assert run("cat", "key", whole[:6]).out == run("cat", "key", whole).out
    assert run("cat", "snapshot", "latest").out == run("cat", "snapshot", filled.ids[2]).out


def test_a_damaged_snapshot_does_not_hide_the_others(filled: Filled, run: Runner, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(filled.folder, copy)
    victim = copy / "snapshots" / filled.ids[0]
    victim.chmod(0o600)
    victim.write_bytes(victim.read_bytes()[:-1])
    outcome = run("-r", str(copy), "snapshots", "--json")
    assert {item["id"] for item in json.loads(outcome.out)} == set(filled.ids[1:])
    assert outcome.err.startswith(f'Ignoring "{filled.ids[0]}": '.encode())


def test_a_damaged_pack_is_shown_with_a_warning(filled: Filled, run: Runner, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(filled.folder, copy)
    victim = min((copy / "data").glob("*/*"))
    victim.chmod(0o600)
    damaged = b"\x00" + victim.read_bytes()[1:]
    victim.write_bytes(damaged)
    outcome = run("-r", str(copy), "cat", "pack", victim.name)
    assert outcome.out == damaged
    assert b"hash of data does not match ID" in outcome.err


def test_text_for_people_hides_control_characters_on_a_terminal(
    filled: Filled, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restic_tools.output import Output

    assert b"/bad\xff\x01name\n" in run("ls", filled.ids[0]).out
    monkeypatch.setattr(Output, "stdout_is_terminal", True)
    assert rb'bad\xff\x01name"' in run("ls", filled.ids[0]).out
