"""What is set for queues, apart from their own documents, which each write of a job writes. The pause stands in those:
claims look at it.

_id                            the queue's name
epoch                          that of the queue's document; what was set in another life of the queue is of no effect
defaults, types                what jobs get that do not say otherwise
completed_max, failed_max      how many ended jobs are kept
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from tocsin_server.domain.queue_limits import OnFull
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.mongo.clock import NOW, ServerClock
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, text, to_ms
from tocsin_server.store.mongo.event_log import EventLog, Flags
from tocsin_server.store.mongo.jobs import unknown_after
from tocsin_server.store.mongo.queue_documents import settings_document, settings_of
from tocsin_server.store.mongo.queues import Allocation, QueueDocuments

_NOTHING_SET = settings_document(QueueSettings())


class StoredSettings:
    """Of all queues."""

    def __init__(
        self,
        connection: MongoConnection,
        collection: str,
        clock: ServerClock,
        queues: QueueDocuments,
        log: EventLog,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._name = f"{collection}.settings"
        self._settings: AsyncCollection[Document] = connection.database[self._name]
        self._heads: AsyncCollection[Document] = connection.database[f"{collection}.queues"]
        self._queues = queues
        self._log = log

    async def read(self, queues: Sequence[str]) -> list[QueueSettings]:
        """As JobStore.settings."""
        heads = await self._read(queues)
        return [settings_of(heads.get(queue, {})) for queue in queues]

    async def put(self, queue: str, settings: QueueSettings, *, paused: bool) -> None:
        """As JobStore.put_settings; where they stand so, nothing is written."""
        said, reason = settings_document(settings), text(settings.pause_reason)
        head = (await self._read([queue])).get(queue)
        until = settings.pause_until if paused else None
        shared = head is not None and "shared" in head
        if head is not None and head["said"] == said:
            stands = (
                "paused" in head,
                *(head.get(name, False) for name in _WORDS),
                head.get("reason", ""),
                head.get("until"),
            )
            if stands == (paused, *_words_of(settings).values(), reason if paused else "", until):
                return
        words = _words_of(settings)
        taken, resumed, epoch = await self._pause(queue, reason if paused else None, until, words, shared=shared)
        # After the number was taken: who repeats a call that ended between the two finds that something is to be done.
        with unknown_after(True):
            await self._connection.run(
                lambda: self._settings.replace_one({"_id": queue}, {"epoch": epoch, **said}, upsert=True)
            )
        await self._log.append(taken, (), Flags(claimable=resumed, settings=True))

    async def some(self, head: Document) -> bool:
        """Whether anything is set for the queue of this document."""
        said = (await self._read([head["_id"]])).get(head["_id"])
        return said is not None and said["said"] != _NOTHING_SET

    async def _read(self, queues: Sequence[str]) -> dict[str, Document]:
        """Pause and settings by queue, of those that are there; `said` is what is set."""
        pipeline: list[Document] = [
            {"$match": {"_id": {"$in": list(queues)}}},
            {"$project": dict.fromkeys(("epoch", "paused", "reason", "until", "shared", *_WORDS), 1)},
            {"$lookup": {"from": self._name, "localField": "_id", "foreignField": "_id", "as": "said"}},
        ]

        async def ask() -> list[Document]:
            return await (await self._heads.aggregate(pipeline)).to_list()

        heads: dict[str, Document] = {}
        for head in await self._connection.run(ask, read_only=True):
            said: Any = next((one for one in head["said"] if one["epoch"] == head["epoch"]), None)
            if said is None:
                said = _NOTHING_SET
            else:
                said = {name: value for name, value in said.items() if name not in ("_id", "epoch")}
            heads[head["_id"]] = {**head, "said": said}
        return heads

    async def _pause(
        self,
        queue: str,
        reason: str | None,
        until: datetime | None,
        words: Mapping[str, bool | Int64],
        *,
        shared: bool,
    ) -> tuple[Allocation, bool, str]:
        """Pause the queue, or with None resume it, and put `words` into its document, all under one number. Whether it
        was resumed, and the queue's epoch."""
        update: Document = {
            "paused": "$$REMOVE" if reason is None else {"$ifNull": ["$paused", await self._clock.value()]},
            "reason": "$$REMOVE" if reason is None else {"$literal": reason},
            "until": "$$REMOVE" if until is None else until,
            **{name: {"$literal": said} if said else "$$REMOVE" for name, said in words.items()},
            **({} if words["limited"] or shared else {"start": "$$REMOVE"}),
            "events": {"$add": ["$events", Int64(1)]},
            "taken": NOW,
        }
        shape = {"events": 1, "epoch": 1, "paused": 1}

        async def put() -> Document | None:
            return await self._connection.run(
                lambda: self._heads.find_one_and_update(
                    {"_id": queue}, [{"$set": update}], shape, return_document=ReturnDocument.BEFORE
                )
            )

        while (before := await put()) is None:
            await self._queues.make(queue)
        last = int(before["events"]) + 1
        taken = Allocation(queue, last, last, 1, 0, new=last == 1)
        return taken, reason is None and "paused" in before, before["epoch"]


def _words_of(settings: QueueSettings) -> dict[str, bool | Int64]:
    """What of the settings whoever writes the queue's jobs, or claims them, is told with their numbers."""
    return {
        "limited": bool(settings.limits),
        "strict": any(limit.on_full is not OnFull.WAIT for limit in settings.limits),
        "fair": settings.fair_turns,
        "draining": settings.draining,
        "ageing": False if settings.priority_ageing is None else to_ms(settings.priority_ageing),
    }


_WORDS = tuple(_words_of(QueueSettings()))
