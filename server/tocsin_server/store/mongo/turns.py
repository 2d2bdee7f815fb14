"""Whose turn it is where the keys of a queue take turns: a document of each key that may have jobs that wait.

_id          "<queue>/<limit_key>"
queue, of    `of` is the key; absent of those without one, who have a turn together
types        of jobs that may wait
tag, given   the tag of its next turn; of equal ones the one goes first that was given first
stamp        grows whenever a job of the key may have come to wait

Turns are start-time fair queueing, as in Redis's lib/turns.lua: a turn moves its key's tag on by a ROUND / weight, and
the lowest tag goes first. The queue's document of places (places.py) has `turn`, the tag of the last turn, `turns`, how
many tags were given, and `tags`, those that the last claim gave: {key, tag, given}. By the write of that document a
claim has its turns, and whoever claims next writes `tags` out here first. So a claim that was outrun has given no turn,
and one whose server died after it has given all.

A job that comes to wait bears `unfiled`, the number of that change (commit.py): claims read those by an index, see to
it that their keys have documents, and take the mark off. A key of which a claim finds no jobs is taken away, if its
stamp is still what it was before the claim looked: a job that came since is unfiled, or was filed by a new stamp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson.int64 import Int64
from pymongo import DeleteOne, UpdateMany, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from tocsin_server.domain.states import State
from tocsin_server.store.mongo.ageing import first_of_levels, rank
from tocsin_server.store.mongo.clock import READ_NOW, ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import UNREAD, Document, key
from tocsin_server.store.mongo.errors import DUPLICATE
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.key_turns import BEST_FIRST, FullKeys, KeyTurn, new_keys
from tocsin_server.store.mongo.places import LimitPlaces, key_in
from tocsin_server.store.mongo.transitions import KEEPS, Standing

#: Unfiled jobs that a claim files at most; of more it claims again.
FILED = 200
#: Keys that are looked at to say whose turns come first.
EXPLAINED = 200
#: What was written without a mark, for its writer did not know yet that keys take turns, stands after so long.
_UNDER_WAY = timedelta(seconds=10)
_BATCH = 500


class Turns:
    """Of all queues."""

    def __init__(
        self, connection: MongoConnection, collection: str, clock: ServerClock, jobs: Jobs, places: LimitPlaces
    ) -> None:
        self._places = places
        self._connection = connection
        self._clock = clock
        self._jobs = jobs
        self._jobs_name = collection
        self._turns: AsyncCollection[Document] = connection.database[f"{collection}.turns"]
        self._queues: AsyncCollection[Document] = connection.database[f"{collection}.queues"]
        self._written: dict[str, Sequence[Document]] = {}  # queue -> the tags that this process wrote out last

    async def begin(self, queue: str, places: Mapping[str, Any], now: datetime) -> bool:
        """Give all that waits its turn, where that was not done since keys take turns; whether it was done now. It is
        done once more a little later, for writes that were under way."""
        since = places.get("turned")
        if since is not None and (places.get("sure") or abs(now - since) < _UNDER_WAY):
            return False
        await self.take_in(queue, places)

        def note(document: Document) -> bool:
            if document.get("turned") == since:
                document.update(turned=since or now, sure=since is not None)
            return True

        await self._places.change(queue, note)
        return True

    def keep(self, queues: Collection[str]) -> None:
        """These queues are there, and no other."""
        self._written = {queue: tags for queue, tags in self._written.items() if queue in queues}

    async def write_out(self, queue: str, places: Mapping[str, Any]) -> None:
        """Write the last claim's tags to their keys. A tag that was given later stays."""
        tags = places.get("tags", ())
        if not tags or self._written.get(queue) == tags:
            return
        writes = [
            UpdateOne(
                {"_id": key(queue, one["key"]), "given": {"$lt": one["given"]}},
                {"$set": {"tag": one["tag"], "given": one["given"]}},
            )
            for one in tags
        ]
        await self._connection.run(lambda: self._turns.bulk_write(writes, ordered=False))
        self._written[queue] = tags

    async def unfiled(self, queue: str) -> list[Standing]:
        """Jobs that have come to wait and that no claim has seen, in the order in which they came."""
        return await self._jobs.find(
            {"queue": queue, "unfiled": {"$exists": True}}, sort=[("unfiled", 1), ("arrival", 1)], limit=FILED
        )

    async def file(self, queue: str, places: Mapping[str, Any], jobs: Sequence[Standing]) -> None:
        """See to it that the keys of these jobs, which came to wait, have their documents."""
        if not jobs:
            return
        await self._add(queue, new_keys(places, [job.document for job in jobs]))
        # What came to wait once more since bears another number.
        numbers: dict[int, list[str]] = {}
        for job in jobs:
            numbers.setdefault(job.document["unfiled"], []).append(job.document["_id"])
        writes = [
            UpdateMany({"_id": {"$in": ids}, "unfiled": number}, {"$unset": {"unfiled": ""}})
            for number, ids in numbers.items()
        ]
        await self._connection.run(lambda: self._jobs.collection.bulk_write(writes, ordered=False))

    async def take_in(self, queue: str, places: Mapping[str, Any]) -> None:
        """Give all that waits its turn: the queue's keys take turns from now on."""
        pipeline: list[Document] = [
            {"$match": {"queue": queue, "state": int(State.WAITING)}},
            {
                "$group": {
                    "_id": {"key": {"$ifNull": ["$conditions.limit_key", ""]}, "type": "$type"},
                    "arrival": {"$min": "$arrival"},
                    "weight": {"$max": "$conditions.weight"},
                }
            },
            {"$sort": {"arrival": 1}},
        ]

        async def ask() -> list[Document]:
            return await (await self._jobs.collection.aggregate(pipeline, allowDiskUse=True)).to_list()

        found = [
            {
                "type": one["_id"]["type"],
                "conditions": {"limit_key": one["_id"]["key"], "weight": one["weight"] or 1},
            }
            for one in await self._connection.run(ask, read_only=True)
        ]
        keys = new_keys(places, found)
        for start in range(0, len(keys), _BATCH):
            await self._add(queue, keys[start : start + _BATCH])

    async def first(
        self, queue: str, types: Sequence[str], full: FullKeys, number: int, depth: int
    ) -> tuple[list[KeyTurn], bool]:
        """The keys whose turn is next, with the best of their jobs of these types, `depth` of each at most; and
        whether these are all keys. Full keys are left out."""
        condition: Document = {"queue": queue, "types": {"$in": list(types)}}
        wanted: list[Document] = [{"of": {"$nin": list(keys)}} for type_, keys in full.items() if not type_]
        for type_, keys in full.items():
            others = [name for name in types if name != type_]
            if type_ in types:
                wanted.append({"$or": [{"of": {"$nin": list(keys)}}, {"types": {"$in": others}}]})
        if wanted:
            condition["$and"] = wanted
        found = await self._read(condition, queue, types, full, number, depth)
        return found, len(found) < number

    async def of_keys(
        self, queue: str, keys: Iterable[str], types: Sequence[str], full: FullKeys, depth: int
    ) -> list[KeyTurn]:
        """The same of these keys."""
        ids = [key(queue, one) for one in keys]
        return await self._read({"_id": {"$in": ids}}, queue, types, full, len(ids), depth) if ids else []

    async def read_by_age(
        self, queue: str, keys: Iterable[KeyTurn], types: Sequence[str], full: FullKeys, depth: int, step: int
    ) -> None:
        """Give keys that were read those of their jobs that go first as jobs gain priority (ageing.py)."""

        async def ask(condition: Document, most: int) -> list[Standing]:
            return await self._jobs.find(condition, sort=list(BEST_FIRST.items()), limit=most)

        async def read(one: KeyTurn) -> None:
            found: Iterable[Sequence[Standing]] = [one.jobs]
            if not one.whole:
                waiting = {"queue": queue, "state": int(State.WAITING), "conditions.limit_key": one.key or None}
                open_ = [name for name in types if one.key not in full.get(name, ())]
                found = await asyncio.gather(
                    *(
                        first_of_levels(ask, lambda job: job.document, {**waiting, "type": name}, depth, step)
                        for name in open_
                    )
                )
            jobs = (job for row in found for job in row)
            one.jobs = sorted(jobs, key=lambda job: rank(job.document, step))[:depth]

        await asyncio.gather(*map(read, keys))

    async def keepers(self, queue: str, types: Sequence[str]) -> list[Standing]:
        """Jobs that wait for their retry, and have the place of their key: their keys are full but for them."""
        condition = {"queue": queue, "state": int(State.WAITING), "placed": KEEPS, "type": {"$in": list(types)}}
        return await self._jobs.find(condition, sort=list(BEST_FIRST.items()), limit=FILED)

    async def drop(self, queue: str, found: Iterable[tuple[KeyTurn, Sequence[str]]]) -> None:
        """Of these keys no jobs of these types wait: they go, where none came since the key was read."""
        writes: list[UpdateOne | DeleteOne] = []
        for one, types in found:
            stands = {"_id": key(queue, one.key), "stamp": one.stamp}
            if one.types <= set(types):
                writes.append(DeleteOne(stands))
            else:
                writes.append(UpdateOne(stands, {"$pull": {"types": {"$in": list(types)}}}))
        if writes:
            await self._connection.run(lambda: self._turns.bulk_write(writes, ordered=False))

    async def before(
        self, queue: str, places: Mapping[str, Any], type_: str, keys: Collection[str], full: FullKeys
    ) -> dict[str, int]:
        """How many keys' turns with jobs of this type come before each of these keys', up to `EXPLAINED`; of those that
        have one. As the next claim will find it: that has not filed what came since the last one."""
        (found, _), unfiled = await asyncio.gather(self.first(queue, [type_], full, EXPLAINED, 1), self.unfiled(queue))
        came = [job.document for job in unfiled if job.document["type"] == type_]
        new = {one["key"]: one for one in new_keys(places, came)}
        known = {one.key: one for one in found}
        missing = {*keys, *new} - known.keys()
        known |= {one.key: one for one in await self.of_keys(queue, missing, [type_], full, 1)}
        ranks = {one.key: one.rank for one in known.values() if one.jobs or one.key in keys}
        for one in places.get("tags", ()):
            if one["key"] in ranks:
                ranks[one["key"]] = max(ranks[one["key"]], (int(one["tag"]), int(one["given"]), one["key"]))
        for name, key_ in new.items():
            ranks.setdefault(name, (key_["tag"], key_["given"], name))
        return {key_: sum(rank < ranks[key_] for rank in ranks.values()) for key_ in keys if key_ in ranks}

    async def check(self, jobs: Sequence[Mapping[str, Any]]) -> int:
        """Let the keys of these jobs, which wait and were filed, have their turn, where somebody took their documents
        away, or wrote a job long after it was known that its key takes turns. How many keys there were."""
        names = {job["queue"] for job in jobs}
        which = {"_id": {"$in": sorted(names)}, "fair": True}
        fair = (
            {
                one["_id"]
                for one in await self._connection.run(
                    lambda: self._queues.find(which, {"_id": 1}).to_list(), read_only=True
                )
            }
            if names
            else set()
        )
        lost = await self._without_turn([job for job in jobs if job["queue"] in fair])
        # Those that waited all the while: the key of one that has begun may have gone since.
        still = await self._jobs.by_id([job["_id"] for job in lost], {"writes": 1}) if lost else {}
        lost = [job for job in lost if still.get(job["_id"], {}).get("writes") == job["writes"]]
        mended = 0
        for queue in sorted({job["queue"] for job in lost}):
            keys = new_keys(await self._places.read(queue) or {}, [job for job in lost if job["queue"] == queue])
            await self._add(queue, keys)
            mended += len(keys)
        return mended

    async def _without_turn(self, jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if not jobs:
            return []
        ids = sorted({key(job["queue"], key_in(job)) for job in jobs})
        found = await self._connection.run(
            lambda: self._turns.find({"_id": {"$in": ids}}, {"types": 1}).to_list(), read_only=True
        )
        types = {one["_id"]: one["types"] for one in found}
        return [job for job in jobs if job["type"] not in types.get(key(job["queue"], key_in(job)), ())]

    async def forget(self, queue: str) -> None:
        """Its keys take no turns any more."""
        self._written.pop(queue, None)
        await self._connection.run(lambda: self._turns.delete_many({"queue": queue}))

    async def _read(
        self, condition: Document, queue: str, types: Sequence[str], full: FullKeys, number: int, depth: int
    ) -> list[KeyTurn]:
        waiting: Document = {"queue": queue, "state": int(State.WAITING), "type": {"$in": list(types)}}
        if nor := [
            {"type": type_, "conditions.limit_key": {"$in": list(keys)}} for type_, keys in full.items() if type_
        ]:
            waiting["$nor"] = nor
        pipeline: list[Document] = [
            {"$match": condition},
            {"$sort": {"tag": 1, "given": 1, "_id": 1}},
            {"$limit": number},
            {
                "$lookup": {
                    "from": self._jobs_name,
                    "localField": "of",
                    "foreignField": "conditions.limit_key",
                    "pipeline": [
                        {"$match": waiting},
                        {"$sort": BEST_FIRST},
                        {"$limit": depth},
                        {"$project": dict.fromkeys(UNREAD, 0)},
                    ],
                    "as": "jobs",
                }
            },
            READ_NOW,
        ]
        ahead = await self._clock.ahead()

        async def ask() -> list[Document]:
            return await (await self._turns.aggregate(pipeline)).to_list()

        return [
            KeyTurn(
                one.get("of", ""),
                frozenset(one["types"]),
                int(one["tag"]),
                int(one["given"]),
                int(one["stamp"]),
                [Standing(document, one["now"] + ahead) for document in one["jobs"]],
                len(one["jobs"]) < depth,
            )
            for one in await self._connection.run(ask, read_only=True)
        ]

    async def _add(self, queue: str, keys: Sequence[Document]) -> None:
        """Add documents of keys, or let those that stand know that a job came."""
        writes = []
        for one in keys:
            new = {"queue": queue, "tag": Int64(one["tag"]), "given": Int64(one["given"])}
            if one["key"]:
                new["of"] = one["key"]
            update = {"$setOnInsert": new, "$addToSet": {"types": {"$each": one["types"]}}, "$inc": {"stamp": Int64(1)}}
            writes.append(UpdateOne({"_id": key(queue, one["key"])}, update, upsert=True))

        async def write(left: Sequence[UpdateOne]) -> Sequence[UpdateOne]:
            try:
                await self._connection.run(lambda: self._turns.bulk_write(left, ordered=False))
            except BulkWriteError as error:
                failed = error.details["writeErrors"]
                if any(one["code"] != DUPLICATE for one in failed):
                    raise
                return [left[one["index"]] for one in failed]  # somebody made it just now
            return ()

        left: Sequence[UpdateOne] = writes
        while left:
            left = await write(left)
