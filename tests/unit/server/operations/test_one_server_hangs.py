"""Where queues stand on several servers, as in a cluster, one that hangs holds up its own queues alone."""

from __future__ import annotations

import asyncio
import time

from contract.builders import HOUR, SECOND, a_draft, added
from support.running_leasing import StartParts, first_leased
from support.spied_store import SpiedStore
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.errors import StoreAway, TocsinError
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker


async def test_queues_take_their_turns_past_one_that_hangs(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    silent = spied.silent["hung"] = asyncio.Event()
    async with start_parts() as parts:
        await added(store, *(a_draft(queue=queue) for queue in ("hung", "well", "well", "well")))
        begun = time.monotonic()
        for _ in range(3):
            async with asyncio.timeout(5):
                [one] = await first_leased(parts.leasing, {"t": 1}, 1)
            assert one.job.queue == "well"
        assert time.monotonic() - begun < 1
        assert [call[0][0] for call in spied.arguments["claim"]].count("hung") == 1, "one claim at a time"
        silent.set()
        del spied.silent["hung"]
        async with asyncio.timeout(5):
            [one] = await first_leased(parts.leasing, {"t": 1}, 1)
        assert one.job.queue == "hung"


async def test_a_queue_that_failed_is_not_waited_for_and_asked_for_one_job(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    silent = spied.silent["hung"] = asyncio.Event()
    async with start_parts() as parts:
        await added(store, a_draft(queue="hung"))
        waiting = asyncio.create_task(first_leased(parts.leasing, {"t": 5}, 5))
        await spied.until_asked("claim", 1)
        silent.set()  # it fails now, and hangs again from then on
        await spied.until_called("claim", 1)
        spied.silent["hung"] = asyncio.Event()
        await spied.until_asked("claim", 1)
        await added(store, a_draft(queue="well"))
        begun = time.monotonic()
        async with asyncio.timeout(5):
            [one] = await waiting
        assert one.job.queue == "well"
        assert time.monotonic() - begun < 0.25, "it was waited for"
        assert [arguments[2] for arguments, _ in spied.arguments["claim"] if arguments[0] == "hung"] == [5, 1]
        spied.silent["hung"].set()


async def test_names_that_do_not_come_hide_no_tick(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, a_draft(queue="well"))
    heard: list[str] = []
    ticker = Ticker(store, StoreClock(), SECOND / 10)
    ticker.on_tick(heard.extend)
    ticker.start()
    await spied.until_called("ticks", 1)
    spied.gates["count_queues"] = asyncio.Event()
    spied.away.add("ping")
    heard.clear()
    async with asyncio.timeout(5):
        await spied.until_called("ticks", 3)
    assert set(heard) == {"well"}
    asked = spied.calls["count_queues"]
    await added(store, a_draft(queue="new"))
    spied.gates.pop("count_queues").set()
    await spied.until_called("ticks", 3)
    assert spied.calls["count_queues"] > asked
    async with asyncio.timeout(5):
        while "new" not in heard:
            await spied.until_called("ticks", 1)
    await ticker.close()


async def test_names_that_are_refused_hide_no_tick_but_a_store_that_is_away_is_told(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, a_draft(queue="well"))
    ticker = Ticker(store, StoreClock(), SECOND / 10)
    ticker.start()
    await spied.until_called("ticks", 1)
    spied.away.add("count_queues")
    before = time.monotonic()
    await spied.until_called("ticks", 2)
    assert ticker.last_ok is not None
    assert ticker.last_ok > before
    spied.break_with["ticks"] = StoreAway("no node answers")
    await spied.until_called("ticks", 2)
    last = ticker.last_ok
    await spied.until_called("ticks", 2)
    assert ticker.last_ok == last
    await ticker.close()


async def test_a_gathered_call_goes_to_its_queue_past_one_that_hangs(spied: SpiedStore) -> None:
    silent = asyncio.Event()
    scheduling = ScheduleJobs(spied.as_store, QueueSettingsCache(spied.as_store, ttl=HOUR).get)
    for queue in ("hung", "well"):
        await scheduling.schedule([JobRequest(queue=queue, type="t", job_id="first")])
    spied.silent["hung"] = silent
    stuck = [
        asyncio.create_task(scheduling.schedule([JobRequest(queue="hung", type="t", job_id=str(n))])) for n in range(3)
    ]
    await spied.until_asked("add", 1)
    stuck.append(asyncio.create_task(scheduling.schedule([JobRequest(queue="hung", type="t", job_id="another")])))
    begun = time.monotonic()
    for number in range(5):
        [answer] = await scheduling.schedule([JobRequest(queue="well", type="t", job_id=str(number))])
        assert not isinstance(answer, TocsinError)
    assert time.monotonic() - begun < 1
    silent.set()
    assert [type(one) for one in await asyncio.gather(*stuck, return_exceptions=True)] == [StoreAway] * 4
    await scheduling.close()
