"""How many attempts run at once: overall, by type, and by type in one queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping


class Slots:
    """Counts free slots. An attempt takes one overall and one in its lane, and keeps both until its handler ends.

    Each type has a lane that all queues share, as wide as `by_type` says, else `each`, else as there are slots. A queue
    with a number of its own for the type (`limit_queue`) has a lane of its own instead, narrower or wider. Of a type
    that `by_type` does not have, attempts run from such queues alone.

    widened: called where attempts may begin that could not before. freed: called for each slot that becomes free.
    """

    def __init__(self, concurrency: int, by_type: Mapping[str, int | None], each: int | None = None) -> None:
        for number in (concurrency, each):
            if number is not None and number < 1:
                raise ValueError(f"concurrency is {number}: give 1 or more")
        self.total = concurrency
        self.free = concurrency  # below 0 where a source granted more than was asked for
        self._shared = {type: limit or each or concurrency for type, limit in by_type.items()}
        self.types = frozenset(by_type)
        self._own: dict[str, Mapping[str, int]] = {}  # by queue and type
        self._busy: Counter[tuple[str, str]] = Counter()  # by queue and type
        self._shared_busy = dict.fromkeys(by_type, 0)
        self.widened: Callable[[], None] = lambda: None
        self.freed: Callable[[], None] = lambda: None

    def take(self, queue: str, type: str) -> None:
        """Count one more attempt."""
        self.free -= 1
        self._count(queue, type, 1)

    def give(self, queue: str, type: str) -> None:
        """Count one less."""
        self.free += 1
        self._count(queue, type, -1)
        self.freed()
        if self.free == 1 or self._left(queue, type) == 1:
            self.widened()

    def limit_queue(self, queue: str, by_type: Mapping[str, int]) -> None:
        """Give a queue lanes of its own for these types, and for no other. What runs goes on, and counts."""
        old = self._own.get(queue, {})
        if by_type == old:
            return
        types = [type for type in {**self._shared, **old, **by_type} if old.get(type) != by_type.get(type)]
        before = {lane: self._left(*lane) for type in types for lane in ((queue, type), ("", type))}
        for type in types:
            if type in self._shared and (type in old) != (type in by_type):
                self._shared_busy[type] += self._busy[queue, type] * (1 if type in old else -1)
        self._own[queue] = dict(by_type)
        if not by_type:
            del self._own[queue]
        if any(left <= 0 < self._left(*lane) for lane, left in before.items()):
            self.widened()

    def capacity(self, *, none: bool = False) -> FreeSlots:
        """What may begin now, queue by queue. none: for now nothing may, whatever is free."""
        return FreeSlots(self, none=none)

    def lane(self, queue: str, type: str) -> tuple[str, str]:
        """Which lane attempts of the type from the queue take: its own, or under "" the one that queues share."""
        return (queue if type in self._own.get(queue, ()) else "", type)

    def left_in(self, lane: tuple[str, str]) -> int:
        """How many attempts more the lane takes; overall there may be less."""
        queue, type = lane
        if queue:
            return self._own[queue][type] - self._busy[lane]
        return self._shared[type] - self._shared_busy[type] if type in self._shared else 0

    def types_of(self, queue: str) -> Collection[str]:
        """Types that have a lane for attempts from the queue."""
        own = self._own.get(queue)
        return self.types if own is None else self.types | own.keys()

    def has_own(self, queue: str) -> bool:
        """Whether the queue has lanes of its own."""
        return queue in self._own

    def _left(self, queue: str, type: str) -> int:
        return self.left_in(self.lane(queue, type))

    def _count(self, queue: str, type: str, more: int) -> None:
        self._busy[queue, type] += more
        if not self._busy[queue, type]:
            del self._busy[queue, type]
        if type in self._shared and type not in self._own.get(queue, ()):
            self._shared_busy[type] += more


class FreeSlots:
    """Slots as they are at one moment, and what is promised of them: good until attempts begin or end.

    none: for a while nothing may begin, whatever is free.
    """

    def __init__(self, slots: Slots, *, none: bool = False) -> None:
        self._slots = slots
        self.free = 0 if none else slots.free  # how many may begin in all; 0 or less: none
        self._promised: Counter[tuple[str, str]] = Counter()  # by lane
        self._of_others: Mapping[str, int] | None = None

    def of(self, queue: str) -> Mapping[str, int]:
        """How many attempts of each type may begin from the queue; types without a free slot are left out."""
        if self._slots.has_own(queue):
            return self._count(queue)
        if self._of_others is None:  # most queues have no numbers of their own: they share one answer
            self._of_others = self._count("")
        return self._of_others

    def take(self, queue: str, type: str) -> bool:
        """Promise one. False: there is none for it."""
        if self.free <= 0:
            return False
        lane = self._slots.lane(queue, type)
        if self._left(lane) <= 0:
            return False
        self._promised[lane] += 1
        self.free -= 1
        self._of_others = None
        return True

    def _count(self, queue: str) -> Mapping[str, int]:
        if self.free <= 0:
            return {}
        left = {type: self._left(self._slots.lane(queue, type)) for type in self._slots.types_of(queue)}
        return {type: min(count, self.free) for type, count in left.items() if count > 0}

    def _left(self, lane: tuple[str, str]) -> int:
        return self._slots.left_in(lane) - self._promised[lane]
