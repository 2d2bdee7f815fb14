"""Cancels that come at the same time go together, and each keeps its own answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from contract.builders import HOUR, SECOND, a_draft, added, claimed_one, completed, read
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import StoreAway, TocsinError
from tocsin_server.domain.job import Job
from tocsin_server.domain.job_errors import JobNotFound, WrongState
from tocsin_server.domain.states import State
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.operations.gathering import CancelledUnsent


@pytest.fixture
def cancelling(spied: SpiedStore) -> CancelJobs:
    return CancelJobs(spied.as_store)


async def cancel(cancelling: CancelJobs, job_id: str, *, queue: str = "q", reason: str = "") -> Job | TocsinError:
    [answer] = await cancelling.cancel(queue, [CancelJob(job_id, reason, "me", 30 * SECOND)])
    return answer


async def test_64_cancels_at_once_use_few_store_calls(spied: SpiedStore, cancelling: CancelJobs) -> None:
    await added(spied.as_store, *(a_draft(str(number), when=HOUR) for number in range(64)))
    answers = await asyncio.gather(*(cancel(cancelling, str(number)) for number in range(64)))
    assert [answer.job_id for answer in answers if isinstance(answer, Job)] == [str(number) for number in range(64)]
    assert spied.calls["cancel"] <= 16
    assert (await read(spied.as_store, "63")).state is State.CANCELLED


async def test_a_lone_cancel_does_not_wait_for_company(spied: SpiedStore) -> None:
    cancelling = CancelJobs(spied.as_store, linger=timedelta(seconds=30))
    await added(spied.as_store, *(a_draft(str(number), when=HOUR) for number in range(3)))
    async with asyncio.timeout(10):
        for number in range(3):
            await cancel(cancelling, str(number))
    assert spied.calls["cancel"] == 3


async def test_each_keeps_its_own_answer(spied: SpiedStore, cancelling: CancelJobs) -> None:
    store = spied.as_store
    await added(store, a_draft("done"))
    await store.finish([completed(await claimed_one(store))])
    await added(store, a_draft("runs"))
    await claimed_one(store)
    await added(store, a_draft("waits"), a_draft("other", queue="r"))
    ids = ("waits", "done", "nowhere", "runs", "waits")
    calls = [*(cancel(cancelling, job_id, reason=job_id) for job_id in ids), cancel(cancelling, "other", queue="r")]
    waits, done, nowhere, runs, again, other = await asyncio.gather(*calls)
    assert isinstance(done, WrongState)
    assert isinstance(nowhere, JobNotFound)
    for job, state in ((waits, State.CANCELLED), (again, State.CANCELLED), (runs, State.ACTIVE)):
        assert isinstance(job, Job)
        assert job.state is state
        assert job.cancel is not None
        assert job.cancel.reason == job.job_id
    assert isinstance(other, Job)
    assert other.queue == "r"


async def test_a_failed_store_call_fails_those_it_carried_and_no_later_one(
    spied: SpiedStore, cancelling: CancelJobs
) -> None:
    await added(spied.as_store, a_draft("a"), a_draft("b"))
    spied.break_with["cancel"] = StoreAway("gone")
    failed = await asyncio.gather(cancel(cancelling, "a"), cancel(cancelling, "b"), return_exceptions=True)
    assert [type(error) for error in failed] == [StoreAway, StoreAway]
    del spied.break_with["cancel"]
    assert isinstance(await cancel(cancelling, "a"), Job)


async def test_a_caller_that_leaves_before_its_cancel_was_sent_takes_it_along(
    spied: SpiedStore, cancelling: CancelJobs
) -> None:
    await added(spied.as_store, *(a_draft(name, when=HOUR) for name in ("first", "leaves", "stays")))
    gate = spied.gates["cancel"] = asyncio.Event()
    first = asyncio.create_task(cancel(cancelling, "first"))
    await spied.until_asked("cancel", 1)
    leaving, staying = (asyncio.create_task(cancel(cancelling, name)) for name in ("leaves", "stays"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(CancelledUnsent):
        await leaving
    gate.set()
    await asyncio.gather(first, staying)
    assert (await read(spied.as_store, "leaves")).state is State.SCHEDULED


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_caller_that_leaves_later_does_not_stop_the_store_call(
    spied: SpiedStore, cancelling: CancelJobs, jobs: int
) -> None:
    await added(spied.as_store, *(a_draft(str(number), when=HOUR) for number in range(jobs)))
    gate = spied.gates["cancel"] = asyncio.Event()
    wishes = [CancelJob(str(number), "", "me", 30 * SECOND) for number in range(jobs)]
    call = asyncio.create_task(cancelling.cancel("q", wishes))
    await spied.until_asked("cancel", 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert not isinstance(caught.value, CancelledUnsent)
    gate.set()
    await cancelling.close()
    assert (await read(spied.as_store, "0")).state is State.CANCELLED
