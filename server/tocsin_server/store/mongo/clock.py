"""The store's time, which is the server's: the one place that reads it. A movable clock would add its offset here.

`$$NOW` goes through `$toLong` wherever it is compared: one server takes a plain `$$NOW` for equal to every stored date.
"""

from __future__ import annotations

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


def ahead(span: timedelta) -> Document:
    """The time so much later, in a pipeline."""
    return {"$toDate": {"$add": [_NOW_MS, to_ms(span)]}}


def ago(span: timedelta) -> Document:
    """The time so much earlier, in a pipeline."""
    return {"$toDate": {"$subtract": [_NOW_MS, to_ms(span)]}}


def stamp(field: str) -> Document:
    """Operators of an update, none of a pipeline, that write the time into a field."""
    return {"$currentDate": {field: True}}


async def read_clock(connection: MongoConnection) -> datetime:
    """The time, where nothing else is read."""
    hello: dict[str, Any] = await connection.open()
    now: datetime = hello["localTime"]  # admin's commands have the client's codec: naive, and UTC
    return now.replace(tzinfo=UTC)
