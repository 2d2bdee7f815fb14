"""Jobs of a queue with limits are leased: the best for which there is room, each of which has its place before its
lease (places.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.queue_limits import LimitScope
from tocsin_server.domain.times import to_time
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.places import LimitPlaces, limit_key_of, place_of
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.rooms import Rooms
from tocsin_server.store.mongo.transitions import KEEPS, PLACED, Standing, lease

#: Jobs that one claim leases at most.
LEASED = 200
#: A queue of which a limit is full is looked at again after so long, for a server may have died with a place.
_LOOK_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a claim asks for, as far as the queue's own limits allow."""

    types: Mapping[str, int]
    limit: int
    length: timedelta
    request: bytes


class LimitedLeases:
    """Leases for claims."""

    def __init__(self, queues: QueueDocuments, commit: Commit, places: LimitPlaces, log: EventLog) -> None:
        self._queues = queues
        self._commit = commit
        self._places = places
        self._log = log

    async def lease(
        self,
        queue: str,
        rooms: Rooms,
        places: Document,
        best: Sequence[Standing],
        asked: Asked,
        start: datetime | None,
    ) -> tuple[list[Standing], bool]:
        """Those that are leased now, and whether to claim again at once. `places` is what `rooms` were made of, `best`
        the best WAITING jobs, `start` when the queue is known to go on by itself."""
        if await self.found_stale(queue, rooms, places):
            return [], True
        fitting, held = _fitting(rooms, best, asked)
        taken, lost = await self.lease_these(queue, rooms, places, fitting, asked, start)
        # Where some were held back, what comes next, of which not all was read, may be of another key.
        return taken, bool(fitting) and (held or lost or len(best) > asked.limit)

    async def found_stale(self, queue: str, rooms: Rooms, places: Document) -> bool:
        """Whether places were found that nobody has, where some limit is full. Also where others begin all the time: a
        place that a dead server left would else hold up its key for as long."""
        return rooms.any_full and await self._places.prune(queue, places)

    async def lease_these(
        self,
        queue: str,
        rooms: Rooms,
        places: Document,
        chosen: Sequence[Standing],
        asked: Asked,
        start: datetime | None,
    ) -> tuple[list[Standing], bool]:
        """Lease these, for which `rooms` have taken room; and whether somebody was faster with some of them."""
        if not chosen:
            await self._set_start(queue, rooms, start)
            return [], False
        counted = bool(rooms.limits) or "floor" in places  # shared limits count all that run
        names = {job.document["id"] for job in chosen}
        kept = [one for one in places["held"] if one["job"] not in names]  # a job's own, that it kept for its retry
        new = [{**place_of(job), "token": asked.request} for job in chosen] if counted else []
        if not await self._places.swap({**places, "held": [*kept, *new], "rates": rooms.rates()}):
            return [], True
        for job in chosen:
            job.now = to_time(rooms.now)  # the time that rates went by
            lease(job, asked.length, asked.request)
            if counted:
                job.document["placed"] = KEEPS if _is_ordered(rooms, job) else PLACED
            else:
                job.document.pop("placed", None)
        lost = await self._commit.write(queue, chosen)
        if lost and new:
            await self._places.settle(queue, [place for place in new if place["job"] in lost], mine=True)
        await self._set_start(queue, rooms, start)
        return [job for job in chosen if job.document["id"] not in lost], bool(lost)

    async def _set_start(self, queue: str, rooms: Rooms, known: datetime | None) -> None:
        """Say when the queue goes on by itself: at the time of a rate, of which who claims is told, or in a while."""
        wanted, now = rooms.next_time(), to_time(rooms.now)
        if rooms.any_full and (wanted is None or wanted > now + _LOOK_AGAIN):
            if known is None or known <= now:
                await self._queues.set_start(queue, now + _LOOK_AGAIN)
        elif await self._queues.set_start(queue, wanted) and wanted is not None:
            taken, _ = await self._queues.allocate(queue, events=1)
            await self._log.append(taken, (), Flags(due=wanted))


def _fitting(rooms: Rooms, best: Sequence[Standing], asked: Asked) -> tuple[list[Standing], bool]:
    """Those for which there is room, which is taken; and whether others were held back."""
    left, held = dict(asked.types), False
    found: list[Standing] = []
    for job in best:
        type_, key, name = job.document["type"], limit_key_of(job), job.document["id"]
        if left.get(type_, 0) <= 0 or len(found) == min(asked.limit, LEASED):
            continue
        if rooms.hindrance(type_, key, name) is not None:
            held = True
            continue
        rooms.take(type_, key, name)
        left[type_] -= 1
        found.append(job)
    return found, held


def _is_ordered(rooms: Rooms, job: Standing) -> bool:
    type_, key = job.document["type"], limit_key_of(job)
    return any(
        limit.max_active == 1 and limit.scope is LimitScope.KEY and limit.covers(type_, key) for limit in rooms.limits
    )
