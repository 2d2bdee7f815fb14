"""What any reader found, brought into each store: batches, imports that are made again, ids that another job has, what
no store can hold, pauses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from contract.builders import RAW, a_draft, a_query, a_spec, added, claimed_one, completed, finished, listed, read
from tocsin_server.domain.events import EventBatch
from tocsin_server.domain.job import Job, Payload
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.bring_in import IN_DOUBT, MANY_TYPES, BroughtIn, Line, bring_in, pause
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from tocsin_server.migrate.systems.naming import naming_of
from tocsin_server.store.interface import JobStore

MADE = datetime(2026, 1, 2, tzinfo=UTC)


def a_job(job_id: str, *, body: bytes = b"", made: datetime = MADE, type: str = "t") -> Job:
    spec = a_spec(payload=Payload(RAW, body), type=type)
    return Job(job_id, spec, State.WAITING, made, made, None, None, 0, 0, 0, revision=1, arrival=0)


def found(job: Job) -> Foreign:
    return Foreign("old", job.job_id, "wait", Verdict.TAKEN, job=job, made=job.create_time)


async def one_by_one(things: Sequence[Foreign]) -> AsyncIterator[Foreign]:
    for thing in things:
        yield thing


async def brought_in(
    target: JobStore | None, *things: Foreign, origin: str = "", queue_map: Sequence[str] = (), type_map: str = ""
) -> tuple[BroughtIn, list[Line]]:
    lines: list[Line] = []
    naming = naming_of(queue_map, [type_map] if type_map else ())
    return await bring_in(one_by_one(things), target, lines.append, origin=origin, naming=naming), lines


async def gone(target: JobStore, job_id: str) -> None:
    """It has run, and its retention is over."""
    await finished(target, completed(await claimed_one(target)))
    assert await target.delete("q", [job_id]) == [None]


class Dies(Exception):
    """The process is gone."""


class Dying:
    """A store of a process that dies before, or after, jobs are placed."""

    def __init__(self, store: JobStore, *, placed: bool) -> None:
        self._store = store
        self._placed = placed

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def put(self, jobs: Sequence[Job], *, over: bool) -> object:
        if self._placed:
            await self._store.put(jobs, over=over)
        raise Dies


class Forgetful:
    """A store that no longer has the events that are asked for."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def events(self, queue: str, after: str, *, wait: timedelta, limit: int = 1000) -> EventBatch:
        return EventBatch((), await self._store.cursor(queue), gap=True)


@pytest.mark.parametrize("size", [0, 30_000], ids=["many", "large"])
async def test_none_is_lost_between_batches_and_they_keep_their_order(target: JobStore, size: int) -> None:
    ids = [f"j{number}" for number in range(450)]
    done, lines = await brought_in(target, *(found(a_job(job_id, body=bytes(size))) for job_id in ids))
    assert (done.placed, done.stood, done.refused) == (450, 0, 0)
    assert await listed(target, a_query(limit=1000)) == ids[::-1]
    assert sorted(line.foreign.source_id for line in lines) == sorted(ids)


async def test_what_stands_here_is_left_as_it_stands(target: JobStore) -> None:
    await brought_in(target, found(a_job("a")))
    await finished(target, completed(await claimed_one(target)))
    before = await read(target, "a")
    done, [line] = await brought_in(target, found(a_job("a")))
    assert (done.placed, done.stood, line.stands) == (0, 1, True)
    assert await read(target, "a") == before


async def test_a_job_that_has_run_and_gone_is_not_brought_in_again(target: JobStore) -> None:
    await brought_in(target, found(a_job("a")))
    await gone(target, "a")
    done, lines = await brought_in(target, found(a_job("a")), found(a_job("b")))
    assert (done.placed, done.stood, done.refused) == (1, 1, 0)
    assert {line.foreign.source_id: line.stands for line in lines} == {"a": True, "b": False}
    assert await listed(target, a_query()) == ["b"]


async def test_no_page_of_many_is_forgotten(target: JobStore) -> None:
    jobs = [found(a_job(f"j{number}")) for number in range(1_050)]
    await brought_in(target, *jobs[:30])
    await brought_in(target, *jobs)
    ids = [job.source_id for job in jobs]
    for start in range(0, len(ids), 200):
        await target.delete("q", ids[start : start + 200], ended_only=False)
    done, _ = await brought_in(target, *jobs)
    assert (done.placed, done.stood) == (0, 1_050)


