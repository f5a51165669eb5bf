"""A real browser, driven over its DevTools protocol: files chosen, keys pressed, pages seen."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import websocket
from e2e.browser import _LOOK
from serving_support.gateway import until


class Chrome:
    """A browser with one page open; a context manager.

    Args:
      browser: path of Chromium.
      camera: .mjpeg file that its camera sees again and again; None for no camera.
    """

    def __init__(self, browser: str, camera: Path | None = None):
        self._browser = browser
        self._camera = [] if camera is None else [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]  # fmt: skip
        self._numbers = itertools.count(1)

    def __enter__(self) -> Chrome:
        self._profile = tempfile.TemporaryDirectory(prefix="chrome-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                self._browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-port=0",
                "--remote-allow-origins=*", f"--user-data-dir={self._profile.name}",
                *self._camera, "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            told = Path(self._profile.name) / "DevToolsActivePort"
            until(lambda: told.exists() and "\n" in told.read_text(), "the browser answers")
            port = told.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=60) as answer:
                (page,) = [one for one in json.load(answer) if one["type"] == "page"]
            self._socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=120)
            self.ask("Page.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()

    def ask(self, method: str, **parameters) -> dict:
        """One call of the protocol; returns its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def run(self, script: str):
        """The value of an expression in the page; promises are awaited."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str, width: int, height: int = 900, dark: bool = False) -> None:
        """Opens a page in a window of a size in pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        # From a blank page, or the old one could still be asked.
        self.ask("Page.navigate", url="about:blank")
        until(lambda: self.run("location.href") == "about:blank", "the old page is gone")
        self.ask("Page.navigate", url=url)
        ready = f"location.href.startsWith({url!r}) && document.readyState == 'complete'"
        until(lambda: self.run(ready), f"{url} is open")

    def choose(self, selector: str, *files: Path) -> None:
        """Chooses files, as a person does in the dialog."""
        handle = self.ask("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        place = handle["result"]["objectId"]
        self.ask("DOM.setFileInputFiles", files=list(map(str, files)), objectId=place)

    def key(self, key: str, code: int) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, **text,
            )  # fmt: skip

    def faults(self) -> list[str]:
        """What is cut, overlaps or lies outside, see `e2e.browser`."""
        script = f"new Promise(tell => {{ onmessage = e => tell(e.data); {_LOOK} }})"
        return json.loads(self.run(script))["faults"]

    def picture(self, path: Path) -> None:
        """Writes what is to be seen of the whole page, a .png file."""
        height = self.run("document.documentElement.scrollHeight")
        width = self.run("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        found = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
