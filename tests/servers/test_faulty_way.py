"""Something gets in the way between program and server: nothing is lost, errors are clear, locks do not stay in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.faultyproxy import Fault, FaultyProxy
from tests.servers.faultysftp import FaultySftp
from tests.servers.sftp import sftp_place
from tests.servers.trouble import through_faults

SERVERS = {"rest_server": 50, "gcs_server": 50, "rclone_s3": 50, "our_server": 20, "rclone_webdav": 50}
"""The servers, and how many runs each has under `make long`; the first one of each is among the tests of every day."""

UNSEEN = {"rclone_webdav": {Fault.GARBLE_REQUEST}}
"""What nothing could find out: WebDAV has no checksums."""

RUNS = [
    pytest.param(server, seed, marks=[pytest.mark.long] * (seed > 0), id=f"{server}-{seed}")
    for server, runs in SERVERS.items()
    for seed in range(runs)
]


@pytest.mark.parametrize(("fixture", "seed"), RUNS)
def test_nothing_is_lost_on_a_faulty_way(fixture: str, seed: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server = request.getfixturevalue(fixture)
    with FaultyProxy(server.port, seed, faults=[fault for fault in Fault if fault not in UNSEEN.get(fixture, ())]) as proxy:
        story = through_faults(server.place(), proxy, tmp_path, seed)
    assert story.faults, proxy.story()


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.long] * (seed > 0)) for seed in range(50)])
def test_nothing_is_lost_where_sessions_with_an_sftp_server_break(seed: int, tmp_path: Path) -> None:
    line = FaultySftp(tmp_path / "line", seed)
    story = through_faults(sftp_place(tmp_path / "repo"), line, tmp_path / "work", seed)
    assert story.faults, line.story()
