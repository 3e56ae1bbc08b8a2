"""Repositories in Backblaze B2, on the simulator that comes with Backblaze's own library."""

from __future__ import annotations

import pytest

from restic_format.storage import Storage
from restic_format.storage.b2 import open_b2
from restic_format.storage.transport import Transport
from tests.servers.b2 import B2Server
from tests.servers.base import Place
from tests.storage.contract import StorageContract


def opened(place: Place, **more: str) -> Storage:
    """The storage at *place*, with more environment variables. Nothing is tried again."""
    return open_b2(place.location.removeprefix("b2:"), {}, Transport({**place.environment, **more}))


class TestB2(StorageContract):
    @pytest.fixture
    def storage(self, b2: B2Server) -> Storage:
        made = opened(b2.place(plain=True))
        made.create()
        return made
