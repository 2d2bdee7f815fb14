"""Mails, text messages and reports stand in folders: with two servers, each page says whose it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.browser import Browser
from support.dashboard import WEB, dashboard_of
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, EmailNotification, ReportGeneration


@pytest.fixture
def serve_from(serve: Callable[..., Server], redis: RedisBackend, tmp_path: Path) -> Callable[[str], Server]:
    """Starts a server whose files stand in a folder of this name."""

    def start(name: str) -> Server:
        mail = {"TOCSIN_MAIL__TRANSPORT": f"file:{tmp_path / name}", "TOCSIN_MAIL__SENDER": "shop@example.com"}
        reports = {"TOCSIN_REPORTS__FOLDER": str(tmp_path / f"{name}-reports")}
        return serve(redis.url, handlers="support.jobs.everyday", **WEB, **mail, **reports)

    return start


def name_of(server: Server) -> str:
    """What it calls itself."""
    with Client(server.address) as client:
        return client.server_info().server


def at(server: Server, address: str) -> str:
    """The same page, where a balancer leads to `server`."""
    parts = urlsplit(address)
    return dashboard_of(server) + f"{parts.path}?{parts.query}"


@pytest.mark.parametrize(("page", "text"), [("outbox", "Hello"), ("reports", ".html")])
def test_a_list_and_its_links_say_which_server_they_are_of(
    serve_from: Callable[[str], Server], browser: Browser, tmp_path: Path, page: str, text: str
) -> None:
    one = serve_from("one")
    with Client(one.address) as client:
        client.wait(client.schedule(EmailNotification(to=["ada@example.com"], subject="Hello", text="Good morning")))
        client.wait(client.schedule(ReportGeneration()))
        two = serve_from("two")  # nothing is written there: all was done
        until(lambda: len(list(client.workers(type="email_notification"))) == 2, within=20)
    first, second = name_of(one), name_of(two)

    browser.open(f"{dashboard_of(one)}/{page}")
    browser.find("p", f"on the server {first}, in {tmp_path / 'one'}")
    browser.find(".note", f"Another server runs such jobs, too: {second}.")
    link = browser.find("table a", text)
    address = str(link.get_attribute("href"))
    link.click()
    browser.find("h1", text)

    browser.open(at(two, address))
    browser.find("h1", "Not found")
    browser.find("main", f"this is the server {second}, which has no file")
    browser.find("main", f"The server {first} listed it")
    browser.open(f"{dashboard_of(two)}/{page}")
    browser.find("p", f"on the server {second}, in {tmp_path / 'two'}")
    assert browser.all("table a") == []


def test_of_one_folder_any_server_shows_all(serve_from: Callable[[str], Server], browser: Browser) -> None:
    one, two = serve_from("shared"), serve_from("shared")
    with Client(one.address) as client:
        client.wait(client.schedule(EmailNotification(to=["ada@example.com"], subject="Hello", text="Good morning")))
    for server, other in ((one, two), (two, one)):
        browser.open(f"{dashboard_of(server)}/outbox")
        address = str(browser.find("table a", "Hello").get_attribute("href"))
        browser.open(at(other, address))
        browser.find("h1", "Hello")
        browser.find("pre", "Good morning")


def test_a_server_alone_speaks_of_no_other(serve_from: Callable[[str], Server], browser: Browser) -> None:
    server = serve_from("alone")
    for page in ("outbox", "reports"):
        browser.open(f"{dashboard_of(server)}/{page}")
        browser.find("p", f"on the server {name_of(server)}")
        assert [one.text for one in browser.all(".note:not(#away)")] == []
