"""Azure and Google beside real programs: restic through the same server, or rclone, which knows nothing of repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.servers.azurite import Azurite
from tests.servers.base import Place, Server, peer
from tests.servers.trouble import Ours
from tests.storage.interchange import interchange


def test_google(gcs_server: Server, tmp_path: Path) -> None:
    interchange(gcs_server.place(), tmp_path)


def test_azure_by_way_of_rclone(azurite: Server, tmp_path: Path) -> None:
    # Debian's restic knows no Azure: it works on a copy that rclone makes, and rclone takes back what it has changed.
    assert isinstance(azurite, Azurite)
    place = azurite.place()
    there = ":azureblob:" + place.location.removeprefix("azure:").replace(":/", "/")
    here = tmp_path / "copy"

    def sync(source: str, target: str) -> None:
        command = [peer("rclone"), "sync", "--checksum", source, target]
        done = subprocess.run(command, env=azurite.rclones(), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done

    interchange(
        place,
        tmp_path,
        restics=Place(str(here)),
        before=lambda: sync(there, str(here)),
        after=lambda: sync(str(here), there),
    )


@pytest.mark.long
def test_azure(azurite: Server, tmp_path: Path) -> None:
    interchange(azurite.place(), tmp_path, folder="restic-azure")


def test_what_opens_nothing_is_one_line_and_the_right_exit_code(azurite: Server, gcs_server: Server, tmp_path: Path) -> None:
    place = azurite.place()
    missing = place._replace(location="azure:no-such-box-either:/x")
    no_account = place._replace(environment={**place.environment, "AZURE_ACCOUNT_NAME": ""})
    other_key = place._replace(environment={**place.environment, "AZURE_ACCOUNT_KEY": "c2VjcmV0"})
    for at, code, said in (
        (missing, 10, "Fatal: repository does not exist: unable to open config file: "),
        (gcs_server.place()._replace(location="gs:no-such-bucket-either:/x"), 10, "Fatal: repository does not exist: "),
        (no_account, 1, "Account name ($AZURE_ACCOUNT_NAME) is empty"),
        (other_key, 1, "Check the value of Authorization header; is AZURE_ACCOUNT_KEY the key of this account?"),
    ):
        ended = Ours(at, tmp_path)("snapshots")
        lines = ended.err.strip().splitlines()
        assert ended.code == code and said in ended.err and len(lines) == (3 if code == 10 else 1), ended
        assert "c2VjcmV0" not in ended.err
