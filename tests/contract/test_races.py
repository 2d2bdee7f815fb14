"""Several servers at one store, at the same moment: each thing happens once, and all of them see the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.job import Kept, New, OnConflict, Replaced, View
from tocsin_server.domain.job_errors import JobExists
from tocsin_server.domain.lease import Claimed, Finished
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    WISHES,
    a_draft,
    a_query,
    a_request,
    added,
    claimed_one,
    completed,
    failed,
    good,
    listed,
    read,
    released,
    wish,
)
from contract.providers import Provider

SERVERS = 3


@pytest.fixture
async def stores(provider: Provider) -> AsyncIterator[list[JobStore]]:
    """One for each of several servers."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(provider.store()) for _ in range(SERVERS)]


async def all_that_it_gets(store: JobStore, limit: int) -> list[Claimed]:
    """Claim until nothing is left, a few at a time."""
    found: list[Claimed] = []
    while True:
        claim = await store.claim("q", {"t": 1000}, limit, lease=MINUTE, request=a_request())
        found += claim.claimed
        if not claim.claimed and not claim.more:
            return found


async def all_states(store: JobStore) -> Counter[State]:
    """How many jobs are in each state, by looking at them."""
    found: Counter[State] = Counter()
    query = a_query(limit=1000)
    found.update(job.state for job in (await store.page(query)).jobs)
    return found


async def test_each_job_is_leased_once(stores: list[JobStore]) -> None:
    jobs = await added(stores[0], *(a_draft() for _ in range(120)))
    claims = await asyncio.gather(*(all_that_it_gets(store, 7) for store in stores))
    leased = [one for claim in claims for one in claim]
    assert sorted(one.job.job_id for one in leased) == sorted(job.job_id for job in jobs)
    assert {one.lease.attempt for one in leased} == {1}
    assert len({one.lease.token for one in leased}) == len(jobs)
    assert (await stores[0].figures("q")).counts == {State.ACTIVE: {"t": 120}}


async def test_what_comes_due_is_made_waiting_and_leased_once(stores: list[JobStore], backdate: Backdate) -> None:
    jobs = await added(stores[0], *(a_draft(when=HOUR) for _ in range(40)))
    backdate.due(*jobs, by=2 * HOUR)
    claims = await asyncio.gather(*(all_that_it_gets(store, 7) for store in stores))
    leased = [one for claim in claims for one in claim]
    assert sorted(one.job.job_id for one in leased) == sorted(job.job_id for job in jobs)
    # Made WAITING, then ACTIVE: each counts once.
    assert {one.job.revision for one in leased} == {jobs[0].revision + 2}


async def test_of_several_ends_of_one_attempt_one_is_recorded(stores: list[JobStore]) -> None:
    for _ in range(10):
        [job] = await added(stores[0], a_draft())
        one = await claimed_one(stores[0])
        ends = [completed(one), failed(one), completed(one, b"result")]
        answers = await asyncio.gather(*(store.finish([outcome]) for store, outcome in zip(stores, ends, strict=True)))
        recorded: list[Finished] = [good(answer) for [answer] in answers]
        assert [answer.repeated for answer in recorded].count(False) == 1
        stands = await read(stores[0], job)
        assert {answer.state for answer in recorded} == {stands.state}
        assert stands.revision == one.job.revision + 1


@pytest.mark.parametrize("mode", WISHES)
async def test_of_several_jobs_of_one_id_one_is_created(stores: list[JobStore], mode: OnConflict) -> None:
    for number in range(10):
        draft = a_draft(f"{number}", on_conflict=mode, when=HOUR)
        answers = [answer for [answer] in await asyncio.gather(*(store.add([draft]) for store in stores))]
        outcomes = Counter(JobExists if isinstance(answer, JobExists) else type(good(answer)) for answer in answers)
        others = {OnConflict.FAIL: JobExists, OnConflict.KEEP: Kept, OnConflict.REPLACE: Replaced}[mode]
        assert outcomes == {New: 1, others: SERVERS - 1}
    assert await listed(stores[0], a_query()) == [f"{number}" for number in reversed(range(10))]
    assert (await stores[0].figures("q")).counts == {State.SCHEDULED: {"t": 10}}


async def test_a_job_is_either_leased_or_cancelled_before(stores: list[JobStore]) -> None:
    jobs = await added(stores[0], *(a_draft() for _ in range(40)))
    leasing = asyncio.gather(*(all_that_it_gets(store, 5) for store in stores[:2]))
    cancelling = asyncio.gather(*(stores[2].cancel("q", [wish(job)]) for job in reversed(jobs)))
    claims, answers = await leasing, await cancelling
    leased = {one.job.job_id for claim in claims for one in claim}
    for job, [answer] in zip(reversed(jobs), answers, strict=True):
        assert good(answer).job_id == job.job_id
        stands = await read(stores[0], job)
        assert stands.state is (State.ACTIVE if job.job_id in leased else State.CANCELLED)
        assert stands.cancel is not None
    counts = (await stores[0].figures("q")).counts
    assert {state: types["t"] for state, types in counts.items()} == await all_states(stores[0])


async def test_a_lease_that_ran_out_is_taken_back_once(stores: list[JobStore], backdate: Backdate) -> None:
    jobs = await added(stores[0], *(a_draft() for _ in range(30)))
    backdate.lease(*(one.job for one in await all_that_it_gets(stores[0], 30)), by=HOUR)
    assert sum(map(len, await asyncio.gather(*(store.reap("q") for store in stores)))) == 30
    found = await stores[0].get("q", [job.job_id for job in jobs], View.BASIC)
    assert {(job.state, job.crashes) for job in found if job} == {(State.WAITING, 1)}


