"""A real Chromium, driven by its own driver: what a person at a browser sees, clicks and types."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.remote.webelement import WebElement

from support.eventually import until

#: What finds faults in a page for people who do not see it, or use no mouse; at a fixed version.
AXE = "axe-core@4.14.1"
_CACHE = Path.home() / ".cache" / "tocsin-test" / AXE.replace("@", "-")

DESKTOP, PHONE = (1280, 900), (390, 844)
WITHIN = 15.0  # seconds in which a page shows what is waited for

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-GB",
)


class NoBrowser(Exception):
    """There is no Chromium, or no axe, to be had here; the message says why."""


class Browser:
    """One browser. A context manager. Raises NoBrowser where there is none."""

    def __init__(self, folder: Path) -> None:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        driver = shutil.which("chromedriver")
        if chromium is None or driver is None:
            raise NoBrowser("chromium and chromedriver are not on PATH")
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.accept_insecure_certs = True
        self.driver = Chrome(options, ChromeService(driver))
        self.resize(DESKTOP)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def resize(self, size: tuple[int, int]) -> None:
        """The size of the page itself, as a phone or a desk has it."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=size[0], height=size[1], deviceScaleFactor=1, mobile=size == PHONE,
        )  # fmt: skip

    def devtools(self, command: str, **arguments: object) -> Any:
        """A command of Chrome's own protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def colours(self, scheme: str) -> None:
        """ "dark" or "light", as the system would ask for it."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Go to it."""
        self.driver.get(address)

    def all(self, css: str) -> list[WebElement]:
        """What is there now."""
        return self.driver.find_elements("css selector", css)

    def find(self, css: str, text: str = "") -> WebElement:
        """The first that is there and has the text, once it is."""

        def found() -> WebElement | None:
            return next((one for one in self.all(css) if text in self.text_of(one)), None)

        return until(lambda: self._settled(found), within=WITHIN, what=f"{css} with {text!r} at {self.address}")

    def text_of(self, element: WebElement) -> str:
        """What is in it, also where it is not unfolded."""
        return str(self.driver.execute_script("return arguments[0].textContent", element))

    def _settled(self, read: Any) -> Any:
        """What `read` gives; nothing where the page changes meanwhile."""
        from selenium.common.exceptions import StaleElementReferenceException

        try:
            return read()
        except StaleElementReferenceException:
            return None

    def click(self, css: str, text: str = "") -> None:
        """Click it, once it is there and nothing is over it."""
        from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException

        def clicked() -> bool:
            element = next((one for one in self.all(css) if text in self.text_of(one)), None)
            if element is None:
                return False
            try:
                self.script("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
            except (ElementClickInterceptedException, ElementNotInteractableException):
                return False
            return True

        until(lambda: self._settled(clicked), within=WITHIN, what=f"{css} with {text!r} to click at {self.address}")

    def type(self, css: str, text: str) -> None:
        """Write into a field, in place of what stands there."""
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focus_by_tab(self, css: str, text: str = "", most: int = 80) -> None:
        """Go to it by the tab key alone. AssertionError where that does not lead there."""
        for _ in range(most):
            active = self.driver.switch_to.active_element
            if active in self.all(css) and text in self.text_of(active):
                return
            active.send_keys(Keys.TAB)
        raise AssertionError(f"{most} times the tab key do not lead to {css} with {text!r}")

    def script(self, text: str, *arguments: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(text, *arguments)

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self.driver.current_url)

    @property
    def text(self) -> str:
        """What the page says."""
        return str(self.script("return document.body.innerText"))

    def troubles(self) -> list[str]:
        """What the console told since it was asked last: errors of scripts, and what the policy forbade. Answers that
        say that something was refused are no trouble of the page."""
        lines = [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [line for line in lines if "Failed to load resource" not in line and "Response Status Error" not in line]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole, format="png", **self._clip(whole))
        from base64 import b64decode

        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b64decode(shot["data"]))

    def _clip(self, whole: bool) -> dict[str, object]:
        if not whole:
            return {}
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 3_000), "scale": 1}}

    def overflows(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(self.script("return document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def faults(self, axe: str) -> list[str]:
        """What `axe`, its text, finds to be serious or critical."""
        self.script(axe)
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then((r) => done(JSON.stringify(r.violations)))"
        )
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
            for one in json.loads(found)
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:3]
        ]


def axe() -> str:
    """The text of axe, fetched once. Raises NoBrowser."""
    script = _CACHE / "axe.min.js"
    npm = shutil.which("npm")
    if not script.exists() and npm is None:
        raise NoBrowser("npm is not on PATH to fetch axe-core")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not script.exists():
            with tempfile.TemporaryDirectory() as folder:
                packed = [str(npm), "pack", "--silent", AXE]
                done = subprocess.run(packed, cwd=folder, capture_output=True, text=True, timeout=120)
                if done.returncode:
                    raise NoBrowser(f"`npm pack` failed: {done.stderr.strip()[-300:]}")
                [archive] = Path(folder).glob("*.tgz")
                with tarfile.open(archive) as files:
                    member = files.extractfile("package/axe.min.js")
                    assert member is not None
                    script.write_bytes(member.read())
    return script.read_text()
