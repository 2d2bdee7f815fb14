"""Whoever has free slots gets due jobs: at once, on time, in turns, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import HOUR, MILLISECOND, SECOND, a_draft, added, read
from support.eventually import until_async
from support.running_leasing import FreeForAll, Parts, StartParts, first_leased
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import Draining
from tocsin_server.domain.job import Job
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import State

T5: Mapping[str, int] = {"t": 5}


async def leased(parts: Parts, free: Mapping[str, int] = T5, limit: int = 5, **seat: Any) -> list[Claimed]:
    async with asyncio.timeout(5):
        return await first_leased(parts.leasing, free, limit, **seat)


async def leased_one(parts: Parts, free: Mapping[str, int] = T5, **seat: Any) -> Claimed:
    [one] = await leased(parts, free, 1, **seat)
    return one


def wait(one: Claimed) -> timedelta:
    """From creation to start, by the store's clock."""
    assert one.job.start_time is not None
    return one.job.start_time - one.job.create_time


def lateness(one: Claimed) -> timedelta:
    assert one.job.start_time is not None
    return one.job.start_time - one.job.schedule_time


async def test_a_job_is_leased_at_once(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts() as parts:
        waits = []
        for _ in range(9):
            waiting = asyncio.create_task(leased_one(parts))
            await asyncio.sleep(0)
            await added(store, a_draft())
            waits.append(wait(await waiting))
    assert sorted(waits)[4] < 50 * MILLISECOND


async def test_what_stood_before_the_start_is_leased(spied: SpiedStore, start_parts: StartParts) -> None:
    [job] = await added(spied.as_store, a_draft())
    async with start_parts() as parts:
        assert (await leased_one(parts)).job.job_id == job.job_id


@pytest.mark.parametrize("queue", ["seen", "new"])
async def test_a_lost_message_costs_at_most_one_tick(spied: SpiedStore, start_parts: StartParts, queue: str) -> None:
    store = spied.as_store
    await added(store, a_draft(queue="seen", type="other"))
    async with start_parts() as parts:
        spied.deaf = True
        waiting = asyncio.create_task(leased_one(parts))
        await spied.until_called("claim", 1)
        await added(store, a_draft(queue=queue))
        waited = wait(await waiting)
    assert 300 * MILLISECOND < waited < 1.1 * SECOND, "it was woken after all, or later than the next tick"


async def test_jobs_start_on_time_and_never_early(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts() as parts:
        # One behind the other: only the first due time comes with a message.
        await added(store, *(a_draft(when=100 * n * MILLISECOND) for n in range(1, 6)))
        late = sorted([lateness(await leased_one(parts)) for _ in range(5)])
    assert late[0] >= timedelta(0)
    assert late[2] < 50 * MILLISECOND
    assert late[4] < 300 * MILLISECOND


async def test_a_due_time_that_moves_earlier_is_kept_too(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=HOUR) as parts:
        await added(store, a_draft("late", when=HOUR))
        await added(store, a_draft("soon", when=200 * MILLISECOND))
        one = await leased_one(parts)
    assert one.job.job_id == "soon"
    assert timedelta(0) <= lateness(one) < 100 * MILLISECOND


async def test_many_due_at_once_are_all_leased(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=HOUR) as parts:
        await added(store, *(a_draft(when=100 * MILLISECOND) for _ in range(450)))
        found: set[str] = set()
        while len(found) < 450:
            found.update(one.job.job_id for one in await leased(parts, {"t": 500}, 500))


async def test_queues_take_turns(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    for queue in "abc":
        await added(store, *(a_draft(queue=queue) for _ in range(3)))
    async with start_parts() as parts:
        turns = [(await leased_one(parts)).job.queue for _ in range(9)]
    assert sorted(turns[:3]) == ["a", "b", "c"]
    assert turns == turns[:3] * 3


async def test_only_the_queues_named_are_served(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=100 * MILLISECOND) as parts:
        waiting = asyncio.create_task(leased_one(parts, queues=["mine"]))
        await added(store, a_draft(queue="other"))
        await spied.until_called("ticks", 2)
        await added(store, a_draft(queue="mine"))
        assert (await waiting).job.queue == "mine"
    assert {arguments[0] for arguments, _ in spied.arguments["claim"]} == {"mine"}


async def test_a_slot_of_another_type_that_becomes_free_is_used_at_once(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    [job] = await added(spied.as_store, a_draft(type="b"))
    async with start_parts(tick=HOUR) as parts:
        free, given = {"a": 1}, asyncio.Queue[Claimed]()
        seat = parts.leasing.seat(
            ["a", "b"], lambda: FreeForAll(free, 5), lambda claimed: [given.put_nowait(one) for one in claimed]
        )
        await until_async(lambda: claims_answered(spied, 1), within=5)
        free["b"] = 1
        seat.widened()
        async with asyncio.timeout(0.5):
            assert (await given.get()).job.job_id == job.job_id


async def test_a_job_that_comes_while_a_claim_is_under_way_is_not_overlooked(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    await added(store, a_draft(type="other"))
    gate = spied.gates["claim"] = asyncio.Event()
    async with start_parts(tick=HOUR, before=lambda parts: parts.wakeups.on_work(lambda *_: gate.set())) as parts:
        waiting = asyncio.create_task(leased_one(parts))
        # The claim has looked and found nothing; its answer comes after the message of this job.
        await until_async(lambda: claims_sent(spied, 1), within=5)
        [job] = await added(store, a_draft())
        assert (await waiting).job.job_id == job.job_id


async def claims_sent(spied: SpiedStore, times: int) -> bool:
    return len(spied.arguments.get("claim", ())) >= times


async def claims_answered(spied: SpiedStore, times: int) -> bool:
    return spied.calls["claim"] >= times


async def test_each_of_several_callers_gets_what_fits_it(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    async with start_parts(tick=HOUR) as parts:
        a, b, both = (
            asyncio.create_task(leased(parts, free, 2)) for free in ({"a": 2}, {"b": 2}, {"a": 2, "b": 2, "c": 2})
        )
        await asyncio.sleep(0)
        await added(store, a_draft(type="b"))
        assert [one.job.spec.type for one in await b] == ["b"]
        await added(store, a_draft(type="a"))
        assert [one.job.spec.type for one in await a] == ["a"]
        await added(store, a_draft(type="c"))
        assert [one.job.spec.type for one in await both] == ["c"]


async def test_no_more_of_a_type_is_leased_than_there_are_slots(spied: SpiedStore, start_parts: StartParts) -> None:
    await added(spied.as_store, *(a_draft(type="a") for _ in range(5)), a_draft(type="b"))
    async with start_parts(tick=HOUR) as parts:
        types = [one.job.spec.type for one in await leased(parts, {"a": 2, "b": 1, "c": 0}, 10)]
        assert sorted(types) == ["a", "a", "b"]
        # Slots for more become free: nothing has to ring for that.
        assert len(await leased(parts, {"a": 2}, 10)) == 2


# --- a store that answers badly ---


async def test_a_lost_answer_is_asked_for_with_the_same_request_until_it_comes(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    [job] = await added(store, a_draft())
    spied.lose["claim"] = 3
    async with start_parts() as parts:
        one = await leased_one(parts)
        assert (one.job.job_id, one.job.attempt) == (job.job_id, 1)
    assert len({kwargs["request"] for _, kwargs in spied.arguments["claim"][:4]}) == 1


async def test_a_lost_answer_is_asked_for_though_its_caller_has_gone(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    [job] = await added(store, a_draft())
    spied.lose["claim"] = 2
    async with start_parts() as parts:
        waiting = asyncio.create_task(leased_one(parts))
        await spied.until_called("claim", 1)
        waiting.cancel()
        await spied.until_called("finish", 1)
    found = await read(store, job)
    assert (found.state, found.crashes) == (State.WAITING, 0)


async def test_an_answer_that_comes_late_has_its_leases_extended_first(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    await added(spied.as_store, a_draft())
    spied.lose["claim"] = 4  # 50, 100, 200, 400 ms: past a third of the lease
    async with start_parts() as parts:
        await leased_one(parts, lease=SECOND)
        assert spied.calls["extend"] == 1


async def test_a_store_that_is_away_is_waited_for(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    spied.away.add("claim")
    async with start_parts() as parts:
        waiting = asyncio.create_task(leased_one(parts))
        [job] = await added(store, a_draft())
        await spied.until_called("claim", 3)
        spied.away.clear()
        assert (await waiting).job.job_id == job.job_id


async def test_an_error_nobody_foresaw_ends_nothing(spied: SpiedStore, start_parts: StartParts) -> None:
    store = spied.as_store
    spied.break_with["claim"] = RuntimeError("planted")
    async with start_parts() as parts:
        waiting = asyncio.create_task(leased_one(parts))
        [job] = await added(store, a_draft())
        await spied.until_called("claim", 2)
        spied.break_with.clear()
        assert (await waiting).job.job_id == job.job_id


# --- callers that go away ---


async def interrupted(spied: SpiedStore, parts: Parts) -> Job:
    """A job whose claim is under way, and whose caller has gone."""
    spied.gates["claim"] = asyncio.Event()
    waiting = asyncio.create_task(leased_one(parts))
    await asyncio.sleep(0)
    [job] = await added(spied.as_store, a_draft())

    async def active() -> bool:
        return (await read(spied.as_store, job)).state is State.ACTIVE

    await until_async(active, within=5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    return job


async def test_what_a_claim_brings_for_a_caller_that_has_gone_is_given_back(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    async with start_parts() as parts:
        job = await interrupted(spied, parts)
        spied.gates.pop("claim").set()
        await spied.until_called("finish", 1)
    found = await read(spied.as_store, job)
    assert (found.state, found.attempt, found.failures, found.crashes) == (State.WAITING, 1, 0, 0)


async def test_what_a_claim_brings_for_one_who_has_gone_another_gets(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    async with start_parts() as parts:
        job = await interrupted(spied, parts)
        another = asyncio.create_task(leased_one(parts))
        await asyncio.sleep(0)
        spied.gates.pop("claim").set()
        one = await another
        assert (one.job.job_id, one.job.attempt) == (job.job_id, 1)
    assert spied.calls["finish"] == 0


async def test_a_seat_whose_slots_change_while_a_claim_is_under_way_gets_what_it_brings(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    free = {"t": 1}
    given: list[Claimed] = []
    spied.gates["claim"] = asyncio.Event()
    [job] = await added(spied.as_store, a_draft())
    async with start_parts(tick=HOUR) as parts:
        seat = parts.leasing.seat(["t", "u"], lambda: FreeForAll(free, 5), given.extend)
        await until_async(lambda: claims_sent(spied, 1), within=5)
        free["u"] = 1
        seat.widened()
        spied.gates.pop("claim").set()
        await spied.until_called("claim", 1)
        seat.leave()
    assert [one.job.job_id for one in given] == [job.job_id]
    assert spied.calls["finish"] == 0


async def test_closing_gives_back_what_a_claim_under_way_brings(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts() as parts:
        job = await interrupted(spied, parts)
        closing = asyncio.create_task(parts.leasing.close())
        await asyncio.sleep(0)
        spied.gates.pop("claim").set()
        await closing
        assert (await read(spied.as_store, job)).state is State.WAITING


async def test_nobody_sits_down_while_it_closes(start_parts: StartParts) -> None:
    async with start_parts() as parts:
        await parts.leasing.close()
        with pytest.raises(Draining):
            await leased(parts)


async def test_a_queue_that_had_no_room_when_its_store_came_back_is_claimed_from_again(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    free: dict[str, int] = {"t": 1}
    turn = asyncio.Event()

    async def fresh(queue: str) -> None:
        """Reads the queue's settings; meanwhile another job may take the last slot."""
        if "claim" not in spied.away and turn.is_set():
            free.clear()
        for _ in range(10):  # longer than a claim after a failure is waited for
            await asyncio.sleep(0)

    class Rest:
        @property
        def free(self) -> int:
            return len(free)

        def of(self, queue: str) -> Mapping[str, int]:
            return dict(free)

        def take(self, queue: str, type_: str, /) -> bool:
            return free.pop(type_, 0) > 0

    async with start_parts(tick=200 * MILLISECOND) as parts:
        spied.away.add("claim")
        waiting = asyncio.create_task(first_leased(parts.leasing, {"t": 1}, 1, Rest, fresh=fresh))
        await added(store, a_draft())
        await spied.until_asked("claim", 1)
        turn.set()
        spied.away.clear()
        await until_async(lambda: _is_empty(free), within=5, what="the slot taken while settings are read")
        await added(store, a_draft())
        turn.clear()
        free["t"] = 1
        waiting.cancel()
        await asyncio.wait({waiting})
        async with asyncio.timeout(10):
            [one] = await first_leased(parts.leasing, {"t": 1}, 1)
    assert one.job.spec.type == "t"


async def _is_empty(free: Mapping[str, int]) -> bool:
    return not free


async def test_a_claim_that_was_never_sent_is_not_repeated(spied: SpiedStore, start_parts: StartParts) -> None:
    faults = [RuntimeError("the settings make no sense")]

    async def fresh(queue: str) -> None:
        if faults:
            raise faults.pop()

    async with start_parts(tick=HOUR) as parts:
        await added(spied.as_store, a_draft())
        await leased_one(parts, fresh=fresh)
    assert [(arguments[1], kwargs["repeated"]) for arguments, kwargs in spied.arguments["claim"]] == [({"t": 1}, False)]


async def test_outcomes_wait_while_more_jobs_are_about_to_come(spied: SpiedStore, start_parts: StartParts) -> None:
    store, came, enough = spied.as_store, list[Claimed](), asyncio.Event()

    def take(claimed: Sequence[Claimed]) -> None:
        came.extend(claimed)
        if len(came) == 120:
            enough.set()

    async with start_parts() as parts, asyncio.timeout(5):
        await parts.leasing.lull()  # nothing has come yet
        await added(store, *(a_draft() for _ in range(120)))
        gate = spied.gates["claim"] = asyncio.Event()
        asked = asyncio.create_task(spied.until_asked("claim", 2))
        parts.leasing.seat(["t"], lambda: FreeForAll({"t": 200}, 200 - len(came)), take)
        gate.set()
        await asked
        waiting = asyncio.create_task(parts.leasing.lull())
        await asyncio.sleep(0)
        assert not waiting.done()
        await waiting
        await enough.wait()
