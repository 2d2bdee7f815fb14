"""Jobs of Bull and BullMQ brought into stores of Tocsin's: they stand there as they were told, and run in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import claimed
from support.redis_backend import RedisBackend
from support.stores import StoreBackend
from tocsin_server.domain.job import Job, Retention, View
from tocsin_server.migrate.systems.bring_in import BroughtIn, bring_in
from tocsin_server.migrate.systems.foreign import Choices
from tocsin_server.store.interface import JobStore

from integration.migration.bull.conftest import OPENERS, Play, Read
from integration.migration.bull.looking import name_of, taken
from integration.migration.conftest import OpenPlace

SYSTEMS = pytest.mark.parametrize("system", ["bull", "bullmq"])


async def brought_in(system: str, source: RedisBackend, target: JobStore) -> BroughtIn:
    choices = Choices(take_active=True, take_completed=True)
    async with OPENERS[system](source.url, choices) as reader:
        return await bring_in(reader.read(), target, lambda _: None)


def essence(job: Job) -> Job:
    """The job without what depends on the moment at which it was read, or on the store."""
    terms = replace(job.spec.terms, retention=Retention(timedelta(0), timedelta(0)))
    return replace(job, arrival=0, spec=replace(job.spec, terms=terms))


@SYSTEMS
async def test_every_job_stands_as_it_was_told_and_a_second_time_changes_nothing(
    play: Play, read: Read, source: RedisBackend, store: StoreBackend, open_place: OpenPlace, system: str
) -> None:
    play(system, "states")
    play(system, "options")
    told = taken(await read(system, take_active=True, take_completed=True))
    target = (await open_place(store.url)).store

    first = await brought_in(system, source, target)
    assert (first.placed, first.stood, first.refused) == (len(told), 0, 0)
    for queue in ("states", "options"):
        wanted = [job for job in told if job.queue == queue]
        stands = await target.get(queue, [job.job_id for job in wanted], View.FULL)
        assert [essence(job) for job in stands if job is not None] == [essence(job) for job in wanted]

    second = await brought_in(system, source, target)
    assert (second.placed, second.stood) == (0, len(told))


@SYSTEMS
@pytest.mark.parametrize("kind", ["lifo", "priorities", "due by now"])
async def test_they_are_claimed_in_the_order_in_which_a_real_worker_runs_them(
    play: Play, source: RedisBackend, store: StoreBackend, open_place: OpenPlace, system: str, kind: str
) -> None:
    play(system, "order", kind)
    target = (await open_place(store.url)).store
    imported = await brought_in(system, source, target)
    real = play(system, "run", "order", str(imported.placed))
    found = await claimed(target, queue="order", types=sorted(set(real)))
    assert [name_of(one.job) for one in found] == real
