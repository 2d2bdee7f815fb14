"""Watches outlive cuts and say where changes were missed; wait() returns the ended job."""

from __future__ import annotations

import itertools

import grpc
import pytest
from support.ports import free_port
from tocsin import AsyncClient, JobChange, NotFound, State, Unavailable, View, WaitTimeout
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb
from unit.client.canned_server import AWAY, NOT_FOUND, UNKNOWN_OUTCOME, CannedJobService, a_job, refusal, said

S = job_pb2.Job.State
CUT = refusal(grpc.StatusCode.UNAVAILABLE)
GAP = pb.WatchJobsResponse(cursor="9", gap=pb.WatchJobsResponse.Gap())


def seen(changes: list[JobChange]) -> list[str]:
    """Changes in a few letters: state and revision, or what else they are."""
    letters = []
    for change in changes:
        if change.job is None:
            letters.append(f"gap {change.cursor}".strip())
        else:
            letters.append("deleted" if change.deleted else f"{change.job.state} {change.job.revision}")
    return letters


async def collect(client: AsyncClient, job_id: str = "a") -> list[str]:
    return seen([change async for change in client.watch(job_id)])


async def test_a_watch_of_a_job_ends_with_its_end(client: AsyncClient, service: CannedJobService) -> None:
    service.watches = iter([[said(a_job(state=S.WAITING)), said(a_job(state=S.COMPLETED, revision=2))]])
    assert await collect(client) == ["WAITING 1", "COMPLETED 2"]


@pytest.mark.parametrize("cut", [CUT, AWAY, UNKNOWN_OUTCOME], ids=["cut", "away", "unknown"])
async def test_a_cut_is_mended_and_nothing_is_shown_twice(
    cut: object, client: AsyncClient, service: CannedJobService
) -> None:
    service.watches = iter(
        [
            [said(a_job()), cut],  # type: ignore[list-item]  # parametrized
            [said(a_job()), cut],  # type: ignore[list-item]  # parametrized
            [said(a_job(state=S.FAILED, revision=5))],
        ]
    )
    assert await collect(client) == ["WAITING 1", "FAILED 5"]
    assert {request.job_id for request in service.asked("WatchJobs")} == {"a"}


