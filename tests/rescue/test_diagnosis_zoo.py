"""Diagnosis held against the zoo: of every kind of damage what is hurt is named, and what it costs, to the byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_conformance.programs import PASSWORD, Run, make_program
from restic_conformance.zoo import repositories
from restic_conformance.zoo.diagnosis import expect, heard
from restic_conformance.zoo.prognosis import foresee
from restic_conformance.zoo.recipes import RECIPES, Recipe
from restic_conformance.zoo.site import Site, read_files
from restic_format.errors import WrongPassword
from restic_format.rescue.diagnosis import diagnose, open_for_rescue
from restic_format.storage import LocalStorage
from restic_tools.messages import encode_message
from restic_tools.own.diagnosing.messages import messages

SEED = 1


@pytest.fixture(scope="module")
def site(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A healthy repository of real restic, read whole."""
    reference = make_program("restic-0.19", [str(peer("restic-0.19"))])
    work = tmp_path_factory.mktemp("zoo")
    foreign = repositories.write_small(reference, 2, work / "foreign")
    return Site(repositories.write(reference, 2, work / "v2"), foreign)


def said_of(repository: Path) -> Run:
    """What ``diagnose --json`` says, without the start of a program."""
    try:
        opened = open_for_rescue(LocalStorage(str(repository)), PASSWORD.encode())
    except WrongPassword:
        opened = open_for_rescue(LocalStorage(str(repository)), None)
    found = diagnose(opened)
    lines = [encode_message(message).decode("utf-8", "surrogateescape") for message in messages(found)]
    return Run(("diagnose",), int(not found.healthy), "\n".join(lines) + "\n", "")


IN_EVERY_RUN = (
    "config-missing",
    "key-half",
    "lock-empty",
    "snapshot-bit",
    "index-bit",
    "index-lies-offset",
    "index-lies-uncompressed-length",
    "index-lies-swapped-ids",
    "index-lies-blob-left-out",
    "index-lies-pack-left-out",
    "index-lies-blobs-twice",
    "indexes-gone",
    "header-lies-other-id",
    "tree-pack-missing",
    "tree-pack-unindexed",
    "data-pack-half",
    "data-pack-swapped",
    "data-blob-before-sealing",
    "snapshots-gone",
    "index-lies-blob-added",
    "no-index-and-tree-bit",
    "config-and-indexes-gone",
)
"""Kinds of damage that are each told by other means. `make zoo` tries all there are."""

CHOSEN = [one for one in RECIPES if one.name in IN_EVERY_RUN or os.environ.get("RESTIC_FORMAT_ZOO") == "all"]


@pytest.mark.parametrize("one", CHOSEN, ids=lambda one: one.name)
def test_what_is_hurt_is_named_with_its_cost(one: Recipe, site: Site, tmp_path: Path) -> None:
    change = one.change(site, SEED)
    if change is None:
        return  # This repository has nothing that this could be done to.
    expected = expect(site, change, foresee(site, change))
    repository = tmp_path / "repository"
    shutil.copytree(site.repository, repository)
    change.apply(repository)
    before = read_files(repository)
    run = said_of(repository)
    said = heard(expected, run)
    assert said.right, said
    assert not (expected.hurt and run.code == 0)
    faults = [
        message for message in run.messages() if message["message_type"] == "fault" and message["origin"] != "left-behind"
    ]
    assert len(faults) <= max(1, len(expected.named)), "no fault for what only follows from another one"
    assert read_files(repository) == before
