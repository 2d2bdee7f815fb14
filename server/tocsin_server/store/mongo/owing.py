"""Jobs that schedules' documents owe are added in the transaction that takes them off these: both, or neither.

That a job does not stand says nothing of whether it was added: another server may have added it, and it has run and was
deleted since. What is still owed does. This is the one place that needs more than a document's own atomicity; a
standalone server has no transactions, and there the two are written one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, PyMongoError

from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.errors import DUPLICATE

_BOTH = WriteConcern(w="majority", j=True)  # as all writes; a transaction has its own


class NotOwed(Exception):
    """Others have added some of these jobs already."""


class Debt:
    """What some documents of one queue owe. `paid_by_others` once that has been seen of one of them."""

    def __init__(
        self, connection: MongoConnection, schedules: AsyncCollection[Document], documents: Sequence[Mapping[str, Any]]
    ) -> None:
        self._connection = connection
        self._schedules = schedules
        self._documents = documents
        self.paid_by_others = False

    async def insert(self, documents: Sequence[Document], jobs: AsyncCollection[Document]) -> set[str]:
        """Add these jobs and take them off. The ids of those that were not added: all, where one stands already, where
        somebody is at the same, or where they are not owed any more."""
        ids = [document["id"] for document in documents]

        taken_off = self._taking_off(ids)

        async def act(session: AsyncClientSession) -> bool:
            done = await self._schedules.bulk_write(taken_off, session=session)
            if done.matched_count < len(taken_off):
                self.paid_by_others = True
                return False
            await jobs.insert_many(documents, session=session)
            return True

        return set() if await self._connection.run(lambda: self._together(act)) else set(ids)

    def _taking_off(self, ids: Sequence[str]) -> list[UpdateOne]:
        """One statement for each document that owes some of these jobs."""
        statements, added = [], set(ids)
        for one in self._documents:
            if owed := [job["id"] for job in one["jobs"] if job["id"] in added]:
                which = {"_id": one["_id"], "stamp": one["stamp"], "$and": [{"jobs.id": each} for each in owed]}
                statements.append(UpdateOne(which, {"$pull": {"jobs": {"id": {"$in": owed}}}}))
        return statements

    async def _together(self, act: Callable[[AsyncClientSession], Awaitable[bool]]) -> bool:
        async with self._connection.client.start_session() as session:
            await session.start_transaction(write_concern=_BOTH)
            try:
                acted = await act(session)
            except PyMongoError as error:
                await session.abort_transaction()
                if error.has_error_label("TransientTransactionError") or _stands(error):
                    return False
                raise
            if acted:
                await session.commit_transaction()
            else:
                await session.abort_transaction()
            return acted


def _stands(error: PyMongoError) -> bool:
    return isinstance(error, BulkWriteError) and all(one["code"] == DUPLICATE for one in error.details["writeErrors"])
