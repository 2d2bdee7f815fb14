"""Jobs of one key: which of them stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tocsin_server.domain.commands import HoldJob, UpdateJob
from tocsin_server.domain.conditions import Collapse, CollapseMode, Conditions
from tocsin_server.domain.job import Draft, Kept, New, OnConflict, Replaced, View
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Every, Timing
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore
from tocsin_server.store.schedule_store import ScheduleWrite

from contract.builders import (
    EARLIER,
    HOUR,
    LATER,
    MINUTE,
    NOW,
    a_draft,
    a_job,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    good,
    placed,
    read,
)
from contract.damaging import Damage
from contract.keyed_jobs import (
    DEBOUNCE,
    KEEP,
    REPLACE,
    THROTTLE,
    begun,
    body_of,
    did,
    keyed,
    passed,
    states,
)

# --- keep ---


async def test_keep_makes_no_second_job_while_one_has_not_ended(store: JobStore) -> None:
    assert await did(store, keyed(KEEP, "a", when=HOUR, body=b"1")) == (New, "a")
    assert await did(store, keyed(KEEP, "b", body=b"2")) == (Kept, "a")
    await store.update("q", [UpdateJob("a", when=NOW)])
    assert await did(store, keyed(KEEP)) == (Kept, "a")
    one = await claimed_one(store)
    assert await did(store, keyed(KEEP)) == (Kept, "a")
    await finished(store, failed(one, retry_in=HOUR))
    assert await did(store, keyed(KEEP)) == (Kept, "a")
    await store.update("q", [UpdateJob("a", when=NOW)])
    await finished(store, completed(await claimed_one(store)))
    assert await did(store, keyed(KEEP, "c")) == (New, "c")
    assert await body_of(store, "a") == b"1"


async def test_a_job_that_is_replaced_leaves_its_key_to_those_behind_it_in_the_call(store: JobStore) -> None:
    await did(store, keyed(KEEP, "a"))
    replaced = keyed(KEEP, "a", key="l", on_conflict=OnConflict.REPLACE)
    answers = await store.add([replaced, keyed(KEEP, "b"), keyed(KEEP, "c", key="l"), keyed(KEEP, "d")])
    assert [type(one) for one in answers] == [Replaced, New, Kept, Kept]
    assert [(await read(store, "a")).state, (await read(store, "b")).state] == [State.WAITING, State.WAITING]


@pytest.mark.parametrize("others", [{"key": "l"}, {"type": "u"}, {"queue": "r"}])
async def test_jobs_of_another_key_type_or_queue_are_others(store: JobStore, others: dict[str, str]) -> None:
    await did(store, keyed(KEEP, "a"))
    assert await did(store, keyed(KEEP, "b", **others)) == (New, "b")


async def test_a_key_may_have_any_characters(store: JobStore) -> None:
    key = "a:b/{c}* \N{BELL}" + 150 * "x"
    assert await did(store, keyed(KEEP, "a", key=key)) == (New, "a")
    assert await did(store, keyed(KEEP, "b", key=key)) == (Kept, "a")
    assert (await read(store, "a")).spec.conditions.collapse == Collapse(key, KEEP)


async def test_keep_with_a_window_remembers_jobs_that_have_ended(movable: JobStore) -> None:
    window = HOUR
    await finished(movable, completed(await begun(movable, keyed(KEEP, "a", window=window))))
    await passed(movable, HOUR - MINUTE)
    assert await did(movable, keyed(KEEP, window=window)) == (Kept, "a")
    assert await did(movable, keyed(KEEP, "b", window=MINUTE)) == (New, "b")
    await cancelled(movable, await read(movable, "b"))
    await passed(movable, HOUR)
    assert await did(movable, keyed(KEEP, "c", window=window)) == (New, "c")


@pytest.mark.parametrize("mode", [KEEP, THROTTLE])
async def test_deleting_and_trimming_free_a_key(movable: JobStore, mode: CollapseMode) -> None:
    day = timedelta(days=10)
    await finished(movable, completed(await begun(movable, keyed(mode, "a", window=day))))
    assert await did(movable, keyed(mode, "b", window=day)) == (Kept, "a")
    await movable.delete("q", ["a"])
    await finished(movable, completed(await begun(movable, keyed(mode, "b", window=day))))
    await passed(movable, timedelta(days=2))
    assert await movable.trim("q", completed_max=10, failed_max=10) == 1
    assert await did(movable, keyed(mode, "c", window=day)) == (New, "c")


# --- replace ---


async def test_replace_puts_the_newest_in_the_place_of_what_waits(store: JobStore) -> None:
    assert await did(store, keyed(REPLACE, "a", when=HOUR, body=b"1")) == (New, "a")
    before = await read(store, "a")
    assert await did(store, keyed(REPLACE, body=b"22", when=2 * HOUR, priority=3)) == (Replaced, "a")
    job = await read(store, "a")
    assert (job.state, job.spec.priority, job.create_time) == (State.SCHEDULED, 3, before.create_time)
    assert job.schedule_time - before.schedule_time >= HOUR
    assert await did(store, keyed(REPLACE, "b", body=b"3")) == (Replaced, "a")
    assert await body_of(store, "a") == b"3"
    assert (await claimed_one(store)).job.job_id == "a"


async def test_replace_lets_one_that_runs_go_on_and_one_wait(store: JobStore) -> None:
    one = await begun(store, keyed(REPLACE, "a", body=b"1"))
    assert await did(store, keyed(REPLACE, "b", body=b"2")) == (New, "b")
    assert await did(store, keyed(REPLACE, "c", body=b"3")) == (Replaced, "b")
    await finished(store, failed(one, retry_in=HOUR))
    assert await states(store) == {State.SCHEDULED: 1, State.WAITING: 1}
    assert await did(store, keyed(REPLACE, "d", body=b"4")) == (Replaced, "b")
    assert await body_of(store, "b") == b"4"


async def test_replace_takes_the_place_of_what_is_to_be_tried_again(store: JobStore) -> None:
    await finished(store, failed(await begun(store, keyed(REPLACE, "a", body=b"1")), retry_in=HOUR))
    assert await did(store, keyed(REPLACE, body=b"2")) == (Replaced, "a")
    job = await read(store, "a")
    assert (job.state, job.failures, job.errors, job.attempt) == (State.WAITING, 0, (), 1)


async def test_replaced_twice_in_a_call_it_has_nothing_of_what_was_before(store: JobStore) -> None:
    await finished(store, failed(await begun(store, keyed(REPLACE, "a", body=b"1")), retry_in=HOUR))
    await store.add([keyed(REPLACE, body=b"2"), keyed(REPLACE, body=b"3")])
    again = a_draft("a", on_conflict=OnConflict.REPLACE, when=HOUR)
    await finished(store, failed(await claimed_one(store), retry_in=HOUR))
    await store.add([again, again])
    await cancelled(store, await read(store, "a"))
    assert (await read(store, "a")).errors == ()


async def test_a_held_job_is_replaced_and_stays_held(store: JobStore) -> None:
    await did(store, keyed(REPLACE, "a"))
    await store.update("q", [HoldJob("a")])
    assert await did(store, keyed(REPLACE, body=b"2")) == (Replaced, "a")
    assert await did(store, keyed(KEEP)) == (Kept, "a")
    assert (await read(store, "a")).held
    assert await body_of(store, "a") == b"2"
    assert not await claimed(store)


# --- throttle ---


async def test_throttle_makes_the_first_of_each_window(movable: JobStore) -> None:
    window = HOUR
    assert await did(movable, keyed(THROTTLE, "a", window=window)) == (New, "a")
    await finished(movable, completed(await claimed_one(movable)))
    await passed(movable, HOUR - MINUTE)
    assert await did(movable, keyed(THROTTLE, "b", window=window)) == (Kept, "a")
    await passed(movable, MINUTE)
    assert await did(movable, keyed(THROTTLE, "c", window=window)) == (New, "c")
    assert await did(movable, keyed(THROTTLE, "d", window=window)) == (Kept, "c")
    await passed(movable, HOUR)
    assert await did(movable, keyed(THROTTLE, "e", window=window)) == (New, "e")  # though "c" waits still
    assert await did(movable, keyed(THROTTLE, "f", window=window)) == (Kept, "e")
    assert await states(movable) == {State.COMPLETED: 1, State.WAITING: 2}


# --- debounce ---


async def test_debounce_runs_the_newest_when_none_has_come_for_a_window(movable: JobStore) -> None:
    window = HOUR
    begin = await movable.ping()
    assert await did(movable, keyed(DEBOUNCE, "a", body=b"1", window=window)) == (New, "a")
    job = await read(movable, "a")
    assert (job.state, job.schedule_time - job.create_time) == (State.SCHEDULED, HOUR)
    for body in (b"2", b"3"):
        await passed(movable, 50 * MINUTE)
        assert not await claimed(movable)
        assert await did(movable, keyed(DEBOUNCE, body=body, window=window)) == (Replaced, "a")
    assert (await read(movable, "a")).schedule_time - begin >= HOUR + 100 * MINUTE
    await passed(movable, 59 * MINUTE)
    assert not await claimed(movable)
    await passed(movable, MINUTE)
    one = await claimed_one(movable)
    assert await body_of(movable, one.job.job_id) == b"3"
    assert await did(movable, keyed(DEBOUNCE, "b", window=window)) == (New, "b")
    assert await did(movable, keyed(DEBOUNCE, "c", window=window)) == (Replaced, "b")


async def test_debounce_waits_no_longer_than_it_is_told(movable: JobStore) -> None:
    window, max_wait = HOUR, 2 * HOUR
    await did(movable, keyed(DEBOUNCE, "a", window=window, max_wait=max_wait))
    first = await read(movable, "a")
    for _ in range(3):
        await passed(movable, 30 * MINUTE)
        assert await did(movable, keyed(DEBOUNCE, window=window, max_wait=max_wait)) == (Replaced, "a")
    assert (await read(movable, "a")).schedule_time - first.create_time == 2 * HOUR
    await passed(movable, 30 * MINUTE)
    assert await did(movable, keyed(DEBOUNCE, body=b"x", window=window, max_wait=max_wait)) == (Replaced, "a")
    job = await read(movable, "a")
    assert job.state is State.WAITING
    assert len(await claimed(movable)) == 1


# --- ids, batches, moves ---


async def test_an_id_that_stands_is_asked_before_the_key(store: JobStore) -> None:
    await did(store, keyed(KEEP, "a", key="k"))
    await did(store, keyed(KEEP, "b", key="l"))
    assert await did(store, keyed(KEEP, "b", key="k", on_conflict=OnConflict.KEEP)) == (Kept, "b")
    assert await did(store, keyed(KEEP, "c", key="k", on_conflict=OnConflict.KEEP)) == (Kept, "a")


async def test_another_spec_under_an_id_frees_its_key_and_takes_another(store: JobStore) -> None:
    await did(store, keyed(KEEP, "a", key="k"))
    await did(store, keyed(KEEP, "a", key="l", on_conflict=OnConflict.REPLACE))
    assert await did(store, keyed(KEEP, "b", key="k")) == (New, "b")
    assert await did(store, keyed(KEEP, "c", key="l")) == (Kept, "a")
    await added(store, a_draft("a", on_conflict=OnConflict.REPLACE))
    assert await did(store, keyed(KEEP, "c", key="l")) == (New, "c")


@pytest.mark.parametrize("ids", [True, False])
async def test_jobs_of_a_batch_are_taken_in_order(store: JobStore, ids: bool) -> None:
    modes = [(KEEP, "k"), (KEEP, "l"), (KEEP, "k"), (REPLACE, "l"), (REPLACE, "k"), (KEEP, "m")]

    def a_batch(first: int) -> list[Draft]:
        return [
            keyed(mode, f"{first + at}" if ids else None, key=key, body=b"%d" % (first + at))
            for at, (mode, key) in enumerate(modes)
        ]

    answers = [good(one) for one in await store.add([*a_batch(0), a_draft(), *a_batch(10)])]
    expected = [New, New, Kept, Replaced, Replaced, New, New, Kept, Kept, Kept, Replaced, Replaced, Kept]
    assert [type(one) for one in answers] == expected
    bodies = [await body_of(store, answers[at].job_id) for at in (0, 1, 5) if isinstance(answers[at], New)]  # type: ignore[union-attr]
    assert bodies == [b"14", b"13", b"5"]


async def test_one_that_is_made_anew_has_its_key_for_those_behind_it_in_the_batch(store: JobStore) -> None:
    [job] = await added(store, a_draft("a"))
    await cancelled(store, job)
    anew = keyed(REPLACE, "a", on_conflict=OnConflict.REPLACE)
    answers = await store.add([anew, keyed(REPLACE, "b", body=b"2"), keyed(KEEP, "c")])
    assert [type(good(one)) for one in answers] == [Replaced, Replaced, Kept]
    assert await body_of(store, "a") == b"2"
    assert await states(store) == {State.WAITING: 1}


async def test_many_of_one_key_in_one_batch_are_one_job(store: JobStore) -> None:
    answers = await store.add([keyed(REPLACE, body=b"%d" % at) for at in range(120)])
    assert [type(good(one)) for one in answers] == [New] + 119 * [Replaced]
    one = await claimed_one(store)
    assert await body_of(store, one.job.job_id) == b"119"
    assert await states(store) == {State.ACTIVE: 1}


async def test_a_job_that_is_placed_has_its_key(store: JobStore) -> None:
    life, of_key = {"attempt": 0}, Conditions(collapse=Collapse("k", KEEP))
    await placed(store, a_job("a", life=life, conditions=of_key), a_job("b", State.CANCELLED, conditions=of_key))
    assert await did(store, keyed(KEEP)) == (Kept, "a")
    await placed(store, a_job("a", life=life), over=True)
    assert await did(store, keyed(KEEP, "c")) == (New, "c")


async def test_jobs_of_schedules_collapse_with_others(store: JobStore) -> None:
    spec = replace(keyed(KEEP).spec, payload=None)
    for schedule_id, time, mode in (("s", "1", KEEP), ("s", "2", KEEP), ("r", "3", REPLACE)):
        collapse = Collapse("k", mode)
        job = replace(spec, priority=int(time), conditions=Conditions(collapse=collapse))
        schedule = Schedule(ScheduleSpec("q", schedule_id, Timing(Every(HOUR, EARLIER)), job), EARLIER, EARLIER)
        [stands] = await store.schedules.read_schedules("q", [schedule_id])
        fires = [Draft(job, f"{schedule_id}@{time}", EARLIER, OnConflict.KEEP, fired=True)]
        schedule = replace(schedule, next_time=LATER, stamp="" if stands is None else stands.stamp)
        assert await store.schedules.put_schedules("q", [ScheduleWrite(schedule, fires)]) == [True]
    found = await store.get("q", ["s@1", "s@2", "r@3"], View.BASIC)
    assert [job and job.spec.priority for job in found] == [3, None, None]
    [after] = await store.schedules.read_schedules("q", ["s"])
    assert after is not None
    assert after.next_time == LATER
    assert (await store.ticks(["q"]))["q"].next_schedule == LATER


async def test_checking_mends_what_keys_are_found_by(store: JobStore, damage: Damage) -> None:
    await did(store, keyed(KEEP, "a"))
    await begun(store, keyed(KEEP, "b", key="l", priority=1))
    damage.lose_alarms("q")
    while not (await store.check()).done:
        pass
    assert await did(store, keyed(KEEP)) == (Kept, "a")
    assert await did(store, keyed(KEEP, key="l")) == (Kept, "b")
    while not (step := await store.check()).done:
        assert step.mended == {}
