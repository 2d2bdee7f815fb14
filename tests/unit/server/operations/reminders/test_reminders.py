"""Reminder sets over a real store: scheduled, moved, cancelled, and what a call that died leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from contract.builders import MINUTE, SECOND, a_draft, added, claimed_one, completed, failed, finished, read, wish
from redis import Redis
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.errors import OutcomeUnknown, RemindersNotFound, StoreAway, TocsinError
from tocsin_server.domain.job import Payload, View
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.reminders import ReminderKind, SetName, Wish
from tocsin_server.domain.states import State
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.reminders.fence import ReminderFence
from tocsin_server.operations.reminders.reminders import ReminderIdTaken, Reminders, Shown, ShownSet
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.store.interface import JobStore

NAME = SetName("q", ReminderKind.BOOKING, "42")
HOUR = timedelta(hours=1)
OFFSETS = (2 * HOUR, HOUR, timedelta(0))
ALL_AHEAD = 3 * HOUR


def reminders_on(store: JobStore) -> Reminders:
    return Reminders(store, ScheduleJobs(store, QueueSettingsCache(store).get))


@pytest.fixture
def reminders(spied: SpiedStore) -> Reminders:
    return reminders_on(spied.as_store)


@pytest.fixture
def fence(spied: SpiedStore) -> ReminderFence:
    return ReminderFence(spied.as_store)


def payload(offset: timedelta, revision: int) -> Payload:
    return Payload(11, f"{offset.total_seconds():g} {revision}".encode())


async def anchor(spied: SpiedStore, ahead: timedelta) -> datetime:
    """A time so far from the store's now."""
    return await spied.as_store.ping() + ahead


async def schedule(
    reminders: Reminders,
    at: datetime,
    offsets: Sequence[timedelta] = OFFSETS,
    content: bytes = b"x",
    name: SetName = NAME,
) -> ShownSet:
    return await reminders.schedule(name, Wish(at, tuple(offsets), content), payload)


def states(shown: ShownSet) -> list[State | str | None]:
    return [one.state if one.job_id else "skipped" for one in shown.reminders]


def ids(shown: ShownSet) -> list[str]:
    return [one.job_id for one in shown.reminders]


async def running(spied: SpiedStore) -> Claimed:
    """The first due reminder, in the hands of an attempt."""
    return await claimed_one(spied.as_store, types=["booking_reminder"])


async def running_early(spied: SpiedStore, job_id: str) -> Claimed:
    """This reminder in the hands of an attempt, long before its time: no test has to hurry."""
    [job] = await spied.as_store.update("q", [RunJob(job_id)])
    assert not isinstance(job, TocsinError)
    return await running(spied)


async def begins(fence: ReminderFence, one: Claimed, revision: int, name: SetName = NAME) -> bool:
    """Whether that attempt may send."""
    return not await why_not(fence, one, revision, name)


async def why_not(fence: ReminderFence, one: Claimed, revision: int, name: SetName = NAME) -> str:
    """Why that attempt may not send."""
    return await fence.begin(
        queue=name.queue,
        kind=name.kind.word,
        set_id=name.set_id,
        revision=revision,
        job_id=one.job.job_id,
        attempt=one.lease.attempt,
        now=await fence.now(),
    )


async def begins_at(fence: ReminderFence, job_id: str, now: datetime) -> str:
    """Why the first attempt of this reminder may not send at that time."""
    return await fence.begin(queue="q", kind="booking", set_id="42", revision=1, job_id=job_id, attempt=1, now=now)


async def jobs_in(spied: SpiedStore, *wanted: State) -> dict[str, int]:
    counts = (await spied.as_store.figures("q")).counts
    return {state.name: sum(counts.get(state, {}).values()) for state in wanted}


async def test_a_set_is_one_job_for_each_reminder_with_a_name_that_can_be_told(
    reminders: Reminders, spied: SpiedStore
) -> None:
    at = await anchor(spied, ALL_AHEAD)
    shown = await schedule(reminders, at, [HOUR, timedelta(0), 2 * HOUR, timedelta(milliseconds=-1500)])
    assert (shown.revision, shown.cancelled, shown.anchor) == (1, False, at)
    assert ids(shown) == ["booking:42:7200:g1", "booking:42:3600:g1", "booking:42:0:g1", "booking:42:-1.5:g1"]
    for one in shown.reminders:
        job = await read(spied.as_store, one.job_id)
        assert (job.state, job.schedule_time) == (State.SCHEDULED, at - one.offset)
        assert (job.spec.type, job.spec.tags) == ("booking_reminder", {"reminder": "booking/42"})
        assert job.spec.payload == payload(one.offset, 1)


