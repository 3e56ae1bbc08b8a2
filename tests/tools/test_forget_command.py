"""``forget`` and ``tag`` on the command line beside real restic: the same bytes, the same snapshots left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from restic_format.errors import StorageError
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot, SnapshotSummary, summary_fields
from tests.tools.kit import PASSWORD, Filled, Runner, new_repository


def add(
    repo: Repository, time: str, host: str, *, paths: Sequence[str] = ("/p",), tags: Sequence[str] = (), size: int = 0
) -> str:
    summary = summary_fields(SnapshotSummary(total_bytes_processed=size)) if size else None
    snapshot = Snapshot(time=time, tree="ab" * 32, paths=list(paths), hostname=host, tags=list(tags), summary=summary)
    return repo.save_snapshot(snapshot).hex()


def fill(folder: Path) -> None:
    """Two hosts, one with two paths, one with sizes; tags, several zones and a late snapshot of a day."""
    new_repository(folder)
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    for day in range(1, 6):
        add(repo, f"2026-01-0{day}T00:30:00+02:00", "two", paths=["/b", "/a"], tags=["x", "a"] if day == 2 else [])
        add(repo, f"2026-01-0{day}T10:30:00Z", "one", size=1000 * day)
    add(repo, "2026-01-05T11:00:00.5Z", "one", size=77)
    add(repo, "2026-01-05T11:00:00Z", "con<trol>&", tags=["<&>"])


@pytest.fixture(scope="session")
def history_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository behind ``history``; tests must not change it."""
    folder = tmp_path_factory.mktemp("history") / "repository"
    fill(folder)
    return folder


@pytest.fixture
def history(history_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(history_once))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return history_once


