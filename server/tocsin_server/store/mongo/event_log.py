"""A queue's log of changes: numbered, in documents of one write each.

_id               "<queue>/<first number, 15 digits>"
queue, first, last  the numbers taken for the write; fewer changes than numbers are possible, more are not
changes           the jobs as they stood (commit.basic), `deleted` where one went
time              the server's clock; a TTL index drops what is too old
wake              {claimable, due, cancels, settings}: what dispatchers are to hear

Numbers without a document are a hole: of a write under way, of a server that died, or of documents too old to keep.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import bson
import structlog
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.job import View
from tocsin_server.store.batching import parts
from tocsin_server.store.cursors import Cursor, read_cursor
from tocsin_server.store.mongo.clock import stamp
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, job_of
from tocsin_server.store.mongo.log_listener import LogListener
from tocsin_server.store.mongo.queues import Allocation, QueueDocuments

Change = RawBSONDocument

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: A write that has not come after so long never will: its server died.
PATIENCE = timedelta(seconds=5)
#: What is too much to keep goes once it is a tenth of what is kept.
_TRIM_AT = 10
_DOCUMENTS_A_READ = 20
#: More numbers are never taken for one write: two for each of the jobs of a call (add.py).
_NUMBERS_A_WRITE = 400
#: Changes are cut into documents of about so many bytes: jobs may have large errors, and 16 MiB are the most.
_ENTRY_BYTES = 1 << 20
_WRITES_LOOKED_AT = 1_000
#: A waiter looks again after so long, for the message that was lost.
_LOOK_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Flags:
    """What dispatchers are to hear of a write."""

    claimable: bool = False
    due: datetime | None = None
    cancels: bool = False
    settings: bool = False
    errands: bool = False

    def document(self, *, new: bool) -> Document:
        """As it stands in the log."""
        return {
            "claimable": self.claimable,
            "due": self.due,
            "cancels": self.cancels,
            "settings": self.settings or new,
            **({"errands": True} if self.errands else {}),
        }


class EventLog:
    """The logs of all queues. About `events_max` changes of each are kept."""

    def __init__(
        self,
        connection: MongoConnection,
        collection: str,
        queues: QueueDocuments,
        tail: LogListener,
        *,
        events_max: int,
    ) -> None:
        self._connection = connection
        # By one server: what a failover takes back of the log is a hole, and nobody need wait for more.
        self._events: AsyncCollection[Document] = connection.database.get_collection(
            f"{collection}.events", write_concern=WriteConcern(w=1)
        )
        self._queues = queues
        self._tail = tail
        self._events_max = events_max
        self._trimmed: dict[str, int] = {}  # queue -> the last number when it was trimmed
        # (queue, first missing number) -> when it was met, and the queue's last number then
        self._holes: dict[tuple[str, int], tuple[float, int]] = {}
        self._stood: dict[str, tuple[int, float]] = {}  # queue -> its last number, and since when it is known

    async def append(self, taken: Allocation, changes: Sequence[Document], flags: Flags) -> None:
        """Add a write's changes under the numbers taken for it, and let everybody hear of it.

        The jobs stand already, so whatever goes wrong now is no failure of the call: it leaves a hole.
        """
        try:
            await self._append(taken, changes, flags)
        except TocsinError:
            pass  # the connection has said so
        except Exception:
            _log.exception("changes_not_logged", queue=taken.queue, first=taken.first, last=taken.last)

    async def _append(self, taken: Allocation, changes: Sequence[Document], flags: Flags) -> None:
        wake = flags.document(new=taken.new)
        writes = [_entry(taken.queue, first, last, part, wake) for first, last, part in _entries(taken, changes)]

        async def write() -> None:
            await self._events.bulk_write(writes, ordered=False)

        _, stands = await asyncio.gather(self._connection.run(write), self._wake(taken, flags))
        if not stands:
            # Deleted after the numbers were taken and before the jobs were written: they would be in no queue.
            await self._queues.hold(taken.queue, taken.first_arrival + taken.arrivals - 1)
            await self._wake(taken, flags)
        self._tail.signal(taken.queue)
        if taken.new:
            self._tail.counted(None)
        trimmed = min(taken.last, self._trimmed.setdefault(taken.queue, taken.first - 1))
        self._trimmed[taken.queue] = trimmed  # lower than before where the queue went, and came anew
        if taken.last - trimmed >= max(1, self._events_max // _TRIM_AT):
            self._trimmed[taken.queue] = taken.last
            self._trim(taken.queue, taken.last)

    async def _wake(self, taken: Allocation, flags: Flags) -> bool:
        """Count a wake where jobs became claimable. False: jobs came, and their queue's document is not there."""
        if flags.claimable:
            return await self._queues.wake(taken.queue)
        return not taken.arrivals or await self._queues.stands(taken.queue)

    async def now(self, queue: str) -> str:
        """The cursor of now."""
        head, now = await self._queues.read_by_server(queue)
        return str(await self._settled(queue, head, now))

    async def read(self, queue: str, after: str, wait: timedelta, limit: int) -> EventBatch:
        """Changes after a cursor, at most `limit`; waits up to `wait` for the first, or for less (then none came)."""
        cursor = read_cursor(after)
        until = time.monotonic() + wait.total_seconds()
        with self._tail.listening(queue) as heard:
            while True:
                heard.clear()
                batch, cursor = await self._read_now(queue, cursor, limit)
                left = until - time.monotonic()
                if batch is not None:
                    return batch
                if left <= 0:
                    return EventBatch((), str(cursor))
                await self._tail.wait(heard, min(left, _LOOK_AGAIN.total_seconds()))

    def keep(self, queues: Collection[str]) -> None:
        """These queues are there, and no other."""
        self._trimmed = {queue: last for queue, last in self._trimmed.items() if queue in queues}
        self._stood = {queue: stood for queue, stood in self._stood.items() if queue in queues}
        self._holes = {hole: met for hole, met in self._holes.items() if hole[0] in queues}

    async def spans(self, queue: str, after: int) -> list[tuple[int, int]]:
        """First and last numbers of the writes after a number, in order; at most 5,000."""
        found = await self._connection.run(
            lambda: (
                self._events.find({"queue": queue, "last": {"$gt": after}}, {"_id": 0, "first": 1, "last": 1})
                .sort("last", 1)
                .limit(5_000)
                .to_list()
            ),
            read_only=True,
        )
        return [(int(one["first"]), int(one["last"])) for one in found]

    async def _read_now(self, queue: str, cursor: Cursor, limit: int) -> tuple[EventBatch | None, Cursor]:
        """What is there, None where nothing is yet; and the cursor, which has learned the queue's epoch."""
        head, now = await self._queues.read_by_server(queue)
        here = _cursor_of(head)
        if not cursor.leads_on("mongo", here.epoch, here.seen):
            return await self._gap(queue, head, now)
        cursor = Cursor(here.epoch, cursor.seen)
        if head is None or now is None or here.seen <= cursor.seen:
            return None, cursor
        if cursor.seen < here.seen - self._events_max:
            return await self._gap(queue, head, now)
        found = await self._after(queue, cursor.seen, limit)
        events, cursor = _events_of(found, cursor, limit)
        if events:
            return EventBatch(tuple(events), str(cursor)), cursor
        # What is missing is under way, or its server died. What comes after it is not: the gap ends before that.
        following = next((one for one in found if one["first"] > cursor.seen + 1), None)
        dead = self._given_up(queue, cursor.seen + 1, here.seen)
        if following is not None and (dead is not None or following["time"] < now - PATIENCE):
            dead = int(following["first"]) - 1
        if dead is not None:
            cursor = Cursor(here.epoch, dead)
            return EventBatch((), str(cursor), gap=True), cursor
        return None, cursor

    async def _after(self, queue: str, seen: int, limit: int) -> list[Document]:
        """The writes after a number, each with those of its changes that were not seen, `limit` of them at most."""
        unseen = {"$max": [0, {"$subtract": [seen + 1, {"$toLong": "$first"}]}]}
        pipeline: list[Document] = [
            {"$match": {"queue": queue, "last": {"$gt": seen}}},
            {"$sort": {"last": 1}},
            {"$limit": min(limit, _DOCUMENTS_A_READ)},
            {"$set": {"passed": unseen, "made": {"$size": "$changes"}}},
            {"$set": {"changes": {"$slice": ["$changes", "$passed", limit]}}},
        ]

        async def ask() -> list[Document]:
            return await (await self._events.aggregate(pipeline)).to_list()

        return await self._connection.run(ask, read_only=True)

    async def _gap(self, queue: str, head: Mapping[str, Any] | None, now: datetime | None) -> tuple[EventBatch, Cursor]:
        cursor = await self._settled(queue, head, now)
        return EventBatch((), str(cursor), gap=True), cursor

    async def _settled(self, queue: str, head: Mapping[str, Any] | None, now: datetime | None) -> Cursor:
        """The last cursor behind which no write is under way: who reads jobs now and goes on from it misses nothing.

        A number that is missing in the log is of a write under way only if it was taken lately, and then all that
        follows it was logged lately. Where that cannot be told, it is an earlier one: what follows comes twice, or a
        gap comes.
        """
        here = _cursor_of(head)
        number, since = self._stood.get(queue, (-1, 0.0))
        if number != here.seen:
            self._stood[queue] = (here.seen, time.monotonic())
        elif time.monotonic() - since > PATIENCE.total_seconds():
            return here
        if not here.seen or now is None:
            return here
        settled, below = here.seen, here.seen
        found = await self._newest(queue)
        for one in found:
            settled = min(settled, int(one["last"])) if one["last"] < below else settled
            below = min(below, int(one["first"]) - 1)
            if one["time"] < now - PATIENCE:
                return Cursor(here.epoch, settled)
        kept = max(0, here.seen - self._events_max)
        if below > kept:
            settled = min(settled, max(kept, below - (0 if len(found) == _WRITES_LOOKED_AT else _NUMBERS_A_WRITE)))
        return Cursor(here.epoch, settled)

    async def _newest(self, queue: str) -> list[Document]:
        return await self._connection.run(
            lambda: (
                self._events.find({"queue": queue}, {"_id": 0, "first": 1, "last": 1, "time": 1})
                .sort("last", -1)
                .limit(_WRITES_LOOKED_AT)
                .to_list()
            ),
            read_only=True,
        )

    def _given_up(self, queue: str, number: int, last: int) -> int | None:
        """If this hole has been there for too long: the queue's last number when it was met. None: it may be filled."""
        met, last_then = self._holes.setdefault((queue, number), (time.monotonic(), last))
        if time.monotonic() - met < PATIENCE.total_seconds():
            return None
        del self._holes[queue, number]
        return last_then

    def _trim(self, queue: str, last: int) -> None:
        old = {"queue": queue, "last": {"$lte": last - self._events_max}}
        self._connection.later(lambda: self._events.delete_many(old))  # they may be many, and nobody waits for it
        forgotten = time.monotonic() - 10 * PATIENCE.total_seconds()
        self._holes = {hole: met for hole, met in self._holes.items() if met[0] > forgotten}


