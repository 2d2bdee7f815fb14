"""The jobs and notes of one queue, copied from a store to another while clients go on calling the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.events import Event
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.states import State
from tocsin_server.migrate.move.reading import BY_ID, STEP, Lines, by_id, newest_first, oldest_first, others
from tocsin_server.operations import moves
from tocsin_server.operations.dependents import with_parents
from tocsin_server.operations.pages import pages
from tocsin_server.store.interface import JobStore

_AT_ONCE = timedelta(0)
#: A job of MongoDB's bears the time at which its making began: one that is older than a look may come after it.
_IN_THE_MAKING = timedelta(seconds=10)

#: Hears how many jobs were copied so far, and how many there are about.
Tell = Callable[[int, int], None]

#: When jobs of an id were made, by what has just happened in the source: one of that time in the target is a copy.
_Made = Mapping[str, Collection[datetime]]


@dataclass(slots=True)
class Copied:
    """What was done."""

    placed: int = 0
    same: int = 0  # stood there already
    replaced: int = 0  # of those placed: over an older copy
    removed: int = 0  # copies of an earlier run whose job the source has no more
    refused: Lines = field(default_factory=Lines)  # what the target would not take
    unknown: Lines = field(default_factory=Lines)  # of which nobody can tell if they were brought before


class Copying:
    """Copies one queue. What runs stays where it is: its attempts end there.

    `merges`: the target has jobs of its own, and what comes arrives after them, in its order. Else arrival numbers are
    kept, so that the order in which jobs come does not matter. `copies_before`: what was made before that in the target
    is a copy, of this move or an earlier one; so is what was made when the source's was. A job of the target's own is
    never written over or deleted: that of the source with its id is refused. What was done is not held in memory.
    """

    def __init__(
        self,
        source: JobStore,
        target: JobStore,
        queue: str,
        tell: Tell,
        *,
        merges: bool,
        copies_before: datetime | None = None,
    ) -> None:
        self._source, self._target, self._queue = source, target, queue
        self._tell = tell
        self._merges = merges
        self._copies_before = copies_before
        self._cursor = ""
        self.done = Copied()

    @property
    def cursor(self) -> str:
        """Of the source's events at the last look."""
        return self._cursor

    async def copy_all(self) -> None:
        """All that stands, and then what changes meanwhile is for `catch_up`."""
        self._cursor = await self._source.cursor(self._queue)
        figures = await self._source.figures(self._queue)
        total, done = sum(map(figures.total, figures.counts)), 0
        self._tell(0, total)
        jobs_of = oldest_first if self._merges else newest_first
        placing: asyncio.Task[None] | None = None
        try:
            async with aclosing(jobs_of(self._source, self._queue)) as batches:
                async for jobs in batches:  # these were read while those before them were placed
                    if placing is not None:
                        await placing
                    placing = asyncio.create_task(self._place(jobs))
                    done += len(jobs)
                    self._tell(done, max(done, total))
        finally:
            if placing is not None:
                await placing

    async def catch_up(self) -> datetime:
        """Copy what changed since, until nothing does; the time of the last look, by the source's clock."""
        while True:
            look = await self._source.ping()
            batch = await self._source.events(self._queue, self._cursor, wait=_AT_ONCE, limit=STEP)
            notes = await self._copy_notes()
            if batch.gap:
                await self.copy_all()
                continue
            self._cursor = batch.cursor
            made = _made(batch.events)
            ids = list(made)
            for start in range(0, len(ids), BY_ID):
                await self._copy_changed(ids[start : start + BY_ID], made)
            if not ids and not notes:
                return look

    async def add_newer(self, since: datetime, cursor: str) -> datetime:
        """Place what was made since that look, whose cursor this is, and does not stand there; the time of this one.

        Nothing that stands is touched, and nothing is brought back: what was there at the last look came over then, and
        may have run and gone.
        """
        self._cursor = cursor or await self._source.cursor(self._queue)
        gap = not cursor
        look = await self._source.ping()
        while not gap:
            batch = await self._source.events(self._queue, self._cursor, wait=_AT_ONCE, limit=STEP)
            gap, self._cursor = batch.gap, batch.cursor
            made = [
                e.job for e in batch.events if not e.deleted and (e.job.revision == 1 or e.job.create_time >= since)
            ]
            ids = list(dict.fromkeys(job.job_id for job in made))
            for start in range(0, len(ids), BY_ID):
                await self._place(await by_id(self._source, self._queue, ids[start : start + BY_ID]), over=False)
            if not batch.events:
                break
        if gap:
            await self._add_made(since)
        return look

    async def _add_made(self, since: datetime) -> None:
        """The same, where the source no longer has those events. A job that was in the making at the last look bears an
        earlier time: of those around it nobody can tell any more, so they are named."""
        newer = JobFilter(created=Window(start=since - _IN_THE_MAKING))
        async with aclosing(pages(self._source, self._queue, newer, STEP, View.FULL)) as batches:
            async for jobs in batches:
                await self._place([job for job in jobs if job.create_time >= since], over=False)
                around = [job.job_id for job in jobs if job.create_time < since]
                stand = await self._target.get(self._queue, around, View.BASIC) if around else []
                for job_id, there in zip(around, stand, strict=True):
                    if there is None:
                        self.done.unknown.add(f"job {job_id!r}: it was made just before the last move")

    async def remove_gone(self, before: datetime) -> None:
        """Delete what was made before, and does not stand in the source (any more)."""
        copies = JobFilter(created=Window(end=before))
        async with aclosing(pages(self._target, self._queue, copies, STEP)) as batches:
            async for jobs in batches:
                ids = [job.job_id for job in jobs]
                stand = await self._source.get(self._queue, ids, View.BASIC)
                await self._delete([job_id for job_id, job in zip(ids, stand, strict=True) if job is None])

    async def _copy_changed(self, ids: Sequence[str], made: _Made) -> None:
        jobs = await by_id(self._source, self._queue, ids)
        await self._place(jobs, made=made)
        stand = {job.job_id for job in jobs}
        gone = [job_id for job_id in ids if job_id not in stand]
        copies = await self._target.get(self._queue, gone, View.BASIC) if gone else []
        await self._delete([job.job_id for job in copies if job is not None and self._is_a_copy(job, made)])

    async def _place(self, jobs: Sequence[Job], *, over: bool = True, made: _Made | None = None) -> None:
        idle = [job for job in jobs if job.state is not State.ACTIVE]
        if self._merges:
            idle = [replace(job, arrival=0) for job in idle]
        kept = await self._put(idle, over=False)
        theirs = await self._theirs(kept, made or {})
        for job_id in sorted(theirs):
            self.done.refused.add(f"job {job_id!r}: another job of its id stands there; cancel and delete one of them")
        kept = [job for job in kept if job.job_id not in theirs]
        if over:
            await self._put(kept, over=True)
        else:
            self.done.same += len(kept)

    async def _theirs(self, kept: Sequence[Job], made: _Made) -> set[str]:
        """Ids of those in whose place a job of the target's own stands."""
        found = await others(self._target, self._queue, kept)
        return {job.job_id for job in found if not self._is_a_copy(job, made)}

    def _is_a_copy(self, there: Job, made: _Made) -> bool:
        """Whether this job of the target's came from the source."""
        if self._copies_before is not None and there.create_time < self._copies_before:
            return True
        return there.create_time in made.get(there.job_id, ())

    async def _put(self, jobs: Sequence[Job], *, over: bool) -> list[Job]:
        """Those that were kept out by what stands there."""
        whole = await with_parents(self._source, self._queue, jobs)
        answers = await self._target.put([_unnumbered(job) for job in whole], over=over) if jobs else []
        kept = []
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, TocsinError):
                self.done.refused.add(f"job {job.job_id!r}: {answer}")
            elif answer is Put.KEPT:
                kept.append(job)
            elif answer is Put.SAME:
                self.done.same += 1
            else:
                self.done.placed += 1
                self.done.replaced += answer is Put.REPLACED
        return kept

    async def _delete(self, ids: Sequence[str]) -> None:
        answers = await self._target.delete(self._queue, ids, ended_only=False) if ids else []
        for job_id, refusal in zip(ids, answers, strict=True):
            if refusal is None:
                self.done.removed += 1
            elif not isinstance(refusal, JobNotFound):
                self.done.refused.add(f"job {job_id!r}: {refusal}")

    async def _copy_notes(self) -> bool:
        """Whether any differed."""
        after, differed = "", False
        while notes := await self._source.notes(self._queue, after=after):
            after = notes[-1].key
            for note in notes:
                copy = await self._target.read_note(self._queue, note.key)
                if note.key == moves.KEY or (copy is not None and copy.value == note.value):
                    continue
                differed = True
                revision = 0 if copy is None else copy.revision
                await self._target.write_note(self._queue, note.key, note.value, revision=revision, until=note.until)
        return differed


def _unnumbered(job: Job) -> Job:
    """Whoever it waits for may come to another number there."""
    return replace(job, parents=tuple(replace(parent, arrival=0) for parent in job.parents)) if job.parents else job


def _made(events: Sequence[Event]) -> dict[str, set[datetime]]:
    """When the jobs of each id were made that these tell of, in their order."""
    made: dict[str, set[datetime]] = {}
    for event in events:
        made.setdefault(event.job.job_id, set()).add(event.job.create_time)
    return made
