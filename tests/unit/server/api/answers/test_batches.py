"""A batch says of each job what a call of its own would have said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contract.builders import a_draft, a_job
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api.answers import batches, scheduling
from tocsin_server.domain import limits
from tocsin_server.domain.job import Added, Draft, Kept, New, Replaced, Retention, Terms
from tocsin_server.domain.job_errors import JobExists
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State

NOW = datetime(2026, 11, 29, 12, 0, 0, 123000, UTC)
LATER = NOW + timedelta(hours=1)
TERMS = Terms(RetryPolicy(), timedelta(seconds=9), Retention(timedelta(days=2), timedelta(days=3)))

Item = tuple[Draft, Added]


def new(job_id: str, *, due: datetime = NOW, state: State = State.WAITING) -> New:
    return New(job_id, state, NOW, due, 1)


def apart(items: list[Item]) -> list[pb.ScheduleJobResponse]:
    return [pb.ScheduleJobResponse.FromString(scheduling.scheduled(*one).SerializeToString()) for one in items]


def together(items: list[Item]) -> list[pb.ScheduleJobResponse]:
    answer = pb.BatchScheduleJobsResponse.FromString(batches.scheduled(items).SerializeToString())
    return [result.response for result in answer.results]


def test_jobs_of_all_kinds_are_answered_as_by_themselves() -> None:
    plain, tagged, urgent = a_draft(terms=TERMS), a_draft(tags={"a": "b"}), a_draft(priority=5, terms=TERMS)
    items: list[Item] = [
        (plain, new("a")),
        (plain, new("b" * limits.JOB_ID_CHARACTERS)),
        (plain, new("ü" * limits.JOB_ID_CHARACTERS)),
        (tagged, new("c")),
        (urgent, new("d")),
        (plain, new("e", due=LATER, state=State.SCHEDULED)),
        (a_draft(queue="other", type="long" * 25), new("f")),
        (plain, new("g")),
        (plain, Kept(a_job("h"))),
        (plain, Replaced(a_job("i"))),
    ]
    assert together(items) == apart(items)
    assert [one.job.job_id for one in apart(items)] == [
        *("a", "b" * limits.JOB_ID_CHARACTERS, "ü" * limits.JOB_ID_CHARACTERS),
        *("c", "d", "e", "f", "g", "h", "i"),
    ]


def test_a_refusal_stands_between_them() -> None:
    draft = a_draft()
    items = [(draft, new("a")), JobExists("q", "b", State.WAITING), (draft, new("c"))]
    answer = pb.BatchScheduleJobsResponse.FromString(batches.scheduled(items).SerializeToString())
    assert [result.WhichOneof("result") for result in answer.results] == ["response", "error", "response"]
    assert answer.results[2].response.job.job_id == "c"


def test_too_large_an_answer_leaves_out_tags() -> None:
    draft = a_draft(tags={f"{n:03}": "x" * 250 for n in range(20)})
    items: list[Item] = [(draft, new(str(n))) for n in range(1000)]
    answers = together(items)
    assert [answer.job.job_id for answer in answers] == [str(n) for n in range(1000)]
    assert not any(answer.job.spec.tags for answer in answers)
    assert together(items[:10]) == apart(items[:10])
