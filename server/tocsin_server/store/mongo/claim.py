"""Jobs are leased, in batches: the best are picked of those that wait and those that have come due just now, and each
is taken where nobody else has taken it since. What is due and not picked is made WAITING by the same write."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin_server.domain.job import View
from tocsin_server.domain.lease import Claim, Claimed, Lease
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.ageing import TYPES_A_QUERY, first_of_types, rank, step_of
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.documents import Document, job_of, span, to_ms, token_of
from tocsin_server.store.mongo.event_log import EventLog
from tocsin_server.store.mongo.fair_leases import FairLeases
from tocsin_server.store.mongo.full import FullLimits
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.limited_leases import LEASED, Asked, LimitedLeases
from tocsin_server.store.mongo.places import LimitPlaces
from tocsin_server.store.mongo.queue_settings import StoredSettings
from tocsin_server.store.mongo.queues import QueueDocuments, has_limits
from tocsin_server.store.mongo.rooms import Rooms
from tocsin_server.store.mongo.transitions import (
    KEEPS,
    Standing,
    cancelled,
    come_due,
    confirm,
    expired,
    give_back,
    is_late,
    lease,
)
from tocsin_server.store.mongo.turns import Turns
from tocsin_server.store.shared_limit_store import GRANT_REFUSED, NEEDS_GRANT, NoGrant

BEST_FIRST = (("priority", -1), ("due", 1), ("arrival", 1))
_MADE_WAITING = 100
_BYTES = 1 << 20
#: Where others claimed the same jobs a moment ago, so many times as many are read, and claims begin anywhere among
#: those of one priority. Else servers in step read the same jobs, and all but one of them write in vain.
_CONTENDED, _AMONG = timedelta(milliseconds=500), 4
NO_KEYS: Mapping[str, Sequence[str]] = {}


class ClaimJobs:
    """JobStore.claim and promote."""

    def __init__(
        self,
        clock: ServerClock,
        jobs: Jobs,
        queues: QueueDocuments,
        commit: Commit,
        places: LimitPlaces,
        settings: StoredSettings,
        log: EventLog,
        full: FullLimits,
        turns: Turns,
    ) -> None:
        self._clock = clock
        self._full = full
        self._turns = turns
        self._limited = LimitedLeases(queues, commit, places, log)
        self._fair = FairLeases(turns, self._limited, commit)
        self._places = places
        self._settings = settings
        self._jobs = jobs
        self._queues = queues
        self._commit = commit
        self._lost: dict[str, float] = {}  # queue -> when a claim last lost jobs to another server

    async def claim(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        length: timedelta,
        request: bytes,
        *,
        repeated: bool,
        granted: int | None = None,
    ) -> Claim | NoGrant:
        """As JobStore.claim, by a grant of this version (shared.py)."""
        if repeated and (found := await self._leased_by(queue, request)):
            for job in found:
                confirm(job)
            lost = await self._commit.write(queue, found)  # changed just now: who runs them will hear how
            found = [job for job in found if job.document["id"] not in lost]
            payloads = await self._jobs.payloads([job.document["_id"] for job in found])
            return Claim(_claimed(found, payloads), await self._clock.lately(), more=True)
        due, (head, read_at), best = await asyncio.gather(
            self._due(queue), self._queues.read(queue), self._best(queue, types, limit)
        )
        rooms, places = None, None
        if head is not None and read_at is not None and ("fair" in head or has_limits(head)):
            if "shared" in head and granted is None:
                return NEEDS_GRANT
            places, [settings] = await asyncio.gather(self._places.read(queue), self._settings.read([queue]))
            if places is None or (has_limits(head) and not places["ready"]):
                # Who set the limits is about to do this, or has died.
                await self._places.begin(queue, limited=True)
                if "limited" in head:
                    await self._places.take_in(queue)
                return Claim((), read_at, more=True)
            if "fair" in head and await self._turns.begin(queue, places, read_at):
                return Claim((), read_at, more=True)
            if "floor" in places and (granted is None or granted <= places["floor"]):
                return NEEDS_GRANT if granted is None else GRANT_REFUSED
            rooms = Rooms(settings.limits, places, read_at)
            types = {name: min(most, rooms.room_for_all(name)) for name, most in types.items()}
            limit, best = min(limit, rooms.room_for_all(None)), []
        step = step_of(head)
        others = step is not None and len(best) > min(limit, LEASED)  # not all that waits was read
        if (rooms is not None or others) and limit > 0 and head is not None and "fair" not in head:
            full = NO_KEYS if rooms is None else rooms.full_keys()
            best = await self._best(queue, types, limit, full, step)
        if head is None and (due or best):
            await self._name(queue, (*due, *best))
            head, read_at = await self._queues.read(queue)
        if head is None or read_at is None:  # never used
            return Claim((), await self._clock.lately(), more=False)
        if "until" in head and head["until"] <= read_at:
            await self._queues.end_pause(queue, read_at)
        elif "paused" in head:
            await self._make_waiting(queue, due[:_MADE_WAITING], head)
            return Claim((), read_at, more=len(due) > _MADE_WAITING)
        if len(due) > _MADE_WAITING:
            await self._make_waiting(queue, due[:_MADE_WAITING], head)
            return Claim((), read_at, more=len(due) > _MADE_WAITING)
        waiting = {job.document["id"] for job in best}  # others may have made them so between the two readings
        due = [job for job in due if job.document["id"] not in waiting]
        if rooms is not None and due:  # a full limit is asked first, also of one whose time is over
            await self._make_waiting(queue, due, head)
            return Claim((), read_at, more=True)
        best = sorted((*due, *best), key=lambda job: rank(job.document, step))
        if not best and rooms is None:
            return Claim((), read_at, more=False)
        if late := [job for job in best if is_late(job)]:
            for job in late:
                expired(job)
            best, due = ([job for job in jobs if not job.touched] for jobs in (best, due))
        if rooms is not None and places is not None:
            if late:
                await self._commit.write(queue, late)
                return Claim((), read_at, more=True)
            asked = Asked(types, limit, span(to_ms(length)), request)
            if "fair" in head:
                taken, more = await self._fair.lease(queue, rooms, places, asked, head.get("start"), step)
            else:
                taken, more = await self._limited.lease(queue, rooms, places, best, asked, head.get("start"))
            if not taken:
                return Claim((), read_at, more)
            names = [job.document["_id"] for job in taken]
            # Of a queue whose keys take turns, and that has no limits, no place says that these run.
            known = ("fair", "limited", "shared") if has_limits(head) else ("fair",)
            paused, payloads = await asyncio.gather(
                self._queues.held_up(queue, known=known), self._jobs.payloads(names)
            )
            if paused:
                with unknown_after(True):
                    await self._undo(queue, taken)
                return Claim((), read_at, more=False)
            return Claim(_claimed(taken, payloads), read_at, more)
        picked, more = _pick(_apart(best) if best and self._contended(queue) else best, types, limit)
        for job in picked:
            lease(job, span(to_ms(length)), request)
        left = [job for job in due if not job.touched]
        for job in left:
            come_due(job)
        paused, payloads = False, {}

        async def look(lost: set[str]) -> None:
            nonlocal paused, payloads
            ids = [job.document["_id"] for job in picked if job.document["id"] not in lost]
            paused, payloads = await asyncio.gather(self._queues.held_up(queue), self._jobs.payloads(ids))

        # Where this fails when the jobs are leased: asked again with the same request, they are found.
        lost = await self._commit.write(queue, [*picked, *left, *late], beside_logging=look)
        if lost:
            self._lost[queue] = time.monotonic()
        taken = [job for job in picked if job.document["id"] not in lost]
        if paused:
            # Paused while this was under way: no attempt has begun yet, and none may.
            with unknown_after(True):
                await self._undo(queue, taken)
            return Claim((), read_at, more=False)
        taken.sort(key=lambda job: rank(job.document, step))
        now = min((job.now for job in taken), default=read_at)
        return Claim(_claimed(taken, payloads), now, more or bool(lost) or bool(late))

    def keep(self, queues: Collection[str]) -> None:
        """These queues are there, and no other."""
        self._lost = {queue: at for queue, at in self._lost.items() if queue in queues}

    def _contended(self, queue: str) -> bool:
        return time.monotonic() - self._lost.get(queue, -math.inf) < _CONTENDED.total_seconds()

    async def promote(self, queue: str) -> bool:
        """As JobStore.promote."""
        due = await self._due(queue)
        if due:
            await self._name(queue, due)
            head, _ = await self._queues.read(queue)
            await self._make_waiting(queue, due[:_MADE_WAITING], head)
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
        found = await self._jobs.find(
            {"queue": queue, "state": int(State.SCHEDULED), "due": {"$lte": await self._clock.bound()}},
            sort=[("due", 1), ("arrival", 1)],
            limit=_MADE_WAITING + 1,
        )
        return [job for job in found if job.document["due"] <= job.now]

    async def _make_waiting(self, queue: str, due: Sequence[Standing], head: Document | None) -> None:
        if head is not None and "strict" in head:
            await self._full.make_waiting(queue, due)
            return
        for job in due:
            come_due(job)
        await self._commit.write(queue, due)  # who lost was made WAITING by somebody else

    async def _best(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        full_keys: Mapping[str, Sequence[str]] = NO_KEYS,
        step: int | None = None,
    ) -> list[Standing]:
        """The best WAITING jobs: as many as can be taken, and one more; of these keys those alone that keep a place.
        step: how they gain priority (ageing.py)."""
        if step is not None:
            return await self._best_by_age(queue, types, min(limit, LEASED), full_keys, step)
        open_ = [name for name, most in types.items() if most > 0]
        groups = (open_[start : start + TYPES_A_QUERY] for start in range(0, len(open_), TYPES_A_QUERY))
        found = await asyncio.gather(
            *(self._best_of(queue, names, types, min(limit, LEASED), full_keys) for names in groups)
        )
        return sorted((job for group in found for job in group), key=lambda job: rank(job.document, None))

    async def _best_of(
        self,
        queue: str,
        names: Sequence[str],
        types: Mapping[str, int],
        limit: int,
        full_keys: Mapping[str, Sequence[str]],
    ) -> Iterable[Standing]:
        """Of these types, by one query; by another one where those of which not all may be taken hide the others."""
        most = self._read_at_once(queue, limit)
        found: dict[str, Standing] = {}
        while names:
            condition = _waiting(queue, full_keys)
            condition["type"] = names[0] if len(names) == 1 else {"$in": list(names)}
            asked = await self._jobs.find(condition, sort=BEST_FIRST, limit=most)
            found |= {job.document["_id"]: job for job in asked}
            of_type = Counter(job.document["type"] for job in found.values())
            if len(asked) < most or sum(min(number, types[name]) for name, number in of_type.items()) >= limit:
                break
            names = [name for name in names if of_type[name] < types[name]]
        return found.values()

    async def _best_by_age(
        self, queue: str, types: Mapping[str, int], limit: int, full_keys: Mapping[str, Sequence[str]], step: int
    ) -> list[Standing]:
        async def ask(condition: Document, most: int) -> list[Standing]:
            return await self._jobs.find(condition, sort=BEST_FIRST, limit=most)

        open_ = {name: most for name, most in types.items() if most > 0}
        most, condition = self._read_at_once(queue, limit), _waiting(queue, full_keys)
        return await first_of_types(ask, lambda job: job.document, condition, open_, limit, most, step) if open_ else []

    def _read_at_once(self, queue: str, limit: int) -> int:
        return (limit + 1) * (_AMONG if self._contended(queue) else 1)

    async def _undo(self, queue: str, taken: Sequence[Standing]) -> None:
        """Take leases back of which nobody was told, as if these attempts had not begun."""
        names = [job.document["id"] for job in taken]

        def decide(at: int, job: Standing | None) -> None:
            mine = token_of(taken[at].document)
            if job is None or job.state is not State.ACTIVE or token_of(job.document) != mine:
                return
            job.document["attempt"] -= 1
            if job.cancel_asked:
                cancelled(job)
                return
            give_back(job)
            if taken[at].before.get("placed") == KEEPS:
                job.document["placed"] = KEEPS

        await self._commit.change(queue, names, decide)


def _waiting(queue: str, full_keys: Mapping[str, Sequence[str]]) -> Document:
    condition: Document = {"queue": queue, "state": int(State.WAITING)}
    if full_keys:
        condition["$and"] = [_not_of(type_, keys) for type_, keys in full_keys.items()]
    return condition


def _not_of(type_: str, keys: Sequence[str]) -> Document:
    """That a job is of none of these keys, of a type or of any (""), or keeps its key's place."""
    either: list[Document] = [{"conditions.limit_key": {"$nin": list(keys)}}, {"placed": KEEPS}]
    return {"$or": [*either, {"type": {"$ne": type_}}] if type_ else either}


