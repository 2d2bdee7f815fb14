"""Which queues may have something to claim, as far as this process knows. Pure: no store, no waiting.

A queue is worth a claim for a type unless a claim showed that nothing of that type was there ("dry"), or the first word
of the queue was a tick that says so of all types ("quiet"). A ring makes it worth a claim again: the store's message, a
tick that counts more wakes than before, or a due time that has come.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from tocsin_server.domain.lease import Claim
from tocsin_server.domain.queues import Tick

T = TypeVar("T")

_MOST_DRY = 10_000  # types of a queue that are remembered to have no job


@dataclass(slots=True)
class _Queue:
    name: str
    rings: int = 0
    dry: set[str] = field(default_factory=set)
    quiet: bool = False  # nothing of any type was there, and it has not rung since
    held: bool = False
    empty: int = 0  # claims in a row that brought nothing
    turn: int = 0  # the number of its last one; of all queues
    wakes: int | None = None  # as of the last tick
    due: datetime | None = None  # when the next SCHEDULED job is due, as far as known
    served: tuple[datetime, ...] = ()  # the last two times that a claim came after
    alarm: datetime | None = None  # which due time stands in the heap


class Claimable:
    """Knows of each queue whether to claim now, or when."""

    def __init__(self) -> None:
        # Types that are taken of a queue, each as often as somebody takes it; under None: of all queues.
        self._serving: dict[str | None, Counter[str]] = {}
        self._queues: dict[str, _Queue] = {}
        self._turn = 0
        self._turns: dict[str, _Queue] = {}  # worth a claim for some type; the first has waited longest for its turn
        self._alarms: list[tuple[datetime, str]] = []
        self._missing: set[str] = set()  # they were not there at the last look

    # --- what is heard ---

    def ring(self, name: str, due: datetime | None = None) -> None:
        """Something may be claimable in the queue: now, or at `due`."""
        queue = self._queues.get(name)
        if queue is None:
            # The first word of a queue: what it holds is not known yet.
            queue = self._queues[name] = _Queue(name)
            self._ring(queue)
        if due is None:
            self._ring(queue)
        elif queue.due is None or due < queue.due:
            queue.due = due
            self._set_alarm(queue)

    def stir(self, name: str, types: Collection[str]) -> bool:
        """Jobs of these types come, and a claim with them: what was found of the others still holds. False: nothing is
        known of the queue, or it is on hold."""
        queue = self._queues.get(name)
        if queue is None or queue.quiet or queue.held:
            return False
        queue.dry.difference_update(types)
        return True

    def tick(self, ticks: Mapping[str, Tick]) -> None:
        """What the store says of queues; makes up for messages that were lost."""
        for name, tick in ticks.items():
            known = self._queues.get(name)
            if known is None:
                # Most of a store's queues are idle when a server starts: none of them is to be claimed from in vain.
                known = self._queues[name] = _Queue(name, quiet=True)
            if known.wakes != tick.wakes and (tick.waiting or known.wakes is not None):
                self._ring(known)
            known.wakes = tick.wakes
            # A time that was claimed for and still stands is that of a paused queue, whose resume will ring, or of
            # types that nobody takes here.
            for time in (tick.next_due, tick.next_start):
                if time is not None and time not in known.served:
                    self.ring(name, time)

    def keep(self, names: Collection[str], busy: Collection[str]) -> None:
        """These queues are there, and no other: drop what is known of others, but for those `busy` with a claim. One
        that came just now may be missing, so only what is missed a second time goes."""
        missing = {
            name
            for name, queue in self._queues.items()
            if not (name in names or name in busy or name in self._serving or queue.held)
        }
        gone = missing & self._missing
        self._missing = missing - gone
        for name in gone:
            del self._queues[name]
            self._turns.pop(name, None)
        if gone:
            self._alarms = [alarm for alarm in self._alarms if alarm[1] in self._queues]
            heapq.heapify(self._alarms)

    def pass_time(self, now: datetime) -> None:
        """Ring the queues whose due time has come."""
        while self._alarms and self._alarms[0][0] <= now:
            when, name = heapq.heappop(self._alarms)
            queue = self._queues[name]
            if queue.alarm == when:
                queue.alarm = None
            if queue.due == when:
                self._ring(queue)

    @property
    def next_due(self) -> datetime | None:
        """When `pass_time` has something to do next."""
        return self._alarms[0][0] if self._alarms else None

    # --- turns ---

    def serve(self, types: Iterable[str], queues: Collection[str] | None = None) -> None:
        """Someone takes jobs of these types from now on; of these queues, or of all. What is known of other types is no
        help with a new one, and a queue that was never heard of is worth a claim."""
        types = set(types)
        begun: list[_Queue] = []
        for name in (None,) if queues is None else queues:
            serving = self._serving.setdefault(name, Counter())
            is_new = not serving.keys() >= types
            serving.update(types)
            if name is not None and name not in self._queues:
                self.ring(name)
            if is_new:
                begun += self._queues.values() if name is None else [self._queues[name]]
        for queue in sorted(begun, key=lambda queue: queue.turn):  # as they were left by who served them before
            self._take_turn(queue)

    def leave(self, types: Collection[str], queues: Collection[str] | None = None) -> None:
        """One that took these types of these queues does so no more."""
        for name in (None,) if queues is None else queues:
            serving = self._serving.get(name)
            if serving is None:  # it took no types at all, and was not the only one
                continue
            serving.subtract(types)
            for type_ in types:
                if serving[type_] <= 0:
                    del serving[type_]
            if not serving:
                del self._serving[name]
                left = list(self._turns) if name is None else [name]
                for queue in left:
                    if not self._served(queue):
                        self._turns.pop(queue, None)

    def next_for(self, wanted: Callable[[str, AbstractSet[str]], T | None]) -> tuple[str, T] | tuple[None, None]:
        """The queue whose turn it is, among those worth a claim for someone; and who that is.

        `wanted` is called with a queue and the types of which it has nothing, and says who would take another one.
        """
        for name, queue in self._turns.items():
            if (who := wanted(name, queue.dry)) is not None:
                return name, who
        return None, None

    def dry(self, name: str) -> AbstractSet[str]:
        """Types of which the queue has nothing, as far as known."""
        return self._queues[name].dry

    def in_turn(self) -> list[str]:
        """All queues that are worth a claim for some type."""
        return list(self._turns)

    def rings(self, name: str) -> int:
        """How often the queue rang; take it before a claim and give it to `claimed`."""
        return self._queues[name].rings

    def claimed(
        self, name: str, types: Mapping[str, int], limit: int, claim: Claim, rings: int, *, apart: bool = False
    ) -> bool:
        """What a claim brought; the queue goes to the end of the row.

        Returns whether the due time that the queue was known to have has been claimed for, so that the next one must
        be asked for. apart: it is not counted among those that brought nothing.
        """
        queue = self._queues[name]
        queue.empty = 0 if claim.claimed or claim.more else queue.empty + (not apart)
        if not claim.more and len(claim.claimed) < limit and queue.rings == rings:
            brought = Counter(claimed.job.spec.type for claimed in claim.claimed)
            queue.dry.update(name for name, most in types.items() if brought[name] < most)
            if len(queue.dry) > _MOST_DRY:  # of workers that come and go, each with types of its own
                queue.dry &= self._served_types(name)
        self._turns.pop(name, None)
        self._turn += 1
        queue.turn = self._turn
        self._take_turn(queue)
        if queue.due is None:
            return False
        if claim.now < queue.due:
            self._set_alarm(queue)
            return False
        queue.served, queue.due = (queue.due, *queue.served[:1]), None
        return True

    def empty_claims(self, name: str) -> int:
        """How many claims in a row brought nothing."""
        return self._queues[name].empty

    def hold(self, name: str) -> None:
        """No turn for the queue until `resume`."""
        self._queues[name].held = True
        self._turns.pop(name, None)

    def resume(self, name: str) -> None:
        """The end of a `hold`, of which several may run."""
        if (queue := self._queues.get(name)) is not None:
            queue.held = False
            self._take_turn(queue)

    def held(self, name: str) -> bool:
        """Whether the queue is on hold."""
        return self._queues[name].held

    def _ring(self, queue: _Queue) -> None:
        queue.rings += 1
        queue.dry.clear()
        queue.quiet = False
        self._take_turn(queue)

    def _take_turn(self, queue: _Queue) -> None:
        if queue.held or queue.quiet:
            return
        for name in (None, queue.name):
            serving = self._serving.get(name)
            if serving and not serving.keys() <= queue.dry:
                self._turns.setdefault(queue.name, queue)
                return

    def _served_types(self, name: str) -> set[str]:
        return {*self._serving.get(None, ()), *self._serving.get(name, ())}

    def _served(self, name: str) -> bool:
        return None in self._serving or name in self._serving

    def _set_alarm(self, queue: _Queue) -> None:
        if queue.due is not None and queue.alarm != queue.due:
            queue.alarm = queue.due
            heapq.heappush(self._alarms, (queue.due, queue.name))
