"""The pages of dead letters, schedules, workers, reminders, reports and the outbox, clicked through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.browser import Browser
from support.dashboard import WEB, dashboard_of
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, EmailNotification, ReportGeneration, SmsNotification


@pytest.fixture
def server(redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path) -> Server:
    outbox = f"file:{tmp_path / 'outbox'}"
    sent = {"TOCSIN_MAIL__TRANSPORT": outbox, "TOCSIN_SMS__URL": outbox, "TOCSIN_MAIL__SENDER": "shop@example.com"}
    reports = {"TOCSIN_REPORTS__FOLDER": str(tmp_path / "reports")}
    return serve(redis.url, handlers="support.jobs.everyday", **WEB, **sent, **reports)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as made:
        yield made


def test_dead_letters_are_counted_and_looked_at_before_they_are_touched(
    server: Server, client: Client, browser: Browser
) -> None:
    for number in range(23):
        client.schedule("fails_for_good", {"n": number}, tags={"city": "Bern" if number < 3 else "Basel"})
    client.schedule("nobody_runs_this", {})
    until(lambda: client.count(states=["FAILED"]) == 23, within=20)
    browser.open(f"{dashboard_of(server)}/failed")
    browser.find(".tabs a", "fails_for_good23")
    browser.type("#tag", "city=Bern")
    browser.click("button", "Show")
    until(lambda: len(browser.all("table tbody tr")) == 3, within=10)
    assert [tab.text for tab in browser.all(".tabs a")] == ["fails_for_good"]  # 23 are not what it leads to
    browser.click("a.button", "Delete all of these")
    browser.find("section.panel", "3 failed jobs of default with city=Bern would be deleted")
    assert client.count(states=["FAILED"]) == 23  # nothing is done yet
    browser.find("pre", "tocsin jobs delete --state failed --tag city=Bern")
    browser.click("button.danger", "Delete: 3 jobs")
    browser.find(".note.good", "3 jobs are deleted")
    assert client.count(states=["FAILED"]) == 20

    browser.click(".tabs a", "fails_for_good")
    browser.find(".tabs a[aria-current]", "fails_for_good")
    browser.click("a.button", "Retry all of these")
    browser.find("section.panel", "20 failed jobs of default of type fails_for_good would be made due again")
    assert len(browser.all("table tbody tr")) == 10  # a sample
    browser.click("a.button", "Leave them")
    browser.click(".tabs a", "fails_for_good")
    browser.find(".tabs a[aria-current]", "fails_for_good")
    browser.click("a.button", "Retry all of these")
    browser.find("section.panel", "20 failed")
    client.wait(client.schedule("fails_for_good", {}, job_id="later"))  # not looked at, so not touched
    browser.click("button", "Retry: 20 jobs")
    browser.find(".note.good", "20 jobs are due again")
    until(lambda: client.count(states=["FAILED"]) == 21, within=20)  # they fail again
    assert {job.job_id for job in client.list(states=["FAILED"]) if job.attempt == 1} == {"later"}


def test_all_jobs_of_a_state_are_run_and_cancelled(server: Server, client: Client, browser: Browser) -> None:
    for number in range(5):
        client.schedule(
            "echo", {}, job_id=f"job-{number}", delay=3600, tags={"city": "Bern" if number < 2 else "Basel"}
        )
    browser.open(f"{dashboard_of(server)}/jobs?state=SCHEDULED&tag=city=Bern")
    browser.click("a.button", "Run now all of these")
    browser.click("button", "Run now: 2 jobs")
    browser.find(".note.good", "2 jobs are due now")
    browser.click("a.button", "Cancel all of these")
    browser.click("button.danger", "Cancel: 3 jobs")
    browser.find(".note.good", "3 jobs are cancelled")
    until(lambda: client.count(states=["COMPLETED"]) == 2, within=10)
    assert client.count(states=["CANCELLED"]) == 3


def test_a_schedule_is_previewed_run_paused_and_resumed(server: Server, client: Client, browser: Browser) -> None:
    client.schedules.create("pay-day", cron="30 2 * * *", time_zone="Europe/Berlin", type="echo", payload={"run": 1})
    browser.open(f"{dashboard_of(server)}/schedules")
    browser.find("table code", "30 2 * * *")
    browser.click("table a", "pay-day")
    browser.find("h1", "pay-day")
    assert len(browser.all("table tbody tr")) == 10
    browser.type("#count", "4")
    browser.type("#after", "2027-03-27")
    browser.click("button", "Preview")
    browser.find("table th", "forward")  # the clock is, over 02:30 of the 28th
    rows = [row.text for row in browser.all("table tbody tr")]
    assert len(rows) == 4
    assert "2027-03-27 02:30:00 +01:00" in rows[0]
    assert "2027-03-27 01:30:00" in rows[0]  # in UTC
    browser.type("#after", "whenever")
    browser.click("button", "Preview")
    browser.find(".note.bad", "whenever")

    browser.click("summary", "Pause")
    browser.type("input[name=reason]", "holidays")
    browser.click("button", "Pause it")
    browser.find(".note.wait", "holidays")
    assert client.schedules.get("pay-day").paused
    browser.click("summary", "Resume")
    browser.click("button", "Resume it")
    browser.find(".note.good", "goes on")
    browser.click("summary", "Run now")
    browser.click("button", "Run it now")
    browser.find("h1", "pay-day@")
    browser.find("dd a", "pay-day")
    browser.find(".badge.COMPLETED")


def test_workers_show_what_they_hold_as_it_changes(server: Server, client: Client, browser: Browser) -> None:
    browser.open(f"{dashboard_of(server)}/workers")
    browser.find("table tbody td", "in a server")
    client.schedule("until_cancelled", {}, job_id="held-1")
    browser.find("table a", "held-1").click()
    browser.find("h1", "held-1")
    client.cancel("held-1", grace=5)
    browser.find(".badge.CANCELLED")


def test_reminders_of_a_booking_are_shown_and_cancelled(server: Server, client: Client, browser: Browser) -> None:
    when = datetime.now(UTC) + timedelta(hours=20)
    client.schedule_booking_reminders("B 42", when, email_to=["ada@example.com"], recipient_name="Ada")
    browser.open(dashboard_of(server))
    browser.click(".nav a", "Reminders")
    browser.type("#id", "nobody's")
    browser.click("button", "Show")
    browser.find(".note.bad")
    browser.type("#id", "B 42")
    browser.click("button", "Show")
    browser.find(".why", "B 42")
    rows = [row.text for row in browser.all("table tbody tr")]
    assert len(rows) == 3
    assert "skipped" in rows[0]
    browser.click("summary", "Cancel")
    browser.type("input[name=reason]", "moved away")
    browser.click("button", "Cancel the reminders")
    browser.find(".badge.CANCELLED")
    assert client.get_reminders("BOOKING", "B 42").cancelled


def test_mails_and_text_messages_of_the_outbox_are_read(server: Server, client: Client, browser: Browser) -> None:
    html = "<h1 style='color: teal'>Good <i>morning</i></h1><script>document.title = 'taken over'</script>"
    mail = EmailNotification(to=["ada@example.com"], subject="Héllo <b>Ada</b>", text="Good morning", html=html)
    client.wait(client.schedule(mail))
    client.wait(client.schedule(SmsNotification(to=["+4930123456"], text="Your table is ready")))
    browser.open(dashboard_of(server))
    browser.click(".nav a", "Outbox")
    browser.find("table a", "Your table is ready")
    browser.click("table a", "Héllo <b>Ada</b>")
    browser.find("pre", "Good morning")
    browser.driver.switch_to.frame(browser.find("iframe"))
    browser.find("h1", "Good morning")
    browser.driver.switch_to.default_content()
    assert "taken over" not in browser.driver.title
    browser.troubles()  # the script that was not let run
    browser.click(".crumbs a", "Outbox")
    browser.click("table a", "Your table")
    browser.find("pre", "Your table is ready")


def test_reports_are_opened(server: Server, client: Client, browser: Browser) -> None:
    client.wait(client.schedule("echo", {}))
    client.wait(client.schedule(ReportGeneration()))
    browser.open(dashboard_of(server))
    browser.click(".nav a", "Reports")
    browser.click("table a", ".html")
    browser.driver.switch_to.frame(browser.find("iframe"))
    browser.find("h1")
    browser.driver.switch_to.default_content()


@pytest.mark.parametrize(
    "name", ["../principals.toml", "/etc/passwd", ".hidden.eml", "no-such.eml", "a/../b.eml", "x\0.eml"]
)
def test_no_other_files_are_shown(server: Server, browser: Browser, tmp_path: Path, name: str) -> None:
    (tmp_path / "outbox").mkdir(exist_ok=True)
    (tmp_path / "outbox" / ".hidden.eml").write_text("Subject: no\n\nno")
    for page in ("outbox/message", "outbox/message/body", "reports/report/body"):
        browser.open(f"{dashboard_of(server)}/{page}?name={name.replace(chr(0), '%00')}")
        browser.find("h1", "Not found")
