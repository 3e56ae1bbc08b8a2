"""Locations on SFTP servers, beside real restic: the words that ssh is started with, the path, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import LocationInvalid, UsageError
from restic_format.storage import open_storage
from restic_format.storage.locations import without_password
from restic_format.storage.sftp.location import command_for, parse_place
from restic_format.storage.transport import Transport
from tests.servers.base import peer

GOOD = (
    *("sftp:host:", "sftp:a@b:c", "sftp:a@b@c:d", "sftp:a@b@c@e:d", "sftp:u:p@h:x", "sftp:@h:x", "sftp::/x", "sftp:[::1]:/x"),
    *("sftp://h/", "sftp://h//", "sftp://u:p@h/x", "sftp://u@h:22/x", "sftp://[::1]:22/x", "sftp://h/%41b%2fc", "sftp:///x"),
    *("sftp://h//a/../b", "sftp://a@b@c/x", "sftp://h/x?q=1#f", "sftp://@h/x", "sftp://h:/x", "sftp://h:99999/x"),
    *("sftp://[fe80::1%25eth0]/x", "sftp://U%40x@h/x", "sftp://h//a b", "sftp:h:a/../../b", "sftp:h:/..", "sftp:h:a//b/./"),
    *("sftp:h://x", "sftp://h///x", "sftp:h:\u00e4", "sftp://u%3Ap@h/x"),
)
BAD = (
    *("sftp:", "sftp:host", "sftp:h:~/x", "sftp:h:~", "sftp://h", "sftp://u@h:abc/x", "sftp://h/~x", "sftp://%zz/x"),
    *("sftp://h/%zz", "sftp://[::1/x", "sftp://h/a%2", "sftp://h/a\tb", "sftp://u:p@h", "sftp://u:p@h:x/"),
)


@pytest.fixture(scope="module")
def restic_told(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]
) -> Callable[[str], tuple[list[str], str]]:
    """The words that restic starts ssh with for a location, and what it says in the end."""
    folder = tmp_path_factory.mktemp("ssh")
    (folder / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/words\nexec {SERVER}\n')
    (folder / "ssh").chmod(0o755)
    restic = peer("restic-0.19")

    def ask(location: str) -> tuple[list[str], str]:
        (folder / "words").write_text("")
        done = subprocess.run(
            [restic, "-r", location, "cat", "config"],
            env={"PATH": f"{folder}:{os.environ['PATH']}", "RESTIC_PASSWORD": "x", "HOME": str(folder)},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode
        return (folder / "words").read_text().split("\n")[:-1], done.stderr

    return ask


SERVER = peer("sftp-server")


@pytest.mark.parametrize("location", GOOD)
def test_ssh_is_started_with_the_words_of_restic(location: str, restic_told: Callable[[str], tuple[list[str], str]]) -> None:
    words, said = restic_told(location)
    place = parse_place(location.removeprefix("sftp:"))
    assert command_for(place, "", "") == ["ssh", *words]
    found = re.search("Lstat (.*): file does not exist", said)
    assert found is not None, said
    path = place.path.decode()
    assert found[1] == (path.removesuffix("/") + "/config" if path != "." else "config")


@pytest.mark.parametrize("location", BAD)
def test_what_restic_refuses_is_refused_in_its_words(
    location: str, restic_told: Callable[[str], tuple[list[str], str]]
) -> None:
    words, said = restic_told(location)
    assert not words
    with pytest.raises(LocationInvalid) as caught:
        open_storage(location, {}, Transport())
    assert said.replace(":p@", ":***@") == f"Fatal: {caught.value}\n"


def test_a_host_that_ssh_would_take_for_an_option_is_refused() -> None:
    for location in ("sftp:-oProxyCommand=touch x:/y", "sftp://-oProxyCommand=x/y", "sftp:u@-v:/y", "sftp://u@%2Dv/y"):
        with pytest.raises(LocationInvalid, match="begins with a hyphen"):
            open_storage(location, {}, Transport())


def test_a_password_in_a_url_is_shown_nowhere() -> None:
    storage = open_storage(
        "sftp://user:secret@host/x", {"sftp.command": "true"}, Transport(environment={"PATH": "/usr/bin:/bin"})
    )
    assert storage.location == "sftp://user:***@host/x"
    assert without_password("sftp:user@host:/a@b//c:d@e") == "sftp:user@host:/a@b//c:d@e"


def test_the_options_make_the_command() -> None:
    place = parse_place("//user@host:22/x")
    assert command_for(place, "", "-i 'a b' -v") == ["ssh", "host", "-p", "22", "-l", "user", "-i", "a b", "-v", "-s", "sftp"]
    assert command_for(place, "ssh other -s sftp", "") == ["ssh", "other", "-s", "sftp"]
    with pytest.raises(UsageError, match=r"cannot specify both sftp\.command and sftp\.args options"):
        command_for(place, "ssh", "-v")
    with pytest.raises(UsageError, match=r"sftp\.args: double-quoted string not terminated"):
        command_for(place, "", '"')


@pytest.mark.parametrize("password", ["geheim#x", "geheim/x", "geheim?x"])
def test_the_beginning_of_a_password_is_not_taken_for_a_port_and_shown(password: str) -> None:
    with pytest.raises(LocationInvalid, match="invalid port after host") as told:
        parse_place(f"//user:{password}@host/x")
    assert "geheim" not in str(told.value)
