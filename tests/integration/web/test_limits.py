"""Limits of a queue are set, changed and taken away on its page; what is refused stands beside its field."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from selenium.webdriver import Keys
from support.browser import DESKTOP, PHONE, Browser
from support.dashboard import WEB, Visitor, dashboard_of
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, Limit, LimitScope, OnFull, Rate

StartServer = Callable[..., Server]

RELAY = Limit("relay", LimitScope.QUEUE, max_active=5)
RENDER = Limit(
    "render", LimitScope.TYPE, "render", 2, Rate(100, per=timedelta(seconds=90), burst=10), OnFull.CANCEL_NEW
)


@pytest.fixture
def server(redis: RedisBackend, serve: StartServer) -> Server:
    return serve(redis.url, "--no-dispatch", **WEB)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as made:
        yield made


def test_a_limit_is_set_changed_and_taken_away(server: Server, client: Client, browser: Browser) -> None:
    browser.open(f"{dashboard_of(server)}/queue?queue=mail")
    browser.click("summary", "Add a limit")
    browser.type("details[open] input[name=name]", "relay")
    browser.type("details[open] input[name=max_active]", "5")
    browser.click("details[open] button", "Set the limit")
    browser.find(".note.good", "The limit is set")
    browser.find("tbody th", "relay")
    assert client.queue("mail").limits == (RELAY,)

    browser.click("summary", "Change relay")
    browser.type("details[open] input[name=jobs]", "100")
    browser.type("details[open] input[name=per]", "1m30s")
    browser.type("details[open] input[name=max_active]", "")
    browser.click("details[open] button", "Change the limit")
    rated = Limit("relay", LimitScope.QUEUE, rate=Rate(100, per=timedelta(seconds=90)))
    until(lambda: client.queue("mail").limits == (rated,), within=10)  # its note is the one that stands already
    browser.find("tbody td", "100")

    client.update_queue("mail", limits=[RELAY, RENDER])  # by somebody else, while the page is open
    browser.click("summary", "Change relay")
    browser.type("details[open] input[name=max_active]", "7")
    browser.click("details[open] button", "Change the limit")
    browser.find("tbody th", "render")
    assert [(one.name, one.max_active) for one in client.queue("mail").limits] == [("relay", 7), ("render", 2)]

    browser.click("summary", "Change relay")
    browser.click("details[open] button.danger", "Take relay away")
    browser.find(".note.good", "taken away")
    assert client.queue("mail").limits == (RENDER,)

    browser.click("summary", "Take turns")
    browser.click("details[open] button", "Let keys take turns")
    browser.find("p", "Keys take turns.")
    assert client.queue("mail").fair_turns
    browser.click("summary", "End the turns")
    browser.click("details[open] button", "End the turns of keys")
    browser.find(".note.good", "no turns")
    assert not client.queue("mail").fair_turns


def test_a_form_has_all_that_its_limit_has(server: Server, client: Client, browser: Browser) -> None:
    client.update_queue("mail", limits=[RELAY, RENDER])
    browser.open(f"{dashboard_of(server)}/queue?queue=mail")
    browser.click("summary", "Change render")
    browser.click("details[open] button", "Change the limit")
    browser.find(".note.good", "The limit is set")
    assert client.queue("mail").limits == (RELAY, RENDER)


WRONG = (
    ({"name": "a b"}, "name", "is no name"),
    ({"name": "relay"}, "name", "another limit"),
    ({"max_active": "many"}, "max_active", "whole number"),
    ({"max_active": "0"}, "max_active", "1 to 100"),
    ({"max_active": "99999999999"}, "max_active", "nine digits"),
    ({"max_active": ""}, "max_active", "limits nothing"),
    ({"jobs": "5"}, "per", "is needed"),
    ({"per": "1m"}, "jobs", "1 to 1"),
    ({"jobs": "5", "per": "soon"}, "per", "with its unit"),
    ({"jobs": "5", "per": "90d"}, "per", "30 days"),
    ({"jobs": "5", "per": "1m", "burst": "6"}, "burst", "1 to 5"),
    ({"scope": "TYPE"}, "type", ""),
    ({"type": "render"}, "type", "is for TYPE and KEY"),
    ({"scope": "all"}, "scope", "is needed"),
    ({"max_active": "", "jobs": "5", "per": "1m", "on_full": "CANCEL_NEW"}, "on_full", "needs max_active"),
)


def test_what_is_refused_stands_beside_its_field(server: Server, client: Client) -> None:
    client.update_queue("mail", limits=[RELAY])
    with Visitor(dashboard_of(server)) as visitor:
        for changed, name, words in WRONG:
            typed = {"name": "fresh", "scope": "QUEUE", "max_active": "5", "on_full": "WAIT", **changed}
            answer = visitor.send("/queue/limit", queue="mail", was="", **typed)
            assert answer.status_code == 400, changed
            beside = answer.text.partition(f'id="limit-1-{name}-wrong">')[2].partition("</p>")[0]
            assert beside, (changed, name)
            assert words in beside, (changed, beside)
            assert f'aria-describedby="limit-1-{name}-wrong"' in answer.text
            for one in (typed["name"], typed["max_active"], changed.get("jobs", ""), changed.get("per", "")):
                assert f'value="{one}"' in answer.text, one  # nobody types it twice
        gone = visitor.send("/queue/limit", queue="mail", was="other", scope="QUEUE", max_active="1")
        assert gone.status_code == 409
        assert "taken away meanwhile" in gone.text
    assert client.queue("mail").limits == (RELAY,)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_refusal_is_fit_for_everybody(
    server: Server, client: Client, browser: Browser, axe_text: str, pictures: Path, size: tuple[int, int], scheme: str
) -> None:
    client.update_queue("mail", limits=[RELAY, RENDER], fair_turns=True)
    browser.resize(size)
    browser.colours(scheme)
    browser.open(f"{dashboard_of(server)}/queue?queue=mail")
    browser.focus_by_tab("summary", "Change render")
    browser.press(Keys.ENTER)
    browser.focus_by_tab("details[open] input[name=max_active]")
    browser.press(Keys.BACKSPACE, "many", Keys.ENTER)
    browser.find("p.wrong", "whole number")
    assert browser.driver.switch_to.active_element.get_attribute("name") == "max_active"
    assert not browser.overflows()
    browser.picture(pictures / f"limit-{size[0]}-{scheme}.png")
    assert browser.faults(axe_text) == []
    browser.press(Keys.END, *[Keys.BACKSPACE] * 4, "3", Keys.ENTER)
    browser.find(".note.good", "The limit is set")
    assert [one.max_active for one in client.queue("mail").limits] == [5, 3]


def test_the_lines_do_what_the_buttons_do(
    server: Server, client: Client, browser: Browser, go_tool: Callable[..., str]
) -> None:
    client.update_queue("mail", limits=[RELAY, RENDER], fair_turns=True)

    def lines(summary: str) -> list[list[str]]:
        browser.open(f"{dashboard_of(server)}/queue?queue=mail")
        browser.click("summary", summary)
        return [shlex.split(one.text) for one in browser.all("details[open] pre")]

    def tocsin(words: list[str]) -> None:
        assert words[0] == "tocsin"
        subprocess.run([sys.executable, "-m", "tocsin.cli.main", *words[1:]], check=True, capture_output=True)

    def grpcurl(words: list[str]) -> None:
        assert words[0] == "grpcurl"
        subprocess.run([go_tool("grpcurl"), *words[1:]], check=True, capture_output=True)

    setting, setting_too, taking, taking_too = lines("Change render")
    new, new_too = lines("Add a limit")
    turns, turns_too = lines("End the turns")
    for run, unset, again, fewer in ((tocsin, turns, setting, taking), (grpcurl, turns_too, setting_too, taking_too)):
        run(fewer)
        assert client.queue("mail").limits == (RELAY,)
        run(again)
        assert client.queue("mail").limits == (RELAY, RENDER)
        run(unset)
        assert not client.queue("mail").fair_turns
        client.update_queue("mail", fair_turns=True)
    for run, words in ((tocsin, new), (grpcurl, new_too)):
        client.update_queue("mail", limits=[])
        run([word.replace("name=render", "name=other") for word in words])
    assert "relay" in [one.name for one in client.queue("mail").limits]


def test_without_the_script_and_on_each_store(store: StoreBackend, serve: StartServer) -> None:
    server = serve(store.url, "--no-dispatch", **WEB)
    with Visitor(dashboard_of(server)) as visitor, Client(server.address) as client:
        fields = {"queue": "mail", "was": "", "name": "relay", "scope": "QUEUE", "max_active": "5", "on_full": "WAIT"}
        answer = visitor.send("/queue/limit", **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/queue?queue=mail&said=limit-set")
        assert client.queue("mail").limits == (RELAY,)
        answer = visitor.send("/queue/no-limit", queue="mail", was="relay")
        assert answer.headers["location"] == "/queue?queue=mail&said=limit-taken"
        assert client.queue("mail").limits == ()
        assert "None." in visitor.text("/queue?queue=mail")
        answer = visitor.send("/queue/turns", queue="mail", turns="yes")
        assert answer.status_code == 303 or "MongoDB" in answer.text
