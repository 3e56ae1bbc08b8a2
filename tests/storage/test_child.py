"""Programs that are started to reach a storage."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import UsageError
from restic_format.storage.child import Child, ChildStuck, ChildUnusable, environment_of, words_of

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def start(*words: str, lines: list[str] | None = None, **named: str) -> Child:
    told: list[str] = [] if lines is None else lines
    return Child(words, ENVIRONMENT, told.append, **named)


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_is_spoken_to_over_its_input_and_output() -> None:
    child = start("cat")
    child.write([b"some ", memoryview(b"words"), b""], 10)
    assert os.read(child.output, 100) == b"some words"
    child.close()
    assert child.ended(0) == "exit status 0"
    assert os.read(child.output, 1) == b""
    child.close_output()
    child.close()


def test_what_it_prints_is_passed_on_line_by_line_and_safe_for_a_terminal() -> None:
    lines: list[str] = []
    child = start("sh", "-c", r"printf 'one\r\ntwo\033[2J\n\n' >&2; printf '%04000d\nrest' 7 >&2; exit 3", lines=lines)
    assert child.ended(20) == "exit status 3"
    assert lines[:2] == ["subprocess sh: one", r"subprocess sh: two\x1b[2J"]
    assert lines[2] == "subprocess sh: " + "0" * 1024 and lines[3:] == ["subprocess sh: rest"]
    assert child.last_line == "rest"
    child.close()
    lines.clear()
    start("sh", "-c", "echo word >&2", lines=lines, prefix="rclone: ").close()
    assert lines == ["rclone: word"]


def test_a_report_that_fails_does_not_stop_it() -> None:
    def fail(line: str) -> None:
        raise OSError(line)

    child = Child(["sh", "-c", "yes | head -n 100000 >&2"], ENVIRONMENT, fail)
    assert child.ended(20) == "exit status 0"
    child.close()


def test_it_is_in_a_process_group_of_its_own_and_ended_with_what_it_has_started() -> None:
    child = start("sh", "-c", "sleep 1000 & echo $$ $!; wait")
    pid, started = map(int, os.read(child.output, 100).split())
    assert os.getpgid(pid) == pid == os.getpgid(started)
    child.kill()
    assert child.ended(20) == "signal: killed"
    wait_for(lambda: not is_running(started))
    child.close()


@pytest.mark.parametrize("ignored", ["", "TERM"])
def test_one_that_does_not_end_is_made_to(ignored: str) -> None:
    child = start("sh", "-c", f"trap '' {ignored or 'HUP'}; echo; while :; do sleep 0.1; done")
    os.read(child.output, 1)
    child.close(0.1)
    assert child.ended(0) == ("signal: killed" if ignored else "signal: terminated")


def test_one_that_takes_nothing_is_noticed() -> None:
    child = start("sleep", "1000")
    with pytest.raises(ChildStuck):
        child.write([bytes(4 << 20)], 0.1)
    child.kill()
    with pytest.raises(BrokenPipeError):
        child.write([bytes(4 << 20)], 10)
    child.close()


def test_one_that_cannot_be_started_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("no-such-program", ""):
        with pytest.raises(
            ChildUnusable, match=r"(no-such-program|without a name): executable file not found in \$PATH"
        ) as caught:
            start(word)
        assert caught.value.permanent
    with pytest.raises(ChildUnusable, match="there cannot be started: permission denied"):
        (tmp_path / "there").write_bytes(b"")
        start(str(tmp_path / "there"))
    with pytest.raises(ChildUnusable, match="cannot be started: embedded null byte"):
        start("cat", "a\0b")
    # Nothing of the current folder is run because of a relative folder in the path.
    (tmp_path / "there").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChildUnusable, match="not found"):
        Child(["there"], {"PATH": f".::{tmp_path.name}"}, print)


def test_it_gets_the_environment_without_our_passwords() -> None:
    given = {**ENVIRONMENT, "RESTIC_PASSWORD": "x", "RUSTIC_PASSWORD": "x", "RESTIC_REST_PASSWORD": "x", "SSH_AUTH_SOCK": "/s"}
    given |= dict.fromkeys(("RESTIC_REPOSITORY", "RESTIC_FROM_REPOSITORY", "RUSTIC_REPO"), "rest:https://user:secret@host/")
    assert environment_of(given) == {**ENVIRONMENT, "SSH_AUTH_SOCK": "/s"}
    child = Child(["env"], given, print)
    assert child.ended(20) == "exit status 0"
    assert b"secret" not in (told := os.read(child.output, 1 << 16)) and b"SSH_AUTH_SOCK=/s" in told
    child.close()


def test_the_words_of_an_option_follow_restic() -> None:
    assert words_of("ssh -i 'a b' host", "sftp.command") == ["ssh", "-i", "a b", "host"]
    with pytest.raises(UsageError, match=r"option sftp.command: single-quoted string not terminated"):
        words_of("ssh '", "sftp.command")


WITH_A_TERMINAL = """
import os, sys, threading
from restic_format.storage.child import Child
code = '''
import os, sys
with open("/dev/tty", "r+b", buffering=0) as tty:
    tty.write(b"password: ")
    os.write(1, tty.readline())
    os.read(0, 1)
'''
def start():
    return Child([sys.executable, "-c", code], os.environ, print)
def ask(child):
    print("read", os.read(child.output, 100), os.tcgetpgrp(0) == os.getpgrp(), flush=True)
    child.keep_terminal_no_longer()
first = start()
answered = threading.Thread(target=ask, args=(first,))
answered.start()
second = start()  # waits until the first has got its password
answered.join()
ask(second)
print("back", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
first.close()
second.close()
"""


def test_they_have_the_terminal_while_they_may_ask_for_a_password_one_after_the_other(project_root: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(project_root), str(project_root / "spec")])
        os.execv(sys.executable, [sys.executable, "-c", WITH_A_TERMINAL])
    seen = b""
    try:
        for asked in (1, 2):
            while seen.count(b"password: ") < asked:
                seen += os.read(terminal, 1000)
            os.write(terminal, b"secret%d\n" % asked)
        while True:
            seen += os.read(terminal, 1000)
    except OSError:
        pass  # the end of a terminal
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert b"read b'secret1\\n' False" in seen and b"read b'secret2\\n' False" in seen, seen
    assert b"back True" in seen, seen
