"""Who is told of an end, where not everybody can be; and what is said of who waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from contract.builders import a_draft, a_job, added, cancelled, read
from contract.dependent_jobs import RUN, child, of
from redis import Redis
from support.redis_servers import ServerProcess
from tocsin_server.domain.dependencies import Settlement
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.explaining import Outlook, Why
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.operations.dependents import Dependents
from tocsin_server.operations.explaining import Surroundings, explained
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.interface import JobStore
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore


@pytest.fixture
async def jobs(shared_valkey: ServerProcess, valkey_client: Redis) -> AsyncIterator[JobStore]:
    """An empty store."""
    store = RedisStore(RedisConnection(shared_valkey.url), "tests")
    await store.open()
    yield store
    await store.close()


class _OneQueueAway:
    """The dependencies of a store of which one queue's server does not answer, until it does."""

    def __init__(self, dependencies: DependencyStore, queue: str) -> None:
        self._dependencies, self.away = dependencies, queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dependencies, name)

    async def settle(self, queue: str, settlements: list[Settlement]) -> Any:
        if queue == self.away:
            raise StoreAway("not now")
        return await self._dependencies.settle(queue, settlements)


async def test_where_one_queue_is_away_the_others_are_told_and_it_is_told_later(jobs: JobStore) -> None:
    [parent] = await added(jobs, a_draft("p"))
    near = await child(jobs, "near", parent, rule=RUN, queue="near")
    far = await child(jobs, "far", parent, rule=RUN, queue="far")
    await cancelled(jobs, parent)
    half = _OneQueueAway(of(jobs), "far")
    dependents = Dependents(jobs, cast(DependencyStore, half))
    assert not await dependents.run_errands("q"), "it would be asked for again at once"
    assert (await read(jobs, near)).state is State.WAITING
    assert (await read(jobs, far)).state is State.BLOCKED
    tick = (await jobs.ticks(["q"]))["q"]
    assert tick.next_errand is not None
    assert tick.next_errand > await jobs.ping()


def _said(number: int, *named: str) -> str:
    job = a_job("c", State.BLOCKED)
    outlook = Outlook(job, datetime.now(UTC), None, waits_for=named, open_parents=number)
    found = explained(outlook, Surroundings(QueueSettings()))
    assert (found.why, found.open, found.job_ids) == (Why.BLOCKED_BY, number, named)
    return found.sentence


def test_who_waits_for_many_names_ten() -> None:
    assert _said(1, "a") == "It waits for job 'a' to end."
    assert _said(2, "a", "other/b") == "It waits for the ends of 2 jobs: 'a', 'other/b'."
    many = [f"j{i}" for i in range(100)]
    assert _said(1_000, *many).endswith("'j8', 'j9' and 990 more.")
