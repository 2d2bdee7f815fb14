"""What becomes of a job that comes, due now, while a limit is full which does not let it wait: it ends, or one that
runs is asked to stop. The sister of Redis's lib/full.lua.

Such a job stands as SCHEDULED first, due now, also one that was just added; then it is judged, and whoever judges makes
it WAITING or ends it. So nobody need live to the end of it: a claim judges what others left.

That no more run or wait than may, where two judge at once, is seen to by the queue's document of places (places.py):
whoever lets jobs wait says so there first, under `coming`, and who was outrun counts again. Of each: job, its id, and
writes, the number of that job as it was read; type, key; since. It counts as long as its job stands just so: once that
was written, it is found among those that wait. One of a server that died is left out after its job was written once,
which changes nothing: whoever was about to let it wait finds that it has changed.

Counted is no further than to `max_active`, by indexes.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin_server.domain import limits
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.queue_limits import LIMIT_FULL, Limit, LimitScope, OnFull
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.commit import Commit, mark_unfiled
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.places import UNDER_WAY, LimitPlaces, key_in, limit_key_of
from tocsin_server.store.mongo.queue_settings import StoredSettings
from tocsin_server.store.mongo.queues import Allocation
from tocsin_server.store.mongo.rooms import counts_place, name_of
from tocsin_server.store.mongo.transitions import Standing, ask_cancel, come_due, refuse, touch

_ROUNDS, _LONGEST_PAUSE = 100, 0.05
_AT_ONCE = 20  # questions of how many wait
#: Of those that run, the ones that have run for longest are looked at; among them is one that was not asked yet.
_LOOKED_AT = 100

_Name = tuple[str, str]


@dataclass(slots=True)
class Coming:
    """A SCHEDULED job that is due. `type` and `key` are what it is judged by; `judged` is false of one that may wait
    whatever is full: it has begun before."""

    job: Standing
    type: str
    key: str
    judged: bool = True
    refused: bool = False
    asks: list[Limit] = field(default_factory=list)  # under each of these one that runs is to be asked to stop


class _Crowd:
    """Who runs or waits under limits: names that are known, and how many others wait."""

    def __init__(self, strict: Sequence[Limit], places: Document, under_way: Sequence[Document]) -> None:
        self.strict = strict
        self.names: dict[_Name, set[str]] = defaultdict(set)
        self.others: dict[_Name, int] = {}
        for one in places["held"]:
            for limit in strict:
                if counts_place(limit, one):
                    self.names[name_of(limit, one["key"])].add(one["job"])
        for one in under_way:
            self.add(one["job"], one["type"], one["key"])

    def covering(self, type_: str, limit_key: str) -> list[tuple[Limit, _Name]]:
        return [(limit, name_of(limit, limit_key)) for limit in self.strict if limit.covers(type_, limit_key)]

    def add(self, job_id: str, type_: str, limit_key: str) -> None:
        for _, name in self.covering(type_, limit_key):
            self.names[name].add(job_id)

    def is_full(self, limit: Limit, name: _Name, but: str) -> bool:
        """Whether as many as may run or wait beside this one."""
        known = self.names[name]
        return len(known) - (but in known) + self.others.get(name, 0) >= (limit.max_active or 0)


class FullLimits:
    """Of all queues."""

    def __init__(self, jobs: Jobs, commit: Commit, places: LimitPlaces, settings: StoredSettings) -> None:
        self._jobs = jobs
        self._commit = commit
        self._places = places
        self._settings = settings

    async def make_waiting(self, queue: str, due: Sequence[Standing]) -> None:
        """Jobs whose time has come wait, or end. What others write meanwhile is left to them."""
        judged = [
            Coming(job, job.document["type"], limit_key_of(job), judged=not job.document["attempt"]) for job in due
        ]
        await self._judge(queue, judged)
        for one in judged:
            _become(one)
        lost = await self._commit.write(queue, due)
        await self._ask(queue, [one for one in judged if one.job.document["id"] not in lost])

    async def judge_added(
        self, taken: Allocation, added: Mapping[str, tuple[Document, Document]], now: datetime
    ) -> Mapping[str, Document]:
        """The same of jobs that were added just now, and of which nobody has heard: this is part of their making.

        added: by id, a job as it stands, SCHEDULED, which is changed here, and as it came; it is judged by that. How
        they stand then, by id: where others judged one, that is not as it was changed.
        """
        stand = {name: document for name, (document, _) in added.items()}
        left = {name: Standing(dict(document), now) for name, document in stand.items()}
        for _ in range(_ROUNDS):
            lost = await self._let_in(taken, {name: (job, added[name][1]) for name, job in left.items()})
            for name in left.keys() - lost:
                document, job = stand[name], left[name]
                for gone in job.before.keys() - job.document.keys():
                    document.pop(gone, None)
                document.update(job.document)
            others = await self._jobs.load(taken.queue, sorted(lost)) if lost else {}
            left = {name: job for name, job in others.items() if _is_due(job)}
            for name in lost - left.keys():
                how = State.WAITING  # it may have begun since, or have ended and be gone
                if name in others and others[name].state is State.CANCELLED:
                    how = State.CANCELLED
                stand[name] = {**stand[name], "state": int(how)}
            if not left:
                return stand
        raise StoreAway("others kept changing the same jobs")

    async def _let_in(self, taken: Allocation, added: Mapping[str, tuple[Standing, Document]]) -> set[str]:
        """One round of that; the ids of those that others have written since."""
        judged = [Coming(job, came["type"], key_in(came)) for job, came in added.values()]
        await self._judge(taken.queue, judged)
        for one in judged:
            revision = one.job.document["revision"]
            _become(one)
            one.job.document["revision"] = revision
            mark_unfiled(taken, [(one.job.before, one.job.document)])
        lost = await self._jobs.swap([one.job for one in judged])
        await self._ask(taken.queue, [one for one in judged if one.job.document["id"] not in lost])
        return lost

    async def _judge(self, queue: str, judged: Sequence[Coming]) -> None:
        """Say which of these may wait, in order; that they are about to stands in the document of places then."""
        for _ in range(_ROUNDS):
            places, [settings] = await asyncio.gather(self._places.read(queue), self._settings.read([queue]))
            strict = [one for one in settings.limits if one.on_full is not OnFull.WAIT and one.max_active is not None]
            if not strict:
                return
            if places is None or not places["ready"]:
                await self._places.begin(queue, limited=True)
                await self._places.take_in(queue)
                continue
            entries: Sequence[Document] = places.get("coming", ())
            ids = [*(one["job"] for one in entries), *(one.job.document["id"] for one in judged)]
            standing = await self._jobs.load(queue, ids)
            under_way = await self._under_way(entries, standing)
            # What others wrote since it was read is found among those that wait, if it does, and is not written here;
            # nor is what was touched just now.
            ours = [one for one in judged if _stands_so(standing.get(one.job.document["id"]), one.job.before["writes"])]
            crowd = _Crowd(strict, places, under_way)
            await self._count(queue, crowd, ours)
            for one in ours:
                _decide(one, crowd)
            new = [_entry(one) for one in ours if not one.refused and crowd.covering(one.type, one.key)]
            if not new or await self._places.swap({**places, "coming": [*under_way, *new]}):
                return
            await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - spreads load, guards nothing
        raise StoreAway("others kept changing the places of the same queue")

    async def _under_way(self, entries: Sequence[Document], standing: Mapping[str, Standing]) -> list[Document]:
        """Those of these that somebody is about to let wait. Who was, and stands still, is not any more."""
        found, stale = [], []
        for one in entries:
            job = standing.get(one["job"])
            if job is None or not _stands_so(job, one["writes"]):
                continue
            if abs(job.now - one["since"]) < UNDER_WAY:
                found.append(one)
            else:
                touch(job)
                stale.append(job)
        if stale:
            await self._jobs.swap(stale)  # who lost was let wait just now, and is found there
        return found

    async def _count(self, queue: str, crowd: _Crowd, judged: Sequence[Coming]) -> None:
        """How many wait beside those that are known, of each limit that these may find full."""
        asked: dict[_Name, tuple[Limit, str]] = {}
        for one in judged:
            for limit, name in crowd.covering(one.type, one.key):
                if one.judged and not crowd.is_full(limit, name, one.job.document["id"]):
                    asked[name] = limit, one.key
        own = {one.job.document["id"] for one in judged}
        names = list(asked)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            found = await asyncio.gather(
                *(self._waiting(queue, *asked[name], without=crowd.names[name] | own) for name in some)
            )
            crowd.others.update(zip(some, found, strict=True))

    async def _waiting(self, queue: str, limit: Limit, limit_key: str, *, without: set[str]) -> int:
        """How many others wait under a limit, up to as many as may; held ones too, but for those of a key."""
        condition: Document = {"queue": queue, "state": int(State.WAITING)}
        if limit.scope is LimitScope.KEY:
            condition["conditions.limit_key"] = limit_key
        else:
            condition["state"] = {"$in": [int(State.WAITING), -int(State.WAITING)]}
        if limit.type:
            condition["type"] = limit.type
        condition["id"] = {"$nin": sorted(without)}
        most = limit.max_active or 0
        return await self._jobs.run(
            lambda: self._jobs.collection.count_documents(condition, limit=most), read_only=True
        )

    async def _ask(self, queue: str, came: Sequence[Coming]) -> None:
        for one in came:
            for limit in one.asks:
                await self._ask_oldest(queue, limit, one.key)

    async def _ask_oldest(self, queue: str, limit: Limit, limit_key: str) -> None:
        """Ask the one to stop that began first of those that run under a limit, and was not asked yet."""
        for _ in range(_ROUNDS):
            places = await self._places.read(queue)
            held = (places or {}).get("held", ())
            wanted = name_of(limit, limit_key)
            under = [one for one in held if counts_place(limit, one) and name_of(limit, one["key"]) == wanted]
            under.sort(key=lambda one: one["since"])
            found = await self._jobs.load(queue, [one["job"] for one in under[:_LOOKED_AT]])
            running = [job for job in found.values() if job.state is State.ACTIVE and not job.cancel_asked]
            if not running:
                return
            oldest = min(running, key=lambda job: (job.document["start"], job.document["arrival"]))
            ask_cancel(oldest, CancelJob(oldest.document["id"], LIMIT_FULL, "", limits.DEFAULT_GRACE))
            if not await self._commit.write(queue, [oldest], cancels=True):
                return


def _stands_so(job: Standing | None, writes: int) -> bool:
    """Whether it waits for its time, and nobody has written it since it was read."""
    if job is None or job.touched:
        return False
    return job.state is State.SCHEDULED and bool(job.before["writes"] == writes)


def _is_due(job: Standing) -> bool:
    return bool(job.document["state"] == State.SCHEDULED and job.document["due"] <= job.now)


def _decide(one: Coming, crowd: _Crowd) -> None:
    one.refused, one.asks = False, []
    name_of_job = one.job.document["id"]
    for limit, name in crowd.covering(one.type, one.key) if one.judged else ():
        if crowd.is_full(limit, name, name_of_job):
            if limit.on_full is OnFull.CANCEL_NEW:
                one.refused, one.asks = True, []
                return
            one.asks.append(limit)
    crowd.add(name_of_job, one.type, one.key)


def _become(one: Coming) -> None:
    if one.refused:
        refuse(one.job, LIMIT_FULL)
    else:
        come_due(one.job)


def _entry(one: Coming) -> Document:
    document = one.job.document
    return {
        "job": document["id"],
        "writes": one.job.before["writes"],
        "type": document["type"],
        "key": limit_key_of(one.job),
        "since": one.job.now,
    }
