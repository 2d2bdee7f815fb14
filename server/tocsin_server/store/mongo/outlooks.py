"""What claims would see of jobs, from the order in which they are claimed."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.dependencies import ParentEnd
from tocsin_server.domain.explaining import HeldBack, Outlook, Turn
from tocsin_server.domain.job import View
from tocsin_server.domain.states import PENDING, State
from tocsin_server.store.mongo.ageing import first_of_levels, rank, step_of
from tocsin_server.store.mongo.claim import BEST_FIRST
from tocsin_server.store.mongo.documents import Document, job_of, parent_of
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.places import LimitPlaces, key_in, limit_key_of
from tocsin_server.store.mongo.queue_settings import StoredSettings
from tocsin_server.store.mongo.queues import QueueDocuments, has_limits
from tocsin_server.store.mongo.rooms import Rooms
from tocsin_server.store.mongo.transitions import Standing
from tocsin_server.store.mongo.turns import Turns

#: So many jobs ahead are counted; of more it is not said how many they are. All of them are read, in the order of an
#: index: no condition could say where the reading ends that every planner would take for the end of a scan.
_COUNTED = 200
_NOT_YET_WAITING = 100
_UNFINISHED = sorted([*map(int, PENDING), *(-state for state in PENDING), int(State.ACTIVE)])
_RANKED = {"type": 1, "conditions.limit_key": 1, "priority": 1, "due": 1, "arrival": 1, "_id": 0}


class Outlooks:
    """JobStore.explain."""

    def __init__(
        self, jobs: Jobs, queues: QueueDocuments, places: LimitPlaces, settings: StoredSettings, turns: Turns
    ) -> None:
        self._jobs = jobs
        self._turns = turns
        self._places = places
        self._settings = settings
        self._queues = queues

    async def of(self, queue: str, job_ids: Sequence[str]) -> list[Outlook | None]:
        """As JobStore.explain."""
        jobs, (head, read_at) = await asyncio.gather(self._jobs.load(queue, job_ids), self._queues.read(queue))
        paused = None if head is None else head.get("paused")
        if head is not None and read_at is not None and "until" in head and head["until"] <= read_at:
            paused = None  # no claim has looked since
        due = [job for job in jobs.values() if _is_due(job)]
        fair = head is not None and "fair" in head
        ahead = await self._ahead(queue, due, step_of(head), by_key=fair)
        held: dict[str, HeldBack | Turn] = {}
        if head is not None and read_at is not None and (fair or has_limits(head)):
            [settings], places = await asyncio.gather(self._settings.read([queue]), self._places.read(queue))
            held = await self._held(queue, due, Rooms(settings.limits, places or {}, read_at), places or {}, fair=fair)
        blocked = [job for job in jobs.values() if job.state is State.BLOCKED and "key" in job.document]
        waits_for = {job.document["id"]: await self._waits_for(queue, job.document["key"]) for job in blocked}
        children = [job for job in jobs.values() if job.state is State.BLOCKED and "open" in job.document]
        waits_for |= await self._open_parents(queue, children)
        outlooks = {
            job_id: Outlook(
                job_of(job.document, View.BASIC),
                job.now,
                paused,
                job.document.get("lease"),
                ahead.get(job_id),
                held.get(job_id),
                waits_for=waits_for.get(job_id, ()),
                open_parents=job.document.get("open") if job.state is State.BLOCKED else None,
            )
            for job_id, job in jobs.items()
        }
        return [outlooks.get(job_id) for job_id in job_ids]

    async def _held(
        self, queue: str, due: Sequence[Standing], rooms: Rooms, places: Mapping[str, Any], *, fair: bool
    ) -> dict[str, HeldBack | Turn]:
        """By job_id, which limit holds a due job back, or whose turn comes first."""
        held: dict[str, HeldBack | Turn] = {}
        turns: dict[str, dict[str, str]] = defaultdict(dict)  # by type, keys by job_id
        for job in due:
            job_id, type_, key = job.document["id"], job.document["type"], limit_key_of(job)
            if (found := rooms.hindrance(type_, key, job_id)) is not None:
                held[job_id] = found
            elif fair:
                turns[type_][job_id] = key
        for type_, keys in turns.items():
            before = await self._turns.before(queue, places, type_, set(keys.values()), rooms.full_keys())
            held |= {job_id: Turn(key, before[key]) for job_id, key in keys.items() if key in before}
        return held

    async def _waits_for(self, queue: str, key: str) -> tuple[str, ...]:
        """Ids of jobs of a key that run or are to run."""
        states = [state for state in _UNFINISHED if abs(state) != State.BLOCKED]
        of_key = {"queue": queue, "key": key, "state": {"$in": states}}
        found = await self._jobs.run(
            lambda: self._jobs.documents(of_key, {"id": 1}).limit(limits.EXPLAINED_IDS).to_list(), read_only=True
        )
        return tuple(one["id"] for one in found)

    async def _open_parents(self, queue: str, children: Sequence[Standing]) -> dict[str, tuple[str, ...]]:
        """The first of those that each waits for."""
        found = await self._jobs.by_id([job.before["_id"] for job in children], {"parents": 1}) if children else {}
        waits_for = {}
        for job in children:
            parents = map(parent_of, found.get(job.before["_id"], {}).get("parents", ()))
            still = [one for one in parents if one.end is ParentEnd.OPEN][: limits.EXPLAINED_IDS]
            names = (one.job_id if one.queue == queue else f"{one.queue}/{one.job_id}" for one in still)
            waits_for[job.document["id"]] = tuple(names)
        return waits_for

    async def _ahead(self, queue: str, due: Sequence[Standing], step: int | None, *, by_key: bool) -> dict[str, int]:
        """How many are taken before each of these due jobs, by job_id; of those of which it can be told. Of their type,
        or `by_key`, of their key and type."""
        if not due:
            return {}
        late = {"queue": queue, "state": int(State.SCHEDULED), "due": {"$lte": max(job.now for job in due)}}
        not_yet = await self._ranked(late, [("due", 1), ("arrival", 1)], _NOT_YET_WAITING + 1)
        if len(not_yet) > _NOT_YET_WAITING:
            return {}
        counted: dict[str, int] = {}
        rows: dict[tuple[str, str], list[Standing]] = defaultdict(list)
        for job in due:
            rows[job.document["type"], limit_key_of(job) if by_key else ""].append(job)
        for (type_, key), jobs in rows.items():
            condition: Document = {"queue": queue, "state": int(State.WAITING), "type": type_}
            if by_key:
                condition["conditions.limit_key"] = key or None
            waiting = [rank(one, step) for one in await self._first(condition, step)]
            others = sorted(
                rank(one, step) for one in not_yet if one["type"] == type_ and (not by_key or key_in(one) == key)
            )
            for job in jobs:
                at = rank(job.document, step)
                place = bisect_left(waiting, at)
                if place <= _COUNTED:
                    counted[job.document["id"]] = place + bisect_left(others, at)
        return counted

    async def _first(self, condition: Document, step: int | None) -> Sequence[Document]:
        """The first of these WAITING jobs, in order."""
        if step is None:
            return await self._ranked(condition, BEST_FIRST, _COUNTED + 1)

        async def ask(of_level: Document, most: int) -> Sequence[Document]:
            return await self._ranked(of_level, BEST_FIRST, most)

        return await first_of_levels(ask, lambda one: one, condition, _COUNTED + 1, step)

    async def _ranked(self, condition: Document, order: Sequence[tuple[str, int]], limit: int) -> Sequence[Document]:
        """The first of these jobs, as far as their rank needs them."""
        return await self._jobs.run(
            lambda: self._jobs.documents(condition, _RANKED).sort(order).limit(limit).to_list(), read_only=True
        )


def _is_due(job: Standing) -> bool:
    state: int = job.document["state"]  # negative where it is held: it is taken by nobody
    return state == State.WAITING or (state == State.SCHEDULED and job.document["due"] <= job.now)
