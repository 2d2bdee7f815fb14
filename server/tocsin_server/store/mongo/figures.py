"""Counts, ages and rates of a queue. Counts are counts of index entries, so they are exact and cost what stands there:
one that took long is kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from pymongo.errors import OperationFailure

from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.queues import QueueFigures
from tocsin_server.domain.states import PENDING, State
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.errors import BAD_VALUE
from tocsin_server.store.mongo.jobs import Jobs
from tocsin_server.store.mongo.queues import RATE_MINUTES, QueueDocuments, minute_of

T = TypeVar("T")
Counts = Mapping[State, Mapping[str, int]]

_HOLDABLE = PENDING  # which are negative where a job is held
_ALL_STATES = sorted([*map(int, State), *(-state for state in _HOLDABLE)])

#: A count that took longer is kept for 20 times as long as it took: counting keeps a core busy for 5 % at most.
_SLOW, _KEPT_TIMES = 1.0, 20


@dataclass(frozen=True, slots=True)
class _Counted(Generic[T]):
    answer: T
    good_until: float


def indexed(queue: str, states: Collection[State], types: Collection[str]) -> Document:
    """Jobs of a queue in any of these states and of any of these types (none: all), as the index `states` has them."""
    condition: Document = {"queue": queue}
    if states or types:
        condition["state"] = _any_of(_stored(states) or _ALL_STATES)
    if types:
        condition["type"] = _any_of(sorted(types))
    return condition


def _stored(states: Collection[State]) -> list[int]:
    """These states as documents have them."""
    return sorted([*map(int, states), *(-state for state in states if state in _HOLDABLE)])


def _any_of(values: list[T]) -> T | Document:
    return values[0] if len(values) == 1 else {"$in": values}


class QueueCounts:
    """JobStore.figures, and the totals of lists."""

    def __init__(
        self,
        clock: ServerClock,
        jobs: Jobs,
        queues: QueueDocuments,
        mend_indexes: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._jobs = jobs
        self._queues = queues
        self._mend_indexes = mend_indexes
        self._counted: dict[Hashable, _Counted[Any]] = {}
        self._under_way: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}  # and since when

    async def figures(self, queue: str) -> QueueFigures:
        """As JobStore.figures."""
        now, (head, _), counts, oldest = await asyncio.gather(
            self._clock.read(), self._queues.read(queue), self._counts(queue), self._oldest(queue)
        )
        ended = {"c": 0, "f": 0}
        minute = minute_of(now)
        for name, number in (head or {}).get("rates", {}).items():
            if minute - RATE_MINUTES <= int(name[1:]) <= minute:
                ended[name[0]] += number
        seconds = RATE_MINUTES * 60 + now.second + now.microsecond / 1_000_000
        due = None if oldest is None or oldest > now else oldest
        gone = (head or {}).get("gone", {})
        return QueueFigures(
            now, counts, due, ended["c"] / seconds, ended["f"] / seconds, gone.get("done"), gone.get("failed")
        )

    async def total(self, queue: str, wanted: JobFilter) -> int:
        """How many jobs match a filter of states and types alone."""
        command = {"count": self._jobs.collection.name, "query": indexed(queue, wanted.states, wanted.types)}

        async def ask() -> int:
            # Not by an aggregation, which a mongod makes of count_documents: this one need not look into each entry.
            answer = await self._jobs.collection.database.command({**command, "maxTimeMS": self._jobs.answer_ms})
            return int(answer["n"])

        return await self._kept((queue, wanted.states, wanted.types), ask)

    async def _counts(self, queue: str) -> Counts:
        pipeline: list[Document] = [
            {"$match": {"queue": queue}},
            {"$group": {"_id": {"state": "$state", "type": "$type"}, "number": {"$sum": 1}}},
        ]

        async def ask() -> Counts:
            counts: dict[State, dict[str, int]] = {}
            for one in await (
                await self._jobs.collection.aggregate(pipeline, hint="states", maxTimeMS=self._jobs.answer_ms)
            ).to_list():
                of_state = counts.setdefault(State(abs(one["_id"]["state"])), {})
                of_state[one["_id"]["type"]] = of_state.get(one["_id"]["type"], 0) + int(one["number"])
            return counts

        return await self._kept((queue,), ask)

    async def _kept(self, what: Hashable, count: Callable[[], Awaitable[T]]) -> T:
        """What was counted lately, where counting takes long."""
        begun = time.monotonic()
        kept: _Counted[T] | None = self._counted.get(what)
        if kept is not None and begun < kept.good_until:
            return kept.answer
        since, counting = self._under_way.get(what, (begun, None))
        if counting is None or begun - since < _SLOW:  # else it will be kept: who comes meanwhile waits for it, too
            counting = asyncio.ensure_future(self._counting(count))
            self._under_way[what] = begun, counting
            counting.add_done_callback(partial(self._counted_now, what))
        answer: T = await asyncio.shield(counting)
        took = time.monotonic() - begun
        if took > _SLOW:
            now = begun + took
            # Few filters are asked again; those that were not are forgotten here.
            self._counted = {key: one for key, one in self._counted.items() if one.good_until > now}
            self._counted[what] = _Counted(answer, now + took * _KEPT_TIMES)
        return answer

    def _counted_now(self, what: Hashable, counting: asyncio.Future[Any]) -> None:
        if what in self._under_way and self._under_way[what][1] is counting:
            del self._under_way[what]
        if not counting.cancelled():
            counting.exception()  # whoever asked may have left

    async def _counting(self, count: Callable[[], Awaitable[T]]) -> T:
        """Count. Where the index that counting names is not there, it is made first: it was dropped under us."""
        try:
            return await self._jobs.run(count, read_only=True)
        except OperationFailure as error:
            if error.code != BAD_VALUE:  # the hint; nothing else in these commands can be one
                raise
        await self._mend_indexes()
        return await self._jobs.run(count, read_only=True)

    async def _oldest(self, queue: str) -> datetime | None:
        """The due time of the job that has been due longest, or is due next."""

        async def first(state: State) -> datetime | None:
            found = await self._jobs.run(
                lambda: (
                    self._jobs.collection.find({"queue": queue, "state": int(state)}, {"due": 1})
                    .sort([("due", 1), ("arrival", 1)])
                    .limit(1)
                    .to_list()
                ),
                read_only=True,
            )
            return found[0]["due"] if found else None

        # Due, and nobody has come to make it WAITING: just then somebody must see it.
        scheduled, waiting = await asyncio.gather(first(State.SCHEDULED), first(State.WAITING))
        return min((due for due in (scheduled, waiting) if due is not None), default=None)