@pytest.fixture
def copies(history_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two copies that may be changed: ours and theirs."""
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    for name in ("ours", "theirs"):
        shutil.copytree(history_once, tmp_path / name)
    return tmp_path / "ours", tmp_path / "theirs"


SAME = [
    "forget 0000zz -n",
    "forget latest --host one -n",
    "forget {first} {second} {first} --tag zz -n",
    "forget {first}:/x -n",
    "forget {first} -n --json",
    "forget --keep-last 1 -n --host nobody",
    "forget --keep-last 1 -n --host nobody --json",
    "forget --hostname one --keep-last 9 -n",
    "forget --keep-last 100 -n --host one",
    "forget --keep-last 1 -n -q --host one",
    "forget --keep-last 1 -n --host con<trol>& --keep-tag <&> --json",
    "forget --unsafe-allow-remove-all --host one -n -c",
    "forget --unsafe-allow-remove-all --host one -n --json",
    "forget -l unlimited --keep-within 1y2m3d4h --keep-within-daily 5d --keep-within-yearly 3y -n -g  -c",
    "forget -l unlimited --keep-within 1y2m3d4h --keep-within-daily 5d --keep-within-yearly 3y -n -g  --json",
    "forget --keep-weekly 2 -n -g tags --tag x",
    "forget --keep-weekly 2 -n -g tags --tag x --json",
    "forget --keep-weekly 2 -n -g tag,path,host --tag x -v",
    "forget --keep-daily 2 --host one -n -c -v",
    "forget --keep-hourly 1 --keep-monthly 3 --keep-within-hourly 40h --host two -n",
    "forget -l 1 -d 2 -H 3 -w 4 -m 5 -y 6 --keep-within 1d --keep-tag a,x --keep-tag y --host two -n",
    "forget --keep-daily 2 --host one -n --no-lock --json",
    "forget --no-lock --keep-last 1",
    "forget",
    "forget --keep-last 0",
    "forget --unsafe-allow-remove-all",
    "forget --keep-tag zz -n --host one",
    "forget --keep-tag zz -n --host two --json",
    "forget --keep-last -1",
    "forget --keep-last x",
    "forget --keep-within -1d",
    "forget --keep-within 1x",
    "forget --keep-within d",
    "forget --keep-within 12",
    "forget --keep-weekly 2 -g foo",
    "tag",
    "tag --set a --add b",
    "tag --add b --host nobody",
    "tag --add b --host nobody --json",
    "tag --add b --host nobody -q",
    "tag --add x 00zz --host one",
    "tag --remove zz --host one -v",
]


@pytest.mark.parametrize("line", SAME)
def test_output_errors_and_exit_code_are_the_same(line: str, history: Path, run: Runner, restic_here: Runner) -> None:
    ids = sorted(path.name for path in (history / "snapshots").iterdir())
    words = [word.format(first=ids[0], second=ids[1]) if "{" in word else word for word in line.split(" ")]
    ours, theirs = run(*words), restic_here(*words)
    assert ours.out == theirs.out
    assert ours.err == theirs.err
    assert ours.code == theirs.code


def test_an_empty_tag_keeps_what_has_none(history: Path, run: Runner, restic_here: Runner) -> None:
    words = ("forget", "--keep-tag", "", "--keep-daily", "1", "--host", "two", "-n")
    ours = run(*words)
    assert ours.out == restic_here(*words).out
    assert b"has tags []" in ours.out


def left(folder: Path) -> set[str]:
    return {path.name for path in (folder / "snapshots").iterdir()}


@pytest.mark.clause("ORDER-5", "LOCK-13")
@pytest.mark.parametrize(
    "line",
    [
        "forget --keep-daily 2 --host one -vv",
        "forget --keep-daily 2 --keep-tag x --host two",
        "forget --keep-daily 2 --host one --json",
        "forget --keep-daily 2 -q",
        "forget --unsafe-allow-remove-all --host two -c",
    ],
)
def test_the_same_snapshots_are_removed(line: str, copies: tuple[Path, Path], run: Runner, restic_here: Runner) -> None:
    before = left(copies[0])
    ours, theirs = run("-r", str(copies[0]), *line.split()), restic_here("-r", str(copies[1]), *line.split())
    assert ours.code == theirs.code == 0
    assert sorted(ours.out.splitlines()) == sorted(theirs.out.splitlines())
    assert left(copies[0]) == left(copies[1]) < before
    assert not list((copies[0] / "locks").iterdir())


def test_named_snapshots_are_removed(copies: tuple[Path, Path], run: Runner, restic_here: Runner) -> None:
    names = sorted(left(copies[0]))[:2]
    ours, theirs = run("-r", str(copies[0]), "forget", *names), restic_here("-r", str(copies[1]), "forget", *names)
    assert ours == theirs
    assert b"100.00%  2 / 2 files deleted" in ours.out
    assert left(copies[0]) == left(copies[1])


def test_a_dry_run_removes_nothing(copies: tuple[Path, Path], run: Runner) -> None:
    before = left(copies[0])
    assert run("-r", str(copies[0]), "forget", "-n", "--keep-last", "1").code == 0
    assert run("-r", str(copies[0]), "forget", "-n", *before).code == 0
    assert left(copies[0]) == before


@pytest.mark.clause("LOCK-13")
def test_nothing_is_removed_beside_another_lock(copies: tuple[Path, Path], run: Runner, restic_here: Runner) -> None:
    folder = copies[0]
    with Repository.open(LocalStorage(str(folder)), PASSWORD).lock():
        for words in (("forget", "--keep-last", "1"), ("forget", "--keep-last", "1", "-n"), ("tag", "--add", "b")):
            ours, theirs = run("-r", str(folder), *words), restic_here("-r", str(folder), *words)
            assert ours.code == theirs.code == 11
        assert run("-r", str(folder), "forget", "--keep-last", "1", "-n", "--no-lock").code == 0
    assert len(left(folder)) == 12


@pytest.mark.clause("SNAP-17")
def test_snapshots_from_the_future_are_named_and_kept(copies: tuple[Path, Path], run: Runner, restic_here: Runner) -> None:
    folder = copies[0]
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    future = [add(repo, f"21{number:02d}-01-01T00:00:00Z", "one") for number in range(13)]
    ours = run("-r", str(folder), "forget", "--keep-last", "1", "--host", "one", "-n", "--json")
    [group] = json.loads(ours.out)
    assert {item["id"] for item in group["keep"]} > set(future)
    assert len(group["keep"]) == 14
    lines = ours.err.decode().splitlines()
    assert len(lines) == 11
    assert lines[0].endswith("of one at 2112-01-01 00:00:00 is from the future: kept and not counted (see --trust-times)")
    assert lines[-1] == "3 more snapshots are from the future: kept and not counted"
    words = ("-r", str(folder), "forget", "--keep-last", "1", "--keep-within-daily", "1d", "--host", "one", "-n", "--json")
    assert run(*words, "--trust-times").out == restic_here(*words).out


@pytest.mark.clause("RUSTIC-8")
def test_protected_snapshots_are_not_removed_by_name(copies: tuple[Path, Path], run: Runner) -> None:
    folder = copies[0]
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    text = '{"time":"2020-01-01T00:00:00Z","tree":"%s","paths":["/p"],"hostname":"one","delete":"Never"}' % ("ab" * 32)
    protected = repo.save_unpacked(FileKind.SNAPSHOT, text.encode()).hex()
    outcome = run("-r", str(folder), "forget", protected)
    assert (outcome.code, outcome.out) == (0, b"")
    assert outcome.err == f"snapshot {protected[:8]} must never be removed, not removed\n".encode()
    assert b"must never be removed" in run("-r", str(folder), "forget", "--keep-last", "1", "--host", "one").out
    assert protected in left(folder)
    message = json.loads(run("-r", str(folder), "tag", "--remove-delete", protected, "--json").out.splitlines()[0])
    assert run("-r", str(folder), "forget", message["new_snapshot_id"]).err == b""
    assert message["new_snapshot_id"] not in left(folder)


@pytest.mark.clause("RUSTIC-8")
def test_tag_protects_snapshots(copies: tuple[Path, Path], run: Runner) -> None:
    folder = copies[0]
    assert run("-r", str(folder), "tag", "--set-delete-after", "1y", "--host", "one").code == 0
    plan = json.loads(run("-r", str(folder), "forget", "--keep-last", "1", "--host", "one", "-n", "--json").out)
    assert plan[0]["remove"] is None
    assert all(reason["matches"][0].startswith("must be kept until ") for reason in plan[0]["reasons"])
    for words in (("--set-delete-after", "1x"), ("--set-delete-after", "-1d"), ("--set-delete-never", "--remove-delete")):
        assert run("-r", str(folder), "tag", *words).err.startswith((b"Fatal: invalid argument", b"Fatal: --remove-delete"))


def test_a_damaged_snapshot_is_told_and_stays(copies: tuple[Path, Path], run: Runner) -> None:
    folder = copies[0]
    victim = next((folder / "snapshots").iterdir())
    victim.chmod(0o600)
    victim.write_bytes(victim.read_bytes()[:-1])
    outcome = run("-r", str(folder), "forget", "--keep-last", "1", "-q")
    assert outcome.code == 0
    assert outcome.err.startswith(f'Ignoring "{victim.name}": '.encode())
    assert victim.name in left(folder)


LESS_PRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


@pytest.fixture
def run_read_only(
    copies: tuple[Path, Path], environment: dict[str, str], request: pytest.FixtureRequest
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a program on a repository of which it can change nothing but the locks."""
    folder = copies[0] / "snapshots"
    folder.chmod(0o555)
    request.addfinalizer(lambda: folder.chmod(0o755))

    def call(*command: str) -> subprocess.CompletedProcess[bytes]:
        before = LESS_PRIVILEGED if os.geteuid() == 0 else []
        env = {**environment, "RESTIC_PASSWORD": PASSWORD}
        return subprocess.run([*before, *command, "--no-cache", "-r", copies[0]], capture_output=True, env=env, check=False)

    return call


def test_snapshots_that_cannot_be_removed(
    copies: tuple[Path, Path], peer: Callable[[str], Path], run_read_only: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    before = left(copies[0])
    program = (sys.executable, "-m", "restic_tools")
    words = ("forget", "--keep-last", "1", "--host", "one")
    theirs, ours = run_read_only(str(peer("restic-0.19")), *words), run_read_only(*program, *words)
    assert ours.returncode == theirs.returncode == 3
    assert ours.stdout == theirs.stdout
    assert b"\n[0:00] 0.00%  0 / 5 files deleted\n" in ours.stdout
    for name in before:
        line = f"unable to remove snapshot/{name} from the repository".encode()
        assert (line in ours.stderr) == (line in theirs.stderr)
    assert ours.stderr.splitlines()[-1] == b"failed to remove one or more snapshots"
    assert ours.stderr.count(b"permission denied") == 5
    told = json.loads(run_read_only(*program, *words, "--json").stderr.splitlines()[-1])
    assert told == {"message_type": "exit_error", "code": 3, "message": "failed to remove one or more snapshots"}
    tagged = run_read_only(*program, "tag", "--add", "b", "--host", "one")
    assert tagged.returncode == 1
    assert tagged.stderr.count(b"unable to modify the tags for snapshot ID") == 6
    assert tagged.stderr.splitlines()[-1] == b"Fatal: 6 snapshots could not be modified"
    assert left(copies[0]) == before


# tag


def documents(folder: Path) -> list[dict[str, object]]:
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    texts = [repo.load_unpacked(FileKind.SNAPSHOT, snapshot_id) for snapshot_id, _ in repo.list(FileKind.SNAPSHOT)]
    return sorted((json.loads(text) for text in texts), key=str)


@pytest.mark.clause("SNAP-7")
@pytest.mark.parametrize(
    "line",
    [
        "tag --add a,b --add c --host one",
        "tag --add a --remove x --host two",
        "tag --remove a --host two --json",
        "tag --set q,r --host two",
        "tag --add  --host one",
        "tag --add a latest --host two -v",
        "tag --add a --no-lock --tag x -q",
    ],
)
def test_tags_become_what_restic_makes_of_them(line: str, copies: tuple[Path, Path], run: Runner, restic_here: Runner) -> None:
    words = line.split(" ")
    ours, theirs = run("-r", str(copies[0]), *words), restic_here("-r", str(copies[1]), *words)
    assert (ours.code, ours.err) == (theirs.code, theirs.err)

    def without_ids(out: bytes) -> list[str]:
        if "--json" in words:
            return sorted(str(sorted(json.loads(text))) for text in out.splitlines())
        return [text.split(" -> ")[0][:18] for text in out.decode().splitlines()]

    assert without_ids(ours.out) == without_ids(theirs.out)
    assert documents(copies[0]) == documents(copies[1])
    # A second time: what was changed before keeps the name of its first form.
    run("-r", str(copies[0]), "tag", "--set", "again")
    restic_here("-r", str(copies[1]), "tag", "--set", "again")
    assert documents(copies[0]) == documents(copies[1])


def test_all_tags_can_be_removed(copies: tuple[Path, Path], run: Runner) -> None:
    assert b"modified 5 snapshots" in run("-r", str(copies[0]), "tag", "--set", "", "--host", "two").out
    assert not any(document.get("tags") for document in documents(copies[0]) if document["hostname"] == "two")


def test_restic_finds_the_repository_whole(
    filled: Filled, tmp_path: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(filled.folder, folder)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    assert run("tag", "--add", "kept", filled.ids[0]).code == 0
    assert run("forget", "--keep-tag", "kept", "--host", "h1", "-g", "host").code == 0
    assert len(os.listdir(folder / "snapshots")) == 2
    assert restic_here("check", "--read-data").code == 0
    outcome = restic_here("restore", "latest", "--tag", "kept", "--target", str(tmp_path / "out"))
    assert outcome.code == 0
    restored = tmp_path / "out" / filled.source.relative_to("/")
    assert (restored / "dir/sub/c<&>.txt").read_text() == "x<&>\n"


def test_a_whole_id_in_capital_letters_is_an_id(
    filled: Filled, tmp_path: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    capitals = filled.ids[0].upper()
    for words in (("forget", "-n", capitals), ("forget", "-n", capitals[:20]), ("forget", "-n", "latest", "--host", "none")):
        assert run(*words) == restic_here(*words)
    pack = next(path.name for path in filled.folder.glob("data/*/*"))
    folder = shutil.copytree(filled.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert run("-r", str(folder), "repair", "packs", pack.upper()).code == 0
    assert (tmp_path / f"pack-{pack}").exists()


@pytest.fixture
def two_filled(filled: Filled, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies, ours and theirs, of a repository that real restic filled."""
    for name in ("ours", "theirs"):
        shutil.copytree(filled.folder, tmp_path / name)
    return tmp_path / "ours", tmp_path / "theirs"


@pytest.mark.parametrize(
    "words",
    [
        "forget --keep-last 1 --host h1 -g host --prune --max-unused 0 --repack-cacheable-only -n",
        "forget {first} --prune --max-unused unlimited -n -v",
        "forget {first} --prune --max-repack-size 0 -q",
        "forget {first} {second} --prune --max-unused 0",
        "forget --keep-last 3 -g  --prune -n",
        "forget --keep-last 1 --prune --max-unused x",
        "forget --keep-last 1 --max-unused 200%",
        "forget --keep-last 1 --max-unused -5",
        "forget --keep-last 1 --repack-smaller-than x",
        "forget --keep-last 1 --repack-smaller-than -3k",
    ],
)
def test_pruning_afterwards_is_as_in_restic(
    words: str, filled: Filled, two_filled: tuple[Path, Path], run: Runner, restic_here: Runner
) -> None:
    line = [word.format(first=filled.ids[0], second=filled.ids[1]) for word in words.split(" ")]
    ours, theirs = run("-r", str(two_filled[0]), *line), restic_here("-r", str(two_filled[1]), *line)
    assert ours == theirs
    for folder in two_filled:
        assert restic_here("-r", str(folder), "check", "--read-data").code == 0
    sizes = [sum(path.stat().st_size for path in (folder / "data").glob("*/*")) for folder in two_filled]
    assert sizes[0] <= sizes[1]
    assert len(left(two_filled[0])) == len(left(two_filled[1]))


def test_nothing_is_pruned_when_nothing_is_removed(two_filled: tuple[Path, Path], run: Runner) -> None:
    outcome = run("-r", str(two_filled[0]), "forget", "--keep-last", "9", "--prune", "--max-unused", "0")
    assert b"running prune" not in outcome.out
    assert outcome.code == 0


def test_nothing_is_pruned_when_a_snapshot_could_not_be_removed(
    two_filled: tuple[Path, Path], run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in (two_filled[0] / "data").glob("*/*")}

    def refuse(self: LocalStorage, kind: FileKind, name: str) -> None:
        if kind is FileKind.SNAPSHOT:
            raise StorageError("no")
        remove(self, kind, name)

    remove = LocalStorage.remove
    monkeypatch.setattr(LocalStorage, "remove", refuse)
    outcome = run("-r", str(two_filled[0]), "forget", "--keep-last", "1", "-g", "host", "--prune", "--max-unused", "0")
    assert outcome.code == 3
    assert b"running prune" not in outcome.out
    assert {path.name for path in (two_filled[0] / "data").glob("*/*")} == before
