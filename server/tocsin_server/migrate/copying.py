"""The jobs and notes of one queue, copied from a store to another while clients go on calling the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin_server.domain.errors import JobNotFound, TocsinError
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.states import State
from tocsin_server.migrate import move_notes
from tocsin_server.migrate.lines import Lines
from tocsin_server.migrate.reading import BY_ID, STEP, by_id, newest_first, oldest_first
from tocsin_server.operations.steps import steps
from tocsin_server.store.interface import JobStore

_AT_ONCE = timedelta(0)
#: A job of MongoDB's bears the time at which its making began: one that is older than a look may come after it.
_IN_THE_MAKING = timedelta(seconds=10)

#: Hears how many jobs were copied so far, and how many there are about.
Tell = Callable[[int, int], None]


@dataclass(slots=True)
class Copied:
    """What was done."""

    placed: int = 0
    same: int = 0  # stood there already
    removed: int = 0  # copies of an earlier run whose job the source has no more
    refused: Lines = field(default_factory=Lines)  # what the target would not take


class Copying:
    """Copies one queue. What runs stays where it is: its attempts end there.

    `merges`: the target has jobs of its own, and what comes arrives after them, in its order. Else arrival numbers are
    kept, so that the order in which jobs come does not matter.
    """

    def __init__(self, source: JobStore, target: JobStore, queue: str, tell: Tell, *, merges: bool) -> None:
        self._source, self._target, self._queue = source, target, queue
        self._tell = tell
        self._merges = merges
        self._cursor = ""
        self.done = Copied()

    async def copy_all(self) -> None:
        """All that stands, and then what changes meanwhile is for `catch_up`."""
        self._cursor = await self._source.cursor(self._queue)
        figures = await self._source.figures(self._queue)
        total, done = sum(map(figures.total, figures.counts)), 0
        self._tell(0, total)
        jobs_of = oldest_first if self._merges else newest_first
        placing: asyncio.Task[None] | None = None
        try:
            async with aclosing(jobs_of(self._source, self._queue)) as found:
                async for jobs in found:  # these were read while those before them were placed
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
            ids = list(dict.fromkeys(event.job.job_id for event in batch.events))
            for start in range(0, len(ids), BY_ID):
                await self._copy_changed(ids[start : start + BY_ID])
            if not ids and not notes:
                return look

    async def add_newer(self, since: datetime) -> datetime:
        """Place what was made since that look and does not stand there; the time of this one. Nothing that stands is
        touched."""
        look = await self._source.ping()
        newer = JobFilter(created=Window(start=since - _IN_THE_MAKING))
        async with aclosing(steps(self._source, self._queue, newer, STEP, View.FULL)) as found:
            async for jobs in found:
                await self._place(jobs, over=False)
        return look

    async def remove_gone(self, before: datetime) -> None:
        """Delete what was made before, and does not stand in the source (any more)."""
        copies = JobFilter(created=Window(end=before))
        async with aclosing(steps(self._target, self._queue, copies, STEP)) as found:
            async for jobs in found:
                ids = [job.job_id for job in jobs]
                stand = await self._source.get(self._queue, ids, View.BASIC)
                await self._delete([job_id for job_id, job in zip(ids, stand, strict=True) if job is None])

    async def _copy_changed(self, ids: Sequence[str]) -> None:
        jobs = await by_id(self._source, self._queue, ids)
        await self._place(jobs)
        stand = {job.job_id for job in jobs}
        await self._delete([job_id for job_id in ids if job_id not in stand])

    async def _place(self, jobs: Sequence[Job], *, over: bool = True) -> None:
        idle = [job for job in jobs if job.state is not State.ACTIVE]
        if self._merges:
            idle = [replace(job, arrival=0) for job in idle]
        answers = await self._target.put(idle, over=over) if idle else []
        for job, answer in zip(idle, answers, strict=True):
            if isinstance(answer, TocsinError):
                self.done.refused.add(f"job {job.job_id!r}: {answer}")
            elif answer in (Put.SAME, Put.KEPT):
                self.done.same += 1
            else:
                self.done.placed += 1

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
                if note.key == move_notes.KEY or (copy is not None and copy.value == note.value):
                    continue
                differed = True
                revision = 0 if copy is None else copy.revision
                await self._target.write_note(self._queue, note.key, note.value, revision=revision, until=note.until)
        return differed
