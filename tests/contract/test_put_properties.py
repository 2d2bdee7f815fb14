"""JobStore.put: any job stands as it stood elsewhere, and a queue that was moved goes on as it would have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields, replace
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tocsin_server.domain.filters import Order
from tocsin_server.domain.job import Job, Payload, Put, View
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.interface import JobStore

from contract import strategies
from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    RAW,
    a_job,
    a_query,
    claimed,
    listed,
    pages,
    placed,
)
from contract.properties import a_queue, bounded
from contract.providers import Flavour, Provider, flavours
from contract.test_properties_paging import VERBS, Storm

CREATED, KEPT, SAME, REPLACED = Put.CREATED, Put.KEPT, Put.SAME, Put.REPLACED
TYPES = ["t", "u"]
LARGE = a_job("large", arrival=3, payload=Payload(RAW, bytes(range(250)) * 800))


@pytest.fixture
def other_provider(flavour: Flavour, providers: Callable[[Flavour], Provider]) -> Provider:
    """The next flavour's, emptied."""
    all_of_them = flavours()
    at = [one.name for one in all_of_them].index(flavour.name)
    provider = providers(all_of_them[(at + 1) % len(all_of_them)])
    provider.clear()
    return provider


@pytest.fixture
async def other_store(other_provider: Provider) -> AsyncIterator[JobStore]:
    """An opened store of another product."""
    async with other_provider.store() as store:
        yield store


def in_queue(job: Job, queue: str) -> Job:
    return replace(job, spec=replace(job.spec, queue=queue))


async def whole(store: JobStore, queue: str) -> list[Job]:
    """The queue's jobs, newest first."""
    return [job for page in await pages(store, a_query(queue=queue, limit=7, view=View.FULL)) for job in page.jobs]


@bounded(150)
@given(jobs=st.lists(strategies.jobs(), min_size=1, max_size=5))
@example(jobs=[LARGE])
async def test_any_job_is_read_as_it_was_placed(store: JobStore, provider: Provider, jobs: list[Job]) -> None:
    queue = a_queue(provider)
    jobs = [in_queue(job, queue) for job in jobs]
    first = {job.job_id: job for job in reversed(jobs)}
    answers = await placed(store, *jobs)
    assert answers.count(CREATED) == len(first)
    found = await store.get(queue, list(first), View.FULL)
    free: dict[int, str] = {}
    for job in jobs:
        if job is first[job.job_id] and job.arrival:
            free.setdefault(job.arrival, job.job_id)
    for job, stands in zip(first.values(), found, strict=True):
        assert stands is not None
        assert replace(stands, arrival=0) == replace(job, arrival=0)
        if free.get(job.arrival) == job.job_id:
            assert stands.arrival == job.arrival
    assert [job.arrival for job in await whole(store, queue)] == sorted(
        {stands.arrival for stands in found if stands is not None}, reverse=True
    )
    assert await placed(store, *first.values()) == [KEPT] * len(first)
    assert await placed(store, *first.values(), over=True) == [SAME] * len(first)


@bounded(150)
@given(one=strategies.jobs(), other=strategies.jobs(), data=st.data())
async def test_what_differs_in_anything_is_replaced(
    store: JobStore, provider: Provider, one: Job, other: Job, data: st.DataObject
) -> None:
    """Two jobs of one id that differ in a few fields, mostly in one."""
    queue = a_queue(provider)
    of_life = [field.name for field in fields(Job) if field.name not in ("job_id", "spec", "arrival", "state")]
    of_spec = [field.name for field in fields(one.spec) if field.name != "queue"]
    taken = data.draw(st.lists(st.sampled_from(of_life + of_spec), min_size=1, max_size=2), label="differs in")
    # No job has an end before it has ended; and one that has must.
    if one.state not in ENDED or other.end_time is None:
        taken = [name for name in taken if name != "end_time"]
    one = in_queue(one, queue)
    spec = replace(one.spec, **{name: getattr(other.spec, name) for name in taken if name in of_spec})
    new = replace(one, spec=spec, **{name: getattr(other, name) for name in taken if name in of_life})

    await placed(store, one)
    assert await placed(store, new, over=True) == [SAME if new == one else REPLACED]
    [stands] = await whole(store, queue)
    assert replace(stands, arrival=0) == replace(new, arrival=0)
    assert await placed(store, one, new, over=True) == [SAME if new == one else REPLACED] * 2
    assert (await store.figures(queue)).counts == {new.state: {new.spec.type: 1}}


