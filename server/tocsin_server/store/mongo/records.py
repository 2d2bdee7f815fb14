"""Jobs' documents: read, and written where nobody else has written them since (compare and swap).

A write of jobs is four steps, none of them a transaction, so that it needs no replica set and no lock:
1. read the jobs; decide what each becomes (transitions.py);
2. take numbers for the changes from the queue's document (heads.py);
3. write each job on the condition that its `writes` is what was read; the loser of a race reads and decides again;
4. add the changes to the queue's log under the numbers taken (event_log.py): watchers and dispatchers hear of them.
Numbers are taken after reading and before writing, so the changes of one job are numbered in the order in which they
were made. A server that dies between 2 and 4 leaves a hole in the numbers: watchers who meet it are told of a gap and
read again, dispatchers claim (holes.py). What was acknowledged stands: it was written in step 3.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from bson.int64 import Int64
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import HEAVY, Document, key
from tocsin_server.store.mongo.errors import DUPLICATE
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.heads import Heads
from tocsin_server.store.mongo.transitions import Standing

#: Rounds of read, decide and write before a call gives up on jobs that others keep changing.
_ROUNDS = 50
#: Whose writes the last ones were is kept of so many.
_OPERATIONS = 8
_WITHOUT_HEAVY = dict.fromkeys(HEAVY, 0)

R = TypeVar("R")
Write = UpdateOne | ReplaceOne[Document] | DeleteOne


@contextmanager
def unknown_after(acted: bool) -> Iterator[None]:
    """Where the call has `acted` already, a store that cannot be reached now leaves its outcome unknown."""
    try:
        yield
    except StoreAway as error:
        raise (OutcomeUnknown(str(error)) if acted else error) from error


def new_operation() -> bytes:
    """A name for one call's writes."""
    return secrets.token_bytes(8)


