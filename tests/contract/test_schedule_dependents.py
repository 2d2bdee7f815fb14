"""Scheduling jobs that wait for others, and what follows an end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RetryJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.dependencies import MOST_MISSES, DependsOn, JobRef, ParentJob, ParentRequest, WhenParentFails
from tocsin_server.domain.errors import InvalidFields, OutcomeUnknown, StoreAway, TocsinError
from tocsin_server.domain.job import Added, Draft, Job, Kept, New, OnConflict, Payload, View
from tocsin_server.domain.job_errors import JobExists, ParentNotFound, ParentRefused
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.quotas import Quotas
from tocsin_server.domain.states import State
from tocsin_server.operations.schedule_jobs import Scheduled, ScheduleJobs
from tocsin_server.store.interface import JobStore

from contract.builders import RAW, SECOND, a_draft, added, cancelled, claimed, failed, finished, read, refused
from contract.dependent_jobs import FAIL, RUN, all_errands, complete, of
from contract.keyed_jobs import passed
from contract.providers import Provider


async def _settings(queue: str) -> QueueSettings:
    return QueueSettings()


@pytest.fixture
async def scheduling(store: JobStore) -> AsyncIterator[ScheduleJobs]:
    """As the server schedules."""
    scheduling = ScheduleJobs(store, _settings)
    yield scheduling
    await scheduling.close()


def asks(
    job_id: str | None = None,
    *parents: ParentRequest,
    rule: WhenParentFails = FAIL,
    queue: str = "q",
    type: str = "t",
    on_end: JobRequest | None = None,
    on_conflict: OnConflict = OnConflict.FAIL,
    **more: Any,
) -> JobRequest:
    conditions = {"conditions": Conditions(depends=DependsOn(rule))} if parents else {}
    return JobRequest(
        queue, type, job_id=job_id, parents=parents, on_end=on_end, on_conflict=on_conflict, **conditions, **more
    )


def job(job_id: str, queue: str = "") -> ParentRequest:
    return ParentRequest(queue, job_id)


def item(number: int) -> ParentRequest:
    return ParentRequest("", batch_item=number)


def made(answer: Scheduled) -> str:
    assert isinstance(answer, tuple), answer
    assert isinstance(answer[1], New)
    return answer[1].job_id


async def states(store: JobStore, *job_ids: str, queue: str = "q") -> list[State | None]:
    return [None if one is None else one.state for one in await store.get(queue, job_ids, View.BASIC)]


# --- parents ---


async def test_a_child_is_made_and_waits(store: JobStore, scheduling: ScheduleJobs) -> None:
    first, second = await added(store, a_draft("p"), a_draft("p", queue="other"))
    [answer] = await scheduling.schedule([asks("c", job("p"), job("p", "other"), job("p"), payload=Payload(RAW, b"x"))])
    assert made(answer) == "c"
    assert (await read(store, "c")).spec.payload == Payload(RAW, b"x")
    assert await of(store).parents("q", ["c"]) == [
        (ParentJob("q", "p", first.arrival), ParentJob("other", "p", second.arrival))
    ]
    await complete(store, first)
    await complete(store, second)
    await all_errands(store)
    assert await states(store, "c") == [State.WAITING]


async def test_its_id_may_be_the_servers(store: JobStore, scheduling: ScheduleJobs) -> None:
    [parent] = await added(store, a_draft("p"))
    [answer] = await scheduling.schedule([asks(None, job("p"))])
    child = made(answer)
    await complete(store, parent)
    await all_errands(store)
    assert await states(store, child) == [State.WAITING]


async def test_a_parent_that_does_not_stand_is_refused_and_nothing_is_made(
    store: JobStore, scheduling: ScheduleJobs
) -> None:
    await added(store, a_draft("p"))
    [answer] = await scheduling.schedule([asks("c", job("p"), job("no"))])
    refusal = refused(answer, ParentNotFound)
    assert "job.depends_on.parents[1]" in str(refusal)
    assert await states(store, "c") == [None]
    assert await scheduling.schedule([asks("c", job("c"))]) != []
    assert await states(store, "c") == [None]


async def test_a_call_that_is_repeated_finds_its_job_though_the_parents_are_gone(
    store: JobStore, scheduling: ScheduleJobs
) -> None:
    [parent] = await added(store, a_draft("p"))
    asked = asks("c", job("p"), on_conflict=OnConflict.KEEP)
    await scheduling.schedule([asked])
    await cancelled(store, parent)
    await store.delete("q", ["p"])
    [answer] = await scheduling.schedule([asked])
    assert isinstance(answer, tuple)
    assert isinstance(answer[1], Kept)
    [answer] = await scheduling.schedule([replace(asked, on_conflict=OnConflict.FAIL)])
    refused(answer, ParentNotFound)


# --- batches ---


async def test_a_batch_with_a_last_job(store: JobStore, scheduling: ScheduleJobs) -> None:
    """That runs once all others have ended, however they did."""
    batch = [asks(f"p{i}") for i in range(50)]
    answers = await scheduling.schedule([*batch, asks("last", *map(item, range(50)), rule=RUN)], range(51))
    assert [made(answer) for answer in answers] == [*(f"p{i}" for i in range(50)), "last"]
    running = await claimed(store, 50)
    await finished(store, *(failed(one) for one in running[:49]))
    await all_errands(store)
    assert await states(store, "last") == [State.BLOCKED]
    await finished(store, failed(running[49]))
    await all_errands(store)
    assert await states(store, "last") == [State.WAITING]


async def test_a_chain_in_one_batch(store: JobStore, scheduling: ScheduleJobs) -> None:
    chain = [asks("j0"), *(asks(f"j{i}", item(i - 1), queue=f"q{i % 3}") for i in range(1, 6))]
    await scheduling.schedule(chain, range(6))
    for i in range(6):
        queue = f"q{i % 3}" if i else "q"
        assert await states(store, f"j{i}", queue=queue) == [State.WAITING]
        await complete(store, await read(store, f"j{i}", queue=queue))
        await all_errands(store)


async def test_an_item_names_earlier_ones_by_their_places(store: JobStore, scheduling: ScheduleJobs) -> None:
    """Also where some of the batch were refused before they came here."""
    answers = await scheduling.schedule([asks("a"), asks("b", item(0)), asks("c", item(2))], [2, 4, 5])
    refusal = refused(answers[1], ParentRefused)
    assert "item 0" in str(refusal)
    assert [made(answers[0]), made(answers[2])] == ["a", "c"]


async def test_what_waits_for_a_refused_item_is_refused(store: JobStore, scheduling: ScheduleJobs) -> None:
    await added(store, a_draft("a"))
    answers = await scheduling.schedule([asks("a"), asks("b", item(0)), asks("c", item(1))], range(3))
    refused(answers[0], JobExists)
    refused(answers[1], ParentRefused)
    refused(answers[2], ParentRefused)
    assert await states(store, "b", "c") == [None, None]


@pytest.mark.parametrize("number", [1, 2])
async def test_an_item_cannot_wait_for_itself_or_a_later_one(
    store: JobStore, scheduling: ScheduleJobs, number: int
) -> None:
    answers = await scheduling.schedule([asks("a"), asks("b", item(number)), asks("c")], range(3))
    [violation] = refused(answers[1], InvalidFields).violations
    assert violation.field == "job.depends_on.parents[0].batch_item"
    assert [made(answers[0]), made(answers[2])] == ["a", "c"]


async def test_a_lone_job_has_no_batch(scheduling: ScheduleJobs) -> None:
    [answer] = await scheduling.schedule([asks("a", item(0))])
    refused(answer, InvalidFields)


async def test_an_item_can_name_an_earlier_one_by_its_id(store: JobStore, scheduling: ScheduleJobs) -> None:
    answers = await scheduling.schedule([asks("a"), asks("b", job("a"))], range(2))
    assert [made(answer) for answer in answers] == ["a", "b"]
    assert await states(store, "b") == [State.BLOCKED]


async def test_two_of_one_id_are_taken_in_order(store: JobStore, scheduling: ScheduleJobs) -> None:
    answers = await scheduling.schedule([asks("a"), asks("b", item(0)), asks("b")], range(3))
    refused(answers[2], JobExists)
    assert await states(store, "b") == [State.BLOCKED]


# --- on_end ---


async def _follower(store: JobStore, job_id: str, queue: str = "q") -> Job:
    on_end = (await read(store, job_id, queue=queue)).spec.conditions.on_end
    assert on_end is not None
    return await read(store, on_end.job_id, queue=on_end.queue)


@pytest.mark.parametrize("end", ["completes", "fails", "is cancelled"])
async def test_what_follows_an_end_is_let_go_by_it(store: JobStore, scheduling: ScheduleJobs, end: str) -> None:
    [answer] = await scheduling.schedule([asks("a", on_end=asks(queue="after", payload=Payload(RAW, b"x")))])
    assert made(answer) == "a"
    follower = await _follower(store, "a")
    assert (follower.queue, follower.state, follower.spec.payload) == ("after", State.BLOCKED, Payload(RAW, b"x"))
    if end == "is cancelled":
        await cancelled(store, await read(store, "a"))
    elif end == "fails":
        await finished(store, failed((await claimed(store, 1))[0]))
    else:
        await complete(store, await read(store, "a"))
    await all_errands(store)
    assert (await read(store, follower)).state is State.WAITING


async def test_it_follows_once(store: JobStore, scheduling: ScheduleJobs) -> None:
    await scheduling.schedule([asks("a", on_end=asks(type="after"))])
    follower = await _follower(store, "a")
    await cancelled(store, await read(store, "a"))
    await all_errands(store)
    await complete(store, follower)
    await store.update("q", [RetryJob("a")])
    await complete(store, await read(store, "a"))
    await all_errands(store)
    assert (await read(store, follower)).state is State.COMPLETED
    assert (await store.figures("q")).counts == {State.COMPLETED: {"t": 1, "after": 1}}


async def test_three_follow_each_other(store: JobStore, scheduling: ScheduleJobs) -> None:
    await scheduling.schedule([asks("a", on_end=asks(type="b", on_end=asks(type="c", on_end=asks(type="d"))))])
    at = await read(store, "a")
    for type_ in "bcd":
        following = await _follower(store, at.job_id)
        assert (following.spec.type, following.state) == (type_, State.BLOCKED)
        await complete(store, at)
        await all_errands(store)
        at = await read(store, following)
        assert at.state is State.WAITING


async def test_where_its_job_is_not_made_nothing_follows(store: JobStore, scheduling: ScheduleJobs) -> None:
    await added(store, a_draft("a"))
    asked = asks("a", on_end=asks(on_end=asks()))
    [answer] = await scheduling.schedule([asked])
    refused(answer, JobExists)
    assert (await store.figures("q")).total(State.BLOCKED) == 0
    [answer] = await scheduling.schedule([replace(asked, on_conflict=OnConflict.KEEP)])
    assert isinstance(answer, tuple)
    assert isinstance(answer[1], Kept)
    assert (await store.figures("q")).total(State.BLOCKED) == 0


async def test_what_a_dead_server_left_to_follow_nothing_goes_by_itself(movable: JobStore) -> None:
    [stranger] = await added(movable, a_draft("a"))
    for parent in ("a", "never made"):
        conditions = Conditions(depends=DependsOn(RUN, of_end=True))
        draft = replace(a_draft(f"after {parent}", conditions=conditions), parents=(ParentJob("q", parent),))
        await added(movable, draft)
    for _ in range(MOST_MISSES):
        await passed(movable, limits.ASK_PARENTS + SECOND)
        await all_errands(movable)
    assert await states(movable, "after a", "after never made") == 2 * [State.BLOCKED]  # they may be on their way
    await passed(movable, limits.ASK_PARENTS + SECOND)
    await all_errands(movable)
    assert await states(movable, "a", "after a", "after never made") == [State.WAITING, None, None]
    assert stranger.spec.conditions.on_end is None


async def test_what_it_made_and_did_not_let_ask_follows_all_the_same(movable: JobStore) -> None:
    waits = Conditions(depends=DependsOn(RUN, of_end=True))
    draft = replace(a_draft("after", conditions=waits), parents=(ParentJob("q", "a"),))
    await added(movable, draft)
    [first] = await added(movable, a_draft("a", conditions=Conditions(on_end=JobRef("q", "after"))))
    await passed(movable, limits.ASK_PARENTS + SECOND)
    await all_errands(movable)
    assert await states(movable, "after") == [State.BLOCKED]
    await complete(movable, first)
    await all_errands(movable)
    assert await states(movable, "after") == [State.WAITING]


async def test_one_that_waits_can_be_followed(store: JobStore, scheduling: ScheduleJobs) -> None:
    answers = await scheduling.schedule([asks("a"), asks("b", item(0), on_end=asks(type="after"))], range(2))
    assert [made(answer) for answer in answers] == ["a", "b"]
    follower = await _follower(store, "b")
    await cancelled(store, await read(store, "a"))
    await all_errands(store)
    assert await states(store, "b") == [State.FAILED]
    assert (await read(store, follower)).state is State.WAITING


# --- a store that is full, or away ---


class _Cut:
    """The store, with another answer to each `add` after the first few: `cut` makes it, of what is added and of how."""

    def __init__(
        self, store: JobStore, after: int, cut: Callable[[Sequence[Draft]], Awaitable[list[Added | TocsinError]]]
    ) -> None:
        self._store, self._left, self._cut = store, after, cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def add(self, drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        self._left -= 1
        return await (self._store.add(drafts) if self._left >= 0 else self._cut(drafts))


def cut_off(store: JobStore, after: int, cut: Any) -> ScheduleJobs:
    return ScheduleJobs(cast(JobStore, _Cut(store, after, cut)), _settings)


@pytest.mark.parametrize("full_in", ["q", "other"])
async def test_a_call_that_is_repeated_finds_its_job_though_nothing_more_fits(provider: Provider, full_in: str) -> None:
    """It is what follows that would not fit, and that stands already, too."""
    async with provider.store(quotas=Quotas(jobs_in=((full_in, 2 if full_in == "q" else 1),))) as store:
        scheduling = ScheduleJobs(store, _settings)
        asked = asks("a", on_end=asks(queue=full_in), on_conflict=OnConflict.KEEP)
        made((await scheduling.schedule([asked]))[0])
        [answer] = await scheduling.schedule([asked])
        assert isinstance(answer, tuple), answer
        assert isinstance(answer[1], Kept)
        [answer] = await scheduling.schedule([replace(asked, on_conflict=OnConflict.FAIL)])
        refused(answer, JobExists)
        assert (await store.figures(full_in)).total(State.BLOCKED) == 1
        await scheduling.close()


async def test_a_call_that_is_repeated_finds_its_job_though_the_queue_takes_no_more(
    store: JobStore, scheduling: ScheduleJobs
) -> None:
    asked = asks("a", on_end=asks(queue="other"), on_conflict=OnConflict.KEEP)
    made((await scheduling.schedule([asked]))[0])
    await store.put_settings("other", QueueSettings(draining=True), paused=False)
    [answer] = await scheduling.schedule([asked])
    assert isinstance(answer, tuple), answer
    assert isinstance(answer[1], Kept)


async def test_what_follows_stands_where_nobody_knows_whether_its_job_was_made(store: JobStore) -> None:
    """An answer that is lost says nothing: the job may run, and its end is to let go what follows it."""

    async def lost_of_other(drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        answers = await store.add(drafts)
        lost = OutcomeUnknown("by the test")
        return [lost if draft.spec.queue == "other" else one for draft, one in zip(drafts, answers, strict=True)]

    scheduling = cut_off(store, 1, lost_of_other)
    answers = await scheduling.schedule([asks("a"), asks("b", queue="other", on_end=asks(type="after"))], range(2))
    assert made(answers[0]) == "a"
    refused(answers[1], OutcomeUnknown)
    [job] = await store.get("other", ["b"], View.BASIC)
    assert job is not None
    await cancelled(store, job)
    for _ in range(2):
        await all_errands(store)
    assert (await store.figures("q")).counts[State.WAITING] == {"t": 1, "after": 1}
    await scheduling.close()


async def test_earlier_items_are_answered_though_the_store_is_away_for_the_later(store: JobStore) -> None:
    """Those were made: that nothing was sent is true of the later alone."""

    async def away(drafts: Sequence[Draft]) -> list[Added | TocsinError]:
        raise StoreAway("by the test")

    scheduling = cut_off(store, 1, away)
    batch = [asks("a"), asks("b", item(0)), asks("c", item(1)), asks("d")]
    answers = await scheduling.schedule(batch, range(4))
    assert made(answers[0]) == "a"
    for answer in answers[1:]:
        refused(answer, StoreAway)
    assert await states(store, "a", "b", "c", "d") == [State.WAITING, None, None, None]
    with pytest.raises(StoreAway):
        await scheduling.schedule([asks("e"), asks("f", item(0))], range(2))
    await scheduling.close()