async def test_a_stream_that_ends_before_the_job_does_is_opened_again(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.watches = iter([[said(a_job())], [said(a_job(state=S.CANCELLED, revision=2))]])
    assert await collect(client) == ["WAITING 1", "CANCELLED 2"]


async def test_at_a_gap_the_job_is_read_again(client: AsyncClient, service: CannedJobService) -> None:
    service.jobs["a"] = a_job(state=S.ACTIVE, revision=4)
    late = [said(a_job(revision=3)), said(a_job(state=S.ACTIVE, revision=4))]  # known already when they come
    service.watches = iter([[said(a_job()), GAP, *late, said(a_job(state=S.COMPLETED, revision=5))]])
    assert await collect(client) == ["WAITING 1", "ACTIVE 4", "COMPLETED 5"]


async def test_a_job_that_went_in_a_gap_or_a_cut_is_told_as_deleted(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.watches = iter([[said(a_job()), GAP]])
    assert await collect(client) == ["WAITING 1", "deleted"]
    service.watches = iter([[said(a_job()), CUT], [NOT_FOUND]])
    assert await collect(client) == ["WAITING 1", "deleted"]


async def test_another_job_of_the_same_id_is_news(client: AsyncClient, service: CannedJobService) -> None:
    other = a_job(state=S.COMPLETED, revision=1)
    other.create_time.seconds += 60
    service.watches = iter([[said(a_job(revision=7)), CUT], [said(other)]])
    assert await collect(client) == ["WAITING 7", "COMPLETED 1"]


async def test_an_unknown_job_is_not_found(client: AsyncClient, service: CannedJobService) -> None:
    service.watches = itertools.repeat([NOT_FOUND])
    with pytest.raises(NotFound):
        await collect(client)
    with pytest.raises(NotFound):
        await client.wait("a")


async def test_a_filter_goes_on_after_its_last_cursor(client: AsyncClient, service: CannedJobService) -> None:
    service.watches = iter([[said(a_job("a"), "1"), said(a_job("b"), "2"), CUT], [said(a_job("c"), "3"), CUT]])
    changes = client.watch(types=["noop"], states=["WAITING"], queue="q")
    found = [await anext(changes) for _ in range(3)]
    await changes.aclose()
    assert [change.job and change.job.job_id for change in found] == ["a", "b", "c"]
    first, second = service.asked("WatchJobs")
    assert (first.cursor, second.cursor) == ("", "2")
    second.cursor = ""
    assert first == second == pb.WatchJobsRequest(queue="q", states=[S.WAITING], types=["noop"], send_start=True)


async def test_a_cut_before_the_first_cursor_is_told_as_a_gap_once_the_watch_stands_again(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.failing = iter([AWAY])  # before the watch ever stood: nothing is missed
    service.watches = iter([[CUT], [said(a_job(), "1")]])
    changes = client.watch()
    assert seen([await anext(changes) for _ in range(2)]) == ["gap", "WAITING 1"]
    await changes.aclose()


async def test_a_cut_before_the_first_change_misses_nothing_where_the_server_says_where_a_watch_begins(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.watches = iter([[pb.WatchJobsResponse(cursor="7"), CUT], [said(a_job(), "8")]])
    changes = client.watch()
    assert seen([await anext(changes)]) == ["WAITING 1"]
    await changes.aclose()
    assert [request.cursor for request in service.asked("WatchJobs")] == ["", "7"]


async def test_a_gap_that_the_server_tells_is_handed_on(client: AsyncClient, service: CannedJobService) -> None:
    service.watches = iter([[GAP, said(a_job(), "10"), CUT]])
    changes = client.watch(cursor="5")
    assert seen([await anext(changes) for _ in range(2)]) == ["gap 9", "WAITING 1"]
    await changes.aclose()


async def test_a_server_that_is_never_reached_ends_the_watch_with_the_deadline() -> None:
    async with AsyncClient(f"127.0.0.1:{free_port()}", deadline=0.3) as client:
        with pytest.raises(Unavailable):
            await collect(client)


async def test_with_retries_off_a_cut_ends_the_watch(address: str, service: CannedJobService) -> None:
    service.watches = iter([[said(a_job()), CUT]])
    async with AsyncClient(address, retries=False) as client:
        changes = client.watch("a")
        await anext(changes)
        with pytest.raises(Unavailable):
            await anext(changes)


async def test_wait_returns_the_ended_job_whole(client: AsyncClient, service: CannedJobService) -> None:
    service.jobs["a"] = a_job(state=S.COMPLETED, revision=2)
    service.jobs["a"].result.data.struct_value["bytes"] = 5
    service.watches = iter([[said(a_job()), CUT], [said(a_job(state=S.COMPLETED, revision=2))]])
    job = await client.wait("a")
    assert (job.state, job.view, job.result) == (State.COMPLETED, View.FULL, {"bytes": 5})


async def test_wait_returns_a_job_that_was_trimmed_at_its_end_as_it_was_seen(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.watches = iter([[said(a_job(state=S.COMPLETED, revision=2))]])
    job = await client.wait("a")
    assert (job.state, job.view) == (State.COMPLETED, View.BASIC)


async def test_wait_for_a_job_that_is_deleted_is_not_found(client: AsyncClient, service: CannedJobService) -> None:
    service.watches = iter([[said(a_job()), pb.WatchJobsResponse(job=a_job(), deleted=True)]])
    with pytest.raises(NotFound, match="deleted while"):
        await client.wait("a")


async def test_wait_gives_up_in_time_and_says_how_the_job_was(client: AsyncClient, service: CannedJobService) -> None:
    service.watches = itertools.repeat([said(a_job(state=S.ACTIVE))])
    with pytest.raises(WaitTimeout, match="it was ACTIVE") as caught:
        await client.wait("a", timeout=0.3)
    assert caught.value.job is not None
    assert caught.value.job.state is State.ACTIVE
