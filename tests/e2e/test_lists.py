"""Lists: filtered, ordered, paged, counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.stubs import State, Stubs, request
from tocsin.v1 import job_service_pb2

Query = job_service_pb2.ListJobsRequest


@pytest.fixture(scope="module")
def listed(quiet: Stubs) -> str:
    """A queue with 30 jobs: types a, b, c in turn, tags, priorities, 25 SCHEDULED and 5 CANCELLED."""
    batch = [
        request(
            "listed",
            "abc"[n % 3],
            job_id=f"{n:02}",
            delay=3600 * (30 - n),
            priority=n,
            tags={"half": str(n // 15), "third": str(n // 10)},
        )
        for n in range(30)
    ]
    quiet.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=batch))
    ids = [f"{n:02}" for n in range(5)]
    quiet.jobs.BatchCancelJobs(job_service_pb2.BatchCancelJobsRequest(queue="listed", job_ids=ids))
    return "listed"


def ids(stubs: Stubs, **asked: object) -> list[str]:
    """Ids over all pages; `page_size` 1000 unless given."""
    found: list[str] = []
    query = Query(**{"queue": "listed", "page_size": 1000, **asked})
    while True:
        page = stubs.jobs.ListJobs(query)
        found += [job.job_id for job in page.jobs]
        if not page.next_page_token:
            return found
        query.page_token = page.next_page_token


ALL = [f"{n:02}" for n in reversed(range(30))]


def test_newest_first_is_the_default(quiet: Stubs, listed: str) -> None:
    assert ids(quiet) == ALL


@pytest.mark.parametrize("size", [1, 7, 30])
def test_pages_of_any_size_show_each_job_once(quiet: Stubs, listed: str, size: int) -> None:
    assert ids(quiet, page_size=size) == ALL
    assert ids(quiet, page_size=size, types=["a", "c"]) == [one for one in ALL if int(one) % 3 != 1]


def test_filters_are_joined(quiet: Stubs, listed: str) -> None:
    assert ids(quiet, states=[State.CANCELLED]) == ["04", "03", "02", "01", "00"]
    assert ids(quiet, states=[State.CANCELLED], types=["a"]) == ["03", "00"]
    assert ids(quiet, tags={"half": "0"}) == [f"{n:02}" for n in reversed(range(15))]
    assert ids(quiet, tags={"half": "0", "third": "1"}) == [f"{n:02}" for n in reversed(range(10, 15))]
    assert ids(quiet, priority_min=10, priority_max=12) == ["12", "11", "10"]
    assert ids(quiet, types=["nobody"]) == []


def test_soonest_first_goes_by_due_time(quiet: Stubs, listed: str) -> None:
    assert ids(quiet, states=[State.SCHEDULED], order_by="schedule_time", page_size=4) == ALL[:25]


def test_skip_passes_over_matching_jobs(quiet: Stubs, listed: str) -> None:
    page = quiet.jobs.ListJobs(Query(queue="listed", types=["b"], skip=3, page_size=2))
    assert [job.job_id for job in page.jobs] == ["19", "16"]


def test_the_total_is_told_where_it_costs_nothing(quiet: Stubs, listed: str) -> None:
    assert quiet.jobs.ListJobs(Query(queue="listed", page_size=1)).total_size == 30
    assert quiet.jobs.ListJobs(Query(queue="listed", states=[State.CANCELLED], types=["a"])).total_size == 2
    assert not quiet.jobs.ListJobs(Query(queue="listed", tags={"half": "0"})).HasField("total_size")


def test_time_windows_filter(quiet: Stubs, listed: str) -> None:
    query = Query(queue="listed", page_size=100)
    query.schedule_time_from.FromDatetime(datetime.now(UTC) + timedelta(hours=1.5))
    query.schedule_time_to.FromDatetime(datetime.now(UTC) + timedelta(hours=4.5))
    assert [job.job_id for job in quiet.jobs.ListJobs(query).jobs] == ["28", "27", "26"]


def test_a_page_ends_before_it_is_too_large_for_clients_of_other_languages(quiet: Stubs, queue: str) -> None:
    from tocsin.v1 import job_pb2, payloads_pb2

    for _ in range(6):
        raw = payloads_pb2.RawPayload(body=bytes(1_000_000))
        quiet.jobs.ScheduleJob(request(queue, "noop", raw=raw, delay=3600))
    query = Query(queue=queue, page_size=100, view=job_pb2.Job.FULL)
    sizes, count = [], 0
    while True:
        page = quiet.jobs.ListJobs(query)
        sizes.append(page.ByteSize())
        count += len(page.jobs)
        if not page.next_page_token:
            break
        query.page_token = page.next_page_token
    assert count == 6
    assert max(sizes) <= 3_670_016
