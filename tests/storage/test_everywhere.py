"""What storages behind servers must show beside the contract: foreign names, very many files, uploads that were interrupted."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from restic_format.errors import StorageError
from restic_format.storage import Storage
from restic_spec.ids import id_of
from restic_spec.layout import LISTED_KINDS, FileKind, folder_of
from tests.servers.base import ROOT, Server
from tests.servers.faultyproxy import Fault, FaultyProxy
from tests.servers.kit import open_place
from tests.servers.places import KINDS, Places
from tests.servers.sftp import sftp_place
from tests.storage.contract import CONTENT, NAME, OTHER

EVERY_DAY = ("rest", "rest-ours", "sftp", "s3")

HERE = [pytest.param(kind, marks=[] if kind in EVERY_DAY else [pytest.mark.long]) for kind in KINDS]


def with_folder(kinds: list) -> list:
    """Those that keep files which can be put there without the server."""
    return [kind for kind in kinds if kind.values[0] not in ("gs", "azure", "swift", "b2")]


def made(places: Places, kind: str) -> tuple[Storage, Path | None]:
    place = places.server(kind).place("everywhere")
    storage = open_place(place)
    storage.create()
    return storage, place.folder


@pytest.mark.clause("LAYOUT-2")
@pytest.mark.parametrize("kind", with_folder(HERE))
def test_names_that_are_not_ours_are_left_out(kind: str, places: Places) -> None:
    storage, folder = made(places, kind)
    assert folder is not None
    odd = [
        "README",
        NAME[:63],
        NAME + "0",
        NAME.upper(),
        "g" * 64,
        f"{OTHER}-restic-temp-{'0' * 32}",
        ".hidden",
        "a b",
        "ä",
        "x" * 200,
    ]
    for file_kind in LISTED_KINDS:
        storage.save(file_kind, NAME, CONTENT)
        above = folder / folder_of(file_kind)
        for where in [above, above / NAME[:2]] if file_kind is FileKind.PACK else [above]:
            for name in odd:
                (where / name).write_bytes(b"?")
            if os.geteuid() == 0:
                for name in odd:
                    os.chown(where / name, folder.stat().st_uid, -1)
    for file_kind in LISTED_KINDS:
        assert list(storage.list(file_kind)) == [(NAME, len(CONTENT))]


@pytest.mark.slow
def test_a_hundred_thousand_files_are_listed(rest_server: Server, tmp_path: Path) -> None:
    place = rest_server.place("many")
    open_place(place).create()
    assert place.folder is not None
    names = {id_of(number.to_bytes(4, "big")).hex() for number in range(100_000)}
    for name in names:
        os.close(os.open(place.folder / "data" / name[:2] / name, os.O_CREAT, 0o600))
    for at in (place, sftp_place(place.folder)):
        storage = open_place(at)
        assert list(storage.list(FileKind.SNAPSHOT)) == []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found: set[str] = set()
        for name, size in storage.list(FileKind.PACK):
            assert size == 0
            found.add(name)
        assert found == names
        # The names themselves, once for this test and once to give none twice, and the listing as it came.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


SLOW_UPLOAD = """
import sys
from restic_format.storage.limited import Pace
from restic_spec.layout import FileKind
from restic_format.storage import open_storage
from tests.servers.base import Place
from tests.servers.kit import transport_of
place = eval(sys.stdin.read(), {"Place": Place})
transport = transport_of(place)._replace(upload=Pace(1 << 20))
storage = open_storage(place.location, place.options, transport)
print("begun", flush=True)
storage.save(FileKind.PACK, sys.argv[1], bytes(64 << 20))
"""


@pytest.mark.parametrize("kind", HERE)
def test_an_upload_whose_process_is_killed_leaves_nothing(kind: str, places: Places) -> None:
    place = places.server(kind).place("killed")
    storage = open_place(place)
    storage.create()
    name = id_of(bytes(64 << 20)).hex()
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "spec", "tools", "conformance"))
    words = [sys.executable, "-c", SLOW_UPLOAD, name]
    env = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(repr(place._replace(folder=None)).replace("mappingproxy", "dict"))
        child.stdin.close()
        assert child.stdout.readline() == "begun\n"
        time.sleep(1.5)
        assert child.poll() is None
        child.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while (left := list(storage.list(FileKind.PACK))) and time.monotonic() < end:
        time.sleep(0.1)  # the server may not have noticed yet
    if kind == "rclone":
        # rclone leaves in a folder what it had got when it ends, whoever has started it; the whole file takes its place.
        storage.save(FileKind.PACK, name, bytes(64 << 20))
        assert list(storage.list(FileKind.PACK)) == [(name, 64 << 20)]
        return
    assert left == [] and not storage.exists(FileKind.PACK, name)
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert list(storage.list(FileKind.PACK)) == [(NAME, len(CONTENT))]


@pytest.mark.parametrize(
    "kind", [kind for kind in HERE if kind.values[0] in ("rest", "rest-ours", "rest-rclone", "s3", "gs", "swift")]
)
def test_an_upload_whose_connection_breaks_leaves_nothing(kind: str, places: Places) -> None:
    server = places.server(kind)
    assert isinstance(server, Server)
    place = server.place("cut")
    storage = open_place(place)
    storage.create()
    data = os.urandom(3_000_000)
    name = id_of(data).hex()
    with FaultyProxy(server.port, faults=[Fault.CUT_REQUEST], rate=1.0) as proxy:
        # Without what would try it again.
        inner = open_place(proxy.place(place)).inner  # type: ignore[attr-defined]
        with pytest.raises(StorageError) as caught:
            inner.save(FileKind.PACK, name, data)
    assert not caught.value.permanent
    assert list(storage.list(FileKind.PACK)) == [] and not storage.exists(FileKind.PACK, name)
    storage.save(FileKind.PACK, name, data)
    assert storage.load(FileKind.PACK, name) == data
