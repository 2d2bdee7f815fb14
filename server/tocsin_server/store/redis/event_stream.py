"""A queue's stream of changes: cursors, and reading on from one.

A stream entry holds all changes of one script call: `c`, how many changes came before it in the queue's life, and `b`,
the changes, in runs of jobs that stand alike (lua/lib/events.lua). An entry's id is the number of changes up to its
end. That a cursor counts the changes it has seen shows where entries were trimmed away, and where the store went back.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.job import View
from tocsin_server.domain.times import to_ms
from tocsin_server.store.cursors import Cursor, read_cursor
from tocsin_server.store.redis.connection.cluster import Cluster
from tocsin_server.store.redis.connection.connection import MAX_BLOCK, RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.records import extras_of, has_extras, job_of, own_end, with_extras
from tocsin_server.store.redis.scripts import Scripts
from tocsin_server.store.redis.stream_news import StreamNews

_RUN = struct.Struct(">BHH")  # deleted, how many, length of their meta
#: An entry holds up to some hundred changes; few entries a read keep an answer small.
_ENTRIES_A_READ = 20
#: Who waits looks again after so many seconds: whether the store has gone back, which no news tell of.
_LOOK_AGAIN = 2.0
#: In a cluster a queue that was never used has no blocking read of its own: it is looked for so often, in seconds.
_LOOK_FOR = 0.5


class EventStream:
    """Reads the streams of all queues."""

    def __init__(self, connection: RedisConnection, scripts: Scripts, keys: Keys) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._news = StreamNews(self._next_entries, self._slot_of)

    async def now(self, queue: str) -> str:
        """The cursor of now."""
        return str(await self._now(queue))

    async def close(self) -> None:
        """End all waiting."""
        await self._news.close()

    async def read(self, queue: str, after: str, wait: timedelta, limit: int) -> EventBatch:
        """Changes after a cursor, at most about `limit`; waits up to `wait` for the first."""
        cursor = read_cursor(after)
        until = time.monotonic() + wait.total_seconds()
        while True:
            batch, cursor = await self._read_now(queue, cursor, limit)
            left = until - time.monotonic()
            if batch is not None:
                return batch
            if left <= 0:
                return EventBatch((), str(cursor))
            await self._until_news(queue, cursor, left)

    async def _read_now(self, queue: str, cursor: Cursor, limit: int) -> tuple[EventBatch | None, Cursor]:
        """What is there, None where nothing is yet; and the cursor, which has learned the queue's epoch."""
        epoch, changes = await self._head(queue)
        if not cursor.leads_on("redis", epoch, changes):
            return await self._gap(queue), cursor
        cursor = replace(cursor, epoch=epoch)
        entries = await self._entries(queue, cursor.entry)
        if not entries and cursor.seen == changes:
            return None, cursor
        # What was counted before the entries were read is among them, and the first of them begins where the cursor is,
        # or before.
        if not entries or int(entries[0][1][1]) > cursor.seen:
            return await self._gap(queue), cursor
        # A queue's first change comes with its epoch.
        epoch = epoch or (await self._head(queue))[0]
        events, cursor = await self._events_of(queue, entries, replace(cursor, epoch=epoch), limit)
        return EventBatch(tuple(events), str(cursor)), cursor

    async def _events_of(
        self, queue: str, entries: Sequence[tuple[bytes, Sequence[Any]]], cursor: Cursor, limit: int
    ) -> tuple[list[Event], Cursor]:
        events: list[Event] = []
        flagged: list[int] = []
        for entry, fields in entries:
            before, blob = int(fields[1]), fields[3]
            for deleted, record, end in _changes(blob):
                before += 1
                if before <= cursor.seen:
                    continue
                cursor = Cursor(cursor.epoch, before, entry.decode() if end == len(blob) else cursor.entry)
                if has_extras(record) and not deleted:
                    flagged.append(len(events))
                events.append(Event(job_of(queue, record, View.BASIC), deleted, str(cursor)))
                if len(events) >= limit:
                    break
            if len(events) >= limit:
                break
        await self._add_extras(queue, events, flagged)
        return events, cursor

    async def _now(self, queue: str) -> Cursor:
        epoch, seen, entry = await self._scripts.run("cursor", self._keys.root(queue))
        return Cursor(epoch.decode(), seen, entry.decode())

    async def _gap(self, queue: str) -> EventBatch:
        return EventBatch((), await self.now(queue), gap=True)

    async def _head(self, queue: str) -> tuple[str, int]:
        """The queue's epoch, and how many changes it has made in all."""
        found = await self._connection.execute("HMGET", self._keys.hash(queue), "epoch", "v", read_only=True)
        return (found[0] or b"").decode(), int(found[1] or 0)

    async def _entries(self, queue: str, after: str) -> Sequence[tuple[bytes, Sequence[Any]]]:
        stream = self._keys.events(queue)
        found = await self._connection.run(
            lambda: self._connection.client.execute_command(
                "XREAD", "COUNT", _ENTRIES_A_READ, "STREAMS", stream, after
            ),
            read_only=True,
            key=stream,
        )
        return _streams_of(found).get(stream.encode(), ())

    async def _until_news(self, queue: str, cursor: Cursor, seconds: float) -> None:
        """Wait until an entry may have come, for so long at most."""
        if not cursor.epoch and self._connection.cluster:
            await asyncio.sleep(min(seconds, _LOOK_FOR))
        else:
            await self._news.wait(queue, cursor.entry, min(seconds, _LOOK_AGAIN))

    async def _next_entries(self, after: Mapping[str, str]) -> Mapping[str, str]:
        """The first new entry of each of these queues, as soon as there is one in any; none after a while."""
        names = {self._keys.events(queue): queue for queue in after}
        with self._connection.translated(read_only=True):
            found = await self._connection.blocking_client.execute_command(
                "XREAD", "COUNT", 1, "BLOCK", to_ms(MAX_BLOCK), "STREAMS", *names, *after.values()
            )
        return {names[name.decode()]: entries[0][0].decode() for name, entries in _streams_of(found).items()}

    def _slot_of(self, queue: str) -> int:
        client = self._connection.blocking_client
        return client.keyslot(self._keys.events(queue)) if isinstance(client, Cluster) else 0

    async def _add_extras(self, queue: str, events: list[Event], flagged: Sequence[int]) -> None:
        if not flagged:
            return

        def ask() -> Any:
            pipe = self._connection.client.pipeline(transaction=False)
            for at in flagged:
                pipe.execute_command("HGETALL", self._keys.extras(queue, events[at].job.arrival))
            return pipe.execute()

        answers = await self._connection.run(ask, read_only=True)
        for at, answer in zip(flagged, answers, strict=True):
            extras: Mapping[bytes, bytes] = answer if isinstance(answer, Mapping) else extras_of(answer)
            events[at] = replace(events[at], job=with_extras(events[at].job, extras, View.BASIC))


def _changes(blob: bytes) -> Iterator[tuple[bool, bytes, int]]:
    """Each change: whether the job was deleted, the job as an answer without payload, where the next change begins."""
    at = 0
    while at < len(blob):
        deleted, count, length = _RUN.unpack_from(blob, at)
        at += _RUN.size
        meta = blob[at : at + length]
        at += length
        for _ in range(count):
            arrival, own_at = blob[at : at + 6], at + 6
            at = own_end(blob, own_at, meta)
            yield bool(deleted), arrival + meta + blob[own_at:at], at


def _streams_of(answer: Any) -> Mapping[bytes, Sequence[tuple[bytes, Sequence[Any]]]]:
    """Each stream's entries: (id, [b"c", before, b"b", changes])."""
    if not answer:
        return {}
    streams = answer.items() if isinstance(answer, Mapping) else answer
    return {name: [(entry, _fields_of(fields)) for entry, fields in entries] for name, entries in streams}


def _fields_of(fields: Any) -> Sequence[Any]:
    return [part for pair in fields.items() for part in pair] if isinstance(fields, Mapping) else fields
