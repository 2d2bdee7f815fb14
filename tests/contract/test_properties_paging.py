"""Paging newest first, whatever happens meanwhile: none twice, and none missed that stayed."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.commands import RetryJob, RunJob, UpdateJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.filters import JobFilter, ListQuery, Order
from tocsin_server.domain.job import Job, OnConflict, View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    LATER,
    NOW,
    SECOND,
    a_draft,
    a_query,
    added,
    claimed,
    completed,
    failed,
    listed,
    stands,
    wish,
)
from contract.properties import a_queue, bounded
from contract.providers import Provider

#: What happens between two pages: a verb, and which job it concerns, as a share of those that stand.
VERBS = ("add", "add", "replace", "cancel", "run", "retry", "update", "delete", "complete", "fail", "claim")
changes = st.lists(st.tuples(st.sampled_from(VERBS), st.floats(0, 1, exclude_max=True)), max_size=8)


class Storm:
    """Changes jobs of one queue, and knows which stayed all the time."""

    def __init__(self, store: JobStore, queue: str) -> None:
        self._store = store
        self._queue = queue
        self._names = itertools.count()
        self.ids: list[str] = []
        self.left: set[str] = set()

    async def add(self, number: int, spread: int) -> None:
        drafts = [
            a_draft(
                f"{next(self._names)}" if number % 2 else None,
                queue=self._queue,
                type="tu"[i % 2],
                when=HOUR if i % spread else NOW,
                tags={"k": "v"} if i % 3 else {},
            )
            for i in range(number)
        ]
        self.ids += [job.job_id for job in await added(self._store, *drafts)]

    async def strike(self, verb: str, share: float) -> None:
        store, queue, job_id = self._store, self._queue, self.ids[int(share * len(self.ids))]
        if verb == "add":
            await self.add(int(share * 4) + 1, 2)
        elif verb == "replace":
            # An ended job is made anew: its place in the list is another one then.
            [before] = await store.get(queue, [job_id], View.BASIC)
            draft = a_draft(job_id, queue=queue, on_conflict=OnConflict.REPLACE, when=HOUR)
            [answer] = await store.add([draft])
            if before is None or (
                not isinstance(answer, TocsinError) and stands(draft, answer).arrival != before.arrival
            ):
                self.left.add(job_id)
        elif verb == "cancel":
            await store.cancel(queue, [wish(job_id)])
        elif verb == "run":
            await store.update(queue, [RunJob(job_id)])
        elif verb == "retry":
            await store.update(queue, [RetryJob(job_id)])
        elif verb == "update":
            await store.update(queue, [UpdateJob(job_id, priority=int(share * 10), when=HOUR * share)])
        elif verb == "delete":
            if await store.delete(queue, [job_id], ended_only=False) == [None]:
                self.left.add(job_id)
        else:
            ones = await claimed(store, 3, queue=queue, types=["t", "u"])
            if verb != "claim":
                await store.finish([completed(one) if verb == "complete" else failed(one, HOUR) for one in ones])


@bounded(120)
@given(
    number=st.integers(1, 40),
    spread=st.integers(1, 3),
    limit=st.integers(1, 12),
    skip=st.sampled_from([0, 0, 1, 5]),
    storms=st.lists(changes, min_size=8, max_size=8),
)
async def test_none_comes_twice_and_none_that_stayed_is_missed(
    store: JobStore,
    provider: Provider,
    number: int,
    spread: int,
    limit: int,
    skip: int,
    storms: list[list[tuple[str, float]]],
) -> None:
    queue = a_queue(provider)
    storm = Storm(store, queue)
    await storm.add(number, spread)
    at_first = storm.ids[::-1]

    query, pages = a_query(queue=queue, limit=limit, skip=skip), 0
    seen: list[Job] = []
    while True:
        page = await store.page(query)
        assert len(page.jobs) <= limit
        seen += page.jobs
        if page.next is None:
            break
        query = replace(query, after=page.next, skip=0)
        for verb, share in storms[pages % len(storms)]:
            await storm.strike(verb, share)
        pages += 1

    ids = [job.job_id for job in seen]
    arrivals = [job.arrival for job in seen]
    assert arrivals == sorted(set(arrivals), reverse=True)
    assert len(set(ids) - storm.left) == len([one for one in ids if one not in storm.left])
    stayed = [one for one in at_first[skip:] if one not in storm.left]
    assert set(stayed) <= set(ids)
    assert not set(ids) - set(at_first)


@bounded(150)
@given(
    jobs=st.lists(
        st.tuples(st.sampled_from("tuv"), st.integers(-2, 2), st.integers(0, 3), st.sampled_from(["", "a", "b"])),
        max_size=60,
    ),
    types=st.frozensets(st.sampled_from("tuvw")),
    states=st.frozensets(st.sampled_from([State.SCHEDULED, State.WAITING, State.ACTIVE])),
    low=st.none() | st.integers(-2, 2),
    tag=st.sampled_from(["", "a"]),
    limit=st.integers(1, 20),
    skip=st.integers(0, 10),
    order=st.sampled_from(Order),
)
async def test_a_list_is_what_a_plain_filter_and_sort_would_give(
    store: JobStore,
    provider: Provider,
    jobs: list[tuple[str, int, int, str]],
    types: frozenset[str],
    states: frozenset[State],
    low: int | None,
    tag: str,
    limit: int,
    skip: int,
    order: Order,
) -> None:
    queue = a_queue(provider)
    drafts = [
        a_draft(
            f"{place}",
            queue=queue,
            type=kind,
            priority=priority,
            when=LATER + second * SECOND if second else NOW,
            tags={"k": value} if value else {},
        )
        for place, (kind, priority, second, value) in enumerate(jobs)
    ]
    standing = await added(store, *drafts)
    running = {one.job.job_id for one in await claimed(store, 5, queue=queue, types=["t"])}
    states = frozenset({State.SCHEDULED}) if order is Order.SOONEST else states
    wanted = JobFilter(states, types, {"k": tag} if tag else {}, priority_min=low)

    def matches(job: Job) -> bool:
        state = State.ACTIVE if job.job_id in running else job.state
        return (
            (not states or state in states)
            and (not types or job.spec.type in types)
            and (low is None or job.spec.priority >= low)
            and (not tag or job.spec.tags.get("k") == tag)
        )

    expected = [job for job in standing if matches(job)]
    if order is Order.SOONEST:
        expected.sort(key=lambda job: (job.schedule_time, job.arrival))
    else:
        expected.reverse()
    query = ListQuery(queue, wanted, order, limit, skip)
    assert await listed(store, query) == [job.job_id for job in expected][skip:]
    if query.filter.counted:
        assert (await store.page(query)).total == len(expected)
