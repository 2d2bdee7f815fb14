"""JobStore.move_clock, and what hangs on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import ClockNotManual
from tocsin_server.domain.job import View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore, StoreUnfit

from contract.builders import HOUR, MINUTE, SECOND, a_draft, a_request, added
from contract.providers import Provider

DAY = timedelta(days=1)


async def moved(store: JobStore, by: timedelta) -> None:
    before = await store.ping()
    after = await store.move_clock(before + by)
    assert before + by <= after < before + by + MINUTE


async def test_real_time_cannot_be_moved(store: JobStore) -> None:
    before = await store.ping()
    with pytest.raises(ClockNotManual, match="always will"):
        await store.move_clock(before + DAY)
    assert await store.ping() < before + HOUR


async def test_a_store_keeps_the_clock_that_it_was_made_with(unmade: Provider) -> None:
    async with unmade.store() as real:
        await added(real, a_draft())
        with pytest.raises(StoreUnfit, match="made with a real clock"):
            async with unmade.store(manual_clock=True):
                pass
    unmade.unmake()
    async with unmade.store(manual_clock=True) as manual:
        await moved(manual, DAY)
        with pytest.raises(StoreUnfit, match="moved by hand"):
            async with unmade.store():
                pass
        async with unmade.store(manual_clock=True) as beside:
            assert await beside.ping() >= await manual.ping() - SECOND


async def test_it_moves_for_all_who_share_the_store_and_never_back(movable: JobStore, provider: Provider) -> None:
    async with provider.store(manual_clock=True) as beside:
        begun = await beside.ping()
        await moved(movable, 3 * DAY)
        assert await beside.ping() >= begun + 3 * DAY
        await movable.move_clock(begun)
        assert await beside.ping() >= begun + 3 * DAY


async def test_whoever_listens_hears_of_it(movable: JobStore, provider: Provider) -> None:
    async with provider.store(manual_clock=True) as beside, asyncio.timeout(10):
        wakes = beside.wakes()
        assert (await anext(wakes)).missed
        await beside.ping()
        hearing = asyncio.ensure_future(anext(wakes))
        while not hearing.done():
            await moved(movable, MINUTE)  # a store that is polled may have begun to look after the first
            await asyncio.wait({hearing}, timeout=0.1)
        assert hearing.result().moved


async def test_jobs_leases_and_new_times_move_with_it(movable: JobStore) -> None:
    begun = await movable.ping()
    await added(movable, a_draft("later", when=DAY))
    assert not (await movable.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())).claimed

    await moved(movable, DAY)
    [claimed] = (await movable.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())).claimed
    assert claimed.job.job_id == "later"
    assert not await movable.reap("q")

    await moved(movable, MINUTE)
    [lost] = await movable.reap("q")
    assert lost.job_id == "later"
    [job] = await movable.get("q", ["later"], View.FULL)
    assert job is not None
    assert job.state is State.WAITING
    assert job.start_time is not None
    assert job.start_time >= begun + DAY
    assert job.errors[0].time >= begun + DAY + MINUTE


async def test_retention_ends_by_it(movable: JobStore) -> None:
    await added(movable, a_draft("ended"))
    await movable.cancel("q", [CancelJob("ended", "", "", timedelta(0))])
    await moved(movable, DAY - MINUTE)
    assert await movable.trim("q", completed_max=10, failed_max=10) == 0
    await moved(movable, 2 * MINUTE)
    assert await movable.trim("q", completed_max=10, failed_max=10) == 1


async def test_notes_end_by_it(movable: JobStore) -> None:
    until = await movable.ping() + HOUR
    assert await movable.write_note("q", "a", b"first", revision=0, until=until)
    await moved(movable, HOUR + SECOND)
    assert await movable.read_note("q", "a") is None
    assert await movable.notes("q") == []
    assert await movable.write_note("q", "a", b"anew", revision=0, until=until + DAY)
    note = await movable.read_note("q", "a")
    assert note is not None
    assert (note.value, note.revision) == (b"anew", 1)
