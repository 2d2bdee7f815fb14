"""A primary that steps down inside a command has done what came first: nothing is said not to have been sent, and what
is repeated acts once.

The step down is simulated: the server does the first statements alone, and the client hears of a step down. With no
primary there for a while the server really steps down; else its clients find it a primary again, as after an election.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta

import pytest
from contract.builders import (
    HOUR,
    MINUTE,
    a_draft,
    a_query,
    a_request,
    added,
    claimed,
    completed,
    finished,
    outcomes,
    read,
    released,
    wish,
)
from pymongo import MongoClient
from support.eventually import until_async
from support.mongo_servers import DATABASE, Document, MongoServer
from support.mongo_stores import JOBS, opened
from support.mongo_wire import StepDownInside, asks
from support.tcp_proxy import Fate, TcpProxy
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.errors import OutcomeUnknown, TocsinError
from tocsin_server.domain.job import Job, Kept, New, OnConflict
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore

NAMES = ["a", "b", "c", "d"]
Call = Callable[[MongoStore], Awaitable[object]]


@pytest.fixture
def proxy(server: MongoServer) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: TcpProxy) -> AsyncIterator[MongoStore]:
    """It waits for a primary for a second; it asks at once how the server is after an error."""
    url = f"mongodb://127.0.0.1:{proxy.port}/{DATABASE}?directConnection=true&serverMonitoringMode=poll"
    async with opened(url, select_within=timedelta(seconds=1)) as store:
        yield store


def step_down_inside(
    proxy: TcpProxy, command: str, then: Callable[[], object] = lambda: None, *, done: int = 2
) -> None:
    """When so many statements of the next such command to the jobs are done, the primary steps down."""
    proxy.order(asks(command, JOBS), Fate.REWRITTEN, rewriting=StepDownInside(done, then))


@pytest.fixture
def away(server: MongoServer) -> Callable[[], object]:
    """No server is the primary for a few seconds."""

    def step_down() -> None:
        with MongoClient[Document](server.address(serverMonitoringMode="poll")) as client:
            client.admin.command("replSetStepDown", 4, force=True)

    return step_down


async def a_primary_again(store: MongoStore) -> None:
    async def taken() -> bool:
        try:
            await store.check_writes()
        except TocsinError:
            return False
        return True

    await until_async(taken, within=20)


async def test_the_part_of_a_batch_that_was_added_is_not_said_to_be_unsent(
    store: MongoStore, proxy: TcpProxy, away: Callable[[], object]
) -> None:
    await added(store, a_draft("before"))
    step_down_inside(proxy, "insert", away)
    with pytest.raises(OutcomeUnknown):
        await store.add([a_draft(name) for name in NAMES])
    await a_primary_again(store)
    assert await outcomes(store, *(a_draft(name, on_conflict=OnConflict.KEEP) for name in NAMES)) == [
        *([Kept] * 2),
        *([New] * 2),
    ]
    jobs = (await store.page(a_query())).jobs
    assert len({job.arrival for job in jobs}) == 5
    leases = await claimed(store, 5)
    assert len({one.lease.token for one in leases}) == 5


async def test_the_part_of_a_batch_that_was_changed_is_not_said_to_be_unsent(
    store: MongoStore, proxy: TcpProxy, away: Callable[[], object]
) -> None:
    await added(store, *(a_draft(name, when=HOUR) for name in NAMES))
    step_down_inside(proxy, "update", away)
    updates = [UpdateJob(name, priority=at + 1) for at, name in enumerate(NAMES)]  # each a statement of its own
    with pytest.raises(OutcomeUnknown):
        await store.update("q", updates)
    await a_primary_again(store)
    revisions = [(await read(store, name)).revision for name in NAMES]
    assert sorted(revisions) == [1, 1, 2, 2]


async def test_a_claim_of_which_a_part_acted_brings_that_part_when_repeated(
    store: MongoStore, proxy: TcpProxy, away: Callable[[], object]
) -> None:
    await added(store, *(a_draft(name) for name in NAMES))
    begun = await claimed(store, 2)
    await store.extend([Extension(one.lease, (0.5, "half")) for one in begun], MINUTE)
    await finished(store, *map(released, begun))
    request = a_request()
    step_down_inside(proxy, "update", away, done=1)  # two of them lose their progress: a statement of its own
    with pytest.raises(OutcomeUnknown):
        await store.claim("q", {"t": 4}, 4, lease=MINUTE, request=request)
    await a_primary_again(store)
    again = await store.claim("q", {"t": 4}, 4, lease=MINUTE, request=request, repeated=True)
    assert [one.job.state for one in again.claimed] == [State.ACTIVE] * 2
    assert (await store.figures("q")).counts == {State.ACTIVE: {"t": 2}, State.WAITING: {"t": 2}}


async def test_where_there_is_a_primary_again_the_call_goes_on_and_acts_once(
    store: MongoStore, proxy: TcpProxy
) -> None:
    await added(store, *(a_draft(name) for name in NAMES))
    cursor = await store.cursor("q")
    step_down_inside(proxy, "update")
    leases = await claimed(store, 4)
    step_down_inside(proxy, "update")
    assert await finished(store, *map(completed, leases)) == [State.COMPLETED] * 4
    await added(store, *(a_draft(f"{name}2", when=HOUR) for name in NAMES))
    step_down_inside(proxy, "update")
    answers = await store.cancel("q", [wish(f"{name}2", reason=name) for name in NAMES])
    assert [answer.state for answer in answers if isinstance(answer, Job)] == [State.CANCELLED] * 4

    for name in NAMES:
        job, other = await read(store, name), await read(store, f"{name}2")
        assert (job.state, job.attempt, job.revision, job.crashes) == (State.COMPLETED, 1, 3, 0)
        assert (other.state, other.revision) == (State.CANCELLED, 2)
    heard = await store.events("q", cursor, wait=MINUTE)
    assert not heard.gap
    assert len({(event.job.job_id, event.job.revision) for event in heard.events}) == len(heard.events) == 16


async def test_a_write_of_many_jobs_whose_answer_is_lost_acts_once(store: MongoStore, proxy: TcpProxy) -> None:
    """The driver does not send it again, as it does where each statement is of one document."""
    await added(store, *(a_draft(name) for name in NAMES))
    leased = proxy.order(asks("update", JOBS), Fate.REPLY_LOST)
    leases = await claimed(store, 4)
    ended = proxy.order(asks("update", JOBS), Fate.REPLY_LOST)
    assert await finished(store, *map(completed, leases)) == [State.COMPLETED] * 4
    deleted = proxy.order(asks("delete", JOBS), Fate.REPLY_LOST)
    assert await store.delete("q", NAMES[:3]) == [None] * 3
    assert all(order.done.is_set() for order in (leased, ended, deleted))
    job = await read(store, "d")
    assert (job.state, job.attempt, job.revision) == (State.COMPLETED, 1, 3)
    assert [job.job_id for job in (await store.page(a_query())).jobs] == ["d"]