async def test_the_same_call_again_changes_nothing(reminders: Reminders, spied: SpiedStore) -> None:
    at = await anchor(spied, ALL_AHEAD)
    first = await schedule(reminders, at)
    before = [await read(spied.as_store, job_id) for job_id in ids(first)]
    assert await schedule(reminders, at, tuple(reversed(OFFSETS))) == first
    assert [await read(spied.as_store, job_id) for job_id in ids(first)] == before


async def test_a_job_that_bears_a_reminders_id_keeps_it_from_nobody(reminders: Reminders, spied: SpiedStore) -> None:
    await added(spied.as_store, a_draft("booking:42:3600:g1"), a_draft("booking:42:3600:g2"))
    shown = await schedule(reminders, await anchor(spied, ALL_AHEAD))
    assert (shown.revision, states(shown)) == (3, [State.SCHEDULED] * 3)
    for job_id in ids(shown):
        assert (await read(spied.as_store, job_id)).spec.type == "booking_reminder"


async def test_where_another_job_has_come_to_bear_a_reminders_id_a_repeat_of_the_call_says_so(
    reminders: Reminders, spied: SpiedStore
) -> None:
    at = await anchor(spied, ALL_AHEAD)
    *_, last = ids(await schedule(reminders, at))
    await spied.as_store.delete("q", [last], ended_only=False)
    await added(spied.as_store, a_draft(last))
    with pytest.raises(ReminderIdTaken, match="Delete that job"):
        await schedule(reminders, at)


async def test_a_job_that_comes_to_bear_a_reminders_id_while_the_set_is_made_is_told(
    reminders: Reminders, spied: SpiedStore
) -> None:
    at = await anchor(spied, ALL_AHEAD)
    spied.gates["write_note"] = asyncio.Event()  # its ids were free a moment ago
    written = asyncio.create_task(spied.until_asked("write_note", 1))
    await asyncio.sleep(0)
    scheduling = asyncio.create_task(schedule(reminders, at))
    await written
    await added(spied.as_store, a_draft("booking:42:3600:g1"))
    spied.gates["write_note"].set()
    with pytest.raises(OutcomeUnknown, match="is no reminder of this set"):  # the set itself was made
        await scheduling


