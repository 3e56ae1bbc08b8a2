"""Making repositories, passwords, keys and locks, in both directions with real restic."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from restic_format.repository import Repository, keys
from restic_format.repository import lock as lock_module
from restic_format.storage import LocalStorage
from restic_spec import gotime
from restic_spec.layout import FileKind
from restic_spec.lock import Lock, encode_lock
from restic_tools import access
from tests.tools.kit import PASSWORD, Runner, new_repository


def key_names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "keys").iterdir()}


def opens(folder: Path, password: str) -> bool:
    from restic_format.errors import WrongPassword

    try:
        Repository.open(LocalStorage(str(folder)), password)
    except WrongPassword:
        return False
    return True


# init


@pytest.mark.parametrize(
    ("words", "version"), [([], 2), (["--repository-version", "1"], 1), (["--repository-version=latest"], 2)]
)
def test_init_makes_what_restic_opens(
    words: list[str], version: int, run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    folder = tmp_path / "new"
    outcome = run("init", "-r", str(folder), *words)
    assert (outcome.code, outcome.err) == (0, b"")
    config = json.loads(restic_here("cat", "config", "-r", str(folder)).out)
    assert config["version"] == version
    assert outcome.out.splitlines()[0] == f"created restic repository {config['id'][:10]} at {folder}".encode()
    again = run("init", "-r", str(folder), *words)
    assert (again.code, again.out) == (1, b"")
    assert again.err == f"Fatal: create repository at {folder} failed: config file already exists\n".encode()


def test_init_message(run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    ours, theirs = (json.loads(call("init", "--json", "-r", "a" if call is run else "b").out) for call in (run, restic_here))
    assert list(ours) == list(theirs)
    assert (ours["message_type"], ours["repository"], len(ours["id"])) == ("initialized", "a", 64)


def test_init_copies_chunker_parameters(
    run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_FROM_PASSWORD", PASSWORD)
    monkeypatch.setenv("RESTIC_PASSWORD", "another")
    new_repository(tmp_path / "source")
    outcome = run("init", "-r", str(tmp_path / "copy"), "--from-repo", str(tmp_path / "source"), "--copy-chunker-params")
    assert outcome.code == 0, outcome.err
    assert b" with chunker parameters copied from secondary repository\n" in outcome.out
    polynomials = [
        json.loads(restic_here("cat", "config", "-r", str(tmp_path / name), env={"RESTIC_PASSWORD": password}).out)
        for name, password in (("source", PASSWORD), ("copy", "another"))
    ]
    assert polynomials[0]["chunker_polynomial"] == polynomials[1]["chunker_polynomial"]
    assert polynomials[0]["id"] != polynomials[1]["id"]


def test_the_source_has_a_password_of_its_own(spawn: Runner, restic: Runner, tmp_path: Path) -> None:
    new_repository(tmp_path / "source")
    settings = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_FROM_REPOSITORY": str(tmp_path / "source")}
    for call in (spawn, restic):
        outcome = call("init", "-r", str(tmp_path / "copy"), "--copy-chunker-params", env=settings)
        assert outcome.code == 1
        assert not (tmp_path / "copy").exists()
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    settings["RESTIC_FROM_PASSWORD_FILE"] = str(file)
    assert spawn("init", "-r", str(tmp_path / "copy"), "--copy-chunker-params", env=settings).code == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--copy-chunker-params"], b"Please specify a source repository location"),
        (["--from-repo", "x"], b"Secondary repository must only be specified when copying the chunker parameters"),
        (["--copy-chunker-params", "--from-repo", "x", "--from-repository-file", "y"], b"mutually exclusive"),
        (["--repository-version", "3"], b"only repository versions between 1 and 2 are allowed"),
        (["--repository-version", "two"], b"invalid repository version"),
    ],
)
def test_init_refuses(words: list[str], reason: bytes, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    outcome = run("init", "-r", str(tmp_path / "new"), *words)
    assert outcome.code == 1
    assert reason in outcome.err
    assert not (tmp_path / "new").exists()


# Where the password comes from


def test_password_file(empty: Path, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTIC_PASSWORD")
    file = tmp_path / "password"
    for content in (PASSWORD + "\n", f"\ufeff{PASSWORD}\r\n"):
        file.write_bytes(content.encode())
        assert run("snapshots", "-p", str(file)).code == 0
    file.write_bytes(b"\xff\xfe" + PASSWORD.encode("utf-16-le"))
    assert run("snapshots", "--password-file", str(file)).code == 0
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", str(file))
    assert run("snapshots").code == 0
    assert run("snapshots", "-p", str(tmp_path / "missing")).err.endswith(b"missing does not exist\n")


def test_password_command(empty: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTIC_PASSWORD")
    assert run("snapshots", "--password-command", f"printf '%s\\n' '{PASSWORD}'").code == 0
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", f"echo {PASSWORD}")
    assert run("snapshots").code == 0
    for command in ("false", "no-such-program-at-all", "'", ""):
        outcome = run("snapshots", "--password-command=" + command, "-p", "" if command else "x")
        assert outcome.code == 1


def test_password_from_standard_input(empty: Path, spawn: Runner) -> None:
    settings = {"RESTIC_REPOSITORY": str(empty)}
    outcome = spawn("snapshots", "--json", stdin=PASSWORD.encode() + b"\n", env=settings)
    assert (outcome.code, outcome.out) == (0, b"[]\n")
    for nothing in (b"", b"\n"):
        outcome = spawn("snapshots", stdin=nothing, env=settings)
        assert (outcome.code, outcome.out) == (1, b"")
        assert b"an empty password is not allowed" in outcome.err


def test_wrong_password(empty: Path, run: Runner, restic_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    for words in (["snapshots"], ["snapshots", "--json"]):
        ours, theirs = run(*words), restic_here(*words)
        assert (ours.code, ours.out, ours.err) == (12, b"", theirs.err)


def test_no_password(run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "open"))
    assert run("init", "--insecure-no-password").code == 0
    assert run("snapshots", "--insecure-no-password").code == 0
    assert restic_here("snapshots", "--insecure-no-password").code == 0
    monkeypatch.setenv("RESTIC_PASSWORD", "x")
    outcome = run("snapshots", "--insecure-no-password")
    assert outcome.code == 1
    assert b"must not be specified together" in outcome.err


def test_repository_file(empty: Path, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "where"
    file.write_text(f"{empty}\n")
    assert b"mutually exclusive" in run("snapshots", "--repository-file", str(file)).err
    monkeypatch.delenv("RESTIC_REPOSITORY")
    assert run("snapshots", "--repository-file", str(file)).code == 0
    assert run("snapshots", "--repository-file", str(tmp_path / "missing")).code == 1
    monkeypatch.setenv("RESTIC_REPOSITORY_FILE", str(file))
    assert run("snapshots").code == 0


class Terminal:
    """Our program on a terminal of its own."""

    def __init__(self, words: list[str], environment: Mapping[str, str]) -> None:
        pid, self.descriptor = pty.fork()
        if pid == 0:  # pragma: no cover - the child
            os.execve(sys.executable, [sys.executable, "-m", "restic_tools", *words], dict(environment))
        self.pid = pid
        self.seen = b""

    def read_until(self, text: bytes | None, seconds: float = 60.0) -> None:
        """Read until ``text`` came (None: until the end)."""
        deadline = time.monotonic() + seconds
        while text is None or text not in self.seen:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                pytest.fail(f"nothing more came after {self.seen!r}")
            try:
                piece = os.read(self.descriptor, 4096)
            except OSError:
                piece = b""
            if not piece:
                assert text is None, f"{text!r} never came, only {self.seen!r}"
                return
            self.seen += piece

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.descriptor, text.encode() + b"\n")
        self.seen = b""

    def finish(self) -> int:
        """Read to the end; gives the exit code."""
        self.read_until(None)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(environment: dict[str, str]) -> Callable[..., Terminal]:
    def start(*words: str, **settings: str) -> Terminal:
        return Terminal(list(words), {**environment, "TERM": "xterm", "COLUMNS": "100", **settings})

    return start


def test_a_person_may_try_three_times(empty: Path, terminal: Callable[..., Terminal]) -> None:
    session = terminal("snapshots", "-r", str(empty))
    for attempt in ("wrong", "", PASSWORD):
        session.read_until(b"enter password for repository: ")
        session.type(attempt)
        assert PASSWORD.encode() not in session.seen
    session.read_until(b"repository ")
    assert session.finish() == 0
    session = terminal("snapshots", "-r", str(empty))
    for _ in range(3):
        session.read_until(b"enter password for repository: ")
        session.type("wrong")
    assert session.finish() == 12


def test_a_password_command_runs_once_on_a_terminal(empty: Path, terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    count = tmp_path / "count"
    for password, code in ((PASSWORD, 0), ("wrong", 12)):
        count.unlink(missing_ok=True)
        command = f"sh -c 'echo x >>{count}; echo {password}'"
        session = terminal("backup", str(Path(__file__)), "-r", str(empty), "--password-command", command)
        assert session.finish() == code
        assert len(count.read_text().split()) == 1


def test_a_new_password_is_typed_twice(tmp_path: Path, terminal: Callable[..., Terminal]) -> None:
    for second, code in (("other", 1), ("first", 0)):
        session = terminal("init", "-r", str(tmp_path / "new"))
        session.read_until(b"enter password for new repository: ")
        session.type("first")
        session.read_until(b"enter password again: ")
        session.type(second)
        assert session.finish() == code
        assert (tmp_path / "new" / "config").exists() == (code == 0)


def test_ctrl_c_at_the_prompt(empty: Path, terminal: Callable[..., Terminal]) -> None:
    session = terminal("snapshots", "-r", str(empty))
    session.read_until(b"enter password for repository: ")
    os.write(session.descriptor, b"\x03")
    assert session.finish() == 130
    assert b"Traceback" not in session.seen


# Keys


def test_keys_are_added_changed_and_removed(empty: Path, run: Runner, restic_here: Runner, tmp_path: Path) -> None:
    (first,) = key_names(empty)
    file = tmp_path / "new"
    file.write_text("second\n")
    added = run("key", "add", "--new-password-file", str(file), "--user", "u", "--host", "h")
    (second,) = key_names(empty) - {first}
    assert added.out == f"saved new key with ID {second}\n".encode()
    assert opens(empty, "second")
    assert restic_here("snapshots", env={"RESTIC_PASSWORD": "second"}).code == 0

    listed = {item["id"]: item for item in json.loads(run("key", "list", "--json").out)}
    expected = {item["id"]: item for item in json.loads(restic_here("key", "list", "--json").out)}
    assert listed == expected
    assert (listed[second]["userName"], listed[second]["hostName"], listed[first]["current"]) == ("u", "h", True)
    table = run("key", "list").out.decode().splitlines()
    assert sorted(table) == sorted(restic_here("key", "list").out.decode().splitlines())

    refused = run("key", "remove", first[:10])
    assert (refused.code, refused.err) == (1, b"Fatal: refusing to remove key currently used to access repository\n")
    assert run("key", "remove", second).out == f"removed key {second}\n".encode()
    assert key_names(empty) == {first}

    assert run("key", "passwd", "--new-password-file", str(file)).code == 0
    assert opens(empty, "second")
    assert not opens(empty, PASSWORD)
    assert len(key_names(empty)) == 1
    assert list((empty / "locks").iterdir()) == []


def test_new_passwords_may_be_empty_only_on_purpose(empty: Path, run: Runner, tmp_path: Path) -> None:
    file = tmp_path / "nothing"
    file.write_text("\n")
    assert run("key", "add", "--new-password-file", str(file)).code == 1
    assert run("key", "add", "--new-password-file", str(file), "--new-insecure-no-password").code == 1
    assert len(key_names(empty)) == 1
    assert run("key", "add", "--new-insecure-no-password").code == 0
    assert opens(empty, "")


def test_a_key_that_does_not_open_is_taken_away_again(empty: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_names(empty)
    wrap = keys.wrap
    monkeypatch.setattr(keys, "wrap", lambda master, password, *rest, **named: wrap(master, password + b"?", *rest, **named))
    for command in ("add", "passwd"):
        outcome = run("key", command, "--new-insecure-no-password")
        assert (outcome.code, outcome.out) == (1, b"")
        assert key_names(empty) == before


def test_a_new_password_from_standard_input(empty: Path, spawn: Runner) -> None:
    settings = {"RESTIC_REPOSITORY": str(empty), "RESTIC_PASSWORD": PASSWORD}
    assert spawn("key", "add", stdin=b"typed\n", env=settings).code == 0
    assert opens(empty, "typed")


def test_a_damaged_key_does_not_hide_the_others(empty: Path, run: Runner) -> None:
    (empty / "keys" / ("0" * 64)).write_bytes(b"{}")
    outcome = run("key", "list", "--json")
    assert len(json.loads(outcome.out)) == 1
    assert outcome.err.startswith(b"key " + b"0" * 64)


# Locks


def opened(folder: Path) -> Repository:
    return Repository.open(LocalStorage(str(folder)), PASSWORD)


def test_a_foreign_lock_is_honoured_and_told_as_restic_tells_it(empty: Path, run: Runner, restic_here: Runner) -> None:
    with opened(empty).lock(exclusive=True):
        ours, theirs = run("snapshots"), restic_here("snapshots", "--no-lock=false")
        assert (ours.code, theirs.code, ours.out) == (11, 11, b"")
        told, expected = ours.err.decode().splitlines(), theirs.err.decode().splitlines()
        assert "repository is already locked exclusively by PID" in told[0]
        assert [told[0], *told[2:]] == [expected[0], *expected[2:]]
        assert told[1].startswith("lock was created at ")
        message = json.loads(run("snapshots", "--json").err)
        assert (message["code"], "already locked" in message["message"]) == (11, True)
        assert run("snapshots", "--no-lock").code == 0
        assert run("list", "locks").out == restic_here("list", "locks", "--no-lock").out
        assert run("key", "add", "--new-insecure-no-password", "--no-lock").code == 11
        lock_id = run("list", "locks").out.decode().strip()
        assert run("cat", "lock", lock_id, "--no-lock").out == restic_here("cat", "lock", lock_id, "--no-lock").out
    assert run("snapshots").code == 0


def test_restic_honours_our_lock(empty: Path, restic_here: Runner, environment: dict[str, str]) -> None:
    settings = {**environment, "RESTIC_REPOSITORY": str(empty), "RESTIC_PASSWORD": PASSWORD}
    process = subprocess.Popen(
        [sys.executable, "-m", "restic_tools", "key", "passwd"], env=settings, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: any((empty / "locks").iterdir()))
        time.sleep(0.5)
        assert restic_here("snapshots", "--no-lock=false").code == 11
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    assert list((empty / "locks").iterdir()) == []
    assert restic_here("snapshots", "--no-lock=false").code == 0


def wait_for(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def test_retry_lock_waits_until_the_other_is_done(empty: Path, run: Runner) -> None:
    taken = threading.Event()

    def hold() -> None:
        with opened(empty).lock(exclusive=True):
            taken.set()
            time.sleep(1.0)

    other = threading.Thread(target=hold)
    other.start()
    taken.wait()
    outcome = run("snapshots", "--retry-lock", "1m30s")
    other.join()
    assert (outcome.code, outcome.out) == (0, b"repo already locked, waiting up to 1m30s for the lock\n")


def test_retry_lock_gives_up(empty: Path, run: Runner) -> None:
    with opened(empty).lock(exclusive=True):
        outcome = run("snapshots", "--retry-lock", "300ms", "--json")
    assert (outcome.code, outcome.out) == (11, b"")


def everything_in(folder: Path) -> dict[str, bytes]:
    """Path and content of every file of a repository but its locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "locks"
    }


