"""Jobs are leased, in batches: what has come due is made WAITING, the best are picked, and each is taken where nobody
else has taken it since."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tocsin_server.domain.job import View
from tocsin_server.domain.lease import Claim, Claimed, Lease
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.clock import NOW_TO_COMPARE, read_clock
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, job_of, span, to_ms, token_of
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.transitions import Standing, changed, confirm, give_back, lease

BEST_FIRST = (("priority", -1), ("due", 1), ("arrival", 1))
_MADE_WAITING = 100
_LEASED = 200
_BYTES = 1 << 20


class ClaimJobs:
    """JobStore.claim and promote."""

    def __init__(self, connection: MongoConnection, jobs: Jobs, queues: QueueDocuments, commit: Commit) -> None:
        self._connection = connection
        self._jobs = jobs
        self._queues = queues
        self._commit = commit

    async def claim(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        length: timedelta,
        request: bytes,
        *,
        repeated: bool,
    ) -> Claim:
        """As JobStore.claim."""
        if repeated and (found := await self._leased_by(queue, request)):
            for job in found:
                confirm(job)
            lost = await self._commit.write(queue, found)  # they have just been changed: the caller will hear so
            return await self._claim_of(
                [job for job in found if job.document["id"] not in lost], found[0].now, more=True
            )
        due, (head, read_at), best = await asyncio.gather(
            self._due(queue), self._queues.read(queue), self._best(queue, types, limit)
        )
        if head is None and (due or best):
            await self._name(queue, (*due, *best))
            head, read_at = await self._queues.read(queue)
        if head is None or read_at is None:  # never used
            return Claim((), await read_clock(self._connection), more=False)
        paused, now = "paused" in head, read_at
        if due:
            now = due[0].now
            await self._make_waiting(queue, due[:_MADE_WAITING])
            if len(due) > _MADE_WAITING:
                return Claim((), now, more=True)
            if not paused:
                best = await self._best(queue, types, limit)
        if paused or not best:
            return Claim((), now, more=False)
        picked, more = _pick(best, types, limit)
        for job in picked:
            lease(job, span(to_ms(length)), request)
        lost = await self._commit.write(queue, picked)
        taken = [job for job in picked if job.document["id"] not in lost]
        with unknown_after(True):  # asked again with the same request, they are found
            if await self._queues.paused(queue):
                # Paused while this was under way: no attempt has begun yet, and none may.
                await self._undo(queue, taken)
                return Claim((), now, more=False)
            return await self._claim_of(taken, picked[0].now, more=more or bool(lost))

    async def promote(self, queue: str) -> bool:
        """As JobStore.promote."""
        due = await self._due(queue)
        if due:
            await self._name(queue, due)
            await self._make_waiting(queue, due[:_MADE_WAITING])
        return len(due) > _MADE_WAITING

    async def _name(self, queue: str, found: Sequence[Standing]) -> None:
        """See to it that the queue of these jobs has its document. It was lost, or deleted while they were being added:
        without it nobody would ever claim them."""
        await self._queues.hold(queue, max(int(job.document["arrival"]) for job in found))

    async def _leased_by(self, queue: str, request: bytes) -> list[Standing]:
        return await self._jobs.find(
            {"queue": queue, "state": int(State.ACTIVE), "token": request}, sort=[("arrival", 1)]
        )

    async def _due(self, queue: str) -> list[Standing]:
        return await self._jobs.find(
            {"queue": queue, "state": int(State.SCHEDULED), "$expr": {"$lte": ["$due", NOW_TO_COMPARE]}},
            sort=[("due", 1), ("arrival", 1)],
            limit=_MADE_WAITING + 1,
        )

    async def _make_waiting(self, queue: str, due: Sequence[Standing]) -> None:
        for job in due:
            job.document["state"] = int(State.WAITING)
            changed(job)
        await self._commit.write(queue, due)  # who lost was made WAITING by somebody else

    async def _best(self, queue: str, types: Mapping[str, int], limit: int) -> list[Standing]:
        """The best WAITING jobs, one more than can be taken; a bounded number of each type."""
        limit = min(limit, _LEASED)
        free = [name for name, most in types.items() if most >= limit]
        groups: list[tuple[Sequence[str], int]] = [(free, limit + 1)] if free else []
        groups += [([name], most) for name, most in types.items() if 0 < most < limit]

        async def of(names: Sequence[str], most: int) -> list[Standing]:
            condition: Document = {"queue": queue, "state": int(State.WAITING)}
            condition["type"] = names[0] if len(names) == 1 else {"$in": list(names)}
            return await self._jobs.find(condition, sort=BEST_FIRST, limit=most)

        found = await asyncio.gather(*(of(names, most) for names, most in groups))
        return sorted(
            (job for group in found for job in group),
            key=lambda job: (-job.document["priority"], job.document["due"], job.document["arrival"]),
        )

    async def _undo(self, queue: str, taken: Sequence[Standing]) -> None:
        again = await self._jobs.load(queue, [job.document["id"] for job in taken])
        tokens = {job.document["id"]: token_of(job.document) for job in taken}
        mine = [job for job_id, job in again.items() if token_of(job.document) == tokens[job_id]]
        for job in mine:
            job.document["attempt"] -= 1
            give_back(job)
        await self._commit.write(queue, mine)

    async def _claim_of(self, jobs: Sequence[Standing], now: datetime, *, more: bool) -> Claim:
        payloads = await self._jobs.payloads([job.document["_id"] for job in jobs])
        claimed = []
        for job in jobs:
            document = job.document
            if document["_id"] in payloads:
                document = {**document, "payload": payloads[document["_id"]]}
            granted = Lease(document["queue"], document["id"], document["attempt"], token_of(document))
            claimed.append(Claimed(job_of(document, View.FULL), granted))
        return Claim(tuple(claimed), now, more)


def _pick(best: Sequence[Standing], types: Mapping[str, int], limit: int) -> tuple[list[Standing], bool]:
    """As many as may be taken at once, and whether due ones of these types are left for the same call."""
    left, size = dict(types), 0
    picked: list[Standing] = []
    most = min(limit, _LEASED)
    for job in best:
        if len(picked) == most:
            return picked, limit > most
        if left[job.document["type"]] <= 0:
            continue
        size += job.document["bytes"]
        if size > _BYTES and picked:
            return picked, True
        left[job.document["type"]] -= 1
        picked.append(job)
    return picked, False
