"""A queue's own document: counters, pause and rates. Made with the queue's first job or setting. Every write of the
queue's jobs writes it, so it is kept small: settings stand apart (queue_settings.py), and rates are of a few minutes.

_id                the queue's name
epoch              random; a cursor of another one is of another life of the queue
arrivals, events   the last arrival number, and the last number of a change; both are taken before the jobs are written
taken              when that was last
unused             {events, since}: it was seen without jobs with that number of changes, and has not changed since
wakes              how often jobs became claimable
paused, reason     since when, and why; absent: it is not
until              when the pause ends by itself; absent: not before it is resumed
limited            true: it has limits (places.py)
strict             true: some of them do not let all jobs wait (full.py)
fair               true: its keys take turns (turns.py)
shared             it has shared limits, by this version (shared.py)
start              when a rate lets jobs begin by itself; absent: none waits for that
draining           true: it takes no new jobs
ageing             for how many ms of waiting a job gains a priority (ageing.py)
gone               {done, failed}: the latest end of jobs that were deleted before their time
rates              {"c<minute>": attempts that completed in that minute, "f<minute>": that failed}, of the last minutes
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.int64 import Int64
from pymongo import ReturnDocument, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from tocsin_server.domain.errors import QueueDraining
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.quotas import too_many_queues
from tocsin_server.domain.states import State
from tocsin_server.domain.times import EPOCH
from tocsin_server.store.mongo.clock import READ_NOW, ServerClock, stamp
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document

_NUMBERS = {"events": 1, "arrivals": 1, "rates": 1, "taken": 1, "strict": 1, "fair": 1}

RATE_MINUTES = 5  # rates are means over so many whole minutes and the one under way


def minute_of(time: datetime) -> int:
    """Whole minutes since 1970."""
    return (time - EPOCH) // timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Numbers taken for one write: the changes first to last, and the arrivals from first_arrival on."""

    queue: str
    first: int
    last: int
    first_arrival: int
    arrivals: int
    new: bool  # the queue is new
    strict: bool = False  # it has limits that do not let all jobs wait
    fair: bool = False  # its keys take turns


def has_limits(head: Mapping[str, Any]) -> bool:
    """Whether the queue of this document has limits, of its own or shared."""
    return "limited" in head or "shared" in head