class Records:
    """The jobs' collection."""

    def __init__(self, connection: MongoConnection, collection: str, heads: Heads, log: EventLog) -> None:
        self.connection = connection
        self.jobs: AsyncCollection[Document] = connection.database[collection]
        self.heads = heads
        self.log = log

    async def find(
        self, condition: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> list[Standing]:
        """Jobs that match, without payload and result, to be changed."""
        pipeline: list[Document] = [{"$match": dict(condition)}]
        if sort:
            pipeline.append({"$sort": dict(sort)})
        if limit:
            pipeline.append({"$limit": limit})
        pipeline += [{"$project": _WITHOUT_HEAVY}, {"$set": {"now": "$$NOW"}}]

        async def ask() -> list[Document]:
            return await (await self.jobs.aggregate(pipeline)).to_list()

        found = await self.connection.run(ask, read_only=True)
        return [Standing(document, document.pop("now")) for document in found]

    async def load(self, queue: str, job_ids: Sequence[str]) -> dict[str, Standing]:
        """The jobs that stand, by job_id."""
        found = await self.find({"_id": {"$in": [key(queue, one) for one in dict.fromkeys(job_ids)]}})
        return {job.document["id"]: job for job in found}

    async def change(
        self,
        queue: str,
        job_ids: Sequence[str],
        decide: Callable[[int, Standing | None], R],
        *,
        rates: Callable[[], Mapping[str, int]] = dict,
        cancels: bool = False,
    ) -> list[R]:
        """Let `decide` change the job of each id, and write what it touched; its answers, in order.

        Several of a call may be of one job: they are taken in order. `decide` is asked again where the job was changed
        by others meanwhile, so it must not remember; it is given the place of the id, and None where no job stands.
        """
        answers: dict[int, R] = {}
        left = list(range(len(job_ids)))
        for begun in range(_ROUNDS):
            with unknown_after(begun > 0):
                standing = await self.load(queue, [job_ids[at] for at in left])
                for at in left:
                    job = standing.get(job_ids[at])
                    answers[at] = decide(at, None if job is None or job.gone else job)
                lost = await self.write(queue, list(standing.values()), rates=rates(), cancels=cancels)
            left = [at for at in left if job_ids[at] in lost]
            if not left:
                return [answers[at] for at in range(len(job_ids))]
        raise StoreAway("others kept changing the same jobs")

    async def write(
        self,
        queue: str,
        jobs: Sequence[Standing],
        *,
        rates: Mapping[str, int] | None = None,
        cancels: bool = False,
        retention: bool = False,
    ) -> set[str]:
        """Write what was touched; the ids of those that others had changed meanwhile, which were left as they are.
        `retention`: what goes has had its time."""
        touched = [job for job in jobs if job.touched]
        if not touched:
            return set()
        loud = [job for job in touched if not job.quiet]
        events = sum(2 if _is_anew(job) else 1 for job in loud)
        gone = {} if retention else ends_of([job for job in loud if job.gone])
        taken = await self.heads.allocate(queue, events=events, rates=rates, gone=gone) if loud else None
        operation = new_operation()
        try:
            lost = await self.swap(touched, operation)
        except (StoreAway, StoreFull):
            if taken is not None:
                await self.heads.give_back(taken)
            raise
        if taken is not None:
            written = [job for job in loud if job.document["id"] not in lost]
            await self.log.append(taken, changes_of(written), flags_of(written, cancels=cancels))
        return lost

    async def insert(self, documents: Sequence[Document]) -> set[str]:
        """Add new jobs; the ids of those that stood already, which were left as they are."""
        try:
            await self.connection.run(lambda: self.jobs.insert_many(documents, ordered=False))
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(one["code"] != DUPLICATE for one in failed):
                raise
            return {documents[one["index"]]["id"] for one in failed}
        return set()

    async def payloads(self, ids: Sequence[str]) -> dict[str, Any]:
        """Payloads by _id, of those that have one."""
        found = await self.connection.run(
            lambda: self.jobs.find({"_id": {"$in": list(ids)}}, {"payload": 1}).to_list(), read_only=True
        )
        return {document["_id"]: document["payload"] for document in found if "payload" in document}

    async def run(self, command: Callable[[], Awaitable[R]], *, read_only: bool = False) -> R:
        """As MongoConnection.run."""
        return await self.connection.run(command, read_only=read_only)

    async def swap(self, touched: Sequence[Standing], operation: bytes) -> set[str]:
        """Write each job that nobody else has written since it was read; the ids of the others."""
        writes = [_write_of(job, operation) for job in touched]
        result = await self.connection.run(lambda: self.jobs.bulk_write(writes, ordered=False))
        if result.matched_count + result.deleted_count == len(touched):
            return set()
        # Somebody lost. One that is gone was deleted by this operation, or by somebody else, which is the same to a
        # caller who wanted it gone.
        ids = [job.document["_id"] for job in touched]
        with unknown_after(True):
            found = await self.connection.run(
                lambda: self.jobs.find({"_id": {"$in": ids}}, {"ops": 1}).to_list(), read_only=True
            )
        stands = {document["_id"]: document for document in found}
        return {job.document["id"] for job in touched if _lost(stands.get(job.document["_id"]), job, operation)}


def _lost(stands: Mapping[str, Any] | None, job: Standing, operation: bytes) -> bool:
    """Whether somebody else was faster. Others may have written the job again since this operation did."""
    if job.gone:
        return stands is not None
    return stands is None or operation not in stands.get("ops", ())


def ends_of(going: Iterable[Standing]) -> dict[str, datetime]:
    """The latest end of jobs that are about to go, by field of `gone` in the queue's document."""
    latest: dict[str, datetime] = {}
    for job in going:
        if (end := job.before.get("end")) is not None:
            field = "failed" if job.before["state"] == State.FAILED else "done"
            latest[field] = max(end, latest.get(field, end))
    return latest


def _is_anew(job: Standing) -> bool:
    """Another job stands under its id: the old one is gone, a new one has come."""
    return job.anew and not job.gone and job.document["arrival"] != job.before["arrival"]


def _write_of(job: Standing, operation: bytes) -> Write:
    """The write of one job, good only while nobody else has written it."""
    before, document = job.before, job.document
    if job.gone:
        return DeleteOne({"_id": before["_id"], "writes": before["writes"]})
    document["writes"] = Int64(before["writes"] + 1)
    document["ops"] = [*before.get("ops", ())[1 - _OPERATIONS :], operation]
    if job.anew:
        return ReplaceOne({"_id": before["_id"], "writes": before["writes"]}, document)
    values = {name: value for name, value in document.items() if name not in before or before[name] != value}
    update: Document = {"$set": values}
    if gone := dict.fromkeys((*(before.keys() - document.keys()), *job.dropped), ""):
        update["$unset"] = gone
    return UpdateOne({"_id": before["_id"], "writes": before["writes"]}, update)


def basic(document: Mapping[str, Any]) -> Document:
    """What a change keeps of a job: all that View.BASIC shows."""
    kept = {name: value for name, value in document.items() if name not in {*HEAVY, "ops", "writes", "token"}}
    if "errors" in kept:
        kept["errors"] = [{**error, "trace": ""} for error in kept["errors"]]
    return kept


def changes_of(jobs: Sequence[Standing]) -> list[Document]:
    """The changes as the log keeps them."""
    changes: list[Document] = []
    for job in jobs:
        if job.gone or _is_anew(job):
            changes.append({**basic(job.before), "deleted": True})
        if not job.gone:
            changes.append(basic(job.document))
    return changes


def flags_of_all(new: Sequence[Document], changed: Sequence[Standing]) -> Flags:
    """What dispatchers are to hear of new jobs and of changed ones."""
    of_changed = flags_of(changed)
    dues = [document["due"] for document in new if document["state"] == State.SCHEDULED]
    dues += [of_changed.due] if of_changed.due is not None else []
    claimable = of_changed.claimable or any(document["state"] == State.WAITING for document in new)
    return Flags(claimable=claimable, due=min(dues, default=None))


def flags_of(jobs: Sequence[Standing], *, cancels: bool = False) -> Flags:
    """What dispatchers are to hear of the jobs' changes."""
    claimable, asked = False, False
    due: datetime | None = None
    for job in jobs:
        document, before = job.document, job.before
        if job.gone:
            continue
        became = document["state"] != before["state"] or document["type"] != before["type"] or _is_anew(job)
        claimable = claimable or (became and job.state is State.WAITING)
        asked = asked or (cancels and job.state is State.ACTIVE)
        if job.state is State.SCHEDULED:
            due = document["due"] if due is None else min(due, document["due"])
    return Flags(claimable=claimable, due=due, cancels=asked)
