"""Requests are built as the protos want them, and answers read as users want them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from tocsin import (
    EmailNotification,
    InvalidArgument,
    Job,
    JobDefaults,
    JobRequest,
    Outcome,
    PushTarget,
    Retention,
    RetryPolicy,
    State,
    View,
    _calls,
    _following,
    _queue_calls,
    _transferring,
)
from tocsin._calls import PreparedCall
from tocsin._fields import name_of
from tocsin._job_requests import schedule_request
from tocsin.requests import ScheduleOptions
from tocsin.v1 import job_pb2, queue_pb2, queue_service_pb2, transfer_pb2
from tocsin.v1 import job_service_pb2 as pb
from unit.client.canned_server import a_job

NOON = datetime(2030, 12, 24, 12, tzinfo=UTC)


def refused(wanted: JobRequest) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        schedule_request(wanted)
    return [violation.field for violation in caught.value.violations]


def every_call() -> dict[str, PreparedCall[Any, Any]]:
    """One call of each kind that is built, by a name for the test."""
    return {
        "schedule": _calls.schedule_one(schedule_request(JobRequest("x"))),
        "keep": _calls.schedule_one(schedule_request(JobRequest("x", job_id="a", on_conflict="KEEP"))),
        "batch": _calls.schedule_batch([schedule_request(JobRequest("x"))]),
        "get": _calls.get("a"),
        "wait": _following.wait("a", "", 1),
        "explain": _following.explain("a"),
        "logs": _following.log_page("a"),
        "list": _calls.list_page({}),
        "count": _calls.count("", [], []),
        "cancel": _calls.cancel_one(_calls.cancel_request("a")),
        "cancel batch": _calls.cancel_batch([_calls.cancel_request("a")]),
        "cancel ids": _calls.cancel_ids("", ["a"]),
        "cancel matching": _calls.cancel_matching("", ["WAITING"], [], {}),
        "retry ids": _calls.retry_ids("", ["a"]),
        "retry matching": _calls.retry_matching("", ["FAILED"], [], {}, False),
        "count retry": _calls.retry_matching("", ["FAILED"], [], {}, True),
        "delete ids": _calls.delete_ids("", ["a"]),
        "delete matching": _calls.delete_matching("", ["FAILED"], [], {}, False),
        "count delete": _calls.delete_matching("", ["FAILED"], [], {}, True),
        "update": _calls.update("a", {"priority": 1}),
        "run": _calls.run("a"),
        "hold": _calls.hold("a"),
        "release": _calls.release("a"),
        "retry": _calls.retry("a"),
        "delete": _calls.delete("a"),
        "health": _queue_calls.health(""),
        "queues": _queue_calls.list_page(),
        "queue": _queue_calls.get(""),
        "update queue": _queue_calls.update("", {"failed_max": 1}),
        "pause": _queue_calls.pause(""),
        "drain": _queue_calls.drain(""),
        "resume": _queue_calls.resume("", False),
        "delete queue": _queue_calls.delete(""),
        "purge": _queue_calls.purge("", ["FAILED"], [], None, False),
        "count purge": _queue_calls.purge("", ["FAILED"], [], None, True),
        "server": _queue_calls.server_info(),
        "import": next(_transferring.parts([transfer_pb2.TransferRecord()], "KEEP")),
        "import over": next(_transferring.parts([transfer_pb2.TransferRecord()], "REPLACE")),
    }


@pytest.mark.parametrize("name", every_call())
def test_each_call_names_a_method_of_the_protos_with_its_messages(name: str) -> None:
    call = every_call()[name]
    _, service, method = call.path.split("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    assert (found.input_type, found.output_type) == (call.request.DESCRIPTOR, call.answer.DESCRIPTOR)


def test_every_unary_method_of_the_protos_has_its_call() -> None:
    services = ("tocsin.v1.JobService", "tocsin.v1.QueueService", "tocsin.v1.ServerService")
    methods = {
        f"/{service}/{method.name}"
        for service in services
        for method in descriptor_pool.Default().FindServiceByName(service).methods
        if not method.server_streaming
    }
    assert {call.path for call in every_call().values()} == methods


def test_only_calls_that_may_be_made_twice_are_repeated() -> None:
    once = {name for name, call in every_call().items() if not call.repeatable}
    assert once == {
        *(
            "schedule",
            "batch",
            "cancel matching",
            "update",
            "run",
            "retry",
            "release",
            "delete",
            "purge",
            "import over",
        ),
        *("retry ids", "retry matching", "delete ids", "delete matching"),
    }


def test_a_batch_is_repeated_only_if_each_of_its_jobs_may_be() -> None:
    kept = schedule_request(JobRequest("x", job_id="a", on_conflict="KEEP"))
    assert _calls.schedule_batch([kept, kept]).repeatable
    assert not _calls.schedule_batch([kept, schedule_request(JobRequest("x", job_id="b"))]).repeatable
    assert not _calls.schedule_batch([schedule_request(JobRequest("x", on_conflict="KEEP"))]).repeatable


def test_all_that_is_asked_for_is_in_the_request() -> None:
    request = schedule_request(
        JobRequest(
            "resize",
            {"path": "a.png"},
            delay=1.5,
            queue="images",
            job_id="a",
            priority=-3,
            retry=RetryPolicy(max_attempts=5, backoff="FIXED", initial_delay=1, max_delay=timedelta(hours=2), jitter=0),
            timeout=0,
            retention=Retention(completed_for=0, failed_for=timedelta(days=1)),
            tags={"tenant": "7"},
            on_conflict="REPLACE",
        )
    )
    wanted = pb.ScheduleJobRequest(job_id="a", on_conflict=pb.ScheduleJobRequest.REPLACE)
    wanted.delay.FromMilliseconds(1500)
    spec = wanted.job
    spec.queue, spec.type, spec.priority = "images", "resize", -3
    spec.data["path"] = "a.png"
    spec.retry.max_attempts, spec.retry.backoff, spec.retry.jitter = 5, job_pb2.RetryPolicy.FIXED, 0
    spec.retry.initial_delay.FromSeconds(1)
    spec.retry.max_delay.FromSeconds(7200)
    spec.timeout.SetInParent()  # 0 is sent, for the server to refuse
    spec.retention.completed_for.SetInParent()
    spec.retention.failed_for.FromSeconds(86400)
    spec.tags["tenant"] = "7"
    assert request == wanted
    assert request.job.HasField("timeout")
    assert request.job.retention.HasField("completed_for")


def test_the_options_of_schedule_are_the_fields_of_a_job_request() -> None:
    assert ScheduleOptions.__annotations__.keys() == set(JobRequest.__dataclass_fields__) - {"type", "payload"}


def test_a_typed_message_alone_needs_no_type() -> None:
    request = schedule_request(JobRequest(EmailNotification(to=["ada@example.com"])))
    assert (request.job.type, request.job.WhichOneof("payload")) == ("", "email_notification")
    with pytest.raises(TypeError, match="once"):
        schedule_request(JobRequest(EmailNotification(), {"a": 1}))
    with pytest.raises(TypeError, match="type or a typed message, not dict"):
        schedule_request(JobRequest({"a": 1}))  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("time", "seconds", "nanos"),
    [
        (datetime(2030, 1, 1, 0, 0, 0, 123456, tzinfo=UTC), 1893456000, 123456000),
        (datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 1893456000, 0),
        (datetime(1970, 1, 1, tzinfo=UTC), 0, 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1, 999999000),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 253402300799, 999999000),
    ],
)
def test_times_are_sent_exactly(time: datetime, seconds: int, nanos: int) -> None:
    request = schedule_request(JobRequest("x", at=time))
    assert (request.schedule_time.seconds, request.schedule_time.nanos) == (seconds, nanos)


def test_a_time_without_a_zone_is_refused_and_told_how_to_get_one() -> None:
    with pytest.raises(ValueError, match="without a zone; give it one"):
        schedule_request(JobRequest("x", at=datetime(2030, 1, 1)))


def test_at_and_delay_exclude_each_other() -> None:
    assert refused(JobRequest("x", at=NOON, delay=1)) == ["delay"]


def test_what_no_field_can_hold_is_refused_by_its_name() -> None:
    assert refused(JobRequest("x", priority=2**31)) == ["job.priority"]
    assert refused(JobRequest("x", delay=float("nan"))) == ["delay"]
    assert refused(JobRequest("x", delay=1e300)) == ["delay"]
    assert refused(JobRequest("\ud800")) == ["job.type"]
    assert refused(JobRequest("x", tags={"a": "\ud800"})) == ["job.tags['a']"]


def test_a_value_of_the_wrong_kind_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"job\.priority: is a whole number or one of low, normal, high, not .* float"):
        schedule_request(JobRequest("x", priority=1.5))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match="delay: is seconds or a timedelta, not of type str"):
        schedule_request(JobRequest("x", delay="3s"))  # type: ignore[arg-type]  # on purpose


def test_a_job_names_itself_and_an_id_is_of_the_queue_given() -> None:
    assert name_of(Job(job_pb2.Job(queue="q", job_id="a")), "other") == ("q", "a")
    assert name_of("a", "other") == ("other", "a")


def test_an_empty_id_is_refused_before_a_watch_would_take_it_for_a_filter() -> None:
    with pytest.raises(InvalidArgument, match="job_id: is empty"):
        _calls.watch_request("")
    with pytest.raises(TypeError, match="not by int"):
        _calls.get(7)  # type: ignore[arg-type]  # on purpose


def test_update_changes_what_is_given_and_nothing_else() -> None:
    request = _calls.update("a", {"priority": 0, "payload": None}, revision=4).request
    wanted = pb.UpdateJobRequest(job_id="a", revision=4, job=job_pb2.JobSpec(priority=0))
    wanted.update_mask.paths.extend(["payload", "priority"])
    assert request == wanted
    assert list(_calls.update("a", {"delay": 3}).request.update_mask.paths) == ["schedule_time"]
    with pytest.raises(TypeError, match="needs"):
        _calls.update("a", {})


def test_an_option_that_a_call_does_not_know_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="list takes no state; it takes queue, states"):
        _calls.list_page({"state": "FAILED"})  # type: ignore[typeddict-unknown-key]  # on purpose


def test_a_lone_word_where_a_list_belongs_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"states: is a list: \['FAILED'\]"):
        _calls.list_page({"states": "FAILED"})  # type: ignore[typeddict-item]  # on purpose
    with pytest.raises(TypeError, match="types: is a list"):
        _calls.cancel_matching("", [], "email", {})


def test_a_list_sends_all_its_filters() -> None:
    request = _calls.list_page(
        {
            "queue": "q",
            "states": ["SCHEDULED", State.FAILED],
            "types": ["email"],
            "tags": {"a": "b"},
            "priority_min": 0,
            "schedule_time_from": NOON,
            "end_time_to": NOON,
            "order_by": "schedule_time",
            "page_size": 10,
            "skip": 5,
            "view": "FULL",
        }
    ).request
    wanted = pb.ListJobsRequest(queue="q", states=[1, 6], types=["email"], tags={"a": "b"}, priority_min=0)
    wanted.schedule_time_from.FromDatetime(NOON)
    wanted.end_time_to.FromDatetime(NOON)
    wanted.order_by, wanted.page_size, wanted.skip, wanted.view = "schedule_time", 10, 5, job_pb2.Job.FULL
    assert request == wanted


def test_a_queues_settings_are_set_cleared_or_left_as_asked() -> None:
    request = _queue_calls.update(
        "q", {"completed_max": None, "failed_max": 7, "type_defaults": {"email": JobDefaults(timeout=3)}}
    ).request
    defaults = queue_pb2.JobDefaults()
    defaults.timeout.FromSeconds(3)
    wanted = queue_service_pb2.UpdateQueueRequest(
        queue=queue_pb2.Queue(queue="q", failed_max=7, type_defaults={"email": defaults})
    )
    wanted.update_mask.paths.extend(["completed_max", "failed_max", "type_defaults"])
    assert request == wanted


def test_the_ageing_of_priorities_is_set_or_cleared() -> None:
    request = _queue_calls.update("q", {"priority_ageing": timedelta(minutes=10)}).request
    assert request.queue.priority_ageing.ToTimedelta() == timedelta(minutes=10)
    assert list(request.update_mask.paths) == ["priority_ageing"]
    cleared = _queue_calls.update("q", {"priority_ageing": None}).request
    assert not cleared.queue.HasField("priority_ageing")
    assert list(cleared.update_mask.paths) == ["priority_ageing"]


def test_single_types_of_a_queue_are_set_or_cleared() -> None:
    request = _queue_calls.update("q", {"types": {"a.b": JobDefaults(concurrency=3), "sms": None}}).request
    wanted = queue_service_pb2.UpdateQueueRequest(queue=queue_pb2.Queue(queue="q"))
    wanted.queue.type_defaults["a.b"].concurrency = 3
    wanted.update_mask.paths.extend(["type_defaults.a.b", "type_defaults.sms"])
    assert request == wanted


def test_a_push_target_travels_and_comes_back() -> None:
    push = PushTarget("https://example.com/jobs", {"X-Team": "a"}, "orders", timedelta(seconds=5))
    given = JobDefaults(push=push, min_worker_version="2.11")
    request = _queue_calls.update("q", {"defaults": given}).request
    assert JobDefaults.read(request.queue.defaults) == given
    with pytest.raises(TypeError, match=r"push\.headers: is a dict"):
        _queue_calls.update("q", {"defaults": JobDefaults(push=PushTarget("http://a.b/", ["X: 1"]))})  # type: ignore[arg-type]  # on purpose


def test_a_scheduled_job_says_what_was_done() -> None:
    answer = pb.ScheduleJobResponse(job=a_job(), outcome=pb.ScheduleJobResponse.KEPT)
    assert _calls.scheduled(answer).outcome is Outcome.KEPT
    assert _calls.get("a", view="BASIC").read(pb.GetJobResponse(job=a_job())).view is View.BASIC
