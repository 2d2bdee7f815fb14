"""What a poll was given and could not hand over goes back, and spends no attempt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from contract.builders import SECOND, a_draft, added, read
from support.eventually import until_async
from support.running_leasing import Parts, StartParts
from support.spied_store import SpiedStore
from tocsin_server.domain.job import Job
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import State
from tocsin_server.domain.workers import Ask, Poll, WorkerIdentity
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.working.admission import Admission
from tocsin_server.operations.working.handing_back import HandingBack
from tocsin_server.operations.working.polling import Polling

POLL = Poll(WorkerIdentity("w1"), (Ask("q", frozenset({"t"}), 5),), 30 * SECOND, timedelta(seconds=30))


@pytest.fixture
async def polling(spied: SpiedStore, start_parts: StartParts) -> AsyncIterator[Polling]:
    made: list[Polling] = []

    def make(parts: Parts) -> None:
        store = spied.as_store
        admission = Admission(QueueSettingsCache(store), parts.wakeups, parts.ticker)
        made.append(Polling(store, parts.leasing, admission, HandingBack(store, parts.finishing), lambda: None))

    async with start_parts(before=make):
        yield made[0]
        await made[0].close()


async def lost_on_the_way(polling: Polling, poll: Poll) -> list[Claimed]:
    """What a poll was given, and could not be sent."""
    given: list[Claimed] = []
    with contextlib.suppress(ConnectionError):
        async with polling.leased(poll, None) as claimed:
            given += claimed
            raise ConnectionError
    return given


async def given_back(spied: SpiedStore, job: Job) -> None:
    async def is_back() -> bool:
        now = await read(spied.as_store, job)
        return (now.state, now.attempt, now.failures, now.crashes) == (State.WAITING, 1, 0, 0)

    await until_async(is_back, within=5)


async def test_jobs_that_could_not_be_handed_over_go_back(spied: SpiedStore, polling: Polling) -> None:
    [job] = await added(spied.as_store, a_draft(queue="q", type="t"))
    assert len(await lost_on_the_way(polling, POLL)) == 1
    await given_back(spied, job)


async def test_jobs_that_came_in_the_moment_of_a_cancel_go_back(spied: SpiedStore, polling: Polling) -> None:
    async def wait() -> None:
        async with polling.leased(POLL, None):
            pytest.fail("it was cancelled before")

    first = asyncio.ensure_future(spied.until_called("claim", 1))
    waiting = asyncio.ensure_future(wait())
    await first  # it brings nothing
    second = asyncio.ensure_future(spied.until_called("claim", 1))
    [job] = await added(spied.as_store, a_draft(queue="q", type="t"))
    await second  # its job is handed to the poll, which has not run since
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await given_back(spied, job)


async def test_a_named_request_that_is_given_its_jobs_again_keeps_them(spied: SpiedStore, polling: Polling) -> None:
    [job] = await added(spied.as_store, a_draft(queue="q", type="t"))
    poll = Poll(POLL.worker, POLL.asks, POLL.lease, POLL.wait, request_id="wish")
    async with polling.leased(poll, None) as claimed:
        [first] = claimed
    assert [one.lease for one in await lost_on_the_way(polling, poll)] == [first.lease]
    assert (await read(spied.as_store, job)).state is State.ACTIVE