@pytest.mark.parametrize("placed", [False, True], ids=["before", "after"])
async def test_a_batch_with_which_an_import_died_is_brought_in_once(target: JobStore, placed: bool) -> None:
    await brought_in(target, found(a_job("first")))
    with pytest.raises(Dies):
        await brought_in(cast(JobStore, Dying(target, placed=placed)), found(a_job("a")))
    if placed:
        await finished(target, completed(await claimed_one(target)))
        await gone(target, "a")
    done, _ = await brought_in(target, found(a_job("first")), found(a_job("a")))
    assert (done.placed, done.stood) == ((0, 2) if placed else (1, 1))
    again, _ = await brought_in(target, found(a_job("first")), found(a_job("a")))
    assert (again.placed, again.stood) == (0, 2)


async def test_what_nobody_can_tell_any_more_is_refused_until_it_is_found_standing(target: JobStore) -> None:
    for job_id, placed in (("stands", True), ("unknown", False)):
        with pytest.raises(Dies):
            await brought_in(cast(JobStore, Dying(target, placed=placed)), found(a_job(job_id)))
    forgetful = cast(JobStore, Forgetful(target))
    for _ in range(2):
        done, lines = await brought_in(forgetful, found(a_job("stands")), found(a_job("unknown")), found(a_job("new")))
        assert (done.stood + done.placed, done.refused) == (2, 1)
        [refused] = [line.foreign for line in lines if line.foreign.verdict is Verdict.REFUSED]
        assert (refused.source_id, refused.why) == ("unknown", (IN_DOUBT,))


@pytest.mark.parametrize(
    "other",
    [
        a_job("1", made=MADE + timedelta(milliseconds=1)),
        a_job("1", body=b"of somebody else"),
        a_job("1", type="other"),
    ],
    ids=["time", "payload", "type"],
)
async def test_another_job_of_the_same_id_is_refused_and_not_lost_silently(target: JobStore, other: Job) -> None:
    """Bull counts 1, 2, 3 in each of its queues, under each prefix, in each Redis."""
    await brought_in(target, found(a_job("1")), origin="tenant-a")
    before = await read(target, "1")
    done, [line] = await brought_in(target, found(other), origin="tenant-b")
    assert (done.placed, done.stood, done.refused) == (0, 0, 1)
    assert "another job of its id stands here" in line.foreign.why[0]
    assert await read(target, "1") == before
    done, _ = await brought_in(target, found(other), origin="tenant-b", queue_map=["q=q-of-b"])
    assert (done.placed, done.refused) == (1, 0)
    await gone(target, "1")
    done, _ = await brought_in(target, found(other), origin="tenant-b")
    assert done.placed == 1, "what was refused is not remembered as brought in"


@pytest.mark.parametrize("dry", [False, True])
async def test_types_beyond_what_a_queue_may_have_are_refused_unless_they_are_made_one(
    target: JobStore, dry: bool
) -> None:
    jobs = [found(a_job(f"j{number}", type=f"send-{number}")) for number in range(1_010)]
    done, lines = await brought_in(None if dry else target, *jobs)
    assert (done.refused, done.placed) == (10, 0 if dry else 1_000)
    assert {line.foreign.why for line in lines if line.foreign.verdict is Verdict.REFUSED} == {(MANY_TYPES,)}
    done, _ = await brought_in(None if dry else target, *jobs, type_map="send-*=send-0")
    assert (done.refused, done.stood) == (0, 0 if dry else 1_000)


@pytest.mark.parametrize("dry", [False, True])
async def test_what_no_store_can_hold_is_refused_and_harms_no_other(target: JobStore, dry: bool) -> None:
    bad = replace(a_job("bad"), failures=1 << 20)
    done, lines = await brought_in(None if dry else target, found(a_job("a")), found(bad), found(a_job("b")))
    assert (done.refused, done.placed) == (1, 0 if dry else 2)
    [refused] = [line.foreign for line in lines if line.foreign.verdict is Verdict.REFUSED]
    assert refused.source_id == "bad"
    assert "cannot be placed" in refused.why[0]


async def test_what_is_paused_there_is_paused_here_by_the_first_import_alone(target: JobStore) -> None:
    await added(target, a_draft(queue="busy"))
    assert await pause(["empty", "busy"], target) == []
    for settings in await target.settings(["empty", "busy"]):
        assert settings.paused
        assert settings.pause_reason == "it was paused where its jobs come from"
        await target.put_settings("busy", QueueSettings(), paused=False)
    assert await pause(["empty", "busy"], target) == ["busy"]
    assert await pause(["busy"], target, naming=naming_of(["busy=third"], ())) == []
    assert [settings.paused for settings in await target.settings(["empty", "busy", "third"])] == [True, False, True]


async def test_a_queue_of_which_jobs_came_before_it_was_paused_there_goes_on_here(target: JobStore) -> None:
    await brought_in(target, found(a_job("a")))
    assert await pause(["q"], target) == ["q"]
    assert not (await target.settings(["q"]))[0].paused
