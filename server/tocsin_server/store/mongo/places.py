"""Who has a place under the limits of a queue, written before the lease is: so never more run than may, also where a
server dies, or is slow, between the two.

One document a queue that has limits, or had some, changed by compare and swap. It outlives the limits, for a claim may
be about to lease what has its place there; nothing is added to it meanwhile.

_id        the queue's name
version    grows with each write
ready      false: jobs that ran when the limits came have yet to be given their places; nothing begins
held       of each place: job, its id; token, the request that claimed it; type, key; waits, where the job waits for its
           retry and keeps the place of its key; since, when it was taken
floor      up to which version grants of shared limits are refused; absent: none is needed (shared.py)
rates      of each rate that is not full: limit, key, full, halted (rooms.py)
turned, sure  since when its keys take turns, and that all which waited then has its turn (turns.py)
turn, turns, tags  the turns that were had (turns.py)
coming     jobs that are about to wait, where a limit does not let all of them (full.py)

A job that has a place bears `placed` in its own document (PLACED, or KEEPS where its key has one place only), so that
whoever ends the attempt knows that one is to be given back. Where a server died between the two, a place is not as its
job is: the job does not run by its token, or keeps it and waits while the place does not say so, which no claim would
ever give it. Claims that find a limit full look for such ones. Before the place of a job that is WAITING is changed,
the job is written once, which changes nothing: whoever was about to lease it finds that it has changed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson.int64 import Int64
from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.transitions import KEEPS, PLACED, Standing, touch

_ROUNDS, _LONGEST_PAUSE = 100, 0.05
_QUEUES_A_STEP = 20
_PRUNED_EVERY = 0.5  # seconds between two looks of this process at the stale places of a queue
#: So long a place may stand before its lease, for whoever took it is about to write that.
UNDER_WAY = timedelta(seconds=1)


class LimitPlaces:
    """Of all queues."""

    def __init__(self, connection: MongoConnection, collection: str, jobs: Jobs) -> None:
        self._connection = connection
        self._jobs = jobs
        self._places: AsyncCollection[Document] = connection.database[f"{collection}.places"]
        self._pruned: dict[str, float] = {}
        self._checked = ""  # the last queue whose places were looked at by `check`

    async def read(self, queue: str) -> Document | None:
        """The queue's document."""
        return await self._connection.run(lambda: self._places.find_one({"_id": queue}), read_only=True)

    async def swap(self, document: Document) -> bool:
        """Write a document as it was changed; False where somebody else was faster."""
        new = {**document, "version": Int64(document["version"] + 1)}
        done = await self._connection.run(
            lambda: self._places.replace_one({"_id": document["_id"], "version": document["version"]}, new)
        )
        return done.matched_count == 1

    async def change(self, queue: str, alter: Callable[[Document], bool]) -> None:
        """Let `alter` change the document, where there is one; False: nothing is to be written."""
        for _ in range(_ROUNDS):
            document = await self.read(queue)
            if document is None or not alter(document) or await self.swap(document):
                return
            await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - spreads load, guards nothing
        raise StoreAway("others kept changing the places of the same queue")

    async def begin(self, queue: str, *, limited: bool, fair: bool = True) -> None:
        """See to it that the queue has its document. Where it is not `limited` yet, and is about to be, nothing begins
        before `take_in`; where its keys are about to take turns, and are not `fair` yet, not before Turns.begin."""
        empty = {"version": Int64(0), "ready": False, "held": [], "rates": []}
        await self._connection.run(
            lambda: self._places.update_one({"_id": queue}, {"$setOnInsert": empty}, upsert=True)
        )

        def wait(document: Document) -> bool:
            was = limited or not document["ready"], fair or "turned" not in document
            if not limited:
                document["ready"] = False
            if not fair:
                document.pop("turned", None)
            return not all(was)

        if not (limited and fair):
            await self.change(queue, wait)

    async def take_in(self, queue: str) -> None:
        """Give those that run a place. Whoever finds that it was not done does it; done twice it changes nothing."""
        running = {"queue": queue, "state": int(State.ACTIVE), "placed": {"$exists": False}}
        mark = {"$set": {"placed": PLACED}, "$inc": {"writes": Int64(1)}}  # who has read one reads it anew
        await self._connection.run(lambda: self._jobs.collection.update_many(running, mark))
        jobs = await self._jobs.find({"queue": queue, "state": int(State.ACTIVE)}, sort=[("arrival", 1)])

        def give(document: Document) -> bool:
            known = {_key(one) for one in document["held"]}
            new = [place for job in jobs if _key(place := place_of(job)) not in known]
            is_news = bool(new) or not document["ready"]
            document["held"] += new
            document["ready"] = True
            return is_news

        await self.change(queue, give)

    async def refuse(self, queue: str, version: int, *, begins: bool = False) -> None:
        """Lease by no grant up to this version from now on; where none is needed only if that `begins`."""

        def raise_floor(document: Document) -> bool:
            if version <= document.get("floor", 0 if begins else version):
                return False
            document["floor"] = Int64(version)
            return True

        await self.change(queue, raise_floor)

    async def accept(self, queue: str, version: int) -> None:
        """Lease without a grant from now on, where none of a later version is asked for."""

        def drop_floor(document: Document) -> bool:
            if "floor" not in document or document["floor"] >= version:
                return False
            del document["floor"]
            return True

        await self.change(queue, drop_floor)

    async def forget(self, document: Document) -> None:
        """The queue is forgotten. What was changed since it was read stays: somebody uses it."""
        stands = {"_id": document["_id"], "version": document["version"]}
        await self._connection.run(lambda: self._places.delete_one(stands))

    async def free(self, queue: str, jobs: Sequence[Standing]) -> None:
        """Give back the places of attempts that have ended, by what was read of their jobs; those that wait for their
        retry may keep one."""
        ended = {_key(place_of(job, before=True)): job for job in jobs}

        def drop(document: Document) -> bool:
            held = []
            for one in document["held"]:
                job = ended.get(_key(one))
                if job is None:
                    held.append(one)
                elif _keeps(job):  # whose lease was lost bears no token any more
                    held.append({**one, "token": bytes(job.document.get("token", b"")), "waits": True})
            document["held"], was = held, document["held"]
            return bool(held != was)

        await self.change(queue, drop)

    async def prune(self, queue: str, document: Document) -> bool:
        """Look for places that are not as their jobs are, now and then; whether there were any."""
        if time.monotonic() - self._pruned.get(queue, -1.0) < _PRUNED_EVERY:
            return False
        self._pruned[queue] = time.monotonic()
        return await self.settle(queue, document["held"])

    async def check(self) -> tuple[int, bool]:
        """Look for places that are not as their jobs are, of some queues; goes on where the last call ended. Of how
        many queues there were any, and whether these were the last queues."""
        after = {"_id": {"$gt": self._checked}}
        found = await self._connection.run(
            lambda: self._places.find(after).sort("_id", 1).limit(_QUEUES_A_STEP).to_list(), read_only=True
        )
        wrong = [await self.settle(one["_id"], one["held"]) for one in found]
        done = len(found) < _QUEUES_A_STEP
        self._checked = "" if done else found[-1]["_id"]
        return sum(wrong), done

    async def settle(self, queue: str, places: Sequence[Document], *, mine: bool = False) -> bool:
        """Bring these places in line with their jobs, where they stand as they were read; whether any was not. One of
        an attempt that did not begin, or has ended, goes; of a job that keeps it for a retry, it waits. `mine`: nobody
        but the caller was about to begin them, who is not any more; else those taken just now are left alone."""
        standing = await self._jobs.load(queue, [one["job"] for one in places])
        wrong: dict[tuple[str, bytes], tuple[Document, Document | None]] = {}
        about_to_begin: dict[str, Standing] = {}
        for one in places:
            job = standing.get(one["job"])
            if job is None:
                wrong[_key(one)] = one, None
                continue
            if _stands(job, one):
                continue
            if job.state is State.WAITING and not mine and not (_keeps(job) and _is_of(job, one)):
                if job.now - one["since"] < UNDER_WAY:
                    continue
                touch(job)
                about_to_begin[one["job"]] = job
            wrong[_key(one)] = one, {**place_of(job), "waits": True} if _keeps(job) else None
        if about_to_begin:
            lost = await self._jobs.swap(list(about_to_begin.values()))
            wrong = {name: both for name, both in wrong.items() if name[0] not in lost}
        if not wrong:
            return False

        def put_right(document: Document) -> bool:
            held = []
            for one in document["held"]:
                was, right = wrong.get(_key(one), (None, None))
                if was != one:  # it is another one by now
                    held.append(one)
                elif right is not None:
                    held.append(right)
            document["held"], before = held, document["held"]
            return bool(held != before)

        await self.change(queue, put_right)
        return True