@pytest.mark.parametrize("words", [["--json"], ["-vv"], ["--retry-lock", "100ms", "--json"]])
@pytest.mark.parametrize("pack_size", ["4", "16"])
def test_a_backup_that_has_begun_changes_nothing_when_its_lock_is_refused(
    words: list[str], pack_size: str, empty: Path, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "RECHECK_AFTER", 1.0)  # so that the rival comes in time on a busy machine, too
    monkeypatch.setattr(LocalStorage, "lists_at_once", False)
    for number in range(4):
        (tmp_path / f"file-{number}").write_bytes(os.urandom(3 << 20))
    repo = opened(empty)
    before = everything_in(empty)

    def rival() -> None:
        while not any((empty / "locks").iterdir()):
            time.sleep(0.001)
        repo.save_unpacked(FileKind.LOCK, encode_lock(a_lock(exclusive=True)))

    thread = threading.Thread(target=rival)
    thread.start()
    outcome = run("backup", str(tmp_path), "--pack-size", pack_size, *words)
    thread.join()
    assert outcome.code == 11
    assert b"already locked exclusively" in outcome.err
    assert b"repo already locked, waiting" in outcome.out or outcome.out in (b"", b"open repository\n")
    assert everything_in(empty) == before
    assert len(list((empty / "locks").iterdir())) == 1


