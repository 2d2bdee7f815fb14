"""The store's time, which is the server's: the one place that reads it. A movable clock would add its offset here.

Queries that ask what has come are bounded by a constant, the time as it was heard last and a margin, so that no plan
depends on how a server takes `$$NOW`. The time that is read with the documents decides.

`$$NOW` goes through `$toLong` wherever it is compared: one server takes a plain `$$NOW` for equal to every stored date.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, to_ms

#: The time as a value, to be stored.
NOW = "$$NOW"
_NOW_MS: Document = {"$toLong": NOW}

#: A date beside the time, to be compared.
NOW_TO_COMPARE: Document = {"$toDate": _NOW_MS}

#: A stage of a pipeline that reads the time with each document, as `now`.
READ_NOW: Document = {"$set": {"now": NOW}}


#: What was heard is good for so long: clocks drift apart by less than a millisecond in that time, or by little more.
_GOOD_FOR = timedelta(seconds=5)
#: The answer that told the time may have been under way for so long, and the server's clock been set by so much.
_MARGIN = timedelta(seconds=1)


def ahead(span: timedelta) -> Document:
    """The time so much later, in a pipeline."""
    return {"$toDate": {"$add": [_NOW_MS, to_ms(span)]}}


def stamp(field: str) -> Document:
    """Operators of an update, none of a pipeline, that write the time into a field."""
    return {"$currentDate": {field: True}}


class ServerClock:
    """The time as it was heard last: it comes with almost every answer."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._heard: tuple[datetime, float] | None = None  # and time.monotonic() when the answer had come

    def heard(self, now: datetime) -> None:
        """The server has said so just now. Of two answers that overtook each other the later time counts."""
        if (known := self._estimate()) is None or now > known or known - now > _MARGIN:
            self._heard = (now, time.monotonic())

    async def read(self) -> datetime:
        """The time, where nothing else is read."""
        hello: dict[str, Any] = await self._connection.open()
        now: datetime = hello["localTime"]  # admin's commands have the client's codec: naive, and UTC
        self.heard(now.replace(tzinfo=UTC))
        return now.replace(tzinfo=UTC)

    async def lately(self) -> datetime:
        """The time, or a little less: by as much as the answer that told it was under way, and clocks drift since."""
        return await self.read() if (known := self._estimate()) is None else known

    async def bound(self) -> datetime:
        """What has come by the server's clock has come by this time; a constant, for the bounds of a query. What it
        finds is then measured by the time that comes with it."""
        return await self.lately() + _MARGIN

    def _estimate(self) -> datetime | None:
        if self._heard is None:
            return None
        now, at = self._heard
        passed = time.monotonic() - at
        return now + timedelta(milliseconds=int(passed * 1000)) if passed < _GOOD_FOR.total_seconds() else None
