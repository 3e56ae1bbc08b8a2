"""Signing in to OpenStack Swift by the real identity service, in every way there is; restic beside us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.base import Place
from tests.servers.keystone import PASSWORD, USER, Cloud, running_cloud
from tests.servers.kit import make_repository
from tests.servers.trouble import Ours, restic

pytestmark = pytest.mark.long

WAYS = {
    "names": {"OS_USERNAME": USER, "OS_PASSWORD": PASSWORD, "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_NAME": "backup"},
    "ids": {"OS_USER_ID": "{user}", "OS_PASSWORD": PASSWORD, "OS_TENANT_ID": "{project}", "OS_REGION_NAME": "here"},
    "ids of domains": {
        "OS_USERNAME": USER,
        "OS_PASSWORD": PASSWORD,
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_NAME": "backup",
        "OS_PROJECT_DOMAIN_ID": "default",
    },
    "credential": {"OS_APPLICATION_CREDENTIAL_ID": "{credential}", "OS_APPLICATION_CREDENTIAL_SECRET": "secret"},
    "name of a credential": {
        "OS_APPLICATION_CREDENTIAL_NAME": "backups",
        "OS_APPLICATION_CREDENTIAL_SECRET": "secret",
        "OS_USERNAME": USER,
        "OS_USER_DOMAIN_NAME": "Default",
    },
    "trust": {
        "OS_USERNAME": "swift",
        "OS_PASSWORD": "service",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_TRUST_ID": "{trust}",
    },
    "token": {"OS_PASSWORD": "{token}", "OS_PROJECT_NAME": "backup"},
    "token and address": {"OS_STORAGE_URL": "{storage}", "OS_AUTH_TOKEN": "{token}"},
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_cloud() as started:
        yield started


def place_in(cloud: Cloud, way: dict[str, str], name: str = "shared") -> Place:
    """A place of that name, with the variables of a way to sign in."""
    storage = f"{cloud.swift.url}/v1/AUTH_{cloud.project}"
    environment = {key: text.format(**cloud._asdict(), storage=storage) for key, text in way.items()}
    return Place(f"swift:box:/{name}", environment={"OS_AUTH_URL": cloud.keystone.url, **environment})


def test_everybody_gets_in_as_with_restic(cloud: Cloud, tmp_path: Path) -> None:
    make_repository(place_in(cloud, WAYS["names"]))
    for name, way in WAYS.items():
        place = place_in(cloud, way)
        ended = Ours(place, tmp_path)("snapshots")
        assert ended.code == 0, (name, ended)
        done = restic(place, "snapshots", work=tmp_path)
        assert done.returncode == 0, (name, done)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("names", {"OS_PASSWORD": "wrong"}, "signing in: 401 UNAUTHORIZED: The request you have made requires authentication."),
        ("credential", {"OS_APPLICATION_CREDENTIAL_SECRET": "wrong"}, "signing in: 401 UNAUTHORIZED: "),
        ("ids", {"OS_REGION_NAME": "there"}, "names no object storage in the region there for this user"),
        ("names", {"OS_PROJECT_NAME": ""}, "names no object storage for this user"),
        ("token and address", {"OS_AUTH_TOKEN": "wrong"}, "the token in OS_AUTH_TOKEN is not accepted"),
    ],
)
def test_who_does_not_get_in_is_told_why(cloud: Cloud, name: str, changes: dict[str, str], said: str, tmp_path: Path) -> None:
    place = place_in(cloud, WAYS[name] | changes, "elsewhere")
    ended = Ours(place, tmp_path)("snapshots")
    assert ended.code == 1 and said in ended.err and "retrying" not in ended.err, ended
    assert restic(place, "snapshots", work=tmp_path).returncode == 1
