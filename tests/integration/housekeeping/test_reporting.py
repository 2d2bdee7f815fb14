"""A report's figures are those of the jobs, and it says what it cannot know."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from contract.backdating import Backdate
from contract.builders import HOUR, MINUTE, a_draft, added, claimed, completed, failed, finished
from support.spied_store import SpiedStore
from tocsin_server.domain.defaults import SERVER_DEFAULTS, JobDefaults
from tocsin_server.domain.job import Job, Retention
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.operations.reporting.report import EmptyWindow, Report, Reporting
from tocsin_server.operations.reporting.retention import DEAD, DONE, Retained
from tocsin_server.store.interface import JobStore

from integration.housekeeping.ending import again, ended

DAY = 24 * HOUR
COMPLETED, FAILED, CANCELLED = State.COMPLETED, State.FAILED, State.CANCELLED
RETAINED = Retained(SERVER_DEFAULTS, 10_000, 100_000)


async def reported(
    store: JobStore,
    start: datetime | timedelta | None = None,
    end: datetime | None = None,
    *,
    retained: Retained = RETAINED,
    step: int = 200,
    told: list[tuple[int, int]] | None = None,
) -> Report:
    """`start` as a span: so long before the store's now. What ended before the call is in the past of the report."""
    now = await store.ping()
    while await store.ping() == now:
        pass
    if isinstance(start, timedelta):
        start = await store.ping() - start
    tell = (lambda done, most: told.append((done, most))) if told is not None else (lambda done, most: None)
    return await Reporting(store, retained, step=step).report("q", start, end, tell)


async def test_the_figures_agree_with_what_was_done(store: JobStore, backdate: Backdate) -> None:
    """Random ends at random times, each noted; half a second apart from the window's edge, so that no clock matters."""
    chance = random.Random(5)
    wanted = [
        (
            chance.choice("abc"),
            chance.choice([COMPLETED] * 6 + [FAILED, CANCELLED]),
            timedelta(minutes=chance.randrange(1, 2 * 24 * 60)) + timedelta(seconds=30),
        )
        for _ in range(300)
    ]
    jobs = await ended(store, backdate, *wanted)
    told: list[tuple[int, int]] = []
    report = await reported(store, step=50, told=told)
    inside = [(type_, state) for type_, state, ago in wanted if ago < DAY]
    by_state = Counter(state for _, state in inside)
    total = report.total
    assert (total.completed, total.failed, total.cancelled) == tuple(
        by_state[s] for s in (COMPLETED, FAILED, CANCELLED)
    )
    by_type = Counter(type_ for type_, _ in inside)
    assert {type_: figures.ended for type_, figures in report.types.items()} == by_type
    assert sum(figures.ended for _, figures in report.intervals()) == len(inside)
    assert sum(cell.completed + cell.failed + cell.cancelled for _, _, cell in report.table) == len(inside)
    [reason_a, *_] = [reason for reason in report.reasons if reason.type == "a"]
    assert (reason_a.error, reason_a.message) == ("ValueError", "no")
    assert reason_a.jobs == Counter(inside)["a", FAILED]
    assert told[-1] == (len(inside), len(jobs))


async def test_waiting_and_run_times_are_those_of_the_jobs(store: JobStore, backdate: Backdate) -> None:
    jobs = await ended(store, backdate, *[("a", COMPLETED, timedelta(0))] * 20, *[("b", FAILED, timedelta(0))] * 20)
    report = await reported(store, HOUR)
    assert report.total.waits.count == report.total.runs.count == 40
    assert report.total.waits.max == max(job.start_time - job.schedule_time for job in jobs if job.start_time)
    assert report.total.runs.max == max(
        job.end_time - job.start_time for job in jobs if job.end_time and job.start_time
    )
    assert report.types["b"].runs.count == 20


async def test_attempts_that_were_tried_again_are_counted_with_their_reason(store: JobStore) -> None:
    await added(store, *(a_draft() for _ in range(3)))
    for one in await claimed(store):
        await finished(store, failed(one, timedelta(0), type="OSError", message="away"))
    for one in await claimed(store):
        await finished(store, completed(one))
    report = await reported(store, HOUR)
    assert (report.total.completed, report.total.attempts, report.total.repeats, report.total.failures) == (3, 6, 3, 3)
    [reason] = report.reasons
    assert (reason.error, reason.message, reason.jobs, reason.attempts) == ("OSError", "away", 0, 3)


async def test_the_window_takes_its_start_in_and_leaves_its_end_out(store: JobStore, backdate: Backdate) -> None:
    first, second, third = await ended(store, backdate, *[("a", COMPLETED, ago * HOUR) for ago in (9, 6, 3)])
    assert second.end_time is not None
    assert third.end_time is not None
    report = await reported(store, second.end_time, third.end_time)
    assert (report.total.ended, report.start, report.end) == (1, second.end_time, third.end_time)
    report = await reported(store, second.end_time, third.end_time + timedelta(milliseconds=1))
    assert report.total.ended == 2
    assert first.end_time is not None