async def test_an_attempt_that_ends_as_its_lease_does_has_one_outcome(
    stores: list[JobStore], backdate: Backdate
) -> None:
    jobs = await added(stores[0], *(a_draft() for _ in range(20)))
    ones = await all_that_it_gets(stores[0], 20)
    backdate.lease(*(one.job for one in ones), by=HOUR)
    answers, reaped = await asyncio.gather(
        asyncio.gather(*(stores[0].finish([completed(one)]) for one in ones)), stores[1].reap("q")
    )
    recorded = [answer for [answer] in answers if isinstance(answer, Finished)]
    assert len(recorded) + len(reaped) == len(jobs)
    assert await all_states(stores[2]) == +Counter({State.COMPLETED: len(recorded), State.WAITING: len(reaped)})


@pytest.mark.parametrize("scope", [LimitScope.QUEUE, LimitScope.KEY])
async def test_of_jobs_that_come_at_once_no_more_wait_or_run_than_a_limit_takes(
    stores: list[JobStore], scope: LimitScope
) -> None:
    limit = Limit("l", scope, max_active=3, on_full=OnFull.CANCEL_NEW)
    await stores[0].put_settings("q", QueueSettings(limits=(limit,)), paused=False)

    async def add_and_claim(store: JobStore) -> Sequence[Claimed]:
        await added(store, *(a_draft(conditions=Conditions("k")) for _ in range(2)))
        return (await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())).claimed

    ended = 0
    for _ in range(5):
        claims = await asyncio.gather(*(add_and_claim(store) for store in stores))
        states = await all_states(stores[0])
        assert states[State.WAITING] + states[State.ACTIVE] <= 3
        ends = [completed(one) for claimed in claims for one in claimed]
        assert len(ends) == states[State.ACTIVE]
        await asyncio.gather(*(store.finish(ends[at : at + 1]) for at, store in enumerate(stores) if ends[at:]))
        ended += len(ends)
    assert ended > 0
    await asyncio.gather(*(added(store, *(a_draft(conditions=Conditions("k")) for _ in range(3))) for store in stores))
    states = await all_states(stores[0])
    assert states[State.WAITING] == 3
    assert states == {State.WAITING: 3, State.COMPLETED: ended, State.CANCELLED: SERVERS * (5 * 2 + 3) - 3 - ended}


async def test_jobs_that_come_at_once_ask_one_each_to_stop(stores: list[JobStore]) -> None:
    limit = Limit("l", LimitScope.QUEUE, max_active=4, on_full=OnFull.CANCEL_RUNNING)
    await stores[0].put_settings("q", QueueSettings(limits=(limit,)), paused=False)
    await added(stores[0], *(a_draft(f"{i}") for i in range(4)))
    assert len(await all_that_it_gets(stores[0], 9)) == 4
    await asyncio.gather(*(added(store, a_draft()) for store in stores))
    jobs = await stores[0].get("q", [f"{i}" for i in range(4)], View.BASIC)
    assert [job is not None and job.cancel is not None for job in jobs].count(True) == SERVERS


async def test_keys_take_turns_whichever_server_claims(stores: list[JobStore]) -> None:
    await stores[0].put_settings("q", QueueSettings(fair_turns=True), paused=False)
    drafts = [a_draft(conditions=Conditions(key)) for key, jobs in (("a", 20), ("b", 9), ("c", 9)) for _ in range(jobs)]
    await added(stores[0], *drafts)

    async def work(store: JobStore) -> list[str]:
        seen: list[str] = []
        while len(seen) < 5:
            claim = await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())
            seen += [one.job.spec.conditions.limit_key for one in claim.claimed]
            await store.finish([completed(one) for one in claim.claimed])
        return seen

    seen = await asyncio.gather(*(work(store) for store in stores))
    assert Counter(key for of_one in seen for key in of_one) == {"a": 5, "b": 5, "c": 5}


async def test_numbers_are_given_once_and_every_change_is_seen_by_all(stores: list[JobStore]) -> None:
    start = await stores[0].cursor("q")

    async def work(store: JobStore) -> None:
        for _ in range(4):
            await added(store, *(a_draft(when=HOUR) for _ in range(5)))
            await added(store, a_draft())
            claim = await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())
            await store.finish([released(one) for one in claim.claimed])

    await asyncio.gather(*(work(store) for store in stores))

    jobs = (await stores[0].page(a_query(limit=1000))).jobs
    assert len({job.arrival for job in jobs}) == len(jobs) == SERVERS * 4 * 6
    seen = []
    for store in stores:
        cursor = start
        revisions: dict[str, int] = {}
        while (batch := await store.events("q", cursor, wait=NOW)).events:
            assert not batch.gap
            cursor = batch.cursor
            for event in batch.events:  # none is missed, and none comes twice
                assert event.job.revision == revisions.get(event.job.job_id, 0) + 1, (
                    "a change was missed, or came twice"
                )
                revisions[event.job.job_id] = event.job.revision
        assert revisions == {job.job_id: job.revision for job in jobs}
        assert not (await store.events("q", cursor, wait=timedelta(milliseconds=1))).gap
        seen.append(cursor)
    assert len(set(seen)) == 1
