"""Moving jobs from one queue to another: none is lost, and none can be begun in both.

A job that is to run is put off first, to a time that never comes, if it still has the revision that was seen; then it
is placed in the target as it stood, and then it is deleted here. An attempt that finds one put off knows by that what
was under way, and goes on. Such a job is not cancelled meanwhile: to who waits for its end, and in the counts of its
queue, that would be an end, and it has none.

Where the target drains, which is looked at before each batch, nothing more goes there: what was put off stands here
again as before, and what stands there already is deleted here. A batch under way in that moment may still come through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from tocsin_server.domain import limits
from tocsin_server.domain.bulk_actions import BulkFate
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.errors import CannotDecrypt, QueueDraining, TocsinError
from tocsin_server.domain.job import Job, Put, View
from tocsin_server.domain.job_errors import IsWaitedFor, JobActive, JobExists, JobNotFound, WrongState
from tocsin_server.domain.states import ENDED, PENDING
from tocsin_server.operations.bulk_actions.state import InFlight
from tocsin_server.store.interface import JobStore

#: When a job is due that is put off: no user's time, so that it tells of a move.
PUT_OFF = limits.LAST_TIME - timedelta(days=1, milliseconds=17)

_AT_ONCE = 20  # jobs that are read whole; each may have over a MiB
_Outcome: TypeAlias = BulkFate | TocsinError


async def check_takes(store: JobStore, target: str) -> None:
    """QueueDraining where jobs cannot be moved to the queue, as it takes no new ones."""
    [settings] = await store.settings([target])
    if settings.draining:
        raise QueueDraining(target)


class MoveJobs:
    """Moves jobs of one queue to another."""

    def __init__(self, store: JobStore, source: str, target: str) -> None:
        self._store = store
        self._source = source
        self._target = target

    async def move(self, jobs: Sequence[InFlight], *, resumed: bool = False) -> list[_Outcome]:
        """Move jobs as they were seen, `resumed` where an earlier attempt may have begun with them; what each came to,
        in order."""
        outcomes: list[_Outcome] = []
        for start in range(0, len(jobs), _AT_ONCE):
            seen = jobs[start : start + _AT_ONCE]
            outcomes += await _Batch(self._store, self._source, self._target, seen).move(resumed=resumed)
        return outcomes


class _Batch:
    """Some jobs on their way. `_fates`: what those came to that are no longer."""

    def __init__(self, store: JobStore, source: str, target: str, seen: Sequence[InFlight]) -> None:
        self._store = store
        self._source = source
        self._target = target
        self._seen = {job.job_id: job for job in seen}
        self._fates: dict[str, _Outcome] = {}

    async def move(self, *, resumed: bool) -> list[_Outcome]:
        ids = list(self._seen)
        here = await self._read_whole(ids)
        there = dict(zip(ids, await self._store.get(self._target, ids, View.BASIC), strict=True))
        fresh: list[Job] = []
        put_off: list[Job] = []  # as they stood before, and are to stand
        placed: list[Job] = []
        for job_id, now in here.items():
            seen, copy = self._seen[job_id], there[job_id]
            before = now and replace(now, state=seen.state, schedule_time=seen.due, revision=seen.revision)
            if now is None or before is None:
                moved = resumed and copy is not None
                self._fates[job_id] = BulkFate.DONE if moved else BulkFate.CHANGED
            elif resumed and copy is not None and await self._is_ours(copy, before, now):
                placed.append(before)
            elif _is_put_off(now, seen):
                put_off.append(before)
            elif now.state in PENDING and (now.watched or now.spec.conditions.on_end is not None):
                self._fates[job_id] = IsWaitedFor(self._source, job_id, now.state)
            elif now.revision != seen.revision:
                self._fates[job_id] = BulkFate.CHANGED
            elif copy is not None:
                self._fates[job_id] = JobExists(self._target, job_id, copy.state)
            else:
                fresh.append(now)
        try:
            await check_takes(self._store, self._target)
        except QueueDraining as refusal:
            await self._leave(fresh, put_off, refusal)
            fresh, put_off = [], []
        put_off += await self._put_off([job for job in fresh if job.state in PENDING])
        placed += await self._place([*put_off, *(job for job in fresh if job.state in ENDED)])
        await self._take_away(placed)
        return [self._fates[job_id] for job_id in ids]

    async def _read_whole(self, ids: Sequence[str]) -> dict[str, Job | None]:
        """The jobs here. One that cannot be opened stays where it is."""
        try:
            return dict(zip(ids, await self._store.get(self._source, ids, View.FULL), strict=True))
        except CannotDecrypt as error:
            if len(ids) == 1:
                self._fates[ids[0]] = error
                return {}
        return {one: job for job_id in ids for one, job in (await self._read_whole([job_id])).items()}

    async def _is_ours(self, copy: Job, before: Job, now: Job) -> bool:
        """Whether the target's job was placed there by an earlier attempt. One that was put off had no namesake there,
        and one that came since was created later. Of one that has ended the copy is the same in all."""
        if now.create_time != copy.create_time or now.spec.type != copy.spec.type:
            return False
        if before.state in PENDING:
            return now.revision != before.revision
        [whole] = await self._store.get(self._target, [copy.job_id], View.FULL)
        return whole is not None and _alike(whole, now)

    async def _put_off(self, jobs: Sequence[Job]) -> list[Job]:
        if not jobs:
            return []
        changes = [UpdateJob(job.job_id, when=PUT_OFF, revision=job.revision) for job in jobs]
        done = []
        for job, answer in zip(jobs, await self._store.update(self._source, changes), strict=True):
            if isinstance(answer, TocsinError):
                self._fates[job.job_id] = BulkFate.CHANGED
            else:
                done.append(job)
        return done

    async def _place(self, jobs: Sequence[Job]) -> list[Job]:
        """Those that stand in the target now; the others stand here again as before."""
        if not jobs:
            return []
        moved = [replace(job, spec=replace(job.spec, queue=self._target)) for job in jobs]
        placed = []
        for job, answer in zip(jobs, await self._store.put(moved, over=False), strict=True):
            if answer is Put.CREATED:
                placed.append(job)
                continue
            refusal = answer if isinstance(answer, TocsinError) else JobExists(self._target, job.job_id, job.state)
            self._fates[job.job_id] = refusal
            if job.state in PENDING:
                await self._restore(job)
        return placed

    async def _leave(self, untouched: Sequence[Job], put_off: Sequence[Job], refusal: TocsinError) -> None:
        """Let jobs stand here as before."""
        self._fates.update({job.job_id: refusal for job in (*untouched, *put_off)})
        for job in put_off:
            await self._restore(job)

    async def _restore(self, job: Job) -> None:
        """Let a job stand as before that was put off, unless somebody has changed it meanwhile."""
        [now] = await self._store.get(self._source, [job.job_id], View.BASIC)
        if now is not None and _is_put_off(now, self._seen[job.job_id]):
            await self._store.put([replace(job, revision=now.revision + 1)], over=True)

    async def _take_away(self, jobs: Sequence[Job]) -> None:
        """Delete here what stands there."""
        for ended in (False, True):
            ids = [job.job_id for job in jobs if (job.state in ENDED) is ended]
            if not ids:
                continue
            refusals = await self._store.delete(self._source, ids, ended_only=ended)
            for job_id, refusal in zip(ids, refusals, strict=True):
                if refusal is None or isinstance(refusal, JobNotFound):
                    self._fates[job_id] = BulkFate.DONE
                else:
                    self._fates[job_id] = await self._take_back(job_id, refusal)

    async def _take_back(self, job_id: str, refusal: TocsinError) -> _Outcome:
        """Somebody has begun the job here or made it due again, in the moment since: then the other goes."""
        if not isinstance(refusal, JobActive | WrongState):
            raise refusal
        [gone] = await self._store.delete(self._target, [job_id], ended_only=False)
        return BulkFate.CHANGED if gone is None or isinstance(gone, JobNotFound) else gone


def _is_put_off(now: Job, seen: InFlight) -> bool:
    return now.revision == seen.revision + 1 and now.schedule_time == PUT_OFF


def _alike(one: Job, other: Job) -> bool:
    """Whether two jobs that have ended differ in their queue alone."""
    spec = replace(other.spec, queue=one.spec.queue)
    return replace(other, spec=spec, arrival=one.arrival, revision=one.revision) == one
