"""Repositories through rclone, with the real program."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from restic_format.errors import FileMissing, StorageError, UsageError
from restic_format.storage import Storage, open_storage
from restic_format.storage.base import WrappedStorage
from restic_format.storage.child import ChildUnusable
from restic_format.storage.http.h2pipe import PipeClosed
from restic_format.storage.limited import Pace
from restic_format.storage.rclone import RcloneStorage, open_rclone
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.base import Place
from tests.servers.rclone import rclone_place
from tests.storage.contract import StorageContract
from tests.storage.interchange import interchange


def opened(place: Place, transport: Transport | None = None) -> RcloneStorage:
    """The storage at *place*, without retries."""
    transport = (transport or Transport())._replace(environment={**os.environ, **place.environment})
    options = {key.removeprefix("rclone."): value for key, value in place.options.items()}
    found = open_rclone(place.location.removeprefix("rclone:"), options, transport)
    assert isinstance(found, RcloneStorage)
    return found


class TestRclone(StorageContract):
    keeps_side_files = False

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        storage = opened(rclone_place(tmp_path / "repo"))
        storage.create()
        yield storage
        storage.close()


def test_restic_and_we_work_with_the_same_remote(tmp_path: Path) -> None:
    interchange(rclone_place(tmp_path / "repo"), tmp_path)


def test_a_large_pack_goes_there_and_back(tmp_path: Path) -> None:
    storage = opened(rclone_place(tmp_path / "repo"))
    content = os.urandom(1 << 20) * 40
    name = sha256(content).hexdigest()
    storage.save(FileKind.PACK, name, content)
    target = bytearray(len(content))
    storage.load_into(FileKind.PACK, name, 0, memoryview(target))
    assert target == content
    storage.close()


def test_an_upload_that_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    class Ending(Pace):
        def wait(self, size: int) -> None:
            if not wanted:
                raise KeyboardInterrupt
            wanted.pop()

    wanted = [1, 2, 3]
    storage = opened(rclone_place(tmp_path / "repo"), Transport(upload=Ending(1 << 30)))
    content = os.urandom(2 << 20)
    name = sha256(content).hexdigest()
    with pytest.raises(KeyboardInterrupt):
        storage.save(FileKind.PACK, name, content)
    wanted += range(100)
    storage.save(FileKind.PACK, sha256(b"").hexdigest(), b"")
    assert list(storage.list(FileKind.PACK)) == [(sha256(b"").hexdigest(), 0)]
    storage.save(FileKind.PACK, name, content)
    assert storage.load(FileKind.PACK, name) == content
    storage.close()


def test_what_rclone_prints_is_reported_and_ends_with_it(tmp_path: Path) -> None:
    lines: list[str] = []
    place = rclone_place(tmp_path)._replace(location="rclone:nosuch:folder")
    with pytest.raises(PipeClosed) as caught:
        opened(place, Transport(report=lines.append))
    assert (
        str(caught.value) == "unable to open repository at rclone:nosuch:folder: error talking HTTP to rclone: exit status 1"
        and caught.value.permanent
    )
    assert len(lines) == 1 and re.match(r"rclone: .* CRITICAL: .*find section in config file", lines[0])


def test_when_rclone_is_gone_nothing_is_tried_again(tmp_path: Path) -> None:
    lines: list[str] = []
    place = rclone_place(tmp_path / "repo")
    environment = {**os.environ, **place.environment}
    storage = open_storage(place.location, place.options, Transport(environment=environment, report=lines.append))
    assert isinstance(storage, WrappedStorage) and isinstance(storage.inner, RcloneStorage)
    storage.create()
    storage.inner.pipe.child.kill()
    with pytest.raises(PipeClosed, match="rclone stdio connection already closed: signal: killed"):
        storage.save(FileKind.PACK, sha256(b"").hexdigest(), b"")
    assert lines == []


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    storage = opened(rclone_place(tmp_path))
    storage.create()
    with pytest.raises(FileMissing, match="404 Not Found"):
        storage.remove(FileKind.SNAPSHOT, sha256(b"").hexdigest())
    storage.close()


UNUSABLE: dict[str, tuple[dict[str, str], type[Exception], str]] = {
    "not found": (
        {"program": "no-such-rclone"},
        ChildUnusable,
        "no-such-rclone: executable file not found in $PATH; install it",
    ),
    "not http": ({"program": "echo"}, PipeClosed, "error talking HTTP to rclone: what it prints is no HTTP/2"),
    "ends": ({"program": "sh -c 'exit 3'", "args": ""}, PipeClosed, "error talking HTTP to rclone: exit status 3"),
    "silent": (
        {"program": "sleep", "args": "", "timeout": "200ms"},
        PipeClosed,
        "error talking HTTP to rclone: it does not answer in time",
    ),
    "quotes": ({"args": "serve 'restic"}, UsageError, "option rclone.args: single-quoted string not terminated"),
    "timeout": ({"timeout": "-1s"}, UsageError, "option rclone.timeout: '-1s' is below 0"),
    "connections": ({"connections": "0"}, UsageError, "option rclone.connections: '0' is not a number above 0"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_rclone_that_cannot_be_used_is_told_in_a_line(case: str) -> None:
    options, kind, text = UNUSABLE[case]
    with pytest.raises(kind) as caught:
        open_rclone("100", options, Transport(environment=os.environ))
    before = "" if kind is UsageError else "unable to open repository at rclone:100: "
    assert type(caught.value) is kind and str(caught.value) == before + text
    assert not isinstance(caught.value, StorageError) or caught.value.permanent


def test_a_program_of_the_current_folder_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rclone").write_text("#!/bin/sh\ntouch started\n")
    (tmp_path / "rclone").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChildUnusable):
        open_rclone("x", {}, Transport(environment={"PATH": "."}))
    assert not (tmp_path / "started").exists()


def test_without_its_package_the_location_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "restic_format.storage.http.h2pipe")
    monkeypatch.setitem(sys.modules, "h2", None)
    with pytest.raises(UsageError, match=r"pip install 'restic-format\[rclone\]'"):
        open_rclone("x", {}, Transport())
