"""Ended jobs are deleted: those past their retention, then those that are too many."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_server.domain import limits
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.clock import NOW_TO_COMPARE, ago
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.transitions import Standing, remove

_SPARED_BEFORE = ago(limits.SPARED_AFTER_END)


class TrimJobs:
    """JobStore.trim."""

    def __init__(self, jobs: Jobs, queues: QueueDocuments, commit: Commit) -> None:
        self._jobs = jobs
        self._queues = queues
        self._commit = commit

    async def trim(self, queue: str, *, completed_max: int, failed_max: int, limit: int) -> int:
        """As JobStore.trim."""
        expired = await self._jobs.find(
            {"queue": queue, "expire": {"$exists": True}, "$expr": {"$lte": ["$expire", NOW_TO_COMPARE]}},
            sort=[("expire", 1)],
            limit=limit,
        )
        gone = await self._delete(queue, expired)
        [own] = await self._queues.settings([queue])
        rows = (
            ([State.COMPLETED, State.CANCELLED], completed_max if own.completed_max is None else own.completed_max),
            ([State.FAILED], failed_max if own.failed_max is None else own.failed_max),
        )
        for states, most in rows:
            if gone < limit:
                gone += await self._delete(queue, await self._too_many(queue, states, most, limit - gone))
        if expired:
            await self._queues.sweep_rates(queue, expired[0].now)
        return gone

    async def _too_many(self, queue: str, states: Sequence[State], most: int, limit: int) -> list[Standing]:
        """The oldest of those beyond `most`, as many as `limit`, that did not end just now."""
        condition = {"queue": queue, "state": {"$in": [int(state) for state in states]}}
        count = await self._jobs.run(
            lambda: self._jobs.collection.count_documents(condition, limit=most + limit), read_only=True
        )
        if count <= most:
            return []
        return await self._jobs.find(
            {**condition, "$expr": {"$lte": ["$end", _SPARED_BEFORE]}},
            sort=[("end", 1)],
            limit=min(count - most, limit),
        )

    async def _delete(self, queue: str, jobs: Sequence[Standing]) -> int:
        for job in jobs:
            remove(job)
        return len(jobs) - len(await self._commit.write(queue, jobs, retention=True))
