"""A short run of every fuzz target, and whatever failed before. ``make fuzz`` runs them for long."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import commands
from tests.fuzz.mutate import ODD, changed_document
from tests.fuzz.parsers import TARGETS

CORPUS = Path(__file__).resolve().parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_parsers(name: str) -> None:
    make, seed, check = TARGETS[name]
    rng = random.Random(7)
    for _ in range(1500):
        raw = make(rng, seed)
        try:
            check(raw)
        except Exception as error:
            raise AssertionError(f"{name}: {raw!r}") from error


def test_what_goes_into_a_document_is_not_changed_with_it() -> None:
    before = repr(ODD)
    rng = random.Random(7)
    for _ in range(2000):
        changed_document(rng, {"a": [1, {"b": []}]})
        assert repr(ODD) == before


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_failed_before(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]][2](path.read_bytes())


@pytest.mark.parametrize("seed", range(4))
def test_commands_on_forged_repositories(seed: int, tmp_path: Path) -> None:
    commands.check(tmp_path / "forged", seed)
