"""Processors, and reminders of bookings and payments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.stores import StoreBackend
from tocsin import Client, ReminderSet

from integration.from_a_queue_module.conftest import StartServer
from integration.from_a_queue_module.lines import Lines

CHRISTMAS = datetime(2099, 12, 24, 18, tzinfo=UTC)
ADA = ["ada@example.com"]
BEFORE_A_BOOKING = [timedelta(hours=24), timedelta(hours=1), timedelta(minutes=15)]

on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)


def standing(made: ReminderSet, client: Client) -> list[timedelta]:
    """The offsets of a set, each of which has a job that is due then."""
    for reminder in made.reminders:
        job = client.get(reminder.job_id)
        assert (job.state, job.type) == ("SCHEDULED", f"{made.kind.lower()}_reminder")
        assert job.schedule_time == reminder.send_time == made.anchor_time - reminder.offset
    return [reminder.offset for reminder in made.reminders]


def test_processor_of_a_custom_type(lines: Lines, store: StoreBackend, start: StartServer) -> None:
    server = start(store, *lines.flags())
    with Client(server.address) as client:
        assert {"resize_image", "charge_card"} <= set(client.server_info().handled_types)
        done = client.wait(client.schedule("resize_image", {"path": "a.png"}), timeout=20)
        assert (done.state, done.result) == ("COMPLETED", {"bytes": 5})


def test_processes_of_their_own(lines: Lines, store: StoreBackend, start: StartServer, python_path: str) -> None:
    server = start(store, "--no-dispatch")
    lines.at(server.address).background({"PYTHONPATH": python_path, "TOCSIN_ADDRESS": server.address})
    with Client(server.address) as client:
        done = client.wait(client.schedule("resize_image", {"path": "a.png"}), timeout=30)
        assert (done.state, done.result) == ("COMPLETED", {"bytes": 5})


def test_booking_reminders(lines: Lines, client: Client) -> None:
    made = lines.python()
    assert made.anchor_time == CHRISTMAS
    assert standing(made, client) == BEFORE_A_BOOKING


@on_redis
def test_booking_reminders_in_a_shell(lines: Lines, client: Client) -> None:
    assert "booking 42 at 2099-12-24T18:00:00.000Z" in lines.shell()
    assert standing(client.get_reminders("BOOKING", "42"), client) == BEFORE_A_BOOKING


def test_other_offsets(lines: Lines, client: Client) -> None:
    assert standing(lines.python(), client) == [timedelta(hours=2)]


def test_payment_reminders(lines: Lines, client: Client) -> None:
    made = lines.python()
    assert standing(made, client) == [timedelta(days=7), timedelta(days=1), timedelta(days=-1)]
    sent = client.get(made.reminders[0].job_id).data
    assert (sent["amount_minor"], sent["currency"]) == ("4200", "EUR")


def test_get_reminders(lines: Lines, client: Client) -> None:
    client.schedule_booking_reminders("44", CHRISTMAS, email_to=ADA)
    assert lines.python() == [(CHRISTMAS - offset, "SCHEDULED") for offset in BEFORE_A_BOOKING]


def test_cancel_reminders(lines: Lines, client: Client) -> None:
    made = client.schedule_booking_reminders("45", CHRISTMAS, email_to=ADA)
    assert lines.python().cancelled
    assert [client.get(one.job_id).state for one in made.reminders] == ["CANCELLED"] * 3


@on_redis
def test_jobs_of_reminders(lines: Lines, client: Client) -> None:
    made = client.schedule_booking_reminders("46", CHRISTMAS, email_to=ADA)
    client.schedule_booking_reminders("461", CHRISTMAS, email_to=ADA)
    listed = {word for word in lines.shell().split() if word.startswith("booking:")}
    assert listed == {one.job_id for one in made.reminders}