@bounded(60)
@given(jobs=st.lists(strategies.jobs(), min_size=1, max_size=5, unique_by=lambda job: job.job_id))
async def test_jobs_that_went_to_another_store_and_back_are_the_same(
    store: JobStore, provider: Provider, other_store: JobStore, other_provider: Provider, jobs: list[Job]
) -> None:
    queue = a_queue(provider)
    other_provider.clear()
    await placed(store, *(in_queue(job, queue) for job in jobs))
    here = await whole(store, queue)
    assert await placed(other_store, *here) == [CREATED] * len(here)
    there = await whole(other_store, queue)
    assert there == here
    assert await placed(store, *there, over=True) == [SAME] * len(here)
    assert await store.delete(queue, [job.job_id for job in here], ended_only=False) == [None] * len(here)
    assert await placed(store, *there) == [CREATED] * len(here)
    assert await whole(store, queue) == here


async def settled(store: JobStore, backdate: Backdate, queue: str, chance: Random) -> None:
    """No job runs any more, some are due unnoticed, and no two ended at the same time."""
    jobs = await whole(store, queue)
    now, minutes = await store.ping(), chance.sample(range(1, 3_000), len(jobs))
    for job, back in zip(jobs, minutes, strict=True):
        if job.state is State.ACTIVE:
            backdate.lease(job, by=24 * HOUR)
        elif job.state in ENDED:
            backdate.end(job, by=back * MINUTE)
        elif job.state is State.SCHEDULED and back % 2:
            backdate.due(job, by=job.schedule_time - now + back * MINUTE)
    running = [job for job in jobs if job.state is State.ACTIVE]
    assert len(await store.reap(queue, limit=1_000)) == len(running)


async def move(source: JobStore, target: JobStore, queue: str) -> None:
    """As a server would: page by page, whatever the pages' order."""
    for page in await pages(source, a_query(queue=queue, limit=7)):
        found = await source.get(queue, [job.job_id for job in page.jobs], View.FULL)
        jobs = [job for job in found if job is not None]
        assert await placed(target, *jobs) == [CREATED] * len(jobs)


async def seen(store: JobStore, queue: str) -> list[object]:
    """All that a store says of a queue that must not depend on where it came from."""
    figures, tick = await store.figures(queue), (await store.ticks([queue]))[queue]
    lists = [
        await listed(store, a_query(queue=queue, limit=3)),
        await listed(store, a_query(queue=queue, limit=4, order=Order.SOONEST)),
        await listed(store, a_query(queue=queue, limit=5, tags={"k": "v"})),
        *[await listed(store, a_query(queue=queue, states=frozenset({state}))) for state in State],
        *[await listed(store, a_query(queue=queue, types=frozenset({kind}), skip=1)) for kind in TYPES],
    ]
    return [figures.counts, figures.oldest_waiting, tick.next_due, tick.next_expiry, tick.next_lease_end, *lists]


async def trimmed(store: JobStore, queue: str) -> list[str]:
    """Ids in the order in which they are trimmed."""
    order, left = [], await listed(store, a_query(queue=queue))
    while await store.trim(queue, completed_max=0, failed_max=0, limit=1):
        now = await listed(store, a_query(queue=queue))
        order += [job_id for job_id in left if job_id not in now]
        left = now
    return order


@bounded(30)
@given(
    number=st.integers(1, 30),
    spread=st.integers(1, 3),
    verbs=st.lists(st.tuples(st.sampled_from(VERBS), st.floats(0, 1, exclude_max=True)), max_size=40),
    chance=st.randoms(use_true_random=False),
)
async def test_a_queue_that_was_moved_goes_on_as_it_would_have(
    store: JobStore,
    provider: Provider,
    backdate: Backdate,
    other_store: JobStore,
    other_provider: Provider,
    number: int,
    spread: int,
    verbs: Sequence[tuple[str, float]],
    chance: Random,
) -> None:
    queue = a_queue(provider)
    other_provider.clear()
    storm = Storm(store, queue)
    await storm.add(number, spread)
    for verb, share in verbs:
        await storm.strike(verb, share)
    await settled(store, backdate, queue, chance)

    await move(store, other_store, queue)
    assert await whole(other_store, queue) == await whole(store, queue)
    assert await seen(other_store, queue) == await seen(store, queue)
    assert await trimmed(other_store, queue) == await trimmed(store, queue)
    claims = [await claimed(one, queue=queue, types=TYPES) for one in (store, other_store)]
    here, there = ([(one.job.job_id, one.lease.attempt) for one in claim] for claim in claims)
    assert there == here
