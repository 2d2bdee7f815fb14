"""Pages that are kept up to date: while the store is away, for hours, many at once, and by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from selenium.webdriver import Keys
from support.browser import DESKTOP, PHONE, Browser
from support.dashboard import WEB, Visitor, dashboard_of
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client

StartServer = Callable[..., Server]
OPENED = "return window.streams"
#: Counts the streams that a page opens, and those that it has open.
COUNTING = """
  window.streams = window.streams || [];
  const Real = EventSource;
  window.EventSource = class extends Real {
    constructor(at) { super(at); window.streams.push(this); }
  };
"""


@pytest.fixture
def server(redis: RedisBackend, serve: StartServer) -> Server:
    return serve(redis.url, handlers="support.jobs.everyday", **WEB)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as made:
        yield made


def open_streams(browser: Browser) -> int:
    """How many the page has open."""
    return int(browser.script("return window.streams.filter((one) => one.readyState !== 2).length"))


def test_a_store_that_is_away_is_told_and_the_last_picture_stays(
    server: Server, client: Client, browser: Browser, redis: RedisBackend
) -> None:
    client.schedule("echo", {}, queue="mail", delay=3600)
    browser.open(dashboard_of(server))
    browser.find("tr[data-key=mail]")
    until(lambda: browser.script("return Number(document.getElementById('live').dataset.pictures || 0)"), within=10)
    redis.stop()
    until(lambda: "how it was last" in browser.find("#away").text, within=30)
    assert browser.find("tr[data-key=mail] td[data-of=Scheduled]").text.endswith("1")
    browser.click(".nav a", "Queues")
    browser.find("h1", "The store does not answer")
    browser.find("a", "Overview")
    redis.start()
    with Visitor(dashboard_of(server)) as visitor:
        until(lambda: visitor.get("/").status_code == 200, within=30)
    browser.click(".pager a", "Overview")
    browser.find("#live", "No queue was used yet")  # this one has lost all
    assert not browser.find("#away").is_displayed()


def test_a_page_left_open_stays_small_and_one_that_nobody_sees_asks_for_nothing(
    server: Server, client: Client, browser: Browser
) -> None:
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=COUNTING)
    client.schedule("echo", {}, queue="mail", delay=3600)
    browser.open(dashboard_of(server))
    browser.find("tr[data-key=mail]")
    size = "return document.querySelectorAll('*').length"
    before = browser.script(size)
    for number in range(5):  # each changes the page
        client.schedule("echo", {}, queue="mail", delay=3600)
        browser.find("tr[data-key=mail] td[data-of=Scheduled]", str(number + 2))
    assert browser.script(size) == before
    assert browser.script("return JSON.parse(sessionStorage['tocsin-chart']).length") <= 150
    for name in ("Queues", "Workers", "Overview"):
        browser.click(".nav a", name)
        browser.find("h1", name)
    until(lambda: open_streams(browser) == 1, within=10)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    browser.script(hide % "true" + "document.dispatchEvent(new Event('visibilitychange'))")
    assert open_streams(browser) == 0
    browser.script(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))")
    assert open_streams(browser) == 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_by_keyboard_alone(server: Server, client: Client, browser: Browser, size: tuple[int, int]) -> None:
    browser.resize(size)
    client.schedule("echo", {}, job_id="later", delay=3600)
    browser.open(dashboard_of(server))
    browser.find("h1", "Overview")
    browser.press(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to the page"
    browser.focus_by_tab(".nav a", "Jobs")
    browser.press(Keys.ENTER)
    browser.find("h1", "Jobs")
    browser.press("/")
    browser.press("later", Keys.ENTER)
    browser.find("h1", "later")
    browser.focus_by_tab("summary", "Change its time")
    browser.press(Keys.ENTER)
    browser.focus_by_tab("input[name=when]")
    browser.press("2d", Keys.ENTER)
    browser.find(".note.good", "Its time is changed")
    browser.focus_by_tab("summary", "Cancel")
    browser.press(Keys.ENTER)
    browser.focus_by_tab("button.danger")
    browser.press(Keys.SPACE)
    browser.find(".badge.CANCELLED")
    browser.focus_by_tab("summary", "Delete")
    browser.press(Keys.ENTER)
    browser.focus_by_tab("button.danger")
    outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # it is seen where one is
    browser.press(Keys.ENTER)
    browser.find(".note.good", "deleted")


def test_a_focus_stays_where_it_is_while_the_page_changes_around_it(
    server: Server, client: Client, browser: Browser
) -> None:
    client.schedule("echo", {}, queue="mail", delay=3600)
    browser.open(dashboard_of(server))
    browser.focus_by_tab("tr[data-key=mail] a", "mail")
    client.schedule("echo", {}, queue="mail", delay=3600)
    browser.find("tr[data-key=mail] td[data-of=Scheduled]", "2")
    assert browser.driver.switch_to.active_element.text == "mail"


def test_streams_beyond_the_bound_are_refused_and_pages_are_not(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, **WEB, TOCSIN_WEB__STREAMS="3")
    with Visitor(dashboard_of(server)) as visitor, ExitStack() as stack:
        streams = [stack.enter_context(visitor.stream("/live/overview")) for _ in range(3)]
        assert [next(events)[0] for events in streams] == ["picture"] * 3
        assert visitor.get("/live/overview").status_code == 503
        assert visitor.get("/").status_code == 200
        stack.close()  # whoever leaves makes room
        until(lambda: _opens(visitor), within=10)


def test_a_page_that_was_refused_a_stream_asks_again(redis: RedisBackend, serve: StartServer, browser: Browser) -> None:
    server = serve(redis.url, **WEB, TOCSIN_WEB__STREAMS="1")
    with Visitor(dashboard_of(server)) as visitor:
        with visitor.stream("/live/overview") as events:
            assert next(events)[0] == "picture"
            browser.open(dashboard_of(server))
            browser.find("#away", "not kept up to date")
        pictures = "return Number(document.getElementById('live').dataset.pictures || 0)"
        assert browser.script(pictures) == 0
        until(lambda: browser.script(pictures), within=30)
    assert not browser.find("#away").is_displayed()


def _opens(visitor: Visitor) -> bool:
    with visitor.http.stream("GET", f"{visitor.at}/live/queues") as answer:
        return bool(answer.status_code == 200)


def test_a_server_that_stops_waits_for_no_open_page(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, **WEB)
    with Visitor(dashboard_of(server)) as visitor, visitor.stream("/live/overview") as events:
        assert next(events)[0] == "picture"
        assert server.stop(timeout=5) == 0
        assert "Traceback" not in server.said(100_000)
