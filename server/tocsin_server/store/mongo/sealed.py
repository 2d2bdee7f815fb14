"""What is sealed in MongoDB is sealed anew, and the store says by which key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bson.int64 import Int64
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.store.mongo.checks import ENCRYPTED
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, key
from tocsin_server.store.mongo.placed import placed_document
from tocsin_server.store.sealed_store import Resealed, ResealedLine, SealedStore

_SEALED = ("payload", "errors", "progress", "result")  # of a document, what may hold sealed values


class MongoSealed(SealedStore):
    """All queues' sealed values. `marked`: the key that this process marked the store with last, "" for none."""

    def __init__(self, connection: MongoConnection, collection: str) -> None:
        database = connection.database
        self._connection = connection
        self._jobs: AsyncCollection[Document] = database[collection]
        self._logs: AsyncCollection[Document] = database[f"{collection}.logs"]
        self._marker: AsyncCollection[Document] = database[f"{collection}.format"]
        self.marked = ""

    async def key_id(self) -> str:
        found = await self._connection.run(lambda: self._marker.find_one({"_id": "format"}), read_only=True)
        return "" if found is None else str(found.get(ENCRYPTED, ""))

    async def mark(self, key_id: str) -> None:
        said = {"$set": {ENCRYPTED: key_id}}
        await self._connection.run(lambda: self._marker.update_one({"_id": "format"}, said))
        self.marked = key_id

    async def reseal(self, queue: str, jobs: Sequence[Resealed]) -> list[bool]:
        answers = []
        for one in jobs:
            condition, update = _swap(one)
            done = await self._connection.run(partial(self._jobs.update_one, condition, update))
            answers.append(done.matched_count == 1)
        return answers

    async def reseal_lines(self, queue: str, job_id: str, arrival: int, lines: Sequence[ResealedLine]) -> int:
        of_job = {"_id": key(queue, job_id), "of": arrival}
        writes = [
            UpdateOne(
                {**of_job, f"lines.{line.number}.text": line.before},
                {"$set": {f"lines.{line.number}.text": line.after}},
            )
            for line in lines
        ]
        if not writes:
            return 0
        done = await self._connection.run(lambda: self._logs.bulk_write(writes, ordered=False))
        return done.matched_count


def _swap(one: Resealed) -> tuple[Document, Document]:
    """That what differs stands as it was read, and what it is to be. Others who have read the job must read it again:
    the write is counted as any is (jobs.py)."""
    before, after = placed_document(one.before, 0), placed_document(one.after, 0)
    differing = [name for name in _SEALED if before.get(name) != after.get(name)]
    condition = {"_id": before["_id"], **{name: before.get(name) for name in differing}}
    return condition, {"$set": {name: after[name] for name in differing}, "$inc": {"writes": Int64(1)}}