def _claimed(jobs: Sequence[Standing], payloads: Mapping[str, Any]) -> tuple[Claimed, ...]:
    claimed = []
    for job in jobs:
        document = job.document
        if document["_id"] in payloads:
            document = {**document, "payload": payloads[document["_id"]]}
        granted = Lease(document["queue"], document["id"], document["attempt"], token_of(document))
        claimed.append(Claimed(job_of(document, View.FULL), granted))
    return tuple(claimed)


def _apart(best: Sequence[Standing]) -> list[Standing]:
    """Begin anywhere among those of the highest priority: others who claim now would begin with the first of them."""
    highest = best[0].document["priority"]
    equals = sum(1 for _ in itertools.takewhile(lambda job: job.document["priority"] == highest, best))
    start = random.randrange(equals)  # noqa: S311 - spreads load, guards nothing
    return [*best[start:equals], *best[:start], *best[equals:]]


def _pick(best: Sequence[Standing], types: Mapping[str, int], limit: int) -> tuple[list[Standing], bool]:
    """As many as may be taken at once, and whether due ones of these types are left for the same call."""
    left, size = dict(types), 0
    picked: list[Standing] = []
    most = min(limit, LEASED)
    for job in best:
        if len(picked) == most:
            return picked, limit > most
        if left.get(job.document["type"], 0) <= 0:
            continue  # or it is due, and of a type that is not asked for
        size += job.document["bytes"]
        if size > _BYTES and picked:
            return picked, True
        left[job.document["type"]] -= 1
        picked.append(job)
    return picked, False
