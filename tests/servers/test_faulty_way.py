"""Something gets in the way between program and server: nothing is lost, errors are clear, locks do not stay in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.faultyproxy import Fault, FaultyProxy
from tests.servers.faultysftp import FaultySftp
from tests.servers.sftp import sftp_place
from tests.servers.trouble import through_faults

RUNS = {
    "rest_server": 50,
    "rclone_s3": 50,
    "our_server": 20,
    "swift": 20,
    "swift s3_place": 20,
    "gcs_server": 50,
    "rclone_webdav": 50,
    "rclone_rest": 20,
}
"""The servers, and how many runs each has under `make long`; one each of the first two is among the tests of every day."""

UNSEEN = {"rclone_webdav": [Fault.GARBLE_REQUEST], "rclone_rest": [Fault.GARBLE_REQUEST]}
"""What nothing could find out: WebDAV has no checksums, and rclone does not compare a file with its name."""

EVERY_DAY = ("rest_server", "rclone_s3")

CASES = [
    pytest.param(server, seed, marks=[] if server in EVERY_DAY and not seed else [pytest.mark.long], id=f"{server}-{seed}")
    for server, runs in RUNS.items()
    for seed in range(runs)
]


@pytest.mark.parametrize(("fixture", "seed"), CASES)
def test_nothing_is_lost_on_a_faulty_way(fixture: str, seed: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name, _, kind_of_place = fixture.partition(" ")
    server = request.getfixturevalue(name)
    faults = [fault for fault in Fault if fault not in UNSEEN.get(name, [])]
    with FaultyProxy(server.port, seed, faults=faults) as proxy:
        story = through_faults(getattr(server, kind_of_place or "place")(), proxy, tmp_path, seed)
    assert story.faults, proxy.story()


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.long] * (seed > 0)) for seed in range(50)])
def test_nothing_is_lost_where_sessions_with_an_sftp_server_break(seed: int, tmp_path: Path) -> None:
    line = FaultySftp(tmp_path / "line", seed)
    story = through_faults(sftp_place(tmp_path / "repo"), line, tmp_path / "work", seed)
    assert story.faults, line.story()
