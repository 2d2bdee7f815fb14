"""One queue moved from a store to another: paused on both sides, copied, compared, and let go on in the target.

A client of the source may add, change or cancel jobs while this runs: what changes is copied again until nothing has
changed. A run that is killed at any moment is carried on by the next one. The source keeps its jobs, paused: nothing
runs twice, and the way back stays open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tocsin_server.domain.errors import JobNotFound, TocsinError
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.states import State
from tocsin_server.migrate import move_notes
from tocsin_server.migrate.lines import Lines
from tocsin_server.migrate.move_notes import Arriving, Leaving
from tocsin_server.migrate.place import Place
from tocsin_server.migrate.reading import WHOLE, anything, whole, whole_oldest_first
from tocsin_server.migrate.verifying import Verified, verify
from tocsin_server.operations.steps import steps
from tocsin_server.store.interface import JobStore

_EVENTS = 1_000
_LOOK = timedelta(seconds=1)  # at most between two looks at attempts that still run

#: Hears how many jobs were copied so far, and how many there are about.
Tell = Callable[[int, int], None]


@dataclass(slots=True)
class Moved:
    """What became of a queue."""

    queue: str
    copied: int = 0  # placed in the target by this run
    same: int = 0  # stood there already
    removed: int = 0  # copies of an earlier run whose job the source has no more
    refused: Lines = field(default_factory=Lines)  # what the target would not take
    active: Lines = field(default_factory=Lines)  # jobs that still run in the source
    verified: Verified | None = None
    done: bool = False  # the target goes on with it
    already: bool = False  # it had been moved by an earlier run; what was added to the source since was copied


class CannotMove(Exception):
    """The queue is not moved, and nothing was changed: one line that says why, and what to do."""


async def move_queue(
    source: Place, target: Place, queue: str, *, patience: timedelta, check: bool, tell: Tell
) -> Moved:
    """Move it. Waits up to `patience` for attempts that run; with `check` compares all jobs before it lets go.

    Not `done`: some still ran, or differ, or were refused. Both sides stay paused then, and a next run goes on.
    """
    one = _Move(source, target, queue, tell)
    leaving = await one.begin()
    if leaving.done_time is not None:
        await one.stragglers(leaving)
        if check:  # what has run there since differs, and is named
            one.moved.verified = await verify(source.store, target.store, queue)
        return one.moved
    await _quiet(source.store, queue, patience)
    await one.copy()
    await one.name_active()
    await one.remove_gone()
    if check:
        one.moved.verified = await verify(source.store, target.store, queue, order=not one.merges)
    if one.complete:
        await one.let_go(leaving)
    return one.moved


class _Move:
    def __init__(self, source: Place, target: Place, queue: str, tell: Tell) -> None:
        self._source, self._target = source.store, target.store
        self._from, self._to = source.address, target.address
        self._queue = queue
        self._tell = tell
        self.merges = False  # the target had jobs of its own: what comes arrives after them
        self.moved = Moved(queue)

    @property
    def complete(self) -> bool:
        """All of the source stands in the target."""
        moved = self.moved
        return not moved.refused and not moved.active and (moved.verified is None or moved.verified.ok)

    # --- before and after ---

    async def begin(self) -> Leaving:
        """Pause both sides, and write down what a next run must know; only read where an earlier run has done it all.

        The target is paused before its note is written, the source after its: whenever a run dies, what was paused by
        its users can be told from what was paused here. CannotMove.
        """
        leaving, arriving = await self._as_left(), await self._as_found()
        if leaving.done_time is not None:
            return leaving
        self.merges = arriving.copies_before is None
        [settings] = await self._source.settings([self._queue])
        await self._target.put_settings(self._queue, replace(settings, pause_reason=_arriving(self._from)), paused=True)
        await move_notes.write(self._target, self._queue, arriving)
        await move_notes.write(self._source, self._queue, leaving)
        await self._source.put_settings(self._queue, replace(settings, pause_reason=_leaving(self._to)), paused=True)
        return leaving

    async def _as_left(self) -> Leaving:
        """How the source was before any move."""
        note, [settings] = await move_notes.read(self._source, self._queue), await self._source.settings([self._queue])
        if isinstance(note, Arriving):
            raise CannotMove(f"queue {self._queue!r}: a move into {self._from} was not finished; finish that first")
        if note is None or not settings.paused or settings.pause_reason != _leaving(note.to):
            return Leaving(self._to, settings.paused, settings.pause_reason)
        if note.to == self._to:
            return note
        if note.done_time is not None:
            raise CannotMove(
                f"queue {self._queue!r} was moved to {note.to}, where its jobs run: move it from there; or say that it "
                f"is {self._from}'s again by resuming it there"
            )
        return replace(note, to=self._to)

    async def _as_found(self) -> Arriving:
        """How the target was before any move."""
        note, [settings] = await move_notes.read(self._target, self._queue), await self._target.settings([self._queue])
        if isinstance(note, Leaving) and note.done_time is not None:
            return Arriving(note.done_time)  # what had been moved away is no truth any more; what came since is
        if isinstance(note, Leaving):
            raise CannotMove(f"queue {self._queue!r}: its move from {self._to} was not finished; finish that first")
        if note is None:
            holds_jobs = await anything(self._target, self._queue)
            return Arriving(None if holds_jobs else await self._target.ping())
        if not settings.paused:
            raise CannotMove(
                f"queue {self._queue!r} was resumed in {self._to} before all of it was there, so jobs may have run on "
                "both sides: pause it there, look at what ended, and run this again"
            )
        return note

    async def let_go(self, leaving: Leaving) -> None:
        """The queue is the target's from here on."""
        await move_notes.write(self._source, self._queue, replace(leaving, done_time=await self._source.ping()))
        await self._resume(leaving)

    async def _resume(self, leaving: Leaving) -> None:
        [settings] = await self._target.settings([self._queue])
        await self._target.put_settings(
            self._queue, replace(settings, pause_reason=leaving.reason), paused=leaving.paused
        )
        await move_notes.forget(self._target, self._queue)
        self.moved.done = True

    # --- copying ---

    async def copy(self) -> None:
        """Copy all, then what changed meanwhile, until nothing does."""
        cursor = await self._source.cursor(self._queue)
        await self._copy_all()
        while True:
            batch = await self._source.events(self._queue, cursor, wait=timedelta(0), limit=_EVENTS)
            notes = await self._copy_notes()
            if batch.gap:
                cursor = await self._source.cursor(self._queue)
                await self._copy_all()
                continue
            cursor = batch.cursor
            await self._copy_changed(list(dict.fromkeys(event.job.job_id for event in batch.events)))
            if not batch.events and not notes:
                return

    async def _copy_all(self) -> None:
        figures = await self._source.figures(self._queue)
        total, done = sum(map(figures.total, figures.counts)), 0
        self._tell(0, total)
        under_way: asyncio.Task[None] | None = None
        try:
            async with aclosing((whole_oldest_first if self.merges else whole)(self._source, self._queue)) as found:
                async for jobs in found:  # the next ones are read while these are written
                    if under_way is not None:
                        await under_way
                    under_way = asyncio.create_task(self._place(jobs))
                    done += len(jobs)
                    self._tell(done, max(done, total))
            if under_way is not None:
                await under_way
        finally:
            if under_way is not None and not under_way.done():
                under_way.cancel()

    async def _copy_changed(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), WHOLE):
            some = ids[start : start + WHOLE]
            found = await self._source.get(self._queue, some, View.FULL)
            await self._place([job for job in found if job is not None])
            gone = [job_id for job_id, job in zip(some, found, strict=True) if job is None]
            await self._delete(gone)

    async def _place(self, jobs: Sequence[Job], *, over: bool = True) -> None:
        """Those that run stay where they are: their attempts end there."""
        idle = [job for job in jobs if job.state is not State.ACTIVE]
        if self.merges:
            idle = [replace(job, arrival=0) for job in idle]
        answers = await self._target.put(idle, over=over) if idle else []
        for job, answer in zip(idle, answers, strict=True):
            if isinstance(answer, TocsinError):
                self.moved.refused.add(f"job {job.job_id!r}: {answer}")
            elif answer in (Put.SAME, Put.KEPT):
                self.moved.same += 1
            else:
                self.moved.copied += 1

    async def _copy_notes(self) -> int:
        """How many were written."""
        after, written = "", 0
        while notes := await self._source.notes(self._queue, after=after):
            for note in notes:
                after = note.key
                copy = await self._target.read_note(self._queue, note.key)
                if note.key == move_notes.KEY or (copy is not None and copy.value == note.value):
                    continue
                revision = 0 if copy is None else copy.revision
                written += await self._target.write_note(
                    self._queue, note.key, note.value, revision=revision, until=note.until
                )
        return written

    async def name_active(self) -> None:
        """Name the jobs that run; those that were about to when the queue was paused have begun by now."""
        running = JobFilter(states=frozenset({State.ACTIVE}))
        async with aclosing(steps(self._source, self._queue, running, _EVENTS)) as found:
            async for jobs in found:
                for job in jobs:
                    self.moved.active.add(f"job {job.job_id!r} still runs")

    async def remove_gone(self) -> None:
        """Delete copies whose job the source has no more: it ended there between two runs, or was moved back."""
        arriving = await move_notes.read(self._target, self._queue)
        if not isinstance(arriving, Arriving) or arriving.copies_before is None:
            return
        copies = JobFilter(created=Window(end=arriving.copies_before))
        async with aclosing(steps(self._target, self._queue, copies, _EVENTS)) as found:
            async for jobs in found:
                ids = [job.job_id for job in jobs]
                stand = await self._source.get(self._queue, ids, View.BASIC)
                await self._delete([job_id for job_id, job in zip(ids, stand, strict=True) if job is None])

    async def _delete(self, ids: Sequence[str]) -> None:
        for job_id, refusal in zip(ids, await self._target.delete(self._queue, ids, ended_only=False), strict=True):
            if refusal is None:
                self.moved.removed += 1
            elif not isinstance(refusal, JobNotFound):
                self.moved.refused.add(f"job {job_id!r}: {refusal}")

    async def stragglers(self, leaving: Leaving) -> None:
        """Bring over what clients have added to the source since it was moved. Nothing that stands is touched."""
        if isinstance(await move_notes.read(self._target, self._queue), Arriving):
            await self._resume(leaving)  # the earlier run died just before
        self.moved.already = True
        now = await self._source.ping()
        since = JobFilter(created=Window(start=leaving.done_time))
        async with aclosing(whole(self._source, self._queue, since)) as found:
            async for jobs in found:
                await self._place(jobs, over=False)
        if not self.moved.refused:
            await move_notes.write(self._source, self._queue, replace(leaving, done_time=now))
            self.moved.done = True


def _leaving(place: str) -> str:
    return f"its jobs move to {place}"


def _arriving(place: str) -> str:
    return f"its jobs arrive from {place}"


async def _quiet(store: JobStore, queue: str, patience: timedelta) -> None:
    """Wait until no attempt of the paused queue runs, or `patience` is over."""
    end = await store.ping() + patience
    cursor = await store.cursor(queue)
    while True:
        await store.reap(queue)  # there may be no server left that does
        if not await anything(store, queue, State.ACTIVE):
            return
        left = end - await store.ping()
        if left <= timedelta(0):
            return
        cursor = (await store.events(queue, cursor, wait=min(left, _LOOK))).cursor
