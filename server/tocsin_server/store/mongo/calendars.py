"""Calendars in MongoDB, in two collections.

calendars      _id      name
               revision, value (store/calendar_records.py)
               uses     how often somebody was written down: by it a delete knows that nobody was meanwhile
               changed  true: its last change may not have come to all users
calendar_uses  _id      "<name>/<queue>/<schedule_id>"
               token, since (a date; absent: it is not pending)
"""

from __future__ import annotations

from collections.abc import Sequence

from bson.int64 import Int64
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from tocsin_server.domain import limits
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.quotas import too_many_calendars
from tocsin_server.domain.schedules.calendars import CalendarUser, KeptCalendar
from tocsin_server.store.calendar_records import calendar_bytes, calendar_of
from tocsin_server.store.calendar_store import PENDING, CalendarStore
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document

_ROUNDS = 20  # of a delete, while schedules come to name the calendar and cease to


class MongoCalendars(CalendarStore):
    """All calendars of a store."""

    def __init__(self, connection: MongoConnection, collection: str, clock: ServerClock) -> None:
        self._connection = connection
        self._calendars: AsyncCollection[Document] = connection.database[f"{collection}.calendars"]
        self._uses: AsyncCollection[Document] = connection.database[f"{collection}.calendar_uses"]
        self._clock = clock

    async def put_calendar(self, calendar: KeptCalendar) -> bool:
        name, value = calendar.name, calendar_bytes(calendar)
        written: Document = {"revision": Int64(calendar.revision), "value": value}
        if calendar.revision > 1:
            stands = {"_id": name, "revision": calendar.revision - 1}
            change = {"$set": {**written, "changed": True}}
            done = await self._connection.run(lambda: self._calendars.update_one(stands, change))
            return done.matched_count == 1
        # Servers that make the last ones in the same moment may go a few beyond the quota.
        if await self._connection.run(lambda: self._calendars.count_documents({}), read_only=True) >= limits.CALENDARS:
            if (await self.read_calendars([name])) == [None]:
                raise too_many_calendars()
            return False
        try:
            await self._connection.run(lambda: self._calendars.insert_one({"_id": name, **written, "uses": Int64(0)}))
        except DuplicateKeyError:
            return False
        return True

    async def read_calendars(self, names: Sequence[str]) -> list[KeptCalendar | None]:
        if not names:
            return []
        found = await self._connection.run(
            lambda: self._calendars.find({"_id": {"$in": list(names)}}).to_list(), read_only=True
        )
        by_name = {one["_id"]: _calendar(one) for one in found}
        return [by_name.get(name) for name in names]

    async def calendars(self, *, after: str = "", limit: int = 20) -> list[KeptCalendar]:
        found = await self._connection.run(
            lambda: self._calendars.find({"_id": {"$gt": after}}).sort("_id", 1).limit(limit).to_list(), read_only=True
        )
        return list(map(_calendar, found))

    async def delete_calendar(self, name: str) -> bool:
        for _ in range(_ROUNDS):
            stands = await self._connection.run(
                lambda: self._calendars.find_one({"_id": name}, {"uses": 1}), read_only=True
            )
            if stands is None:
                return True
            if await self._connection.run(lambda: self._uses.find_one(_of(name)), read_only=True):
                return False
            if await self._deleted({"_id": name, "uses": stands["uses"]}):
                return True
        raise OutcomeUnknown(f"schedules come to name calendar {name!r}, and cease to, all the time")

    async def use_calendars(
        self, names: Sequence[str], queue: str, schedule_id: str, token: str
    ) -> list[KeptCalendar | None]:
        found = await self.read_calendars(names)
        if None in found:
            return found
        since = await self._clock.read()
        for name in names:
            await self._write_use(name, {"_id": f"{name}/{queue}/{schedule_id}"}, {"token": token, "since": since})
        found = await self.read_calendars(names)
        if None in found:
            await self.used_calendars(names, queue, schedule_id, token, gone=True)
        return found

    async def _deleted(self, unused: Document) -> bool:
        return (await self._connection.run(lambda: self._calendars.delete_one(unused))).deleted_count > 0

    async def _write_use(self, name: str, use: Document, written: Document) -> None:
        await self._connection.run(lambda: self._uses.update_one(use, {"$set": written}, upsert=True))
        # After this no delete that has not seen the use goes through; before it, one may have.
        counted = {"$inc": {"uses": Int64(1)}}
        await self._connection.run(lambda: self._calendars.update_one({"_id": name}, counted))

    async def used_calendars(
        self, names: Sequence[str], queue: str, schedule_id: str, token: str, *, gone: bool = False
    ) -> None:
        which = {"_id": {"$in": [f"{name}/{queue}/{schedule_id}" for name in names]}, "token": token}
        if gone:
            await self._connection.run(lambda: self._uses.delete_many(which))
        else:
            await self._connection.run(lambda: self._uses.update_many(which, {"$unset": {"since": ""}}))

    async def calendar_users(
        self, name: str, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> list[CalendarUser]:
        condition = _of(name, "/".join(after).strip("/"))
        now = await self._clock.read()
        found = await self._connection.run(
            lambda: self._uses.find(condition).sort("_id", 1).limit(limit).to_list(), read_only=True
        )
        users = []
        for one in found:
            _, queue, schedule_id = one["_id"].split("/")
            pending = "since" in one and now - one["since"] < PENDING
            users.append(CalendarUser(queue, schedule_id, one["token"], pending))
        return users

    async def changed_calendars(self) -> list[str]:
        found = await self._connection.run(
            lambda: self._calendars.find({"changed": True}, {"_id": 1}).sort("_id", 1).to_list(), read_only=True
        )
        return [one["_id"] for one in found]

    async def calendar_carried(self, name: str, revision: int) -> None:
        which = {"_id": name, "revision": revision}
        await self._connection.run(lambda: self._calendars.update_one(which, {"$unset": {"changed": ""}}))


def _of(name: str, after: str = "") -> Document:
    """The uses of a calendar. Neither its name nor a queue's has a slash, and "0" is what comes after it."""
    return {"_id": {"$gt": f"{name}/{after}", "$lt": f"{name}0"}}


def _calendar(document: Document) -> KeptCalendar:
    return calendar_of(document["_id"], int(document["revision"]), bytes(document["value"]))
