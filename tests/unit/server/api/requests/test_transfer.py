"""Each rule on a record names the field that breaks it; whatever a record holds, it is taken or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tocsin.v1 import job_pb2, queue_pb2, transfer_pb2
from tocsin_server.api import wire
from tocsin_server.api.answers.transfer import fill_record
from tocsin_server.api.requests import transfer
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, TooLarge
from tocsin_server.domain.job import Job
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.states import ENDED
from tocsin_server.operations.transfer.importing import Item
from tocsin_server.operations.transfer.records import NoteRecord, QueueRecord
from unit.server.api.api_requests import anything
from unit.server.api.record_builder import T0, State, a_job, a_note, a_queue, refusal_of

Record = transfer_pb2.TransferRecord
ERROR = job_pb2.JobError(time=T0, attempt=1, type="E", message="m", trace="t")
CANCEL = job_pb2.Cancel(ask_time=T0, grace=Duration(seconds=30))


def items(*requests: Any) -> list[tuple[bool, list[Item]]]:
    """What a stream of requests brings."""

    async def read() -> list[tuple[bool, list[Item]]]:
        async def stream() -> AsyncIterator[Any]:
            for request in requests:
                yield wire.shadow(transfer_pb2.ImportJobsRequest).FromString(request.SerializeToString())

        return [(over, list(some)) async for over, some in transfer.slices(stream(), None)]

    return asyncio.run(read())


def item(record: Record) -> Item:
    [(_, [one])] = items(transfer_pb2.ImportJobsRequest(records=[record]))
    return one


def fields(record: Record) -> list[str]:
    """Paths of what is wrong, without the record's own."""
    refusal = refusal_of(item(record))
    assert isinstance(refusal, InvalidFields), refusal
    assert all(one.field.startswith("records[0]") for one in refusal.violations)
    return [one.field.removeprefix("records[0]").lstrip(".") for one in refusal.violations]


def with_payload(record: Record, kind: int, body: bytes) -> Record:
    record.job.payload_field, record.job.payload = kind, body
    return record


def with_result(record: Record, result: bytes) -> Record:
    record.job.result = result
    return record


def with_arrival(record: Record, arrival: int) -> Record:
    record.job.arrival = arrival
    return record


def a_note_with(**words: Any) -> Record:
    record = a_note()
    for name, value in words.items():
        setattr(record.note, name, value)
    return record


def deep(levels: int) -> bytes:
    value = Value(number_value=1)
    for _ in range(levels):
        value = Value(list_value={"values": [value]})
    return job_pb2.Result(data=value).SerializeToString()


NAN = Struct(fields={"n": Value(number_value=float("nan"))}).SerializeToString()

