"""Something gets in the way between program and server: nothing is lost, errors are clear, locks do not stay in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.base import Server
from tests.servers.faultyproxy import FaultyProxy
from tests.servers.trouble import through_faults

SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 50))]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_on_a_faulty_way_to_a_rest_server(seed: int, rest_server: Server, tmp_path: Path) -> None:
    with FaultyProxy(rest_server.port, seed) as proxy:
        story = through_faults(rest_server.place(), proxy, tmp_path, seed)
    assert story.faults > 5, proxy.story()