class QueueDocuments:
    """All queues' documents."""

    def __init__(self, connection: MongoConnection, collection: str, clock: ServerClock, most: int) -> None:
        self._connection = connection
        self._clock = clock
        self._most = most  # queues
        self._jobs_name = collection
        self._jobs: AsyncCollection[Document] = connection.database[collection]
        self._events: AsyncCollection[Document] = connection.database[f"{collection}.events"]
        self._queues: AsyncCollection[Document] = connection.database[f"{collection}.queues"]
        self._settings: AsyncCollection[Document] = connection.database[f"{collection}.settings"]

    async def forget(
        self, queue: str, unused_for: timedelta | None, kept: Callable[[Document], Awaitable[bool]]
    ) -> bool:
        """As JobStore.forget; `kept` says whether more is known of the queue than what is forgotten unused."""
        head, now = await self.read(queue)
        if await self._newest(self._jobs, queue, "arrival"):
            return False
        if head is None or now is None:
            return True
        if "shared" in head:
            return False
        if unused_for is not None:
            if "paused" in head or not await self._unused(queue, head, now, unused_for) or await kept(head):
                return False
        stands = {"_id": queue, "events": head["events"], "arrivals": head["arrivals"]}
        gone = await self._connection.run(lambda: self._queues.delete_one(stands))
        if not gone.deleted_count:
            return False  # somebody uses it
        await self._connection.run(lambda: self._settings.delete_one({"_id": queue, "epoch": head["epoch"]}))
        await self._connection.run(lambda: self._events.delete_many({"queue": queue}))
        if (highest := await self._newest(self._jobs, queue, "arrival")) > 0:
            await self.hold(queue, highest)  # numbered before, and written just now
            return False
        return True

    async def _unused(self, queue: str, head: Document, now: datetime, unused_for: timedelta) -> bool:
        said = head.get("unused")
        if said is not None and said["events"] == head["events"]:
            return bool(said["since"] + unused_for <= now)
        # Counted from now: nothing that is kept tells when the queue changed last.
        mark = {"events": head["events"], "since": now}
        await self._connection.run(lambda: self._queues.update_one({"_id": queue}, {"$set": {"unused": mark}}))
        return unused_for <= timedelta(0)

    async def allocate(
        self,
        queue: str,
        *,
        events: int,
        arrivals: int = 0,
        rates: Mapping[str, int] | None = None,
        gone: Mapping[str, datetime] | None = None,
        new_jobs: bool = False,
    ) -> tuple[Allocation, datetime]:
        """Take numbers, and read the store's clock. With `new_jobs` QueueDraining where the queue takes none.

        `rates` says how many attempts ended, by field of `rates`, and `gone` up to which end jobs are deleted before
        their time, by field of `gone`. That is written first: it is a mark of what may be missing.
        """
        more = {f"rates.{name}": by for name, by in (rates or {}).items()}
        update: Document = {"$inc": {"events": Int64(events), "arrivals": Int64(arrivals), **more}}
        if gone:
            update["$max"] = {f"gone.{name}": end for name, end in gone.items()}

        update |= stamp("taken")
        ahead = await self._clock.ahead()

        async def take() -> Document | None:
            return await self._connection.run(
                lambda: self._queues.find_one_and_update(which, update, _NUMBERS, return_document=ReturnDocument.AFTER)
            )

        which = {"_id": queue, **({"draining": {"$exists": False}} if new_jobs else {})}
        while (head := await take()) is None:
            if new_jobs and await self.stands(queue, draining=True):
                raise QueueDraining(queue)
            await self.make(queue)
        now: datetime = head["taken"] + ahead
        self._clock.heard(now)
        if rates:
            self._sweep_rates(queue, head["rates"], now)
        last, last_arrival = int(head["events"]), int(head["arrivals"])
        new = last == events and last_arrival == arrivals
        taken = Allocation(queue, last - events + 1, last, last_arrival - arrivals + 1, arrivals, new)
        return replace(taken, strict="strict" in head, fair="fair" in head), now

    async def allocate_above(self, queue: str, highest: int, *, events: int, arrivals: int) -> Allocation:
        """Take numbers as `allocate`, arrivals beyond `highest`, to which the counter is raised where it is lower.

        Not by one update with a pipeline: of 720 arrivals that four callers took so at once from SecantusDB 0.7, only
        366 were different ones.
        """
        taken, _ = await self.allocate(queue, events=events, arrivals=arrivals)
        if taken.first_arrival > highest:
            return taken
        # Once a queue, for the next calls find it raised; the numbers just taken are left out.
        await self._connection.run(
            lambda: self._queues.update_one({"_id": queue}, {"$max": {"arrivals": Int64(highest)}})
        )
        if not arrivals:
            return replace(taken, first_arrival=highest + 1)
        above, _ = await self.allocate(queue, events=0, arrivals=arrivals)
        return replace(taken, first_arrival=above.first_arrival)

    async def make(self, queue: str) -> None:
        """Make the queue's document. QuotaExceeded where there are all the queues that may be. Several that are made at
        once may be a few more."""
        if await self.count() >= self._most:
            raise too_many_queues(self._most)
        await self._make(queue)

    async def _newest(self, collection: AsyncCollection[Document], queue: str, field: str) -> int:
        """The highest number of a queue's jobs or changes; 0 where there are none."""
        found = await self._connection.run(
            lambda: collection.find({"queue": queue}, {field: 1}).sort(field, -1).limit(1).to_list(), read_only=True
        )
        return int(found[0][field]) if found else 0

    async def _make(self, queue: str) -> None:
        """Make the queue's document where there is none. Not by what takes numbers: of several that would make it at
        once one does, and the others might not be told which numbers they took. Where the document was lost, jobs and
        changes stand all the same: their numbers are taken."""
        nothing_yet = {
            "epoch": secrets.token_hex(8),
            "events": Int64(await self._newest(self._events, queue, "last")),
            "arrivals": Int64(await self._newest(self._jobs, queue, "arrival")),
            "wakes": Int64(0),
        }
        with contextlib.suppress(DuplicateKeyError):  # somebody else made it
            await self._connection.run(
                lambda: self._queues.update_one({"_id": queue}, {"$setOnInsert": nothing_yet}, upsert=True)
            )

    async def hold(self, queue: str, highest: int) -> bool:
        """See to it that the queue's document is there, and its counter of arrivals at `highest` at least: a job with
        that arrival stands. Whether something had to be mended."""
        stands = await self._connection.run(
            lambda: self._queues.find_one({"_id": queue}, {"arrivals": 1}), read_only=True
        )
        if stands is None:
            await self._make(queue)
        elif int(stands["arrivals"]) >= highest:
            return False
        await self._connection.run(
            lambda: self._queues.update_one({"_id": queue}, {"$max": {"arrivals": Int64(highest)}})
        )
        return True

    async def wake(self, queue: str) -> bool:
        """Jobs became claimable. Whether the queue's document is there. No majority need have it: any other number than
        before is a wake."""
        lightly = self._queues.with_options(write_concern=WriteConcern(w=1))
        done = await self._connection.run(lambda: lightly.update_one({"_id": queue}, {"$inc": {"wakes": Int64(1)}}))
        return done.matched_count > 0

    async def stands(self, queue: str, *, draining: bool = False) -> bool:
        """Whether the queue's document is there; with `draining`, whether it takes no new jobs."""
        which: Document = {"_id": queue, **({"draining": True} if draining else {})}
        found = await self._connection.run(lambda: self._queues.find_one(which, {"_id": 1}), read_only=True)
        return found is not None

    async def held_up(self, queue: str, *, known: Collection[str] = ()) -> bool:
        """Whether the queue is paused now, or has limits or turns, which a claim that did not know of them may not pass
        by; but for what was `known`."""
        words = [name for name in ("paused", "limited", "shared", "fair") if name not in known]
        either = [{name: {"$exists": True}} for name in words]
        found = await self._connection.run(
            lambda: self._queues.find_one({"_id": queue, "$or": either}, {"_id": 1}), read_only=True
        )
        return found is not None

    async def share(self, queue: str, version: int) -> None:
        """The queue has shared limits, by this version."""
        mark = {"$set": {"shared": Int64(version)}}
        either = [{"shared": {"$exists": False}}, {"shared": {"$lt": Int64(version)}}]
        if not await self.stands(queue):
            await self.make(queue)
        await self._connection.run(lambda: self._queues.update_one({"_id": queue, "$or": either}, mark))

    async def unshare(self, queue: str, version: int) -> None:
        """The queue has no shared limits, by this version."""
        older = {"_id": queue, "shared": {"$lt": Int64(version)}}
        await self._connection.run(lambda: self._queues.update_one(older, {"$unset": {"shared": ""}}))

    async def set_start(self, queue: str, time: datetime | None) -> bool:
        """Say when a rate lets jobs begin, None where nothing waits for one; whether that is news."""
        if time is None:
            condition: Document = {"_id": queue, "start": {"$exists": True}}
            update: Document = {"$unset": {"start": ""}}
        else:
            condition, update = {"_id": queue, "start": {"$ne": time}}, {"$set": {"start": time}}
        done = await self._connection.run(lambda: self._queues.update_one(condition, update))
        return done.matched_count > 0

    async def end_pause(self, queue: str, now: datetime) -> None:
        """End a pause whose time is over."""
        over = {"_id": queue, "until": {"$lte": now}}
        gone = {"paused": "", "reason": "", "until": ""}
        await self._connection.run(lambda: self._queues.update_one(over, {"$unset": gone}))

    async def read(self, queue: str) -> tuple[Document | None, datetime | None]:
        """The document, None where the queue was never used; and the store's clock at the reading."""
        ahead = await self._clock.ahead()
        head, now = await self.read_by_server(queue)
        if now is not None:
            now += ahead
            self._clock.heard(now)
        return head, now

    async def read_by_server(self, queue: str) -> tuple[Document | None, datetime | None]:
        """As `read`, with the server's own time, whatever the store's clock was moved to."""
        found = await self._all(self._queues, [{"$match": {"_id": queue}}, READ_NOW])
        return (found[0], found[0].pop("now")) if found else (None, None)

    async def names(self) -> list[str]:
        """All queues, sorted by code point."""
        found = await self._connection.run(lambda: self._queues.find({}, {"_id": 1}).to_list(), read_only=True)
        return sorted(str(head["_id"]) for head in found)

    async def count(self) -> int:
        """How many queues there are, as the server has it at hand."""
        return await self._connection.run(lambda: self._queues.estimated_document_count(), read_only=True)

    async def numbers(self) -> dict[str, int]:
        """Each queue's last number of a change."""
        found = await self._connection.run(lambda: self._queues.find({}, {"events": 1}).to_list(), read_only=True)
        return {str(head["_id"]): int(head["events"]) for head in found}

    async def arrivals(self, queues: Sequence[str]) -> dict[str, int]:
        """These queues' last arrival numbers; queues without a document are left out."""
        found = await self._connection.run(
            lambda: self._queues.find({"_id": {"$in": list(queues)}}, {"arrivals": 1}).to_list(), read_only=True
        )
        return {str(head["_id"]): int(head["arrivals"]) for head in found}

    def _sweep_rates(self, queue: str, rates: Mapping[str, int], now: datetime) -> None:
        """Forget rates that figures look at no more: once a minute, as new ones come."""
        oldest = minute_of(now) - RATE_MINUTES
        old = {f"rates.{name}": "" for name in rates if int(name[1:]) < oldest}
        if old:
            self._connection.later(lambda: self._queues.update_one({"_id": queue}, {"$unset": old}))

    async def ticks(self, queues: Sequence[str]) -> dict[str, tuple[Tick, int]]:
        """Each queue's tick and last number of a change, by one command; queues never used are left out.

        A clock is the first entry of an index, looked up from the queue's document.
        """

        def first(name: str, field: str, condition: Mapping[str, Any], of: str = self._jobs_name) -> Document:
            pipeline = [{"$match": condition}, {"$sort": {field: 1}}, {"$limit": 1}, {"$project": {"_id": 0, field: 1}}]
            return {
                "$lookup": {
                    "from": of,
                    "localField": "_id",
                    "foreignField": "queue",
                    "pipeline": pipeline,
                    "as": name,
                }
            }

        ahead = await self._clock.ahead()
        found = await self._all(
            self._queues,
            [
                {"$match": {"_id": {"$in": list(queues)}}},
                {"$project": {"events": 1, "wakes": 1, "paused": 1, "until": 1, "start": 1}},
                first("due", "due", {"state": int(State.SCHEDULED)}),
                first("waiting", "due", {"state": int(State.WAITING)}),
                first("lease", "lease", {"state": int(State.ACTIVE)}),
                first("expire", "expire", {"expire": {"$exists": True}}),
                first("errand", "errand", {"errand": {"$exists": True}}),
                first("look", "look", {"look": {"$exists": True}}, f"{self._jobs_name}.schedules"),
                READ_NOW,
            ],
        )
        if found:
            self._clock.heard(found[0]["now"] + ahead)

        def time(head: Document, field: str) -> datetime | None:
            return head[field][0][field].astimezone(UTC) if head[field] else None

        return {
            head["_id"]: (
                Tick(
                    int(head["wakes"]),
                    time(head, "due"),
                    time(head, "lease"),
                    time(head, "expire"),
                    bool(head["waiting"]),
                    int(head["events"]),
                    time(head, "look"),
                    # What a rate lets begin does not, while it is paused.
                    of_itself.astimezone(UTC)
                    if (of_itself := head.get("until" if "paused" in head else "start"))
                    else None,
                    time(head, "errand"),
                ),
                int(head["events"]),
            )
            for head in found
        }

    async def _all(self, collection: AsyncCollection[Document], pipeline: Sequence[Document]) -> list[Document]:
        async def ask() -> list[Document]:
            return await (await collection.aggregate(pipeline)).to_list()

        return await self._connection.run(ask, read_only=True)
