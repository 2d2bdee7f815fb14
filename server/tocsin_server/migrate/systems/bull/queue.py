"""One queue of Bull's, in the order in which Bull would run it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

from tocsin_server.migrate.systems.bull.dialect import BULL
from tocsin_server.migrate.systems.bull.discovery import FoundQueue
from tocsin_server.migrate.systems.bull.jobs import ACTIVE_LEFT, COMPLETED_LEFT, Place, Places, logs_beside
from tocsin_server.migrate.systems.bull.order import MOST_TOLD, UNTOLD, bull_priority
from tocsin_server.migrate.systems.bull.record import DATA, RESULT, STACKS, Record
from tocsin_server.migrate.systems.bull.rule_words import words_of_member
from tocsin_server.migrate.systems.bull.source import BullSource, Id
from tocsin_server.migrate.systems.bull.walking import PlaceOf, Step, Walk
from tocsin_server.migrate.systems.foreign import Choices, Foreign


class BullQueue:
    """Bull keeps what waits in one list, `wait` or (while paused) `paused`, with the prioritised jobs at its front."""

    def __init__(self, source: BullSource, queue: FoundQueue, choices: Choices) -> None:
        self._walk = Walk(source, queue, BULL, zone=choices.time_zone, priority_of=bull_priority)
        self._choices = choices
        self._places = Places(self._walk.now, bull_priority)
        self._front = 0  # the highest priority that waits

    async def read(self) -> AsyncIterator[Foreign]:
        """All that stands in it."""
        walk = self._walk
        [best] = await walk.source.ask([("ZRANGE", walk.root + b"priority", 0, 0, "WITHSCORES")])
        self._front = bull_priority(float(best[1])) if isinstance(best, list) and best else 0
        for step in self._steps():
            async for foreign in walk.step(step):
                yield foreign
        async for foreign in walk.rules_without_a_run(_described):
            yield foreign

    def _steps(self) -> Sequence[Step]:
        places, choices = self._places, self._choices
        beside = partial(logs_beside, self._walk.root)
        active: PlaceOf | str = self._running if choices.take_active else ACTIVE_LEFT
        completed: PlaceOf | str = places.completed if choices.take_completed else COMPLETED_LEFT
        return (
            Step(b"active", active, beside),
            Step(b"paused", self._waiting, beside),
            Step(b"wait", self._waiting, beside),
            Step(b"delayed", places.delayed, beside, ranked=True, large=(DATA, STACKS)),
            Step(b"failed", places.failed, beside, ranked=True, large=(DATA, STACKS)),
            Step(b"completed", completed, beside, ranked=True, large=(DATA, RESULT)),
        )

    def _running(self, _: Id, record: Record) -> Place:
        """Bull would put it to the front of the list as soon as it found that nobody runs it."""
        own = bull_priority(record.priority)
        return self._in_line(record, own, max(own, self._front), running=True)

    def _waiting(self, _: Id, record: Record) -> Place:
        own = bull_priority(record.priority)
        to_the_front = own == 0 and (record.options.get("lifo") or record.stalls)  # whatever stood there
        return self._in_line(record, own, self._front if to_the_front else own)

    def _in_line(self, record: Record, own: int, wanted: int, *, running: bool = False) -> Place:
        place = self._places.in_line(record, own, wanted, running=running)
        return replace(place, whys=(*place.whys, UNTOLD)) if record.priority > MOST_TOLD else place


async def _described(members: Sequence[bytes]) -> Sequence[str]:
    return [words_of_member(member) for member in members]
