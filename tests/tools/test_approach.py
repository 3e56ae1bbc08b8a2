"""A command asks the server for its repository before it imports what it needs; what comes of that is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from restic_tools import access
from restic_tools.context import GlobalOptions
from tests.servers.kit import PASSWORD
from tests.servers.rest_server import RestServer
from tests.tools.kit import Runner


def test_a_backup_that_makes_its_repository_does_not_rely_on_what_was_not_there(
    rest_server: RestServer, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    place = rest_server.place("approach")
    (tmp_path / "file").write_text("content")
    missing = run(*place.words(), "backup", str(tmp_path / "file"))
    assert missing.code == 10
    assert missing.err.count(b"repository does not exist") == 1
    made = run(*place.words(), "backup", "--init", str(tmp_path / "file"))
    assert made.code == 0, made.err
    listed = run(*place.words(), "snapshots", "--json")
    assert listed.out.count(b'"short_id"') == 1
    monkeypatch.setenv("RESTIC_PASSWORD", "another")
    assert run(*place.words(), "snapshots").code == 12


@pytest.mark.parametrize("location", ["/some/folder", "local:folder", "sftp:user@host:/path", "rclone:remote:path", ""])
def test_nothing_but_a_server_that_is_asked_by_http_is_approached(location: str) -> None:
    options = GlobalOptions()
    options.repo = location
    assert access.approach(options, bool) is None


def test_what_goes_wrong_is_told_when_the_repository_is_opened(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    done = run("-r", "rest:ftp://host/", "backup", "--dry-run", "--verify", "/")
    assert done.code == 1
    assert b"mutually exclusive" in done.err, "the command line comes first"
    assert b"ftp" not in done.err
