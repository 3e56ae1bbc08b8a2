"""``restic://`` as programs use it that know fsspec only, and what becomes of its password."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas
import pyarrow.dataset
import pyarrow.parquet
import pytest
from fsspec.spec import AbstractFileSystem

from restic_format import OpenRepository
from restic_format.api import connection
from restic_format.errors import PasswordUnavailable, RepositoryNotFound, ResticFormatError, UsageError, WrongPassword
from tests.restore.kit import PASSWORD, environment

SECRET = "a secret that must not be seen"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPOSITORY", "REPOSITORY_FILE", "PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND", "CACHE_DIR", "KEY_HINT"):
        monkeypatch.delenv(f"RESTIC_{name}", raising=False)


@pytest.fixture(autouse=True)
def _no_instances(opened: OpenRepository) -> Iterator[None]:
    yield
    # An instance lives for ever otherwise, and its lock for a while.
    for fs in list(fsspec.get_filesystem_class("restic")._cache.values()):
        fs.close()
    fsspec.get_filesystem_class("restic").clear_instance_cache()


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return str(path)


@pytest.fixture
def options(location: Path, password_file: str) -> dict[str, str]:
    return {"repo": str(location), "password_file": password_file}


@pytest.fixture
def top(filled: OpenRepository, source: Path) -> str:
    return f"latest{source}"


@pytest.fixture
def fs(options: dict[str, str], filled: OpenRepository) -> AbstractFileSystem:
    return fsspec.filesystem("restic", **options)


def locks(opened: OpenRepository) -> int:
    return len(os.listdir(Path(opened.location, "locks")))


def test_a_file_is_opened_by_its_address(options: dict[str, str], top: str, source: Path) -> None:
    expected = (source / "folder/below/two").read_bytes()
    with fsspec.open(f"restic://{top}/folder/below/two", **options) as file:
        assert file.read() == expected
        assert file.seek(-5, os.SEEK_END) == len(expected) - 5
        assert file.read(3) == expected[-5:-2]
        assert file.size == len(expected)
        assert file.info()["size"] == len(expected)
        assert not file.writable()
    with fsspec.open(f"restic://{top}/folder/one", "rt", **options) as file:
        assert sum(1 for _ in file) == 1000


def test_snapshots_and_directories_are_listed(fs: AbstractFileSystem, filled: OpenRepository, top: str, source: Path) -> None:
    (snapshot,) = fs.ls("restic://")
    assert (snapshot["name"], snapshot["type"], snapshot["tags"]) == (filled.snapshot().short_id, "directory", ["first"])
    assert fs.ls("", detail=False) == [snapshot["name"]]
    assert fs.ls(f"{snapshot['name']}{source}/folder", detail=False) == [
        f"{snapshot['name']}{source}/folder/{name}" for name in ("below", "one")
    ]
    below, one = fs.ls(f"{top}/folder")
    assert (below["type"], one["type"], one["size"], one["mode"]) == ("directory", "file", 4000, 0o100644)
    assert fs.ls(f"{top}/folder/one") == [fs.info(f"{top}/folder/one")] == [one]
    assert fs.info("latest")["type"] == fs.info("")["type"] == "directory"
    assert fs.info("latest")["id"] == filled.snapshot().id
    assert fs.find(f"{top}/folder") == [f"{top}/folder/below/two", f"{top}/folder/one"]
    assert fs.glob(f"{top}/**/t*o") == [f"{top}/folder/below/two"]
    assert fs.glob(f"*{source}/folder/o*") == [f"{snapshot['name']}{source}/folder/one"]
    assert fs.du(f"{top}/folder") == 4000 + 2_048_000
    walked = list(fs.walk(f"{top}/folder"))
    assert [(folders, files) for _, folders, files in walked] == [(["below"], ["one"]), ([], ["two"])]
    assert fs.modified(f"{top}/folder/one").timestamp() == pytest.approx(1_600_000_000.123456)


def test_links_are_what_they_lead_to(fs: AbstractFileSystem, top: str, source: Path) -> None:
    found = {info["name"].rpartition("/")[2]: info for info in fs.ls(top)}
    assert {name: info["type"] for name, info in found.items()} == {
        "folder": "directory",
        "absolute": "link",  # a walk does not go into it
        "away": "link",
        "loop": "link",
        "relative": "file",
        "through": "file",
    }
    assert found["relative"]["destination"] == "folder/below/two"
    assert found["relative"]["size"] == 2_048_000
    assert fs.isdir(f"{top}/absolute")
    assert fs.ls(f"{top}/absolute", detail=False) == [f"{top}/absolute/below", f"{top}/absolute/one"]
    assert fs.cat_file(f"{top}/through") == b"one\n" * 1000
    assert len(fs.find(top)) == 7
    for broken in ("loop", "away"):
        assert fs.info(f"{top}/{broken}")["type"] == "link"
        with pytest.raises(FileNotFoundError):
            fs.open(f"{top}/{broken}")


def test_what_is_not_there(fs: AbstractFileSystem, top: str) -> None:
    for path in (f"{top}/nothing", f"{top}/folder/one/below", "feed/x", "feed"):
        assert not fs.exists(path)
        assert not fs.isfile(path)
        assert not fs.isdir(path)
        for use in (fs.info, fs.ls, fs.open, fs.cat_file):
            with pytest.raises(FileNotFoundError):
                use(path)
    with pytest.raises(IsADirectoryError):
        fs.open(f"{top}/folder")


def test_ranges(fs: AbstractFileSystem, top: str, source: Path) -> None:
    expected = (source / "folder/below/two").read_bytes()
    path = f"{top}/folder/below/two"
    for start, end in ((None, None), (5, 10), (-10, None), (-10, -2), (100, 50), (3_000_000, 3_000_010), (None, 7)):
        assert fs.cat_file(path, start, end) == expected[start:end]
    starts = list(range(0, 2_000_000, 50_000))
    ends = [start + 1000 for start in starts]
    assert fs.cat_ranges([path] * len(starts), starts, ends) == [expected[start : start + 1000] for start in starts]
    assert fs.cat_ranges([path, path], 0, 3) == [expected[:3]] * 2
    missing = fs.cat_ranges([path, f"{top}/nothing"], [0, 0], [1, 1])
    assert missing[0] == expected[:1]
    assert isinstance(missing[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([path, f"{top}/nothing"], [0, 0], [1, 1], on_error="raise")
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges([path], [0, 1], [2])
    assert fs.head(path, 10) == expected[:10]
    assert fs.tail(path, 10) == expected[-10:]
    assert fs.cat([path, f"{top}/folder/one"])[f"{top}/folder/one"] == b"one\n" * 1000


def test_everything_is_fetched_as_it_is(fs: AbstractFileSystem, top: str, source: Path, tmp_path: Path) -> None:
    fs.get(f"{top}/folder", str(tmp_path / "fetched"), recursive=True)
    for name in ("one", "below/two"):
        assert (tmp_path / "fetched" / name).read_bytes() == (source / "folder" / name).read_bytes()


def test_odd_names(opened: OpenRepository, tmp_path: Path, options: dict[str, str]) -> None:
    odd = [b"with space", b"new\nline", b"\xff\xfe", "ü#?&%41".encode(), b"a:b", b"[x]*", b"~"]
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, name in enumerate(odd):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"%d" % number)
    opened.backup(folder)
    fs = fsspec.filesystem("restic", **options)
    found = fs.ls(f"latest{folder}", detail=False)
    assert sorted(os.fsencode(path.rpartition("/")[2]) for path in found) == sorted(odd)
    for number, name in enumerate(odd):
        assert fs.cat_file(f"latest{folder}/{os.fsdecode(name)}") == b"%d" % number


def test_nothing_can_be_written(fs: AbstractFileSystem, top: str, tmp_path: Path) -> None:
    path = f"{top}/folder/one"
    for write in (
        lambda: fs.open(path, "wb"),
        lambda: fs.open(path, "ab"),
        lambda: fs.open(path, "x"),
        lambda: fs.mkdir(f"{top}/new"),
        lambda: fs.makedirs(f"{top}/new"),
        lambda: fs.rm(path),
        lambda: fs.rm_file(path),
        lambda: fs.rmdir(f"{top}/folder"),
        lambda: fs.cp_file(path, f"{top}/new"),
        lambda: fs.copy(path, f"{top}/new"),
        lambda: fs.mv(path, f"{top}/new"),
        lambda: fs.touch(path),
        lambda: fs.pipe_file(path, b"x"),
        lambda: fs.pipe({path: b"x"}),
        lambda: fs.write_text(path, "x"),
        lambda: fs.put_file(__file__, f"{top}/new"),
        lambda: fs.put(__file__, f"{top}/new"),
    ):
        with pytest.raises(OSError, match="cannot be changed"):
            write()
    assert fs.cat_file(path) == b"one\n" * 1000


# Password and settings


def test_the_password_is_shown_nowhere(location: Path, filled: OpenRepository) -> None:
    fs = fsspec.filesystem("restic", repo=str(location), password=SECRET)
    again = fsspec.filesystem("restic", repo=str(location), password=SECRET)
    assert fs is again
    assert fs is not fsspec.filesystem("restic", repo=str(location), password="another")
    shown = [
        repr(fs),
        str(fs.storage_options),
        repr(vars(fs)),
        fs.to_json(),
        fs.to_json(include_password=True),
        json.dumps(fs.to_dict(include_password=True)),
        fs._fs_token,
        repr(copy.deepcopy(fs.storage_options)),
    ]
    assert not [text for text in shown if SECRET in text]
    assert SECRET.encode() not in pickle.dumps(fs)
    assert copy.deepcopy(fs.storage_options)["password"].value == SECRET
    with pytest.raises(WrongPassword) as raised:
        fs.ls("")
    assert SECRET not in str(raised.value)


def test_another_process_has_a_password_of_its_own(
    location: Path, top: str, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = fsspec.filesystem("restic", repo=str(location), password=PASSWORD)
    assert fs.cat_file(f"{top}/folder/one", 0, 3) == b"one"
    sent = pickle.loads(pickle.dumps(fs))
    with pytest.raises(PasswordUnavailable, match="not sent"):
        sent.ls("")
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    assert sent.cat_file(f"{top}/folder/one", 0, 3) == b"one"
    by_file = fsspec.filesystem("restic", repo=str(location), password_file=password_file)
    for copied in (pickle.loads(pickle.dumps(by_file)), AbstractFileSystem.from_json(by_file.to_json())):
        assert copied.cat_file(f"{top}/folder/one", 0, 3) == b"one"
    with by_file.open(f"{top}/folder/one") as file:
        file.seek(4)
        with pickle.loads(pickle.dumps(file)) as opened_again:
            assert opened_again.read(4) == b"one\n"


def test_settings_come_from_the_environment_unless_they_are_given(
    location: Path, top: str, tmp_path: Path, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{top}/folder/one"
    with pytest.raises(UsageError, match="RESTIC_REPOSITORY"):
        fsspec.filesystem("restic").ls("")
    (tmp_path / "where").write_text(f"{location}\n")
    monkeypatch.setenv("RESTIC_REPOSITORY_FILE", str(tmp_path / "where"))
    with pytest.raises(UsageError, match="RESTIC_PASSWORD"):
        fsspec.filesystem("restic").ls("")
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    with pytest.raises(WrongPassword):
        fsspec.filesystem("restic").ls("")
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", password_file)
    assert fsspec.filesystem("restic").cat_file(path, 0, 3) == b"one"
    monkeypatch.delenv("RESTIC_PASSWORD_FILE")
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", f"echo {PASSWORD}")
    assert fsspec.filesystem("restic").cat_file(path, 0, 3) == b"one"
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", "false")
    assert fsspec.filesystem("restic", password=PASSWORD).cat_file(path, 0, 3) == b"one"
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "nothing"))
    with pytest.raises(RepositoryNotFound):
        fsspec.filesystem("restic", password=PASSWORD).exists(path)
    assert fsspec.filesystem("restic", repo=str(location), password=PASSWORD).exists(path)


def test_an_option_that_does_not_exist_is_an_error(options: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="'pasword'"):
        fsspec.filesystem("restic", **options, pasword="x")
    assert options["repo"] in repr(fsspec.filesystem("restic", **options, use_listings_cache=False))


def test_filters_say_what_latest_is(opened: OpenRepository, source: Path, options: dict[str, str]) -> None:
    opened.backup(source, tags=["wanted"], hostname="here")
    opened.backup(source, tags=["other"], hostname="there")
    fs = fsspec.filesystem("restic", **options, tags=[["wanted"]])
    assert fs.info("latest")["tags"] == ["wanted"]
    assert [info["tags"] for info in fs.ls("")] == [["wanted"]]
    assert fsspec.filesystem("restic", **options, hosts=["there"]).info("latest")["hostname"] == "there"
    with pytest.raises(TypeError):
        fsspec.filesystem("restic", **options, hosts="there")


def test_what_is_damaged_is_not_taken_for_missing(fs: AbstractFileSystem, filled: OpenRepository, top: str) -> None:
    for index in Path(filled.location, "index").iterdir():
        index.unlink()
    for use in (fs.exists, fs.info, fs.ls, lambda path: list(fs.walk(path))):
        with pytest.raises(ResticFormatError) as raised:
            use(f"{top}/folder")
        assert not isinstance(raised.value, OSError)


# Locks, threads and processes


def test_the_lock_goes_when_nobody_reads(
    fs: AbstractFileSystem, filled: OpenRepository, top: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE", 0.2)
    fs.info(top)
    assert locks(filled) == 1
    file = fs.open(f"{top}/folder/one")
    held = fs._held
    for _ in range(100):
        if held._timer is None:
            break
        threading.Event().wait(0.05)
    assert held._timer is None
    assert locks(filled) == 1  # of the open file
    assert file.read(3) == b"one"
    file.close()
    del file
    assert locks(filled) == 0
    try:
        fs.cat_file(f"{top}/nothing")
    except FileNotFoundError as error:
        failure = error  # as people's shells keep the last one
    fs.close()
    assert locks(filled) == 0, failure
    assert fs.exists(top)
    fs.close()
    assert locks(filled) == 0


def test_latest_stays_the_same_until_it_is_asked_for_anew(fs: AbstractFileSystem, filled: OpenRepository) -> None:
    before = fs.info("latest")["id"]
    filled.backup_stream(b"x", "x")
    assert fs.info("latest")["id"] == before
    assert len(fs.ls("")) == 2
    fs.invalidate_cache()
    assert fs.info("latest")["id"] != before


def test_many_snapshots_are_not_all_kept_open(opened: OpenRepository, options: dict[str, str]) -> None:
    for number in range(12):
        opened.backup_stream(b"%d" % number, "x", tags=[str(number)])
    fs = fsspec.filesystem("restic", **options)
    for info in fs.ls(""):
        assert fs.cat_file(f"{info['name']}/x").decode() == info["tags"][0]
    assert len(fs._held._files) <= connection._MOST_SNAPSHOTS


def test_threads_share_a_connection(options: dict[str, str], top: str, source: Path) -> None:
    expected = (source / "folder/below/two").read_bytes()
    found: list[object] = []

    def work(number: int) -> None:
        try:
            fs = fsspec.filesystem("restic", **options)  # another instance in each thread
            fs.info(top)
            found.append(fs._held)
            for start in range(number, 2_000_000, 100_000):
                assert fs.cat_file(f"{top}/relative", start, start + 10) == expected[start : start + 10]
        except BaseException as error:  # noqa: BLE001 - told below
            found.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(map(id, found))) == 1, found


def _read(fs: AbstractFileSystem, path: str, queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(fs.cat_file(path, 0, 3))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read(fs: AbstractFileSystem, filled: OpenRepository, top: str, method: str) -> None:
    with fs.open(f"{top}/folder/one") as file:
        assert file.read(1) == b"o"
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        child = context.Process(target=_read, args=(fs, f"{top}/folder/one", queue))
        child.start()
        assert queue.get(timeout=60) == b"one"
        child.join()
        assert child.exitcode == 0
        assert file.read(3) == b"ne\n"
        assert locks(filled) == 1


def test_the_extra_is_needed_for_nothing_else() -> None:
    code = "import sys; sys.modules['fsspec'] = None; import restic_format; restic_format.open_repository"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The libraries it is for


@pytest.fixture
def tables(opened: OpenRepository, tmp_path: Path) -> str:
    """Parquet and CSV of one table in a snapshot; and the address of their folder."""
    folder = tmp_path / "tables"
    (folder / "parts").mkdir(parents=True)
    table = pandas.DataFrame({"number": range(50_000), "text": [f"row {number}" for number in range(50_000)]})
    table.to_parquet(folder / "table.parquet", row_group_size=5000)
    table.to_csv(folder / "table.csv", index=False)
    table.to_csv(folder / "table.csv.gz", index=False)
    for part in range(3):
        table[part * 1000 : part * 1000 + 1000].to_parquet(folder / "parts" / f"{part}.parquet")
    (folder / "current.parquet").symlink_to("table.parquet")
    opened.backup(folder)
    return f"restic://latest{folder}"


def test_pandas_reads_tables(tables: str, options: dict[str, str]) -> None:
    for name in ("table.parquet", "current.parquet"):
        table = pandas.read_parquet(f"{tables}/{name}", storage_options=options)
        assert list(table["number"]) == list(range(50_000))
    for name in ("table.csv", "table.csv.gz"):
        read = pandas.read_csv(f"{tables}/{name}", storage_options=options)
        assert read.equals(table) or list(read["text"]) == list(table["text"])
    column = pandas.read_parquet(f"{tables}/table.parquet", columns=["number"], storage_options=options)
    assert list(column) == ["number"]
    parts = pandas.read_parquet(f"{tables}/parts", storage_options=options)
    assert sorted(parts["number"]) == list(range(3000))
    with pytest.raises(OSError, match="cannot be changed"):
        table.to_csv(f"{tables}/new.csv", storage_options=options)


def test_pyarrow_reads_tables(tables: str, options: dict[str, str]) -> None:
    fs, folder = fsspec.url_to_fs(tables, **options)
    table = pyarrow.parquet.read_table(f"{folder}/table.parquet", filesystem=fs, filters=[("number", ">=", 49_000)])
    assert table.num_rows == 1000
    dataset = pyarrow.dataset.dataset(f"{folder}/parts", filesystem=fs, format="parquet")
    assert dataset.count_rows() == 3000
    assert dataset.to_table(filter=pyarrow.dataset.field("number") < 10).num_rows == 10
    with pyarrow.parquet.ParquetFile(fs.open(f"{folder}/table.parquet"), pre_buffer=True) as opened:
        assert opened.num_row_groups == 10
        assert opened.read_row_group(9).num_rows == 5000


def test_what_is_reached_through_a_link_to_a_directory(opened: OpenRepository, tmp_path: Path, options: dict[str, str]) -> None:
    (tmp_path / "there" / "real").mkdir(parents=True)
    (tmp_path / "there" / "real" / "table.csv").write_text("a\n1\n")
    (tmp_path / "there" / "real" / "here").symlink_to("table.csv")
    (tmp_path / "there" / "current").symlink_to("real")
    opened.backup(tmp_path / "there")
    fs = fsspec.filesystem("restic", **options)
    path = f"latest{tmp_path}/there/current/table.csv"
    assert fs.exists(path)
    assert fs.info(path)["size"] == 4
    with fs.open(path) as file:
        assert file.read() == b"a\n1\n"
    assert [entry["islink"] for entry in fs.ls(f"latest{tmp_path}/there/current")] == [True, False]
    with opened.files() as files:
        assert files.stat(f"{tmp_path}/there/current/here").is_symlink
    assert not fs.exists("0" * 64 + "/x")
    with pytest.raises(TypeError, match="password"):
        fsspec.filesystem("restic", repo=options["repo"], password=bytearray(b"x"))
