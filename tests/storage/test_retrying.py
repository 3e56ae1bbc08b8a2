"""Operations that fail are repeated as restic repeats them, and what cannot get better is not."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from restic_format.errors import AccessDenied, FileExists, FileMissing, NoSpace, StorageAway, StorageError
from restic_format.storage import Content, MemoryStorage
from restic_format.storage.base import pieces_of
from restic_format.storage.retrying import FORGOTTEN_AFTER, Patience, RetryingStorage
from restic_format.storage.transport import Transport
from restic_spec.ids import id_of
from restic_spec.layout import FileKind

CONTENT = b"some sealed bytes"
NAME = id_of(CONTENT).hex()
OTHER = id_of(b"other").hex()


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Failing(MemoryStorage):
    """Raises what it is given, in this order, and does then what it should; some errors come when all is done."""

    def __init__(self, *errors: StorageError, late: bool = False) -> None:
        super().__init__()
        self.errors = list(errors)
        self.late = late
        self.calls = 0
        self.garbled = 0
        """How often loading gives something else than what is there."""

    def fail(self, *, late: bool) -> None:
        if late is self.late:
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        self.fail(late=False)
        super().save(kind, name, data, metadata=metadata)
        self.fail(late=True)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        self.fail(late=False)
        super().save_new(kind, name, data)
        self.fail(late=True)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.fail(late=False)
        data = super().load(kind, name, offset, length)
        if self.garbled:
            self.garbled -= 1
            return b"<html>" + data[6:]
        return data

    def size(self, kind: FileKind, name: str) -> int:
        self.fail(late=False)
        return super().size(kind, name)

    def exists(self, kind: FileKind, name: str) -> bool:
        return (kind, name) in self.files

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        for found in super().list(kind):
            yield found
            if self.errors:
                self.calls += 1
                raise self.errors.pop(0)

    def remove(self, kind: FileKind, name: str) -> None:
        self.fail(late=False)
        super().remove(kind, name)
        self.fail(late=True)


class Told:
    """A storage that retries, its clock, and what it reported."""

    def __init__(self, inner: Failing, patience: Patience = Patience()) -> None:  # noqa: B008
        self.lines: list[str] = []
        self.clock = Clock()
        self.stop = False
        transport = Transport(report=self.lines.append, stopping=lambda: self.stop)
        self.inner = inner
        self.storage = RetryingStorage(inner, transport, patience, clock=self.clock, sleep=self.clock.sleep)


def away() -> StorageError:
    return StorageAway("the line is cut")


def test_the_times_and_the_messages_are_restics() -> None:
    told = Told(Failing(*(away() for _ in range(5))))
    told.storage.save(FileKind.PACK, NAME, CONTENT)
    assert told.inner.load(FileKind.PACK, NAME) == CONTENT
    pauses = []
    for line in told.lines[:-1]:
        found = re.fullmatch(
            rf"Save\(<data/{NAME[:10]}>\) returned error, retrying after ([0-9.]+)(m?)s: the line is cut", line
        )
        assert found, line
        pauses.append(float(found[1]) / (1000 if found[2] else 1))
    assert all(0.5 * 2**power <= pause <= 1.5 * 2**power for power, pause in enumerate(pauses)), pauses
    assert told.clock.now - 50 == pytest.approx(sum(pauses), abs=0.01)
    assert told.lines[-1] == f"Save(<data/{NAME[:10]}>) operation successful after 5 retries"


@pytest.mark.parametrize(("wanted", "pause"), [(30.0, 30.0), (99_999.0, 120.0)])
def test_a_server_is_given_the_pause_that_it_wants(wanted: float, pause: float) -> None:
    error = away()
    error.wanted_pause = wanted
    told = Told(Failing(error))
    told.storage.save(FileKind.PACK, NAME, CONTENT)
    assert told.clock.now - 50 == pytest.approx(pause, abs=0.01)


def test_it_is_given_up_after_a_quarter_of_an_hour() -> None:
    told = Told(Failing(*(away() for _ in range(1000))))
    with pytest.raises(StorageAway, match="the line is cut"):
        told.storage.size(FileKind.CONFIG, "")
    assert 800 < told.clock.now - 50 <= 900
    assert told.lines[-1] == "Stat(<config/>) failed: the line is cut"
    assert all(float(seconds) <= 90 for seconds in re.findall(r"after (?:1m)?([0-9.]+)s:", "\n".join(told.lines)))


def test_an_operation_that_took_longer_than_all_patience_is_repeated_once() -> None:
    class Slow(Failing):
        def fail(self, *, late: bool) -> None:
            told.clock.now += 2000
            super().fail(late=late)

    told = Told(Slow(away()))
    told.storage.save(FileKind.PACK, NAME, CONTENT)
    assert len(told.lines) == 2


@pytest.mark.parametrize(
    "error", [FileMissing("no"), AccessDenied("no"), NoSpace("no")], ids=lambda error: type(error).__name__
)
def test_what_cannot_get_better_is_not_repeated(error: StorageError) -> None:
    told = Told(Failing(error))
    with pytest.raises(type(error)):
        told.storage.load(FileKind.PACK, NAME, 1, 2)
    assert told.inner.calls == 1 and told.lines == [] and told.clock.now == 50


def test_a_file_that_could_not_be_loaded_is_left_alone_for_an_hour() -> None:
    told = Told(Failing(*(away() for _ in range(1000))))
    told.inner.errors, errors = [], told.inner.errors
    told.inner.save(FileKind.PACK, NAME, CONTENT)
    told.inner.errors = errors
    with pytest.raises(StorageAway):
        told.storage.load(FileKind.PACK, NAME, 0, 3)
    told.inner.errors = []
    calls = told.inner.calls
    for _ in range(2):
        with pytest.raises(StorageError, match=f"circuit breaker open for file <data/{NAME[:10]}>"):
            told.storage.load(FileKind.PACK, NAME, 0, 3)
    assert told.inner.calls == calls, "it is not asked for"
    told.clock.now += FORGOTTEN_AFTER + 1  # the sum of many random pauses is not exact
    assert told.storage.load(FileKind.PACK, NAME, 0, 3) == CONTENT[:3]


def test_a_missing_file_opens_no_circuit_breaker() -> None:
    told = Told(Failing())
    for _ in range(3):
        with pytest.raises(FileMissing):
            told.storage.load(FileKind.PACK, NAME)


class Doubtful(Failing):
    doubtful = True


def missing(count: int) -> list[StorageError]:
    return [FileMissing("404 Not Found", object=f"data/{NAME}") for _ in range(count)]


def test_a_storage_that_may_be_wrong_is_asked_again_for_what_it_says_is_missing() -> None:
    storage = Doubtful()
    storage.save(FileKind.PACK, NAME, CONTENT)
    for act in (
        lambda told: told.storage.load(FileKind.PACK, NAME),
        lambda told: told.storage.load_into(FileKind.PACK, NAME, 0, memoryview(bytearray(4))),
        lambda told: told.storage.remove(FileKind.PACK, NAME),
    ):
        storage.errors = missing(5)
        with pytest.raises(FileMissing):
            act(Told(storage))
        storage.errors = missing(4)
        told = Told(storage)
        act(told)
        assert len(told.lines) == 5 and told.lines[-1].endswith("operation successful after 4 retries")
    assert not storage.exists(FileKind.PACK, NAME)


def test_a_missing_config_is_missing_at_once_and_what_is_denied_too() -> None:
    for error, kind, name in ((missing(1)[0], FileKind.CONFIG, ""), (AccessDenied("403 Forbidden"), FileKind.PACK, NAME)):
        storage = Doubtful(error)
        told = Told(storage)
        with pytest.raises(type(error)):
            told.storage.load(kind, name)
        assert storage.calls == 1 and told.lines == []


def test_a_listing_that_breaks_off_names_no_file_twice() -> None:
    inner = Failing()
    for name in (NAME, OTHER):
        inner.save(FileKind.LOCK, name, CONTENT)
    inner.errors = [away(), away()]
    told = Told(inner)
    assert sorted(told.storage.list(FileKind.LOCK)) == sorted([(NAME, len(CONTENT)), (OTHER, len(CONTENT))])
    assert told.lines[-1] == "List(lock) operation successful after 2 retries"


def test_a_file_with_another_hash_is_read_again_and_then_given_as_it_is() -> None:
    told = Told(Failing())
    told.storage.save(FileKind.SNAPSHOT, NAME, CONTENT)
    told.inner.garbled = 1
    assert told.storage.load(FileKind.SNAPSHOT, NAME) == CONTENT, "a proxy's page, once"
    told.inner.garbled = 2
    assert told.storage.load(FileKind.SNAPSHOT, NAME).startswith(b"<html>"), "whoever reads it says what is wrong with it"


def test_a_new_file_that_was_stored_without_an_answer_is_not_somebody_elses() -> None:
    told = Told(Failing(away(), late=True))
    told.storage.save_new(FileKind.CONFIG, "", CONTENT)
    assert told.inner.load(FileKind.CONFIG, "") == CONTENT
    with pytest.raises(FileExists):
        told.storage.save_new(FileKind.CONFIG, "", CONTENT)


def test_a_new_file_of_somebody_else_is_not_taken_for_the_own() -> None:
    told = Told(Failing(away()))
    original = told.inner.save_new

    def save_new(kind: FileKind, name: str, data: Content) -> None:
        try:
            original(kind, name, data)
        except StorageAway:
            MemoryStorage.save(told.inner, kind, name, b"somebody else's")
            raise

    told.inner.save_new = save_new  # type: ignore[method-assign]
    with pytest.raises(FileExists):
        told.storage.save_new(FileKind.CONFIG, "", CONTENT)
    assert told.inner.load(FileKind.CONFIG, "") == b"somebody else's"


def test_what_a_failed_try_has_removed_is_removed() -> None:
    told = Told(Failing(late=True))
    told.storage.save(FileKind.LOCK, NAME, CONTENT)
    told.inner.errors = [away()]
    told.storage.remove(FileKind.LOCK, NAME)
    assert not told.inner.files
    with pytest.raises(FileMissing):
        told.storage.remove(FileKind.LOCK, NAME)


def test_whoever_is_asked_to_stop_waits_for_nothing() -> None:
    told = Told(Failing(*(away() for _ in range(10))))
    sleep = told.clock.sleep

    def sleeping(seconds: float) -> None:
        sleep(seconds)
        told.stop = told.clock.now > 53

    told.storage._sleep = sleeping
    with pytest.raises(StorageAway):
        told.storage.load(FileKind.PACK, NAME)
    assert told.clock.now < 54


def test_a_file_in_pieces_is_sent_whole_again() -> None:
    told = Told(Failing(away(), away()))
    writer = told.storage.begin(FileKind.PACK)
    writer.append(CONTENT[:3])
    writer.append([CONTENT[3:]])
    writer.finish(NAME)
    assert told.inner.load(FileKind.PACK, NAME) == CONTENT


def test_only_so_many_run_at_once_and_locks_do_not_wait() -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    class Busy(Failing):
        most = now = 0

        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            if kind is FileKind.PACK:
                Busy.now += 1
                Busy.most = max(Busy.most, Busy.now)
                entered.release()
                leave.wait(30)
                Busy.now -= 1
            return super().load(kind, name, offset, length)

    told = Told(Busy())
    for kind in (FileKind.PACK, FileKind.LOCK):
        told.inner.save(kind, NAME, CONTENT)
    slots = told.storage.connections
    threads = [threading.Thread(target=told.storage.load, args=(FileKind.PACK, NAME)) for _ in range(slots + 3)]
    for thread in threads:
        thread.start()
    for _ in range(slots):
        assert entered.acquire(timeout=30)
    assert told.storage.load(FileKind.LOCK, NAME) == CONTENT, "while all slots are taken"
    assert not entered.acquire(blocking=False), "the others wait"
    leave.set()
    for thread in threads:
        thread.join()
    assert Busy.most == slots


def test_names_and_messages_of_a_server_move_no_cursor() -> None:
    told = Told(Failing(StorageAway("\x1b[2Jgone\nFatal: all is well")))
    told.storage.save(FileKind.PACK, NAME, b"".join(pieces_of(CONTENT)))
    assert "\x1b" not in told.lines[0] and "\n" not in told.lines[0]
