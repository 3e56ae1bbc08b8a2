"""Feature flags, extended options, and how to update: beside real restic."""

from __future__ import annotations

import json
import re

import pytest

from restic_format.storage import open_storage
from restic_format.storage.extended import EXTENDED_OPTIONS
from tests.tools.kit import Filled, Runner


def rows(page: bytes) -> list[list[str]]:
    """A table's cells but the last column, which is in words of our own."""
    return [re.split(r" {2,}", line)[:-1] for line in page.decode().splitlines() if "  " in line]


def test_the_flags_are_restics(run: Runner, restic: Runner) -> None:
    ours, theirs = run("features"), restic("features")
    assert rows(ours.out) == rows(theirs.out)
    assert len(rows(ours.out)) == 8
    assert ours.out.splitlines()[0] == theirs.out.splitlines()[0]
    assert run("features", "x").err == restic("features", "x").err


@pytest.mark.parametrize(
    "value",
    [
        "explicit-s3-anonymous-auth=false",
        "safe-forget-keep-tags",
        "a",
        " device-id-for-hardlinks=true",
        "=true",
        "",
        "s3-restore,device-id-for-hardlinks=1,deprecate-legacy-index=F",
        "device-id-for-hardlinks=T,foo",
        "s3-restore=true,",
        "backend-error-redesign=FALSE",
    ],
)
@pytest.mark.parametrize("words", ["version", "snapshots", "nonsense"])
def test_flags_are_taken_and_refused_as_in_restic(
    value: str, words: str, filled: Filled, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_FEATURES", value)
    ours, theirs = run(words), restic_here(words, "--no-cache")
    assert ours.code == theirs.code
    if words != "nonsense" or "flag" in theirs.err.decode():
        assert ours.err.replace(b"restic-format", b"restic") == theirs.err or words == "nonsense"


@pytest.mark.parametrize("value", ["s3-restore=", "s3-restore=maybe", "device-id-for-hardlinks= true"])
def test_a_value_is_true_or_false(value: str, run: Runner, restic: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_FEATURES", value)
    ours, theirs = run("version"), restic("version", env={"RESTIC_FEATURES": value})
    name, _, text = value.partition("=")
    assert ours.err == f'failed to parse value "{text}" for feature flag {name}: expected true or false\n'.encode()
    assert theirs.err.startswith(ours.err[: ours.err.index(b": ")])
    assert ours.code == theirs.code == 1


def test_the_flags_as_messages(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_FEATURES", "device-id-for-hardlinks=true")
    found = {
        item["name"]: (item["type"], item["default"], item["enabled"]) for item in json.loads(run("features", "--json").out)
    }
    assert found["device-id-for-hardlinks"] == ("alpha", False, True)
    assert found["s3-restore"] == ("alpha", False, False)
    assert len(found) == 7


def test_the_options_are_restics_and_one_of_our_own(run: Runner, restic: Runner) -> None:
    ours, theirs = run("options", "anything"), restic("options", "anything")

    def listed(page: bytes) -> dict[str, list[str]]:
        """Each option with the default that is told."""
        found = {}
        for line in page.decode().splitlines()[1:]:
            name, _, text = line.strip().partition(" ")
            found[name] = re.findall(r"default: ([^,)]*)", text)
        return found

    # Debian builds restic without Azure.
    more = {
        "local.cache": ["false"],
        "azure.connections": ["5"],
        "azure.endpoint": [],
        "azure.access-tier": ["inferred from the storage account defaults"],
    }
    more |= {"opendal.connections": ["5"], "opendal.throttle": []}
    assert listed(ours.out) == {**listed(theirs.out), **more}
    assert [item["name"] for item in json.loads(run("options", "--json").out)] == sorted(listed(ours.out))


@pytest.mark.parametrize("name", [item.name for item in EXTENDED_OPTIONS if item.name.startswith("local.")])
def test_what_is_listed_for_folders_is_taken(name: str) -> None:
    open_storage("/nowhere", {name: "1"})


def test_how_to_update(run: Runner) -> None:
    for words in ((), ("--output", "x"), ("--json",)):
        done = run("self-update", *words)
        assert (done.code, done.out) == (1, b"")
        assert b"pip install --upgrade restic-format" in done.err
        assert done.err.count(b"\n") == 1
