"""Jobs that come while a limit is full which does not let them wait."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.job import New, OnConflict
from tocsin_server.domain.queue_limits import LimitScope, OnFull
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import HOUR, MINUTE, a_draft, added, claimed, failed, finished, good, read, released
from contract.test_limits import KEY, QUEUE, TYPE, a_limit, ids, keyed, limited


@pytest.mark.parametrize("scope", [QUEUE, TYPE, KEY])
async def test_a_full_limit_may_cancel_what_comes(store: JobStore, scope: LimitScope) -> None:
    limit = a_limit(scope, 2, type="t" if scope is TYPE else "", on_full=OnFull.CANCEL_NEW)
    await limited(store, limit)
    first = [good(answer) for answer in await store.add([keyed(f"{i}", "k") for i in range(3)])]
    assert [one.state for one in first if isinstance(one, New)] == [State.WAITING, State.WAITING, State.CANCELLED]
    refused = await read(store, "2")
    assert refused.cancel is not None
    assert (refused.cancel.reason, refused.end_time) == ("LIMIT_FULL", refused.create_time)
    assert ids(await claimed(store)) == ["0", "1"]
    [later] = await added(store, keyed("3", "k", when=HOUR))
    assert later.state is State.SCHEDULED
    await added(store, keyed("4", "k"))
    assert (await read(store, "4")).state is State.CANCELLED


async def test_a_retry_that_keeps_its_place_is_counted_once(store: JobStore) -> None:
    await limited(
        store, a_limit(KEY, 1), replace(a_limit(KEY, 2, on_full=OnFull.CANCEL_NEW), name="two that run or wait")
    )
    await added(store, keyed("0", "k"))
    await finished(store, *(released(one) for one in await claimed(store)))
    await store.add([keyed(f"{i}", "k") for i in range(1, 3)])
    assert [(await read(store, name)).state for name in "012"] == [State.WAITING, State.WAITING, State.CANCELLED]


async def test_what_is_of_another_type_now_is_counted_so_in_the_same_call(store: JobStore) -> None:
    await limited(store, a_limit(TYPE, 2, type="t", on_full=OnFull.CANCEL_NEW))
    await added(store, keyed("0", "k"), keyed("1", "k"))
    await store.add([keyed("1", "k", type="u", on_conflict=OnConflict.REPLACE), keyed("2", "k"), keyed("3", "k")])
    assert [(await read(store, name)).state for name in "123"] == [State.WAITING, State.WAITING, State.CANCELLED]


async def test_a_job_that_comes_due_while_its_limit_is_full_is_cancelled_too(
    store: JobStore, backdate: Backdate
) -> None:
    await limited(store, a_limit(KEY, 1, on_full=OnFull.CANCEL_NEW))
    await added(store, keyed("0", "k"))
    [later] = await added(store, keyed("1", "k", when=HOUR))
    backdate.due(later, by=2 * HOUR)
    assert ids(await claimed(store)) == ["0"]
    assert (await read(store, "1")).state is State.CANCELLED


async def test_a_full_limit_may_ask_the_oldest_that_runs_to_stop(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 2, on_full=OnFull.CANCEL_RUNNING))
    await added(store, keyed("0", "k"), keyed("1", "k"), keyed("x", "o"))
    running = await claimed(store)
    await added(store, keyed("2", "k"))
    asked = await read(store, "0")
    assert asked.cancel is not None
    assert asked.cancel.reason == "LIMIT_FULL"
    assert (await read(store, "1")).cancel is None
    await finished(store, failed(running[0], HOUR))
    assert (await read(store, "0")).state is State.CANCELLED
    assert ids(await claimed(store)) == ["2"]


@pytest.mark.parametrize("scope", [QUEUE, TYPE, KEY])
async def test_retries_that_come_due_in_the_same_moment_are_counted(
    store: JobStore, backdate: Backdate, scope: LimitScope
) -> None:
    await limited(store, a_limit(scope, 1, type="t" if scope is TYPE else "", on_full=OnFull.CANCEL_NEW))
    await added(store, keyed("0", "k"))
    await finished(store, failed((await claimed(store))[0], HOUR))
    await added(store, keyed("1", "k", when=2 * HOUR))
    backdate.due(await read(store, "0"), await read(store, "1"), by=3 * HOUR)
    assert ids(await claimed(store)) == ["0"]
    assert (await read(store, "1")).state is State.CANCELLED


async def test_a_full_limit_comes_before_a_time_that_is_over(movable: JobStore) -> None:
    await limited(movable, a_limit(KEY, 1, on_full=OnFull.CANCEL_NEW))
    await added(movable, keyed("0", "k"))
    late = a_draft("1", when=MINUTE, conditions=Conditions("k", expire=MINUTE))
    await added(movable, late)
    await movable.move_clock(await movable.ping() + HOUR)
    assert ids(await claimed(movable)) == ["0"]
    refused = await read(movable, "1")
    assert refused.cancel is not None
    assert refused.cancel.reason == "LIMIT_FULL"
