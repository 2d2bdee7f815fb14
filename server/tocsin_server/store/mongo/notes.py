"""Notes: small records beside a queue's jobs, changed by compare and swap.

_id        "<queue>/<key>"
revision   how often it was written
value      bytes
until      a date; past it the TTL index drops the note
"""

from __future__ import annotations

from datetime import datetime

from bson.int64 import Int64
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from tocsin_server.store.interface import Note, StoredNote
from tocsin_server.store.mongo.clock import ServerClock, later_than_now
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, key, whole


class Notes:
    """All queues' notes."""

    def __init__(self, connection: MongoConnection, collection: str, clock: ServerClock, *, manual: bool) -> None:
        self._connection = connection
        self._clock = clock
        self._manual = manual  # MongoDB's TTL goes by its own clock
        self._notes: AsyncCollection[Document] = connection.database[f"{collection}.notes"]

    async def read(self, queue: str, name: str) -> Note | None:
        """As JobStore.read_note."""
        which: Document = {"_id": key(queue, name)}
        if self._manual:
            which |= await self._still_good()
        found = await self._connection.run(lambda: self._notes.find_one(which), read_only=True)
        return None if found is None else Note(bytes(found["value"]), int(found["revision"]))

    async def write(self, queue: str, name: str, value: bytes, *, revision: int, until: datetime) -> bool:
        """As JobStore.write_note."""
        which = key(queue, name)
        if not revision and self._manual:
            over = {"_id": which, "until": {"$lt": await self._clock.read()}}
            await self._connection.run(lambda: self._notes.delete_one(over))
        if not revision:
            document = {"_id": which, "revision": Int64(1), "value": value, "until": whole(until)}
            try:
                await self._connection.run(lambda: self._notes.insert_one(document))
            except DuplicateKeyError:
                return False
            return True
        change = {"$set": {"value": value, "until": whole(until)}, "$inc": {"revision": Int64(1)}}
        done = await self._connection.run(lambda: self._notes.update_one({"_id": which, "revision": revision}, change))
        return done.matched_count == 1

    async def after(self, queue: str, after: str, limit: int) -> list[StoredNote]:
        """As JobStore.notes. A range of the _id index: its order is that of code points."""
        # A queue's name has no slash, and "0" is what comes after it.
        condition = {
            "_id": {"$gt": key(queue, after), "$lt": f"{queue}0"},
            **await self._still_good(),
        }
        found = await self._connection.run(
            lambda: self._notes.find(condition).sort("_id", 1).limit(limit).to_list(), read_only=True
        )
        return [
            StoredNote(one["_id"].partition("/")[2], bytes(one["value"]), int(one["revision"]), one["until"])
            for one in found
        ]

    async def _still_good(self) -> Document:
        return {"$expr": {"$gte": ["$until", later_than_now(await self._clock.ahead())]}}
