"""Ended jobs are deleted: those past their retention, then those that are too many. And jobs that have expired end."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_server.domain import limits
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.documents import begin_by, ended, set_alarm
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.queue_settings import StoredSettings
from tocsin_server.store.mongo.transitions import Standing, expired, remove, touch


class TrimJobs:
    """JobStore.trim."""

    def __init__(self, clock: ServerClock, jobs: Jobs, settings: StoredSettings, commit: Commit) -> None:
        self._clock = clock
        self._jobs = jobs
        self._settings = settings
        self._commit = commit

    async def trim(self, queue: str, *, completed_max: int, failed_max: int, limit: int) -> int:
        """As JobStore.trim."""
        found = await self._jobs.find(
            {"queue": queue, "expire": {"$exists": True, "$lte": await self._clock.bound()}},
            sort=[("expire", 1)],
            limit=limit,
        )
        found = [job for job in found if job.document["expire"] <= job.now]
        gone = await self._delete(queue, [job for job in found if ended(job.document)])
        with unknown_after(gone > 0):
            gone += await self._look_at(queue, [job for job in found if not ended(job.document)])
        with unknown_after(gone > 0):
            return gone + await self._trim_by_count(queue, completed_max, failed_max, limit - gone)

    async def _trim_by_count(self, queue: str, completed_max: int, failed_max: int, limit: int) -> int:
        gone = 0
        [own] = await self._settings.read([queue])
        rows = (
            ([State.COMPLETED, State.CANCELLED], completed_max if own.completed_max is None else own.completed_max),
            ([State.FAILED], failed_max if own.failed_max is None else own.failed_max),
        )
        for states, most in rows:
            if gone < limit:
                gone += await self._delete(queue, await self._too_many(queue, states, most, limit - gone))
        return gone

    async def _too_many(self, queue: str, states: Sequence[State], most: int, limit: int) -> list[Standing]:
        """The oldest of those beyond `most`, as many as `limit`, that did not end just now."""
        condition = {"queue": queue, "state": {"$in": [int(state) for state in states]}}
        count = await self._jobs.run(
            lambda: self._jobs.collection.count_documents(condition, limit=most + limit), read_only=True
        )
        if count <= most:
            return []
        bound = await self._clock.bound() - limits.SPARED_AFTER_END
        found = await self._jobs.find(
            {**condition, "end": {"$lte": bound}}, sort=[("end", 1)], limit=min(count - most, limit)
        )
        return [job for job in found if job.document["end"] <= job.now - limits.SPARED_AFTER_END]

    async def _look_at(self, queue: str, jobs: Sequence[Standing]) -> int:
        """Jobs that have not ended: they have expired, or wait for one of their key, which may have ended. Says how
        many expired."""
        over = 0
        for job in jobs:
            by = begin_by(job.document)
            if by is not None and by <= job.now and not job.document["attempt"]:
                expired(job)
                over += 1
            else:
                set_alarm(job.document, job.now)
                touch(job)
        await self._commit.write(queue, jobs)
        await self._commit.let_go(queue, {job.document["key"] for job in jobs if "key" in job.document})
        return over

    async def _delete(self, queue: str, jobs: Sequence[Standing]) -> int:
        for job in jobs:
            if "untold" not in job.document:
                remove(job)
            elif job.document["expire"] <= job.now:  # others are still to hear of its end
                job.document["expire"] = job.now + limits.RETELL
                touch(job)
        return len(jobs) - len(await self._commit.write(queue, jobs, retention=True))
