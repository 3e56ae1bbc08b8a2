"""Repositories in OpenStack Swift, on a real one."""

from __future__ import annotations

import pytest

from restic_format.storage import Storage
from restic_format.storage.swift import open_swift
from restic_format.storage.transport import Transport
from tests.servers.base import Place
from tests.servers.swift import Swift
from tests.storage.contract import StorageContract


def opened(place: Place, **more: str) -> Storage:
    """The storage at *place*, with more environment variables. Nothing is tried again."""
    return open_swift(place.location.removeprefix("swift:"), {}, Transport({**place.environment, **more}))


class TestSwift(StorageContract):
    @pytest.fixture
    def storage(self, swift: Swift) -> Storage:
        made = opened(swift.place())
        made.create()
        return made
