"""Schedules in Redis: of each queue a hash, and two rows, one by time and one by id."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from tocsin_server.domain.job import Draft, View
from tocsin_server.domain.quotas import too_many_jobs, too_many_types
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.redis import records
from tocsin_server.store.redis.arguments import add_arguments
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.queue_names import QueueNames
from tocsin_server.store.redis.scripts import Scripts
from tocsin_server.store.schedule_records import schedule_bytes, schedule_of
from tocsin_server.store.schedule_store import DueSchedules, ScheduleStore

_STAMP = 16  # characters


class RedisSchedules(ScheduleStore):
    """All queues' schedules."""

    def __init__(
        self, connection: RedisConnection, scripts: Scripts, keys: Keys, names: QueueNames, jobs_max: int
    ) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._names = names
        self._jobs_max = jobs_max

    async def put_schedule(self, schedule: Schedule, drafts: Sequence[Draft] = ()) -> bool:
        queue, look = schedule.spec.queue, schedule.look_time
        await self._names.admit(queue)
        epoch, _, *jobs = add_arguments(records.draft_arguments(drafts))
        value = secrets.token_hex(_STAMP // 2).encode() + schedule_bytes(schedule)
        look_ms = b"" if look is None else time_to_ms(look)
        new, said = await self._scripts.run(
            "put_schedule",
            self._keys.root(queue),
            epoch,
            schedule.spec.schedule_id,
            schedule.stamp,
            value,
            look_ms,
            *jobs,
        )
        if new:
            await self._names.made(queue)
        if said == b"types":
            raise too_many_types(queue)
        if said == b"jobs":
            raise too_many_jobs(queue, self._jobs_max)
        return bool(said == b"OK")

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

    async def due_schedules(self, queue: str, *, skip: int = 0, limit: int = 100) -> DueSchedules:
        now_ms, found = await self._scripts.run("due_schedules", self._keys.root(queue), skip, limit)
        return DueSchedules(to_time(now_ms), _all(queue, found))

    async def delete_schedule(self, queue: str, schedule_id: str) -> bool:
        return bool(await self._scripts.run("delete_schedule", self._keys.root(queue), schedule_id))


def _all(queue: str, found: Sequence[Sequence[bytes]]) -> list[Schedule]:
    return [_schedule(queue, schedule_id.decode(), stored) for schedule_id, stored in found]


def _schedule(queue: str, schedule_id: str, stored: bytes) -> Schedule:
    return schedule_of(queue, schedule_id, stored[:_STAMP].decode(), stored[_STAMP:])
