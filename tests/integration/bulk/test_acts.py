"""What a bulk action does to jobs, and which it leaves, on each store."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    LATER,
    MINUTE,
    a_draft,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    extended,
    failed,
    finished,
    good,
    read,
    standing,
    wish,
)
from contract.dependent_jobs import child
from support.spied_store import SpiedStore
from tocsin_server.domain.bulk_actions import BulkTokenStale, BulkVerb
from tocsin_server.domain.commands import RetryJob, UpdateJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.dependencies import JobRef
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.states import State
from tocsin_server.operations.bulk_actions.preview import Found, preview
from tocsin_server.operations.bulk_actions.state import OutrunAction
from tocsin_server.store.interface import JobStore

from integration.bulk.acting import Meddled, acted, an_order

SCHEDULED, WAITING, ACTIVE = State.SCHEDULED, State.WAITING, State.ACTIVE
COMPLETED, FAILED, CANCELLED = State.COMPLETED, State.FAILED, State.CANCELLED
IDLE = (SCHEDULED, ACTIVE, COMPLETED, FAILED, CANCELLED, WAITING)


async def one_in_each_state(store: JobStore) -> dict[State, Job]:
    return {state: (await standing(store, state, state.name))[0] for state in IDLE}


async def states_of(store: JobStore, jobs: dict[State, Job]) -> dict[State, State | None]:
    found = await store.get("q", [job.job_id for job in jobs.values()], View.BASIC)
    return {state: None if now is None else now.state for state, now in zip(jobs, found, strict=True)}


@pytest.mark.parametrize(
    ("verb", "words", "becomes"),
    [
        (
            BulkVerb.CANCEL,
            {"reason": "off", "grace": MINUTE},
            {SCHEDULED: CANCELLED, WAITING: CANCELLED, ACTIVE: ACTIVE},
        ),
        (BulkVerb.RETRY, {}, {FAILED: WAITING}),
        (BulkVerb.RETRY, {"states": frozenset({FAILED, CANCELLED})}, {FAILED: WAITING, CANCELLED: WAITING}),
        (BulkVerb.RUN, {}, {SCHEDULED: WAITING}),
        (BulkVerb.DELETE, {}, {COMPLETED: None, FAILED: None, CANCELLED: None}),
        (BulkVerb.RETIME, {"to": LATER}, {SCHEDULED: SCHEDULED, WAITING: SCHEDULED}),
        (BulkVerb.PRIORITY, {"priority": 7}, {SCHEDULED: SCHEDULED, WAITING: WAITING}),
        (BulkVerb.MOVE, {"target": "r"}, {SCHEDULED: None, WAITING: None}),
        (
            BulkVerb.MOVE,
            {"target": "r", "states": frozenset({COMPLETED, FAILED, CANCELLED})},
            {COMPLETED: None, FAILED: None, CANCELLED: None},
        ),
    ],
)
async def test_each_act_is_done_to_the_states_it_is_for(
    store: JobStore, verb: BulkVerb, words: dict[str, Any], becomes: dict[State, State | None]
) -> None:
    jobs = await one_in_each_state(store)
    state = await acted(store, await an_order(store, verb, **words))
    assert await states_of(store, jobs) == {**{one: one for one in jobs}, **becomes}
    assert state.done == Counter({(one, "t"): 1 for one in becomes})
    assert (state.matched, state.changed, state.refused, state.finished) == (len(becomes), 0, 0, True)
    if verb is BulkVerb.CANCEL:
        running = await read(store, "ACTIVE")
        assert running.cancel
        assert (running.cancel.reason, running.cancel.by) == ("off", "ada")
        assert running.cancel.grace == MINUTE
    if verb is BulkVerb.PRIORITY:
        assert {(await read(store, one.name)).spec.priority for one in becomes} == {7}
    if verb is BulkVerb.RETIME:
        assert {(await read(store, one.name)).schedule_time for one in becomes} == {LATER}


async def test_a_job_is_shifted_by_as_much_as_was_said_but_not_into_the_past(store: JobStore) -> None:
    [late, soon] = await added(store, a_draft(when=10 * HOUR), a_draft(when=HOUR))
    await acted(store, await an_order(store, BulkVerb.RETIME, by=-2 * HOUR), "back")
    assert (await read(store, late)).schedule_time == late.schedule_time - 2 * HOUR
    assert (await read(store, soon)).state is WAITING
    await acted(store, await an_order(store, BulkVerb.RETIME, by=timedelta(days=3_000_000)), "ever")
    assert (await read(store, late)).schedule_time.year == 9999


async def test_only_what_the_filter_matches_is_touched(store: JobStore) -> None:
    jobs = await added(
        store,
        a_draft("both", type="a", tags={"k": "v"}, priority=3),
        a_draft("type", type="a"),
        a_draft("tag", type="b", tags={"k": "v"}),
        a_draft("late", type="a", tags={"k": "v"}, priority=3, when=HOUR),
    )
    words = {"types": frozenset({"a"}), "tags": {"k": "v"}, "priority_min": 2, "priority_max": 3}
    due = Window(end=jobs[0].create_time + MINUTE)
    state = await acted(store, await an_order(store, BulkVerb.CANCEL, scheduled=due, **words))
    assert state.done == {(WAITING, "a"): 1}
    assert [(await read(store, job)).state for job in jobs] == [CANCELLED, WAITING, WAITING, SCHEDULED]


async def test_at_most_so_many_and_those_that_came_last(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(f"j{i}") for i in range(10)))
    state = await acted(store, await an_order(store, BulkVerb.CANCEL, max_jobs=4), step=3)
    assert (state.done_jobs, state.finished) == (4, True)
    assert [(await read(store, job)).state for job in jobs] == [WAITING] * 6 + [CANCELLED] * 4


async def test_what_came_after_the_moment_is_left(store: JobStore) -> None:
    await added(store, a_draft("before"))
    order = await an_order(store, BulkVerb.CANCEL)
    await added(store, a_draft("after"))
    state = await acted(store, order)
    assert state.done_jobs == 1
    assert (await read(store, "after")).state is WAITING


async def test_what_changed_after_the_moment_is_left_and_counted(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(name, when=HOUR) for name in ("as it was", "updated", "gone", "cancelled")))
    found = [found async for found in preview(store, "q", JobFilter(states=frozenset({SCHEDULED})))][-1]
    order = await an_order(store, BulkVerb.PRIORITY, priority=9)
    order = type(order)(order.queue, order.filter, order.act, order.by, moment=found.moment)
    good((await store.update("q", [UpdateJob("updated", priority=1)]))[0])
    await store.delete("q", ["gone"], ended_only=False)
    await cancelled(store, jobs[3])
    state = await acted(store, order)
    assert (state.matched, state.done_jobs, state.changed) == (4, 1, 3)
    assert (await read(store, "updated")).spec.priority == 1
    assert (await read(store, "as it was")).spec.priority == 9


async def test_a_job_that_was_retried_and_failed_again_is_another(store: JobStore) -> None:
    jobs = await added(store, a_draft("left"), a_draft("again"))
    await finished(store, *[failed(one) for one in await claimed(store)])
    order = await an_order(store, BulkVerb.RETRY)
    good((await store.update("q", [RetryJob("again")]))[0])
    await finished(store, failed(await claimed_one(store)))
    state = await acted(store, order)
    assert (state.done_jobs, state.changed) == (1, 1)
    assert [(await read(store, job)).state for job in jobs] == [WAITING, FAILED]


async def test_a_job_whose_time_has_come_is_no_other(store: JobStore, backdate: Backdate) -> None:
    [job, retrying] = await added(store, a_draft("new", when=HOUR), a_draft("retrying"))
    await finished(store, failed(await claimed_one(store), retry_in=HOUR))
    order = await an_order(store, BulkVerb.CANCEL)
    # Due a moment from now, so later than the order's moment.
    for one in (job, retrying):
        now = await read(store, one)
        backdate.due(now, by=now.schedule_time - (await store.ping()) - timedelta(milliseconds=1))
    while (await read(store, retrying)).state is SCHEDULED or (await read(store, job)).state is SCHEDULED:
        await store.promote("q")
    state = await acted(store, order)
    assert (state.done_jobs, state.changed) == (2, 0)


async def test_a_job_that_runs_on_is_no_other_and_one_that_began_since_is(store: JobStore) -> None:
    await added(store, a_draft("runs"))
    one = await claimed_one(store)
    [waits] = await added(store, a_draft("waits"))
    order = await an_order(store, BulkVerb.CANCEL)
    await extended(store, await store.extend([Extension(one.lease, (0.5, "half"))], MINUTE))
    began = await claimed_one(store)
    assert began.job.job_id == waits.job_id
    state = await acted(store, order)
    assert (state.done, state.changed) == ({(ACTIVE, "t"): 1}, 1)
    assert (await read(store, waits)).cancel is None


async def test_nothing_is_done_where_the_log_does_not_reach_back_to_the_moment(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    order = await an_order(store, BulkVerb.CANCEL)
    await cancelled(store, job)
    await store.delete("q", [job.job_id])
    assert await store.forget("q")  # and its changes with it
    [job] = await added(store, a_draft())
    with pytest.raises(BulkTokenStale):
        await acted(store, order)
    assert (await read(store, job)).state is WAITING


async def test_an_action_stops_between_two_steps_and_goes_on_from_there(store: JobStore) -> None:
    await added(store, *(a_draft(when=HOUR) for _ in range(10)))
    order = await an_order(store, BulkVerb.RUN)
    answers = iter([False, False, True])
    state = await acted(store, order, step=3, stopped=lambda: next(answers))
    assert (state.done_jobs, state.finished) == (6, False)
    state = await acted(store, order, step=3)
    assert (state.done_jobs, state.finished) == (10, True)
    assert await acted(store, order) == state


async def test_an_attempt_that_was_outrun_begins_no_step_more(store: JobStore) -> None:
    await added(store, *(a_draft(when=HOUR) for _ in range(9)))
    order = await an_order(store, BulkVerb.RETIME, by=HOUR)
    spied = SpiedStore(store)
    spied.gates["page"] = asyncio.Event()
    slow = asyncio.create_task(acted(spied.as_store, order, step=3))
    await spied.until_asked("page", 1)
    assert (await acted(store, order, step=3)).done_jobs == 9
    spied.gates["page"].set()
    with pytest.raises(OutrunAction):
        await slow
    assert spied.calls["update"] == 0


@pytest.mark.parametrize(
    ("verb", "words"),
    [(BulkVerb.RETIME, {"by": HOUR}), (BulkVerb.PRIORITY, {"priority": 9}), (BulkVerb.MOVE, {"target": "r"})],
)
async def test_what_changes_in_the_last_moment_is_left(store: JobStore, verb: BulkVerb, words: dict[str, Any]) -> None:
    [job, _] = await added(store, a_draft("a", when=HOUR), a_draft("b", when=HOUR))
    order = await an_order(store, verb, **words)

    async def meddle() -> None:
        good((await store.update("q", [UpdateJob("a", priority=3)]))[0])

    # Before the note of the step: its jobs are read, and the log is.
    state = await acted(Meddled(store, "write_note", 2, meddle).as_store, order)
    assert (state.done_jobs, state.changed) == (1, 1)
    now = await read(store, "a")
    assert (now.spec.priority, now.schedule_time) == (3, job.schedule_time)


async def test_a_queue_that_changes_all_the_time_is_come_to_an_end_with(store: JobStore) -> None:
    await added(store, *(a_draft(when=HOUR) for _ in range(4)))
    order = await an_order(store, BulkVerb.RUN)

    async def meddle() -> None:
        await added(store, a_draft())

    busy = Meddled(store, "events", 0, meddle).as_store
    assert (await acted(busy, order, step=2)).done_jobs == 4


async def dry(store: JobStore, **words: Any) -> Found:
    found = [found async for found in preview(store, "q", JobFilter(**words))]
    return found[-1]


async def test_a_dry_run_counts_by_state_and_type_and_shows_the_newest(store: JobStore) -> None:
    await added(store, *(a_draft(f"a{i}", type="a", tags={"k": "v"}) for i in range(7)))
    await added(store, *(a_draft(f"b{i}", type="b", when=HOUR, tags={"k": "v"}) for i in range(7)))
    await added(store, a_draft("c", type="c"))
    pending = frozenset({SCHEDULED, WAITING})
    by_counters = await dry(store, states=pending, types=frozenset({"a", "b"}))
    by_looking = await dry(store, states=pending, tags={"k": "v"})
    for found in (by_counters, by_looking):
        assert found.counts == {(WAITING, "a"): 7, (SCHEDULED, "b"): 7}
        assert [job.job_id for job in found.sample] == [f"b{i}" for i in range(6, -1, -1)] + ["a6", "a5", "a4"]
        assert found.moment is not None
        assert found.moment.matched == found.matched == 14


async def test_completed_jobs_of_an_empty_queue(store: JobStore) -> None:
    found = await dry(store, states=frozenset({COMPLETED}))
    assert (found.matched, found.sample) == (0, [])
    state = await acted(store, await an_order(store, BulkVerb.DELETE))
    assert (state.done_jobs, state.matched, state.finished) == (0, 0, True)


async def test_a_wish_to_cancel_that_stands_stays_as_it_was_first(store: JobStore) -> None:
    await added(store, a_draft("runs"))
    one = await claimed_one(store)
    await store.cancel("q", [wish("runs", reason="first")])
    state = await acted(store, await an_order(store, BulkVerb.CANCEL, reason="second", grace=HOUR))
    assert state.done_jobs == 1
    job = await read(store, "runs")
    assert job.cancel is not None
    assert job.cancel.reason == "first"
    await finished(store, completed(one))


async def test_jobs_that_wait_are_waited_for_or_followed_are_not_moved(store: JobStore) -> None:
    [parent, followed, free] = await added(
        store,
        a_draft("p", when=HOUR),
        a_draft("f", when=HOUR, conditions=Conditions(on_end=JobRef("q", "after"))),
        a_draft("free", when=HOUR),
    )
    await child(store, "c", parent)
    state = await acted(store, await an_order(store, BulkVerb.MOVE, target="r"))
    assert [await store.get("r", [job.job_id], View.BASIC) != [None] for job in (parent, followed, free)] == [
        False,
        False,
        True,
    ]
    assert state.finished
    assert (await read(store, "c")).state is State.BLOCKED
