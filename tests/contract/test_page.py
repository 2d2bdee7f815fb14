"""JobStore.page, filter by filter. Paging while jobs change stands in test_properties_paging.py."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tocsin_server.domain.filters import ListQuery, Order, Window
from tocsin_server.domain.job import Draft, Job, View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    INT32,
    LATER,
    MILLISECOND,
    MINUTE,
    NOW,
    SECOND,
    STATES,
    a_draft,
    a_query,
    added,
    claimed,
    completed,
    finished,
    listed,
    pages,
    read,
    standing,
)
from contract.conftest import Contents

NEWEST, SOONEST = Order.NEWEST, Order.SOONEST


async def test_who_wants_no_total_gets_none(store: JobStore) -> None:
    await added(store, a_draft())
    assert (await store.page(a_query())).total == 1
    assert (await store.page(replace(a_query(), with_total=False))).total is None


async def test_newest_first_is_by_arrival(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", when=(HOUR * (i % 3)), priority=i % 4) for i in range(10)))
    page = await store.page(a_query())
    assert [job.job_id for job in page.jobs] == [f"{i}" for i in reversed(range(10))]
    assert (page.next, page.total) == (None, 10)


async def test_a_page_holds_its_limit_and_the_next_goes_on(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}") for i in range(700)))
    found = await pages(store, a_query(limit=300))
    assert [len(page.jobs) for page in found] == [300, 300, 100]
    assert [job.job_id for page in found for job in page.jobs] == [f"{i}" for i in reversed(range(700))]


@pytest.mark.parametrize("limit", [1, 5, 10, 1000])
@pytest.mark.parametrize("order", Order)
async def test_the_last_page_says_so(store: JobStore, limit: int, order: Order) -> None:
    await added(store, *(a_draft(f"{i}", when=HOUR + i * SECOND) for i in range(10)))
    ids = await listed(store, a_query(limit=limit, order=order, states=frozenset({State.SCHEDULED})))
    assert sorted(ids, key=int) == [f"{i}" for i in range(10)]
    assert len(ids) == 10


async def test_an_empty_queue_has_one_empty_page(store: JobStore, contents: Contents) -> None:
    before = contents()
    for order in Order:
        page = await store.page(a_query(queue="never", order=order))
        assert (page.jobs, page.next, page.total) == ((), None, 0 if order is NEWEST else page.total)
    assert contents() == before


async def test_soonest_first_is_by_due_time_then_arrival(store: JobStore) -> None:
    names = {"third": LATER + SECOND, "first": LATER, "second": LATER, "fourth": LATER + HOUR}
    await added(store, *(a_draft(name, when=when, priority=i) for i, (name, when) in enumerate(names.items())))
    await added(store, a_draft("waiting"))
    for limit in (1, 2, 3, 4, 50):
        assert await listed(store, a_query(order=SOONEST, limit=limit)) == ["first", "second", "third", "fourth"]


async def test_soonest_pages_split_many_of_one_time(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", when=LATER) for i in range(500)))
    await added(store, a_draft("before", when=LATER - SECOND), a_draft("after", when=LATER + SECOND))
    expected = ["before", *(f"{i}" for i in range(500)), "after"]
    assert await listed(store, a_query(order=SOONEST, limit=77)) == expected


async def test_soonest_goes_on_though_the_job_it_stopped_at_is_gone(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", when=LATER) for i in range(10)))
    query = a_query(order=SOONEST, limit=4)
    page = await store.page(query)
    await store.delete("q", ["3", "4"], ended_only=False)
    assert await listed(store, replace(query, after=page.next)) == ["5", "6", "7", "8", "9"]


async def test_basic_and_full_views(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"x", when=LATER))
    for order in Order:
        [basic] = (await store.page(a_query(order=order))).jobs
        [full] = (await store.page(a_query(order=order, view=View.FULL))).jobs
        assert basic == await read(store, "a", View.BASIC)
        assert full == await read(store, "a", View.FULL)


async def one_of_each(store: JobStore) -> dict[State, Job]:
    """A job in each state, named for it; types x and y in turn."""
    jobs: dict[State, Job] = {}
    for place, state in enumerate((*STATES[2:], *STATES[:2])):
        jobs[state], _ = await standing(store, state, state.name, type="xy"[place % 2])
    return jobs


async def test_states_filter(store: JobStore) -> None:
    await one_of_each(store)
    for states in (*({state} for state in STATES), set(STATES[:3]), set(STATES[3:]), set(STATES)):
        page = await store.page(a_query(states=frozenset(states)))
        assert {job.job_id for job in page.jobs} == {state.name for state in states}
        assert page.total == len(states)
        assert [job.arrival for job in page.jobs] == sorted((job.arrival for job in page.jobs), reverse=True)


async def test_types_filter_and_join_with_states(store: JobStore) -> None:
    jobs = await one_of_each(store)
    for kind in "xy":
        mine = {state.name for state, job in jobs.items() if job.spec.type == kind}
        page = await store.page(a_query(types=frozenset({kind})))
        assert {job.job_id for job in page.jobs} == mine
        assert page.total == len(mine)
    page = await store.page(a_query(types=frozenset({"x", "never"}), states=frozenset({State.ACTIVE, State.FAILED})))
    mine = {s.name for s in (State.ACTIVE, State.FAILED) if jobs[s].spec.type == "x"}
    assert ({job.job_id for job in page.jobs}, page.total) == (mine, len(mine))
    assert await listed(store, a_query(types=frozenset({"never"}))) == []


async def test_soonest_filters_by_type_tag_and_time(store: JobStore) -> None:
    await added(
        store,
        *(
            a_draft(f"{i}", when=LATER + i * HOUR, type="xy"[i % 2], tags={"k": str(i % 3)}, priority=i)
            for i in range(12)
        ),
    )
    assert await listed(store, a_query(order=SOONEST, types=frozenset("x"), limit=2)) == ["0", "2", "4", "6", "8", "10"]
    assert await listed(store, a_query(order=SOONEST, tags={"k": "1"})) == ["1", "4", "7", "10"]
    window = Window(LATER + 3 * HOUR, LATER + 6 * HOUR)
    assert await listed(store, a_query(order=SOONEST, scheduled=window)) == ["3", "4", "5"]
    assert await listed(store, a_query(order=SOONEST, priority_min=10)) == ["10", "11"]
    assert await listed(store, a_query(order=SOONEST, types=frozenset("y"), skip=2, limit=2)) == ["5", "7", "9", "11"]


async def test_tags_filter_and_several_are_joined_by_and(store: JobStore) -> None:
    await added(
        store,
        a_draft("both", tags={"a": "1", "b": "2", "c": ""}),
        a_draft("a", tags={"a": "1"}),
        a_draft("other value", tags={"a": "2", "b": "2"}),
        a_draft("none"),
        a_draft("odd", tags={"a": "1:2=3#{\u202e}", "A": "1"}),
    )
    assert await listed(store, a_query(tags={"a": "1"})) == ["a", "both"]
    assert await listed(store, a_query(tags={"a": "1", "b": "2"})) == ["both"]
    assert await listed(store, a_query(tags={"b": "2", "a": "1"})) == ["both"]
    assert await listed(store, a_query(tags={"c": ""})) == ["both"]
    assert await listed(store, a_query(tags={"a": "1:2=3#{\u202e}"})) == ["odd"]
    assert await listed(store, a_query(tags={"a": ""})) == []
    assert (await store.page(a_query(tags={"a": "1"}))).total is None


async def test_tags_join_with_states_and_types(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", type="xy"[i % 2], tags={"k": "v"}) for i in range(6)))
    await finished(store, *map(completed, await claimed(store, 3, types=["x", "y"])))
    done = frozenset({State.COMPLETED})
    assert await listed(store, a_query(tags={"k": "v"}, states=done)) == ["2", "1", "0"]
    assert await listed(store, a_query(tags={"k": "v"}, states=done, types=frozenset("x"), limit=1)) == ["2", "0"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, None, "43210"),
        (0, None, "432"),
        (None, 0, "210"),
        (0, 0, "2"),
        (INT32[0], INT32[1], "43210"),
        (INT32[1], None, "4"),
        (None, INT32[0], "0"),
        (1, 0, ""),
    ],
)
async def test_priorities_filter_inclusively(store: JobStore, low: int | None, high: int | None, expected: str) -> None:
    priorities = [INT32[0], -1, 0, 1, INT32[1]]
    await added(store, *(a_draft(f"{i}", priority=priority) for i, priority in enumerate(priorities)))
    page = await store.page(a_query(priority_min=low, priority_max=high))
    assert [job.job_id for job in page.jobs] == list(expected)
    assert page.total == (5 if low is high is None else None)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, "3210"),
        (NOW, None, "3210"),
        (MILLISECOND, None, "321"),
        (SECOND, 2 * SECOND, "1"),
        (timedelta(microseconds=999_001), timedelta(microseconds=1_999_001), "1"),
        (None, SECOND, "0"),
        (None, NOW, ""),
        (3 * SECOND, 3 * SECOND, ""),
    ],
)
async def test_windows_begin_inclusively_and_end_exclusively(
    store: JobStore, start: timedelta | None, end: timedelta | None, expected: str
) -> None:
    await added(store, *(a_draft(f"{i}", when=LATER + i * SECOND) for i in range(4)))
    window = Window(None if start is None else LATER + start, None if end is None else LATER + end)
    assert await listed(store, a_query(scheduled=window)) == list(expected)


async def test_a_window_of_creation(store: JobStore) -> None:
    jobs: list[Job] = []
    while len({job.create_time for job in jobs}) < 3:
        jobs += await added(store, a_draft())
    middle = jobs[len(jobs) // 2].create_time
    newest_first = jobs[::-1]
    assert await listed(store, a_query(created=Window(middle, None))) == [
        job.job_id for job in newest_first if job.create_time >= middle
    ]
    assert await listed(store, a_query(created=Window(None, middle))) == [
        job.job_id for job in newest_first if job.create_time < middle
    ]


async def test_a_window_of_ends_holds_ended_jobs_only(store: JobStore, backdate: Backdate) -> None:
    jobs = await one_of_each(store)
    ended = [jobs[state] for state in (State.COMPLETED, State.FAILED, State.CANCELLED)]
    backdate.end(ended[0], by=HOUR)
    now: datetime = await store.ping()
    assert set(await listed(store, a_query(ended=Window(now - 2 * HOUR, None)))) == {job.job_id for job in ended}
    assert set(await listed(store, a_query(ended=Window(None, now + HOUR)))) == {job.job_id for job in ended}
    assert await listed(store, a_query(ended=Window(None, now - MINUTE))) == ["COMPLETED"]
    assert await listed(store, a_query(ended=Window(now + HOUR, None))) == []


@pytest.mark.parametrize(
    "words", [{}, {"types": frozenset("x")}, {"tags": {"k": "v"}}, {"priority_min": 0}, {"order": SOONEST}], ids=str
)
async def test_skip_passes_over_matching_jobs(store: JobStore, words: dict[str, Any]) -> None:
    drafts: list[Draft] = []
    for i in range(20):
        drafts += [
            a_draft(f"{i}", type="x", tags={"k": "v"}, priority=i, when=LATER - i * SECOND),
            a_draft(f"no {i}", type="y", priority=-1, when=LATER),
        ]
    await added(store, *drafts)
    whole = await listed(store, a_query(**words))
    for skip, limit in itertools.product((1, 7, 20, 21, 10_000), (3, 1000)):
        assert await listed(store, a_query(skip=skip, limit=limit, **words)) == whole[skip:], (skip, limit)


async def test_what_no_index_covers_is_tested_on_a_bounded_number_a_call(store: JobStore) -> None:
    await added(store, a_draft("oldest", priority=5), *(a_draft(f"{i}", when=LATER + i * SECOND) for i in range(2000)))
    await added(store, a_draft("newest", priority=5))
    found = await pages(store, a_query(priority_min=5))
    assert [job.job_id for page in found for job in page.jobs] == ["newest", "oldest"]
    assert len(found) == 3
    found = await pages(store, a_query(priority_min=5, skip=1))
    assert [job.job_id for page in found for job in page.jobs] == ["oldest"]


@pytest.mark.parametrize("order", Order)
async def test_large_jobs_come_on_short_pages(store: JobStore, order: Order) -> None:
    await added(store, *(a_draft(f"{i}", body=bytes(700_000), when=LATER) for i in range(12)))
    found = await pages(store, a_query(view=View.FULL, order=order))
    assert len(found) > 1
    assert sorted(int(job.job_id) for page in found for job in page.jobs) == list(range(12))
    assert len((await store.page(a_query(order=order))).jobs) == 12


async def test_total_counts_what_matches_in_all(store: JobStore) -> None:
    await added(store, *(a_draft(type="xy"[i % 2], when=LATER if i < 6 else NOW) for i in range(9)))
    query: ListQuery = a_query(limit=2, types=frozenset("x"))
    page = await store.page(query)
    assert (len(page.jobs), page.total) == (2, 5)
    assert (await store.page(replace(query, after=page.next))).total == 5
    assert (await store.page(a_query(states=frozenset({State.SCHEDULED})))).total == 6
    assert (await store.page(a_query(order=SOONEST, states=frozenset({State.SCHEDULED})))).total == 6
    assert (await store.page(a_query(created=Window(LATER, None)))).total is None
