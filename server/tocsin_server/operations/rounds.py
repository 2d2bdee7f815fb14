"""Which queues to read at a tick, so that it costs what is used, and not what is there. Pure: no store, no waiting."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.queues import Tick

#: A queue is in use, and read at each tick, until it has stayed the same for so many readings.
_IN_USE = 10

#: At least this share of what one command may ask for goes to queues that are not in use, however many others are.
_SHARE_OF_IDLE = 10

#: A time that has come, and that nobody has done anything about, is looked at again after 1, 2, 4, ... ticks.
_MOST_DOUBLINGS = 6


@dataclass(slots=True)
class _Queue:
    tick: Tick | None = None  # None: to be read
    in_use: int = 0  # so many readings more
    alarm: datetime | None = None  # when it is to be read; what stands in the heap with another time is over
    late: int = 0  # readings in a row that found a time of its own in the past


class Rounds:
    """All queues that are known, and when each is to be read."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._in_turn: list[str] = []
        self._at = 0  # whose turn it is
        self._now: dict[str, None] = {}  # to be read at each tick: new or in use
        self._alarms: list[tuple[datetime, str]] = []

    def __len__(self) -> int:
        return len(self._queues)

    def set_names(self, names: Iterable[str]) -> None:
        """These queues are there, and no other."""
        known = self._queues
        self._queues = {name: known.get(name) or _Queue() for name in names}
        if not known.keys() <= self._queues.keys():
            self._alarms = [alarm for alarm in self._alarms if alarm[1] in self._queues]
            heapq.heapify(self._alarms)
        self._in_turn = list(self._queues)
        self._now = {name: None for name in self._now if name in self._queues}
        self._now |= {name: None for name, queue in self._queues.items() if queue.tick is None}

    def hear(self, name: str) -> None:
        """Something happened in the queue."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue()
            self._in_turn.append(name)
        queue.in_use = _IN_USE
        self._now[name] = None

    def begin_anew(self) -> None:
        """Any queue that was read may have changed unheard since."""
        self._now |= {name: None for name, queue in self._queues.items() if queue.tick is not None}

    def choose(self, now: datetime, at_once: int) -> list[str]:
        """The queues to read now: what must be, and of the others so many that one command is full."""
        while self._alarms and self._alarms[0][0] <= now:
            when, name = heapq.heappop(self._alarms)
            queue = self._queues.get(name)
            if queue is not None and queue.alarm == when:
                queue.alarm = None
                self._now[name] = None
        if len(self._queues) <= at_once:
            return list(self._queues)
        chosen = dict(self._now)
        for _ in range(min(max(at_once - len(chosen), at_once // _SHARE_OF_IDLE), len(self._in_turn))):
            self._at = (self._at + 1) % len(self._in_turn)
            chosen[self._in_turn[self._at]] = None
        return list(chosen)

    def take(self, ticks: Mapping[str, Tick], now: datetime, period: float) -> None:
        """What was read. `period` is the time from tick to tick, in seconds."""
        for name, tick in ticks.items():
            queue = self._queues.get(name)
            if queue is None:
                continue
            if queue.tick != tick:
                queue.in_use = _IN_USE if queue.tick is not None else queue.in_use
                queue.tick, queue.late = tick, 0
            elif queue.in_use:
                queue.in_use -= 1
            if queue.in_use:
                self._now[name] = None
            else:
                self._now.pop(name, None)
            self._set_alarm(name, queue, tick, now, period)

    def _set_alarm(self, name: str, queue: _Queue, tick: Tick, now: datetime, period: float) -> None:
        own = (tick.next_due, tick.next_lease_end, tick.next_expiry, tick.next_schedule, tick.next_start)
        times = [time for time in own if time is not None]
        to_come = [time for time in times if time > now]
        if len(to_come) < len(times):
            to_come.append(now + timedelta(seconds=period * 2 ** min(queue.late, _MOST_DOUBLINGS)))
            queue.late += 1
        when = min(to_come, default=None)
        if when is not None and when != queue.alarm:
            heapq.heappush(self._alarms, (when, name))
        queue.alarm = when
