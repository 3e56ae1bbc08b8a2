"""A real browser for tests: opens a page from a file and says what it shows, complains about and asks the network for.

Chromium is spoken to through two pipes, in the messages of its DevTools: that needs no library, no port and no second
program. `make peers` fetches it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".peers" / "chromium" / "chromium"
PATIENCE = 60.0
"""Seconds that the browser may take for anything."""
SWITCHES = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--log-level=3",
)


class Browser:
    """One running browser; leaving it ends the program and removes its folder.

    Raises :class:`AssertionError` when the program is missing or does not answer.
    """

    def __init__(self, program: Path = PROGRAM) -> None:
        assert program.exists(), f"{program} is missing: run `make peers`"
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="restic-format-browser-"))
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        """What it told without being asked, in order."""

    def __enter__(self) -> Self:
        commands, self._to = _pipe()
        self._from, answers = _pipe()
        switches = [*SWITCHES, f"--user-data-dir={self._folder}"]
        if os.geteuid() == 0:
            switches.append("--no-sandbox")  # which it refuses to make as root
        self._log = self._folder / "log"
        log = os.open(self._log, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
        self._pid = os.posix_spawn(
            self._program,
            [str(self._program), *switches],
            {**os.environ, "HOME": str(self._folder), "XDG_CACHE_HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                *((os.POSIX_SPAWN_DUP2, old, new) for old, new in ((log, 1), (log, 2), (commands, 3), (answers, 4))),
            ],
            setpgroup=0,
        )
        for descriptor in (commands, answers, log):
            os.close(descriptor)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)

    def libraries(self) -> set[Path]:
        """The files of code that its processes have loaded."""
        found: set[Path] = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getpgid(int(process.name)) == self._pid:
                    lines = (process / "maps").read_text().splitlines()
                    found |= {Path(line.split(maxsplit=5)[5]) for line in lines if line.endswith(".so") or ".so." in line}
        return found

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """One request of the DevTools protocol and its result."""
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            message = self._message(method)
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self.events.append(message)

    def wait(self, what: str, found: Callable[[], bool]) -> None:
        """Take what it tells until *found* is true."""
        while not found():
            self.events.append(self._message(what))

    def _message(self, what: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._from, 1 << 20) if ready else b""
            assert data, f"the browser does not answer ({what}): {self._log.read_text(errors='replace')[-2000:]}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    @contextlib.contextmanager
    def open(
        self,
        path: Path,
        *,
        width: int = 1000,
        height: int = 800,
        dark: bool = False,
        media: str = "",
        scripts: bool = True,
    ) -> Iterator[Page]:
        """A page from a file, shown in a window of *width* x *height* CSS pixels, after it was loaded.

        *media*: ``print`` shows it as paper does; without, the screen does, and paper when it is printed.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            for domain in ("Page", "Runtime", "Network", "Log", "Security"):
                self.call(f"{domain}.enable", session)
            self.call(
                "Emulation.setDeviceMetricsOverride", session, width=width, height=height, deviceScaleFactor=1, mobile=False
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            self.call("Emulation.setEmulatedMedia", session, media=media, features=[scheme])
            if not scripts:
                self.call("Emulation.setScriptExecutionDisabled", session, value=True)
            page = Page(self, session, path.resolve().as_uri())
            navigated = self.call("Page.navigate", session, url=page.address)
            assert "errorText" not in navigated, f"{path}: {navigated['errorText']}"
            self.wait(f"{path} is loaded", lambda: any(page.events("Page.loadEventFired")))
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)


class Page:
    """A page in the browser."""

    def __init__(self, browser: Browser, session: str, address: str) -> None:
        self._browser = browser
        self._session = session
        self.address = address

    def events(self, method: str) -> Iterator[dict[str, Any]]:
        """What the browser told about this page."""
        for message in self._browser.events:
            if message.get("sessionId") == self._session and message["method"] == method:
                yield message["params"]

    def call(self, method: str, **params: Any) -> Any:
        """A request of the DevTools protocol about this page."""
        return self._browser.call(method, self._session, **params)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in JavaScript, as JSON has it."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    @property
    def text(self) -> str:
        """The text as a person sees it: without what is hidden."""
        found: str = self.evaluate("document.body.innerText")
        return found

    @property
    def markup(self) -> str:
        """The document after it was loaded, as HTML."""
        found: str = self.evaluate("document.documentElement.outerHTML")
        return found

    def errors(self) -> list[str]:
        """Warnings and errors in the console, exceptions, refusals by the content security policy, dialogs."""
        self.evaluate("new Promise(done => setTimeout(done, 50))")  # what comes late
        found = [str(params["exceptionDetails"]) for params in self.events("Runtime.exceptionThrown")]
        found += [str(params) for params in self.events("Runtime.consoleAPICalled")]
        found += [str(params["entry"]) for params in self.events("Log.entryAdded")]
        found += [str(params) for params in self.events("Page.javascriptDialogOpening")]
        return found

    def requests(self) -> list[str]:
        """The addresses that were asked for, the page's own and those within it (``data:``) left out."""
        addresses = [str(params["request"]["url"]) for params in self.events("Network.requestWillBeSent")]
        return [address for address in addresses if address != self.address and not address.startswith("data:")]

    def screenshot(self, path: Path | None = None) -> bytes:
        """The whole page as PNG, also written to *path*."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return _kept(answer["data"], path)

    def pdf(self, path: Path | None = None) -> bytes:
        """The page as it is printed, with its own colours, on A4."""
        answer = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True, printBackground=True)
        return _kept(answer["data"], path)


def _kept(data: str, path: Path | None) -> bytes:
    content = base64.b64decode(data)
    if path:
        path.write_bytes(content)
    return content


def _pipe() -> tuple[int, int]:
    """The two ends of a pipe, with numbers that are not those the browser wants."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
