"""The store's time, which is the server's, or ahead of it where it is moved by hand: the one place that reads it.

Queries that ask what has come are bounded by a constant, the time as it was heard last and a margin, so that no plan
depends on how a server takes `$$NOW`. The time that is read with the documents decides.

`$$NOW` goes through `$toLong` wherever it is compared: one server takes a plain `$$NOW` for equal to every stored date.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.int64 import Int64
from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.domain.errors import ClockNotManual
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, to_ms

#: The time as a value, to be stored.
NOW = "$$NOW"
_NOW_MS: Document = {"$toLong": NOW}

#: A date beside the time, to be compared.
NOW_TO_COMPARE: Document = {"$toDate": _NOW_MS}

#: A stage of a pipeline that reads the time with each document, as `now`.
READ_NOW: Document = {"$set": {"now": NOW}}


#: The field of the store's marker that says by how many milliseconds a clock moved by hand is ahead. Else not there.
AHEAD = "ahead_ms"
NOT_AHEAD = timedelta(0)

#: What was heard is good for so long: clocks drift apart by less than a millisecond in that time, or by little more.
_GOOD_FOR = timedelta(seconds=5)
#: The answer that told the time may have been under way for so long, and the server's clock been set by so much.
_MARGIN = timedelta(seconds=1)


def later_than_now(span: timedelta) -> Document:
    """The server's time, and so much more, in a pipeline."""
    return {"$toDate": {"$add": [_NOW_MS, to_ms(span)]}}


def stamp(field: str) -> Document:
    """Operators of an update, none of a pipeline, that write the time into a field."""
    return {"$currentDate": {field: True}}


class ServerClock:
    """The time as it was heard last: it comes with almost every answer.

    A clock that is moved by hand is ahead of the server's by what stands in the store's marker. No update can read that
    beside what it writes, so it is read before each of them: what is written was so at the time of the reading.
    """

    def __init__(self, connection: MongoConnection, collection: str = "", *, manual: bool = False) -> None:
        self._connection = connection
        self._manual = manual
        self._marker: AsyncCollection[Document] | None = connection.database[f"{collection}.format"] if manual else None
        self._heard: tuple[datetime, float] | None = None  # and time.monotonic() when the answer had come

    async def ahead(self) -> timedelta:
        """By how much the store's time is ahead of the server's."""
        marker = self._marker
        if marker is None:
            return NOT_AHEAD
        found = await self._connection.run(lambda: marker.find_one({"_id": "format"}), read_only=True)
        return timedelta(milliseconds=int((found or {}).get(AHEAD, 0)))

    async def value(self, span: timedelta = NOT_AHEAD) -> str | Document:
        """The time, or one so much later, in a pipeline that writes it or compares with it."""
        if not span and self._marker is None:
            return NOW
        return later_than_now(await self.ahead() + span)

    async def move(self, to: datetime) -> datetime:
        """Set a clock that is moved by hand ahead, never back; the time then."""
        marker, server = self._marker, await self._server_time()
        if marker is None:
            raise ClockNotManual
        more: Document = {"$max": {AHEAD: Int64(to_ms(to - server))}}
        await self._connection.run(lambda: marker.update_one({"_id": "format"}, more))
        return server + await self.ahead()

    def heard(self, now: datetime) -> None:
        """The server has said so just now. Of two answers that overtook each other the later time counts."""
        if (known := self._estimate()) is None or now > known or known - now > _MARGIN:
            self._heard = (now, time.monotonic())

    async def read(self) -> datetime:
        """The time, where nothing else is read."""
        now = await self._server_time() + await self.ahead()
        self.heard(now)
        return now

    async def _server_time(self) -> datetime:
        hello: dict[str, Any] = await self._connection.open()
        now: datetime = hello["localTime"]  # admin's commands have the client's codec: naive, and UTC
        return now.replace(tzinfo=UTC)

    async def lately(self) -> datetime:
        """The time, or a little less: by as much as the answer that told it was under way, and clocks drift since."""
        return await self.read() if (known := self._estimate()) is None else known

    async def bound(self) -> datetime:
        """What has come by the server's clock has come by this time; a constant, for the bounds of a query. What it
        finds is then measured by the time that comes with it."""
        return await self.lately() + _MARGIN

    def _estimate(self) -> datetime | None:
        if self._heard is None or self._manual:  # it may have been moved since
            return None
        now, at = self._heard
        passed = time.monotonic() - at
        return now + timedelta(milliseconds=int(passed * 1000)) if passed < _GOOD_FOR.total_seconds() else None
