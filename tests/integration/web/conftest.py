"""A browser, and servers with a dashboard to look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from support.browser import DESKTOP, Browser, NoBrowser, axe


@pytest.fixture(scope="session")
def the_browser(tmp_path_factory: pytest.TempPathFactory, not_run: Callable[[str, str], NoReturn]) -> Iterator[Browser]:
    """One browser for all tests. Skips them, and says so loudly at the end, where there is none."""
    try:
        started = Browser(tmp_path_factory.mktemp("browser"))
    except NoBrowser as why:
        not_run("browser", str(why))
    with started:
        yield started


@pytest.fixture
def browser(the_browser: Browser) -> Iterator[Browser]:
    """A browser that knows nothing yet, as large as a desk's. The page may have had no trouble of its own."""
    the_browser.open("about:blank")
    the_browser.devtools("Network.clearBrowserCookies")
    the_browser.resize(DESKTOP)
    the_browser.colours("light")
    the_browser.troubles()
    yield the_browser
    assert the_browser.troubles() == []
    the_browser.open("about:blank")  # its streams end


@pytest.fixture(scope="session")
def axe_text(not_run: Callable[[str, str], NoReturn]) -> str:
    """axe-core. Skips the test, and says so loudly at the end, where it cannot be had."""
    try:
        return axe()
    except NoBrowser as why:
        not_run("browser", str(why))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: TESTS_PICTURES, to be looked at, or away with the test."""
    return Path(os.environ.get("TESTS_PICTURES", tmp_path))
