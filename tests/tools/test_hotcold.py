"""Repositories in two places: what is kept where, what rustic and restic make of it, and packs that cannot be read at once."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_conformance.programs import PASSWORD as FIXTURE_PASSWORD
from restic_format.check import check
from restic_format.check.findings import Code
from restic_format.errors import FileCold, FileMissing, StorageError, UsageError
from restic_format.repository import Repository
from restic_format.repository.halves import fill_hot, hot_config_fault, missing_in_hot
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, Storage
from restic_format.storage.hotcold import HotColdStorage
from restic_format.storage.transport import Transport
from restic_format.storage.warmup import RuledWarming, WarmedStorage, WarmUpRules
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from tests.servers.base import Server
from tests.storage.contract import CONTENT, NAME, OTHER, StorageContract
from tests.tools.kit import PASSWORD, Runner, make_source, quick_kdf

KINDS = (FileKind.KEY, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.LOCK)
ARCHIVE = Path(__file__).resolve().parents[2] / "fixtures" / "halves" / "rustic-v2.tar.gz"


def both() -> HotColdStorage:
    return HotColdStorage(MemoryStorage(), MemoryStorage())


class TestContract(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return both()


@pytest.mark.clause("RUSTIC-11")
def test_each_file_is_where_it_belongs() -> None:
    storage = both()
    for kind in KINDS:
        storage.save(kind, NAME, CONTENT)
        assert storage.hot.load(kind, NAME) == storage.cold.load(kind, NAME) == CONTENT
    third = id_of(b"third").hex()
    storage.save(FileKind.PACK, NAME, CONTENT)
    storage.save(FileKind.PACK, OTHER, CONTENT, metadata=True)
    writer = storage.begin(FileKind.PACK, metadata=True)
    writer.append(b"third")
    writer.finish(third)
    storage.save(FileKind.CONFIG, "", b"config")
    assert {name for name, _ in storage.cold.list(FileKind.PACK)} == {NAME, OTHER, third}
    assert {name for name, _ in storage.hot.list(FileKind.PACK)} == {OTHER, third}
    assert not storage.hot.exists(FileKind.CONFIG, "")
    for name in (NAME, OTHER, third):
        storage.remove(FileKind.PACK, name)
    assert not list(storage.cold.list(FileKind.PACK)) and not list(storage.hot.list(FileKind.PACK))


def refuse(call: object) -> None:
    """What a storage does that is away."""
    raise StorageError("away")


@pytest.mark.clause("RUSTIC-11")
@pytest.mark.parametrize("fails", ["hot", "cold"])
def test_what_is_listed_can_be_read_whatever_fails(fails: str) -> None:
    cold, hot = MemoryStorage(), MemoryStorage()
    storage = HotColdStorage(
        FaultyStorage(cold, refuse) if fails == "cold" else cold, FaultyStorage(hot, refuse) if fails == "hot" else hot
    )
    for kind, metadata in ((FileKind.SNAPSHOT, False), (FileKind.PACK, True)):
        with pytest.raises(StorageError, match="away"):
            storage.save(kind, NAME, CONTENT, metadata=metadata)
    assert cold.files == {}, "nothing is listed that the hot half has not"
    HotColdStorage(cold, hot).save(FileKind.SNAPSHOT, OTHER, CONTENT)
    with pytest.raises(StorageError, match="away"):
        HotColdStorage(FaultyStorage(cold, refuse), hot).remove(FileKind.SNAPSHOT, OTHER)
    assert hot.files[FileKind.SNAPSHOT, OTHER] == CONTENT, "it is removed from the hot half last"


def test_what_the_hot_half_lacks_is_read_from_the_cold_one() -> None:
    storage = both()
    storage.cold.save(FileKind.SNAPSHOT, NAME, CONTENT)
    assert storage.load(FileKind.SNAPSHOT, NAME) == CONTENT
    target = bytearray(4)
    storage.load_into(FileKind.SNAPSHOT, NAME, 2, memoryview(target))
    assert target == CONTENT[2:6]
    with pytest.raises(FileMissing):
        storage.load(FileKind.SNAPSHOT, OTHER)


class Places:
    """A repository in two places with two snapshots by our command line, its packs with data made unreadable in the end."""

    def __init__(self, folder: Path, run: Runner) -> None:
        self.folder, self.cold, self.hot, self.source = folder, folder / "cold", folder / "hot", folder / "source"
        self.run_command = run
        self.source.mkdir()
        make_source(self.source)
        storage = HotColdStorage(LocalStorage(self.cold), LocalStorage(self.hot))
        Repository.init(storage, PASSWORD, kdf=quick_kdf())
        self.run("backup", str(self.source))
        (self.source / "new").write_bytes(os.urandom(5000))
        self.run("backup", str(self.source))

    def run(self, *words: str, code: int = 0) -> str:
        done = self.run_command("-r", str(self.cold), "--repo-hot", str(self.hot), *words)
        assert done.code == code, (words, done.err)
        return (done.out + done.err).decode("utf-8", "surrogateescape")

    def open(self) -> Repository:
        repository = Repository.open(HotColdStorage(LocalStorage(self.cold), LocalStorage(self.hot)), PASSWORD)
        repository.load_index()
        return repository

    def data_packs(self) -> list[Path]:
        hot = {path.name for path in self.hot.glob("data/*/*")}
        return [path for path in self.cold.glob("data/*/*") if path.name not in hot]

    def freeze(self) -> dict[Path, bytes]:
        """Make every pack with data one that nobody can make anything of; what they were."""
        before = {path: path.read_bytes() for path in self.data_packs()}
        for path, content in before.items():
            path.chmod(0o600)
            path.write_bytes(bytes(len(content)))
        return before


@pytest.fixture
def places(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))
    return Places(tmp_path, run)


def test_nothing_but_data_needs_the_packs_with_data(places: Places) -> None:
    frozen = places.freeze()
    assert len(frozen) == 2
    (places.source / "newer").write_bytes(os.urandom(3000))
    places.run("snapshots")
    places.run("ls", "latest")
    places.run("find", "new")
    places.run("diff", "latest", "latest")
    places.run("stats")
    places.run("backup", str(places.source))
    places.run("tag", "--add", "x", "latest")
    places.run("rewrite", "--exclude", "hard", "latest")
    places.run("check")
    places.run("forget", "--keep-last", "5")
    places.run("prune", "--max-unused", "unlimited")
    places.run("check")
    assert "consists of zeros" in places.run("restore", "latest", "--target", str(places.folder / "out"), code=1)
    for path, content in frozen.items():
        path.write_bytes(content)
    places.run("check", "--read-data")
    places.run("restore", "latest", "--target", str(places.folder / "again"))


def test_the_cold_half_is_a_repository_that_restic_reads(places: Places, peer: Callable[[str], Path]) -> None:
    from tests.restore import kit

    environment = {"RESTIC_PASSWORD": PASSWORD}
    import subprocess

    def restic(*words: str) -> bytes:
        command = [peer("restic-0.19"), "--no-cache", "-r", str(places.cold), *words]
        return subprocess.run(command, env={**kit.environment(), **environment}, capture_output=True, check=True).stdout

    restic("check", "--read-data")
    restic("backup", str(places.source))
    assert "is not in the hot half" in places.run("check")
    places.run("init", "--hot-only")
    assert "hot half" not in places.run("check", "--read-data")
    assert len(json.loads(places.run_command("-r", str(places.cold), "snapshots", "--json").out)) == 3


@pytest.mark.clause("RUSTIC-11")
def test_the_hot_half_is_made_from_the_cold_one(places: Places) -> None:
    whole = {path.relative_to(places.hot): path.read_bytes() for path in places.hot.rglob("*") if path.is_file()}
    shutil.rmtree(places.hot)
    repository = places.open()
    assert hot_config_fault(repository) == "the hot half has no config"
    missing = {(file.kind, file.name) for file in missing_in_hot(repository)}
    assert len(missing) == len(whole) - 1
    assert "the hot half has no config" in places.run("snapshots")
    assert f"{len(missing)} files copied" in places.run("init", "--hot-only")
    made = {path.relative_to(places.hot): path.read_bytes() for path in places.hot.rglob("*") if path.is_file()}
    assert made.keys() == whole.keys()
    assert {path: content for path, content in made.items() if path.name != "config"} == {
        path: content for path, content in whole.items() if path.name != "config"
    }
    assert hot_config_fault(places.open()) == ""
    assert fill_hot(places.open()) == 0


def test_a_check_names_what_is_missing(places: Places) -> None:
    snapshot = next((places.hot / "snapshots").iterdir())
    snapshot.unlink()
    pack = next(places.hot.glob("data/*/*"))
    pack.unlink()
    (places.hot / "config").unlink()
    storage = HotColdStorage(LocalStorage(places.cold), LocalStorage(places.hot))
    report = check(Repository.open(storage, PASSWORD))
    found = {str(finding.object) for finding in report.findings if finding.code is Code.HOT_INCOMPLETE}
    assert found == {f"snapshot {snapshot.name}", f"pack {pack.name}", "config"} and report.ok


def test_halves_that_are_none_are_refused(places: Places, tmp_path: Path, rest_server: Server) -> None:
    run = places.run_command
    done = run("-r", str(places.hot), "--repo-hot", str(places.cold), "snapshots")
    assert done.code == 1 and b"is not the hot half of a repository" in done.err
    place = rest_server.place("cold")
    assert place.folder is not None
    shutil.copytree(places.cold, place.folder)
    done = run("-r", str(places.cold), "--repo-hot", place.location.replace("//", "//bob:geheim@"), "snapshots")
    assert done.code == 1 and b"bob:***@" in done.err and b"geheim" not in done.err
    done = run("-r", str(places.hot), "snapshots")
    assert done.code == 0 and b"this is the hot half of a repository, without its data" in done.err
    done = run("-r", str(places.cold), "init", "--hot-only")
    assert done.code == 1 and b"--repo-hot" in done.err
    with pytest.raises(UsageError, match="not in two places"):
        repository = Repository.open(LocalStorage(places.cold), PASSWORD)
        repository.load_index()
        fill_hot(repository)


def test_both_configs_change(places: Places) -> None:
    places.run("config", "--set-compression", "5")
    assert hot_config_fault(places.open()) == ""
    assert '"compression": 5' in places.run("cat", "config")


def test_a_repository_by_rustic(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setenv("RESTIC_PASSWORD", FIXTURE_PASSWORD)
    words = ("-r", str(tmp_path / "cold"), "--repo-hot", str(tmp_path / "hot"))
    assert len(json.loads(run(*words, "snapshots", "--json").out)) == 3
    done = run(*words, "check", "--read-data")
    assert done.code == 0 and b"hot half" not in done.err
    done = run(*words, "restore", "latest", "--target", str(tmp_path / "out"))
    assert done.code == 0
    assert {path.name for path in (tmp_path / "out").rglob("file-*")} == {"file-0", "file-1", "file-2"}
    done = run(*words, "forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    assert done.code == 0
    hot = {path.name for path in tmp_path.glob("hot/*/*") if path.is_file()}
    assert hot == {path.name for path in tmp_path.glob("cold/*/*") if path.is_file()}


# Bringing packs back


def rules(folder: Path, text: str = "%ids", **more: object) -> WarmUpRules:
    script = folder / "warm.sh"
    script.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\necho said\nexit ${{CODE:-0}}\n')
    script.chmod(0o755)
    return WarmUpRules(command=[str(script), *text.split()], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "batch", "lines"),
    [
        ("%ids", 2, ["{0} {1}", "{2}"]),
        ("%id", 2, ["{0}", "{1}", "{2}"]),
        ("--pack=%id x", 5, ["--pack={0} x", "--pack={1} x", "--pack={2} x"]),
        ("%paths", 3, ["data/{0:.2}/{0} data/{1:.2}/{1} data/{2:.2}/{2}"]),
    ],
)
def test_commands_bring_packs_back(tmp_path: Path, text: str, batch: int, lines: list[str]) -> None:
    said: list[str] = []
    names = [id_of(bytes([number])).hex() for number in range(3)]
    warming = RuledWarming(
        MemoryStorage(), rules(tmp_path, text, batch=batch), Transport(environment=os.environ, report=said.append)
    )
    cancel = Cancel()
    assert warming.cold(names, cancel) == names
    warming.begin(names, cancel)
    warming.wait(names, cancel)
    assert (tmp_path / "asked").read_text().splitlines() == [line.format(*names) for line in lines]
    assert said == ["warm-up: said"] * len(lines)
    assert warming.cold(names, cancel) == [], "once is enough"


def test_a_command_that_fails_is_told_and_one_that_is_none_ends_it(tmp_path: Path) -> None:
    said: list[str] = []
    transport = Transport(environment={**os.environ, "CODE": "3"}, report=said.append)
    warming = RuledWarming(MemoryStorage(), rules(tmp_path), transport)
    warming.begin([NAME], Cancel())
    assert said[-1].endswith(f"for pack {NAME} ended with exit status 3")
    with pytest.raises(StorageError, match="warm-up: /nowhere/x cannot be started: no such file or directory"):
        RuledWarming(MemoryStorage(), WarmUpRules(command=["/nowhere/x"]), transport).begin([NAME], Cancel())


def test_packs_in_the_hot_half_are_not_brought_back() -> None:
    storage = HotColdStorage(MemoryStorage(), MemoryStorage(), WarmUpRules(access=True))
    storage.save(FileKind.PACK, NAME, CONTENT, metadata=True)
    storage.save(FileKind.PACK, OTHER, CONTENT)
    assert storage.warming is not None
    assert storage.warming.cold([NAME, OTHER], Cancel()) == [OTHER]


def test_asking_for_a_pack_is_what_counts() -> None:
    asked: list[str] = []

    class Archive(MemoryStorage):
        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            asked.append(name)
            raise FileCold("not yet")

    storage = WarmedStorage(Archive(), WarmUpRules(access=True), Transport())
    assert storage.warming is not None
    storage.warming.begin([NAME, OTHER], Cancel())
    assert sorted(asked) == sorted([NAME, OTHER])


def test_a_restore_brings_back_what_it_needs_and_says_so(places: Places) -> None:
    wanted = rules(places.folder)
    command = " ".join(wanted.command)
    plan = places.run("restore", "latest", "--target", str(places.folder / "dry"), "--dry-run", "--warm-up-command", command)
    assert "2 packs" in plan and "would have to be warmed up" in plan
    assert not (places.folder / "asked").exists()
    told = places.run("restore", "latest", "--target", str(places.folder / "out"), "--warm-up-command", command)
    assert "warming up 2 packs" in told
    assert sorted((places.folder / "asked").read_text().split()) == sorted(path.name for path in places.data_packs())
    places.run("check", "--read-data", "--warm-up-command", command)
    assert len((places.folder / "asked").read_text().split()) == 4
