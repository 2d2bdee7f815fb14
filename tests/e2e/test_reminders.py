"""Reminder sets through a real server: refusals, the Python client, the command line, the lines of docs/reminders.md.

What a set does stands in tests/unit/server/operations/reminders/test_reminders.py, what holds of the mails in
tests/faults/test_moved_bookings.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from support.commands import typed
from support.mail_server import mail_server
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs, refusal
from tocsin import AsyncClient, Client, DeadlineExceeded, InvalidArgument, NotFound, ReminderKind, State
from tocsin.reminders import BookingOptions
from tocsin.v1 import payloads_pb2
from tocsin.v1 import reminder_service_pb2 as pb
from tocsin.v1 import reminder_service_pb2_grpc as pb_grpc

PAGE = Path(__file__).parents[2] / "docs/reminders.md"
START = datetime(2099, 12, 24, 18, tzinfo=UTC)
DAY = 86_400
LAST = Timestamp(seconds=253_402_300_799, nanos=999_000_000)


def a_booking(**fields: Any) -> payloads_pb2.BookingReminder:
    given = {"booking_id": "42", "booking_time": Timestamp(seconds=4_101_820_800), "email_to": ["ada@example.com"]}
    return payloads_pb2.BookingReminder(**{**given, **fields})


def a_payment(**fields: Any) -> payloads_pb2.PaymentReminder:
    given = {
        "payment_id": "42",
        "due_time": Timestamp(seconds=4_101_820_800),
        "amount_minor": 4200,
        "currency": "EUR",
        "email_to": ["ada@example.com"],
    }
    return payloads_pb2.PaymentReminder(**{**given, **fields})


Call = Callable[[pb_grpc.ReminderServiceStub, str], Any]


def booking(offsets: list[Duration] | None = None, **fields: Any) -> Call:
    return lambda stub, queue: stub.ScheduleBookingReminders(
        pb.ScheduleBookingRemindersRequest(queue=queue, reminder=a_booking(**fields), offsets=offsets or [])
    )


def payment(offsets: list[Duration] | None = None, **fields: Any) -> Call:
    return lambda stub, queue: stub.SchedulePaymentReminders(
        pb.SchedulePaymentRemindersRequest(queue=queue, reminder=a_payment(**fields), offsets=offsets or [])
    )


def getting(**asked: Any) -> Call:
    return lambda s, q: s.GetReminders(pb.GetRemindersRequest(**{"queue": q, "kind": "BOOKING", "id": "42", **asked}))


def cancelling(**asked: Any) -> Call:
    given = {"kind": "BOOKING", "id": "42"}
    return lambda s, q: s.CancelReminders(pb.CancelRemindersRequest(**{"queue": q, **given, **asked}))


def seconds(*several: float) -> list[Duration]:
    return [Duration(seconds=int(one), nanos=round(one % 1 * 1e9) if one > 0 else 0) for one in several]


def deep(levels: int) -> Struct:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"a": data}
    struct = Struct()
    struct.update(data)
    return struct


#: The call, and the fields that its refusal names.
REFUSED: dict[str, tuple[Call, list[str]]] = {
    "no booking": (
        lambda s, q: s.ScheduleBookingReminders(pb.ScheduleBookingRemindersRequest(queue=q)),
        ["reminder"],
    ),
    "no payment": (
        lambda s, q: s.SchedulePaymentReminders(pb.SchedulePaymentRemindersRequest(queue=q)),
        ["reminder"],
    ),
    "a queue with a space": (lambda s, q: booking()(s, "a b"), ["queue"]),
    "no id": (booking(booking_id=""), ["reminder.booking_id"]),
    "an id of 201 characters": (booking(booking_id="i" * 201), ["reminder.booking_id"]),
    "an id with a line break": (booking(booking_id="a\nb"), ["reminder.booking_id"]),
    "no time": (booking(booking_time=None), ["reminder.booking_time"]),
    "a time before 1970": (booking(booking_time=Timestamp(seconds=-1)), ["reminder.booking_time"]),
    "nobody to remind": (booking(email_to=[]), ["reminder"]),
    "no address": (booking(email_to=["ada"]), ["reminder.email_to[0]"]),
    "no number": (booking(sms_to=["0151"]), ["reminder.sms_to[0]"]),
    "no zone": (booking(time_zone="Mars/Base"), ["reminder.time_zone"]),
    "an offset in the reminder": (booking(offset=Duration(seconds=60)), ["reminder.offset"]),
    "a revision in the reminder": (booking(set_revision=1), ["reminder.set_revision"]),
    "data nested too deep": (booking(template_data=deep(32)), ["reminder"]),
    "NaN in the data": (booking(template_data=Struct(fields={"a": {"number_value": float("nan")}})), ["reminder"]),
    "an offset after a booking": (booking(seconds(60, -1)), ["offsets[1]"]),
    "an offset just below zero": (booking([Duration(nanos=-1)]), ["offsets[0]"]),
    "an offset of 367 days": (booking(seconds(367 * DAY)), ["offsets[0]"]),
    "an offset with mixed signs": (payment([Duration(seconds=5, nanos=-5)]), ["offsets[0]"]),
    "an offset past all bounds": (payment([Duration(seconds=-(2**62))]), ["offsets[0]"]),
    "the same offset twice": (booking(seconds(60, 30, 60)), ["offsets[2]"]),
    "two offsets within a millisecond": (booking([Duration(nanos=1), Duration(nanos=1_000_000)]), ["offsets[1]"]),
    "21 offsets": (booking(seconds(*range(21))), ["offsets"]),
    "a payment 367 days after": (payment(seconds(-367 * DAY)), ["offsets[0]"]),
    "a reminder after the year 9999": (payment(seconds(0, -1), due_time=LAST), ["offsets[1]"]),
    "the default after the year 9999": (payment(due_time=LAST), ["offsets"]),
    "no amount": (payment(amount_minor=0), ["reminder.amount_minor"]),
    "no currency": (payment(currency=""), ["reminder.currency"]),
    "no kind": (getting(kind=0), ["kind"]),
    "an unknown kind": (getting(kind=9), ["kind"]),
    "no id to get": (getting(id=""), ["id"]),
    "an id of 201 characters to cancel": (cancelling(id="i" * 201), ["id"]),
    "a reason of 1 KiB and 1": (cancelling(reason="r" * 1025), ["reason"]),
    "several at once": (
        booking(seconds(-1), booking_id="", email_to=["x"]),
        ["reminder.booking_id", "reminder.email_to[0]", "offsets[0]"],
    ),
}


@pytest.fixture(scope="module")
def stub(quiet: Stubs) -> pb_grpc.ReminderServiceStub:
    return pb_grpc.ReminderServiceStub(quiet.channel)


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_the_fields_name_and_changes_nothing(
    stub: pb_grpc.ReminderServiceStub, queue: str, quiet_redis: RedisBackend, case: str
) -> None:
    call, fields = REFUSED[case]
    before = quiet_redis.dump()
    with pytest.raises(grpc.RpcError) as raised:
        call(stub, queue)
    found = refusal(raised.value)
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [path.partition(".template_data")[0] for path in found.fields] == fields
    assert quiet_redis.dump() == before


def test_a_reminder_that_is_too_large_is_refused(stub: pb_grpc.ReminderServiceStub, queue: str) -> None:
    data = Struct()
    data.update({"a": "x" * (1 << 20)})
    with pytest.raises(grpc.RpcError) as raised:
        booking(template_data=data)(stub, queue)
    assert (refusal(raised.value).reason, refusal(raised.value).fields) == ("TOO_LARGE", ["reminder"])
    nearly = Struct()
    nearly.update({"a": "x" * ((1 << 20) - 2_000)})
    made = booking(seconds(1, 2), template_data=nearly)(stub, queue)
    assert [one.state for one in made.set.reminders] == [1, 1]


def test_what_lies_at_the_bounds_is_taken(stub: pb_grpc.ReminderServiceStub, queue: str) -> None:
    made = booking(seconds(0, 0.001, 366 * DAY, *range(1, 18)), booking_id="\U0001f514" * 200)(stub, queue).set
    assert len(made.reminders) == 20
    far = payment(seconds(0, 366 * DAY), payment_id="far", due_time=LAST)(stub, queue).set
    assert far.reminders[-1].send_time == LAST
    old = payment(seconds(366 * DAY, 0), payment_id="old", due_time=Timestamp(nanos=1))(stub, queue).set
    assert [one.skipped for one in old.reminders] == [True, True]


def test_no_set_is_not_found_with_its_name(stub: pb_grpc.ReminderServiceStub, queue: str) -> None:
    for call in (getting(), cancelling()):
        with pytest.raises(grpc.RpcError) as raised:
            call(stub, queue)
        found = refusal(raised.value)
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "REMINDERS_NOT_FOUND")
        assert found.metadata == {"queue": queue, "kind": "booking", "id": "42"}


def test_a_payload_of_the_set_is_the_reminder_with_offset_and_revision(
    stub: pb_grpc.ReminderServiceStub, quiet: Stubs, queue: str
) -> None:
    made = payment(seconds(0, -1.0), title="Invoice")(stub, queue).set
    for one, offset in zip(made.reminders, (0, -1), strict=True):
        sent = quiet.get(queue, one.job_id).spec.payment_reminder
        assert sent == a_payment(title="Invoice", offset=Duration(seconds=offset), set_revision=1)
        assert sent.HasField("offset")


@pytest.fixture
def client(quiet_server: Server) -> Iterator[Client]:
    with Client(quiet_server.address) as client:
        yield client


def test_the_client_schedules_moves_shows_and_cancels(client: Client, queue: str) -> None:
    made = client.schedule_booking_reminders(
        "42",
        START,
        queue=queue,
        offsets=[3600, timedelta(minutes=1)],
        email_to=["ada@example.com"],
        sms_to=["+4915112345678"],
        title="Haircut",
        location="Main St 1",
        recipient_name="Ada",
        time_zone="Europe/Berlin",
        template="mine",
        template_data={"n": 1},
    )
    assert (made.queue, made.kind, made.id, made.anchor_time) == (queue, ReminderKind.BOOKING, "42", START)
    assert [(one.offset, one.send_time, one.state) for one in made.reminders] == [
        (timedelta(hours=1), START - timedelta(hours=1), State.SCHEDULED),
        (timedelta(minutes=1), START - timedelta(minutes=1), State.SCHEDULED),
    ]
    sent = client.get(made.reminders[0].job_id, queue=queue).payload
    assert isinstance(sent, payloads_pb2.BookingReminder)
    assert (sent.location, sent.template, dict(sent.template_data)) == ("Main St 1", "mine", {"n": 1})
    assert client.get_reminders("BOOKING", "42", queue=queue) == made
    moved = client.schedule_booking_reminders("42", datetime.now(UTC), queue=queue, email_to=["a@example.com"])
    assert (moved.revision, [one.skipped for one in moved.reminders]) == (2, [True] * 3)
    assert client.cancel_reminders(ReminderKind.BOOKING, "42", queue=queue).cancelled
    assert [job.state for job in client.list(queue=queue, tags={"reminder": "booking/42"})] == ["CANCELLED"] * 2


async def test_the_async_client_has_the_same(quiet_server: Server, queue: str) -> None:
    async with AsyncClient(quiet_server.address) as client:
        made = await client.schedule_payment_reminders("7", START, 4200, "EUR", queue=queue, email_to=["a@example.com"])
        assert [one.offset.days for one in made.reminders] == [7, 1, -1]
        assert await client.get_reminders("PAYMENT", "7", queue=queue) == made
        assert (await client.cancel_reminders("PAYMENT", "7", queue=queue)).revision == 2
        assert (
            await client.schedule_booking_reminders("7", START, queue=queue, sms_to=["+4915112345678"])
        ).revision == 1


def test_what_the_client_cannot_send_is_refused_before(client: Client) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"email_to": "ada@example.com"}, "reminder.email_to"),
        ({"sms_to": [1]}, "reminder.sms_to"),
        ({"offsets": 3600}, "offsets"),
        ({"offsets": ["1h"]}, "offsets[0]"),
        ({"title": 1}, "reminder.title"),
        ({"template_data": {"a": 2**60}}, "reminder.template_data.a"),
        ({"payment_url": "https://x"}, "payment_url"),
    ]
    for options, field in bad:
        with pytest.raises(InvalidArgument) as raised:
            client.schedule_booking_reminders("42", START, **options)
        assert [violation.field for violation in raised.value.violations] == [field]
    with pytest.raises(InvalidArgument):
        client.get_reminders("LOAN", "42")  # type: ignore[arg-type]  # no kind
    with pytest.raises(NotFound):
        client.get_reminders("BOOKING", "none")


@pytest.mark.timeout(60)
async def test_a_move_that_waits_for_a_hanging_mail_server_ends_with_its_deadline_and_has_acted(
    redis: RedisBackend, serve: Callable[..., Server], queue: str
) -> None:
    async with mail_server() as mails:
        mails.silent_at = "DATA"
        server = await asyncio.to_thread(
            serve,
            redis.url,
            TOCSIN_MAIL__TRANSPORT=f"smtp://127.0.0.1:{mails.port}",
            TOCSIN_MAIL__SENDER="shop@example.com",
            TOCSIN_DRAIN__GRACE="0s",
        )
        async with AsyncClient(server.address) as client:
            soon = datetime.now(UTC) + timedelta(milliseconds=200)
            options: BookingOptions = {"queue": queue, "email_to": ["ada@example.com"]}
            await client.schedule_booking_reminders("42", soon, offsets=[0], **options)
            await mails.content_came.wait()
            with pytest.raises(DeadlineExceeded) as raised:
                await client.schedule_booking_reminders("42", START, deadline=1, **options)
            assert raised.value.outcome_unknown
            moved = await client.get_reminders("BOOKING", "42", queue=queue)
            assert (moved.revision, [one.state for one in moved.reminders]) == (2, ["SCHEDULED"] * 3)


# --- docs/reminders.md ---


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_python_lines_of_the_page_work(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, "--no-dispatch")
    [code] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code.replace("localhost:50051", server.address)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "2099-12-23 18:00:00+00:00 SCHEDULED",
        "2099-12-24 17:00:00+00:00 SCHEDULED",
        "2099-12-24 17:45:00+00:00 SCHEDULED",
        "2",
        "2099-12-27 18:00:00+00:00",
    ]


def test_the_shell_lines_of_the_page_work(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, "--no-dispatch")
    lines = blocks("console")[1].replace("$ ", "").splitlines()
    shown = []
    for line in lines:
        arguments = shlex.split(line)
        assert arguments.pop(0) == "tocsin"
        shown.append(typed(*arguments, "--address", server.address, check=True).stdout)
    assert [" ".join(line.split()) for line in shown[0].splitlines()] == [
        "booking 42 at 2099-12-24T18:00:00.000Z, revision 1",
        "BEFORE SENT AT STATE JOB_ID",
        "1d 2099-12-23T18:00:00.000Z SCHEDULED booking:42:86400:g1",
        "1h 2099-12-24T17:00:00.000Z SCHEDULED booking:42:3600:g1",
        "15m 2099-12-24T17:45:00.000Z SCHEDULED booking:42:900:g1",
    ]
    assert "-3d" in shown[1]
    assert shown[2] == shown[0]
    assert "revision 2, cancelled" in shown[3]


def test_what_is_typed_wrongly_is_told(quiet_server: Server) -> None:
    for line, code, said in (
        ("get loan 42", 2, "'LOAN' is not one of booking, payment"),
        ("get booking none", 1, "[REMINDERS_NOT_FOUND]"),
        ("schedule-booking 42 2099-12-24T18:00:00Z", 1, "[INVALID_FIELD]"),
        ("schedule-booking 42 2099-12-24T18:00:00Z --offset soon", 2, "is no span of time"),
        ("schedule-booking 42 2099-12-24T18:00:00Z --data []", 1, "[INVALID_FIELD]"),
        ("schedule-booking 42 2099-12-24T18:00:00Z --data 7", 2, "no JSON object"),
    ):
        done = typed("reminders", *line.split(), "--address", quiet_server.address)
        assert (done.returncode, said in " ".join((done.stdout + done.stderr).replace("│", " ").split())) == (
            code,
            True,
        ), line


@pytest.mark.timeout(420)  # a first build of the Go tools may be awaited
def test_the_grpcurl_lines_of_the_page_work(
    redis: RedisBackend, serve: Callable[..., Server], go_tool: Callable[[str], str]
) -> None:
    server = serve(redis.url, "--no-dispatch")
    answers = []
    for line in blocks("console")[0].replace("$ ", "").splitlines():
        arguments = shlex.split(line.replace("localhost:50051", server.address))
        arguments[0] = go_tool(arguments[0])
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
        answers.append(json.loads(done.stdout)["set"])
    scheduled, got, cancelled = answers
    assert scheduled == got
    assert scheduled["reminders"][0] == {
        "offset": "86400s",
        "send_time": "2099-12-23T18:00:00Z",
        "job_id": "booking:42:86400:g1",
        "state": "SCHEDULED",
    }
    assert (cancelled["cancelled"], cancelled["revision"]) == (True, "2")
    assert {one["state"] for one in cancelled["reminders"]} == {"CANCELLED"}
