"""Progress: live on a terminal, messages with --json, silence elsewhere; and output that does not tear it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from restic_tools.interrupt import Interrupt
from restic_tools.output import Output
from restic_tools.progress import Counter, Live, Rate, update_interval


class Tick(msgspec.Struct):
    message_type: str
    done: float


class Screen(io.TextIOWrapper):
    """A standard output that may be a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def written(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


@dataclass
class Stage:
    """A standard output under the test's eyes, and the output object on it."""

    monkeypatch: pytest.MonkeyPatch
    screens: list[Screen] = field(default_factory=list)

    def open(self, *, terminal: bool, **options: object) -> tuple[Output, Screen]:
        screen = Screen(terminal=terminal)
        self.screens.append(screen)
        self.monkeypatch.setattr(sys, "stdout", screen)
        self.monkeypatch.setenv("TERM", "xterm")
        return Output(**options), screen  # type: ignore[arg-type]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    yield Stage(monkeypatch)


def wait_for_text(screen: Screen, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in screen.written:
        assert time.monotonic() < deadline, f"{text!r} never came: {screen.written!r}"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("terminal", "options", "fps", "interval"),
    [
        (True, {}, None, 0.1),
        (False, {}, None, 0.0),
        (False, {"json_mode": True}, None, 0.1),
        (True, {"verbosity": 0}, None, 0.0),
        (False, {"json_mode": True, "verbosity": 0}, None, 0.0),
        (False, {}, "4", 0.25),
        (True, {}, "0.5", 2.0),
        (True, {}, "1000", 1 / 60),
        (True, {}, "nonsense", 0.1),
        (True, {}, "0", 0.1),
    ],
)
def test_how_often(
    terminal: bool, options: dict[str, object], fps: str | None, interval: float, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fps is not None:
        monkeypatch.setenv("RESTIC_PROGRESS_FPS", fps)
    out, _ = stage.open(terminal=terminal, **options)
    assert update_interval(out) == pytest.approx(interval)


def test_live_lines_stay_below_other_output(stage: Stage) -> None:
    out, screen = stage.open(terminal=True)
    with Live(out, lines=lambda: ["first", "second"]):
        wait_for_text(screen, "first\nsecond")
        out.line("a message")
        after = screen.written.split("a message\n", 1)
    assert after[0].endswith("\x1b[1A\x1b[2K"), "the live lines were taken off before the message"
    assert after[1].startswith("first\nsecond"), "and drawn again after it"
    assert screen.written.endswith("\x1b[1A\x1b[2K"), "nothing is left behind"


def test_live_lines_fit_the_terminal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out, screen = stage.open(terminal=True)
    with Live(out, lines=lambda: ["/a/very/long/path/that/goes/on/and/on"]):
        wait_for_text(screen, "…")
    assert "/a/very/long/" in screen.written
    assert "on/and/on" in screen.written
    assert "that/goes" not in screen.written


def test_status_messages_with_json(stage: Stage) -> None:
    out, screen = stage.open(terminal=True, json_mode=True)
    with Live(out, lines=lambda: ["for people"], status=lambda: Tick("status", 0.5)):
        wait_for_text(screen, "\n")
    for line in screen.written.splitlines():
        assert json.loads(line) == {"message_type": "status", "done": 0.5}


def test_silence_when_nobody_watches(stage: Stage) -> None:
    out, screen = stage.open(terminal=False)
    with Live(out, lines=lambda: ["live"]):
        time.sleep(0.3)
    assert screen.written == ""


def test_a_signal_asks_for_one_report(stage: Stage) -> None:
    out, screen = stage.open(terminal=False)
    interrupt = Interrupt()
    with interrupt.installed(), Live(out, lines=lambda: ["state of things"], interrupt=interrupt):
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_for_text(screen, "state of things\n")
        time.sleep(0.2)
    assert screen.written == "state of things\n"


def test_a_counter_leaves_its_last_state(stage: Stage) -> None:
    out, screen = stage.open(terminal=False)
    with Counter(out, "packs", 4, bytes_total=4096) as counter:
        for _ in range(4):
            counter.add(volume=1024)
    assert screen.written == "[0:00] 100.00%  4 / 4 packs, 4.000 KiB / 4.000 KiB\n"


def test_a_counter_without_a_total_is_aligned_as_restics(stage: Stage) -> None:
    out, screen = stage.open(terminal=False)
    with Counter(out, "snapshots", 0):
        pass
    assert screen.written == "[0:00]          0 snapshots\n"


def test_a_counter_that_failed_does_not_claim_to_be_done(stage: Stage) -> None:
    out, screen = stage.open(terminal=False)
    with pytest.raises(ValueError, match="stop"), Counter(out, "packs", 4):
        raise ValueError("stop")
    assert screen.written == ""


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rate = Rate()
    assert rate.remaining(0, 100) is None
    now[0] += 2
    assert rate.per_second(20) == pytest.approx(10)
    assert rate.remaining(20, 100) == pytest.approx(8)
    now[0] += 100
    assert rate.per_second(20) < 1


def test_what_each_verbosity_shows(stage: Stage) -> None:
    for verbosity, expected in ((0, "l"), (1, "li"), (2, "liv"), (3, "livd")):
        out, screen = stage.open(terminal=False, verbosity=verbosity)
        out.line("l")
        out.info("i")
        out.verbose("v")
        out.debug("d")
        assert screen.written.replace("\n", "") == expected
    out, screen = stage.open(terminal=False, verbosity=3, json_mode=True)
    out.line("l")
    out.debug("d")
    assert screen.written == ""


def test_colours_only_on_terminals_that_have_them(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not stage.open(terminal=False)[0].coloured
    assert stage.open(terminal=True)[0].coloured
    out, _ = stage.open(terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not out.coloured


# Signals


def test_a_signal_raises_interrupted() -> None:
    from restic_format.errors import Interrupted

    interrupt = Interrupt()
    with interrupt.installed(), pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert interrupt.requested
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_no_handler_of_errors_takes_an_interruption_for_one() -> None:
    from restic_format.errors import Interrupted

    with pytest.raises(Interrupted), contextlib.suppress(Exception):
        raise Interrupted("interrupted")


def test_a_deferred_signal_only_tells() -> None:
    from restic_format.errors import Interrupted

    interrupt = Interrupt()
    with interrupt.installed():
        with interrupt.deferred() as event:
            os.kill(os.getpid(), signal.SIGINT)
            assert event.wait(5)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        with pytest.raises(Interrupted):
            interrupt.check()
