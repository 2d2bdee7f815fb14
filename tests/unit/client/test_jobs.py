"""A job reads as the message behind it, and never makes up what it was not given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf import json_format
from tocsin import (
    Backoff,
    Cancel,
    EmailNotification,
    Explanation,
    Job,
    JobError,
    Progress,
    Retention,
    RetryPolicy,
    State,
    View,
)
from tocsin.enums import OnConflict, Outcome, Why
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb

WHOLE = json_format.ParseDict(
    {
        "queue": "q",
        "jobId": "a",
        "spec": {
            "type": "resize",
            "priority": 3,
            "retry": {"maxAttempts": 5, "backoff": "FIXED", "initialDelay": "2s", "jitter": 0},
            "timeout": "1.5s",
            "retention": {"completedFor": "60s"},
            "tags": {"tenant": "7"},
            "data": {"path": "a.png", "sizes": [1, 2.5]},
        },
        "state": "FAILED",
        "createTime": "2030-01-01T00:00:00.123Z",
        "scheduleTime": "2030-01-01T00:00:01Z",
        "startTime": "2030-01-01T00:00:02Z",
        "endTime": "2030-01-01T00:00:03Z",
        "attempt": 2,
        "failures": 1,
        "crashes": 1,
        "errors": [{"time": "2030-01-01T00:00:02Z", "attempt": 1, "type": "E", "message": "no", "trace": "t"}],
        "progress": {"fraction": 0.5, "message": "half", "updateTime": "2030-01-01T00:00:02Z"},
        "result": {"data": [1, None]},
        "cancel": {"reason": "moved", "by": "ada", "askTime": "2030-01-01T00:00:02Z", "grace": "30s"},
        "revision": "9",
    },
    job_pb2.Job(),
)
TWO = datetime(2030, 1, 1, 0, 0, 2, tzinfo=UTC)


def test_every_field_reads_as_it_was_sent() -> None:
    job = Job(WHOLE, View.FULL)
    assert (job.queue, job.job_id, job.type, job.state) == ("q", "a", "resize", State.FAILED)
    assert (job.priority, job.attempt, job.failures, job.crashes, job.revision) == (3, 2, 1, 1, 9)
    assert job.retry == RetryPolicy(5, Backoff.FIXED, timedelta(seconds=2), None, 0)
    assert (job.timeout, job.retention) == (timedelta(seconds=1.5), Retention(timedelta(minutes=1)))
    assert job.tags == {"tenant": "7"}
    assert job.create_time == datetime(2030, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert job.schedule_time == datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (job.start_time, job.end_time) == (TWO, datetime(2030, 1, 1, 0, 0, 3, tzinfo=UTC))
    assert job.errors == (JobError(TWO, 1, "E", "no", "t"),)
    assert job.progress == Progress(0.5, "half", TWO)
    assert job.cancel == Cancel("moved", "ada", TWO, None, None, timedelta(seconds=30))
    assert job.payload == job.data == {"path": "a.png", "sizes": [1, 2.5]}
    assert job.result == [1, None]


def test_what_is_absent_is_none() -> None:
    job = Job(job_pb2.Job(state=job_pb2.Job.SCHEDULED), View.FULL)
    absent = (job.start_time, job.end_time, job.progress, job.cancel, job.timeout, job.payload, job.result, job.outcome)
    assert set(absent) == {None}
    assert (job.errors, job.tags, job.data) == ((), {}, {})


def test_a_basic_view_does_not_pass_for_a_job_without_payload() -> None:
    job = Job(WHOLE)
    for name in ("payload", "data", "result", "content_type"):
        with pytest.raises(LookupError, match=f"without its {name}"):
            getattr(job, name)


def test_bytes_and_typed_payloads_read_as_such() -> None:
    raw, typed = job_pb2.Job(), job_pb2.Job()
    raw.spec.raw.body, raw.spec.raw.content_type = b"\x00", "image/png"
    raw.result.raw.body = b"\x01"
    typed.spec.email_notification.to.append("ada@example.com")
    job = Job(raw, View.FULL)
    assert (job.payload, job.content_type, job.result) == (b"\x00", "image/png", b"\x01")
    assert Job(typed, View.FULL).payload == EmailNotification(to=["ada@example.com"])


def test_a_state_prints_and_compares_as_its_word() -> None:
    assert f"{Job(WHOLE).state}" == str(State.FAILED) == State.FAILED == "FAILED"
    assert State.FAILED.ended
    assert not State.ACTIVE.ended


def test_the_words_are_those_of_the_protos() -> None:
    for words, proto in (
        (State, job_pb2.Job.State),
        (View, job_pb2.Job.View),
        (Backoff, job_pb2.RetryPolicy.Backoff),
        (OnConflict, pb.ScheduleJobRequest.OnConflict),
        (Outcome, pb.ScheduleJobResponse.Outcome),
        (Why, job_pb2.Explanation.Reason),
    ):
        assert list(words.__members__) == [name for name in proto.keys() if not name.endswith("UNSPECIFIED")]


def test_an_explanation_reads_as_it_was_sent() -> None:
    assert Job(WHOLE).explanation is None
    job = job_pb2.Job()
    job.CopyFrom(WHOLE)
    job.explanation.reason, job.explanation.sentence, job.explanation.ahead = (
        job_pb2.Explanation.BEHIND,
        "It is due.",
        0,
    )
    assert Job(job).explanation == Explanation(Why.BEHIND, "It is due.", ahead=0)
    assert Job(job).to_dict()["explanation"] == {
        **dict.fromkeys(("time", "seen_time", "active", "max", "open")),
        "reason": "BEHIND",
        "sentence": "It is due.",
        "name": "",
        "worker": "",
        "ahead": 0,
        "job_ids": [],
    }


def test_a_job_shows_itself_in_a_line_and_can_stand_in_a_set() -> None:
    assert repr(Job(WHOLE)) == "Job('a', queue='q', type='resize', state=FAILED)"
    again = job_pb2.Job()
    again.CopyFrom(WHOLE)
    assert len({Job(WHOLE), Job(again)}) == 1
