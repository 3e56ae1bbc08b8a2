"""SFTP servers that do not keep to the protocol: they can end a session, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shlex
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.errors import FileUnusable, StorageAway, StorageError
from restic_format.storage.sftp import files, open_sftp
from restic_format.storage.sftp.connection import SessionNotStarted
from restic_format.storage.sftp.storage import SftpStorage
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.storage import fakesftp

NAME = "a" * 64


def started(*words: str, stuck_after: float = 60.0) -> SftpStorage:
    transport = Transport(environment={"PATH": os.environ["PATH"]}, stuck_after=stuck_after)
    storage = open_sftp("nobody@nowhere:/repo", {"command": shlex.join(words)}, transport)
    assert isinstance(storage, SftpStorage)
    return storage


def faulty(fault: str, stuck_after: float = 60.0) -> SftpStorage:
    return started(sys.executable, "-S", "-E", str(Path(fakesftp.__file__)), fault, stuck_after=stuck_after)


def test_the_fake_server_is_one_that_works() -> None:
    storage = faulty("no")
    assert storage.load(FileKind.INDEX, NAME) == fakesftp.CONTENT
    assert storage.load(FileKind.PACK, NAME, 0, 8) == fakesftp.CONTENT
    target = bytearray(8)
    storage.load_into(FileKind.PACK, NAME, 0, memoryview(target))
    assert target == fakesftp.CONTENT
    assert list(storage.list(FileKind.INDEX)) == [(NAME, 8)]
    storage.save(FileKind.INDEX, NAME, b"content")
    storage.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("huge", "a packet of 4294967280 bytes"),
        ("tiny", "a packet of 4 bytes"),
        ("unasked", "an answer to request .*, which nobody has made"),
        ("more", "12 bytes of data where 8 were asked for"),
        ("nothing", "with 0 bytes of data"),
        ("lying", "with 3 bytes of data"),
        ("wrong", "an answer of type 102 came where"),
        ("cut", "has ended with exit status 0"),
        ("handle", "a handle of 4000 bytes"),
    ],
)
def test_a_read_that_is_answered_with_nonsense_ends_the_session(fault: str, message: str) -> None:
    for load in (
        lambda storage: storage.load(FileKind.INDEX, NAME),
        lambda storage: storage.load_into(FileKind.INDEX, NAME, 0, memoryview(bytearray(8))),
    ):
        storage = faulty(fault)
        with pytest.raises(StorageAway, match=message) as caught:
            load(storage)
        assert not caught.value.permanent and "\n" not in str(caught.value)
        storage.close()


def test_an_answer_that_comes_twice_ends_the_session_and_not_the_data() -> None:
    storage = faulty("twice")
    target = bytearray(8)
    storage.load_into(FileKind.INDEX, NAME, 0, memoryview(target))
    assert target == fakesftp.CONTENT
    with pytest.raises(StorageAway, match="which nobody has made"):
        while True:
            storage._connection._session.ask(files.protocol.naming(files.protocol.STAT, b"x"))
    storage.close()


def test_answers_of_single_bytes_are_put_together() -> None:
    storage = faulty("crumbs")
    assert storage.load(FileKind.INDEX, NAME) == fakesftp.CONTENT
    storage.close()


def test_a_servers_message_is_short_and_safe_for_a_terminal() -> None:
    storage = faulty("message")
    with pytest.raises(StorageError) as caught:
        storage.load(FileKind.INDEX, NAME)
    assert "owned" in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 400
    storage.close()


@pytest.mark.parametrize(("fault", "message"), [("none", "has none"), ("counting", "cut short"), ("endless", "does not end")])
def test_listings_that_make_no_sense_end(fault: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_IN_FOLDER", 20_000)
    storage = faulty(fault)
    with pytest.raises(StorageAway, match=message):
        list(storage.list(FileKind.INDEX))
    storage.close()


def test_folders_without_end_are_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_BELOW", 100)
    for look in (lambda storage: list(storage.strays()), lambda storage: list(storage.side_files("parity").list())):
        storage = faulty("deep")
        with pytest.raises(StorageAway, match=r"the folders below .* do not end"):
            look(storage)
        storage.close()


def test_names_that_are_paths_are_left_out() -> None:
    storage = faulty("paths")
    assert list(storage.list(FileKind.SNAPSHOT)) == [("b" * 64, 8)]
    storage.close()
    storage = faulty("paths")
    found = [path for path, _ in storage._walk()]
    assert not [path for path in found if ".." in path or path.startswith("/") or "\0" in path]
    storage.close()


def test_a_fifo_does_not_hold_up_the_session_for_ever() -> None:
    storage = faulty("fifo")
    with pytest.raises(FileUnusable, match=r"index/a.*: is not a regular file"):
        storage.load(FileKind.INDEX, NAME)
    assert storage.load(FileKind.SNAPSHOT, NAME) == fakesftp.CONTENT  # in a new one
    storage.close()


def test_files_are_made_writable_where_a_server_does_not_remove_them_otherwise() -> None:
    storage = faulty("guarded")
    for kind in (FileKind.PACK, FileKind.INDEX):
        storage.remove(kind, NAME)
    storage.close()


def test_a_server_that_does_not_answer_is_given_up() -> None:
    storage = faulty("silent", stuck_after=5.0)
    errors: list[StorageError] = []

    def load() -> None:
        with pytest.raises(StorageAway, match="no answer for 5 seconds") as caught:
            storage.load(FileKind.INDEX, NAME)
        errors.append(caught.value)

    threads = [threading.Thread(target=load) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(errors) == 5
    storage.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([sys.executable, "-S", fakesftp.__file__, "chatty"], "it begins with 'Welc'; does the server's shell print something"),
        ([sys.executable, "-S", fakesftp.__file__, "version"], "the server speaks version 6 of the protocol"),
        (["sh", "-c", "exit 3"], "sh has ended with exit status 3$"),
        (["sh", "-c", "echo no way in >&2; exit 255"], "sh has ended with exit status 255: no way in$"),
        (["sh", "-c", "kill -9 $$"], "sh has ended with signal: killed"),
        (["sh", "-c", "exec >&-; sleep 100"], "sh has closed the connection"),
        (["head", "-c", "3", "/dev/zero"], "head has ended with exit status 0"),
        (["cat", "/dev/zero"], "its first packet has 0 bytes"),
        (["cat"], "its first packet has type 1"),
    ],
)
def test_what_is_no_sftp_server_is_told_at_once_and_not_tried_again(words: list[str], message: str) -> None:
    storage = started(*words)
    for _ in range(2):
        with pytest.raises(
            SessionNotStarted, match=f"^unable to open repository at sftp:nobody@nowhere:/repo: .*{message}"
        ) as caught:
            storage.exists(FileKind.CONFIG, "")
        assert caught.value.permanent
    storage.close()


OPERATIONS: list[Callable[[SftpStorage], object]] = [
    lambda storage: storage.exists(FileKind.CONFIG, ""),
    lambda storage: storage.load(FileKind.PACK, NAME, 3, 300_000),
    lambda storage: storage.load_into(FileKind.PACK, NAME, 3, memoryview(bytearray(100))),
    lambda storage: storage.load(FileKind.INDEX, NAME),
    lambda storage: list(storage.list(FileKind.PACK)),
    lambda storage: list(storage.strays()),
    lambda storage: storage.save(FileKind.PACK, NAME, bytes(300_000)),
    lambda storage: storage.save_new(FileKind.CONFIG, "", b"config"),
    lambda storage: storage.create(),
    lambda storage: storage.remove(FileKind.KEY, NAME),
    lambda storage: storage.remove_unfinished(0.0, lambda: True),
]

VERSION = struct.pack(">IBI", 5, 2, 3)


def extended(*names: bytes) -> bytes:
    body = b"".join(fakesftp.text(name) + fakesftp.text(b"1") for name in names)
    return struct.pack(">IBI", 5 + len(body), 2, 3) + body


NUMBERS = st.integers(0, 20)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda code, message: struct.pack(">I", code) + fakesftp.text(message), st.integers(0, 9), st.binary(max_size=9)),
    st.builds(fakesftp.text, st.binary(max_size=30)),
    st.builds(
        lambda flags, rest: struct.pack(">I", flags) + rest,
        st.sampled_from([0, 1, 4, 5, 15, 0x80000000]),
        st.binary(max_size=40),
    ),
    st.just(struct.pack(">IQIIIII", 15, 8, 0, 0, 0o100600, 0, 0)),
    st.just(struct.pack(">IQIIIII", 15, 8, 0, 0, 0o040700, 0, 0)),
)
PACKETS = st.builds(fakesftp.packet, st.sampled_from([101, 102, 103, 104, 105, 201, 7]), NUMBERS, BODIES)
ANSWERS = st.tuples(
    st.sampled_from([VERSION, extended(b"limits@openssh.com", b"statvfs@openssh.com"), extended(b"hardlink@openssh.com"), b""]),
    st.lists(PACKETS, max_size=25).map(b"".join),
    st.binary(max_size=20),
).map(b"".join)


@settings(max_examples=60)
@given(ANSWERS, st.integers(0, len(OPERATIONS) - 1))
def test_whatever_is_answered_ends_in_a_result_or_an_error_of_storage(
    tmp_path_factory: pytest.TempPathFactory, answers: bytes, number: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "answers"
    file.write_bytes(answers)
    storage = started("cat", str(file))
    with contextlib.suppress(StorageError):
        OPERATIONS[number](storage)
    storage.close()


@settings(max_examples=40)
@given(st.lists(st.tuples(NUMBERS.map(lambda number: number + 1), BODIES), max_size=3), st.integers(0, len(OPERATIONS) - 1))
def test_answers_in_order_with_nonsense_in_them(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], number: int
) -> None:
    # What a good server says first; then the answers to the questions that every session begins with.
    kinds = {1: (105, fakesftp.attributes()), 2: (105, fakesftp.attributes(0o040700)), 3: (101, struct.pack(">I", 2))}
    answers = VERSION
    for request in range(1, 40):
        kind, body = kinds.get(request, (102, fakesftp.text(b"handle")))
        for changed, other in changes:
            if changed == request:
                body = other
        answers += fakesftp.packet(kind, request, body)
    file = tmp_path_factory.getbasetemp() / "answers"
    file.write_bytes(answers)
    storage = started("cat", str(file))
    with contextlib.suppress(StorageError):
        OPERATIONS[number](storage)
    storage.close()