def test_what_a_backup_says_is_complete_and_in_order(empty: Path, run: Runner, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("content")
    outcome = run("backup", str(tmp_path / "source"), "-vv")
    lines = [line.split(b" ")[0] for line in outcome.out.splitlines() if line]
    assert outcome.code == 0
    assert lines[:4] == [b"open", b"no", b"load", b"start"]
    assert lines[-1] == b"snapshot"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_waiting_for_a_lock(number: signal.Signals, empty: Path, environment: dict[str, str]) -> None:
    settings = {**environment, "RESTIC_REPOSITORY": str(empty), "RESTIC_PASSWORD": PASSWORD}
    with opened(empty).lock(exclusive=True):
        process = subprocess.Popen(
            [sys.executable, "-m", "restic_tools", "snapshots", "--retry-lock", "10m"],
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert b"waiting up to 10m0s" in process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.splitlines()[-1] == b"interrupted"
        assert b"Traceback" not in err
        assert len(list((empty / "locks").iterdir())) == 1


def test_unlock_removes_stale_locks_only(empty: Path, run: Runner, restic_here: Runner) -> None:
    with opened(empty).lock():
        forgotten = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        leave_lock(empty, int(forgotten.stdout))
        assert len(list((empty / "locks").iterdir())) == 2
        assert run("unlock").out == b"successfully removed 1 locks\n"
        assert len(list((empty / "locks").iterdir())) == 1
        message = {"message_type": "summary", "removed_locks": 0, "removed_unfinished_files": 0}
        assert json.loads(run("unlock", "--json").out) == message
        assert run("unlock", "--remove-all").out == b"successfully removed 1 locks\n"
    assert run("unlock", "--remove-all").out == restic_here("unlock", "--remove-all").out == b""


def a_lock(*, exclusive: bool, hostname: str = "elsewhere", pid: int = 1) -> Lock:
    """Somebody else's lock."""
    return Lock(time=gotime.format_ns(time.time_ns()), exclusive=exclusive, hostname=hostname, username="somebody", pid=pid)


def leave_lock(folder: Path, pid: int) -> None:
    """A lock of a process on this host that is gone."""
    lock = a_lock(exclusive=True, hostname=keys.current_host(), pid=pid)
    opened(folder).save_unpacked(FileKind.LOCK, encode_lock(lock))


def test_an_unreadable_lock_stops_us_until_all_are_removed(empty: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    from restic_format.repository import lock as locks

    monkeypatch.setattr(locks, "_RETRY_FIRST", 0.01)
    (empty / "locks" / ("0" * 64)).write_bytes(b"junk" * 20)
    outcome = run("snapshots")
    assert outcome.code == 1
    assert b"invalid lock file" in outcome.err
    assert b"unlock --remove-all" in outcome.err
    assert run("unlock").code == 0
    assert run("snapshots").code == 1
    assert run("unlock", "--remove-all").out == b"successfully removed 1 locks\n"
    assert run("snapshots").code == 0


def test_a_command_that_relied_on_a_lost_lock_stops(empty: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    from restic_format.errors import LockLost
    from restic_format.repository import RepositoryLock

    def lost(_: RepositoryLock) -> None:
        raise LockLost("failed to refresh lock in time")

    before = key_names(empty)
    monkeypatch.setattr(RepositoryLock, "check", lost)
    outcome = run("key", "passwd", "--new-insecure-no-password")
    assert (outcome.code, outcome.err) == (1, b"Fatal: failed to refresh lock in time\n")
    assert before <= key_names(empty), "the old key is still there"


def test_the_repository_is_announced_on_a_terminal_only(empty: Path, run: Runner, terminal: Callable[..., Terminal]) -> None:
    assert run("snapshots").out == b""
    session = terminal("snapshots", RESTIC_REPOSITORY=str(empty), RESTIC_PASSWORD=PASSWORD)
    assert session.finish() == 0
    identity = json.loads((run("cat", "config")).out)["id"]
    assert f"repository {identity[:8]} opened (version 2, compression level auto)".encode() in session.seen


def test_opening_passes_the_options_on(empty: Path) -> None:
    from restic_tools.context import GlobalOptions
    from restic_tools.output import Output

    options = GlobalOptions(repo=str(empty), password=PASSWORD, pack_size=8, no_extra_verify=True)
    with access.open_repository(options, Output(), lock="none") as (repo, lock):
        assert (repo.pack_size, repo.extra_verify, lock) == (8 << 20, False, None)