WRONG: dict[str, tuple[Record, list[str]]] = {
    "a nominal time that its id does not bear": (
        a_job("pay-day@2026-12-31T08:00:00Z", nominal_time=Timestamp(seconds=1_798_704_001)),
        ["job.job.nominal_time"],
    ),
    "a nominal time of no schedule": (a_job("a", nominal_time=T0), ["job.job.nominal_time"]),
    "nothing in it": (Record(), [""]),
    "no job": (Record(job=transfer_pb2.JobRecord()), ["job.job"]),
    "no id": (a_job(""), ["job.job.job_id"]),
    "an id with a line break": (a_job("a\nb"), ["job.job.job_id"]),
    "an id of a reminder": (a_job("booking:b9:3600:g1"), ["job.job.job_id"]),
    "a queue with a space": (a_job(queue="a b"), ["job.job.queue"]),
    "an empty collapse": (
        a_job(spec=job_pb2.JobSpec(type="t", collapse={})),
        ["job.job.spec.collapse.key", "job.job.spec.collapse.mode"],
    ),
    "a key that is too long": (
        a_job(spec=job_pb2.JobSpec(type="t", limit_key="x" * 201)),
        ["job.job.spec.limit_key"],
    ),
    "a weight of no key": (a_job(spec=job_pb2.JobSpec(type="t", weight=3)), ["job.job.spec.weight"]),
    "two queues": (a_job(spec=job_pb2.JobSpec(type="t", queue="p")), ["job.job.spec.queue"]),
    "no type": (a_job(spec=job_pb2.JobSpec()), ["job.job.spec.type"]),
    "a type beside a built-in payload": (
        with_payload(a_job(), 12, b"\x0a\x0fada@example.com\x32\x01s\x3a\x01t"),
        ["job.job.spec.type"],
    ),
    "a payload in the spec": (
        a_job(spec=job_pb2.JobSpec(type="t", raw={"body": b"x"})),
        ["job.job.spec.raw"],
    ),
    "a payload without its number": (with_payload(a_job(), 0, b"x"), ["job.payload_field"]),
    "a number that no payload has": (with_payload(a_job(), 9, b""), ["job.payload_field"]),
    "a number below zero": (with_payload(a_job(), -1, b""), ["job.payload_field"]),
    "a payload that is broken": (with_payload(a_job(), 10, b"\xff"), ["job.payload.data"]),
    "NaN in a payload": (with_payload(a_job(), 10, NAN), ["job.payload.data.n"]),
    "a result in the job": (a_job(result={"data": {"number_value": 1}}), ["job.job.result"]),
    "a result that is broken": (with_result(a_job(), b"\xff"), ["job.result"]),
    "a result nested too deep for an answer": (with_result(a_job(), deep(49)), ["job.result"]),
    "an arrival below zero": (with_arrival(a_job(), -1), ["job.arrival"]),
    "an arrival past all counting": (with_arrival(a_job(), 1 << 47), ["job.arrival"]),
    "no state": (a_job(state=0), ["job.job.state"]),
    "an unknown state": (a_job(state=99), ["job.job.state"]),
    "no times": (a_job(create_time=None, schedule_time=None), ["job.job.create_time", "job.job.schedule_time"]),
    "a time before 1970": (a_job(schedule_time=Timestamp(seconds=-1)), ["job.job.schedule_time"]),
    "a time after 9999": (a_job(create_time=Timestamp(seconds=253_402_300_800)), ["job.job.create_time"]),
    "a start at zero": (a_job(start_time=Timestamp()), ["job.job.start_time"]),
    "an end, and it waits": (a_job(end_time=T0), ["job.job.end_time"]),
    "it has ended, and no end": (a_job(state=State.COMPLETED), ["job.job.end_time"]),
    "an end at zero": (a_job(state=State.COMPLETED, end_time=Timestamp()), ["job.job.end_time"]),
    "failed without an error": (a_job(state=State.FAILED, end_time=T0), ["job.job.errors"]),
    "counters below zero": (
        a_job(attempt=-1, failures=-1, crashes=-1, revision=-1),
        ["job.job.attempt", "job.job.failures", "job.job.crashes", "job.job.revision"],
    ),
    "counters past all bounds": (
        a_job(attempt=2**31 - 1, failures=101, crashes=11, revision=2**62),
        ["job.job.attempt", "job.job.failures", "job.job.crashes", "job.job.revision"],
    ),
    "it waits and was cancelled": (a_job(cancel=CANCEL), ["job.job.cancel"]),
    "a cancel of no time": (
        a_job(state=State.CANCELLED, end_time=T0, cancel=job_pb2.Cancel(grace=Duration(seconds=90_000))),
        ["job.job.cancel.grace", "job.job.cancel.ask_time"],
    ),
    "11 errors": (a_job(errors=[ERROR] * 11), ["job.job.errors"]),
    "an error of no time": (
        a_job(errors=[ERROR, job_pb2.JobError(attempt=-1, type="t" * 201, message="m" * 1025, trace="t" * 8193)]),
        [f"job.job.errors[1].{name}" for name in ("time", "attempt", "type", "message", "trace")],
    ),
    "progress past the end": (
        a_job(progress=job_pb2.Progress(fraction=1.5, message="m" * 1025)),
        [f"job.job.progress.{name}" for name in ("fraction", "message", "update_time")],
    ),
    "progress that is no number": (
        a_job(progress=job_pb2.Progress(fraction=float("nan"), update_time=T0)),
        ["job.job.progress.fraction"],
    ),
    "a timeout of nothing": (a_job(spec=job_pb2.JobSpec(type="t", timeout=Duration())), ["job.job.spec.timeout"]),
    "no queue": (a_queue(queue=""), ["queue.queue.queue"]),
    "a default out of bounds": (
        a_queue(type_defaults={"t": queue_pb2.JobDefaults(concurrency=0)}),
        ["queue.queue.type_defaults[t].concurrency"],
    ),
    "a reason too long": (a_queue(paused=True, pause_reason="r" * 1025), ["queue.queue.pause_reason"]),
    "a note of something else": (a_note("migration"), ["note.key"]),
    "a note of nothing": (a_note("booking/"), ["note.key"]),
    "a note without end": (
        Record(note=transfer_pb2.NoteRecord(key="booking/1", value=b"{}")),
        ["note.value", "note.until"],
    ),
    "a note that is no JSON": (a_note_with(value=b"\xff\xfe"), ["note.value"]),
    "a note nested too deep": (a_note_with(value=b"[" * 100_000), ["note.value"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    record, wanted = WRONG[name]
    assert fields(record) == wanted


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": "3"},
        {"revision": 0},
        {"revision": 1e300},
        {"revision": None},
        {"anchor_ms": 1e30},
        {"anchor_ms": -1},
        {"content": "xyz"},
        {"entries": [[1, 2]]},
        {"entries": [["a", 1, 0]]},
        {"entries": [[1, "1", 0]]},
        {"entries": [[10**15, 1, 0]]},
        {"entries": [[n, 1, 0] for n in range(21)]},
        {"earlier": [["\ud800", 1]]},
        {"earlier": [[1, 1]]},
        {"earlier": 5},
        {"cancelled": "no"},
        {"until_ms": "x"},
    ],
    ids=str,
)
def test_a_set_that_could_not_be_read_later_is_refused(changed: dict[str, Any]) -> None:
    assert fields(a_note(**changed)) == ["note.value"]


def test_sizes_are_refused_as_such() -> None:
    for record, field in (
        (with_payload(a_job(), 11, bytes([0x12, 0x80, 0x80, 0x44]) + bytes(17 << 16)), "records[0].job.payload"),
        (with_result(a_job(), bytes(limits.RESULT_BYTES + 1)), "records[0].job.result"),
        (a_note_with(value=bytes(limits.NOTE_BYTES + 1)), "records[0].note.value"),
    ):
        refusal = refusal_of(item(record))
        assert isinstance(refusal, TooLarge)
        assert refusal.field == field


def test_a_broken_record_harms_no_other_and_is_named_by_its_number() -> None:
    request = wire.shadow(transfer_pb2.ImportJobsRequest)(over=2, first_index=5)
    good = a_job().SerializeToString()
    bad_text = a_job("!").SerializeToString().replace(b"!", b"\xff")
    request.records.extend([good, b"\xff", bad_text, good])  # type: ignore[list-item]  # bytes there
    later = transfer_pb2.ImportJobsRequest(records=[a_job(state=0)])
    [(over, found), (over_later, [last])] = items(request, later)
    assert (over, over_later) == (True, True)
    assert [one.index for one in found] == [5, 6, 7, 8]
    assert [type(one.record) for one in found] == [Job, InvalidFields, InvalidFields, Job]
    assert [v.field for one in found[1:3] for v in one.record.violations] == ["records[6]", "records[7].job.job.job_id"]
    assert (last.index, last.queue, last.job_id) == (9, "q", "a")
    assert refusal_of(last)


def test_over_is_said_once() -> None:
    keep, replace_ = (transfer_pb2.ImportJobsRequest(over=over, records=[a_job()]) for over in (1, 2))
    silent = transfer_pb2.ImportJobsRequest(records=[a_job()])
    assert [over for over, _ in items(replace_, silent, replace_)] == [True, True, True]
    assert [over for over, _ in items(silent, keep)] == [False, False]
    for wrong in ([silent, replace_], [keep, replace_], [transfer_pb2.ImportJobsRequest(over=9)]):
        with pytest.raises(InvalidFields) as caught:
            items(*wrong)
        assert [one.field for one in caught.value.violations] == ["over"]


def test_a_record_may_leave_out_what_has_a_default() -> None:
    bare = Record()
    bare.job.job.CopyFrom(job_pb2.Job(job_id="a", state=State.SCHEDULED, create_time=T0, schedule_time=T0))
    bare.job.job.spec.type = "t"
    job = item(bare).record
    assert isinstance(job, Job)
    assert (job.queue, job.revision, job.arrival, job.spec.payload) == ("default", 1, 0, None)
    assert (job.spec.terms.retry.max_attempts, job.spec.terms.timeout) == (3, None)
    assert job.spec.terms.retention.failed_for == timedelta(days=30)
    assert job.create_time == datetime.fromtimestamp(1_700_000_000.123, UTC).replace(microsecond=123_000)
    mail = with_payload(a_job(spec=job_pb2.JobSpec()), 12, b"\x0a\x0fada@example.com\x32\x01s\x3a\x01t")
    typed = item(mail).record
    assert isinstance(typed, Job)
    assert typed.spec.type == "email_notification"


def test_all_of_a_job_comes_back_as_it_was() -> None:
    spec = job_pb2.JobSpec(queue="q", type="t", priority=-(2**31), tags={"k": "v"}, timeout=Duration(seconds=9))
    spec.retry.CopyFrom(job_pb2.RetryPolicy(max_attempts=7, backoff=job_pb2.RetryPolicy.FIXED, jitter=0.1))
    spec.retry.initial_delay.FromMilliseconds(1)
    spec.retry.max_delay.FromSeconds(2_592_000)
    spec.retention.completed_for.SetInParent()
    spec.retention.failed_for.FromSeconds(1)
    ended = {"state": State.COMPLETED, "start_time": T0, "end_time": T0, "attempt": 3, "failures": 2, "crashes": 1}
    said = {
        "errors": [ERROR, ERROR],
        "progress": job_pb2.Progress(fraction=0.5, message="m", update_time=T0),
        "cancel": job_pb2.Cancel(
            reason="r", by="b", ask_time=T0, deliver_time=T0, obey_time=T0, grace=Duration(seconds=1)
        ),
    }
    record = with_result(with_payload(a_job(spec=spec, revision=10**9, **ended, **said), 11, b"\x12\x01\xff"), b"")
    shown = wire.shadow(Record)()
    fill_record(shown, item(record).record)
    record.job.job.cancel.by = ""  # whoever imports could name anybody
    assert Record.FromString(shown.SerializeToString()) == record


def test_a_queues_settings_come_whole() -> None:
    record = item(
        a_queue(
            paused=True,
            pause_time=Timestamp(nanos=-1),  # not looked at
            pause_reason="why",
            completed_max=0,
            defaults=queue_pb2.JobDefaults(timeout=Duration(seconds=5)),
            type_defaults={"t": queue_pb2.JobDefaults(concurrency=3), "silent": queue_pb2.JobDefaults()},
        )
    ).record
    assert isinstance(record, QueueRecord)
    said = record.settings
    assert (said.paused, said.pause_reason, said.completed_max, said.failed_max) == (True, "why", 0, None)
    assert said.defaults.timeout == timedelta(seconds=5)
    assert {name: one.concurrency for name, one in said.type_defaults.items()} == {"t": 3}


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(anything(Record), anything(transfer_pb2.JobRecord).map(lambda job: _tamed(Record(job=job)))))
def test_whatever_a_record_holds_it_is_refused_or_comes_back_as_it_was_taken(record: Record) -> None:
    one = item(record)
    if refusal_of(one) is not None:
        return
    shown = wire.shadow(Record)()
    fill_record(shown, one.record)
    again = item(Record.FromString(shown.SerializeToString())).record
    if isinstance(again, NoteRecord):
        assert again == one.record
    elif isinstance(one.record, QueueRecord | Schedule | KeptCalendar):
        assert again == one.record
    else:
        assert isinstance(one.record, Job)
        assert again == replace(one.record)
        assert (one.record.end_time is not None) == (one.record.state in ENDED)


def _tamed(record: Record) -> Record:
    """With what most often leads to a refusal put right, so that all else is tried."""
    job = record.job.job
    job.queue, job.spec.queue, job.job_id, job.spec.type = "q", "", "a", "t"
    job.spec.ClearField("payload")
    job.ClearField("result")
    record.job.ClearField("result")
    record.job.payload_field, record.job.payload = 11, b""
    record.job.arrival = abs(record.job.arrival) % (limits.IMPORTED_ARRIVAL + 1)
    job.state = job.state % 7 + 1
    for name in ("create_time", "schedule_time", "end_time"):
        getattr(job, name).CopyFrom(T0)
    if job.state not in ENDED:
        job.ClearField("end_time")
        job.ClearField("cancel")
    return record
