"""Shared limits in MongoDB. The book is one document; that a queue has shared limits stands in the queue's document
(`shared`, a version), and up to which version it refuses grants in that of its places (`floor`), which each lease of it
writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bson.int64 import Int64
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from tocsin_server.domain.lease import Claim
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.claim import ClaimJobs
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.places import LimitPlaces
from tocsin_server.store.mongo.queues import QueueDocuments, has_limits
from tocsin_server.store.shared_book import Taken, Word
from tocsin_server.store.shared_limit_store import NoGrant, SharedPlaces

_BOOK = "book"


class MongoSharedPlaces(SharedPlaces):
    """Of all queues of a store."""

    def __init__(
        self,
        connection: MongoConnection,
        collection: str,
        clock: ServerClock,
        jobs: Jobs,
        queues: QueueDocuments,
        places: LimitPlaces,
        claims: ClaimJobs,
        log: EventLog,
    ) -> None:
        self._connection = connection
        self._books: AsyncCollection[Document] = connection.database[f"{collection}.shared"]
        self._clock = clock
        self._jobs = jobs
        self._queues = queues
        self._places = places
        self._claims = claims
        self._log = log

    async def read_shared(self) -> tuple[bytes | None, int, datetime]:
        now = await self._clock.lately()  # before: it must not be later than what is read
        found = await self._connection.run(lambda: self._books.find_one({"_id": _BOOK}), read_only=True)
        return (None, 0, now) if found is None else (bytes(found["book"]), int(found["revision"]), now)

    async def swap_shared(self, book: bytes, revision: int) -> bool:
        new: Document = {"_id": _BOOK, "revision": Int64(revision + 1), "book": book}
        if not revision:
            try:
                await self._connection.run(lambda: self._books.insert_one(new))
            except DuplicateKeyError:
                return False
            return True
        stands = {"_id": _BOOK, "revision": Int64(revision)}
        return (await self._connection.run(lambda: self._books.replace_one(stands, new))).matched_count == 1

    async def tell_running(
        self,
        queue: str,
        *,
        version: int = 0,
        marked: bool | None = None,
        look_at: datetime | None = None,
        thorough: bool = False,
    ) -> Word:
        if marked:
            head, _ = await self._queues.read(queue)
            await self._places.begin(queue, limited=head is not None and has_limits(head))
            await self._queues.share(queue, version)
            await self._places.refuse(queue, version, begins=True)
            await self._places.take_in(queue)
        elif marked is False:
            await self._queues.unshare(queue, version)
            await self._places.accept(queue, version)
        elif version:
            await self._places.refuse(queue, version)
        places = await self._places.read(queue)
        if thorough and places is not None and await self._places.prune(queue, places):
            places = await self._places.read(queue)
        head, _ = await self._queues.read(queue)
        waits = await self._some_waits(queue)
        if look_at is not None and waits and await self._queues.set_start(queue, look_at):
            taken, _ = await self._queues.allocate(queue, events=1)
            await self._log.append(taken, (), Flags(due=look_at))
        if places is None:
            return Word(0, 0, waits, marked=False)
        running = sum("waits" not in one for one in places["held"])
        shared = head is not None and "shared" in head
        return Word(int(places["version"]), running, waits, int(places.get("floor", 0)), marked=shared)

    async def _some_waits(self, queue: str) -> bool:
        waiting = {"queue": queue, "state": int(State.WAITING)}
        found = await self._connection.run(lambda: self._jobs.collection.find_one(waiting, {"_id": 1}), read_only=True)
        return found is not None

    async def claim_granted(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        *,
        lease: timedelta,
        request: bytes,
        repeated: bool,
        granted: Taken | None,
    ) -> tuple[Claim, Word | None] | NoGrant:
        version = None if granted is None else granted.version
        claim = await self._claims.claim(queue, types, limit, lease, request, repeated=repeated, granted=version)
        if isinstance(claim, NoGrant):
            return claim
        return claim, None if granted is None else await self.tell_running(queue)

    async def ring(self, queues: Sequence[str]) -> None:
        for queue in queues:
            taken, _ = await self._queues.allocate(queue, events=1)
            await self._log.append(taken, (), Flags(claimable=True))
