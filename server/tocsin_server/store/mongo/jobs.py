"""The jobs' collection: documents read, and written where nobody else has written them since (compare and swap)."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import bson
from bson.int64 import Int64
from pymongo import DeleteMany, DeleteOne, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import AutoReconnect, BulkWriteError
from pymongo.results import BulkWriteResult

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.states import State
from tocsin_server.domain.times import EPOCH
from tocsin_server.store.mongo.clock import READ_NOW, ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import UNREAD, Document, key
from tocsin_server.store.mongo.errors import DUPLICATE
from tocsin_server.store.mongo.owing import Debt
from tocsin_server.store.mongo.transitions import Standing

#: Whose writes the last ones were is kept of so many.
_OPERATIONS = 8
#: Documents of one answer: more than any call reads at once. Without it they are 101, and a second command for more.
_BATCH = 1_001
#: Jobs a list of ids names at most: some servers hold each document against all of them. Longer ones are cut, and asked
#: side by side.
_LISTED = 100
#: And a statement that writes, which has two such lists and is worked through twice.
_WRITTEN_ALIKE = 40
#: What a job that is replaced before it has begun keeps, and what it has no longer.
_KEPT = frozenset({"_id", "id", "queue", "arrival", "create", "attempt", "revision", "writes"})
_OF_EARLIER_ATTEMPTS = frozenset(
    {
        *("fired", "errors", "progress", "result", "cancel", "token", "payload", "tags", "conditions", "key", "expire"),
        *("parents", "open", "unfiled"),
    }
)
_WITHOUT_HEAVY = dict.fromkeys(UNREAD, 0)
#: Written as steps, so that what happens to many jobs alike is one statement.
_COUNTED = ("writes", "revision", "attempt", "failures", "crashes")

#: Leased jobs that are remembered. They are small: without payload and result.
_REMEMBERED = 10_000

T = TypeVar("T")
R = TypeVar("R")
Write = UpdateOne | UpdateMany | ReplaceOne[Document] | DeleteOne | DeleteMany


@contextmanager
def unknown_after(acted: bool) -> Iterator[None]:
    """Where the call has `acted` already, a store that cannot be reached, or is full, leaves its outcome unknown."""
    try:
        yield
    except (StoreAway, StoreFull) as error:
        raise (OutcomeUnknown(str(error)) if acted else error) from error


class Jobs:
    """All queues' jobs."""

    def __init__(self, connection: MongoConnection, collection: str, clock: ServerClock) -> None:
        self._connection = connection
        self._clock = clock
        self.answer_ms = int(connection.answer_within.total_seconds() * 1000)  # nobody waits longer for what is read
        self.collection: AsyncCollection[Document] = connection.database[collection]
        self._leased: OrderedDict[str, Document] = OrderedDict()  # by _id, as this process wrote them last

    async def run(self, command: Callable[[], Awaitable[R]], *, read_only: bool = False) -> R:
        """As MongoConnection.run."""
        return await self._connection.run(command, read_only=read_only)

    def documents(self, condition: Mapping[str, Any], shape: Mapping[str, Any] | None = None) -> AsyncCursor[Document]:
        """Documents that match, to be read; `shape` says which fields."""
        return self.collection.find(condition, shape, batch_size=_BATCH)

    async def find(
        self, condition: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> list[Standing]:
        """Jobs that match, without payload and result, to be changed."""
        pipeline: list[Document] = [{"$match": dict(condition)}]
        if sort:
            pipeline.append({"$sort": dict(sort)})
        if limit:
            pipeline.append({"$limit": limit})
        pipeline += [{"$project": _WITHOUT_HEAVY}, READ_NOW]
        ahead = await self._clock.ahead()

        async def ask() -> list[Document]:
            return await (await self.collection.aggregate(pipeline, batchSize=_BATCH)).to_list()

        found = await self.run(ask, read_only=True)
        if found:
            self._clock.heard(found[0]["now"] + ahead)
        return [Standing(document, document.pop("now") + ahead) for document in found]

    async def load(self, queue: str, job_ids: Sequence[str]) -> dict[str, Standing]:
        """The jobs that stand, by job_id."""
        ids = [key(queue, one) for one in dict.fromkeys(job_ids)]
        parts = await asyncio.gather(*(self.find({"_id": {"$in": part}}) for part in _cut(ids, _LISTED)))
        found = [job for part in parts for job in part]
        latest = max((job.now for job in found), default=EPOCH)
        for job in found:
            job.now = latest  # one for all: what happens to them alike is written alike
        return {job.document["id"]: job for job in found}

    async def by_id(self, ids: Sequence[str], shape: Mapping[str, Any] | None = None) -> dict[str, Document]:
        """Those documents of these _ids that stand, to be read."""

        async def read(part: Sequence[str]) -> list[Document]:
            condition = {"_id": {"$in": part}}
            return await self.run(lambda: self.documents(condition, shape).to_list(), read_only=True)

        found = await asyncio.gather(*map(read, _cut(ids, _LISTED)))
        return {document["_id"]: document for part in found for document in part}

    async def remembered(self, queue: str, job_ids: Sequence[str]) -> dict[str, Standing] | None:
        """The jobs as this process wrote them last, if it leased all of them: good for a decision that writes each of
        them, as a write is refused where somebody else has written since. None: read them."""
        found = [self._leased.get(key(queue, one)) for one in job_ids]
        now = await self._clock.lately()
        jobs = {document["id"]: Standing(dict(document), now) for document in found if document is not None}
        return None if None in found else jobs

    async def payloads(self, ids: Sequence[str]) -> dict[str, Any]:
        """Payloads by _id, of those that have one."""
        found = await self.by_id(ids, {"payload": 1})
        return {one: document["payload"] for one, document in found.items() if "payload" in document}

    async def insert(self, documents: Sequence[Document], debt: Debt | None = None) -> set[str]:
        """Add new jobs; the ids of those that stood already, which were left as they are. With `debt` as it says."""
        if debt is not None:
            return await debt.insert(documents, self.collection)
        try:
            await self.run(lambda: self.collection.insert_many(documents, ordered=False))
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(one["code"] != DUPLICATE for one in failed):
                raise
            return {documents[one["index"]]["id"] for one in failed}
        return set()

    async def replace(self, new: Document, number: int) -> Document | None:
        """Put a new job in the place of one under its id that is SCHEDULED or WAITING, is not held, keeps no place of a
        limit, and whose last change has a lower number. What stands then, without payload and result; None where there
        was no such job."""
        values = {name: value for name, value in new.items() if name not in _KEPT}
        gone = _OF_EARLIER_ATTEMPTS - values.keys()
        if "key" in gone:
            gone |= {"after"}
        update: Document = {
            "$set": {**values, "number": Int64(number)},
            "$unset": dict.fromkeys(sorted(gone), ""),
            "$inc": {"revision": 1, "writes": Int64(1)},
        }
        states = [int(State.SCHEDULED), int(State.WAITING)]
        pending: Document = {"_id": new["_id"], "state": {"$in": states}, "number": {"$not": {"$gte": number}}}
        pending["placed"] = {"$exists": False}
        return await self.run(
            lambda: self.collection.find_one_and_update(
                pending, update, _WITHOUT_HEAVY, return_document=ReturnDocument.AFTER
            )
        )

    async def swap(self, jobs: Sequence[Standing]) -> set[str]:
        """Write each job that nobody else has written since it was read; the ids of the others."""
        operation = secrets.token_bytes(8)  # a name for these writes
        writes = _writes_of(jobs, operation)
        for job in jobs:
            self._leased.pop(job.before["_id"], None)
        lost = await self._swap(jobs, operation, writes)
        for job in jobs:
            if job.state is State.ACTIVE and not job.gone and job.document["id"] not in lost:
                self._leased[job.document["_id"]] = job.document
        while len(self._leased) > _REMEMBERED:
            self._leased.popitem(last=False)
        return lost

    async def _swap(self, jobs: Sequence[Standing], operation: bytes, writes: Sequence[Write]) -> set[str]:
        result = await self._written(writes)
        if result.matched_count + result.deleted_count == len(jobs):
            return set()
        # Somebody lost. One that is gone was deleted by this operation, or by somebody else, which is the same to a
        # caller who wanted it gone.
        ids = [job.document["_id"] for job in jobs]
        with unknown_after(True):
            stands = await self.by_id(ids, {"writes": 1, "ops": 1})
        return {job.document["id"] for job in jobs if _lost(stands.get(job.document["_id"]), job, operation)}

    async def _written(self, writes: Sequence[Write]) -> BulkWriteResult:
        """Send these writes, and once more where their answer was lost or the primary stepped down: the driver does so
        only where each statement is of one document. They are conditions on what was read, so none acts twice; who
        acted is told by `ops`."""

        async def send() -> BulkWriteResult:
            return await self.collection.bulk_write(writes, ordered=False)

        many = any(isinstance(write, (UpdateMany, DeleteMany)) for write in writes)
        try:
            return await self.run(send)
        except StoreFull as error:
            # A statement of many documents that fails says of none that it was written, and what came first stands.
            raise (OutcomeUnknown(str(error)) if many else error) from error
        except OutcomeUnknown as error:
            if not many or not isinstance(error.__cause__, AutoReconnect):
                raise
        with unknown_after(True):
            return await self.run(send)

    async def absent(self, queue: str, job_ids: Sequence[str]) -> set[str]:
        """Wait until a majority knows that no jobs stand under these ids; those under which some do by now. A read
        alone would tell of a deletion that a failover takes back."""
        ids = [key(queue, job_id) for job_id in job_ids]
        stands = {"_id": ids[0] if len(ids) == 1 else {"$in": ids}}
        done = await self.run(lambda: self.collection.update_one(stands, {"$set": {"queue": queue}}))
        if not done.matched_count:
            return set()
        with unknown_after(True):
            return set(await self.load(queue, job_ids))


def _cut(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _lost(stands: Mapping[str, Any] | None, job: Standing, operation: bytes) -> bool:
    """Whether somebody else was faster. Others may have written the job again since this operation did."""
    if job.gone:
        return stands is not None
    if not job.touched:
        return stands is None or stands["writes"] != job.before["writes"]
    return stands is None or operation not in stands.get("ops", ())


def _writes_of(jobs: Sequence[Standing], operation: bytes) -> list[Write]:
    """The writes of these jobs, each good only while nobody else has written it. Jobs to which the same happens share a
    statement."""
    writes: list[Write] = []
    alike: dict[bytes, tuple[Document, list[Standing]]] = {}
    for job in jobs:
        if job.anew and not job.gone:
            _count(job, operation)
            writes.append(ReplaceOne(_as_read([job]), job.document))
            continue
        update = _update_of(job, operation)
        alike.setdefault(bson.encode(update), (update, []))[1].append(job)
    for update, all_alike in alike.values():
        for those in _cut(all_alike, _WRITTEN_ALIKE):
            condition, many = _as_read(those), len(those) > 1
            if not update:
                writes.append(DeleteMany(condition) if many else DeleteOne(condition))
            else:
                writes.append(UpdateMany(condition, update) if many else UpdateOne(condition, update))
    return writes


def _as_read(jobs: Sequence[Standing]) -> Document:
    """That a job is one of these, and stands as it was read: no two jobs have counters that meet (documents.py)."""
    if len(jobs) == 1:
        return {"_id": jobs[0].before["_id"], "writes": jobs[0].before["writes"]}
    ids, writes = [job.before["_id"] for job in jobs], [job.before["writes"] for job in jobs]
    return {"_id": {"$in": ids}, "writes": {"$in": writes}}


def _count(job: Standing, operation: bytes) -> None:
    """Count the write in the document, and note whose it is."""
    job.document["writes"] = Int64(job.before["writes"] + 1)
    job.document["ops"] = [*job.before.get("ops", ())[1 - _OPERATIONS :], operation]


def _update_of(job: Standing, operation: bytes) -> Document:
    """The operators that make of the job as it was what it is; none where it goes."""
    before, document = job.before, job.document
    if job.gone:
        return {}
    if not job.touched:
        return {"$set": {"queue": before["queue"]}}
    _count(job, operation)
    changed = {name: value for name, value in document.items() if name not in before or before[name] != value}
    del changed["ops"]
    steps = {name: changed.pop(name) - before[name] for name in _COUNTED if name in changed and name in before}
    update: Document = {"$inc": steps, "$push": {"ops": {"$each": [operation], "$slice": -_OPERATIONS}}}
    if changed:
        update["$set"] = dict(sorted(changed.items()))
    if gone := dict.fromkeys(sorted((*(before.keys() - document.keys()), *job.dropped)), ""):
        update["$unset"] = gone
    return update