async def test_without_times_it_is_the_last_24_hours_and_a_time_to_come_means_now(store: JobStore) -> None:
    now = await store.ping()
    report = await reported(store)
    assert report.end - report.start == DAY
    assert now <= report.end <= await store.ping()
    assert (await reported(store, HOUR, now + DAY)).end <= await store.ping()


@pytest.mark.parametrize(("start", "end"), [(timedelta(0), None), (-HOUR, None), (HOUR, 2 * HOUR)])
async def test_a_window_without_length_is_refused(store: JobStore, start: timedelta, end: timedelta | None) -> None:
    now = await store.ping()
    with pytest.raises(EmptyWindow):
        await reported(store, now - start + MINUTE, now - end if end else None)


async def test_a_queue_in_which_nothing_ended_has_a_report_of_zeros(store: JobStore) -> None:
    report = await reported(store)
    assert (report.total.ended, report.types, len(report.table), report.gaps) == (0, {}, 0, ())


async def test_jobs_are_read_in_steps_and_not_kept(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, *[("a", COMPLETED, timedelta(0))] * 100)
    spied = SpiedStore(store)
    await reported(spied.as_store, HOUR, step=10)
    assert {args[0].limit for args, _ in spied.arguments["page"]} == {10}
    assert spied.calls["page"] in (10, 11)


# --- what may be missing ---


def kept(**words: Any) -> Retained:
    """As a server keeps jobs that was set up so."""
    counts = {"completed_max": words.pop("completed_max", 10_000), "failed_max": words.pop("failed_max", 100_000)}
    return Retained(JobDefaults(**words).over(SERVER_DEFAULTS), **counts)


async def test_a_window_longer_than_jobs_are_kept_is_said_to_miss_some(store: JobStore) -> None:
    report = await reported(store, 2 * DAY)
    [gap] = report.gaps
    assert (gap.states, gap.kept_for, gap.kept_most) == (DONE, DAY, None)
    assert abs(gap.before - (report.end - DAY)) < timedelta(seconds=30)
    both = await reported(store, 31 * DAY)
    assert [gap.states for gap in both.gaps] == [DONE, DEAD]
    assert (await reported(store, DAY)).gaps == ()


async def test_the_queues_and_its_types_own_retention_counts(store: JobStore) -> None:
    settings = QueueSettings(
        defaults=JobDefaults(completed_for=7 * DAY), type_defaults={"a": JobDefaults(failed_for=HOUR)}
    )
    await store.put_settings("q", settings, paused=False)
    [gap] = (await reported(store, 2 * DAY)).gaps
    assert (gap.states, gap.kept_for) == (DEAD, HOUR)


async def test_a_jobs_own_retention_counts(store: JobStore) -> None:
    await added(store, *(a_draft(retention=Retention(kept_for, DAY)) for kept_for in (DAY, 10 * MINUTE, HOUR)))
    await finished(store, *(completed(one) for one in await claimed(store)))
    [gap] = (await reported(store, 3 * HOUR)).gaps
    assert (gap.states, gap.kept_for) == (DONE, 10 * MINUTE)


async def test_a_queue_that_holds_as_many_as_it_may_is_said_to_miss_older_ones(
    store: JobStore, backdate: Backdate
) -> None:
    jobs = await ended(store, backdate, *[("a", COMPLETED, ago * HOUR) for ago in (5, 4, 3)])
    [gap] = (await reported(store, 10 * HOUR, retained=kept(completed_max=3))).gaps
    assert (gap.states, gap.kept_most, gap.before) == (DONE, 3, jobs[0].end_time)
    assert (await reported(store, 10 * HOUR, retained=kept(completed_max=4))).gaps == ()


async def test_a_full_queue_whose_older_jobs_stand_misses_none_of_the_window(
    store: JobStore, backdate: Backdate
) -> None:
    """The oldest go first, so where one from before the window stands, none of the window has gone."""
    await ended(store, backdate, *[("a", COMPLETED, ago * HOUR) for ago in (12, 4, 3)])
    assert (await reported(store, 10 * HOUR, retained=kept(completed_max=3))).gaps == ()


async def test_a_full_queue_spares_what_ended_in_the_last_minutes(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, *[("a", FAILED, timedelta(0))] * 3)
    assert (await reported(store, 4 * MINUTE, retained=kept(failed_max=0))).gaps == ()
    [gap] = (await reported(store, HOUR, retained=kept(failed_max=0))).gaps
    assert gap.states == DEAD
    assert timedelta(minutes=4, seconds=50) < await store.ping() - gap.before < timedelta(minutes=6)


async def test_what_a_trimmer_took_is_in_no_figure_and_the_gap_covers_it(store: JobStore, backdate: Backdate) -> None:
    jobs: list[Job] = await ended(store, backdate, *[("a", COMPLETED, ago * HOUR) for ago in range(1, 11)])
    await store.trim("q", completed_max=4, failed_max=10)
    left = await again(store, jobs)
    report = await reported(store, 12 * HOUR, retained=kept(completed_max=4))
    assert report.total.ended == len(left) == 4
    [gap] = report.gaps
    assert all(job.end_time is not None and job.end_time < gap.before for job in jobs if job not in left)
