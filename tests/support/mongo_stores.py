"""Stores on a server that speaks MongoDB's wire protocol."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.store import MongoStore

#: Their collection.
JOBS = "jobs"


@contextlib.asynccontextmanager
async def opened(url: str, collection: str = JOBS, **connection: Any) -> AsyncIterator[MongoStore]:
    """A store at this address, closed at the end. The other words are the connection's."""
    store = MongoStore(MongoConnection(url, **{"answer_within": timedelta(seconds=10), **connection}), collection)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
