"""JobStore.put: arrival numbers, ids that hold one, batches, and several servers at once."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from tocsin_server.domain.errors import OutcomeUnknown, TocsinError
from tocsin_server.domain.job import OnConflict, Put, Replaced, View
from tocsin_server.domain.job_errors import JobExists
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    a_draft,
    a_job,
    a_query,
    added,
    cancelled,
    good,
    listed,
    outcomes,
    placed,
    read,
    refused,
)
from contract.conftest import Contents
from contract.providers import Provider

CREATED, KEPT, SAME, REPLACED = Put.CREATED, Put.KEPT, Put.SAME, Put.REPLACED


async def arrival(store: JobStore, job_id: str) -> int:
    return (await read(store, job_id)).arrival


# --- numbers ---


async def test_an_arrival_that_is_free_is_kept_whatever_comes_first(store: JobStore) -> None:
    numbers = [900, 7, 300, 1, 901, 256, 255]
    await placed(store, *(a_job(f"{number}", arrival=number) for number in numbers))
    assert [await arrival(store, f"{number}") for number in numbers] == numbers
    assert await listed(store, a_query(limit=2)) == [f"{number}" for number in sorted(numbers, reverse=True)]


async def test_an_arrival_that_another_job_has_gives_way_to_the_next_one(store: JobStore) -> None:
    [here] = await added(store, a_draft("here"))
    await placed(store, a_job("b", arrival=8), a_job("a", arrival=here.arrival), a_job("c", arrival=8))
    assert (await arrival(store, "here"), await arrival(store, "b")) == (here.arrival, 8)
    assert await listed(store, a_query(limit=1)) == ["c", "a", "b", "here"]


async def test_a_job_that_needs_an_arrival_takes_none_that_another_brings(store: JobStore) -> None:
    jobs = [a_job(f"{n}", arrival=n if n % 3 else 0) for n in range(1, 301)]
    await placed(store, *jobs)
    brought = [job for job in jobs if job.arrival]
    assert await store.get("q", [job.job_id for job in brought], View.FULL) == brought
    assert await listed(store, a_query(limit=99)) == [
        *(f"{n}" for n in range(300, 0, -3)),
        *(job.job_id for job in reversed(brought)),
    ]


async def test_jobs_without_an_arrival_take_the_next_ones_in_order(store: JobStore) -> None:
    await added(store, a_draft("first"))
    await placed(store, a_job("b"), a_job("a"), a_job("c"))
    assert await listed(store, a_query()) == ["c", "a", "b", "first"]


async def test_jobs_added_later_arrive_after_all_that_were_placed(store: JobStore) -> None:
    await placed(store, a_job("high", arrival=5_000), a_job("low", arrival=2))
    [later] = await added(store, a_draft("later"))
    assert later.arrival > 5_000
    await placed(store, a_job("lower", arrival=1))
    [last] = await added(store, a_draft("last"))
    assert last.arrival > later.arrival
    assert await listed(store, a_query()) == ["last", "later", "high", "low", "lower"]


async def test_an_arrival_so_high_that_few_are_left_is_not_kept(store: JobStore) -> None:
    await placed(store, a_job("a", arrival=(1 << 47) + 1), a_job("b", arrival=(1 << 48) - 1), a_job("c", arrival=5))
    assert await listed(store, a_query()) == ["b", "a", "c"]
    assert await arrival(store, "b") < 10


async def test_a_number_that_came_free_is_free(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(f"{n}") for n in range(3)))
    await store.delete("q", ["1"], ended_only=False)
    await placed(store, a_job("a", arrival=jobs[1].arrival))
    assert await listed(store, a_query()) == ["2", "a", "0"]


async def test_a_number_that_comes_free_within_a_call_is_free(store: JobStore) -> None:
    await placed(store, a_job("a", arrival=5), a_job("b", arrival=6))
    jobs = a_job("a", arrival=9), a_job("c", arrival=5), a_job("b", arrival=3), a_job("a", arrival=6)
    assert await placed(store, *jobs, over=True) == [REPLACED, CREATED, REPLACED, REPLACED]
    assert {name: await arrival(store, name) for name in "abc"} == {"a": 6, "b": 3, "c": 5}
    assert await listed(store, a_query()) == ["a", "c", "b"]


async def test_an_arrival_counts_only_where_one_is_given_that_is_free(store: JobStore) -> None:
    await placed(store, a_job("a", arrival=5), a_job("b", arrival=6))
    assert await placed(store, a_job("a", arrival=6), a_job("a"), a_job("a", arrival=5), over=True) == [SAME] * 3
    assert await placed(store, a_job("a", arrival=4), over=True) == [REPLACED]
    assert await arrival(store, "a") == 4


async def test_without_an_arrival_another_job_of_the_same_id_comes_last(store: JobStore) -> None:
    await placed(store, a_job("a", arrival=5), a_job("b", arrival=6))
    assert await placed(store, a_job("a", priority=1), over=True) == [REPLACED]
    assert await listed(store, a_query()) == ["a", "b"]


# --- ids ---


async def test_an_id_made_elsewhere_is_found_whichever_arrival_it_has_here(store: JobStore) -> None:
    """It holds the arrival that it had there, under which another job may stand here."""
    made = await added(store, *(a_draft(queue="there") for _ in range(3)))
    jobs = [replace(job, spec=replace(job.spec, queue="q")) for job in made]
    await placed(store, a_job("mine", arrival=made[0].arrival))
    assert await placed(store, *jobs) == [CREATED] * 3
    assert [job.arrival for job in jobs[1:]] == [await arrival(store, job.job_id) for job in jobs[1:]]
    for job in jobs:
        assert replace(await read(store, job), arrival=0) == replace(job, arrival=0)
        assert await placed(store, job) == [KEPT]
        again = a_draft(job.job_id)
        assert refused((await store.add([again]))[0], JobExists).state is State.WAITING
        assert (await cancelled(store, job)).state is State.CANCELLED
        assert await placed(store, job, over=True) == [REPLACED]
        assert await outcomes(store, replace(again, on_conflict=OnConflict.REPLACE)) == [Replaced]
        assert await store.delete("q", [job.job_id], ended_only=False) == [None]
        assert await store.get("q", [job.job_id], View.BASIC) == [None]
        assert await placed(store, job) == [CREATED]
    assert (await store.figures("q")).total(State.WAITING) == 4


async def test_an_id_that_was_made_here_keeps_being_found_when_its_arrival_changes(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    moved = replace(await read(store, job), arrival=50)
    assert await placed(store, moved, over=True) == [REPLACED]
    assert await read(store, job) == moved
    back = replace(moved, arrival=job.arrival)
    assert await placed(store, a_job("other", arrival=job.arrival), back, back, over=True) == [CREATED, SAME, SAME]
    assert (await store.figures("q")).total(State.WAITING) == 2


async def test_ids_that_look_as_if_made_here_are_ids_like_others(store: JobStore) -> None:
    ids = [
        "01945a2b-0000-8000-8000-000000000001",
        "01945A2B-0000-8000-8000-000000000002",
        "01945a2b-0000-8000-8000-ffffffffffff",
        "01945a2b-0000-8000-8000-00000000000",
    ]
    jobs = [a_job(job_id, arrival=number) for number, job_id in enumerate(ids, start=1)]
    assert await placed(store, *jobs, *jobs) == [CREATED] * 4 + [KEPT] * 4
    assert await placed(store, *jobs, over=True) == [SAME] * 4
    assert await store.get("q", ids, View.FULL) == jobs
    assert await store.delete("q", ids, ended_only=False) == [None] * 4
    assert await store.get("q", ids, View.BASIC) == [None] * 4


# --- batches ---


async def test_several_jobs_of_one_id_are_taken_in_order(store: JobStore) -> None:
    jobs = [a_job("a", priority=n) for n in (1, 1, 2, 2, 3)]
    assert await placed(store, *jobs) == [CREATED, KEPT, KEPT, KEPT, KEPT]
    assert (await read(store, "a")).spec.priority == 1
    assert await placed(store, *jobs, over=True) == [SAME, SAME, REPLACED, SAME, REPLACED]
    assert (await read(store, "a")).spec.priority == 3
    assert (await store.figures("q")).total(State.WAITING) == 1


async def test_several_jobs_of_one_made_id_are_taken_in_order(store: JobStore) -> None:
    [made] = await added(store, a_draft(queue="there"))
    jobs = [a_job(made.job_id, arrival=made.arrival, priority=n) for n in (0, 0, 1)]
    assert await placed(store, *jobs, over=True) == [CREATED, SAME, REPLACED]
    assert await read(store, made.job_id) == jobs[-1]
    assert (await store.figures("q")).total(State.WAITING) == 1


async def test_a_large_batch_over_several_queues_is_answered_in_the_order_asked(store: JobStore) -> None:
    body = random.Random(1).randbytes(9_000)
    jobs = [
        a_job(f"{n}", queue=f"q{n * 7 % 3}", priority=n, body=body + bytes([n % 256]), arrival=2_000 - n)
        for n in range(600)
    ]
    assert await placed(store, *jobs[::50]) == [CREATED] * 12
    assert await placed(store, *jobs, over=True) == [CREATED if n % 50 else SAME for n in range(600)]
    for queue in ("q0", "q1", "q2"):
        mine = [job for job in jobs if job.queue == queue]
        assert await store.get(queue, [job.job_id for job in mine], View.FULL) == mine
        assert await listed(store, a_query(queue=queue, limit=77)) == [job.job_id for job in mine]


async def test_no_jobs_are_placed_at_once(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.put([], over=True) == []
    assert contents() == before


# --- several servers ---


async def test_the_same_jobs_placed_by_several_servers_stand_once(provider: Provider, store: JobStore) -> None:
    jobs = [a_job(f"{n}", arrival=n + 1) for n in range(120)]
    async with provider.store() as other:
        found = await asyncio.gather(*(one.put(jobs, over=True) for one in (store, other, store, other)))
    for answers in zip(*found, strict=True):
        assert sorted(map(good, answers)) == [CREATED, SAME, SAME, SAME]
    assert await store.get("q", [job.job_id for job in jobs], View.FULL) == jobs
    assert (await store.figures("q")).total(State.WAITING) == 120


async def test_no_two_jobs_get_one_arrival_whoever_places_and_adds_them(provider: Provider, store: JobStore) -> None:
    async with provider.store() as other:

        async def add() -> None:
            for n in range(8):
                await added(other, *(a_draft(f"new-{n}-{m}") for m in range(10)))

        async def put(one: JobStore, name: str) -> None:
            for n in range(5, 0, -1):
                await placed(one, *(a_job(f"{name}-{n}-{m}", arrival=n * 20 + m) for m in range(20)))

        await placed(store, a_job("above them all", arrival=200))
        await asyncio.gather(put(store, "a"), put(other, "b"), add(), put(store, "c"))
    numbers = [job.arrival for job in (await store.page(a_query(limit=1_000))).jobs]
    assert len(numbers) == 381
    assert numbers == sorted(set(numbers), reverse=True)


async def test_one_id_replaced_by_several_servers_is_one_of_theirs(provider: Provider, store: JobStore) -> None:
    async with provider.store() as other:
        await placed(store, a_job())

        async def put(one: JobStore, first: int) -> list[Put | TocsinError]:
            return [answer for n in range(8) for answer in await one.put([a_job(priority=first + 2 * n)], over=True)]

        found = await asyncio.gather(put(store, 1), put(other, 2))
    answers = [answer for answers in found for answer in answers]
    assert {good(answer) for answer in answers if not isinstance(answer, OutcomeUnknown)} == {REPLACED}
    job = await read(store, "a")
    assert job == replace(a_job(priority=job.spec.priority), arrival=job.arrival)
    assert (await store.figures("q")).total(State.WAITING) == 1
