"""Bad input: refused with the field's name, or it works; nothing is half written, nothing is INTERNAL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from support.redis_backend import RedisBackend
from support.stubs import Request, State, Stubs, refusal, request
from tocsin.v1 import job_pb2, job_service_pb2, payloads_pb2, queue_pb2, queue_service_pb2
from tocsin.v1.conditions_pb2 import Collapse, Expire

Call = Callable[[Stubs, str], Any]
DAY = 86_400
YEAR = 31_557_600


def scheduling(type: str = "noop", data: dict[str, Any] | None = None, **more: Any) -> Call:
    return lambda stubs, queue: stubs.jobs.ScheduleJob(request(queue, type, data, **{"delay": 3600, **more}))


def at(seconds: int, nanos: int = 0) -> Call:
    def call(stubs: Stubs, queue: str) -> Any:
        asked = request(queue, "noop")
        asked.schedule_time.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
        return stubs.jobs.ScheduleJob(asked)

    return call


def after(seconds: int, nanos: int = 0) -> Call:
    def call(stubs: Stubs, queue: str) -> Any:
        asked = request(queue, "noop")
        asked.delay.CopyFrom(Duration(seconds=seconds, nanos=nanos))
        return stubs.jobs.ScheduleJob(asked)

    return call


def mailing(**mail: Any) -> Call:
    given = {"to": ["ada@example.com"], "subject": "Hello", "text": "Hi", **mail}
    letter = payloads_pb2.EmailNotification(**given)
    return lambda stubs, queue: stubs.jobs.ScheduleJob(request(queue, "", email_notification=letter, delay=3600))


def retrying(**policy: Any) -> Call:
    return scheduling(retry=job_pb2.RetryPolicy(**policy))


def listing(**asked: Any) -> Call:
    return lambda stubs, queue: stubs.jobs.ListJobs(job_service_pb2.ListJobsRequest(queue=queue, **asked))


def getting(**asked: Any) -> Call:
    return lambda stubs, queue: stubs.jobs.GetJob(job_service_pb2.GetJobRequest(**{"queue": queue, **asked}))


def watching(**asked: Any) -> Call:
    def call(stubs: Stubs, queue: str) -> Any:
        request = job_service_pb2.WatchJobsRequest(queue=queue, **asked)
        return next(stubs.jobs.WatchJobs(request, timeout=5))

    return call


def changing_queue(paths: list[str], **values: Any) -> Call:
    def call(stubs: Stubs, queue: str) -> Any:
        asked = queue_service_pb2.UpdateQueueRequest(queue=queue_pb2.Queue(queue=queue, **values))
        asked.update_mask.paths.extend(paths)
        return stubs.queues.UpdateQueue(asked)

    return call


def batch(count: int) -> Call:
    def call(stubs: Stubs, queue: str) -> Any:
        items = [request(queue, "noop", delay=3600)] * count
        return stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=items))

    return call


def cancelling(**asked: Any) -> Call:
    return lambda s, q: s.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=q, **asked))


def cancelling_many(**asked: Any) -> Call:
    return lambda s, q: s.jobs.BatchCancelJobs(job_service_pb2.BatchCancelJobsRequest(queue=q, **asked))


def purging(**asked: Any) -> Call:
    return lambda s, q: s.queues.PurgeJobs(queue_service_pb2.PurgeJobsRequest(queue=q, **asked))


def updating(**asked: Any) -> Call:
    return lambda s, q: s.jobs.UpdateJob(job_service_pb2.UpdateJobRequest(queue=q, job_id="standing", **asked))


#: The call, and the field that its refusal names.
REFUSED: dict[str, tuple[Call, str]] = {
    "no job": (lambda s, q: s.jobs.ScheduleJob(Request(job_id="x")), "job"),
    "no type": (scheduling(type=""), "job.type"),
    "a type with a space": (scheduling(type="two words"), "job.type"),
    "a type of 101 characters": (scheduling(type="t" * 101), "job.type"),
    "a type with NUL": (scheduling(type="a\0b"), "job.type"),
    "a queue with braces": (lambda s, q: s.jobs.ScheduleJob(request("{q}", "noop")), "job.queue"),
    "a queue with a colon": (lambda s, q: s.jobs.ScheduleJob(request("a:b", "noop")), "job.queue"),
    "a queue of 101 characters": (lambda s, q: s.jobs.ScheduleJob(request("q" * 101, "noop")), "job.queue"),
    "a type beside a typed payload": (
        lambda s, q: s.jobs.ScheduleJob(
            request(q, "other", email_notification=payloads_pb2.EmailNotification(to=["a@b.example"], text="x"))
        ),
        "job.type",
    ),
    "an id of 201 characters": (scheduling(job_id="i" * 201), "job_id"),
    "an id of 604 bytes": (scheduling(job_id="\U0001f514" * 151), "job_id"),
    "an id with NUL": (scheduling(job_id="a\0b"), "job_id"),
    "an id of a reminder": (scheduling(job_id="booking:b9:3600:g1"), "job_id"),
    "an id of a late reminder": (scheduling(job_id="payment#ab12:-1.5:g12"), "job_id"),
    "an id with a line break": (scheduling(job_id="a\nb"), "job_id"),
    "an unknown on_conflict": (scheduling(on_conflict=99), "on_conflict"),
    "an unknown backoff": (retrying(backoff=99), "job.retry.backoff"),
    "a time before 1970": (at(-1), "schedule_time"),
    "a time past 9999": (at(253_402_300_800), "schedule_time"),
    "a time with negative nanos": (at(5, -1), "schedule_time"),
    "a time with too many nanos": (at(5, 1_000_000_000), "schedule_time"),
    "a negative delay": (after(-1), "delay"),
    "a delay just below zero": (after(0, -1), "delay"),
    "a delay of 101 years": (after(101 * YEAR), "delay"),
    "a delay with mixed signs": (after(5, -5), "delay"),
    "a delay past all bounds": (after(2**62), "delay"),
    "NaN in the payload": (scheduling(data={"a": float("nan")}), "job.data"),
    "infinity deep in the payload": (scheduling(data={"a": [{"b": [float("-inf")]}]}), "job.data"),
    "no attempt": (retrying(max_attempts=0), "job.retry.max_attempts"),
    "101 attempts": (retrying(max_attempts=101), "job.retry.max_attempts"),
    "negative jitter": (retrying(jitter=-0.1), "job.retry.jitter"),
    "jitter NaN": (retrying(jitter=float("nan")), "job.retry.jitter"),
    "no initial delay": (retrying(initial_delay=Duration()), "job.retry.initial_delay"),
    "max_delay below initial_delay": (
        retrying(initial_delay=Duration(seconds=9), max_delay=Duration(seconds=1)),
        "job.retry.max_delay",
    ),
    "a timeout of 0": (scheduling(timeout=Duration()), "job.timeout"),
    "a timeout of 31 days": (scheduling(timeout=Duration(seconds=31 * DAY)), "job.timeout"),
    "a negative retention": (
        scheduling(retention=job_pb2.Retention(completed_for=Duration(seconds=-1))),
        "job.retention.completed_for",
    ),
    "a limit key of 201 bytes": (scheduling(limit_key="k" * 201), "job.limit_key"),
    "a limit key with a line break": (scheduling(limit_key="a\nb"), "job.limit_key"),
    "a weight without a limit key": (scheduling(weight=2), "job.weight"),
    "a weight of 0": (scheduling(limit_key="k", weight=0), "job.weight"),
    "a weight of 101": (scheduling(limit_key="k", weight=101), "job.weight"),
    "a collapse without a key": (scheduling(collapse=Collapse(mode="KEEP")), "job.collapse.key"),
    "a collapse without a mode": (scheduling(collapse=Collapse(key="k")), "job.collapse.mode"),
    "a collapse of an unknown mode": (scheduling(collapse=Collapse(key="k", mode=9)), "job.collapse.mode"),  # type: ignore[arg-type]
    "a key of 201 bytes": (scheduling(collapse=Collapse(key="k" * 201, mode="KEEP")), "job.collapse.key"),
    "a key with a line break": (scheduling(collapse=Collapse(key="a\nb", mode="KEEP")), "job.collapse.key"),
    "a throttle without a window": (scheduling(collapse=Collapse(key="k", mode="THROTTLE")), "job.collapse.window"),
    "a window of 0": (
        scheduling(collapse=Collapse(key="k", mode="KEEP", window=Duration())),
        "job.collapse.window",
    ),
    "a window of what has none": (
        scheduling(collapse=Collapse(key="k", mode="REPLACE", window=Duration(seconds=1))),
        "job.collapse.window",
    ),
    "a longest wait of what does not wait": (
        scheduling(collapse=Collapse(key="k", mode="KEEP", max_wait=Duration(seconds=1))),
        "job.collapse.max_wait",
    ),
    "a time beside a debounce": (
        scheduling(collapse=Collapse(key="k", mode="DEBOUNCE", window=Duration(seconds=9))),
        "delay",
    ),
    "two rules of what is replaced": (
        scheduling(job_id="a", on_conflict="REPLACE", collapse=Collapse(key="k", mode="KEEP")),
        "on_conflict",
    ),
    "an expiry without a time": (scheduling(expire=Expire()), "job.expire"),
    "an expiry at once": (scheduling(expire=Expire(after_due=Duration())), "job.expire.after_due"),
    "17 tags": (scheduling(tags={str(n): "" for n in range(17)}), "job.tags"),
    "a tag's key with a space": (scheduling(tags={"a b": ""}), "job.tags"),
    "a tag's value of 201 bytes": (scheduling(tags={"a": "v" * 201}), "job.tags"),
    "a mail to nobody": (mailing(to=[]), "job.email_notification.to"),
    "a mail to no address": (mailing(to=["not an address"]), "job.email_notification.to"),
    "a mail with a header in its subject": (
        mailing(subject="Hello\r\nBcc: eve@example.com"),
        "job.email_notification.subject",
    ),
    "a mail without a body": (mailing(text=""), "job.email_notification"),
    "page_size -1": (listing(page_size=-1), "page_size"),
    "a garbage page token": (listing(page_token="garbage"), "page_token"),
    "a page token with NUL": (listing(page_token="\0"), "page_token"),
    "skip -1": (listing(skip=-1), "skip"),
    "skip 10,001": (listing(skip=10_001), "skip"),
    "an unknown order": (listing(order_by="colour"), "order_by"),
    "soonest first among ended ones": (listing(order_by="schedule_time", states=[State.FAILED]), "order_by"),
    "an unknown state": (listing(states=[99]), "states"),
    "state 0 in a filter": (listing(states=[0]), "states"),
    "an unknown view": (getting(job_id="standing", view=99), "view"),
    "101 types in a filter": (listing(types=[f"t{n}" for n in range(101)]), "types"),
    "a filter's type with a star": (listing(types=["*"]), "types"),
    "a filter's time before 1970": (listing(create_time_from=Timestamp(seconds=-1)), "create_time_from"),
    "no id to get": (getting(job_id=""), "job_id"),
    "an id to get with NUL": (getting(job_id="\0"), "job_id"),
    "a queue to get from with braces": (getting(queue="{}", job_id="standing"), "queue"),
    "a garbage cursor": (watching(cursor="garbage"), "cursor"),
    "a cursor beside an id": (watching(job_id="standing", cursor="garbage"), "cursor"),
    "a watch for state 0": (watching(states=[0]), "states"),
    "a batch of nothing": (batch(0), "requests"),
    "a batch of 1,001": (batch(1001), "requests"),
    "a reason of 1,025 bytes": (cancelling(job_id="standing", reason="r" * 1025), "reason"),
    "a negative grace": (cancelling(job_id="standing", grace=Duration(seconds=-1)), "grace"),
    "a grace of 25 h": (cancelling(job_id="standing", grace=Duration(seconds=25 * 3600)), "grace"),
    "cancelling by ids and filter": (cancelling_many(job_ids=["standing"], types=["noop"]), "types"),
    "cancelling everything": (cancelling_many(), "job_ids"),
    "cancelling the ended": (cancelling_many(states=[State.COMPLETED]), "states"),
    "purging without states": (purging(), "states"),
    "purging what runs": (purging(states=[State.ACTIVE]), "states"),
    "an unknown path in a mask": (updating(update_mask={"paths": ["colour"]}), "update_mask"),
    "a payload named in a mask and not given": (updating(update_mask={"paths": ["schedule_time"]}), "schedule_time"),
    "another type for a standing job": (updating(job=job_pb2.JobSpec(type="other", priority=1)), "job.type"),
    "NaN in a new payload": (
        lambda s, q: s.jobs.UpdateJob(
            job_service_pb2.UpdateJobRequest(
                queue=q, job_id="standing", job=request(q, "noop", {"a": float("nan")}).job
            )
        ),
        "job.data",
    ),
    "an unknown path in a queue's mask": (changing_queue(["colour"]), "update_mask"),
    "a queue's bad default": (
        changing_queue([], defaults=queue_pb2.JobDefaults(retry=job_pb2.RetryPolicy(max_attempts=0))),
        "queue.defaults.retry.max_attempts",
    ),
    "a queue that keeps less than nothing": (changing_queue([], completed_max=-1), "queue.completed_max"),
}

#: What looks odd and works.
WORKS: dict[str, Call] = {
    "an empty Struct": scheduling(data={}),
    "empty raw bytes": scheduling(raw=payloads_pb2.RawPayload()),
    "an id with braces and colons": scheduling(job_id="{a}:b:{c}"),
    "an id with a right-to-left mark": scheduling(job_id="abc\u200fdef\u202e"),
    "an id of 150 4-byte letters": scheduling(job_id="\U0001f514" * 150),
    "a NUL in the payload": scheduling(data={"a": "b\0c"}),
    "a NUL in a mail's text": scheduling(raw=payloads_pb2.RawPayload(body=b"\0\xff\0")),
    "the year 1970": at(1),
    "the last second of 9999": at(253_402_300_799),
    "the lowest priority": scheduling(priority=-(2**31)),
    "100 years": after(100 * YEAR),
    "a page of a million": listing(page_size=1_000_000),
    "a filter that nothing matches": listing(tags={"no": "such"}, types=["never.seen"]),
    "a payload of nearly 1 MiB": scheduling(raw=payloads_pb2.RawPayload(body=bytes((1 << 20) - 1000))),
}


@pytest.fixture
def standing(quiet: Stubs, queue: str) -> str:
    """A queue in which a job "standing" is scheduled."""
    quiet.schedule(queue, "noop", {"a": 1}, job_id="standing", delay=3600)
    return queue


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_by_field_and_changes_nothing(
    quiet: Stubs, quiet_redis: RedisBackend, standing: str, name: str
) -> None:
    call, field = REFUSED[name]
    before = quiet_redis.dump()
    with pytest.raises(grpc.RpcError) as caught:
        call(quiet, standing)
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), why
    assert [path for path in why.fields if path == field or path.startswith((f"{field}.", f"{field}["))], why
    assert quiet_redis.dump() == before


@pytest.mark.parametrize("name", WORKS)
def test_odd_input_works(quiet: Stubs, standing: str, name: str) -> None:
    WORKS[name](quiet, standing)


@pytest.mark.parametrize("size", [1 << 20, 10 << 20])
def test_too_large_a_payload_is_refused_and_changes_nothing(
    quiet: Stubs, quiet_redis: RedisBackend, standing: str, size: int
) -> None:
    before = quiet_redis.dump()
    with pytest.raises(grpc.RpcError) as caught:
        quiet.jobs.ScheduleJob(request(standing, "noop", raw=payloads_pb2.RawPayload(body=bytes(size))))
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
    assert why.metadata["limit"] == str(1 << 20)
    assert quiet_redis.dump() == before


def test_a_request_over_16_mib_is_refused(quiet: Stubs, quiet_redis: RedisBackend, standing: str) -> None:
    before = quiet_redis.dump()
    with pytest.raises(grpc.RpcError) as caught:
        quiet.jobs.ScheduleJob(request(standing, "noop", raw=payloads_pb2.RawPayload(body=bytes(17 << 20))))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert quiet_redis.dump() == before


def test_all_violations_are_named_at_once(quiet: Stubs, queue: str) -> None:
    asked = request(queue, "", {"a": float("inf")}, job_id="\0", tags={"a b": ""})
    asked.delay.seconds = -1
    with pytest.raises(grpc.RpcError) as caught:
        quiet.jobs.ScheduleJob(asked)
    found = " ".join(refusal(caught.value).fields)
    assert all(field in found for field in ("job.type", "job.data", "job_id", "job.tags", "delay")), found


@pytest.mark.parametrize(
    "body",
    [b"\xff\xff\xff", b"\x0a\x7f\x00", b"\x12\x04\xff\xfe\xfd\xfc", b"\x0a\x08\x52\x06\x0a\xff\xff\xff\xff\x7f"],
    ids=["no message at all", "cut short", "an id that is no UTF-8", "a broken payload"],
)
def test_bytes_that_are_no_request_are_an_invalid_argument(
    quiet: Stubs, quiet_redis: RedisBackend, standing: str, body: bytes
) -> None:
    before = quiet_redis.dump()
    with pytest.raises(grpc.RpcError) as caught:
        quiet.channel.unary_unary("/tocsin.v1.JobService/ScheduleJob")(body)
    assert refusal(caught.value).code == grpc.StatusCode.INVALID_ARGUMENT
    assert quiet_redis.dump() == before


def test_a_page_token_of_another_filter_is_refused(quiet: Stubs, queue: str) -> None:
    for _ in range(3):
        quiet.schedule(queue, "noop", delay=3600)
    page = quiet.jobs.ListJobs(job_service_pb2.ListJobsRequest(queue=queue, page_size=1))
    assert page.next_page_token
    with pytest.raises(grpc.RpcError) as caught:
        quiet.jobs.ListJobs(
            job_service_pb2.ListJobsRequest(queue=queue, types=["noop"], page_token=page.next_page_token)
        )
    assert refusal(caught.value).fields == ["page_token"]