def _entries(taken: Allocation, changes: Sequence[Document]) -> Iterator[tuple[int, int, Sequence[Change]]]:
    """Cut a write's changes into documents: first and last number of each. One document, where they are small."""
    raw = [RawBSONDocument(bson.encode(change)) for change in changes]
    cuts = list(parts([len(change.raw) for change in raw], _NUMBERS_A_WRITE, _ENTRY_BYTES)) or [(0, 0)]
    for start, end in cuts:
        # More numbers may have been taken than were needed: those go with the last document.
        yield taken.first + start, taken.first + end - 1 if end < len(raw) else taken.last, raw[start:end]


def _entry(queue: str, first: int, last: int, changes: Sequence[Change], wake: Document) -> UpdateOne:
    """By upsert, so that one that is sent twice stands once."""
    entry = {"queue": queue, "first": Int64(first), "last": Int64(last), "changes": changes, "wake": wake}
    return UpdateOne({"_id": f"{queue}/{first:015d}"}, {"$set": entry, **stamp("time")}, upsert=True)


def _cursor_of(head: Mapping[str, Any] | None) -> Cursor:
    return Cursor("", 0) if head is None else Cursor(head["epoch"], int(head["events"]))


def _events_of(found: Sequence[Document], cursor: Cursor, limit: int) -> tuple[list[Event], Cursor]:
    """The changes after a cursor up to the first hole, and the cursor after the last of them."""
    events: list[Event] = []
    for document in found:
        first, last = int(document["first"]), int(document["last"])
        if first > cursor.seen + 1:
            break
        # More numbers may have been taken than were needed: the last change stands for the rest.
        final = int(document["made"]) - 1
        for at, change in enumerate(document["changes"], start=int(document["passed"])):
            if len(events) == limit:
                return events, cursor
            cursor = Cursor(cursor.epoch, last if at == final else first + at)
            events.append(Event(job_of(change, View.BASIC), bool(change.get("deleted")), str(cursor)))
        if final < 0:
            cursor = Cursor(cursor.epoch, max(cursor.seen, last))
    return events, cursor
