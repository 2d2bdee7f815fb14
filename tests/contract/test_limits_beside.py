"""Jobs that expire, are held, or have a key that collapses, in queues with limits or turns."""

from __future__ import annotations

import pytest
from tocsin_server.domain.commands import HoldJob, ReleaseJob, UpdateJob
from tocsin_server.domain.conditions import Collapse, CollapseMode, Conditions
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, MINUTE, a_draft, added, claimed, completed, failed, finished, read

ONE_A_KEY = QueueSettings(limits=(Limit("one", LimitScope.KEY, max_active=1),))
FAIR = QueueSettings(fair_turns=True)
BOTH = QueueSettings(limits=ONE_A_KEY.limits, fair_turns=True)
KINDS = pytest.mark.parametrize("settings", [ONE_A_KEY, FAIR, BOTH], ids=["limited", "fair", "both"])


@KINDS
async def test_a_job_whose_time_is_over_is_not_begun(movable: JobStore, settings: QueueSettings) -> None:
    await movable.put_settings("q", settings, paused=False)
    soon = [a_draft(f"late {at}", conditions=Conditions("k", expire=MINUTE)) for at in range(5)]
    await added(
        movable, *soon, a_draft("good", conditions=Conditions("k")), a_draft("other", conditions=Conditions("l"))
    )
    await movable.move_clock(await movable.ping() + HOUR)
    found = [one.job.job_id for one in await claimed(movable)]
    assert sorted(found) == ["good", "other"]
    assert (await movable.figures("q")).total(State.CANCELLED) == 5


@KINDS
async def test_a_held_retry_is_not_begun_and_keeps_the_one_place_of_its_key(
    store: JobStore, settings: QueueSettings
) -> None:
    await store.put_settings("q", settings, paused=False)
    await added(store, *(a_draft(name, conditions=Conditions("k")) for name in ("a", "b")))
    [first] = await claimed(store, 1)
    assert first.job.job_id == "a"
    await finished(store, failed(first, retry_in=HOUR))
    await store.update("q", [HoldJob("a"), UpdateJob("a", when=0 * HOUR)])
    others = await claimed(store)
    assert [one.job.job_id for one in others] == ([] if settings.limits else ["b"])
    await finished(store, *map(completed, others))
    await store.update("q", [ReleaseJob("a")])
    assert [one.job.job_id for one in await claimed(store, 1)] == ["a"]


@KINDS
async def test_the_next_of_a_key_is_let_go_into_its_row(store: JobStore, settings: QueueSettings) -> None:
    await store.put_settings("q", settings, paused=False)
    conditions = Conditions("k", collapse=Collapse("c", CollapseMode.RUN_AGAIN_AFTER))
    await added(store, a_draft("a", conditions=conditions))
    [first] = await claimed(store)
    await added(store, a_draft("b", conditions=conditions))
    assert (await read(store, "b")).state is State.BLOCKED
    await finished(store, completed(first))
    [second] = await claimed(store)
    assert second.job.job_id == "b"
    await finished(store, completed(second))
    while not (step := await store.check()).done:
        assert step.mended == {}


async def test_another_priority_moves_a_job_among_those_of_other_keys(store: JobStore) -> None:
    await store.put_settings("q", ONE_A_KEY, paused=False)
    drafts = [a_draft(name, conditions=Conditions(name)) for name in "kl"]
    await added(store, *drafts, a_draft("none"))
    await store.update("q", [UpdateJob("k", priority=-1), UpdateJob("l", priority=1)])
    assert [one.job.job_id for one in await claimed(store)] == ["l", "none", "k"]


@pytest.mark.parametrize("runs", [False, True])
async def test_who_has_waited_longest_is_seen_behind_others_of_its_key(movable: JobStore, runs: bool) -> None:
    await movable.put_settings("q", ONE_A_KEY, paused=False)
    if runs:  # so none of its key may begin
        await added(movable, a_draft("a", conditions=Conditions("k")))
        assert len(await claimed(movable)) == 1
    [first] = await added(movable, a_draft("b", conditions=Conditions("k")))
    await movable.move_clock(await movable.ping() + MINUTE)
    await added(movable, a_draft("c", conditions=Conditions("k"), priority=5))
    assert (await movable.figures("q")).oldest_waiting == first.schedule_time
