"""Arrival numbers that jobs bring with them: whose they are, and that no two jobs of a queue have the same.

Before anything is written the queue's counter is raised to the highest of them, so that no job added later can have it.
A number below may have been taken by a write that is under way. So it is looked up before the jobs are written and once
more afterwards: of two servers that place jobs of one number, one at least sees the other's, and gives way. No index
enforces this: it could not be made on a sharded collection.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Sequence

from bson.int64 import Int64

from tocsin_server.domain.errors import TocsinError
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.transitions import Standing, touch

#: Numbers are close where a job has every one of so many.
_CLOSE = 4


class Arrivals:
    """Of all queues."""

    def __init__(self, jobs: Jobs, queues: QueueDocuments) -> None:
        self._jobs = jobs
        self._queues = queues

    async def holders(self, queue: str, numbers: Collection[int]) -> dict[int, str]:
        """The id of the job that has a number, of those that somebody has."""
        return dict(await self._having(queue, numbers))

    async def separate(self, queue: str, written: Sequence[Document]) -> None:
        """Give new numbers to those of the jobs just written that share theirs. Changes the documents likewise.

        The jobs stand already: a store that cannot be reached now is no failure of the call.
        """
        with contextlib.suppress(TocsinError):
            having: defaultdict[int, set[str]] = defaultdict(set)
            for number, job_id in await self._having(queue, [document["arrival"] for document in written]):
                having[number].add(job_id)
            sharing = [document for document in written if having[document["arrival"]] - {document["id"]}]
            if sharing:
                await self._renumber(queue, sharing)

    async def _renumber(self, queue: str, sharing: Sequence[Document]) -> None:
        taken, _ = await self._queues.allocate(queue, events=0, arrivals=len(sharing))
        jobs = [Standing(document, document["create"]) for document in sharing]
        for number, job in enumerate(jobs, start=taken.first_arrival):
            job.document["arrival"] = Int64(number)
            touch(job)
        lost = await self._jobs.swap(jobs)
        for job in jobs:
            if job.document["id"] in lost:  # it runs by now, and its lease goes by the number that it has
                job.document["arrival"] = job.before["arrival"]

    async def _having(self, queue: str, numbers: Collection[int]) -> list[tuple[int, str]]:
        """Numbers and ids of the jobs that have one of these numbers."""
        if not numbers:
            return []
        wanted = set(numbers)
        lowest, highest = min(wanted), max(wanted)
        # A move brings neighbours: one walk of the index, in place of a lookup for each.
        close = highest - lowest < _CLOSE * len(wanted)
        within = {"$gte": lowest, "$lte": highest} if close else {"$in": sorted(wanted)}
        found = await self._jobs.run(
            lambda: self._jobs.documents({"queue": queue, "arrival": within}, {"id": 1, "arrival": 1}).to_list(),
            read_only=True,
        )
        return [(number, one["id"]) for one in found if (number := int(one["arrival"])) in wanted]
