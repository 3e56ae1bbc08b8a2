"""Objects in Amazon's archives: what is asked for, and when; before a real server, with cold storage made by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from restic_format.errors import AccessDenied, FileCold, Interrupted, UsageError
from restic_format.storage import open_storage
from restic_format.storage.extended import S3Options
from restic_format.storage.s3.warm import ArchiveWarming
from restic_format.storage.transport import Transport
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from tests.servers.base import Place, Server
from tests.servers.s3_archive import Archive, archived
from tests.storage.s3.test_answers import Answer, Told, told
from tests.storage.s3.test_store import opened

__all__ = ["told"]

SEALED = [bytes([number]) * 100 for number in range(4)]
NAMES = [id_of(data).hex() for data in SEALED]


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1


@pytest.fixture
def cold(rclone_s3: Server) -> Iterator[tuple[Place, Archive]]:
    """A place with four packs in an archive, which come back at once."""
    with archived(rclone_s3.place("cold")) as (place, archive):
        storage = opened(place, storage_class="GLACIER")
        for name, data in zip(NAMES, SEALED, strict=True):
            storage.save(FileKind.PACK, name, data)
        yield place, archive


def warming(place: Place, clock: Clock | None = None, **options: object) -> ArchiveWarming:
    clock = clock or Clock()
    storage = opened(place, connections=2)
    return ArchiveWarming(storage, storage.store, S3Options(**options), clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]


def test_archives_are_for_packs_with_data_only(rclone_s3: Server) -> None:
    with archived(rclone_s3.place("classes")) as (place, archive):
        for chosen in ("DEEP_ARCHIVE", "STANDARD_IA"):
            storage = opened(place, storage_class=chosen)
            for kind in FileKind:
                storage.save(kind, "" if kind is FileKind.CONFIG else NAMES[0], SEALED[0])
            storage.save(FileKind.PACK, NAMES[1], SEALED[1], metadata=True)
            found = {path.partition(f"{place.location.rpartition('/')[2]}/")[2]: kept for path, kept in archive.classes.items()}
            cold = [path for path, kept in found.items() if kept == chosen]
            packs = f"data/{NAMES[0][:2]}/{NAMES[0]}"
            assert cold == [packs] if chosen == "DEEP_ARCHIVE" else len(cold) == len(found) == 7


def test_what_is_cold_is_asked_for_once_and_waited_for(cold: tuple[Place, Archive]) -> None:
    place, archive = cold
    bringing, cancel = warming(place, restore_days=3, restore_tier="Bulk"), Cancel()
    storage = opened(place)
    storage.save(FileKind.PACK, id_of(b"warm").hex(), b"warm")
    assert bringing.cold([*NAMES, id_of(b"warm").hex(), id_of(b"missing").hex()], cancel) == NAMES
    bringing.begin([id_of(b"warm").hex()], cancel)
    bringing.wait([id_of(b"missing").hex()], cancel)
    assert not archive.requests
    archive.delay = 3600.0
    bringing.begin(NAMES[:2], cancel)
    assert len(archive.requests) == 2
    assert all(b"<Days>3</Days>" in body and b"<Tier>Bulk</Tier>" in body for body in archive.requests)
    bringing.begin(NAMES[:2], cancel)
    assert len(archive.requests) == 2, "they are on their way"
    with pytest.raises(FileCold, match=r"InvalidObjectState.*; -o s3\.enable-restore=true brings it back"):
        storage.load(FileKind.PACK, NAMES[0], 0, 10)
    archive.delay = 0.0
    assert bringing.cold(NAMES, cancel) == NAMES[2:]
    bringing.wait(NAMES[:2], cancel)
    assert storage.load(FileKind.PACK, NAMES[0], 0, 10) == SEALED[0][:10]


def test_waiting_ends_after_the_time_that_was_given_and_when_it_is_cancelled(cold: tuple[Place, Archive]) -> None:
    place, archive = cold
    archive.delay = 1e6
    clock = Clock()
    bringing = warming(place, clock, restore_timeout=300.0)
    bringing.begin(NAMES, Cancel())
    with pytest.raises(
        FileCold, match=r"4 of 4 packs were asked for and are not back .* after 5m0s .*; run it again later"
    ) as caught:
        bringing.wait(NAMES, Cancel())
    assert caught.value.permanent and 300 <= clock.now < 301
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        bringing.wait(NAMES, cancel)
    cancel, clock.naps = Cancel(), 0

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        cancel.set()

    bringing._sleep = sleep
    with pytest.raises(Interrupted):
        bringing.wait(NAMES, cancel)
    assert clock.naps == 1


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"s3.restore-tier": "Fast"}, "option s3.restore-tier: 'Fast' is none of Standard, Bulk, Expedited"),
        ({"s3.restore-days": "0"}, "option s3.restore-days: objects are brought back for one day at least"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, str], what: str) -> None:
    keys = Transport(environment={"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"})
    assert open_storage("s3:http://127.0.0.1:1/bucket", options, keys).warming is None
    with pytest.raises(UsageError, match=what):
        open_storage("s3:http://127.0.0.1:1/bucket", {**options, "s3.enable-restore": "true"}, keys)


def test_all_are_waited_for_and_few_are_looked_at(cold: tuple[Place, Archive]) -> None:
    place, archive = cold
    clock = Clock()
    bringing = warming(place, clock)
    archive.delay = 1e6
    bringing.begin(NAMES, Cancel())
    looks = 0

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        nonlocal looks
        looks += 1
        if looks == 40:
            archive.delay = 0.0

    bringing._sleep = sleep
    before = archive.looks
    bringing.wait(NAMES, Cancel())
    assert bringing.cold(NAMES, Cancel()) == [] and clock.now >= 10
    assert archive.looks - before <= 2 * 5 + 2 * len(NAMES)


def test_objects_in_a_tier_come_back_for_good(told: Told) -> None:
    cold = {"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS", "Content-Length": "6"}
    storage = told.storage(
        Answer(200, b"", cold), Answer(202), Answer(200, b"", {**cold, "x-amz-restore": 'ongoing-request="true"'})
    )
    bringing = ArchiveWarming(storage, storage.store, S3Options())  # type: ignore[arg-type]
    assert bringing.cold(NAMES[:1], Cancel()) == NAMES[:1]
    bringing.begin(NAMES[:1], Cancel())
    assert b"<Days>" not in told.asked[1].body and b"<Tier>Standard</Tier>" in told.asked[1].body
    assert told.asked[1].path == f"/bucket/data/{NAMES[0][:2]}/{NAMES[0]}?restore="
    assert bringing.cold(NAMES[:1], Cancel()) == NAMES[:1]


def test_a_look_that_fails_for_a_moment_is_repeated_and_one_that_is_denied_is_told(told: Told) -> None:
    back = {"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="false"', "Content-Length": "6"}
    storage, clock = told.storage(Answer(503), Answer(200, b"", back)), Clock()
    ArchiveWarming(storage, storage.store, S3Options(), clock=clock, sleep=clock.sleep).wait(NAMES[:1], Cancel())  # type: ignore[arg-type]
    assert clock.now > 0
    storage = told.storage(Answer(403))
    with pytest.raises(AccessDenied):
        ArchiveWarming(storage, storage.store, S3Options()).wait(NAMES[:1], Cancel())  # type: ignore[arg-type]
