"""Schedules in Redis: of each queue a hash, and two rows, one by time and one by id."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from tocsin_server.domain.errors import QueueDraining, TocsinError
from tocsin_server.domain.job import View
from tocsin_server.domain.quotas import Quotas, too_many_jobs, too_many_types
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.batching import part_by_part, parts
from tocsin_server.store.redis import records
from tocsin_server.store.redis.arguments import Arguments
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.queue_names import QueueNames
from tocsin_server.store.redis.scripts import Scripts
from tocsin_server.store.schedule_records import schedule_bytes, schedule_of
from tocsin_server.store.schedule_store import DueSchedules, ScheduleStore, ScheduleWrite

_STAMP = 16  # characters
_CALL_JOBS, _CALL_BYTES = 50, 1 << 20  # what one script call may carry: some 3 ms of Redis; a schedule counts as a job


class RedisSchedules(ScheduleStore):
    """All queues' schedules."""

    def __init__(
        self, connection: RedisConnection, scripts: Scripts, keys: Keys, names: QueueNames, quotas: Quotas
    ) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._names = names
        self._quotas = quotas

    async def put_schedules(self, queue: str, writes: Sequence[ScheduleWrite]) -> list[bool | TocsinError]:
        await self._names.admit(queue)
        arguments = _arguments(writes)

        async def send(part: Sequence[Arguments]) -> list[bool | TocsinError]:
            flat = [argument for one in part for argument in one]
            new, said = await self._scripts.run("put_schedules", self._keys.root(queue), secrets.token_hex(8), *flat)
            if new:
                await self._names.made(queue)
            return [self._answer(queue, word) for word in said]

        sizes = [sum(map(len, one)) for one in arguments]
        weights = [max(1, len(write.drafts)) for write in writes]
        return await part_by_part(arguments, parts(sizes, _CALL_JOBS, _CALL_BYTES, weights), send)

    def _answer(self, queue: str, word: bytes) -> bool | TocsinError:
        if word == b"draining":
            return QueueDraining(queue)
        if word == b"types":
            return too_many_types(queue)
        if word == b"jobs":
            return too_many_jobs(queue, self._quotas.jobs_of(queue) or 0)
        return word == b"OK"

    async def read_schedules(self, queue: str, schedule_ids: Sequence[str]) -> list[Schedule | None]:
        if not schedule_ids:
            return []
        found = await self._connection.execute("HMGET", self._keys.schedules(queue), *schedule_ids, read_only=True)
        return [
            None if stored is None else _schedule(queue, schedule_id, stored)
            for schedule_id, stored in zip(schedule_ids, found, strict=True)
        ]

    async def schedules(
        self, queue: str, *, after: str = "", limit: int = 100, view: View = View.FULL
    ) -> list[Schedule]:
        schedules: list[Schedule] = []
        more = 1
        while more:
            left, payloads = limit - len(schedules), int(view is View.FULL)
            more, found = await self._scripts.run("schedules", self._keys.root(queue), after, left, payloads)
            schedules += _all(queue, found)
            if more:
                after = schedules[-1].spec.schedule_id
        return schedules

    async def due_schedules(self, queue: str, *, skip: int = 0, limit: int = 500) -> DueSchedules:
        now_ms, more, found = await self._scripts.run("due_schedules", self._keys.root(queue), skip, limit)
        return DueSchedules(to_time(now_ms), _all(queue, found), more=bool(more))

    async def next_look(self, queue: str) -> datetime | None:
        look_ms = await self._scripts.run("next_look", self._keys.root(queue))
        return None if look_ms is None else to_time(int(look_ms))

    async def delete_schedule(self, queue: str, schedule_id: str) -> bool:
        return bool(await self._scripts.run("delete_schedule", self._keys.root(queue), schedule_id))


def _arguments(writes: Sequence[ScheduleWrite]) -> list[Arguments]:
    """Of each schedule, with its jobs, what put_schedules.lua reads."""
    jobs = iter(records.draft_arguments([draft for write in writes for draft in write.drafts]))
    stamps = secrets.token_hex(_STAMP // 2 * len(writes))
    arguments: list[Arguments] = []
    for at, write in enumerate(writes):
        schedule, count = write.schedule, len(write.drafts)
        value = stamps[at * _STAMP : (at + 1) * _STAMP].encode() + schedule_bytes(schedule)
        look = b"" if schedule.look_time is None else str(time_to_ms(schedule.look_time)).encode()
        head = (schedule.spec.schedule_id.encode(), schedule.stamp.encode(), value, look, str(count).encode())
        arguments.append((*head, *(part for job in islice(jobs, count) for part in job)))
    return arguments


def _all(queue: str, found: Sequence[Sequence[bytes]]) -> list[Schedule]:
    return [_schedule(queue, schedule_id.decode(), stored) for schedule_id, stored in found]


def _schedule(queue: str, schedule_id: str, stored: bytes) -> Schedule:
    return schedule_of(queue, schedule_id, stored[:_STAMP].decode(), stored[_STAMP:])