async def test_of_reminders_that_are_due_at_once_the_last_is_sent(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    shown = await schedule(reminders, await anchor(spied, ALL_AHEAD))
    at = shown.anchor - shown.reminders[-1].offset
    why = [await begins_at(fence, job_id, at) for job_id in ids(shown)]
    assert why == ["a later one is due", "a later one is due", ""]


async def test_a_later_one_that_will_not_be_sent_keeps_none_back(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    shown = await schedule(reminders, await anchor(spied, ALL_AHEAD))
    *_, second, last = [await read(spied.as_store, job_id) for job_id in ids(shown)]
    await spied.as_store.cancel("q", [wish(last.job_id)])
    at = shown.anchor - shown.reminders[-1].offset
    assert await begins_at(fence, second.job_id, at) == ""


async def test_what_has_passed_is_skipped_and_said(reminders: Reminders, spied: SpiedStore) -> None:
    shown = await schedule(reminders, await anchor(spied, timedelta(minutes=90)))
    assert states(shown) == ["skipped", State.SCHEDULED, State.SCHEDULED]
    assert await jobs_in(spied, State.SCHEDULED, State.WAITING) == {"SCHEDULED": 2, "WAITING": 0}
    long_ago = await schedule(reminders, await anchor(spied, -HOUR), name=SetName("q", ReminderKind.BOOKING, "old"))
    assert states(long_ago) == ["skipped"] * 3
    assert states(await reminders.show(long_ago.name)) == ["skipped"] * 3


async def test_a_move_makes_the_set_anew_and_cancels_the_old_jobs(reminders: Reminders, spied: SpiedStore) -> None:
    old = await schedule(reminders, await anchor(spied, ALL_AHEAD))
    at = await anchor(spied, timedelta(minutes=90))
    new = await schedule(reminders, at)
    assert new.revision == 2
    assert [(await read(spied.as_store, job_id)).state for job_id in ids(old)] == [State.CANCELLED] * 3
    assert new.reminders[1] == Shown(HOUR, at - HOUR, "booking:42:3600:g2", State.SCHEDULED)
    assert states(new) == ["skipped", State.SCHEDULED, State.SCHEDULED]
    assert await reminders.show(NAME) == new


async def test_a_reminder_that_was_sent_is_sent_again_for_another_anchor(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    old = await schedule(reminders, await anchor(spied, ALL_AHEAD), [HOUR, timedelta(0)])
    one = await running_early(spied, ids(old)[0])
    assert await begins(fence, one, 1)
    await finished(spied.as_store, completed(one))
    moved = await schedule(reminders, await anchor(spied, 2 * ALL_AHEAD), [HOUR, timedelta(0)])
    assert states(moved) == [State.SCHEDULED] * 2


async def test_once_a_set_has_moved_an_old_attempt_may_not_send(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    old = await schedule(reminders, await anchor(spied, HOUR), [timedelta(0)])
    one = await running_early(spied, ids(old)[0])
    await schedule(reminders, await anchor(spied, ALL_AHEAD))
    assert not await begins(fence, one, 1)
    assert not await begins(fence, one, 2), "a job of an earlier revision, whatever its payload says"
    assert not await begins(fence, one, 1, SetName("q", ReminderKind.PAYMENT, "42"))
    assert not await begins(fence, one, 1, SetName("other", ReminderKind.BOOKING, "42"))


@pytest.mark.parametrize("how", ["move", "cancel"])
async def test_a_change_is_answered_once_the_attempts_that_send_have_ended(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore, how: str
) -> None:
    old = await schedule(reminders, await anchor(spied, HOUR), [timedelta(0), -ALL_AHEAD])
    one = await running_early(spied, ids(old)[0])
    assert await begins(fence, one, 1)
    later = await anchor(spied, ALL_AHEAD)
    change = asyncio.create_task(schedule(reminders, later) if how == "move" else reminders.cancel(NAME, "rained off"))
    await spied.until_called("get", 5)
    assert not change.done()
    assert (await read(spied.as_store, one.job)).cancel is None, "what is half sent is not torn off"
    assert not await begins(fence, one, 1), "it may not begin a second time"

    await finished(spied.as_store, completed(one))
    shown = await asyncio.wait_for(change, 5)
    assert shown.revision == 2
    assert states(shown) == ([State.SCHEDULED] * 3 if how == "move" else [State.COMPLETED, State.CANCELLED])


async def test_an_attempt_that_failed_while_a_move_waited_for_it_is_not_tried_again(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    old = await schedule(reminders, await anchor(spied, HOUR), [timedelta(0)])
    one = await running_early(spied, ids(old)[0])
    assert await begins(fence, one, 1)
    move = asyncio.create_task(schedule(reminders, await anchor(spied, ALL_AHEAD)))
    await spied.until_called("get", 4)
    await finished(spied.as_store, failed(one, retry_in=HOUR))
    await asyncio.wait_for(move, 5)
    assert (await read(spied.as_store, one.job)).state is State.CANCELLED


async def test_a_repeat_of_a_move_waits_too(reminders: Reminders, fence: ReminderFence, spied: SpiedStore) -> None:
    """As its first caller may have gone away before the answer."""
    old = await schedule(reminders, await anchor(spied, HOUR), [timedelta(0)])
    one = await running_early(spied, ids(old)[0])
    assert await begins(fence, one, 1)
    at = await anchor(spied, ALL_AHEAD)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(schedule(reminders, at), 0.2)
    await finished(spied.as_store, completed(one))
    shown = await schedule(reminders, at)
    assert (shown.revision, states(shown)) == (2, [State.SCHEDULED] * 3)


async def test_cancelled_once_a_set_stays_so_until_it_is_scheduled_again(
    reminders: Reminders, spied: SpiedStore
) -> None:
    with pytest.raises(RemindersNotFound):
        await reminders.cancel(NAME, "")
    with pytest.raises(RemindersNotFound):
        await reminders.show(NAME)
    at = await anchor(spied, ALL_AHEAD)
    await schedule(reminders, at)
    gone = await reminders.cancel(NAME, "rained off")
    assert (gone.cancelled, gone.revision, states(gone)) == (True, 2, [State.CANCELLED] * 3)
    job = await read(spied.as_store, ids(gone)[0])
    assert job.cancel is not None
    assert job.cancel.reason == "rained off"
    assert await reminders.cancel(NAME, "again") == gone == await reminders.show(NAME)
    back = await schedule(reminders, at)
    assert (back.cancelled, back.revision, states(back)) == (False, 3, [State.SCHEDULED] * 3)


async def test_a_call_that_died_half_way_is_mended_by_its_repeat(reminders: Reminders, spied: SpiedStore) -> None:
    await schedule(reminders, await anchor(spied, 2 * ALL_AHEAD))
    at = await anchor(spied, ALL_AHEAD)
    for broken in ("cancel", "add"):
        spied.away = {broken}
        with pytest.raises(OutcomeUnknown):
            await schedule(reminders, at)
        spied.away = set()
    shown = await schedule(reminders, at)
    assert (shown.revision, states(shown)) == (2, [State.SCHEDULED] * 3)
    assert await jobs_in(spied, State.SCHEDULED, State.CANCELLED) == {"SCHEDULED": 3, "CANCELLED": 3}


async def test_a_store_that_is_away_at_once_was_not_asked_for_anything(reminders: Reminders, spied: SpiedStore) -> None:
    spied.away = {"write_note"}
    with pytest.raises(StoreAway):
        await schedule(reminders, await anchor(spied, ALL_AHEAD))


async def test_what_passed_while_a_call_lay_dead_is_skipped(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    at = await anchor(spied, SECOND / 5)
    spied.away = {"add"}
    with pytest.raises(OutcomeUnknown):
        await schedule(reminders, at, [timedelta(0), -ALL_AHEAD])
    spied.away = set()
    while await spied.as_store.ping() < at:
        pass
    assert states(await schedule(reminders, at, [timedelta(0), -ALL_AHEAD])) == ["skipped", State.SCHEDULED]


async def test_jobs_that_a_slow_call_makes_late_are_cancelled_by_it(reminders: Reminders, spied: SpiedStore) -> None:
    await schedule(reminders, await anchor(spied, 3 * ALL_AHEAD))
    slow_at, fast_at = await anchor(spied, 2 * ALL_AHEAD), await anchor(spied, ALL_AHEAD)
    spied.gates["write_note"] = asyncio.Event()
    slow = asyncio.create_task(schedule(reminders, slow_at))
    await spied.until_asked("write_note", 1)
    other = reminders_on(spied._store)  # another server
    while (await other.show(NAME)).revision < 2:
        pass
    fast = await schedule(other, fast_at)
    spied.gates["write_note"].set()
    assert await slow == fast == await other.show(NAME)
    assert await jobs_in(spied, State.SCHEDULED, State.CANCELLED) == {"SCHEDULED": 3, "CANCELLED": 6}


async def test_of_movers_at_the_same_time_the_last_one_is_what_stands(spied: SpiedStore) -> None:
    servers = [reminders_on(spied.as_store) for _ in range(3)]
    at = await anchor(spied, ALL_AHEAD)
    moves = [schedule(servers[n % 3], at + n * MINUTE) for n in range(30)]
    await asyncio.gather(*moves)
    shown = await servers[0].show(NAME)
    assert states(shown) == [State.SCHEDULED] * 3
    assert shown.revision == 30
    assert [one.send_time for one in shown.reminders] == [shown.anchor - offset for offset in OFFSETS]
    assert await jobs_in(spied, State.SCHEDULED) == {"SCHEDULED": 3}
    stored = await spied.as_store.read_note("q", NAME.key)
    assert stored is not None
    assert len(stored.value) < 3_000, "it does not grow with the moves"


async def test_callers_that_ask_the_same_at_once_make_one_set(spied: SpiedStore) -> None:
    servers = [reminders_on(spied.as_store) for _ in range(3)]
    at = await anchor(spied, ALL_AHEAD)
    shown = await asyncio.gather(*(schedule(servers[n % 3], at) for n in range(12)))
    assert {one.revision for one in shown} == {1}
    assert await jobs_in(spied, State.SCHEDULED, State.CANCELLED) == {"SCHEDULED": 3, "CANCELLED": 0}


async def test_with_new_content_what_is_due_is_not_lost_and_what_was_sent_is_not_sent_again(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    at = await anchor(spied, MINUTE + SECOND)
    offsets = [MINUTE + 2 * timedelta(milliseconds=20), MINUTE + timedelta(milliseconds=20), MINUTE, -ALL_AHEAD]
    old = await schedule(reminders, at, offsets)
    sent = await running_early(spied, ids(old)[0])
    assert await begins(fence, sent, 1)
    while await spied.as_store.ping() < at - MINUTE:
        pass
    taken = await running(spied)
    change = asyncio.create_task(schedule(reminders, at, offsets, b"y"))
    await spied.until_called("get", 3)
    await finished(spied.as_store, completed(sent))
    shown = await asyncio.wait_for(change, 5)
    assert shown.revision == 2
    assert ids(shown)[0] == sent.job.job_id
    assert states(shown) == [State.COMPLETED, State.WAITING, State.WAITING, State.SCHEDULED]
    assert not await begins(fence, taken, 1), "it would send the old content"
    # Of the two that are due it is the later one that is sent.
    assert await why_not(fence, await running(spied), 2) == "a later one is due"
    assert await begins(fence, await running(spied), 2)


async def test_a_set_that_was_forgotten_takes_no_ids_of_jobs_that_still_stand(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore, valkey_client: Redis
) -> None:
    await schedule(reminders, await anchor(spied, HOUR), [timedelta(0)])
    moved = await schedule(reminders, await anchor(spied, HOUR + MINUTE), [timedelta(0)])
    one = await running_early(spied, ids(moved)[0])
    valkey_client.delete(*valkey_client.keys("*:bbooking/42"))
    assert not await begins(fence, one, 2)
    again = await schedule(reminders, await anchor(spied, ALL_AHEAD), [timedelta(0)])
    assert (again.revision, states(again)) == (3, [State.SCHEDULED])


async def test_the_longest_ids_have_sets_of_their_own(reminders: Reminders, spied: SpiedStore) -> None:
    at = await anchor(spied, ALL_AHEAD)
    names = [
        SetName("q", kind, set_id)
        for kind in ReminderKind
        for set_id in ("\U0001f514" * 199 + "a", "\U0001f514" * 200, "a" * 200)
    ]
    shown = [await schedule(reminders, at, name=name) for name in names]
    every = [job_id for one in shown for job_id in ids(one)]
    assert len(set(every)) == len(every)
    assert max(len(job_id) for job_id in every) <= 200
    assert [await reminders.show(name) for name in names] == shown
    moved = await schedule(reminders, at + HOUR, name=names[0])
    assert (moved.revision, states(moved)) == (2, [State.SCHEDULED] * 3)


async def test_a_fence_that_lost_its_answer_asks_again(
    reminders: Reminders, fence: ReminderFence, spied: SpiedStore
) -> None:
    old = await schedule(reminders, await anchor(spied, HOUR), [timedelta(0)])
    one = await running_early(spied, ids(old)[0])
    spied.lose["write_note"] = 2
    assert await begins(fence, one, 1)
    spied.lose["write_note"] = 3
    with pytest.raises(OutcomeUnknown):
        await begins(fence, one, 1)


async def test_reminders_of_a_booking_expire_when_it_begins(reminders: Reminders, spied: SpiedStore) -> None:
    at = await anchor(spied, 2 * HOUR)
    offsets = (timedelta(minutes=30), timedelta(0))
    booked = await schedule(reminders, at, offsets)
    jobs = await spied.as_store.get("q", ids(booked), View.BASIC)
    assert [job and job.expire_time for job in jobs] == [at, at + timedelta(minutes=5)]
    payment = SetName("q", ReminderKind.PAYMENT, "p")
    owed = await schedule(reminders, at, offsets, name=payment)
    jobs = await spied.as_store.get("q", ids(owed), View.BASIC)
    assert [job and job.expire_time for job in jobs] == [None, None]
