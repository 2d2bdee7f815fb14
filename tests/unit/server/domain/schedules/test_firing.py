"""What a schedule does at a time: by hand, and held against a slow model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, terms
from tocsin_server.domain.job import JobSpec, Payload
from tocsin_server.domain.nominal_times import job_id_of
from tocsin_server.domain.schedules.firing import MOST_FIRED, MOST_PASSED, PUNCTUAL, next_step
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Every, Timing

MADE = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
JOB = JobSpec("q", "t", None, 0, terms(UNSET, SERVER_DEFAULTS))


def a_schedule(
    every: timedelta = MINUTE,
    *,
    overlap: Overlap = Overlap.ALLOW,
    missed: Missed = Missed.ONCE,
    max_runs: int | None = None,
    window: timedelta | None = None,
    most: int = 100,
) -> Schedule:
    """Made at MADE, so that its first time is one interval later."""
    spec = ScheduleSpec("q", "s", Timing(Every(every), max_runs=max_runs), JOB, overlap, missed, window, most)
    fresh = Schedule(spec, MADE, None)
    return fresh.from_now_on(fresh.reckoning(), MADE)


def run(schedule: Schedule, now: datetime, *, going: bool = False) -> tuple[list[datetime], list[str], Schedule, int]:
    """All steps until there is nothing to do: times fired, jobs cancelled, what stands then, how many steps."""
    reckoning = schedule.reckoning()
    fired: list[datetime] = []
    cancelled: list[str] = []
    for steps in range(10_000):
        step = next_step(schedule, reckoning, now, going=going)
        if step is None:
            return fired, cancelled, schedule, steps
        assert len(step.fires) <= MOST_FIRED
        before, after = schedule.next_time, step.after.next_time
        assert before is None or after is None or after >= before
        going = (going and step.cancels is None) or bool(step.fires)
        fired += [one.time for one in step.fires]
        cancelled += [] if step.cancels is None else [step.cancels]
        schedule = step.after
        if not step.more:
            assert next_step(schedule, reckoning, now, going=True) is None
    raise AssertionError("it does not come to an end")


def test_made_it_fires_nothing_at_once() -> None:
    schedule = a_schedule()
    assert schedule.next_time == MADE + MINUTE
    assert next_step(schedule, schedule.reckoning(), MADE + MINUTE - SECOND, going=False) is None


@pytest.mark.parametrize(("size", "at_once"), [(300 << 10, 3), (1 << 20, 1), (1, 10), (0, 10)])
def test_large_jobs_are_fired_few_at_once(size: int, at_once: int) -> None:
    schedule = a_schedule(missed=Missed.ALL)
    job = replace(JOB, payload=Payload(11, bytes(size)))
    schedule = replace(schedule, spec=replace(schedule.spec, job=job))
    step = next_step(schedule, schedule.reckoning(), MADE + 10 * MINUTE, going=False)
    assert step is not None
    assert len(step.fires) == at_once
    fired, _, after, _ = run(schedule, MADE + 10 * MINUTE)
    assert fired == [MADE + minutes * MINUTE for minutes in range(1, 11)]
    assert (after.fired, after.missed) == (10, 0)


def test_resumed_it_fires_nothing_at_once_and_pauses_are_not_missed() -> None:
    schedule = a_schedule(overlap=Overlap.QUEUE_ONE)
    _, _, schedule, _ = run(schedule, MADE + MINUTE, going=True)
    assert schedule.held_time == MADE + MINUTE
    paused = replace(schedule, spec=replace(schedule.spec, paused=True))
    paused = paused.from_now_on(paused.reckoning(), MADE + 2 * MINUTE)
    assert (paused.next_time, paused.held_time, paused.overlap_skipped) == (None, None, 1)
    assert run(paused, MADE + 90 * MINUTE)[0] == []
    resumed = replace(paused, spec=schedule.spec).from_now_on(paused.reckoning(), MADE + 90 * MINUTE)
    assert (resumed.next_time, resumed.missed) == (MADE + 91 * MINUTE, 0)


@pytest.mark.parametrize(
    ("missed", "fired", "counted"),
    [(Missed.ONCE, [10], 9), (Missed.SKIP, [], 10), (Missed.ALL, [*range(1, 11)], 0)],
)
def test_after_an_outage(missed: Missed, fired: Sequence[int], counted: int) -> None:
    now = MADE + timedelta(minutes=109)
    times, _, after, _ = run(a_schedule(timedelta(minutes=10), missed=missed), now)
    assert times == [MADE + number * timedelta(minutes=10) for number in fired]
    assert (after.fired, after.missed) == (len(fired), counted)
    assert after.next_time == MADE + timedelta(minutes=110)


def test_a_week_of_seconds_is_passed_over_in_small_steps() -> None:
    now = MADE + timedelta(days=1)
    times, _, after, steps = run(a_schedule(SECOND, missed=Missed.SKIP), now)
    assert times == [now + number * SECOND for number in range(-60, 1)]
    assert after.missed == 86_400 - 61
    assert steps == pytest.approx(86_400 / MOST_PASSED, abs=5)


def test_catching_up_is_bounded_by_window_and_number() -> None:
    now = MADE + timedelta(days=3)
    hourly = a_schedule(timedelta(hours=1), missed=Missed.ALL, window=timedelta(hours=10), most=7)
    times, _, after, _ = run(hourly, now)
    assert times == [now - number * timedelta(hours=1) for number in range(7, -1, -1)]
    assert after.missed == 72 - 8
    times, _, after, _ = run(a_schedule(timedelta(hours=1), missed=Missed.ALL, window=timedelta(hours=5)), now)
    assert times == [now - number * timedelta(hours=1) for number in range(5, -1, -1)]


def test_the_job_of_before_is_cancelled() -> None:
    schedule = a_schedule(overlap=Overlap.CANCEL_OTHER)
    first, cancelled, schedule, _ = run(schedule, MADE + MINUTE)
    assert (first, cancelled) == ([MADE + MINUTE], [])
    second, cancelled, schedule, _ = run(schedule, MADE + 2 * MINUTE, going=True)
    assert (second, cancelled) == ([MADE + 2 * MINUTE], ["s@2026-01-01T00:01:00Z"])


def test_one_waits_and_goes_when_the_one_before_has_ended() -> None:
    schedule = a_schedule(overlap=Overlap.QUEUE_ONE)
    _, _, schedule, _ = run(schedule, MADE + MINUTE)
    _, _, schedule, _ = run(schedule, MADE + 2 * MINUTE, going=True)
    _, _, schedule, _ = run(schedule, MADE + 3 * MINUTE, going=True)
    assert (schedule.held_time, schedule.fired, schedule.overlap_skipped) == (MADE + 2 * MINUTE, 1, 1)
    assert schedule.look_time == schedule.held_time
    times, _, schedule, _ = run(schedule, MADE + 3 * MINUTE + SECOND)
    assert times == [MADE + 2 * MINUTE]
    assert (schedule.held_time, schedule.last_time, schedule.fired) == (None, MADE + 2 * MINUTE, 2)


def test_it_ends_after_its_runs() -> None:
    times, _, after, _ = run(a_schedule(timedelta(seconds=20), max_runs=2), MADE + MINUTE)
    assert len(times) == 2
    assert after.next_time is None
    waits = a_schedule(overlap=Overlap.QUEUE_ONE, max_runs=1)
    times, _, after, _ = run(waits, MADE + MINUTE, going=True)
    assert (times, after.next_time, after.held_time) == ([], None, MADE + MINUTE)
    assert run(after, MADE + 9 * MINUTE)[0] == [MADE + MINUTE]


@pytest.mark.parametrize("missed", Missed)
def test_a_time_that_is_none_any_more_is_neither_fired_nor_missed(missed: Missed) -> None:
    schedule = replace(a_schedule(timedelta(hours=1), missed=missed), next_time=MADE + MINUTE)
    times, _, after, _ = run(schedule, MADE + 2 * MINUTE)
    assert (times, after.missed, after.fired) == ([], 0, 0)
    assert after.next_time == MADE + timedelta(hours=1)


def test_an_id_names_the_time() -> None:
    assert job_id_of("pay-day", MADE) == "pay-day@2026-01-01T00:00:00Z"
    assert job_id_of("a", MADE + timedelta(milliseconds=50)) == "a@2026-01-01T00:00:00.050Z"


# --- a slow model: each time by itself ---


def model(schedule: Schedule, now: datetime, *, going: bool) -> tuple[list[datetime], int, int]:
    """Times fired, how many are missed, and how many give way, of a schedule of which nothing was fired yet."""
    spec, rule = schedule.spec, schedule.spec.timing.rule
    assert isinstance(rule, Every)
    assert schedule.next_time is not None
    due, time = [], schedule.next_time
    while time <= now:
        due.append(time)
        time += rule.interval
    late = [time for time in due if now - time > PUNCTUAL]
    punctual = due[len(late) :]
    kept = {
        Missed.SKIP: [],
        Missed.ONCE: [] if punctual else late[-1:],
        Missed.ALL: [time for time in late if spec.catch_up_window is None or now - time <= spec.catch_up_window],
    }[spec.missed]
    kept = kept[-spec.catch_up_max :]
    wanted = kept + punctual
    if spec.overlap is Overlap.ALLOW:
        fired = wanted
    else:
        fired = [] if going else wanted[:1]
    return fired, len(late) - len(kept), len(wanted) - len(fired)


@settings(max_examples=300)
@given(
    every=st.integers(1, 4_000),
    missed=st.sampled_from(Missed),
    overlap=st.sampled_from([Overlap.ALLOW, Overlap.SKIP]),
    window=st.none() | st.integers(61, 100_000),
    most=st.integers(1, 300),
    away=st.integers(1, 20_000),
    going=st.booleans(),
)
def test_steps_do_what_the_policy_says(
    every: int, missed: Missed, overlap: Overlap, window: int | None, most: int, away: int, going: bool
) -> None:
    span = None if window is None else window * SECOND
    schedule = a_schedule(every * SECOND, overlap=overlap, missed=missed, window=span, most=most)
    now = MADE + away * SECOND
    fired, _, after, _ = run(schedule, now, going=going)
    expected, counted, skipped = model(schedule, now, going=going)
    assert fired == expected
    assert (after.missed, after.fired, after.overlap_skipped) == (counted, len(expected), skipped)
    assert after.next_time is not None
    assert now < after.next_time <= now + every * SECOND
