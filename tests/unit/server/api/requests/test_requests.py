"""Each rule names the field that breaks it, all of them at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from tocsin.v1 import bulk_pb2, conditions_pb2, job_pb2, payloads_pb2, queue_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin_server.api import wire
from tocsin_server.api.requests import jobs, queues, schedule_jobs
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, TooLarge
from unit.server.api.api_requests import as_read, violations

Spec, Request = job_pb2.JobSpec, pb.ScheduleJobRequest
State = job_pb2.Job.State


def scheduling_of(spec: job_pb2.JobSpec | None = None, **words: Any) -> dict[str, str]:
    return violations(schedule_jobs.schedule_job, Request(job=spec or Spec(type="t"), **words))


def taken(spec: job_pb2.JobSpec | None = None, **words: Any) -> Any:
    request = as_read(Request(job=spec or Spec(type="t"), **words))
    return schedule_jobs.schedule_job(request)


def span(seconds: int = 0, nanos: int = 0) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=seconds, nanos=nanos)


def time(seconds: int = 0, nanos: int = 0) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)


def test_all_that_is_wrong_is_said_at_once() -> None:
    retry = job_pb2.RetryPolicy(max_attempts=0, backoff=9, initial_delay=span(-1), jitter=2.0)
    spec = Spec(queue="no/slash", type="no space", retry=retry, timeout=span(), tags={"bad key": "v", "k": "é" * 101})
    assert set(scheduling_of(spec, job_id="a\x00", delay=span(-1), on_conflict=7)) == {
        "job.queue",
        "job.type",
        "job.retry.max_attempts",
        "job.retry.backoff",
        "job.retry.initial_delay",
        "job.retry.jitter",
        "job.timeout",
        "job.tags['bad key']",
        "job.tags.k",
        "job_id",
        "delay",
        "on_conflict",
    }


@pytest.mark.parametrize("name", ["a", "A" * 100, "0._-", "..."])
def test_names_of_these_characters_are_taken(name: str) -> None:
    assert taken(Spec(queue=name, type=name)).queue == name


@pytest.mark.parametrize("name", ["A" * 101, "é", "a b", "a/b", "a\n", "{a}"])
def test_other_names_are_refused(name: str) -> None:
    assert set(scheduling_of(Spec(queue=name, type=name))) == {"job.queue", "job.type"}


@pytest.mark.parametrize("job_id", ["{a}:b", "\u202eabc", "\U0001f600" * 150, "x" * 200, " ", "é" * 200])
def test_any_text_without_control_characters_is_an_id(job_id: str) -> None:
    assert taken(job_id=job_id).job_id == job_id


@pytest.mark.parametrize("job_id", ["x" * 201, "\U0001f600" * 151, "a\x00b", "\x7f", "\x85", "a\nb"])
def test_ids_too_long_or_with_control_characters_are_refused(job_id: str) -> None:
    assert set(scheduling_of(job_id=job_id)) == {"job_id"}


@pytest.mark.parametrize(
    "when", [time(-1), time(253_402_300_800), time(0, -1), time(0, 1_000_000_000), time(2**63 - 1), time(-(2**63))]
)
def test_times_outside_1970_to_9999_are_refused(when: timestamp_pb2.Timestamp) -> None:
    assert set(scheduling_of(schedule_time=when)) == {"schedule_time"}


@pytest.mark.parametrize(
    "delay",
    [span(-1), span(0, -1), span(36_525 * 86_400, 1), span(2**62), span(1, -1), span(-1, 1), span(0, 1_000_000_000)],
)
def test_delays_outside_0_to_100_years_are_refused(delay: duration_pb2.Duration) -> None:
    assert set(scheduling_of(delay=delay)) == {"delay"}


def test_what_is_finer_than_a_millisecond_rounds_up() -> None:
    assert taken(delay=span(1, 1)).when == timedelta(milliseconds=1001)
    assert taken(delay=span(0, 1_000_000)).when == timedelta(milliseconds=1)
    assert taken(schedule_time=time(5, 999_999_999)).when == datetime(1970, 1, 1, 0, 0, 6, tzinfo=UTC)
    assert taken(schedule_time=time(253_402_300_799, 999_999_999)).when == limits.LAST_TIME
    assert taken(Spec(type="t", timeout=span(0, 1))).overrides.timeout == timedelta(milliseconds=1)


def test_max_delay_is_not_below_initial_delay() -> None:
    retry = job_pb2.RetryPolicy(initial_delay=span(5), max_delay=span(4))
    assert set(scheduling_of(Spec(type="t", retry=retry))) == {"job.retry.max_delay"}


def test_a_spec_over_1_mib_is_too_large() -> None:
    taken(Spec(type="t", raw=payloads_pb2.RawPayload(body=bytes(limits.JOB_SPEC_BYTES - 20))))
    request = Request(job=Spec(type="t", raw=payloads_pb2.RawPayload(body=bytes(limits.JOB_SPEC_BYTES))))
    with pytest.raises(TooLarge) as caught:
        schedule_jobs.schedule_job(as_read(request))
    assert caught.value.field == "job"


def struct(**values: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(values)
    return made


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused_wherever_they_stand(number: float) -> None:
    assert set(scheduling_of(Spec(type="t", data=struct(a={"b": [1, number]})))) == {"job.data.a.b[1]"}
    mail = payloads_pb2.EmailNotification(to=["a@b.c"], template="w", template_data=struct(n=number))
    assert set(scheduling_of(Spec(email_notification=mail))) == {"job.email_notification.template_data.n"}


@pytest.mark.parametrize("number", [1.7976931348623157e308, 5e-324, -0.0, 2.0**53, 0x7FF, 65_535.0])
def test_all_other_numbers_are_taken(number: float) -> None:
    taken(Spec(type="t", data=struct(a=[number], text="\x7f")))


def nested(levels: int) -> bytes:
    body = b""
    for _ in range(levels):  # {"a": {...}}: Struct, its entry, Value
        value = b"\x2a" + varint(len(body)) + body
        entry = b"\n\x01a\x12" + varint(len(value)) + value
        body = b"\n" + varint(len(entry)) + entry
    return body


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def request_with_data(body: bytes) -> bytes:
    spec = b"\x12\x01t\x52" + varint(len(body)) + body
    return b"\x0a" + varint(len(spec)) + spec


def read(raw: bytes) -> Any:
    return wire.shadow(Request).FromString(raw)


def depth_taken() -> int:
    for levels in range(1, 60):
        try:
            schedule_jobs.schedule_job(read(request_with_data(nested(levels))))
        except InvalidFields:
            return levels - 1
    raise AssertionError("any depth is taken")


def test_a_payload_is_refused_before_it_is_too_deep_for_its_readers() -> None:
    deepest = depth_taken()
    assert deepest >= 25
    answer = pb.BatchScheduleJobsResponse()
    answer.results.add().response.job.spec.data.MergeFromString(nested(deepest))
    assert pb.BatchScheduleJobsResponse.FromString(answer.SerializeToString()) == answer
    assert set(violations_of_data(nested(2_000))) == {"job.data"}


def violations_of_data(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        schedule_jobs.schedule_job(read(request_with_data(body)))
    return {v.field: v.description for v in caught.value.violations}


@pytest.mark.parametrize("body", [b"\x0a\x05abc", b"\xff", b"\x0a\x04\x0a\x02\xff\xfe"])
def test_a_payload_that_cannot_be_read_is_refused_by_its_name(body: bytes) -> None:
    assert set(violations_of_data(body)) == {"job.data"}


def test_a_built_in_payload_sets_the_type_and_refuses_another() -> None:
    mail = payloads_pb2.EmailNotification(to=["ada@example.com"], text="Hi")
    assert taken(Spec(email_notification=mail)).type == "email_notification"
    assert taken(Spec(type="email_notification", email_notification=mail)).type == "email_notification"
    assert set(scheduling_of(Spec(type="sms_notification", email_notification=mail))) == {"job.type"}
    assert set(scheduling_of(Spec(data=struct(a=1)))) == {"job.type"}


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("x" * 201, ["has 201 bytes of UTF-8, at most 200 are allowed"]),
        ("é" * 101, ["has 202 bytes of UTF-8, at most 200 are allowed"]),
        ("a\nb", ["has a line break or another control character"]),
        ("é" * 100, []),
    ],
)
def test_of_a_key_that_is_too_long_that_is_said_once(key: str, why: list[str]) -> None:
    spec = job_pb2.JobSpec(type="t", limit_key=key)
    spec.collapse.key, spec.collapse.mode = key, conditions_pb2.Collapse.KEEP
    said: list[tuple[str, str]] = []
    try:
        taken(spec)
    except InvalidFields as refusal:
        said = [(one.field, one.description) for one in refusal.violations]
    assert said == [(field, one) for field in ("job.limit_key", "job.collapse.key") for one in why]


def test_tags_are_bounded() -> None:
    assert set(scheduling_of(Spec(type="t", tags={str(i): "" for i in range(17)}))) == {"job.tags"}
    taken(Spec(type="t", tags={"k" * 63: "v" * 200, **{str(i): "\x00é" for i in range(15)}}))
    assert set(scheduling_of(Spec(type="t", tags={"k" * 64: "v", "": "v"}))) == {
        f"job.tags['{'k' * 63}…']",
        "job.tags['']",
    }


# --- standing jobs ---


def test_lists_are_bounded() -> None:
    wrong = pb.ListJobsRequest(
        queue="q/", states=[0, 3, 8], types=["a b"], order_by="name", page_size=-1, skip=10_001, view=3
    )
    wrong.end_time_to.seconds = -1
    expected = {"queue", "states[0]", "states[2]", "types[0]", "order_by", "page_size", "skip", "view", "end_time_to"}
    assert set(violations(jobs.list_jobs, wrong)) == expected
    jobs.list_jobs(pb.ListJobsRequest(page_size=1_000_000, skip=10_000))
    assert set(violations(jobs.list_jobs, pb.ListJobsRequest(skip=-1))) == {"skip"}
    assert set(violations(jobs.list_jobs, pb.ListJobsRequest(types=["t"] * 101))) == {"types"}


def test_the_soonest_are_listed_of_scheduled_jobs_only() -> None:
    for states in ([], [State.WAITING], [State.SCHEDULED, State.WAITING]):
        asked = pb.ListJobsRequest(states=states, order_by="schedule_time")
        assert set(violations(jobs.list_jobs, asked)) == {"order_by"}


def test_a_watch_is_of_a_job_or_of_a_filter() -> None:
    both = pb.WatchJobsRequest(job_id="a", states=[State.FAILED], types=["t"], cursor="c")
    assert set(violations(jobs.watch_jobs, both)) == {"states", "types", "cursor"}


def test_a_cancel_has_a_bounded_reason_and_grace() -> None:
    jobs.cancel_job(pb.CancelJobRequest(job_id="a", reason="é" * 512, grace=span(86_400)), "me")
    wrong = pb.CancelJobRequest(reason="é" * 513, grace=span(86_401))
    assert set(violations(lambda request: jobs.cancel_job(request, "me"), wrong)) == {"job_id", "reason", "grace"}


def test_many_are_cancelled_by_ids_or_by_a_filter_never_all() -> None:
    check = jobs.batch_cancel_jobs
    assert set(violations(check, pb.BatchCancelJobsRequest())) == {"job_ids"}
    assert set(violations(check, pb.BatchCancelJobsRequest(job_ids=["a"] * 1001))) == {"job_ids"}
    both = pb.BatchCancelJobsRequest(job_ids=["a"], states=[State.ACTIVE], types=["t"], tags={"a": "b"})
    assert set(violations(check, both)) == {"states", "types", "tags"}
    assert set(violations(check, pb.BatchCancelJobsRequest(states=[State.COMPLETED]))) == {"states[0]"}


@pytest.mark.parametrize(
    ("check", "request_", "wrong_state"),
    [
        (jobs.batch_retry_jobs, bulk_pb2.BatchRetryJobsRequest, State.COMPLETED),
        (jobs.batch_delete_jobs, bulk_pb2.BatchDeleteJobsRequest, State.ACTIVE),
    ],
)
def test_many_are_retried_or_deleted_by_ids_or_by_a_filter_never_all(
    check: Any, request_: Any, wrong_state: State.ValueType
) -> None:
    check(request_(job_ids=["a"] * 1000))
    check(request_(types=["t"], tags={"a": "b"}, states=[State.FAILED, State.CANCELLED], dry_run=True))
    assert set(violations(check, request_())) == {"job_ids"}
    assert set(violations(check, request_(job_ids=["a"] * 1001))) == {"job_ids"}
    both = request_(job_ids=["a"], states=[State.FAILED], types=["t"], tags={"a": "b"}, dry_run=True)
    assert set(violations(check, both)) == {"states", "types", "tags", "dry_run"}
    assert set(violations(check, request_(states=[wrong_state]))) == {"states[0]"}


def update(**words: Any) -> set[str]:
    return set(violations(jobs.update_job, pb.UpdateJobRequest(job_id="a", **words)))


def test_an_update_says_what_to_change() -> None:
    mask = {"paths": ["schedule_time", "payload", "state"]}
    assert update() == {"update_mask"}
    assert update(update_mask=mask) == {"update_mask.paths[2]", "schedule_time", "job"}
    assert update(queue="q", job=Spec(queue="p", priority=1)) == {"job.queue"}
    assert update(job=Spec(priority=1, type="no space"), delay=span(-1)) == {"job.type", "delay"}
    jobs.update_job(as_read(pb.UpdateJobRequest(job_id="a", update_mask={"paths": ["priority"]})))
    assert jobs.updated(pb.UpdateJobRequest(delay=span(), job=Spec(priority=1))) == {"schedule_time", "priority"}


# --- queues ---


@pytest.mark.parametrize(("seconds", "nanos"), [(0, 0), (0, 999_000_000), (-1, 0), (30 * 86_400, 1), (30 * 86_401, 0)])
def test_the_ageing_of_priorities_has_bounds(seconds: int, nanos: int) -> None:
    queue = queue_pb2.Queue(queue="q", priority_ageing={"seconds": seconds, "nanos": nanos})
    for paths in ((), ("priority_ageing",)):
        asked = qpb.UpdateQueueRequest(queue=queue, update_mask={"paths": paths})
        assert set(violations(queues.update_queue, asked)) == {"queue.priority_ageing"}


def test_a_queues_settings_are_checked_like_a_jobs() -> None:
    wrong = queue_pb2.Queue(queue="q/", completed_max=-1, failed_max=10_000_001)
    wrong.defaults.retry.max_attempts = 101
    wrong.type_defaults["no space"].timeout.seconds = 0
    wrong.type_defaults["t"].retention.failed_for.seconds = -1
    wrong.type_defaults["t"].concurrency = 10_001
    wrong.defaults.concurrency = 0
    wrong.defaults.min_worker_version = "newest"
    wrong.defaults.push.timeout.seconds = 3601
    wrong.type_defaults["t"].push.url = "http://user@example.com/"
    wrong.type_defaults["t"].push.secret_ref = "a b"
    wrong.type_defaults["t"].push.headers["Host"] = "example.com"
    asked = qpb.UpdateQueueRequest(queue=wrong, update_mask={"paths": ["paused", "type_defaults.no space"]})
    assert set(violations(queues.update_queue, asked)) == {
        "queue.queue",
        "queue.completed_max",
        "queue.failed_max",
        "queue.defaults.retry.max_attempts",
        "queue.type_defaults['no space']",
        "queue.type_defaults['no space'].timeout",
        "queue.type_defaults[t].retention.failed_for",
        "queue.type_defaults[t].concurrency",
        "queue.defaults.concurrency",
        "queue.defaults.min_worker_version",
        "queue.defaults.push.url",
        "queue.defaults.push.timeout",
        "queue.type_defaults[t].push.url",
        "queue.type_defaults[t].push.secret_ref",
        "queue.type_defaults[t].push.headers[Host]",
        "update_mask.paths[0]",
        "update_mask.paths[1]",
    }


@pytest.mark.parametrize("type_", ["", "t" * 101, "a b", "x[y]"])
def test_a_type_that_is_none_is_named_where_defaults_are_set_for_it(type_: str) -> None:
    wrong = queue_pb2.Queue()
    wrong.type_defaults[type_].concurrency = 5
    [field] = violations(queues.update_queue, qpb.UpdateQueueRequest(queue=wrong))
    assert field == f"queue.type_defaults[{type_ if len(type_) < 101 else type_[:100] + '…'!r}]"


def test_a_wish_to_pause_by_update_is_refused_and_a_queue_as_it_was_read_is_not() -> None:
    wish = queue_pb2.Queue(queue="q", paused=True, pause_reason="a deploy", failed_max=3)
    found = violations(queues.update_queue, qpb.UpdateQueueRequest(queue=wish))
    assert {field: "PauseQueue" in text for field, text in found.items()} == {
        "queue.paused": True,
        "queue.pause_reason": True,
    }
    queues.update_queue(qpb.UpdateQueueRequest(queue=wish, update_mask={"paths": ["failed_max"]}))
    wish.pause_time.seconds = 1
    queues.update_queue(qpb.UpdateQueueRequest(queue=wish))


def test_a_purge_names_states_and_never_running_jobs() -> None:
    assert set(violations(queues.purge_jobs, qpb.PurgeJobsRequest())) == {"states"}
    running = qpb.PurgeJobsRequest(states=[State.FAILED, State.ACTIVE])
    assert set(violations(queues.purge_jobs, running)) == {"states[1]"}
    waiting = qpb.PurgeJobsRequest(states=[State.WAITING], end_before=time(1))
    assert set(violations(queues.purge_jobs, waiting)) == {"end_before"}


def test_a_long_reason_to_pause_is_refused() -> None:
    assert set(violations(queues.pause_queue, qpb.PauseQueueRequest(reason="r" * 1025))) == {"reason"}


def test_an_empty_time_is_refused_for_the_job_would_run_at_once() -> None:
    assert list(scheduling_of(schedule_time=time(0))) == ["schedule_time"]


@pytest.mark.parametrize(
    ("name", "good", "bad", "field"),
    [
        ("tags", {"a": "b"}, {"a b": "c"}, "job.tags"),
        ("timeout", span(5), span(0), "job.timeout"),
        ("retry", job_pb2.RetryPolicy(max_attempts=9), job_pb2.RetryPolicy(max_attempts=0), "job.retry.max_attempts"),
        ("retention", job_pb2.Retention(), job_pb2.Retention(failed_for=span(-1)), "job.retention.failed_for"),
    ],
)
def test_an_update_of_terms_is_checked_as_when_they_are_scheduled(name: str, good: Any, bad: Any, field: str) -> None:
    asked = pb.UpdateJobRequest(job_id="a", job=Spec(**{name: good}))
    jobs.update_job(as_read(asked))
    assert jobs.updated(asked) == {name}
    [wrong] = update(job=Spec(**{name: bad}))
    assert wrong.startswith(field)


def test_a_duration_that_is_refused_is_shown_to_the_last_digit() -> None:
    spec = job_pb2.JobSpec(type="t", timeout=span(2_592_000, 1_000_001))
    assert scheduling_of(spec)["job.timeout"] == "is 2,592,000.001000001 s, not 1 ms to 30 days"


def test_an_update_of_a_queue_that_changes_nothing_is_refused() -> None:
    asked = qpb.UpdateQueueRequest(queue=queue_pb2.Queue(queue="q"))
    with pytest.raises(InvalidFields) as caught:
        queues.update_queue(asked)
    assert [found.field for found in caught.value.violations] == ["update_mask"]
