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
from datetime import datetime
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Added, Draft, OnConflict
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.store.mongo.clock import READ_NOW, ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, key, whole
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.jobs import unknown_after
from tocsin_server.store.mongo.owing import Debt, NotOwed
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.schedule_records import schedule_bytes, schedule_of
from tocsin_server.store.schedule_store import DueSchedules, ScheduleStore

AddTo = Callable[[str, Sequence[Draft], Debt | None], Awaitable[list[Added | TocsinError]]]


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
    ) -> None:
        self._connection = connection
        self._schedules: AsyncCollection[Document] = connection.database[f"{collection}.schedules"]
        self._clock = clock
        self._queues = queues
        self._log = log
        self._add_to = add_to

    async def put_schedule(self, schedule: Schedule, drafts: Sequence[Draft] = ()) -> bool:
        queue, schedule_id = schedule.spec.queue, schedule.spec.schedule_id
        if not await self._queues.stands(queue):
            await self._queues.make(queue)
        stamp, jobs = secrets.token_hex(8), [_owed(draft) for draft in drafts]
        fields: Document = {"queue": queue, "id": schedule_id, "stamp": stamp, "value": schedule_bytes(schedule)}
        if jobs:
            fields |= {"jobs": jobs, "look": await self._clock.lately()}
        elif schedule.look_time is not None:
            fields["look"] = whole(schedule.look_time)
        if not await self._written({"_id": key(queue, schedule_id), **fields}, schedule.stamp):
            return False
        with unknown_after(True):
            if jobs:
                await self._settle({"_id": key(queue, schedule_id), **fields})
            else:
                await self._tell(queue)
        return True

    async def read_schedules(self, queue: str, schedule_ids: Sequence[str]) -> list[Schedule | None]:
        keys = [key(queue, schedule_id) for schedule_id in schedule_ids]
        found = await self._connection.run(
            lambda: self._schedules.find({"_id": {"$in": keys}}).to_list(), read_only=True
        )
        schedules = {str(one["_id"]): await self._settled(one) for one in found}
        return [schedules.get(one) for one in keys]

    async def schedules(self, queue: str, *, after: str = "", limit: int = 100) -> list[Schedule]:
        # A queue's name has no slash, and "0" is what comes after it.
        condition = {"_id": {"$gt": key(queue, after), "$lt": f"{queue}0"}}
        found = await self._connection.run(
            lambda: self._schedules.find(condition).sort("_id", 1).limit(limit).to_list(), read_only=True
        )
        return [await self._settled(one) for one in found]

    async def due_schedules(self, queue: str, *, skip: int = 0, limit: int = 100) -> DueSchedules:
        pipeline: list[Document] = [
            {"$match": {"queue": queue, "look": {"$lte": await self._clock.bound()}}},
            {"$sort": {"look": 1, "_id": 1}},
            {"$skip": skip},
            {"$limit": limit},
            READ_NOW,
        ]

        async def ask() -> list[Document]:
            return await (await self._schedules.aggregate(pipeline)).to_list()

        ahead = await self._clock.ahead()
        found = await self._connection.run(ask, read_only=True)
        if not found:
            return DueSchedules(await self._clock.lately(), ())
        now: datetime = found[0]["now"] + ahead
        self._clock.heard(now)
        return DueSchedules(now, [await self._settled(one) for one in found if one["look"] <= now])

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

    async def _written(self, document: Document, stood: str) -> bool:
        if not stood:
            try:
                await self._connection.run(lambda: self._schedules.insert_one(document))
            except DuplicateKeyError:
                return False
            return True
        as_read = {"_id": document["_id"], "stamp": stood, "jobs": {"$exists": False}}
        done = await self._connection.run(lambda: self._schedules.replace_one(as_read, document))
        return done.matched_count == 1

    async def _tell(self, queue: str) -> None:
        """Whoever looks at queues is to look at this one."""
        taken, _ = await self._queues.allocate(queue, events=1)
        await self._log.append(taken, (), Flags(settings=True))

    async def _settled(self, document: Mapping[str, Any]) -> Schedule:
        if "jobs" in document:
            await self._settle(document)
        return _schedule(document)

    async def _settle(self, document: Mapping[str, Any]) -> None:
        """Add the jobs that the schedule owes, and take them off. The first refusal of one is raised."""
        schedule = _schedule(document)
        drafts = [
            Draft(schedule.spec.job, one["id"], one["due"], OnConflict.KEEP, fired=True) for one in document["jobs"]
        ]
        debt = Debt(self._connection, self._schedules, document) if self.transactions else None
        try:
            answers = await self._add_to(schedule.spec.queue, drafts, debt)
        except NotOwed:
            return
        for answer in answers:
            if isinstance(answer, TocsinError):
                raise answer
        look = schedule.look_time
        update: Document = {"$unset": {"jobs": ""}} if look else {"$unset": {"jobs": "", "look": ""}}
        if look:
            update["$set"] = {"look": whole(look)}
        which = {"_id": document["_id"], "stamp": document["stamp"]}
        await self._connection.run(lambda: self._schedules.update_one(which, update))


def _owed(draft: Draft) -> Document:
    if not isinstance(draft.when, datetime):
        raise TypeError("a schedule's job is due at a time")
    return {"id": draft.job_id, "due": whole(draft.when)}


def _schedule(document: Mapping[str, Any]) -> Schedule:
    return schedule_of(document["queue"], document["id"], document["stamp"], bytes(document["value"]))
