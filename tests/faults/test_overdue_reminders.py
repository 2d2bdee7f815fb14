"""Servers are away while several reminders of a booking come due: one goes out, and none once the booking has begun."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.eventually import until
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client

StartServer = Callable[..., Server]


def sent_after_an_outage(
    serve: StartServer, store: StoreBackend, folder: Path, offsets: list[timedelta], ahead: timedelta
) -> tuple[list[object], int]:
    """The results of a booking's reminders, or why they were cancelled: none is due before the server dies, and all are
    when it is back, `ahead` of the booking. And how many mails and text messages were sent."""
    ways = {
        "TOCSIN_MAIL__TRANSPORT": f"file:{folder / 'mail'}",
        "TOCSIN_MAIL__SENDER": "shop@example.com",
        "TOCSIN_SMS__URL": f"file:{folder / 'sms'}",
        "TOCSIN_SMS__SENDER": "Shop",
    }
    server = serve(store.url, **ways)
    back = datetime.now(UTC) + timedelta(seconds=10)
    start = back + ahead
    with Client(server.address) as client:
        made = client.schedule_booking_reminders(
            "42", start, email_to=["ada@example.com"], sms_to=["+4915112345678"], offsets=offsets
        )
    server.kill()
    assert {reminder.state for reminder in made.reminders} == {"SCHEDULED"}
    until(lambda: datetime.now(UTC) > back, within=30)  # this machine's clock is the store's, too
    server.restart()
    with Client(server.address) as client:
        jobs = [client.wait(reminder.job_id, timeout=30) for reminder in made.reminders]
    results = [job.result if job.cancel is None else job.cancel.reason for job in jobs]
    return results, sum(1 for kind in ("mail", "sms") for _ in (folder / kind).glob("*"))


def test_one_of_several_overdue_reminders_is_sent(serve: StartServer, store: StoreBackend, tmp_path: Path) -> None:
    ahead = timedelta(hours=1)
    offsets = [ahead + timedelta(seconds=2), ahead + timedelta(seconds=1), ahead]
    (first, second, last), sent = sent_after_an_outage(serve, store, tmp_path, offsets, ahead)
    assert first == second == {"skipped": "a later one is due"}
    assert isinstance(last, dict)
    assert set(last) == {"email", "sms"}
    assert sent == 2


def test_nobody_is_reminded_of_a_booking_that_has_begun(
    serve: StartServer, store: StoreBackend, tmp_path: Path
) -> None:
    offsets = [timedelta(seconds=2), timedelta(seconds=1)]
    results, sent = sent_after_an_outage(serve, store, tmp_path, offsets, timedelta(0))
    assert results == ["EXPIRED"] * 2
    assert sent == 0
