"""What claims would see of jobs, from the order in which they are claimed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tocsin_server.domain.explaining import Outlook
from tocsin_server.domain.job import View
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.claim import BEST_FIRST
from tocsin_server.store.mongo.documents import Document, job_of
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.transitions import Standing

#: So many jobs ahead are counted; of more it is not said how many they are. Each is an entry of an index, read.
_COUNTED = 500
_NOT_YET_WAITING = 100

Rank = tuple[int, datetime, int]


class Outlooks:
    """JobStore.explain."""

    def __init__(self, jobs: Jobs, queues: QueueDocuments) -> None:
        self._jobs = jobs
        self._queues = queues

    async def of(self, queue: str, job_ids: Sequence[str]) -> list[Outlook | None]:
        """As JobStore.explain."""
        jobs = await self._jobs.load(queue, job_ids)
        if not jobs:
            return [None] * len(job_ids)
        head, _ = await self._queues.read(queue)
        paused = None if head is None else head.get("paused")
        due: dict[str, list[Standing]] = {}
        for job in jobs.values():
            if _is_due(job):
                due.setdefault(job.document["type"], []).append(job)
        ahead: dict[str, int] = {}
        for type_, of_type in due.items():
            ahead |= await self._ahead(queue, type_, of_type)
        outlooks = {
            job_id: Outlook(
                job_of(job.document, View.BASIC), job.now, paused, job.document.get("lease"), ahead.get(job_id)
            )
            for job_id, job in jobs.items()
        }
        return [outlooks.get(job_id) for job_id in job_ids]

    async def _ahead(self, queue: str, type_: str, jobs: Sequence[Standing]) -> dict[str, int]:
        """By job_id, of those of which it can be told."""
        last = max(map(_rank, jobs))
        now = max(job.now for job in jobs)
        waiting = await self._before(queue, type_, last, _COUNTED, {"state": int(State.WAITING)})
        late = {"state": int(State.SCHEDULED), "due": {"$lte": now}}
        not_yet = await self._before(queue, type_, last, _NOT_YET_WAITING, late)
        if len(not_yet) > _NOT_YET_WAITING:
            return {}
        counted: dict[str, int] = {}
        for job in jobs:
            place = bisect_left(waiting, _rank(job))
            if place <= _COUNTED:
                counted[job.document["id"]] = place + bisect_left(not_yet, _rank(job))
        return counted

    async def _before(self, queue: str, type_: str, last: Rank, most: int, condition: Document) -> list[Rank]:
        """The ranks of the first of these jobs that come before the last one: one more than `most`."""
        priority, due, arrival = -last[0], last[1], last[2]
        earlier: list[dict[str, Any]] = [
            {"priority": {"$gt": priority}},
            {"priority": priority, "due": {"$lt": due}},
            {"priority": priority, "due": due, "arrival": {"$lt": arrival}},
        ]
        matching = {"queue": queue, "type": type_, **condition, "$or": earlier}
        found = await self._jobs.run(
            lambda: (
                self._jobs.documents(matching, {"priority": 1, "due": 1, "arrival": 1, "_id": 0})
                .sort(BEST_FIRST)
                .limit(most + 1)
                .to_list()
            ),
            read_only=True,
        )
        return sorted((-one["priority"], one["due"], int(one["arrival"])) for one in found)


def _is_due(job: Standing) -> bool:
    return job.state is State.WAITING or (job.state is State.SCHEDULED and job.document["due"] <= job.now)


def _rank(job: Standing) -> Rank:
    return -job.document["priority"], job.document["due"], int(job.document["arrival"])
