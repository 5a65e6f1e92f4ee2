"""A headless Chromium with a fresh profile, driven by the DevTools protocol through a pipe: no port, no driver."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_PATIENCE = 60.0  # seconds for an answer

Data = dict[str, t.Any]


class BrowserError(Exception):
    """The browser said no, or nothing."""


def program() -> str | None:
    """The path of a Chromium, or none."""
    return next((found for found in map(shutil.which, PROGRAMS) if found), None)


class Browser:
    """One page. errors: what its console and its exceptions said. requests: URLs that it asked for."""

    def __init__(self, path: str, profile: Path) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # The protocol is spoken on the descriptors 3 and 4.
        moved = ["bash", "-c", 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"', str(to_read), str(to_write)]
        self._process = subprocess.Popen(
            [*moved, path, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self._events: list[Data] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._session = None
            self.call("Browser.close")
            self._process.wait(_PATIENCE)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            os.close(self._to)
            os.close(self._from)

    def call(self, method: str, **parameters: t.Any) -> Data:
        """The result of a command. Errors: BrowserError."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                result: Data = answer.get("result", {})
                return result
            self._hear(answer)

    def open(self, file: Path) -> None:
        """Go to a file, and wait until it is loaded."""
        self._events.clear()
        self.call("Page.navigate", url=file.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._hear(self._read())

    def evaluate(self, expression: str) -> t.Any:
        """The value of an expression, of a promise once it is there. Errors: BrowserError."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise BrowserError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true: it is asked before each frame that is painted."""
        self.evaluate(
            f"new Promise((done, fail) => {{ const end = performance.now() + {_PATIENCE * 500};"
            f" const look = () => ({condition}) ? done() : performance.now() > end"
            f" ? fail(new Error('never true')) : requestAnimationFrame(look); look(); }})"
        )

    def size(self, width: int, height: int, mobile: bool = False) -> None:
        scale = 2 if mobile else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    def media(self, media: str = "", scheme: str = "light") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path: Path) -> None:
        """What is in the window."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def printed(self, path: Path) -> None:
        """The page as it is printed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        printed = self.call("Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69)
        path.write_bytes(base64.b64decode(printed["data"]))

    def _hear(self, event: Data) -> None:
        self._events.append(event)
        about = event.get("params", {})
        method = event.get("method")
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(str(about["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(str(about["request"]["url"]))

    def _read(self) -> Data:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready = select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]
            more = os.read(self._from, 1 << 20) if ready else b""
            if not more:
                raise BrowserError("the browser ended" if ready else f"no answer within {_PATIENCE:.0f} s")
            self._buffer += more
        line, _end, self._buffer = self._buffer.partition(b"\0")
        message: Data = json.loads(line)
        return message
