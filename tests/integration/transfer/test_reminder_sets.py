"""Reminder sets move with their jobs: what is due is sent, and what is moved afterwards is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs
from tocsin import Client

from integration.transfer.conftest import Tocsin
from integration.transfer.exports import lines

Serve = Callable[..., Server]
FAR = datetime(2099, 12, 24, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["redis to mongo", "mongo to redis"])
def stores(
    request: pytest.FixtureRequest, redis: RedisBackend, mongo_database: MongoBackend
) -> tuple[StoreBackend, StoreBackend]:
    """Both ways round."""
    return (redis, mongo_database) if request.param == "redis to mongo" else (mongo_database, redis)


def test_a_booking_that_is_moved_after_the_import_cancels_its_old_reminders(
    stores: tuple[StoreBackend, StoreBackend], serve: Serve, tocsin: Tocsin, tmp_path: Path
) -> None:
    here, there = (serve(store.url, "--no-dispatch") for store in stores)
    with Client(here.address) as client:
        client.schedule_booking_reminders("42", FAR, email_to=["ada@example.com"], queue="q")
        client.schedule_booking_reminders("42", FAR + HOUR, email_to=["ada@example.com"], queue="q")
        client.schedule_payment_reminders("7", FAR, 4200, "EUR", email_to=["ada@example.com"])
        client.cancel_reminders("PAYMENT", "7")
        shown = client.get_reminders("BOOKING", "42", queue="q")
    assert tocsin("export", "a.jsonl", server=here).stdout.endswith(b"and 2 reminder sets\n")
    order = [next(iter(line)) for line in lines(tmp_path / "a.jsonl")]
    assert [kind for kind, before in zip(order[1:], order, strict=False) if kind != before] == [
        *("queue", "note", "job"),
        *("queue", "note", "job"),
        "tocsin_export_end",
    ], "a set comes before its jobs"
    assert tocsin("import", "a.jsonl", server=there).returncode == 0

    with Client(there.address) as client, Stubs(there.address) as stubs:
        assert client.get_reminders("BOOKING", "42", queue="q") == shown
        assert client.get_reminders("PAYMENT", "7").cancelled
        moved = client.schedule_booking_reminders("42", FAR + 2 * HOUR, email_to=["ada@example.com"], queue="q")
        assert moved.revision == 3
        states = {job.job_id: job.state for job in stubs.list("q")}
    assert {state for job_id, state in states.items() if job_id.endswith(("g1", "g2"))} == {State.CANCELLED}
    assert {state for job_id, state in states.items() if job_id.endswith("g3")} == {State.SCHEDULED}
    assert len(states) == 9


def test_a_set_that_moved_on_at_the_source_moves_on_with_a_second_import(
    stores: tuple[StoreBackend, StoreBackend], serve: Serve, tocsin: Tocsin
) -> None:
    here, there = (serve(store.url, "--no-dispatch") for store in stores)
    with Client(here.address) as at_source, Client(there.address) as at_target:
        at_source.schedule_booking_reminders("42", FAR, email_to=["ada@example.com"])
        tocsin("export", "old.jsonl", server=here)
        at_source.schedule_booking_reminders("42", FAR + HOUR, email_to=["ada@example.com"])
        tocsin("export", "new.jsonl", server=here)
        for name in ("old.jsonl", "new.jsonl", "old.jsonl"):
            assert tocsin("import", name, server=there).returncode == 0
        assert at_target.get_reminders("BOOKING", "42") == at_source.get_reminders("BOOKING", "42")


def test_a_reminder_that_is_due_when_it_comes_in_is_sent_once(
    stores: tuple[StoreBackend, StoreBackend], serve: Serve, tocsin: Tocsin, tmp_path: Path
) -> None:
    """Not before its set is there: without it, it would be taken for one that was moved."""
    here = serve(stores[0].url, "--no-dispatch")
    begins = datetime.now(UTC) + timedelta(hours=1, milliseconds=300)
    with Client(here.address) as client:
        client.schedule_booking_reminders("42", begins, offsets=[HOUR], email_to=["ada@example.com"], title="Massage")
        tocsin("export", "a.jsonl", server=here)
        until(lambda: datetime.now(UTC) > begins - HOUR, within=5)
    outbox = tmp_path / "outbox"
    there = serve(stores[1].url, TOCSIN_MAIL__TRANSPORT=f"file:{outbox}", TOCSIN_MAIL__SENDER="us@example.com")
    assert tocsin("import", "a.jsonl", server=there).returncode == 0
    with Stubs(there.address) as stubs:
        [job] = stubs.list("default")
        assert stubs.wait_for("default", job.job_id).state == State.COMPLETED
    [mail] = outbox.glob("*.eml")
    assert "Massage" in message_from_bytes(mail.read_bytes()).as_string()
