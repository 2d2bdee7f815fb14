"""Each page of the dashboard, clicked through: what it shows is what is, and each button does what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.browser import PHONE, Browser
from support.dashboard import PAGES, STREAMS, WEB, Visitor, dashboard_of
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, EmailNotification, FailedPrecondition, ReportGeneration, RetryPolicy

HANDLERS = "support.jobs.everyday"


@pytest.fixture
def server(redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path) -> Server:
    mail = {"TOCSIN_MAIL__TRANSPORT": f"file:{tmp_path / 'outbox'}", "TOCSIN_MAIL__SENDER": "shop@example.com"}
    return serve(redis.url, handlers=HANDLERS, **WEB, **mail)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as made:
        yield made


def test_the_overview_shows_what_goes_on_as_it_goes_on(server: Server, client: Client, browser: Browser) -> None:
    client.schedule("echo", {}, queue="mail", delay=3600)
    browser.open(dashboard_of(server))
    browser.find("h1", "Overview")
    browser.find("tr[data-key=mail] td[data-of=Scheduled]", "1")
    for number in range(3):
        client.schedule("echo", {"n": number}, queue="fresh")
    browser.find("tr[data-key=fresh] td[data-of=Completed]", "3")
    client.schedule("fails_for_good", {}, queue="fresh", job_id="dead-1")
    browser.find("table a", "dead-1").click()
    browser.find("h1", "dead-1")
    assert browser.find(".badge").text == "failed"


def test_figures_of_some_queues_say_so(server: Server, client: Client) -> None:
    told = "Rates, lateness, workers and the chart are those of the 20 busiest queues."
    with Visitor(dashboard_of(server)) as visitor:
        for number in range(21):
            assert told not in visitor.text("/")
            client.schedule("echo", {}, queue=f"queue-{number}", delay=3600)
        assert told in visitor.text("/")


def test_each_action_on_a_job(server: Server, client: Client, browser: Browser) -> None:
    at = dashboard_of(server)
    client.schedule("until_cancelled", {"secret": "kale"}, job_id="later", delay=3600)
    browser.open(f"{at}/job?queue=default&id=later")
    browser.find(".why", "due")
    browser.find("pre", "kale")

    browser.click("summary", "Change its time")
    browser.type("input[name=when]", "nonsense")
    browser.click("button", "Set the time")
    browser.find(".note.bad", "nonsense")
    browser.click("summary", "Change its time")
    browser.type("input[name=when]", "3d")
    browser.click("button", "Set the time")
    browser.find(".note.good", "Its time is changed")
    assert (client.get("later").schedule_time - client.get("later").create_time).days >= 2

    browser.click("summary", "Hold")
    browser.click("button", "Hold it")
    browser.find("#live .badge", "held")
    assert client.get("later").message.held
    browser.click("summary", "Release")
    browser.click("button", "Release it")
    browser.find(".note.good", "released")

    browser.click("summary", "Run now")
    browser.click("button", "Run now")
    browser.find(".note.good", "due now")
    browser.find("#live .badge.ACTIVE")  # shown without a click, as it changes
    browser.open(f"{at}/job?queue=default&id=later")
    browser.click("summary", "Cancel")
    browser.type("input[name=reason]", "no longer needed")
    browser.click("button", "Cancel the job")
    browser.find("#live .badge.CANCELLED")
    assert client.get("later").cancel.reason == "no longer needed"

    browser.open(f"{at}/job?queue=default&id=later")
    browser.click("summary", "Retry")
    browser.click("button", "Retry")
    browser.find(".note.good", "due again")
    client.cancel("later", grace=5)
    client.wait("later")

    browser.open(f"{at}/job?queue=default&id=later")
    browser.click("summary", "Delete")
    browser.click("button", "Delete the job")
    browser.find(".note.good", "deleted")
    browser.open(f"{at}/job?queue=default&id=later")
    browser.find("h1", "Not found")


def test_what_went_wrong_and_what_was_written_is_told(server: Server, client: Client, browser: Browser) -> None:
    job = client.schedule("fails", {}, job_id="wrong", retry=RetryPolicy(max_attempts=2, initial_delay=0.01))
    client.wait(job)
    browser.open(f"{dashboard_of(server)}/job?queue=default&id=wrong")
    steps = [step.text for step in browser.all(".timeline > li")]
    assert sum("failed: RuntimeError" in step for step in steps) == 2
    browser.click(".timeline summary", "where it happened")
    browser.find(".timeline pre", "this job always fails")


def test_what_a_job_says_is_seen_as_it_says_it(server: Server, client: Client, browser: Browser) -> None:
    client.schedule("writes_lines", {"lines": 250, "waits": True}, job_id="wrote")
    browser.open(f"{dashboard_of(server)}/job?queue=default&id=wrote")
    browser.find(".log td", "line 249")
    browser.find(".log .badge", "warning")
    assert len(browser.all(".log tr")) == 200
    browser.find("p", "50 lines before these")
    client.schedule("reports_progress", {}, job_id="half")
    browser.open(f"{dashboard_of(server)}/job?queue=default&id=half")
    browser.find("progress")
    browser.find("p", "50 % half way")
    for job_id, payload, shown in (
        ("bytes", b"\xff\x00", "2 bytes: ff 00"),
        ("text", "Grüezi <b>".encode(), "Grüezi <b>"),
        ("object", {"n": 1, "list": [0.5, None]}, '"n": 1'),
    ):
        client.schedule("echo", payload, job_id=job_id, delay=3600)
        browser.open(f"{dashboard_of(server)}/job?queue=default&id={job_id}")
        browser.find("pre", shown)
    client.wait(client.schedule("echo", {"given": "back"}, job_id="done"))
    browser.open(f"{dashboard_of(server)}/job?queue=default&id=done")
    browser.find("pre[aria-label=Result]", "back")


def test_jobs_are_found_by_state_type_tag_time_and_id(server: Server, client: Client, browser: Browser) -> None:
    for number in range(60):
        client.schedule(
            "echo", {}, job_id=f"later-{number}", delay=3600, tags={"city": "Bern" if number % 2 else "Basel"}
        )
    client.wait(client.schedule("echo", {}, job_id="done"))
    browser.open(f"{dashboard_of(server)}/jobs")
    browser.find(".tabs a", "scheduled60")
    browser.click(".tabs a", "scheduled")
    assert len(browser.all("table tbody tr")) == 50
    browser.click("a", "Next page")
    until(lambda: len(browser.all("table tbody tr")) == 10, within=10)
    browser.type("#tag", "city=Bern")
    browser.click("button", "Show")
    until(lambda: len(browser.all("table tbody tr")) == 30, within=10)
    browser.type("#tag", "nonsense")
    browser.click("button", "Show")
    browser.find(".note.bad", "key=value")
    browser.open(f"{dashboard_of(server)}/jobs?time=end_time&from=1h")
    assert [row.text.split()[0] for row in browser.all("table tbody tr")] == ["done"]
    browser.type("#id", "later-7")
    browser.click("button", "Show")
    browser.find("h1", "later-7")


def test_a_queue_is_paused_and_goes_on(server: Server, client: Client, browser: Browser) -> None:
    client.schedule("echo", {}, queue="mail", delay=3600)
    browser.open(dashboard_of(server))
    browser.click(".nav a", "Queues")
    browser.click("table a", "mail")
    browser.click("summary", "Pause")
    browser.type("input[name=reason]", "relay <b>is</b> down")
    browser.click("button", "Pause the queue")
    browser.find(".note.wait", "relay <b>is</b> down")
    assert client.queue("mail").paused
    browser.click("summary", "Resume")
    browser.click("button", "Resume the queue")
    browser.find(".note.good", "goes on")
    assert not client.queue("mail").paused
    browser.click("summary", "Pause")
    browser.type("input[name=until]", "2h")
    browser.click("button", "Pause the queue")
    browser.find("#live .note.wait", "until")
    browser.click("summary", "Drain")
    browser.click("button", "Drain the queue")
    browser.find("#live .note.wait", "no new jobs")
    with pytest.raises(FailedPrecondition):
        client.schedule("echo", {}, queue="mail")
    browser.click("summary", "Resume")
    browser.click("button", "Resume the queue")
    browser.find(".note.good", "goes on")
    client.schedule("echo", {}, queue="mail")


def test_the_lines_beside_a_button_do_what_it_does(
    server: Server, client: Client, browser: Browser, go_tool: Callable[..., str]
) -> None:
    ids = ["plain", "two words", "--dash", "it's"]
    for job_id in ids:
        client.schedule("echo", {}, job_id=job_id, delay=3600)
    for job_id in ids:
        browser.open(f"{dashboard_of(server)}/jobs?id={job_id.replace(' ', '+')}")
        browser.click("summary", "Run now")
        line = browser.find("details[open] pre").text
        words = shlex.split(line)
        assert words[0] == "tocsin"
        subprocess.run([sys.executable, "-m", "tocsin.cli.main", *words[1:]], check=True, capture_output=True)
        client.wait(job_id)
    browser.open(f"{dashboard_of(server)}/jobs?id=plain")
    browser.click("summary", "Delete")
    words = shlex.split(browser.find("details[open] pre", "grpcurl").text)
    subprocess.run([go_tool("grpcurl"), *words[1:]], check=True, capture_output=True)
    assert "plain" not in [job.job_id for job in client.list()]


def test_each_page_opens_on_each_store(store: StoreBackend, serve: Callable[..., Server], tmp_path: Path) -> None:
    mail = {"TOCSIN_MAIL__TRANSPORT": f"file:{tmp_path / 'outbox'}", "TOCSIN_MAIL__SENDER": "shop@example.com"}
    server = serve(store.url, handlers=HANDLERS, **WEB, **mail)
    with Client(server.address) as client:
        everything(client)
    with Visitor(dashboard_of(server)) as visitor:
        for page in PAGES:
            visitor.text(page)
        for page in STREAMS:
            with visitor.stream(page) as events:
                assert next(events)[0] == "picture"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_page_is_fit_for_everybody(
    server: Server, client: Client, browser: Browser, axe_text: str, pictures: Path, scheme: str
) -> None:
    everything(client)
    browser.colours(scheme)
    for size, name in (((1280, 900), "desk"), (PHONE, "phone")):
        browser.resize(size)
        for page in PAGES:
            browser.open(dashboard_of(server) + page)
            browser.find("h1")
            stem = re.sub(r"\W+", "-", page).strip("-") or "overview"
            browser.picture(pictures / f"{stem}-{name}-{scheme}.png")
            assert browser.faults(axe_text) == [], page
            assert not browser.overflows(), (page, name)


def everything(client: Client) -> None:
    """Jobs in all states, and all that pages show."""
    for number in range(12):
        client.schedule("echo", {"n": number, "to": "ada@example.com"}, queue="mail", tags={"city": "Bern"})
    client.wait(client.schedule("fails_for_good", {"to": "nobody"}, queue="mail", job_id="dead-1"))
    client.schedule("fails", {}, queue="mail", retry=RetryPolicy(max_attempts=5, initial_delay=3600))
    client.schedule("charge_card", {"amount": 4200}, queue="payments", priority=10)
    client.schedule("reports_progress", {}, queue="media")
    client.schedule("echo", {}, queue="media", delay=7200)
    client.schedules.create(
        "pay-day", queue="mail", cron="0 9 L * *", time_zone="Europe/Berlin", type="echo", payload={"n": 1}
    )
    client.schedules.create("often", queue="mail", every=30, type="echo")
    client.schedules.pause("often", "mail", reason="too often")
    at = datetime.now(UTC) + timedelta(days=3)
    client.schedule_booking_reminders("B42", at, queue="mail", email_to=["ada@example.com"])
    client.wait(client.schedule(EmailNotification(to=["ada@example.com"], subject="Your table", text="is ready")))
    client.wait(client.schedule(ReportGeneration(queue="mail")))
    client.pause("night", reason="the relay is being moved")
    client.schedule("echo", {}, queue="night")
