"""A queue's stream of changes: cursors, and reading on from one.

A stream entry holds all changes of one script call: `c`, how many changes came before it in the queue's life, and `b`,
the changes: B deleted, I6 arrival, I4 length, record without payload. A cursor is "<epoch>.<entry>.<changes seen>":
the last entry that was read to its end, and how many changes were seen in all, so that it can stand inside an entry
and a hole (entries trimmed away) is noticed by counting. Without an epoch it was made before the queue's first use.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.job import View
from tocsin_server.store.redis.connection import MAX_BLOCK, RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.records import extras_of, job_of, to_ms, with_extras
from tocsin_server.store.redis.scripts import Scripts

_CURSOR = re.compile(r"([0-9a-f]{0,32})\.(\d{1,15}-\d{1,15})\.(\d{1,15})")
_CHANGE = struct.Struct(">B6sI")
_HAS_EXTRAS = 2  # as in lua/lib/job.lua
#: An entry holds up to some hundred changes; few entries a read keep an answer small.
_ENTRIES_A_READ = 20


@dataclass(frozen=True, slots=True)
class _Cursor:
    epoch: str
    entry: str
    seen: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.entry}.{self.seen}"


def _read_cursor(text: str) -> _Cursor:
    if not (found := _CURSOR.fullmatch(text)):
        raise InvalidFields(
            [Violation("cursor", "is not a cursor of this server; give one from a WatchJobs answer, or none")]
        )
    return _Cursor(found[1], found[2], int(found[3]))


class EventStream:
    """Reads the streams of all queues."""

    def __init__(self, connection: RedisConnection, scripts: Scripts, keys: Keys) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys

    async def now(self, queue: str) -> str:
        """The cursor of now."""
        return str(await self._now(queue))

    async def read(self, queue: str, after: str, wait: timedelta, limit: int) -> EventBatch:
        """Changes after a cursor, at most about `limit`; waits up to `wait` for the first."""
        cursor = _read_cursor(after)
        epoch = await self._epoch(queue)
        if cursor.epoch != epoch and (cursor.epoch or cursor.seen):
            return EventBatch((), await self.now(queue), gap=True)
        cursor = replace(cursor, epoch=epoch)
        entries = await self._entries(queue, cursor.entry, wait)
        if not entries:
            return EventBatch((), str(cursor))
        # A queue's first change comes with its epoch.
        epoch = epoch or await self._epoch(queue)
        if int(entries[0][1][1]) > cursor.seen:
            return EventBatch((), await self.now(queue), gap=True)
        events: list[Event] = []
        flagged: list[int] = []
        for entry, fields in entries:
            before, blob, at = int(fields[1]), fields[3], 0
            while at < len(blob) and len(events) < limit:
                deleted, arrival, length = _CHANGE.unpack_from(blob, at)
                record = blob[at + _CHANGE.size : at + _CHANGE.size + length]
                at += _CHANGE.size + length
                before += 1
                if before <= cursor.seen:
                    continue
                cursor = _Cursor(epoch, entry.decode() if at == len(blob) else cursor.entry, before)
                if record[1] & _HAS_EXTRAS and not deleted:
                    flagged.append(len(events))
                job = job_of(queue, (arrival, record, None), View.BASIC)
                events.append(Event(job, bool(deleted), str(cursor)))
            if len(events) >= limit:
                break
        await self._add_extras(queue, events, flagged)
        return EventBatch(tuple(events), str(cursor))

    async def _now(self, queue: str) -> _Cursor:
        epoch, seen, entry = await self._scripts.run("cursor", self._keys.root(queue))
        return _Cursor(epoch.decode(), entry.decode(), seen)

    async def _epoch(self, queue: str) -> str:
        found = await self._connection.execute("HGET", self._keys.hash(queue), "epoch", read_only=True)
        return (found or b"").decode()

    async def _entries(self, queue: str, after: str, wait: timedelta) -> Sequence[tuple[bytes, Sequence[Any]]]:
        # A wait of 0 would be "for ever" to BLOCK.
        block = max(1, to_ms(min(wait, MAX_BLOCK)))
        with self._connection.translated(read_only=True):
            found = await self._connection.blocking_client.execute_command(
                "XREAD", "COUNT", _ENTRIES_A_READ, "BLOCK", block, "STREAMS", self._keys.events(queue), after
            )
        return _entries_of(found)

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


def _entries_of(answer: Any) -> Sequence[tuple[bytes, Sequence[Any]]]:
    """The entries of the one stream that was read: (id, [b"c", before, b"b", changes])."""
    if not answer:
        return ()
    [(_, entries)] = answer.items() if isinstance(answer, Mapping) else answer
    return [
        (entry, fields if not isinstance(fields, Mapping) else [part for pair in fields.items() for part in pair])
        for entry, fields in entries
    ]