def place_of(job: Standing, *, before: bool = False, since: datetime | None = None) -> Document:
    """The place that a job's attempt has; `before`: by what was read of it."""
    document = job.before if before else job.document
    return {
        "job": document["id"],
        "token": bytes(document.get("token", b"")),
        "type": document["type"],
        "key": key_in(document),
        "since": since or job.now,
    }


def limit_key_of(job: Standing) -> str:
    """Its key; empty where it has none."""
    return key_in(job.document)


def key_in(document: Mapping[str, Any]) -> str:
    """The key of a job's document; empty where it has none."""
    return str(document.get("conditions", {}).get("limit_key", ""))


def letting_go(jobs: Sequence[Standing]) -> list[Standing]:
    """Those of which a place is to be given back, or begins to wait."""
    return [job for job in jobs if "placed" in job.before and not _runs_on(job)]


def _runs_on(job: Standing) -> bool:
    if job.gone or "placed" not in job.document:
        return False
    return State(abs(job.before["state"])) in (job.state, State.SCHEDULED, State.WAITING)


def _keeps(job: Standing) -> bool:
    keeps = job.document.get("placed") == KEEPS and job.state <= State.WAITING
    return bool(keeps) and not job.gone


def _key(place: Document) -> tuple[str, bytes]:
    return place["job"], bytes(place["token"])


def _is_of(job: Standing, place: Document) -> bool:
    return bytes(job.document.get("token", b"")) == bytes(place["token"])


def _stands(job: Standing, place: Document) -> bool:
    return _is_of(job, place) and (job.state is State.ACTIVE or (_keeps(job) and "waits" in place))
