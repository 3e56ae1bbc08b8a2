"""Repositories on an SFTP server: what is on the server afterwards, how files are read and listed, many at once."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from restic_format.errors import FileExists, FileMissing, FileUnusable, StorageError
from restic_format.storage.limited import Pace
from restic_format.storage.local import LocalStorage
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.session import Pending, Session
from restic_format.storage.sftp.storage import SftpStorage
from restic_spec.ids import id_of
from restic_spec.layout import FileKind, folders
from tests.servers.sftp import sftp_command, sftp_place
from tests.storage.contract import CONTENT, NAME, OTHER
from tests.storage.sftpkit import BIG, BIG_NAME, EXTENSIONS, opened, server_of, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "repo"


@pytest.fixture
def storage(folder: Path) -> Iterator[SftpStorage]:
    storage = opened(sftp_place(folder))
    storage.create()
    yield storage
    storage.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_folders_have_restics_modes(storage: SftpStorage, folder: Path) -> None:
    storage.save(FileKind.CONFIG, "", b"config")
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert mode_of(folder) == mode_of(folder / "data" / NAME[:2]) == 0o700
    assert mode_of(folder / "config") == mode_of(folder / "data" / NAME[:2] / NAME) == 0o400
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir()) == sorted(folders())


def test_a_repository_that_a_group_shares_stays_shared(folder: Path) -> None:
    LocalStorage(folder).create()
    (folder / "config").write_bytes(b"config")
    (folder / "config").chmod(0o440)
    (folder / "data" / NAME[:2]).rmdir()
    old = os.umask(0o077)
    try:
        storage = opened(sftp_place(folder))
        storage.save(FileKind.PACK, NAME, CONTENT)
        storage.close()
    finally:
        os.umask(old)
    assert mode_of(folder / "data" / NAME[:2] / NAME) == 0o440
    assert mode_of(folder / "data" / NAME[:2]) == 0o770


def test_the_old_layout_is_read_and_written(folder: Path) -> None:
    for name in ("key", "lock", "snapshot", "index", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "key" / NAME).write_bytes(b"key")
    storage = opened(sftp_place(folder))
    assert storage.load(FileKind.KEY, NAME) == b"key"
    storage.save(FileKind.PACK, OTHER, CONTENT)
    assert (folder / "data" / OTHER).read_bytes() == CONTENT
    assert list(storage.list(FileKind.PACK)) == [(OTHER, len(CONTENT))]
    storage.close()


def test_folders_that_are_missing_are_made(storage: SftpStorage, folder: Path) -> None:
    (folder / "data" / NAME[:2]).rmdir()
    (folder / "keys").rmdir()
    storage.save(FileKind.PACK, NAME, CONTENT)
    storage.save_new(FileKind.KEY, NAME, CONTENT)
    writer = storage.begin(FileKind.PACK)
    writer.append(BIG)
    (folder / "data" / BIG_NAME[:2]).rmdir()
    writer.finish(BIG_NAME)
    assert storage.load(FileKind.PACK, NAME) == storage.load(FileKind.KEY, NAME) == CONTENT
    assert storage.load(FileKind.PACK, BIG_NAME) == BIG


def test_folders_that_were_made_are_taken_back_where_they_are_empty(tmp_path: Path) -> None:
    storage = opened(sftp_place(tmp_path / "above" / "repo"))
    storage.create()
    (tmp_path / "above" / "repo" / "data" / "07" / "kept").write_bytes(b"")
    assert storage.has_place(FileKind.INDEX)
    storage.uncreate()
    assert not storage.has_place(FileKind.INDEX)
    assert [path.name for path in (tmp_path / "above").rglob("*")] == ["repo", "data", "07", "kept"]
    storage.close()


@pytest.mark.parametrize("denied", ["", ",".join(EXTENSIONS)], ids=["extensions", "none"])
def test_ranges_at_every_border_of_what_is_read_at_once(folder: Path, denied: str) -> None:
    storage = opened(sftp_place(folder, *(["-P", denied] if denied else [])))
    storage.create()
    writer = storage.begin(FileKind.PACK)
    for start in range(0, len(BIG), 100_001):
        writer.append([BIG[start : start + 50_000], memoryview(BIG)[start + 50_000 : start + 100_001]])
    writer.finish(BIG_NAME)
    assert hashlib.sha256(storage.load(FileKind.PACK, BIG_NAME)).hexdigest() == BIG_NAME
    step = storage._connection._session.sizes().read
    assert step == (32 << 10 if denied else (256 << 10) - 1024)
    for offset in (0, 1, step - 1, step, step + 1):
        for length in (1, step - 1, step, step + 1, 2 * step, len(BIG) - offset):
            target = bytearray(length)
            storage.load_into(FileKind.PACK, BIG_NAME, offset, memoryview(target))
            assert target == BIG[offset : offset + length] == storage.load(FileKind.PACK, BIG_NAME, offset, length)
    storage.close()


def test_many_threads_share_one_connection(storage: SftpStorage) -> None:
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(6):
                data = (b"%d-%d some data " % (number, turn)) * (1 + 20_000 * (turn % 3))
                name = id_of(data).hex()
                storage.save(FileKind.PACK, name, data)
                assert storage.load(FileKind.PACK, name) == data
                assert (name, len(data)) in list(storage.list(FileKind.PACK))
                assert storage.load(FileKind.PACK, name, 3, 5) == data[3:8]
                if turn % 2:
                    storage.remove(FileKind.PACK, name)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(storage.list(FileKind.PACK))) == 24
    storage.size(FileKind.PACK, next(storage.list(FileKind.PACK))[0])  # whatever was asked before has been answered then
    assert not storage._connection._session._waiting


def test_those_who_read_one_file_at_a_time_share_it(
    storage: SftpStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.save(FileKind.PACK, BIG_NAME, BIG)
    asked: list[int] = []
    send = Session.send

    def noted(session: Session, requests: Sequence[protocol.Request]) -> list[Pending]:
        asked.extend(request.kind for request in requests)
        return send(session, requests)

    monkeypatch.setattr(Session, "send", noted)
    os.kill(server_of(storage), signal.SIGSTOP)
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda start=start: results.append(storage.load(FileKind.PACK, BIG_NAME, start, 5000)))
        for start in range(0, 60_000, 10_000)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: [file.users for file in storage._open_files._open.values()] == [len(threads)])
    os.kill(server_of(storage), signal.SIGCONT)
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(BIG[start : start + 5000] for start in range(0, 60_000, 10_000))
    assert asked.count(protocol.OPEN) == asked.count(protocol.CLOSE) == 1 and not storage._open_files._open
    assert open_at(storage, folder) == []


def open_at(storage: SftpStorage, folder: Path) -> list[str]:
    """What the server has open in *folder*, when it has done all it was asked before."""
    storage.exists(FileKind.CONFIG, "")
    paths = [os.readlink(path) for path in Path(f"/proc/{server_of(storage)}/fd").iterdir()]
    return [path for path in paths if path.startswith(str(folder))]


def test_a_listing_that_nobody_reads_to_its_end_leaves_nothing_open(storage: SftpStorage, folder: Path) -> None:
    for number in range(256):
        (folder / "data" / f"{number:02x}" / f"{number:064x}").write_bytes(b"")
    listing = storage.list(FileKind.PACK)
    assert next(listing)[0] == "0" * 64
    assert open_at(storage, folder)  # of the next folders
    listing.close()  # type: ignore[attr-defined]
    assert open_at(storage, folder) == []
    assert len(list(storage.list(FileKind.PACK))) == 256 and open_at(storage, folder) == []


@pytest.mark.parametrize("denied", ["", "hardlink", ",".join(EXTENSIONS)])
def test_of_several_who_make_the_same_new_file_one_succeeds(folder: Path, denied: str) -> None:
    storages = [opened(sftp_place(folder, *(["-P", denied] if denied else []))) for _ in range(4)]
    storages[0].create()
    done: list[int] = []

    def save(number: int) -> None:
        try:
            storages[number].save_new(FileKind.CONFIG, "", b"%d" % number)
        except FileExists:
            return
        done.append(number)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1 and (folder / "config").read_bytes() == b"%d" % done[0]
    assert list(storages[0].strays()) == []
    for storage in storages:
        storage.close()


def test_files_are_on_the_disk_before_they_are_named_and_their_names_before_it_returns(
    storage: SftpStorage, folder: Path, tmp_path: Path
) -> None:
    # sftp-server says in its log what it does, in the order in which it does it.
    place = sftp_place(folder, "-l", "DEBUG3", "-e")
    told: list[str] = []
    logged = opened(place, report=told.append)
    logged.save(FileKind.PACK, NAME, CONTENT)
    logged.save_new(FileKind.CONFIG, "", CONTENT)
    logged.close()
    steps = re.findall(r"(fsync|posix-rename|hardlink|open) (?:\"|.*old \")(\S*)\"", "\n".join(told))
    placed = [(what, "temporary" if "-restic-temp-" in path else path.removeprefix(str(folder))) for what, path in steps]
    data = f"/data/{NAME[:2]}"
    assert placed == [
        *(("open", "temporary"), ("fsync", "temporary"), ("open", data), ("posix-rename", "temporary"), ("fsync", data)),
        *(("open", "temporary"), ("fsync", "temporary"), ("open", ""), ("hardlink", "temporary"), ("fsync", "")),
    ], told


def test_links_are_followed(storage: SftpStorage, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / NAME).write_bytes(CONTENT)
    (folder / "data" / "zz").symlink_to(tmp_path / "elsewhere")
    (folder / "index" / NAME).symlink_to(tmp_path / "elsewhere" / NAME)
    (folder / "index" / OTHER).symlink_to(tmp_path / "nowhere")
    local = LocalStorage(folder)
    for kind in (FileKind.INDEX, FileKind.PACK):
        assert list(storage.list(kind)) == list(local.list(kind)) == [(NAME, len(CONTENT))]
    assert storage.load(FileKind.INDEX, NAME) == CONTENT
    assert storage.size(FileKind.INDEX, NAME) == len(CONTENT)


def test_strays_are_those_of_a_local_folder(storage: SftpStorage, folder: Path) -> None:
    storage.save(FileKind.PACK, NAME, CONTENT)
    (folder / "data" / "00" / OTHER).write_bytes(b"in the wrong folder")
    (folder / "parity").mkdir()
    (folder / "parity" / "ours").write_bytes(b"")
    (folder / "a" / "b").mkdir(parents=True)
    with open(os.fsencode(folder / "a" / "b") + b"/\xff\n", "wb") as file:
        file.write(b"odd")
    (folder / "snapshots" / "README").write_bytes(b"read me")
    local = LocalStorage(folder)
    assert sorted(storage.strays()) == sorted(local.strays()) and len(list(local.strays())) == 3
    for path in local.strays():
        assert storage.load_stray(path) == local.load_stray(path)
    (folder / "link").symlink_to(folder / "snapshots" / "README")
    for path in ("link", "a", "../x", "/etc/passwd"):
        with pytest.raises(FileUnusable):
            storage.load_stray(path)
    with pytest.raises(FileMissing):
        storage.load_stray("none")


def test_side_files_are_those_of_a_local_folder(storage: SftpStorage, folder: Path, tmp_path: Path) -> None:
    here, there = LocalStorage(folder).side_files("quarantine"), storage.side_files("quarantine")
    assert there.location == f"{storage.location}/quarantine" and storage.side_files("").location == storage.location
    here.save("run/one", b"1")
    there.save("run/below/two", b"22")
    (folder / "quarantine" / "run" / "link").symlink_to(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "quarantine" / "run" / "other").symlink_to(tmp_path / "secret")
    unfinished = there.begin()
    unfinished.append(bytes(1 << 20))
    assert list(there.list()) == list(here.list()) == [("run/below/two", 2), ("run/one", 1)]
    unfinished.abort()
    assert here.load("run/below/two") == b"22" and there.load("run/one") == b"1"
    for side in (here, there):
        for name in ("run/other", "run/link"):
            with pytest.raises(StorageError):
                side.load(name)
    there.remove("run/below/two")
    assert sorted(path.name for path in (folder / "quarantine").rglob("*")) == ["link", "one", "other", "run"]


def test_a_pace_is_asked_for_every_piece(folder: Path) -> None:
    asked: dict[str, list[int]] = {"up": [], "down": []}

    class Noted(Pace):
        def __init__(self, way: str) -> None:
            self.way = way

        def wait(self, size: int) -> None:
            asked[self.way].append(size)

    storage = opened(sftp_place(folder), upload=Noted("up"), download=Noted("down"))
    storage.create()
    storage.save(FileKind.PACK, BIG_NAME, BIG)
    assert storage.load(FileKind.PACK, BIG_NAME) == BIG
    target = bytearray(1000)
    storage.load_into(FileKind.PACK, BIG_NAME, 5, memoryview(target))
    storage.close()
    assert sum(asked["up"]) == len(BIG) and sum(asked["down"]) == len(BIG) + 1000
    assert max(asked["up"] + asked["down"]) <= 256 << 10


def test_nothing_is_asked_of_a_server_before_it_has_said_what_it_offers(folder: Path, tmp_path: Path) -> None:
    # A fake that greets when it is let: what is asked for meanwhile waits, and nobody waits for a program to start.
    gate, script = tmp_path / "gate", tmp_path / "slow"
    script.write_text(f"#!/bin/sh\nwhile ! [ -e {gate} ]; do sleep 0.05; done\nexec {sftp_command()}\n")
    script.chmod(0o755)
    storage = opened(sftp_place(folder)._replace(options={"sftp.command": str(script)}))
    assert not storage._connection._session._started.is_set()
    gate.touch()
    assert not storage.exists(FileKind.CONFIG, "")
    storage.close()
