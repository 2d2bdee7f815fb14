"""JobStore.explain: it says what claims do."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from tocsin_server.domain.explaining import Outlook
from tocsin_server.domain.job import Put, View
from tocsin_server.domain.lease import Extended, Extension
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    LATER,
    MILLISECOND,
    MINUTE,
    SECOND,
    a_draft,
    a_job,
    added,
    cancelled,
    claimed,
    claimed_one,
    placed,
    read,
    standing,
)
from contract.conftest import Contents


async def outlook(store: JobStore, job_id: str = "a") -> Outlook:
    [found] = await store.explain("q", [job_id])
    assert found is not None
    return found


async def test_of_no_job_nothing_is_said(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.explain("q", []) == []
    assert await store.explain("q", ["a", "b"]) == [None, None]
    assert contents() == before


@pytest.mark.parametrize("state", [State.SCHEDULED, State.ACTIVE, State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_of_a_job_that_nobody_could_claim_no_place_is_said(store: JobStore, state: State) -> None:
    job, _ = await standing(store, state, "a")
    found = await outlook(store)
    assert found.job == await read(store, "a", View.BASIC)
    assert found.ahead is None
    assert found.paused_since is None
    assert (found.lease_end is not None) == (state is State.ACTIVE)
    assert job.create_time <= found.now <= await store.ping()


async def test_a_blocked_job_has_no_place(store: JobStore) -> None:
    assert await placed(store, a_job("a", state=State.BLOCKED)) == [Put.CREATED]
    found = await outlook(store)
    assert (found.job.state, found.ahead) == (State.BLOCKED, None)


async def test_the_lease_of_a_running_job_ends_when_the_store_says(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    [answer] = await store.extend([Extension(one.lease)], HOUR)
    assert isinstance(answer, Extended)
    assert (await outlook(store)).lease_end == answer.lease_end
    await cancelled(store, one.job, grace=SECOND)
    lease_end = (await outlook(store)).lease_end
    assert lease_end is not None
    assert lease_end < answer.lease_end


async def test_a_paused_queue_says_so(store: JobStore) -> None:
    await added(store, a_draft("a"))
    settings = await store.put_settings("q", QueueSettings(), paused=True)
    found = await outlook(store)
    assert found.paused_since == settings.paused_since is not None
    assert found.ahead == 0


async def test_places_are_those_in_which_jobs_are_claimed(store: JobStore, backdate: Backdate) -> None:
    chance = random.Random(7)
    drafts = [a_draft(f"{number}", priority=chance.randrange(3), type=chance.choice("tu")) for number in range(60)]
    await added(store, *drafts)
    for number in range(60, 75):
        [due] = await added(store, a_draft(f"{number}", priority=number % 3, type=chance.choice("tu"), when=HOUR))
        backdate.due(due, by=HOUR + timedelta(seconds=number))
    ids = [f"{number}" for number in range(75)]
    said = {one.job.job_id: one.ahead for one in await store.explain("q", ids) if one is not None}
    assert len(said) == 75
    for type_ in "tu":
        order = [one.job.job_id for one in await claimed(store, types=(type_,))]
        assert [said[job_id] for job_id in order] == list(range(len(order)))


async def test_a_place_is_found_among_very_many(store: JobStore) -> None:
    await added(store, *(a_draft(f"{number}") for number in range(700)))
    found = await store.explain("q", ["0", "150", "699"])
    assert [one and one.ahead for one in found] in ([0, 150, 699], [0, 150, None])


async def test_where_very_many_are_due_at_once_no_place_is_said(store: JobStore, backdate: Backdate) -> None:
    jobs = await added(store, *(a_draft(f"{number}", when=HOUR, priority=1) for number in range(101)))
    await added(store, a_draft("a"))
    backdate.due(*jobs[:100], by=HOUR + MINUTE)
    assert (await outlook(store)).ahead == 100
    backdate.due(jobs[100], by=HOUR + MINUTE)
    assert (await outlook(store)).ahead is None


async def test_a_job_due_later_is_not_ahead(store: JobStore) -> None:
    await added(store, a_draft("later", when=LATER, priority=9), a_draft("soon", when=HOUR, priority=9), a_draft("a"))
    assert [one and one.ahead for one in await store.explain("q", ["later", "soon", "a"])] == [None, None, 0]


async def test_many_are_explained_in_order(store: JobStore) -> None:
    await added(store, *(a_draft(f"{number}", when=number * MILLISECOND + HOUR) for number in range(120)))
    ids = [f"{number}" for number in range(130)]
    found = await store.explain("q", ids)
    assert [one and one.job.job_id for one in found] == [*ids[:120], *[None] * 10]
