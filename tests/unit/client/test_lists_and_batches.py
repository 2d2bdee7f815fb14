"""Long lists and large batches go over in calls that the server takes, and come back in order."""

from __future__ import annotations

import pytest
from tocsin import AsyncClient, DeadlineExceeded, InvalidArgument, Job, JobRequest, Unavailable
from tocsin.v1 import job_service_pb2 as pb
from unit.client.canned_server import UNKNOWN_OUTCOME, CannedJobService, a_job


def page(*job_ids: str, token: str = "") -> pb.ListJobsResponse:
    return pb.ListJobsResponse(jobs=[a_job(job_id) for job_id in job_ids], next_page_token=token)


async def listed(client: AsyncClient, **options: int) -> list[str]:
    return [job.job_id async for job in client.list(**options)]  # type: ignore[arg-type]  # sizes only


async def test_a_list_goes_over_all_pages_also_past_empty_ones(client: AsyncClient, service: CannedJobService) -> None:
    service.pages = iter([page("a", "b", token="1"), page(token="2"), page("c")])
    assert await listed(client, skip=3, page_size=2) == ["a", "b", "c"]
    sent = [(request.page_token, request.skip, request.page_size) for request in service.asked("ListJobs")]
    assert sent == [("", 3, 2), ("1", 0, 2), ("2", 0, 2)]


async def test_a_limit_ends_the_list_and_asks_for_no_more_than_that(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.pages = iter([page("a", "b", token="1"), page("c", "d", token="2")])
    assert await listed(client, limit=3) == ["a", "b", "c"]
    assert [request.page_size for request in service.asked("ListJobs")] == [3, 1]
    assert await listed(client, limit=0) == []
    with pytest.raises(ValueError, match="limit"):
        await listed(client, limit=-1)


async def test_pages_are_read_as_the_caller_reads(client: AsyncClient, service: CannedJobService) -> None:
    service.pages = iter([page("a", token="1"), page("b")])
    jobs = client.list()
    assert (await anext(jobs)).job_id == "a"
    await jobs.aclose()
    assert len(service.calls) == 1


async def test_a_count_is_one_call(client: AsyncClient, service: CannedJobService) -> None:
    service.pages = iter([pb.ListJobsResponse(total_size=12_345)])
    assert await client.count(states=["FAILED"]) == 12_345


async def test_many_jobs_go_a_thousand_a_call_and_answers_are_in_order(
    client: AsyncClient, service: CannedJobService
) -> None:
    wanted = [JobRequest("x", {"n": float("nan")} if n == 1500 else {"n": n}, job_id=str(n)) for n in range(2500)]
    results = await client.schedule_many(wanted)
    assert [len(batch.requests) for batch in service.asked("BatchScheduleJobs")] == [1000, 1000, 499]
    assert isinstance(results[1500], InvalidArgument)
    jobs = [result for result in results if isinstance(result, Job)]
    assert [job.job_id for job in jobs] == [str(n) for n in range(2500) if n != 1500]


async def test_many_large_jobs_stay_below_the_size_of_a_request(client: AsyncClient, service: CannedJobService) -> None:
    results = await client.schedule_many([JobRequest("x", bytes(1_000_000))] * 20)
    assert all(isinstance(result, Job) for result in results)
    assert [len(batch.requests) for batch in service.asked("BatchScheduleJobs")] == [8, 8, 4]


async def test_a_call_that_fails_is_the_error_of_its_jobs_only(client: AsyncClient, service: CannedJobService) -> None:
    service.failing = iter([UNKNOWN_OUTCOME])
    results = await client.schedule_many([JobRequest("x")] * 1500)
    assert [type(result) for result in results] == [Unavailable] * 1000 + [Job] * 500


async def test_what_the_deadline_leaves_no_time_for_is_told_as_not_sent(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.gate.clear()
    results = await client.schedule_many([JobRequest("x")] * 1500, deadline=1)
    assert {type(result) for result in results} == {DeadlineExceeded}
    unknown = [isinstance(result, DeadlineExceeded) and result.outcome_unknown for result in results]
    assert unknown == [True] * 1000 + [False] * 500


async def test_no_jobs_are_no_call(client: AsyncClient, service: CannedJobService) -> None:
    assert await client.schedule_many([]) == []
    assert (await client.cancel_many([])).results == ()
    assert service.calls == []


async def test_many_are_cancelled_queue_by_queue_and_answered_in_order(
    client: AsyncClient, service: CannedJobService
) -> None:
    other = a_job("other")
    other.queue = "q2"
    done = await client.cancel_many(["a", Job(other), "b"], queue="q1", reason="moved")
    assert [isinstance(job, Job) and job.job_id for job in done.results] == ["a", "other", "b"]
    assert done.cancelled == 3
    sent = [(request.queue, list(request.job_ids), request.reason) for request in service.asked("BatchCancelJobs")]
    assert sent == [("q1", ["a", "b"], "moved"), ("q2", ["other"], "moved")]


async def test_cancelling_takes_jobs_or_a_filter(client: AsyncClient) -> None:
    with pytest.raises(TypeError, match="not both"):
        await client.cancel_many(["a"], states=["WAITING"])
