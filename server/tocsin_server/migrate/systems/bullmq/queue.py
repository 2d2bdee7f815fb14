"""One queue of BullMQ's, in the order in which BullMQ would run it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.bull.dialect import BULLMQ
from tocsin_server.migrate.systems.bull.discovery import FoundQueue
from tocsin_server.migrate.systems.bull.jobs import ACTIVE_LEFT, COMPLETED_LEFT, Place, Places, logs_beside
from tocsin_server.migrate.systems.bull.order import bull_priority, bullmq_priority
from tocsin_server.migrate.systems.bull.record import DATA, RESULT, STACKS, Record
from tocsin_server.migrate.systems.bull.source import BullSource, Id
from tocsin_server.migrate.systems.bull.walking import PlaceOf, Step, Walk
from tocsin_server.migrate.systems.bullmq.rules import groups_of_queue, limits_of_queue, words_of_schedulers
from tocsin_server.migrate.systems.foreign import Choices, Foreign

PARENT_LEFT = "it waits for its children: flows are not taken over, its children are, each by itself"
PARENT = "it is the parent of a flow: what its children returned stays in the source"
FOLLOWER = "the job that was held back to follow it (keepLastIfActive) is not taken over"
DEFERRED = "its next attempt was to fail, so it has failed"

_PER_PRIORITY = 2**32  # the score of a prioritised job: its priority times this, and a number by its arrival
_MARKER = b"0:"  # entries of BullMQ 3 and 4 that wake workers


class BullmqQueue:
    """BullMQ runs `wait` before anything in `prioritized`. Up to 5 it keeps what a paused queue has in `paused`; before
    4 it does as Bull: those with a priority stand at the front of `wait`, 1 first, and a set tells of them."""

    def __init__(self, source: BullSource, queue: FoundQueue, choices: Choices) -> None:
        self._walk = Walk(source, queue, BULLMQ, zone=choices.time_zone, priority_of=bullmq_priority)
        self._choices = choices
        self._places = Places(self._walk.now, bullmq_priority)
        self._as_bull = False

    async def read(self) -> AsyncIterator[Foreign]:
        """All that stands in it."""
        [kind] = await self._walk.source.ask([("TYPE", self._walk.root + b"priority")])
        if kind == b"zset":
            self._as_bull, self._places = True, Places(self._walk.now, bull_priority)
            self._walk.repeats.priority_of = bull_priority
        for step in self._steps():
            async for foreign in self._walk.step(step):
                yield foreign
        async for foreign in self._walk.rules_without_a_run(partial(words_of_schedulers, self._walk)):
            yield foreign
        async for foreign in limits_of_queue(self._walk):
            yield foreign
        async for foreign in groups_of_queue(self._walk):
            yield foreign

    def _steps(self) -> Sequence[Step]:
        places, choices = self._places, self._choices
        logs = partial(logs_beside, self._walk.root)
        active: PlaceOf | str = self._running if choices.take_active else ACTIVE_LEFT
        completed: PlaceOf | str = places.completed if choices.take_completed else COMPLETED_LEFT
        return (
            Step(b"active", active, self._beside_active, skipped=_MARKER),
            Step(b"paused", self._unless_deferred(self._waiting), self._beside, skipped=_MARKER),
            Step(b"wait", self._unless_deferred(self._waiting), self._beside, skipped=_MARKER),
            Step(b"prioritized", self._unless_deferred(self._prioritized), self._beside, ranked=True),
            Step(b"delayed", self._unless_deferred(places.delayed), self._beside, ranked=True, large=(DATA, STACKS)),
            Step(b"waiting-children", PARENT_LEFT, self._beside, ranked=True),
            Step(b"failed", places.failed, logs, ranked=True, large=(DATA, STACKS)),
            Step(b"completed", completed, logs, ranked=True, large=(DATA, RESULT)),
        )

    def _running(self, _: Id, record: Record) -> Place:
        """BullMQ would put it to the front of `wait` as soon as it found that nobody runs it."""
        own = self._places.priority_of(record.priority)
        return self._places.in_line(record, own, bull_priority(1) if self._as_bull else 0, running=True)

    def _waiting(self, _: Id, record: Record) -> Place:
        """Whatever its priority, it stands before those in `prioritized`: it stalled, or was retried by hand."""
        own = self._places.priority_of(record.priority)
        return self._places.in_line(record, own, own if self._as_bull else 0)

    def _prioritized(self, entry: Id, record: Record) -> Place:
        priority = bullmq_priority(entry[1] / _PER_PRIORITY)
        return self._places.in_line(record, priority, priority)

    def _beside(self, entry: Id, record: Record) -> Sequence[tuple[bytes, str]]:
        root = self._walk.root
        return [(root + entry[0] + b":processed", PARENT), *logs_beside(root, entry, record)]

    def _beside_active(self, entry: Id, record: Record) -> Sequence[tuple[bytes, str]]:
        held_back = [(self._walk.root + b"dn:" + record.deduplication, FOLLOWER)] if record.deduplication else []
        return [*held_back, *self._beside(entry, record)]

    def _unless_deferred(self, place_of: PlaceOf) -> PlaceOf:
        """A job that stalled too often, or whose child failed, waits only for a worker to say that it has failed."""

        def placed(entry: Id, record: Record) -> Place | str:
            place = place_of(entry, record)
            if record.deferred is None or isinstance(place, str):
                return place
            failed = replace(place, state=State.FAILED, ended=self._places.now, failure=record.deferred)
            return replace(failed, whys=(*place.whys, DEFERRED))

        return placed
