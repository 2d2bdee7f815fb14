"""Schedules in MongoDB, each a document, written by compare and swap.

_id      "<queue>/<schedule_id>"
queue, id
stamp    another one after each write
value    the schedule (store/schedule_records.py)
look     a date: when it is to be looked at; absent: never
jobs     [{id, due}]: jobs that it owes, to be added before anything else is done with it; `look` has passed then

A step writes the schedule with the jobs that it owes, then adds these and takes them off, in one transaction
(owing.py). Who is slower finds another stamp, or nothing owed; who dies between leaves them to the next reader.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Added, Draft, OnConflict, View
from tocsin_server.domain.quotas import too_many_jobs
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.store.batching import parts
from tocsin_server.store.mongo.clock import READ_NOW, ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, key, whole
from tocsin_server.store.mongo.errors import DUPLICATE
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.jobs import unknown_after
from tocsin_server.store.mongo.owing import Debt, NotOwed
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.quotas import Left
from tocsin_server.store.schedule_records import schedule_bytes, schedule_of, without_payload
from tocsin_server.store.schedule_store import DueSchedules, ScheduleStore, ScheduleWrite

_CALL_JOBS = 100  # what one write may carry; a schedule counts as a job
_MOST_READ = 2 << 20  # bytes of schedules due that one call brings, and what the last one has beyond that

AddTo = Callable[[str, Sequence[Draft], Debt | None], Awaitable[list[Added | TocsinError]]]
Room = Callable[[str], Awaitable[Left]]  # what a queue has left of its quota of jobs


class MongoSchedules(ScheduleStore):
    """All queues' schedules."""

    #: Whether the server has some; a standalone one has not.
    transactions = False

    def __init__(
        self,
        connection: MongoConnection,
        collection: str,
        clock: ServerClock,
        queues: QueueDocuments,
        log: EventLog,
        add_to: AddTo,
        room: Room,
    ) -> None:
        self._connection = connection
        self._schedules: AsyncCollection[Document] = connection.database[f"{collection}.schedules"]
        self._clock = clock
        self._queues = queues
        self._log = log
        self._add_to = add_to
        self._room = room

    async def put_schedules(self, queue: str, writes: Sequence[ScheduleWrite]) -> list[bool | TocsinError]:
        answers: list[bool | TocsinError] = []
        for start, end in parts([0] * len(writes), _CALL_JOBS, 0, [max(1, len(write.drafts)) for write in writes]):
            with unknown_after(start > 0):
                answers += await self._put_with_room(queue, writes[start:end])
        return answers

    async def _put_with_room(self, queue: str, writes: Sequence[ScheduleWrite]) -> list[bool | TocsinError]:
        """As on Redis, one for whose jobs there was no room lately is not written at all."""
        room, refused = await self._room(queue), dict[int, TocsinError]()
        left = room.left
        for at, write in enumerate(writes):
            if room.most is None or len(write.drafts) <= left:
                left -= len(write.drafts)
            elif write.drafts:
                refused[at] = too_many_jobs(queue, room.most)
        fit = [write for at, write in enumerate(writes) if at not in refused]
        answers = iter(await self._put(queue, fit) if fit else ())
        return [refused[at] if at in refused else next(answers) for at in range(len(writes))]

    async def _put(self, queue: str, writes: Sequence[ScheduleWrite]) -> list[bool | TocsinError]:
        if not await self._queues.stands(queue):
            await self._queues.make(queue)
        now = await self._clock.lately()
        documents = [_document(write, now) for write in writes]
        lost = await self._written([write.schedule.stamp for write in writes], documents)
        stand = [one for one in documents if one["_id"] not in lost]
        refused: Mapping[str, TocsinError] = {}
        with unknown_after(True):
            if owing := [one for one in stand if "jobs" in one]:
                refused = await self._settle(queue, owing)
            if len(owing) < len(stand):
                await self._tell(queue)
        return [refused.get(one["_id"]) or one["_id"] not in lost for one in documents]

    async def read_schedules(self, queue: str, schedule_ids: Sequence[str]) -> list[Schedule | None]:
        keys = [key(queue, schedule_id) for schedule_id in schedule_ids]
        found = await self._connection.run(
            lambda: self._schedules.find({"_id": {"$in": keys}}).to_list(), read_only=True
        )
        ids = [str(one["_id"]) for one in found]
        schedules = dict(zip(ids, await self._settled(queue, found), strict=True))
        return [schedules.get(one) for one in keys]

    async def schedules(
        self, queue: str, *, after: str = "", limit: int = 100, view: View = View.FULL
    ) -> list[Schedule]:
        # A queue's name has no slash, and "0" is what comes after it.
        condition = {"_id": {"$gt": key(queue, after), "$lt": f"{queue}0"}}
        basic = view is View.BASIC

        async def ask() -> list[Document]:
            found: list[Document] = []
            async for one in self._schedules.find(condition).sort("_id", 1).limit(limit):
                if basic and "jobs" not in one:  # those that it owes need it
                    one["value"] = without_payload(one["value"])
                found.append(one)
            return found

        found = await self._connection.run(ask, read_only=True)
        schedules = await self._settled(queue, found)
        return [_without_payload(one) for one in schedules] if basic else schedules

    async def due_schedules(self, queue: str, *, skip: int = 0, limit: int = 500) -> DueSchedules:
        pipeline: list[Document] = [
            {"$match": {"queue": queue, "look": {"$lte": await self._clock.bound()}}},
            {"$sort": {"look": 1, "_id": 1}},
            {"$skip": skip},
            {"$limit": limit},
            READ_NOW,
        ]

        async def ask() -> list[Document]:
            found, read = list[Document](), 0
            async with await self._schedules.aggregate(pipeline) as cursor:
                async for one in cursor:
                    found.append(one)
                    read += len(one["value"])
                    if read >= _MOST_READ:
                        break
            return found

        ahead = await self._clock.ahead()
        found = await self._connection.run(ask, read_only=True)
        if not found:
            return DueSchedules(await self._clock.lately(), ())
        now: datetime = found[0]["now"] + ahead
        self._clock.heard(now)
        due = [one for one in found if one["look"] <= now]
        cut = len(found) == limit or sum(len(one["value"]) for one in found) >= _MOST_READ
        return DueSchedules(now, await self._settled(queue, due), more=cut and len(due) == len(found))

    async def next_look(self, queue: str) -> datetime | None:
        condition = {"queue": queue, "look": {"$gt": await self._clock.read()}}
        found = await self._connection.run(
            lambda: self._schedules.find(condition, {"look": 1}).sort("look", 1).limit(1).to_list(), read_only=True
        )
        return found[0]["look"] if found else None

    async def delete_schedule(self, queue: str, schedule_id: str) -> bool:
        done = await self._connection.run(lambda: self._schedules.delete_one({"_id": key(queue, schedule_id)}))
        return done.deleted_count > 0

    async def some(self, queue: str) -> bool:
        """Whether the queue has a schedule."""
        found = await self._connection.run(
            lambda: self._schedules.find_one({"_id": {"$gt": f"{queue}/", "$lt": f"{queue}0"}}, {"_id": 1}),
            read_only=True,
        )
        return found is not None

    async def _written(self, stood: Sequence[str], documents: Sequence[Document]) -> set[str]:
        """Write these, each where it stands with that stamp, by one command; the _id of each that did not stand so."""
        statements: list[InsertOne[Document] | ReplaceOne[Document]] = []
        for stamp, document in zip(stood, documents, strict=True):
            as_read = {"_id": document["_id"], "stamp": stamp, "jobs": {"$exists": False}}
            statements.append(ReplaceOne(as_read, document) if stamp else InsertOne(document))
        try:
            done = await self._connection.run(lambda: self._schedules.bulk_write(statements, ordered=False))
            written = done.matched_count + done.inserted_count
        except BulkWriteError as error:
            if any(one["code"] != DUPLICATE for one in error.details["writeErrors"]):
                raise
            written = error.details["nMatched"] + error.details["nInserted"]
        ours = {one["_id"]: one["stamp"] for one in documents}
        if written in (0, len(documents)):
            return set() if written else set(ours)
        # Somebody was faster with some: which, the stamps tell. One that was written with jobs nobody can have replaced
        # meanwhile; of one without, it is only said that it was not written.
        with unknown_after(True):
            found = await self._connection.run(
                lambda: self._schedules.find({"_id": {"$in": list(ours)}}, {"stamp": 1}).to_list(), read_only=True
            )
        return set(ours) - {one["_id"] for one in found if one["stamp"] == ours[one["_id"]]}

    async def _tell(self, queue: str) -> None:
        """Whoever looks at queues is to look at this one."""
        taken, _ = await self._queues.allocate(queue, events=1)
        await self._log.append(taken, (), Flags(settings=True))

    async def _settled(self, queue: str, documents: Sequence[Document]) -> list[Schedule]:
        """The schedules of these documents of a queue, once the jobs that they owe have been added. One for whose jobs
        there is no room goes on owing them."""
        if owing := [one for one in documents if "jobs" in one]:
            await self._settle(queue, owing)
        return [_schedule(one) for one in documents]

    async def _settle(self, queue: str, documents: Sequence[Document]) -> dict[str, TocsinError]:
        """Add the jobs that these schedules of a queue owe, and take them off. By _id, why one still owes them."""
        schedules = {one["_id"]: _schedule(one) for one in documents}
        owed = [(one["_id"], job) for one in documents for job in one["jobs"]]
        drafts = [Draft(schedules[of].spec.job, job["id"], job["due"], OnConflict.KEEP, fired=True) for of, job in owed]
        debt = Debt(self._connection, self._schedules, documents) if self.transactions else None
        try:
            answers = await self._add_to(queue, drafts, debt)
        except NotOwed:  # of some of them; which, is found out one by one
            one_by_one = [await self._settle(queue, [one]) for one in documents] if len(documents) > 1 else []
            return {of: error for refused in one_by_one for of, error in refused.items()}
        refused: dict[str, TocsinError] = {}
        for (of, _), answer in zip(owed, answers, strict=True):
            if isinstance(answer, TocsinError):
                refused.setdefault(of, answer)
        updates = []
        for one in documents:
            if one["_id"] not in refused:
                look = schedules[one["_id"]].look_time
                update: Document = {"$set": {"look": whole(look)}} if look else {}
                update["$unset"] = {"jobs": ""} if look else {"jobs": "", "look": ""}
                updates.append(UpdateOne({"_id": one["_id"], "stamp": one["stamp"]}, update))
        if updates:
            await self._connection.run(lambda: self._schedules.bulk_write(updates, ordered=False))
        return refused


def _document(write: ScheduleWrite, now: datetime) -> Document:
    """The schedule, to be looked at `now` where it owes jobs."""
    schedule, spec = write.schedule, write.schedule.spec
    document: Document = {
        "_id": key(spec.queue, spec.schedule_id),
        "queue": spec.queue,
        "id": spec.schedule_id,
        "stamp": secrets.token_hex(8),
        "value": schedule_bytes(schedule),
    }
    if write.drafts:
        document |= {"jobs": [_owed(draft) for draft in write.drafts], "look": now}
    elif schedule.look_time is not None:
        document["look"] = whole(schedule.look_time)
    return document


def _owed(draft: Draft) -> Document:
    if not isinstance(draft.when, datetime):
        raise TypeError("a schedule's job is due at a time")
    return {"id": draft.job_id, "due": whole(draft.when)}


def _without_payload(schedule: Schedule) -> Schedule:
    spec = schedule.spec
    return replace(schedule, spec=replace(spec, job=replace(spec.job, payload=None)))


def _schedule(document: Mapping[str, Any]) -> Schedule:
    return schedule_of(document["queue"], document["id"], document["stamp"], bytes(document["value"]))
